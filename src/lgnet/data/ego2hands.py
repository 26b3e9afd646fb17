"""Reader of the evaluation set of Ego2Hands (Lin and Martinez, 2020): photographs of one's own two hands, with boxes; and
of the 2D joints that Ego2HandsPose (2022) adds to them.

A root holds, at any depth, `<name>.png` with `<name>_seg.png`, `<name>_e_l.png` and `<name>_e_r.png`, as published in
`eval_seq<number>_imgs/`, and, where Ego2HandsPose is unpacked over it, `<name>_kpts_2d_glob_l.npy` and `_r.npy`. The
training set is not read: cut-out right hands without a picture around them.

Traps: the mask (50 left, 100 right) holds the arms too, so a hand's box is where its "energy" is over a half, as in the
data set's own code. Joints are row before column, as shares of the picture padded to a square (equally on both sides);
those of left hands are of the mirrored picture. The 3D joints are fitted to a hand of fixed size seen by a made-up camera
and so are not read.

Assumed: that Ego2HandsPose's files are named and laid out as its annotation tool (3DHandsForAll) writes them; no
published file of it was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from ..hands import NUM_JOINTS
from .files import read_pixels
from .sample import Sample, empty_sample, inside_picture, kind_of

_MASK_END = "_seg.png"
_LETTERS = ("r", "l")


@dataclass(frozen=True)
class Ego2Hands:
    """The pictures, by their paths without .png."""

    root: Path
    stems: tuple[str, ...]


def read_ego2hands(root: Path) -> Ego2Hands:
    """Find the pictures.

    Raises:
        ValueError: there are none.
    """
    stems = tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob(f"*{_MASK_END}")))
    if not stems:
        raise ValueError(f"{root} holds nothing of Ego2Hands' evaluation set: there is no <name>{_MASK_END} in it")
    return Ego2Hands(root, tuple(stem.removesuffix(_MASK_END) for stem in stems))


def load_sample(data: Ego2Hands, index: int) -> Sample:
    """Read one picture, its hands' boxes and, where they are there, 2D joints.

    Raises:
        ValueError: a file is missing or damaged, or of another size than the picture.
    """
    stem = data.stems[index]
    image = read_pixels(data.root / f"{stem}.png")
    sample = replace(
        empty_sample(stem, "single", image, None),
        score_box=np.zeros((2, 4), np.float32),
        recording=str(PurePosixPath(stem).parent),
    )
    assert sample.score_box is not None
    for side, letter in enumerate(_LETTERS):
        box = _box(data.root / f"{stem}_e_{letter}.png", image.shape[:2])
        if box is None:
            continue
        sample.present[side] = True
        sample.box[side] = sample.score_box[side] = box
        joints = data.root / f"{stem}_kpts_2d_glob_{letter}.npy"
        if joints.is_file():
            pixels = _joints(joints, image.shape[1], image.shape[0], mirrored=letter == "l")
            sample.joints2d[side] = pixels
            sample.joints2d_valid[side] = inside_picture(pixels, image.shape[1], image.shape[0])
    return replace(sample, kind=kind_of(sample))


def _box(path: Path, size: tuple[int, ...]) -> np.ndarray | None:
    """(4,) around where the energy is over a half; None: nowhere."""
    if not path.is_file():
        raise ValueError(f"there is no picture {path}")
    energy = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if energy is None:
        raise ValueError(f"{path} cannot be read as a picture")
    if energy.shape != size:
        raise ValueError(f"{path} is {energy.shape[1]} x {energy.shape[0]} pixels, its picture {size[1]} x {size[0]}")
    rows, columns = np.nonzero(energy > 127)
    if not len(rows):
        return None
    low = np.array([columns.min(), rows.min()], float)
    return np.concatenate([low, np.array([columns.max(), rows.max()]) - low])


def _joints(path: Path, width: int, height: int, mirrored: bool) -> np.ndarray:
    """(21, 2) pixels of the picture."""
    try:
        shares = np.load(path, allow_pickle=False).astype(np.float64).reshape(NUM_JOINTS, 2)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no array of {NUM_JOINTS} x 2 numbers: {error}") from error
    side = max(width, height)
    row, column = shares.T * side
    if mirrored:
        column = side - column
    return np.stack([column - (side - width) / 2, row - (side - height) / 2], 1)
