"""Meshes, camera, lights and background -> a picture and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from . import raster
from .appearance import Lights, Mesh
from .lens import Lens, bent
from .rotations import cross, norm
from .skin_detail import LEVELS, detail_maps
from .skin_shader import AMOUNTS, BLOOD, MELANIN, shade_looks
from .skin_texels import TEXEL

_NO_SHADOW = np.full((1, 1), 1e9, np.float32), np.array([0, 0, 1], np.float32)


@dataclass(frozen=True)
class Rendered:
    """A picture before the camera's faults, with what each pixel shows."""

    linear: np.ndarray  # (H, W, 3) float32 linear RGB
    depth: np.ndarray  # (H, W) float32 metres, 0 where nothing was drawn
    parts: np.ndarray  # (H, W) uint8: 0 no hand, 1..16 right hand's joint + 1, 17..32 left hand's, data.sample.FACE
    triangle: np.ndarray  # (H, W) int32: which face, counted through all meshes; -1 where nothing was drawn


def render(
    meshes: Sequence[Mesh],
    K: np.ndarray,
    background: np.ndarray,
    lights: Lights,
    shadow: int = 160,
    lens: Lens | None = None,
) -> Rendered:
    """Draw `meshes` over `background` (H, W, 3 linear float32). K (4,) fx, fy, cx, cy in pixels; `lens` bends the meshes."""
    height, width = background.shape[:2]
    out = background.astype(np.float32)
    if not meshes:
        blank = np.zeros((height, width), np.float32)
        return Rendered(out, blank, blank.astype(np.uint8), np.full((height, width), -1, np.int32))
    vertices, faces = joined(meshes)
    normals = raster.vertex_normals(vertices, faces)
    if lens is not None:
        vertices = bent(vertices, lens)
    part = np.concatenate([m.part for m in meshes])
    K = np.asarray(K, np.float32)
    triangle, depth = raster.rasterize(vertices, faces, K, width, height)
    basis = _light_basis(lights.key_direction)
    near, frame = _shadow(meshes, vertices, faces, basis, shadow)
    looks = any(m.amounts is not None for m in meshes)
    bias = 2.5 / frame[2]
    last = [bias, lights.soft if looks else 0, 0]
    table = np.stack([lights.fill_direction, lights.fill, lights.sky, lights.ground, last]).astype(np.float32)
    inputs = (
        out,
        triangle,
        depth,
        vertices,
        faces,
        normals,
        np.concatenate([m.albedo for m in meshes]),
        np.concatenate([m.gloss for m in meshes]),
        np.concatenate([m.rest for m in meshes]),
        K,
        raster.noise_table(),
        lights.key.astype(np.float32),
        table,
        basis,
        near,
        frame,
    )
    if looks:
        level = texel_level(meshes, K)
        shade_looks(*inputs, detail_maps()[level], level, *_materials(meshes), MELANIN, BLOOD)
    else:
        raster.shade(*inputs)
    return Rendered(out, depth, raster.labels(triangle, part[faces[:, 0]]), triangle)


def smooth_edges(linear: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(H, W, 3) with outlines blended over a pixel or so, as light falls on a sensor; surfaces stay sharp.

    An outline is where the depth (H, W) jumps by more than 5 mm, or to where nothing was drawn.
    """
    near = np.where(depth > 0, depth, np.float32(1e3))
    low, high = (cv2.morphologyEx(near, way, np.ones((3, 3), np.uint8)) for way in (cv2.MORPH_ERODE, cv2.MORPH_DILATE))
    edge = high - low > 0.005
    return cv2.copyTo(cv2.GaussianBlur(linear, (3, 3), 0.6), edge.view(np.uint8), linear)


def joined(meshes: Sequence[Mesh]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) float32 vertices and (F, 3) int32 faces of all."""
    vertices = np.concatenate([m.vertices for m in meshes], dtype=np.float32)
    faces = np.empty((sum(len(m.faces) for m in meshes), 3), np.int32)
    start = corner = 0
    for m in meshes:
        np.add(m.faces, corner, out=faces[start : start + len(m.faces)])
        start, corner = start + len(m.faces), corner + len(m.vertices)
    return vertices, faces


def _shadow(
    meshes: Sequence[Mesh], vertices: np.ndarray, faces: np.ndarray, basis: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """`raster.shadow_map` of what casts shadows; `vertices` and `faces` are all meshes joined."""
    casting = [m for m in meshes if m.casts_shadow]
    if not casting:
        return _NO_SHADOW
    if len(casting) < len(meshes):
        throws = np.repeat([m.casts_shadow for m in meshes], [len(m.faces) for m in meshes])
        faces = faces[throws]
        used = np.repeat([m.casts_shadow for m in meshes], [len(m.vertices) for m in meshes])
        faces, vertices = (np.cumsum(used, dtype=np.int32) - 1)[faces], vertices[used]
    return raster.shadow_map(vertices, faces, basis, size)


def _materials(meshes: Sequence[Mesh]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(F, 3, 2) texels at the corners, (F,) each face's mesh, (M, A) each mesh's amounts."""
    none = np.zeros(len(AMOUNTS), np.float32)
    corner = np.full((sum(len(m.faces) for m in meshes), 3, 2), -1, np.float32)
    start = 0
    for m in meshes:
        if m.corner is not None:
            corner[start : start + len(m.faces)] = m.corner
        start += len(m.faces)
    material = np.repeat(np.arange(len(meshes), dtype=np.uint8), [len(m.faces) for m in meshes])
    return corner, material, np.stack([none if m.amounts is None else m.amounts for m in meshes])


def texel_level(meshes: Sequence[Mesh], K: np.ndarray) -> int:
    """The level of the detail maps whose texels are about as large as the nearest hand's pixels."""
    hands = [m for m in meshes if m.corner is not None]
    if not hands:
        return 0
    nearest = min(float(np.median(m.vertices[:, 2])) for m in hands)
    return int(np.clip(np.floor(np.log2(max(nearest / float(K[0]) / TEXEL, 1e-6)) + 0.5), 0, LEVELS - 1))


def _light_basis(travel: np.ndarray) -> np.ndarray:
    """(3, 3) float32 rows: two axes across the light, its direction of travel."""
    helper = np.array([0.0, 0.0, 1.0]) if abs(travel[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = cross(helper, travel)
    across /= norm(across)
    return np.stack([across, cross(travel, across), travel]).astype(np.float32)
