"""Hand poses in angles a person understands: a library of what hands do before a camera, and a broad prior.

A pose is (15, 3) radians: flex, spread, twist of each finger joint (thumb CMC, MCP, IP; index MCP, PIP, DIP; ...) as
`lgnet.anatomy.rotations_from_angles` takes them. The wrist's orientation is a view, see scene.py.
"""

from __future__ import annotations

import numpy as np

from ..anatomy import LIMITS

Finger = tuple[float, float, float, float]  # degrees: MCP flex, PIP flex, DIP flex, MCP spread

STRAIGHT: Finger = (2, 5, 3, 0)
CURLED: Finger = (75, 95, 55, 0)
HALF: Finger = (40, 45, 25, 0)
RELAXED: Finger = (20, 28, 14, 0)


def _pose(
    thumb: tuple[float, float, float, float],
    index: Finger,
    middle: Finger,
    ring: Finger,
    little: Finger,
) -> np.ndarray:
    """(15, 3) radians. Thumb: CMC flex, CMC spread (away from the palm), MCP flex, IP flex. All in degrees."""
    angles = np.zeros((5, 3, 3))
    angles[0, 0, :2] = thumb[:2]
    angles[0, 1, 0], angles[0, 2, 0] = thumb[2:]
    for finger, (mcp, pip, dip, spread) in enumerate((index, middle, ring, little), start=1):
        angles[finger, :, 0] = mcp, pip, dip
        angles[finger, 0, 1] = spread
    return np.deg2rad(angles.reshape(15, 3))


def _spread(finger: Finger, degrees: float) -> Finger:
    return (*finger[:3], degrees)


S, C, H, R = STRAIGHT, CURLED, HALF, RELAXED
LIBRARY: dict[str, np.ndarray] = {
    "flat": _pose((0, 0, 0, 0), S, S, S, S),
    "open": _pose((-5, 15, 0, 0), _spread(S, 10), _spread(S, 0), _spread(S, 6), _spread(S, 14)),
    "spread": _pose((-10, 25, -5, -10), _spread(S, 16), S, _spread(S, 10), _spread(S, 22)),
    "flat_thumb_in": _pose((30, -5, 25, 15), S, S, S, S),
    "relaxed": _pose((10, 5, 10, 15), (15, 20, 10, 2), (22, 26, 12, 0), (28, 30, 14, 2), (30, 30, 15, 5)),
    "cupped": _pose((20, 15, 10, 10), (35, 25, 12, 2), (38, 26, 12, 0), (40, 28, 14, 2), (42, 28, 14, 4)),
    "fist": _pose((30, 10, 45, 40), C, C, C, C),
    "fist_loose": _pose((20, 10, 30, 30), (60, 75, 40, 0), (65, 80, 45, 0), (68, 80, 45, 0), (70, 75, 45, 0)),
    "thumb_up": _pose((-15, 15, -5, -15), (70, 90, 50, 0), C, C, C),
    "point": _pose((30, 10, 40, 35), S, C, C, C),
    "point_thumb_out": _pose((-5, 20, 0, 0), S, C, C, C),
    "victory": _pose((35, 5, 45, 40), _spread(S, 12), _spread(S, -8), C, C),
    "two": _pose((35, 5, 45, 40), S, S, C, C),
    "three": _pose((35, 5, 45, 45), _spread(S, 10), S, _spread(S, 8), C),
    "three_thumb": _pose((-5, 20, 0, 0), _spread(S, 8), S, C, C),
    "four": _pose((38, -5, 45, 40), _spread(S, 8), S, _spread(S, 6), _spread(S, 12)),
    "ok": _pose((22, 19, 13, 27), (52, 56, 30, 0), (12, 15, 8, 0), (6, 10, 5, 4), (4, 8, 4, 10)),
    "pinch": _pose((21, 18, 12, 27), (55, 45, 25, 0), (45, 50, 25, 0), (45, 50, 25, 0), (45, 50, 25, 0)),
    "pinch_open": _pose((20, 25, 10, 10), (35, 35, 15, 0), (55, 65, 35, 0), (60, 70, 38, 0), (62, 68, 38, 0)),
    "precision": _pose((22, 18, 11, 25), (55, 44, 20, 4), (58, 47, 20, 0), (58, 48, 24, 0), (58, 50, 25, 0)),
    "pen": _pose((19, 16, 10, 25), (53, 43, 15, 0), (58, 55, 25, 0), (65, 65, 35, 0), (68, 68, 38, 0)),
    "grip_thick": _pose((15, 30, 10, 15), (40, 40, 22, 4), (42, 42, 24, 0), (45, 44, 25, 3), (46, 42, 25, 6)),
    "grip_thin": _pose((30, 20, 30, 30), (60, 70, 35, 0), (65, 75, 38, 0), (68, 78, 40, 0), (70, 72, 40, 0)),
    "phone": _pose((5, 25, 5, 10), (30, 35, 20, 2), (35, 40, 22, 0), (38, 42, 24, 2), (40, 42, 24, 4)),
    "horns": _pose((35, 5, 45, 40), S, C, C, _spread(S, 8)),
    "shaka": _pose((-15, 25, -5, -10), C, C, C, _spread(S, 14)),
    "love": _pose((-10, 25, -5, -5), _spread(S, 6), C, C, _spread(S, 12)),
    "gun": _pose((-12, 20, -5, -10), S, S, C, C),
    "claw": _pose((5, 25, 20, 35), (5, 70, 40, 8), (5, 72, 42, 0), (5, 72, 42, 5), (5, 68, 40, 12)),
    "hook": _pose((10, 0, 5, 10), (5, 90, 55, 0), (5, 92, 58, 0), (5, 92, 58, 0), (5, 88, 55, 0)),
    "table": _pose((5, 0, 5, 5), (75, 5, 3, 0), (78, 5, 3, 0), (78, 5, 3, 0), (76, 5, 3, 0)),
    "typing": _pose((10, 15, 5, 10), (25, 40, 15, 4), (28, 45, 18, 0), (28, 45, 18, 3), (25, 40, 16, 8)),
    "half": _pose((15, 10, 20, 20), H, H, H, H),
    "pinky_up": _pose((30, 20, 20, 25), (50, 50, 28, 0), (48, 50, 28, 0), (40, 45, 25, 0), (5, 10, 5, 10)),
    "middle_bent": _pose((5, 10, 5, 5), S, (60, 40, 20, 0), S, _spread(S, 8)),
    "snap": _pose((35, 20, 20, 15), (15, 25, 12, 4), (60, 40, 15, 0), (70, 80, 45, 0), (72, 80, 45, 0)),
    "interlace": _pose((10, 10, 10, 15), (45, 35, 15, 10), (46, 36, 15, 2), (46, 36, 15, 8), (45, 35, 15, 16)),
    "clasp": _pose((20, 15, 15, 20), (55, 45, 22, 0), (58, 46, 22, 0), (60, 48, 24, 0), (60, 48, 24, 0)),
}
FOR_TWO: dict[str, np.ndarray] = {
    "point_hook": _pose((30, 10, 40, 35), (25, 85, 40, 0), C, C, C),
}
"""Poses that only make sense with the other hand; `sample_pose` does not draw them."""

_NAMES = tuple(LIBRARY)
_STACK = np.stack([LIBRARY[name] for name in _NAMES])
CLASPING = ("flat", "relaxed", "cupped", "interlace", "clasp", "half", "fist_loose", "open", "grip_thick")
"""Poses that hands take when they hold one another."""


def sample_pose(rng: np.random.Generator, everyday: float, names: tuple[str, ...] | None = None) -> np.ndarray:
    """(15, 3) radians within the joint limits: from the library with probability `everyday`, else the broad prior.

    `names` restricts the library (and then always draws from it).
    """
    if names is not None:
        pose = LIBRARY[names[rng.integers(len(names))]]
        pose = _vary(rng, pose, 0.12)
    elif rng.random() < everyday:
        pose = _STACK[rng.integers(len(_STACK))]
        if rng.random() < 0.35:  # on the way from one pose to another
            pose = pose + rng.uniform(0, 0.6) * (_STACK[rng.integers(len(_STACK))] - pose)
        pose = _vary(rng, pose, 0.10)
    else:
        pose = broad_pose(rng)
    return np.clip(pose, LIMITS[..., 0], LIMITS[..., 1])


def _vary(rng: np.random.Generator, pose: np.ndarray, sigma: float) -> np.ndarray:
    """A person's own version of a pose: all fingers a little more or less bent together, then each for itself."""
    pose = pose.copy().reshape(5, 3, 3)
    pose[1:, :, 0] += rng.normal(0, sigma) + rng.normal(0, 0.7 * sigma, (4, 1)) + rng.normal(0, 0.4 * sigma, (4, 3))
    pose[1:, 0, 1] += rng.normal(0, 0.4 * sigma, 4)
    pose[0, :, 0] += rng.normal(0, 1.2 * sigma, 3)
    pose[0, 0, 1] += rng.normal(0, sigma)
    pose[0, 0, 2] += rng.normal(0, 0.5 * sigma)
    return pose.reshape(15, 3)


def sign_pose(rng: np.random.Generator) -> np.ndarray:
    """(15, 3) radians within the joint limits: each finger straight, bent or curled for itself, the thumb out or in.

    Half the time a finger does as its neighbour on the thumb's side, since few people can bend each alone.
    """
    pose = np.zeros((5, 3, 3))
    state = 0
    for finger in range(1, 5):
        if finger == 1 or rng.random() < 0.5:
            state = rng.choice(3, p=[0.45, 0.37, 0.18])
        # straight, also from the knuckle on; curled, tightly or loosely; anything between
        mcp, pip = [
            (rng.normal(5, 12), abs(rng.normal(0, 10))),
            (rng.normal(68, 12), rng.normal(90, 14)),
            (rng.uniform(0, 75), rng.uniform(10, 90)),
        ][state]
        spread = rng.normal((6, 0, 3, 8)[finger - 1], 8) if state == 0 else rng.normal(0, 4)
        pose[finger, :, 0] = mcp, pip, max(pip * 2 / 3 * rng.uniform(0.6, 1.05), 0)
        pose[finger, 0, 1] = spread
    # thumb: away from the palm, beside it, across it; CMC flex and spread, MCP flex, IP flex
    thumb = np.array([(-10, 20, -3, -5), (5, 3, 8, 8), (33, 5, 40, 38)][rng.choice(3, p=[0.4, 0.2, 0.4])])
    pose[0, 0, :2], (pose[0, 1, 0], pose[0, 2, 0]) = thumb[:2], thumb[2:]
    pose[0, :, 0] += rng.normal(0, 8, 3)
    pose[0, 0, 1:] += rng.normal(0, (7, 3))
    return np.clip(np.deg2rad(pose.reshape(15, 3)), LIMITS[..., 0], LIMITS[..., 1])


def broad_pose(rng: np.random.Generator) -> np.ndarray:
    """(15, 3) radians: every finger its own bend, neighbours bent alike, the DIP following the PIP.

    DIP = 2/3 PIP is the coupling of Rijpkema and Girard (SIGGRAPH 1991); here with some freedom around it.
    """
    pose = np.zeros((5, 3, 3))
    common = rng.normal()
    chain = np.empty(4)
    chain[0] = rng.normal()
    for i in range(1, 4):
        chain[i] = 0.6 * chain[i - 1] + 0.8 * rng.normal()
    bend = 1 / (1 + np.exp(-1.3 * (0.5 * common + chain - 0.2)))  # 0 straight .. 1 curled
    mcp = np.clip(bend + rng.normal(0, 0.2, 4), -0.2, 1)
    pip = np.clip(bend + rng.normal(0, 0.2, 4), 0, 1)
    pose[1:, 0, 0] = np.deg2rad(88) * mcp
    pose[1:, 1, 0] = np.deg2rad(105) * pip
    pose[1:, 2, 0] = pose[1:, 1, 0] * 2 / 3 * rng.uniform(0.5, 1.1, 4)
    fan = rng.normal(0.04, 0.12)
    pose[1:, 0, 1] = (np.array([1.0, 0.0, 0.7, 1.3]) * fan + rng.normal(0, 0.06, 4)) * (1 - 0.7 * np.clip(mcp, 0, 1))
    pose[1:, 0, 2] = rng.normal(0, 0.03, 4)
    pose[0, 0] = np.deg2rad(rng.normal([10, 12, 0], [18, 15, 8]))
    pose[0, 1, 0] = np.deg2rad(rng.normal(15, 20))
    pose[0, 2, 0] = np.deg2rad(rng.normal(18, 25))
    return pose.reshape(15, 3)
