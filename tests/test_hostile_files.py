"""Rings of links, full disks, two runs at once, odd JSON: each is one sentence, and what is done stays whole."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scripted import Scripted

import lgnet
from lgnet import cli, moving_files, predict
from lgnet.aside import write_together
from lgnet.hands import TwoHands, assumed_camera
from lgnet.image_io import expand_inputs
from lgnet.moving_files import one_writer
from lgnet.reconstruct import check_outputs, read_boxes

EXAMPLE = Path(lgnet.__file__).parent / "examples" / "single.jpg"


@pytest.fixture
def ring(tmp_path):
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop")
    (tmp_path / "loop").symlink_to(tmp_path / "loop.jpg")
    return tmp_path


class Blind(Scripted):
    def predict(self, image, camera=None, boxes=None, given=None, file=None):
        height, width = image.shape[:2]
        return TwoHands(None, None, width, height, camera or assumed_camera(width, height), file=file)


@pytest.fixture
def loads(monkeypatch):
    """The networks need not be read: what is wrong comes first, or seeing no hands will do."""
    monkeypatch.setattr(predict, "load", lambda *a, **k: Blind())


def test_a_ring_of_links_fails_by_itself(ring, loads, capsys):
    (ring / "fine.jpg").write_bytes(EXAMPLE.read_bytes())
    assert cli.main(["reconstruct", str(ring), "--out", str(ring / "out"), "--save", "json"]) == 1
    assert (ring / "out" / "fine.json").is_file()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "loop.jpg cannot be read" in line and "links" in line


@pytest.mark.parametrize(
    "words",
    [
        "reconstruct EXAMPLE --out LOOP",
        "fit LOOP --out q.json",
        "retarget LOOP --urdf hand.urdf --out q.csv",
        "compare LOOP LOOP --out LOOP",
        "bench --out LOOP/figures.json",
    ],
)
def test_rings_of_links_are_one_sentence_everywhere(words, ring, loads, capsys):
    named = {"EXAMPLE": str(EXAMPLE), "LOOP": str(ring / "loop"), "LOOP/figures.json": str(ring / "loop" / "f.json")}
    assert cli.main([named.get(word, word) for word in words.split()]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "loop" in line or "hand.urdf" in line


def test_an_out_that_is_a_link_to_nothing_is_told(tmp_path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="gone is a link to nothing"):
        check_outputs(expand_inputs([str(EXAMPLE)]), tmp_path / "gone")


def test_of_files_that_belong_together_all_are_written_or_none(tmp_path, monkeypatch):
    first, second, third = (tmp_path / name for name in ("a.json", "b.png", "c.obj"))
    for path in (first, third):
        path.write_bytes(b"old")
    plain = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.name.startswith("b.png"):
            plain(self, content[:2])
            raise OSError(28, "No space left on device")
        return plain(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as told:
        write_together({first: b"new", second: b"new", third: None})
    assert told.value.filename == str(second)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "c.obj"]
    assert first.read_bytes() == third.read_bytes() == b"old"
    monkeypatch.undo()
    second.mkdir()
    with pytest.raises(OSError, match="directory") as told:
        write_together({first: b"new", second: b"new", third: None})
    assert told.value.filename == str(second) and not list(tmp_path.glob("*.part"))
    second.rmdir()
    assert write_together({first: b"new", second: b"new", third: None}) == [first, second]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.png"]


def frames(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"f{number}.png"), np.full((48, 64, 3), 30 * number, np.uint8))
    return folder


def test_two_runs_do_not_write_one_film(tmp_path, loads, capsys):
    folder, out = frames(tmp_path / "film", 2), tmp_path / "out"
    words = ["reconstruct", str(folder), "--sequence", "--out", str(out), "--save", "json"]
    with one_writer(out / "film"):
        assert cli.main(words) == 1
    assert "another lgnet is writing" in capsys.readouterr().err
    assert not any(out.iterdir())
    assert cli.main(words) == 0
    assert [p.name for p in out.iterdir()] == ["film.jsonl"]


@pytest.mark.parametrize("fails", [NotImplementedError(), moving_files.Timeout("film")])
def test_where_a_lock_cannot_be_had(fails, tmp_path, loads, capsys, monkeypatch):
    """A file system without locks writes all the same; one that takes no file says so."""

    def acquire(self: object) -> None:
        raise fails

    monkeypatch.setattr(moving_files.FileLock, "acquire", acquire)
    words = ["reconstruct", str(frames(tmp_path / "film", 2)), "--sequence", "--out", str(tmp_path / "out")]
    written = isinstance(fails, NotImplementedError)
    assert cli.main([*words, "--save", "json"]) == (0 if written else 1)
    assert (tmp_path / "out" / "film.jsonl").is_file() == written
    assert written or "cannot be written (Permission denied)" in capsys.readouterr().err


@pytest.mark.parametrize("smooth", ["live", "offline"])
@pytest.mark.parametrize("bad", ["cut", "size"])
def test_frames_before_a_bad_one_are_kept(bad, smooth, tmp_path, loads, capsys):
    folder = frames(tmp_path / "film", 3)
    if bad == "cut":
        (folder / "f2.png").write_bytes((folder / "f2.png").read_bytes()[:60])
    else:
        cv2.imwrite(str(folder / "f2.png"), np.zeros((20, 20, 3), np.uint8))
    out = tmp_path / "out"
    words = ["reconstruct", str(folder), "--sequence", "--out", str(out), "--save", "json", "--smooth", smooth]
    assert cli.main(words) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "f2.png" in line and line.endswith("the frames before it are written")
    assert len((out / "film.jsonl").read_text().splitlines()) == 2
    for number in range(3):
        (folder / f"f{number}.png").write_bytes(b"none")
    assert cli.main(["reconstruct", str(folder), "--sequence", "--out", str(tmp_path / "o"), "--save", "json"]) == 1
    assert not any((tmp_path / "o").glob("*"))


def test_a_full_disk_under_a_film_is_told_with_its_name(tmp_path, loads, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(moving_files.MovingFiles, "_write", full)
    words = ["reconstruct", str(frames(tmp_path / "film", 2)), "--sequence", "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--save", "json"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{tmp_path / 'out' / 'film'}.* cannot be written (No space left on device)" in line


def test_standard_input_that_is_closed(tmp_path, loads, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert cli.main(["reconstruct", "-", "--out", str(tmp_path)]) == 1
    assert "standard input is closed" in capsys.readouterr().err


def test_boxes_of_windows_and_of_null(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.jpg": None, "b.jpg": {"right": [1, 2, 30, 40]}}), encoding="utf-8-sig")
    assert list(read_boxes(path)) == ["b.jpg"]
    path.write_text(json.dumps({"b.jpg": {"right": [1, 2, 0.5, 40]}}))
    with pytest.raises(ValueError, match="a pixel wide and high at least"):
        read_boxes(path)


@pytest.mark.parametrize(
    "K", [(1e300, 500, 0, 0), (0, 500, 0, 0), (500, 500, float("nan"), 0), (5, 5, float("inf"), 0)]
)
def test_cameras_that_are_none_are_refused_in_python(K):
    with pytest.raises(ValueError, match="a camera has focal lengths above zero and nothing over"):
        lgnet.Camera(*K)


def test_weights_in_this_folder_are_named_without_a_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="mine is damaged, or not a safetensors file"):
        lgnet.load("mine", device="cpu")


def test_meshes_of_an_earlier_fit_do_not_stay(tmp_path):
    joints = lgnet.load(device="cpu")(str(EXAMPLE)).hands[0].joints3d.tolist()
    points, out = tmp_path / "mine.json", tmp_path / "out.json"
    points.write_text(
        json.dumps({"hands": [{"side": side, "joints3d": joints} for side in ("right", "right", "left")]})
    )
    assert cli.main(["fit", str(points), "--out", str(out)]) == 0
    (tmp_path / "out_left_of_mine.obj").write_text("v 0 0 0\n")
    assert cli.main(["fit", str(points), "--out", str(tmp_path / "out_right.json")]) == 0  # whose meshes are not out's
    points.write_text(json.dumps({"hands": [{"side": "right", "joints3d": joints}]}))
    assert cli.main(["fit", str(points), "--out", str(out)]) == 0
    theirs = [f"out_right_{side}.obj" for side in ("left", "right", "right2")]
    assert sorted(p.name for p in tmp_path.glob("*.obj")) == ["out_left_of_mine.obj", "out_right.obj", *theirs]
    assert cli.main(["fit", str(points), "--out", str(tmp_path / "x.obj")]) == 2


def test_the_version_is_told(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"lgnet {lgnet.__version__}\n"


def test_boxes_far_larger_than_the_picture_are_none(tmp_path, loads, capsys):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({EXAMPLE.name: {"right": [0, 0, 50_000, 20]}}))
    words = ["reconstruct", str(EXAMPLE), "--boxes", str(boxes), "--out", str(tmp_path / "out"), "--save", "json"]
    assert cli.main(words) == 1
    assert "is more than 10 times the picture" in capsys.readouterr().err


def test_one_key_point_far_outside_does_not_lose_the_hand(tmp_path):
    rows = [[200 + 5 * i, 240 + 3 * i, 1] for i in range(20)] + [[9000, 240, 1]]
    points = tmp_path / "points.json"
    points.write_text(json.dumps({EXAMPLE.name: {"right": rows}}))
    words = [
        "reconstruct",
        str(EXAMPLE),
        "--evidence",
        str(points),
        "--out",
        str(tmp_path),
        "--save",
        "json",
        "--tta",
        "1",
    ]
    assert cli.main([*words, "--device", "cpu"]) == 0


def test_demo_is_for_pictures(tmp_path, capsys):
    assert cli.main(["demo", str(tmp_path / "film.mp4")]) == 2
    assert "lgnet demo is for pictures" in capsys.readouterr().err
