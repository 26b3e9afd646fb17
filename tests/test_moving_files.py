"""The files of a video: what a killed run left, and what is broken off while it is written, is never taken for a result."""

import cv2
import numpy as np
import pytest
from posing import posed_hand, scene

from lgnet import moving_files
from lgnet.aside import aside_moving
from lgnet.hands import Camera, TwoHands
from lgnet.moving_files import MovingFiles
from lgnet.smooth import Moment

HANDS = scene(posed_hand(np.zeros((15, 3))))
NOBODY = TwoHands(None, None, 640, 480, Camera(500, 500, 320, 240))


def write(stem, kinds, frames=3):
    files = MovingFiles(stem, kinds, 30.0, ())
    for index in range(frames):
        files.add(index, Moment(index / 30, HANDS, (False, False), None))
    return files


def test_what_a_killed_run_left_is_not_this_ones(tmp_path):
    left = tmp_path / "film_left.bvh"
    aside_moving(left).write_text("half of an old one")
    files = write(tmp_path / "film", ["json", "bvh"])
    files.close()
    assert sorted(path.name for path in files.keep()) == ["film.jsonl", "film_right.bvh"]
    assert not left.exists() and not aside_moving(left).exists()


def test_an_animation_that_is_broken_off_does_not_replace_a_whole_one(tmp_path, monkeypatch):
    (tmp_path / "film.glb").write_bytes(b"an earlier one")
    (tmp_path / "film_left.bvh").write_text("an earlier one")

    def half(path, recorder):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(moving_files, "write_glb", half)
    files = write(tmp_path / "film", ["json", "glb", "bvh"])
    with pytest.raises(KeyboardInterrupt):
        files.close()
    assert [path.name for path in files.keep()] == ["film.jsonl"]
    assert len((tmp_path / "film.jsonl").read_text().splitlines()) == 3
    assert (tmp_path / "film.glb").read_bytes() == b"an earlier one" and (tmp_path / "film_left.bvh").exists()
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("live", [False, True])
def test_the_film_of_a_camera_takes_as_long_as_it_took(tmp_path, live):
    """The work keeps up with ten of its thirty frames a second, and once with each."""
    files = MovingFiles(tmp_path / "film", ["overlay"], 30.0, (), live)
    for grey, time in enumerate((0.5, 0.6, 0.7, 0.7001, 0.8, 0.8 + 1 / 30)):
        files.add(0, Moment(time, NOBODY, (False, False), np.full((480, 640, 3), 40 * grey, np.uint8)))
    files.close()
    (film,) = files.keep()
    capture = cv2.VideoCapture(str(film))
    assert capture.get(cv2.CAP_PROP_FPS) == 30
    greys = [round(float(capture.read()[1].mean()) / 40) for _ in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))]
    assert greys == (
        [0, 0, 0, 1, 1, 1, 3, 3, 3, 4, 5] if live else [0, 1, 2, 3, 4, 5]
    )  # each until the next one's time
