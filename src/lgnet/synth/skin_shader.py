"""The shader of the new looks: skin with its detail maps, light that shines through thin flesh, cloth and metal.

As raster.py: numba, one core, no fast-math; lengths are metres, the frame is the camera's.
"""

from __future__ import annotations

import numba
import numpy as np

from .raster import value_noise
from .skin_detail import CHANNELS, STEP

AMOUNTS = (
    "crease",  # how deep creases and grain are
    "relief",  # how far veins and tendons stand out
    "vein",  # how blue veins are
    "blood",  # how strongly redness varies
    "freckle",
    "hair",
    "nail",  # 1, or 0 for no nails
    "nail_red",  # linear colour of the nails
    "nail_green",
    "nail_blue",
    "varnish",  # 0 bare nails, 1 painted
    "through",  # how much light comes through thin flesh
    "metal",  # 0..1
    "oil",  # how much creases and grain break up the shine
)
"""What each material says, in this order. Everything 0 is plain cloth or plastic."""

_COUNT = len(CHANNELS)
_SLOPE, _UNIT = np.float32(STEP * 1e-3), np.float32(1 / 127)
MELANIN = np.array([0.72, 1.0, 1.3], np.float32)
BLOOD = np.array([0.12, 1.0, 0.95], np.float32)
"""Optical depths in red, green and blue; see docs/data.md, "Looks"."""


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _fade(depth):
    """About exp(-depth), the same on every machine; for depths of -0.5 and more."""
    return 1.0 / (1.0 + depth + 0.5 * depth * depth)


_NEAR, _WIDE = (0.006, 0.5 / 0.006), (0.014, 0.5 / 0.014)
_PAIRS = np.array(
    [
        [0.006, 0, *_NEAR],
        [0, 0.006, *_NEAR],
        [0.010, 0.010, *_WIDE],
        [-0.010, 0.010, *_WIDE],
        [0.003, 0.005, *_NEAR],
        [-0.003, 0.005, *_NEAR],
    ],
    np.float32,
)
"""Metres across the line of sight, right and down; how far off they are about, and half of one over that."""


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _openness(depth, x, y, z, focal):
    """1 in the open, less in a hollow or close behind something: pairs of opposite points 6 and 14 mm away, on average
    nearer to the camera than this one, take light away. After Luft et al. 2006, who sharpen the depth buffer."""
    height, width = depth.shape
    hidden = np.float32(0.0)
    scale, none = focal / z, np.float32(0.0)
    for pair in range(6):
        dx = int(_PAIRS[pair, 0] * scale + np.float32(1000.5)) - 1000
        dy = int(_PAIRS[pair, 1] * scale + np.float32(1000.5)) - 1000
        if x - abs(dx) < 0 or y - dy < 0 or x + abs(dx) >= width or y + dy >= height:
            continue
        one = depth[np.uint64(y + dy), np.uint64(x + dx)]
        two = depth[np.uint64(y - dy), np.uint64(x - dx)]
        if one == 0 or two == 0:  # at the outline the other side is not known
            continue
        reach, share = _PAIRS[pair, 2], _PAIRS[pair, 3]
        one, two = z - one, z - two
        # what is far before this point belongs to something else and shuts out little
        one, two = min(one, max(none, 6 * reach - one)), min(two, max(none, 6 * reach - two))
        hidden += min(np.float32(1.0), max(none, (one + two) * share - np.float32(0.05)))
    return np.float32(1.0) - np.float32(0.7 / 6) * hidden


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shade_looks(
    out, triangle, depth, vertices, faces, normals, albedo, gloss, rest, K, table, key, lights, basis, near, frame,
    detail, level, corner, material, amounts, melanin, blood,
):  # fmt: skip
    """Colour every pixel that shows a triangle, in place.

    Args:
        out, triangle, depth, vertices, faces, normals, albedo, gloss, rest, K, table, key, lights, basis, near, frame:
            as for `raster.shade`.
        detail: (S, S, C) int8, one level of `skin_detail.detail_maps`.
        level: which one, 0 the largest.
        corner: (F, 3, 2) float32 texels of level 0 at each face's corners; negative where there is no detail.
        material: (F,) uint8 row of `amounts`.
        amounts: (M, len(AMOUNTS)) float32.
        melanin, blood: (3,) float32 `MELANIN` and `BLOOD`.
    """
    height, width = triangle.shape
    size, texels = near.shape[0], detail.shape[0]
    shrink = 1.0 / (1 << level)
    per_x, per_y, cell = 1.0 / K[0], 1.0 / K[1], 1.0 / frame[2]
    d = np.zeros(_COUNT, np.float32)
    for y in range(height):
        for x in range(width):
            f = triangle[y, x]
            if f < 0:
                continue
            z = depth[y, x]
            px, py = (x - K[2]) * per_x * z, (y - K[3]) * per_y * z
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
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
            det = 1.0 / det
            wb = min(max((d22 * d1 - d12 * d2) * det, 0.0), 1.0)
            wc = min(max((d11 * d2 - d12 * d1) * det, 0.0), 1.0 - wb)
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
            broad, fine = 0.0, 0.0
            if mottle > 0:
                broad = value_noise(table, rx * 90, ry * 90, rz * 90)
                fine = value_noise(table, rx * 420 + 7, ry * 420, rz * 420)
                nx += 0.35 * mottle * fine
                ny += 0.35 * mottle * broad
            # the inside of a tube: the triangle's own normal and the vertices' disagree on whether it faces the camera
            cx, cy, cz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
            if (cx * nx + cy * ny + cz * nz) * (cx * px + cy * py + cz * z) > 0:
                nx, ny, nz = -nx, -ny, -nz
            # shadows are looked up a little off the skin, so that the map's cells don't print on it
            off = 1.3 * cell / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
            ox, oy, oz = px + off * nx, py + off * ny, z + off * nz
            lean_p = basis[0, 0] * nx + basis[0, 1] * ny + basis[0, 2] * nz
            lean_q = basis[1, 0] * nx + basis[1, 1] * ny + basis[1, 2] * nz
            lean_d = basis[2, 0] * nx + basis[2, 1] * ny + basis[2, 2] * nz
            leans = -1.0 / lean_d if abs(lean_d) > 0.15 else 0.0
            m = material[f]
            red = wa * albedo[a, 0] + wb * albedo[b, 0] + wc * albedo[c, 0]
            green = wa * albedo[a, 1] + wb * albedo[b, 1] + wc * albedo[c, 1]
            blue = wa * albedo[a, 2] + wb * albedo[b, 2] + wc * albedo[c, 2]
            cavity = 1.0
            if corner[f, 0, 0] >= 0:
                u = wa * corner[f, 0, 0] + wb * corner[f, 1, 0] + wc * corner[f, 2, 0]
                v = wa * corner[f, 0, 1] + wb * corner[f, 1, 1] + wc * corner[f, 2, 1]
                u = min(max((u + 0.5) * shrink - 0.5, 0.0), texels - 1.001)
                v = min(max((v + 0.5) * shrink - 0.5, 0.0), texels - 1.001)
                i, j = np.uint32(v), np.uint32(u)
                tv, tu = np.float32(v - i), np.float32(u - j)
                one = np.float32(1)
                w11, w01, w10 = tv * tu * _UNIT, (one - tv) * tu * _UNIT, tv * (one - tu) * _UNIT
                w00 = (one - tv) * (one - tu) * _UNIT
                t00, t01, t10, t11 = detail[i, j], detail[i, j + 1], detail[i + 1, j], detail[i + 1, j + 1]
                for k in range(_COUNT):
                    d[k] = (w00 * np.float32(t00[k]) + w01 * np.float32(t01[k])) + (
                        w10 * np.float32(t10[k]) + w11 * np.float32(t11[k])
                    )
                # the height's gradient in space: the vector of the triangle's plane that its edges' rises ask for
                hu = _SLOPE * shrink * (amounts[m, 0] * d[0] + amounts[m, 1] * d[2])
                hv = _SLOPE * shrink * (amounts[m, 0] * d[1] + amounts[m, 1] * d[3])
                r1 = hu * (corner[f, 1, 0] - corner[f, 0, 0]) + hv * (corner[f, 1, 1] - corner[f, 0, 1])
                r2 = hu * (corner[f, 2, 0] - corner[f, 0, 0]) + hv * (corner[f, 2, 1] - corner[f, 0, 1])
                g1, g2 = (d22 * r1 - d12 * r2) * det, (d11 * r2 - d12 * r1) * det
                gx, gy, gz = g1 * e1x + g2 * e2x, g1 * e1y + g2 * e2y, g1 * e1z + g2 * e2z
                slope = np.sqrt(gx * gx + gy * gy + gz * gz)
                tame = 1.0 / (1.0 + slope)  # no slope steeper than 45 degrees
                nx, ny, nz = nx - tame * gx, ny - tame * gy, nz - tame * gz
                crease = amounts[m, 0] * d[4]
                nail = amounts[m, 6] * d[8]
                cavity = 1.0 - 0.3 * min(crease, 1.0)
                h = amounts[m, 3] * 0.35 * d[6] * (1 - nail) + 0.22 * crease + amounts[m, 2] * 0.1 * d[5]
                p = amounts[m, 4] * d[7] + 0.1 * crease + 0.5 * amounts[m, 5] * d[10] * (1 - nail)
                red *= _fade(p * melanin[0] + h * blood[0] + 0.22 * amounts[m, 2] * d[5])
                green *= _fade(p * melanin[1] + h * blood[1])
                blue *= _fade(p * melanin[2] + h * blood[2] - 0.06 * amounts[m, 2] * d[5])
                light_nail = d[9] * (1 - amounts[m, 10]) * 0.3
                red += nail * (amounts[m, 7] * (1 + 0.6 * light_nail) - red)
                green += nail * (amounts[m, 8] * (1 + light_nail) - green)
                blue += nail * (amounts[m, 9] * (1 + light_nail) - blue)
                strength += nail * (0.10 + 0.12 * amounts[m, 10]) - strength * amounts[m, 13] * 0.6 * min(
                    slope * 2, 1.0
                )
                mottle *= 1 - nail
            short = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
            nx, ny, nz = nx * short, ny * short, nz * short
            ray = -1.0 / np.sqrt(px * px + py * py + z * z)
            vx, vy, vz = px * ray, py * ray, z * ray
            sees = nx * vx + ny * vy + nz * vz
            if sees < 0:  # at the outline, or a bump that leans away: no further than edge-on
                nx, ny, nz = nx - sees * vx, ny - sees * vy, nz - sees * vz
                short = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
                nx, ny, nz = nx * short, ny * short, nz * short
                sees = 0.0
            opened = _openness(depth, x, y, z, K[0])
            cavity *= opened
            # the key light, its shadow in nine taps, and how deep in the flesh the light has come
            lx, ly, lz = -basis[2, 0], -basis[2, 1], -basis[2, 2]
            lit, thick = 0.0, 0.0
            sp = (basis[0, 0] * ox + basis[0, 1] * oy + basis[0, 2] * oz - frame[0]) * frame[2]
            sq = (basis[1, 0] * ox + basis[1, 1] * oy + basis[1, 2] * oz - frame[1]) * frame[2]
            sd = basis[2, 0] * ox + basis[2, 1] * oy + basis[2, 2] * oz - lights[4, 0]
            blur = lights[4, 1]
            # taps aside are compared with the depth that the surface's own plane has there
            step = blur * cell * leans
            for row in range(-1, 2):
                tq = int(sq + 0.5 + blur * row)
                for column in range(-1, 2):
                    tp = int(sp + 0.5 + blur * column)
                    own = sd + step * (column * lean_p + row * lean_q)
                    gap = -1.0
                    if tp >= 0 and tq >= 0 and tp < size and tq < size:
                        gap = own - near[np.uint64(tq), np.uint64(tp)]
                    lit += 1.0 if gap < 0 else 0.0
                    thick += max(gap, 0.0)
            lit, thick = lit * (1.0 / 9), thick * (1.0 / 9)
            facing = nx * lx + ny * ly + nz * lz
            wrap = (facing + soft) / (1 + soft)
            key_term = max(facing, 0.0) * lit * cavity
            red_term = max(wrap, 0.0) * (0.25 + 0.75 * lit) - key_term
            through = 0.0
            if amounts[m, 11] > 0 and facing < 0.15:
                t = (thick + lights[4, 0]) / 0.0045  # light falls off within about 4.5 mm of flesh
                through = amounts[m, 11] * min(1.0, 1.2 * (0.15 - facing)) / (1.0 + t * t * t)
            fill_term = max(nx * lights[0, 0] + ny * lights[0, 1] + nz * lights[0, 2], 0.0) * cavity
            up = 0.5 - 0.5 * ny
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            hl = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
            spec = max((nx * hx + ny * hy + nz * hz) / hl, 0.0)
            spec = spec * spec
            spec = spec * spec
            spec8 = spec * spec
            spec32 = spec8 * spec8
            spec32 = spec32 * spec32
            edge = 1.0 - sees
            edge = edge * edge
            edge = edge * edge
            shine = strength * (0.3 * spec8 + 0.7 * spec32) * lit if facing > 0 else 0.0
            shade_noise = 1 + mottle * (0.6 * broad + 0.4 * fine)
            metal = amounts[m, 12]
            # a mirror shows light above, dark below, and a bright band between
            mirror_y = 2 * sees * ny - vy
            band = 0.25 + max(-mirror_y, 0.0) + 0.8 * max(1 - abs(mirror_y + 0.25) * 4, 0.0)
            for ch in range(3):
                base = red if ch == 0 else green if ch == 1 else blue
                tint = 1.0 if ch == 0 else 0.35 if ch == 1 else 0.25
                flesh = 1.0 if ch == 0 else 0.2 if ch == 1 else 0.1
                ambient = (lights[2, ch] * up + lights[3, ch] * (1 - up)) * cavity
                light = key[ch] * (key_term + 0.5 * max(red_term, 0.0) * tint)
                light += lights[1, ch] * fill_term + ambient
                value = base * shade_noise * light + key[ch] * (through * flesh * (0.25 + base)) * 0.55
                value += key[ch] * shine + strength * edge * ambient
                if metal > 0:
                    polished = base * (band * (lights[2, ch] + 0.35 * key[ch] * lit) + 1.5 * key[ch] * spec32 * lit)
                    value += metal * (polished - value)
                out[y, x, ch] = value
