"""Ego2Hands' evaluation set and Ego2HandsPose, written small in the published layout with numbers of our own."""

import cv2
import numpy as np
import pytest

from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.hands import LEFT, RIGHT


def write(root, name, right=None, left=None):
    folder = root / "eval" / "eval_seq1_imgs"
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.png"), np.full((90, 160, 3), 70, np.uint8))
    mask = np.zeros((90, 160), np.uint8)
    for letter, value, box in (("l", 50, left), ("r", 100, right)):
        energy = np.zeros((90, 160), np.uint8)
        if box:
            x, y, w, h = box
            mask[y:, x : x + w + 1] = value  # the arm as well
            energy[y : y + h + 1, x : x + w + 1] = 200
            energy[y + h + 1 : y + h + 9, x : x + w + 1] = 100  # less and less along the arm
        cv2.imwrite(str(folder / f"{name}_e_{letter}.png"), energy)
    cv2.imwrite(str(folder / f"{name}_seg.png"), mask)
    return folder


def test_boxes(tmp_path):
    write(tmp_path, "00001", right=(90, 30, 40, 30), left=(10, 40, 30, 20))
    write(tmp_path, "00002", left=(10, 40, 30, 20))
    both, left = open_data(f"ego2hands-eval:{tmp_path}")
    assert both.recording == "eval/eval_seq1_imgs"
    assert both.name == "eval/eval_seq1_imgs/00001" and both.kind == "separate" and both.K is None
    np.testing.assert_allclose(both.box, [(90, 30, 40, 30), (10, 40, 30, 20)])
    assert not both.joints2d_valid.any() and left.present.tolist() == [False, True]
    assert check_data(f"ego2hands-eval:{tmp_path}").faults == ()


def test_joints(tmp_path):
    folder = write(tmp_path, "00001", right=(90, 30, 40, 30), left=(10, 40, 30, 20))
    shares = np.full((21, 2), 0.5)
    shares[8] = 0.25, 0.75  # row, column of a square of 160 with 35 rows above and below the picture
    shares[4] = 0.1, 0.5  # above the picture
    for letter in "lr":
        np.save(folder / f"00001_kpts_2d_glob_{letter}.npy", shares)
    sample = open_data(f"ego2hands-eval:{tmp_path}")[0]
    np.testing.assert_allclose(sample.joints2d[RIGHT, 8], (120, 5), atol=1e-4)
    np.testing.assert_allclose(sample.joints2d[LEFT, 8], (40, 5), atol=1e-4)  # saved in the mirrored picture
    np.testing.assert_allclose(sample.joints2d[RIGHT, 0], (80, 45), atol=1e-4)
    assert np.flatnonzero(~sample.joints2d_valid[RIGHT]).tolist() == [4] and not sample.joints3d_valid.any()


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds nothing of Ego2Hands' evaluation set"):
        open_data(f"ego2hands-eval:{tmp_path}")
    folder = write(tmp_path, "00001", right=(90, 30, 40, 30))
    np.save(folder / "00001_kpts_2d_glob_r.npy", np.zeros((22, 2)))
    assert "00001_kpts_2d_glob_r.npy is no array of 21 x 2" in check_data(f"ego2hands-eval:{tmp_path}").faults[0]
    cv2.imwrite(str(folder / "00001_e_r.png"), np.zeros((45, 80), np.uint8))
    assert "00001_e_r.png is 80 x 45 pixels, its picture 160 x 90" in check_data(f"ego2hands-eval:{tmp_path}").faults[0]
    (folder / "00001_e_r.png").unlink()
    assert "there is no picture" in check_data(f"ego2hands-eval:{tmp_path}").faults[0]
