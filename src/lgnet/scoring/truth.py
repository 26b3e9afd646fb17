"""True meshes of samples that tell pose and shape."""

from __future__ import annotations

import numpy as np
import torch

from ..data.sample import Sample
from ..geometry import rotvec_to_matrix
from ..hand_model import load_hand_model, pose_hand
from ..hands import SIDES
from ..mano import mano_joints

OfBoth = tuple[np.ndarray | None, np.ndarray | None]


def true_hands(sample: Sample) -> tuple[OfBoth, OfBoth]:
    """Right and left vertices (V, 3), and right and left joints (21, 3), by the hand model from true pose and shape.

    Metres, camera frame; None where unknown. MANO's joints are those that its regressor makes of the posed mesh, as in the
    published evaluations, not the centres that it turns about.
    """
    if sample.hand_model is None or not (sample.present & sample.has_params).any():
        return (None, None), (None, None)
    vertices: list[np.ndarray | None] = [None, None]
    joints: list[np.ndarray | None] = [None, None]
    wrist = sample.joints3d[:, 0] if sample.wrist is None else sample.wrist
    placed = sample.joints3d_valid[:, 0] if sample.wrist is None else True
    for side in np.flatnonzero(sample.present & sample.has_params & placed):
        model = load_hand_model(sample.hand_model, SIDES[side])
        rotations = rotvec_to_matrix(torch.from_numpy(sample.pose[side]).float())
        posed = pose_hand(model, rotations, torch.from_numpy(sample.shape[side]).float())
        mesh = posed.vertices.numpy().astype(np.float64)
        of_mano = sample.hand_model == "mano"
        own = mano_joints(SIDES[side], mesh) if of_mano else posed.joints.numpy().astype(np.float64)
        vertices[side], joints[side] = mesh + wrist[side], own + wrist[side]
    return (vertices[0], vertices[1]), (joints[0], joints[1])


def true_faces(sample: Sample) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Right and left (F, 3) of the hand model that `true_hands` poses; None where those are."""
    if sample.hand_model is None or not (sample.present & sample.has_params).any():
        return None, None
    known = sample.present & sample.has_params
    right, left = (
        load_hand_model(sample.hand_model, side).faces.numpy() if known[index] else None
        for index, side in enumerate(SIDES)
    )
    return right, left
