"""Hands posed by angles, as lgnet would return them: what tests of streams and gestures look at."""

import functools

import cv2
import numpy as np
import torch

from lgnet.anatomy import palm_axes, rotations_from_angles
from lgnet.data.sample import project
from lgnet.hand_model import HandModel, load_hand_model, pose_hand
from lgnet.hands import Camera, Hand, TwoHands

CAMERA = Camera(600, 600, 319.5, 239.5, True)
PALM_TO_CAMERA = np.diag([1.0, -1.0, -1.0])  # canonical (palm z, fingers y) -> camera frame: fingers up, palm to it


def turn(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """(3, 3) about an axis of the camera frame."""
    return cv2.Rodrigues(np.deg2rad(degrees) * np.array(axis, np.float64))[0]


def posed_hand(
    angles: np.ndarray,
    side: str = "right",
    rotation: np.ndarray = PALM_TO_CAMERA,
    at: tuple[float, float, float] = (0.0, 0.05, 0.5),
    hand_model: str = "lgnet",
) -> Hand:
    """A hand of mean shape; angles (15, 3) radians as in anatomy.py, rotation (3, 3) of the whole hand, wrist `at`."""
    model = load_hand_model(hand_model, side)
    if hand_model == "mano":  # rotation is of the package's canonical frame
        rotation = rotation @ to_package_frame(model)
    fingers = rotations_from_angles(model, torch.from_numpy(np.asarray(angles, np.float64)))
    rotations = torch.cat([torch.from_numpy(rotation)[None], fingers]).float()
    posed = pose_hand(model, rotations, torch.zeros(10))
    joints, vertices = posed.joints.double().numpy() + at, posed.vertices.double().numpy() + at
    joints2d = project(joints, CAMERA.K)
    low, high = joints2d.min(0), joints2d.max(0)
    return Hand(
        side=side,
        score=0.9,
        box=np.concatenate([low, high - low]),
        joints2d=joints2d,
        joints3d=joints,
        vertices=vertices,
        vertices_rough=vertices,
        faces=_faces(side),
        pose=np.stack([cv2.Rodrigues(r)[0][:, 0] for r in rotations.double().numpy()]),
        shape=np.zeros(10),
        translation=np.array(at),
    )


def to_package_frame(model: HandModel) -> np.ndarray:
    """(3, 3) from another hand model's canonical frame to the package's: fingers to y, palm to z."""
    fingers, palm = palm_axes(model).double().numpy()
    return np.stack([np.cross(fingers, palm), fingers, palm])


@functools.cache
def _faces(side: str) -> np.ndarray:
    return load_hand_model("lgnet", side).faces.numpy()


def scene(right: Hand | None = None, left: Hand | None = None) -> TwoHands:
    """One picture's result."""
    model = {"weights": "posed", "hand_model": "lgnet", "version": "0"}
    return TwoHands(right, left, 640, 480, CAMERA, "posed", model)
