"""OneHand10K in mmpose's layout, written small by these tests with numbers of our own, and two published pictures."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgnet.data.batch import make_batch
from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.evaluate import predict_sample
from lgnet.hands import SIDES, Camera, Hand, TwoHands
from lgnet.presets import MODELS
from lgnet.scoring.columns import tabulate
from lgnet.scoring.score import score_picture
from lgnet.scoring.summary import summarise

REAL = Path(os.environ.get("LGNET_REALDATA", Path(__file__).parents[2] / "shared" / "realdata")) / "mmpose_onehand10k"


def write(root, keypoints, size=(90, 60)):
    (root / "annotations").mkdir(exist_ok=True)
    (root / "Test" / "source").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, joints in enumerate(keypoints):
        name = f"Test/source/{number}.jpg"
        cv2.imwrite(str(root / name), np.full((size[1], size[0], 3), 90, np.uint8))
        images.append({"id": number, "file_name": name, "width": 90, "height": 60})
        annotations.append({"id": number, "image_id": number, "keypoints": np.ravel(joints).tolist()})
    content = {"images": images, "annotations": annotations}
    (root / "annotations" / "onehand10k_test.json").write_text(json.dumps(content))


def joints(hidden=()):
    return [[0, 0, 0] if j in hidden else [10 + 3 * (j % 5), 20 + 4 * (j // 5), 1] for j in range(21)]


def test_onehand10k(tmp_path):
    write(tmp_path, [joints(), joints(hidden=(0, 4)), joints(hidden=range(21))])
    data = open_data(f"onehand10k-test:{tmp_path}")
    whole, part = data
    assert data.skipped == {"hands without a labelled joint": 1}
    assert not whole.side_known and whole.present.tolist() == [True, False] and not whole.present_known.any()
    assert (whole.K, whole.kind, whole.name) == (None, "single", "Test/source/0.jpg")
    np.testing.assert_allclose(whole.joints2d[0, [0, 4, 20]], [(10, 20), (22, 20), (10, 36)])
    assert np.flatnonzero(~part.joints2d_valid[0]).tolist() == [0, 4]
    assert check_data(f"onehand10k-test:{tmp_path}").faults == ()
    write(tmp_path, [joints()], size=(80, 60))
    assert "is 80 x 60 pixels, not 90 x 60 as annotated" in check_data(f"onehand10k-test:{tmp_path}").faults[0]
    with pytest.raises(ValueError, match=r"there is no file .*onehand10k_train\.json"):
        open_data(f"onehand10k-train:{tmp_path}")


def answer(side, uv):
    joints, none = np.zeros((21, 3)), np.zeros((0, 3))
    rest = none, none, none.astype(int), np.zeros((16, 3)), np.zeros(10), joints[0]
    return Hand(SIDES[side], 1.0, np.zeros(4), uv, joints, *rest)


@pytest.mark.parametrize("side", [0, 1])
def test_a_hand_of_unknown_side_is_scored_against_the_nearest_prediction(tmp_path, side):
    write(tmp_path, [joints()])
    sample = open_data(f"onehand10k-test:{tmp_path}")[0]
    truth = sample.joints2d[0].astype(float)
    near, far = answer(side, truth + (1.6, 0)), answer(1 - side, truth + 40)
    slots = {hand.side: hand for hand in (near, far)}
    score = score_picture(sample, TwoHands(slots["right"], slots["left"], 90, 60, Camera(1, 1, 1, 1)))
    (hand,) = score.hands
    assert (hand.side, hand.predicted, hand.found, hand.right_side) == (-1, True, True, None)  # whichever it was called
    np.testing.assert_allclose(hand.errors2d, 0.1)  # 1.6 of 16 pixels, the box's height
    assert score.presence == (None, None)
    right, left = (
        tabulate([score_picture(sample, TwoHands(*pair, 90, 60, Camera(1, 1, 1, 1)))])
        for pair in ((answer(0, truth), None), (None, answer(1, truth)))
    )
    assert right.hands["side"].tolist() == left.hands["side"].tolist()  # so that the two can be compared
    assert summarise(right)["by_hand"] == {}
    missed = score_picture(sample, TwoHands(None, None, 90, 60, Camera(1, 1, 1, 1)))
    assert np.isinf(missed.hands[0].errors2d).all() and missed.presence == (None, None)


def test_where_the_side_matters_such_a_sample_is_refused(tmp_path):
    write(tmp_path, [joints()])
    sample = open_data(f"onehand10k-test:{tmp_path}")[0]
    with pytest.raises(ValueError, match="does not tell whether its hand is a right or a left one"):
        make_batch([sample], next(iter(MODELS.values())))
    with pytest.raises(ValueError, match="--boxes own"):
        predict_sample(None, sample, "truth")  # type: ignore[arg-type]


@pytest.mark.skipif(not REAL.is_dir(), reason="real pictures are not here (LGNET_REALDATA)")
def test_the_published_pictures(tmp_path):
    for file in REAL.iterdir():
        name = "onehand10k_test.json" if file.suffix == ".json" else file.name
        (tmp_path / name).symlink_to(file)
    report = check_data(f"onehand10k-test:{tmp_path}")
    assert (report.count, report.hands, report.faults) == (2, 2, ())
    samples = {s.name: s for s in open_data(f"onehand10k-test:{tmp_path}")}
    assert samples["33.jpg"].joints2d_valid.sum() == 7 and samples["1402.jpg"].joints2d_valid.sum() == 21
    np.testing.assert_allclose(samples["1402.jpg"].joints2d[0, 8], (163, 168))  # the index finger's tip
