"""Image -> where the hands are: a small centre-point detector on the whole picture.

One network looks at a letterboxed 224 x 224 picture and says for each cell of a 28 x 28 grid how likely a hand has its
middle there, and how large it is (Zhou et al., "Objects as Points", 2019). Which hand it is is asked of each place
afterwards (side.py), and decided for all places of a picture together (`choose_sides`). Where it looks: places.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .config import DetectorConfig
from .geometry import iou
from .model.layers import conv_block

STRIDE = 8
HAND_THRESHOLD = 0.4
"""The detector's score from which a place counts as a hand, where the side network has no opinion. Like HAND_WEIGHT,
SIDE_WEIGHT and `pair.BOTH` chosen on 400 synthetic pictures of a seed that no recorded run and not synth-bench uses,
as what gets most sides' presence right with a second hand invented in one of twenty at most (benchmarks/finder_thresholds.py);
of values within a thousandth of it, those with the fewest; kept since with an eye on photographs (docs/results.md)."""
HAND_WEIGHT = 0.2
"""How much the side network's belief in a hand, as log odds, counts against the log of the detector's score."""
SIDE_WEIGHT = 0.45
"""How much the side counts against that: the side network is surer of itself than it is right."""
SAME_PLACE = 0.5
"""Places that overlap (IoU) more than this are one, unless one look at a pair saw a hand in either."""


@dataclass(frozen=True)
class Place:
    """Where a hand may be, whichever side it is."""

    score: float  # 0..1
    box: np.ndarray  # (4,) x, y, w, h, pixels
    look: int | None = None
    """Which look at a pair of hands saw it (`pair.look_at_pairs`); None: the detector did."""
    closer: np.ndarray | None = None
    """(2, 4) what to crop by if it is a right hand, a left hand, where the hand network had a look; None: `box`."""
    believed: np.ndarray | None = None
    """(2,) what the hand network says for it being a right hand, a left hand (`opinion.belief`); None: it was not asked."""


@dataclass(frozen=True)
class Detection:
    """A hand found."""

    side: int  # 0 right, 1 left
    score: float  # 0..1
    box: np.ndarray  # (4,) x, y, w, h, pixels


def same_place(one: Place, other: Place) -> bool:
    """Whether they cannot be two hands."""
    return (one.look is None or one.look != other.look) and iou(one.box, other.box) > SAME_PLACE


def one_each(places: Sequence[Place], sides: np.ndarray, right: int, left: int) -> bool:
    """Whether these of the places, whose sides are told as in `choose_sides`, may be one person's right and left hand: where
    they overlap much, each has to look like its own side.
    """
    if iou(places[right].box, places[left].box) <= SAME_PLACE:
        return True
    own = sides[right, 0] > sides[right, 1] and sides[left, 1] > sides[left, 0]
    return bool(own) and not same_place(places[right], places[left])


def as_hand(place: Place, side: int, score: float) -> Detection:
    """The place taken for a hand of this side."""
    return Detection(side, float(score), place.box if place.closer is None else place.closer[side])


class Detector(nn.Module):
    """Convolutions to 1/32 of the picture, a look at the whole, and back up to 1/8."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        a, b, c, d, e = config.widths
        self.stem = nn.Sequential(conv_block(3, a, stride=2), conv_block(a, b, stride=2), conv_block(b, b))
        self.eighth = nn.Sequential(conv_block(b, c, stride=2), conv_block(c, c), conv_block(c, c))
        self.sixteenth = nn.Sequential(conv_block(c, d, stride=2), conv_block(d, d), conv_block(d, d))
        self.thirtysecond = nn.Sequential(
            conv_block(d, e, stride=2), conv_block(e, e), conv_block(e, e), conv_block(e, e)
        )
        self.whole = nn.Linear(e, e)
        self.lateral16, self.lateral32 = nn.Conv2d(d, c, 1), nn.Conv2d(e, c, 1)
        self.merge = nn.Sequential(conv_block(c, c), conv_block(c, c))
        self.out = nn.Conv2d(c, 5, 1)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            # hands are rare: one cell in some four hundred
            self.out.bias = nn.Parameter(torch.tensor([-4.0, *[0.0] * 4]))

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 5 h w"]:
        """Heat logit, then x and y of the middle from the cell's corner, log width and log height, all in cells."""
        x8 = self.eighth(self.stem((images - 0.45) * 4))
        x16 = self.sixteenth(x8)
        x32 = self.thirtysecond(x16)
        x32 = F.relu(x32 + self.whole(x32.mean((2, 3)))[..., None, None])
        up = self.lateral16(x16) + F.interpolate(self.lateral32(x32), scale_factor=2.0, mode="nearest")
        x = F.relu(x8 + F.interpolate(up, scale_factor=2.0, mode="nearest"))
        return self.out(self.merge(x))


def build_detector(config: DetectorConfig | None = None) -> Detector:
    """A detector with fresh weights.

    Raises:
        ValueError: its pictures have a size that it cannot halve as often as it does.
    """
    config = config or DetectorConfig()
    if config.size < 32 or config.size % 32:
        raise ValueError(f"--detector.size is a multiple of 32, not {config.size}")
    return Detector(config)


def encode_targets(
    boxes: Float[Tensor, "B 2 4"], present: Bool[Tensor, "B 2"], grid: int
) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B 4 h w"], Bool[Tensor, "B h w"]]:
    """Heat (a Gaussian about each hand's middle, 1 at its cell), regression targets and where they hold.

    Boxes are x, y, w, h in pixels of the network's input. A middle outside the picture is taken at its border. Where the
    surroundings of two middles meet, a cell tells of the nearer.
    """
    middle = boxes[..., :2] + boxes[..., 2:] / 2 + 0.5  # in the frame where the picture spans 0..size
    place = (middle / STRIDE).clamp(0, grid - 1e-3)
    cell = place.floor()
    steps = torch.arange(grid, dtype=boxes.dtype, device=boxes.device)
    sigma = (boxes[..., 2:].amax(-1) / STRIDE / 8).clamp(0.7, 3.0)[..., None, None]
    dx = (steps[None, None, None, :] - cell[..., 0, None, None]).expand(-1, -1, grid, grid)
    dy = (steps[None, None, :, None] - cell[..., 1, None, None]).expand(-1, -1, grid, grid)
    there = present[..., None, None]
    heat = (torch.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)) * there).amax(1)
    values = torch.cat([place - cell, torch.log(boxes[..., 2:].clamp_min(2) / STRIDE)], -1)[..., None, None]
    sizes = values[:, :, 2:].expand(-1, -1, -1, grid, grid)
    regression = torch.cat([values[:, :, :1] - dx[:, :, None], values[:, :, 1:2] - dy[:, :, None], sizes], 2)
    far = torch.maximum(dx.abs(), dy.abs()) + (dx * dx + dy * dy) * 1e-3 + torch.where(there, 0.0, 1e3)
    nearest = far.argmin(1, keepdim=True)
    regression = regression.gather(1, nearest[:, :, None].expand(-1, -1, 4, -1, -1))[:, 0]
    return heat, regression, far.amin(1) < 1.5


def detector_loss(
    detector: nn.Module,
    images: Float[Tensor, "B 3 S S"],
    boxes: Float[Tensor, "B 2 4"],
    present: Bool[Tensor, "B 2"],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Focal loss of the heat (CenterNet, equation 1: alpha 2, beta 4) and L1 of place and size about the middles."""
    out = detector(images).float()
    heat, regression, near = encode_targets(boxes, present, out.shape[-1])
    probability = torch.sigmoid(out[:, 0]).clamp(1e-5, 1 - 1e-5)
    peak = heat >= 0.9999
    positive = torch.log(probability) * (1 - probability) ** 2
    negative = torch.log(1 - probability) * probability**2 * (1 - heat) ** 4
    focal = -torch.where(peak, positive, negative).sum() / peak.sum().clamp_min(1)
    error = (out[:, 1:] - regression).abs() * near[:, None]
    count = near.sum().clamp_min(1)
    offset, size = error[:, :2].sum() / count, error[:, 2:].sum() / count
    return focal + 0.5 * offset + size, {"focal": focal, "offset": offset, "size": size}


@torch.no_grad()
def decode(detector: nn.Module, images: Float[Tensor, "B 3 S S"], most: int = 6) -> list[list[Place]]:
    """Candidates of each picture, best first, boxes in input pixels; of places that overlap much the best is kept.

    A picture is looked at as it is and mirrored: hands are found a little better so, and fewer invented.
    """
    out = _both_ways(detector, images)
    score = torch.sigmoid(out[:, 0])
    score = torch.where(score == F.max_pool2d(score[:, None], 3, 1, 1)[:, 0], score, torch.zeros_like(score))
    grid = out.shape[-1]
    results = []
    for scores, values in zip(score, out[:, 1:]):
        best = scores.flatten().topk(most * 2)
        found: list[Place] = []
        for value, index in zip(best.values.tolist(), best.indices.tolist()):
            y, x = index // grid, index % grid
            dx, dy, w, h = values[:, y, x].tolist()
            w, h = (min(float(np.exp(min(v, 6.0))), grid * 1.5) for v in (w, h))
            centre = np.array([x + dx, y + dy])
            box = np.array([*((centre - np.array([w, h]) / 2) * STRIDE - 0.5), w * STRIDE, h * STRIDE])
            if all(iou(f.box, box) < SAME_PLACE for f in found):
                found.append(Place(value, box))
        results.append(found[:most])
    return results


def _both_ways(detector: nn.Module, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 5 h w"]:
    """The mean of what the detector says of the pictures and of their mirror images, turned back."""
    out, mirrored = detector(torch.cat([images, images.flip(-1)])).float().chunk(2)
    heat, x, others = mirrored.flip(-1).split([1, 1, 3], 1)
    return (out + torch.cat([heat, 1 - x, others], 1)) / 2


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float, np.ndarray]:
    """(size, size, 3) the picture, scaled to fit and centred on grey; and scale, shift: input = scale * pixel + shift."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size - w) // 2, (size - h) // 2
    out = np.full((size, size, 3), 114, np.uint8)
    out[top : top + h, left : left + w] = small
    # pixel centres at integers: input = (pixel + 0.5) * scale - 0.5 + corner
    shift = np.array([left, top], np.float64) + 0.5 * scale - 0.5
    return out, scale, shift


def letterbox_boxes(image: np.ndarray, boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The letterboxed picture and its boxes (N, 4), moved along."""
    out, scale, shift = letterbox(image, size)
    moved = np.concatenate([boxes[:, :2] * scale + shift, boxes[:, 2:] * scale], 1)
    return out, moved.astype(np.float32)


def choose_sides(
    places: Sequence[Place],
    sides: np.ndarray,
    hand_threshold: float = HAND_THRESHOLD,
    side_weight: float = SIDE_WEIGHT,
) -> list[Detection]:
    """At most one right and one left hand, at different places, decided together: the greatest sum of evidence.

    Evidence of a place is the log of the detector's score over the threshold, the log odds of the side network's belief in a
    hand, the log of its side over a coin's toss, weighted, and what the hand network says for it.

    Args:
        places: from `find_places`.
        sides: (len(places), 3) from `look_at_places`: right, left, none.
        hand_threshold: see `HAND_THRESHOLD`.
        side_weight: see `SIDE_WEIGHT`.
    """
    if not places:
        return []
    evidence, confidence = side_evidence(places, sides, hand_threshold, side_weight)
    rows = range(len(places))
    options: list[tuple[float, list[tuple[int, int]]]] = [(0.0, [])]
    options += [(evidence[p, side], [(p, side)]) for p in rows for side in (0, 1)]
    pairs = [(r, left) for r in rows for left in rows if r != left and one_each(places, sides, r, left)]
    options += [(evidence[r, 0] + evidence[left, 1], [(r, 0), (left, 1)]) for r, left in pairs]
    best = max(options, key=lambda option: option[0])[1]
    return [as_hand(places[p], side, confidence[p, side]) for p, side in best]


def side_evidence(
    places: Sequence[Place], sides: np.ndarray, hand_threshold: float, side_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) what speaks for each place being a right hand, a left hand (above 0: more for than against), see
    `choose_sides`; and (P, 2) how sure that is, 0..1.
    """
    sides = np.maximum(sides, 1e-4)
    hand = sides[:, :2].sum(1)
    score = np.array([place.score for place in places])
    lean = sides[:, :2] / hand[:, None]
    is_hand = np.log(score / hand_threshold) + HAND_WEIGHT * np.log(hand / (1.02 - hand))
    believed = np.array([np.zeros(2) if place.believed is None else place.believed for place in places])
    return is_hand[:, None] + side_weight * np.log(lean / 0.5) + believed, (score * hand)[:, None] * lean
