"""Finding hands: places that may hold one, which hand each is, and whose they are.

The detector says where, the side network which, and the hand network whether it sees one there; `people` decides for all
places of a picture together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from .checkpoint import load_built
from .config import DetectorConfig, SideConfig
from .detect import Detection, Detector, Place, build_detector
from .opinion import Seen, belief, closer
from .people import MOST, group, nearest_pair
from .places import PLACES, Tiles, find_places, hidden_places
from .side import SideNet, build_side_net, look_at_places


@dataclass(frozen=True)
class Finder:
    """What finds hands in a picture where no boxes are given."""

    detector: Detector
    side_net: SideNet
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
    sides, others = look_at_places(finder.side_net, image, [place.box for place in places], K)
    hidden = hidden_places(places, others)
    if hidden:
        more, _ = look_at_places(finder.side_net, image, [place.box for place in hidden], K)
        places, sides = [*places, *hidden], np.concatenate([sides, more])
    if finder.seen is not None:
        boxes = [place.box for place in places]
        opinion = finder.seen(image, boxes, K)
        places = [
            replace(place, closer=closer(place.box, seen), believed=told)
            for place, seen, told in zip(places, opinion.boxes, belief(boxes, opinion))
        ]
    return places, sides


def load_finder(
    device: torch.device, detector: str | Path | None = None, sides: str | Path | None = None
) -> Finder | None:
    """Detector and side network of these files, else the bundled ones, in eval mode; None where the package has none.

    Raises:
        ValueError: a file is damaged or of another architecture.
    """
    detector_path, side_path = Path(detector or bundled_file("detector")), Path(sides or bundled_file("sides"))
    if not (detector_path.is_file() and side_path.is_file()):
        return None
    detector_net, _, _ = load_built(detector_path, DetectorConfig, build_detector, "detector")
    side_net, _, _ = load_built(side_path, SideConfig, build_side_net, "sides")
    return Finder(detector_net.to(device), side_net.to(device))


def bundled(name: str) -> str:
    """The path of weights that come with the package.

    Raises:
        ValueError: there are none of this name.
    """
    file = bundled_file(name)
    if not file.is_file():
        names = sorted(f.stem for f in file.parent.glob("*.safetensors") if f.stem not in ("detector", "sides"))
        raise ValueError(f"there are no weights {name!r}; give a path, or one of: {', '.join(names) or 'none bundled'}")
    return str(file)


def bundled_file(name: str) -> Path:
    """Where weights of this name lie, if they come with the package."""
    return Path(str(resources.files("lgnet"))) / "weights" / f"{name}.safetensors"
