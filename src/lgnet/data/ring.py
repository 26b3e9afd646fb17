"""Pictures rendered ahead: worker processes draw into a ring in shared memory, training takes from it at random.

A picture is used several times, cropped and coloured anew each time, and then replaced. Training never waits once the
ring is full: where the renderers are slower, pictures are simply used more often (`Ring.reuse` says how often).
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from ..config import SynthConfig
from .sample import KINDS, Sample


def sample_dtype(size: int) -> np.dtype:
    """One synthetic Sample of size x size pixels as a plain record; `version` is odd while it is being written."""
    return np.dtype(
        [
            ("version", "i8"),
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


def _write(record: np.void, sample: Sample) -> None:
    record["version"] += 1
    record["kind"] = KINDS.index(sample.kind)
    for key in ("image", "parts", "K", "present", "box", "joints2d", "joints3d", "pose", "shape"):
        record[key] = getattr(sample, key)
    record["version"] += 1


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
        **{
            key: record[key].copy()
            for key in ("image", "parts", "K", "present", "box", "joints2d", "joints3d", "pose", "shape")
        },
    )


def _draw_forever(
    memory: str,
    count: int,
    config: SynthConfig,
    seed: int,
    worker: int,
    workers: int,
    first: int,
    used,
    drawn,
    reuse: int,
) -> None:
    """A renderer's life: fill its own slots, then replace the oldest whenever the ring has been used enough."""
    import time

    import cv2
    import torch

    from ..synth.generate import make_sample, training_rng

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    os.nice(5)
    shared = SharedMemory(memory)
    ring = np.ndarray(count, sample_dtype(config.size), shared.buf)
    slots = range(worker, count, workers)
    parent = os.getppid()
    index = 0
    while os.getppid() == parent:
        if index >= len(slots) and index * workers * reuse > used.value + len(slots) * workers * reuse // 2:
            time.sleep(0.02)
            continue
        sample = make_sample(training_rng(seed, worker, first + index), config)
        _write(ring[slots[index % len(slots)]], sample)
        index += 1
        drawn[worker] = index
    shared.close()


class Ring:
    """The ring seen from the training process. Use as a context manager, so that its processes and memory go away."""

    def __init__(self, config: SynthConfig, count: int, workers: int, reuse: int, seed: int, first: int = 0):
        """Start `workers` renderers for `count` pictures; picture numbers begin at `first`, so a resumed run sees new ones."""
        context = multiprocessing.get_context("spawn")
        dtype = sample_dtype(config.size)
        self._memory = SharedMemory(create=True, size=count * dtype.itemsize)
        self._records = np.ndarray(count, dtype, self._memory.buf)
        self._records["version"] = 0
        self._used = context.Value("q", 0, lock=False)
        self._drawn = context.Array("q", workers, lock=False)
        self._workers = [
            context.Process(
                target=_draw_forever,
                args=(self._memory.name, count, config, seed, w, workers, first, self._used, self._drawn, reuse),
                daemon=True,
            )
            for w in range(workers)
        ]
        self._first = first
        for worker in self._workers:
            worker.start()

    def __enter__(self) -> Ring:
        """Itself."""
        return self

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
    def ready(self) -> int:
        """How many slots hold a picture."""
        return int((self._records["version"] >= 2).sum())

    @property
    def drawn(self) -> int:
        """Pictures rendered so far, the most of any worker counted from `first`: where the next run goes on."""
        return self._first + max(self._drawn)

    @property
    def reuse(self) -> float:
        """How often a picture has been used so far on average."""
        return self._used.value / max(sum(self._drawn), 1)

    def take(self, count: int, rng: np.random.Generator) -> list[Sample]:
        """`count` pictures at random from those that are ready.

        Raises:
            RuntimeError: all renderers have died.
        """
        if not any(worker.is_alive() for worker in self._workers):
            raise RuntimeError("all renderers have stopped; the message of the first that failed is above")
        ready = np.flatnonzero(self._records["version"] >= 2)
        out = []
        while len(out) < count:
            record = self._records[int(ready[rng.integers(len(ready))])]
            version = int(record["version"])
            sample = _read(record)
            if version % 2 == 0 and int(record["version"]) == version:  # nobody wrote meanwhile
                out.append(sample)
        self._used.value += count
        return out
