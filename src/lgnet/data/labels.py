"""Labels of every pixel, joint and vertex of one picture, and how they are stored. Two sides: 0 right, 1 left.

`encode` and `decode` are the one place where units and layouts of the files are written down.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..coding import decoded, png

DEPTH_UNIT = 1e-4
"""Metres of one step of the stored depth: 0.1 mm, so that 16 bits reach 6.55 m."""
MAPS = ("depth.png", "normal.png", "uv.png", "npz")
"""What `encode` gives, by the end of the file's name."""
_ARRAYS = (
    "joints_visible",
    "vertices",
    "vertices_visible",
    "hand_distance",
    "object_distance",
    "contact_hand",
    "contact_object",
)


@dataclass(frozen=True)
class Labels:
    """Camera frame (x right, y down, z forward), metres. V vertices of a hand, the same of both sides."""

    depth: np.ndarray  # (H, W) float32 along the optical axis, of whatever is seen; 0 where nothing was drawn
    normal: np.ndarray  # (H, W, 3) float32 unit, towards the camera, smooth over the mesh; 0 where nothing was drawn
    uv: np.ndarray  # (H, W, 2) float32 texture coordinates of the hand model (v up, as in OBJ); 0 where no skin
    skin: np.ndarray  # (H, W) uint8: 0 no hand's skin, 1 the right hand's, 2 the left hand's: where `uv` holds
    joints_visible: (
        np.ndarray
    )  # (2, 21) bool: where the joint projects, its own skin is seen (of the wrist, also the arm)
    vertices: np.ndarray  # (2, V, 3) float32; 0 of a hand that is not there
    vertices_visible: np.ndarray  # (2, V) bool: in the picture and nothing before it
    hand_distance: np.ndarray  # (2, V) float32 to the other hand's surface, 0 inside, infinite beyond 20 mm
    object_distance: np.ndarray  # (2, V) float32 to the nearest object, likewise
    contact_hand: np.ndarray  # (2, V) bool: the other hand is within 4 mm
    contact_object: np.ndarray  # (2, V) bool: an object is within 4 mm


def encode(labels: Labels) -> dict[str, bytes]:
    """Labels as files, by the end of their names: see `MAPS`. The same labels give the same bytes."""
    depth = np.clip(np.round(labels.depth / DEPTH_UNIT), 0, 65535).astype(np.uint16)
    drawn = (labels.depth > 0)[..., None]
    normal = np.where(drawn, np.round((labels.normal + 1) * 127.5), 0).astype(np.uint8)
    uv = np.round(np.clip(labels.uv, 0, 1) * 65535).astype(np.uint16)
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **{name: getattr(labels, name) for name in _ARRAYS})
    return {
        "depth.png": png(depth),
        "normal.png": png(normal),
        "uv.png": png(np.dstack([uv, labels.skin.astype(np.uint16)])),
        "npz": arrays.getvalue(),
    }


def decode(files: Mapping[str, bytes]) -> Labels:
    """The inverse of `encode`, but for rounding.

    Raises:
        ValueError: a file is damaged; the text says which by the end of its name.
        KeyError: one is missing.
    """
    depth, normal, uv = (decoded(files[name], name) for name in MAPS[:3])
    try:
        with np.load(io.BytesIO(files["npz"]), allow_pickle=False) as arrays:
            own = {name: arrays[name] for name in _ARRAYS}
    except Exception as error:  # zipfile, zlib and NumPy raise anything at all on damaged files
        raise ValueError(f"the .npz is damaged ({type(error).__name__})") from error
    direction = normal.astype(np.float32) / np.float32(127.5) - 1
    length = np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-6)
    return Labels(
        depth=depth * np.float32(DEPTH_UNIT),
        normal=np.where((depth > 0)[..., None], direction / length, 0).astype(np.float32),
        uv=uv[..., :2] / np.float32(65535),
        skin=uv[..., 2].astype(np.uint8),
        **own,
    )
