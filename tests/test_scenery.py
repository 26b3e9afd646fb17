"""Places made by code, and the user's photographs, as backgrounds."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lgnet.config import SynthConfig
from lgnet.synth.generate import make_sample, training_rng
from lgnet.synth.scenery import PAINTERS, SHARES, photographs, sample_photograph, sample_place


@pytest.mark.parametrize("place", PAINTERS)
def test_each_place_fills_the_picture_and_varies(place):
    pictures = []
    for seed in range(12):
        picture = np.full((96, 128, 3), 77, np.uint8)
        place(np.random.default_rng(seed), picture)
        pictures.append(picture)
    again = np.full((96, 128, 3), 200, np.uint8)  # what was there before shines nowhere through
    place(np.random.default_rng(0), again)
    assert np.array_equal(again, pictures[0])
    assert len({p.tobytes() for p in pictures}) == 12
    assert np.mean([p.std() for p in pictures]) > 8


def test_a_place_is_linear_light_and_the_same_for_a_seed():
    assert sum(SHARES) == pytest.approx(1)
    one, two = (sample_place(np.random.default_rng(3), 64, 80) for _ in range(2))
    assert one.shape == (64, 80, 3)
    assert one.dtype == np.float32
    assert np.array_equal(one, two)
    assert 0 <= one.min() < one.max() <= 1


def test_photographs_are_cut_and_made_linear(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (200, 1, 3))
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [p.name for p in photographs(str(tmp_path))] == ["ramp.png"]
    cuts = [sample_photograph(np.random.default_rng(s), str(tmp_path), 50, 60) for s in range(8)]
    for cut in cuts:
        assert cut.shape == (50, 60, 3)
        steps = np.diff(cut[25, :, 0])
        assert (steps > -1e-6).all() or (steps < 1e-6).all()  # still a ramp, perhaps mirrored
    assert min(c.min() for c in cuts) < 0.05
    assert 0.5 < max(c.max() for c in cuts) <= 1


def test_a_folder_without_pictures_and_a_broken_one_say_so(tmp_path):
    with pytest.raises(ValueError, match="no pictures for backgrounds"):
        sample_photograph(np.random.default_rng(0), str(tmp_path), 8, 8)
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    photographs.cache_clear()
    with pytest.raises(ValueError, match=r"bad\.jpg cannot be read"):
        sample_photograph(np.random.default_rng(0), str(tmp_path), 8, 8)


def test_backgrounds_show_behind_the_hand(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.tile(np.uint8([0, 0, 255]), (64, 64, 1)))
    config = SynthConfig(size=64, difficulty=0.0, backgrounds=str(tmp_path))
    red = 0
    for index in range(10):
        sample = make_sample(training_rng(1, 0, index), config, "single")
        corners = sample.image[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
        red += bool(((corners[:, 0] > 120) & (corners[:, 1:].max(1) < 60)).any())
    assert red >= 5
    same = [make_sample(training_rng(1, 0, 0), replace(config, backgrounds=None, places=p), "single") for p in (0, 0.0)]
    assert np.array_equal(same[0].image, same[1].image)
