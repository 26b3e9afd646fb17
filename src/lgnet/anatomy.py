"""Anatomical axes of the finger joints, found from the hand's geometry, and poses written in angles.

Angles are (15, 3) radians: flex, spread, twist of thumb CMC, MCP, IP, then MCP, PIP, DIP of index, middle, ring, little.
Flex bends towards the palm (the thumb: across it). Spread moves a finger away from the middle finger, the middle finger
itself towards the thumb, and the thumb away from the palm. Twist turns the finger about its bone, nail towards the
little finger. Zero is the flat hand with straight fingers; the thumb's zero is its rest, already some 40 degrees out.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .geometry import mirror_rotation, rotvec_to_matrix
from .hand_model import HandModel, mirrored


def _limits() -> np.ndarray:
    """(15, 3, 2) radians: least and greatest flex, spread, twist.

    Ranges of normal motion as the American Academy of Orthopaedic Surgeons gives them (Joint Motion: Method of
    Measuring and Recording, 1965): finger MCP 0-90 with hyperextension to 45 passively (20 kept here), PIP 0-100
    (110 kept, fists of slim hands), DIP 0-90 with 10 of hyperextension; thumb MCP 0-50, IP 0-80 with 20 of
    hyperextension, CMC abduction 70. Finger spread is 20-25 degrees at the MCPs. **choice**: the CMC's ranges are
    given relative to the hand's rest, and twist, which nobody measures, is small.
    """
    rows = np.zeros((5, 3, 3, 2))
    rows[1:, 0, 0] = -20, 95
    rows[1:, 1, 0] = -5, 110
    rows[1:, 2, 0] = -10, 90
    rows[1:, 0, 1] = -18, 25
    rows[1:, 0, 2] = -6, 6
    rows[0, 0, 0] = -25, 45
    rows[0, 0, 1] = -25, 40
    rows[0, 0, 2] = -20, 30
    rows[0, 1, 0] = -15, 60
    rows[0, 2, 0] = -25, 80
    rows[0, 1, 1] = -8, 8
    return np.deg2rad(rows.reshape(15, 3, 2))


LIMITS = _limits()


def joint_axes(model: HandModel) -> Float[Tensor, "15 3 3"]:
    """Unit axes (rows: flex, spread, twist) of every finger joint of a RIGHT hand, in its canonical frame.

    For fingers: twist along the bone, flex = bone x palm normal, spread square to both. The thumb's flexion plane
    is square to its nail, which `HandModel.thumb_dorsal` gives.

    Raises:
        ValueError: the model is a left hand; mirror the rotations instead.
    """
    if model.side != "right":
        raise ValueError("joint axes are found on the right hand; mirror its rotations for the left")
    points, centres = model.points.double(), model.centres.double()  # rounded once: the same on every processor
    palm = palm_axes(model)[1].double()
    axes = torch.zeros(15, 3, 3, dtype=torch.float64)
    for finger in range(5):
        chain = [*centres[3 * finger + 1 : 3 * finger + 4], points[4 * finger + 4]]
        inward = palm if finger else -model.thumb_dorsal.double()
        for joint in range(3):
            bone = torch.nn.functional.normalize(chain[joint + 1] - chain[joint], dim=0)
            flex = torch.nn.functional.normalize(torch.linalg.cross(bone, inward), dim=0)
            spread = torch.linalg.cross(flex, bone)  # turns the bone ... see the signs below
            axes[3 * finger + joint] = torch.stack([flex, spread, bone])
    # `spread` = flex x bone points out of the palm's side; a turn about it takes y to -x, away from the thumb: right for
    # ring and little. Index, and by convention middle, spread to the other side.
    axes[3:9, 1] *= -1
    # the thumb's: away from the palm, so that its tip gains height over the palm
    tip = points[4] - centres[1]
    if torch.linalg.cross(axes[0, 1], tip) @ palm < 0:
        axes[0:3, 1] *= -1
    return axes.float()


def palm_axes(model: HandModel) -> Float[Tensor, "2 3"]:
    """Unit directions of a hand of either side in its canonical frame: from wrist to middle knuckle, and out of the palm.

    The second is square to the first and to the plane of wrist, index and little knuckle.
    """
    points = model.points.double()
    along = torch.nn.functional.normalize(points[9] - points[0], dim=0)
    ends = (points[5], points[17]) if model.side == "right" else (points[17], points[5])
    palm = torch.linalg.cross(ends[0] - points[0], ends[1] - points[0])
    return torch.stack([along, torch.nn.functional.normalize(palm - (palm @ along) * along, dim=0)]).float()


@functools.lru_cache(maxsize=4)
def _right_axes(model: HandModel) -> Tensor:
    model = model.to("cpu")
    return joint_axes(model if model.side == "right" else mirrored(model))


def rotations_from_angles(model: HandModel, angles: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch 15 3 3"]:
    """Local rotations of the finger joints from flex, spread and twist (radians), of the model's side.

    The joint twists first, then flexes, then spreads: spread about an axis fixed in the parent.
    """
    axes = _right_axes(model).to(angles)
    flex, spread, twist = rotvec_to_matrix(angles[..., None] * axes).unbind(-3)
    rotations = spread @ flex @ twist
    return rotations if model.side == "right" else mirror_rotation(rotations)


def angles_from_rotations(model: HandModel, rotations: Float[Tensor, "*batch 15 3 3"]) -> Float[Tensor, "*batch 15 3"]:
    """Flex, spread and twist (radians) of local rotations of the model's side: undoes `rotations_from_angles`.

    Every rotation has such angles: flex in -180..180, spread in -90..90 degrees, so that fingers may bend beyond 90.
    At 90 degrees of flex spread and twist turn about the same axis: what there is of them is then called twist.
    """
    right = rotations if model.side == "right" else mirror_rotation(rotations)
    flex_axis, spread_axis, bone = _right_axes(model).to(rotations).unbind(-2)
    across = torch.linalg.cross(flex_axis, bone)  # the spread axis, or against it
    basis = torch.stack([flex_axis, bone, across], -1)
    m = basis.transpose(-1, -2) @ right @ basis  # in these axes: turns about z (spread) x (flex) y (twist)
    side = torch.where(m[..., 1, 1] < 0, -1.0, 1.0).to(m)
    cosine = torch.hypot(m[..., 0, 1], m[..., 1, 1])
    flex = torch.atan2(m[..., 2, 1], side * cosine)
    spread = torch.where(cosine < 1e-5, 0.0, torch.atan2(-side * m[..., 0, 1], side * m[..., 1, 1]))
    row = torch.cos(spread)[..., None] * m[..., 0, :] + torch.sin(spread)[..., None] * m[..., 1, :]
    twist = torch.atan2(row[..., 2], row[..., 0])  # of what is left when spread and flex are taken back
    return torch.stack([flex, spread * (across * spread_axis).sum(-1).sign(), twist], -1)
