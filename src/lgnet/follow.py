"""From frame to frame: the next box comes from the last hand, the detector looks only when it has to.

The state is small and passed from call to call. A hand is followed by a box about where it was last seen; the hand
network itself says whether it still is there. The detector looks where no hand is followed, when one was lost, and now
and then besides, to find a hand that came in and to vote on sides: which side a hand is, is asked of every such look,
and the two sides change places only when the votes of all looks together say so. So one wrong look changes nothing,
and a hand that began on the wrong side comes right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .data.sample import grown, project
from .geometry import box_of, iou
from .hands import Camera, Hand, TwoHands
from .predictor import Predictor

if TYPE_CHECKING:
    from .predict import View

LEAST_SCORE = 0.35
"""A followed hand is lost where the network is less sure than this that it is in its box."""
SAME_HAND = 0.3
"""Overlap (intersection over union) at which the detector's hand and a followed one are the same."""
SAME_BOX = 0.6
"""Overlap of two boxes from which on the network may look into the older one."""
NEW_SCORE = 0.3
"""A second hand that the detector finds while one is followed has to score so much: it often invents one over the first,
and once followed the hand network would believe in it."""
LONGEST_WAIT = 15
"""Frames between two looks of the detector while both hands are followed; after a loss or a find it starts at 1."""
WAIT_FOR_OTHER = 5
"""The same while only one hand is followed."""
MOST_VOTES = 2.0
"""Votes for a side do not grow beyond this, so that a mistake can be outvoted by a few looks."""
JUMP = 1.0
"""A hand whose middle moved by more than this many boxes, or whose size changed by e to this power, was lost."""

GROWTH = 1.2
"""The next box over the mesh's. In a box that just holds a hand the bundled network draws it a little too small, in a smaller
one more so (docs/video.md), so a box that was the mesh's own would shrink from frame to frame; with 1.2 it settles, from half the
hand's size or twice, at about 1.2 times the hand."""


@dataclass(frozen=True)
class Track:
    """One followed hand."""

    box: np.ndarray  # (4,) x, y, w, h pixels: where to look next
    age: int  # frames it has been followed; 0 where it was just found
    votes: float  # for its side: the scores of the looks that agreed, less those that did not


@dataclass(frozen=True)
class Following:
    """What is kept from one frame to the next."""

    tracks: tuple[Track | None, Track | None] = (None, None)  # right, left
    wait: int = 0  # frames until the detector looks again
    pause: int = 1  # frames that it will then be left alone; doubles with every look that finds nothing new


@dataclass(frozen=True)
class Step:
    """One frame's outcome."""

    hands: TwoHands
    state: Following
    looked: bool  # the detector did
    fresh: tuple[bool, bool]  # right, left: this is not the hand that had this side in the frame before


def follow(
    model: Predictor,
    state: Following,
    image: np.ndarray,
    camera: Camera | None = None,
    file: str | None = None,
) -> Step:
    """The hands of the next frame.

    Args:
        model: what reconstructs one picture.
        state: of the frame before; `Following()` at the start and after a cut.
        image: (H, W, 3) uint8 RGB.
        camera: None: as `model.predict` assumes it.
        file: the name that the result carries.
    """
    return follow_some(model, state, [image], camera, file)[0]


def follow_some(
    model: Predictor,
    state: Following,
    images: Sequence[np.ndarray],
    camera: Camera | None = None,
    file: str | None = None,
) -> list[Step]:
    """The hands of the next frames, which the network looks at together: sooner done than one by one.

    All are looked at where the hands were last seen, so it is for frames that follow closely.

    Args:
        model: what reconstructs pictures.
        state: of the frame before the first.
        images: (H, W, 3) uint8 RGB each, one at least, of one size.
        camera: None: as `model.predict` assumes it.
        file: the name that the results carry.

    Returns:
        The steps of the first frames, at least one. It ends early where the others want to be looked at elsewhere: a hand
        came, was lost, changed its side or moved away from where it was looked for.
    """
    begun, steps = state.tracks, []
    for image, result in zip(images, _see(model, begun, images, camera, file)):
        step = _judge(model, state, image, result, camera, file)
        state = step.state
        steps.append(step)
        if not all(_still(old, new) for old, new in zip(begun, state.tracks)):
            break
    return steps


def _still(old: Track | None, new: Track | None) -> bool:
    """Would the new box show what the old one shows?"""
    if old is None or new is None:
        return old is new
    return new.age > old.age and iou(old.box, new.box) > SAME_BOX


def _judge(
    model: Predictor,
    state: Following,
    image: np.ndarray,
    result: TwoHands | None,
    camera: Camera | None,
    file: str | None,
) -> Step:
    """One frame's step, from what the network sees in the tracks' boxes."""
    before = state.tracks

    def again(hand: Hand, side: int) -> Hand | None:
        boxes = np.stack([grown(hand.box, GROWTH)] * 2)
        (seen,) = model.predict_same([image], camera, boxes, np.arange(2) == side, file)
        other = (seen.right, seen.left)[side]
        return other if other is not None and other.score >= LEAST_SCORE else None

    if result is not None:
        result = _believed(result, before)
    seen = (None, None) if result is None else (result.right, result.left)
    kept = [None if hand is None else track for track, hand in zip(before, seen)]
    lost = any(track is not None and hand is None for track, hand in zip(before, seen))
    if result is not None and any(seen) and state.wait > 0 and not lost:
        tracks = _next(seen, kept, result.camera)
        return Step(result, replace(state, tracks=tracks, wait=state.wait - 1), False, (False, False))
    if result is None or not any(seen):
        found = model.predict(image, camera=camera, boxes=None, given=None, file=file)
        hands, tracks, fresh = _merge(seen, kept, (found.right, found.left), again)
    else:
        view = model.find(image, result.camera)
        agreed = _agreed(seen, kept, view)
        if agreed is not None:
            found, hands, tracks, fresh = result, seen, agreed, (False, False)
        else:
            found = model.look(view, file)
            hands, tracks, fresh = _merge(seen, kept, (found.right, found.left), again)
    longest = WAIT_FOR_OTHER if None in hands else LONGEST_WAIT
    pause = 1 if lost or any(fresh) or _doubted(kept, tracks) else min(2 * state.pause, longest)
    wait = pause if any(hands) else 0
    result = replace(found, right=hands[0], left=hands[1])
    return Step(result, Following(_next(hands, tracks, found.camera), wait, pause), True, fresh)


def led(step: Step, hands: TwoHands) -> Step:
    """The same step with its hands exchanged for surer ones of the same frame, which are then followed.

    A hand at a place where the step had none of its side is a fresh one.
    """
    tracks: list[Track | None] = [None, None]
    fresh = list(step.fresh)
    pairs = zip((step.hands.right, step.hands.left), (hands.right, hands.left), step.state.tracks)
    for side, (was, hand, track) in enumerate(pairs):
        if hand is None:
            fresh[side] = False
            continue
        tracks[side] = replace(track or Track(hand.box, 1, hand.score), box=next_box(hand, hands.camera))
        if was is None or iou(mesh_box(was, hands.camera), mesh_box(hand, hands.camera)) < SAME_HAND:
            fresh[side] = True
    state = replace(step.state, tracks=(tracks[0], tracks[1]))
    return replace(step, hands=hands, state=state, fresh=(fresh[0], fresh[1]))


def _doubted(before: Sequence[Track | None], after: Sequence[Track | None]) -> bool:
    """Did the look speak against the sides of followed hands? Then the next look comes soon."""
    lost = [old.votes - new.votes for old, new in zip(before, after) if old is not None and new is not None]
    return sum(lost) > 0


def _see(
    model: Predictor,
    tracks: tuple[Track | None, Track | None],
    images: Sequence[np.ndarray],
    camera: Camera | None,
    file: str | None,
) -> Sequence[TwoHands | None]:
    """What the network sees of each frame in the tracks' boxes; None where there is none to look at."""
    height, width = images[0].shape[:2]
    given = np.array([track is not None and _inside(track.box, width, height) for track in tracks])
    if not given.any():
        return [None] * len(images)
    boxes = np.stack([np.zeros(4) if track is None else track.box for track in tracks])
    return model.predict_same(images, camera, boxes, given, file)


def _believed(hands: TwoHands, tracks: tuple[Track | None, Track | None]) -> TwoHands:
    """Without the hands that the network hardly sees, or that leapt; the boxes of the others are where they are now, not where
    they were looked for.
    """
    right, left = (
        replace(hand, box=mesh_box(hand, hands.camera))
        if hand is not None and track is not None and _believable(hand, track, hands.camera)
        else None
        for hand, track in zip((hands.right, hands.left), tracks)
    )
    return replace(hands, right=right, left=left)


def _believable(hand: Hand, track: Track, camera: Camera) -> bool:
    """Is this still the hand whose box was looked at?"""
    if hand.score < LEAST_SCORE:
        return False
    box = mesh_box(hand, camera)
    size, was = box[2:].max(), track.box[2:].max()
    step = np.linalg.norm(box[:2] + box[2:] / 2 - track.box[:2] - track.box[2:] / 2)
    return bool(np.isfinite(box).all() and step < JUMP * was and abs(np.log(max(size, 1e-6) / was)) < JUMP)


def _merge(
    seen: tuple[Hand | None, Hand | None],
    kept: list[Track | None],
    found: tuple[Hand | None, Hand | None],
    again: Callable[[Hand, int], Hand | None],
) -> tuple[tuple[Hand | None, Hand | None], list[Track | None], tuple[bool, bool]]:
    """Followed hands and those that the detector found, as one pair; their tracks; which are new on their side.

    A found hand over a followed one is that hand, and votes for its side. What is followed stays where the votes do not
    say otherwise; a found hand over none takes its side if that is free, or if the detector saw nothing of the hand
    that has it and it is surer. Where sides change places, a followed hand that the detector saw nothing of is looked at
    `again`, where it is, as one of the other side.
    """
    match = _matches(_boxes(seen), _boxes(found))  # for each found side, the followed side it is, or None
    votes = _votes(kept, match, [0.0 if hand is None else hand.score for hand in found])
    hands, tracks = list(seen), [t and replace(t, votes=v) for t, v in zip(kept, votes)]
    fresh = [False, False]
    if _crossed(votes, match):  # the sides change places; each hand is as the detector's look at this frame has it
        for side in (0, 1):
            hand, was = found[side] if match[side] == 1 - side else None, seen[1 - side]
            if hand is None and was is not None and 1 - side not in match:
                hand = again(was, side)
            hands[side], fresh[side] = hand, hand is not None
            tracks[side] = None if hand is None else Track(np.zeros(4), 0, abs(votes[1 - side]))
        match = [own if own is None else 1 - own for own in match]
    for side in (0, 1):
        hand, rival = found[side], hands[side]
        if hand is None or match[side] is not None or (any(seen) and hand.score < NEW_SCORE):
            continue
        unseen = side not in match
        if rival is None or (unseen and hand.score > rival.score):
            hands[side], tracks[side], fresh[side] = hand, Track(hand.box, 0, hand.score), True
    return (hands[0], hands[1]), tracks, (fresh[0], fresh[1])


def _agreed(seen: tuple[Hand | None, Hand | None], kept: list[Track | None], view: View) -> list[Track | None] | None:
    """The tracks with the votes of a look that showed nothing but the followed hands, each on its side; None where it did.

    Then the network need not look at what was found: it saw these hands already.
    """
    boxes = [box if there else None for box, there in zip(view.boxes, view.given)]
    match = _matches(_boxes(seen), boxes)
    if any(b is not None and m is None and s >= NEW_SCORE for b, m, s in zip(boxes, match, view.scores)):
        return None
    own = [None if m is None else seen[m] for m in match]
    votes = _votes(kept, match, [0.0 if h is None else s * h.score for s, h in zip(view.scores, own)])
    return None if _crossed(votes, match) else [t and replace(t, votes=v) for t, v in zip(kept, votes)]


def _votes(kept: Sequence[Track | None], match: Sequence[int | None], scores: Sequence[float]) -> list[float]:
    """Each followed side's votes after a look that found `match` (see `_matches`) with these scores.

    What a look says of one of two hands holds for the other as well, if it says nothing of that: their sides differ.
    """
    steps: list[float | None] = [None, None]
    for side, own in enumerate(match):
        if own is not None:
            steps[own] = scores[side] if own == side else -scores[side]
    if None not in kept:
        steps = [own if own is not None else other for own, other in zip(steps, steps[::-1])]
    votes = [0.0 if track is None else track.votes for track in kept]
    return [float(np.clip(vote + (step or 0.0), -MOST_VOTES, MOST_VOTES)) for vote, step in zip(votes, steps)]


def _crossed(votes: Sequence[float], match: Sequence[int | None]) -> bool:
    """Whether the votes say that the sides are to change places: only by a look that found a hand on the other one, not for
    what is left of earlier votes when the other hand is gone.
    """
    return sum(votes) < 0 and any(own == 1 - side for side, own in enumerate(match))


def _boxes(hands: Sequence[Hand | None]) -> list[np.ndarray | None]:
    return [None if hand is None else hand.box for hand in hands]


def _matches(seen: Sequence[np.ndarray | None], found: Sequence[np.ndarray | None]) -> list[int | None]:
    """For the found right and left box: which followed side it overlaps; each at most once, the best sum first."""
    overlap = np.array([[iou(f, s) if f is not None and s is not None else 0.0 for s in seen] for f in found])
    straight, crossed = overlap[0, 0] + overlap[1, 1], overlap[0, 1] + overlap[1, 0]
    order = (0, 1) if straight >= crossed else (1, 0)
    return [own if overlap[side, own] > SAME_HAND else None for side, own in enumerate(order)]


def _next(
    hands: tuple[Hand | None, Hand | None], tracks: list[Track | None], camera: Camera
) -> tuple[Track | None, Track | None]:
    """Tracks with the boxes to look at in the next frame."""
    right, left = (
        None if hand is None or track is None else replace(track, box=next_box(hand, camera), age=track.age + 1)
        for hand, track in zip(hands, tracks)
    )
    return right, left


def next_box(hand: Hand, camera: Camera) -> np.ndarray:
    """(4,) x, y, w, h where to look in the next frame: the box of the mesh, grown about its middle by `GROWTH`."""
    return grown(mesh_box(hand, camera), GROWTH)


def mesh_box(hand: Hand, camera: Camera) -> np.ndarray:
    """(4,) x, y, w, h of the mesh in the picture, pixels."""
    return box_of(project(hand.vertices, camera.K))


def _inside(box: np.ndarray, width: int, height: int) -> bool:
    """Is the middle of the box in the picture?"""
    x, y = box[:2] + box[2:] / 2
    return bool(0 <= x < width and 0 <= y < height and box[2:].min() > 1)
