"""Videos read and written: order, times, which way up, what is damaged, and what Ctrl-C leaves."""

import json
import os
import signal
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from scripted import Scripted
from test_outputs import hand

import lgnet
from lgnet import video
from lgnet.ending import unbroken
from lgnet.hands import Camera, TwoHands
from lgnet.image_io import ImageError, Item, expand_inputs
from lgnet.reconstruct import reconstruct
from lgnet.video import _captured, film_writer, open_film, sequence_files

EXAMPLE = Path(lgnet.__file__).parent / "examples" / "single.jpg"


def write_film(path: Path, frames: int, rate: float = 10, size: tuple[int, int] = (64, 48), fourcc="mp4v") -> Path:
    """Frames of a grey that rises by 10 each, brighter above than below."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), rate, size)
    for index in range(frames):
        image = np.full((size[1], size[0], 3), min(10 * index, 190), np.uint8)
        image[: size[1] // 2] += 60
        writer.write(image)
    writer.release()
    return path


def read(path: Path, most: int | None = None, ahead: int = 8):
    with open_film(Item(str(path), path.stem, "video"), most, ahead) as film:
        return film, list(film.frames)


@pytest.mark.parametrize(("name", "fourcc"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.webm", "VP80")])
def test_frames_come_in_order_with_their_times(tmp_path, name, fourcc):
    film, frames = read(write_film(tmp_path / name, 12, fourcc=fourcc), ahead=2)
    assert film.rate == pytest.approx(10)
    assert [f.index for f in frames] == list(range(12))
    np.testing.assert_allclose([f.time for f in frames], np.arange(12) / 10, atol=2e-3)
    np.testing.assert_allclose([f.image[36:, :].mean() for f in frames], 10 * np.arange(12), atol=4)
    assert len(read(tmp_path / name, most=5)[1]) == 5


@pytest.mark.parametrize(("name", "fourcc", "guessed"), [("a.mp4", "mp4v", False), ("a.webm", "VP80", True)])
def test_who_counts_frames_is_known(tmp_path, name, fourcc, guessed):
    film, frames = read(write_film(tmp_path / name, 60, fourcc=fourcc))
    assert film.guessed is guessed and len(frames) == 60
    assert film.shortfall(60, frames[-1].time) is None
    told = film.shortfall(40, frames[-1].time)  # twenty in the middle are not there
    assert told is None if guessed else "only 40 of 60 frames could be read" in str(told)
    assert "only 40 of 60" in str(film.shortfall(40, frames[39].time))


def test_a_film_that_counts_nothing_lacks_nothing(tmp_path):
    path = write_film(tmp_path / "a.webm", 12, fourcc="VP80")
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88")  # Duration, eight bytes, made a Void of as many
    path.write_bytes(content[:at] + b"\xec\x89" + bytes(9) + content[at + 11 :])
    for most in (None, 5000):
        with open_film(Item(str(path), "a", "video"), most) as film:
            frames = list(film.frames)
        assert (len(frames), film.total) == (12, None)
        assert film.shortfall(12, frames[-1].time) is None


def test_a_film_that_was_held_sideways_comes_upright(tmp_path):
    """A phone stores sideways pictures and says so in the track header's matrix: here a quarter turn clockwise."""
    path = write_film(tmp_path / "a.mp4", 3)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version 0: the matrix stands 40 bytes after the name
    one = 0x00010000
    assert struct.unpack(">9i", content[at : at + 36]) == (one, 0, 0, 0, one, 0, 0, 0, 0x40000000)
    content[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(content)
    image = read(path)[1][0].image
    assert image.shape == (64, 48, 3)
    assert image[:, 24:].mean() > image[:, :24].mean() + 40  # what was bright above is now at the right


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"\x00\x01" * 5000, "not a video that can be read"),
        (EXAMPLE.read_bytes(), "is a picture, not a video"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=said) as error:
        read(path)
    assert str(path) in str(error.value)


def test_a_film_without_its_index_cannot_be_read(tmp_path):
    path = write_film(tmp_path / "a.mp4", 20)
    path.write_bytes(path.read_bytes()[:-600])  # the index stands at the end
    with pytest.raises(ImageError, match=r"a\.mp4.*(not a video|not one frame)"):
        read(path)


def test_the_reader_waits_and_ends_with_the_film(tmp_path):
    """Nobody takes the frames: the thread stays a few ahead, and is gone after the `with`."""
    path = write_film(tmp_path / "a.mp4", 60)
    before = set(threading.enumerate())
    with open_film(Item(str(path), "a", "video"), ahead=3) as film:
        assert next(film.frames).index == 0
        (reader,) = set(threading.enumerate()) - before
    assert not reader.is_alive()


def test_a_folder_of_frames_is_one_film_in_the_order_of_the_numbers(tmp_path):
    for number in (10, 2, 1):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"f{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    assert [f.name for f in sequence_files(tmp_path)] == ["f1.png", "f2.png", "f10.png"]
    (item,) = expand_inputs([str(tmp_path)], sequence=True)
    assert (item.kind, item.stem, item.moving) == ("frames", tmp_path.name, True)
    with open_film(item) as film:
        assert film.total == 3
        frames = list(film.frames)
    assert [f.image[0, 0, 0] for f in frames] == [1, 2, 10]
    assert [f.time for f in frames] == pytest.approx([0, 1 / 30, 2 / 30], abs=1e-6)
    Image.new("RGB", (9, 6)).save(tmp_path / "f11.png")
    with pytest.raises(ImageError, match=r"f11\.png has 9 x 6 pixels"), open_film(item) as film:
        list(film.frames)


@pytest.mark.parametrize("rate", [24000 / 1001, 119.43703703703704, 90.123, 29.97002997, 7.5, 239.653, 999.9])
def test_films_of_odd_rates_are_written(tmp_path, rate):
    path = tmp_path / "a.mp4"
    with film_writer(path, rate, np.zeros((32, 32, 3), np.uint8)) as write:
        for _ in range(3):
            write(np.zeros((32, 32, 3), np.uint8))
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=3e-5 if rate < 65 else 2e-4)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_a_film_that_is_not_all_there_is_told(tmp_path, name, monkeypatch):
    """As OpenCV says nothing when the disk is full; a whole one is believed, of any kind."""
    path, image = tmp_path / name, np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    with film_writer(path, 30, image) as write:
        for _ in range(30):
            write(image)

    class Full:
        def __init__(self, *args):
            self.real = cv2.VideoWriter(*args)
            self.isOpened, self.write = self.real.isOpened, self.real.write

        def release(self):
            self.real.release()
            os.truncate(path, path.stat().st_size // 2)

    monkeypatch.setattr(video, "cv2", SimpleNamespace(**{**vars(cv2), "VideoWriter": Full}))
    Full.fourcc = cv2.VideoWriter.fourcc
    film = film_writer(path, 30, image)
    write = film.__enter__()
    for _ in range(30):
        write(image)
    with pytest.raises(ValueError, match="could not be written to its end"):
        film.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("said", "times", "rate"),
    [
        (25.0, [], 25.0),
        (1000.0, [0, 0.03, 0.07, 0.1, 0.136], 1 / 0.033),
        (1000.0, [0.0], 30.0),
        (0.0, [0, 0, 0], 30.0),
    ],
)
def test_the_rate_of_a_film_that_states_none_is_by_its_times(tmp_path, monkeypatch, said, times, rate):
    """OpenCV makes 1000 of a WebM from a browser."""
    path = tmp_path / "a.avi"
    write_film(path, 3, fourcc="MJPG")
    open_capture = cv2.VideoCapture

    class Capture(Stamped):
        def grab(self):
            self.at += 1
            return self.at < len(self.times)

        def release(self):
            pass

    class Saying:
        def __init__(self):
            self.real = open_capture(str(path))
            self.read, self.release = self.real.read, self.real.release

        def get(self, what):
            return said if what == cv2.CAP_PROP_FPS else self.real.get(what)

    monkeypatch.setattr(video, "_open_capture", lambda item: Saying())
    monkeypatch.setattr(video.cv2, "VideoCapture", lambda path: Capture(times))
    with open_film(Item(str(path), "a", "video")) as film:
        assert film.rate == pytest.approx(rate)


def test_files_get_their_names_before_a_signal_counts():
    done = []

    @unbroken()
    def rename():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        time.sleep(0.05)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        rename()
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_streams_are_named_without_passwords():
    (item,) = expand_inputs(["rtsp://me:secret@cam.local:554/live/1"])
    assert (item.kind, item.stem) == ("camera", "cam.local_554_live_1")
    assert item.shown == "rtsp://cam.local:554/live/1"
    missing = replace(item, path="rtsp://me:secret@127.0.0.1:1/none")
    with (
        pytest.raises(ImageError, match=r"rtsp://127\.0\.0\.1:1/none: this stream cannot be opened"),
        open_film(missing),
    ):
        pass


class Fake(Scripted):
    """Sees the same two hands always; `act` is called with the number of the call."""

    def __init__(self, act=lambda n: None):
        self.calls, self.act = 0, act

    def predict(self, image, camera=None, boxes=None, given=None, file=None):
        self.calls += 1
        self.act(self.calls - 1)
        height, width = image.shape[:2]
        camera = camera or Camera(60, 60, 31.5, 23.5, True)
        model = {"weights": "fake", "hand_model": "lgnet", "version": "0"}
        return TwoHands(hand("right"), hand("left"), width, height, camera, file, model)


def count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.fixture
def handled():
    """Sets what a signal does before lgnet is asked."""
    before = {}

    def handle(number, handler):
        before[number] = signal.signal(number, handler)
        return handler

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_closed_terminal_ends_nothing_that_nohup_began(tmp_path, handled):
    handled(signal.SIGHUP, signal.SIG_IGN)
    model = Fake(lambda n: os.kill(os.getpid(), signal.SIGHUP) if n == 3 else None)
    reconstruct(model, expand_inputs([str(write_film(tmp_path / "a.mp4", 8))]), tmp_path / "out", smooth="off")
    assert len((tmp_path / "out" / "a.jsonl").read_text().splitlines()) == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_a_film_and_lines_of_the_same_length(tmp_path, number, capsys, handled):
    path = write_film(tmp_path / "a.mp4", 30)
    handler = handled(number, signal.default_int_handler)
    model = Fake(lambda n: os.kill(os.getpid(), number) if n == 7 else None)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(model, expand_inputs([str(path)]), tmp_path / "out", smooth="off")
    assert signal.getsignal(number) is handler
    lines = [json.loads(line) for line in (tmp_path / "out" / "a.jsonl").read_text().splitlines()]
    assert 5 <= len(lines) <= 8 and [line["frame"] for line in lines] == list(range(len(lines)))
    assert count_frames(tmp_path / "out" / "a.mp4") == len(lines)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jsonl", "a.mp4"]
    assert "holds the frames done so far" in capsys.readouterr().err


def test_every_frame_comes_once_though_hands_are_lost_among_frames_looked_at_together(tmp_path):
    path = write_film(tmp_path / "a.mp4", 24)
    model = Fake()
    see = model.predict_same

    def lose(images, camera, boxes, given, file=None):
        out = see(images, camera, boxes, given, file)
        return [*out[:1], *(replace(hands, right=None) for hands in out[1:])]  # all but the first frame lose a hand

    model.predict_same = lose
    reconstruct(model, expand_inputs([str(path)]), tmp_path / "out", ("json", "overlay"), smooth="off")
    lines = [json.loads(line) for line in (tmp_path / "out" / "a.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(24))
    assert all(len(line["hands"]) == 2 for line in lines)  # the look after a loss finds it again
    assert count_frames(tmp_path / "out" / "a.mp4") == 24


def test_lines_are_on_the_disk_as_they_come(tmp_path):
    path, seen = write_film(tmp_path / "a.mp4", 6), []

    def look(_):
        aside = tmp_path / "out" / "a.part.jsonl"
        seen.append(len(aside.read_text().splitlines()) if aside.exists() else 0)

    reconstruct(Fake(look), expand_inputs([str(path)]), tmp_path / "out", ("json",), smooth="off")
    assert max(seen) == 1 + 2  # the frames of the first two looks, when those of the third are looked at together
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.jsonl"]


def test_an_error_leaves_nothing_and_the_next_film_is_done(tmp_path, capsys):
    for name in ("a.mp4", "b.mp4"):
        write_film(tmp_path / name, 4)

    def fail(n):
        if n == 2:
            raise ValueError("the network is tired")

    inputs = expand_inputs([str(tmp_path / name) for name in ("a.mp4", "b.mp4")])
    summary = reconstruct(Fake(fail), inputs, tmp_path / "out", smooth="off")
    assert (summary.done, summary.failed) == (1, 1)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b.jsonl", "b.mp4"]
    assert capsys.readouterr().err == f"lgnet: {tmp_path / 'a.mp4'}: the network is tired\n"


def test_late_evidence_that_fails_loses_no_frame_before_it(tmp_path, capsys):
    item = expand_inputs([str(write_film(tmp_path / "a.mp4", 12))])

    def evidence(image, item, number):
        if number == 7:
            raise ValueError("frame 7 has 20 points")
        return []

    summary = reconstruct(Fake(), item, tmp_path / "out", ("json", "overlay"), smooth="off", evidence=evidence)
    said = capsys.readouterr().err
    assert summary.failed == 1 and "frame 7 has 20 points; the frames before it are written" in said
    assert "damaged" not in said
    assert len((tmp_path / "out" / "a.jsonl").read_text().splitlines()) == count_frames(tmp_path / "out" / "a.mp4") == 7


def test_a_camera_that_breaks_off_is_told(tmp_path, monkeypatch, capsys):
    class Capture:
        left = 3

        def read(self):
            self.left -= 1
            return self.left >= 0, np.zeros((48, 64, 3), np.uint8)

        def get(self, _):
            return 0.0

        def release(self):
            pass

    monkeypatch.setattr("lgnet.video._open_capture", lambda item: Capture())
    reconstruct(Fake(), expand_inputs(["camera:0"]), tmp_path / "out", ("json",), smooth="off")
    assert "camera:0: no more pictures came after" in capsys.readouterr().err


def test_intrinsics_of_another_size_are_told_once(tmp_path, capsys):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((54, 96, 3), np.uint8))
    inputs = expand_inputs([str(tmp_path / f"{name}.png") for name in "ab"])
    reconstruct(Fake(), inputs, tmp_path / "out", ("json",), camera=Camera(100, 100, 96, 54))
    assert (
        capsys.readouterr().err.count("the middle of --intrinsics, 96 54, is far from that of pictures of 96 x 54") == 1
    )
    reconstruct(Fake(), inputs, tmp_path / "out", ("json",), camera=Camera(100, 100, 96, 54))
    assert capsys.readouterr().err.count("intrinsics") == 1  # once each run
    reconstruct(Fake(), inputs, tmp_path / "out", ("json",), camera=Camera(100, 100, 50, 25))
    assert "intrinsics" not in capsys.readouterr().err


def test_a_camera_gives_its_newest_frame(monkeypatch):
    """Frames that nobody took in time are passed over, so that results do not fall behind."""

    class Capture:
        count = 0

        def read(self):
            time.sleep(0.005)
            Capture.count += 1
            return Capture.count <= 200, np.full((4, 4, 3), min(Capture.count, 255), np.uint8)

        def get(self, _):
            return 0.0

        def release(self):
            pass

    monkeypatch.setattr("lgnet.video._open_capture", lambda item: Capture())
    with open_film(Item("camera:0", "camera0", "camera"), most=4) as film:
        shown = []
        for frame in film.frames:
            shown.append(int(frame.image[0, 0, 0]))
            time.sleep(0.1)
    assert len(shown) == 4 and film.total == 4 and film.shortfall(4, 0.0) is None
    assert str(film.shortfall(3, 0.0)).startswith("no more pictures came after 3;")
    assert min(np.diff(shown)) > 3  # some 20 come in between


def test_what_is_written_is_what_was_shown(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 0] = 200  # red
    with film_writer(tmp_path / "w.mp4", 25, image) as write:
        write(image)
    back = read(tmp_path / "w.mp4")[1][0].image
    assert back[..., 0].mean() > 150 and back[..., 2].mean() < 50


class Stamped:
    """A capture of frames that carry these seconds."""

    def __init__(self, times, stated=None):
        self.times, self.at = times, -1
        self.stated = len(times) if stated is None else stated

    def read(self):
        self.at += 1
        return self.at < len(self.times) and self.times[self.at] is not None, np.zeros((2, 2, 3), np.uint8)

    def get(self, what):
        return self.stated if what == cv2.CAP_PROP_FRAME_COUNT else self.times[self.at] * 1000


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([3, 3.1, 3.25, 3.4], [0, 0.1, 0.25, 0.4]),
        ([0, 0, 0, 0], [0, 0.1, 0.2, 0.3]),
        ([np.nan] * 3, [0, 0.1, 0.2]),
        ([0, 0.1, 2.0, 0.3, 0.4, 2.5], [0, 0.1, 2.0, 2.1, 2.2, 2.5]),  # one frame stamped too late
        ([0, 0.2, 0.1, 0.35], [0, 0.2, 0.3, 0.35]),
    ],
)
def test_times_always_rise_by_steps_that_frames_can_have(stamps, times):
    moments = [moment for moment, _ in _captured(Stamped(stamps), Item("f.mp4", "f", "video"), 10.0)]
    np.testing.assert_allclose(moments, times, atol=1e-9)


@pytest.mark.parametrize(("stated", "seen"), [(6, 3), (3, 3), (2, 1), (0, 1), (np.nan, 1), (1e9, 3)])
def test_frames_that_cannot_be_read_are_passed_over_as_far_as_the_file_says_there_are_more(stated, seen):
    capture = Stamped([0, None, None, 0.3, 0.4], stated)
    moments = [moment for moment, _ in _captured(capture, Item("f.mp4", "f", "video"), 10.0)]
    np.testing.assert_allclose(moments, [0, 0.3, 0.4][:seen])
    assert capture.at < 320
