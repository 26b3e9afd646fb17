"""The acceleration error of films, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from test_evaluate import Knowing, make

from lgnet.data.registry import DataSet
from lgnet.evaluate import evaluate
from lgnet.scoring.motion import frame_of


def test_frames_by_name():
    assert frame_of("Capture0/ROM/cam4/image0123.jpg") == ("Capture0/ROM/cam4", 123)
    assert frame_of("ABF10/0007") == ("ABF10", 7)
    assert frame_of("a/b.7.png") == ("a", 7)
    assert frame_of("a/picture.png") is None


NAMES = ("a/10.png", "a/15.png", "a/20.png", "a/30.png", "b/10.png", "b/15.png")
"""Steps of five; the fourth comes after a gap, and the second folder has two only."""


def frame(index):
    return replace(make(0), name=NAMES[index], image=np.full((120, 160, 3), index, np.uint8))


class Trembling(Knowing):
    """Right but for the second picture, whose right index tip is off by 21 mm."""

    def predict(self, image, camera, boxes, given):
        index = int(image[5, 5, 0])
        blank = image.copy()
        blank[0, 0] = 0
        hands = super().predict(blank, camera, boxes, given)
        if index == 1:
            hands.right.joints3d[8, 1] += 0.021
        return hands


@pytest.mark.usefixtures("no_plots")
def test_a_joint_that_trembles(tmp_path):
    data = DataSet("film", 6, frame, film=True)
    # right hand at 15: its tip is off by twice 21 mm, one of 21 joints; left hand at 15: 0; no other has neighbours
    metrics = evaluate(Trembling(), data, tmp_path / "a", quiet=True)
    assert metrics["acceleration_error"] == pytest.approx((2 * 21 / 21 + 0) / 2, abs=1e-4)
    assert metrics["by_hand"]["right"]["acceleration_error"] == pytest.approx(2, abs=1e-4)
    assert "acceleration error mm/frame2" in (tmp_path / "a" / "table.md").read_text()
    with np.load(tmp_path / "a" / "scores.npz") as file:
        assert np.isnan(file["hands.acceleration"]).sum() == 10 and "hands.offset" not in file.files
    assert evaluate(Trembling(), replace(data, film=False), tmp_path / "b", quiet=True)["acceleration_error"] is None


@pytest.mark.usefixtures("no_plots")
def test_each_folder_has_its_own_step(tmp_path, monkeypatch):
    names = ("a/10.png", "a/15.png", "a/20.png", "b/10.png", "b/20.png", "b/30.png")
    monkeypatch.setitem(globals(), "NAMES", names)
    metrics = evaluate(Trembling(), DataSet("films", 6, frame, film=True), tmp_path, quiet=True)
    assert metrics["acceleration_error"] == pytest.approx((2 + 0 + 0 + 0) / 4, abs=1e-4)
    with np.load(tmp_path / "scores.npz") as file:
        assert np.isfinite(file["hands.acceleration"]).sum() == 4
