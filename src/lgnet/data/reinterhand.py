"""Reader of Re:InterHand (Moon et al., NeurIPS 2023): relit captures of two hands, seen by the fixed (Mugsy) cameras.

A root holds a folder a capture with `Mugsy_cameras/cam_params.json`, `Mugsy_cameras/envmap_per_frame/images/<camera>/000123.png`
and `orig_fits/{right,left}/Keypoints/keypoint-000123.json`. Three captures, by name, are the test split.

Traps: 24 joints a hand, of which the forearm, an inner thumb and an inner little finger joint are not ours; millimetres in
the world; a camera's R and t take the world to the camera. The head-mounted (Ego) cameras have a fisheye lens, for which
`Sample` has no place: they are not read, and nor are the fits of MANO.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hands import SIDES
from .files import read_pixels
from .sample import Sample, empty_sample, inside_picture, kind_of, project, set_joints

TEST_CAPTURES = (
    "m--20221215--0949--RNS217--pilot--ProjectGoliathScript--Hands--two-hands",
    "m--20221216--0953--NKC880--pilot--ProjectGoliathScript--Hands--two-hands",
    "m--20230317--1130--QZX685--pilot--ProjectGoliath--Hands--two-hands",
)
ORDER = np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22])
"""Where each of lgnet's joints stands among a hand's 24 of Re:InterHand: without 1 (thumb), 18 (little finger), 23 (arm)."""
_JOINTS = 24


@dataclass(frozen=True)
class ReInterHand:
    """One split."""

    pictures: tuple[Path, ...]
    cameras: dict[tuple[str, str], dict[str, np.ndarray]]  # of a capture's folder and a camera's name


def read_reinterhand(root: Path, split: str) -> ReInterHand:
    """Find a split's pictures and read its cameras (not yet pictures and joints).

    Raises:
        ValueError: nothing of the split is there, or the cameras are not laid out as published.
    """
    pictures, cameras = [], {}
    for file in sorted(root.glob("*/Mugsy_cameras/cam_params.json")):
        capture = file.parent.parent
        if (capture.name in TEST_CAPTURES) != (split == "test"):
            continue
        try:
            for name, camera in json.loads(file.read_text(encoding="utf-8")).items():
                shapes = {"R": (3, 3), "t": (3,), "focal": (2,), "princpt": (2,)}
                cameras[str(capture), name] = {
                    key: np.array(camera[key], np.float64).reshape(shape) for key, shape in shapes.items()
                }
                pictures += sorted((file.parent / "envmap_per_frame" / "images" / name).glob("*.png"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{file} is not laid out as Re:InterHand's cameras: {error!r}") from error
    if not pictures:
        raise ValueError(
            f"{root} holds no pictures of Re:InterHand's {split} split: there is no "
            "<capture>/Mugsy_cameras/envmap_per_frame/images/<camera>/<frame>.png beside cam_params.json"
        )
    return ReInterHand(tuple(pictures), cameras)


def load_sample(data: ReInterHand, index: int) -> Sample:
    """Read one picture and its truth.

    Raises:
        ValueError: a file is missing or not laid out as published.
    """
    path = data.pictures[index]
    capture, camera_name, frame = path.parents[4], path.parent.name, int(path.stem)
    camera = data.cameras[str(capture), camera_name]
    K = np.concatenate([camera["focal"], camera["princpt"]])
    image = read_pixels(path)
    height, width = image.shape[:2]
    name = f"{capture.name}/{camera_name}/{path.stem}"
    sample = replace(
        empty_sample(name, "interacting", image, K.astype(np.float32)),
        score_box=np.zeros((2, 4), np.float32),
        recording=capture.name,
    )
    for side, word in enumerate(SIDES):
        file = capture / "orig_fits" / word / "Keypoints" / f"keypoint-{frame:06d}.json"
        points = (_points(file)[ORDER] @ camera["R"].T + camera["t"]) / 1000
        pixels, ahead = project(points, K), points[:, 2] > 0
        inside = inside_picture(pixels, width, height) & ahead
        if inside.any():
            set_joints(sample, side, pixels, inside, points, ahead)
    return replace(sample, kind=kind_of(sample))


def _points(path: Path) -> np.ndarray:
    """(24, 3) millimetres in the world."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return np.array(content, np.float64).reshape(_JOINTS, 3)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not {_JOINTS} x 3 numbers: {error}") from error
