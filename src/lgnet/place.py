"""Where the hands are: metric positions of both wrists from 2D joints, root-relative 3D joints and the camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .crop import HandCrops

SIGMA_2D = 0.06
"""How far off a 2D joint is thought to be, in normalised crop coordinates."""
USUAL_2D = 0.18
"""The expected 2D error, in the same, of a joint that counts as one of which nothing is known: the mean on scenes."""
SIGMA_RELATIVE = 0.005
"""How far off the network's relative translation is thought to be, metres. It is off by more; but all rays of a hand err
together, which their sigma does not say. docs/confidence.md tells how both were chosen."""
NEAREST = 0.05
"""Metres: a wrist nearer to the camera than this is not believed."""


def place_hands(
    joints2d: Sequence[np.ndarray | None],
    joints3d: Sequence[np.ndarray | None],
    crops: HandCrops,
    relative: np.ndarray | None,
    errors2d: np.ndarray | None = None,
) -> list[np.ndarray | None]:
    """The wrists' positions in the camera frame by weighted linear least squares, for both hands at once.

    Each 2D joint asks that its 3D joint lie on its ray; the relative translation, if given, that the left wrist
    stand so from the right one. Rays are weighted by angle, so the second solve knows the depth of the first.

    Args:
        joints2d: right, left: (21, 2) normalised coordinates of the hand's own crop, or None where there is no hand.
        joints3d: right, left: (21, 3) metres, relative to the wrist, in the hand's crop frame.
        crops: where the two crops look.
        relative: (3,) left wrist minus right wrist, metres, pair frame; None: not known.
        errors2d: (2, 21) how far off each 2D joint is expected to be, normalised crop coordinates: the surer ones count
            more; None: all alike.

    Returns:
        right, left: (3,) metres, camera frame, always before the camera; None where there is no hand.
    """
    there = [side for side in (0, 1) if joints2d[side] is not None]
    if not there:
        return [None, None]
    sigma = SIGMA_2D * (np.ones((2, 1)) if errors2d is None else np.maximum(errors2d, 0.01) / USUAL_2D)
    depth = dict.fromkeys(there, 0.5)
    solution = np.zeros(6)
    for _ in range(3):
        rows, values = [], []
        for side in there:
            crop = crops.hands[side]
            points, pixels = joints3d[side], joints2d[side]
            if crop is None or points is None or pixels is None:
                raise ValueError("a hand to place needs its crop, 2D joints and 3D joints")
            slope = pixels * crop.tan_half
            weight = 1 / (sigma[side] * crop.tan_half * depth[side])
            for axis in (0, 1):
                row = np.zeros((len(points), 3))
                row[:, axis] = 1
                row[:, 2] = -slope[:, axis]
                full = np.zeros((len(points), 6))
                full[:, 3 * side : 3 * side + 3] = crop.to_camera(row)  # a row turns as a direction does
                rows.append(weight[:, None] * full)
                values.append(weight * (slope[:, axis] * points[:, 2] - points[:, axis]))
        if relative is not None and len(there) == 2:
            rows.append(np.concatenate([-np.eye(3), np.eye(3)], 1) / SIGMA_RELATIVE)
            values.append(crops.pair.to_camera(relative) / SIGMA_RELATIVE)
        solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(values), rcond=None)[0]
        for side in there:
            depth[side] = max(float(np.linalg.norm(solution[3 * side : 3 * side + 3])), NEAREST)
    out: list[np.ndarray | None] = [None, None]
    for side in there:
        wrist = solution[3 * side : 3 * side + 3]
        out[side] = wrist if wrist[2] > NEAREST else _by_size(joints2d[side], joints3d[side], crops, side)
    return out


def _by_size(joints2d: np.ndarray | None, joints3d: np.ndarray | None, crops: HandCrops, side: int) -> np.ndarray:
    """(3,) where the hand would have to be for its size in the picture: for when the rays say something impossible."""
    crop = crops.hands[side]
    assert crop is not None and joints2d is not None and joints3d is not None
    seen = np.linalg.norm(joints2d - joints2d.mean(0), axis=1).mean() * crop.tan_half
    real = np.linalg.norm(joints3d[:, :2] - joints3d[:, :2].mean(0), axis=1).mean()
    distance = max(real / max(seen, 1e-3), 3 * NEAREST)
    middle = joints2d.mean(0) * crop.tan_half
    at = np.array([middle[0], middle[1], 1.0]) * distance - joints3d.mean(0)
    wrist, ahead = crop.to_camera(at), crop.to_camera(np.array([0.0, 0.0, 1.0]))
    return wrist + max(0.0, 2 * NEAREST - wrist[2]) / ahead[2] * ahead
