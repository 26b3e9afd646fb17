"""One picture's prediction against its truth.

Per-joint errors are (21,) arrays: NaN where there is no truth, infinite where the hand was missed. Lengths are
millimetres; 2D errors are shares of the larger side of the hand's box. What is not known is None, never zero.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.sample import Sample, swapped_slots
from ..hands import LEFT, NUM_JOINTS, RIGHT, SIDES, WRIST, Hand, TwoHands
from ..metrics import (
    FOUND_LIMIT,
    MM,
    PROTOCOLS,
    can_score,
    f_scores,
    hands_distance,
    mask_iou,
    match_hands,
    pose_difference,
    relative_error,
    rooted_errors,
    similarity_aligned,
)
from .roots import placed_wrists, relative_wrists

TOUCH = 0.005
"""Metres: hands nearer than this are in contact."""
Pair = Sequence[np.ndarray | None]


@dataclass(frozen=True)
class HandScore:
    """One true hand. Dictionaries lack a key where there is no truth, or nothing was predicted."""

    side: int
    predicted: bool  # there is a prediction of this side
    found: bool | None  # and it lies where the hand is; None: no visible joint to tell by
    right_side: bool | None  # of a hand found by position, whatever its side: is it the right one; None: not found
    errors2d: np.ndarray  # (21,) shares of the box
    error2d_px: float | None  # mean over its joints, pixels, of a predicted hand
    errors3d: dict[str, np.ndarray]  # (21,) mm each, by protocol that the truth allows
    mpvpe: dict[str, float]  # by protocol, mm, of predicted hands
    mpvpe_rough: dict[str, float]
    absolute: float | None  # mean distance of its joints in the camera's frame, nothing taken off, mm
    pa_mpjpe: float | None
    pa_mpvpe: float | None
    f_scores: tuple[float, ...] | None  # at metrics.F_LIMITS, vertices, after the best similarity
    mask_iou: float | None  # of the hand's visible pixels
    visible: float | None  # of the true hand's pixels, the share that nothing hides

    @property
    def mpjpe(self) -> dict[str, float]:
        """By protocol, mm; empty for a hand that was missed."""
        return {name: float(np.nanmean(e)) for name, e in self.errors3d.items()} if self.predicted else {}


@dataclass(frozen=True)
class Touch:
    """How the two meshes of one picture stand to each other, where both hands have one."""

    depth: float  # mm, of the deepest vertex of either in the other
    volume: float  # mm3, that both take
    touching: bool  # nearer than `TOUCH`, or in one another


@dataclass(frozen=True)
class PictureScore:
    """One picture."""

    name: str
    kind: str
    hands: tuple[HandScore, ...]
    presence: tuple[bool | None, bool | None]  # right, left: was it told rightly; None: not known whether it is there
    mrrpe: float | None  # mm
    distance: float | None  # mm between the nearest true joints of the two hands
    pose_difference: float | None  # degrees, of the two true hands
    touch: Touch | None  # of the prediction
    true_touch: Touch | None
    joints2d: np.ndarray  # (2, 21, 2) float32 pixels, predicted; NaN where there is no hand: for drawing


def score_picture(
    sample: Sample,
    prediction: TwoHands,
    true_vertices: Pair = (None, None),
    true_faces: Pair = (None, None),
    depths: np.ndarray | None = None,
) -> PictureScore:
    """Compare one picture's prediction with its truth.

    Args:
        sample: the truth.
        prediction: what was reconstructed from the sample's picture.
        true_vertices: right and left (V, 3) metres, camera frame; None where they are not known.
        true_faces: right and left (F, 3); without them nothing is said of what is hidden, nor of true contact.
        depths: (2,) metres, how far away the wrists are taken to be, NaN where not known; None: as predicted.

    Raises:
        ValueError: the prediction has a number that is not finite.
    """
    predicted = (prediction.right, prediction.left)
    for hand in prediction.hands:
        if not all(np.isfinite(x).all() for x in (hand.joints2d, hand.joints3d, hand.vertices, hand.vertices_rough)):
            raise ValueError(f"the {hand.side} hand predicted for {sample.name} has a number that is not finite")
    sample, told = _beside(sample, prediction), sample.side_known
    there = [bool(flag) for flag in sample.present]
    flat = {
        (hand and hand.side, side): errors2d(sample, side, hand)
        for side in (RIGHT, LEFT)
        if there[side]
        for hand in (None, *prediction.hands)
    }
    right_side = _sides_by_position(flat, prediction) if told else [None, None]
    ious = _mask_ious(sample, prediction)
    wrists = placed_wrists(sample, prediction, depths)
    scores = []
    for side in (RIGHT, LEFT):
        if there[side]:
            hand = predicted[side]
            own = flat[hand and hand.side, side]
            score = _score_hand(
                sample,
                side,
                hand,
                own,
                true_vertices[side],
                true_faces[side],
                right_side[side],
                ious[side],
                wrists[side],
            )
            scores.append(score)
    known = np.ones(2, bool) if sample.present_known is None else sample.present_known
    right, left = (bool((predicted[s] is not None) == sample.present[s]) if known[s] else None for s in (RIGHT, LEFT))
    mrrpe = distance = difference = None
    if sample.present.all():
        valid = sample.joints3d_valid
        if prediction.right and prediction.left and valid[:, WRIST].all():
            both = relative_wrists(sample, prediction, depths)
            mrrpe = relative_error(both, sample.joints3d[:, WRIST]) if np.isfinite(both).all() else None
        if valid.any(1).all():
            distance = hands_distance(*(sample.joints3d[s][valid[s]].astype(np.float64) for s in (RIGHT, LEFT)))
        if valid.all():
            difference = pose_difference(*sample.joints3d.astype(np.float64))
    joints2d = np.full((2, NUM_JOINTS, 2), np.nan, np.float32)
    for hand in prediction.hands:
        joints2d[SIDES.index(hand.side)] = hand.joints2d
    meshes = [None if h is None or not len(h.vertices) else (h.vertices, h.faces) for h in predicted]
    truths = [None if v is None or f is None else (v, f) for v, f in zip(true_vertices, true_faces)]
    touch, true_touch = _touch(*meshes), _touch(*truths)
    return PictureScore(
        sample.name, sample.kind, tuple(scores), (right, left), mrrpe, distance, difference, touch, true_touch, joints2d
    )


def _beside(sample: Sample, prediction: TwoHands) -> Sample:
    """Where the sample does not tell its hand's side: that hand in the slot of the prediction nearest to it."""
    if sample.side_known or not prediction.hands:
        return sample
    errors = [_known_mean(errors2d(sample, RIGHT, hand)) for hand in prediction.hands]
    nearest = prediction.hands[int(np.argmin(errors))]
    return swapped_slots(sample) if nearest.side == SIDES[LEFT] else sample


def box_side(sample: Sample, side: int) -> float:
    """Pixels: the larger side of the box that 2D errors of this hand are told in; 0 where there is none."""
    if sample.score_box is not None:
        return float(max(sample.score_box[side, 2:]))
    seen = sample.joints2d[side][sample.joints2d_valid[side]]
    return float(np.ptp(seen, 0).max()) if len(seen) else 0.0


def errors2d(sample: Sample, side: int, hand: Hand | None) -> np.ndarray:
    """(21,) 2D errors, shares of the hand's box: NaN where not to be scored, infinite where there is no `hand`."""
    valid, scale = sample.joints2d_valid[side], box_side(sample, side)
    out = np.full(NUM_JOINTS, np.nan)
    if scale > 0:
        out[valid] = np.inf
        if hand is not None:
            off = hand.joints2d[valid].astype(np.float64) - sample.joints2d[side][valid]
            out[valid] = np.sqrt((off * off).sum(-1)) / scale
    return out


def _known_mean(errors: np.ndarray) -> float:
    """The mean of what is not NaN, of which there is some."""
    known = errors[~np.isnan(errors)]
    return float(known.sum() / len(known))


def _sides_by_position(flat: dict[tuple[str | None, int], np.ndarray], prediction: TwoHands) -> list[bool | None]:
    """For right and left: of a true hand that some prediction stands at, whether that prediction's side is right."""
    out: list[bool | None] = [None, None]
    truths = [side for name, side in flat if name is None and not np.isnan(flat[name, side]).all()]
    if not truths or not prediction.hands:
        return out
    errors = np.array([[_known_mean(flat[hand.side, side]) for side in truths] for hand in prediction.hands])
    for side, match in zip(truths, match_hands(errors)):
        if match is not None:
            out[side] = prediction.hands[match].side == SIDES[side]
    return out


def _score_hand(
    sample: Sample,
    side: int,
    hand: Hand | None,
    flat: np.ndarray,
    true_vertices: np.ndarray | None,
    true_faces: np.ndarray | None,
    right_side: bool | None,
    iou: float | None,
    wrist: np.ndarray,
) -> HandScore:
    truth, valid = sample.joints3d[side].astype(np.float64), sample.joints3d_valid[side]
    visible = _visible(sample, side, true_vertices, true_faces)
    protocols = {name: protocol for name, protocol in PROTOCOLS.items() if can_score(protocol, truth, valid)}
    errors3d = {name: np.where(valid, np.inf, np.nan) for name in protocols}
    vertices: dict[str, float] = {}
    rough: dict[str, float] = {}
    pa_joints = pa_vertices = f = absolute = None
    if hand is not None:
        own = hand.joints3d.astype(np.float64)
        if valid.any() and np.isfinite(wrist).all():
            off = (own - own[WRIST] + wrist - truth)[valid]
            absolute = float(np.sqrt((off * off).sum(-1)).mean() * MM)
        if valid.sum() >= 4:
            pa_joints = _pa_errors(own[valid], truth[valid])[1]
        for name, protocol in protocols.items():
            errors3d[name] = np.where(valid, rooted_errors(own, truth, own, truth, protocol), np.nan)
        if true_vertices is not None and true_vertices.shape == hand.vertices.shape:  # else another hand model's mesh
            aligned, pa_vertices = _pa_errors(hand.vertices.astype(np.float64), true_vertices)
            f = f_scores(aligned, true_vertices)
            for into, mesh in ((vertices, hand.vertices), (rough, hand.vertices_rough)):
                if mesh.shape == true_vertices.shape:
                    for name, protocol in protocols.items():
                        errors = rooted_errors(mesh.astype(np.float64), true_vertices, own, truth, protocol)
                        into[name] = float(errors.mean())
    scored = not np.isnan(flat).all()
    mean2d = _known_mean(flat) if scored else None
    return HandScore(
        side=side,
        predicted=hand is not None,
        found=None if mean2d is None else mean2d < FOUND_LIMIT,
        right_side=right_side,
        errors2d=flat,
        error2d_px=None if mean2d is None or hand is None else mean2d * box_side(sample, side),
        errors3d=errors3d,
        mpvpe=vertices,
        mpvpe_rough=rough,
        absolute=absolute,
        pa_mpjpe=pa_joints,
        pa_mpvpe=pa_vertices,
        f_scores=f,
        mask_iou=iou,
        visible=visible,
    )


def _pa_errors(points: np.ndarray, true_points: np.ndarray) -> tuple[np.ndarray, float]:
    """The points laid on the true ones by the best similarity, and their mean distance, mm."""
    aligned = similarity_aligned(points, true_points)
    off = aligned - true_points
    return aligned, float(np.sqrt((off * off).sum(-1)).sum() / len(off) * MM)


def _part_of(parts: np.ndarray, side: int) -> np.ndarray:
    """(H, W) bool: the pixels of a sample's `parts` that show the hand of this side."""
    return (parts > 16 * side) & (parts <= 16 * (side + 1))


def _mask_ious(sample: Sample, prediction: TwoHands) -> list[float | None]:
    """Right and left: how well the visible pixels agree; None for a missed hand, and where masks or meshes are unknown."""
    if sample.parts is None or not prediction.hands or not all(len(hand.faces) for hand in prediction.hands):
        return [None, None]
    hands = prediction.hands
    starts = np.cumsum([0, *(len(hand.vertices) for hand in hands)])
    faces = np.concatenate([hand.faces + start for hand, start in zip(hands, starts)])
    shown = _draw(np.concatenate([hand.vertices for hand in hands]), faces, prediction.camera.K, sample.parts.shape)
    ends = np.cumsum([0, *(len(hand.faces) for hand in hands)])
    out: list[float | None] = [None, None]
    for hand, low, high in zip(hands, ends, ends[1:]):
        side = SIDES.index(hand.side)
        out[side] = mask_iou((shown >= low) & (shown < high), _part_of(sample.parts, side))
    return out


def _draw(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) int32: the face that each pixel shows, -1 where none."""
    from ..zbuffer import rasterize  # numba: not before it is needed

    points, triangles = np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
    return rasterize(points, triangles, np.asarray(K, np.float32), size[1], size[0])[0]


def _visible(sample: Sample, side: int, vertices: np.ndarray | None, faces: np.ndarray | None) -> float | None:
    """Of the pixels that the true mesh alone would take, the share that show it."""
    if sample.parts is None or sample.K is None or vertices is None or faces is None:
        return None
    alone = _draw(vertices, faces, sample.K, sample.parts.shape) >= 0
    return float((alone & _part_of(sample.parts, side)).sum() / alone.sum()) if alone.any() else None


def _touch(right: tuple[np.ndarray, np.ndarray] | None, left: tuple[np.ndarray, np.ndarray] | None) -> Touch | None:
    """Of two meshes (vertices, faces) in metres; None without both, or where a mesh cannot be closed."""
    if right is None or left is None:
        return None
    from ..penetration import measure_contact  # numba: not before it is needed

    faces = [_closed(np.ascontiguousarray(f, np.int64).tobytes()) for _, f in (right, left)]
    if faces[0] is None or faces[1] is None:
        return None
    contact = measure_contact(right[0], faces[0], left[0], faces[1], reach=TOUCH)
    return Touch(contact.depth * MM, contact.volume * MM**3, contact.distance < TOUCH)


@functools.lru_cache(maxsize=8)
def _closed(faces: bytes) -> np.ndarray | None:
    from ..penetration import close_mesh

    triangles = np.frombuffer(faces, np.int64).reshape(-1, 3)
    return close_mesh(triangles) if len(triangles) > 3 else None
