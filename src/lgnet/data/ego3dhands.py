"""Reader of Ego3DHands (Lin, Wilhelm and Martinez, WACV 2021): drawn pictures of one's own two hands, joints in 2D.

A root is any folder that holds, at any depth, one folder a picture with `color_new.png` (the hands before a background) and
`location_2d.npy`.

Traps: row before column, as shares of the picture's height and width; left hand first; joint 0 is the elbow; a hand that is
not there is all zeros. The 3D joints are scaled for each hand by itself, not metric, and so are not read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..hands import NUM_JOINTS
from .files import read_pixels
from .sample import Sample, empty_sample, inside_picture, kind_of, set_joints

FOCAL = 375.864 / 960
"""Focal length as a share of the picture's width: 187.932 pixels at 480, the centre in the middle."""


@dataclass(frozen=True)
class Ego3dHands:
    """The folders of the pictures."""

    root: Path
    folders: tuple[Path, ...]


def read_ego3dhands(root: Path) -> Ego3dHands:
    """Find the pictures.

    Raises:
        ValueError: there are none.
    """
    folders = tuple(sorted(path.parent for path in root.rglob("location_2d.npy")))
    if not folders:
        raise ValueError(f"{root} holds nothing of Ego3DHands: there is no location_2d.npy in it")
    return Ego3dHands(root, folders)


def load_sample(data: Ego3dHands, index: int) -> Sample:
    """Read one picture and its truth.

    Raises:
        ValueError: a file is missing or damaged.
    """
    folder = data.folders[index]
    image = read_pixels(folder / "color_new.png")
    path = folder / "location_2d.npy"
    try:
        shares = np.load(path, allow_pickle=False).astype(np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as an array: {error}") from error
    if shares.shape != (2, NUM_JOINTS + 1, 2):
        raise ValueError(f"{path} is {shares.shape}, not (2, {NUM_JOINTS + 1}, 2)")
    height, width = image.shape[:2]
    K = np.array([FOCAL * width, FOCAL * width, width / 2, height / 2], np.float32)
    name = folder.relative_to(data.root).as_posix()
    sample = replace(
        empty_sample(folder.name if name == "." else name, "single", image, K), score_box=np.zeros((2, 4), np.float32)
    )
    for side, rows in ((0, shares[1]), (1, shares[0])):
        if rows.any():
            pixels = rows[1:, ::-1] * (width, height)
            inside = inside_picture(pixels, width, height)
            set_joints(sample, side, pixels, inside)
    return replace(sample, kind=kind_of(sample))
