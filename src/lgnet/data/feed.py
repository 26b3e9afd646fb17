"""Batches made ahead of training: synthetic pictures from the ring, and those of real data sets by their weights.

What is in batch number n is a function of configuration, process and n alone, so that training can go on exactly where
it stopped. Real pictures are read when their batch is made, by a few threads.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..config import TrainConfig
from ..config_check import data_weights
from .registry import DataSet, open_data
from .ring import Ring
from .sample import Sample, labelled, require_side

PROBED = 20
"""Pictures of a data set, spread over it, of which one has to tell joints."""


class Mix(NamedTuple):
    """Real data sets with the share of all pictures that comes from each; the rest is synthetic."""

    sets: tuple[DataSet, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def real(self) -> float:
        """The share of real pictures."""
        return min(sum(self.shares), 1.0)


def open_mix(data: Sequence[str], taught: bool = False) -> Mix:
    """Open the data sets of the option `data`; `taught`: there are teachers, so that pictures teach without joints too.

    Raises:
        ValueError: one cannot be opened, holds nothing to learn from, or does not tell right hands from left ones.
    """
    weights = data_weights(data)
    sets = tuple(open_data(name) for name in weights)
    for name, opened in zip(weights, sets):
        if not len(opened):
            raise ValueError(f"{name} holds no pictures to train on")
        require_side(opened[0])
        some = range(0, len(opened), max(len(opened) // PROBED, 1))
        if not taught and not any(labelled(opened[index]).any() for index in some):
            raise ValueError(f"{name} tells no joints to learn from: it can only be mixed in with --teacher")
    return Mix(sets, tuple(weights.values()))


def with_labels(mix: Mix, config: TrainConfig, process: int = 0, processes: int = 1) -> Mix:
    """The data sets with pose and shape in terms of the network's hand model, fitted where they lack them, kept in the run.

    Raises:
        ValueError: as `refit.fitted`.
    """
    if not mix.sets or config.fit_within == 0:
        return mix
    from .refit import fitted

    folder, within = Path(config.out) / "fits", config.fit_within / 1000
    own = (fitted(data, config.model.hand_model, within, folder, process, processes) for data in mix.sets)
    return mix._replace(sets=tuple(own))


def real_before(place: int, share: float) -> int:
    """How many of the first `place` pictures of a process are real: evenly spread, exact in the long run."""
    return place if share > 1 - 1e-9 else math.floor(place * share + 1e-9)


class Feed:
    """Batches in order, made in a thread while earlier ones are trained on. Use as a context manager."""

    def __init__(
        self,
        config: TrainConfig,
        mix: Mix,
        make: Callable[[Sequence[Sample], np.random.Generator], dict[str, Any]],
        first: int = 0,
        process: int = 0,
        processes: int = 1,
    ):
        """Begin at batch number `first` of one of the `processes` that train; `mix` is `open_mix(config.data)`, `make` crops and
        augments samples.
        """
        self._config, self._make, self._process = config, make, process
        self._mix = with_labels(mix, config, process, processes)
        self._seen: deque[Sample] = deque(maxlen=32)
        self._ring: Ring | None = None
        if self._mix.real < 1 - 1e-9:
            place = first * config.batch_size
            use = place - real_before(place, self._mix.real)
            self._ring = Ring(
                config.synth, config.ring, config.renderers, config.reuse, config.seed, use, process, processes
            )
        self._readers = ThreadPoolExecutor(max(config.readers, 1))
        self._queue: queue.Queue = queue.Queue(maxsize=2)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, args=(first,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Feed:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything that was started."""
        self._stopped = True
        if self._ring is not None:
            self._ring.stop()
        self._thread.join()  # before the memory goes that it may be reading
        self._readers.shutdown(cancel_futures=True)
        if self._ring is not None:
            self._ring.__exit__()

    def take(self) -> dict[str, Any]:
        """The next batch."""
        item, samples = self._queue.get()
        if isinstance(item, Exception):
            raise item
        self._seen.extend(samples)
        return item

    @property
    def seen(self) -> list[Sample]:
        """Pictures of the last batches that were taken, at most 32."""
        return list(self._seen)

    def _run(self, number: int) -> None:
        failed = False
        while not self._stopped and not failed:
            try:
                item: Any = self._batch(number)
            except Exception as error:  # told where the batch is taken
                item, failed = (error, []), True
            number += 1
            while not self._stopped:
                try:
                    self._queue.put(item, timeout=0.2)
                    break
                except queue.Full:
                    pass

    def _batch(self, number: int) -> tuple[dict[str, Any], list[Sample]]:
        count, share = self._config.batch_size, self._mix.real
        rng = np.random.default_rng([self._config.seed, self._process, number])
        places = range(number * count, (number + 1) * count)
        real = [real_before(place + 1, share) > real_before(place, share) for place in places]
        reading = self._read(sum(real), rng)
        drawn = iter(self._ring.take(count - sum(real)) if self._ring is not None else ())
        samples = [next(reading) if is_real else next(drawn) for is_real in real]
        return self._make(samples, rng), samples

    def _read(self, count: int, rng: np.random.Generator) -> Any:
        """`count` real pictures, sets by their shares and pictures at random."""
        if not count:
            return iter(())
        edges = np.array(list(accumulate(self._mix.shares))) / sum(self._mix.shares)
        chosen = [self._mix.sets[min(int(np.searchsorted(edges, rng.random())), len(edges) - 1)] for _ in range(count)]
        wanted: Iterable[tuple[DataSet, int]] = [(data, int(rng.integers(len(data)))) for data in chosen]
        return self._readers.map(lambda one: one[0][one[1]], wanted)
