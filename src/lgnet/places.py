"""Looking over a picture for hands: the detector on the whole, on tiles where hands may be small, and closer at what it
found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .detect import SAME_PLACE, Detector, Place, decode, letterbox
from .geometry import iou
from .model.records import as_input

Tiles = Literal["auto", "off", "all"]

PLACE_THRESHOLD = 0.15
"""The detector's score from which a place is asked about (docs/trials.md)."""
STRONG = 0.3
"""The detector's score from which a place is worth a second look around."""
INSIDE = 0.7
"""Of places found in tiles of several sizes, those that lie in one another with this part of their area are one."""
TILES_AT_ONCE = 16
AROUND_ALL, AROUND_ONE = 1.5, 2.2
"""How many times as far as the places found the closer looks reach: at all together, at each by itself."""
PLACES = 8
"""Of a picture that may hold a hand, the best."""


def find_places(detector: Detector, image: np.ndarray, most: int = PLACES, tiles: Tiles = "auto") -> list[Place]:
    """Places of a picture (H, W, 3) uint8 RGB that may hold a hand, the best first, boxes in its pixels.

    The whole picture is looked at first; where nothing is surely found and the picture is large, four overlapping quarters
    instead (docs/trials.md), and ever smaller tiles until something is found. Then closer, at what surrounds all places found
    and at each by itself: hands that overlap come apart, small ones grow.

    Args:
        detector: in eval mode.
        image: the picture.
        most: how many places.
        tiles: "off": never look at quarters or tiles; "all": look at all tiles, whatever was found before.
    """
    found = _look(detector, [image])[0]
    large = tiles != "off" and min(image.shape[:2]) >= 2 * detector.config.size
    sides = tile_sides(image, detector.config.size)
    nested = tiles == "all" and large and len(sides) > 0
    if nested:
        found += [p for side in sides for p in look_at_tiles(detector, image, side)]
    elif large and max((p.score for p in found), default=0) < STRONG:
        corners, parts = _quarters(image)
        found = [p for corner, places in zip(corners, _look(detector, parts)) for p in _shifted(places, corner)]
        for side in sides[1:]:
            if max((p.score for p in found), default=0) >= STRONG:
                break
            found += look_at_tiles(detector, image, side)
    strong = [p.box for p in found if p.score > STRONG]
    if strong:
        found = found + _look_closer(detector, image, [np.stack(strong)], AROUND_ALL)
        strong = [p.box for p in _apart(found, nested)[:most] if p.score > STRONG]
        found = found + _look_closer(detector, image, [box[None] for box in strong], AROUND_ONE)
    return _apart(found, nested)[:most]


def _look_closer(detector: Detector, image: np.ndarray, groups: Sequence[np.ndarray], grow: float) -> list[Place]:
    """What is found where the boxes of each group (N, 4) are, and a little around them."""
    parts = [_surroundings(image, boxes, grow) for boxes in groups]
    looks = _look(detector, [part for part, _ in parts])
    return [place for (_, corner), places in zip(parts, looks) for place in _shifted(places, corner)]


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


def together(boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Boxes (4,) that overlap, or are joined by others that do, as arrays (N, 4)."""
    groups: list[list[np.ndarray]] = []
    for box in boxes:
        near = [group for group in groups if any(iou(box, other) > 0 for other in group)]
        groups = [group for group in groups if not any(group is other for other in near)]
        groups.append([box, *(other for group in near for other in group)])
    return [np.stack(group) for group in groups]


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    """Which part of the smaller box lies in the other."""
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.maximum(sides, 0).prod() / min(a[2:].prod(), b[2:].prod()))


def tile_sides(image: np.ndarray, size: int) -> list[int]:
    """Sides of the tiles a picture is looked at in: a half, a quarter, ... of its longer side, no less than twice `size`."""
    side, sides = max(image.shape[:2]) // 2, []
    while side >= 2 * size:
        sides.append(side)
        side //= 2
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


def _look(detector: Detector, images: Sequence[np.ndarray]) -> list[list[Place]]:
    size = detector.config.size
    boxed = [letterbox(image, size) for image in images]
    device = next(detector.parameters()).device
    batch = as_input(np.stack([b[0] for b in boxed]), device)
    return [
        [Place(p.score, np.array([*((p.box[:2] - shift) / scale), *(p.box[2:] / scale)])) for p in found]
        for found, (_, scale, shift) in zip(decode(detector, batch), boxed)
    ]


def _shifted(places: Sequence[Place], corner: tuple[int, int]) -> list[Place]:
    return [Place(p.score, p.box + np.array([*corner, 0, 0])) for p in places]


def _surroundings(image: np.ndarray, boxes: np.ndarray, grow: float) -> tuple[np.ndarray, tuple[int, int]]:
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
