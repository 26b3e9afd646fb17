"""A video, camera or folder of frames -> `<stem>.mp4` (overlay), `<stem>.jsonl` and more: read, follow, smooth, write.

All files are written aside and renamed at the end. Ctrl-C, SIGTERM and a closed terminal end the work after the frame at
hand and leave them complete up to there. A line goes out to the JSONL with each frame, so even a killed program leaves its
lines, in `<stem>.part.jsonl`; an MP4 that was not ended cannot be played.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from rich.progress import Progress

from .ending import stop_asked, unbroken
from .evidence import Source, guide
from .follow import Following, follow_some, led
from .gestures import Gesture
from .hands import Camera
from .image_io import ImageError, Item
from .moving_files import MovingFiles, one_writer
from .outputs import MOVING_KINDS
from .predict import Model
from .predictor import Predictor
from .reconstruct import tell_if_unlike
from .smooth import How, Moment, smooth
from .video import Film, Frame, film_camera, open_film

TOGETHER = 4
"""Most frames of a file that go through the network at once."""


def reconstruct_moving(
    model: Predictor,
    item: Item,
    stem: Path,
    kinds: Sequence[str],
    camera: Camera | None,
    most: int | None,
    how: How,
    gestures: Sequence[Gesture],
    progress: Progress,
    evidence: Source | None = None,
) -> list[Path]:
    """The hands of every frame, of a camera until it ends or Ctrl-C is pressed; what was written.

    Raises:
        ValueError: it cannot be read, or nothing that is made of a video is to be saved; or another process writes files of
            the same names. Where a later picture of a folder of frames, or a later frame's evidence, cannot be read, the frames
            before it are written.
        KeyboardInterrupt: Ctrl-C was pressed in what is not a camera; the frames done until then are written.
    """
    kinds = [kind for kind in kinds if kind in MOVING_KINDS]
    if not kinds:
        raise ValueError(f"of a video only {', '.join(MOVING_KINDS)} can be saved; name one of them in --save")
    camera = camera or film_camera(item)
    with stop_asked() as asked, open_film(item, most) as film, one_writer(stem):
        files = MovingFiles(stem, kinds, film.rate, gestures, item.kind == "camera")
        bar = progress.add_task(item.stem, total=film.total or most, speed="")
        done = interrupted = False
        broken: list[ValueError] = []  # a picture of a folder of frames, evidence: what came before it is done
        try:
            frames = _steps(model, item, film, camera, asked, evidence, broken)
            count, last = _write(
                smooth(frames, how), files, lambda n, speed: progress.update(bar, completed=n, speed=speed)
            )
            done = True
            short = film.shortfall(count, last)
            if short is not None and not broken and not asked.is_set():
                print(f"lgnet: {item.shown}: {short}", file=sys.stderr)
        except KeyboardInterrupt:
            interrupted = done = True
        finally:
            progress.remove_task(bar)
            if not done:
                files.discard()
        interrupted = interrupted or asked.is_set()
        with unbroken():
            written = files.keep()
    if broken:
        kind = ImageError if isinstance(broken[0], ImageError) else ValueError  # others may want more than a sentence
        raise kind(f"{broken[0]}; the frames before it are written") from broken[0]
    if interrupted and item.kind != "camera":
        for path in written:
            print(f"lgnet: stopped; {path} holds the frames done so far", file=sys.stderr)
        raise KeyboardInterrupt
    return written


def _steps(
    model: Predictor,
    item: Item,
    film: Film,
    camera: Camera | None,
    asked: threading.Event,
    evidence: Source | None,
    broken: list[ValueError],
) -> Iterator[Moment]:
    """The hands of each frame, followed, and aligned to the evidence if there is any; ends early when `asked`, and where a later
    frame, or what is evidence of it, cannot be read, which `broken` then holds.

    Frames of a file go through the network together, unless evidence may change where the next is looked at.
    """
    state, waiting, together = Following(), deque[Frame](), 1
    once = replace(model, tta=1) if isinstance(model, Model) else model  # hands that are followed get one crop
    alone = item.kind == "camera" or evidence is not None
    come = done = False
    while True:
        try:
            waiting.extend(islice(film.frames, max(together - len(waiting), 0)))
        except ImageError as error:
            if not (come or waiting):
                raise
            broken.append(error)
        if not waiting:
            return
        if camera is not None and not come:
            tell_if_unlike(camera, waiting[0].image.shape[1], waiting[0].image.shape[0])
        come = True
        images = [frame.image for frame in islice(waiting, together)]
        steps = follow_some(model, state, images, camera, item.shown)
        if evidence is not None:
            try:
                points = evidence(images[0], item, waiting[0].number)
                steps = [led(steps[0], guide(once, steps[0].hands, images[0], points))]
            except ValueError as error:
                if not done:
                    raise
                broken.append(error)
                return
        state = steps[-1].state
        together = min(2 * together, TOGETHER) if len(steps) == len(images) and not alone else 1
        for step in steps:
            frame, done = waiting.popleft(), True
            yield Moment(frame.time, step.hands, step.fresh, frame.image)
        if asked.is_set():
            return


def _write(moments: Iterator[Moment], files: MovingFiles, tell: Callable[[int, str], None]) -> tuple[int, float]:
    """Write the moments as they come; how many there were, and the last one's time. `tell` is given the frames done and the
    speed in words.

    Whatever happens, the files are closed, so that they can be read up to there.
    """
    begun, count, last = time.monotonic(), 0, 0.0
    try:
        for index, moment in enumerate(moments):
            files.add(index, moment)
            count, last = index + 1, moment.time
            tell(count, f"{count / max(time.monotonic() - begun, 1e-9):.1f} frames/s")
    finally:
        files.close()
    return count, last
