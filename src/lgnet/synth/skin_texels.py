"""The texels of the hand's skin: where each lies on the flat mean hand, and how lines and spots are put on them.

Lengths are millimetres.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import cv2
import numba
import numpy as np

from ..hand_model import HandModel, load_hand_model
from . import raster

SIZE = 640
"""Texels a side; one is about half a millimetre of skin wide."""
TEXEL = 2.9e-4 * 1024 / SIZE
"""Metres: the median scale of the UVs."""


@dataclass(frozen=True)
class Texels:
    """What the N texels that hold skin lie on, in the flat mean right hand."""

    row: np.ndarray  # (N,)
    column: np.ndarray
    place: np.ndarray  # (N, 3) mm
    palm: np.ndarray  # (N,) 0 dorsal .. 1 palmar
    finger: np.ndarray  # (N, 6) shares of the palm and the five fingers, sum 1
    face: np.ndarray  # (N,)


@functools.lru_cache(maxsize=1)
def corner_texels() -> np.ndarray:
    """(F, 3, 2) float32 column and row of each face's corners in the largest map; -1 for the cap of the wrist."""
    model = load_hand_model()
    uv = model.uvs.numpy().astype(np.float64)
    low, high = uv.min(0), uv.max(0)
    uv = (uv - low) / (high - low).max() * (SIZE - 17) + 8
    out = np.full((len(model.faces), 3, 2), -1.0, np.float32)
    out[: len(model.uv_faces)] = uv[model.uv_faces.numpy()]
    return out


def skin_texels(model: HandModel) -> Texels:
    """All texels that hold skin, and what lies under them."""
    corners = corner_texels()[: len(model.uv_faces)]
    flat = np.concatenate([corners.reshape(-1, 2), np.ones((corners.size // 2, 1), np.float32)], 1)
    ids = np.arange(len(flat), dtype=np.int32).reshape(-1, 3)
    face, _ = raster.rasterize(flat, ids, np.array([1, 1, 0, 0], np.float32), SIZE, SIZE)
    row, column = np.nonzero(face >= 0)
    face = face[row, column]
    a, b, c = corners[face].astype(np.float64).transpose(1, 0, 2)
    e1, e2, d = b - a, c - a, np.stack([column, row], 1) - a
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    wb = (d[:, 0] * e2[:, 1] - d[:, 1] * e2[:, 0]) / area
    wc = (e1[:, 0] * d[:, 1] - e1[:, 1] * d[:, 0]) / area
    share = np.stack([1 - wb - wc, wb, wc], 1)
    vertex = model.faces.numpy()[face]

    def mean(values: np.ndarray) -> np.ndarray:
        return (values.astype(np.float64)[vertex] * share.reshape(len(share), 3, *[1] * (values.ndim - 1))).sum(1)

    weights = model.weights.numpy()
    finger = np.stack([weights[:, 0], *(weights[:, 3 * f + 1 : 3 * f + 4].sum(1) for f in range(5))], 1)
    return Texels(
        row, column, mean(model.template.numpy() * 1000), mean(model.palm.numpy()), mean(finger), face.astype(np.int64)
    )


def spread(texels: Texels, layers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Layers (N,) -> pictures (SIZE, SIZE); texels off the skin take the value of the nearest one on it."""
    empty = np.ones((SIZE, SIZE), np.uint8)
    empty[texels.row, texels.column] = 0
    _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    label = labels.astype(np.int64)
    of_label = np.zeros(label.max() + 1, np.int64)
    of_label[label[texels.row, texels.column]] = np.arange(len(texels.row))
    return {name: values[of_label[label]] for name, values in layers.items()}


def smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high` (or the other way round), smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(place: np.ndarray, wave: float, offset: float = 0.0) -> np.ndarray:
    """(N,) smooth noise in -1..1 whose bumps are `wave` mm apart."""
    return raster.noise_at(raster.noise_table(), place / wave + offset)


def pick(texels: Texels, where: np.ndarray) -> Texels:
    """Those texels alone."""
    return Texels(*(getattr(texels, f.name)[where] for f in fields(texels)))


def curve(points: tuple[tuple[float, float], ...] | np.ndarray, steps: int = 10) -> np.ndarray:
    """(n, 2) a smooth line (Catmull-Rom) through the points."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    t = (np.arange(steps) / steps)[:, None]
    out = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:]):
        out.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*out, p[-2:-1]])


@numba.njit(cache=True)
def to_curve(place, line, reach):
    """(N,) distance of (x, y) from the line (n, 2), and how far along it is nearest, 0..1; past `reach` only "far"."""
    distance, along = np.full(len(place), 1e3), np.zeros(len(place))
    left, right = line[:, 0].min() - reach, line[:, 0].max() + reach
    low, high = line[:, 1].min() - reach, line[:, 1].max() + reach
    for i in range(len(place)):
        x, y = place[i, 0], place[i, 1]
        if not (left < x < right and low < y < high):
            continue
        for k in range(len(line) - 1):
            ex, ey = line[k + 1, 0] - line[k, 0], line[k + 1, 1] - line[k, 1]
            dx, dy = x - line[k, 0], y - line[k, 1]
            t = min(max((dx * ex + dy * ey) / (ex * ex + ey * ey), 0.0), 1.0)
            d = np.sqrt((dx - t * ex) ** 2 + (dy - t * ey) ** 2)
            if d < distance[i]:
                distance[i], along[i] = d, (k + t) / (len(line) - 1)
    return distance, along
