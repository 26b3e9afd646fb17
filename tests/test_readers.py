"""Data sets written small in their published layouts with numbers of our own, and the real samples there are."""

import json
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.ho3d import _recording
from lgnet.data.registry import open_data
from lgnet.data.sample import project
from lgnet.hands import LEFT, RIGHT

REAL = Path(os.environ.get("LGNET_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))
K = np.array([[300.0, 0, 160], [0, 310.0, 150], [0, 0, 1]])


def picture(path, width=320, height=320):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def some_joints(count, seed=0, z=0.7):
    return np.random.default_rng(seed).normal([0, 0, z], 0.03, (count, 3))


def pixels(points):
    uvw = points @ K.T
    return uvw[:, :2] / uvw[:, 2:]


def rhd(root, annotations):
    root.mkdir(exist_ok=True)
    for number in annotations:
        picture(root / "training" / "color" / f"{number:05d}.png")
    (root / "training" / "anno_training.pickle").write_bytes(pickle.dumps(annotations, 2))


def test_rhd(tmp_path):
    xyz = np.concatenate([some_joints(21) - [0.1, 0, 0], some_joints(21, 1) + [0.1, 0, 0]])  # left, right
    uv_vis = np.concatenate([pixels(xyz), np.ones((42, 1))], 1)
    behind = uv_vis.copy()
    behind[:21, 2] = 0  # the left hand is in the picture but nothing of it is seen
    away = behind.copy()
    away[:21, 0] += 1000
    common = {"xyz": xyz.astype(np.float32), "K": K.astype(np.float32)}
    rhd(tmp_path, {n: {**common, "uv_vis": v.astype(np.float32)} for n, v in enumerate((uv_vis, behind, away))})
    both, hidden, one = open_data(f"rhd-training:{tmp_path}")
    assert both.kind == "separate" and both.present.tolist() == [True, True]
    # by hand: their 1 is the thumb's tip, our 4; their 8 the index finger's base, our 5; the right hand starts at 21
    np.testing.assert_allclose(both.joints3d[RIGHT, [0, 4, 5, 17, 20]], xyz[[21, 22, 29, 41, 38]], atol=1e-6)
    np.testing.assert_allclose(both.joints3d[LEFT, [0, 4, 5, 17, 20]], xyz[[0, 1, 8, 20, 17]], atol=1e-6)
    np.testing.assert_allclose(both.joints2d[LEFT, 4], uv_vis[1, :2], atol=1e-3)
    np.testing.assert_allclose(both.K, (300, 310, 160, 150))
    assert (hidden.present.tolist(), hidden.present_known.tolist()) == ([True, False], [True, False])
    assert (one.present.tolist(), one.present_known.tolist(), one.kind) == ([True, False], [True, True], "single")
    assert check_data(f"rhd-training:{tmp_path}").faults == ()


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_pickle_runs_anything(tmp_path):
    rhd(tmp_path, {0: {"xyz": _Evil(str(tmp_path / "ran"))}})
    with pytest.raises(ValueError, match=r"anno_training\.pickle asks for '\w+\.mkdir'"):
        open_data(f"rhd-training:{tmp_path}")
    assert not (tmp_path / "ran").exists()
    rhd(tmp_path, {0: {"xyz": np.zeros((41, 3)), "K": K, "uv_vis": np.zeros((42, 3))}})
    with pytest.raises(ValueError, match="not laid out as RHD's annotations"):
        open_data(f"rhd-training:{tmp_path}")
    with pytest.raises(ValueError, match="RHD lies in a folder"):
        open_data("rhd-training")


def ho3d(root, split, metas, end):
    for frame, meta in metas.items():
        picture(root / split / "ABF10" / "rgb" / f"{frame}.{end}", 640, 480)
        (root / split / "ABF10" / "meta").mkdir(exist_ok=True)
        (root / split / "ABF10" / "meta" / f"{frame}.pkl").write_bytes(pickle.dumps(meta, 2))
    (root / f"{split}.txt").write_text("".join(f"ABF10/{frame}\n" for frame in metas))


def in_opengl(points):
    return points * [1, -1, -1]


@pytest.mark.parametrize("end", ["png", "jpg"])
def test_ho3d(tmp_path, monkeypatch, end):
    monkeypatch.delenv("MANO_DIR", raising=False)
    joints = some_joints(21)
    meta = {
        "handJoints3D": in_opengl(joints),
        "camMat": K,
        "handPose": np.zeros(48),
        "handBeta": np.ones(10),
        "objName": "x",
    }
    ho3d(tmp_path, "train", {"0000": meta, "0001": {**meta, "handJoints3D": None}}, end)
    data = open_data(f"ho3d-train:{tmp_path}")
    sample = data[0]
    assert sample.present.tolist() == [True, False] and sample.kind == "single"
    # by hand: MANO's index finger is 1, 2, 3 with its tip at 17, the little finger 7, 8, 9 with 20, the thumb 13 .. 15, 16
    np.testing.assert_allclose(sample.joints3d[RIGHT, [1, 4, 5, 8, 17, 20]], joints[[13, 16, 1, 17, 7, 20]], atol=1e-6)
    np.testing.assert_allclose(sample.joints2d[RIGHT, 8], pixels(joints)[17], atol=1e-3)
    assert not sample.has_params.any() and sum(data.skipped.values()) == 2
    with pytest.raises(ValueError, match=r"0001\.pkl: the frame has no annotation \(handJoints3D is empty\)"):
        data[1]
    monkeypatch.setenv("MANO_DIR", "anywhere: the pose is relative to the flat hand, which takes no file")
    turned = {**meta, "handPose": np.r_[0.0, 0.5, 0, np.arange(45) / 100]}
    ho3d(tmp_path, "train", {"0000": turned}, end)
    sample = open_data(f"ho3d-train:{tmp_path}")[0]
    assert sample.hand_model == "mano" and sample.has_params.tolist() == [True, False]
    flip = np.diag([1.0, -1, -1])
    rotation = cv2.Rodrigues(sample.pose[RIGHT, 0].astype(np.float64))[0]
    np.testing.assert_allclose(rotation, flip @ cv2.Rodrigues(np.array([0, 0.5, 0]))[0], atol=1e-6)
    np.testing.assert_allclose(sample.pose[RIGHT, 4], [0, 0.01, 0.02], atol=1e-6)  # the index finger, their first
    np.testing.assert_allclose(sample.pose[RIGHT, 1], [0.36, 0.37, 0.38], atol=1e-6)  # the thumb, their last


def test_ho3ds_cameras_see_one_recording():
    assert [_recording(name) for name in ("ABF10", "ABF14", "SM2", "MC1", "SMu41")] == [
        "ABF1",
        "ABF1",
        "SM2",
        "MC1",
        "SMu4",
    ]


def test_ho3d_evaluation_tells_wrist_and_box(tmp_path):
    wrist = np.array([0.02, -0.01, 0.6])
    meta = {"handJoints3D": in_opengl(wrist), "camMat": K, "handBoundingBox": [100, 90, 220, 190]}
    ho3d(tmp_path, "evaluation", {"0003": meta}, "png")
    sample = open_data(f"ho3d-evaluation:{tmp_path}")[0]
    assert sample.joints3d_valid[RIGHT].tolist() == [True] + [False] * 20
    np.testing.assert_allclose(sample.joints3d[RIGHT, 0], wrist, atol=1e-6)
    np.testing.assert_allclose(sample.score_box[RIGHT], (100, 90, 120, 100))
    assert check_data(f"ho3d-evaluation:{tmp_path}").faults == ()


def test_ho3d_evaluation_joints_are_read_where_they_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("MANO_DIR", "anywhere: these joints come without MANO's pose")
    joints = some_joints(21)
    meta = {"handJoints3D": in_opengl(joints[0]), "camMat": K, "handBoundingBox": [100, 90, 220, 190]}
    ho3d(tmp_path, "evaluation", {"0003": meta}, "png")
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps([in_opengl(joints).tolist()]))
    sample = open_data(f"ho3d-evaluation:{tmp_path}")[0]
    assert sample.joints3d_valid[RIGHT].all() and not sample.has_params.any()
    np.testing.assert_allclose(sample.joints3d[RIGHT, [1, 4, 5, 8, 17, 20]], joints[[13, 16, 1, 17, 7, 20]], atol=1e-6)
    np.testing.assert_allclose(sample.score_box[RIGHT], (100, 90, 120, 100))
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps([joints.tolist()]))  # as if not in OpenGL's frame
    with pytest.raises(ValueError, match=r"0003\.pkl: its wrist is \d+ mm from that of evaluation_xyz\.json"):
        open_data(f"ho3d-evaluation:{tmp_path}")[0]
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps([joints.tolist()] * 2))
    with pytest.raises(ValueError, match=r"tells of 2 hands, not of 1 as evaluation\.txt"):
        open_data(f"ho3d-evaluation:{tmp_path}")


def test_h2o3d_parameters_count_where_they_are_valid(tmp_path, monkeypatch):
    monkeypatch.setenv("MANO_DIR", "anywhere: the pose is relative to the flat hand, which takes no file")
    meta = {
        "rightHandJoints3D": in_opengl(some_joints(21)), "leftHandJoints3D": in_opengl(some_joints(21, 1)), "camMat": K,
        "rightHandPose": np.zeros(48), "handBeta": np.zeros(10), "poseValidRight": np.ones(48),
    }  # fmt: skip
    unsure = {**meta, "poseValidRight": np.arange(48) > 0}
    ho3d(tmp_path, "train", {"0000": meta, "0001": unsure}, "jpg")
    assert [sample.has_params[RIGHT] for sample in open_data(f"h2o3d-train:{tmp_path}")] == [True, False]


def test_h2o3d(tmp_path):
    right, left = some_joints(21) + [0.1, 0, 0], some_joints(21, 1)
    flags = np.ones(21)
    flags[16] = 0  # the thumb's tip
    meta = {
        "rightHandJoints3D": in_opengl(right), "leftHandJoints3D": in_opengl(left), "camMat": K,
        "jointValidRight": np.ones(21), "jointValidLeft": flags, "rightHandPose": np.zeros(48), "handBeta": np.zeros(10),
    }  # fmt: skip
    ho3d(tmp_path, "train", {"0000": meta}, "jpg")
    sample = open_data(f"h2o3d-train:{tmp_path}")[0]
    assert sample.present.all()
    np.testing.assert_allclose(sample.joints3d[:, 8], [right[17], left[17]], atol=1e-6)
    assert np.flatnonzero(~sample.joints3d_valid[LEFT]).tolist() == [4]
    (tmp_path / "train.txt").write_text("../../etc/0000\n")
    with pytest.raises(ValueError, match="is no list of"):
        open_data(f"h2o3d-train:{tmp_path}")


def test_ego3dhands(tmp_path):
    for number in range(2):
        picture(tmp_path / "train" / f"{number:05d}" / "color_new.png", 960, 540)
    shares = np.random.default_rng(0).uniform(0.3, 0.6, (2, 22, 2))
    np.save(tmp_path / "train" / "00000" / "location_2d.npy", shares)
    shares[0] = 0
    np.save(tmp_path / "train" / "00001" / "location_2d.npy", shares)
    both, right = open_data(f"ego3dhands:{tmp_path}")
    assert both.present.all() and right.present.tolist() == [True, False]
    # by hand: the left hand is first, its wrist 1 and its index finger's tip 9; row before column
    row, column = shares[1, 9]
    np.testing.assert_allclose(both.joints2d[RIGHT, 8], (column * 960, row * 540), atol=1e-3)
    np.testing.assert_allclose(both.K, (375.864, 375.864, 480, 270), rtol=1e-5)
    assert not both.joints3d_valid.any()
    (tmp_path / "train" / "00001" / "location_2d.npy").write_bytes(pickle.dumps([1]))
    assert "location_2d.npy cannot be read as an array" in check_data(f"ego3dhands:{tmp_path}").faults[0]
    with pytest.raises(ValueError, match="holds nothing of Ego3DHands"):
        open_data(f"ego3dhands:{tmp_path / 'nothing'}")


def test_assemblyhands(tmp_path):
    rotation = cv2.Rodrigues(np.array([0.2, -0.1, 0.3]))[0]
    shift = np.array([30.0, -20, 50])
    points = some_joints(42) * 1000
    world = (points - shift) @ rotation  # the inverse of R x + t
    folder = tmp_path / "annotations" / "val"
    folder.mkdir(parents=True)
    picture(tmp_path / "images" / "seq" / "ego" / "000012.jpg", 636, 480)
    image = {
        "id": 3,
        "file_name": "seq/ego/000012.jpg",
        "width": 636,
        "height": 480,
        "seq_name": "s1",
        "camera": "HMC_1",
        "frame_idx": 12,
    }
    annotation = {"id": 9, "image_id": 3, "joint_valid": [1] * 42, "bbox": {"right": [1, 2, 3, 4], "left": None}}
    name = "HMC_1_mono10bit"
    extrinsics = np.c_[rotation, shift].tolist()
    files = {
        "ego_data": {"images": [image], "annotations": [annotation]},
        "ego_calib": {
            "calibration": {"s1": {"intrinsics": {name: K.tolist()}, "extrinsics": {"000012": {name: extrinsics}}}}
        },
        "joint_3d": {"annotations": {"s1": {"000012": {"world_coord": world.tolist()}}}},
    }
    for kind, content in files.items():
        (folder / f"assemblyhands_val_{kind}_v1-1.json").write_text(json.dumps(content))
    sample = open_data(f"assemblyhands-val:{tmp_path}")[0]
    assert sample.recording == "seq"
    assert (sample.present.tolist(), sample.present_known.tolist()) == ([True, False], [True, False])
    np.testing.assert_allclose(sample.joints3d[RIGHT, [0, 4, 5]], points[[20, 0, 7]] / 1000, atol=1e-6)
    np.testing.assert_allclose(sample.joints2d[RIGHT, 0], pixels(points)[20], atol=1e-2)
    assert check_data(f"assemblyhands-val:{tmp_path}").faults == ()
    (folder / "assemblyhands_val_joint_3d_v1-1.json").write_text('{"annotations": {}}')
    with pytest.raises(ValueError, match="not laid out as AssemblyHands' annotations"):
        open_data(f"assemblyhands-val:{tmp_path}")


def test_reinterhand(tmp_path):
    rotation = cv2.Rodrigues(np.array([0.2, -0.1, 0.3]))[0]
    shift = np.array([30.0, -20, 50])
    capture = tmp_path / "m--1--two-hands"
    picture(capture / "Mugsy_cameras" / "envmap_per_frame" / "images" / "cam400001" / "000042.png")
    camera = {"R": rotation.tolist(), "t": shift.tolist(), "focal": [300, 310], "princpt": [160, 150]}
    (capture / "Mugsy_cameras" / "cam_params.json").write_text(json.dumps({"cam400001": camera}))
    points = {side: some_joints(24, seed) * 1000 for seed, side in enumerate(("right", "left"))}
    for side, values in points.items():
        folder = capture / "orig_fits" / side / "Keypoints"
        folder.mkdir(parents=True)
        (folder / "keypoint-000042.json").write_text(json.dumps(((values - shift) @ rotation).tolist()))
    sample = open_data(f"reinterhand-train:{tmp_path}")[0]
    assert sample.recording == "m--1--two-hands"
    assert sample.present.all() and sample.kind == "interacting"
    # by hand: thumb 2 .. 5 (1 is inside the hand), index finger 6 .. 9, little finger 19 .. 22 (18 is inside)
    for ours, theirs in ((0, 0), (1, 2), (4, 5), (5, 6), (8, 9), (16, 17), (17, 19), (20, 22)):
        np.testing.assert_allclose(sample.joints3d[RIGHT, ours], points["right"][theirs] / 1000, atol=1e-6)
        np.testing.assert_allclose(sample.joints3d[LEFT, ours], points["left"][theirs] / 1000, atol=1e-6)
    np.testing.assert_allclose(sample.joints2d[LEFT, 4], pixels(points["left"])[5], atol=1e-2)
    assert check_data(f"reinterhand-train:{tmp_path}").faults == ()
    with pytest.raises(ValueError, match="holds no pictures of Re:InterHand's test split"):
        open_data(f"reinterhand-test:{tmp_path}")
    (capture / "orig_fits" / "left" / "Keypoints" / "keypoint-000042.json").unlink()
    assert "there is no file" in check_data(f"reinterhand-train:{tmp_path}").faults[0]


@pytest.mark.skipif(not (REAL / "mmpose_rhd").is_dir(), reason="real pictures are not here (LGNET_REALDATA)")
def test_real_rhd_projects_onto_its_own_pixels(tmp_path):
    """Two published pictures, whose truth mmpose wrote out as JSON, put back into the published pickle."""
    content = json.loads(next((REAL / "mmpose_rhd").glob("*.json")).read_text())
    images = {image["id"]: image for image in content["images"]}
    annotations = {}
    for annotation in content["annotations"]:
        image = images[annotation["image_id"]]
        (fx, fy), (cx, cy) = image["cam_param"]["focal"], image["cam_param"]["princpt"]
        uv_vis, xyz = np.full((42, 3), -500.0), np.ones((42, 3))
        uv_vis[:, 2] = 0
        rows = slice(0, 21) if annotation["hand_type"] == "left" else slice(21, 42)
        uv_vis[rows], xyz[rows] = annotation["keypoints"], np.array(annotation["joint_cam"]) / 1000
        annotations[image["id"]] = {"K": np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), "uv_vis": uv_vis, "xyz": xyz}
        link = tmp_path / "training" / "color" / f"{image['id']:05d}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(REAL / "mmpose_rhd" / image["file_name"])
    (tmp_path / "training" / "anno_training.pickle").write_bytes(pickle.dumps(annotations, 2))
    samples = list(open_data(f"rhd-training:{tmp_path}"))
    assert samples
    others = {Path(s.name).stem: s for s in open_data(f"realdata:{REAL}") if "mmpose_rhd" in s.name}
    for sample in samples:
        (side,) = np.flatnonzero(sample.present)
        assert np.abs(project(sample.joints3d[side], sample.K) - sample.joints2d[side]).max() < 0.2
        other = others[Path(sample.name).name]  # whom somebody else converted
        np.testing.assert_allclose(sample.joints2d[side], other.joints2d[side], atol=0.1)
        np.testing.assert_allclose(sample.joints3d[side], other.joints3d[side], atol=1e-4)


@pytest.mark.skipif(not (REAL / "ego3dhands_sample").is_dir(), reason="real pictures are not here (LGNET_REALDATA)")
def test_real_ego3dhands_agrees_with_its_own_3d():
    sample = open_data(f"ego3dhands:{REAL / 'ego3dhands_sample'}")[0]
    own = np.load(REAL / "ego3dhands_sample" / "location_3d_global.npy")[::-1, 1:, [1, 0, 2]]  # right first; x, y, z
    for side in range(2):
        assert np.abs(project(own[side], sample.K) - sample.joints2d[side]).max() < 0.2
