"""One annotated picture, whatever data set it comes from, in lgnet's own order, units and frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..hands import NUM_BETAS, NUM_JOINTS, NUM_ROTATIONS, WRIST

KINDS = ("interacting", "separate", "single", "none")
"""interacting: the boxes of two hands overlap or the hands touch; separate: two hands apart; single: one hand."""

FACE = 33
"""In part maps: no hand, but easily taken for one."""

ENOUGH_TO_FIT = 15
"""Hands with fewer known 3D joints are left without pose and shape where these are fitted."""
KEYPOINT_BOX_GROWTH = 1.12
"""The larger side of the box round a hand's mesh over that round its 21 joints: mean of 130 hands of synth-bench (half
of them within 1.07 to 1.15). The network is trained on boxes of meshes, so a box of joints is grown by this."""


@dataclass(frozen=True)
class Sample:
    """One picture with its truth. The first axis of every array of hands is the side: 0 right, 1 left.

    What a data set does not give is marked invalid, never filled with a guess. `joints2d` of a hand that is present
    are pixels of `image` (u, v; centre of the top-left pixel at (0, 0)), `joints3d` metres in the camera frame.
    """

    name: str
    kind: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    K: np.ndarray | None  # (4,) fx, fy, cx, cy in pixels; None: unknown camera
    present: np.ndarray  # (2,) bool
    box: np.ndarray  # (2, 4) x, y, w, h pixels, tight around the whole hand (its mesh, where known): what is cropped
    joints2d: np.ndarray  # (2, 21, 2)
    joints2d_valid: np.ndarray  # (2, 21) bool: may be scored
    joints3d: np.ndarray  # (2, 21, 3)
    joints3d_valid: np.ndarray  # (2, 21) bool
    pose: np.ndarray  # (2, 16, 3) axis-angle; the wrist's takes the hand model's rest frame to the camera frame
    shape: np.ndarray  # (2, 10)
    has_params: np.ndarray  # (2,) bool: pose and shape are known, in terms of `hand_model`
    hand_model: str | None = None  # "lgnet" or "mano": what pose and shape mean
    parts: np.ndarray | None = None  # (H, W) uint8: 0 no hand, 1..16 right hand's joint + 1, 17..32 left's, FACE a face
    present_known: np.ndarray | None = None  # (2,) bool: whether `present` is known of this side; None: of both
    vertices: np.ndarray | None = (
        None  # (2, V, 3) metres, camera frame: the true mesh where it is told as such; else NaN
    )
    wrist: np.ndarray | None = None  # (2, 3) metres: the hand model's wrist; None: joints3d's, as with lgnet's own hand
    distortion: np.ndarray | None = None  # (4,) k1, k2, p1, p2 of `distort`: the lens before camera K; None: a pinhole
    scene: str | None = None  # the same of pictures that several cameras took at once; None: not known to be any
    # the same of pictures that are not independent of each other: one film's, whatever the camera, one scene's, one pose's
    # before several backgrounds; None: this picture is by itself, as far as is known
    recording: str | None = None
    T_camera_world: np.ndarray | None = None  # (4, 4) float64 metres, of such pictures: takes world to camera
    score_box: np.ndarray | None = None  # (2, 4) whose larger side 2D errors are told in; None: around the valid joints
    side_known: bool = True  # False: the one hand that is there lies in the first slot, and may be right or left
    annotation: int | None = None  # the data set's own number of this annotation, where others' results name it


def empty_sample(name: str, kind: str, image: np.ndarray, K: np.ndarray | None) -> Sample:
    """A sample with no hands; `dataclasses.replace` or the arrays themselves fill in what is known."""
    return Sample(
        name=name,
        kind=kind,
        image=image,
        K=K,
        present=np.zeros(2, bool),
        box=np.zeros((2, 4), np.float32),
        joints2d=np.zeros((2, NUM_JOINTS, 2), np.float32),
        joints2d_valid=np.zeros((2, NUM_JOINTS), bool),
        joints3d=np.zeros((2, NUM_JOINTS, 3), np.float32),
        joints3d_valid=np.zeros((2, NUM_JOINTS), bool),
        pose=np.zeros((2, NUM_ROTATIONS, 3), np.float32),
        shape=np.zeros((2, NUM_BETAS), np.float32),
        has_params=np.zeros(2, bool),
    )


def blank_image(width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8, black, read-only, without memory of its own: stands for a picture that is not looked at."""
    return np.broadcast_to(np.uint8(0), (height, width, 3))


def swapped_slots(sample: Sample) -> Sample:
    """The same sample with what is said of the right hand said of the left one, and the other way round."""
    sided = ("present", "box", "joints2d", "joints2d_valid", "joints3d", "joints3d_valid", "pose", "shape")
    sided += ("has_params", "present_known", "vertices", "wrist", "score_box")
    values = {name: getattr(sample, name) for name in sided}
    return replace(sample, **{name: value[::-1] for name, value in values.items() if value is not None})


def require_side(sample: Sample) -> None:
    """Refuse a sample that does not tell its hand's side, where the side matters.

    Raises:
        ValueError: it does not.
    """
    if not sample.side_known:
        raise ValueError(
            f"{sample.name} does not tell whether its hand is a right or a left one: its data set can be evaluated with "
            "--boxes own, and nothing can be trained on it"
        )


def labelled(sample: Sample) -> np.ndarray:
    """(2,) which hands something is told of beside a box: joints, or pose and shape."""
    return sample.joints2d_valid.any(1) | sample.joints3d_valid.any(1) | sample.has_params


def set_joints(
    sample: Sample,
    side: int,
    joints2d: np.ndarray,
    valid2d: np.ndarray,
    joints3d: np.ndarray | None = None,
    valid3d: np.ndarray | None = None,
) -> None:
    """Write a hand that is there into a sample which has a `score_box`; boxes are made from its valid 2D joints.

    Args:
        sample: changed in place.
        side: 0 right, 1 left.
        joints2d: (21, 2) pixels, lgnet's order.
        valid2d: (21,) bool; where less than two are, the hand has no box and counts in presence only.
        joints3d: (21, 3) metres, camera frame; None: not known.
        valid3d: (21,) bool; all are taken as unknown where the wrist is, since nothing relative to it is known then.
    """
    assert sample.score_box is not None
    sample.present[side] = True
    if valid2d.sum() < 2:
        return
    sample.joints2d[side], sample.joints2d_valid[side] = joints2d, valid2d
    low, high = joints2d[valid2d].min(0), joints2d[valid2d].max(0)
    sample.score_box[side] = *low, *(high - low)
    sample.box[side] = grown(sample.score_box[side])
    if joints3d is not None and valid3d is not None:
        sample.joints3d[side], sample.joints3d_valid[side] = joints3d, valid3d & valid3d[WRIST]


def kind_of(sample: Sample) -> str:
    """What of KINDS a sample is by the hands that are in it; of two, whether their boxes overlap."""
    count = int(sample.present.sum())
    if count < 2:
        return ("none", "single")[count]
    return kind_of_boxes(*sample.box)


def kind_of_boxes(right: np.ndarray, left: np.ndarray) -> str:
    """What of KINDS two hands in boxes (4,) x, y, w, h are."""
    low, high = np.maximum(right[:2], left[:2]), np.minimum(right[:2] + right[2:], left[:2] + left[2:])
    return "interacting" if (high > low).all() else "separate"


def inside_picture(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """(N,) bool: which of the pixels (N, 2) lie in a picture of that size."""
    return np.asarray(((pixels >= -0.5) & (pixels < (width - 0.5, height - 0.5))).all(1))


def grown(box: np.ndarray, by: float = KEYPOINT_BOX_GROWTH) -> np.ndarray:
    """(4,) x, y, w, h grown about its middle; by default a box of joints to what the mesh's is on average."""
    centre, size = box[:2] + box[2:] / 2, box[2:] * by
    return np.concatenate([centre - size / 2, size])


def project(points: np.ndarray, K: np.ndarray, distortion: np.ndarray | None = None) -> np.ndarray:
    """(N, 2) pixels of points (N, 3) in the camera frame, K (4,); what lies behind the camera is taken just before it.

    `distortion` (4,) as `distort` takes it; None: a pinhole.
    """
    if distortion is None:
        return points[:, :2] / np.maximum(points[:, 2:], 1e-3) * K[:2] + K[2:]
    return distort(points[:, :2] / np.maximum(points[:, 2:], 1e-3), distortion) * K[:2] + K[2:]


def distort(xy: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """(N, 2) where a lens shows what a pinhole shows at x / z, y / z (N, 2): Brown's model (Decentering distortion of
    lenses, Photogrammetric Engineering, 1966) with k1, k2 (radial) and p1, p2 (decentring) in OpenCV's convention.
    """
    (k1, k2, p1, p2), (x, y) = distortion, xy.T
    square = x * x + y * y
    radial = 1 + (k1 + k2 * square) * square
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        ],
        1,
    )
