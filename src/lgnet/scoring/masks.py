"""A picture's hands as pixels: how well predicted meshes cover what is seen of the true hands, and how much of these is seen."""

from __future__ import annotations

import numpy as np

from ..data.sample import Sample, distort
from ..hands import SIDES, TwoHands
from ..metrics import mask_iou


def _part_of(parts: np.ndarray, side: int) -> np.ndarray:
    """(H, W) bool: the pixels of a sample's `parts` that show the hand of this side."""
    return (parts > 16 * side) & (parts <= 16 * (side + 1))


def mask_ious(sample: Sample, prediction: TwoHands) -> list[float | None]:
    """Right and left: how well the visible pixels agree; None for a missed hand, and where masks or meshes are unknown."""
    if sample.parts is None or not prediction.hands or not all(len(hand.faces) for hand in prediction.hands):
        return [None, None]
    hands = prediction.hands
    starts = np.cumsum([0, *(len(hand.vertices) for hand in hands)])
    faces = np.concatenate([hand.faces + start for hand, start in zip(hands, starts)])
    # as it is predicted, also through a lens: lgnet, which knows none, puts the hand where a pinhole shows it in its place
    shown = _draw(np.concatenate([hand.vertices for hand in hands]), faces, prediction.camera.K, sample.parts.shape)
    ends = np.cumsum([0, *(len(hand.faces) for hand in hands)])
    out: list[float | None] = [None, None]
    for hand, low, high in zip(hands, ends, ends[1:]):
        side = SIDES.index(hand.side)
        out[side] = mask_iou((shown >= low) & (shown < high), _part_of(sample.parts, side))
    return out


def _draw(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) int32: the face that each pixel shows, -1 where none."""
    from ..zbuffer import rasterize  # numba: not before it is needed

    points, triangles = np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
    return rasterize(points, triangles, np.asarray(K, np.float32), size[1], size[0])[0]


def visible_share(sample: Sample, side: int, vertices: np.ndarray | None, faces: np.ndarray | None) -> float | None:
    """Of the pixels that the true mesh alone would take, the share that show it."""
    if sample.parts is None or sample.K is None or vertices is None or faces is None:
        return None
    if sample.distortion is not None:  # drawn by a pinhole where the lens shows it
        depth = np.maximum(vertices[:, 2:], 1e-3)
        vertices = np.concatenate([distort(vertices[:, :2] / depth, sample.distortion) * depth, depth], 1)
    alone = _draw(vertices, faces, sample.K, sample.parts.shape) >= 0
    return float((alone & _part_of(sample.parts, side)).sum() / alone.sum()) if alone.any() else None
