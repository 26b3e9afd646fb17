"""Videos for the page: one at a time in a thread of its own, its frames taking turns with pictures and cameras."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import visualize
from ..coding import jpeg
from ..follow import Following, follow
from ..image_io import Item
from ..smooth import How, Moment, smooth
from ..video import Film, film_writer, open_film
from .desk import BusyError, Desk, Kept, clean_name
from .picture import reduced

MOST_BYTES, MOST_PIXELS, MOST_FRAMES = 500_000_000, 9_000_000, 9000
"""Of an upload; of one frame (4K is 8.3 million); of a video: what comes after is left out, and the page says so."""
MOST_WAITING = 3
"""Videos that wait or are worked on; one more is refused."""
SHOWN = 640
"""Pixels: the longer side of the WebM that the page plays. The MP4 to download has the video's own size."""
PREVIEW_EVERY = 0.3
"""Seconds between two pictures of how far it is."""


@dataclass
class Job:
    """How far a video is. Written by its thread, read by the server's."""

    kept: Kept
    name: str
    how: How
    state: str = "waiting"  # then running; at last done, stopped or failed
    frames: int = 0
    total: int | None = None
    begun: float = 0.0
    seconds: float = 0.0
    hands: list[int] = field(default_factory=lambda: [0, 0])  # frames with a right, a left hand
    cut: bool = False  # the video has more frames than are taken
    note: str = ""  # what is to be said of the video besides
    error: str = ""
    preview: bytes = b""  # JPEG
    asked: threading.Event = field(default_factory=threading.Event)  # to stop

    def says(self) -> dict[str, Any]:
        """What the page is told."""
        seconds = time.monotonic() - self.begun if self.state == "running" else self.seconds
        rate = self.frames / seconds if seconds > 0 else 0.0
        left = (self.total - self.frames) / rate if self.total and rate and self.state == "running" else None
        files = [name for name, make in self.kept.files.items() if make is None]
        return {
            "id": self.kept.id,
            "name": self.name,
            "state": self.state,
            "frames": self.frames,
            "total": self.total,
            "rate": rate,
            "left": left if left is None else max(left, 0.0),
            "hands": self.hands,
            "cut": self.cut,
            "note": self.note,
            "error": self.error,
            "preview": self.frames if self.preview else 0,
            "files": [{"name": name, "url": f"/files/{self.kept.id}/{name}"} for name in files],
        }


def start(desk: Desk, kept: Kept, name: str, how: How) -> Job:
    """Begin with a video that lies as `upload` in the result's folder.

    Raises:
        BusyError: as many as may wait do.
    """
    check_room(desk)
    kept.what = job = Job(kept, name, how)
    threading.Thread(target=_run, args=(desk, job), daemon=True).start()
    return job


def stop(job: Job) -> None:
    """End it after the frame at hand, or at once where it waits for another."""
    job.asked.set()
    if job.state == "waiting":
        job.state = "stopped"


def check_room(desk: Desk) -> None:
    """Whether another video may wait; else a `BusyError`. To be asked before an upload is read."""
    jobs = [kept.what for kept in list(desk.videos.kept.values()) if kept.what is not None]
    if sum(job.state in ("waiting", "running") for job in jobs) >= MOST_WAITING:
        raise BusyError("lgnet is busy with earlier videos; wait until one is done, or stop one")


def _run(desk: Desk, job: Job) -> None:
    upload = job.kept.folder / "upload"
    with job.kept.lock, desk.films.take(always=True, unless=job.asked):
        job.begun = time.monotonic()
        if not job.asked.is_set():
            job.state = "running"
            try:
                _work(desk, job)
                state = "stopped" if job.asked.is_set() else "done"
            except Exception as error:  # whatever it is, the page is told
                job.error = " ".join(str(error).replace(str(upload), job.name).split()) or type(error).__name__
                state = "failed"
            job.seconds = time.monotonic() - job.begun
            job.state = state
        with suppress(OSError):  # a reader that hangs may have it open, which Windows minds
            upload.unlink(missing_ok=True)
    desk.videos.settle(job.kept)


def _work(desk: Desk, job: Job) -> None:
    folder, stem = job.kept.folder, clean_name(job.name, "video")
    names = {kind: f"{stem}.{kind}" for kind in ("webm", "mp4", "jsonl")}
    with ExitStack() as stack:
        film = stack.enter_context(open_film(Item(str(folder / "upload"), stem, "video"), MOST_FRAMES + 1))
        job.total = film.total and min(film.total, MOST_FRAMES)
        text = stack.enter_context((folder / names["jsonl"]).open("w", encoding="utf-8"))
        writers: list[Callable[[np.ndarray], None]] = []
        shown = 0.0
        for index, moment in enumerate(smooth(_steps(desk, job, film), job.how)):
            assert moment.image is not None
            text.write(
                json.dumps({"frame": index, "time": moment.time, **moment.hands.to_dict()}, allow_nan=False) + "\n"
            )
            small, hands = reduced(moment.image, moment.hands, SHOWN)
            pictures = [visualize.overlay(small, hands), visualize.overlay(moment.image, moment.hands)]
            if not writers:
                for kind, picture in zip(("webm", "mp4"), pictures):
                    writers.append(stack.enter_context(film_writer(folder / names[kind], film.rate, picture)))
            for write, picture in zip(writers, pictures):
                write(picture)
            job.frames = index + 1
            for side, hand in enumerate((moment.hands.right, moment.hands.left)):
                job.hands[side] += hand is not None
            if time.monotonic() - shown > PREVIEW_EVERY:
                job.preview, shown = jpeg(pictures[0]), time.monotonic()
        if job.frames and not job.cut and not job.asked.is_set():
            job.note = film.shortfall(job.frames, moment.time) or ""
    job.kept.files.update({names[kind]: None for kind in ("webm", "mp4", "jsonl") if (folder / names[kind]).exists()})


def _steps(desk: Desk, job: Job, film: Film):
    state = Following()
    for frame in film.frames:
        if job.asked.is_set():
            return
        if frame.index >= MOST_FRAMES:
            job.cut = True
            return
        _check(frame.image)
        with desk.turns.take(always=True):
            step = follow(desk.model, state, frame.image, None, job.name)
        state = step.state
        yield Moment(frame.time, step.hands, step.fresh, frame.image)


def _check(image: np.ndarray) -> None:
    height, width = image.shape[:2]
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"this video has {width} x {height} pixels, more than the {MOST_PIXELS // 10**6} million that this page takes; "
            f"give a smaller copy, or use lgnet reconstruct"
        )


def store(source: Any, length: int, path: Path) -> None:
    """Copy an upload of so many bytes to a file, piece by piece.

    Raises:
        ValueError: it ends early.
    """
    with path.open("wb") as file:
        while length:
            piece = source.read(min(length, 1 << 20))
            if not piece:
                raise ValueError("the upload was cut off; try again")
            file.write(piece)
            length -= len(piece)
