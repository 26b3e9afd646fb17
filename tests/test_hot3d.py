"""HOT3D-Clips written small in the published layout: by numbers of our own, and of the published annotations there are."""

import csv
import io
import json
import os
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.fisheye import fisheye624, fisheye_project
from lgnet.data.hot3d import UPRIGHT, _transform
from lgnet.data.registry import open_data
from lgnet.data.sample import project
from lgnet.data.umetrack import read_profile, umetrack_joints
from lgnet.hands import LEFT, RIGHT

ROOT = Path(os.environ.get("LGNET_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))
REAL = ROOT / "hot3d_sample_annotations" / "P0002_273c2819"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="real annotations are not here (LGNET_REALDATA)")
LENS = [200.0, 210.0, 160.0, 120.0, 0.04, -0.03, 0.02, -0.01, 0.003, -0.0005, 1e-3, -2e-3, 1e-3, 2e-4, -1e-3, 3e-4]
PLACE = {"quaternion_wxyz": [0.8, 0.2, -0.4, 0.4], "translation_xyz": [0.3, -0.2, 0.1]}


def profile():
    """A hand whose every landmark is fixed to one bone: finger f (0: thumb) lies at x = f cm, its joints 2 cm apart."""
    landmarks = np.zeros((21, 3))
    bones = np.zeros((21, 1), int)
    for f in range(5):
        landmarks[f], bones[f] = (10 * f, 80, 0), 4 + 3 * f
        start = (6, 8, 11, 14, 17)[f]
        for k in range(2 if f == 0 else 3):
            landmarks[start + k], bones[start + k] = (10 * f, 20 + 20 * k, 0), 2 + 3 * f + k
    bones[[5, 20]] = 1
    axes = np.tile([1.0, 0, 0], (20, 1))
    places = np.repeat([[10 * f, 20 * k, 0] for f in range(5) for k in (0, 1, 2, 3)], 1, axis=0)
    return {
        "joint_rotation_axes": axes.tolist(),
        "joint_rest_positions": places.tolist(),
        "landmark_rest_positions": landmarks.tolist(),
        "landmark_rest_bone_indices": bones.tolist(),
        "landmark_rest_bone_weights": np.ones((21, 1)).tolist(),
    }


def write_clip(path, frames, shapes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        files = {} if shapes is None else {"__hand_shapes.json__": json.dumps(shapes).encode()}
        for number, frame in enumerate(frames):
            for end, content in frame.items():
                files[f"{number:06d}.{end}"] = content if isinstance(content, bytes) else json.dumps(content).encode()
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def jpeg(width=320, height=240, image=None):
    image = np.full((height, width), 90, np.uint8) if image is None else image
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()


def camera(params=LENS, place=PLACE, width=320, height=240):
    calibration = {
        "projection_params": params,
        "projection_model_type": "CameraModelType.FISHEYE624",
        "image_width": width,
        "image_height": height,
    }
    return {"calibration": calibration, "T_world_from_camera": place}


def test_the_hand_by_hand():
    hand = read_profile(profile())
    at = np.eye(4)
    rest = umetrack_joints(hand, np.zeros(22), at, right=False)
    assert np.isnan(rest[1]).all() and np.isfinite(np.delete(rest, 1, 0)).all()
    np.testing.assert_allclose(
        rest[[0, 2, 4, 5, 8, 20]] * 100, [(0, 0, 0), (0, 2, 0), (0, 8, 0), (1, 2, 0), (1, 8, 0), (4, 8, 0)]
    )
    np.testing.assert_allclose(umetrack_joints(hand, np.zeros(22), at, right=True)[8] * 100, (-1, 8, 0))
    # the index finger's last angle, a right one about x at y = 6 cm: the tip, 2 cm further on, stands up
    angles = np.zeros(22)
    angles[7] = np.pi / 2
    bent = umetrack_joints(hand, angles, at, right=False)
    np.testing.assert_allclose(bent[8] * 100, (1, 6, 2), atol=1e-9)
    np.testing.assert_allclose(np.delete(bent, [1, 7, 8], 0), np.delete(rest, [1, 7, 8], 0), atol=1e-12)
    with pytest.raises(ValueError, match="not laid out as UmeTrack's"):
        read_profile({"joint_rotation_axes": []})


def test_the_lens_by_hand():
    plain = fisheye624([100.0, 50.0, 60.0, *[0.0] * 12])
    # 45 degrees to the right: pi / 4 times the focal length; straight ahead: the centre
    np.testing.assert_allclose(
        fisheye_project(np.array([[1.0, 0, 1], [0, 0, 2]]), plain), [(50 + 25 * np.pi, 60), (50, 60)]
    )
    bent = fisheye624([1, 1, 0, 0, 0.5, *[0.0] * 11])
    np.testing.assert_allclose(
        fisheye_project(np.array([0.0, 1, 1]), bent)[1], np.pi / 4 * (1 + 0.5 * (np.pi / 4) ** 2)
    )
    with pytest.raises(ValueError, match="15 or 16"):
        fisheye624([1, 2, 3])


def scene(tmp_path, name="clip-000001", **hands):
    """A clip of two frames and one stream; a white dot in the first picture where the left index finger's tip is."""
    T = _transform(PLACE)
    wrist = np.eye(4)
    wrist[:3, 3] = -0.02, -0.05, 0.4  # in the camera's frame
    T_left, T_right = T @ wrist, T @ wrist
    T_right[:3, 3] = (T @ [0.0, 0.04, 0.35, 1])[:3]
    hand = read_profile(profile())
    world = {s: umetrack_joints(hand, np.zeros(20), t, s == "right") for s, t in (("left", T_left), ("right", T_right))}
    image = np.full((240, 320), 60, np.uint8)
    tip = (np.append(world["left"][8], 1) @ np.linalg.inv(T).T)[:3]
    u, v = fisheye_project(tip, fisheye624(LENS))
    cv2.circle(image, (round(u), round(v)), 2, 255, -1)
    told = {
        side: {
            "umetrack_pose": {"joint_angles": [0.0] * 22, "wrist_xform": t.tolist()},
            "visibilities_modeled": {"1201-1": 0.8},
        }
        for side, t in (("left", T_left), ("right", T_right))
    }
    first = {"image_1201-1.jpg": jpeg(image=image), "cameras.json": {"1201-1": camera()}, "hands.json": told}
    away = {"left": {**told["left"], "visibilities_modeled": {"1201-1": 0.0}}, "right": None}
    second = {**first, "hands.json": away}
    write_clip(tmp_path / "train" / f"{name}.tar", [first, second], {"mano": [], "umetrack": profile()})
    write_clip(tmp_path / "test" / "clip-000002.tar", [{"image_1201-1.jpg": jpeg(), "cameras.json": {}}], None)
    return world


def test_a_clip(tmp_path):
    world = scene(tmp_path)
    data = open_data(f"hot3d:{tmp_path}")
    assert len(data) == 2 and data.skipped == {"pictures whose hands are not public": 1}
    both, hidden = data
    assert both.recording == "clip-000001"
    assert both.name == "clip-000001/000000/1201-1" and both.image.shape == (320, 240, 3)
    assert both.present.all() and both.present_known.all()
    np.testing.assert_allclose(both.K, (210, 200, 119, 160))
    T = np.linalg.inv(_transform(PLACE))
    for side, word in ((RIGHT, "right"), (LEFT, "left")):
        own = (world[word] @ T[:3, :3].T + T[:3, 3]) @ UPRIGHT.T
        valid = both.joints3d_valid[side]
        assert np.flatnonzero(~valid).tolist() == [1]  # the thumb's CMC
        np.testing.assert_allclose(both.joints3d[side][valid], own[valid], atol=1e-6)
        assert np.abs(project(both.joints3d[side], both.K) - both.joints2d[side])[both.joints2d_valid[side]].max() < 0.2
    u, v = both.joints2d[LEFT, 8]
    bright = np.argwhere(both.image[..., 0] > 200)[:, ::-1]
    assert np.abs(bright.mean(0) - (u, v)).max() < 1  # where the dot went when the picture was rectified and turned
    assert (hidden.present.tolist(), hidden.present_known.tolist()) == ([False, False], [False, False])
    assert check_data(f"hot3d:{tmp_path}").faults == ()


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds nothing of HOT3D-Clips"):
        open_data(f"hot3d:{tmp_path}")
    (tmp_path / "clip-000003.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(ValueError, match=r"clip-000003\.tar is damaged or no tar"):
        open_data(f"hot3d:{tmp_path}")
    frame = {"image_1201-1.jpg": jpeg(), "cameras.json": {"1201-1": camera(width=100)}, "hands.json": {}}
    write_clip(tmp_path / "clip-000003.tar", [frame, {**frame, "cameras.json": {}}], {"umetrack": profile()})
    os.utime(tmp_path / "clip-000003.tar")
    from lgnet.data import hot3d

    hot3d._members.cache_clear()
    faults = check_data(f"hot3d:{tmp_path}").faults
    assert "is 320 x 240 pixels, which its camera is not" in faults[0]
    assert "frame 000001 of" in faults[1] and "not laid out as HOT3D-Clips'" in faults[1]


def published():
    """Of each published frame: hands by side, the headset's place, and of each hand a box in each camera."""
    poses = [json.loads(line) for line in (REAL / "umetrack_hand_pose_trajectory.jsonl").read_text().splitlines()]
    places, boxes = {}, {}
    for row in csv.DictReader((REAL / "headset_trajectory.csv").open()):
        quaternion = [float(row[f"q_wo_{k}"]) for k in "wxyz"]
        translation = [float(row[f"t_wo_{k}[m]"]) for k in "xyz"]
        places[int(row["timestamp[ns]"])] = {"quaternion_wxyz": quaternion, "translation_xyz": translation}
    for row in csv.DictReader((REAL / "box2d_hands.csv").open()):
        edges = [float(row[f"{k}[pixel]"]) for k in ("x_min", "y_min", "x_max", "y_max")]
        boxes[int(row["timestamp[ns]"]), row["stream_id"], int(row["hand_index"])] = edges
    return poses, places, boxes


@needs_real
def test_published_hands_and_cameras():
    """UmeTrack's joints as somebody else computed them; projected by the published lenses they lie in the published boxes."""
    hand = read_profile(json.loads((REAL / "umetrack_hand_user_profile.json").read_text()))
    lenses = {c["stream_id"]: c for c in json.loads((REAL / "camera_models.json").read_text())}
    truth = {f["timestamp_ns"]: f["hands"] for f in json.loads((REAL / "landmarks_world.json").read_text())["frames"]}
    poses, places, boxes = published()
    checked = 0
    for frame in poses:
        time = frame["timestamp_ns"]
        for index, word in (("0", "left"), ("1", "right")):
            pose = frame["hand_poses"][index]
            at = {"quaternion_wxyz": pose["wrist_xform"]["q_wxyz"], "translation_xyz": pose["wrist_xform"]["t_xyz"]}
            joints = umetrack_joints(hand, np.array(pose["joint_angles"]), _transform(at), word == "right")
            there = np.array(truth[time][word]["kp3d_valid"], bool)
            assert (np.isfinite(joints).all(1) == there).all()
            np.testing.assert_allclose(
                joints[there] * 1000, np.array(truth[time][word]["kp3d_world_mm"])[there], atol=0.01
            )
            for stream, lens in lenses.items():
                T = np.linalg.inv(_transform(places[time]) @ _transform(lens["T_Device_Camera"]))
                pixels = fisheye_project(joints[there] @ T[:3, :3].T + T[:3, 3], fisheye624(lens["projectionParams"]))
                left, top, right, bottom = boxes[time, stream, int(index)]
                assert ((pixels > (left - 1, top - 1)) & (pixels < (right + 1, bottom + 1))).all()
                checked += 1
    assert checked == 60


@needs_real
def test_a_clip_of_published_annotations(tmp_path):
    """Put into a clip's layout under a drawn picture; hands are upright: wrists nearer to the body than the fingers."""
    poses, places, _ = published()
    lenses = {c["stream_id"]: c for c in json.loads((REAL / "camera_models.json").read_text())}
    profile_ = json.loads((REAL / "umetrack_hand_user_profile.json").read_text())
    frames = []
    for frame in poses[:2]:
        content = {"cameras.json": {}, "hands.json": {}}
        for stream, lens in lenses.items():
            T = _transform(places[frame["timestamp_ns"]]) @ _transform(lens["T_Device_Camera"])
            width, height = lens["imageWidth"], lens["imageHeight"]
            content["cameras.json"][stream] = camera(lens["projectionParams"], T.tolist(), width, height)
            content[f"image_{stream}.jpg"] = jpeg(width, height)
        for index, word in (("0", "left"), ("1", "right")):
            pose = frame["hand_poses"][index]
            at = {"quaternion_wxyz": pose["wrist_xform"]["q_wxyz"], "translation_xyz": pose["wrist_xform"]["t_xyz"]}
            content["hands.json"][word] = {
                "umetrack_pose": {"joint_angles": pose["joint_angles"], "T_world_from_wrist": at}
            }
        frames.append(content)
    write_clip(tmp_path / "clip-001.tar", frames, {"umetrack": profile_})
    report = check_data(f"hot3d:{tmp_path}")
    assert (report.count, report.hands, report.faults) == (4, 8, ())
    for sample in open_data(f"hot3d:{tmp_path}"):
        assert sample.image.shape == (1280, 1024, 3)
        for side in (RIGHT, LEFT):
            assert sample.joints2d[side, 9, 1] < sample.joints2d[side, 0, 1]  # fingers up in an upright picture
            assert 0.07 < np.linalg.norm(sample.joints3d[side, 9] - sample.joints3d[side, 0]) < 0.13
        assert sample.joints2d[RIGHT, 0, 0] > sample.joints2d[LEFT, 0, 0]  # one's own right hand is on the right
