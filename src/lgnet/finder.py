"""Finding hands: places that may hold one, which hand each is, and whose they are.

The detector says where, the pair network where both hands are that lie near each other, the side network which each is, and
the hand network whether it sees one there; `people` decides for all places of a picture together.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from .checkpoint import load_built
from .config import DetectorConfig, PairConfig, SideConfig
from .detect import Detection, Detector, Place, build_detector
from .opinion import Seen, belief, closer
from .pair import PairNet, build_pair_net, look_at_pairs
from .people import MOST, group, nearest_pair
from .places import PLACES, STRONG, Tiles, find_places, together
from .side import SideNet, build_side_net, look_at_places

FINDERS = ("detector", "sides", "pair")
"""What finds hands, by the names of its bundled weights."""


@dataclass(frozen=True)
class Finder:
    """What finds hands in a picture where no boxes are given."""

    detector: Detector
    side_net: SideNet
    pair_net: PairNet
    tiles: Tiles = "auto"
    """See `places.find_places`."""
    seen: Seen | None = None
    """The hand network's opinion of places; None: it is not asked."""

    def detections(self, image: np.ndarray, K: np.ndarray) -> list[Detection]:
        """At most one right and one left hand, the nearest pair, of a picture (H, W, 3) uint8 RGB; K (4,) of its camera."""
        return nearest_pair(*find_sides(self, image, K, tiles=self.tiles))

    def everyone(self, image: np.ndarray, K: np.ndarray) -> list[list[Detection]]:
        """The hands of each person, the largest first; in tiles too, unless they are off."""
        tiles: Tiles = "all" if self.tiles == "auto" else self.tiles
        people = group(*find_sides(self, image, K, MOST, tiles))
        return [[hand for hand in person if hand is not None] for person in people]


class FindsHands(Protocol):
    """`Finder`, or anything like it."""

    def detections(self, image: np.ndarray, K: np.ndarray) -> list[Detection]:
        """As `Finder.detections`."""
        ...


def find_sides(
    finder: Finder, image: np.ndarray, K: np.ndarray, most: int = PLACES, tiles: Tiles = "auto"
) -> tuple[list[Place], np.ndarray]:
    """P places that may hold a hand, and (P, 3) how likely each is a right hand, a left hand, none; `most`, `tiles`: see
    `places.find_places`.
    """
    places = find_places(finder.detector, image, most, tiles)
    if not places:
        return [], np.zeros((0, 3))
    groups = together([place.box for place in places if place.score > STRONG])
    if groups:
        places = [*places, *look_at_pairs(finder.pair_net, image, groups, K)]
    sides = look_at_places(finder.side_net, image, [place.box for place in places], K)
    if finder.seen is not None:
        boxes = [place.box for place in places]
        opinion = finder.seen(image, boxes, K)
        places = [
            replace(place, closer=closer(place.box, seen), believed=told)
            for place, seen, told in zip(places, opinion.boxes, belief(boxes, opinion))
        ]
    return places, sides


def load_finder(device: torch.device, **files: str | Path | None) -> Finder | None:
    """Detector, side network and pair network of the files `detector`, `sides`, `pair`, each else the bundled one, in eval
    mode; None where the package has none.

    Raises:
        ValueError: a file is damaged or of another architecture.
    """
    paths = {name: Path(files.get(name) or bundled_file(name)) for name in FINDERS}
    if not all(path.is_file() for path in paths.values()):
        return None
    detector = load_built(paths["detector"], DetectorConfig, build_detector, "detector")[0]
    side_net = load_built(paths["sides"], SideConfig, build_side_net, "sides")[0]
    pair_net = load_built(paths["pair"], PairConfig, build_pair_net, "pair")[0]
    return Finder(detector.to(device), side_net.to(device), pair_net.to(device))


def weights_file(weights: str) -> str:
    """The path of a checkpoint, or of weights that come with the package by their name.

    Raises:
        ValueError: there are none of this name.
    """
    if "/" in weights or weights.endswith(".safetensors"):
        return weights
    with suppress(OSError):  # no file has so long a name
        if not bundled_file(weights).is_file() and Path(weights).is_file():
            return weights
    return bundled(weights)


def bundled(name: str) -> str:
    """The path of weights that come with the package.

    Raises:
        ValueError: there are none of this name.
    """
    file = bundled_file(name)
    if not file.is_file():
        names = sorted(f.stem for f in file.parent.glob("*.safetensors") if f.stem not in FINDERS)
        raise ValueError(f"there are no weights {name!r}; give a path, or one of: {', '.join(names) or 'none bundled'}")
    return str(file)


def bundled_file(name: str) -> Path:
    """Where weights of this name lie, if they come with the package."""
    return Path(str(resources.files("lgnet"))) / "weights" / f"{name}.safetensors"
