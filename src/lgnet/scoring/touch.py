"""How two meshes stand to each other: how deep one is in the other, and whether they touch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..metrics import MM

TOUCH = 0.005
"""Metres: hands nearer than this are in contact."""


@dataclass(frozen=True)
class Touch:
    """How the two meshes of one picture stand to each other, where both hands have one."""

    depth: float  # mm, of the deepest vertex of either in the other
    volume: float  # mm3, that both take
    touching: bool  # nearer than `TOUCH`, or in one another


def measure_touch(
    right: tuple[np.ndarray, np.ndarray] | None, left: tuple[np.ndarray, np.ndarray] | None
) -> Touch | None:
    """Of two meshes (vertices, faces) in metres; None without both, or where a mesh cannot be closed."""
    if right is None or left is None:
        return None
    from ..penetration import measure_contact  # numba: not before it is needed

    faces = [_closed(np.ascontiguousarray(f, np.int64).tobytes()) for _, f in (right, left)]
    if faces[0] is None or faces[1] is None:
        return None
    contact = measure_contact(right[0], faces[0], left[0], faces[1], reach=TOUCH)
    return Touch(contact.depth * MM, contact.volume * MM**3, contact.distance < TOUCH)


@functools.lru_cache(maxsize=8)
def _closed(faces: bytes) -> np.ndarray | None:
    from ..penetration import close_mesh

    triangles = np.frombuffer(faces, np.int64).reshape(-1, 3)
    return close_mesh(triangles) if len(triangles) > 3 else None
