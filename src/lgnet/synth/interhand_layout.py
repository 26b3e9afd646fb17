"""Synthetic pictures in InterHand2.6M's v1.0 layout, so that code written for it can train on them.

    images/train/Capture0/ROM00_synth/cam400000/image00000.jpg
    annotations/train/InterHand2.6M_train_{data,camera,joint_3d}.json, annotations/skeleton.txt
    parts/000000.json      what a shard adds to them; needed only to go on with a broken run, and for the sums

The world is in millimetres: the camera's frame, of a rig (`--views`) that of its first camera. As every picture has its
own lens, every picture is a camera of its own; the pictures of a rig are one frame, any other is a frame of its own; a
shard is a capture. `joint_valid` of the _data file is 1 inside the picture, as published; that of the _joint_3d file is
1 of every joint of a hand that is there. Two hands apart are "interacting" too. Pictures without hands cannot be told in
this layout and are left out. There is no file of MANO parameters: the hand is not MANO's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..aside import write_aside, written
from ..coding import jpeg
from ..data.interhand import DRAWN, ORDER
from ..data.sample import Sample
from ..hands import FINGERS, NUM_JOINTS
from .generate import Drawn

SPLIT = "train"
UNKNOWN = 1.0
"""What stands in place of the coordinates of joints that are not there, as published."""
_DIGITS = 5  # of millimetres and pixels


def write_part(folder: Path, number: int, pictures: Iterator[tuple[int, Drawn]], quality: int) -> tuple[str, int]:
    """Write a shard's pictures, JPEGs of this quality, and its share of the annotations: that file's name and how many
    pictures it holds.
    """
    cameras: dict[str, dict[str, Any]] = {key: {} for key in ("campos", "camrot", "focal", "princpt")}
    part: dict[str, Any] = {"capture": number, "images": [], "annotations": [], "camera": cameras, "joint_3d": {}}
    part["sha256"] = {}
    for index, drawn in pictures:
        sample = drawn.sample
        if not sample.present.any():
            continue
        camera, frame = str(400000 + index), index if sample.scene is None else int(sample.scene)
        name = f"Capture{number}/{DRAWN}/cam{camera}/image{frame:05d}.jpg"
        content = jpeg(sample.image, quality)
        path = folder / "images" / SPLIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content)
        part["sha256"][f"images/{SPLIT}/{name}"] = hashlib.sha256(content).hexdigest()
        height, width = sample.image.shape[:2]
        part["images"].append(
            {
                "id": index,
                "file_name": name,
                "width": width,
                "height": height,
                "capture": number,
                "subject": 0,
                "seq_name": DRAWN,
                "camera": camera,
                "frame_idx": frame,
            }
        )
        annotation, joints = annotate(sample)
        part["annotations"].append({"id": index, "image_id": index, **annotation})
        part["joint_3d"].setdefault(str(frame), joints)
        K = np.asarray(sample.K, np.float64).round(_DIGITS).tolist()
        R, t = _pose(sample)
        cameras["campos"][camera] = (-R.T @ t * 1000 + 0.0).tolist()
        cameras["camrot"][camera] = R.tolist()
        cameras["focal"][camera], cameras["princpt"][camera] = K[:2], K[2:]
    name = f"parts/{number:06d}.json"
    (folder / "parts").mkdir(exist_ok=True)
    write_aside(folder / name, json.dumps(part).encode())
    return name, len(part["images"])


def _pose(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) and (3,) metres: what takes the world to the camera."""
    T_camera_world = np.eye(4) if sample.T_camera_world is None else sample.T_camera_world
    return T_camera_world[:3, :3], T_camera_world[:3, 3]


def annotate(sample: Sample) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the _data file says of a picture (without its numbers), and what the _joint_3d file says of its frame."""
    height, width = sample.image.shape[:2]
    R, t = _pose(sample)
    world, inside = np.full((2 * NUM_JOINTS, 3), UNKNOWN), np.zeros((2 * NUM_JOINTS, 1), int)
    for side in np.flatnonzero(sample.present):
        rows = NUM_JOINTS * side + ORDER
        uv = sample.joints2d[side]
        world[rows] = (sample.joints3d[side].astype(np.float64) - t) @ R * 1000
        inside[rows, 0] = ((uv >= 0) & (uv <= [width - 1, height - 1])).all(1)
    hand_type = "interacting" if sample.present.all() else "right" if sample.present[0] else "left"
    boxes = sample.box[sample.present].astype(np.float64)
    low = np.clip(boxes[:, :2].min(0), 0, [width - 1, height - 1])
    high = np.clip((boxes[:, :2] + boxes[:, 2:]).max(0), 0, [width - 1, height - 1])
    annotation = {
        "bbox": [*low.round(3).tolist(), *(high - low).round(3).tolist()],
        "joint_valid": inside.tolist(),
        "hand_type": hand_type,
        "hand_type_valid": int(hand_type != "interacting" or inside.sum() > 30),
    }
    joints = {
        "world_coord": world.round(_DIGITS).tolist(),
        "joint_valid": np.repeat(sample.present, NUM_JOINTS)[:, None].tolist(),
        "hand_type": hand_type,
        "hand_type_valid": True,
    }
    return annotation, joints


def merged(folder: Path) -> bool:
    """Whether the annotation files are there."""
    return all(path.is_file() for path in _targets(folder).values())


def _targets(folder: Path) -> dict[str, Path]:
    annotations = folder / "annotations"
    kinds = {
        kind: annotations / SPLIT / f"InterHand2.6M_{SPLIT}_{kind}.json" for kind in ("data", "camera", "joint_3d")
    }
    return {**kinds, "skeleton": annotations / "skeleton.txt"}


def merge(folder: Path, parts: Sequence[str]) -> None:
    """Write the annotation files from the shards' shares, in this order; memory holds one share at a time."""

    def shares() -> Iterator[dict[str, Any]]:
        return (json.loads((folder / name).read_text(encoding="utf-8")) for name in parts)

    def data() -> Iterator[str]:
        yield '{"images": ['
        yield from _listed(json.dumps(image) for part in shares() for image in part["images"])
        yield '],\n"annotations": ['
        yield from _listed(json.dumps(annotation) for part in shares() for annotation in part["annotations"])
        yield "]}\n"

    def by_capture(kind: str) -> Iterator[str]:
        yield "{"
        yield from _listed(f'"{part["capture"]}": {json.dumps(part[kind])}' for part in shares())
        yield "}\n"

    contents = {
        "data": data(),
        "camera": by_capture("camera"),
        "joint_3d": by_capture("joint_3d"),
        "skeleton": skeleton(),
    }
    for kind, path in _targets(folder).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with written(path) as part, part.open("w", encoding="utf-8") as file:
            file.writelines(contents[kind])


def _listed(items: Iterator[str]) -> Iterator[str]:
    for number, item in enumerate(items):
        yield f",\n{item}" if number else item


def skeleton() -> Iterator[str]:
    """Lines of skeleton.txt: name, number and parent of each of the 42 joints; fingers from 4, the tip, to 1."""
    for side, start in (("r", 0), ("l", NUM_JOINTS)):
        for number in range(NUM_JOINTS - 1):
            place = 4 - number % 4
            parent = number + 1 if place > 1 else NUM_JOINTS - 1
            yield f"{side}_{FINGERS[number // 4]}{place} {start + number} {start + parent}\n"
        yield f"{side}_wrist {start + NUM_JOINTS - 1} -1\n"
