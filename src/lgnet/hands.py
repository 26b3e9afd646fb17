"""What a hand is to every other module: sides, joint names and order, and the result records.

Lengths are metres, angles radians, pixels are (u, v) with the centre of the top-left pixel at (0, 0), the camera frame
is x right, y down, z forward. Left and right are the person's own. Wherever an array has a side axis, 0 is right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIDES = ("right", "left")
RIGHT, LEFT = 0, 1

FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINT_NAMES = (
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *(f"{finger}_{joint}" for finger in FINGERS[1:] for joint in ("mcp", "pip", "dip", "tip")),
)
"""The 21 public joints in the order of OpenPose, MediaPipe and FreiHAND."""
NUM_JOINTS = len(JOINT_NAMES)
WRIST, MIDDLE_MCP = 0, 9
MANO_VERTICES = 778
JOINT_PARENTS = (-1, *(0 if (j - 1) % 4 == 0 else j - 1 for j in range(1, NUM_JOINTS)))
BONES = tuple((parent, joint) for joint, parent in enumerate(JOINT_PARENTS) if parent >= 0)

ROTATION_NAMES = ("wrist", *(name for name in JOINT_NAMES[1:] if not name.endswith("_tip")))
"""The 16 joints that rotate, in the order of a pose: wrist, then three a finger, thumb first."""
ROTATION_PARENTS = (-1, *(0 if (j - 1) % 3 == 0 else j - 1 for j in range(1, len(ROTATION_NAMES))))
NUM_ROTATIONS = len(ROTATION_NAMES)
NUM_BETAS = 10

SCHEMA = "lgnet/1"


ASSUMED_FIELD_OF_VIEW = 60.0
"""Degrees."""


MOST_FOCAL = 1e9
"""Pixels; no lens and sensor have as many."""


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics in pixels of the whole image; `assumed` where nothing but a guess was to be had."""

    fx: float
    fy: float
    cx: float
    cy: float
    assumed: bool = False

    def __post_init__(self) -> None:
        if not np.abs(self.K).max() <= MOST_FOCAL or min(self.fx, self.fy) <= 0:
            raise ValueError(
                f"a camera has focal lengths above zero and nothing over {MOST_FOCAL:g} pixels, not {self.K.tolist()}"
            )

    @property
    def K(self) -> np.ndarray:
        """(4,) fx, fy, cx, cy."""
        return np.array([self.fx, self.fy, self.cx, self.cy], dtype=np.float64)


def camera_of(K: np.ndarray) -> Camera:
    """The camera of (4,) fx, fy, cx, cy."""
    fx, fy, cx, cy = map(float, K)
    return Camera(fx, fy, cx, cy)


def assumed_camera(width: int, height: int) -> Camera:
    """The camera of a picture nothing is known of: 60 degrees along the longer side, looking at the middle."""
    focal = max(width, height) / 2 / np.tan(np.deg2rad(ASSUMED_FIELD_OF_VIEW / 2))
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, assumed=True)


@dataclass(frozen=True)
class Hand:
    """One reconstructed hand, in the camera frame of the whole image."""

    side: str
    score: float
    box: np.ndarray  # (4,) x, y, w, h, pixels: where it was found, as it was given, or, of a followed hand, its mesh's
    joints2d: np.ndarray  # (21, 2) pixels: where joints3d is seen
    joints3d: np.ndarray  # (21, 3) metres
    vertices: np.ndarray  # (V, 3) metres, the final mesh
    vertices_rough: np.ndarray  # (V, 3) metres, before the refine stage
    faces: np.ndarray  # (F, 3) int
    pose: np.ndarray  # (16, 3) axis-angle, wrist first
    shape: np.ndarray  # (10,)
    translation: np.ndarray  # (3,) metres: the wrist
    scale: float = 1.0  # what the posed hand model is multiplied by, so that the hand has the length the user gave
    joint_errors: np.ndarray | None = (
        None  # (21,) metres: how far off each joint is expected to be, relative to the wrist
    )

    @property
    def error(self) -> float | None:
        """Metres: the mean error of its joints that is expected (MPJPE, protocol C); None where nobody can tell."""
        return None if self.joint_errors is None else float(np.mean(self.joint_errors))


@dataclass(frozen=True)
class TwoHands:
    """The hands of one picture: at most one right and one left."""

    right: Hand | None
    left: Hand | None
    width: int
    height: int
    camera: Camera
    file: str | None = None
    model: dict[str, str] = field(default_factory=dict)  # weights, hand_model, version
    people: tuple[TwoHands, ...] | None = None
    """Where all people were asked for: a pair each, the nearest first, which is also `right` and `left` here."""

    @property
    def hands(self) -> tuple[Hand, ...]:
        """The hands there are, right first."""
        return tuple(hand for hand in (self.right, self.left) if hand is not None)

    @property
    def everyone(self) -> tuple[Hand, ...]:
        """The hands of all people where they were asked for, else `hands`."""
        return self.hands if self.people is None else tuple(hand for pair in self.people for hand in pair.hands)

    @property
    def relative_translation(self) -> np.ndarray | None:
        """(3,) left wrist minus right wrist, metres, camera frame; None unless both hands are there."""
        if self.right is None or self.left is None:
            return None
        return self.left.translation - self.right.translation

    def to_dict(self) -> dict[str, Any]:
        """The content of `<stem>.json` (schema lgnet/1): plain lists and numbers."""
        return {
            "schema": SCHEMA,
            "image": {"file": self.file, "width": self.width, "height": self.height},
            "camera": {
                "fx": float(self.camera.fx),
                "fy": float(self.camera.fy),
                "cx": float(self.camera.cx),
                "cy": float(self.camera.cy),
                "assumed": bool(self.camera.assumed),
            },
            "model": dict(self.model),
            **self._pair(),
            **({} if self.people is None else {"people": [person._pair() for person in self.people]}),
        }

    def _pair(self) -> dict[str, Any]:
        """One person's `hands` and `relative_translation`."""
        relative = self.relative_translation
        return {
            "hands": [
                {
                    "side": hand.side,
                    "score": float(hand.score),
                    **{
                        key: np.asarray(getattr(hand, key), dtype=np.float64).tolist()
                        for key in ("box", "joints2d", "joints3d", "pose", "shape", "translation")
                    },
                    **({} if hand.scale == 1 else {"scale": float(hand.scale)}),
                    **_expected(hand),
                }
                for hand in self.hands
            ],
            "relative_translation": None if relative is None else np.asarray(relative, dtype=np.float64).tolist(),
        }


def _expected(hand: Hand) -> dict[str, Any]:
    """What the weights say of their own error, where they are calibrated."""
    if hand.joint_errors is None:
        return {}
    return {"error": hand.error, "joint_errors": np.asarray(hand.joint_errors, np.float64).tolist()}
