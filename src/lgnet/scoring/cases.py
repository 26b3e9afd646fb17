"""Pictures of single cases: truth and prediction drawn over the region of the hands, the worst and the median ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..data.sample import Sample
from ..hands import BONES
from .columns import Scores
from .summary import hand_means

TILE, COLUMNS = 256, 6
TRUTH_COLOUR, COLOURS = (40, 220, 40), ((255, 60, 50), (70, 110, 255))


def badness(scores: Scores) -> np.ndarray:
    """(P,) how bad each picture is: its worst hand's mean 2D error, shares of its box; a missed joint counts as 1."""
    flat = scores.hands["errors2d"]
    known = ~np.isnan(flat)
    means = np.where(known, np.minimum(flat, 1), 0).sum(1) / np.maximum(known.sum(1), 1)
    out = np.zeros(len(scores))
    np.maximum.at(out, scores.hands["picture"], means)
    return out


def worst_and_median(scores: Scores, worst: int, median: int) -> tuple[list[int], list[int]]:
    """Indices of the worst pictures, worst first, and of those about the median of the pictures with hands, best first."""
    order = np.lexsort((-np.arange(len(scores)), badness(scores)))
    with_hands = order[np.bincount(scores.hands["picture"], minlength=len(scores))[order] > 0]
    first = max((len(with_hands) - median) // 2, 0)
    return order[::-1][:worst].tolist(), with_hands[first : first + median].tolist()


def tile(sample: Sample, scores: Scores, index: int, joints2d: np.ndarray) -> np.ndarray:
    """(TILE, TILE, 3): the region of the hands, truth green, right prediction red, left blue, errors written below.

    Args:
        sample: the picture with its truth.
        scores: in which it is picture number `index`.
        joints2d: (2, 21, 2) predicted pixels, NaN where there is no hand.
    """
    truths = [sample.joints2d[s][sample.joints2d_valid[s]] for s in (0, 1) if sample.joints2d_valid[s].any()]
    height, width = sample.image.shape[:2]
    points = np.concatenate(truths) if truths else np.array([[0.0, 0.0], [width - 1.0, height - 1.0]])
    centre = (points.min(0) + points.max(0)) / 2
    side = max(float(np.ptp(points, 0).max()) * 1.6, 16.0)
    scale = TILE / side
    shift = centre - side / 2
    to_tile = np.array([[scale, 0, -scale * shift[0]], [0, scale, -scale * shift[1]]])
    out = cv2.warpAffine(sample.image, to_tile, (TILE, TILE), flags=cv2.INTER_AREA)
    for s in (0, 1):
        if sample.present[s]:
            _skeleton(out, (sample.joints2d[s] - shift) * scale, sample.joints2d_valid[s], TRUTH_COLOUR)
    for s, joints in enumerate(joints2d):
        if np.isfinite(joints).all():
            _skeleton(out, (joints - shift) * scale, np.ones(len(joints), bool), COLOURS[s])
    told = []
    hands = scores.hands
    for row in np.flatnonzero(hands["picture"] == index):
        if not np.isnan(hands["errors2d"][row]).all():
            millimetres = hand_means(hands["errors3d_C"][row : row + 1])[0] if hands["predicted"][row] else np.nan
            text = f"{'RL?'[hands['side'][row]]} {np.nanmean(hands['errors2d'][row]):.2f} box"
            told.append(text + (f" {millimetres:.0f} mm" if np.isfinite(millimetres) else ""))
    for row, text in enumerate((Path(sample.name).name, "  ".join(told).replace("inf box", "missed"))):
        place = (4, TILE - 20 + 14 * row)
        for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1)):  # thicker letters would be wider too
            around = (place[0] + x, place[1] + y)
            cv2.putText(out, text, around, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return out


def _skeleton(picture: np.ndarray, joints: np.ndarray, valid: np.ndarray, colour: tuple[int, int, int]) -> None:
    pixels = np.clip(joints, -9999, 9999).round().astype(int)
    for a, b in BONES:
        if valid[a] and valid[b]:
            cv2.line(picture, tuple(map(int, pixels[a])), tuple(map(int, pixels[b])), colour, 1, cv2.LINE_AA)
    for joint in np.flatnonzero(valid):
        cv2.circle(picture, tuple(map(int, pixels[joint])), 2, colour, -1, cv2.LINE_AA)


def sheet(groups: Sequence[tuple[str, Sequence[np.ndarray]]]) -> np.ndarray:
    """(H, W, 3): the tiles of each group, row by row, under a line of text; a group without a text has no line."""
    rows = []
    for text, tiles in groups:
        if text:
            line = np.full((24, TILE * COLUMNS, 3), 255, np.uint8)
            cv2.putText(line, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
            rows.append(line)
        padded = [*tiles, *[np.zeros((TILE, TILE, 3), np.uint8)] * (-len(tiles) % COLUMNS)]
        rows += [np.concatenate(padded[i : i + COLUMNS], 1) for i in range(0, len(padded), COLUMNS)]
    return np.concatenate(rows)
