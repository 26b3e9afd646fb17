"""Z-buffer in numba: which triangle each pixel shows and how far away it is. One core, no fast-math.

Camera frame x right, y down, z forward; pixel (u, v) = (fx x/z + cx, fy y/z + cy) with pixel centres at integers.
`rasterize.py` does the same in NumPy, for installs without numba.
"""

from __future__ import annotations

import numba
import numpy as np

NEAR = 0.02
"""Metres; a triangle with a corner nearer than this is not drawn."""


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True, inline="always")
def draw_triangle(triangle, inverse, u, v, w, a, b, c, f, width, height):
    """Draw one triangle into the buffers; `w` is linear over the picture and larger is nearer."""
    if w[a] <= 0 or w[b] <= 0 or w[c] <= 0:
        return
    ua, va, ub, vb, uc, vc = u[a], v[a], u[b], v[b], u[c], v[c]
    area = (ub - ua) * (vc - va) - (vb - va) * (uc - ua)
    if area == 0:
        return
    left = max(0, int(np.ceil(min(ua, ub, uc))))
    right = min(width - 1, int(np.floor(max(ua, ub, uc))))
    top = max(0, int(np.ceil(min(va, vb, vc))))
    bottom = min(height - 1, int(np.floor(max(va, vb, vc))))
    if left > right or top > bottom:
        return
    scale = np.float32(1.0) / area
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            wb = ((x - ua) * (vc - va) - (y - va) * (uc - ua)) * scale
            wc = ((ub - ua) * (y - va) - (vb - va) * (x - ua)) * scale
            wa = np.float32(1.0) - wb - wc
            if wa < 0 or wb < 0 or wc < 0:
                continue
            near = wa * w[a] + wb * w[b] + wc * w[c]
            if near > inverse[y, x]:
                inverse[y, x] = near
                triangle[y, x] = f
