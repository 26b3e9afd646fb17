"""How a film's hands move against how they truly do: the acceleration error, from the pictures' scores put side by side."""

from __future__ import annotations

import re

import numpy as np

from ..metrics import acceleration_errors
from .columns import Scores

_FRAME = re.compile(r"(\d+)$")


def frame_of(name: str) -> tuple[str, int] | None:
    """Folder and number of a film's picture, "a/cam4/image012.jpg" -> ("a/cam4", 12); None: it ends in no number."""
    folder, _, file = name.rpartition("/")
    stem, dot, end = file.rpartition(".")
    found = _FRAME.search(stem if dot and not end.isdigit() else file)
    return (folder, int(found.group())) if found else None


def with_acceleration(scores: Scores) -> Scores:
    """The scores of a film's pictures with the hands' column "acceleration" (H,) mm per frame squared in place of "offset".

    A hand has one where it was predicted in this picture and in those before and after it, of the same folder and at the
    film's own distance, which is the smallest between two pictures of its folder.
    """
    hands = {key: values for key, values in scores.hands.items() if key != "offset"}
    offsets, of, side = scores.hands["offset"], scores.hands["picture"], scores.hands["side"]
    frames = [frame_of(str(name)) for name in scores.pictures["name"]]
    numbers = np.array([-1 if frame is None else frame[1] for frame in frames], np.int64)
    folders = np.unique(
        [f"?{row}" if frame is None else frame[0] for row, frame in enumerate(frames)], return_inverse=True
    )[1]
    order = np.lexsort((numbers[of], side, folders[of]))
    steps = np.diff(numbers[of][order])
    together = (np.diff(side[order]) == 0) & (np.diff(folders[of][order]) == 0) & (steps > 0)
    out = np.full(len(of), np.nan)
    if together.any():
        film = folders[of][order][:-1]
        least = np.full(film.max() + 1, np.iinfo(np.int64).max)
        np.minimum.at(least, film[together], steps[together])
        next_to = together & (steps == least[film])
        middle = np.flatnonzero(next_to[:-1] & next_to[1:]) + 1
        for some in np.array_split(middle, max(1, len(middle) // 10_000)):
            before, at, after = (offsets[order[some + step]].astype(np.float64) for step in (-1, 0, 1))
            out[order[some]] = acceleration_errors(before, at, after)
    return Scores(scores.pictures, hands | {"acceleration": out})
