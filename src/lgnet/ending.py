"""Ctrl-C, SIGTERM and a closed terminal: work ends in order, with its files complete, instead of at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

HANGUP = getattr(signal, "SIGHUP", None)
"""The terminal was closed, or the connection to it; Windows knows none."""
ENDING = (signal.SIGINT, signal.SIGTERM, *([] if HANGUP is None else [HANGUP]))


@contextmanager
def stop_asked() -> Iterator[threading.Event]:
    """Set by the first signal of `ENDING`, so that the frame at work is finished; the second raises KeyboardInterrupt.

    Elsewhere than in the main thread signals cannot be caught, and it is never set.
    """
    asked = threading.Event()

    def note(*_: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    with _caught(note):
        yield asked


@contextmanager
def unbroken() -> Iterator[None]:
    """Nothing of `ENDING` breaks off what is within; Ctrl-C's KeyboardInterrupt comes after it. In the main thread only."""
    asked = threading.Event()
    with _caught(lambda *_: asked.set()):
        yield
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def as_interrupt() -> Iterator[None]:
    """All of `ENDING` end what is within as Ctrl-C does, so that its processes end in order; in the main thread only."""
    with _caught(signal.default_int_handler):
        yield


@contextmanager
def _caught(handler: Callable[..., Any]) -> Iterator[None]:
    """A hangup that is to be ignored, as with nohup, stays so."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        nohup = HANGUP is not None and signal.getsignal(HANGUP) is signal.SIG_IGN
        before = {number: signal.signal(number, handler) for number in ENDING if not (nohup and number == HANGUP)}
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)
