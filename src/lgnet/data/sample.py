"""One annotated picture, whatever data set it comes from, in lgnet's own order, units and frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..hands import NUM_BETAS, NUM_JOINTS, NUM_ROTATIONS

KINDS = ("interacting", "separate", "single", "none")
"""interacting: the boxes of two hands overlap or the hands touch; separate: two hands apart; single: one hand."""


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
    parts: np.ndarray | None = None  # (H, W) uint8: 0 no hand, 1..16 right hand's joint + 1, 17..32 left hand's
    present_known: np.ndarray | None = None  # (2,) bool: whether `present` is known of this side; None: of both
    score_box: np.ndarray | None = None  # (2, 4) whose larger side 2D errors are told in; None: around the valid joints


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
