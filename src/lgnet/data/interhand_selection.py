"""Which of InterHand2.6M's pictures papers on two hands use, as far as it takes the pictures; and which show the same hands."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from .interhand import Index, alone, find_annotations, index_folder, read_picture

DARKEST = 10.0
"""Mean of all 8-bit values of a picture: below it, IntagHand's code (dataset/interhand.py) leaves the picture out of what
it trains and tests on, and those who take over its selection do."""
DARK = f"pictures darker than {DARKEST:g} of 255 on average"


def bright(root: Path, split: str, index: Index, rows: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the pictures of the rows are at least `DARKEST` bright; all are read, once, and it is kept.

    Raises:
        ValueError: a picture is missing or unreadable.
    """
    key = hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()[:16]
    folder = index_folder(find_annotations(root, split), split)
    path = folder / f"brightness-{key}.npy"
    with alone(folder):
        if not path.is_file():

            def mean(row: int) -> float:
                width, height = index.size[row].tolist()
                return float(read_picture(root, split, bytes(index.file[row]).decode(), width, height).mean())

            console, threads = Console(stderr=True), min(8, os.cpu_count() or 1)
            with ThreadPoolExecutor(threads) as pool:
                means = track(
                    pool.map(mean, rows),
                    "looking for dark pictures",
                    total=len(rows),
                    console=console,
                    transient=True,
                    disable=not console.is_terminal,
                )
                values = np.fromiter(means, np.float32, len(rows))
            with path.with_suffix(".part").open("wb") as file:
                np.save(file, values)
            path.with_suffix(".part").replace(path)
    return np.load(path) >= DARKEST


def best_of_frames(index: Index, rows: np.ndarray) -> np.ndarray:
    """(N,) for each of the rows (N,), the place among them of one of the same frame, the same of all cameras: that with most
    valid joints."""
    frames = index.joints[rows]
    order = np.lexsort((-index.valid[rows].sum(1), frames))  # by frame, the best first
    first = np.r_[True, np.diff(frames[order]) != 0]
    best = np.empty(len(rows), np.int64)
    best[order] = order[np.flatnonzero(first)[np.cumsum(first) - 1]]
    return best
