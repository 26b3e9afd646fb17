"""COCO-WholeBody's published layout, written small by these tests with numbers of our own."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.registry import open_data

REAL = (
    Path(os.environ.get("LGNET_REALDATA", Path(__file__).parents[2] / "shared" / "realdata")) / "mmpose_coco_wholebody"
)


def hand(x, y, hidden=()):
    joints = [[x + 3 * (j % 5), y + 3 * (j // 5), 0 if j in hidden else 2] for j in range(21)]
    return [float(v) for joint in joints for v in joint]


def person(number, left=None, right=None):
    nothing = [0.0] * 63
    return {
        "id": number, "image_id": 785, "lefthand_valid": left is not None, "righthand_valid": right is not None,
        "lefthand_kpts": left or nothing, "righthand_kpts": right or nothing,
    }  # fmt: skip


@pytest.fixture
def root(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    cv2.imwrite(str(tmp_path / "val2017" / "000000000785.jpg"), np.zeros((60, 90, 3), np.uint8))
    people = [
        person(1, right=hand(10, 20, hidden=(3,))),
        person(2),
        person(3, left=hand(60, 20), right=hand(20, 22)),
        person(4, left=hand(30, 20), right=hand(22, 22)),
    ]
    content = {
        "images": [{"id": 785, "file_name": "000000000785.jpg", "width": 90, "height": 60}],
        "annotations": people,
    }
    (tmp_path / "annotations" / "coco_wholebody_val_v1.0.json").write_text(json.dumps(content))
    return tmp_path


def test_a_person_with_a_labelled_hand_is_a_sample(root):
    data = open_data(f"coco-wholebody-val:{root}")
    assert data.skipped == {"people without a labelled hand": 1}
    samples = list(data)
    assert {s.recording for s in samples} == {"000000000785.jpg"}
    assert [s.name for s in samples] == [f"000000000785.jpg#{n}" for n in (1, 3, 4)]
    assert [s.kind for s in samples] == ["single", "separate", "interacting"]
    first = samples[0]
    assert first.present.tolist() == [True, False]
    assert first.present_known.tolist() == [True, False]  # the left hand may be there, unlabelled
    assert first.joints2d_valid[0].sum() == 20 and not first.joints2d_valid[0, 3]
    np.testing.assert_allclose(first.joints2d[0, 8], (10 + 9, 20 + 3))
    assert not first.joints3d_valid.any() and first.K is None
    np.testing.assert_allclose(first.score_box[0], (10, 20, 12, 12))


def test_check_and_faults_in_one_sentence(root):
    report = check_data(f"coco-wholebody-val:{root}")
    assert (report.count, report.hands, report.faults) == (3, 5, ())
    with pytest.raises(ValueError, match="holds no annotations of COCO-WholeBody"):
        open_data(f"coco-wholebody-train:{root}")
    path = root / "annotations" / "coco_wholebody_val_v1.0.json"
    path.write_text(path.read_text().replace("righthand_kpts", "kpts"))
    with pytest.raises(ValueError, match="not laid out as COCO-WholeBody's annotations"):
        open_data(f"coco-wholebody-val:{root}")


@pytest.mark.skipif(not REAL.is_dir(), reason="real pictures are not here (LGNET_REALDATA)")
def test_real_people_have_hands_within_their_pictures(tmp_path):
    (tmp_path / "val2017").mkdir()
    (tmp_path / "coco_wholebody_val_v1.0.json").symlink_to(REAL / "test_coco_wholebody.dev.json")
    for picture in REAL.glob("*.jpg"):
        (tmp_path / "val2017" / picture.name).symlink_to(picture)
    samples = list(open_data(f"coco-wholebody-val:{tmp_path}"))
    assert len(samples) == 3
    for sample in samples:
        height, width = sample.image.shape[:2]
        seen = sample.joints2d[sample.joints2d_valid]
        assert ((seen >= 0) & (seen < (width, height))).all()
        assert 8 < sample.box[sample.present][:, 2:].max() < 60
