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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import cv2
from rich.progress import Progress

from . import visualize
from .evidence import Source, guide
from .follow import Following, follow, led
from .gestures import Gesture, State, recognise
from .hands import Camera
from .image_io import Item
from .reconstruct import Predictor, moving_names
from .smooth import How, Moment, smooth
from .video import Film, open_film, open_writer, stop_asked, write_frame


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
            frames = _steps(model, item, film, camera, asked, evidence)
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


def _steps(
    model: Predictor,
    item: Item,
    film: Film,
    camera: Camera | None,
    asked: threading.Event,
    evidence: Source | None,
) -> Iterator[Moment]:
    """The hands of each frame, followed, and aligned to the evidence if there is any; ends early when `asked`."""
    state = Following()
    for number, frame in enumerate(film.frames):
        step = follow(model, state, frame.image, camera, item.path)
        if evidence is not None:
            step = led(step, guide(model, step.hands, frame.image, evidence(frame.image, item, number)))
        state = step.state
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
        writer: cv2.VideoWriter | None = None
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
                if writer is None:
                    writer = open_writer(aside[0], film.rate, moment.image)
                    stack.callback(writer.release)
                write_frame(writer, visualize.overlay(moment.image, moment.hands))
            tell(index + 1, f"{(index + 1) / max(time.monotonic() - begun, 1e-9):.1f} frames/s")
