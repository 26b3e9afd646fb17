import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.data.sample import KEYPOINT_BOX_GROWTH

ROOT = Path(os.environ.get("LGNET_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))
needs_realdata = pytest.mark.skipif(not ROOT.is_dir(), reason="real pictures are not here (LGNET_REALDATA)")


def joints(x: float, y: float, step: float, flag: float = 1) -> list[list[float]]:
    return [[x + step * (j % 5), y + step * (j // 5), flag] for j in range(21)]


def a_hand(side: str | None, x: float = 10, step: float = 8, flag: float = 1, **more) -> dict:
    return {
        "side": side,
        "kp2d": joints(x, 20, step, flag),
        "kp_box_xywh": [x, 20, 4 * step, 4 * step],
        **more,
    }


def picture(name: str, hands: list[dict], kind: str = "single", **more) -> dict:
    return {"image": name, "width": 120, "height": 90, "K": None, "kind": kind, "hands": hands, **more}


@pytest.fixture
def folder(tmp_path):
    """Write records and their pictures."""

    def make(records: list[dict], by_eye: list[dict] | None = None) -> str:
        for file, content in (("annotations.json", records), ("annotations_two_hands.json", by_eye)):
            if content is not None:
                (tmp_path / file).write_text(json.dumps({"records": content}))
        for record in records + (by_eye or []):
            image = np.zeros((90, 120, 3), np.uint8)
            image[:, :, 2] = 200  # OpenCV's order: red
            cv2.imwrite(str(tmp_path / record["image"]), image)
        return f"realdata:{tmp_path}"

    return make


def test_a_hand_goes_into_its_slot(folder):
    deep = [[0.0, 0.0, 1000.0 + j] for j in range(21)]
    record = picture("a.png", [a_hand("left", kp3d_cam_mm=deep, kp3d_valid=[1] * 20 + [0])])
    record["K"] = [100, 101, 60, 45]
    data = open_data(folder([record], []))
    (sample,) = data
    assert data.skipped == {}
    assert sample.name == "a.png"
    assert sample.kind == "single"
    assert sample.present.tolist() == [False, True]
    assert sample.present_known.tolist() == [True, True]
    assert sample.image.shape == (90, 120, 3)
    assert sample.image[0, 0].tolist() == [200, 0, 0]  # RGB
    np.testing.assert_allclose(sample.K, [100, 101, 60, 45])
    np.testing.assert_allclose(sample.joints2d[1, 6], [18, 28])  # column 1, row 1 of the pattern
    np.testing.assert_allclose(sample.joints3d[1, 3], [0, 0, 1.003])  # metres
    assert sample.joints3d_valid[1].tolist() == [True] * 20 + [False]
    assert not sample.joints3d_valid[0].any()
    assert not sample.joints2d_valid[0].any()
    # the box to crop is grown about its middle, that to score in is not
    np.testing.assert_allclose(sample.box[1, 2:], 32 * KEYPOINT_BOX_GROWTH)
    np.testing.assert_allclose(sample.box[1, :2] + sample.box[1, 2:] / 2, [26, 36], rtol=1e-6)
    np.testing.assert_allclose(sample.score_box[1], [10, 20, 32, 32])


def test_placed_by_eye_scores_visible_joints_in_the_hands_box(folder):
    hand = a_hand("right", hand_box_xywh=[0, 10, 60, 50])
    hand["kp2d"][3][2] = 0.5
    hand["kp2d"][4] = [0, 0, 0]
    (sample,) = open_data(folder([], [picture("a.png", [hand])]))
    assert np.flatnonzero(~sample.joints2d_valid[0]).tolist() == [3, 4]
    np.testing.assert_allclose(sample.score_box[0], [0, 10, 60, 50])
    np.testing.assert_allclose(sample.box[0], [0, 10, 60, 50])


def test_in_the_first_file_every_flag_above_zero_is_a_label(folder):
    (sample,) = open_data(folder([picture("a.png", [a_hand("right", flag=2)])]))
    assert sample.joints2d_valid[0].all()


def test_what_does_not_fit_is_counted(folder):
    records = [
        picture("unknown.png", [a_hand(None)]),
        picture("half.png", [a_hand(None), a_hand("left", 60)], "two_separate"),
        picture("three.png", [a_hand("left", 10, 3), a_hand("left", 20, 9), a_hand("right", 70)], "multi"),
        picture("more.png", [a_hand("right")], unlabelled_hands_visible=True),
        picture("norm.png", [a_hand("right", kp3d_cam_norm=joints(0, 0, 1))]),
    ]
    by_eye = [picture("hidden.png", [a_hand("left", flag=0)])]
    data = open_data(folder(records, by_eye))
    assert [s.name for s in data] == ["half.png", "three.png", "more.png", "norm.png", "hidden.png"]
    assert data.skipped == {
        "hands of unknown side": 2,
        "pictures without a hand of known side": 1,
        "smaller second hands of the same side": 1,
        "hands whose 3D joints are not in millimetres: scored in 2D only": 1,
        "hands without a visible joint: scored in presence only": 1,
    }
    half, three, more, norm, hidden = data
    assert half.present_known.tolist() == [False, True]  # the hand of unknown side may be a right one
    assert half.kind == "separate"
    np.testing.assert_allclose(three.joints2d[1, 0], [20, 20])  # the larger of the two left hands
    assert three.kind == "separate"
    assert more.present_known.tolist() == [True, False]
    assert not norm.joints3d_valid.any()
    assert hidden.present.tolist() == [False, True]
    assert not hidden.joints2d_valid.any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds neither"),
        ("{", "cannot be read as JSON"),
        ("[]", "no list of records"),
        ('{"records": [{"image": "a.png"}]}', "not laid out"),
        ('{"records": [{"image": "a.png", "kind": "single", "hands": [{"side": "up", "kp2d": []}]}]}', "not laid out"),
    ],
)
def test_bad_folders_are_said_in_one_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_data(f"realdata:{tmp_path}")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no folder"):
        open_data(f"realdata:{tmp_path / 'none'}")


def test_bad_pictures_are_said_when_they_are_read(folder, tmp_path):
    spec = folder(
        [picture("a.png", [a_hand("left")]), picture("b.png", [a_hand("left")]), picture("c.png", [a_hand("left")])]
    )
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(b"not a picture")
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((10, 10, 3), np.uint8))
    data = open_data(spec)
    for index, message in enumerate(("no picture", "cannot be read as a picture", "10 x 10 pixels")):
        with pytest.raises(ValueError, match=message):
            data[index]
    report = check_data(spec)
    assert report.count == 0
    assert len(report.faults) == 4  # and annotations_two_hands.json is missing
    assert any("annotations_two_hands.json is missing" in fault for fault in report.faults)


def test_check_finds_truth_that_contradicts_itself(folder):
    record = picture("a.png", [a_hand("left", kp3d_cam_mm=[[0, 0, 500]] * 21, kp3d_valid=[1] * 21)])
    record["K"] = [100, 100, 60, 45]
    report = check_data(folder([record], []))
    assert (report.count, report.hands, report.hands3d) == (1, 1, 1)
    assert len(report.faults) == 1
    assert "pixels away" in report.faults[0]


def test_registry():
    with pytest.raises(ValueError, match=r"no data set 'coco'; there are arctic-p1-train, "):
        open_data("coco:/data")
    with pytest.raises(ValueError, match="takes no folder"):
        open_data("synth-bench:100")
    with pytest.raises(ValueError, match="lies in a folder"):
        open_data("realdata")


def test_synth_bench():
    pytest.importorskip("numba")
    data = open_data("synth-bench")
    assert len(data) == 1000
    few = open_data("synth-bench", limit=11)
    assert len(few) == 11
    # ends included, even distances: 0, 100 (99.9), 200 (199.8) ... 999; 600 interacting, 200 separate, 200 single
    samples = [few[0], few[6], few[10]]
    assert [s.name[-4:] for s in samples] == ["0000", "0599", "0999"]
    assert [s.kind for s in samples] == ["interacting", "interacting", "single"]
    with pytest.raises(IndexError, match="0 to 10"):
        few[11]
    again = data[999]
    np.testing.assert_array_equal(samples[2].image, again.image)
    projected = again.joints3d[..., :2] / again.joints3d[..., 2:].clip(1e-9) * again.K[:2] + again.K[2:]
    there = again.joints2d_valid
    np.testing.assert_allclose(projected[there], again.joints2d[there], atol=0.01)


@needs_realdata
def test_the_real_folder():
    """3D joints projected by K lie on the 2D joints, so order, units, frame and side of reading are right."""
    data = open_data(f"realdata:{ROOT}")
    assert len(data) == 62
    assert data.skipped["hands of unknown side"] == 4
    projected_hands = 0
    for sample in data:
        assert sample.image.dtype == np.uint8
        assert sample.present.any()
        for side in np.flatnonzero(sample.present):
            assert max(sample.box[side, 2:]) > 0
            if sample.joints3d_valid[side].all() and sample.K is not None:
                points = sample.joints3d[side]
                assert 0.1 < points[:, 2].min() < points[:, 2].max() < 3  # metres
                pixels = points[:, :2] / points[:, 2:] * sample.K[:2] + sample.K[2:]
                assert np.abs(pixels - sample.joints2d[side]).max() < 2, sample.name
                assert 0.05 < np.linalg.norm(points[9] - points[0]) < 0.13
                projected_hands += 1
    assert projected_hands == 35


@needs_realdata
def test_the_real_folder_is_whole():
    assert check_data(f"realdata:{ROOT}").faults == ()
