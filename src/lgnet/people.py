"""Several people in view: which hands belong together, and which pair is the nearest.

Nothing is known of the arms, so pairs are told by distance in hand sizes, by size, by side, and by order: people who face
the camera have their right hand to the left of their left one in the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from .detect import (
    HAND_THRESHOLD,
    SAME_PLACE,
    SIDE_WEIGHT,
    Detection,
    Place,
    as_hand,
    choose_sides,
    one_each,
    same_place,
    side_evidence,
)
from .geometry import iou

TOGETHER = 1.0
"""What two hands of a pair gain by being one, against log odds of the places' evidence."""
APART = 0.2
"""What each hand size between the two middles takes from that."""
UNLIKE = 1.5
"""What the log of their sizes' ratio takes."""
CROSSED = 0.4
"""What it takes that the right hand is to the right."""
FARTHER = 0.5
"""Others' hands are farther away for certain where they are smaller than this times the nearest pair's: fists look that
much smaller than open hands at the same distance."""
MOST = 12
"""Hands of a picture that are grouped, the best first."""

Person = tuple[Detection | None, Detection | None]  # right, left; not both None


def group(places: Sequence[Place], sides: np.ndarray) -> list[Person]:
    """The people whose hands these places are, the largest hand first: the choice of pairs, single hands and sides whose
    sum of evidence is greatest.

    Args:
        places: from `places.find_places`.
        sides: (len(places), 3) from `side.look_at_places`: right, left, none.
    """
    if not places:
        return []
    _, confidence = side_evidence(places, sides, HAND_THRESHOLD, SIDE_WEIGHT)

    def hand(index: int | None, side: int) -> Detection | None:
        return None if index is None else as_hand(places[index], side, confidence[index, side])

    return _once([(hand(right, 0), hand(left, 1)) for right, left in _pairs(places, sides)])


def _once(people: Sequence[Person]) -> list[Person]:
    """Without those all of whose hands lie where another's hand of the same side is: hands that were found twice. Of two such
    people the pair stays, else the surer hand.
    """

    def surest(person: Person) -> tuple[bool, float]:
        return None not in person, max(hand.score for hand in person if hand is not None)

    kept: list[Person] = []
    for person in sorted(people, key=surest, reverse=True):
        others = [[other[side] for other in kept] for side in (0, 1)]
        twice = (
            hand is None or any(o is not None and iou(o.box, hand.box) > SAME_PLACE for o in others[side])
            for side, hand in enumerate(person)
        )
        if not all(twice):
            kept.append(person)
    return [person for person in people if any(person is other for other in kept)]


def _pairs(places: Sequence[Place], sides: np.ndarray) -> list[tuple[int | None, int | None]]:
    """As `group`, by the places' indices."""
    evidence, _ = side_evidence(places, sides, HAND_THRESHOLD, SIDE_WEIGHT)
    order: list[int] = []  # of those that are the same place the one that most speaks for
    for i in np.argsort(-evidence.max(1), kind="stable").tolist():
        if evidence[i].max() > 0 and not any(same_place(places[i], places[j]) for j in order):
            order.append(i)
    del order[MOST:]
    boxes = np.array([places[i].box for i in order]).reshape(-1, 4)
    middle, size = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max(1, initial=1.0)

    def pair(right: int, left: int) -> float:
        mean = np.sqrt(size[right] * size[left])
        gain = TOGETHER - APART * np.linalg.norm(middle[right] - middle[left]) / mean
        gain -= UNLIKE * abs(np.log(size[right] / size[left])) + CROSSED * (middle[right, 0] > middle[left, 0])
        return float(gain + evidence[order[right], 0] + evidence[order[left], 1])

    @cache
    def best(taken: int) -> tuple[float, tuple[tuple[int, int], ...]]:
        first = next((i for i in range(len(order)) if not taken >> i & 1), None)
        if first is None:
            return 0.0, ()
        rest = best(taken | 1 << first)
        side = int(evidence[order[first], 1] > evidence[order[first], 0])
        alone = (first, -1) if side == 0 else (-1, first)
        options: list[tuple[float, tuple[tuple[int, int], ...]]]
        options = [(float(evidence[order[first]].max()) + rest[0], (alone, *rest[1]))]
        for other in range(first + 1, len(order)):
            if not taken >> other & 1:
                rest = best(taken | 1 << first | 1 << other)
                for right, left in ((first, other), (other, first)):
                    if not one_each(places, sides, order[right], order[left]):
                        continue
                    options.append((pair(right, left) + rest[0], ((right, left), *rest[1])))
        return max(options, key=lambda option: option[0])

    people = [(order[a] if a >= 0 else None, order[b] if b >= 0 else None) for a, b in best(0)[1]]
    return sorted(people, key=lambda person: _size(places, person), reverse=True)


def _size(places: Sequence[Place], person: tuple[int | None, int | None]) -> float:
    return max(float(places[i].box[2:].max()) for i in person if i is not None)


def nearest_pair(places: Sequence[Place], sides: np.ndarray) -> list[Detection]:
    """At most one right and one left hand, as `detect.choose_sides` has them, without those of people farther away.

    Only where the largest hands are a pair are smaller ones others': a single one's fellow may look small.
    """
    people = _pairs(places, sides) if places else []
    if len(people) < 2 or None in people[0]:
        return choose_sides(places, sides)
    least = FARTHER * _size(places, people[0])
    far = [places[i] for person in people[1:] if _size(places, person) < least for i in person if i is not None]
    keep = [i for i, place in enumerate(places) if not any(place is f or same_place(place, f) for f in far)]
    return choose_sides([places[i] for i in keep], sides[keep])
