"""Rotations that scenes are made of, as (3, 3) NumPy matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def cross(a: np.ndarray, b: np.ndarray | Sequence[float]) -> np.ndarray:
    """(3,) the product of two vectors (3,); NumPy's takes twenty times as long on so few numbers."""
    (ax, ay, az), (bx, by, bz) = a, b
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def norm(vector: np.ndarray) -> float:
    """The length of a vector (N,), as `np.linalg.norm` finds it, but sooner."""
    return math.sqrt(vector.dot(vector))


_UNIT = np.eye(3)


def basis(fingers: np.ndarray, palm: np.ndarray) -> np.ndarray:
    """(3, 3) orientation of a right hand whose fingers point along `fingers` and whose palm faces `palm`.

    Columns are the images of the canonical frame's x (thumb side), y (fingers), z (palm); see hand_model.py.
    """
    y = fingers / norm(fingers)
    z = palm - (palm @ y) * y
    z /= norm(z)
    return np.stack([cross(y, z), y, z], 1)


def rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3) a rotation by `angle` radians about `axis` (any length)."""
    x, y, z = axis / (norm(axis) + 1e-12)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return _UNIT + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def random_turn(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """(3, 3) a rotation about a random axis by a normal angle of this standard deviation."""
    return rotation_about(rng.normal(size=3), np.deg2rad(rng.normal(0, degrees)))


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) uniform over all rotations."""
    q = rng.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
