"""Reader of EgoHands (Bambach et al., ICCV 2015): two people at a table, seen by one of them; one's own hands, as boxes.

A root holds, at any depth (as published in `_LABELLED_SAMPLES/`), a folder for each of 48 videos, `<ACTIVITY>_<PLACE>_<VIEWER>_
<PARTNER>/`, with 100 pictures `frame_<number>.jpg` and `polygons.mat`: for each picture, in the order of their names, the
outlines of the viewer's left and right hand and of the partner's, in pixels counted from 1; empty where a hand is not seen.

Traps: outlines end at the wrist, or where the arm would begin; the partner's hands are in the pictures and are not among
the labels of a sample, which is of one person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hands import SIDES
from .files import read_pixels
from .sample import Sample, empty_sample, kind_of

_FIELDS = {"right": ("myright", 1), "left": ("myleft", 0)}
"""Of one's own hands: what the outline is called, and where it stands."""


@dataclass(frozen=True)
class EgoHands:
    """The pictures, and the outline of the right and the left hand in each; None where it is not seen."""

    root: Path
    pictures: tuple[Path, ...]
    outlines: tuple[tuple[np.ndarray | None, np.ndarray | None], ...]  # (N, 2) pixels


def read_egohands(root: Path) -> EgoHands:
    """Find the pictures and read all outlines.

    Raises:
        ValueError: there are none, scipy is missing, or a video's outlines are damaged or not as many as its pictures.
    """
    pictures: list[Path] = []
    outlines: list[tuple[np.ndarray | None, np.ndarray | None]] = []
    for file in sorted(root.rglob("polygons.mat")):
        own = _polygons(file)
        found = sorted(file.parent.glob("frame_*.jpg"))
        if len(found) != len(own):
            raise ValueError(f"{file} has outlines for {len(own)} pictures, but beside it are {len(found)} frame_*.jpg")
        pictures += found
        outlines += own
    if not pictures:
        raise ValueError(f"{root} holds nothing of EgoHands: there is no <video>/polygons.mat in it")
    return EgoHands(root, tuple(pictures), tuple(outlines))


def _polygons(file: Path) -> list[tuple[np.ndarray | None, np.ndarray | None]]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise ValueError("reading EgoHands needs scipy; install it by pip install 'lgnet[data]'") from error
    try:
        rows = loadmat(str(file))["polygons"].reshape(-1)
        return [(_outline(row, "right"), _outline(row, "left")) for row in rows]
    except Exception as error:  # scipy's reader raises what it comes upon
        raise ValueError(f"{file} cannot be read as EgoHands' outlines: {error!r}") from error


def _outline(row: Any, side: str) -> np.ndarray | None:
    name, place = _FIELDS[side]
    points = np.asarray(row[name] if row.dtype.names else row[place], np.float64)
    if not points.size:
        return None
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"an outline of shape {points.shape}")
    return points - 1


def load_sample(data: EgoHands, index: int) -> Sample:
    """Read one picture and the boxes of the viewer's hands.

    Raises:
        ValueError: the picture is missing or unreadable.
    """
    path = data.pictures[index]
    image = read_pixels(path)
    name = path.relative_to(data.root).as_posix()
    sample = replace(
        empty_sample(name, "single", image, None), score_box=np.zeros((2, 4), np.float32), recording=path.parent.name
    )
    assert sample.score_box is not None
    height, width = image.shape[:2]
    for side in range(len(SIDES)):
        outline = data.outlines[index][side]
        if outline is None:
            continue
        low = np.maximum(outline.min(0), 0)
        size = np.minimum(outline.max(0), (width - 1, height - 1)) - low
        if (size > 0).all():
            sample.present[side] = True
            sample.box[side] = sample.score_box[side] = *low, *size
    return replace(sample, kind=kind_of(sample))
