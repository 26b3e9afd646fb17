"""Pictures rendered ahead: worker processes draw into a ring in shared memory, training takes them from there.

Which picture is used when is decided by number alone, never by who was quicker, so that a resumed run sees what an unbroken
one would have seen. The ring is cut into `reuse + 1` blocks. In a round, training goes once through `reuse` of them in
a random order while the renderers fill the last one; then the oldest block is given up. A picture is so used `reuse`
times, far apart. A batch waits for the pictures it needs; renderers draw in the order in which they are needed, so a
resumed run begins at once and has no more than a ring to draw again.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import SynthConfig
from .sample import KINDS, Sample

_FIELDS = ("image", "parts", "K", "present", "box", "joints2d", "joints3d", "pose", "shape")


class Plan(NamedTuple):
    """Which picture each use takes. Uses and pictures are counted from 0, for each training process by itself."""

    block: int
    """Pictures of a block."""
    reuse: int
    """How often a picture is used, the first few blocks more often: there are no older ones beside them yet."""
    seed: int

    @property
    def round(self) -> int:
        """Uses of a round."""
        return self.block * self.reuse

    def pictures(self, number: int) -> np.ndarray:
        """(round,) the pictures of a round in the order of their use."""
        return _pictures(self, number)

    def picture(self, use: int) -> int:
        """The picture that a use takes."""
        return int(_pictures(self, use // self.round)[use % self.round])

    def needed(self, first: int) -> Iterator[int]:
        """Every picture once, in the order in which it is needed from use `first` on; endless."""
        seen: set[int] = set()
        for number in itertools.count(first // self.round):
            seen = {picture for picture in seen if picture // self.block > number - self.reuse}
            skipped = max(0, first - number * self.round)
            for picture in self.pictures(number)[skipped:].tolist():
                if picture not in seen:
                    seen.add(picture)
                    yield picture


@functools.lru_cache(maxsize=8)
def _pictures(plan: Plan, number: int) -> np.ndarray:
    older = np.arange(plan.reuse) % min(plan.reuse, number + 1)
    all_of_it = (number - older)[:, None] * plan.block + np.arange(plan.block)
    return np.random.default_rng([plan.seed, number]).permutation(all_of_it.ravel())


def plan_ring(count: int, reuse: int, seed: int) -> Plan:
    """The plan of a ring of at most `count` pictures."""
    return Plan(count // (reuse + 1), reuse, seed)


def sample_dtype(size: int) -> np.dtype:
    """One synthetic Sample of size x size pixels as a plain record; `number` is its picture's, -1 before it is whole."""
    return np.dtype(
        [
            ("number", "i8"),
            ("image", "u1", (size, size, 3)),
            ("parts", "u1", (size, size)),
            ("K", "f4", 4),
            ("kind", "i4"),
            ("present", "?", 2),
            ("box", "f4", (2, 4)),
            ("joints2d", "f4", (2, 21, 2)),
            ("joints3d", "f4", (2, 21, 3)),
            ("pose", "f4", (2, 16, 3)),
            ("shape", "f4", (2, 10)),
        ]
    )


def _write(record: np.void, sample: Sample, number: int) -> None:
    record["number"] = -1
    record["kind"] = KINDS.index(sample.kind)
    for key in _FIELDS:
        record[key] = getattr(sample, key)
    record["number"] = number


def _read(record: np.void) -> Sample:
    present = record["present"].copy()
    every = np.repeat(present[:, None], 21, 1)
    return Sample(
        name="synth",
        kind=KINDS[int(record["kind"])],
        joints2d_valid=every,
        joints3d_valid=every,
        has_params=present,
        hand_model="lgnet",
        **{key: record[key].copy() for key in _FIELDS},
    )


class _Share(NamedTuple):
    """What a renderer is told."""

    memory: str
    slots: int
    config: SynthConfig
    plan: Plan
    first: int  # use
    worker: int
    workers: int
    process: int  # of `processes` that train, each with its own ring
    processes: int
    parent: int  # the training process: when it is gone, so is the renderer


def _draw_forever(share: _Share, used, drawn) -> None:
    """A renderer's life: every `workers`-th picture that is needed, as soon as the block it replaces is used up."""
    import cv2
    import torch

    from ..synth.generate import make_sample, training_rng

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    plan = share.plan
    shared = SharedMemory(share.memory)
    ring = np.ndarray(share.slots, sample_dtype(share.config.size), shared.buf)
    for picture in itertools.islice(plan.needed(share.first), share.worker, None, share.workers):
        while picture // plan.block > used.value // plan.round + 1:
            time.sleep(0.02)
            if os.getppid() != share.parent:
                return
        if os.getppid() != share.parent:
            return
        rng = training_rng(plan.seed, 0, picture * share.processes + share.process)
        _write(ring[picture % share.slots], make_sample(rng, share.config), picture)
        drawn[share.worker] += 1


def _shared_memory(size: int) -> SharedMemory:
    """Shared memory that is really there: it is promised without being set aside, and who writes to it where there is
    none is killed.
    """
    memory = SharedMemory(create=True, size=size)
    file = Path("/dev/shm") / memory.name
    if file.exists():  # Linux
        handle = os.open(file, os.O_RDWR)
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            memory.close()
            memory.unlink()
            raise ValueError(
                f"the pictures kept ready want {size / 1e6:.0f} MB of shared memory, and /dev/shm has less "
                f"({error.strerror}): lower --ring, or give the container more (docker run --shm-size 2g)"
            ) from error
        finally:
            os.close(handle)
    return memory


class Ring:
    """The ring seen from a training process. Use as a context manager, so that its processes and memory go away."""

    def __init__(
        self,
        config: SynthConfig,
        count: int,
        workers: int,
        reuse: int,
        seed: int,
        first: int = 0,
        process: int = 0,
        processes: int = 1,
    ):
        """Start `workers` renderers for at most `count` pictures, from use `first` on.

        `process` of `processes` that train get other pictures each; the result does not depend on `workers`.

        Raises:
            ValueError: there is not as much shared memory.
        """
        context = multiprocessing.get_context("spawn")
        self._plan = plan_ring(count, reuse, seed)
        slots = self._plan.block * (reuse + 1)
        dtype = sample_dtype(config.size)
        self._memory = _shared_memory(slots * dtype.itemsize)
        self._records = np.ndarray(slots, dtype, self._memory.buf)
        self._records["number"] = -1
        self._stopped = False
        self._used = context.Value("q", first, lock=False)
        self._drawn = context.Array("q", workers, lock=False)
        me = os.getpid()
        share = _Share(self._memory.name, slots, config, self._plan, first, 0, workers, process, processes, me)
        self._workers = [
            context.Process(target=_draw_forever, args=(share._replace(worker=w), self._used, self._drawn), daemon=True)
            for w in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def __enter__(self) -> Ring:
        """Itself."""
        return self

    def stop(self) -> None:
        """Let a thread that waits for pictures raise; it has to have ended before the memory goes."""
        self._stopped = True

    def __exit__(self, *_: object) -> None:
        """Stop the renderers and free the memory."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join(5)
        del self._records
        self._memory.close()
        self._memory.unlink()

    @property
    def drawn(self) -> int:
        """Pictures rendered since it was started."""
        return sum(self._drawn)

    def take(self, count: int) -> list[Sample]:
        """The pictures of the next `count` uses, waiting for those that are not there yet.

        Raises:
            RuntimeError: a renderer has died, or the ring was stopped.
        """
        return [self._next() for _ in range(count)]

    def _next(self) -> Sample:
        picture = self._plan.picture(self._used.value)
        record = self._records[picture % len(self._records)]
        while record["number"] != picture:
            if self._stopped:
                raise RuntimeError("no more pictures are wanted")
            if not all(worker.is_alive() for worker in self._workers):
                raise RuntimeError("a renderer has stopped; its message is above")
            time.sleep(0.002)
        sample = _read(record)
        self._used.value += 1
        return sample
