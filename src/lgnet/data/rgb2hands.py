"""Reader of the benchmark of RGB2Hands (Wang et al., SIGGRAPH Asia 2020): four sequences of two interacting hands, for pictures.

A root holds, there or in `data/`, `color_intrinsics.txt` (its first line fx, fy, cx, cy) and the folders `seq01_crossed`,
`seq02_occlusion`, `seq03_shuffle` and `seq04_scratch` with `color/<number>_color.png`. Their `annotation/annot2D_color/
<number>_color2.5D.txt` has points of both hands, u and v first in a line, (0, 0) where there is none; in which order the
joints and the hands come is written down nowhere we know of, so they are not read. Nothing of these pictures can be scored:
they are shown, as papers do.

Assumed, from the code of others who read it, since no published file was seen: all of the above.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .files import read_pixels
from .sample import Sample, empty_sample

_UNREAD = "pictures with 2D points that are not read: their order is not documented"


@dataclass(frozen=True)
class Rgb2Hands:
    """The pictures in their order, and their camera."""

    root: Path
    pictures: tuple[Path, ...]
    K: np.ndarray  # (4,)
    skipped: dict[str, int]


def read_rgb2hands(root: Path) -> Rgb2Hands:
    """Find the pictures and read their camera.

    Raises:
        ValueError: there are none, or the camera's file is missing or damaged.
    """
    pictures = sorted(root.glob("seq*/color/*_color.*")) or sorted(root.glob("data/seq*/color/*_color.*"))
    if not pictures:
        raise ValueError(f"{root} holds nothing of RGB2Hands: there is no seq<number>_<name>/color/<number>_color.png")
    file = next(
        (f for f in (root / "color_intrinsics.txt", root / "data" / "color_intrinsics.txt") if f.is_file()), None
    )
    if file is None:
        raise ValueError(f"there is no file {root / 'color_intrinsics.txt'}")
    try:
        K = np.array(file.read_text(encoding="utf-8").splitlines()[0].split(), np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"{file} is no line of numbers: {error}") from error
    if K.shape != (4,) or not np.isfinite(K).all() or not (K[:2] > 0).all():
        raise ValueError(f"{file} does not begin with a line of fx, fy, cx and cy")
    pictures.sort(key=lambda path: (path.parts[-3], _number(path)))
    labelled = sum(_annotation(path).is_file() for path in pictures)
    return Rgb2Hands(root, tuple(pictures), K, {_UNREAD: labelled} if labelled else {})


def _number(path: Path) -> int:
    found = re.match(r"\d+", path.name)
    return int(found.group()) if found else -1


def _annotation(path: Path) -> Path:
    return path.parents[1] / "annotation" / "annot2D_color" / f"{path.stem}2.5D.txt"


def load_sample(data: Rgb2Hands, index: int) -> Sample:
    """Read one picture; of its hands nothing is known, not even whether they are there.

    Raises:
        ValueError: the picture cannot be read.
    """
    path = data.pictures[index]
    name = path.relative_to(data.root).as_posix()
    sample = empty_sample(name, "interacting", read_pixels(path), data.K.astype(np.float32))
    return replace(sample, present_known=np.zeros(2, bool), recording=path.parts[-3])
