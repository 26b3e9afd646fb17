"""Lenses that bend straight lines (Brown-Conrady), drawn so that picture and labels bend alike.

Points are moved to where an ideal camera would see them as the lens shows them, and then drawn by an ideal camera: what
is in the picture, its masks and its dense labels are those of the bent points, without resampling. Edges of triangles
stay straight, which skin's small ones do not show. The background is a picture and is resampled.

Coordinates without a unit are x / z, y / z of the camera frame, as `data.sample.distort` takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np

from ..data.sample import distort, project
from .raster import NEAR

MILD = 0.01
"""Greatest residual of a hand's joints, as a share of the picture's width, once the lens's picture of them is moved, turned
and scaled to fit the ideal camera's: below what the networks' weak perspective leaves anyway."""


@dataclass(frozen=True)
class Lens:
    """A lens before the camera K."""

    distortion: np.ndarray  # (4,) k1, k2, p1, p2
    reach: float  # how far off the axis the picture shows; farther off it only magnifies


def sample_lens(rng: np.random.Generator, K: np.ndarray, size: int, hands: list[np.ndarray], wide: bool) -> Lens:
    """A barrel, now and then a pincushion, a little out of centre. A pinhole camera K (4,) of size x size pixels.

    Args:
        rng: draws it.
        K: in pixels.
        size: of the picture.
        hands: (21, 3) joints of each hand, camera frame.
        wide: also as strong as wide-angle lenses are; else no more than `MILD` leaves of any hand.
    """
    corner = np.hypot(size / 2 / K[0], size / 2 / K[1])
    if rng.random() < 0.2:
        k1, k2 = rng.uniform(0.01, 0.06), 0.0
    else:  # more than 0.45 k1 ** 2 keeps ever farther points ever farther out
        k1 = -rng.uniform(0.12, 0.38) if wide and rng.random() < 0.4 else -rng.uniform(0.01, 0.12)
        k2 = rng.uniform(0.55, 0.9) * k1 * k1
    p1, p2 = np.clip(rng.normal(0, 0.003, 2), -0.008, 0.008)
    strong = np.array([k1 / corner**2, k2 / corner**4, p1 / corner, p2 / corner])
    weaker = np.array([1, 2, 1, 1])
    for _ in range(0 if wide else 3):
        left = max((residual(joints, K, strong) for joints in hands), default=0.0)
        if left > MILD * size:
            strong = strong * (0.95 * MILD * size / left) ** weaker
    edge = (np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5] * 2]) - K[2:]) / K[:2]
    return Lens(strong, 1.05 * float(np.linalg.norm(straight(edge, strong), axis=1).max()))


def residual(joints: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> float:
    """Pixels: the farthest that a joint (21, 3) stays off after the best similarity from the lens's to the ideal picture."""
    ideal, shown = (project(joints, K, bends) @ [1, 1j] for bends in (None, distortion))
    ideal, shown = ideal - ideal.mean(), shown - shown.mean()
    return float(np.abs(shown * (np.vdot(shown, ideal) / np.vdot(shown, shown)) - ideal).max())


def bent(points: np.ndarray, lens: Lens) -> np.ndarray:
    """(N, 3) points of the camera frame, each as far away as before, where an ideal camera sees them as the lens does."""
    z = points[:, 2:]
    xy = points[:, :2] / np.maximum(z, NEAR)
    within = np.minimum(1, lens.reach / (np.sqrt((xy * xy).sum(1, keepdims=True)) + 1e-12))
    shown = distort(xy * within, lens.distortion) / within
    return np.where(z > NEAR, np.concatenate([shown * z, z], 1), points).astype(points.dtype)


def bend_picture(picture: np.ndarray, K: np.ndarray, lens: Lens) -> np.ndarray:
    """The picture (H, W, C) of an ideal camera as the lens shows it; what lies beyond it is its mirror image."""
    height, width = picture.shape[:2]
    across = (np.arange(width) - K[2]) / K[0]
    down = (np.arange(height) - K[3]) / K[1]
    where = (_straight_grid(across, down, lens.distortion) * K[:2] + K[2:]).astype(np.float32)
    x, y = where[..., 0], where[..., 1]
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def straight(xy: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """(N, 2) the inverse of `distort`: where a point shown at `xy` (N, 2) truly is, by Newton's method."""
    return np.array([_straight(x, y, x, y, distortion) for x, y in xy])


_CELL = 8  # pixels; between the corners of so small a cell a lens's map is a plane to a few hundredths of a pixel


@numba.njit(cache=True, nogil=True)
def _straight_grid(across, down, distortion):
    wide, high = across[1] - across[0], down[1] - down[0]
    corners = np.empty(((len(down) - 1) // _CELL + 2, (len(across) - 1) // _CELL + 2, 2))
    for j in range(corners.shape[0]):
        for i in range(corners.shape[1]):
            u, v = across[0] + i * _CELL * wide, down[0] + j * _CELL * high
            x, y = (corners[j, i - 1, 0] + _CELL * wide, corners[j, i - 1, 1]) if i else (u, v)
            corners[j, i] = _straight(u, v, x, y, distortion)
    out = np.empty((len(down), len(across), 2))
    for row in range(len(down)):
        j, b = row // _CELL, (row % _CELL) / _CELL
        for column in range(len(across)):
            i, a = column // _CELL, (column % _CELL) / _CELL
            for k in range(2):
                upper = corners[j, i, k] + a * (corners[j, i + 1, k] - corners[j, i, k])
                lower = corners[j + 1, i, k] + a * (corners[j + 1, i + 1, k] - corners[j + 1, i, k])
                out[row, column, k] = upper + b * (lower - upper)
    return out


@numba.njit(cache=True, nogil=True)
def _straight(u, v, x, y, distortion):
    k1, k2, p1, p2 = distortion
    for _ in range(30):
        square = x * x + y * y
        f, slope = 1 + (k1 + k2 * square) * square, k1 + 2 * k2 * square
        off_x = x * f + 2 * p1 * x * y + p2 * (square + 2 * x * x) - u
        off_y = y * f + p1 * (square + 2 * y * y) + 2 * p2 * x * y - v
        a = f + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        b = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        d = f + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        det = a * d - b * b
        step_x, step_y = (d * off_x - b * off_y) / det, (a * off_y - b * off_x) / det
        x, y = x - step_x, y - step_y
        if abs(step_x) + abs(step_y) < 1e-7 * (1e-3 + abs(u) + abs(v)):
            break
    return x, y
