"""H2O written small in the published layout with numbers of our own."""

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.hands import LEFT, RIGHT

K = (300.0, 310.0, 160.0, 120.0)
PICTURE = "subject3/k2/0/cam4/rgb/{:06d}.png"


def write(root, hands):
    camera = root / "subject3" / "k2" / "0" / "cam4"
    for folder in ("rgb", "hand_pose"):
        (camera / folder).mkdir(parents=True, exist_ok=True)
    (camera / "cam_intrinsics.txt").write_text(" ".join(map(str, (*K, 320, 240))))
    for number, pair in enumerate(hands):
        cv2.imwrite(str(root / PICTURE.format(number)), np.full((240, 320, 3), 80, np.uint8))
        numbers = []
        for joints in pair:  # left, right
            numbers += [0.0] * 64 if joints is None else [1.0, *np.ravel(joints).tolist()]
        (camera / "hand_pose" / f"{number:06d}.txt").write_text(" ".join(map(str, numbers)) + "\n")
    (root / "label_split").mkdir(exist_ok=True)
    names = "\n".join(PICTURE.format(number) for number in range(len(hands)))
    (root / "label_split" / "pose_val.txt").write_text(names + "\n")


def some(seed, x=0.0):
    return np.random.default_rng(seed).normal([x, 0, 0.6], 0.03, (21, 3))


def test_h2o(tmp_path):
    left, right = some(0, -0.1), some(1, 0.1)
    outside = some(2) + (2, 0, 0)
    write(tmp_path, [(left, right), (None, right), (outside, right)])
    both, one, away = open_data(f"h2o-val:{tmp_path}")
    assert both.recording == "subject3/k2/0"
    assert both.name == "subject3/k2/0/cam4/rgb/000000.png" and both.present.all() and both.present_known.all()
    np.testing.assert_allclose(both.joints3d[LEFT], left, atol=1e-6)
    np.testing.assert_allclose(both.joints3d[RIGHT], right, atol=1e-6)
    x, y, z = right[8]
    np.testing.assert_allclose(both.joints2d[RIGHT, 8], (x / z * 300 + 160, y / z * 310 + 120), atol=1e-3)
    np.testing.assert_allclose(both.K, K)
    assert (one.present.tolist(), one.present_known.tolist()) == ([True, False], [True, False])
    assert (away.present.tolist(), away.present_known.tolist(), away.kind) == ([True, False], [True, True], "single")
    report = check_data(f"h2o-val:{tmp_path}")
    assert (report.count, report.hands, report.faults) == (3, 4, ())


def test_the_egocentric_archives_unpack_to_other_folders(tmp_path):
    write(tmp_path, [(some(0), some(1))])
    (tmp_path / "subject3").rename(tmp_path / "subject3_ego")
    assert open_data(f"h2o-val:{tmp_path}")[0].name == "subject3/k2/0/cam4/rgb/000000.png"
    (tmp_path / "subject3_ego").rename(tmp_path / "subject4_ego")
    with pytest.raises(ValueError, match=r"wants folders as subject3 or, of the egocentric part, subject3_ego"):
        open_data(f"h2o-val:{tmp_path}")


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*pose_val\.txt, H2O's list"):
        open_data(f"h2o-val:{tmp_path}")
    write(tmp_path, [(some(0), some(1))])
    camera = tmp_path / "subject3" / "k2" / "0" / "cam4"
    (camera / "hand_pose" / "000000.txt").write_text("1 2 3")
    assert "000000.txt is not 128 finite numbers but 3" in check_data(f"h2o-val:{tmp_path}").faults[0]
    (camera / "cam_intrinsics.txt").write_text("1 2 3 4 640 480")
    assert "is 320 x 240 pixels, not 640 x 480" in check_data(f"h2o-val:{tmp_path}").faults[0]
    (tmp_path / "label_split" / "pose_val.txt").write_text("../../etc/rgb/1.png\n")
    with pytest.raises(ValueError, match="is no list of <subject>"):
        open_data(f"h2o-val:{tmp_path}")
