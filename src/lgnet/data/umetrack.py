"""Joints of the UmeTrack hand (Han et al., SIGGRAPH Asia 2022) from its published numbers: what HOT3D's hands are told in.

A profile is one person's hand, a left one, in millimetres: 17 bones (root, wrist, three a finger), four angles a finger,
and landmarks skinned to the bones. A right hand is the same hand with the wrist's x axis turned round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..hands import NUM_JOINTS

LANDMARKS = np.array([5, -1, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4])
"""Where each of lgnet's joints stands among the landmarks; -1: the thumb's CMC, which this hand has not."""
_FINGERS, _ANGLES = 5, 4
_BONES = 2 + 3 * _FINGERS


@dataclass(frozen=True)
class UmeTrackHand:
    """One person's hand, metres."""

    axes: np.ndarray  # (20, 3) of the joints' turns
    places: np.ndarray  # (20, 3) of the joints, at rest
    landmarks: np.ndarray  # (L, 3) at rest
    weights: np.ndarray  # (L, 17)


def read_profile(content: dict[str, Any]) -> UmeTrackHand:
    """A user profile as it stands in HOT3D's files (with or without "hand_model" around it).

    Raises:
        ValueError: it is not laid out as published.
    """
    try:
        model = content.get("hand_model", content)
        count = _FINGERS * _ANGLES
        axes, places = (
            np.array(model[key], np.float64)[:count].reshape(count, 3)
            for key in ("joint_rotation_axes", "joint_rest_positions")
        )
        landmarks = np.array(model["landmark_rest_positions"], np.float64).reshape(-1, 3)
        bones = np.array(model["landmark_rest_bone_indices"], np.int64).reshape(len(landmarks), -1)
        shares = np.array(model["landmark_rest_bone_weights"], np.float64).reshape(bones.shape)
        if len(landmarks) <= LANDMARKS.max() or bones.min() < 0 or bones.max() >= _BONES:
            raise ValueError(f"{len(landmarks)} landmarks on bones {bones.min()} to {bones.max()}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the hand's profile is not laid out as UmeTrack's: {error!r}") from error
    weights = np.zeros((len(landmarks), _BONES))
    np.add.at(weights, (np.arange(len(landmarks))[:, None], bones), shares)
    return UmeTrackHand(axes, places / 1000, landmarks / 1000, weights)


def umetrack_joints(hand: UmeTrackHand, angles: np.ndarray, T_world_wrist: np.ndarray, right: bool) -> np.ndarray:
    """(21, 3) metres in the world, lgnet's order; the thumb's CMC, which the model does not have, is NaN.

    Args:
        hand: of the person.
        angles: (20 or more,) radians, four a finger, thumb first; what follows is of the wrist and not used.
        T_world_wrist: (4, 4), metres.
        right: a right hand.
    """
    wrist = np.array(T_world_wrist, np.float64)
    if right:
        wrist[:, 0] *= -1
    turns = np.tile(np.eye(4), (len(hand.axes), 1, 1))
    for turn, axis, place, angle in zip(turns, hand.axes, hand.places, angles):
        turn[:3, :3] = cv2.Rodrigues(axis * angle)[0]
        turn[:3, 3] = place - turn[:3, :3] @ place
    frames = [wrist, wrist]
    for finger in range(_FINGERS):
        first, second, third, fourth = turns[_ANGLES * finger :][:_ANGLES]
        frames.append(wrist @ first @ second)
        frames.append(frames[-1] @ third)
        frames.append(frames[-1] @ fourth)
    rest = np.concatenate([hand.landmarks, np.ones((len(hand.landmarks), 1))], 1)
    landmarks = np.einsum("lb,bij,lj->li", hand.weights, np.stack(frames), rest)[:, :3]
    joints = np.full((NUM_JOINTS, 3), np.nan)
    joints[LANDMARKS >= 0] = landmarks[LANDMARKS[LANDMARKS >= 0]]
    return joints
