"""Reader of HIC (Tzionas et al., IJCV 2016, "Hands in Action"): one or two hands, with objects too, before an RGB-D camera.

A root holds `HIC.json`, the list in COCO's layout that InterWild publishes, and what it names: the sequences' colour
pictures and the MANO fits, a PLY of 778 vertices a hand, metres in the camera's frame.

Traps: the truth is meshes: their joints take MANO's own regressor (MANO_DIR), without which boxes and the five
fingertips in 2D are known and no more; the camera is the same for all pictures and stands in no file; a hand in view may
have no fit, and then whether it is there is not known. A second list of joints in 2D, 14 a hand, is not read.

Assumed: the units and the camera of InterWild's reader; no published file was seen.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..geometry import box_of
from ..hands import MANO_VERTICES, NUM_JOINTS, SIDES
from .files import read_pixels, stream
from .interhand import HAND_TYPES
from .sample import Sample, empty_sample, inside_picture, kind_of, project, set_joints

K = np.array([525.0, 525.0, 319.5, 239.5])
"""The camera's, pixels."""
_TIPS = slice(4, None, 4)


@dataclass(frozen=True)
class Picture:
    """One annotated picture."""

    file: str
    hand_type: str
    meshes: tuple[str | None, str | None]  # right, left


@dataclass(frozen=True)
class Hic:
    """All pictures with a fit."""

    root: Path
    pictures: tuple[Picture, ...]
    skipped: dict[str, int]


def read_hic(root: Path) -> Hic:
    """Read the list (not yet pictures and meshes).

    Raises:
        ValueError: it is missing or not laid out as published.
    """
    file = root / "HIC.json"
    if not file.is_file():
        raise ValueError(f"there is no file {file}; https://github.com/facebookresearch/InterWild has the link to it")
    pictures, skipped = [], Counter()
    try:
        images = {image["id"]: str(image["file_name"]) for image in stream(file, "images.item")}
        for annotation in stream(file, "annotations.item"):
            kind = str(annotation["hand_type"])
            if kind not in HAND_TYPES:
                raise ValueError(f"a hand type {kind!r}")
            right, left = (annotation[f"{side}_mano_path"] for side in SIDES)
            if right is None and left is None:
                skipped["pictures without a fitted hand"] += 1
                continue
            pictures.append(Picture(images[annotation["image_id"]], kind, (right, left)))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not laid out as InterWild's list of HIC: {error!r}") from error
    return Hic(root, tuple(pictures), dict(skipped))


def load_sample(data: Hic, index: int) -> Sample:
    """Read one picture and its hands.

    Raises:
        ValueError: a file is missing, damaged or not laid out as published; or MANO's files are.
    """
    picture = data.pictures[index]
    image = read_pixels(data.root / picture.file)
    height, width = image.shape[:2]
    known = np.array(
        [mesh is not None or picture.hand_type not in (s, "interacting") for s, mesh in zip(SIDES, picture.meshes)]
    )
    sample = replace(
        empty_sample(picture.file, "single", image, K.astype(np.float32)),
        present_known=known,
        score_box=np.zeros((2, 4), np.float32),
        recording=str(PurePosixPath(picture.file).parent),
    )
    assert sample.score_box is not None
    with_mano = bool(os.environ.get("MANO_DIR"))
    meshes = np.full((2, MANO_VERTICES, 3), np.nan)
    for side, name in enumerate(picture.meshes):
        if name is None:
            continue
        vertices = read_ply_vertices(data.root / name)
        if vertices.shape != (MANO_VERTICES, 3):
            raise ValueError(f"{data.root / name} has {len(vertices)} vertices, not {MANO_VERTICES}")
        outline = project(vertices, K)
        if not (inside_picture(outline, width, height) & (vertices[:, 2] > 0)).any():
            continue
        joints, there = _joints(side, vertices, with_mano)
        pixels = project(joints, K)
        seen = there & inside_picture(pixels, width, height) & (joints[:, 2] > 0)
        set_joints(sample, side, pixels, seen, joints, there)
        sample.box[side] = sample.score_box[side] = box_of(outline)
        meshes[side] = vertices
    told = {"vertices": meshes, "hand_model": "mano"} if with_mano else {}
    return replace(sample, kind=kind_of(sample), **told)


def _joints(side: int, vertices: np.ndarray, with_mano: bool) -> tuple[np.ndarray, np.ndarray]:
    """(21, 3) joints and (21,) which of them are known."""
    from ..mano import FINGERTIPS, mano_joints

    if with_mano:
        return mano_joints(SIDES[side], vertices), np.ones(NUM_JOINTS, bool)
    joints, there = np.zeros((NUM_JOINTS, 3)), np.zeros(NUM_JOINTS, bool)
    joints[_TIPS], there[_TIPS] = vertices[list(FINGERTIPS)], True
    return joints, there


_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
}
_TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4"}
_TYPES |= {"float64": "f8"}


def read_ply_vertices(path: Path) -> np.ndarray:
    """(N, 3) float64 of a PLY whose first element is its vertices, ASCII or little-endian.

    Raises:
        ValueError: the file is missing, damaged or another kind of PLY.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    content = path.read_bytes()
    try:
        head, body = content.split(b"end_header", 1)
        body = body[body.index(b"\n") + 1 :]
        lines = [line.split() for line in head.decode("ascii").splitlines() if line.strip()]
        kind = next(line[1] for line in lines if line[0] == "format")
        first = next(i for i, line in enumerate(lines) if line[0] == "element")
        if lines[0] != ["ply"] or lines[first][1] != "vertex" or kind not in ("ascii", "binary_little_endian"):
            raise ValueError(f"format {kind}, first element {lines[first][1]}")
        count = int(lines[first][2])
        fields = []
        for line in lines[first + 1 :]:
            if line[0] != "property":
                break
            fields.append((line[2], "<" + _TYPES[line[1]]))
        if kind == "ascii":
            rows = [line.split() for line in body.decode("ascii").splitlines()[:count]]
            table = np.array([row[: len(fields)] for row in rows], np.float64)
            columns = {name: table[:, i] for i, (name, _) in enumerate(fields)}
        else:
            records = np.frombuffer(body, np.dtype(fields), count)
            columns = {name: records[name].astype(np.float64) for name, _ in fields}
        vertices = np.stack([columns[axis] for axis in "xyz"], 1)
    except (KeyError, ValueError, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a PLY: {error!r}") from error
    if len(vertices) != count or not np.isfinite(vertices).all():
        raise ValueError(f"{path} is damaged: {count} finite vertices are announced")
    return vertices
