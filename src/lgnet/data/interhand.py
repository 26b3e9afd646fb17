"""Reader of InterHand2.6M (Moon et al., ECCV 2020) as published, v0.0 and v1.0, at 5 and 30 frames a second.

A root holds `images/` and `annotations/` with, for each split (train, val, test), `InterHand2.6M_<split>_data.json`,
`..._camera.json` and `..._joint_3d.json`: in `annotations/<split>/` (v1.0), in `annotations/all/` or, as v0.0 has its val
split, `annotations/machine_annot/`, or beside the pictures. To choose one of v0.0's sets give its folder as the root
(`.../annotations/human_annot`); the pictures are then those of the folder above. `..._MANO_NeuralAnnot.json` beside them is
read where it is there. The files have up to gigabytes, so they are streamed once into an index of plain arrays, kept in
lgnet's cache and used as long as the files stay as they are.

Traps: joints run from tip to base, thumb first, wrist last, the right hand's 21 before the left hand's; lengths are
millimetres in the world; `campos` is the camera's centre, not a translation; joints that are not known are stored as
(1, 1, 1); where a wrist is not known, nothing relative to it is. MANO's poses are relative to its mean pose, which only
its own files tell (MANO_DIR), and its translations are of the template's origin, not of the wrist.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from ..aside import write_aside, written
from ..hands import NUM_JOINTS, SIDES
from .files import checksum, read_pixels, stream
from .sample import Sample, blank_image, empty_sample, project, set_joints

ORDER = np.array([20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16])
"""Where each of lgnet's joints stands among a hand's 21 of InterHand2.6M."""
HAND_TYPES = ("right", "left", "interacting")
DRAWN = "ROM00_synth"
"""The sequence of what `lgnet synth` drew in this layout."""
VERSION = 3  # of the index; another number and it is built again
_NAME_LENGTH = 120


@dataclass(frozen=True)
class Index:
    """All annotations of a split, one a row; joints of a (capture, frame) are stored once."""

    number: np.ndarray  # (N,) int64: the annotation's id
    file: np.ndarray  # (N,) bytes: path below images/<split>
    size: np.ndarray  # (N, 2) width, height
    camera: np.ndarray  # (N,) row of the cameras
    joints: np.ndarray  # (N,) row of world, -1: none
    valid: np.ndarray  # (N, 42) bool
    hand_type: np.ndarray  # (N,) index into HAND_TYPES
    type_valid: np.ndarray  # (N,) bool
    campos: np.ndarray  # (C, 3) millimetres
    camrot: np.ndarray  # (C, 3, 3)
    focal: np.ndarray  # (C, 2)
    princpt: np.ndarray  # (C, 2)
    world: np.ndarray  # (M, 42, 3) millimetres
    mano: np.ndarray  # (M, 2, 61) right, left: pose 48 (axis-angle, world), shape 10, translation 3 (metres, world)
    mano_valid: np.ndarray  # (M, 2) bool


def find_annotations(root: Path, split: str) -> dict[str, Path]:
    """The split's three files, and a fourth, "mano", where it is there.

    Raises:
        ValueError: they are not where any published version has them.
    """
    for folder in (
        root / "annotations" / split,
        root / "annotations" / "all",
        root / "annotations" / "machine_annot",
        root / "annotations",
        root / split,
        root,
    ):
        files = {kind: folder / f"InterHand2.6M_{split}_{kind}.json" for kind in ("data", "camera", "joint_3d")}
        if all(path.is_file() for path in files.values()):
            mano = folder / f"InterHand2.6M_{split}_MANO_NeuralAnnot.json"
            return files | ({"mano": mano} if mano.is_file() else {})
    raise ValueError(
        f"{root} holds no annotations of InterHand2.6M's {split} split: wanted "
        f"annotations/{split}/InterHand2.6M_{split}_data.json with its _camera and _joint_3d (of v0.0: in annotations/all or "
        "annotations/machine_annot)"
    )


def cache_folder() -> Path:
    """Where indices are kept: $LGNET_CACHE, else below the user's cache."""
    base = os.environ.get("LGNET_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lgnet"


def index_folder(files: dict[str, Path], split: str) -> Path:
    """Where the index of these files, as they are now, is kept."""
    stamp = [VERSION, *([str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in files.values())]
    key = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:24]
    return cache_folder() / "interhand26m" / f"{split}-{key}"


def load_index(root: Path, split: str) -> Index:
    """The split's index from the cache, or built now.

    Raises:
        ValueError: the annotations are missing or damaged.
    """
    files = find_annotations(root, split)
    folder = index_folder(files, split)
    if not (folder / "index.json").is_file():  # asked again where nobody else is at it; a cache may be for reading only
        with alone(folder):
            if not (folder / "index.json").is_file():
                _build_into(folder, files)
    return read_index(folder)


def _build_into(folder: Path, files: dict[str, Path]) -> None:
    try:
        write_index(build_index(files), folder)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"{files['data'].parent} is not laid out as InterHand2.6M's annotations: {error!r}") from error


def alone(folder: Path) -> FileLock:
    """A lock on what is made in a folder of the cache: of many processes one makes it, the others wait and read."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{folder}.lock")


def write_index(index: Index, folder: Path) -> None:
    """One .npy a field and, last, index.json with their checksums: a folder without it was not finished."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = {}
    for name, values in vars(index).items():
        with written(folder / f"{name}.npy") as part:
            with part.open("wb") as file:
                np.save(file, values)
            sums[name] = checksum(part)
    write_aside(folder / "index.json", json.dumps({"version": VERSION, "sha256": sums}, indent=1).encode())


def read_index(folder: Path) -> Index:
    """The index of a folder, mapped rather than read into memory; plain arrays, since rows of memmaps are slow."""
    names = json.loads((folder / "index.json").read_text())["sha256"]
    return Index(**{name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in names})


def damaged(folder: Path) -> list[str]:
    """Which arrays of an index no longer have the checksum they were written with."""
    sums = json.loads((folder / "index.json").read_text())["sha256"]
    return [name for name, value in sums.items() if checksum(folder / f"{name}.npy") != value]


def build_index(files: dict[str, Path]) -> Index:
    """Stream the three files; memory holds the index and one capture's joints."""
    cameras, camera_rows = _cameras(files["camera"])
    images: dict[int, int] = {}
    names, sizes, camera, frames = [], array("i"), array("i"), array("q")
    for image in stream(files["data"], "images.item"):
        name = str(image["file_name"]).encode()
        if len(name) > _NAME_LENGTH:
            raise ValueError(f"the file name {image['file_name']} is longer than {_NAME_LENGTH} bytes")
        images[int(image["id"])] = len(names)
        names.append(name)
        sizes.extend((int(image["width"]), int(image["height"])))
        camera.append(camera_rows[str(image["capture"]), str(image["camera"])])
        frames.append(int(image["capture"]) << 40 | int(image["frame_idx"]))
    order, numbers, valid, kinds, sure = array("i"), array("q"), bytearray(), bytearray(), bytearray()
    for annotation in stream(files["data"], "annotations.item"):
        numbers.append(int(annotation["id"]))
        order.append(images[int(annotation["image_id"])])
        flags = np.asarray(annotation["joint_valid"], np.uint8).reshape(-1)
        if len(flags) != 2 * NUM_JOINTS:
            raise ValueError(f"annotation {annotation['id']} has {len(flags)} joint flags, not {2 * NUM_JOINTS}")
        valid += flags.tobytes()
        kinds.append(HAND_TYPES.index(annotation["hand_type"]))
        sure.append(bool(np.asarray(annotation["hand_type_valid"]).reshape(-1)[0]))
    world, rows = _joints(files["joint_3d"])
    mano, mano_valid = _mano(files.get("mano"), rows)
    if not numbers:
        raise ValueError("there is no annotation in it")
    of = np.frombuffer(order, np.int32)
    keys = np.frombuffer(frames, np.int64)[of]
    return Index(
        number=np.frombuffer(numbers, np.int64),
        file=np.array(names, dtype=f"S{_NAME_LENGTH}")[of],
        size=np.frombuffer(sizes, np.int32).reshape(-1, 2)[of],
        camera=np.frombuffer(camera, np.int32)[of],
        joints=np.array([rows.get(int(key), -1) for key in keys], np.int32),
        valid=np.frombuffer(bytes(valid), np.uint8).reshape(-1, 2 * NUM_JOINTS).astype(bool),
        hand_type=np.frombuffer(bytes(kinds), np.uint8),
        type_valid=np.frombuffer(bytes(sure), np.uint8).astype(bool),
        world=world,
        mano=mano,
        mano_valid=mano_valid,
        **cameras,
    )


def _cameras(path: Path) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], int]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = {
        (capture, camera): number
        for number, (capture, camera) in enumerate(
            (capture, camera) for capture in content for camera in content[capture]["campos"]
        )
    }
    arrays = {
        key: np.array([content[capture][key][camera] for capture, camera in rows], np.float64)
        for key in ("campos", "camrot", "focal", "princpt")
    }
    return arrays, rows


def _frames(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Of a file of captures' frames, one at a time: a number for capture and frame, and what is said of it."""
    for capture, frames in stream(path, "", pairs=True):
        for frame, content in frames.items():
            yield int(capture) << 40 | int(frame), content


def _joints(path: Path) -> tuple[np.ndarray, dict[int, int]]:
    """(M, 42, 3) float32 and the row of each capture and frame."""
    rows: dict[int, int] = {}
    values = array("f")
    for key, content in _frames(path):
        rows[key] = len(rows)
        values.extend(np.asarray(content["world_coord"], np.float32).ravel().tolist())
    return np.frombuffer(values, np.float32).reshape(-1, 2 * NUM_JOINTS, 3), rows


def _mano(path: Path | None, rows: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """MANO's parameters for every row of the joints; frames without joints are left out."""
    values, valid = np.zeros((len(rows), 2, 61), np.float32), np.zeros((len(rows), 2), bool)
    for key, hands in () if path is None else _frames(path):
        row = rows.get(key)
        for side, name in enumerate(SIDES):
            hand = hands.get(name)
            if row is not None and hand is not None:
                values[row, side] = np.concatenate([np.ravel(hand[k]) for k in ("pose", "shape", "trans")])
                valid[row, side] = True
    return values, valid


def select(index: Index, which: str) -> tuple[np.ndarray, dict[str, int]]:
    """Rows to use, and why others are left out.

    Args:
        index: of the split.
        which: "all"; "two": those of two hands whose type is sure; "mano": of these, those with MANO labels of both
            hands. Papers on two hands also leave out dark ones (interhand_selection.py).
    """
    chosen = np.ones(len(index.file), bool)
    reasons: Counter[str] = Counter()
    rules = [
        ("pictures without any valid joint", ~index.valid.any(1)),
        ("pictures without 3D joints", index.joints < 0),
    ]
    if which in ("two", "mano"):
        rules += [
            ("pictures of one hand", index.hand_type != HAND_TYPES.index("interacting")),
            ("pictures whose hand type is not valid", ~index.type_valid),
        ]
    if which == "mano":
        both = index.mano_valid[:, 0] & index.mano_valid[:, 1]
        rules.append(("pictures without MANO labels of both hands", (index.joints < 0) | ~both[index.joints]))
    for reason, left_out in rules:
        reasons[reason] = int((chosen & left_out).sum())
        chosen &= ~left_out
    return np.flatnonzero(chosen), {reason: count for reason, count in reasons.items() if count}


def load_sample(root: Path, split: str, index: Index, row: int, mano: bool = False, picture: bool = True) -> Sample:
    """Read one picture and its truth, with `mano` also MANO's parameters, which takes MANO's own files.

    Without `picture` its file is not looked for: the sample's picture is black and takes no memory.

    Raises:
        ValueError: the picture is missing or unreadable, or not of the size that is annotated; or MANO's files are.
    """
    name = bytes(index.file[row]).decode()
    width, height = index.size[row].tolist()
    image = read_picture(root, split, name, width, height) if picture else blank_image(width, height)
    camera = index.camera[row]
    K = np.concatenate([index.focal[camera], index.princpt[camera]])
    world = np.asarray(index.world[index.joints[row]], np.float64)
    points = (world - index.campos[camera]) @ index.camrot[camera].T / 1000
    kind = HAND_TYPES[index.hand_type[row]]
    T_camera_world = np.eye(4)
    T_camera_world[:3, :3] = index.camrot[camera]
    T_camera_world[:3, 3] = -index.camrot[camera] @ index.campos[camera] / 1000
    sample = replace(
        empty_sample(name, "interacting" if kind == "interacting" else "single", image, K.astype(np.float32)),
        present_known=np.full(2, bool(index.type_valid[row])),
        score_box=np.zeros((2, 4), np.float32),
        hand_model="mano",
        wrist=np.zeros((2, 3), np.float32),
        scene=str(index.joints[row]),
        recording=_recording(name, str(index.joints[row])),
        T_camera_world=T_camera_world,
        annotation=int(index.number[row]),
    )
    assert sample.score_box is not None
    for side, hand in enumerate(("right", "left")):
        if kind not in (hand, "interacting"):
            continue
        own = points[NUM_JOINTS * side :][ORDER]
        valid = index.valid[row, NUM_JOINTS * side :][ORDER]
        set_joints(sample, side, project(own, K), valid, own, valid)
        if mano and index.mano_valid[index.joints[row], side]:
            _set_mano(sample, side, index, row)
    return sample


def _recording(name: str, scene: str) -> str:
    """Capture/sequence, of Capture/sequence/camera/picture; of what `lgnet synth` drew in this layout the scene."""
    sequence = name.rpartition("/")[0].rpartition("/")[0]
    return f"{sequence}/{scene}" if sequence.endswith(f"/{DRAWN}") else sequence


def read_picture(root: Path, split: str, name: str, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8 RGB, a picture by its name below images/<split>.

    Raises:
        ValueError: it is missing or unreadable, or not of that size.
    """
    base = root.parent.parent if root.parent.name == "annotations" else root  # one of v0.0's sets
    places = [base / "images" / split / name, root / split / name, root / name]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise ValueError(f"there is no picture {places[0]}")
    return read_pixels(path, (width, height))


def _set_mano(sample: Sample, side: int, index: Index, row: int) -> None:
    """Pose, shape and wrist in the camera's frame from those in the world."""
    from ..mano import load_hands_mean, mano_pose, mano_wrist

    assert sample.wrist is not None
    values = np.asarray(index.mano[index.joints[row], side], np.float64)
    pose, shape, translation = values[:48], values[48:58], values[58:]
    camera = index.camera[row]
    rotation = index.camrot[camera]
    sample.pose[side] = mano_pose(pose, rotation, load_hands_mean(SIDES[side]))
    sample.shape[side] = shape
    sample.wrist[side] = rotation @ (mano_wrist(SIDES[side], shape, translation) - index.campos[camera] / 1000)
    sample.has_params[side] = True
