"""Things that hands hold: sized and placed so that the curled fingers go round them. Metres, camera frame."""

from __future__ import annotations

import numba
import numpy as np

from ..hands import BONES
from .appearance import Mesh, plain_mesh, sample_clothes, tube
from .rotations import cross, norm

THICKNESS = 0.0085
"""About half a finger's, so that what is held ends at the skin."""
RING = 12
"""Corners of every thing's cross-section."""


def held_object(rng: np.random.Generator, joints: np.ndarray) -> Mesh | None:
    """Something in a hand of `joints` (21, 3), or None where the hand is too open or too closed to hold anything.

    In the grip: a bottle, can, box, stick or phone along the knuckles, as wide as the fingers leave room for. Between
    the tips of thumb and index finger: a pen, a card or a ball.
    """
    pinching = rng.random() < 0.6
    for make in (_between_tips, _in_grip) if pinching else (_in_grip, _between_tips):
        for _ in range(3):
            thing = make(rng, joints)
            if thing is not None and _clear(thing, joints):
                return thing
    return None


def _clear(thing: Mesh, joints: np.ndarray) -> bool:
    """Whether no finger's bone comes near its surface: points of it, and points half-way between its rings."""
    points = thing.vertices.astype(float)
    rings = points.reshape(-1, RING, 3)
    points = np.concatenate([points, ((rings[1:] + rings[:-1]) / 2).reshape(-1, 3), rings.mean(1)])
    return nearest_bone(points, joints) > 0.6 * THICKNESS


def _in_grip(rng: np.random.Generator, joints: np.ndarray) -> Mesh | None:
    axis = joints[17] - joints[5] + rng.normal(0, 0.008, 3)
    axis /= norm(axis)
    across = joints[9] - joints[0]
    across = across - (across @ axis) * axis
    across /= norm(across)
    plane = np.stack([across, cross(axis, across)])
    flat = joints @ plane.T
    centre = _circle(flat[5:])
    room = nearest_bone(centre[None], flat) - THICKNESS
    radii = np.sqrt(((flat[5:] - centre) ** 2).sum(1))
    # the fingers must go round it: tips on the other side of it than the knuckles
    knuckles, tips = flat[[5, 9, 13, 17]].mean(0) - centre, flat[[8, 12, 16, 20]].mean(0) - centre
    if radii.std() > 0.3 * radii.mean() or not 0.004 < room < 0.045:
        return None
    if knuckles @ tips > 0.3 * norm(knuckles) * norm(tips):
        return None
    middle = centre @ plane + (joints[[5, 9, 13, 17]].mean(0) @ axis) * axis
    length = rng.uniform(0.09, 0.28)
    shift = rng.uniform(-0.3, 0.3) * length
    round_ = rng.random() < 0.6
    wide, deep = (room, room) if round_ else room * np.array([np.cos(t := rng.uniform(0.2, 1.2)), np.sin(t)])
    profile = np.ones(12)
    if round_ and rng.random() < 0.4:  # a bottle's neck, a tool's head: beyond the hand
        beyond = np.linspace(-0.5, 0.5, 12) * length + shift > 0.06
        profile[beyond] = rng.uniform(0.4, 0.7) if room > 0.02 else rng.uniform(1.2, 2.5)
    return _rod(rng, middle + shift * axis, axis, plane, length, wide, deep, not round_, profile)


def _between_tips(rng: np.random.Generator, joints: np.ndarray) -> Mesh | None:
    thumb, index = joints[4], joints[8]
    apart = index - thumb
    room = norm(apart) / 2 - THICKNESS * 0.8
    if not 0.0015 < room < 0.022:
        return None
    apart = apart / norm(apart)
    axis = cross(apart, joints[6] - joints[5]) + rng.normal(0, 0.01, 3)
    axis -= (axis @ apart) * apart
    axis /= norm(axis)
    plane = np.stack([apart, cross(axis, apart)])
    middle = (thumb + index) / 2
    if room > 0.008 and rng.random() < 0.5:  # a ball
        t = np.linspace(-1, 1, 8)
        return _rod(rng, middle, axis, plane, 2 * room, room, room, False, np.sqrt(np.maximum(1 - t * t, 1e-4)))
    if rng.random() < 0.5:  # a pen, a brush, a cigarette
        length = rng.uniform(0.06, 0.16)
        return _rod(
            rng, middle + axis * rng.uniform(-0.35, 0.35) * length, axis, plane, length, room, room, False, np.ones(8)
        )
    # a card, a slip of paper: thin between the tips, standing out from them
    length, deep = rng.uniform(0.05, 0.1), rng.uniform(0.02, 0.04)
    return _rod(rng, middle + plane[1] * deep * 0.8, axis, plane, length, min(room, 0.004), deep, True, np.ones(8))


def _rod(
    rng: np.random.Generator,
    middle: np.ndarray,
    axis: np.ndarray,
    plane: np.ndarray,
    length: float,
    wide: float,
    deep: float,
    square: bool,
    profile: np.ndarray,
) -> Mesh:
    """A closed rod of any colour, sometimes of two; `wide` and `deep` are half its size along `plane`'s rows."""
    phi = (np.arange(RING) + 0.5) / RING * 2 * np.pi
    x, y = np.cos(phi), np.sin(phi)
    if square:
        x, y = x / np.maximum(abs(x), abs(y)), y / np.maximum(abs(x), abs(y))
    ring = x[:, None] * wide * plane[0] + y[:, None] * deep * plane[1]
    t = np.concatenate([[0], np.linspace(0, 1, len(profile)), [1]]) - 0.5
    radius = np.concatenate([[1e-3], profile, [1e-3]])
    shape = tube(middle + t[:, None, None] * length * axis + radius[:, None, None] * ring)
    looks = sample_clothes(rng)
    label = np.zeros(len(t), bool)
    label[3:6] = rng.random() < 0.4
    colour = np.where(label[:, None], looks.stripe if rng.random() < 0.5 else 0.8, looks.colour).repeat(RING, 0)
    gloss = np.tile([rng.uniform(0, 0.3), 0.0, rng.uniform(0, 0.15)], (len(colour), 1))
    return plain_mesh(shape, colour, gloss, shape[0])


def _circle(points: np.ndarray) -> np.ndarray:
    """(2,) centre of the circle that fits (N, 2) points best (Kasa's linear least squares)."""
    rows = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    return np.linalg.lstsq(rows, (points**2).sum(1), rcond=None)[0][:2]


_BONES = np.array(BONES)


@numba.njit(cache=True, nogil=True)
def _nearest_bone(points, joints, bones):
    best = np.inf
    wide = points.shape[1]
    for i in range(len(points)):
        for k in range(len(bones)):
            a, b = bones[k, 0], bones[k, 1]
            along, square = 0.0, 1e-12
            for d in range(wide):
                e = joints[b, d] - joints[a, d]
                along += (points[i, d] - joints[a, d]) * e
                square += e * e
            t = min(max(along / square, 0.0), 1.0)
            away = 0.0
            for d in range(wide):
                gap = points[i, d] - joints[a, d] - t * (joints[b, d] - joints[a, d])
                away += gap * gap
            best = min(best, away)
    return np.sqrt(best)


def nearest_bone(points: np.ndarray, joints: np.ndarray) -> float:
    """Metres from the nearest of points (N, d) to the nearest bone between joints (21, d)."""
    return float(_nearest_bone(points.astype(np.float64), joints.astype(np.float64), _BONES))
