"""What goes into the network, what each stage hands on, and the truth it is compared with.

The axis H is the hand slot: 0 right, 1 left. With separation by crops each hand has its own crop, the left one
mirrored, so everything of the left slot (pictures, joints, rotations, mesh) is that of a right hand in its crop's
frame. With heads both hands share one unmirrored crop. Either way a hand's truth is given in the frame of the crop
that the network sees it in; `lgnet.crop` alone knows the way between crop and camera.

Normalised crop coordinates are -1 and 1 at the crop's outer edges. Lengths are metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PARTS_STRIDE = 8
"""Crop pixels a cell of `Targets.parts` and of the dense head."""


def as_input(crops: np.ndarray, device: torch.device | None = None) -> Float[Tensor, "*n 3 h w"]:
    """Pictures (..., h, w, 3) uint8 RGB -> what networks see, 0..1; they go to the device as bytes."""
    return torch.from_numpy(np.ascontiguousarray(crops)).to(device).movedim(-1, -3).float().div_(255)


@dataclass(frozen=True)
class Inputs:
    """A batch of pictures, cropped."""

    images: Float[Tensor, "B N 3 S S"]  # N = 2 crops (right, left mirrored), or 1 crop of both; RGB in 0..1
    given: Bool[Tensor, "B 2"]  # is there a crop for this hand; a hand without one contributes empty tokens
    geometry: Float[Tensor, "B 2 5"]  # where the other hand's crop lies, `crop.crop_geometry`; zeros for heads


@dataclass(frozen=True)
class Targets:
    """The truth of a batch, in each hand's crop frame; what is not known is marked so and never scored."""

    present: Bool[Tensor, "B 2"]  # the crop shows a hand of this slot's side
    present_known: Bool[Tensor, "B 2"]
    joints2d: Float[Tensor, "B 2 21 2"]  # normalised crop coordinates
    joints2d_valid: Bool[Tensor, "B 2 21"]
    joints3d: Float[Tensor, "B 2 21 3"]  # relative to the wrist
    joints3d_valid: Bool[Tensor, "B 2 21"]
    rotations: Float[Tensor, "B 2 16 3 3"]
    betas: Float[Tensor, "B 2 10"]
    has_params: Bool[Tensor, "B 2"]
    relative: Float[Tensor, "B 3"]  # left wrist minus right wrist, frame of the pair crop (unmirrored)
    has_relative: Bool[Tensor, " B"]
    parts: Int[Tensor, "B 2 P P"]  # 0 not this hand, 1..16 joint + 1; -1 not known; P = crop size / 8
    wrist: Float[Tensor, "B 2 3"]  # metres from the crop's camera; looked at only where parts are known
    tan_half: Float[Tensor, "B 2"]  # of half the crop's angle of view


@dataclass(frozen=True)
class JointOutput:
    """Joint stage."""

    joints25d: Float[Tensor, "B 2 21 3"]  # x, y normalised crop coordinates; z metres relative to the wrist
    spread: Float[Tensor, "B 2 21 3"]  # standard deviation of each joint's heat map, in the units of joints25d
    features: Float[Tensor, "B 2 c h w"]  # F_R, F_L
    interaction: Float[Tensor, "B 2 d h w"]  # F*_R, F*_L
    tokens: Float[Tensor, "B 2 21 e"]  # F_J
    presence_logit: Float[Tensor, "B 2"]
    attention: dict[str, Tensor] = field(default_factory=dict)  # kept only when asked for


@dataclass(frozen=True)
class MeshOutput:
    """Mesh stage: the rough mesh M_r, wrist at the origin, crop frame."""

    rotations: Float[Tensor, "B 2 16 3 3"]
    betas: Float[Tensor, "B 2 10"]
    camera: Float[Tensor, "B 2 3"]  # weak perspective: normalised xy = s * xy (metres) + (tx, ty); (s, tx, ty)
    relative: Float[Tensor, "B 3"]  # left wrist minus right wrist, metres, pair frame
    vertices: Float[Tensor, "B 2 V 3"]
    joints: Float[Tensor, "B 2 21 3"]


@dataclass(frozen=True)
class RefineOutput:
    """Refine stage: M_f = M_r + dM."""

    offsets: Float[Tensor, "B 2 V 3"]
    vertices: Float[Tensor, "B 2 V 3"]
    joints: Float[Tensor, "B 2 21 3"]


@dataclass(frozen=True)
class Output:
    """Everything the network says of a batch."""

    joint: JointOutput
    mesh: MeshOutput
    refine: RefineOutput
    parts_logit: Float[Tensor, "B 2 17 P P"] | None = None
    surface: Float[Tensor, "B 2 3 P P"] | None = None  # where on the hand at rest, decimetres


def to_device(record, device: torch.device | str):
    """The same record of tensors on another device."""
    moved = {f.name: getattr(record, f.name) for f in fields(record)}
    return type(record)(
        **{k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in moved.items()}
    )
