"""Z-buffer in numba: which triangle each pixel shows and how far away it is. One core, no fast-math.

Camera frame x right, y down, z forward; pixel (u, v) = (fx x/z + cx, fy y/z + cy) with pixel centres at integers.
`rasterize.py` does the same in NumPy, for installs without numba.
"""

from __future__ import annotations

import numba
import numpy as np

NEAR = 0.02
"""Metres; a triangle with a corner nearer than this is not drawn."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rasterize(vertices, faces, K, width, height):
    """Which triangle each pixel shows, and how far away it is.

    Args:
        vertices: (N, 3) float32, camera frame, metres.
        faces: (F, 3) int32. Both sides are drawn.
        K: (4,) fx, fy, cx, cy in pixels.
        width, height: of the picture.

    Returns:
        triangle (height, width) int32, -1 where there is none; depth (height, width) float32, metres, 0 where none.
    """
    triangle = np.full((height, width), -1, np.int32)
    inverse = np.zeros((height, width), np.float32)
    n = vertices.shape[0]
    u = np.empty(n, np.float32)
    v = np.empty(n, np.float32)
    w = np.empty(n, np.float32)
    for i in range(n):
        z = vertices[i, 2]
        if z > NEAR:
            w[i] = np.float32(1.0) / z
            u[i] = np.float32(K[0]) * vertices[i, 0] * w[i] + np.float32(K[2])
            v[i] = np.float32(K[1]) * vertices[i, 1] * w[i] + np.float32(K[3])
        else:
            w[i] = -1.0
            u[i] = 0.0
            v[i] = 0.0
    for f in range(faces.shape[0]):
        draw_triangle(triangle, inverse, u, v, w, faces[f, 0], faces[f, 1], faces[f, 2], f, width, height)
    depth = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            if triangle[y, x] >= 0:
                depth[y, x] = np.float32(1.0) / inverse[y, x]
    return triangle, depth


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def draw_triangle(triangle, inverse, u, v, w, a, b, c, f, width, height):
    """Draw one triangle into the buffers; `w` is linear over the picture and larger is nearer."""
    a, b, c = np.uint32(a), np.uint32(b), np.uint32(c)  # no index is negative: saves looking
    ua, va, ub, vb, uc, vc = u[a], v[a], u[b], v[b], u[c], v[c]
    left = max(0, int(np.ceil(min(ua, ub, uc))))
    right = min(width - 1, int(np.floor(max(ua, ub, uc))))
    top = max(0, int(np.ceil(min(va, vb, vc))))
    bottom = min(height - 1, int(np.floor(max(va, vb, vc))))
    if left > right or top > bottom:
        return
    if w[a] <= 0 or w[b] <= 0 or w[c] <= 0:
        return
    area = (ub - ua) * (vc - va) - (vb - va) * (uc - ua)
    if area == 0:
        return
    scale = np.float32(1.0) / area
    wide = right - left >= 6
    for y in range(top, bottom + 1):
        first, last = left, right
        if wide:  # leave out pixels that are outside for certain; whether one is inside is decided below alone
            b_step, c_step = float((vc - va) * scale), float(-(vb - va) * scale)
            b_left = ((left - ua) * (vc - va) - (y - va) * (uc - ua)) * scale
            c_left = ((ub - ua) * (y - va) - (vb - va) * (left - ua)) * scale
            first, last = _narrowed(b_left, b_step, left, first, last)
            first, last = _narrowed(c_left, c_step, left, first, last)
            first, last = _narrowed(1.0 - b_left - c_left, -b_step - c_step, left, first, last)
        for x in range(first, last + 1):
            wb = ((x - ua) * (vc - va) - (y - va) * (uc - ua)) * scale
            wc = ((ub - ua) * (y - va) - (vb - va) * (x - ua)) * scale
            wa = np.float32(1.0) - wb - wc
            if wa < 0 or wb < 0 or wc < 0:
                continue
            near = wa * w[a] + wb * w[b] + wc * w[c]
            row, column = np.uint64(y), np.uint64(x)
            if near > inverse[row, column]:
                inverse[row, column] = near
                triangle[row, column] = f


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _narrowed(value, step, left, first, last):
    """The range first..last of a row without most of where `value` + `step` (x - `left`) is below 0."""
    if step > 1e-6:
        if value < 0:
            first = max(first, left + int(min(-value / step, 1e6)) - 1)
    elif step < -1e-6:
        last = min(last, left + int(max(min(-value / step, 1e6), -2.0)) + 2)
    return first, last
