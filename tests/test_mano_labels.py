"""MANO's parameters as InterHand2.6M and FreiHAND give them, against MANO's own formulas; its files are stand-ins."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from test_freihand import root as freihand_root  # noqa: F401
from test_interhand import CENTRE, ROTATION
from test_interhand import root as interhand_root  # noqa: F401
from test_mano import make_arrays, mirror_arrays, plain_mano, write

from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.hands import Camera, Hand, TwoHands
from lgnet.scoring.score import score_picture
from lgnet.scoring.truth import true_hands


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mano")
    right = make_arrays()
    left = mirror_arrays(right)
    write(path / "MANO_RIGHT.pkl", right)
    write(path / "MANO_LEFT.pkl", left)
    left["shapedirs"] = right["shapedirs"] * np.array([-1.0, 1, 1])[:, None]  # as everybody mends it
    return path, {"right": right, "left": left}


def published(arrays, pose, shape, trans):
    """(778, 3) as the published render.py: smplx's MANO with its default, a pose relative to the mean."""
    rotvecs = np.array(pose).reshape(16, 3)
    rotvecs[1:] += arrays["hands_mean"].reshape(15, 3)
    shaped = arrays["v_template"] + arrays["shapedirs"] @ shape
    wrist = arrays["J_regressor"][0] @ shaped
    return plain_mano(arrays, np.stack([cv2.Rodrigues(r)[0] for r in rotvecs]), np.array(shape)) + wrist + trans


@pytest.fixture
def labelled(interhand_root):  # noqa: F811
    root = interhand_root[0]
    rng = np.random.default_rng(1)
    made = {
        side: {"pose": rng.normal(0, 0.3, 48), "shape": rng.normal(0, 1, 10), "trans": rng.normal([0.1, 0, 0.8], 0.05)}
        for side in ("right", "left")
    }
    both = {side: {key: value.tolist() for key, value in hand.items()} for side, hand in made.items()}
    content = {"5": {"100": both, "101": {"right": None, "left": both["left"]}, "999": both}}
    (root / "annotations/test/InterHand2.6M_test_MANO_NeuralAnnot.json").write_text(json.dumps(content))
    return root, made


def test_interhand_as_the_published_code_poses_it(labelled, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("LGNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MANO_DIR", str(folder[0]))
    root, made = labelled
    samples = {s.name[-7:-4]: s for s in open_data(f"interhand26m-test:{root}")}
    sample = samples["100"]
    assert sample.hand_model == "mano"
    known = {name: s.has_params.tolist() for name, s in samples.items()}
    assert known == {"100": [True, True], "101": [False, True], "102": [False, False]}
    for side, vertices, joints in zip(("right", "left"), *true_hands(sample)):
        world = published(folder[1][side], **made[side])
        camera = (world * 1000 - CENTRE) @ ROTATION.T / 1000  # R (x - c), millimetres
        np.testing.assert_allclose(vertices, camera, atol=2e-6)
        regressed = folder[1][side]["J_regressor"] @ camera  # MANO's order: index, middle, little, ring, thumb
        np.testing.assert_allclose(joints[[0, 5, 9, 17, 13, 1]], regressed[[0, 1, 4, 7, 10, 13]], atol=5e-6)
        np.testing.assert_allclose(joints[4::4], camera[[745, 317, 444, 556, 673]], atol=2e-6)


def test_a_predicted_mano_mesh_is_scored_by_what_the_regressor_makes_of_it(labelled, folder, monkeypatch, tmp_path):
    """Under A and B, as the published codes do; C takes the joints as they are predicted."""
    monkeypatch.setenv("LGNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MANO_DIR", str(folder[0]))
    sample = next(s for s in open_data(f"interhand26m-test:{labelled[0]}") if s.name.endswith("100.jpg"))
    meshes, joints = true_hands(sample)
    assert meshes[0] is not None and joints[0] is not None
    rng = np.random.default_rng(0)

    def scored(vertices):
        centres = joints[0] + rng.normal(0, 0.004, (21, 3))  # what a network says besides
        nothing = np.zeros((0, 3))
        hand = Hand(
            "right", 1.0, sample.box[0], sample.joints2d[0], centres, vertices, nothing, np.zeros((0, 3), int), np.zeros((16, 3)),
            np.zeros(10), centres[0],
        )  # fmt: skip
        hands = TwoHands(replace(hand, vertices_rough=vertices), None, 334, 512, Camera(1000, 1000, 100, 100))
        return score_picture(sample, hands, meshes, mesh_joints=joints).hands[0]

    perfect, without = scored(meshes[0]), scored(np.zeros((0, 3)))  # whose own wrist is millimetres off the mesh's
    assert perfect.of_mesh and perfect.mpvpe == pytest.approx({"A": 0, "B": 0, "C": 0}, abs=1e-3)
    assert perfect.mpvpe_rough == pytest.approx({"C": 0}, abs=1e-3)
    assert max(perfect.mpjpe[name] for name in "AB") < 1e-3 < 1 < min(without.mpjpe[name] for name in "AB")


def test_interhands_published_selection(labelled, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("LGNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MANO_DIR", str(folder[0]))
    root = labelled[0]
    chosen = open_data(f"interhand26m-test-mano:{root}")
    assert [s.name[-7:-4] for s in chosen] == ["100"]
    assert check_data(f"interhand26m-test-mano:{root}").faults == ()
    labels = root / "annotations/test/InterHand2.6M_test_MANO_NeuralAnnot.json"
    labels.write_text('{"5": {"100": {"right": null, "left": null}}}')
    none = open_data(f"interhand26m-test-mano:{root}")
    assert len(none) == 0
    assert none.skipped["pictures without MANO labels of both hands"] == 1


def test_labels_without_manos_files_are_counted(labelled, monkeypatch, tmp_path):
    monkeypatch.setenv("LGNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MANO_DIR", raising=False)
    data = open_data(f"interhand26m-test:{labelled[0]}")
    (reason,) = data.skipped
    assert "set MANO_DIR" in reason
    assert data.skipped[reason] == 3
    assert not any(s.has_params.any() for s in data)


def test_freihand(freihand_root, folder, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MANO_DIR", str(folder[0]))
    root, xyz, K = freihand_root
    rng = np.random.default_rng(2)
    theta = rng.normal(0, 0.3, (2, 1, 61))
    arrays = folder[1]["right"]
    meshes = np.stack([published(arrays, t[0, :48], t[0, 48:58], 0) for t in theta])
    shaped = arrays["v_template"] + np.einsum("vck,nk->nvc", arrays["shapedirs"], theta[:, 0, 48:58])
    meshes = meshes - np.einsum("v,nvc->nc", arrays["J_regressor"][0], shaped)[:, None] + xyz[:, :1]
    (root / "training_mano.json").write_text(json.dumps(theta.tolist()))
    (root / "training_verts.json").write_text(json.dumps(meshes.tolist()))
    sample = list(open_data(f"freihand-training:{root}"))[3]
    np.testing.assert_allclose(true_hands(sample)[0][0], meshes[1], atol=2e-6)
    (root / "training_mano.json").rename(root / "kept.json")
    (mesh, none), (joints, _) = true_hands(open_data(f"freihand-training:{root}")[3])  # the mesh itself tells as much
    assert mesh is not None and joints is not None and none is None
    np.testing.assert_allclose(mesh, meshes[1], atol=1e-7)
    np.testing.assert_allclose(joints[[0, 5]], (arrays["J_regressor"] @ meshes[1])[[0, 1]], atol=1e-6)
    (root / "kept.json").rename(root / "training_mano.json")
    u = meshes[1] @ K[1].T
    u = u[:, :2] / u[:, 2:]
    np.testing.assert_allclose(sample.box[0], [*u.min(0), *(u.max(0) - u.min(0))], rtol=1e-4)
    monkeypatch.delenv("MANO_DIR")
    data = open_data(f"freihand-training:{root}")
    assert sum(data.skipped.values()) == 4 and not data[0].has_params.any()
    (root / "training_verts.json").write_text(json.dumps(meshes[:1].tolist()))
    with pytest.raises(ValueError, match=r"training_verts.json tells of 1 hands, not 2"):
        open_data(f"freihand-training:{root}")
