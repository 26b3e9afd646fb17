"""How two closed meshes stand to each other: how far apart, or how deep and how much in one another."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Contact:
    """Metres and cubic metres."""

    distance: float  # between the surfaces' nearest points; 0 where they cut
    depth: float  # of the deepest vertex of either mesh in the other
    volume: float  # that both take


def measure_contact(
    first: Float[np.ndarray, "V 3"],
    first_faces: Int[np.ndarray, "F 3"],
    second: Float[np.ndarray, "W 3"],
    second_faces: Int[np.ndarray, "G 3"],
    voxel: float = 0.002,
    reach: float = np.inf,
) -> Contact:
    """How two meshes of one frame stand to each other, all in metres.

    Args:
        first, first_faces, second, second_faces: closed, faces counter-clockwise from outside; see `close_mesh`.
        voxel: edge of the grid that the volume is counted on.
        reach: meshes that are known to be farther apart than this have the distance infinity: much quicker.
    """
    a, b = (np.ascontiguousarray(mesh, np.float64) for mesh in (first, second))
    fa, fb = (np.ascontiguousarray(faces, np.int64) for faces in (first_faces, second_faces))
    if (np.maximum(a.min(0), b.min(0)) - np.minimum(a.max(0), b.max(0)) > reach).any():
        return Contact(np.inf, 0.0, 0.0)
    deepest = 0.0
    for points, mesh, faces in ((a, b, fb), (b, a, fa)):
        near = points[((points > mesh.min(0)) & (points < mesh.max(0))).all(1)]
        within = near[inside(near, mesh, faces)]
        if len(within):
            deepest = max(deepest, float(surface_distance(within, mesh, faces).max()))
    if deepest == 0.0:
        gap = min(_nearest(a, b, fb, reach), _nearest(b, a, fa, reach))
        return Contact(gap, 0.0, 0.0)
    low, high = np.maximum(a.min(0), b.min(0)), np.minimum(a.max(0), b.max(0))
    shape = np.maximum(np.ceil((high - low) / voxel), 1).astype(np.int64)
    both = fill(a, fa, low, voxel, shape) & fill(b, fb, low, voxel, shape)
    return Contact(0.0, deepest, float(both.sum()) * voxel**3)


def _nearest(points: np.ndarray, mesh: np.ndarray, faces: np.ndarray, reach: float) -> float:
    """The least distance, asked only of the few hundred points that may have it; infinite where beyond `reach`."""
    if np.isfinite(reach):
        points = points[((points > mesh.min(0) - reach) & (points < mesh.max(0) + reach)).all(1)]
        if not len(points):
            return np.inf
        a, b, c = (mesh[faces[:, corner]] for corner in range(3))
        above = np.maximum(np.maximum(a, b), c) > points.min(0) - reach
        below = np.minimum(np.minimum(a, b), c) < points.max(0) + reach
        faces = faces[(above & below).all(1)]
        if not len(faces):
            return np.inf
        found = float(surface_distance(points, mesh, faces).min())
        return found if found <= reach else np.inf
    rough = np.sqrt(((points[:, None, :] - mesh[None, ::4, :]) ** 2).sum(-1).min(1))
    return float(surface_distance(points[np.argsort(rough)[:300]], mesh, faces).min())


def close_mesh(faces: Int[np.ndarray, "F 3"]) -> Int[np.ndarray, "G 3"] | None:
    """The faces, and a fan over every hole; None where the edges form no surface with plain holes.

    MANO's mesh, for one, is open at the wrist, and nothing is inside an open mesh.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    size = int(edges.max(initial=0)) + 1
    forward, backward = edges @ [size, 1], edges @ [1, size]
    if len(np.unique(forward)) < len(forward):
        return None
    rim = edges[~np.isin(forward, backward)]
    after = {int(b): int(a) for a, b in rim}  # a hole's own edges run against those of the faces beside it
    if len(after) < len(rim):
        return None
    fans = []
    while after:
        start, at = after.popitem()
        loop = [start]
        while at != start:
            loop.append(at)
            if at not in after:
                return None
            at = after.pop(at)
        fans += [(loop[0], loop[i], loop[i + 1]) for i in range(1, len(loop) - 1)]
    return np.concatenate([faces, np.array(fans, faces.dtype).reshape(-1, 3)])


@numba.njit(cache=True)
def fill(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    low: Float[np.ndarray, "3"],
    voxel: float,
    shape: Int[np.ndarray, "3"],
) -> Bool[np.ndarray, "X Y Z"]:
    """Which voxels' middles lie in a closed mesh: each face turns over all voxels above it in the columns it covers."""
    out = np.zeros((shape[0], shape[1], shape[2]), np.bool_)
    for f in range(len(faces)):
        ax, ay, az = (vertices[faces[f, 0]] - low) / voxel - 0.5
        bx, by, bz = (vertices[faces[f, 1]] - low) / voxel - 0.5
        cx, cy, cz = (vertices[faces[f, 2]] - low) / voxel - 0.5
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        for x in range(max(0, int(np.ceil(min(ax, bx, cx)))), min(shape[0] - 1, int(np.floor(max(ax, bx, cx)))) + 1):
            for y in range(
                max(0, int(np.ceil(min(ay, by, cy)))), min(shape[1] - 1, int(np.floor(max(ay, by, cy)))) + 1
            ):
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                if u >= 0 and v >= 0 and u + v <= 1:
                    z = u * az + v * bz + (1 - u - v) * cz
                    for k in range(max(0, int(np.ceil(z))), shape[2]):
                        out[x, y, k] = not out[x, y, k]
    return out


@numba.njit(cache=True)
def inside(
    points: Float[np.ndarray, "N 3"], vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Bool[np.ndarray, " N"]:
    """Whether each point lies in a closed mesh: an odd number of faces above it, along z."""
    out = np.zeros(len(points), np.bool_)
    for f in range(len(faces)):
        ax, ay, az = vertices[faces[f, 0]]
        bx, by, bz = vertices[faces[f, 1]]
        cx, cy, cz = vertices[faces[f, 2]]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        left, right, near, far, top = (
            min(ax, bx, cx),
            max(ax, bx, cx),
            min(ay, by, cy),
            max(ay, by, cy),
            max(az, bz, cz),
        )
        for n in range(len(points)):
            x, y, z = points[n, 0], points[n, 1], points[n, 2]
            if x < left or x > right or y < near or y > far or z > top:
                continue
            u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
            v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
            if u >= 0 and v >= 0 and u + v <= 1 and u * az + v * bz + (1 - u - v) * cz > z:
                out[n] = not out[n]
    return out


@numba.njit(cache=True)
def surface_distance(
    points: Float[np.ndarray, "N 3"], vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, " N"]:
    """Distance of each point to the nearest triangle (Ericson, Real-Time Collision Detection, 5.1.5)."""
    out = np.full(len(points), np.inf)
    for f in range(len(faces)):
        ax, ay, az = vertices[faces[f, 0]]
        bx, by, bz = vertices[faces[f, 1]]
        cx, cy, cz = vertices[faces[f, 2]]
        ux, uy, uz = bx - ax, by - ay, bz - az  # two edges from the first corner
        wx, wy, wz = cx - ax, cy - ay, cz - az
        uu, uw, ww = ux * ux + uy * uy + uz * uz, ux * wx + uy * wy + uz * wz, wx * wx + wy * wy + wz * wz
        for n in range(len(points)):
            px, py, pz = points[n, 0] - ax, points[n, 1] - ay, points[n, 2] - az
            if max(abs(px), abs(py), abs(pz)) > out[n] + np.sqrt(max(uu, ww)):
                continue
            d1, d2 = ux * px + uy * py + uz * pz, wx * px + wy * py + wz * pz
            d3, d4, d5, d6 = d1 - uu, d2 - uw, d1 - uw, d2 - ww
            va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
            if d1 <= 0 and d2 <= 0:
                v, w = 0.0, 0.0
            elif d3 >= 0 and d4 <= d3:
                v, w = 1.0, 0.0
            elif vc <= 0 and d1 >= 0 and d3 <= 0:
                v, w = d1 / (d1 - d3), 0.0
            elif d6 >= 0 and d5 <= d6:
                v, w = 0.0, 1.0
            elif vb <= 0 and d2 >= 0 and d6 <= 0:
                v, w = 0.0, d2 / (d2 - d6)
            elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
                w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
                v = 1 - w
            else:
                v, w = vb / (va + vb + vc), vc / (va + vb + vc)
            x, y, z = v * ux + w * wx - px, v * uy + w * wy - py, v * uz + w * wz - pz
            out[n] = min(out[n], np.sqrt(x * x + y * y + z * z))
    return out
