"""Rotations, rigid transforms, projection and alignment, in torch, with any leading batch axes.

Names say the frames: `R_camera_crop` takes points of the crop frame to the camera frame. Rotations are (..., 3, 3)
matrices acting on column vectors; points are (..., N, 3).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def rotvec_to_matrix(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Axis-angle (radians) to rotation matrix by Rodrigues' formula; smooth at zero."""
    angle2 = (rotvec * rotvec).sum(-1)[..., None, None]
    small = angle2 < 1e-8
    safe = torch.where(small, torch.ones_like(angle2), angle2)
    angle = safe.sqrt()
    a = torch.where(small, 1 - angle2 / 6, torch.sin(angle) / angle)
    b = torch.where(small, 0.5 - angle2 / 24, (1 - torch.cos(angle)) / safe)
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*rotvec.shape[:-1], 3, 3)
    return torch.eye(3, dtype=rotvec.dtype, device=rotvec.device) + a * skew + b * (skew @ skew)


def matrix_to_rotvec(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation matrix to axis-angle (radians, angle in [0, pi]), through the quaternion of largest component."""
    m = matrix
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    four = torch.stack(
        [
            1 + trace,
            1 + 2 * m[..., 0, 0] - trace,
            1 + 2 * m[..., 1, 1] - trace,
            1 + 2 * m[..., 2, 2] - trace,
        ],
        -1,
    )
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    candidates = torch.stack(
        [
            torch.stack([four[..., 0], a, b, c], -1),
            torch.stack([a, four[..., 1], d, e], -1),
            torch.stack([b, d, four[..., 2], f], -1),
            torch.stack([c, e, f, four[..., 3]], -1),
        ],
        -2,
    )
    best = four.argmax(-1)[..., None, None].expand(*four.shape[:-1], 1, 4)
    quaternion = torch.nn.functional.normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    vector = quaternion[..., 1:]
    sine = vector.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    return vector * torch.where(sine < 1e-7, torch.full_like(sine, 2.0), angle / sine.clamp_min(1e-12))


def matrices_of(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 3, 3) of axis-angle vectors (..., 3), in NumPy, float64."""
    return rotvec_to_matrix(torch.from_numpy(np.asarray(rotvecs, np.float64))).numpy()


def rotvecs_of(matrices: np.ndarray) -> np.ndarray:
    """(..., 3) axis-angle of rotation matrices (..., 3, 3), in NumPy, float64."""
    return matrix_to_rotvec(torch.from_numpy(np.ascontiguousarray(matrices, np.float64))).numpy()


def quaternions_of(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 4) x, y, z, w, w >= 0, of axis-angle vectors (..., 3)."""
    angle = np.linalg.norm(rotvecs, axis=-1, keepdims=True)
    out = np.concatenate([np.sinc(angle / (2 * np.pi)) / 2 * rotvecs, np.cos(angle / 2)], -1)
    return np.where(out[..., 3:] < 0, -out, out)


def matrices_of_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """(..., 3, 3) of quaternions (..., 4) x, y, z, w of any length."""
    x, y, z, w = np.moveaxis(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    ]
    return np.stack(rows, -1).reshape(*quaternions.shape[:-1], 3, 3)


def rotation_6d_to_matrix(six: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Two columns, made orthonormal (Zhou et al., CVPR 2019, equation 15)."""
    first, second = six[..., :3], six[..., 3:]
    x = torch.nn.functional.normalize(first, dim=-1, eps=1e-6)
    y = torch.nn.functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1, eps=1e-6)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def mirror_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation seen in a mirror x -> -x: M R M with M = diag(-1, 1, 1)."""
    sign = torch.tensor([-1.0, 1.0, 1.0], dtype=matrix.dtype, device=matrix.device)
    return matrix * sign[:, None] * sign


def project(points: Float[Tensor, "*batch N 3"], K: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch N 2"]:
    """Pinhole projection to pixels. Points in metres, camera frame, z > 0; K is fx, fy, cx, cy."""
    return points[..., :2] / points[..., 2:] * K[..., None, :2] + K[..., None, 2:]


def box_of(points: np.ndarray) -> np.ndarray:
    """(4,) x, y, w, h of the smallest box that holds all points (N, 2)."""
    low, high = points.min(0), points.max(0)
    return np.concatenate([low, high - low])


def meets_picture(box: np.ndarray, height: int, width: int) -> bool:
    """Whether any of a box x, y, w, h lies in the picture."""
    low, high = box[:2], box[:2] + box[2:]
    return bool(low[0] < width and low[1] < height and high[0] > 0 and high[1] > 0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x, y, w, h."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    inner = float(np.prod(np.clip(high - low, 0, None)))
    return inner / max(float(a[2] * a[3] + b[2] * b[3]) - inner, 1e-9)
