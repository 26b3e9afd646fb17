"""Reader of RHD, the Rendered Handpose Dataset (Zimmermann and Brox, ICCV 2017): both hands of drawn people, 320 x 320.

A root holds `training/` and `evaluation/`, each with `color/00000.png` ... and `anno_<split>.pickle`, which is read by the
restricted reader of pickles.

Traps: the left hand's 21 joints come before the right hand's; of a finger the tip comes first; all 42 joints are told
even where a hand is out of the picture or behind the body: a hand is taken as present where a joint of it is visible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hands import NUM_JOINTS
from ..safe_pickle import dense, read_pickle
from .files import read_pixels
from .sample import Sample, empty_sample, inside_picture, kind_of, set_joints

ORDER = np.array([0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17])
"""Where each of lgnet's joints stands among a hand's 21 of RHD."""
_START = (NUM_JOINTS, 0)  # of the right and the left hand's joints


@dataclass(frozen=True)
class Rhd:
    """One split; all of it is in one file."""

    folder: Path
    numbers: np.ndarray  # (N,) of the pictures
    K: np.ndarray  # (N, 4)
    xyz: np.ndarray  # (N, 42, 3) metres, camera frame
    uv_vis: np.ndarray  # (N, 42, 3) pixels and visibility


def read_rhd(root: Path, split: str) -> Rhd:
    """Read a split's annotations (not yet the pictures).

    Raises:
        ValueError: a file or folder is missing or not laid out as published.
    """
    folder, file = root / split / "color", root / split / f"anno_{split}.pickle"
    if not folder.is_dir():
        raise ValueError(f"{root} holds no pictures of RHD: there is no folder {folder}")
    content = read_pickle(file)
    try:
        numbers = sorted(content)
        K = np.stack([_entry(content[n], "K", (3, 3)) for n in numbers])
        xyz = np.stack([_entry(content[n], "xyz", (42, 3)) for n in numbers])
        uv_vis = np.stack([_entry(content[n], "uv_vis", (42, 3)) for n in numbers])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not laid out as RHD's annotations: {error!r}") from error
    return Rhd(folder, np.array(numbers), K[:, [0, 1, 0, 1], [0, 1, 2, 2]], xyz, uv_vis)


def _entry(annotation: dict[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    values = dense(annotation[key]).astype(np.float64)
    if values.shape != shape:
        raise ValueError(f"{key} is {values.shape}, not {shape}")
    return values


def load_sample(data: Rhd, index: int) -> Sample:
    """Read one picture and its truth.

    Raises:
        ValueError: the picture is missing or unreadable.
    """
    path = data.folder / f"{data.numbers[index]:05d}.png"
    image = read_pixels(path)
    height, width = image.shape[:2]
    known = np.ones(2, bool)
    sample = replace(
        empty_sample(f"{path.parent.parent.name}/{path.stem}", "single", image, data.K[index].astype(np.float32)),
        score_box=np.zeros((2, 4), np.float32),
        present_known=known,
    )
    for side, start in enumerate(_START):
        rows = start + ORDER
        pixels, visible = data.uv_vis[index, rows, :2], data.uv_vis[index, rows, 2] == 1
        inside = inside_picture(pixels, width, height)
        if visible.any():
            set_joints(sample, side, pixels, inside | visible, data.xyz[index, rows], np.ones(NUM_JOINTS, bool))
        else:
            known[side] = not inside.any()
    return replace(sample, kind=kind_of(sample))
