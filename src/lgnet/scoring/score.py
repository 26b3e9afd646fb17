"""One picture's prediction against its truth.

Per-joint errors are (21,) arrays: NaN where there is no truth, infinite where the hand was missed. Lengths are
millimetres; 2D errors are shares of the larger side of the hand's box. What is not known is None, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.sample import Sample, swapped_slots
from ..hands import LEFT, MANO_VERTICES, NUM_JOINTS, RIGHT, SIDES, WRIST, Hand, TwoHands
from ..mano import mano_joints
from ..metrics import (
    FOUND_LIMIT,
    MM,
    PROTOCOLS,
    Protocol,
    can_score,
    f_scores,
    hands_distance,
    match_hands,
    pa_errors,
    pose_difference,
    relative_error,
    rooted_errors,
    similarity_aligned,
)
from .masks import mask_ious, visible_share
from .roots import placed_wrists, relative_wrists
from .touch import Touch, measure_touch

Pair = Sequence[np.ndarray | None]


@dataclass(frozen=True)
class HandScore:
    """One true hand. Dictionaries lack a key where there is no truth, or nothing was predicted."""

    side: int  # -1: the truth does not tell
    predicted: bool  # there is a prediction of this side
    found: bool | None  # and it lies where the hand is; None: no visible joint to tell by
    right_side: bool | None  # of a hand found by position, whatever its side: is it the right one; None: not found
    errors2d: np.ndarray  # (21,) shares of the box
    error2d_px: float | None  # mean over its joints, pixels, of a predicted hand
    errors3d: dict[str, np.ndarray]  # (21,) mm each, by protocol that the truth allows
    offset: np.ndarray  # (21, 3) float32 mm, predicted minus true, each from its wrist; NaN: not known
    mpvpe: dict[str, float]  # by protocol, mm, of predicted hands
    mpvpe_rough: dict[str, float]  # protocol C alone
    absolute: float | None  # mean distance of its joints in the camera's frame, nothing taken off, mm
    pa_mpjpe: float | None
    pa_mpvpe: float | None
    f_scores: tuple[float, ...] | None  # at metrics.F_LIMITS, vertices, after the best similarity
    mask_iou: float | None  # of the hand's visible pixels
    of_mesh: bool  # the scaled protocols measure against the joints of its true mesh, not the annotated ones
    visible: float | None  # of the true hand's pixels, the share that nothing hides

    @property
    def mpjpe(self) -> dict[str, float]:
        """By protocol, mm; empty for a hand that was missed."""
        return {name: float(np.nanmean(e)) for name, e in self.errors3d.items()} if self.predicted else {}


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
    recording: str | None  # as of `Sample`


@dataclass(frozen=True)
class MeshScore:
    """What the mesh of one true hand says, as in `HandScore`."""

    mpvpe: dict[str, float]
    mpvpe_rough: dict[str, float]
    pa_mpvpe: float | None = None
    f_scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Noted:
    """A picture whose pixels and meshes have been scored; its joints are left, which go faster many pictures at once."""

    sample: Sample  # the truth, its hand in the slot it is compared in
    size: np.ndarray  # (2,) pixels, of the boxes that 2D errors are told in
    predicted: tuple[bool, bool]
    joints2d: np.ndarray  # (2, 21, 2) predicted, float64; NaN where there is no hand
    joints3d: np.ndarray  # (2, 21, 3)
    scaled3d: np.ndarray  # (2, 21, 3) the same for the scaled protocols: `_mesh_joints`
    mesh_joints: np.ndarray  # (2, 21, 3) of the true meshes; NaN where they are not known
    wrists: np.ndarray | None  # (2, 3) where the wrists are taken to be; None: where they are predicted
    relative: np.ndarray | None  # (2, 3) the same for their relative position
    meshes: tuple[MeshScore, MeshScore]
    ious: list[float | None]
    visible: tuple[float | None, float | None]
    touch: Touch | None
    true_touch: Touch | None


def score_picture(
    sample: Sample,
    prediction: TwoHands,
    true_vertices: Pair = (None, None),
    true_faces: Pair = (None, None),
    depths: np.ndarray | None = None,
    mesh_joints: Pair = (None, None),
) -> PictureScore:
    """Compare one picture's prediction with its truth; arguments and errors as of `note_picture`."""
    return score_pictures([note_picture(sample, prediction, true_vertices, true_faces, depths, mesh_joints)])[0]


def note_picture(
    sample: Sample,
    prediction: TwoHands,
    true_vertices: Pair = (None, None),
    true_faces: Pair = (None, None),
    depths: np.ndarray | None = None,
    mesh_joints: Pair = (None, None),
) -> Noted:
    """Everything of a picture's score that its pixels and meshes are needed for; they are not kept.

    Args:
        sample: the truth.
        prediction: what was reconstructed from the sample's picture.
        true_vertices: right and left (V, 3) metres, camera frame; None where they are not known.
        true_faces: right and left (F, 3); without them nothing is said of what is hidden, nor of true contact.
        depths: (2,) metres, how far away the wrists are taken to be, NaN where not known; None: as predicted.
        mesh_joints: right and left (21, 3) metres, camera frame, of the true meshes, which the scaled protocols (A, B) take
            for the truth where they are known, as the methods they are of do; None: the annotated joints.

    Raises:
        ValueError: the prediction has a number that is not finite.
    """
    predicted = (prediction.right, prediction.left)
    joints2d, joints3d = np.full((2, NUM_JOINTS, 2), np.nan), np.full((2, NUM_JOINTS, 3), np.nan)
    for side, hand in enumerate(predicted):
        if hand is None:
            continue
        joints2d[side], joints3d[side] = hand.joints2d, hand.joints3d
        if not all(np.isfinite(x).all() for x in (joints2d[side], joints3d[side], hand.vertices, hand.vertices_rough)):
            raise ValueError(f"the {hand.side} hand predicted for {sample.name} has a number that is not finite")
    sample = _beside(sample, prediction)
    unboxed = sample.present & (sample.box[:, 2:].max(1) <= 0)
    if unboxed.any():  # such a hand can be given to nobody (`--boxes truth`): it counts in presence only
        told = sample.joints2d_valid & ~unboxed[:, None], sample.joints3d_valid & ~unboxed[:, None]
        sample = replace(sample, joints2d_valid=told[0], joints3d_valid=told[1])
        true_vertices, true_faces, mesh_joints = (
            [None if gone else value for gone, value in zip(unboxed, pair)]
            for pair in (true_vertices, true_faces, mesh_joints)
        )
    meshes = [None if h is None or not len(h.vertices) else (h.vertices, h.faces) for h in predicted]
    truths = [None if v is None or f is None else (v, f) for v, f in zip(true_vertices, true_faces)]
    unknown = np.full((NUM_JOINTS, 3), np.nan)
    of_mesh = np.array([unknown if joints is None else joints for joints in mesh_joints])
    scaled3d = np.array(
        [
            joints3d[side] if hand is None else _mesh_joints(sample, side, hand.vertices, joints3d[side], of_mesh[side])
            for side, hand in enumerate(predicted)
        ]
    )
    right, left = (
        _mesh_score(sample, side, predicted[side], true_vertices[side], of_mesh[side], scaled3d[side])
        for side in (RIGHT, LEFT)
    )
    told = depths is not None
    return Noted(
        sample if sample.image.strides[0] == 0 else replace(sample, image=_NO_PICTURE, parts=None),  # `blank_image`
        box_sides(sample),
        (predicted[RIGHT] is not None, predicted[LEFT] is not None),
        joints2d,
        joints3d,
        scaled3d,
        of_mesh,
        placed_wrists(sample, prediction, depths) if told else None,
        relative_wrists(sample, prediction, depths) if told else None,
        (right, left),
        mask_ious(sample, prediction),
        (
            visible_share(sample, RIGHT, true_vertices[RIGHT], true_faces[RIGHT]),
            visible_share(sample, LEFT, true_vertices[LEFT], true_faces[LEFT]),
        ),
        measure_touch(*meshes),
        measure_touch(*truths),
    )


_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


def _mesh_joints(
    sample: Sample, side: int, vertices: np.ndarray, joints3d: np.ndarray, true_joints: np.ndarray
) -> np.ndarray:
    """(21, 3) of a predicted mesh: as the published codes, what MANO's regressor makes of it, where it is one of MANO's and the
    truth is such; else the predicted joints as they are.
    """
    of_mano = sample.hand_model == "mano" and bool(np.isfinite(true_joints).all())
    return (
        mano_joints(SIDES[side], vertices.astype(np.float64))
        if of_mano and len(vertices) == MANO_VERTICES
        else joints3d
    )


def score_pictures(noted: Sequence[Noted]) -> list[PictureScore]:
    """The scores of P > 0 pictures, in their order: all joints are measured at once."""
    samples = [n.sample for n in noted]
    there = np.array([s.present for s in samples])  # (P, 2)
    valid2d, valid3d = (np.array([getattr(s, key) for s in samples]) for key in ("joints2d_valid", "joints3d_valid"))
    true2d, true3d = (np.array([getattr(s, key) for s in samples], np.float64) for key in ("joints2d", "joints3d"))
    known = np.array([(True, True) if s.present_known is None else s.present_known for s in samples])
    own2d, own3d = np.array([n.joints2d for n in noted]), np.array([n.joints3d for n in noted])  # (P, 2, 21, ...)
    scaled3d = np.array([n.scaled3d for n in noted])
    predicted, size = np.array([n.predicted for n in noted]), np.array([n.size for n in noted])

    # (P, 2, 2, 21): each prediction as each true hand; infinite without one, NaN where nothing is to be scored
    off = own2d[:, :, None] - true2d[:, None]
    flat = np.sqrt(np.einsum("...i,...i->...", off, off)) / np.where(size > 0, size, np.nan)[:, None, :, None]
    flat = np.where(predicted[:, :, None, None], flat, np.inf)
    flat = np.where((valid2d & (there & (size > 0))[..., None])[:, None], flat, np.nan)
    count2d = (~np.isnan(flat)).sum(-1)
    means2d = np.nansum(flat, -1) / np.where(count2d, count2d, np.nan)  # (P, 2, 2)
    match = match_hands(np.where(np.isnan(means2d), np.inf, means2d))  # (P, 2)
    side_told = np.array([s.side_known for s in samples])[:, None]
    right_side = np.where((match >= 0) & side_told, match == (RIGHT, LEFT), np.nan)
    sides = np.arange(2)
    errors2d, mean2d = flat[:, sides, sides], means2d[:, sides, sides]  # of the prediction of its own side

    both = there & predicted
    mesh3d = np.array([n.mesh_joints for n in noted])
    scorable, errors3d = {}, {}
    for name, protocol in PROTOCOLS.items():
        truth, valid = protocol_truth(protocol, true3d, valid3d, mesh3d)
        scorable[name] = there & can_score(protocol, truth, valid)
        errors3d[name] = np.where(valid, np.inf, np.nan)
        rows = scorable[name] & predicted
        mine = (scaled3d if protocol.scaled else own3d)[rows]
        own = rooted_errors(mine, truth[rows], mine, truth[rows], protocol)
        errors3d[name][rows] = np.where(valid[rows], own, np.nan)
    wrists = np.array([own[:, WRIST] if n.wrists is None else n.wrists for n, own in zip(noted, own3d)])
    moved = own3d - own3d[:, :, WRIST : WRIST + 1] + wrists[:, :, None] - true3d
    offset = (own3d - own3d[:, :, WRIST : WRIST + 1] - true3d + true3d[:, :, WRIST : WRIST + 1]) * MM
    told = valid3d[..., WRIST] & (valid3d.sum(-1) > 1)  # a wrist alone has no distance from itself
    rooted = valid3d & told[..., None]
    offset = np.where(rooted[..., None], offset, np.nan).astype(np.float32)
    absolute = np.where(valid3d, np.sqrt(np.einsum("...i,...i->...", moved, moved)), 0).sum(-1) * MM
    absolute /= np.where(valid3d.any(-1), valid3d.sum(-1), np.nan)
    pa = np.full(there.shape, np.nan)
    pa[both] = pa_errors(own3d[both], true3d[both], valid3d[both])

    pair, mrrpe = there.all(1), np.full(len(noted), np.nan)
    rows = pair & np.all(predicted, axis=1) & valid3d[:, :, WRIST].all(1)
    relative = np.array([own[:, WRIST] if n.relative is None else n.relative for n, own in zip(noted, own3d)])
    mrrpe[rows] = relative_error(relative[rows], true3d[rows][:, :, WRIST])
    distance, difference = np.full(len(noted), np.nan), np.full(len(noted), np.nan)
    rows = pair & np.all(valid3d.any(2), axis=1)
    if rows.any():
        distance[rows] = hands_distance(*true3d[rows].swapaxes(0, 1), *valid3d[rows].swapaxes(0, 1))
    rows = pair & valid3d.all((1, 2))
    if rows.any():
        difference[rows] = pose_difference(*true3d[rows].swapaxes(0, 1))
    presence = np.where(known, predicted == there, np.nan)

    def hand(row: int, side: int) -> HandScore:
        n, mean, mine = noted[row], _or_none(mean2d[row, side]), bool(predicted[row, side])
        return HandScore(
            side=side if n.sample.side_known else -1,
            predicted=mine,
            found=None if mean is None else mean < FOUND_LIMIT,
            right_side=_flag(right_side[row, side]),
            errors2d=errors2d[row, side],
            error2d_px=None if mean is None or not mine else float(mean * size[row, side]),
            errors3d={name: errors3d[name][row, side] for name in PROTOCOLS if scorable[name][row, side]},
            offset=offset[row, side],
            mpvpe=n.meshes[side].mpvpe,
            mpvpe_rough=n.meshes[side].mpvpe_rough,
            absolute=_or_none(absolute[row, side]),
            pa_mpjpe=_or_none(pa[row, side]),
            pa_mpvpe=n.meshes[side].pa_mpvpe,
            f_scores=n.meshes[side].f_scores,
            mask_iou=n.ious[side],
            of_mesh=bool(np.isfinite(n.mesh_joints[side]).all()),
            visible=n.visible[side],
        )

    drawn = own2d.astype(np.float32)
    return [
        PictureScore(
            n.sample.name,
            n.sample.kind,
            tuple(hand(row, side) for side in (RIGHT, LEFT) if there[row, side]),
            (_flag(presence[row, RIGHT]), _flag(presence[row, LEFT])),
            _or_none(mrrpe[row]),
            _or_none(distance[row]),
            _or_none(difference[row]),
            n.touch,
            n.true_touch,
            drawn[row],
            n.sample.recording,
        )
        for row, n in enumerate(noted)
    ]


def _or_none(value: float) -> float | None:
    return None if value != value else float(value)


def _flag(value: float) -> bool | None:
    return None if value != value else bool(value)


def _beside(sample: Sample, prediction: TwoHands) -> Sample:
    """Where the sample does not tell its hand's side: that hand in the slot of the prediction nearest to it."""
    if sample.side_known or not prediction.hands:
        return sample
    valid = sample.joints2d_valid[RIGHT]
    off = [np.linalg.norm(hand.joints2d[valid] - sample.joints2d[RIGHT][valid], axis=1) for hand in prediction.hands]
    nearest = (
        prediction.hands[int(np.argmin([errors.mean() for errors in off]))] if valid.any() else prediction.hands[0]
    )
    return swapped_slots(sample) if nearest.side == SIDES[LEFT] else sample


def box_sides(sample: Sample) -> np.ndarray:
    """(2,) pixels: the larger sides of the boxes that 2D errors of the hands are told in; 0 where there is none."""
    if sample.score_box is not None:
        return sample.score_box[:, 2:].max(1).astype(np.float64)
    seen = [joints[valid] for joints, valid in zip(sample.joints2d, sample.joints2d_valid)]
    return np.array([float(np.ptp(joints, 0).max()) if len(joints) else 0.0 for joints in seen])


def protocol_truth(
    protocol: Protocol, joints: np.ndarray, valid: np.ndarray, mesh_joints: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The true joints (..., 21, 3) that a protocol measures against, and which of them are known (..., 21).

    The evaluation codes of IntagHand, EANet and DIR, whose protocols scale, take those of the true MANO mesh (NaN where it
    is not known) and not the annotated ones, which lie some millimetres off it; InterNet's takes the annotated ones.
    """
    if not protocol.scaled:
        return joints, valid
    known = np.isfinite(mesh_joints)
    known &= known.all((-2, -1), keepdims=True)
    return np.where(known, mesh_joints, joints), valid | known[..., 0]


def _mesh_score(
    sample: Sample,
    side: int,
    hand: Hand | None,
    true_vertices: np.ndarray | None,
    mesh_joints: np.ndarray,
    scaled3d: np.ndarray,
) -> MeshScore:
    if hand is None or true_vertices is None or true_vertices.shape != hand.vertices.shape:  # another hand model's mesh
        return MeshScore({}, {})
    own, vertices = hand.joints3d.astype(np.float64), hand.vertices.astype(np.float64)
    rough = hand.vertices_rough.astype(np.float64)
    aligned = similarity_aligned(vertices, true_vertices)
    pa = float(np.linalg.norm(aligned - true_vertices, axis=1).mean() * MM)
    final: dict[str, float] = {}
    before: dict[str, float] = {}
    for name, protocol in PROTOCOLS.items():
        joints = sample.joints3d[side].astype(np.float64)
        truth, valid = protocol_truth(protocol, joints, sample.joints3d_valid[side], mesh_joints)
        if not can_score(protocol, truth, valid):
            continue
        mine, before_mine = own, own
        if np.isfinite(mesh_joints).all():  # each mesh from its own root: the annotated joints lie some millimetres off
            truth, mine, before_mine = mesh_joints, scaled3d, _mesh_joints(sample, side, rough, own, mesh_joints)
        final[name] = float(rooted_errors(vertices, true_vertices, mine, truth, protocol).mean())
        if rough.shape == true_vertices.shape and (protocol.root, protocol.scaled) == (WRIST, False):
            # M_f's joints, which are all there is, have M_r's wrist; any other root or scale would not be M_r's own
            before[name] = float(rooted_errors(rough, true_vertices, before_mine, truth, protocol).mean())
    return MeshScore(final, before, pa, f_scores(aligned, true_vertices))
