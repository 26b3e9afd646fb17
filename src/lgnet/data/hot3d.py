"""Reader of HOT3D-Clips (Banerjee et al., 2024): one's own two hands and objects, seen by the cameras of two headsets.

A root holds, at any depth, `clip-<number>.tar`, as published one a clip of 150 frames: `<frame>.image_<stream>.jpg`,
`<frame>.cameras.json`, `<frame>.hands.json` and `__hand_shapes.json__`. Clips without hands (the test splits) are left out.
The recordings themselves (VRS) are not read. Each stream's picture is one sample.

Traps: fisheye cameras (FISHEYE624), so each picture is made into that of a pinhole camera of the same focal length when
it is read, as the data set's own viewer does; they are mounted sideways, so it is turned upright (a quarter turn
clockwise), and with it the camera's frame; quaternions have w first; transforms are to the world, so those of cameras are
inverted; hands are UmeTrack's (see `umetrack`), whose thumb has no CMC joint: that one is never valid. MANO's numbers
are not read: they are coefficients of its principal components.

Assumed: the wrist is `T_world_from_wrist` (quaternion and translation), as the official reader has it, or a 4 x 4
`wrist_xform`, as the official read-me says.
"""

from __future__ import annotations

import functools
import json
import tarfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..geometry import matrices_of_quaternions
from ..hands import SIDES
from .fisheye import fisheye624, fisheye_project, rectified
from .sample import Sample, empty_sample, inside_picture, kind_of, project, set_joints
from .umetrack import UmeTrackHand, read_profile, umetrack_joints

UPRIGHT = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Takes the mounted camera's frame to the upright one's: a quarter turn clockwise of the picture."""
SHAPES = "__hand_shapes.json__"


@dataclass(frozen=True)
class Hot3d:
    """The pictures of all clips whose hands are told."""

    root: Path
    clips: tuple[Path, ...]
    clip: np.ndarray  # (N,) index into clips
    picture: np.ndarray  # (N,) bytes: the file's name in the tar
    skipped: dict[str, int]


def read_hot3d(root: Path) -> Hot3d:
    """Find the clips and read which files they hold (not yet the files).

    Raises:
        ValueError: there is no clip, or one is no tar.
    """
    clips = tuple(sorted(root.rglob("clip-*.tar")))
    if not clips:
        raise ValueError(f"{root} holds nothing of HOT3D-Clips: there is no clip-<number>.tar in it")
    numbers, pictures, skipped = [], [], Counter()
    for number, path in enumerate(clips):
        names = set(_members(path))
        own = sorted(name for name in names if ".image_" in name and name.endswith(".jpg"))
        told = [name for name in own if f"{name.split('.')[0]}.hands.json" in names and SHAPES in names]
        skipped["pictures whose hands are not public"] += len(own) - len(told)
        numbers += [number] * len(told)
        pictures += [name.encode() for name in told]
    left_out = {reason: count for reason, count in skipped.items() if count}
    return Hot3d(root, clips, np.array(numbers, np.int32), np.array(pictures, "S64"), left_out)


@functools.lru_cache(maxsize=8)
def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Name -> offset and size of every file in a tar, whose headers alone are read."""
    try:
        with tarfile.open(path, "r:") as tar:
            return {member.name.removeprefix("./"): (member.offset_data, member.size) for member in tar}
    except (OSError, tarfile.TarError) as error:
        raise ValueError(f"{path} is damaged or no tar, download it again: {error}") from error


def _read(path: Path, name: str) -> bytes:
    members = _members(path)
    if name not in members:
        raise ValueError(f"{path} is not laid out as HOT3D-Clips: there is no {name} in it")
    offset, size = members[name]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(_read(path, name))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} in {path} cannot be read as JSON: {error}") from error


@functools.lru_cache(maxsize=8)
def _profile(path: Path) -> UmeTrackHand:
    try:
        return read_profile(_json(path, SHAPES)["umetrack"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{SHAPES} in {path} has no UmeTrack profile: {error!r}") from error


def load_sample(data: Hot3d, index: int) -> Sample:
    """Read one picture and its truth, and make the picture a pinhole camera's.

    Raises:
        ValueError: a file is missing, damaged or not laid out as published.
    """
    path, name = data.clips[data.clip[index]], data.picture[index].decode()
    frame, stream = name.split(".")[0], name.split(".image_")[1].removesuffix(".jpg")
    try:
        camera = _json(path, f"{frame}.cameras.json")[stream]
        hands = _json(path, f"{frame}.hands.json")
        return _sample(path, name, camera, hands, f"{path.stem}/{frame}/{stream}", stream)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"frame {frame} of {path} is not laid out as HOT3D-Clips': {error!r}") from error


def _sample(path: Path, picture: str, camera: dict, hands: dict, name: str, stream: str) -> Sample:
    image = cv2.imdecode(np.frombuffer(_read(path, picture), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{picture} in {path} cannot be read as a picture")
    height, width = image.shape[:2]
    calibration = camera["calibration"]
    if (calibration["image_width"], calibration["image_height"]) != (width, height):
        raise ValueError(f"{picture} in {path} is {width} x {height} pixels, which its camera is not")
    if not str(calibration["projection_model_type"]).endswith("FISHEYE624"):
        raise ValueError(f"{picture} in {path} is of a camera {calibration['projection_model_type']}, not FISHEYE624")
    lens = fisheye624(calibration["projection_params"])
    K = np.array([lens.focal[1], lens.focal[0], height - 1 - lens.centre[1], lens.centre[0]])
    upright = rectified(np.ascontiguousarray(image[..., ::-1]), lens, UPRIGHT, K, (height, width))
    known = np.zeros(2, bool)
    sample = replace(
        empty_sample(name, "single", upright, K.astype(np.float32)),
        present_known=known,
        score_box=np.zeros((2, 4), np.float32),
        recording=path.stem,
    )
    to_camera = np.linalg.inv(_transform(camera["T_world_from_camera"]))
    for side, word in enumerate(SIDES):
        hand = hands.get(word)
        if not hand or "umetrack_pose" not in hand:
            continue
        pose = hand["umetrack_pose"]
        T_world_wrist = _transform(pose["T_world_from_wrist"] if "T_world_from_wrist" in pose else pose["wrist_xform"])
        world = umetrack_joints(_profile(path), np.array(pose["joint_angles"], np.float64), T_world_wrist, not side)
        there = np.isfinite(world).all(1)
        mounted = np.nan_to_num(world) @ to_camera[:3, :3].T + to_camera[:3, 3]
        points = mounted @ UPRIGHT.T
        pixels, source = project(points, K), fisheye_project(mounted, lens)
        inside = (
            there & (points[:, 2] > 0) & inside_picture(pixels, height, width) & inside_picture(source, width, height)
        )
        seen = hand.get("visibilities_modeled", {}).get(stream, 1.0) > 0
        known[side] = seen or not inside.any()
        if inside.any() and seen:
            set_joints(sample, side, pixels, inside, points, there & (points[:, 2] > 0))
    return replace(sample, kind=kind_of(sample))


def _transform(content: Any) -> np.ndarray:
    """(4, 4) of a unit quaternion, w first, and a translation; or of 16 numbers as they are."""
    if not isinstance(content, dict):
        return np.array(content, np.float64).reshape(4, 4)
    out = np.eye(4)
    out[:3, :3] = matrices_of_quaternions(np.array(content["quaternion_wxyz"], np.float64)[[1, 2, 3, 0]])
    out[:3, 3] = content["translation_xyz"]
    return out
