"""Reader of AssemblyHands (Ohkawa et al., CVPR 2023), the rectified grey pictures of the headset's cameras.

A root holds `images/` and `annotations/<split>/assemblyhands_<split>_ego_data_v1-1.json` with `..._ego_calib_v1-1.json` and
`assemblyhands_<split>_joint_3d_v1-1.json`, for the splits train and val. Pictures are named below `images/`.

Traps: joints as in InterHand2.6M, millimetres in the world; a camera's [R | t] takes the world to the camera (t is no centre)
and changes from frame to frame; a hand is annotated where its box is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..hands import NUM_JOINTS, SIDES
from .files import read_pixels, stream
from .interhand import ORDER
from .sample import Sample, empty_sample, inside_picture, kind_of, project, set_joints

_CAMERA_END = "_mono10bit"


@dataclass(frozen=True)
class Picture:
    """One annotated picture."""

    file: str
    K: np.ndarray  # (4,)
    extrinsics: np.ndarray  # (3, 4) world to camera, millimetres
    world: np.ndarray  # (42, 3) millimetres
    valid: np.ndarray  # (42,) bool
    hands: tuple[bool, bool]  # right, left


@dataclass(frozen=True)
class AssemblyHands:
    """One split."""

    folder: Path
    pictures: tuple[Picture, ...]


def read_assemblyhands(root: Path, split: str) -> AssemblyHands:
    """Read a split's annotations (not yet the pictures).

    Raises:
        ValueError: a file is missing or not laid out as published.
    """
    folder = root / "annotations" / split
    names = {kind: folder / f"assemblyhands_{split}_{kind}_v1-1.json" for kind in ("ego_data", "ego_calib", "joint_3d")}
    for path in names.values():
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
    pictures = []
    try:
        cameras = json.loads(names["ego_calib"].read_text(encoding="utf-8"))["calibration"]
        joints = json.loads(names["joint_3d"].read_text(encoding="utf-8"))["annotations"]
        images = {image["id"]: image for image in stream(names["ego_data"], "images.item")}
        for annotation in stream(names["ego_data"], "annotations.item"):
            image = images[annotation["image_id"]]
            pictures.append(_picture(image, annotation, cameras[str(image["seq_name"])], joints))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{folder} is not laid out as AssemblyHands' annotations: {error!r}") from error
    return AssemblyHands(root / "images", tuple(pictures))


def _picture(image: dict[str, Any], annotation: dict[str, Any], camera: dict[str, Any], joints: dict) -> Picture:
    frame, name = f"{int(image['frame_idx']):06d}", f"{image['camera']}{_CAMERA_END}"
    matrix = np.array(camera["intrinsics"][name], np.float64).reshape(3, 3)
    world = np.array(joints[str(image["seq_name"])][frame]["world_coord"], np.float32)
    return Picture(
        file=str(image["file_name"]),
        K=matrix[[0, 1, 0, 1], [0, 1, 2, 2]],
        extrinsics=np.array(camera["extrinsics"][frame][name], np.float64).reshape(3, 4),
        world=world.reshape(2 * NUM_JOINTS, 3),
        valid=np.array(annotation["joint_valid"]).reshape(2 * NUM_JOINTS) > 0,
        hands=(annotation["bbox"]["right"] is not None, annotation["bbox"]["left"] is not None),
    )


def load_sample(data: AssemblyHands, index: int) -> Sample:
    """Read one picture and its truth.

    Raises:
        ValueError: the picture is missing or unreadable.
    """
    picture = data.pictures[index]
    image = read_pixels(data.folder / picture.file)
    height, width = image.shape[:2]
    known = np.array(picture.hands)
    sample = replace(
        empty_sample(picture.file, "single", image, picture.K.astype(np.float32)),
        score_box=np.zeros((2, 4), np.float32),
        present_known=known,
        recording=str(PurePosixPath(picture.file).parent.parent),  # above camera/picture
    )
    points = (picture.world @ picture.extrinsics[:, :3].T + picture.extrinsics[:, 3]) / 1000
    for side in range(len(SIDES)):
        if not picture.hands[side]:
            continue
        own, valid = points[NUM_JOINTS * side :][ORDER], picture.valid[NUM_JOINTS * side :][ORDER]
        pixels = project(own, picture.K)
        inside = inside_picture(pixels, width, height) & (own[:, 2] > 0)
        set_joints(sample, side, pixels, valid & inside, own, valid & (own[:, 2] > 0))
    return replace(sample, kind=kind_of(sample))
