"""What is measured of a prediction: pure functions on arrays. `scoring/` applies them to pictures and data sets.

Three protocols, never mixed: A has its root at the middle finger's MCP (joint 9) and scales the predicted hand by true
over predicted length of bone 0-9; B the same scale and its root at the wrist; C the wrist and no scale. Vertices are
rooted and scaled by the joints, as these. The root's own error, zero, is part of means and of PCK, as in the published
codes.

Joints and vertices come in metres, camera frame; errors go out in millimetres. What has no truth is None, never zero.
docs/evaluation.md says the same in words for those who read the figures.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .hands import LEFT, MIDDLE_MCP, RIGHT, WRIST

MM = 1000.0
AUC_LIMIT = 50.0
"""Millimetres: PCK is integrated up to here."""
AUC_STARTS = (0.0, 20.0)
"""Millimetres: and from each of these on, divided by what lies between."""
F_LIMITS = (5.0, 15.0)
"""Millimetres: F@5 and F@15."""
FOUND_LIMIT = 0.5
"""A hand is found where its mean 2D error is below this share of its box."""
PCK2D_LIMITS = (0.1, 0.2)
PCK_PROTOCOL = "B"
"""The protocol of the 3D PCK and its area, as in LGNet's plot."""


@dataclass(frozen=True)
class Protocol:
    """How a predicted hand is laid over the true one."""

    root: int
    scaled: bool


PROTOCOLS = {"A": Protocol(MIDDLE_MCP, True), "B": Protocol(WRIST, True), "C": Protocol(WRIST, False)}


def can_score(protocol: Protocol, true_joints: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(...) bool: whether the truth has the joints that the protocol hangs on, and one more than the root, whose own error is
    zero whatever was predicted. Joints (..., 21, 3) metres; valid (..., 21)."""
    if not protocol.scaled:
        return valid[..., protocol.root] & (valid.sum(-1) > 1)
    return valid[..., protocol.root] & valid[..., WRIST] & valid[..., MIDDLE_MCP] & (_bone(true_joints) > 0)


def rooted_errors(
    points: np.ndarray,
    true_points: np.ndarray,
    joints: np.ndarray,
    true_joints: np.ndarray,
    protocol: Protocol,
) -> np.ndarray:
    """(..., N) mm: distances of predicted from true points once both are rooted, and the prediction scaled.

    Args:
        points, true_points: (..., N, 3) metres, any one frame: the joints themselves, or vertices.
        joints, true_joints: (..., 21, 3) metres: where root and scale are taken from.
        protocol: one of `PROTOCOLS`; the truth must have its joints, see `can_score`.
    """
    root = slice(protocol.root, protocol.root + 1)
    predicted = points - joints[..., root, :]
    if protocol.scaled:
        predicted = predicted * (_bone(true_joints) / np.maximum(_bone(joints), 1e-9))[..., None, None]
    return _lengths(predicted - (true_points - true_joints[..., root, :])) * MM


def _bone(joints: np.ndarray) -> np.ndarray:
    return _lengths(joints[..., MIDDLE_MCP, :] - joints[..., WRIST, :])


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """(...) of vectors (..., 3): `numpy.linalg.norm` along the last axis, which takes longer."""
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def similarity_aligned(source: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """(..., N, 3) `source` moved, turned and scaled (never mirrored) onto `target` in least squares (Umeyama, 1991).

    `valid` (..., N) bool: the points to go by, at least one of each cloud; None: all.
    """
    if valid is None:
        count, s, t = source.shape[-2], source, target
    else:
        count, known = valid.sum(-1)[..., None, None], valid[..., None]
        s, t = np.where(known, source, 0), np.where(known, target, 0)
    mean_s, mean_t = s.sum(-2, keepdims=True) / count, t.sum(-2, keepdims=True) / count
    s, t = s - mean_s, t - mean_t
    if valid is not None:
        s, t = np.where(known, s, 0), np.where(known, t, 0)
    u, d, vh = np.linalg.svd(np.swapaxes(t, -1, -2) @ s)
    sign = np.ones_like(d)
    sign[..., 2] = np.where(np.linalg.det(u) * np.linalg.det(vh) > 0, 1.0, -1.0)
    scale = (d * sign).sum(-1) / np.maximum(np.einsum("...ij,...ij->...", s, s), 1e-12)
    rotation = (u * sign[..., None, :]) @ vh
    return scale[..., None, None] * (source - mean_s) @ np.swapaxes(rotation, -1, -2) + mean_t


def pa_errors(points: np.ndarray, true_points: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(...) mean error, mm, after the best similarity (PA-MPJPE); NaN with fewer than four valid points.

    Args:
        points, true_points: (..., N, 3) metres.
        valid: (..., N) bool.
    """
    enough = valid.sum(-1) >= 4
    out = np.full(enough.shape, np.nan)
    if enough.any():
        p, t, known = points[enough], true_points[enough], valid[enough]
        off = np.where(known[..., None], similarity_aligned(p, t, known) - t, 0)
        out[enough] = _lengths(off).sum(-1) / known.sum(-1) * MM
    return out


def relative_error(wrists: np.ndarray, true_wrists: np.ndarray) -> np.ndarray:
    """(...) MRRPE of pictures, mm: error of left wrist minus right wrist. Wrists (..., 2, 3) metres, right first."""
    off = wrists - true_wrists
    return _lengths(off[..., LEFT, :] - off[..., RIGHT, :]) * MM


def pck(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(T,) share of errors (N,) not above each threshold (T,); N > 0. A missed joint's error is infinite."""
    return np.searchsorted(np.sort(np.asarray(errors)), np.asarray(thresholds), "right") / len(errors)


def area_under_pck(errors: np.ndarray, limit: float = AUC_LIMIT, start: float = 0.0) -> float:
    """0..1: the area under the PCK curve of errors (N,) from `start` to `limit`, over its width; exact, no steps."""
    return float(right_share(errors, limit, start).mean())


def right_share(errors: np.ndarray, limit: float = AUC_LIMIT, start: float = 0.0) -> np.ndarray:
    """The share of thresholds from `start` to `limit` at which each error (of any shape) counts as right."""
    return np.clip(limit - np.maximum(errors, start), 0, None) / (limit - start)


def f_scores(points: np.ndarray, true_points: np.ndarray, limits: tuple[float, ...] = F_LIMITS) -> tuple[float, ...]:
    """F at each limit, 0..1: harmonic mean of precision and recall of one cloud of points in the other.

    Precision is the share of predicted points with a true one within the limit, recall the share of true points with
    a predicted one (Knapitsch et al., Tanks and Temples, 2017; for hands FreiHAND, 2019). In single precision: a
    distance is right to a ten-thousandth of a millimetre.

    Args:
        points: (N, 3) metres, already aligned as wanted.
        true_points: (M, 3) metres, same frame.
        limits: millimetres.
    """
    middle = true_points.mean(0)
    p, t = ((x - middle).astype(np.float32) * np.float32(MM) for x in (points, true_points))
    one_p, one_t = np.ones((len(p), 1), np.float32), np.ones((len(t), 1), np.float32)
    left = np.concatenate([p, (p * p).sum(1, keepdims=True), one_p], 1)
    right = np.concatenate([-2 * t, one_t, (t * t).sum(1, keepdims=True)], 1)
    to_true, to_predicted = np.empty(len(p), np.float32), np.full(len(t), np.inf, np.float32)
    for start in range(0, len(p), 128):  # few rows at a time stay in the cache
        squares = left[start : start + 128] @ right.T  # |p|^2 - 2 p.t + |t|^2
        squares.min(1, out=to_true[start : start + 128])
        np.minimum(to_predicted, squares.min(0), out=to_predicted)
    out = []
    for limit in limits:
        precision, recall = (float((side <= limit * limit).mean()) for side in (to_true, to_predicted))
        out.append(2 * precision * recall / max(precision + recall, 1e-12))
    return tuple(out)


def acceleration_errors(before: np.ndarray, at: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(...) mean error of the joints' acceleration at one frame, mm per frame squared (Kanazawa et al., CVPR 2019); NaN where
    no joint is known in all three.

    Args:
        before, at, after: (..., 21, 3) mm, predicted minus true joints of three successive frames; NaN: not known.
    """
    errors = _lengths(before - 2 * at + after)
    known = ~np.isnan(errors)
    return np.where(known, errors, 0).sum(-1) / np.where(known.any(-1), known.sum(-1), np.nan)


_PALM = np.array([0, 1, 5, 9, 13, 17])
_FINGER_BONES = np.array([(j, j + 1) for j in range(1, 20) if j % 4])


def pose_difference(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """(...) how differently two hands are posed, degrees: mean angle between the finger bones of right and mirrored left.

    The left hand is mirrored and its palm (wrist, thumb CMC and four MCPs) turned onto the right one's in least squares,
    so neither where the hands are nor how they are turned or how large they are counts; then the angles between
    corresponding bones of the five fingers, 15 in all, are averaged. **choice**: LGNet and EANet do not say how theirs
    is measured; this needs joints only and spans the range of the paper's bins.

    Args:
        right, left: (..., 21, 3) metres.
    """
    mirrored = left * (-1.0, 1.0, 1.0)
    turned = similarity_aligned(mirrored, right, np.isin(np.arange(mirrored.shape[-2]), _PALM))
    a, b = (hand[..., _FINGER_BONES[:, 1], :] - hand[..., _FINGER_BONES[:, 0], :] for hand in (right, turned))
    cosine = (a * b).sum(-1) / np.maximum(_lengths(a) * _lengths(b), 1e-12)
    return np.degrees(np.arccos(cosine.clip(-1, 1)).mean(-1))


def hands_distance(
    right: np.ndarray, left: np.ndarray, valid_right: np.ndarray | None = None, valid_left: np.ndarray | None = None
) -> np.ndarray:
    """(...) millimetres between the nearest joints of two hands (..., N, 3) and (..., M, 3), metres.

    `valid_right` (..., N) and `valid_left` (..., M) bool: joints that count, some of each hand; None: all.
    """
    off = right[..., :, None, :] - left[..., None, :, :]
    squares = np.einsum("...i,...i->...", off, off)
    if valid_right is not None and valid_left is not None:
        squares = np.where(valid_right[..., :, None] & valid_left[..., None, :], squares, np.inf)
    return np.sqrt(squares.min((-2, -1))) * MM


def mask_iou(mask: np.ndarray, true_mask: np.ndarray) -> float | None:
    """Intersection over union of two (H, W) bool pictures; None where both are empty."""
    either = int((mask | true_mask).sum())
    return float((mask & true_mask).sum() / either) if either else None


def match_hands(errors: np.ndarray, limit: float = FOUND_LIMIT) -> np.ndarray:
    """Which prediction stands where each true hand is, whatever its side.

    Args:
        errors: (..., P, T) mean 2D error of prediction p as true hand t, shares of its box; infinite where either is
            not there.
        limit: errors from here on are no match.

    Returns:
        (..., T) numbers of predictions, each used once, of least total error; -1 where no prediction is near.
    """
    predictions, truths = errors.shape[-2:]
    near = np.where(errors < limit, errors, np.inf)
    none = np.full((*errors.shape[:-2], 1, truths), limit)
    near = np.concatenate([near, none], -2)  # -1 is the last
    choices = [
        choice
        for choice in itertools.product([-1, *range(predictions)], repeat=truths)
        if len({p for p in choice if p >= 0}) == sum(p >= 0 for p in choice)
    ]
    costs = np.stack([sum(near[..., p, t] for t, p in enumerate(choice)) for choice in choices], -1)
    return np.array(choices, np.int64).reshape(-1, truths)[costs.argmin(-1)]
