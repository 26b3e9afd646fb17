"""Animated GLB, BVH and CSV: read back by small readers of their own and compared with the hands that went in."""

import csv
import io
import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from posing import posed_hand, scene, turn

from lgnet.anatomy import LIMITS
from lgnet.animation import write_glb
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.hands import ROTATION_NAMES, Hand, TwoHands
from lgnet.motion import Recorder, csv_header, csv_rows, of_one_picture, write_bvh

RATE = 25.0


def moving(side: str, seed: int, frames: int, seen: slice = slice(None)) -> list[Hand | None]:
    """A hand that turns, bends its fingers and moves."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(LIMITS[..., 0], LIMITS[..., 1], (2, 15, 3))
    out: list[Hand | None] = [None] * frames
    for i in range(frames)[seen]:
        share = i / max(frames - 1, 1)
        rotation = turn((0.3, 1.0, 0.2), 300 * share) @ np.diag([1.0, -1.0, -1.0])
        out[i] = posed_hand(a + share * (b - a), side, rotation, at=(0.1 * share, 0.02, 0.5 - 0.1 * share))
    return out


def shaped(hand: Hand, betas: np.ndarray, scale: float, offsets: np.ndarray | None = None) -> Hand:
    """The same pose with another shape and size, and offsets (V, 3) of the mesh at rest."""
    model = load_hand_model("lgnet", hand.side)
    if offsets is not None:
        model = replace(model, template=model.template + torch.from_numpy(offsets).float())
    rotations = torch.from_numpy(np.stack([cv2.Rodrigues(r)[0] for r in hand.pose])).float()
    posed = pose_hand(model, rotations, torch.from_numpy(betas).float())
    vertices = scale * posed.vertices.double().numpy() + hand.translation
    return replace(hand, shape=betas, scale=scale, vertices=vertices, vertices_rough=vertices)


def record(rights: list[Hand | None], lefts: list[Hand | None]) -> tuple[Recorder, list[TwoHands]]:
    recorder = Recorder()
    frames = [scene(right, left) for right, left in zip(rights, lefts)]
    for i, hands in enumerate(frames):
        recorder.add(i / RATE, hands)
    return recorder, frames


class Glb:
    """A small reader of animated GLB files: accessors, nodes, one animation's keys, skinning."""

    WIDTHS: ClassVar = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
    TYPES: ClassVar = {5126: "<f4", 5121: "u1", 5123: "<u2", 5125: "<u4"}

    def __init__(self, path: Path):
        content = path.read_bytes()
        assert struct.unpack("<4sII", content[:12]) == (b"glTF", 2, len(content))
        length = struct.unpack("<I", content[12:16])[0]
        self.json = json.loads(content[20 : 20 + length])
        self.bin = content[28 + length :]

    def read(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        view = self.json["bufferViews"][accessor["bufferView"]]
        width = self.WIDTHS[accessor["type"]]
        values = np.frombuffer(
            self.bin, self.TYPES[accessor["componentType"]], accessor["count"] * width, view["byteOffset"]
        )
        return values.reshape(accessor["count"], width) if width > 1 else values

    def globals(self, key: int) -> list[np.ndarray]:
        """(4, 4) of every node at a key of the animation."""
        nodes = [dict(node) for node in self.json["nodes"]]
        animation = self.json["animations"][0]
        for channel in animation["channels"]:
            values = self.read(animation["samplers"][channel["sampler"]]["output"])
            nodes[channel["target"]["node"]][channel["target"]["path"]] = values[key].astype(float)
        local = []
        for node in nodes:
            x, y, z, w = node.get("rotation", (0, 0, 0, 1))
            angle = 2 * np.arctan2(np.linalg.norm((x, y, z)), w)
            axis = np.array([x, y, z]) / max(np.linalg.norm((x, y, z)), 1e-12)
            matrix = np.eye(4)
            matrix[:3, :3] = cv2.Rodrigues(axis * angle)[0] * np.asarray(node.get("scale", (1, 1, 1)), float)
            matrix[:3, 3] = node.get("translation", (0, 0, 0))
            local.append(matrix)
        parent = {child: i for i, node in enumerate(nodes) for child in node.get("children", ())}

        def whole(i: int) -> np.ndarray:
            return whole(parent[i]) @ local[i] if i in parent else local[i]

        return [whole(i) for i in range(len(nodes))]

    def skinned(self, name: str, key: int) -> np.ndarray:
        """(V, 3) of the mesh of this name at a key, the file's frame."""
        node = next(n for n in self.json["nodes"] if n["name"] == name)
        skin = self.json["skins"][node["skin"]]
        attributes = self.json["meshes"][node["mesh"]]["primitives"][0]["attributes"]
        inverse = self.read(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        world = self.globals(key)
        joints = np.stack([world[j] for j in skin["joints"]]) @ inverse
        position = self.read(attributes["POSITION"]).astype(float)
        out = np.zeros_like(position)
        for n in range(4):
            if f"JOINTS_{n}" in attributes:
                index, weight = self.read(attributes[f"JOINTS_{n}"]), self.read(attributes[f"WEIGHTS_{n}"])
                moved = np.einsum("vkij,vj->vki", joints[index], np.c_[position, np.ones(len(position))])
                out += (weight[..., None] * moved[..., :3]).sum(1)
        return out


TURN = np.array([1.0, -1.0, -1.0])


def test_the_skinned_meshes_are_those_that_went_in(tmp_path):
    betas, offsets = np.random.default_rng(5).normal(0, 1, 10), np.random.default_rng(6).normal(0, 0.003, (1610, 3))
    lefts = [hand and shaped(hand, betas, 1.1, offsets) for hand in moving("left", 2, 12, slice(3, 9))]
    recorder, frames = record(moving("right", 1, 12), lefts)
    write_glb(tmp_path / "a.glb", recorder)
    glb = Glb(tmp_path / "a.glb")
    for key, hands in enumerate(frames):
        for side, hand in (("right", hands.right), ("left", hands.left)):
            found = glb.skinned(f"{side}_hand", key)
            if hand is None:
                assert np.ptp(found, axis=0).max() < 1e-6  # all in one point: nothing is seen
            else:
                assert np.abs(found - hand.vertices * TURN).max() < 1e-5  # 0.01 mm
    times = glb.read(glb.json["animations"][0]["samplers"][0]["input"])
    np.testing.assert_allclose(times, np.arange(12) / RATE, atol=1e-6)
    kinds = {s["interpolation"] for s in glb.json["animations"][0]["samplers"]}
    assert kinds == {"LINEAR", "STEP"}


def test_shapes_and_offsets_that_change_become_their_mean(tmp_path):
    """Two shapes in turns: each frame keeps its length; what differs otherwise is split between them."""
    a, b = np.random.default_rng(7).normal(0, 0.5, (2, 10))
    hands = [shaped(hand, (a, b)[i % 2], 1.0) for i, hand in enumerate(moving("right", 1, 8)) if hand is not None]
    recorder, _ = record(list(hands), [None] * 8)
    write_glb(tmp_path / "a.glb", recorder)
    glb = Glb(tmp_path / "a.glb")
    errors = [
        np.linalg.norm(glb.skinned("right_hand", i) - h.vertices * TURN, axis=1).mean() for i, h in enumerate(hands)
    ]
    apart = np.linalg.norm(shaped(hands[0], b, 1.0).vertices - hands[0].vertices, axis=1).mean()
    assert 0 < max(errors) < 0.6 * apart


def test_quaternions_take_the_short_way(tmp_path):
    recorder, _ = record(moving("right", 3, 30), [None] * 30)
    write_glb(tmp_path / "a.glb", recorder)
    glb = Glb(tmp_path / "a.glb")
    for sampler in glb.json["animations"][0]["samplers"]:
        values = glb.read(sampler["output"])
        if values.shape[1] == 4:
            assert ((values[1:] * values[:-1]).sum(1) > 0).all()
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)


def test_no_hand_ever_is_an_empty_scene(tmp_path):
    recorder, _ = record([None] * 3, [None] * 3)
    write_glb(tmp_path / "a.glb", recorder)
    content = (tmp_path / "a.glb").read_bytes()
    assert struct.unpack("<I", content[8:12])[0] == len(content)
    assert json.loads(content[20:])["scenes"] == [{"name": "hands"}]


def test_a_long_film_goes_through_in_chunks(tmp_path, monkeypatch):
    rights = moving("right", 1, 23)
    whole, _ = record(rights, [None] * 23)
    write_glb(tmp_path / "a.glb", whole)
    monkeypatch.setattr("lgnet.motion.CHUNK", 5)
    parts, _ = record(rights, [None] * 23)
    write_glb(tmp_path / "b.glb", parts)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()
    texts = []
    for recorder in (whole, parts):
        text = io.StringIO()
        write_bvh(text, recorder, 0, RATE)
        texts.append(text.getvalue())
    assert texts[0] == texts[1]


@pytest.mark.skipif(shutil.which("gltf_validator") is None, reason="Khronos' gltf_validator is not installed")
def test_khronos_validator_finds_nothing(tmp_path):
    recorder, _ = record(moving("right", 1, 4), moving("left", 2, 4, slice(1, 3)))
    write_glb(tmp_path / "a.glb", recorder)
    done = subprocess.run(["gltf_validator", "-o", tmp_path / "a.glb"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]
    assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"]


def test_a_mesh_of_another_model_is_refused():
    hand = posed_hand(np.zeros((15, 3)))
    with pytest.raises(ValueError, match="not that of the hand model lgnet"):
        Recorder().add(0.0, scene(replace(hand, vertices=hand.vertices[:10])))


def read_bvh(text: str) -> tuple[list[tuple[str, int, np.ndarray, bool]], np.ndarray, float]:
    """Joints (name, parent, offset, has channels) in the file's order, the motion (T, channels), and the frame time."""
    words = iter(text.split())
    joints: list[tuple[str, int, np.ndarray, bool]] = []
    stack: list[int] = []
    name = ""
    for word in words:
        if word in ("ROOT", "JOINT", "End"):
            name = next(words)
        elif word == "{":
            joints.append((name, stack[-1] if stack else -1, np.zeros(3), name != "Site"))
            stack.append(len(joints) - 1)
        elif word == "OFFSET":
            n, parent, _, moves = joints[stack[-1]]
            joints[stack[-1]] = (n, parent, np.array([float(next(words)) for _ in range(3)]), moves)
        elif word == "CHANNELS":
            count = int(next(words))
            kinds = [next(words) for _ in range(count)]
            assert kinds[-3:] == ["Zrotation", "Xrotation", "Yrotation"]
        elif word == "}":
            stack.pop()
        elif word == "MOTION":
            break
    assert [next(words), int(next(words))][0] == "Frames:"
    assert [next(words), next(words)] == ["Frame", "Time:"]
    step = float(next(words))
    values = np.array([float(w) for w in words])
    return joints, values.reshape(-1, 3 + 3 * sum(j[3] for j in joints)), step


def bvh_places(joints: list[tuple[str, int, np.ndarray, bool]], row: np.ndarray) -> dict[str, np.ndarray]:
    """Where every joint and finger end is in a frame: rotations multiplied in the order of the channels."""
    places: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    out: dict[str, np.ndarray] = {}
    at = 3
    for name, parent, offset, moves in joints:
        local = np.eye(3)
        if moves:
            for axis, angle in zip(((0, 0, 1), (1, 0, 0), (0, 1, 0)), np.deg2rad(row[at : at + 3])):
                local = local @ cv2.Rodrigues(np.array(axis) * angle)[0]
            at += 3
        places.append(row[:3] if parent < 0 else places[parent] + turns[parent] @ offset)
        turns.append(local if parent < 0 else turns[parent] @ local)
        out[name if moves else joints[parent][0] + "_end"] = places[-1]
    return out


@pytest.mark.parametrize("side", ["right", "left"])
def test_bvh_has_the_joints_where_they_were(side):
    hands = moving(side, 4, 9, slice(2, 8))
    recorder, _ = record(*((hands, [None] * 9) if side == "right" else ([None] * 9, hands)))
    text = io.StringIO()
    write_bvh(text, recorder, int(side == "left"), RATE)
    joints, motion, step = read_bvh(text.getvalue())
    assert [j[0] for j in joints if j[3]] == [f"{side}_{name}" for name in ROTATION_NAMES]
    assert len(motion) == 9
    assert step == pytest.approx(1 / RATE)
    for i, hand in enumerate(hands):
        if hand is None:
            continue
        places = bvh_places(joints, motion[i])
        assert len(places) == 21
        found = [places[f"{side}_wrist"], *(places[f"{side}_{f}_end"] for f in ("thumb_ip", "index_dip", "little_dip"))]
        np.testing.assert_allclose(found, hand.joints3d[[0, 4, 8, 20]] * TURN * 100, atol=1e-3)  # centimetres
    np.testing.assert_array_equal(motion[8], motion[7])  # not there: as it was
    assert np.abs(np.diff(motion[2:8, 3:], axis=0)).max() < 180


def test_csv_says_the_angles_that_were_set():
    angles = np.deg2rad(np.random.default_rng(0).uniform(-5, 40, (15, 3)))
    angles[:, 1:] *= 0.1
    right, left = posed_hand(angles, "right"), posed_hand(angles, "left", at=(0.1, 0.0, 0.4))
    text = csv_header() + csv_rows(0, 0.0, scene()) + csv_rows(7, 0.28, scene(right, left))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["frame"], row["side"]) for row in rows] == [("7", "right"), ("7", "left")]
    for row in rows:
        for joint, expected in zip(ROTATION_NAMES[1:], np.degrees(angles)):
            found = [float(row[f"{joint}_{angle}_deg"]) for angle in ("flex", "spread", "twist")]
            np.testing.assert_allclose(found, expected, atol=0.01)
    assert [float(rows[1][f"wrist_{axis}_m"]) for axis in "xyz"] == [0.1, 0.0, 0.4]
    assert float(rows[0]["wrist_qx"]) == pytest.approx(1, abs=1e-6)  # half a turn about x: palm to the camera
    assert float(rows[0]["time_s"]) == 0.28


def test_a_picture_has_one_frame():
    hands = scene(posed_hand(np.zeros((15, 3))))
    assert of_one_picture(hands, "bvh", "_left.bvh") is None
    content = of_one_picture(hands, "bvh", "_right.bvh")
    assert content is not None
    assert b"Frames: 1\nFrame Time: 0.0333" in content
    table = of_one_picture(hands, "csv", ".csv")
    assert table is not None
    assert len(table.splitlines()) == 2
