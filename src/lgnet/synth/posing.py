"""`hand_model.pose_hand` for one hand without gradients, many times as fast: torch's small tensors cost mostly overhead.

No BLAS and none of torch's kernels, which round as the processor at hand suits them: the same seed has to give the same
picture everywhere. Sums run in a written order; sine and cosine are taken in double precision and rounded once.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numba
import numpy as np

from ..anatomy import joint_axes
from ..hand_model import HandModel, load_hand_model
from ..hands import SIDES


@dataclass(frozen=True)
class _Fixed:
    """What posing needs of a side's model."""

    axes: np.ndarray  # (15, 3, 3) flex, spread, twist of the right hand
    bases: tuple[np.ndarray, ...]  # (10, 3 V), (10, 48), (10, 63) of vertices, centres, points
    means: tuple[np.ndarray, ...]  # (V, 3), (16, 3), (21, 3)
    weights: np.ndarray  # (V, 16)
    bone: np.ndarray  # (21,) rotation that carries each joint


@functools.lru_cache(maxsize=2)
def _fixed(side: int) -> _Fixed:
    model: HandModel = load_hand_model("lgnet", SIDES[side])
    if model.pose_basis is not None or bool((model.points_vertex >= 0).any()):
        raise ValueError("posing.py knows no pose correctives and no joints on vertices")
    right = load_hand_model("lgnet", "right")
    return _Fixed(
        axes=joint_axes(right).numpy(),
        bases=tuple(
            np.ascontiguousarray(b.reshape(-1, 10).T.numpy())
            for b in (model.shape_basis, model.centres_basis, model.points_basis)
        ),
        means=tuple(m.numpy() for m in (model.template, model.centres, model.points)),
        weights=model.weights.numpy(),
        bone=model.point_joint.numpy(),
    )


def finger_rotations(side: int, angles: np.ndarray) -> np.ndarray:
    """(15, 3, 3) float32 local rotations of flex, spread and twist (15, 3) radians: `anatomy.rotations_from_angles`."""
    rotvec = angles.astype(np.float32)[..., None] * _fixed(side).axes
    angle2 = rotvec * rotvec
    angle2 = (angle2[..., 0] + angle2[..., 1]) + angle2[..., 2]
    safe = np.where(angle2 < 1e-8, np.float32(1), angle2)
    return _finger_rotations(rotvec, angle2, safe, side == 1)


def posed(side: int, rotations: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hand's vertices (V, 3) and joints (21, 3), float32, metres, the wrist at the origin.

    Args:
        side: 0 right, 1 left.
        rotations: (16, 3, 3) float32 of that side, wrist first.
        betas: (10,) shape coefficients.
    """
    fixed = _fixed(side)
    shape = betas.astype(np.float32)
    shaped, centres, points = (
        mean + _sum(shape, basis).reshape(-1, 3) for mean, basis in zip(fixed.means, fixed.bases)
    )
    affine = _chain(rotations, centres)
    return _skinned(fixed.weights, shaped, affine, points, fixed.bone)


@numba.njit(cache=True, nogil=True)
def _sum(shape, basis):
    out = np.zeros(basis.shape[1], np.float32)
    for k in range(len(shape)):
        for i in range(basis.shape[1]):
            out[i] += shape[k] * basis[k, i]
    return out


@numba.njit(cache=True, nogil=True, inline="always")
def _product(out, a, b):
    for i in range(3):
        for j in range(3):
            out[i, j] = (a[i, 0] * b[0, j] + a[i, 1] * b[1, j]) + a[i, 2] * b[2, j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _finger_rotations(rotvec, angle2, safe, left):
    one = np.float32(1)
    out = np.empty((15, 3, 3), np.float32)
    turn = np.empty((3, 3, 3), np.float32)
    skew, square, both = np.zeros((3, 3), np.float32), np.empty((3, 3), np.float32), np.empty((3, 3), np.float32)
    for joint in range(15):
        for which in range(3):
            if angle2[joint, which] < np.float32(1e-8):
                a = one - angle2[joint, which] / np.float32(6)
                b = np.float32(0.5) - angle2[joint, which] / np.float32(24)
            else:
                angle = math.sqrt(np.float64(safe[joint, which]))
                a = np.float32(math.sin(angle) / angle)
                b = np.float32((1 - math.cos(angle)) / np.float64(safe[joint, which]))
            x, y, z = rotvec[joint, which, 0], rotvec[joint, which, 1], rotvec[joint, which, 2]
            skew[0, 1], skew[0, 2], skew[1, 0], skew[1, 2], skew[2, 0], skew[2, 1] = -z, y, z, -x, -y, x
            _product(square, skew, skew)
            for i in range(3):
                for j in range(3):
                    unit = one if i == j else np.float32(0)
                    turn[which, i, j] = (unit + a * skew[i, j]) + b * square[i, j]
        _product(both, turn[1], turn[0])
        _product(out[joint], both, turn[2])
        if left:  # the mirror x -> -x
            for k in range(1, 3):
                out[joint, 0, k] = -out[joint, 0, k]
                out[joint, k, 0] = -out[joint, k, 0]
    return out


@numba.njit(cache=True, nogil=True)
def _chain(rotations, centres):
    """(16, 3, 4) where each rotation takes points of the flat hand."""
    out = np.empty((16, 3, 4), np.float32)
    place = np.empty((16, 3), np.float32)
    place[0] = centres[0]
    out[0, :, :3] = rotations[0]
    step = np.empty(3, np.float32)
    for joint in range(1, 16):
        parent = 0 if joint % 3 == 1 else joint - 1
        for k in range(3):
            step[k] = centres[joint, k] - centres[parent, k]
        r = out[parent]
        for k in range(3):
            place[joint, k] = place[parent, k] + ((r[k, 0] * step[0] + r[k, 1] * step[1]) + r[k, 2] * step[2])
        _product(out[joint], r, rotations[joint])
    for joint in range(16):
        r, c = out[joint], centres[joint]
        for k in range(3):
            r[k, 3] = place[joint, k] - ((r[k, 0] * c[0] + r[k, 1] * c[1]) + r[k, 2] * c[2])
    return out


@numba.njit(cache=True, nogil=True)
def _skinned(weights, shaped, affine, points, bone):
    joints = np.empty((21, 3), np.float32)
    for joint in range(21):
        r, p = affine[bone[joint]], points[joint]
        for k in range(3):
            joints[joint, k] = ((r[k, 0] * p[0] + r[k, 1] * p[1]) + r[k, 2] * p[2]) + r[k, 3]
    ox, oy, oz = joints[0, 0], joints[0, 1], joints[0, 2]
    vertices = np.empty(shaped.shape, np.float32)
    b = np.empty((3, 4), np.float32)
    for i in range(len(shaped)):
        b[:] = 0
        for joint in range(16):
            weight = weights[i, joint]
            if weight != 0:
                for k in range(3):
                    for m in range(4):
                        b[k, m] += weight * affine[joint, k, m]
        x, y, z = shaped[i, 0], shaped[i, 1], shaped[i, 2]
        vertices[i, 0] = (((b[0, 0] * x + b[0, 1] * y) + b[0, 2] * z) + b[0, 3]) - ox
        vertices[i, 1] = (((b[1, 0] * x + b[1, 1] * y) + b[1, 2] * z) + b[1, 3]) - oy
        vertices[i, 2] = (((b[2, 0] * x + b[2, 1] * y) + b[2, 2] * z) + b[2, 3]) - oz
    for joint in range(21):
        joints[joint, 0] -= ox
        joints[joint, 1] -= oy
        joints[joint, 2] -= oz
    return vertices, joints
