"""Hands that move smoothly: filters over the frames of a video, live (causal) or with a look ahead (two-sided).

Filtered are the 16 rotations (in the tangent space of SO(3)), where the wrist is seen, the log of its distance over the
hand's size, and the network's last offsets of the mesh; shape and length are the mean of all frames of the hand so far.
Mesh, joints in space and joints in the picture are then made anew of these, so they agree with each other. A hand that
was lost, or changed places with the other, begins anew.

- live: the one-euro filter (Casiez, Roussel and Vogel, CHI 2012): a low-pass whose cutoff rises with speed.
- offline: a local linear fit weighted by a Gaussian in time (Savitzky and Golay's idea; Cleveland's weights are close
  to it), which delays nothing; it looks `REACH` seconds ahead, so frames come out so much later, and memory stays flat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from .data.sample import project
from .geometry import matrices_of, rotvecs_of
from .hand_model import HandModel, length_of, load_hand_model, pose_hand
from .hands import SIDES, Hand, TwoHands

How = Literal["off", "live", "offline"]

SPEED_CUTOFF = 1.0
"""Hz, of the speed that the one-euro filter goes by; the paper's."""
ROTATION, PLACE, DISTANCE, OFFSET = (1.5, 1.5), (3.0, 30.0), (0.3, 1.0), (1.0, 0.0)
"""Least cutoff in Hz, and its rise with speed: of rotations per rad/s, of the direction in which the wrist is seen per
rad/s, of the log of its distance per 1/s, of the offsets. docs/video.md says how they were chosen."""
SIGMA = 0.07
"""Seconds: the Gaussian of the two-sided filter."""
REACH = 0.15
"""Seconds that it looks back and ahead."""
MOST_AHEAD = 12
"""Frames that it looks ahead at most, as their pictures are kept."""
LONGEST_STEP = 2.0
"""Seconds without any frame from which on a hand begins anew: that was a pause, not a slow machine."""
GAP = 0.3
"""Seconds after which a hand that was not seen begins anew."""


@dataclass(frozen=True)
class Moment:
    """One frame's hands on their way through a filter."""

    time: float  # seconds
    hands: TwoHands
    fresh: tuple[bool, bool] = (False, False)  # right, left: not the hand that had this side before
    image: np.ndarray | None = None  # carried along


@dataclass(frozen=True)
class Numbers:
    """One hand as what is filtered."""

    rotations: np.ndarray  # (16, 3, 3)
    place: np.ndarray  # (2,) x / z, y / z of the wrist
    distance: np.ndarray  # (1,) log of z over the hand's length
    offsets: np.ndarray  # (V, 3) final less rough mesh, wrist's frame, unscaled


@dataclass(frozen=True)
class Size:
    """Sums over the frames of one hand."""

    count: int
    betas: np.ndarray  # (10,)
    length: float  # metres


def smooth(moments: Iterable[Moment], how: How) -> Iterator[Moment]:
    """The same moments in the same order, their hands filtered; "off": as they are."""
    if how == "off":
        yield from moments
    elif how == "live":
        yield from _live(moments)
    else:
        yield from _offline(moments)


def _model_of(hands: TwoHands, side: int) -> HandModel:
    return load_hand_model(hands.model["hand_model"], SIDES[side])


def to_numbers(hand: Hand, model: HandModel) -> Numbers:
    """What is filtered of this hand."""
    rotations = matrices_of(hand.pose)
    x, y, z = hand.translation
    length = hand.scale * length_of(model, hand.shape)
    offsets = (hand.vertices - hand.vertices_rough) @ rotations[0] / hand.scale
    return Numbers(rotations, np.array([x / z, y / z]), np.array([np.log(z / length)]), offsets)


def to_hand(hand: Hand, numbers: Numbers, size: Size, model: HandModel, K: np.ndarray) -> Hand:
    """The hand with its pose, place and size exchanged, everything else made of them.

    Args:
        hand: side, score, box, and whether it is scaled, are taken from it.
        numbers: pose and place.
        size: shape and length.
        model: the hand model of this side.
        K: (4,) of the camera.
    """
    betas = size.betas / size.count
    own = length_of(model, betas)
    scale = 1.0 if hand.scale == 1.0 else size.length / size.count / own
    z = float(np.exp(numbers.distance[0])) * scale * own
    at = np.array([*(numbers.place * z), z])
    with torch.inference_mode():
        posed = pose_hand(model, torch.from_numpy(numbers.rotations).float(), torch.from_numpy(betas).float())
    moved = numbers.offsets @ numbers.rotations[0].T
    rough, joints = posed.vertices.double().numpy(), posed.joints.double().numpy()
    influence = model.vertex_influence.double().numpy()
    joints3d = scale * (joints + influence @ moved) + at
    return replace(
        hand,
        joints2d=project(joints3d, K),
        joints3d=joints3d,
        vertices=scale * (rough + moved) + at,
        vertices_rough=scale * rough + at,
        pose=rotvecs_of(numbers.rotations),
        shape=betas,
        translation=at,
        scale=scale,
    )


def add_size(size: Size | None, hand: Hand, model: HandModel) -> Size:
    """The sums with one more frame."""
    length = hand.scale * length_of(model, hand.shape)
    if size is None:
        return Size(1, hand.shape, length)
    return Size(size.count + 1, size.betas + hand.shape, size.length + length)


@dataclass(frozen=True)
class Euro:
    """A one-euro filter's memory of n vectors (n, d), or of n rotations (n, 3, 3)."""

    value: np.ndarray
    raw: np.ndarray
    speed: np.ndarray  # (n, d) filtered, per second


def one_euro(state: Euro | None, raw: np.ndarray, dt: float, least: float, rise: float, whole: bool = False) -> Euro:
    """One step of the filter.

    Args:
        state: of the step before; None: the first, which passes as it is.
        raw: (n, d) vectors, each with its own speed, or (n, 3, 3) rotations.
        dt: seconds since the step before.
        least: Hz, cutoff at rest.
        rise: Hz per unit of speed.
        whole: all vectors go by their common speed (root mean square), so that they stay one body.
    """
    turning = raw.ndim == 3
    if state is None:
        return Euro(raw, raw, np.zeros((len(raw), 3)) if turning else np.zeros_like(raw))
    step = rotvecs_of(np.swapaxes(state.raw, -1, -2) @ raw) if turning else raw - state.raw
    speed = state.speed + _share(SPEED_CUTOFF, dt) * (step / dt - state.speed)
    fast = np.linalg.norm(speed, axis=-1, keepdims=True)
    if whole:
        fast = np.sqrt((fast**2).mean(keepdims=True))
    share = _share(least + rise * fast, dt)
    if turning:
        value = state.value @ matrices_of(share * rotvecs_of(np.swapaxes(state.value, -1, -2) @ raw))
    else:
        value = state.value + share * (raw - state.value)
    return Euro(value, raw, speed)


def _share(cutoff: np.ndarray | float, dt: float) -> np.ndarray:
    """How much of the new a first-order low-pass of this cutoff (Hz) takes: the paper's alpha."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * cutoff * dt)))


def _live(moments: Iterable[Moment]) -> Iterator[Moment]:
    last: list[float] = [0.0, 0.0]
    nothing: tuple[Euro | None, ...] = (None,) * 4
    filters: list[tuple[Euro | None, ...]] = [nothing, nothing]
    sizes: list[Size | None] = [None, None]
    gone = [True, True]  # not there in the moment before
    for moment in moments:
        out: list[Hand | None] = [None, None]
        for side, hand in enumerate((moment.hands.right, moment.hands.left)):
            absent, gone[side] = gone[side], hand is None
            if hand is None:
                continue
            dt = moment.time - last[side]
            if moment.fresh[side] or dt <= 0 or dt > (GAP if absent else LONGEST_STEP):
                filters[side], sizes[side], dt = nothing, None, 1.0
            last[side] = moment.time
            model = _model_of(moment.hands, side)
            raw = to_numbers(hand, model)
            size = sizes[side] = add_size(sizes[side], hand, model)
            turn, place, distance, offset = filters[side]
            turn = one_euro(turn, raw.rotations, dt, *ROTATION)
            place = one_euro(place, raw.place[None], dt, *PLACE)
            distance = one_euro(distance, raw.distance[None], dt, *DISTANCE)
            offset = one_euro(offset, raw.offsets, dt, *OFFSET, whole=True)
            filters[side] = (turn, place, distance, offset)
            numbers = Numbers(turn.value, place.value[0], distance.value[0], offset.value)
            out[side] = to_hand(hand, numbers, size, model, moment.hands.camera.K)
        yield replace(moment, hands=replace(moment.hands, right=out[0], left=out[1]))


@dataclass
class _Entry:
    """A moment in the two-sided filter's window; its picture goes when it has come out."""

    moment: Moment
    numbers: tuple[Numbers | None, Numbers | None]
    piece: tuple[int, int]  # counts the stretches of each side over which a hand is the same


def _offline(moments: Iterable[Moment]) -> Iterator[Moment]:
    past: deque[_Entry] = deque()
    ahead: deque[_Entry] = deque()
    last, piece = [-np.inf, -np.inf], [0, 0]
    sizes: dict[tuple[int, int], Size] = {}  # by side and stretch

    def first_out() -> Moment:
        entry = ahead.popleft()
        window = [*past, entry, *ahead]
        result = _fitted(entry, window, sizes)
        past.append(replace(entry, moment=replace(entry.moment, image=None)))
        while past and past[0].moment.time < entry.moment.time - REACH:
            past.popleft()
        for key in [k for k in sizes if k[1] < entry.piece[k[0]]]:
            del sizes[key]
        return result

    for moment in moments:
        numbers: list[Numbers | None] = [None, None]
        for side, hand in enumerate((moment.hands.right, moment.hands.left)):
            if hand is None:
                continue
            if moment.fresh[side] or moment.time - last[side] > GAP:
                piece[side] += 1
            last[side] = moment.time
            model = _model_of(moment.hands, side)
            numbers[side] = to_numbers(hand, model)
            sizes[side, piece[side]] = add_size(sizes.get((side, piece[side])), hand, model)
        ahead.append(_Entry(moment, (numbers[0], numbers[1]), (piece[0], piece[1])))
        while len(ahead) > MOST_AHEAD or ahead[-1].moment.time - ahead[0].moment.time >= REACH:
            yield first_out()
    while ahead:
        yield first_out()


def _fitted(entry: _Entry, window: list[_Entry], sizes: dict[tuple[int, int], Size]) -> Moment:
    """The entry's moment with each hand as the fit over the window has it."""
    moment = entry.moment
    out: list[Hand | None] = [None, None]
    for side, hand in enumerate((moment.hands.right, moment.hands.left)):
        own = entry.numbers[side]
        if hand is None or own is None:
            continue
        near = [
            (e.moment.time - moment.time, n)
            for e in window
            if e.piece[side] == entry.piece[side] and (n := e.numbers[side]) is not None
        ]
        near = [(dt, n) for dt, n in near if abs(dt) <= REACH]
        weight = fit_weights(np.array([dt for dt, _ in near]))
        turns = rotvecs_of(np.swapaxes(own.rotations, -1, -2) @ np.stack([n.rotations for _, n in near]))
        numbers = Numbers(
            rotations=own.rotations @ matrices_of(np.tensordot(weight, turns, 1)),
            place=np.tensordot(weight, np.stack([n.place for _, n in near]), 1),
            distance=np.tensordot(weight, np.stack([n.distance for _, n in near]), 1),
            offsets=np.tensordot(weight, np.stack([n.offsets for _, n in near]), 1),
        )
        model = _model_of(moment.hands, side)
        out[side] = to_hand(hand, numbers, sizes[side, entry.piece[side]], model, moment.hands.camera.K)
    return replace(moment, hands=replace(moment.hands, right=out[0], left=out[1]))


def fit_weights(dt: np.ndarray) -> np.ndarray:
    """(n,) what each neighbour `dt` (n,) seconds away counts in a straight line's value at 0; they sum to 1.

    With neighbours alike on both sides it is the Gaussian mean; at an end the line keeps what moves from lagging. Less
    than three neighbours make no line: then it is the mean.
    """
    weight = np.exp(-0.5 * (dt / SIGMA) ** 2)
    if len(dt) < 3:
        return weight / weight.sum()
    s0, s1, s2 = weight.sum(), (weight * dt).sum(), (weight * dt**2).sum()
    return weight * (s2 - s1 * dt) / (s0 * s2 - s1**2)
