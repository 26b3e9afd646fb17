"""Reader of HO-3D v2 and v3 (Hampali et al., CVPR 2020; right hands with objects) and H2O-3D (CVPR 2022; two hands).

A root holds `train.txt` and `evaluation.txt`, a picture a line as `<sequence>/<frame>`, and `train/` and `evaluation/` with
`<sequence>/rgb/<frame>.png` (v2) or `.jpg` (v3, H2O-3D) and `<sequence>/meta/<frame>.pkl`, which is read by the restricted
reader of pickles. Of the evaluation split it holds wrists and boxes; the joints are in `evaluation_xyz.json` beside the list,
a hand a line of it, which HO-3D's authors gave out in November 2025 and which is read where it is there.

Traps: OpenGL's camera frame, y up and z backwards; MANO's order of joints with the tips last; MANO's pose is relative to
the flat hand. Whether H2O-3D's left hand was posed with the shape basis as published or the mended one is not settled (the
authors' own programs do either), so that its parameters are left out (`refit` finds others).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hands import NUM_JOINTS, RIGHT, SIDES, WRIST
from ..safe_pickle import dense, read_pickle
from .files import read_numbers, read_pixels
from .sample import Sample, empty_sample, grown, kind_of, project, set_joints

ORDER = np.array([0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20])
"""Where each of lgnet's joints stands among the 21 of MANO with its tips, thumb first, at the end."""
FROM_OPENGL = np.array([1.0, -1.0, -1.0])
SAME_WRIST = 0.005
"""Metres by which the two files of the evaluation split may differ about a wrist; more, and they are not of one frame."""


@dataclass(frozen=True)
class Ho3d:
    """One split."""

    folder: Path
    frames: tuple[str, ...]  # <sequence>/<frame>
    two_hands: bool
    joints: np.ndarray | None = None  # (N, 21, 3) as they are published, of the evaluation split


def read_ho3d(root: Path, split: str, two_hands: bool) -> Ho3d:
    """Read a split's list (not yet pictures and annotations).

    Raises:
        ValueError: the list is missing, empty or not one, or the evaluation split's joints are not those of its frames.
    """
    path = root / f"{split}.txt"
    if not path.is_file():
        raise ValueError(f"there is no file {path}, the list of the {split} split")
    frames = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not frames or any(len(Path(frame).parts) != 2 or ".." in frame for frame in frames):
        raise ValueError(f"{path} is no list of <sequence>/<frame>, one a line")
    public = split == "evaluation" and not two_hands
    joints = _evaluation_joints(root / "evaluation_xyz.json", len(frames)) if public else None
    return Ho3d(root / split, frames, two_hands, joints)


def _evaluation_joints(path: Path, count: int) -> np.ndarray | None:
    if not path.is_file():
        return None
    values = read_numbers(path, (NUM_JOINTS, 3))
    if len(values) != count:
        raise ValueError(
            f"{path} tells of {len(values)} hands, not of {count} as evaluation.txt; is it of another version of HO-3D?"
        )
    return values


def _recording(sequence: str) -> str:
    """Names of two digits end in the number of the camera: ABF10 to ABF14 are one recording."""
    return re.sub(r"(\d)\d$", r"\1", sequence)


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
            empty_sample(f"{sequence}/{frame}", "single", read_pixels(picture), K.astype(np.float32)),
            score_box=np.zeros((2, 4), np.float32),
            recording=_recording(sequence),
        )
        for side in (0, 1) if data.two_hands else (RIGHT,):
            known = None if data.joints is None else data.joints[index]
            _set_hand(sample, side, content, f"{SIDES[side]}Hand" if data.two_hands else "hand", known)
            sure = "poseValidRight" not in content or dense(content["poseValidRight"]).all()
            if mano and side == RIGHT and known is None and sure and sample.joints3d_valid[side].all():
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


def _set_hand(sample: Sample, side: int, content: dict[str, Any], prefix: str, known: np.ndarray | None) -> None:
    """`known`: (21, 3) the joints of a frame whose own annotation has the wrist alone."""
    assert sample.K is not None and sample.score_box is not None
    values = _entry(content, f"{prefix}Joints3D", (NUM_JOINTS, 3), (3,)) * FROM_OPENGL
    joints, valid = np.zeros((NUM_JOINTS, 3)), np.zeros(NUM_JOINTS, bool)
    boxed = values.ndim == 1  # of the evaluation split: the wrist, and a box
    if boxed and known is not None:
        apart = float(np.linalg.norm(known[WRIST] * FROM_OPENGL - values))
        if apart > SAME_WRIST:
            raise ValueError(
                f"its wrist is {1000 * apart:.0f} mm from that of evaluation_xyz.json; is that of these frames?"
            )
        values = known * FROM_OPENGL
    if values.ndim == 1:
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
    if boxed:
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
