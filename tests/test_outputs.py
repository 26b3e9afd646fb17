import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh
from posing import posed_hand

from lgnet import aside, outputs
from lgnet.hands import Camera, Hand, TwoHands

WIDTH, HEIGHT = 64, 48
TETRAHEDRON = np.array([[0, 0, 0], [0.04, 0, 0], [0, 0.04, 0], [0, 0, 0.04]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def hand(side: str) -> Hand:
    rng = np.random.default_rng(side == "left")
    at = np.array([-0.05 if side == "right" else 0.05, 0.02, 0.4])
    return Hand(
        side=side,
        score=0.75,
        box=np.array([1.0, 2.0, 30.0, 40.0]),
        joints2d=rng.uniform(0, 40, (21, 2)),
        joints3d=rng.normal(0, 0.1, (21, 3)) + at,
        vertices=TETRAHEDRON + at,
        vertices_rough=TETRAHEDRON + at + 0.001,
        faces=FACES,
        pose=rng.normal(0, 0.3, (16, 3)),
        shape=rng.normal(0, 1, 10),
        translation=at,
    )


def two(right: bool = True, left: bool = True) -> TwoHands:
    return TwoHands(
        hand("right") if right else None,
        hand("left") if left else None,
        WIDTH,
        HEIGHT,
        Camera(60, 60, 31.5, 23.5, True),
        "a.jpg",
        {"weights": "w", "hand_model": "lgnet", "version": "0"},
    )


def real() -> TwoHands:
    """Both hands flat, with the hand model's meshes."""
    at = {"right": (-0.08, 0.05, 0.4), "left": (0.08, 0.05, 0.45)}
    right, left = (posed_hand(np.zeros((15, 3)), side, at=at[side]) for side in ("right", "left"))
    return replace(two(), right=right, left=left)


@pytest.fixture
def image() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def test_every_kind_is_written_under_its_name(tmp_path, image):
    written = outputs.save(real(), image, tmp_path / "new" / "a.b", outputs.KINDS)
    endings = [".json", ".npz", ".glb", "_right.obj", "_left.obj"]
    endings += ["_overlay.png", "_depth.png", "_normal.png", "_mask.png", "_part.png", "_uv.png"]
    endings += ["_control_depth.png", "_control_normal.png", "_right.bvh", "_left.bvh", ".csv"]
    assert written == [tmp_path / "new" / f"a.b{ending}" for ending in endings]
    assert sorted(written) == sorted((tmp_path / "new").iterdir())  # nothing left aside
    assert set(written) == set(outputs.names(tmp_path / "new" / "a.b", outputs.KINDS))


def test_json_and_npz_hold_the_same(tmp_path, image):
    hands = two()
    outputs.save(hands, image, tmp_path / "a", ("json", "npz"))
    content = json.loads((tmp_path / "a.json").read_text())
    assert content == hands.to_dict()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert list(arrays["sides"]) == ["right", "left"]
        assert arrays["schema"] == content["schema"] and arrays["image_file"] == "a.jpg"
        assert (arrays["image_width"], arrays["image_height"]) == (WIDTH, HEIGHT)
        assert dict(zip(("fx", "fy", "cx", "cy"), arrays["camera"])) == {
            k: v for k, v in content["camera"].items() if k != "assumed"
        }
        assert arrays["camera_assumed"]
        assert arrays["model_weights"] == "w"
        assert (arrays["relative_translation"] == content["relative_translation"]).all()
        for said, made in zip(content["hands"], hands.hands):
            for key in ("score", "box", "joints2d", "joints3d", "pose", "shape", "translation"):
                assert np.array_equal(arrays[f"{said['side']}_{key}"], said[key])
            assert np.array_equal(arrays[f"{made.side}_vertices"], made.vertices)
            assert np.array_equal(arrays[f"{made.side}_faces"], made.faces)


def test_a_hand_of_known_length_keeps_its_scale():
    hands = two(left=False)
    hands = replace(hands, right=replace(hands.right, scale=1.25))
    with np.load(io.BytesIO(outputs.to_npz(hands))) as arrays:
        assert arrays["right_scale"] == hands.to_dict()["hands"][0]["scale"] == 1.25


def test_npz_of_one_hand():
    with np.load(io.BytesIO(outputs.to_npz(two(left=False)))) as arrays:
        assert list(arrays["sides"]) == ["right"] and "left_vertices" not in arrays
        assert np.isnan(arrays["relative_translation"]).all()


def test_obj_is_in_the_camera_frame(tmp_path, image):
    outputs.save(two(), image, tmp_path / "a", ("obj",))
    for made in two().hands:
        mesh = trimesh.load(tmp_path / f"a_{made.side}.obj", process=False, maintain_order=True)
        assert np.allclose(mesh.vertices, made.vertices, atol=1e-6)
        assert np.array_equal(mesh.faces, FACES)


def test_an_obj_of_an_earlier_run_does_not_stay(tmp_path, image):
    outputs.save(two(), image, tmp_path / "a", ("obj",))
    written = outputs.save(two(left=False), image, tmp_path / "a", ("obj",))
    assert written == [tmp_path / "a_right.obj"] == list(tmp_path.iterdir())


def test_glb_opens_elsewhere_and_is_y_up():
    scene = trimesh.load(io.BytesIO(outputs.to_glb(two())), file_type="glb", process=False)
    assert set(scene.geometry) == {"right_hand", "left_hand"}
    for made in two().hands:
        mesh = scene.geometry[f"{made.side}_hand"]
        assert np.allclose(mesh.vertices, made.vertices * [1, -1, -1], atol=1e-6)
        assert np.array_equal(mesh.faces, FACES)
        assert mesh.volume == pytest.approx(0.04**3 / 6, rel=1e-4)  # faces still look outwards
        assert np.allclose(mesh.vertex_normals, outputs.vertex_normals(made.vertices, FACES) * [1, -1, -1], atol=1e-5)
    red, blue = (scene.geometry[f"{s}_hand"].visual.material.baseColorFactor for s in ("right", "left"))
    assert red[0] > red[2] and blue[2] > blue[0]


def test_glb_keeps_the_rules_of_its_format():
    content = outputs.to_glb(two())
    assert content[:4] == b"glTF" and int.from_bytes(content[8:12], "little") == len(content)
    length = int.from_bytes(content[12:16], "little")
    assert length % 4 == 0 and content[16:20] == b"JSON"
    gltf = json.loads(content[20 : 20 + length])
    rest = content[20 + length :]
    assert rest[4:8] == b"BIN\0" and gltf["buffers"][0]["byteLength"] <= len(rest) - 8
    for accessor in gltf["accessors"]:
        view = gltf["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3}[accessor["type"]]
        assert view["byteLength"] == accessor["count"] * width * 4 and view["byteOffset"] % 4 == 0


def test_glb_without_hands_is_an_empty_scene():
    content = outputs.to_glb(two(False, False))
    assert json.loads(content[20:])["scenes"] == [{"name": "hands"}]


def test_normals_look_outwards():
    normals = outputs.vertex_normals(TETRAHEDRON, FACES)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert ((normals * (TETRAHEDRON - TETRAHEDRON.mean(0))).sum(1) > 0).all()
    assert np.allclose(outputs.vertex_normals(np.zeros((3, 3)), np.array([[0, 1, 2]])), [0, 0, 1])


def test_pictures(tmp_path, image):
    outputs.save(two(), image, tmp_path / "a", ("overlay", "depth", "mask"))
    overlay = cv2.imread(str(tmp_path / "a_overlay.png"))
    assert overlay.shape == image.shape
    depth = cv2.imread(str(tmp_path / "a_depth.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and depth.shape == image.shape[:2]
    assert 395 <= depth[depth > 0].min() <= depth.max() <= 445  # millimetres
    mask = cv2.imread(str(tmp_path / "a_mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == image.shape[:2] and ((mask > 0) == (depth > 0)).all()
    v, u = (int(values.mean()) for values in np.nonzero(mask == np.unique(mask)[1]))
    blue, _, red = (int(value) for value in overlay[v, u])
    assert red > blue if u < WIDTH / 2 else blue > red  # the right hand stands on the left here


def test_no_hands_gives_every_file(tmp_path, image):
    written = outputs.save(two(False, False), image, tmp_path / "a", outputs.KINDS)
    assert json.loads((tmp_path / "a.json").read_text())["hands"] == []
    assert len(written) == len(outputs.KINDS) + 1 - 2  # control has two; no OBJ, no BVH
    assert (cv2.imread(str(tmp_path / "a_overlay.png")) == image).all()


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "a.json").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError) as error:
        aside.write_aside(tmp_path / "a.json", b"x")
    assert error.value.filename == str(tmp_path / "a.json")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_kinds_are_parsed():
    assert outputs.parse_kinds("obj, json") == ("json", "obj")
    with pytest.raises(ValueError, match="cannot save 'ply'; --save takes some of json,npz"):
        outputs.parse_kinds("json,ply")
    with pytest.raises(ValueError, match="nothing is named"):
        outputs.parse_kinds(",")
