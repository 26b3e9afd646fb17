"""Reader of FreiHAND (Zimmermann et al., ICCV 2019) as published: right hands in 224 x 224 crops.

A root holds `training/rgb/` with `training_K.json` and `training_xyz.json`, `evaluation/rgb/` with `evaluation_K.json`
and, since the challenge ended, `evaluation_xyz.json`, which comes in an archive of its own. Joints are metres in the camera
frame and in lgnet's own order. `<split>_mano.json` and `<split>_verts.json` (778 vertices, metres) are read where they are
there.

Trap: the 130,240 training pictures are four backgrounds of the same 32,560 hands: picture i has the truth of i modulo 32,560,
so all four belong to one side of a split. MANO's 61 numbers are pose 48, relative to its mean pose, shape 10, and a root in
pixels with a scale, which the joints make needless.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..hands import MANO_VERTICES, NUM_JOINTS, RIGHT, SIDES
from .files import read_numbers, read_pixels
from .sample import Sample, empty_sample, project, set_joints


@dataclass(frozen=True)
class FreiHand:
    """One split: pictures by number; truth by number modulo its length."""

    folder: Path
    pictures: int
    K: np.ndarray  # (M, 4)
    xyz: np.ndarray  # (M, 21, 3) metres
    mano: np.ndarray | None = None  # (M, 61) pose 48, shape 10, u, v, scale
    vertices: np.ndarray | None = None  # (M, 778, 3) metres, camera frame


def read_freihand(root: Path, split: str) -> FreiHand:
    """Read a split's annotations (not yet the pictures).

    Raises:
        ValueError: a file is missing or not laid out as published.
    """
    folder = root / split / "rgb"
    if not folder.is_dir():
        raise ValueError(f"{root} holds no pictures of FreiHAND: there is no folder {folder}")
    intrinsics = read_numbers(root / f"{split}_K.json", (3, 3))
    xyz = read_numbers(
        root / f"{split}_xyz.json", (NUM_JOINTS, 3), "FreiHAND_pub_v2_eval.zip has it" if split == "evaluation" else ""
    )
    if len(intrinsics) != len(xyz):
        raise ValueError(f"{root} has {len(intrinsics)} cameras but {len(xyz)} hands in its {split} split")
    K = intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]]
    mano, vertices = (
        _optional(root, split, "mano", (1, 61), len(xyz)),
        _optional(root, split, "verts", (MANO_VERTICES, 3), len(xyz)),
    )
    return FreiHand(
        folder, sum(1 for _ in folder.glob("*.jpg")), K, xyz, None if mano is None else mano[:, 0], vertices
    )


def _optional(root: Path, split: str, kind: str, shape: tuple[int, int], count: int) -> np.ndarray | None:
    path = root / f"{split}_{kind}.json"
    if not path.is_file():
        return None
    values = read_numbers(path, shape)
    if len(values) != count:
        raise ValueError(f"{path} tells of {len(values)} hands, not {count} as the other files do")
    return values


def load_sample(data: FreiHand, index: int, mano: bool = False) -> Sample:
    """Read one picture and its truth, with `mano` also MANO's parameters and mesh, which take MANO's own files.

    Raises:
        ValueError: the picture is missing or unreadable, or MANO's files are.
    """
    path = data.folder / f"{index:08d}.jpg"
    row = index % len(data.xyz)
    K, joints = data.K[row], data.xyz[row]
    sample = replace(
        empty_sample(f"{path.parent.parent.name}/{path.stem}", "single", read_pixels(path), K.astype(np.float32)),
        score_box=np.zeros((2, 4), np.float32),
        recording=str(row),  # the same hand before other backgrounds
    )
    every = np.ones(NUM_JOINTS, bool)
    set_joints(sample, RIGHT, project(joints, K), every, joints, every)
    if data.vertices is not None:
        pixels = project(data.vertices[row], K)
        sample.box[RIGHT] = *pixels.min(0), *(pixels.max(0) - pixels.min(0))
    if mano and data.vertices is not None:
        vertices = np.full((2, MANO_VERTICES, 3), np.nan)
        vertices[RIGHT] = data.vertices[row]
        sample = replace(sample, vertices=vertices, hand_model="mano")
    if not mano or data.mano is None:
        return sample
    from ..mano import load_hands_mean, mano_pose

    sample.pose[RIGHT] = mano_pose(data.mano[row, :48], np.eye(3), load_hands_mean(SIDES[RIGHT]))
    sample.shape[RIGHT] = data.mano[row, 48:58]
    sample.has_params[RIGHT] = True
    return replace(sample, hand_model="mano")
