"""Reader of HO-3D v2 and v3 (Hampali et al., CVPR 2020; right hands with objects) and H2O-3D (CVPR 2022; two hands).

A root holds `train.txt` and `evaluation.txt`, a picture a line as `<sequence>/<frame>`, and `train/` and `evaluation/` with
`<sequence>/rgb/<frame>.png` (v2) or `.jpg` (v3, H2O-3D) and `<sequence>/meta/<frame>.pkl`, which is read by the restricted
reader of pickles.

Traps: OpenGL's camera frame, y up and z backwards; MANO's order of joints with the tips last; MANO's pose is relative to
the flat hand; of the evaluation split only wrists and boxes are public. H2O-3D's left hand was posed with the shape
basis as published, which is not the mended one, so that its parameters are left out (`refit` finds others).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hands import NUM_JOINTS, RIGHT, SIDES, WRIST
from ..safe_pickle import dense, read_pickle
from .realdata import read_image
from .sample import Sample, empty_sample, grown, kind_of, project, set_joints

ORDER = np.array([0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20])
"""Where each of lgnet's joints stands among the 21 of MANO with its tips, thumb first, at the end."""
FROM_OPENGL = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Ho3d:
    """One split."""

    folder: Path
    frames: tuple[str, ...]  # <sequence>/<frame>
    two_hands: bool


def read_ho3d(root: Path, split: str, two_hands: bool) -> Ho3d:
    """Read a split's list (not yet pictures and annotations).

    Raises:
        ValueError: the list is missing, empty or not one.
    """
    path = root / f"{split}.txt"
    if not path.is_file():
        raise ValueError(f"there is no file {path}, the list of the {split} split")
    frames = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not frames or any(len(Path(frame).parts) != 2 or ".." in frame for frame in frames):
        raise ValueError(f"{path} is no list of <sequence>/<frame>, one a line")
    return Ho3d(root / split, frames, two_hands)


def load_sample(data: Ho3d, index: int, mano: bool = False) -> Sample:
    """Read one picture and its truth, with `mano` also MANO's parameters.

    Raises:
        ValueError: a file is missing or damaged, or the frame has no annotation.
    """
    sequence, frame = Path(data.frames[index]).parts
    meta = data.folder / sequence / "meta" / f"{frame}.pkl"
    picture = data.folder / sequence / "rgb" / f"{frame}.jpg"
    if not picture.is_file():
        picture = picture.with_suffix(".png")
    content = read_pickle(meta)
    try:
        matrix = _entry(content, "camMat", (3, 3))
        K = matrix[[0, 1, 0, 1], [0, 1, 2, 2]]
        sample = replace(
            empty_sample(f"{sequence}/{frame}", "single", read_image(picture), K.astype(np.float32)),
            score_box=np.zeros((2, 4), np.float32),
        )
        for side in (0, 1) if data.two_hands else (RIGHT,):
            _set_hand(sample, side, content, f"{SIDES[side]}Hand" if data.two_hands else "hand")
            if mano and side == RIGHT and sample.joints3d_valid[side].all():
                _set_mano(sample, content, "rightHandPose" if data.two_hands else "handPose")
    except (KeyError, TypeError) as error:
        raise ValueError(f"{meta} is not laid out as HO-3D's annotations: {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{meta}: {error}") from error
    return replace(sample, kind=kind_of(sample), hand_model="mano" if sample.has_params.any() else None)


def _entry(content: dict[str, Any], key: str, *shapes: tuple[int, ...]) -> np.ndarray:
    if content[key] is None:
        raise ValueError(f"the frame has no annotation ({key} is empty)")
    value = content[key]
    if isinstance(value, list | tuple):
        value = np.array([v if isinstance(v, int | float) else float(dense(v)) for v in value])
    else:
        value = dense(value)
    values = value.astype(np.float64)
    if values.shape not in shapes:
        raise ValueError(f"{key} is {values.shape}, not {' or '.join(map(str, shapes))}")
    return values


def _set_hand(sample: Sample, side: int, content: dict[str, Any], prefix: str) -> None:
    assert sample.K is not None and sample.score_box is not None
    values = _entry(content, f"{prefix}Joints3D", (NUM_JOINTS, 3), (3,)) * FROM_OPENGL
    joints, valid = np.zeros((NUM_JOINTS, 3)), np.zeros(NUM_JOINTS, bool)
    if values.ndim == 1:  # of the evaluation split: the wrist, and a box
        joints[WRIST], valid[WRIST] = values, True
    else:
        joints, valid[:] = values[ORDER], True
        flags = f"jointValid{SIDES[side].capitalize()}"
        if flags in content:
            valid = dense(content[flags]).reshape(NUM_JOINTS)[ORDER] > 0
    if not valid.any():
        return
    pixels = project(joints, np.asarray(sample.K, np.float64))
    set_joints(sample, side, pixels, valid, joints, valid)
    if values.ndim == 1:
        sample.joints2d[side], sample.joints2d_valid[side] = pixels, valid
        sample.joints3d[side], sample.joints3d_valid[side] = joints, valid
        left, top, right, bottom = _entry(content, f"{prefix}BoundingBox", (4,))
        sample.score_box[side] = left, top, right - left, bottom - top
        sample.box[side] = grown(sample.score_box[side])


def _set_mano(sample: Sample, content: dict[str, Any], pose: str) -> None:
    from ..mano import mano_pose

    sample.pose[RIGHT] = mano_pose(_entry(content, pose, (48,)), np.diag(FROM_OPENGL), None)
    sample.shape[RIGHT] = _entry(content, "handBeta", (10,))
    sample.has_params[RIGHT] = True
