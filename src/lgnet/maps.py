"""Hands as maps at the picture's size, for other tools: depth, normals, mask, parts, texture coordinates, and depth and
normals as image generators take them. docs/outputs.md holds the conventions.

All are made of one drawing of the meshes (`visualize.draw`), the nearest hand in front, so that at a pixel they agree
and their silhouettes are the same.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np

from .hands import SIDES, TwoHands
from .visualize import Drawn, draw

RIGHT_LABEL, LEFT_LABEL = 1, 2


def _draw(hands: TwoHands) -> Drawn:
    return draw(hands, hands.width, hands.height, normals=True)


def depth_map(hands: TwoHands, drawn: Drawn | None = None) -> np.ndarray:
    """(H, W) uint16: distance along the optical axis in millimetres, 0 where there is no hand; 65535 is that or more."""
    return np.clip(np.round((drawn or _draw(hands)).depth * 1000), 0, 65535).astype(np.uint16)


def normal_map(hands: TwoHands, drawn: Drawn | None = None) -> np.ndarray:
    """(H, W, 3) uint8: (n + 1) / 2 of the unit normal n in the camera frame (x right, y down, z forward), background 0.

    A surface that faces the camera has z towards 0, one that faces right has x towards 255.
    """
    drawn = drawn or _draw(hands)
    assert drawn.normals is not None
    return _picture(drawn, np.round((drawn.normals + 1) * 127.5), np.zeros(3, np.uint8))


def mask(hands: TwoHands, drawn: Drawn | None = None) -> np.ndarray:
    """(H, W) uint8: 0 no hand, 1 a right hand, 2 a left one; the nearer one where both are.

    Times 127 it is a picture people can look at: 0 black, 127 the right hand, 254 the left.
    """
    return (drawn or _draw(hands)).label


def part_map(hands: TwoHands, drawn: Drawn | None = None) -> np.ndarray:
    """(H, W) uint8: 0 no hand, 1 to 16 the right hand's parts, 17 to 32 the left's, as the synthetic pictures have them.

    A part is what one of the 16 joints moves, in the order of `hands.ROTATION_NAMES` (1 the palm with the wrist, 2 to 4
    the thumb from CMC to tip, 5 to 7 the index finger, ...); a pixel has the part of its triangle's nearest corner.

    Raises:
        ValueError: the meshes are not those of the result's hand model.
    """
    drawn = drawn or _draw(hands)
    assert drawn.shares is not None
    nearest = drawn.shares.argmax(1)
    side = drawn.label.reshape(-1)[drawn.pixels]
    part = np.zeros(len(drawn.pixels), np.uint8)
    for label, model in _models(hands):
        own = side == label
        corner = model.faces.numpy()[drawn.face[own], nearest[own]]
        part[own] = model.part.numpy()[corner] + 1 + 16 * (label - 1)
    return _picture(drawn, part, np.uint8(0))


def uv_map(hands: TwoHands, drawn: Drawn | None = None) -> np.ndarray:
    """(H, W, 3) uint16: u * 65535, v * 65535 (the hand model's texture coordinates, v up as in OBJ), and 0 no hand, 1 a
    right hand, 2 a left one: as the synthetic pictures have them. On the wrist's cut u and v are 0.

    Raises:
        ValueError: the hand model has no texture coordinates, or the meshes are not its.
    """
    drawn = drawn or _draw(hands)
    assert drawn.shares is not None
    side = drawn.label.reshape(-1)[drawn.pixels]
    out = np.zeros((len(drawn.pixels), 3), np.uint16)
    out[:, 2] = side
    for label, model in _models(hands):
        if not len(model.uvs):
            raise ValueError(f"the hand model {model.name} has no texture coordinates; leave uv out of --save")
        own = np.flatnonzero((side == label) & (drawn.face < len(model.uv_faces)))
        corners = model.uvs.numpy()[model.uv_faces.numpy()[drawn.face[own]]]
        uv = (drawn.shares[own, :, None] * corners).sum(1)
        out[own, :2] = np.round(np.clip(uv, 0, 1) * 65535)
    return _picture(drawn, out, np.zeros(3, np.uint16))


def has_uvs(hands: TwoHands) -> bool:
    """Whether the hand model has texture coordinates, which `uv_map` wants."""
    return all(len(model.uvs) for _, model in _models(hands))


def control_depth(hands: TwoHands, drawn: Drawn | None = None) -> np.ndarray:
    """(H, W) uint8 for generators conditioned on depth (as MiDaS gives it): 255 the nearest point, rising with 1 / depth,
    51 the farthest point of the hands, 0 no hand.
    """
    drawn = drawn or _draw(hands)
    out = np.zeros(drawn.depth.shape, np.uint8)
    shown = drawn.depth > 0
    if shown.any():
        inverse = 1 / drawn.depth[shown].astype(np.float64)
        low, high = inverse.min(), inverse.max()
        out[shown] = np.round(51 + 204 * (inverse - low) / max(high - low, 1e-9)) if high > low else 255
    return out


def control_normal(hands: TwoHands, drawn: Drawn | None = None) -> np.ndarray:
    """(H, W, 3) uint8 for generators conditioned on normals, as ControlNet 1.1 takes them: red is left, green is up, blue is
    towards the viewer, 127.5 is square to that; the background looks at the viewer, (128, 128, 255).
    """
    drawn = drawn or _draw(hands)
    assert drawn.normals is not None
    return _picture(drawn, np.round((1 - drawn.normals) * 127.5), np.array([128, 128, 255], np.uint8))


def palette() -> np.ndarray:
    """(33, 3) uint8 RGB of the parts: 0 black; hue by finger, from the thumb's red to the little finger's violet, the palm
    grey; lighter towards the tip; the left hand's paler than the right's.
    """
    hues = (0.0, 0.11, 0.33, 0.52, 0.75)
    rows = [(0.0, 0.0, 0.0)]
    for saturation in (1.0, 0.45):
        rows.append((0.6, 0.6, 0.6) if saturation == 1 else (0.8, 0.8, 0.8))
        rows += [colorsys.hsv_to_rgb(hue, saturation, value) for hue in hues for value in (0.5, 0.75, 1.0)]
    return np.round(np.array(rows) * 255).astype(np.uint8)


MAPS: dict[str, tuple[tuple[str, Callable[..., np.ndarray]], ...]] = {
    "depth": (("_depth", depth_map),),
    "normal": (("_normal", normal_map),),
    "mask": (("_mask", mask),),
    "part": (("_part", part_map),),
    "uv": (("_uv", uv_map),),
    "control": (("_control_depth", control_depth), ("_control_normal", control_normal)),
}
"""What each kind of `--save` writes: the ends of the names, before .png, and what makes the picture."""


def all_maps(hands: TwoHands, kinds: set[str]) -> dict[str, np.ndarray]:
    """The maps of these kinds by the ends of their names, made of one drawing; nothing for other kinds.

    Raises:
        ValueError: see `part_map` and `uv_map`.
    """
    wanted = [pair for kind, pairs in MAPS.items() if kind in kinds for pair in pairs]
    if not wanted:
        return {}
    drawn = _draw(hands)
    return {ending: make(hands, drawn) for ending, make in wanted}


def _models(hands: TwoHands):
    """The label and the hand model of each side there is."""
    from .hand_model import load_hand_model  # with torch

    for label, side in enumerate(SIDES, 1):
        own = [hand for hand in hands.everyone if hand.side == side]
        if own:
            model = load_hand_model(hands.model["hand_model"], side)
            if any(len(hand.faces) != len(model.faces) for hand in own):
                raise ValueError(f"the {side} hand's mesh is not that of the hand model {model.name}")
            yield label, model


def _picture(drawn: Drawn, values: np.ndarray, background: np.ndarray | np.generic) -> np.ndarray:
    """The values (P, ...) at the drawn pixels, all else background; of the background's type."""
    height, width = drawn.depth.shape
    out = np.empty((height * width, *background.shape), background.dtype)
    out[:] = background
    out[drawn.pixels] = values
    return out.reshape(height, width, *background.shape)
