"""Hands as pictures: overlays on the photograph, skeletons, and sheets of many pictures; what each pixel shows (maps.py).

Everything is NumPy and OpenCV on the CPU. Pictures are RGB, (H, W, 3) uint8; lengths are metres in the camera frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .data.sample import project
from .hands import BONES, SIDES, Hand, TwoHands
from .marks import mark_joints
from .rasterize import NEAR, rasterize

COLOURS = {"right": (225, 62, 56), "left": (52, 104, 232)}
"""RGB of each side: right hand red, left hand blue."""
OPACITY = 0.75
LARGEST = 2000
"""Pixels; hands that fill more than this in a picture are drawn smaller and then enlarged."""
FINE = 800
"""Pixels; pictures whose longer side is no more than this are drawn twice as large and reduced, for smooth outlines."""
_LIGHT = np.array([-0.35, -0.55, -0.76], np.float32)  # towards the light: from above, beside the camera
_LIGHT /= np.linalg.norm(_LIGHT)


@dataclass(frozen=True)
class Drawn:
    """What each pixel of a picture shows: every map is made of one of these, so their silhouettes are the same."""

    depth: np.ndarray  # (H, W) float32 metres, 0 where none
    label: np.ndarray  # (H, W) uint8: 0 none, 1 right, 2 left
    pixels: np.ndarray  # (P,) flat indices of the pixels that show a hand
    face: np.ndarray  # (P,) which face of the hand they show, as that hand counts them
    shares: np.ndarray | None  # (P, 3) float32 what each corner of the face counts there, sum 1
    normals: np.ndarray | None  # (P, 3) float32 unit, camera frame, facing the camera


def overlay(image: np.ndarray, hands: TwoHands) -> np.ndarray:
    """The meshes, shaded, over the photograph: right hand red, left hand blue, the nearer one in front.

    Where the weights say how wrong they are, each joint has a dot, white to dark (`marks.py`).

    Args:
        image: (H, W, 3) uint8 RGB, the picture the hands were found in.
        hands: what was found.

    Returns:
        (H, W, 3) uint8 RGB, a new picture of exactly the same size.

    Raises:
        ValueError: the picture is not (hands.height, hands.width, 3) uint8.
    """
    _check(image, hands)
    if not hands.everyone:
        return image.copy()
    rows, columns = _window(hands)
    K = hands.camera
    part = replace(
        hands,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
        camera=replace(K, cx=K.cx - columns.start, cy=K.cy - rows.start),
    )
    fine = max(hands.width, hands.height) <= FINE
    out = image.copy()
    out[rows, columns] = _shaded(image[rows, columns], part, fine)
    return mark_joints(out, hands)


def _window(hands: TwoHands) -> tuple[slice, slice]:
    """The rows and columns of the picture that the meshes can cover, one at least; only these are drawn."""
    vertices = np.concatenate([hand.vertices for hand in hands.everyone])
    if not (np.isfinite(vertices).all() and (vertices[:, 2] > NEAR).all()):
        return slice(0, hands.height), slice(0, hands.width)
    size = np.array([hands.width, hands.height])
    uv = project(vertices, hands.camera.K)
    low = np.clip(np.floor(uv.min(0)) - 1, 0, size - 1).astype(int)
    high = np.clip(np.ceil(uv.max(0)) + 2, low + 1, size).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _shaded(image: np.ndarray, hands: TwoHands, fine: bool) -> np.ndarray:
    """`overlay` of a part of a picture; `fine`: drawn twice as large and reduced."""
    factor = 2.0 if fine else min(1.0, LARGEST / max(hands.width, hands.height))
    width, height = max(1, round(hands.width * factor)), max(1, round(hands.height * factor))
    drawn = draw(hands, width, height, normals=True)
    assert drawn.normals is not None
    light = 0.38 + 0.62 * np.maximum(drawn.normals @ _LIGHT, 0)
    palette = np.array([COLOURS[side] for side in SIDES], np.float32)
    layer = np.zeros((height * width, 4), np.float32)  # colours times coverage, coverage
    layer[drawn.pixels, :3] = palette[drawn.label.reshape(-1)[drawn.pixels] - 1] * light[:, None]
    layer[drawn.pixels, 3] = 1
    layer = layer.reshape(height, width, 4)
    if (width, height) != (hands.width, hands.height):
        how = cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR
        layer = np.asarray(cv2.resize(layer, (hands.width, hands.height), interpolation=how))
    out = image.copy()
    touched = np.nonzero(layer[..., 3] > 0)
    mixed = out[touched] * (1 - OPACITY * layer[touched][:, 3:]) + OPACITY * layer[touched][:, :3]
    out[touched] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return out


def skeleton(image: np.ndarray, joints2d: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The 21 joints and their bones over a picture, as a new picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        joints2d: (21, 2) pixels; joints that are not finite, and their bones, are left out.
        colour: RGB, 0 to 255.
    """
    out = np.ascontiguousarray(image).copy()
    thick = max(1, round(max(out.shape[:2]) / 300))
    good = np.asarray((np.isfinite(joints2d) & (np.abs(joints2d) < 1e6)).all(1))
    points = np.round(np.where(good[:, None], joints2d, 0) * 16).astype(int).tolist()  # 4 bits after the point
    for parent, child in BONES:
        if good[parent] and good[child]:
            cv2.line(out, points[parent], points[child], colour, thick, cv2.LINE_AA, 4)
    for joint, point in enumerate(points):
        if good[joint]:
            cv2.circle(out, point, (thick + 1) * 16, colour, -1, cv2.LINE_AA, 4)
    return out


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str] | None = None, columns: int = 4, tile: int = 256
) -> np.ndarray:
    """Many pictures on one white sheet, row by row, each fitted into a square, with a line of text under each.

    Args:
        pictures: (H, W, 3) or (H, W) uint8 each, of any size.
        captions: one for each picture, or None; text that does not fit is cut, letters beyond ASCII become "?".
        columns: pictures in a row.
        tile: pixels, the side of a square.

    Returns:
        (rows * (tile + strip), columns * tile, 3) uint8, the strip being there only with captions.

    Raises:
        ValueError: there is no picture, no column, or another number of captions than pictures.
    """
    if not pictures or columns < 1:
        raise ValueError("a contact sheet needs at least one picture and one column")
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"there are {len(pictures)} pictures but {len(captions)} captions")
    strip = 0 if captions is None else max(14, tile // 12)
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (tile + strip), columns * tile, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (tile + strip), i % columns * tile
        colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
        small = _fit(colour, tile)
        h, w = small.shape[:2]
        y, x = top + (tile - h) // 2, left + (tile - w) // 2
        sheet[y : y + h, x : x + w] = small
        if captions is not None:
            text = np.full((strip, tile, 3), 255, np.uint8)
            line = captions[i].encode("ascii", "replace").decode()
            cv2.putText(text, line, (3, strip - 4), cv2.FONT_HERSHEY_SIMPLEX, strip / 36, (20, 20, 20), 1, cv2.LINE_AA)
            sheet[top + tile : top + tile + strip, left : left + tile] = text
    return sheet


def _fit(picture: np.ndarray, tile: int) -> np.ndarray:
    """The picture (H, W, 3) reduced or enlarged until its longer side is `tile`."""
    height, width = picture.shape[:2]
    factor = tile / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=how))


def _check(image: np.ndarray, hands: TwoHands) -> None:
    if image.dtype != np.uint8 or image.shape != (hands.height, hands.width, 3):
        raise ValueError(
            f"the picture is {image.shape} {image.dtype}, but the hands belong to one of "
            f"{(hands.height, hands.width, 3)} uint8"
        )


def draw(hands: TwoHands, width: int, height: int, normals: bool = False) -> Drawn:
    """Draw all meshes into a picture of this size, which may be a reduced or enlarged one of the hands' own.

    Args:
        hands: what was found; hands of other people are drawn too. The nearest is seen.
        width: pixels.
        height: pixels.
        normals: find `shares` and `normals` too.
    """
    present: tuple[Hand, ...] = hands.everyone
    if not present:
        empty, nothing = np.zeros((height, width), np.float32), np.zeros((0, 3), np.float32)
        none = np.zeros(0, np.int64)
        return Drawn(empty, empty.astype(np.uint8), none, none, nothing, nothing)
    sx, sy = width / hands.width, height / hands.height
    fx, fy, cx, cy = hands.camera.K
    K = np.array([fx * sx, fy * sy, (cx + 0.5) * sx - 0.5, (cy + 0.5) * sy - 0.5])
    starts = np.cumsum([0, *(len(hand.vertices) for hand in present[:-1])])
    vertices = np.concatenate([hand.vertices for hand in present]).astype(np.float32)
    faces = np.concatenate([hand.faces + start for hand, start in zip(present, starts)])
    of_face = np.concatenate([np.full(len(hand.faces), SIDES.index(hand.side) + 1, np.uint8) for hand in present])
    own_face = np.concatenate([np.arange(len(hand.faces)) for hand in present])
    triangle, depth = rasterize(vertices, faces, K, width, height)
    pixels = np.flatnonzero(triangle >= 0)
    shown = triangle.reshape(-1)[pixels]
    label = np.zeros(height * width, np.uint8)
    label[pixels] = of_face[shown]
    shares = found = None
    if normals:
        shares, found = _surface(vertices, faces, triangle, depth, pixels, K)
    return Drawn(depth, label.reshape(height, width), pixels, own_face[shown], shares, found)


def _surface(
    vertices: np.ndarray, faces: np.ndarray, triangle: np.ndarray, depth: np.ndarray, pixels: np.ndarray, K: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """At `pixels` (P,): (P, 3) float32 what each corner of the triangle counts there, and (P, 3) float32 unit normals of
    the surface, smooth over the mesh, turned towards the camera.
    """
    a, b, c = vertices[faces].transpose(1, 0, 2)
    across = np.cross(b - a, c - a)
    sums = np.stack(
        [np.bincount(faces.reshape(-1), np.repeat(across[:, k], 3), minlength=len(vertices)) for k in range(3)], 1
    )
    smooth = (sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-20)).astype(np.float32)
    # what b and c count at a point p, the shares of the triangle's area, are linear: (p - a) . grow
    wide = (across**2).sum(1, keepdims=True) + np.float32(1e-30)
    grow_b, grow_c = np.cross(c - a, across) / wide, np.cross(across, b - a) / wide
    fx, fy, cx, cy = K.astype(np.float32)
    shares, out = np.empty((len(pixels), 3), np.float32), np.empty((len(pixels), 3), np.float32)
    for start in range(0, len(pixels), 1 << 18):
        at = pixels[start : start + (1 << 18)]
        face = triangle.reshape(-1)[at]
        y, x = np.divmod(at, triangle.shape[1])
        z = depth.reshape(-1)[at]
        point = np.stack([(x - cx) / fx * z, (y - cy) / fy * z, z], 1).astype(np.float32)
        away = point - a[face]
        wb = np.clip(np.einsum("pk,pk->p", away, grow_b[face]), 0, 1)
        wc = np.clip(np.einsum("pk,pk->p", away, grow_c[face]), 0, 1 - wb)
        own = np.stack([1 - wb - wc, wb, wc], 1)
        mixed = np.einsum("pi,pik->pk", own, smooth[faces[face]])
        mixed[np.einsum("pk,pk->p", mixed, point) > 0] *= -1
        shares[start : start + len(at)] = own
        length = np.sqrt(np.einsum("pk,pk->p", mixed, mixed))
        out[start : start + len(at)] = mixed / (length[:, None] + np.float32(1e-12))
    return shares, out
