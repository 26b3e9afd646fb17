"""A person's hand -> joint angles of a robot hand that a URDF describes, frame by frame.

The objective is the vector objective of dex-retargeting (Qin et al., "AnyTeleop", RSS 2023;
github.com/dexsuite/dex-retargeting, MIT), written anew: the robot's vectors from wrist to fingertips are to be the person's,
scaled by the size of the hands, within the joints' limits, with a pull to the last frame's angles. Solved by damped
Gauss-Newton steps projected on the limits, from the last frame's answer. `urdf.py` reads the robot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .anatomy import LIMITS, rotations_from_angles
from .geometry import matrices_of
from .hand_model import HandModel, load_hand_model, pose_hand
from .urdf import RobotHand

TIPS = np.array([4, 8, 12, 16, 20])
"""The fingertips among the 21 joints."""
SMOOTH = 0.001
"""Metres of fingertip that a radian from the last frame's angles is worth."""
THUMB = 0.3
"""Weight of the thumb when frames are aligned: robots' thumbs rest where they like."""


@dataclass(frozen=True)
class Fit:
    """How a person's hand is laid on the robot's: robot = size of the robot's hand / of the person's * rotation @ person."""

    rotation: np.ndarray  # (3, 3) from the hand model's canonical frame to the robot's wrist
    size: float  # metres: mean distance from wrist to fingertips of the open robot hand
    model: HandModel


def fit_frames(
    robot: RobotHand, side: str, axes: np.ndarray | None = None, scale: float | None = None, hand_model: str = "lgnet"
) -> Fit:
    """Lay a person's flat and half-bent hand on the robot's open and half-bent one: by the turn that brings the vectors from
    wrist to fingertips nearest to each other.

    Args:
        robot: from `load_robot`.
        side: of the person's hand, "right" or "left".
        axes: (2, 3) where the robot's fingers point and its palm looks, in its wrist's frame; None: found.
        scale: the robot's size over the person's mean hand; None: by the mean length of those vectors.
        hand_model: which hand model the results have.
    """
    model = load_hand_model(hand_model, side)
    fingers, tips = list(robot.fingers), robot.tips(robot.open())[0]
    own = _model_tips(model, np.zeros(10))[fingers]
    size = float(np.linalg.norm(tips, axis=1).mean())
    if scale is not None:
        size = scale * float(np.linalg.norm(own, axis=1).mean())
    if axes is not None:
        from .anatomy import palm_axes

        own_axes = palm_axes(model).double().numpy()
        return Fit(_frame(axes).T @ _frame(own_axes), size, model)
    bent = robot.tips((robot.low + robot.high) / 2)[0]
    angles = np.zeros((15, 3))
    angles[:, 0] = LIMITS[:, 0].mean(1)
    turns = rotations_from_angles(model, torch.from_numpy(angles))
    posed = pose_hand(model, torch.cat([torch.eye(3)[None], turns.float()]), torch.zeros(10))
    own_bent = posed.joints.double().numpy()[TIPS][fingers]
    weight = np.where(np.array(fingers) == 0, THUMB, 1.0)
    pairs = [(own, tips, weight)]
    if np.linalg.norm(bent - tips, axis=1).mean() > 0.3 * np.linalg.norm(tips, axis=1).mean():
        pairs.append((own_bent, bent, weight))
    spread = sum((w[:, None] * b).T @ a for a, b, w in pairs)
    u, _, vt = np.linalg.svd(spread)
    keep = np.diag([1.0, 1.0, np.linalg.det(u @ vt)])
    return Fit(u @ keep @ vt, size, model)


def _frame(axes: np.ndarray) -> np.ndarray:
    """(3, 3) rows: along, out of the palm made square to it, and across."""
    along = axes[0] / np.linalg.norm(axes[0])
    palm = axes[1] - (axes[1] @ along) * along
    palm = palm / np.linalg.norm(palm)
    return np.stack([along, palm, np.cross(along, palm)])


def _model_tips(model: HandModel, betas: np.ndarray) -> np.ndarray:
    """(5, 3) wrist to fingertips of the flat hand of this shape, metres."""
    posed = pose_hand(model, torch.eye(3).expand(16, 3, 3), torch.from_numpy(betas).float())
    return posed.joints.double().numpy()[TIPS]


def targets(robot: RobotHand, fit: Fit, hand: Mapping[str, Any]) -> np.ndarray:
    """(F, 3) metres: where the robot's fingertips are to be, of one entry of a result's `hands`."""
    joints = np.asarray(hand["joints3d"], np.float64)
    wrist = matrices_of(hand["pose"][0])
    flat = _model_tips(fit.model, np.asarray(hand["shape"], np.float64))[list(robot.fingers)]
    own = float(np.linalg.norm(flat, axis=1).mean()) * float(hand.get("scale", 1.0))
    vectors = (joints[TIPS] - joints[0])[list(robot.fingers)] @ wrist
    return fit.size / own * vectors @ fit.rotation.T


def solve(robot: RobotHand, goal: np.ndarray, last: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """The angles (n,) that bring the fingertips nearest to `goal` (F, 3), and how far they are off on average, metres.

    Args:
        robot: from `load_robot`.
        goal: in the wrist's frame.
        last: (n,) the frame's before: where it starts, and what it is drawn to. None: the best of two starts, the open
            and the half-bent hand.
    """
    if last is None:
        starts = (robot.open(), (robot.low + robot.high) / 2)
        found = [_descend(robot, goal, start, start, 0.01 * SMOOTH) for start in starts]
        best = min(found, key=lambda q: float(((robot.tips(q)[0] - goal) ** 2).sum()))
    else:
        best = _descend(robot, goal, last, last, SMOOTH)
    return best, float(np.linalg.norm(robot.tips(best)[0] - goal, axis=1).mean())


def _descend(robot: RobotHand, goal: np.ndarray, start: np.ndarray, pull: np.ndarray, weight: float) -> np.ndarray:
    """Damped Gauss-Newton; a joint that stands at its limit and would go on is left out of the step."""

    def residual(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places, slopes = robot.tips(q)
        rows = np.concatenate([slopes.reshape(-1, len(q)), weight * np.eye(len(q))])
        return np.concatenate([(places - goal).ravel(), weight * (q - pull)]), rows

    q, damping = start.copy(), 1e-6
    r, J = residual(q)
    for _ in range(100):
        slope = J.T @ r
        free = ~(((q <= robot.low) & (slope > 0)) | ((q >= robot.high) & (slope < 0)))
        if not free.any():
            break
        normal = (J.T @ J)[np.ix_(free, free)]
        step = np.zeros_like(q)
        step[free] = -np.linalg.solve(normal + damping * np.eye(int(free.sum())), slope[free])
        size = np.abs(step).max()
        trial = np.clip(q + step * min(1.0, 0.5 / max(size, 1e-12)), robot.low, robot.high)
        r_new, J_new = residual(trial)
        if r_new @ r_new < r @ r:
            moved = np.abs(trial - q).max()
            q, r, J, damping = trial, r_new, J_new, max(damping / 4, 1e-9)
            if moved < 1e-7:
                break
        else:
            damping *= 8
            if damping > 1e3:
                break
    return q
