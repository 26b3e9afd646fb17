"""A video, camera or folder of frames -> `<stem>.mp4` (overlay) and `<stem>.jsonl`: read, follow, smooth, write.

Both files are written aside and renamed at the end. Ctrl-C and SIGTERM end the work after the frame at hand and leave
both complete up to there. A line goes out to the file with each frame, so even a killed program leaves its lines, in
`<stem>.part.jsonl`; an MP4 that was not ended cannot be played.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from rich.progress import Progress

from . import visualize
from .follow import Following, follow_some
from .gestures import Gesture, State, recognise
from .hands import Camera, TwoHands
from .image_io import Item
from .reconstruct import Predictor, moving_names
from .smooth import How, Moment, smooth
from .video import Film, Frame, open_film, open_writer, stop_asked, write_frame

TOGETHER = 4
"""Most frames of a file that go through the network at once, and that wait to be drawn."""


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
) -> list[Path]:
    """The hands of every frame, of a camera until it ends or Ctrl-C is pressed; what was written.

    Raises:
        ValueError: it cannot be read, or nothing that is made of a video is to be saved.
        KeyboardInterrupt: Ctrl-C was pressed in what is not a camera; the frames done until then are written.
    """
    if not {"overlay", "json"} & set(kinds):
        raise ValueError("of a video only overlay and json can be saved; name one of them in --save")
    aside = [path.with_name(f"{path.stem}.part{path.suffix}") for path in moving_names(stem)]
    with stop_asked() as asked, open_film(item, most) as film:
        stem.parent.mkdir(parents=True, exist_ok=True)
        bar = progress.add_task(item.stem, total=film.total, speed="")
        done = interrupted = False
        try:
            frames = _steps(model, item, film, camera, asked)
            _write(
                smooth(frames, how),
                film,
                aside,
                kinds,
                gestures,
                lambda n, speed: progress.update(bar, completed=n, speed=speed),
            )
            done = True
        except KeyboardInterrupt:
            interrupted = done = True
        finally:
            progress.remove_task(bar)
            if not done:
                for path in aside:
                    path.unlink(missing_ok=True)
        interrupted = interrupted or asked.is_set()
    written = []
    for kind, path, end in zip(("overlay", "json"), aside, moving_names(stem)):
        if kind in kinds and path.exists():
            written.append(path.replace(end))
    if interrupted and item.kind != "camera":
        for path in written:
            print(f"lgnet: stopped; {path} holds the frames done so far", file=sys.stderr)
        raise KeyboardInterrupt
    return written


def _steps(model: Predictor, item: Item, film: Film, camera: Camera | None, asked: threading.Event) -> Iterator[Moment]:
    """The hands of each frame, followed; ends early when `asked`. Frames of a file go through the network together."""
    state, waiting, together = Following(), deque[Frame](), 1
    while True:
        waiting.extend(islice(film.frames, max(together - len(waiting), 0)))
        if not waiting:
            return
        images = [frame.image for frame in islice(waiting, together)]
        steps = follow_some(model, state, images, camera, item.path)
        state = steps[-1].state
        calm = len(steps) == len(images) and item.kind != "camera"
        together = min(2 * together, TOGETHER) if calm else 1
        for step in steps:
            frame = waiting.popleft()
            yield Moment(frame.time, step.hands, step.fresh, frame.image)
        if asked.is_set():
            return


def _write(
    moments: Iterator[Moment],
    film: Film,
    aside: Sequence[Path],
    kinds: Sequence[str],
    gestures: Sequence[Gesture],
    tell: Callable[[int, str], None],
) -> None:
    """Write the moments as they come; `tell` is given the frames done and the speed in words.

    Whatever happens, the files are closed, so that they can be read up to there.
    """
    begun = time.monotonic()
    seen: State = {}
    with ExitStack() as stack:
        draw: Callable[[np.ndarray, TwoHands], None] | None = None
        text: TextIO | None = None
        if "json" in kinds:
            text = stack.enter_context(aside[1].open("w", encoding="utf-8"))
        for index, moment in enumerate(moments):
            if text is not None:
                line = {"frame": index, "time": moment.time, **moment.hands.to_dict()}
                if gestures:
                    seen, events = recognise(gestures, seen, moment.time, moment.hands, moment.fresh)
                    line["events"] = [asdict(event) for event in events]
                text.write(json.dumps(line, allow_nan=False) + "\n")
                text.flush()
            if "overlay" in kinds and moment.image is not None:
                draw = draw or stack.enter_context(_film(aside[0], film.rate, moment.image))
                draw(moment.image, moment.hands)
            tell(index + 1, f"{(index + 1) / max(time.monotonic() - begun, 1e-9):.1f} frames/s")


@contextmanager
def _film(path: Path, rate: float, first: np.ndarray) -> Iterator[Callable[[np.ndarray, TwoHands], None]]:
    """What takes frames and hands and draws them into an MP4, in a thread of its own, while the next are looked at.

    All taken are in the film when the `with` ends. What failed in the thread is raised from a later call, or at the end.
    """
    writer = open_writer(path, rate, first)
    drawn = deque[Future[None]]()

    def add(image: np.ndarray, hands: TwoHands) -> None:
        write_frame(writer, visualize.overlay(image, hands))

    def take(image: np.ndarray, hands: TwoHands) -> None:
        drawn.append(pool.submit(add, image, hands))
        if len(drawn) > TOGETHER:
            drawn.popleft().result()

    try:
        with ThreadPoolExecutor(1) as pool:
            yield take
        for done in drawn:
            done.result()
    finally:
        writer.release()
