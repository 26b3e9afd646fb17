"""More of what one hand does: grasps (after the taxonomy of Feix et al., 2016), letters of finger alphabets, gestures.

Kept apart from `poses.LIBRARY`, from which synth-bench is drawn and which therefore stays as it is. Same angles.
"""

from __future__ import annotations

import numpy as np

from ..anatomy import LIMITS
from .poses import CURLED as C
from .poses import HALF as H
from .poses import STRAIGHT as S
from .poses import _pose, _spread, _vary

TUCKED = (85, 100, 60, 0)

GESTURES: dict[str, np.ndarray] = {
    # grasps
    "key_grip": _pose((12, 0, 10, 30), (60, 80, 40, 0), (65, 85, 45, 0), (68, 86, 45, 0), (70, 84, 45, 0)),
    "scissors_held": _pose((15, 20, 10, 30), (35, 60, 30, 4), (40, 65, 32, 0), (60, 80, 45, 0), (68, 84, 45, 0)),
    "chopsticks": _pose((15, 15, 12, 12), (42, 45, 15, 2), (45, 55, 18, 0), (55, 75, 35, 0), (60, 80, 40, 0)),
    "spray": _pose((10, 25, 8, 12), (15, 65, 35, 4), (42, 50, 26, 0), (46, 52, 28, 2), (48, 50, 28, 5)),
    "mouse": _pose((8, 18, 5, 12), (18, 30, 14, 5), (16, 32, 15, 0), (24, 38, 18, 3), (28, 38, 18, 12)),
    "ball_large": _pose((5, 35, 5, 15), (22, 32, 18, 14), (24, 32, 18, 0), (24, 34, 18, 9), (22, 34, 18, 18)),
    "ball_small": _pose((20, 28, 15, 28), (42, 42, 22, 8), (46, 42, 22, 0), (48, 46, 25, 5), (46, 50, 26, 10)),
    "plate": _pose((-5, 30, 0, 5), (28, 10, 5, 12), (30, 8, 5, 0), (32, 10, 5, 6), (32, 12, 6, 14)),
    "bag": _pose((18, 8, 20, 25), (20, 95, 50, 0), (22, 98, 52, 0), (24, 98, 54, 0), (24, 94, 52, 0)),
    "book": _pose((8, 32, 5, 5), (48, 12, 5, 3), (50, 12, 5, 0), (50, 12, 5, 2), (48, 14, 6, 5)),
    "hammer": _pose((22, 25, 28, 22), (58, 78, 42, 0), (62, 82, 44, 0), (66, 84, 44, 0), (70, 80, 42, 0)),
    "cup_handle": _pose((14, 12, 14, 30), (38, 80, 40, 2), (48, 84, 42, 0), (62, 86, 44, 0), (68, 82, 42, 0)),
    "texting": _pose((18, 12, 22, 38), (30, 40, 20, 2), (36, 42, 22, 0), (40, 44, 24, 2), (42, 42, 24, 4)),
    "dice": _pose((22, 16, 12, 24), (50, 40, 15, 2), (52, 42, 16, 0), (62, 62, 32, 0), (66, 66, 34, 2)),
    "cigarette": _pose((-2, 15, 4, 8), (18, 12, 6, -3), (16, 12, 6, 2), (30, 35, 18, 2), (35, 40, 20, 4)),
    "trigger": _pose((20, 22, 22, 18), (22, 45, 22, 3), (62, 82, 44, 0), (66, 84, 44, 0), (68, 80, 42, 0)),
    "steering": _pose((18, 32, 14, 12), (55, 62, 34, 2), (58, 66, 36, 0), (60, 68, 36, 1), (60, 64, 34, 3)),
    "tweezers": _pose((22, 20, 5, 8), (62, 20, 8, 0), (35, 40, 20, 0), (32, 38, 20, 2), (30, 34, 18, 6)),
    # letters
    "letter_a": _pose((8, -8, 5, 0), C, C, C, C),
    "letter_b": _pose((40, -8, 35, 35), S, S, S, S),
    "letter_c": _pose((15, 32, 5, 20), (28, 48, 28, 0), (30, 50, 28, 0), (32, 50, 28, 0), (32, 46, 26, 0)),
    "letter_d": _pose((24, 20, 18, 30), S, (56, 56, 26, 0), (62, 62, 32, 0), (66, 64, 34, 0)),
    "letter_e": _pose((38, -4, 38, 48), (35, 100, 60, 0), (36, 102, 62, 0), (36, 102, 62, 0), (34, 98, 60, 0)),
    "letter_k": _pose((10, 12, 5, 5), _spread(S, 8), (42, 8, 5, 0), C, C),
    "letter_m": _pose((42, -8, 40, 40), (75, 60, 30, 0), (78, 60, 30, 0), (80, 62, 32, 0), C),
    "letter_o": _pose((24, 24, 14, 30), (50, 54, 28, 0), (52, 54, 28, 0), (54, 55, 28, 0), (55, 52, 28, 0)),
    "letter_r": _pose((36, 4, 45, 42), (6, 8, 4, -18), (22, 16, 8, 22), C, C),
    "letter_t": _pose((16, -2, 10, 20), (68, 70, 40, 4), TUCKED, TUCKED, TUCKED),
    "letter_w": _pose((40, -4, 48, 45), _spread(S, 14), S, _spread(S, 10), (80, 95, 50, 0)),
    "letter_x": _pose((32, 6, 42, 38), (8, 85, 45, 0), C, C, C),
    # gestures
    "spock": _pose((-8, 25, -3, -8), _spread(S, -6), (2, 5, 3, -10), _spread(S, 16), _spread(S, 4)),
    "purse": _pose((24, 14, 10, 22), (46, 36, 12, -6), (50, 34, 10, 0), (50, 36, 12, -4), (50, 40, 16, -8)),
    "blessing": _pose((-5, 18, 2, 5), S, S, (45, 60, 32, 0), (60, 75, 40, 0)),
    "stop": _pose((-18, 8, -8, -15), (-12, 0, 0, 2), (-12, 0, 0, 0), (-12, 0, 0, 1), (-10, 0, 0, 3)),
    "flick": _pose((24, 14, 16, 28), (38, 75, 45, 0), (15, 18, 8, 0), (10, 14, 6, 4), (8, 12, 6, 10)),
    "middle_alone": _pose((32, 8, 42, 38), C, S, C, C),
    "ring_alone": _pose((34, 8, 44, 40), (70, 85, 50, 0), (66, 80, 46, 0), (12, 15, 8, 0), (62, 80, 46, 0)),
    "last_two": _pose((30, 8, 35, 35), C, C, _spread(S, 4), _spread(S, 10)),
    "beckon": _pose((20, 10, 25, 28), (45, 60, 30, 0), C, C, C),
    "wave_down": _pose((0, 10, 5, 5), (48, 20, 10, 2), (50, 20, 10, 0), (50, 20, 10, 1), (48, 20, 10, 4)),
    "scratch": _pose((14, 22, 12, 18), (30, 62, 36, 6), (32, 64, 38, 0), (32, 64, 38, 4), (30, 60, 36, 10)),
    "half_fist_point": _pose((18, 12, 20, 22), (10, 14, 8, 0), H, (50, 62, 34, 0), (58, 68, 38, 0)),
}

_STACK = np.stack(list(GESTURES.values()))


def gesture_pose(rng: np.random.Generator) -> np.ndarray:
    """(15, 3) radians within the joint limits: one of these in a person's own version, now and then half-way to another."""
    pose = _STACK[rng.integers(len(_STACK))]
    if rng.random() < 0.25:
        pose = pose + rng.uniform(0, 0.6) * (_STACK[rng.integers(len(_STACK))] - pose)
    return np.clip(_vary(rng, pose, 0.09), LIMITS[..., 0], LIMITS[..., 1])
