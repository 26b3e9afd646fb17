"""Gestures as rules over joint angles, with hysteresis: frame after frame in, begin, hold and end events out.

A rule is a function of one hand's `Pose` that says from 0 to 1 how much it shows the gesture. It begins where the rule
has said at least `begin` for `wait` seconds, and ends where it says less than `end`, or the hand is gone or became
another, so that noise about one threshold does nothing. A gesture of one's own is a function and a line:

    from lgnet.gestures import Gesture, bent, straight

    def point(pose):
        return min(straight(pose, "index"), bent(pose, "middle"), bent(pose, "ring"), bent(pose, "little"))

    GESTURES = (Gesture("point", point),)

Those here are the application of LGNet's paper: the left thumb out, four fingers bent and the palm to the camera means
forward; the same with the right hand, summon; a pinch that is turned turns a model. docs/streaming.md says more.
"""

from __future__ import annotations

import functools
import math
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .anatomy import angles_from_rotations, palm_axes
from .geometry import rotvec_to_matrix
from .hand_model import HandModel, load_hand_model
from .hands import FINGERS, SIDES, Hand, TwoHands

Phase = Literal["begin", "hold", "end"]
PHASES: tuple[Phase, ...] = ("begin", "hold", "end")
MOST_BYTES = 32
"""Of a gesture's name in UTF-8."""
MOST_VALUE = 1e9
"""Larger than any value of a gesture is."""


@dataclass(frozen=True)
class Pose:
    """One hand in one frame, as rules see it."""

    side: str  # "right" or "left"
    angles: np.ndarray  # (5, 3, 3) radians: thumb to little; its three joints; flex, spread, twist (see anatomy.py)
    joints: np.ndarray  # (21, 3) metres, camera frame
    rotation: np.ndarray  # (3, 3) of the whole hand, canonical -> camera frame
    palm: np.ndarray  # (3,) unit, out of the palm, camera frame
    fingers: np.ndarray  # (3,) unit, from wrist to middle knuckle, camera frame


@dataclass(frozen=True)
class Gesture:
    """A gesture: what it looks like, of which hand, and what number goes with it."""

    name: str
    rule: Callable[[Pose], float]  # 0..1
    hand: Literal["right", "left", "either"] = "either"
    begin: float = 0.6
    end: float = 0.4
    wait: float = 0.1  # seconds for which the rule has to say `begin`
    value: Callable[[Pose, Pose], float] | None = None  # of the pose at the beginning and now; None: 0
    turns: bool = False  # the value is an angle, and is counted on beyond half a turn

    def __post_init__(self) -> None:
        if not self.name or len(self.name.encode()) > MOST_BYTES:
            raise ValueError(f"a gesture's name has 1 to {MOST_BYTES} bytes, unlike {self.name!r}")
        if self.hand not in (*SIDES, "either"):
            raise ValueError(f"the gesture {self.name}: hand is right, left or either, not {self.hand!r}")
        if not 0 <= self.end < self.begin <= 1:
            raise ValueError(f"the gesture {self.name}: end is less than begin, and both are from 0 to 1, as rules say")
        if not 0 <= self.wait < math.inf:
            raise ValueError(f"the gesture {self.name}: wait is seconds, 0 or more, not {self.wait}")


@dataclass(frozen=True)
class Event:
    """What a gesture does in a frame."""

    gesture: str
    hand: str  # "right" or "left"
    phase: Phase
    value: float


@dataclass(frozen=True)
class Active:
    """A gesture that is seen: since when, from which pose on, and its value."""

    since: float  # seconds
    first: Pose
    value: float | None  # None: it has not begun yet


State = Mapping[tuple[str, str], Active]
"""By gesture and side; {} at the start."""


def recognise(
    gestures: Sequence[Gesture], state: State, time: float, hands: TwoHands, fresh: tuple[bool, bool] = (False, False)
) -> tuple[State, list[Event]]:
    """The events of the next frame.

    Args:
        gestures: those to look for, of different names.
        state: what the frame before gave; {} at the start.
        time: seconds, rising.
        hands: the frame's.
        fresh: right, left: this is not the hand that had this side before, so what that one did has ended.

    Returns:
        The state for the next frame, and for each gesture that is on one event. Ends come first.
    """
    now: dict[tuple[str, str], Active] = {}
    ended, others = [], []
    for index, (side, hand) in enumerate(zip(SIDES, (hands.right, hands.left))):
        pose = None if hand is None else pose_of(hand, hands.model.get("hand_model", "lgnet"))
        for gesture in gestures:
            if gesture.hand not in ("either", side):
                continue
            key = (gesture.name, side)
            before = state.get(key)
            score = 0.0 if pose is None else _ask(gesture, gesture.rule, pose)
            if before is not None and (fresh[index] or pose is None or not score >= _least(gesture, before)):
                if before.value is not None:
                    ended.append(Event(gesture.name, side, "end", before.value))
                before = None
            if pose is None or not score >= _least(gesture, before):
                continue
            active = before or Active(time, pose, None)
            if active.value is not None:
                active = Active(active.since, active.first, _value(gesture, active, pose))
                others.append(Event(gesture.name, side, "hold", active.value or 0.0))
            elif time - active.since >= gesture.wait:
                begun = Active(active.since, pose, None)
                active = Active(active.since, pose, _value(gesture, begun, pose))
                others.append(Event(gesture.name, side, "begin", active.value or 0.0))
            now[key] = active
    return now, ended + others


def _least(gesture: Gesture, before: Active | None) -> float:
    return gesture.begin if before is None or before.value is None else gesture.end


def _ask(gesture: Gesture, question: Callable[..., float], *poses: Pose) -> float:
    try:
        return float(question(*poses))
    except (Exception, SystemExit) as error:  # whatever the user's own code does
        raise ValueError(f"the gesture {gesture.name} failed: {type(error).__name__}: {error}") from error


def _value(gesture: Gesture, active: Active, pose: Pose) -> float:
    if gesture.value is None:
        return 0.0
    value = _ask(gesture, gesture.value, active.first, pose)
    if not abs(value) < MOST_VALUE:
        raise ValueError(f"the gesture {gesture.name} failed: its value is {value:g}, no number below {MOST_VALUE:g}")
    if gesture.turns and active.value is not None:  # the nearest of all angles that look like this one
        value += 2 * math.pi * round((active.value - value) / (2 * math.pi))
    return value


def end_all(state: State) -> list[Event]:
    """The events that end whatever is on, for the end of a video or stream."""
    return [Event(name, side, "end", a.value) for (name, side), a in state.items() if a.value is not None]


@functools.lru_cache(maxsize=4)
def _model(name: str, side: str) -> tuple[HandModel, np.ndarray]:
    model = load_hand_model(name, side)
    return model, palm_axes(model).double().numpy()


def pose_of(hand: Hand, hand_model: str = "lgnet") -> Pose:
    """What rules see of a hand."""
    model, axes = _model(hand_model, hand.side)
    rotations = rotvec_to_matrix(torch.from_numpy(np.asarray(hand.pose, np.float64)))
    angles = angles_from_rotations(model, rotations[1:]).numpy().reshape(5, 3, 3)
    whole = rotations[0].numpy()
    fingers, palm = axes @ whole.T
    return Pose(hand.side, angles, np.asarray(hand.joints3d, np.float64), whole, palm, fingers)


# What rules are made of


def rise(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, a straight line between; `low` may be the greater: then it falls."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _finger(name: str) -> int:
    if name not in FINGERS:
        raise ValueError(f"there is no finger {name!r}; they are {', '.join(FINGERS)}")
    return FINGERS.index(name)


def flex(pose: Pose, finger: str, joint: int) -> float:
    """Degrees by which a finger's joint (0 to 2 from the palm on) is bent."""
    return math.degrees(pose.angles[_finger(finger), joint, 0])


def curl(pose: Pose, finger: str) -> float:
    """Degrees: the mean flex of a finger's knuckle and middle joint, 0 flat to some 90; of the thumb: MCP and IP."""
    first = 1 if finger == "thumb" else 0
    return (flex(pose, finger, first) + flex(pose, finger, first + 1)) / 2


def bent(pose: Pose, finger: str) -> float:
    """0..1: is the finger bent? 0 at a mean flex of 35 degrees, 1 at 65."""
    return rise(curl(pose, finger), 35, 65)


def straight(pose: Pose, finger: str) -> float:
    """0..1: is the finger straight? 1 at a mean flex of 15 degrees, 0 at 40."""
    return rise(curl(pose, finger), 40, 15)


def thumb_out(pose: Pose) -> float:
    """0..1: does the thumb stand off the hand? Straight in itself, and at its root not bent across the palm."""
    return min(rise(curl(pose, "thumb"), 30, 8), rise(flex(pose, "thumb", 0), 12, -6))


def facing(pose: Pose) -> float:
    """The cosine of the angle between the palm's direction and the way from the hand to the camera: 1 at the camera."""
    middle = pose.joints[[0, 5, 9, 17]].mean(0)
    return float(-pose.palm @ middle / max(float(np.linalg.norm(middle)), 1e-9))


def gap(pose: Pose, a: str, b: str) -> float:
    """Between two fingertips, over the length from wrist to middle knuckle."""
    first, second = (pose.joints[4 * _finger(finger) + 4] for finger in (a, b))
    palm = np.linalg.norm(pose.joints[9] - pose.joints[0])
    return float(np.linalg.norm(first - second) / max(float(palm), 1e-9))


def turned(first: Pose, now: Pose) -> float:
    """Radians, -pi to pi: how far the hand has turned in the picture's plane, counter-clockwise as one sees the picture.

    The twist, about the camera's axis, of the rotation from the first pose to this one.
    """
    difference = (
        now.rotation @ first.rotation.T
    )  # counter-clockwise seen: against the camera frame's z, which is forward
    return -math.atan2(difference[1, 0] - difference[0, 1], difference[0, 0] + difference[1, 1])


# The paper's


def thumb_out_palm_forward(pose: Pose) -> float:
    """Thumb out, four fingers bent, the palm to the camera (1 within 35 degrees, 0 from 65 on)."""
    palm = rise(facing(pose), math.cos(math.radians(65)), math.cos(math.radians(35)))
    return min(palm, thumb_out(pose), *(bent(pose, finger) for finger in FINGERS[1:]))


def pinch(pose: Pose) -> float:
    """Tips of thumb and index finger together, the index finger not curled into the palm as in a fist.

    The tips are the fingers' ends: where the pads touch they are some 14 mm apart, 0.16 of the palm.
    """
    return min(rise(gap(pose, "thumb", "index"), 0.40, 0.15), rise(flex(pose, "index", 1), 88, 70))


PAPER: tuple[Gesture, ...] = (
    Gesture("forward", thumb_out_palm_forward, hand="left"),
    Gesture("summon", thumb_out_palm_forward, hand="right"),
    Gesture("pinch", pinch, begin=0.65, end=0.3, value=turned, turns=True),
)
"""The paper's application, and what is looked for where nothing else is asked."""


def load_gestures(name: str) -> tuple[Gesture, ...]:
    """ "paper": those of this module; "none"; else a Python file, which is run, whose `GESTURES` they are.

    Raises:
        ValueError: it cannot be read or run, has no `GESTURES`, or two have one name.
    """
    if name == "none":
        return ()
    if name == "paper":
        return PAPER
    if not name.endswith(".py"):
        raise ValueError(f"--gestures takes paper, none or a Python file, not {name!r}")
    found = _run(Path(name)).get("GESTURES")
    if not isinstance(found, (tuple, list)) or not all(isinstance(gesture, Gesture) for gesture in found):
        raise ValueError(f"the gestures' file {name} has to hold GESTURES = (Gesture(...), ...), see docs/streaming.md")
    names = [gesture.name for gesture in found]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise ValueError(f"the gestures' file {name} has two gestures named {twice[0]!r}; give each a name of its own")
    return tuple(found)


def _run(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"the gestures' file {path} does not exist; check the name")
    try:
        return runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # whatever the user's own code does
        raise ValueError(f"the gestures' file {path} cannot be run: {type(error).__name__}: {error}") from error
