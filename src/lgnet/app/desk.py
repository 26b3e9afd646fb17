"""What stands behind the page: the networks, whose turn it is to use them, and the results that are kept.

One computation runs at a time. Whoever comes waits in order, and is sent away when too many wait. Results lie in a
folder of their own under a temporary one; the oldest goes when a new one would be too many, all go at the end.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..predict import Model

MOST_WAITING = 8
"""Computations that wait or run; one more is refused."""
KEPT_PICTURES, KEPT_VIDEOS = 16, 4
"""Results that are kept of each kind; the oldest of its kind makes room."""


class BusyError(ValueError):
    """Too much is waiting already; the text is one sentence."""


class Turns:
    """First come, first served, one at a time."""

    def __init__(self, most: int) -> None:
        self.most, self.changed = most, threading.Condition()
        self.queue: list[object] = []  # who has the turn, and who waits for it

    def check_room(self) -> None:
        """Whether another may wait: to be asked before what is sent is read.

        Raises:
            BusyError: as many as may wait do.
        """
        if len(self.queue) >= self.most:
            raise BusyError("lgnet is busy with earlier pictures; try again in a moment")

    @contextmanager
    def take(self, always: bool = False, unless: threading.Event | None = None) -> Iterator[None]:
        """Wait for the turn, or until `unless` is set, and have it until the end of the `with`.

        Raises:
            BusyError: as many as may wait do; never with `always`.
        """
        ticket = object()
        with self.changed:
            if not always:
                self.check_room()
            self.queue.append(ticket)
            while self.queue[0] is not ticket and not (unless is not None and unless.is_set()):
                self.changed.wait(None if unless is None else 0.2)
        try:
            yield
        finally:
            with self.changed:
                self.queue.remove(ticket)
                self.changed.notify_all()


@dataclass
class Kept:
    """One result: the files it has, and those that are made when they are first asked for."""

    id: str  # not to be guessed: whoever knows it may have the files
    folder: Path
    files: dict[str, Callable[[Path], None] | None] = field(default_factory=dict)
    """By name in the folder: what writes it there; None: it is there. Nothing else is given out."""
    what: Any = None  # of a video: its `film.Job`
    settled: bool = False  # something came of it, so it may go when there are too many
    lock: Any = field(default_factory=threading.Lock)  # held by whoever makes something of it, or waits to


class Shelf:
    """Results of one kind."""

    def __init__(self, folder: Path, most: int, gone: Callable[[Kept], None] = lambda kept: None) -> None:
        self.folder, self.most, self.gone = folder, most, gone
        self.kept: OrderedDict[str, Kept] = OrderedDict()
        self.lock = threading.Lock()

    def new(self) -> Kept:
        """Room for a result, on the shelf."""
        kept = Kept(secrets.token_urlsafe(12), Path())
        kept.folder = self.folder / kept.id
        kept.folder.mkdir()
        with self.lock:
            self.kept[kept.id] = kept
        return kept

    def settle(self, kept: Kept) -> None:
        """Something came of one: the oldest of which something did go where there are too many."""
        with self.lock:
            kept.settled = True
            if kept.id in self.kept:
                self.kept.move_to_end(kept.id)  # the oldest is that of which something came first
            settled = [one for one in self.kept.values() if one.settled and not one.lock.locked()]
            old = [self.kept.pop(one.id) for one in settled[: max(len(settled) - self.most, 0)]]
        for other in old:
            self._remove(other)

    def drop(self, kept: Kept) -> None:
        """Take a result off the shelf: nothing came of it."""
        with self.lock:
            self.kept.pop(kept.id, None)
        self._remove(kept)

    def _remove(self, kept: Kept) -> None:
        self.gone(kept)
        with kept.lock:  # whoever is making a file ends first
            shutil.rmtree(kept.folder, ignore_errors=True)

    def file(self, id: str, name: str) -> Path | None:
        """The path of a result's file, made if need be; None where there is no such result or file."""
        kept = self.kept.get(id)
        if kept is None or name not in kept.files:
            return None
        path = kept.folder / name
        make = kept.files[name]
        with kept.lock:
            if make is not None and not path.exists() and kept.folder.exists():
                make(path)
        return path if path.is_file() else None


class Desk:
    """Everything the server shares; to be closed."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.turns, self.films = Turns(MOST_WAITING), Turns(MOST_WAITING)  # one video after another
        self.folder = Path(tempfile.mkdtemp(prefix="lgnet-app-"))  # for this user's eyes only
        self.pictures = Shelf(self.folder, KEPT_PICTURES)
        self.videos = Shelf(self.folder, KEPT_VIDEOS, lambda kept: kept.what and kept.what.asked.set())
        self.live: OrderedDict[str, Any] = OrderedDict()  # by id, `live.Session`; changed with the lock
        self.lock = threading.Lock()

    def file(self, id: str, name: str) -> Path | None:
        """The path of a result's file; None where there is none."""
        return self.pictures.file(id, name) or self.videos.file(id, name)

    def close(self) -> None:
        """End what is at work, and delete every result."""
        videos = list(self.videos.kept.values())
        for kept in videos:
            self.videos.gone(kept)
        for kept in videos:
            self.videos.drop(kept)
        shutil.rmtree(self.folder, ignore_errors=True)


MOST_NAME = 100
"""Bytes of a name: with what is added to it, less than file systems take."""


def clean_name(name: str, otherwise: str) -> str:
    """A file's name without its folder and suffix, of letters, digits, `-` and `_` only."""
    stem = Path(name.replace("\\", "/")).name
    stem = re.sub(r"[^\w-]+", "_", stem.rpartition(".")[0] or stem).strip("_")
    stem = stem.encode("utf-8", "replace")[:MOST_NAME].decode("utf-8", "ignore")
    return stem or otherwise
