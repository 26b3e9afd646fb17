"""MediaPipe Hands (extra `mediapipe`) as a source of key points and as what finds hands.

0.10.21 is the last release with its models inside; it is there for Linux with Python 3.10 to 3.12. Its package asks for
numpy 1 and an OpenCV of its own, of which it uses nothing that newer ones lack: see docs/keypoints.md for how to install
it beside ours. It says its sides as of a mirrored selfie; pictures here are not mirrored, so they are exchanged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from .align import KeyPoints
from .data.sample import grown
from .detect import Detection
from .evidence import choose_points
from .hands import NUM_JOINTS
from .image_io import Item

LEAST_SCORE = 0.5
"""MediaPipe's own default of how sure it has to be of a hand."""
MOST = 2
MISSING = (
    "MediaPipe is not installed here; on Linux with Python 3.10 to 3.12 install it with: "
    'pip install "lgnet[mediapipe]" && pip install --no-deps mediapipe==0.10.21'
)


class MediaPipeHands:
    """MediaPipe ready to look; pictures are looked at one by one, without memory of the last."""

    def __init__(self, most: int = MOST):
        """Load it.

        Raises:
            ValueError: it is not installed, or too new to have its models inside.
        """
        os.environ.setdefault("GLOG_minloglevel", "2")  # or it speaks of every look on standard error
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            import mediapipe  # type: ignore

            hands = _hands_of(mediapipe)
        except (ModuleNotFoundError, AttributeError) as error:
            raise ValueError(MISSING) from error
        self._hands: Any = hands.Hands(static_image_mode=True, max_num_hands=most, min_detection_confidence=LEAST_SCORE)
        self._one = threading.Lock()

    def see(self, image: np.ndarray) -> list[KeyPoints]:
        """The hands of a picture (H, W, 3) uint8 RGB; their `world` lies about the hand's middle, axes as the camera's."""
        with self._one:
            result = self._hands.process(np.ascontiguousarray(image))
        if not result.multi_hand_landmarks:
            return []
        size = np.array([image.shape[1], image.shape[0]])
        out = []
        for flat, deep, sides in zip(
            result.multi_hand_landmarks, result.multi_hand_world_landmarks, result.multi_handedness, strict=True
        ):
            points = np.array([(p.x, p.y) for p in flat.landmark]) * size - 0.5  # centre of the first pixel at (0, 0)
            world = np.array([(p.x, p.y, p.z) for p in deep.landmark])
            told = sides.classification[0]
            side = "right" if told.label == "Left" else "left"
            out.append(KeyPoints(points, np.ones(NUM_JOINTS), side, float(told.score), world))
        return out

    def __call__(self, image: np.ndarray, item: Item, frame: int) -> Sequence[KeyPoints]:
        """As `evidence.Source` wants it."""
        return self.see(image)

    def detections(self, image: np.ndarray, K: np.ndarray) -> list[Detection]:
        """As `finder.Finder` has it: at most one right and one left hand, in boxes of whole hands."""
        found = self.see(image)
        pair = choose_points(found, [None] * len(found), (None, None))
        hands = [(side, choice.points) for side, choice in enumerate(pair) if choice is not None]
        return [Detection(side, hand.score, grown(hand.box)) for side, hand in hands if hand is not None]


def _hands_of(mediapipe: Any) -> Any:
    """Its older interface, the one with models inside; too new a release lacks it (AttributeError)."""
    return mediapipe.solutions.hands
