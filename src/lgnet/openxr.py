"""The 26 hand joints of OpenXR (XR_EXT_hand_tracking) with orientations and radii, and WebXR's 25 (all but the palm).

An orientation is a frame of axes at a joint, by OpenXR's conventions: -z points along the joint's bone towards the tip,
+y out of the back of the hand (of the nail's side), +x follows by the right hand, on both hands. A tip is turned as the
bone before it. The palm's and the wrist's -z point to the middle finger's knuckle.

lgnet's 21 joints lack the metacarpals' bases and the palm's middle. **choice**: the bases are placed from wrist and
knuckles, which one rigid bone of the hand model carries, by `METACARPALS`; the palm is the middle of the middle
finger's metacarpal, as OpenXR says.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from .anatomy import joint_axes, palm_axes
from .geometry import matrices_of, quaternions_of, rotvecs_of
from .hand_model import HandModel, load_hand_model, mirrored
from .hands import FINGERS, Hand

Space = Literal["camera", "openxr"]
JointSet = Literal["openxr", "webxr"]

JOINTS = (
    "palm",
    "wrist",
    *("thumb_metacarpal", "thumb_proximal", "thumb_distal", "thumb_tip"),
    *(f"{f}_{j}" for f in FINGERS[1:] for j in ("metacarpal", "proximal", "intermediate", "distal", "tip")),
)
"""In the order of XrHandJointEXT."""
FIRST = {"openxr": 0, "webxr": 1}
"""Which of `JOINTS` a set begins with: WebXR has no palm."""

METACARPALS = (0.76, 0.735, 0.68, 0.645)
"""Of index to little: the metacarpal's length over the way from its knuckle to the wrist's level. Metacarpals of 68, 65,
58 and 54 mm (about what Alexander and Viktor measured, Proportions of Hand Segments, 2010) over those ways in the mean
hand."""
ROW = 0.45
"""The fan of the fingers' metacarpals, at the wrist's level over that at the knuckles."""
SLAB, WIDTH, LEAST_SKIN = 0.006, 0.006, 12
"""Metres along and across the bone, and the fewest vertices: the skin about a joint by which its radius goes, see `radii`.
Where the mesh is coarse both lengths grow until there are so many."""

_PUBLIC = (-1, 0, 1, 2, 3, 4, *(j for f in range(1, 5) for j in (-1, *range(4 * f + 1, 4 * f + 5))))
"""Of each of `JOINTS` the public joint at the same place; -1: palm and metacarpals."""
_ROTATION = (0, 0, 1, 2, 3, 3, *(j for f in range(1, 5) for j in (0, 3 * f + 1, 3 * f + 2, 3 * f + 3, 3 * f + 3)))
"""Of each of `JOINTS` the rotation of the hand model that carries its bone."""
_KNUCKLES = (4, 7, 10, 13)
_METACARPAL = (6, 11, 16, 21)
_NEXT = (12, 12, 3, 4, 5, 5, *(min(j + 1, 10 + 5 * f) for f in range(4) for j in range(6 + 5 * f, 11 + 5 * f)))
"""Of each of `JOINTS` where its bone leads; a tip's to itself."""
_START = tuple(j - 1 if joint == j else j for j, joint in enumerate(_NEXT))
_TURN = np.array([1.0, -1.0, -1.0])
"""Camera frame (y down, z forward) <-> OpenXR's (y up, z backward): half a turn about x."""


@dataclass(frozen=True)
class JointPoses:
    """One hand's joints, in the order of `JOINTS` (or, of WebXR, all but its first)."""

    positions: np.ndarray  # (J, 3) metres
    orientations: np.ndarray  # (J, 4) unit quaternions x, y, z, w with w >= 0
    radii: np.ndarray  # (J,) metres, from the joint to the skin


def hand_joints(
    hand: Hand, hand_model: str = "lgnet", space: Space = "openxr", joints: JointSet = "openxr"
) -> JointPoses:
    """A hand's OpenXR or WebXR joints.

    Args:
        hand: from lgnet; joints and pose are those of its record.
        hand_model: whose pose and shape the hand has, as `TwoHands.model` says.
        space: camera: x right, y down, z forward; openxr: x right, y up, z backward. Both have their origin at the camera.
        joints: OpenXR's 26 or WebXR's 25.
    """
    geometry = _geometry(hand_model, hand.side)
    positions = places(hand.joints3d)
    frames = _frames(positions, _world(hand.pose), geometry)
    radius = radii(geometry, hand.shape) * hand.scale
    if space == "openxr":
        positions, frames = positions * _TURN, _TURN[:, None] * frames
    first = FIRST[joints]
    return JointPoses(positions[first:], quaternions_of(rotvecs_of(frames))[first:], radius[first:])


def places(joints3d: np.ndarray) -> np.ndarray:
    """(26, 3) where OpenXR's joints are, of the 21 public joints (21, 3), in their frame and unit."""
    out = np.asarray(joints3d, np.float64)[np.maximum(_PUBLIC, 0)]
    wrist, middle = joints3d[0], joints3d[9]
    for finger, (base, share) in enumerate(zip(_METACARPAL, METACARPALS), start=1):
        knuckle = joints3d[4 * finger + 1]
        out[base] = (1 - share) * knuckle + share * (wrist + ROW * (knuckle - middle))
    out[0] = (out[11] + out[12]) / 2
    return out


@dataclass(frozen=True)
class _Geometry:
    """What does not change with the pose."""

    dorsal: np.ndarray  # (26, 3) towards the back of the hand, in the canonical frame of the flat hand
    joints: np.ndarray  # (21, 3) of the flat mean hand
    joints_basis: np.ndarray  # (21, 3, 10)
    skin: np.ndarray  # (N, 3) the vertices that some radius goes by
    skin_basis: np.ndarray  # (N, 3, 10)
    of: np.ndarray  # (N,) the joint whose radius each goes by


@functools.lru_cache(maxsize=4)
def _geometry(name: str, side: str) -> _Geometry:
    model = load_hand_model(name, side)
    dorsal = _dorsal(model)
    points, basis = model.points.double().numpy(), model.points_basis.double().numpy()
    where = places(points)
    template, part = model.template.double().numpy(), model.part.numpy()
    bones = _bones(where)
    chosen, of = [], []
    for joint in range(len(JOINTS)):
        bone, across = bones[joint], np.cross(bones[joint], dorsal[joint])
        offset = template - where[joint]
        finger = (part + 2) // 3  # 0 the hand, 1..5 thumb to little
        rotation = _ROTATION[joint]
        own = finger == (rotation + 2) // 3
        if rotation in _KNUCKLES:
            own |= finger == 0
        reach = 1.0
        while True:  # wider where the mesh is coarse: back and palm's side both have to be met
            near = own & (np.abs(offset @ bone) < reach * SLAB) & (np.abs(offset @ across) < reach * WIDTH)
            height = (offset @ dorsal[joint])[near]
            met = len(height) >= LEAST_SKIN and height.min() < 0 < height.max()
            if met or reach > 20:  # then it is all of the finger
                break
            reach *= 1.1
        chosen.append(np.flatnonzero(near))
        of.append(np.full(near.sum(), joint))
    index = np.concatenate(chosen)
    return _Geometry(
        dorsal, points, basis, template[index], model.shape_basis.double().numpy()[index], np.concatenate(of)
    )


def _dorsal(model: HandModel) -> np.ndarray:
    """(26, 3) towards the back: of the hand at palm, wrist and metacarpals, else of the bone (the side it bends from)."""
    axes = joint_axes(model if model.side == "right" else mirrored(model))
    back = torch.linalg.cross(axes[:, 2], axes[:, 0]).double().numpy()
    if model.side == "left":
        back = back * [-1, 1, 1]
    hand = -palm_axes(model)[1].double().numpy()
    return np.stack([hand if rotation == 0 else back[rotation - 1] for rotation in _ROTATION])


def radii(geometry: _Geometry, shape: np.ndarray) -> np.ndarray:
    """(26,) metres from the joints to the skin of the flat hand of this shape (10,).

    The mean distance, from the line of the joint's bone, of the vertices at its height on the back and on the palm's
    side: in a strip `WIDTH` to both sides, `SLAB` up and down the bone. So it is half the finger's or hand's thickness
    there; a hand's breadth, or the neighbouring finger, does not count.
    """
    where = places(geometry.joints + geometry.joints_basis @ shape)
    skin = geometry.skin + geometry.skin_basis @ shape
    bones = _bones(where)[geometry.of]
    offset = skin - where[geometry.of]
    distance = np.linalg.norm(offset - (offset * bones).sum(1, keepdims=True) * bones, axis=1)
    return np.bincount(geometry.of, distance) / np.bincount(geometry.of)


def _bones(where: np.ndarray) -> np.ndarray:
    """(26, 3) unit, along each joint's bone; a tip's is the one before it."""
    bones = where[list(_NEXT)] - where[list(_START)]
    return bones / np.maximum(np.linalg.norm(bones, axis=1, keepdims=True), 1e-9)


def _world(pose: np.ndarray) -> np.ndarray:
    """(16, 3, 3) rotations of the bones, canonical -> camera, of the local ones (16, 3) axis-angle."""
    local = matrices_of(pose)
    chain = local[1:].reshape(5, 3, 3, 3)
    first = local[0] @ chain[:, 0]
    second = first @ chain[:, 1]
    return np.concatenate([local[:1], np.stack([first, second, second @ chain[:, 2]], 1).reshape(15, 3, 3)])


def _frames(positions: np.ndarray, world: np.ndarray, geometry: _Geometry) -> np.ndarray:
    """(26, 3, 3) columns x, y, z: z exactly against the bone, y as near as can be to the posed back."""
    z = -_bones(positions)
    back = np.einsum("jab,jb->ja", world[list(_ROTATION)], geometry.dorsal)
    x = np.cross(back, z)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return np.stack([x, np.cross(z, x), z], -1)
