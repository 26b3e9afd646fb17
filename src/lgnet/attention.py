"""What the LGBlock attends to: how much of each unit's attention goes to each cell of each hand's crop, as pictures.

As the paper shows it: the local unit's attention in red on the right hand and in blue on the left, the global unit's in
one scale over both, each laid over the picture. The network hands its attention out only when it is asked to
(`keep_attention`), so an ordinary prediction neither keeps nor copies it; here it is asked once more, in the same crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .crop import Crop, HandCrops
from .hands import SIDES, TwoHands
from .predict import Model, View
from .visualize import COLOURS

UNITS = ("local", "global")
FINEST = 1280
"""Pixels; maps are laid out at a longer side of no more than this and then enlarged."""
_STRENGTH, _FAINTEST = (
    0.8,
    0.2,
)  # how much of the picture the most and, of the local unit, the least attended cell hides


@dataclass(frozen=True)
class Attention:
    """The attention paid in one picture, and where its crops lie in it."""

    maps: dict[str, np.ndarray]  # by unit, those that the network has: see `to_maps`; (2, g, g)
    crops: HandCrops
    width: int  # of the picture
    height: int


def attend(model: Model, image: np.ndarray, hands: TwoHands) -> Attention | None:
    """The attention behind a result; None where there is no hand, or the network has no LGBlock.

    Args:
        model: that made the result.
        image: (H, W, 3) uint8 RGB, the picture it is of.
        hands: the result; the network looks once more at its boxes.
    """
    there = [hand is not None for hand in (hands.right, hands.left)]
    if not any(there):
        return None
    boxes = np.stack([np.zeros(4) if hand is None else hand.box for hand in (hands.right, hands.left)])
    view = View(image, hands.camera, boxes, np.array(there), np.ones(2))
    output, crops = model.show([view], keep_attention=True)
    kept = output.joint.attention
    maps = {unit: to_maps(kept[unit][0].cpu().double().numpy()) for unit in UNITS if unit in kept}
    return Attention(maps, crops[0], hands.width, hands.height) if maps else None


def to_maps(attention: np.ndarray) -> np.ndarray:
    """(2, g, g) the share of a unit's attention that each cell of the right and of the left crop gets.

    The mean over heads and queries. The two maps and the class token's share, which is left out, sum to one.

    Args:
        attention: (heads, g * g, 2 * g * g + 1) of the unit's last block: each query's over the class token, the right
            crop's cells and the left's, row by row (a left crop cut for itself is mirrored).
    """
    share = attention.mean((0, 1))[1:]
    side = round((len(share) / 2) ** 0.5)
    return share.reshape(2, side, side)


def draw(image: np.ndarray, attention: Attention, unit: str) -> np.ndarray:
    """A unit's attention laid over the picture, as a new picture of its size; crops of hands that are not there are left out.

    Colours go from the unit's least to its most attended cell, but never over less than the share that each would have if
    all had the same: a unit that attends to everything alike looks even, not like noise made large.

    Args:
        image: (H, W, 3) uint8 RGB: the picture the attention is of, or a reduced copy of it.
        attention: from `attend`.
        unit: one of `attention.maps`.
    """
    height, width = image.shape[:2]
    factor = min(1.0, FINEST / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    sides = [side for side in (0, 1) if attention.crops.hands[side] is not None]
    shown = attention.maps[unit][sides]
    least, span = shown.min(), max(shown.max() - shown.min(), 1 / (attention.maps[unit].size + 1))
    alpha = np.zeros((size[1], size[0], 2), np.float32)
    for side in sides:
        crop = attention.crops.hands[side]
        assert crop is not None
        level = (attention.maps[unit][side] - least) / span
        level = level if unit == "global" else _FAINTEST + (1 - _FAINTEST) * level
        alpha[..., side] = lay(level, crop, size, (attention.width, attention.height))
    alpha = np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR))
    if unit == "global":
        level = alpha.max(-1)
        colour = cv2.applyColorMap(np.round(level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
        weight = _STRENGTH * level[..., None]
        return np.round(image * (1 - weight) + colour * weight).astype(np.uint8)
    out = image.astype(np.float32)
    for side in sides:
        weight = _STRENGTH * alpha[..., side, None]
        out = out * (1 - weight) + np.array(COLOURS[SIDES[side]], np.float32) * weight
    return np.round(out).astype(np.uint8)


def lay(values: np.ndarray, crop: Crop, size: tuple[int, int], whole: tuple[int, int]) -> np.ndarray:
    """A crop's map (g, g) where it lies in the picture: (h, w) float32, smooth between cells, 0 outside the crop.

    Args:
        values: row by row as the crop shows it, mirrored if it is.
        crop: the crop.
        size: (w, h) of the result.
        whole: (W, H) of the picture that the crop was cut from; the result shows all of it.
    """
    w, h = size
    u = (np.arange(w) + 0.5) * (whole[0] / w) - 0.5
    v = (np.arange(h) + 0.5) * (whole[1] / h) - 0.5
    place = crop.image_to_crop(np.stack(np.meshgrid(u, v), -1))
    cell = ((place + 1) / 2 * len(values) - 0.5).astype(np.float32)
    cells, edge = values.astype(np.float32), cv2.BORDER_REPLICATE
    found = cv2.remap(cells, cell[..., 0], cell[..., 1], cv2.INTER_CUBIC, borderMode=edge)
    return np.where((np.abs(place) <= 1).all(-1), np.clip(found, cells.min(), cells.max()), np.float32(0))
