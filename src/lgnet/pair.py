"""Both hands in one look: a crop around all that was found -> the box of each of two hands that may be in it.

The detector marks middles on a coarse grid, and where two hands overlap it sees one place between them; a crop by which one
hand is judged does not show where the other ends. This network has both hands before it, larger than in the whole picture,
and answers with a set of at most two boxes, as DETR does (Carion et al., "End-to-End Object Detection with Transformers",
2020, with two queries). Which hand each is, if it is one, is asked of the place afterwards, as of any other (finder.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .config import PairConfig
from .crop import Crop, crop_for_box, union_box
from .data.batch import Augment, change_colours, jitter_box, sample_camera
from .data.sample import Sample
from .detect import Place
from .geometry import box_of, iou
from .hands import LEFT, RIGHT
from .model.backbone import mobile_backbone
from .model.layers import conv_block
from .model.records import as_input

AUGMENT = Augment(centre=0.2, scale=0.5, roll=0.0, colour=0.25)
BOTH = 0.3
"""Where a look is less sure than this of either hand it counts for nothing: a lone hand the detector boxes as well. Chosen like
`detect.HAND_THRESHOLD`."""
ONE_SHARE = 0.25
"""Of training crops of two hands, those around one of them."""


class PairOutput(NamedTuple):
    """What the network says of n crops; two hands each, in any order."""

    logits: Float[Tensor, "n 2"]  # of there being a hand
    boxes: Float[
        Tensor, "n 2 4"
    ]  # its middle, normalised crop coordinates, and the logs of its width and height, half crops
    sides: Float[Tensor, "n 2 2"]  # logits of right and left


class PairNet(nn.Module):
    """Backbone, then two maps of attention: each cell votes for the box of either hand, and the votes are averaged by the
    attention that the cell gets.
    """

    cells: Tensor

    def __init__(self, config: PairConfig):
        super().__init__()
        self.config = config
        self.backbone = mobile_backbone(config.depths, config.crop_size, config.grid)
        width = 128
        self.squeeze = conv_block(self.backbone.channels[-1], width, 1)
        self.mix = conv_block(width + 2, width, 3)
        self.votes = nn.Conv2d(width, 10, 1)
        self.judge = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(inplace=True), nn.Linear(width, 3))
        steps = (torch.arange(config.grid) + 0.5) * 2 / config.grid - 1
        cells = torch.stack([steps.expand(config.grid, -1), steps[:, None].expand(-1, config.grid)])
        self.register_buffer("cells", cells, persistent=False)

    def forward(self, crops: Float[Tensor, "n 3 S S"]) -> PairOutput:
        """Crops (RGB, 0..1) -> hands."""
        x = self.squeeze(self.backbone(crops)[-1])
        x = self.mix(torch.cat([x, self.cells.to(x.dtype).expand(x.shape[0], -1, -1, -1)], 1))
        votes = self.votes(x).float().unflatten(1, (2, 5)).flatten(3)  # n, hand, 5, cell
        attention = votes[:, :, 0].softmax(-1)
        middles = self.cells.flatten(1) + votes[:, :, 1:3]
        boxes = (torch.cat([middles, votes[:, :, 3:] - 0.5], 2) * attention[:, :, None]).sum(-1)
        seen = torch.einsum("nhc,ndc->nhd", attention, x.float().flatten(2))
        judged = self.judge(torch.cat([seen, x.float().mean((2, 3))[:, None].expand(-1, 2, -1)], -1)).float()
        return PairOutput(judged[..., 0], boxes, judged[..., 1:])


def build_pair_net(config: PairConfig | None = None) -> PairNet:
    """A network with fresh weights."""
    return PairNet(config or PairConfig())


def pair_crop(boxes: np.ndarray, K: np.ndarray, config: PairConfig) -> Crop:
    """What the network sees of a picture with camera K (4,) where boxes (N, 4) x, y, w, h pixels hold hands."""
    return crop_for_box(union_box(boxes), K, config.crop_size, config.crop_enlarge)


def _corners(box: np.ndarray) -> np.ndarray:
    low, high = box[:2], box[:2] + box[2:]
    return np.array([low, [high[0], low[1]], [low[0], high[1]], high])


def box_in_crop(box: np.ndarray, crop: Crop) -> np.ndarray:
    """(4,) the middle and the logs of the sides, as in `PairOutput.boxes`, of a box (4,) in pixels."""
    told = box_of(crop.image_to_crop(_corners(np.asarray(box, np.float64))))
    return np.concatenate([told[:2] + told[2:] / 2, np.log(np.maximum(told[2:], 1e-3))])


def box_in_picture(told: np.ndarray, crop: Crop) -> np.ndarray:
    """The inverse of `box_in_crop`, but for what perspective does to a box."""
    size = np.exp(np.clip(told[2:], -6, 1.5))
    return box_of(crop.crop_to_image(_corners(np.concatenate([told[:2] - size / 2, size]))))


@torch.no_grad()
def look_at_pairs(net: PairNet, image: np.ndarray, groups: Sequence[np.ndarray], K: np.ndarray) -> list[Place]:
    """The two places that hold a hand about each group of boxes (N, 4) x, y, w, h pixels of a picture, where there are two.

    Each crop is looked at as it is and mirrored, and the two answers are averaged; they count for less where they differ.

    Args:
        net: in eval mode.
        image: (H, W, 3) uint8 RGB.
        groups: where hands were found that may overlap; at least one group.
        K: (4,) the picture's camera.
    """
    crops = [pair_crop(boxes, K, net.config) for boxes in groups]
    images = [crop.cut(image) for crop in crops]
    batch = as_input(np.stack([*images, *(i[:, ::-1] for i in images)]), next(net.parameters()).device)
    output = net(batch)
    scores, told = output.logits.cpu().double().sigmoid().numpy(), output.boxes.cpu().double().numpy()
    told[len(crops) :, :, 0] *= -1
    places = []
    for number, crop in enumerate(crops):
        plain, mirrored = number, number + len(crops)
        boxes = [[box_in_picture(box, crop) for box in told[look]] for look in (plain, mirrored)]
        shared = np.array([[iou(a, b) for b in boxes[1]] for a in boxes[0]])
        order = (0, 1) if shared[0, 0] + shared[1, 1] >= shared[0, 1] + shared[1, 0] else (1, 0)
        seen = []
        for one, other in enumerate(order):
            score = float(scores[plain, one] + scores[mirrored, other]) / 2 * shared[one, other]
            seen.append(Place(score, (boxes[0][one] + boxes[1][other]) / 2, look=number))
        if min(place.score for place in seen) >= BOTH:
            places += seen
    return places


class PairBatch(NamedTuple):
    """Crops and the hands in them."""

    images: Float[Tensor, "n 3 S S"]
    boxes: Float[Tensor, "n 2 4"]  # of the right and the left hand, as in `PairOutput.boxes`
    present: Bool[Tensor, "n 2"]  # whether its middle is in the crop


def pair_batch(samples: Sequence[Sample], config: PairConfig, rng: np.random.Generator | None) -> PairBatch:
    """A crop of each sample: around its hands, or one of them, or anywhere if there is none.

    With a generator crops are moved, scaled, coloured and mirrored by lot; without, they are as `pair_crop` makes them.
    """
    images, boxes, present = [], [], []
    for row, sample in enumerate(samples):
        chance = np.random.default_rng(row) if rng is None else rng
        around = sample.box[sample.present].astype(np.float64)
        if not len(around):
            height, width = sample.image.shape[:2]
            size = chance.uniform(0.2, 0.8) * min(height, width)
            around = np.array([[*(chance.uniform(0, 1, 2) * (width, height) - size / 2), size, size]])
        elif rng is not None and len(around) == 2 and rng.random() < ONE_SHARE:
            around = around[rng.integers(2)][None]
        box = union_box(around)
        if rng is not None:
            box = jitter_box(box, rng, AUGMENT)
        crop = pair_crop(box[None], sample_camera(sample), config)
        image = crop.cut(sample.image)
        told = np.zeros((2, 4))
        for side in np.flatnonzero(sample.present):
            told[side] = box_in_crop(sample.box[side], crop)
        there = sample.present & (np.abs(told[:, :2]) < 1).all(-1)
        if rng is not None:
            image = change_colours(image, rng, AUGMENT.colour)
            if rng.random() < 0.5:
                image, told, there = image[:, ::-1], told[[LEFT, RIGHT]] * [-1, 1, 1, 1], there[[LEFT, RIGHT]]
        images.append(image)
        boxes.append(told)
        present.append(there)
    return PairBatch(
        as_input(np.stack(images)),
        torch.from_numpy(np.stack(boxes).astype(np.float32)),
        torch.from_numpy(np.stack(present)),
    )


def match(output: PairOutput, truth: PairBatch) -> tuple[Bool[Tensor, "n 2"], Int[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """Which of the two answers is meant for which hand, as fits best: (answers that have a hand, which hand, how far off).

    How far: mean of the middle's distance along x and y in sizes of the hand and of the logs' differences.
    """
    told, true = output.boxes.float()[:, :, None], truth.boxes[:, None]
    size = true[..., 2:].exp().amax(-1, keepdim=True).clamp_min(0.02)
    off = torch.cat([(told[..., :2] - true[..., :2]) / size, told[..., 2:] - true[..., 2:]], -1).abs().mean(-1)
    cost = off.detach() - 0.25 * output.logits.detach().float().sigmoid()[:, :, None]  # answer, hand
    cost = torch.where(truth.present[:, None], cost, 0.0)
    crossed = cost[:, 0, 1] + cost[:, 1, 0] < cost[:, 0, 0] + cost[:, 1, 1]
    hand = torch.stack([crossed, ~crossed], 1).long()
    return truth.present.gather(1, hand), hand, off.gather(2, hand[..., None])[..., 0]


def pair_loss(output: PairOutput, truth: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of whether there is a hand, L1 and IoU of its box, and cross-entropy of its side, of the best matching."""
    there, hand, off = match(output, truth)
    unsure = F.binary_cross_entropy_with_logits(output.logits.float(), there.float())
    count = there.sum().clamp_min(1)
    side = F.cross_entropy(output.sides.float().flatten(0, 1), hand.flatten(), reduction="none").view_as(off)
    true = truth.boxes.gather(1, hand[..., None].expand(-1, -1, 4))
    apart = 1 - box_overlap(output.boxes.float(), true)
    terms = {
        "presence": unsure,
        "box": (off * there).sum() / count,
        "overlap": (apart * there).sum() / count,
        "side": (side * there).sum() / count,
    }
    return terms["presence"] + 2 * terms["box"] + terms["overlap"] + 0.2 * terms["side"], terms


def box_overlap(a: Float[Tensor, "n 2 4"], b: Float[Tensor, "n 2 4"]) -> Float[Tensor, "n 2"]:
    """IoU of boxes as in `PairOutput.boxes`."""
    (a_low, a_high), (b_low, b_high) = (
        (m - s / 2, m + s / 2) for m, s in ((box[..., :2], box[..., 2:].clamp(-6, 1.5).exp()) for box in (a, b))
    )
    shared = (torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp_min(0).prod(-1)
    return shared / ((a_high - a_low).prod(-1) + (b_high - b_low).prod(-1) - shared)
