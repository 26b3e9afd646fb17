"""Key points from elsewhere beside the network's answer: which hand is which, where to look again, and the alignment.

Hands are matched by place first. Which side a hand is, both may tell, and both may be wrong: the side of each, of two hands
together, is that with the greatest sum of log odds. Hands that no key points tell of stay as the network had them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .align import LEAST, KeyPoints, align_hands
from .data.sample import grown
from .geometry import iou, meets_picture
from .hands import SIDES, Hand, TwoHands
from .image_io import Item
from .predictor import Predictor

SAME_HAND = 0.4
"""Shares of the larger hand: joints that lie apart by less, on average, are of the same hand."""
MOST_SURE = 0.98
"""A side that is told is never thought to be surer than this."""
SAME_BOX = 0.3
"""Overlap (intersection over union) from which key points belong to a box that the user gave."""
OTHER_NAME = 0.1
"""Shares of the larger hand: so much further off hands of different names are thought to be."""
NETWORK_ODDS = 2.4
"""Log odds of the side of a hand that the network gives a score of 1; in proportion below. Of hands found in pictures of two
79 % had the right side when this was chosen, which are log odds of 1.3, at a score of 0.55 or so; 86 % now (docs/results.md)."""


@dataclass(frozen=True)
class Choice:
    """What is taken for one side's hand."""

    points: KeyPoints | None  # None: only the network sees it
    match: int | None  # the side on which the network has the hand that is there; None: it sees none


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
    if hands.people is not None:
        return _guide_people(model, hands, image, useful)
    pair = (hands.right, hands.left)
    matches = match_places(useful, pair)
    if told:
        return align_hands(hands, _by_box(useful, matches, pair))
    chosen = choose_points(useful, matches, pair)
    if not any(choice is not None and choice.points is not None for choice in chosen):
        return hands
    start = _look_again(model, hands, image, chosen)
    return align_hands(start, [None if choice is None else choice.points for choice in chosen])


def _guide_people(model: Predictor, hands: TwoHands, image: np.ndarray, given: Sequence[KeyPoints]) -> TwoHands:
    """Each person's hands aligned to the key points at their place; those that lie at nobody's are one more person's."""
    people = [*(hands.people or ()), replace(hands, right=None, left=None, people=None)]
    own: list[list[KeyPoints]] = [[] for _ in people]
    for points in given:
        apart = [min((_apart(points, hand) for hand in person.hands), default=SAME_HAND) for person in people]
        own[int(np.argmin(apart)) if min(apart) < SAME_HAND else -1].append(points)
    guided = [guide(model, person, image, points) for person, points in zip(people, own)]
    seen = [person for person in guided if person.hands]
    seen.sort(key=lambda person: min(float(hand.translation[2]) for hand in person.hands))
    return replace(seen[0], people=tuple(seen), file=hands.file) if seen else hands


def _apart(points: KeyPoints, hand: Hand) -> float:
    """How far the key points lie from the hand's joints on average, over the larger one's size."""
    off = np.linalg.norm(hand.joints2d - points.points, axis=1)[points.sure].mean()
    return float(off / max(points.size, np.ptp(hand.joints2d, 0).max()))


def match_places(given: Sequence[KeyPoints], pair: Sequence[Hand | None]) -> list[int | None]:
    """For each of the hands from elsewhere: the side of the network's hand at the same place; each at most once."""
    options = []
    for index, points in enumerate(given):
        for side, hand in enumerate(pair):
            if hand is not None:
                apart = _apart(points, hand)
                options.append((apart + OTHER_NAME * (points.side not in (None, SIDES[side])), index, side))
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


def choose_points(
    given: Sequence[KeyPoints], matches: Sequence[int | None], pair: Sequence[Hand | None]
) -> tuple[Choice | None, Choice | None]:
    """What is taken for the right and the left hand: the greatest sum of log odds of the sides.

    Of the hands from elsewhere at most two, those that the network sees too and then the largest, and these always; where
    they leave a place, a hand that only the network sees: on the other side than it has it, if theirs is that one.
    """
    order = sorted(range(len(given)), key=lambda i: (matches[i] is None, -given[i].size))[:2]
    hands = [(Choice(given[i], matches[i]), _odds(given[i], matches[i], pair)) for i in order]
    alone = [side for side, hand in enumerate(pair) if hand is not None and side not in matches]
    hands += [(Choice(None, side), _odds(None, side, pair)) for side in alone]
    needed = set(range(len(order)))
    places = (None, *range(len(hands)))
    ways = [(r, left) for r in places for left in places if (r is None or r != left) and needed <= {r, left}]

    def value(way: tuple[int | None, int | None]) -> tuple[float, int]:
        taken = [(side, index) for side, index in enumerate(way) if index is not None]
        return sum(hands[index][1][side] for side, index in taken), len(taken)

    right, left = (None if index is None else hands[index][0] for index in max(ways, key=value))
    return right, left


def _odds(points: KeyPoints | None, match: int | None, pair: Sequence[Hand | None]) -> np.ndarray:
    """(2,) log odds for right and for left, of what speaks for either."""
    odds = np.zeros(2)
    if points is not None and points.side is not None:
        sure = float(np.clip(points.score, 0.5, MOST_SURE))
        odds[SIDES.index(points.side)] += np.log(sure / (1 - sure))
    hand = None if match is None else pair[match]
    if hand is not None:
        odds[match] += NETWORK_ODDS * hand.score
    return odds


def _by_box(
    given: Sequence[KeyPoints], matches: Sequence[int | None], pair: Sequence[Hand | None]
) -> tuple[KeyPoints | None, KeyPoints | None]:
    """For boxes that the user gave: what matches by place, else what bears the side's name and lies in its box."""
    out: list[KeyPoints | None] = [None, None]
    for side, hand in enumerate(pair):
        free = [p for p, match in zip(given, matches) if match is None and p.side == SIDES[side]]
        near = [p for p in free if hand is not None and iou(grown(p.box), hand.box) > SAME_BOX]
        out[side] = next((p for p, match in zip(given, matches) if match == side), near[0] if near else None)
    return out[0], out[1]


def _look_again(model: Predictor, hands: TwoHands, image: np.ndarray, chosen: Sequence[Choice | None]) -> TwoHands:
    """The network's hands in the boxes of the chosen key points; and one that changes its side, in its own box."""
    pair = (hands.right, hands.left)
    out: list[Hand | None] = [None, None]
    boxes, there = np.zeros((2, 4)), np.zeros(2, bool)
    for side, choice in enumerate(chosen):
        if choice is None:
            continue
        hand = None if choice.match is None else pair[choice.match]
        if choice.points is not None:
            boxes[side], there[side] = grown(choice.points.box), True
        elif hand is not None:
            boxes[side], there[side] = (
                hand.box,
                meets_picture(hand.box, *image.shape[:2]),
            )  # which it may just have left
            out[side] = hand if choice.match == side else None
    if not there.any():
        return replace(hands, right=out[0], left=out[1])
    seen = model.predict(image, camera=hands.camera, boxes=boxes, given=there, file=hands.file)
    for side, (choice, hand) in enumerate(zip(chosen, (seen.right, seen.left))):
        if choice is None or hand is None or out[side] is not None:
            continue
        if choice.points is not None:
            score = float(choice.points.confidence[choice.points.sure].mean())
        else:
            was = pair[choice.match or 0]
            score = 0.0 if was is None else was.score
        out[side] = replace(hand, score=score)
    return replace(hands, right=out[0], left=out[1])
