"""Pictures of fisheye cameras made into pinhole pictures: what lgnet's crops and cameras suppose.

The camera model is FISHEYE624 of Project Aria and the Quest headsets: the angle from the optical axis, a polynomial of
degree six in its square, two tangential and four thin-prism coefficients (Engel et al., "Project Aria", 2023).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class Fisheye(NamedTuple):
    """One camera; pixels, the centre of the top-left one at (0, 0)."""

    focal: np.ndarray  # (2,)
    centre: np.ndarray  # (2,)
    radial: np.ndarray  # (6,)
    tangential: np.ndarray  # (2,)
    prism: np.ndarray  # (4,)


def fisheye624(params: np.ndarray) -> Fisheye:
    """The camera of 16 published numbers (fx, fy, cx, cy, ...) or 15 (f, cx, cy, ...).

    Raises:
        ValueError: there are others.
    """
    values = np.asarray(params, np.float64).ravel()
    if len(values) == 15:
        values = np.concatenate([values[:1], values])
    if len(values) != 16 or not np.isfinite(values).all():
        raise ValueError(f"a FISHEYE624 camera has 15 or 16 finite numbers, not {values.tolist()}")
    return Fisheye(values[:2], values[2:4], values[4:10], values[10:12], values[12:])


def fisheye_project(points: np.ndarray, camera: Fisheye) -> np.ndarray:
    """(..., 2) pixels of points or directions (..., 3) in the camera's frame (x right, y down, z forward)."""
    x, y, z = np.moveaxis(points, -1, 0)
    radius = np.hypot(x, y)
    angle = np.arctan2(radius, z)
    square = angle * angle
    growth = np.zeros_like(angle)
    for coefficient in camera.radial[::-1]:
        growth = (growth + coefficient) * square
    scale = (1 + growth) * angle / np.maximum(radius, 1e-12)
    u, v = x * scale, y * scale
    square = u * u + v * v
    p, q = camera.tangential
    s = camera.prism
    out_u = u + 2 * q * u * v + p * (square + 2 * u * u) + s[0] * square + s[1] * square * square
    out_v = v + 2 * p * u * v + q * (square + 2 * v * v) + s[2] * square + s[3] * square * square
    return np.stack([out_u, out_v], -1) * camera.focal + camera.centre


def rectified(image: np.ndarray, camera: Fisheye, turn: np.ndarray, K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture (H, W, 3) that a pinhole camera at the same place would take; black where the fisheye saw nothing.

    Args:
        image: (h, w, 3) of the fisheye camera.
        camera: of `image`.
        turn: (3, 3) takes the fisheye camera's frame to the pinhole's.
        K: (4,) of the pinhole camera.
        size: W, H.
    """
    u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    rays = np.stack([(u - K[2]) / K[0], (v - K[3]) / K[1], np.ones(u.shape)], -1)
    places = fisheye_project(rays @ turn, camera).astype(np.float32)
    return cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
