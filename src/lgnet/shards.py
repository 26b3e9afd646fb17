"""Long work cut into numbered parts, each kept as a file: many processes share it, and a second start does what is left.

Nothing but files passes between the processes, in a folder that all of them see. Part n is done by process n modulo their
number; torchrun says which one we are and how many there are.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from .aside import write_aside

_WAIT = 0.5
"""Seconds between two looks for what other processes have done."""
_LATEST = timedelta(hours=1)
"""After that a process that has not come never will."""


def launched() -> tuple[int, int] | None:
    """Which of how many processes torchrun has made this one; None: it did not start us."""
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return (rank, world) if 0 <= rank < world else None


@dataclass(frozen=True)
class Shards:
    """The parts of one piece of work, in a folder of their own."""

    folder: Path
    plan: dict[str, Any]  # plain values that say which work this is
    rank: int = 0
    world: int = 1

    def begin(self, count: int) -> list[int]:
        """Make the folder; of `count` parts, the numbers of those that this process has to do, in order.

        Raises:
            ValueError: the folder holds parts of other work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, plan = self.folder / "plan.json", json.loads(json.dumps({**self.plan, "parts": count}))
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            write_aside(path, json.dumps(plan, indent=1).encode(), f".{self.rank}")
        except ValueError as error:
            raise ValueError(f"{path} is damaged; delete {self.folder} and begin anew") from error
        else:
            if kept != plan:
                other = sorted(key for key in {*kept, *plan} if kept.get(key) != plan.get(key))
                raise ValueError(
                    f"{self.folder} holds what a run that was broken off had done, which differs in "
                    f"{', '.join(other)}: delete that folder, or choose another one to write into"
                )
        return [n for n in range(self.rank, count, self.world) if not self.path(n).exists()]

    def meet(self) -> None:
        """Wait until every process that torchrun started has come here, so that none is so late that it finds all removed."""
        if launched() != (self.rank, self.world) or "MASTER_ADDR" not in os.environ:
            return
        store, name = _store(), f"lgnet/{self.folder.name}"
        store.set(f"{name}/{self.rank}", "here")
        store.wait([f"{name}/{rank}" for rank in range(self.world)], _LATEST)

    def path(self, number: int) -> Path:
        """The file of a part; it is there if and only if the part is done."""
        return self.folder / f"{number:06d}.npz"

    def write(self, number: int, content: bytes) -> None:
        """Keep a part."""
        write_aside(self.path(number), content, f".{self.rank}")

    def wait(self, count: int, tell: Callable[[list[int]], None] = lambda done: None) -> Iterator[bytes]:
        """The contents of all parts, in order, once all are there; until then `tell` hears which ones are."""
        while len(done := self.done(count)) < count:
            tell(done)
            time.sleep(_WAIT)
        tell(done)
        for number in range(count):
            yield self.path(number).read_bytes()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What is done within it stays for the next run if it fails; the folder goes if nothing was."""
        try:
            yield
        except Exception:
            if not any(self.folder.glob("*.npz")):
                shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def done(self, count: int) -> list[int]:
        """The numbers of the parts that are there, whoever did them."""
        return [number for number in range(count) if self.path(number).exists()]

    def remove(self) -> None:
        """Delete the folder: the work is done."""
        shutil.rmtree(self.folder)


@functools.lru_cache(maxsize=1)
def _store() -> Any:
    """Where torchrun's processes leave word for each other; kept, since the first of them may be the one who has it."""
    from torch.distributed.rendezvous import rendezvous

    return next(iter(rendezvous("env://")))[0]
