"""Key points from elsewhere beside the network's answer: which hand is which, where to look again, and the alignment.

Hands are matched by place first. Which side a hand is, both may tell, and both may be wrong: the side of each, of two hands
together, is that with the greatest sum of log odds. Hands that no key points tell of stay as the network had them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .align import LEAST, KeyPoints, align_hands
from .data.sample import grown
from .hands import SIDES, Hand, TwoHands
from .image_io import Item
from .reconstruct import Predictor

SAME_HAND = 0.4
"""Shares of the larger hand: joints that lie apart by less, on average, are of the same hand."""
MOST_SURE = 0.98
"""A side that is told is never thought to be surer than this."""
NETWORK_ODDS = 3.0
"""Log odds of the side of a hand that the network gives a score of 1; in proportion below."""

Source = Callable[[np.ndarray, Item, int], Sequence[KeyPoints]]
"""(H, W, 3) uint8 RGB, the input, the number of its frame (0 of a picture) -> the hands that are known in it."""


def guide(
    model: Predictor, hands: TwoHands, image: np.ndarray, given: Sequence[KeyPoints], told: bool = False
) -> TwoHands:
    """The network's hands aligned to key points of the same picture.

    A hand with key points is looked at again in their box, then drawn to them. Hands without any stay as they are, to the
    last bit; but where key points say that a hand is of the other side, or that there is another one, they have the say.

    Args:
        model: what made `hands`.
        hands: its answer.
        image: (H, W, 3) uint8 RGB, the picture.
        given: the hands from elsewhere, in any order; those with fewer than 4 sure joints are passed over.
        told: the user gave boxes and sides: these stay, and no hand is added.
    """
    useful = [points for points in given if points.sure.sum() >= LEAST]
    pair = (hands.right, hands.left)
    matches = match_places(useful, pair)
    chosen = _by_match(useful, matches) if told else choose_sides(useful, matches, pair)
    if not any(points is not None for points in chosen):
        return hands
    start = hands if told else _look_again(model, hands, image, chosen, matches, useful)
    return align_hands(start, chosen)


def match_places(given: Sequence[KeyPoints], pair: Sequence[Hand | None]) -> list[int | None]:
    """For each of the hands from elsewhere: the side of the network's hand at the same place; each at most once."""
    options = []
    for index, points in enumerate(given):
        for side, hand in enumerate(pair):
            if hand is not None:
                off = np.linalg.norm(hand.joints2d - points.points, axis=1)[points.sure].mean()
                options.append((off / max(points.size, np.ptp(hand.joints2d, 0).max()), index, side))
    out: list[int | None] = [None] * len(given)
    best = min(_pairings(options), key=lambda taken: sum(off - SAME_HAND for off, _, _ in taken))
    for _, index, side in best:
        out[index] = side
    return out


def _pairings(options: list[tuple[float, int, int]]) -> list[tuple[tuple[float, int, int], ...]]:
    """None, one or two of the near ones, of different hands and sides."""
    near = [option for option in options if option[0] < SAME_HAND]
    pairs = [(a, b) for a, b in itertools.combinations(near, 2) if a[1] != b[1] and a[2] != b[2]]
    return [(), *((option,) for option in near), *pairs]


def choose_sides(
    given: Sequence[KeyPoints], matches: Sequence[int | None], pair: Sequence[Hand | None]
) -> tuple[KeyPoints | None, KeyPoints | None]:
    """Right and left of the hands from elsewhere: two at most, those that the network sees too, then the largest."""
    order = sorted(range(len(given)), key=lambda i: (matches[i] is None, -given[i].size))[:2]
    odds = np.zeros((len(order), 2))  # of right, of left
    for row, index in enumerate(order):
        points, match = given[index], matches[index]
        if points.side is not None:
            sure = float(np.clip(points.score, 0.5, MOST_SURE))
            odds[row, SIDES.index(points.side)] += np.log(sure / (1 - sure))
        if match is not None:
            hand = pair[match]
            assert hand is not None
            odds[row, match] += NETWORK_ODDS * hand.score
    if not order:
        return None, None
    ways = [w for w in itertools.product((0, 1), repeat=len(order)) if len(set(w)) == len(w)]
    best = max(ways, key=lambda way: sum(odds[row, side] for row, side in enumerate(way)))
    out: list[KeyPoints | None] = [None, None]
    for row, side in enumerate(best):
        out[side] = given[order[row]]
    return out[0], out[1]


def _by_match(given: Sequence[KeyPoints], matches: Sequence[int | None]) -> tuple[KeyPoints | None, KeyPoints | None]:
    right, left = (next((p for p, match in zip(given, matches) if match == side), None) for side in (0, 1))
    return right, left


def _look_again(
    model: Predictor,
    hands: TwoHands,
    image: np.ndarray,
    chosen: Sequence[KeyPoints | None],
    matches: Sequence[int | None],
    given: Sequence[KeyPoints],
) -> TwoHands:
    """The network's hands in the boxes of the chosen key points; others as they were, unless they are one of the chosen."""
    taken = {match for points, match in zip(given, matches) if any(points is one for one in chosen)}
    pair: list[Hand | None] = [hands.right, hands.left]
    boxes, there = np.zeros((2, 4)), np.zeros(2, bool)
    for side, points in enumerate(chosen):
        hand = pair[side]
        if points is not None:
            boxes[side], there[side] = grown(points.box), True
        elif hand is not None and side not in taken:
            boxes[side], there[side] = hand.box, True
        else:
            pair[side] = None
    seen = model.predict(image, camera=hands.camera, boxes=boxes, given=there, file=hands.file)
    for side, (points, hand) in enumerate(zip(chosen, (seen.right, seen.left))):
        if points is not None and hand is not None:
            pair[side] = replace(hand, score=float(points.confidence[points.sure].mean()))
    return replace(hands, right=pair[0], left=pair[1])
