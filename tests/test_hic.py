"""HIC in InterWild's layout, written small with numbers of our own; MANO's files are stand-ins."""

import json

import cv2
import numpy as np
import pytest
from test_mano import make_arrays, mirror_arrays
from test_mano import write as write_mano

from lgnet.data.check import check_data
from lgnet.data.hic import read_ply_vertices
from lgnet.data.registry import open_data
from lgnet.hands import LEFT, RIGHT
from lgnet.mano import FINGERTIPS
from lgnet.scoring.truth import true_hands


def write_ply(path, vertices, binary):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "binary_little_endian" if binary else "ascii"
    head = f"ply\nformat {kind} 1.0\ncomment fit\nelement vertex {len(vertices)}\n"
    head += "property float x\nproperty float y\nproperty float z\nproperty uchar red\n"
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    if binary:
        table = np.zeros(len(vertices), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1")])
        table["x"], table["y"], table["z"] = vertices.T
        body = table.tobytes() + b"\x03" + np.arange(3, dtype="<i4").tobytes()
    else:
        body = "".join(f"{x:.9g} {y:.9g} {z:.9g} 7\n" for x, y, z in vertices).encode() + b"3 0 1 2\n"
    path.write_bytes(head.encode() + body)


def hands(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal([0.08, 0, 0.8], 0.02, (778, 3)), rng.normal([-0.08, 0, 0.8], 0.02, (778, 3))


def write(root, binary=True):
    right, left = hands()
    write_ply(root / "fits" / "01" / "right" / "00001.ply", right, binary)
    write_ply(root / "fits" / "01" / "left" / "00001.ply", left, binary)
    fits = {"right": "fits/01/right/00001.ply", "left": "fits/01/left/00001.ply"}
    rows = [
        ("interacting", fits["right"], fits["left"]),
        ("interacting", fits["right"], None),
        ("left", None, fits["left"]),
    ]
    rows.append(("right", None, None))
    images, annotations = [], []
    for number, (kind, a, b) in enumerate(rows):
        name = f"01/rgb/{number:05d}.png"
        (root / "01" / "rgb").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((480, 640, 3), 60, np.uint8))
        images.append({"id": number, "file_name": name, "width": 640, "height": 480})
        annotation = {"id": number, "image_id": number, "hand_type": kind, "right_mano_path": a, "left_mano_path": b}
        annotations.append(annotation)
    (root / "HIC.json").write_text(json.dumps({"images": images, "annotations": annotations}))


@pytest.mark.parametrize("binary", [True, False])
def test_without_manos_files_boxes_and_fingertips(tmp_path, monkeypatch, binary):
    monkeypatch.delenv("MANO_DIR", raising=False)
    write(tmp_path, binary)
    data = open_data(f"hic:{tmp_path}")
    assert data.skipped["pictures without a fitted hand"] == 1 and any(
        "set MANO_DIR" in reason for reason in data.skipped
    )
    both, half, one = data
    right, _ = hands()
    pixels = right[:, :2] / right[:, 2:] * 525 + (319.5, 239.5)
    low, high = pixels.min(0), pixels.max(0)
    np.testing.assert_allclose(both.box[RIGHT], [*low, *(high - low)], rtol=1e-5)
    assert np.flatnonzero(both.joints2d_valid[RIGHT]).tolist() == [4, 8, 12, 16, 20] and not both.joints3d_valid.any()
    np.testing.assert_allclose(both.joints2d[RIGHT, 8], pixels[FINGERTIPS[1]], atol=1e-3)
    assert both.present.all() and both.present_known.all() and both.kind == "separate"
    assert (half.present.tolist(), half.present_known.tolist()) == ([True, False], [True, False])
    assert (one.present.tolist(), one.present_known.tolist()) == ([False, True], [True, True])
    assert check_data(f"hic:{tmp_path}").faults == ()


def test_with_manos_files_all_joints(tmp_path, monkeypatch):
    arrays = make_arrays()
    (tmp_path / "mano").mkdir()
    write_mano(tmp_path / "mano" / "MANO_RIGHT.pkl", arrays)
    write_mano(tmp_path / "mano" / "MANO_LEFT.pkl", mirror_arrays(arrays))
    monkeypatch.setenv("MANO_DIR", str(tmp_path / "mano"))
    write(tmp_path)
    sample = open_data(f"hic:{tmp_path}")[0]
    right, left = (mesh.astype(np.float32).astype(float) for mesh in hands())
    regressor = np.asarray(arrays["J_regressor"])
    # MANO's own joints: the thumb's are 13 .. 15, the index finger's 1 .. 3, the little finger's 7 .. 9
    for ours, theirs in ((0, 0), (1, 13), (3, 15), (5, 1), (17, 7)):
        np.testing.assert_allclose(sample.joints3d[RIGHT, ours], regressor[theirs] @ right, atol=1e-6)
    np.testing.assert_allclose(sample.joints3d[LEFT, 20], left[FINGERTIPS[4]], atol=1e-6)
    assert sample.joints3d_valid.all()
    (vertices, _), (joints, _) = true_hands(sample)
    np.testing.assert_allclose(vertices, right, atol=1e-9)
    np.testing.assert_allclose(joints, sample.joints3d[RIGHT], atol=1e-6)
    assert check_data(f"hic:{tmp_path}").faults == ()


def test_what_is_wrong_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("MANO_DIR", raising=False)
    with pytest.raises(ValueError, match=r"there is no file .*HIC\.json"):
        open_data(f"hic:{tmp_path}")
    write(tmp_path)
    mesh = tmp_path / "fits" / "01" / "right" / "00001.ply"
    whole = mesh.read_bytes()
    for content in (whole[:900], b"no mesh", whole.replace(b"little", b"middle")):
        mesh.write_bytes(content)
        with pytest.raises(ValueError, match=r"00001\.ply cannot be read as a PLY"):
            read_ply_vertices(mesh)
    write_ply(mesh, np.ones((5, 3)), True)
    assert "has 5 vertices, not 778" in check_data(f"hic:{tmp_path}").faults[0]
    (tmp_path / "HIC.json").write_text(json.dumps({"images": [], "annotations": [{"hand_type": "both"}]}))
    with pytest.raises(ValueError, match="not laid out as InterWild's list"):
        open_data(f"hic:{tmp_path}")
