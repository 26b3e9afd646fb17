"""Which hand is it: a place in a picture -> right hand, left hand or none?

A hand tells its side by three directions together: where its fingers point, where its thumb is, and whether palm or back
is seen; the hand network, told the side, needs only two of them. So this network looks at a natural, unmirrored crop,
is trained by itself (from the hand network's backbone), and learns the three directions along with the side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .config import SideConfig
from .crop import Crop, crop_for_box
from .data.batch import Augment, change_colours, jitter_box, sample_camera
from .data.sample import FACE, Sample, require_side
from .geometry import iou
from .hands import LEFT, MIDDLE_MCP, RIGHT, WRIST
from .model.backbone import mobile_backbone
from .model.layers import conv_block
from .model.records import as_input

NO_HAND = 2
"""Beside `hands.RIGHT` and `hands.LEFT`."""
PALM = (WRIST, 5, MIDDLE_MCP, 17)
"""Wrist and the knuckles of index, middle and little finger, among the 21 joints."""
AUGMENT = Augment(centre=0.12, scale=0.25, roll=0.25, colour=0.25)
NO_HAND_SHARE = 0.25
"""Training crops of places without a hand, per picture, as many of places about parts of hands: a detector's score
tells these apart from whole hands badly where two hands overlap."""
FACE_SHARE = 0.5
"""Training crops of faces, per picture with one: what a detector takes for hands most."""


class SideOutput(NamedTuple):
    """What the network says of n crops."""

    logits: Float[Tensor, "n 3"]  # right, left, none
    axes: Float[Tensor, "n 3 3"]  # the hand's axes in the crop's frame (`hand_axes`), which training asks for


class SideNet(nn.Module):
    """Backbone, then a small convolution that keeps places apart, and two linear layers.

    Each crop is looked at twice, once mirrored, so that by construction a mirrored crop gets the mirrored answer: nothing
    that looks the same in a mirror can lean it to a side.
    """

    def __init__(self, config: SideConfig):
        super().__init__()
        self.config = config
        self.backbone = mobile_backbone(config.depths, config.crop_size, config.grid)
        self.squeeze = conv_block(self.backbone.channels[-1], 64, size=1)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(64 * config.grid**2, 256), nn.ReLU(), nn.Dropout(0.2))
        self.side, self.axes = nn.Linear(256, 3), nn.Linear(256, 9)

    def forward(self, crops: Float[Tensor, "n 3 S S"]) -> SideOutput:
        """Crops (RGB, 0..1) -> side and axes."""
        both = self.hidden(self.squeeze(self.backbone(torch.cat([crops, crops.flip(-1)]))[-1])).unflatten(
            0, (2, crops.shape[0])
        )
        plain, mirrored = self.side(both)
        logits = (plain + mirrored[:, [LEFT, RIGHT, NO_HAND]]) / 2
        plain, mirrored = self.axes(both).unflatten(-1, (3, 3))
        return SideOutput(logits, (plain + mirrored * mirrored.new_tensor([-1.0, 1.0, 1.0])) / 2)


def build_side_net(config: SideConfig | None = None) -> SideNet:
    """A network with fresh weights."""
    return SideNet(config or SideConfig())


def hand_axes(joints: Float[np.ndarray, "21 3"], side: int) -> Float[np.ndarray, "3 3"]:
    """Unit vectors along the palm to the fingers, across it to the thumb's side, and out of the palm; any frame.

    Which way the palm looks follows from the other two and the side: it is the third that tells the side.
    """
    wrist, index, middle, little = joints[list(PALM)]
    along, across = middle - wrist, index - little
    out = np.cross(across, along) * (1 if side == RIGHT else -1)
    return np.stack([v / max(float(np.linalg.norm(v)), 1e-9) for v in (along, across, out)])


def place_crop(box: np.ndarray, K: np.ndarray, config: SideConfig, roll: float = 0.0) -> Crop:
    """What the network sees of a box (4,) x, y, w, h in pixels of a picture with camera K (4,)."""
    return crop_for_box(box, K, config.crop_size, config.crop_enlarge, mirrored=False, roll=roll)


@torch.no_grad()
def look_at_places(net: SideNet, image: np.ndarray, boxes: Sequence[np.ndarray], K: np.ndarray) -> np.ndarray:
    """How likely each box shows a right hand, a left hand, none: (P, 3).

    Args:
        net: in eval mode.
        image: (H, W, 3) uint8 RGB.
        boxes: P times (4,) x, y, w, h, pixels; at least one.
        K: (4,) the picture's camera.
    """
    places = [place_crop(np.asarray(box, np.float64), K, net.config) for box in boxes]
    crops = as_input(np.stack([place.cut(image) for place in places]), next(net.parameters()).device)
    return net(crops).logits.cpu().double().softmax(-1).numpy()


class SideBatch(NamedTuple):
    """Crops of hands and of places without one."""

    images: Float[Tensor, "n 3 S S"]
    labels: Int[Tensor, " n"]  # RIGHT, LEFT or NO_HAND
    axes: Float[Tensor, "n 3 3"]  # `hand_axes` in the crop's frame; zero where unknown
    rows: Int[Tensor, " n"]  # which sample it is of


def side_batch(samples: Sequence[Sample], config: SideConfig, rng: np.random.Generator | None) -> SideBatch:
    """Crops of all hands in the samples, and of some places that are none: without a hand, about parts of hands, faces.

    With a generator crops are jittered, rolled and coloured (not mirrored: the network does that); without, every sample
    gives one place of each kind, always the same.
    """
    crops, labels, axes, rows = [], [], [], []
    for row, sample in enumerate(samples):
        require_side(sample)
        places = [(sample.box[side].astype(np.float64), side) for side in (RIGHT, LEFT) if sample.present[side]]
        if rng is not None:
            places = [(jitter_box(box, rng, AUGMENT), side) for box, side in places]
        for draw, share in ((_empty_place, NO_HAND_SHARE), (_wrong_place, NO_HAND_SHARE), (_face, FACE_SHARE)):
            if rng is None or rng.random() < share or not places:
                box = draw(sample, np.random.default_rng(row) if rng is None else rng)
                places += [] if box is None else [(box, NO_HAND)]
        for box, label in places:
            roll = rng.normal(0, AUGMENT.roll) if rng is not None else 0.0
            crop = place_crop(box, sample_camera(sample), config, roll)
            image = crop.cut(sample.image)
            crops.append(image if rng is None else change_colours(image, rng, AUGMENT.colour))
            known = label != NO_HAND and sample.joints3d_valid[label, list(PALM)].all()
            axes.append(crop.to_crop(hand_axes(sample.joints3d[label], label)) if known else np.zeros((3, 3)))
            labels.append(label)
            rows.append(row)
    return SideBatch(
        as_input(np.stack(crops)),
        torch.tensor(labels),
        torch.from_numpy(np.stack(axes).astype(np.float32)),
        torch.tensor(rows),
    )


def side_loss(output: SideOutput, truth: SideBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the side (labels smoothed by 0.05) and L1 of the axes where they are known."""
    entropy = F.cross_entropy(output.logits.float(), truth.labels, label_smoothing=0.05)
    known = truth.axes.abs().sum((1, 2)) > 0
    error = ((output.axes.float() - truth.axes).abs().mean((1, 2)) * known).sum() / known.sum().clamp_min(1)
    return entropy + 2 * error, {"entropy": entropy, "axes": error}


def _empty_place(sample: Sample, rng: np.random.Generator) -> np.ndarray | None:
    """A box that shows no hand, or only a hand's edge; None if none was met in a few tries."""
    height, width = sample.image.shape[:2]
    hands = _squares(sample)
    for _ in range(10):
        size = rng.uniform(0.12, 0.5) * min(height, width)
        box = _square(rng.uniform(0, 1, 2) * (width, height), size)
        if all(iou(hand, box) < 0.15 and not _inside(box, hand) for hand in hands):
            return box
    return None


def _wrong_place(sample: Sample, rng: np.random.Generator) -> np.ndarray | None:
    """A box about part of a hand, or across two, which fits neither; None if there is no hand, or none was met."""
    hands = _squares(sample)
    for _ in range(10 if hands else 0):
        hand = hands[rng.integers(len(hands))]
        size = hand[2] * np.exp(rng.uniform(-0.9, 0.5))
        centre = hand[:2] + hand[2:] / 2 + rng.uniform(-0.6, 0.6, 2) * hand[2]
        box = _square(centre, size)
        if all(iou(other, box) < 0.3 for other in hands):
            return box
    return None


def _face(sample: Sample, rng: np.random.Generator) -> np.ndarray | None:
    """A box about a face, if one is known that is not behind a hand."""
    if sample.parts is None:
        return None
    _, _, stats, centres = cv2.connectedComponentsWithStats((sample.parts == FACE).astype(np.uint8))
    large = [i for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] > 0.002 * sample.parts.size]
    if not large:
        return None
    chosen = large[rng.integers(len(large))]
    size = float(stats[chosen, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max())
    box = _square(centres[chosen] + rng.normal(0, 0.1, 2) * size, size * np.exp(rng.uniform(-0.4, 0.4)))
    return box if all(iou(other, box) < 0.3 for other in _squares(sample)) else None


def _squares(sample: Sample) -> list[np.ndarray]:
    """The true boxes made square about their middles, as the crops are."""
    boxes = [sample.box[side].astype(np.float64) for side in (RIGHT, LEFT) if sample.present[side]]
    return [_square(box[:2] + box[2:] / 2, float(box[2:].max())) for box in boxes]


def _square(centre: np.ndarray, size: float) -> np.ndarray:
    return np.array([*(centre - size / 2), size, size])


def _inside(box: np.ndarray, other: np.ndarray) -> bool:
    """Whether the middle of either box lies in the inner two thirds of the other."""
    a, b = box[:2] + box[2:] / 2, other[:2] + other[2:] / 2
    far = np.abs(a - b)
    return bool((far < box[2:] / 3).all() or (far < other[2:] / 3).all())
