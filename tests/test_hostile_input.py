"""What a hostile first user tried: each is one sentence, loses nothing of others, and harms nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

import lgnet
from lgnet import cli, video
from lgnet.align import KeyPoints, align_hands
from lgnet.commands_robot import read_results
from lgnet.hands import SCHEMA, Camera
from lgnet.image_io import ImageError, Item, expand_inputs, read_image
from lgnet.keypoint_files import read_key_points
from lgnet.packets import read_packet
from lgnet.predict import load
from lgnet.reconstruct import camera_from_intrinsics, check_outputs, read_boxes
from lgnet.video import film_writer, sequence_files

EXAMPLE = Path(lgnet.__file__).parent / "examples" / "single.jpg"
DEEP = "[" * 100_000
HUGE = "9" * 400


@pytest.fixture(scope="module")
def model():
    return load(device="cpu")


def run(*words: str) -> int:
    return cli.main([*words, "--device", "cpu"])


def test_postscript_is_not_run_as_a_picture(tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(ImageError, match="PostScript"):
        read_image(path)


def test_a_video_whose_name_is_no_utf8_does_not_end_the_program(tmp_path):
    name = os.fsdecode(str(tmp_path / "film").encode() + b"\xfd.mp4")
    try:
        Path(name).write_bytes(b"no video")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    words = ["reconstruct", name, str(EXAMPLE), "--out", str(tmp_path / "out"), "--tta", "1", "--save", "json"]
    done = subprocess.run([sys.executable, "-m", "lgnet", *words], capture_output=True)
    assert done.returncode == 1
    assert b"have to be UTF-8" in done.stderr
    assert (tmp_path / "out" / "single.json").is_file()
    with pytest.raises(ImageError, match="UTF-8"), film_writer(Path(name), 25, np.zeros((8, 8, 3), np.uint8)):
        pass


def test_key_points_of_another_picture_are_refused(tmp_path):
    item = Item("in/photo.jpg", "photo", "image")
    path = tmp_path / "points.json"

    def look(points: object) -> list[KeyPoints]:
        path.write_text(json.dumps({"photo.jpg": {"right": points}}))
        return list(read_key_points(path, [item])(np.zeros((100, 200, 3), np.uint8), item, 0))

    rows = [[10 + i, 20 + 2 * i, 1] for i in range(21)]
    assert len(look(rows)) == 1
    for wrong, said in (
        ([[x * 50, y * 50, 1] for x, y, _ in rows], "no point lies in the picture of 200 x 100 pixels"),
        ([[1e300, 1e300, 1]] * 21, r"the right hand: a point lies at 1e\+300"),
        ([*rows[:20], [1e10, 1, 1]], r"a point lies at 1e\+10"),
        ([[50, 50, 1]] * 21, "its points lie within a pixel of each other"),
        ([[50 + x * 1e-6, 50, 1] for x, _, _ in rows], "its points lie within a pixel of each other"),
    ):
        with pytest.raises(ValueError, match=said):
            look(wrong)
    path.write_text('{"photo.jpg": {"right": [[' + HUGE + ", 1, 1]]}}")
    with pytest.raises(ValueError, match=r"points\.json"):
        read_key_points(path, [item])(np.zeros((100, 200, 3), np.uint8), item, 0)


def test_a_hand_is_not_drawn_to_points_by_a_singular_step(model):
    hands = model(str(EXAMPLE))
    (hand,) = hands.hands
    points = KeyPoints(np.full((21, 2), 1e6) + np.arange(21)[:, None], np.ones(21), hand.side)
    drawn = align_hands(hands, (points, None) if hand.side == "right" else (None, points))
    assert all(np.isfinite(h.joints3d).all() for h in drawn.hands)


def test_what_is_written_aside_replaces_no_input_and_no_other_result(tmp_path):
    def film(name: str) -> Item:
        return Item(str(tmp_path / name), Path(name).stem, "video")

    with pytest.raises(ValueError, match="would replace the input"):
        check_outputs([film("a.mov"), film("a.part.mp4")], tmp_path, ["overlay"])
    with pytest.raises(ValueError, match="would both be written"):
        check_outputs([film("a.part.mp4"), film("a.mp4")], tmp_path / "out", ["overlay"])


def test_an_out_that_cannot_be_made_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be made or written to"):
        check_outputs([Item("a.jpg", "a", "image")], tmp_path / "file" / "below", ["json"])
    for words in (["synth", "--count", "1"], ["evaluate", "--data", "synth-bench"]):
        assert cli.main([*words, "--out", ""]) == 2


@pytest.mark.parametrize(
    "text", [DEEP, '{"a.jpg": {"right": [' + HUGE + ", 1, 9, 9]}}", '{"a.jpg": {"right": [1e7, 1, 9, 9]}}']
)
def test_boxes_that_python_reads_and_nobody_can_use(tmp_path, text):
    path = tmp_path / "boxes.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="box"):
        read_boxes(path, [Item("a.jpg", "a", "image")])


def test_a_packet_nested_too_deeply_is_no_packet():
    with pytest.raises(ValueError, match="no packet"):
        read_packet(DEEP.encode())


@pytest.mark.parametrize(
    "change",
    [
        {"time": None},
        {"hands": [{"joints3d": [[0, 0, float("nan")]] * 21}]},
        {"hands": [{"joints3d": "a"}]},
        {"hands": [{"side": 3}]},
    ],
)
def test_damaged_results_are_named(tmp_path, change):
    hand = {"side": "right", "joints3d": [[0, 0, 1]] * 21, "pose": [[0, 0, 0]] * 16, "shape": [0] * 10}
    content = {"schema": SCHEMA, "model": {"hand_model": "lgnet"}, "hands": [hand]}
    path = tmp_path / "film.jsonl"
    path.write_text(json.dumps(content))
    assert len(list(read_results(path))) == 1
    content |= {key: [hand | own for own in value] if key == "hands" else value for key, value in change.items()}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"film\.jsonl, line 1, is no result"):
        list(read_results(path))


def test_one_bad_name_does_not_end_the_batch(tmp_path, capsys):
    assert (
        run("reconstruct", "a" * 300 + ".jpg", str(EXAMPLE), "--out", str(tmp_path), "--tta", "1", "--save", "json")
        == 1
    )
    assert (tmp_path / "single.json").is_file()
    assert "too long" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read_are_told(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub").chmod(0)
    assert [item.path for item in expand_inputs([str(tmp_path / "in")])] == [str(tmp_path / "in" / "sub")]
    with pytest.raises(ImageError, match="cannot be read"):
        sequence_files(tmp_path / "in" / "sub")


def test_cameras_that_are_none():
    for values in ((1.2, 1.2, 0.5, 0.5), (1e30, 1e30, 0, 0), (500, 500, -1e7, 3)):
        with pytest.raises(ValueError, match="--intrinsics"):
            camera_from_intrinsics(values)
    for values in ((0, 0, 0, 0), (-5, 5, 0, 0), (float("nan"), 1, 0, 0)):
        with pytest.raises(ValueError, match="focal lengths above zero"):
            Camera(*values)
    with pytest.raises(ValueError, match="name one by its number"):
        expand_inputs(["camera:99999999999999"])


def test_what_python_hands_over_that_is_no_picture(model):
    for wrong in (str(EXAMPLE), None, [1, 2]):
        with pytest.raises(ValueError, match="a picture is an array"):
            model.predict(wrong)
    for wrong in (1.5, "3", 0, 1000):
        with pytest.raises(ValueError, match="1 to 64"):
            load(tta=wrong)


def test_a_lens_that_nobody_makes_is_not_believed(tmp_path):
    from test_image_io import exif_block

    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
    from PIL import Image

    from lgnet.image_io import camera_from_exif

    Image.open(path).save(path, exif=exif_block(1, 2))
    assert camera_from_exif(read_image(path)) is None


def test_boxes_of_a_name_that_two_pictures_have_are_the_first_ones(tmp_path, capsys):
    for name in ("a.jpg", "sub/a.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(EXAMPLE.read_bytes())
    (tmp_path / "boxes.json").write_text('{"a.jpg": {"right": [1, 1, 40, 40]}}')
    words = (
        "reconstruct",
        str(tmp_path / "in"),
        "--save",
        "json",
        "--tta",
        "1",
        "--boxes",
        str(tmp_path / "boxes.json"),
    )
    assert run(*words, "--out", str(tmp_path / "out")) == 0
    first, second = (json.loads((tmp_path / "out" / f"{n}.json").read_text())["hands"] for n in ("a", "sub/a"))
    assert first[0]["box"] == [1, 1, 40, 40] and [1, 1, 40, 40] not in [hand["box"] for hand in second]


def test_of_a_name_too_long_for_one_of_its_results_none_is_written(tmp_path, capsys):
    long = tmp_path / ("n" * 240 + ".jpg")
    long.write_bytes(EXAMPLE.read_bytes())
    words = (
        "reconstruct",
        str(long),
        str(EXAMPLE),
        "--out",
        str(tmp_path / "out"),
        "--tta",
        "1",
        "--save",
        "json,overlay",
    )
    assert run(*words) == 1
    assert "too long for those of its results" in capsys.readouterr().err
    assert {path.name[:6] for path in (tmp_path / "out").iterdir()} == {"single"}


@pytest.mark.parametrize("box", [[100, 100, -50, 50], [100, 100, 50, -5]])
def test_boxes_of_negative_size_are_none(model, box):
    with pytest.raises(ValueError, match="size above zero"):
        model.predict(np.zeros((256, 256, 3), np.uint8), boxes=np.array([box, box], float))


@pytest.mark.parametrize("box", [[256, 10, 50, 50], [-60, 10, 50, 50], [10, 300, 50, 50]])
def test_boxes_outside_the_picture_are_none(model, box):
    with pytest.raises(ValueError, match="lies outside the picture of 256 x 256 pixels"):
        model.predict(np.zeros((256, 256, 3), np.uint8), boxes=np.array([box, [0, 0, 50, 50]], float))
    given = np.array([False, True])  # what does not count is not looked at
    model.predict(np.zeros((256, 256, 3), np.uint8), boxes=np.array([box, [0, 0, 50, 50]], float), given=given)


def test_a_video_that_is_cut_off_is_remarked_upon_and_kept(tmp_path, capsys, monkeypatch):
    (tmp_path / "film").mkdir()
    for number in range(3):
        (tmp_path / "film" / f"{number}.jpg").write_bytes(EXAMPLE.read_bytes())
    whole, rates, guessed = video.open_film, [30.0], [False]

    @contextmanager
    def states_more(item, most=None):
        with whole(item, most) as film:
            yield replace(film, total=9, rate=rates[-1], guessed=guessed[-1])

    monkeypatch.setattr("lgnet.moving.open_film", states_more)
    words = ("reconstruct", str(tmp_path / "film"), "--sequence", "--out", str(tmp_path / "out"), "--save", "json")
    assert run(*words) == 0
    assert "only 3 of 9 frames could be read" in capsys.readouterr().err
    rates.append(270.0)  # a container that guesses, of 1/30 s a frame: 9 in the 2/30 s that there are
    assert run(*words) == 0
    assert "only 3 of 9" in capsys.readouterr().err  # as one that counts
    guessed.append(True)
    assert run(*words) == 0
    assert not capsys.readouterr().err
    assert len((tmp_path / "out" / "film.jsonl").read_text().splitlines()) == 3


def test_frames_have_the_camera_of_their_exif(tmp_path):
    (tmp_path / "film").mkdir()
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 36
    Image.new("RGB", (64, 48)).save(tmp_path / "film" / "0.jpg", exif=exif)
    camera = video.film_camera(Item(str(tmp_path / "film"), "film", "frames"))
    assert camera is not None and camera.fx == pytest.approx(64 * 36 / 34.6)  # 4:3
    assert video.film_camera(Item(str(tmp_path / "a.mp4"), "a", "video")) is None
