"""A camera's frames, one after another: hands followed and smoothed as in a video, gestures recognised."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ..follow import Following, follow
from ..gestures import PAPER, State, recognise
from ..image_io import ImageError, read_image
from ..smooth import Moment, smooth
from .desk import BusyError, Desk
from .picture import describe

MOST_BYTES, MOST_PIXELS = 4_000_000, 4_000_000
"""Of one frame."""
KEPT = 4
"""Cameras (pages) at a time; the one that was silent longest is forgotten, and begins anew when it speaks."""


@dataclass
class Session:
    """What is kept from one frame of a camera to the next."""

    following: Following = field(default_factory=Following)
    gestures: State = field(default_factory=dict)
    waiting: list[Moment] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.smoothed = smooth(self._moments(), "live")

    def _moments(self) -> Iterator[Moment]:
        """The frame that was just put; the live filter keeps step, a frame in, a frame out."""
        while True:
            yield self.waiting.pop()


def see(desk: Desk, session: str, content: bytes) -> dict[str, Any]:
    """The hands of the camera's next frame.

    Args:
        desk: the server's.
        session: the camera's name, chosen by its page.
        content: the frame as a picture file.

    Raises:
        ValueError: it is no picture, or too large.
        BusyError: too many wait.
    """
    came = time.monotonic()
    try:
        image = read_image(content, MOST_PIXELS).pixels
    except ImageError as error:
        raise ValueError(str(error).replace("standard input", "this frame")) from error
    with desk.lock:
        state = desk.live.pop(session, None) or Session()
        desk.live[session] = state
        while len(desk.live) > KEPT:
            desk.live.popitem(last=False)
    try:
        with state.lock:
            with desk.turns.take():
                step = follow(desk.model, state.following, image, file="camera")
            state.following = step.state
            state.waiting.append(Moment(came, step.hands, step.fresh))
            moment = next(state.smoothed)
            state.gestures, events = recognise(PAPER, state.gestures, moment.time, moment.hands, moment.fresh)
    except BusyError:
        raise
    except Exception:
        desk.live.pop(session, None)  # a filter that failed is spent
        raise
    seconds = time.monotonic() - came
    return {"result": describe(moment.hands), "events": [asdict(event) for event in events], "seconds": seconds}
