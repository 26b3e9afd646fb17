"""Dots on the joints that say how sure lgnet is of each: white where it is, dark where it is not."""

from __future__ import annotations

import cv2
import numpy as np

from .hands import TwoHands

SURE, LOST = 0.01, 0.06
"""Metres of expected error at which a dot is white, and black; evenly grey between."""


def mark_joints(picture: np.ndarray, hands: TwoHands) -> np.ndarray:
    """The picture (H, W, 3) uint8 with a dot on each joint of the hands whose weights say how wrong they are."""
    out = picture
    for hand in hands.everyone:
        if hand.joint_errors is None:
            continue
        out = np.ascontiguousarray(out) if out is not picture else out.copy()
        good = np.isfinite(hand.joints2d).all(1) & (np.abs(hand.joints2d) < 1e6).all(1)
        radius = max(float(hand.box[2:].max()) / 80, 1.0)
        shades = np.interp(hand.joint_errors, (SURE, LOST), (255, 0))
        for (x, y), shade in zip(hand.joints2d[good], shades[good]):
            centre, grey = (round(x * 16), round(y * 16)), round(float(shade))
            cv2.circle(out, centre, round(radius * 16), (grey, grey, grey), -1, cv2.LINE_AA, 4)
    return out
