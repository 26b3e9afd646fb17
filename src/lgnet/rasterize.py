"""Z-buffer in plain NumPy: which triangle each pixel shows and how far away it is.

The same contract as the numba one (`zbuffer.py`), for installs without numba. Camera frame
x right, y down, z forward, metres; pixel (u, v) = (fx x/z + cx, fy y/z + cy), the centre of the top-left pixel (0, 0).
"""

from __future__ import annotations

import numpy as np

NEAR = 0.02
"""Metres; a triangle with a corner nearer than this is not drawn."""

_CHUNK = 1 << 19
"""Most rows of triangles, and most candidate pixels, held at once: bounds the memory whatever the mesh."""


def rasterize(
    vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle each pixel shows, and how far away it is.

    Every triangle is cut into rows, every row into the pixels its edges leave (a hair more, then tested exactly), and
    the nearest triangle is kept; of equally near ones the first. Points on an edge belong to the triangle.

    Args:
        vertices: (N, 3) camera frame, metres.
        faces: (F, 3) indices. Both sides are drawn.
        K: (4,) fx, fy, cx, cy in pixels.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Returns:
        triangle (height, width) int32, -1 where there is none; depth (height, width) float32, metres, 0 where none.
    """
    best = np.zeros(height * width, np.float32)  # 1 / depth, which is linear over a triangle's picture
    triangle = np.full(height * width, -1, np.int32)
    index, u, v, w = _project(np.asarray(vertices, np.float32), np.asarray(faces), np.asarray(K, np.float32))
    keep, left, right, top, bottom = _bounds(u, v, width, height)
    index, u, v, w = index[keep], u[keep], v[keep], w[keep]
    rows = bottom - top + 1
    for part in _chunks(rows):
        pick = np.repeat(np.arange(part.start, part.stop), rows[part])
        y = _count_up(top[part], rows[part])
        lines = _rows(u[pick], v[pick], w[pick], y, left[pick], right[pick])
        line_face, line_start = index[pick], y * width
        for piece in _chunks(lines.length):
            _draw(best, triangle, lines, piece, line_face, line_start)
    depth = np.zeros_like(best)
    shown = triangle >= 0
    depth[shown] = 1 / best[shown]
    return triangle.reshape(height, width), depth.reshape(height, width)


class _Rows:
    """One row of one triangle each (R of them): the linear functions of x that tell inside from outside."""

    def __init__(self, x0: np.ndarray, length: np.ndarray, terms: tuple[np.ndarray, ...], w: np.ndarray):
        self.x0 = x0  # (R,) int64, first candidate
        self.length = length  # (R,) int64, number of candidates
        self.terms = terms  # ua, vc - va, (y - va)(uc - ua), (ub - ua)(y - va), vb - va, 1 / area; (R,) float64 each
        self.w = w  # (R, 3) 1 / depth of the corners


def _project(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, ...]:
    """Index (T,) of the triangles that can be drawn at all, their corners' u, v and 1 / depth (T, 3) float32 each."""
    z = vertices[:, 2]
    before = (z > NEAR) & np.isfinite(vertices).all(1)
    w = np.float32(1) / np.where(before, z, np.float32(1))
    u = K[0] * np.where(before, vertices[:, 0], 0) * w + K[2]
    v = K[1] * np.where(before, vertices[:, 1], 0) * w + K[3]
    index = np.flatnonzero(before[faces].all(1))
    corners = faces[index]
    return index.astype(np.int32), u[corners], v[corners], w[corners]


def _bounds(u: np.ndarray, v: np.ndarray, width: int, height: int) -> tuple[np.ndarray, ...]:
    """Which triangles (T,) touch the picture, and of those the pixels they can cover: left, right, top, bottom."""
    area = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (v[:, 1] - v[:, 0]) * (u[:, 2] - u[:, 0])
    left = np.clip(np.ceil(u.min(1, initial=np.inf)), 0, width).astype(np.int64)
    right = np.clip(np.floor(u.max(1, initial=-np.inf)), -1, width - 1).astype(np.int64)
    top = np.clip(np.ceil(v.min(1, initial=np.inf)), 0, height).astype(np.int64)
    bottom = np.clip(np.floor(v.max(1, initial=-np.inf)), -1, height - 1).astype(np.int64)
    keep = np.flatnonzero((area != 0) & (left <= right) & (top <= bottom))
    return keep, left[keep], right[keep], top[keep], bottom[keep]


def _rows(u: np.ndarray, v: np.ndarray, w: np.ndarray, y: np.ndarray, left: np.ndarray, right: np.ndarray) -> _Rows:
    """Rows `y` (R,) of triangles with corners u, v (R, 3): where their candidates begin and end."""
    (ua, ub, uc), (va, vb, vc) = u.T, v.T
    scale = (np.float32(1) / ((ub - ua) * (vc - va) - (vb - va) * (uc - ua))).astype(np.float64)
    ca, cb = (vc - va).astype(np.float64), (vb - va).astype(np.float64)
    c_row, b_row = (y - va.astype(np.float64)) * (uc - ua), (ub - ua) * (y - va.astype(np.float64))
    ua = ua.astype(np.float64)
    low, high = left.astype(np.float64), right.astype(np.float64)
    # each weight is slope * (x - ua) + offset and must not be negative
    slope_b, offset_b = ca * scale, -c_row * scale
    slope_c, offset_c = -cb * scale, b_row * scale
    for slope, offset in (
        (slope_b, offset_b),
        (slope_c, offset_c),
        (-slope_b - slope_c, 1 - offset_b - offset_c),
    ):
        with np.errstate(divide="ignore", invalid="ignore"):
            edge = ua - offset / slope
        low = np.where(slope > 0, np.fmax(low, edge - 1e-3), low)
        high = np.where(slope < 0, np.fmin(high, edge + 1e-3), high)
    x0 = np.ceil(np.clip(low, left, right + 1)).astype(np.int64)
    x1 = np.floor(np.clip(high, left - 1, right)).astype(np.int64)
    return _Rows(x0, np.maximum(x1 - x0 + 1, 0), (ua, ca, c_row, b_row, cb, scale), w.astype(np.float64))


def _draw(
    best: np.ndarray, triangle: np.ndarray, rows: _Rows, piece: slice, face: np.ndarray, start: np.ndarray
) -> None:
    """Draw some rows into the flat buffers, in place. `face` (R,) of each row, `start` (R,) its first pixel's index."""
    length = rows.length[piece]
    row = np.repeat(np.arange(piece.start, piece.stop), length)
    x = _count_up(rows.x0[piece], length)
    ua, ca, c_row, b_row, cb, scale = (term[row] for term in rows.terms)
    across = x - ua
    wb = (across * ca - c_row) * scale
    wc = (b_row - cb * across) * scale
    wa = 1 - wb - wc
    corner = rows.w[row]
    near = (wa * corner[:, 0] + wb * corner[:, 1] + wc * corner[:, 2]).astype(np.float32)
    pixel = start[row] + x
    good = np.flatnonzero((wa >= 0) & (wb >= 0) & (wc >= 0) & (near > best[pixel]))
    pixel, near, row = pixel[good], near[good], row[good]
    np.maximum.at(best, pixel, near)
    won = np.flatnonzero(near == best[pixel])[::-1]  # backwards, so that the first of equals is written last
    triangle[pixel[won]] = face[row[won]]


def _count_up(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(sum of count,) int64: first, first + 1, ... `count` numbers for each entry."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - count), count)


def _chunks(sizes: np.ndarray) -> list[slice]:
    """Runs of entries whose sizes add up to _CHUNK or less each (more only where a single entry is larger)."""
    ends = np.cumsum(sizes)
    out, start, done = [], 0, 0
    while start < len(sizes):
        stop = max(int(np.searchsorted(ends, done + _CHUNK, side="right")), start + 1)
        out.append(slice(start, stop))
        start, done = stop, int(ends[stop - 1])
    return out
