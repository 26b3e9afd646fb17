"""A video's hands as one animated binary glTF 2.0: a mesh with a skin for each hand, its joints' turns frame by frame.

Each hand has one mesh at rest, the one that the joints' turns carry nearest to all meshes seen (`motion.Rest`), and its
mean shape's skeleton; what a frame's mesh differs from that beyond its turns, place and size is lost (docs/outputs.md
says how much that is). A hand that is not there has scale 0.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from .hands import ROTATION_NAMES, ROTATION_PARENTS, SIDES
from .motion import TO_Y_UP, Recorder, Rest
from .outputs import glb_material, vertex_normals

_COMPONENTS = {"<f4": 5126, "|u1": 5121, "<u2": 5123, "<u4": 5125}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def write_glb(path: Path, recorder: Recorder) -> None:
    """Write the frames kept as an animated GLB: metres, y up, the camera looking along -z; times in seconds."""
    gltf: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "lgnet"},
        "scene": 0,
        "scenes": [{"name": "hands"}],
    }
    fixed = bytearray()
    sizes: list[int] = []  # of the views that are filled frame by frame, in their order

    def accessor(kind: str, dtype: str, count: int, offset: int, target: int | None, **more: Any) -> int:
        views, accessors = gltf.setdefault("bufferViews", []), gltf.setdefault("accessors", [])
        size = count * _WIDTHS[kind] * np.dtype(dtype).itemsize
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": size, **({"target": target} if target else {})})
        accessors.append(
            {"bufferView": len(views) - 1, "componentType": _COMPONENTS[dtype], "count": count, "type": kind, **more}
        )
        return len(accessors) - 1

    def add(values: np.ndarray, kind: str, target: int | None = None, **more: Any) -> int:
        fixed.extend(b"\0" * (-len(fixed) % 4))
        index = accessor(kind, values.dtype.str, values.size // _WIDTHS[kind], len(fixed), target, **more)
        fixed.extend(values.tobytes())
        return index

    present = [(side, rest) for side, rest in enumerate(recorder.rests) if rest is not None]
    roots = [_add_hand(gltf, add, SIDES[side], rest) for side, rest in present]
    fixed.extend(b"\0" * (-len(fixed) % 4))
    end = len(fixed)
    if present:
        first, last = (float(np.float32(t)) for t in (recorder.times[0], recorder.times[-1]))

        def later(kind: str, **more: Any) -> int:
            nonlocal end
            sizes.append(_WIDTHS[kind] * 4)
            index = accessor(kind, "<f4", recorder.count, end, None, **more)
            end += recorder.count * sizes[-1]
            return index

        times = later("SCALAR", min=[first], max=[last])
        channels, samplers = [], []
        for root in roots:
            targets = [(root, "translation", "VEC3", "LINEAR"), (root, "scale", "VEC3", "STEP")]
            targets += [(root + joint, "rotation", "VEC4", "LINEAR") for joint in range(16)]
            for node, what, kind, how in targets:
                samplers.append({"input": times, "interpolation": how, "output": later(kind)})
                channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": what}})
        gltf["animations"] = [{"name": "hands", "channels": channels, "samplers": samplers}]
        gltf["buffers"] = [{"byteLength": end}]
    text = json.dumps(gltf, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    body = 8 + end if present else 0
    with path.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + body))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        if not present:
            return
        file.write(struct.pack("<I4s", end, b"BIN\0") + fixed)
        _fill(file, recorder, present, file.tell(), sizes)


def _add_hand(gltf: dict[str, Any], add: Any, side: str, rest: Rest) -> int:
    """Mesh, skin and joints of one hand; the index of its root joint, which the other 15 follow."""
    model = rest.model
    vertices, (centres, _) = rest.vertices(), rest.skeleton()
    faces = model.faces.numpy()
    position = vertices.astype("<f4")
    ends = {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
    attributes = {
        "POSITION": add(position, "VEC3", 34962, **ends),
        "NORMAL": add(vertex_normals(vertices, faces).astype("<f4"), "VEC3", 34962),
    }
    for number, (joints, weights) in enumerate(_influences(model.weights.double().numpy())):
        attributes[f"JOINTS_{number}"] = add(joints, "VEC4", 34962)
        attributes[f"WEIGHTS_{number}"] = add(weights, "VEC4", 34962)
    nodes, meshes = gltf.setdefault("nodes", []), gltf.setdefault("meshes", [])
    skins, materials = gltf.setdefault("skins", []), gltf.setdefault("materials", [])
    places = np.concatenate([np.zeros((1, 3)), centres[1:]])  # the root turns about the public wrist
    inverse = np.tile(np.eye(4), (16, 1, 1))
    inverse[:, :3, 3] = -places
    frame, root = len(nodes), len(nodes) + 2
    nodes.append({"name": f"{side}_camera_frame", "rotation": [1.0, 0.0, 0.0, 0.0], "children": [root]})
    nodes.append({"name": f"{side}_hand", "mesh": len(meshes), "skin": len(skins)})
    for joint, name in enumerate(ROTATION_NAMES):
        node: dict[str, Any] = {"name": f"{side}_{name}"}
        children = [root + j for j, parent in enumerate(ROTATION_PARENTS) if parent == joint]
        if children:
            node["children"] = children
        if joint:
            node["translation"] = (places[joint] - places[ROTATION_PARENTS[joint]]).tolist()
        nodes.append(node)
    primitive = {
        "attributes": attributes,
        "indices": add(faces.astype("<u2").ravel(), "SCALAR", 34963),
        "material": len(materials),
    }
    meshes.append({"name": f"{side}_hand", "primitives": [primitive]})
    matrices = np.swapaxes(inverse, 1, 2).astype("<f4")  # column by column
    skins.append(
        {
            "name": f"{side}_hand",
            "inverseBindMatrices": add(matrices, "MAT4"),
            "skeleton": root,
            "joints": list(range(root, root + 16)),
        }
    )
    materials.append(glb_material(side))
    gltf["scenes"][0].setdefault("nodes", []).extend([frame, frame + 1])
    return root


def _influences(weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (V, 16) as sets of four joints (V, 4) uint8 and their weights (V, 4) float32, the greatest first; as many
    sets as the vertex with most joints needs: one for lgnet's hand.
    """
    order = np.argsort(-weights, 1, kind="stable")
    value = np.take_along_axis(weights, order, 1)
    sets = -(-int((value > 0).sum(1).max()) // 4)
    joints = np.where(value > 0, order, 0).astype("|u1")
    value = (value / value.sum(1, keepdims=True)).astype("<f4")
    return [(joints[:, 4 * s : 4 * s + 4].copy(), value[:, 4 * s : 4 * s + 4].copy()) for s in range(sets)]


def _fill(file: Any, recorder: Recorder, present: list[tuple[int, Rest]], begin: int, sizes: list[int]) -> None:
    """Write the values of all frames, view after view from `begin` on, a chunk of frames at a time."""
    starts = begin + recorder.count * np.cumsum([0, *sizes[:-1]])
    done = 0
    for chunk in recorder.chunks():
        columns = [chunk["time"]]
        for side, rest in present:
            scale = np.where(chunk["there"][:, side], chunk["length"][:, side] / rest.length(), 0.0)
            columns += [chunk["at"][:, side], np.repeat(scale[:, None], 3, 1)]
            columns += [chunk["turn"][:, side, joint] for joint in range(16)]
        for start, size, column in zip(starts, sizes, columns):
            file.seek(int(start) + done * size)
            file.write(np.ascontiguousarray(column, "<f4").tobytes())
        done += len(chunk)


assert TO_Y_UP.tolist() == [1, -1, -1], "the frame's node turns by half a turn about x"
