"""The files of one picture's result. Each is written aside, then renamed, so that a broken run leaves no half file.

`<stem>.npz` holds what `<stem>.json` does, by flat names, and the meshes: `schema`, `image_file`, `image_width`,
`image_height`, `camera` (fx, fy, cx, cy), `camera_assumed`, `model_weights`, `model_hand_model`, `model_version`,
`sides` (those found, right first), `relative_translation` (NaN where there is none), and for each hand found, here for
the right one, `right_score`, `right_box` (4,), `right_joints2d` (21, 2), `right_joints3d` (21, 3), `right_pose`
(16, 3), `right_shape` (10,), `right_translation` (3,), `right_vertices` (V, 3), `right_vertices_rough` (V, 3),
`right_faces` (F, 3), where it is not 1 `right_scale`, and of calibrated weights `right_joint_errors` (21,), `right_error`.
Numbers are those of the json. It is read without pickle.

OBJ files are in the camera frame (x right, y down, z forward), as all numbers are; GLB is turned to y up, as glTF wants.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import maps, visualize
from .aside import write_together
from .coding import png
from .hands import SIDES, Hand, TwoHands

KINDS = ("json", "npz", "glb", "obj", "overlay", *maps.MAPS, "bvh", "csv")
DEFAULT_KINDS = ("json", "glb", "overlay")
DEMO_KINDS = ("json", "npz", "glb", "obj", "overlay", "depth", "normal", "mask")
MOVING_DEFAULT_KINDS = ("json", "overlay")
"""Of videos and cameras."""
ENDINGS = {
    "json": (".json",),
    "npz": (".npz",),
    "glb": (".glb",),
    "obj": ("_right.obj", "_left.obj"),
    "overlay": ("_overlay.png",),
    **{kind: tuple(f"{ending}.png" for ending, _ in pairs) for kind, pairs in maps.MAPS.items()},
    "bvh": ("_right.bvh", "_left.bvh"),
    "csv": (".csv",),
}
"""What each kind of file is called: the stem and this."""
MOVING_KINDS = ("json", "glb", "overlay", *maps.MAPS, "bvh", "csv")
"""The kinds of file that can be made of a video."""


def moving_names(stem: Path, kinds: Sequence[str]) -> dict[str, list[Path]]:
    """The files and folders of a video or camera by kind: a folder of PNG files, 000000.png and so on, for each map."""
    ends: dict[str, Sequence[str]] = {"json": (".jsonl",), "overlay": (".mp4",), "glb": (".glb",)}
    ends |= {kind: [ending for ending, _ in pairs] for kind, pairs in maps.MAPS.items()}
    ends |= {kind: ENDINGS[kind] for kind in ("bvh", "csv")}
    return {kind: [stem.with_name(stem.name + end) for end in ends[kind]] for kind in kinds if kind in ends}


def parse_kinds(text: str) -> tuple[str, ...]:
    """The kinds of file named by `json,npz,...`.

    Raises:
        ValueError: one is not known, or none is named.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        what = f"cannot save {unknown[0]!r}" if unknown else "nothing is named to be saved"
        raise ValueError(f"{what}; --save takes some of {','.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in names)


def save(hands: TwoHands, image: np.ndarray, stem: str | Path, kinds: Sequence[str] = DEFAULT_KINDS) -> list[Path]:
    """Write the files of one result; their folder is made if missing.

    Args:
        hands: the result.
        image: (H, W, 3) uint8 RGB, the picture it is of.
        stem: path of the files without their endings.
        kinds: some of `KINDS`.

    Returns:
        What was written. A hand that is not there has no OBJ; one left by an earlier run is removed.
    """
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    pictures = maps.all_maps(hands, set(kinds))
    contents: dict[Path, bytes | None] = {}
    for kind in kinds:
        for name in ENDINGS[kind]:
            picture = pictures.get(name.removesuffix(".png"))
            content = _content(kind, name, hands, image) if picture is None else to_map(name, picture)
            contents[stem.with_name(stem.name + name)] = content
    return write_together(contents)


def _content(kind: str, ending: str, hands: TwoHands, image: np.ndarray) -> bytes | None:
    if kind == "json":
        return (json.dumps(hands.to_dict(), allow_nan=False) + "\n").encode()
    if kind == "npz":
        return to_npz(hands)
    if kind == "glb":
        return to_glb(hands)
    if kind == "obj":
        hand = hands.right if ending == "_right.obj" else hands.left
        return None if hand is None else to_obj(hand)
    if kind == "overlay":
        return png(visualize.overlay(image, hands))
    if kind in ("bvh", "csv"):
        from .motion import of_one_picture  # with torch

        return of_one_picture(hands, kind, ending)
    raise ValueError(f"there is no kind of file {kind!r}")


def to_npz(hands: TwoHands) -> bytes:
    """The content of `<stem>.npz`; the names are at this module's head."""
    relative = hands.relative_translation
    arrays: dict[str, Any] = {
        "schema": hands.to_dict()["schema"],
        "image_file": hands.file or "",
        "image_width": hands.width,
        "image_height": hands.height,
        "camera": hands.camera.K,
        "camera_assumed": hands.camera.assumed,
        **{f"model_{key}": value for key, value in hands.model.items()},
        "sides": np.array([hand.side for hand in hands.hands], dtype="U5"),
        "relative_translation": np.full(3, np.nan) if relative is None else relative,
    }
    keys = ("score", "box", "joints2d", "joints3d", "pose", "shape", "translation", "vertices", "vertices_rough")
    for hand in hands.hands:
        arrays.update({f"{hand.side}_{key}": np.asarray(getattr(hand, key), np.float64) for key in keys})
        arrays[f"{hand.side}_faces"] = np.asarray(hand.faces, np.int32)
        if hand.scale != 1:
            arrays[f"{hand.side}_scale"] = hand.scale
        if hand.joint_errors is not None:
            arrays[f"{hand.side}_joint_errors"] = np.asarray(hand.joint_errors, np.float64)
            arrays[f"{hand.side}_error"] = hand.error
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def to_obj(hand: Hand) -> bytes:
    """One hand as Wavefront OBJ with normals: metres, camera frame."""
    lines = [f"# lgnet: {hand.side} hand, metres, camera frame: x right, y down, z forward", f"o {hand.side}_hand"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in hand.vertices]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertex_normals(hand.vertices, hand.faces)]
    lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in np.asarray(hand.faces) + 1]
    return ("\n".join(lines) + "\n").encode()


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, each the mean of its faces' by their areas; (0, 0, 1) where there is none."""
    corners = np.asarray(vertices, np.float64)[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, k], 3), len(vertices)) for k in range(3)], 1)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(length > 1e-20, sums / np.maximum(length, 1e-20), [0.0, 0.0, 1.0])


def to_glb(hands: TwoHands) -> bytes:
    """The hands as binary glTF 2.0: a node, a mesh and a material each; metres, y up, the camera looking along -z.

    Where all people were asked for, those of the second one are called `right_hand_2`, `left_hand_2`, and so on.
    """
    scene: dict[str, Any] = {"name": "hands"}
    gltf: dict[str, Any] = {"asset": {"version": "2.0", "generator": "lgnet"}, "scene": 0, "scenes": [scene]}
    buffer = bytearray()

    def add(values: np.ndarray, kind: str, target: int, **more: Any) -> int:
        """Put an array of 4-byte numbers into the buffer; the accessor's index."""
        views, accessors = gltf.setdefault("bufferViews", []), gltf.setdefault("accessors", [])
        view = {"buffer": 0, "byteOffset": len(buffer), "byteLength": values.nbytes, "target": target}
        component = 5125 if values.dtype == np.dtype("<u4") else 5126
        count = values.size if kind == "SCALAR" else len(values)
        accessors.append(
            {"bufferView": len(views), "componentType": component, "count": count, "type": kind, **more},
        )
        views.append(view)
        buffer.extend(values.tobytes())
        return len(accessors) - 1

    people = (hands,) if hands.people is None else hands.people
    named = [(hand, f"_{n}" if n > 1 else "") for n, person in enumerate(people, 1) for hand in person.hands]
    for index, (hand, number) in enumerate(named):
        turn = np.array([1.0, -1.0, -1.0])  # half a turn about x: y down, z forward -> y up, z backward
        position = (hand.vertices * turn).astype("<f4")
        normal = (vertex_normals(hand.vertices, hand.faces) * turn).astype("<f4")
        ends = {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
        primitive = {
            "attributes": {"POSITION": add(position, "VEC3", 34962, **ends), "NORMAL": add(normal, "VEC3", 34962)},
            "indices": add(np.ascontiguousarray(hand.faces, "<u4"), "SCALAR", 34963),
            "material": index,
        }
        name = f"{hand.side}_hand{number}"
        scene.setdefault("nodes", []).append(index)
        gltf.setdefault("nodes", []).append({"name": name, "mesh": index})
        gltf.setdefault("meshes", []).append({"name": name, "primitives": [primitive]})
        gltf.setdefault("materials", []).append(glb_material(hand.side))
    if buffer:
        gltf["buffers"] = [{"byteLength": len(buffer)}]
    text = json.dumps(gltf, separators=(",", ":"), allow_nan=False).encode()
    chunks = glb_chunk(b"JSON", text, b" ") + (glb_chunk(b"BIN\0", bytes(buffer), b"\0") if buffer else b"")
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def glb_chunk(kind: bytes, content: bytes, padding: bytes) -> bytes:
    """A chunk of a GLB file, padded to 4 bytes."""
    content += padding * (-len(content) % 4)
    return struct.pack("<I4s", len(content), kind) + content


def glb_material(side: str) -> dict[str, Any]:
    """The side's colour as a material of glTF."""
    red, green, blue = ((channel / 255) ** 2.2 for channel in visualize.COLOURS[side])  # glTF's factors are linear
    surface = {"baseColorFactor": [red, green, blue, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    return {"name": side, "pbrMetallicRoughness": surface, "doubleSided": True}  # the mesh is open at the wrist


def to_map(ending: str, picture: np.ndarray) -> bytes:
    """One of `maps.all_maps` as PNG. Parts have a palette: readers of indices get the parts, all others their colours."""
    if not ending.startswith("_part"):
        return png(picture)
    from PIL import Image

    indexed = Image.fromarray(picture, "P")
    indexed.putpalette(maps.palette().tobytes())
    file = io.BytesIO()
    indexed.save(file, "PNG")
    return file.getvalue()


def names(stem: str | Path, kinds: Sequence[str]) -> list[Path]:
    """Every file that `save` may write."""
    stem = Path(stem)
    return [stem.with_name(stem.name + ending) for kind in kinds for ending in ENDINGS[kind]]


assert set(ENDINGS) == set(KINDS) and SIDES == ("right", "left")
