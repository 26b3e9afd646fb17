"""Reader of ARCTIC (Fan et al., CVPR 2023): two hands with articulated objects, eight fixed cameras and a headset's.

A root (the published `arctic_data/data`) holds `splits/<protocol>_<split>.npy`, `meta/misc.json` and the pictures in `images/`
(whole) or `cropped_images/` (about the object, 1000 x 1000; the headset's at 0.3 of their size). Protocol p1 is the fixed
cameras, p2 the headset's. The splits are pickled; they are read by the restricted reader, which leaves their arrays, many
gigabytes, in the file until they are looked at. The truth of the test splits is not public.

Traps: MANO's order of joints with its tips last; a picture's number less the subject's offset is the row of its truth;
view 0 is the headset's, whose published joints are of the undistorted picture, so its pictures are undistorted when they
are read, same camera matrix; a hand's published validity is about the crop, so here a hand is there where a joint of it is in
the picture. The left hand was posed with the shape basis as published, which is not the mended one, so that its
parameters are left out (`refit` finds others).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from ..hands import NUM_JOINTS, RIGHT, SIDES
from ..safe_pickle import dense, read_npy_object
from .files import read_pixels
from .ho3d import ORDER
from .sample import Sample, empty_sample, inside_picture, kind_of, set_joints

_EGO = 0
_CROP, _LOOSE, _EGO_SCALE = 1000, 1.5 * 200, 0.3


@dataclass(frozen=True)
class Arctic:
    """One split of one protocol."""

    root: Path
    file: Path
    pictures: np.ndarray  # (N,) bytes: <subject>/<sequence>/<view>/<frame>.jpg
    truth: dict[str, Any]  # of <subject>/<sequence>; arrays are stand-ins
    subjects: dict[str, Any]  # misc.json


def read_arctic(root: Path, protocol: str, split: str) -> Arctic:
    """Read the names of a split's pictures and where its truth lies in the file (not yet pictures and truth).

    Raises:
        ValueError: a file is missing or not laid out as published.
    """
    file, misc = root / "splits" / f"{protocol}_{split}.npy", root / "meta" / "misc.json"
    if not misc.is_file():
        raise ValueError(f"there is no file {misc}: a root of ARCTIC is the folder arctic_data/data of its download")
    content = read_npy_object(file)
    try:
        subjects = json.loads(misc.read_text(encoding="utf-8"))
        names = ["/".join(PurePosixPath(name).parts[-4:]).encode() for name in content["imgnames"]]
        truth = dict(content["data_dict"])
        missing = {name.decode().rsplit("/", 2)[0] for name in names} - set(truth)
        if not names or missing:
            raise ValueError(f"no truth of {sorted(missing)[:3]}" if names else "no pictures")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} or {misc} is not laid out as ARCTIC's: {error!r}") from error
    return Arctic(root, file, np.array(names), truth, subjects)


def load_sample(data: Arctic, index: int, mano: bool = False) -> Sample:
    """Read one picture and its truth, with `mano` also the right hand's parameters, which takes MANO's own files.

    Raises:
        ValueError: the picture is missing, unreadable or of another size than published, or the truth is not laid out
            as published.
    """
    name = data.pictures[index].decode()
    subject, sequence, view_name, frame = name.split("/")
    view = int(view_name)
    try:
        own, about = data.truth[f"{subject}/{sequence}"], data.subjects[subject]
        row = int(PurePosixPath(frame).stem) - int(about["ioi_offset"])
        if row < 0:
            raise ValueError(f"{name} is before the first frame with truth")
        params = own["params"]
        matrix = dense(params["K_ego"])[row] if view == _EGO else np.array(about["intris_mat"][view - 1], np.float64)
        box = np.array(dense(own["bbox"])[row, view], np.float64)
        joints = {
            (kind, side): np.array(dense(own[kind][f"joints.{side}"])[row, view], np.float64).reshape(NUM_JOINTS, -1)
            for kind in ("cam_coord", "2d")
            for side in SIDES
        }
        image, scale, shift = _picture(data.root, name, view, box, tuple(about["image_size"][view]))
        K = np.array([matrix[0, 0] * scale[0], matrix[1, 1] * scale[1], *_moved(matrix[:2, 2], scale, shift)])
        if view == _EGO:
            image = _undistorted(image, K, np.array(dense(params["dist"])[row], np.float64))
        sample = replace(
            empty_sample(name, "single", image, K.astype(np.float32)),
            score_box=np.zeros((2, 4), np.float32),
            recording=str(PurePosixPath(name).parent.parent),  # subject/sequence, of subject/sequence/view/picture
        )
        for side, word in enumerate(SIDES):
            points, pixels = joints["cam_coord", word][ORDER], _moved(joints["2d", word][ORDER], scale, shift)
            ahead = points[:, 2] > 0
            inside = inside_picture(pixels, image.shape[1], image.shape[0]) & ahead
            if inside.any():
                set_joints(sample, side, pixels, inside, points, ahead)
        if mano and sample.present[RIGHT]:
            _set_mano(sample, own, row, view)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{data.file} has truth of {name} that is not laid out as published: {error!r}") from error
    return replace(sample, kind=kind_of(sample), hand_model="mano" if sample.has_params.any() else None)


def _picture(
    root: Path, name: str, view: int, box: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The picture, whole or else cropped, and how it lies in the whole one: pixels (u + 0.5 - shift) * scale - 0.5."""
    whole, cropped = root / "images" / name, root / "cropped_images" / name
    if whole.is_file():
        path, wanted = whole, size
        scale, shift = np.ones(2), np.zeros(2)
    elif view == _EGO:
        path, wanted = cropped, (int(size[0] * _EGO_SCALE), int(size[1] * _EGO_SCALE))
        scale, shift = np.array(wanted) / size, np.zeros(2)
    else:
        path, wanted = cropped, (_CROP, _CROP)
        low, high = np.round(box[:2] - box[2] * _LOOSE / 2), np.round(box[:2] + box[2] * _LOOSE / 2)
        scale, shift = _CROP / (high - low), low
    if not path.is_file():
        raise ValueError(f"there is neither {whole} nor {cropped}")
    return read_pixels(path, wanted), scale, shift


def _moved(pixels: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return (pixels[..., :2] + 0.5 - shift) * scale - 0.5


def _undistorted(image: np.ndarray, K: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """(H, W, 3) as seen by the pinhole camera K (4,); coefficients (8,) in OpenCV's order."""
    matrix = np.array([[K[0], 0, K[2]], [0, K[1], K[3]], [0, 0, 1]])
    return cv2.undistort(image, matrix, coefficients)


def _set_mano(sample: Sample, own: dict[str, Any], row: int, view: int) -> None:
    from ..mano import load_hands_mean, mano_pose

    wrist = np.array(dense(own["cam_coord"]["rot_r_cam"])[row, view], np.float64)
    fingers = np.array(dense(own["params"]["pose_r"])[row], np.float64)
    sample.pose[RIGHT] = mano_pose(np.concatenate([wrist, fingers]), np.eye(3), load_hands_mean(SIDES[RIGHT]))
    sample.shape[RIGHT] = dense(own["params"]["shape_r"])[row]
    sample.has_params[RIGHT] = True
