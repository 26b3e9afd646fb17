"""Image -> where the hands are: a small centre-point detector on the whole picture.

One network looks at a letterboxed 224 x 224 picture and says for each cell of a 28 x 28 grid how likely a hand has its
middle there, and how large it is (Zhou et al., "Objects as Points", 2019). Which hand it is is asked of each place
afterwards (side.py), and decided for all places of a picture together (`choose_sides`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .config import DetectorConfig
from .geometry import iou

Tiles = Literal["auto", "off", "all"]

STRIDE = 8
PLACE_THRESHOLD = 0.1
"""The detector's score from which a place is looked at more closely."""
STRONG = 0.3
"""The detector's score from which a place is worth a second look around and may hide another hand."""
HAND_THRESHOLD = 0.4
"""The detector's score from which a place counts as a hand, where the side network has no opinion. Like HAND_WEIGHT,
SIDE_WEIGHT and OTHER_THRESHOLD chosen on 400 synthetic pictures of a seed that neither training nor synth-bench uses, as
what gets most sides' presence right with a second hand invented in one of twenty at most (benchmarks/finder_thresholds.py); of
values within a thousandth of it, those with the fewest; kept since with an eye on photographs (docs/results.md)."""
HAND_WEIGHT = 0.2
"""How much the side network's belief in a hand, as log odds, counts against the log of the detector's score."""
SIDE_WEIGHT = 0.45
"""How much the side counts against that: the side network is surer of itself than it is right."""
SAME_PLACE = 0.5
"""Places that overlap (IoU) more than this are one, unless the side network sees two hands there."""
INSIDE = 0.7
"""Of places found in tiles of several sizes, those that lie in one another with this part of their area are one."""
TILES_AT_ONCE = 16
OTHER_THRESHOLD = 0.5
"""How sure the side network must be of another hand over a place."""


@dataclass(frozen=True)
class Place:
    """Where a hand may be, whichever side it is."""

    score: float  # 0..1
    box: np.ndarray  # (4,) x, y, w, h, pixels
    closer: np.ndarray | None = None
    """(2, 4) what to crop by if it is a right hand, a left hand, where the hand network had a look; None: `box`."""


@dataclass(frozen=True)
class Detection:
    """A hand found."""

    side: int  # 0 right, 1 left
    score: float  # 0..1
    box: np.ndarray  # (4,) x, y, w, h, pixels


def as_hand(place: Place, side: int, score: float) -> Detection:
    """The place taken for a hand of this side."""
    return Detection(side, float(score), place.box if place.closer is None else place.closer[side])


class Detector(nn.Module):
    """Convolutions to 1/32 of the picture, a look at the whole, and back up to 1/8."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        a, b, c, d, e = config.widths
        self.stem = nn.Sequential(_conv(3, a, 2), _conv(a, b, 2), _conv(b, b))
        self.eighth = nn.Sequential(_conv(b, c, 2), _conv(c, c), _conv(c, c))
        self.sixteenth = nn.Sequential(_conv(c, d, 2), _conv(d, d), _conv(d, d))
        self.thirtysecond = nn.Sequential(_conv(d, e, 2), _conv(e, e), _conv(e, e), _conv(e, e))
        self.whole = nn.Linear(e, e)
        self.lateral16, self.lateral32 = nn.Conv2d(d, c, 1), nn.Conv2d(e, c, 1)
        self.merge = nn.Sequential(_conv(c, c), _conv(c, c))
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


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def build_detector(config: DetectorConfig | None = None) -> Detector:
    """A detector with fresh weights."""
    return Detector(config or DetectorConfig())


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


def find_places(detector: Detector, image: np.ndarray, most: int = 4, tiles: Tiles = "auto") -> list[Place]:
    """Places of a picture (H, W, 3) uint8 RGB that may hold a hand, the best first, boxes in its pixels.

    The whole picture is looked at first; where nothing is found and the picture is large, four overlapping quarters, and
    ever smaller tiles until something is found. Then once more, closer, at what surrounds the places found: hands that
    overlap come apart, small ones grow.

    Args:
        detector: in eval mode.
        image: the picture.
        most: how many places.
        tiles: "off": never look at quarters or tiles; "all": look at all tiles, whatever was found before.
    """
    found = _look(detector, [image])[0]
    large = tiles != "off" and min(image.shape[:2]) >= 2 * detector.config.size
    if tiles == "all" and large:
        found += [p for side in tile_sides(image, detector.config.size) for p in look_at_tiles(detector, image, side)]
        return _apart(found, nested=True)[:most]
    if large and max((p.score for p in found), default=0) < STRONG:
        corners, parts = _quarters(image)
        found = [p for corner, places in zip(corners, _look(detector, parts)) for p in _shifted(places, corner)]
        for side in tile_sides(image, detector.config.size)[1:]:
            if max((p.score for p in found), default=0) >= STRONG:
                break
            found += look_at_tiles(detector, image, side)
    strong = [p.box for p in found if p.score > STRONG]
    if strong:
        part, corner = _surroundings(image, np.stack(strong))
        found = found + _shifted(_look(detector, [part])[0], corner)
    return _apart(found)[:most]


def _apart(places: Sequence[Place], nested: bool = False) -> list[Place]:
    """The places with a score of some size, best first; of those that overlap much the best, with `nested` of those that lie
    in one another too.
    """
    kept: list[Place] = []
    for place in sorted(places, key=lambda p: -p.score):
        same = (
            iou(place.box, other.box) >= SAME_PLACE or (nested and _shared(place.box, other.box) > INSIDE)
            for other in kept
        )
        if place.score >= PLACE_THRESHOLD and not any(same):
            kept.append(place)
    return kept


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    """Which part of the smaller box lies in the other."""
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.maximum(sides, 0).prod() / min(a[2:].prod(), b[2:].prod()))


def tile_sides(image: np.ndarray, size: int) -> list[int]:
    """Sides of the tiles a picture is looked at in: a half, a quarter, ... of its longer side, no less than twice `size`."""
    sides = [max(image.shape[:2]) // 2]
    while sides[-1] >= 4 * size:
        sides.append(sides[-1] // 2)
    return sides


def look_at_tiles(detector: Detector, image: np.ndarray, side: int) -> list[Place]:
    """Places found in square tiles that overlap by a third at least; hands that a tile cuts are left to the next one."""
    height, width = image.shape[:2]
    step = side - side // 3

    def starts(length: int) -> list[int]:
        count = max(1, -(-(length - side // 3) // step))
        return [round(v) for v in np.linspace(0, max(length - side, 0), count)]

    corners = [(x, y) for y in starts(height) for x in starts(width)]
    found = []
    for first in range(0, len(corners), TILES_AT_ONCE):
        some = corners[first : first + TILES_AT_ONCE]
        parts = [image[y : y + side, x : x + side] for x, y in some]
        for (x, y), part, places in zip(some, parts, _look(detector, parts)):
            low = np.array([0 if x else -np.inf, 0 if y else -np.inf])
            high = np.array(
                [
                    np.inf if end >= whole else length
                    for end, whole, length in ((x + side, width, part.shape[1]), (y + side, height, part.shape[0]))
                ]
            )
            for place in places:
                slack = 0.1 * place.box[2:]
                if (place.box[:2] > low - slack).all() and (place.box[:2] + place.box[2:] < high + slack).all():
                    found += _shifted([place], (x, y))
    return found


def hidden_places(places: Sequence[Place], others: Sequence[tuple[float, np.ndarray] | None]) -> list[Place]:
    """Hands the detector cannot tell apart, as their boxes nearly coincide: what `look_at_places` saw over its places.

    Args:
        places: from `find_places`.
        others: for each, how likely there is another hand and its box; None: not known.

    Returns:
        Places to add: over a place that counts as a hand, where none of the others stands already.
    """
    hidden = []
    for place, other in zip(places, others):
        if other is None or other[0] < OTHER_THRESHOLD or place.score < STRONG:
            continue
        if all(known is place or iou(known.box, other[1]) < SAME_PLACE for known in (*places, *hidden)):
            hidden.append(Place(place.score * other[0], other[1]))
    return hidden


def choose_sides(
    places: Sequence[Place],
    sides: np.ndarray,
    hand_threshold: float = HAND_THRESHOLD,
    side_weight: float = SIDE_WEIGHT,
) -> list[Detection]:
    """At most one right and one left hand, at different places, decided together: the greatest sum of evidence.

    Evidence of a place is the log of the detector's score over the threshold, the log odds of the side network's belief in a
    hand, and the log of its side over a coin's toss, weighted.

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
    options += [(evidence[r, 0] + evidence[left, 1], [(r, 0), (left, 1)]) for r in rows for left in rows if r != left]
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
    return is_hand[:, None] + side_weight * np.log(lean / 0.5), (score * hand)[:, None] * lean


def _look(detector: Detector, images: Sequence[np.ndarray]) -> list[list[Place]]:
    size = detector.config.size
    boxed = [letterbox(image, size) for image in images]
    device = next(detector.parameters()).device
    batch = torch.from_numpy(np.stack([b[0] for b in boxed])).to(device).permute(0, 3, 1, 2).float() / 255
    return [
        [Place(p.score, np.array([*((p.box[:2] - shift) / scale), *(p.box[2:] / scale)])) for p in found]
        for found, (_, scale, shift) in zip(decode(detector, batch), boxed)
    ]


def _shifted(places: Sequence[Place], corner: tuple[int, int]) -> list[Place]:
    return [Place(p.score, p.box + np.array([*corner, 0, 0])) for p in places]


def _surroundings(image: np.ndarray, boxes: np.ndarray, grow: float = 1.5) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of the picture about all boxes (N, 4), `grow` times as wide as they reach, and its corner."""
    low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    middle, half = (low + high) / 2, max(grow * (high - low).max() / 2, 4)
    height, width = image.shape[:2]
    x0, y0 = (int(v) for v in np.clip(np.floor(middle - half), 0, [width - 1, height - 1]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(middle + half), [x0 + 1, y0 + 1], [width, height]))
    return image[y0:y1, x0:x1], (x0, y0)


def _quarters(image: np.ndarray) -> tuple[list[tuple[int, int]], list[np.ndarray]]:
    height, width = image.shape[:2]
    h, w = int(height * 0.6), int(width * 0.6)
    corners = [(x, y) for y in (0, height - h) for x in (0, width - w)]
    return corners, [image[y : y + h, x : x + w] for x, y in corners]
