"""Z-buffer and deferred shading in numba: the inner loops of the synthetic pictures. One core, no fast-math.

Camera frame x right, y down, z forward; pixel (u, v) = (fx x/z + cx, fy y/z + cy) with pixel centres at integers.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from ..zbuffer import NEAR as NEAR
from ..zbuffer import draw_triangle
from ..zbuffer import rasterize as rasterize


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shadow_map(vertices, faces, basis, size):
    """Orthographic depth seen from a light: the least distance along the light's rays, on a size x size grid.

    Args:
        vertices: (N, 3) camera frame.
        faces: (F, 3).
        basis: (3, 3) rows: two axes across the light, then its direction of travel.
        size: of the map.

    Returns:
        nearest (size, size) float32 (1e9 where nothing), frame (3,): low corner of the two axes and cells per metre.
    """
    n = vertices.shape[0]
    p = np.empty(n, np.float32)
    q = np.empty(n, np.float32)
    d = np.empty(n, np.float32)
    for i in range(n):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        p[i] = basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z
        q[i] = basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z
        d[i] = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z
    low_p, low_q = p.min(), q.min()
    cells = np.float32(size - 1) / max(p.max() - low_p, q.max() - low_q, np.float32(1e-6))
    far = d.max() + np.float32(1.0)
    for i in range(n):
        p[i] = (p[i] - low_p) * cells
        q[i] = (q[i] - low_q) * cells
        d[i] = far - d[i]  # larger is nearer to the light, as draw_triangle wants
    ids = np.full((size, size), -1, np.int32)
    near = np.zeros((size, size), np.float32)
    for f in range(faces.shape[0]):
        draw_triangle(ids, near, p, q, d, faces[f, 0], faces[f, 1], faces[f, 2], f, size, size)
    for y in range(size):
        for x in range(size):
            near[y, x] = far - near[y, x] if ids[y, x] >= 0 else np.float32(1e9)
    return near, np.array([low_p, low_q, cells], np.float32)


@functools.lru_cache(maxsize=1)
def noise_table() -> np.ndarray:
    """(32, 32, 32) float32 in -1..1, the same for everybody."""
    return np.random.default_rng(555).uniform(-1, 1, (32, 32, 32)).astype(np.float32)


@numba.njit(cache=True, nogil=True, inline="always")
def value_noise(table, x, y, z):
    """Trilinear value noise in -1..1 from a periodic (32, 32, 32) table."""
    xf, yf, zf = np.floor(x), np.floor(y), np.floor(z)
    i, j, k = int(xf) & 31, int(yf) & 31, int(zf) & 31
    i1, j1, k1 = (i + 1) & 31, (j + 1) & 31, (k + 1) & 31
    a, b, c = x - xf, y - yf, z - zf
    p = table[i, j, k] * (1 - a) + table[i1, j, k] * a
    q = table[i, j1, k] * (1 - a) + table[i1, j1, k] * a
    r = table[i, j, k1] * (1 - a) + table[i1, j, k1] * a
    s = table[i, j1, k1] * (1 - a) + table[i1, j1, k1] * a
    return (p * (1 - b) + q * b) * (1 - c) + (r * (1 - b) + s * b) * c


@numba.njit(cache=True, nogil=True, error_model="numpy")
def noise_at(table, places):
    """(N,) float64 smooth noise in -1..1 at places (N, 3), its grid one unit wide."""
    out = np.empty(len(places))
    for i in range(len(places)):
        out[i] = value_noise(table, places[i, 0], places[i, 1], places[i, 2])
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shade(
    out, triangle, depth, vertices, faces, normals, albedo, gloss, rest, K, table, key, lights, basis, near, frame
):
    """Colour every pixel that shows a triangle, in place: Lambert with a soft red terminator, Blinn-Phong, shadow.

    Args:
        out: (H, W, 3) float32 linear RGB, holding the background.
        triangle, depth: of `rasterize`.
        vertices, faces, normals: (N, 3), (F, 3), (N, 3) camera frame.
        albedo: (N, 3) linear; gloss: (N, 3) specular strength, softness of the terminator, mottle strength.
        rest: (N, 3) metres, where the surface's texture is tied to.
        K: (4,).
        table: (32, 32, 32) float32 noise.
        key: (3,) colour of the key light.
        lights: (5, 3): direction to fill light, its colour, sky colour (from above), ground colour, shadow's bias in [4, 0].
        basis, near, frame: of `shadow_map`; basis[2] is the key light's direction of travel.
    """
    height, width = triangle.shape
    size = near.shape[0]
    for y in range(height):
        for x in range(width):
            f = triangle[y, x]
            if f < 0:
                continue
            z = depth[y, x]
            px, py = (x - K[2]) / K[0] * z, (y - K[3]) / K[1] * z
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            # barycentric coordinates of the point in space, by areas seen along the dominant axis of the pixel's ray
            ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
            e1x, e1y, e1z = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
            e2x, e2y, e2z = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
            dx, dy, dz = px - ax, py - ay, z - az
            d11 = e1x * e1x + e1y * e1y + e1z * e1z
            d12 = e1x * e2x + e1y * e2y + e1z * e2z
            d22 = e2x * e2x + e2y * e2y + e2z * e2z
            d1 = dx * e1x + dy * e1y + dz * e1z
            d2 = dx * e2x + dy * e2y + dz * e2z
            det = d11 * d22 - d12 * d12
            if det <= 0:
                continue
            wb = (d22 * d1 - d12 * d2) / det
            wc = (d11 * d2 - d12 * d1) / det
            wb = min(max(wb, 0.0), 1.0)
            wc = min(max(wc, 0.0), 1.0 - wb)
            wa = 1.0 - wb - wc
            nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
            ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
            nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
            strength = wa * gloss[a, 0] + wb * gloss[b, 0] + wc * gloss[c, 0]
            soft = wa * gloss[a, 1] + wb * gloss[b, 1] + wc * gloss[c, 1]
            mottle = wa * gloss[a, 2] + wb * gloss[b, 2] + wc * gloss[c, 2]
            rx = wa * rest[a, 0] + wb * rest[b, 0] + wc * rest[c, 0]
            ry = wa * rest[a, 1] + wb * rest[b, 1] + wc * rest[c, 1]
            rz = wa * rest[a, 2] + wb * rest[b, 2] + wc * rest[c, 2]
            broad = value_noise(table, rx * 90, ry * 90, rz * 90)
            fine = value_noise(table, rx * 420 + 7, ry * 420, rz * 420)
            nx += 0.35 * mottle * fine
            ny += 0.35 * mottle * broad
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / length, ny / length, nz / length
            ray = np.sqrt(px * px + py * py + z * z)
            vx, vy, vz = -px / ray, -py / ray, -z / ray
            if nx * vx + ny * vy + nz * vz < 0:
                nx, ny, nz = -nx, -ny, -nz
            # key light and its shadow, four taps
            lx, ly, lz = -basis[2, 0], -basis[2, 1], -basis[2, 2]
            lit = 0.0
            sp = (basis[0, 0] * px + basis[0, 1] * py + basis[0, 2] * z - frame[0]) * frame[2]
            sq = (basis[1, 0] * px + basis[1, 1] * py + basis[1, 2] * z - frame[1]) * frame[2]
            sd = basis[2, 0] * px + basis[2, 1] * py + basis[2, 2] * z - lights[4, 0]
            for tap in range(4):
                tp = int(sp + 0.25 + 1.2 * (tap & 1) - 0.35)
                tq = int(sq + 0.25 + 1.2 * (tap >> 1) - 0.35)
                if tp < 0 or tq < 0 or tp >= size or tq >= size or near[tq, tp] > sd:
                    lit += 0.25
            facing = nx * lx + ny * ly + nz * lz
            wrap = (facing + soft) / (1 + soft)
            key_term = max(facing, 0.0) * lit
            red_term = max(wrap, 0.0) * (0.25 + 0.75 * lit) - key_term
            fx, fy, fz = lights[0, 0], lights[0, 1], lights[0, 2]
            fill_term = max(nx * fx + ny * fy + nz * fz, 0.0)
            up = 0.5 - 0.5 * ny
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            hl = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
            spec = max((nx * hx + ny * hy + nz * hz) / hl, 0.0)
            spec = spec * spec
            spec = spec * spec
            spec = spec * spec
            spec = spec * spec
            spec = strength * spec * spec * lit if facing > 0 else 0.0  # the 32nd power
            shade_noise = 1 + mottle * (0.6 * broad + 0.4 * fine)
            for ch in range(3):
                base = wa * albedo[a, ch] + wb * albedo[b, ch] + wc * albedo[c, ch]
                tint = 1.0 if ch == 0 else 0.35 if ch == 1 else 0.25
                light = key[ch] * (key_term + 0.5 * max(red_term, 0.0) * tint)
                light += lights[1, ch] * fill_term
                light += lights[2, ch] * up + lights[3, ch] * (1 - up)
                out[y, x, ch] = base * shade_noise * light + key[ch] * spec


@numba.njit(cache=True, nogil=True, error_model="numpy")
def labels(triangle, face_label):
    """(H, W) uint8: each pixel's face's label, 0 where there is no face. `face_label` (F,) uint8."""
    height, width = triangle.shape
    out = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            if triangle[y, x] >= 0:
                out[y, x] = face_label[triangle[y, x]]
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def vertex_normals(vertices, faces):
    """(N, 3) float32 unit normals, faces weighted by area."""
    out = np.zeros(vertices.shape, np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        wx, wy, wz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        for i in (a, b, c):
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for i in range(out.shape[0]):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2) + np.float32(1e-12)
        for k in range(3):
            out[i, k] /= length
    return out
