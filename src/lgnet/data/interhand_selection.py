"""Which of InterHand2.6M's pictures papers on two hands use, as far as it takes the pictures; and which show the same hands."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..aside import written
from ..hands import NUM_JOINTS
from ..progress import progress_bar
from .interhand import ORDER, Index, alone, find_annotations, index_folder, read_picture
from .sample import ENOUGH_TO_FIT

DARKEST = 10.0
"""Mean of all 8-bit values of a picture: below it, IntagHand's code (dataset/interhand.py) leaves the picture out of what
it trains and tests on, and those who take over its selection do."""
DARK = f"pictures darker than {DARKEST:g} of 255 on average"


def bright(root: Path, split: str, index: Index, rows: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the pictures of the rows are at least `DARKEST` bright; all are read, once, and it is kept. One that
    is missing or unreadable counts as bright, so that whoever reads it names it; nothing is kept then.
    """
    key = hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()[:16]
    folder = index_folder(find_annotations(root, split), split)
    path = folder / f"brightness-{key}.npy"
    if not path.is_file():
        with alone(folder):
            means = np.load(path) if path.is_file() else _brightness(root, split, index, rows)
            if not path.is_file() and not np.isnan(means).any():
                with written(path) as part, part.open("wb") as file:
                    np.save(file, means)
    else:
        means = np.load(path)
    return ~(means < DARKEST)


def _brightness(root: Path, split: str, index: Index, rows: np.ndarray) -> np.ndarray:
    """(N,) the mean of all values of each row's picture; NaN where it cannot be read."""

    def means(some: np.ndarray) -> list[float]:
        names = [(bytes(index.file[row]).decode(), *index.size[row].tolist()) for row in some]
        return [_mean(root, split, *name) for name in names]

    blocks = np.array_split(rows, max(1, len(rows) // 100))
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool, progress_bar() as progress:
        found = progress.track(pool.map(means, blocks), len(blocks), description="looking for dark pictures")
        return np.array([mean for block in found for mean in block], np.float64)


def _mean(root: Path, split: str, name: str, width: int, height: int) -> float:
    try:
        return float(read_picture(root, split, name, width, height).mean())
    except (ValueError, OSError):
        return float("nan")


def best_of_frames(index: Index, rows: np.ndarray) -> np.ndarray:
    """(N,) for each of the rows (N,), the place among them of one of the same frame, the same of all cameras: that with most
    hands that can be fitted, then with most valid joints."""
    frames, valid = index.joints[rows], index.valid[rows].reshape(-1, 2, NUM_JOINTS)
    hands = (valid[..., ORDER[0]] & (valid.sum(2) >= ENOUGH_TO_FIT)).sum(1)
    order = np.lexsort((-valid.sum((1, 2)), -hands, frames))  # by frame, the best first
    first = np.r_[True, np.diff(frames[order]) != 0]
    best = np.empty(len(rows), np.int64)
    best[order] = order[np.flatnonzero(first)[np.cumsum(first) - 1]]
    return best
