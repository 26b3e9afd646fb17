"""What is measured of a prediction: pure functions, then the scores of one picture, then their summary.

Three protocols, never mixed: A has its root at the middle finger's MCP (joint 9) and scales the predicted hand by true
over predicted length of bone 0-9; B the same scale and its root at the wrist; C the wrist and no scale. Vertices are
rooted and scaled by the joints, as these. The root's own error, zero, is part of means and of PCK, as in the published
codes.

Joints and vertices come in metres, camera frame; errors go out in millimetres. 2D errors are shares of the larger side
of the hand's box. What has no truth is None (or is not in a list), never zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .data.sample import KINDS, Sample
from .hands import LEFT, MIDDLE_MCP, RIGHT, SIDES, WRIST, Hand, TwoHands

MM = 1000.0
AUC_LIMIT = 50.0
"""Millimetres: PCK is integrated from 0 to here and divided by it."""
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


def can_score(protocol: Protocol, true_joints: np.ndarray, valid: np.ndarray) -> bool:
    """Whether the truth has the joints that the protocol hangs on. Joints (21, 3) metres; valid (21,) bool."""
    if not valid[protocol.root]:
        return False
    return not protocol.scaled or bool(valid[WRIST] and valid[MIDDLE_MCP] and _bone(true_joints) > 0)


def rooted_errors(
    points: np.ndarray,
    true_points: np.ndarray,
    joints: np.ndarray,
    true_joints: np.ndarray,
    protocol: Protocol,
) -> np.ndarray:
    """(N,) mm: distances of predicted from true points once both are rooted, and the prediction scaled.

    Args:
        points, true_points: (N, 3) metres, any one frame: the joints themselves, or vertices.
        joints, true_joints: (21, 3) metres: where root and scale are taken from.
        protocol: one of `PROTOCOLS`; the truth must have its joints, see `can_score`.
    """
    scale = _bone(true_joints) / max(_bone(joints), 1e-9) if protocol.scaled else 1.0
    predicted = (points - joints[protocol.root]) * scale
    return np.linalg.norm(predicted - (true_points - true_joints[protocol.root]), axis=-1) * MM


def _bone(joints: np.ndarray) -> float:
    return float(np.linalg.norm(joints[MIDDLE_MCP] - joints[WRIST]))


def mpjpe(joints: np.ndarray, true_joints: np.ndarray, valid: np.ndarray, protocol: Protocol) -> float | None:
    """Mean error of the valid joints, mm; None where the truth does not have what the protocol needs.

    Args:
        joints, true_joints: (21, 3) metres.
        valid: (21,) bool: joints with truth.
        protocol: one of `PROTOCOLS`.
    """
    if not can_score(protocol, true_joints, valid):
        return None
    return float(rooted_errors(joints, true_joints, joints, true_joints, protocol)[valid].mean())


def similarity_aligned(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, 3) `source` moved, turned and scaled (never mirrored) onto `target` in least squares (Umeyama, 1991)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    u, d, vh = np.linalg.svd(t.T @ s)
    sign = np.array([1.0, 1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vh) > 0 else -1.0])
    scale = (d * sign).sum() / max(float((s * s).sum()), 1e-12)
    return scale * s @ ((u * sign) @ vh).T + mean_t


def pa_error(points: np.ndarray, true_points: np.ndarray, valid: np.ndarray | None = None) -> float | None:
    """Mean error, mm, after the best similarity (PA-MPJPE, PA-MPVPE); None with fewer than four valid points.

    Args:
        points, true_points: (N, 3) metres.
        valid: (N,) bool; None: all.
    """
    if valid is not None:
        points, true_points = points[valid], true_points[valid]
    if len(points) < 4:
        return None
    return float(np.linalg.norm(similarity_aligned(points, true_points) - true_points, axis=-1).mean() * MM)


def relative_error(wrists: np.ndarray, true_wrists: np.ndarray) -> float:
    """MRRPE of one picture, mm: error of left wrist minus right wrist. Wrists (2, 3) metres, right first."""
    return float(np.linalg.norm((wrists[LEFT] - wrists[RIGHT]) - (true_wrists[LEFT] - true_wrists[RIGHT])) * MM)


def pck(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(T,) share of errors (N,) not above each threshold (T,); N > 0. A missed joint's error is infinite."""
    return (np.asarray(errors)[None] <= np.asarray(thresholds)[:, None]).mean(1)


def area_under_pck(errors: np.ndarray, limit: float = AUC_LIMIT) -> float:
    """0..1: the area under the PCK curve of errors (N,) from 0 to `limit`, over `limit`; exact, without bins."""
    return float(np.clip(1 - np.asarray(errors) / limit, 0, None).mean())


def box_side(sample: Sample, side: int) -> float:
    """Pixels: the larger side of the box that 2D errors of this hand are told in; 0 where there is none."""
    if sample.score_box is not None:
        return float(max(sample.score_box[side, 2:]))
    seen = sample.joints2d[side][sample.joints2d_valid[side]]
    return float(np.ptp(seen, 0).max()) if len(seen) else 0.0


def match_hands(errors: np.ndarray, limit: float = FOUND_LIMIT) -> list[int | None]:
    """Which prediction stands where each true hand is, whatever its side.

    Args:
        errors: (P, T) mean 2D error of prediction p as true hand t, shares of its box.
        limit: errors from here on are no match.

    Returns:
        T indices of predictions, each used once, of least total error; None where no prediction is near.
    """
    predictions, truths = errors.shape
    best: tuple[float, tuple[int | None, ...]] = (limit * truths, (None,) * truths)
    for choice in itertools.product([None, *range(predictions)], repeat=truths):
        used = [p for p in choice if p is not None]
        if len(set(used)) < len(used):
            continue
        costs = [limit if p is None else float(errors[p, t]) for t, p in enumerate(choice)]
        if any(p is not None and cost >= limit for p, cost in zip(choice, costs)):
            continue
        best = min(best, (sum(costs), choice), key=lambda pair: pair[0])
    return list(best[1])


@dataclass(frozen=True)
class HandScore:
    """One true hand. Lists are empty and dictionaries lack a key where there is no truth, or nothing was predicted."""

    side: int
    predicted: bool  # there is a prediction of this side
    found: bool | None  # and it lies where the hand is; None: no visible joint to tell by
    right_side: bool | None  # of a hand found by position, whatever its side: is it the right one; None: not found
    errors2d: np.ndarray  # (n,) of joints that may be scored; shares of the box; infinite where missed
    errors3d: np.ndarray  # (m,) mm, protocol B; infinite where missed: what PCK and AUC count
    mpjpe: dict[str, float]  # by protocol, mm, of predicted hands
    mpvpe: dict[str, float]
    mpvpe_rough: dict[str, float]
    pa_mpjpe: float | None
    pa_mpvpe: float | None


@dataclass(frozen=True)
class PictureScore:
    """One picture."""

    name: str
    kind: str
    hands: tuple[HandScore, ...]
    presence: tuple[bool, ...]  # for each side of which presence is known: was it told rightly
    mrrpe: float | None  # mm


def score_picture(
    sample: Sample, prediction: TwoHands, true_vertices: Sequence[np.ndarray | None] = (None, None)
) -> PictureScore:
    """Compare one picture's prediction with its truth.

    Args:
        sample: the truth.
        prediction: what was reconstructed from the sample's picture.
        true_vertices: right and left (V, 3) metres, camera frame; None where they are not known.

    Raises:
        ValueError: the prediction has a number that is not finite.
    """
    predicted = (prediction.right, prediction.left)
    for hand in prediction.hands:
        if not all(np.isfinite(x).all() for x in (hand.joints2d, hand.joints3d, hand.vertices, hand.vertices_rough)):
            raise ValueError(f"the {hand.side} hand predicted for {sample.name} has a number that is not finite")
    right_side = _sides_by_position(sample, prediction)
    scores = tuple(
        _score_hand(sample, side, predicted[side], true_vertices[side], right_side[side])
        for side in (RIGHT, LEFT)
        if sample.present[side]
    )
    known = np.ones(2, bool) if sample.present_known is None else sample.present_known
    presence = tuple(bool((predicted[s] is not None) == sample.present[s]) for s in (RIGHT, LEFT) if known[s])
    mrrpe = None
    if prediction.right and prediction.left and sample.present.all() and sample.joints3d_valid[:, WRIST].all():
        wrists = np.stack([prediction.right.joints3d[WRIST], prediction.left.joints3d[WRIST]])
        mrrpe = relative_error(wrists, sample.joints3d[:, WRIST])
    return PictureScore(sample.name, sample.kind, scores, presence, mrrpe)


def errors2d(sample: Sample, side: int, hand: Hand | None) -> np.ndarray:
    """(n,) 2D errors of the joints that may be scored, shares of the hand's box; infinite where there is no `hand`."""
    valid, scale = sample.joints2d_valid[side], box_side(sample, side)
    if not valid.any() or scale <= 0:
        return np.zeros(0)
    if hand is None:
        return np.full(int(valid.sum()), np.inf)
    return np.linalg.norm(hand.joints2d[valid] - sample.joints2d[side][valid], axis=-1) / scale


def _sides_by_position(sample: Sample, prediction: TwoHands) -> list[bool | None]:
    """For right and left: of a true hand that some prediction stands at, whether that prediction's side is right."""
    out: list[bool | None] = [None, None]
    truths = [s for s in (RIGHT, LEFT) if sample.present[s] and len(errors2d(sample, s, None))]
    if not truths or not prediction.hands:
        return out
    errors = np.array([[errors2d(sample, side, hand).mean() for side in truths] for hand in prediction.hands])
    for side, match in zip(truths, match_hands(errors)):
        if match is not None:
            out[side] = prediction.hands[match].side == SIDES[side]
    return out


def _score_hand(
    sample: Sample, side: int, hand: Hand | None, true_vertices: np.ndarray | None, right_side: bool | None
) -> HandScore:
    flat = errors2d(sample, side, hand)
    truth, valid = sample.joints3d[side].astype(np.float64), sample.joints3d_valid[side]
    errors3d, joints, vertices, rough = np.zeros(0), {}, {}, {}
    pa_joints = pa_vertices = None
    if can_score(PROTOCOLS[PCK_PROTOCOL], truth, valid):
        errors3d = np.full(int(valid.sum()), np.inf)
        if hand is not None:
            own = hand.joints3d
            errors3d = rooted_errors(own, truth, own, truth, PROTOCOLS[PCK_PROTOCOL])[valid]
    if hand is not None:
        pa_joints = pa_error(hand.joints3d, truth, valid)
        if true_vertices is not None and true_vertices.shape != hand.vertices.shape:
            true_vertices = None  # another hand model's mesh
        if true_vertices is not None:
            pa_vertices = pa_error(hand.vertices, true_vertices)
        for name, protocol in PROTOCOLS.items():
            error = mpjpe(hand.joints3d, truth, valid, protocol)
            if error is None:
                continue
            joints[name] = error
            if true_vertices is not None:
                for into, mesh in ((vertices, hand.vertices), (rough, hand.vertices_rough)):
                    into[name] = float(rooted_errors(mesh, true_vertices, hand.joints3d, truth, protocol).mean())
    found = None
    if len(flat):
        found = bool(flat.mean() < FOUND_LIMIT)
    return HandScore(
        side, hand is not None, found, right_side, flat, errors3d, joints, vertices, rough, pa_joints, pa_vertices
    )


def pooled(pictures: Iterable[PictureScore], what: str) -> np.ndarray:
    """(N,) all joints' "errors2d" or "errors3d", for curves."""
    parts = [getattr(hand, what) for picture in pictures for hand in picture.hands]
    return np.concatenate([np.zeros(0), *parts])


def summarise(pictures: Sequence[PictureScore]) -> dict[str, Any]:
    """The figures of metrics.json, `by` kind of picture and for `groups`; None where there is no truth.

    Groups are the pictures with two true hands, and those of each folder where the data set has several.

    3D errors are means over hands of each hand's mean over its joints, of hands that were predicted; PCK and AUC are
    over all joints of all hands, missed ones wrong; MRRPE over pictures with both hands; presence over sides.
    """
    kinds = [kind for kind in KINDS if kind != "none"]
    by = {kind: _figures([p for p in pictures if p.kind == kind]) for kind in kinds}
    groups = {"two hands": [p for p in pictures if len(p.hands) == 2]}
    folders = sorted({p.name.split("/")[0] for p in pictures})
    if len(folders) > 1:
        groups |= {folder: [p for p in pictures if p.name.split("/")[0] == folder] for folder in folders}
    return {
        **_figures(pictures),
        "by": by,
        "groups": {name: _figures(chosen) for name, chosen in groups.items() if chosen},
    }


def _figures(pictures: Sequence[PictureScore]) -> dict[str, Any]:
    hands = [hand for picture in pictures for hand in picture.hands]
    flat, deep = pooled(pictures, "errors2d"), pooled(pictures, "errors3d")
    return {
        "count": len(pictures),
        "hands": len(hands),
        "hands_scored_3d": sum(bool(hand.mpjpe) for hand in hands),
        "presence_accuracy": _mean(flag for picture in pictures for flag in picture.presence),
        "handedness_accuracy": _mean(hand.right_side for hand in hands),
        "protocols": {
            name: {
                key: _mean(getattr(hand, key).get(name) for hand in hands) for key in ("mpjpe", "mpvpe", "mpvpe_rough")
            }
            for name in PROTOCOLS
        },
        "pa_mpjpe": _mean(hand.pa_mpjpe for hand in hands),
        "pa_mpvpe": _mean(hand.pa_mpvpe for hand in hands),
        "mrrpe": _mean(picture.mrrpe for picture in pictures),
        "auc_0_50": area_under_pck(deep) if len(deep) else None,
        "pck2d": {str(limit): float((flat <= limit).mean()) if len(flat) else None for limit in PCK2D_LIMITS},
        "hands_found": _mean(hand.found for hand in hands),
    }


def _mean(values: Iterable[float | bool | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None
