"""True meshes: of samples that have them, and of those that tell pose and shape."""

from __future__ import annotations

import numpy as np
import torch

from ..data.sample import Sample
from ..geometry import rotvec_to_matrix
from ..hand_model import load_hand_model, pose_hand
from ..hands import SIDES, WRIST
from ..mano import mano_joints

OfBoth = tuple[np.ndarray | None, np.ndarray | None]


def true_hands(sample: Sample) -> tuple[OfBoth, OfBoth]:
    """Right and left vertices (V, 3), and right and left joints (21, 3): as the data set has them, else by the hand model from
    true pose and shape.

    Metres, camera frame; None where unknown. MANO's joints are those that its regressor makes of the posed mesh, as in the
    published evaluations, not the centres that it turns about.
    """
    vertices: list[np.ndarray | None] = [None, None]
    joints: list[np.ndarray | None] = [None, None]
    for side in np.flatnonzero(_known(sample)):
        if _told(sample)[side]:
            assert sample.vertices is not None
            vertices[side] = sample.vertices[side].astype(np.float64)
            joints[side] = mano_joints(SIDES[side], sample.vertices[side])
        elif sample.wrist is not None or sample.joints3d_valid[side, WRIST]:
            vertices[side], joints[side] = _posed(sample, int(side))
    return (vertices[0], vertices[1]), (joints[0], joints[1])


def _told(sample: Sample) -> np.ndarray:
    return np.array([sample.vertices is not None and np.isfinite(sample.vertices[side]).all() for side in (0, 1)])


def _known(sample: Sample) -> np.ndarray:
    if sample.hand_model is None:
        return np.zeros(2, bool)
    return sample.present & (sample.has_params | _told(sample))


def _posed(sample: Sample, side: int) -> tuple[np.ndarray, np.ndarray]:
    assert sample.hand_model is not None
    wrist = sample.joints3d[side, WRIST] if sample.wrist is None else sample.wrist[side]
    model = load_hand_model(sample.hand_model, SIDES[side])
    rotations = rotvec_to_matrix(torch.from_numpy(sample.pose[side]).float())
    posed = pose_hand(model, rotations, torch.from_numpy(sample.shape[side]).float())
    mesh = posed.vertices.numpy().astype(np.float64)
    of_mano = sample.hand_model == "mano"
    own = mano_joints(SIDES[side], mesh) if of_mano else posed.joints.numpy().astype(np.float64)
    return mesh + wrist, own + wrist


def true_faces(sample: Sample) -> OfBoth:
    """Right and left (F, 3) of the hand model that `true_hands` poses; None where those are."""
    right, left = (
        load_hand_model(sample.hand_model, side).faces.numpy() if sample.hand_model is not None and known else None
        for side, known in zip(SIDES, _known(sample))
    )
    return right, left
