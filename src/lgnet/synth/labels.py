"""What was drawn -> labels of every pixel, joint and vertex (data/labels.py). Made only where they are asked for."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ..data.labels import Labels
from ..data.sample import project
from ..hand_model import load_hand_model
from ..hands import NUM_JOINTS, SIDES, WRIST
from ..penetration import inside, surface_distance
from . import raster
from .appearance import Mesh
from .generate import Drawn
from .lens import bent
from .render import joined

REACH = 0.02
"""Metres; distances beyond are not told."""
CONTACT = 0.004
"""Metres; what is nearer touches."""
VISIBLE_WITHIN = 0.0005
"""Metres that something may lie before a vertex which still counts as seen: rounding, and skin that touches itself."""


def make_labels(drawn: Drawn) -> Labels:
    """All labels of a picture."""
    depth, triangle, K = drawn.rendered.depth, drawn.rendered.triangle, np.asarray(drawn.scene.K, np.float64)
    straight, faces, first = _together(drawn.meshes)
    vertices = straight if drawn.lens is None else bent(straight, drawn.lens)  # as the picture shows them
    normal, uv = np.zeros((*depth.shape, 3), np.float32), np.zeros((*depth.shape, 2), np.float32)
    skin = np.zeros(depth.shape, np.uint8)
    rows, columns = np.nonzero(triangle >= 0)
    if len(rows):
        face = triangle[rows, columns]
        points = _lifted(columns, rows, depth[rows, columns], K)
        shares = _shares(points, vertices[faces[face]])
        normals = raster.vertex_normals(straight, faces)[faces[face]]
        normal[rows, columns] = _towards_camera((shares[:, :, None] * normals).sum(1), points)
        for side, mesh in enumerate(drawn.hands):
            if mesh is None:
                continue
            uvs, uv_faces = _texture(side)
            own = (face >= first[mesh]) & (face < first[mesh] + len(uv_faces))
            corners = uvs[uv_faces[face[own] - first[mesh]]]
            uv[rows[own], columns[own]] = (shares[own][:, :, None] * corners).sum(1)
            skin[rows[own], columns[own]] = side + 1
    return Labels(depth, normal, uv, skin, **_visibility(drawn, vertices, faces, first, K), **_contact(drawn))


def _together(meshes: tuple[Mesh, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, 3) and faces (F, 3) of all, as `render` counts them, and the first face of each."""
    if not meshes:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, int)
    return *joined(meshes), np.cumsum([0, *(len(m.faces) for m in meshes[:-1])])


def _lifted(u: np.ndarray, v: np.ndarray, z: np.ndarray, K: np.ndarray) -> np.ndarray:
    """(P, 3) the points in space that pixels (u, v) show at depth z."""
    z = z.astype(np.float64)
    return np.stack([(u - K[2]) / K[0] * z, (v - K[3]) / K[1] * z, z], 1)


def _shares(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(P, 3) barycentric coordinates of points (P, 3) in triangles (P, 3, 3), within 0..1."""
    a = corners[:, 0].astype(np.float64)
    ab, ac, ap = corners[:, 1] - a, corners[:, 2] - a, points - a
    across = np.cross(ab, ac)
    area = (across**2).sum(1) + 1e-30
    b = np.clip((np.cross(ap, ac) * across).sum(1) / area, 0, 1)
    c = np.clip((np.cross(ab, ap) * across).sum(1) / area, 0, 1 - b)
    return np.stack([1 - b - c, b, c], 1)


def _towards_camera(normals: np.ndarray, points: np.ndarray) -> np.ndarray:
    unit = normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)
    return np.where(((unit * points).sum(1) > 0)[:, None], -unit, unit)


@functools.lru_cache(maxsize=2)
def _texture(side: int) -> tuple[np.ndarray, np.ndarray]:
    """UVs (T, 2) and the UV corners (F2, 3) of the hand's first F2 faces; the rest close the wrist."""
    model = load_hand_model("lgnet", SIDES[side])
    return model.uvs.numpy(), model.uv_faces.numpy()


@functools.lru_cache(maxsize=1)
def joint_skin() -> tuple[np.ndarray, np.ndarray]:
    """(21, V) bool: the skin round each joint of the flat hand, as far off as the hand is thick there; (21,) that radius.

    Thick: the farthest of the skin straight before and behind the joint, towards the nails and away from them; of a
    fingertip, as of the joint before it; of the wrist, half its width, since it is seen from the edge too.
    """
    model = load_hand_model("lgnet", "right")
    offset = model.template.numpy()[None] - model.points.numpy()[:, None]
    dorsal = np.tile([0.0, 0.0, -1.0], (NUM_JOINTS, 1))
    dorsal[2:5] = model.thumb_dorsal.numpy() / np.linalg.norm(model.thumb_dorsal.numpy())
    distance = np.linalg.norm(offset, axis=-1)
    aside = np.linalg.norm(offset - (offset @ dorsal[:, :, None]) * dorsal[:, None], axis=-1)
    radius = 1.1 * np.where(aside < 0.008, distance, 0).max(1)
    radius[4::4] = radius[3::4]
    radius[WRIST] = distance[WRIST, model.wrist_loop.numpy()].max()
    return distance <= radius[:, None], radius


def _visibility(drawn: Drawn, vertices: np.ndarray, faces: np.ndarray, first: np.ndarray, K: np.ndarray) -> dict:
    """Rays to every vertex and joint: exact, whatever the picture's size."""
    height, width = drawn.rendered.depth.shape
    count = len(load_hand_model("lgnet").template)
    out = {
        "joints_visible": np.zeros((2, NUM_JOINTS), bool),
        "vertices": np.zeros((2, count, 3), np.float32),
        "vertices_visible": np.zeros((2, count), bool),
    }
    for side, mesh in enumerate(drawn.hands):
        hand = drawn.scene.hands[side]
        if mesh is None or hand is None:
            continue
        own = drawn.meshes[mesh].vertices[:count]
        points = np.concatenate([own, hand.joints]).astype(np.float64)
        if drawn.lens is not None:
            points = bent(points, drawn.lens)
        uv = project(points, K)
        within = ((uv >= -0.5) & (uv < [width - 0.5, height - 0.5])).all(1) & (points[:, 2] > raster.NEAR)
        face, z = first_surface(uv, vertices.astype(np.float64), faces, K)
        free = within & (z > points[:, 2] - VISIBLE_WITHIN)
        out["vertices"][side] = own
        out["vertices_visible"][side] = free[:count]
        start = sum(len(m.vertices) for m in drawn.meshes[:mesh])
        near, radius = joint_skin()
        limbs = set(range(len(drawn.meshes))) - set(drawn.hands) - set(drawn.objects) | {mesh}
        for joint, (hit, gap) in enumerate(zip(face[count:], points[count:, 2] - z[count:])):
            at = int(np.searchsorted(first, hit, "right")) - 1
            corners = faces[hit] - start
            of_hand = at == mesh and (corners < count).all()
            skin = of_hand and near[joint, corners].any()
            arm = joint == WRIST and at in limbs and not of_hand and gap <= radius[WRIST]
            out["joints_visible"][side, joint] = within[count + joint] and (gap < VISIBLE_WITHIN or skin or arm)
    return out


@numba.njit(cache=True, nogil=True)
def first_surface(uv, vertices, faces, K):
    """The first face on each ray from the camera.

    Args:
        uv: (P, 2) float64 pixels that the rays go through.
        vertices: (N, 3) float64, camera frame, metres.
        faces: (F, 3) int32; both sides count, faces with a corner nearer than raster.NEAR do not, as in the picture.
        K: (4,) fx, fy, cx, cy.

    Returns:
        face (P,) int64, -1 where there is none; depth (P,) float64 along the optical axis, infinite there.
    """
    face, depth = np.full(len(uv), -1, np.int64), np.full(len(uv), np.inf)
    order = np.argsort(uv[:, 0])
    along = uv[order, 0]
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        if min(a[2], b[2], c[2]) <= raster.NEAR:
            continue
        ua, va = K[0] * a[0] / a[2] + K[2], K[1] * a[1] / a[2] + K[3]
        ub, vb = K[0] * b[0] / b[2] + K[2], K[1] * b[1] / b[2] + K[3]
        uc, vc = K[0] * c[0] / c[2] + K[2], K[1] * c[1] / c[2] + K[3]
        area = (ub - ua) * (vc - va) - (vb - va) * (uc - ua)
        if area == 0:
            continue
        top, bottom = min(va, vb, vc), max(va, vb, vc)
        right = max(ua, ub, uc)
        for i in range(np.searchsorted(along, min(ua, ub, uc)), len(along)):
            if along[i] > right:
                break
            p = order[i]
            x, y = uv[p, 0], uv[p, 1]
            if y < top or y > bottom:
                continue
            wb = ((x - ua) * (vc - va) - (y - va) * (uc - ua)) / area
            wc = ((ub - ua) * (y - va) - (vb - va) * (x - ua)) / area
            if wb < 0 or wc < 0 or wb + wc > 1:
                continue
            z = 1 / ((1 - wb - wc) / a[2] + wb / b[2] + wc / c[2])
            if z < depth[p]:
                depth[p], face[p] = z, f
    return face, depth


def _contact(drawn: Drawn) -> dict:
    count = len(load_hand_model("lgnet").template)
    near = {name: np.full((2, count), np.inf, np.float32) for name in ("hand_distance", "object_distance")}
    for side, mesh in enumerate(drawn.hands):
        if mesh is None:
            continue
        own, other = drawn.meshes[mesh].vertices[:count], drawn.hands[1 - side]
        if other is not None:
            hand = drawn.meshes[other].vertices[:count], load_hand_model("lgnet", SIDES[1 - side]).faces.numpy()
            near["hand_distance"][side] = _distance(own, *hand, closed=True)
        for thing in drawn.objects:
            solid = drawn.meshes[thing]
            distance = _distance(own, solid.vertices, solid.faces, closed=_hole(solid.vertices, solid.faces) < 0.001)
            near["object_distance"][side] = np.minimum(near["object_distance"][side], distance)
    touching = {f"contact_{name.split('_')[0]}": distance <= CONTACT for name, distance in near.items()}
    return {**near, **touching}


def _distance(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, closed: bool) -> np.ndarray:
    """(N,) float32 metres from points to a mesh's surface, 0 inside a closed one, infinite beyond `REACH`."""
    out = np.full(len(points), np.inf, np.float32)
    vertices = vertices.astype(np.float64)
    near = ((points > vertices.min(0) - REACH) & (points < vertices.max(0) + REACH)).all(1)
    if not near.any():
        return out
    asked = points[near].astype(np.float64)
    corners = vertices[faces]
    about = ((corners.max(1) > asked.min(0) - REACH) & (corners.min(1) < asked.max(0) + REACH)).all(1)
    distance = surface_distance(asked, vertices, faces[about])
    if closed:
        distance[inside(asked, vertices, faces)] = 0
    distance[distance > REACH] = np.inf
    out[near] = distance
    return out


def _hole(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Metres, the longest edge of only one face: 0 of a closed mesh."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    pairs, count = np.unique(edges, axis=0, return_counts=True)
    rim = pairs[count == 1]
    return float(np.linalg.norm(vertices[rim[:, 0]] - vertices[rim[:, 1]], axis=1).max(initial=0))
