"""Videos, cameras, network streams and folders of frames as frames one after another; and MP4 files written.

Frames are decoded ahead by a thread into a queue of a few, so memory does not grow with length. Pictures come upright:
OpenCV turns those that the container says were filmed sideways. Sound is not read, and so not written.
"""

from __future__ import annotations

import contextlib
import math
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .hands import Camera
from .image_io import IMAGE_SUFFIXES, ImageError, Item, camera_from_exif, read_image

AHEAD = 8
"""Frames that are read ahead of a file; of a camera only the newest is kept, so that results do not fall behind."""
USUAL_RATE = 30.0
"""Frames a second of what does not say: folders of frames, some cameras."""
MOST_RATE = 240.0
"""Frames a second that a container is believed to have: of WebM from a browser, which states none, OpenCV makes 1000."""
TIMED = 60
"""Frames whose times tell the rate where the container does not."""
MOST_LOST = 300
"""Frames of a file that may fail to be read; then no more are tried."""
PATIENCE = 10_000
"""Milliseconds to wait for a network stream."""
MOST_OF_A_FILM = 0.95
"""Of the frames that a container states: fewer are remarked upon."""
MATROSKA = b"\x1aE\xdf\xa3"
"""How MKV and WebM begin, which do not count their frames."""
PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\x00", b"MM\x00*")
"""How pictures begin, of which OpenCV would make films of one frame; that of a WebP is in the twelfth byte."""


@dataclass(frozen=True)
class Frame:
    """One frame, upright."""

    index: int  # from 0, of those given out
    time: float  # seconds after the first frame, by the container; of a camera by the clock
    image: np.ndarray  # (H, W, 3) uint8 RGB
    number: int  # from 0, of those that came, the ones passed over too
    read: float  # seconds of `time.monotonic` when it had come; in real time, when it was due


@dataclass(frozen=True)
class Film:
    """What is known of a video before it is read, and its frames, to be gone through once."""

    rate: float  # frames a second
    total: int | None  # frames that a file says it has, at most those wanted; of a camera those wanted; None: not known
    frames: Iterator[Frame]
    guessed: bool = False  # the container tells only its length in time, which that total is made of
    camera: bool = False  # or a stream: how many frames there will be nobody knows

    def shortfall(self, count: int, last: float) -> str | None:
        """What is to be said of a film of which `count` frames came, the last at `last` seconds, though nobody asked for an end;
        None: nothing.
        """
        if self.camera:
            if self.total is not None and count >= self.total:
                return None
            return f"no more pictures came after {count}; a camera may be unplugged, a stream at its end"
        reached = max(count, last * self.rate + 1) if self.guessed else count
        if self.total is None or reached >= MOST_OF_A_FILM * self.total - 2:
            return None
        return f"only {count} of {self.total} frames could be read; is it damaged or cut off?"


@contextmanager
def open_film(item: Item, most: int | None = None, ahead: int = AHEAD, realtime: bool = False) -> Iterator[Film]:
    """The frames of a video, camera, stream or folder of frames, read ahead until the end of the `with`.

    Args:
        item: of kind "video", "camera" or "frames".
        most: at most this many frames.
        ahead: how many to read ahead of a file.
        realtime: let a file's frames come at their times, and keep only the newest, as if it were a camera.

    Raises:
        ImageError: it is missing, empty, no video, or not one frame can be read; from `frames`: a picture of a folder
            of frames cannot be read or is of another size than the first.
    """
    if item.kind == "frames":
        files = sequence_files(Path(item.path))
        rate, total = USUAL_RATE, len(files)
        source, close = _pictures(files), None
        guessed = False
    else:
        capture = _open_capture(item)
        guessed = item.kind == "video" and _head(item.path).startswith(MATROSKA)
        said = capture.get(cv2.CAP_PROP_FPS)
        rate = said if math.isfinite(said) and 0.01 <= said <= MOST_RATE else _rate_by_times(item)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        total = int(count) if item.kind == "video" and math.isfinite(count) and count > 0 else None
        if item.kind == "camera":
            total = most
        source, close = _captured(capture, item, rate), capture.release
    if total is not None and most is not None:
        total = min(total, most)
    live = item.kind == "camera" or realtime
    stop, frames = threading.Event(), queue.Queue(maxsize=1 if live else max(1, ahead))
    if realtime and item.kind != "camera":
        source = _at_their_times(source, stop)
    reader = threading.Thread(target=_read, args=(source, frames, stop, live, most, close), daemon=True)
    reader.start()
    try:
        yield Film(rate, total, _queued(frames, item.shown, most), guessed, item.kind == "camera")
    finally:
        stop.set()
        reader.join(
            timeout=5
        )  # it ends after the frame it is at; a camera that hangs is left to the end of the program


def film_camera(item: Item) -> Camera | None:
    """The camera of a folder of frames by its first picture's EXIF; None where that or a video says nothing of it.

    Raises:
        ImageError: the folder is missing or has no picture that can be read.
    """
    return camera_from_exif(read_image(sequence_files(Path(item.path))[0])) if item.kind == "frames" else None


def sequence_files(folder: Path) -> list[Path]:
    """The pictures right in a folder, in the order of the numbers in their names: `f2.png` before `f10.png`.

    Raises:
        ImageError: there is none, or the folder is missing.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} does not exist; check the name")
    try:
        files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".")]
    except OSError as error:
        raise ImageError(f"{folder} cannot be read ({error.strerror}); check its permissions and its disk") from error
    if not files:
        raise ImageError(f"{folder} is a folder without any picture; give one with the frames in it")
    return sorted(files, key=lambda f: [int(p) if n % 2 else p for n, p in enumerate(re.split(r"([0-9]+)", f.name))])


def _pictures(files: list[Path]) -> Iterator[tuple[float, np.ndarray]]:
    size = None
    for index, file in enumerate(files):
        image = read_image(file).pixels
        size = size or image.shape
        if image.shape != size:
            raise ImageError(
                f"{file} has {image.shape[1]} x {image.shape[0]} pixels but the frames before it {size[1]} x {size[0]}; "
                f"give frames of one size"
            )
        yield index / USUAL_RATE, image


def _captured(capture: cv2.VideoCapture, item: Item, rate: float) -> Iterator[tuple[float, np.ndarray]]:
    """Seconds and RGB frames. Where a container's times do not rise, frames follow one another evenly until they do again; what
    cannot be read of a file is passed over, up to the number of frames that it states.
    """
    begun, first, last = None, None, -1.0
    stated, read, lost = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0, 0
    while True:
        ok, image = capture.read()
        if not ok:
            lost += 1
            if item.kind != "video" or lost > MOST_LOST or not read + lost <= stated:
                return
            continue
        read += 1
        if item.kind == "camera":
            begun = time.monotonic() if begun is None else begun
            moment = time.monotonic() - begun
        else:
            moment = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            first = moment if first is None else first
            moment -= first
            if not math.isfinite(moment) or moment <= last:
                moment = max(0.0, last + 1 / rate)
        last = moment
        yield moment, np.ascontiguousarray(image[..., ::-1])


def _rate_by_times(item: Item) -> float:
    """Frames a second by the median step of a file's first frames, `USUAL_RATE` where they tell none."""
    if item.kind != "video":
        return USUAL_RATE
    capture, times = cv2.VideoCapture(item.path), []
    while len(times) < TIMED and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return min(1 / step, 1000.0) if math.isfinite(step) and step > 0 else USUAL_RATE


def _at_their_times(
    source: Iterator[tuple[float, np.ndarray]], stop: threading.Event
) -> Iterator[tuple[float, np.ndarray]]:
    """Each as late after the first one as its time says, or at once where that has passed."""
    begun = None
    for moment, image in source:
        begun = time.monotonic() - moment if begun is None else begun
        if stop.wait(max(begun + moment - time.monotonic(), 0)):
            return
        yield moment, image


def _read(source: Iterator[tuple[float, np.ndarray]], frames: queue.Queue, stop, live: bool, most, close) -> None:
    """Runs in the thread: puts frames, at last None or what was raised; gives up when `stop` is set."""
    end: Exception | None = None
    try:
        for index, (moment, image) in enumerate(source):
            frame = Frame(index, round(moment, 6), image, index, time.monotonic())
            if stop.is_set() or not _put(frames, frame, stop, drop=live):
                return
            if most is not None and index + 1 >= most and not live:  # of a camera some are passed over
                break
    except Exception as error:  # told to the one who waits for the frame
        end = error
    finally:
        if close is not None:
            close()
    _put(frames, end, stop, drop=False)


def _put(frames: queue.Queue, what: Any, stop: threading.Event, drop: bool) -> bool:
    """Whether it was put; with `drop` the frame that nobody took yet makes room."""
    while not stop.is_set():
        try:
            frames.put(what, timeout=0 if drop else 0.1, block=not drop)
            return True
        except queue.Full:
            if drop:
                with contextlib.suppress(queue.Empty):
                    frames.get_nowait()
    return False


def _queued(frames: queue.Queue, name: str, most: int | None) -> Iterator[Frame]:
    count = 0
    while most is None or count < most:
        got = frames.get()
        if isinstance(got, Exception):
            raise got
        if got is None:
            break
        yield replace(got, index=count)
        count += 1
    if not count:
        raise ImageError(f"{name}: not one frame could be read from it; give an intact video, as MP4 (H.264)")


def _check_name(path: str | Path) -> None:
    """OpenCV ends the whole program at a name that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ImageError(f"{path}: a video's name and folders have to be UTF-8; rename them") from error


def _head(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(12)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); check its permissions and its disk") from error


def _open_capture(item: Item) -> cv2.VideoCapture:
    _check_name(item.path)
    if item.kind == "camera" and item.path.startswith("camera:"):
        capture = cv2.VideoCapture(int(item.path.removeprefix("camera:")))
        missing = "this camera cannot be opened; check its number and that nothing else uses it"
    elif item.kind == "camera":
        waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE, cv2.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE]
        capture = cv2.VideoCapture(item.path, cv2.CAP_FFMPEG, waits)
        missing = "this stream cannot be opened; check its address and that it is running"
    else:
        path = Path(item.path)
        if not path.is_file():
            raise ImageError(f"{path} does not exist; check the name")
        if not path.stat().st_size:
            raise ImageError(f"{path} is empty; give the video itself")
        head = _head(path)
        if head.startswith(PICTURES) or head[8:12] == b"WEBP":
            raise ImageError(f"{path} is a picture, not a video; give it an ending of pictures")
        capture = cv2.VideoCapture(item.path)
        missing = "this is not a video that can be read; give it as MP4 (H.264)"
    if not capture.isOpened():
        raise ImageError(f"{item.shown}: {missing}")
    return capture


@contextmanager
def film_writer(path: Path, rate: float, first: np.ndarray) -> Iterator[Callable[[np.ndarray], None]]:
    """What adds frames (H, W, 3) uint8 RGB to an MP4 (MPEG-4 part 2), or by its suffix a WebM (VP8, which browsers play; six
    times the work), of the size of the first; of an odd width or height the last line is left out.

    Raises:
        ValueError: it cannot be written here, or, at the end, not all of it was.
    """
    _check_name(path)
    height, width = first.shape[:2]
    code = "VP80" if path.suffix == ".webm" else "mp4v"
    # MPEG-4 counts time in at most 65535 parts of a second, and 23.976 frames want three digits
    rate = round(rate, 3 if rate < 65 else 2 if rate < 600 else 0)
    writer, count = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (width, height)), 0
    if not writer.isOpened():
        raise ValueError(f"the film {path} cannot be written here; leave overlay out of --save")

    def add(image: np.ndarray) -> None:
        nonlocal count
        writer.write(np.ascontiguousarray(image[..., ::-1]))
        count += 1

    try:
        yield add
    finally:
        writer.release()
    back = cv2.VideoCapture(str(path))  # OpenCV says nothing of a full disk, but then the last frame cannot be read
    if count and not (back.set(cv2.CAP_PROP_POS_FRAMES, count - 1) and back.grab()):
        raise ValueError(f"the film {path} could not be written to its end; is the disk full?")
