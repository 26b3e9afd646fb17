"""What is trained: the hand network and the three that find hands, each as the few functions the one training loop needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from .config import TrainConfig
from .crop import union_box
from .data.batch import NO_AUGMENT, TRAIN_AUGMENT, Augment, make_batch
from .data.sample import Sample
from .detect import build_detector, decode, detector_loss, letterbox_boxes
from .geometry import iou
from .hands import BONES, LEFT, RIGHT
from .losses import total_loss
from .model.network import build_network
from .model.records import Inputs, Targets, to_device
from .pair import PairBatch, box_overlap, build_pair_net, match, pair_batch, pair_loss
from .side import NO_HAND, SideBatch, build_side_net, side_batch, side_loss
from .teach import Teachers, lesson_loss, load_teachers, roughen, unlabelled


class Trainee(nn.Module):
    """A network together with its loss: tensors in, loss out, which is the form that processes and precision want."""

    def __init__(self, task: Task):
        super().__init__()
        self.network, self._loss = task.network, task.loss

    def forward(self, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise and its terms."""
        return self._loss(self.network, data)


@dataclass(frozen=True)
class Task:
    """A network to train and how."""

    network: nn.Module
    batch: Callable[[Sequence[Sample], np.random.Generator | None], dict[str, Tensor]]
    """Samples -> what `loss` takes; augmented if a generator is given."""
    loss: Callable[[nn.Module, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]
    evaluate: Callable[[nn.Module, Sequence[Sample]], dict[str, float]]
    """Figures on held-out samples; larger sets are cut up inside."""
    better: str
    """The figure of `evaluate` that chooses the best checkpoint; smaller is better."""
    sheet: Callable[[nn.Module, Sequence[Sample], np.random.Generator], np.ndarray]
    """A picture (H, W, 3) uint8 of what it trains on, with truth and prediction drawn in."""
    teachers: Teachers | None = None
    """Networks it learns from besides the truth."""


def build_task(config: TrainConfig) -> Task:
    """The task a configuration names."""
    return {"hands": _hands, "detector": _detector, "sides": _sides, "pair": _pair}[config.task](config)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _hands(config: TrainConfig) -> Task:
    network = build_network(config.model)
    teachers = load_teachers(config.teacher, config.model, config.teacher_ema)
    augment = _augment(config)

    def batch(samples: Sequence[Sample], rng: np.random.Generator | None) -> dict[str, Tensor]:
        inputs, targets = make_batch(samples, config.model, rng, augment if rng is not None else NO_AUGMENT)
        return {**vars(inputs), **vars(targets)}

    def loss(net: nn.Module, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = Inputs(**{f.name: data[f.name] for f in fields(Inputs)})
        targets = Targets(**{f.name: data[f.name] for f in fields(Targets)})
        if teachers is None:
            return total_loss(net(inputs), targets, config.loss, network)
        lesson = teachers.say(inputs, targets.present_known & ~targets.present)
        output = net(replace(inputs, images=roughen(inputs.images, unlabelled(targets))))
        loss, terms = total_loss(output, targets, config.loss, network)
        taught = lesson_loss(output, lesson, config.loss)
        return loss + config.teacher_weight * taught, {**terms, "teacher": taught.detach()}

    def evaluate(net: nn.Module, samples: Sequence[Sample]) -> dict[str, float]:
        return evaluate_hands(net, samples, config)

    def sheet(net: nn.Module, samples: Sequence[Sample], rng: np.random.Generator) -> np.ndarray:
        return hands_sheet(net, samples, config, rng)

    return Task(network, batch, loss, evaluate, "mpjpe", sheet, teachers)


def _augment(config: TrainConfig) -> Augment:
    """How training crops differ, by `--jitter`."""
    own = TRAIN_AUGMENT
    return replace(own, centre=own.centre * config.jitter, scale=own.scale * config.jitter)


@torch.no_grad()
def evaluate_hands(net: nn.Module, samples: Sequence[Sample], config: TrainConfig) -> dict[str, float]:
    """Quick figures with true boxes: MPJPE (C, mm) of the rough and the final mesh and of the 2.5D joints, by kind; MRRPE
    of the network's own relative translation; PCK in the crops over the box's side; presence, of hands that are there: its
    recall.

    A crop turns the camera without changing lengths, so errors in the crop's frame are those in the camera's.
    """
    sums: dict[str, list[np.ndarray]] = {}

    def add(key: str, values: Tensor) -> None:
        sums.setdefault(key, []).append(values.detach().float().cpu().numpy().ravel())

    net.eval()
    for start in range(0, len(samples), 32):
        chosen = samples[start : start + 32]
        inputs, targets = (to_device(r, _device(net)) for r in make_batch(chosen, config.model))
        output = net(inputs)
        known = targets.joints3d_valid.all(-1) & targets.present & inputs.given
        kinds = np.array([s.kind for s in chosen])
        for key, joints in (("mpjpe", output.refine.joints), ("mpjpe_rough", output.mesh.joints)):
            error = (joints - targets.joints3d).norm(dim=-1).mean(-1) * 1000
            add(key, error[known])
            if key == "mpjpe":
                for kind in ("interacting", "separate", "single"):
                    rows = torch.from_numpy(kinds == kind).to(known.device)[:, None]
                    add(f"mpjpe_{kind}", error[known & rows])
        z_error = (output.joint.joints25d[..., 2] - targets.joints3d[..., 2]).abs().mean(-1) * 1000
        add("depth25d", z_error[known])
        if targets.has_relative.any():
            relative = (output.mesh.relative - targets.relative).norm(dim=-1) * 1000
            add("mrrpe_network", relative[targets.has_relative])
        seen = targets.joints2d_valid & (targets.present & inputs.given)[..., None]
        distance = (output.joint.joints25d[..., :2] - targets.joints2d).norm(dim=-1) / 2 * config.model.crop_enlarge
        if config.model.separation == "heads":  # whose crop is of both hands' common box
            distance *= torch.from_numpy(_common_over_own(chosen)).to(distance)[..., None]
        add("pck02", (distance < 0.2)[seen].float())
        add("pck01", (distance < 0.1)[seen].float())
        add("presence", ((output.joint.presence_logit > 0) == targets.present)[targets.present_known].float())
    out = {key: np.concatenate(values) for key, values in sums.items()}
    return {key: float(values.mean()) for key, values in out.items() if len(values)}


def _common_over_own(samples: Sequence[Sample]) -> np.ndarray:
    """(B, 2) larger side of the box round all hands of a picture over that of each hand's own; 1 where it has none."""
    out = np.ones((len(samples), 2))
    for row, sample in zip(out, samples):
        own = sample.box[:, 2:].max(1).astype(np.float64)
        there = sample.present & (own > 0)
        if there.any():
            row[there] = union_box(sample.box[there])[2:].max() / own[there]
    return out


@torch.no_grad()
def hands_sheet(net: nn.Module, samples: Sequence[Sample], config: TrainConfig, rng: np.random.Generator) -> np.ndarray:
    """Training crops: truth thin and green, the network's 2.5D joints red (right slot) and blue (left slot)."""
    net.eval()
    inputs, targets = make_batch(samples, config.model, rng, _augment(config))
    predicted = net(to_device(inputs, _device(net))).joint.joints25d[..., :2].cpu().numpy()
    size, tiles = config.model.crop_size, []
    for row in range(len(samples)):
        for crop in range(inputs.images.shape[1]):
            picture = (inputs.images[row, crop].permute(1, 2, 0).numpy() * 255).astype(np.uint8).copy()
            for side in (crop,) if inputs.images.shape[1] == 2 else (0, 1):
                if not inputs.given[row, side]:
                    continue
                if targets.present[row, side]:
                    _skeleton(picture, targets.joints2d[row, side].numpy(), size, (0, 220, 0))
                    colour = (255, 40, 40) if side == 0 else (60, 90, 255)
                    _skeleton(picture, predicted[row, side], size, colour)
            tiles.append(picture)
    return _in_rows(tiles)


def _in_rows(tiles: list[np.ndarray], wide: int = 8) -> np.ndarray:
    """Tiles of one size, `wide` in a row, black where there are none left."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % wide)
    return np.concatenate([np.concatenate(tiles[i : i + wide], 1) for i in range(0, len(tiles), wide)])


def _skeleton(picture: np.ndarray, normalised: np.ndarray, size: int, colour: tuple[int, int, int]) -> None:
    pixels = ((normalised + 1) * size / 2 - 0.5).clip(-999, 999).round().astype(int)
    for a, b in BONES:
        cv2.line(picture, tuple(map(int, pixels[a])), tuple(map(int, pixels[b])), colour, 1, cv2.LINE_AA)


def _detector(config: TrainConfig) -> Task:
    network = build_detector(config.detector)
    size = config.detector.size

    def batch(samples: Sequence[Sample], rng: np.random.Generator | None) -> dict[str, Tensor]:
        images, boxes, present = [], [], []
        for sample in samples:
            image, own, there = sample.image, sample.box.astype(np.float32).copy(), sample.present.copy()
            if image.shape[:2] != (size, size):
                image, own = letterbox_boxes(image, own, size)
            if rng is not None:
                if rng.random() < 0.5:  # the mirror picture: the hands change sides
                    image = image[:, ::-1]
                    own[:, 0] = size - 1 - own[:, 0] - own[:, 2]
                    own, there = own[::-1].copy(), there[::-1].copy()
                gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
                image = np.clip(image * gain, 0, 255)
            images.append(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255)
            boxes.append(own)
            present.append(there)
        stacked = {"images": np.stack(images), "boxes": np.stack(boxes), "present": np.stack(present)}
        return {key: torch.from_numpy(values) for key, values in stacked.items()}

    def loss(net: nn.Module, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return detector_loss(net, data["images"], data["boxes"], data["present"])

    @torch.no_grad()
    def evaluate(net: nn.Module, samples: Sequence[Sample]) -> dict[str, float]:
        net.eval()
        right_count, found, total, false = 0, 0, 0, 0
        for start in range(0, len(samples), 32):
            images, boxes, present = batch(samples[start : start + 32], None).values()
            for row, candidates in enumerate(decode(net, images.to(_device(net)))):
                strong = [c for c in candidates if c.score > 0.3]
                right_count += len(strong) == int(present[row].sum())
                hands = [boxes[row, side].numpy() for side in (0, 1) if present[row, side]]
                total += len(hands)
                found += sum(any(iou(c.box, box) > 0.4 for c in strong) for box in hands)
                false += sum(all(iou(c.box, box) < 0.2 for box in hands) for c in strong)
        recall = found / max(total, 1)
        count = len(samples)
        return {"right_count": right_count / count, "found": recall, "false": false / count, "error": 1 - recall}

    def sheet(net: nn.Module, samples: Sequence[Sample], rng: np.random.Generator) -> np.ndarray:
        net.eval()
        images, boxes, present = batch(samples, rng).values()
        tiles = []
        for row, candidates in enumerate(decode(net, images.to(_device(net)))):
            picture = (images[row].permute(1, 2, 0).numpy() * 255).astype(np.uint8).copy()
            for side in (0, 1):
                if present[row, side]:
                    _box(picture, boxes[row, side].numpy(), (0, 220, 0))
            for c in candidates:
                if c.score > 0.3:
                    _box(picture, c.box, (255, 40, 40))
            tiles.append(picture)
        return _in_rows(tiles)

    return Task(network, batch, loss, evaluate, "error", sheet)


def _sides(config: TrainConfig) -> Task:
    network = build_side_net(config.side)

    def batch(samples: Sequence[Sample], rng: np.random.Generator | None) -> dict[str, Tensor]:
        return side_batch(samples, config.side, rng)._asdict()

    def loss(net: nn.Module, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return side_loss(net(data["images"]), SideBatch(**data))

    @torch.no_grad()
    def evaluate(net: nn.Module, samples: Sequence[Sample]) -> dict[str, float]:
        """Side right for each hand by itself; for both of a picture where one of each is asked for; hand told from none."""
        net.eval()
        single: list[bool] = []
        pair: list[bool] = []
        hand: list[bool] = []
        for start in range(0, len(samples), 32):
            images, labels, _, rows = side_batch(samples[start : start + 32], config.side, None)
            p = net(images.to(_device(net))).logits.softmax(-1).cpu()
            truth = labels != NO_HAND
            hand += ((p[:, NO_HAND] < 0.5) == truth).tolist()
            lean = p[:, RIGHT].log() - p[:, LEFT].log()
            single += ((lean[truth] > 0) == (labels[truth] == RIGHT)).tolist()
            for row in rows.unique():
                right, left = (lean[(rows == row) & (labels == side)] for side in (RIGHT, LEFT))
                if len(right) and len(left):
                    pair += [bool(right > left)] * 2
                elif len(right) or len(left):
                    pair += (torch.cat([right, -left]) > 0).tolist()
        named = (("side", single), ("side_together", pair), ("hand", hand))
        mean = {key: float(np.mean(v)) for key, v in named if v}
        return {**mean, "error": 1 - mean.get("side_together", 0.0)}

    @torch.no_grad()
    def sheet(net: nn.Module, samples: Sequence[Sample], rng: np.random.Generator) -> np.ndarray:
        net.eval()
        images, labels, _, _ = side_batch(samples, config.side, rng)
        said = net(images.to(_device(net))).logits.argmax(1).cpu()
        tiles = []
        for image, label, answer in zip(images, labels, said):
            picture = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8).copy()
            text, colour = "RL-"[label] + "RL-"[answer], (0, 220, 0) if label == answer else (255, 60, 40)
            cv2.putText(picture, text, (3, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 2, cv2.LINE_AA)
            tiles.append(picture)
        return _in_rows(tiles)

    return Task(network, batch, loss, evaluate, "error", sheet)


def _pair(config: TrainConfig) -> Task:
    network = build_pair_net(config.pair)

    def batch(samples: Sequence[Sample], rng: np.random.Generator | None) -> dict[str, Tensor]:
        return pair_batch(samples, config.pair, rng)._asdict()

    def loss(net: nn.Module, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return pair_loss(net(data["images"]), PairBatch(**data))

    @torch.no_grad()
    def evaluate(net: nn.Module, samples: Sequence[Sample]) -> dict[str, float]:
        """Mean IoU of the hands (0 where the answer says there is none), share above 0.5, answers without a hand."""
        net.eval()
        fits: list[float] = []
        false: list[bool] = []
        sides: list[bool] = []
        for start in range(0, len(samples), 32):
            truth = PairBatch(*(t.to(_device(net)) for t in pair_batch(samples[start : start + 32], config.pair, None)))
            output = net(truth.images)
            there, hand, _ = match(output, truth)
            fit = box_overlap(output.boxes.float(), truth.boxes.gather(1, hand[..., None].expand(-1, -1, 4)))
            fits += (fit * (output.logits > 0))[there].tolist()
            false += (output.logits > 0)[~there].tolist()
            sides += (output.sides.argmax(-1) == hand)[there].tolist()
        mean = float(np.mean(fits))
        named = {"iou": mean, "found": float((np.array(fits) > 0.5).mean()), "side": float(np.mean(sides))}
        return {**named, "false": float(np.mean(false or [0.0])), "error": 1 - mean}

    @torch.no_grad()
    def sheet(net: nn.Module, samples: Sequence[Sample], rng: np.random.Generator) -> np.ndarray:
        net.eval()
        truth = pair_batch(samples, config.pair, rng)
        output = net(truth.images.to(_device(net)))
        tiles = []
        for row, image in enumerate(truth.images):
            picture = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8).copy()
            for side in (0, 1):
                if truth.present[row, side]:
                    _box(picture, _pixels(truth.boxes[row, side], config.pair.crop_size), (0, 220, 0))
                if output.logits[row, side] > 0:
                    colour = ((255, 40, 40), (60, 90, 255))[int(output.sides[row, side].argmax())]
                    _box(picture, _pixels(output.boxes[row, side].cpu(), config.pair.crop_size), colour)
            tiles.append(picture)
        return _in_rows(tiles)

    return Task(network, batch, loss, evaluate, "error", sheet)


def _pixels(told: Tensor, size: int) -> np.ndarray:
    """(4,) x, y, w, h in pixels of the crop."""
    middle, reach = told[:2].float().numpy(), np.exp(told[2:].float().numpy().clip(-6, 1.5))
    return np.concatenate([(middle - reach / 2 + 1) * size / 2, reach * size / 2])


def _box(picture: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> None:
    x, y, w, h = (round(float(v)) for v in box)
    cv2.rectangle(picture, (x, y), (x + w, y + h), colour, 1)
