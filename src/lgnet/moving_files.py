"""The files of a video: each kind of `--save` has its own, written frame by frame aside, and renamed at the end.

What is made of the whole video (animated GLB, BVH) is kept in a temporary file until then.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from filelock import FileLock, Timeout

from . import maps, visualize
from .animation import write_glb
from .aside import aside_moving
from .gestures import Gesture, State, end_all, recognise
from .hands import TwoHands
from .motion import Recorder, csv_header, csv_rows, write_bvh
from .outputs import moving_names, to_map
from .smooth import Moment
from .video import film_writer

WAITING = 4
"""Most frames that wait to be drawn."""


@contextmanager
def one_writer(stem: Path) -> Iterator[None]:
    """While these files are written, by this process alone; their folder is made if missing.

    Raises:
        ValueError: another process is at it.
        OSError: the folder cannot be written to.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}.part.lock")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        if not path.exists():
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from error
        raise ValueError(f"another lgnet is writing {stem}.*; wait for it, or choose another --out") from error
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps what is open
            path.unlink()
        lock.release()


class MovingFiles:
    """The files of one video that are being written. `close` completes them, `keep` gives them their names.

    With `live` frames come as fast as the work goes, not at `rate`: the film then shows each until the next one's time.
    """

    def __init__(
        self, stem: Path, kinds: Sequence[str], rate: float, gestures: Sequence[Gesture], live: bool = False
    ) -> None:
        self.ends = moving_names(stem, kinds)
        self._late = (*self.ends.get("glb", ()), *self.ends.get("bvh", ()))  # made of the whole video
        self.rate, self.gestures, self.kinds = rate, gestures, set(kinds)
        self.stem = stem
        self._seen: State = {}
        self._line: dict[str, Any] | None = None  # the last one, which waits: at the end its gestures end
        self._stack = ExitStack()
        self._film: Callable[[np.ndarray, TwoHands, int], None] | None = None
        self.live, self._begun, self._shown = live, 0.0, 0  # time of the film's first frame, frames in it of a live one
        self._last: tuple[np.ndarray, TwoHands] | None = None  # of a live one, not in it yet
        self._recorder: Recorder | None = None
        self._ended = False
        try:
            self._lines, self._table = self._text("json"), self._text("csv")
            if self._table is not None:
                self._table.write(csv_header())
            for end in self._late:
                aside_moving(end).unlink(missing_ok=True)  # of a run that was killed
            for kind in maps.MAPS:
                for folder in self.ends.get(kind, ()):
                    shutil.rmtree(aside_moving(folder), ignore_errors=True)
                    aside_moving(folder).mkdir()
            if {"glb", "bvh"} & self.kinds:
                self._recorder = Recorder()
                self._stack.callback(self._recorder.close)
        except BaseException:
            self.discard()
            raise

    def _text(self, kind: str) -> TextIO | None:
        if kind not in self.ends:
            return None
        return self._stack.enter_context(aside_moving(self.ends[kind][0]).open("w", encoding="utf-8"))

    def add(self, index: int, moment: Moment) -> None:
        """Write the next frame."""
        with self._named():
            self._add(index, moment)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """A full disk is told without a file's name."""
        try:
            yield
        except OSError as error:
            if error.errno is None or error.filename:
                raise
            raise OSError(error.errno, error.strerror, f"{self.stem}.*") from error

    def _add(self, index: int, moment: Moment) -> None:
        hands = moment.hands
        if self._lines is not None:
            line = {"frame": index, "time": moment.time, **hands.to_dict()}
            if self.gestures:
                self._seen, events = recognise(self.gestures, self._seen, moment.time, hands, moment.fresh)
                line["events"] = [asdict(event) for event in events]
                line, self._line = self._line, line
            self._write(line)
        if self._table is not None:
            self._table.write(csv_rows(index, moment.time, hands))
        if "overlay" in self.ends and moment.image is not None:
            if self._film is None:
                path = aside_moving(self.ends["overlay"][0])
                self._film, self._begun = self._stack.enter_context(_film(path, self.rate, moment.image)), moment.time
            if self.live:
                self._show_last(round((moment.time - self._begun) * self.rate))
                self._last = moment.image, hands
            else:
                self._film(moment.image, hands, 1)
        pictures = maps.all_maps(hands, self.kinds)
        for kind, pairs in maps.MAPS.items():
            for folder, (ending, _) in zip(self.ends.get(kind, ()), pairs):
                (aside_moving(folder) / f"{index:06d}.png").write_bytes(to_map(ending, pictures[ending]))
        if self._recorder is not None:
            self._recorder.add(moment.time, hands)

    def _show_last(self, due: int) -> None:
        """Show the picture that came last until the film has so many frames."""
        if self._film is not None and self._last is not None and due > self._shown:
            self._film(*self._last, due - self._shown)
            self._shown = due

    def _write(self, line: dict[str, Any] | None) -> None:
        if self._lines is not None and line is not None:
            self._lines.write(json.dumps(line, allow_nan=False) + "\n")
            self._lines.flush()

    def close(self) -> None:
        """End the files, so that they can be read up to the last frame; whatever happened before."""
        try:
            with self._named():
                self._end()
            self._ended = True
        finally:
            self._recorder = None
            with self._named():
                self._stack.close()

    def _end(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line["events"] += [asdict(event) for event in end_all(self._seen)]
        self._write(line)
        self._show_last(self._shown + 1)
        if self._recorder is not None and self._recorder.count:
            if "glb" in self.ends:
                write_glb(aside_moving(self.ends["glb"][0]), self._recorder)
            for side, (rest, end) in enumerate(zip(self._recorder.rests, self.ends.get("bvh", ()))):
                if rest is not None:
                    with aside_moving(end).open("w", encoding="utf-8") as file:
                        write_bvh(file, self._recorder, side, self.rate)

    def keep(self) -> list[Path]:
        """Give what there is its name; an earlier run's file goes. What was written.

        Of what is made of the whole video nothing, where `close` was broken off.
        """
        written = []
        for end in () if self._ended else self._late:
            aside_moving(end).unlink(missing_ok=True)
        for end in (end for ends in self.ends.values() for end in ends):
            part = aside_moving(end)
            if part.is_dir():
                end.mkdir(exist_ok=True)
                for old in end.glob("[0-9]" * 6 + ".png"):
                    old.unlink()
                for picture in part.iterdir():
                    picture.replace(end / picture.name)
                part.rmdir()
                written.append(end)
            elif part.exists():
                written.append(part.replace(end))
            elif end.suffix == ".bvh" and self._ended:  # of a hand that an earlier run had
                end.unlink(missing_ok=True)
        return written

    def discard(self) -> None:
        """Leave nothing behind."""
        self._recorder = None
        self._stack.close()
        for end in (end for ends in self.ends.values() for end in ends):
            if aside_moving(end).is_dir():
                shutil.rmtree(aside_moving(end))
            else:
                aside_moving(end).unlink(missing_ok=True)


@contextmanager
def _film(path: Path, rate: float, first: np.ndarray) -> Iterator[Callable[[np.ndarray, TwoHands, int], None]]:
    """What takes frames and hands and draws them into an MP4, so many times, in a thread of its own, while the next are looked
    at.

    All taken are in the film when the `with` ends. What failed in the thread is raised from a later call, or at the end.
    """
    drawn = deque[Future[None]]()

    def add(image: np.ndarray, hands: TwoHands, times: int) -> None:
        picture = visualize.overlay(image, hands)
        for _ in range(times):
            write(picture)

    def take(image: np.ndarray, hands: TwoHands, times: int) -> None:
        drawn.append(pool.submit(add, image, hands, times))
        if len(drawn) > WAITING:
            drawn.popleft().result()

    with film_writer(path, rate, first) as write:
        with ThreadPoolExecutor(1) as pool:
            yield take
        for done in drawn:
            done.result()
