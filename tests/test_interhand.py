"""InterHand2.6M's published layout, written small by these tests with numbers of our own."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgnet.data import interhand
from lgnet.data.check import check_data
from lgnet.data.interhand import ORDER
from lgnet.data.registry import open_data
from lgnet.hands import JOINT_NAMES

REAL = Path(os.environ.get("LGNET_REALDATA", Path(__file__).parents[2] / "shared" / "realdata")) / "mmpose_interhand26m"
ROTATION = cv2.Rodrigues(np.array([0.1, -0.4, 0.2]))[0]
CENTRE = np.array([120.0, -80.0, 40.0])  # of the camera, millimetres in the world
FOCAL, MIDDLE = (500.0, 510.0), (31.0, 22.0)


def in_world(points):
    return points @ ROTATION + CENTRE  # the inverse of R (x - c)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LGNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    """Three pictures of capture 5: both hands, the left one alone, and both without a sure type."""
    rng = np.random.default_rng(0)
    hands = rng.normal([0, 0, 800], 20, (3, 42, 3))
    valid = np.ones((3, 42), int)
    valid[0, 3] = 0  # the right thumb's last in the file, its base: the wrist counts as 20
    valid[1, :21] = 0
    valid[1, 41] = 0  # the left wrist
    valid[2, [0, 25]] = 0
    world = in_world(hands)
    world[valid == 0] = 1.0  # as published
    folder = tmp_path / "ih" / "annotations" / "test"
    folder.mkdir(parents=True)
    camera = {
        "5": {
            "campos": {"400001": CENTRE.tolist(), "400002": [0, 0, 0]},
            "camrot": {"400001": ROTATION.tolist(), "400002": np.eye(3).tolist()},
            "focal": {"400001": FOCAL, "400002": [1, 1]},
            "princpt": {"400001": MIDDLE, "400002": [0, 0]},
        }
    }
    types, sure = ("interacting", "left", "interacting"), (1, 1, 0)
    images, annotations = [], []
    for i in range(3):
        name = f"Capture5/0007_fist/cam400001/image{100 + i}.jpg"
        path = tmp_path / "ih" / "images" / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((48, 64, 3), 40, np.uint8))
        images.append(
            {"id": 70 + i, "file_name": name, "width": 64, "height": 48, "capture": 5, "subject": 1,
             "seq_name": "0007_fist", "camera": "400001", "frame_idx": 100 + i}
        )  # fmt: skip
        annotations.append(
            {"id": 900 - i, "image_id": 70 + i, "bbox": [1, 2, 30, 20], "joint_valid": valid[i][:, None].tolist(),
             "hand_type": types[i], "hand_type_valid": sure[i]}
        )  # fmt: skip
    joints = {
        "5": {
            str(100 + i): {
                "world_coord": world[i].tolist(), "joint_valid": valid[i][:, None].astype(bool).tolist(),
                "hand_type": types[i], "hand_type_valid": bool(sure[i]),
            } for i in range(3)
        }
    }  # fmt: skip
    content = {"data": {"images": images, "annotations": annotations[::-1]}, "camera": camera, "joint_3d": joints}
    for kind, values in content.items():
        (folder / f"InterHand2.6M_test_{kind}.json").write_text(json.dumps(values))
    return tmp_path / "ih", hands, valid


def by_frame(root, name="interhand26m-test"):
    return {sample.name[-7:-4]: sample for sample in open_data(f"{name}:{root}")}


def test_joints_come_in_our_order_units_and_frame(root):
    folder, hands, _ = root
    sample = by_frame(folder)["100"]
    right, left = hands[0, :21] / 1000, hands[0, 21:] / 1000
    assert sample.kind == "interacting"
    assert sample.present.tolist() == [True, True]
    # by hand: the wrist is their 20, the thumb goes 3, 2, 1, 0 and the little finger's tip is their 16
    for ours, theirs in ((0, 20), (2, 2), (4, 0), (5, 7), (8, 4), (17, 19), (20, 16)):
        np.testing.assert_allclose(sample.joints3d[0, ours], right[theirs], atol=1e-6)
        np.testing.assert_allclose(sample.joints3d[1, ours], left[theirs], atol=1e-6)
    u = FOCAL[0] * right[20, 0] / right[20, 2] + MIDDLE[0]
    v = FOCAL[1] * right[20, 1] / right[20, 2] + MIDDLE[1]
    np.testing.assert_allclose(sample.joints2d[0, 0], (u, v), atol=1e-3)
    np.testing.assert_allclose(sample.K, (*FOCAL, *MIDDLE))
    assert sorted(ORDER) == list(range(21)) and len(JOINT_NAMES) == 21


def test_invalid_joints_are_no_data(root):
    folder, _, _ = root
    samples = by_frame(folder)
    assert samples["100"].joints3d_valid.sum(1).tolist() == [20, 21]
    assert not samples["100"].joints3d_valid[0, 1]  # the thumb's base
    alone = samples["101"]
    assert alone.present.tolist() == [False, True]
    assert alone.kind == "single"
    assert not alone.joints3d_valid.any()  # no wrist: nothing relative to it
    assert alone.joints2d_valid[1].sum() == 20
    assert alone.score_box[1, 2:].max() < 80  # (1, 1, 1) lies far outside the picture and does not stretch the box


def test_presence_is_known_only_where_the_type_is_valid(root):
    samples = by_frame(root[0])
    assert {sample.recording for sample in samples.values()} == {"Capture5/0007_fist"}
    assert samples["100"].present_known.tolist() == [True, True]
    assert samples["102"].present_known.tolist() == [False, False]


def test_selection_of_two_hands_counts_what_it_leaves_out(root):
    data = open_data(f"interhand26m-test-two:{root[0]}")
    assert [sample.name[-7:-4] for sample in data] == ["100"]
    assert data.skipped == {"pictures of one hand": 1, "pictures whose hand type is not valid": 1}


def test_check_names_what_is_wrong(root):
    folder, _, _ = root
    assert check_data(f"interhand26m-test:{folder}").faults == ()
    (folder / "images/test/Capture5/0007_fist/cam400001/image101.jpg").unlink()
    (fault,) = check_data(f"interhand26m-test:{folder}").faults
    assert "there is no picture" in fault and "image101.jpg" in fault
    with pytest.raises(ValueError, match=r"holds no annotations of InterHand2\.6M's train split"):
        open_data(f"interhand26m-train:{folder}")
    (folder / "annotations/test/InterHand2.6M_test_data.json").write_text('{"images": [{"id": 1,')
    with pytest.raises(ValueError, match=r"_data.json cannot be read as JSON"):
        open_data(f"interhand26m-test:{folder}")
    (folder / "annotations/test/InterHand2.6M_test_data.json").write_text('{"images": [{"id": 1}]}')
    with pytest.raises(ValueError, match=r"not laid out as InterHand2\.6M's annotations"):
        open_data(f"interhand26m-test:{folder}")


def test_the_first_versions_sets(root):
    """Its val split is in machine_annot alone; a set chosen by its folder has the pictures of the folder above."""
    folder, _, _ = root
    (folder / "annotations" / "test").rename(folder / "annotations" / "machine_annot")
    assert check_data(f"interhand26m-test:{folder}").faults == ()
    assert check_data(f"interhand26m-test:{folder}/annotations/machine_annot").faults == ()
    (folder / "images/test/Capture5/0007_fist/cam400001/image101.jpg").unlink()
    (fault,) = check_data(f"interhand26m-test:{folder}/annotations/machine_annot").faults
    assert f"there is no picture {folder}/images/test/" in fault


def test_the_index_is_built_once_and_again_when_files_change(root, tmp_path, monkeypatch):
    folder, _, _ = root
    built = []
    build = interhand.build_index
    monkeypatch.setattr(interhand, "build_index", lambda files: built.append(1) or build(files))
    for _ in range(2):
        open_data(f"interhand26m-test:{folder}")
    assert len(built) == 1
    os.utime(folder / "annotations/test/InterHand2.6M_test_camera.json", (1, 1))
    open_data(f"interhand26m-test:{folder}")
    assert len(built) == 2
    assert check_data(f"interhand26m-test:{folder}").faults == ()
    for file in (tmp_path / "cache").rglob("world.npy"):
        with file.open("r+b") as array:
            array.seek(-4, os.SEEK_END)
            array.write(b"oops")
    faults = check_data(f"interhand26m-test:{folder}").faults
    assert "world.npy is damaged; delete" in faults[0]


@pytest.mark.skipif(not REAL.is_dir(), reason="real pictures are not here (LGNET_REALDATA)")
def test_real_frames_agree_with_independent_annotations(tmp_path):
    """Two published frames: as in annotations.json of the same folder, which somebody else converted."""
    (tmp_path / "annotations").mkdir()
    for kind in ("data", "camera", "joint_3d"):
        link = tmp_path / "annotations" / f"InterHand2.6M_test_{kind}.json"
        link.symlink_to(next(REAL.glob(f"*_{kind}.dev.json")))
    for picture in REAL.glob("*.jpg"):
        (tmp_path / picture.name).symlink_to(picture)
    samples = {Path(s.name).name: s for s in open_data(f"interhand26m-test:{tmp_path}")}
    others = {Path(s.name).name: s for s in open_data(f"realdata:{REAL.parent}") if "interhand26m" in s.name}
    assert set(samples) == set(others) != set()
    for name, sample in samples.items():
        other = others[name]
        assert sample.kind == other.kind
        assert (sample.present == other.present).all()
        seen = other.joints2d_valid & other.present[:, None]
        assert np.abs(sample.joints2d - other.joints2d)[seen].max() < 0.2
        assert np.abs(sample.joints3d - other.joints3d)[other.joints3d_valid].max() < 1e-5


def test_published_selection_leaves_dark_pictures_out(root, monkeypatch, capsys):
    folder = root[0] if isinstance(root, tuple) else root
    annotations = folder / "annotations" / "test"
    hand_values = {"pose": [0.0] * 48, "shape": [0.0] * 10, "trans": [0.0] * 3}
    mano = {"5": {str(100 + i): {"right": hand_values, "left": hand_values} for i in range(3)}}
    name = f"interhand26m-test-published:{folder}"
    with pytest.raises(ValueError, match=r"InterHand2\.6M_test_MANO_NeuralAnnot\.json is not beside"):
        open_data(name)
    (annotations / "InterHand2.6M_test_MANO_NeuralAnnot.json").write_text(json.dumps(mano))
    data = open_data(name)
    assert len(data) == 1  # of the others one is of one hand and one of a type that is not sure
    picture = folder / "images" / "test" / data[0].name
    monkeypatch.setenv("LGNET_CACHE", str(folder / "other-cache"))
    cv2.imwrite(str(picture), np.full((48, 64, 3), 9, np.uint8))
    dark = open_data(name)
    assert len(dark) == 0 and dark.skipped["pictures darker than 10 of 255 on average"] == 1
    assert len(open_data(f"interhand26m-test-mano:{folder}")) == 1
    picture.unlink()
    assert len(open_data(name)) == 0  # kept: pictures are looked at once
    monkeypatch.setenv("LGNET_CACHE", str(folder / "third-cache"))
    (fault,) = check_data(name).faults  # one that is not there is not dark, and is named as of any selection
    assert "there is no picture" in fault and not list((folder / "third-cache").rglob("brightness-*"))
    capsys.readouterr()
