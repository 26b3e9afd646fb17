"""What hands and arms wear: rings, watches, bracelets, cuffs of gloves, sleeves with folds."""

from __future__ import annotations

import functools

import numpy as np

from ..hand_model import load_hand_model
from .appearance import Clothes, Mesh, tube_faces
from .person import Person, arm_rings
from .rotations import cross, norm
from .skin_shader import AMOUNTS

AROUND = 24
RING_PLACE = 0.62
"""Where on the first phalanx a ring sits: past the web's crease, well before the next joint."""
GOLD, ROSE, SILVER, STEEL = (1.0, 0.72, 0.32), (0.95, 0.62, 0.5), (0.92, 0.92, 0.9), (0.5, 0.5, 0.53)


def amounts(**given: float) -> np.ndarray:
    """(len(AMOUNTS),) a material by name; what is not given is 0."""
    return np.array([given.get(name, 0.0) for name in AMOUNTS], np.float32)


@functools.lru_cache(maxsize=8)
def ring_anchor(finger: int) -> tuple[np.ndarray, np.ndarray]:
    """(AROUND, 3) vertices and their shares, sum 1: where rays square to the bone leave the skin of the first phalanx.

    The same for both sides, since both have the same vertices. Thumb 0 .. little finger 4; the thumb's is its
    proximal phalanx too.
    """
    model = load_hand_model()
    template, faces = model.template.numpy().astype(np.float64), model.faces.numpy()
    first = 3 * finger + (2 if finger == 0 else 1)
    a, b = model.centres.numpy()[[first, first + 1]].astype(np.float64)
    place = a + RING_PLACE * (b - a)
    bone = (b - a) / np.linalg.norm(b - a)
    own = faces[np.linalg.norm(template[faces].mean(1) - place, axis=1) < 0.02]
    own = own[(model.part.numpy()[own] == first).any(1)]
    p = template[own]
    e1, e2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    side = np.cross(bone, [0, 0, 1.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, bone)
    vertices, shares = np.zeros((AROUND, 3), np.int64), np.zeros((AROUND, 3))
    for k, angle in enumerate(np.arange(AROUND) / AROUND * 2 * np.pi):
        way = np.cos(angle) * side + np.sin(angle) * up
        h = np.cross(way, e2)
        det = (e1 * h).sum(1)
        det = np.where(np.abs(det) < 1e-15, 1e-15, det)
        s = place - p[:, 0]
        u = (s * h).sum(1) / det
        q = np.cross(s, e1)
        v = (way * q).sum(1) / det
        t = (e2 * q).sum(1) / det
        hit = (u > -1e-6) & (v > -1e-6) & (u + v < 1 + 1e-6) & (t > 0)
        best = np.flatnonzero(hit)[t[hit].argmin()]
        vertices[k], shares[k] = own[best], [1 - u[best] - v[best], u[best], v[best]]
    return vertices, shares


def ring_loop(vertices: np.ndarray, finger: int) -> np.ndarray:
    """(AROUND, 3) the skin of a posed hand (V, 3) where a ring sits on the finger."""
    index, share = ring_anchor(finger)
    return (vertices[index] * share[..., None]).sum(1)


def band(loop: np.ndarray, half_width: float, half_height: float, clearance: float) -> np.ndarray:
    """(R, L, 3) rings of vertices of a closed band about a loop (L, 3): a rounded profile, never inside the loop.

    Lengths in metres: half its width along the loop's axis, half its height off the skin, how far off it begins.
    """
    centre = loop.mean(0)
    spoke = loop - centre
    after = np.concatenate([spoke[1:], spoke[:1]])
    axis = np.array(
        [(spoke[:, i] * after[:, j] - spoke[:, j] * after[:, i]).sum() for i, j in ((1, 2), (2, 0), (0, 1))]
    )
    axis /= norm(axis)
    spoke = spoke - (spoke @ axis)[:, None] * axis
    radius = np.sqrt((spoke * spoke).sum(1, keepdims=True))
    around = (np.concatenate([radius[-1:], radius[:-1]]) + 2 * radius + np.concatenate([radius[1:], radius[:1]])) / 4
    round_ = np.maximum(radius, around) + clearance
    profile = np.arange(9) / 8 * 2 * np.pi
    out, along = half_height * (1 - np.cos(profile)), half_width * np.sin(profile)
    unit = spoke / radius
    return centre + unit * (round_ + out[:, None, None]) + axis * along[:, None, None]


def _mesh(rings: np.ndarray, colour: np.ndarray, gloss: tuple[float, float, float], material: np.ndarray) -> Mesh:
    """Rings (R, L, 3) joined into a mesh of one colour (3,) or one for each ring (R, 3)."""
    f32 = np.float32
    count = rings.shape[0] * rings.shape[1]
    colours = np.broadcast_to(np.atleast_2d(colour)[:, None], (*rings.shape[:2], 3)).reshape(-1, 3)
    return Mesh(
        rings.reshape(-1, 3).astype(f32),
        tube_faces(*rings.shape[:2]),
        np.ascontiguousarray(colours, f32),
        np.tile(np.array(gloss, f32), (count, 1)),
        (rings - rings[0].mean(0)).reshape(-1, 3).astype(f32),
        np.zeros(count, np.uint8),
        amounts=material,
    )


def _metal(rng: np.random.Generator) -> np.ndarray:
    metals = np.array([GOLD, ROSE, SILVER, STEEL])
    return metals[rng.choice(4, p=[0.4, 0.1, 0.35, 0.15])] * rng.uniform(0.8, 1.0)


def finger_ring(rng: np.random.Generator, vertices: np.ndarray, finger: int) -> list[Mesh]:
    """A metal band on the finger's first phalanx of a posed hand (V, 3), sometimes with a stone on the back."""
    loop = ring_loop(vertices, finger)
    wide, high = rng.uniform(0.0008, 0.0022), rng.uniform(0.0004, 0.0008)
    meshes = [_mesh(band(loop, wide, high, 0.0002), _metal(rng), (0.5, 0.0, 0.0), amounts(metal=0.9))]
    if rng.random() < 0.25:
        centre = loop.mean(0)
        # the ring's angles start at the bone x palm and go by the palm: three quarters round is the back
        back = loop[3 * AROUND // 4] - centre
        size = rng.uniform(0.0014, 0.003)
        at = centre + back * (1 + (2 * high + 0.4 * size) / norm(back))
        polar, around = np.linspace(0, np.pi, 6)[:, None], np.arange(10) / 10 * 2 * np.pi
        sphere = np.stack(
            [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around], 2
        )
        colour = rng.uniform(0.0, 0.9, 3) ** 2
        meshes.append(_mesh(at + sphere * size, colour, (0.6, 0.0, 0.0), amounts(metal=0.3)))
    return meshes


def on_wrist(
    rng: np.random.Generator, loop: np.ndarray, back: np.ndarray, outward: np.ndarray, length: float, widen: float
) -> list[Mesh]:
    """A watch or a bracelet on the arm, 15 to 45 mm from the wrist.

    Args:
        rng: draws kind, place, size and colours.
        loop: (L, 3) the wrist's loop, camera frame.
        back: (3,) unit, out of the back of the hand.
        outward, length, widen: of `arm_rings`.
    """
    place = rng.uniform(0.015, 0.045)
    row = place / length
    if rng.random() < 0.4:
        around = arm_rings(loop, outward, length, widen, np.array([row]))[0]
        colour = _metal(rng) if rng.random() < 0.5 else rng.uniform(0.01, 0.8, 3)
        metal = 0.9 if rng.random() < 0.5 else 0.0
        high = rng.uniform(0.0008, 0.0025)
        wide = high * rng.uniform(1.0, 3.0)
        return [_mesh(band(around, wide, high, 0.0006), colour, (0.3, 0.05, 0.0), amounts(metal=metal))]
    half = rng.uniform(0.007, 0.011)
    rows = np.array([place - half, place - half, place + half, place + half]) / length
    thick = np.array([0.98, 1.07, 1.07, 0.98])[:, None, None]
    rings = arm_rings(loop, outward, length, widen, rows)
    centres = rings.mean(1, keepdims=True)
    strap_metal = rng.random() < 0.35
    colour = _metal(rng) if strap_metal else rng.uniform(0.01, 0.6, 3) ** 1.5
    strap = _mesh(centres + (rings - centres) * thick, colour, (0.12, 0.05, 0.1), amounts(metal=0.7 * strap_metal))
    across = cross(outward, back)
    across /= norm(across)
    normal = cross(across, outward)
    spokes = (rings[1] - centres[1]) * 1.07
    top = (spokes @ normal).max()
    radius, high = rng.uniform(0.014, 0.019), rng.uniform(0.004, 0.008)
    sides = 20 if rng.random() < 0.7 else 4  # round, or a smart watch's square
    turn = (np.arange(sides) + 0.5) / sides * 2 * np.pi
    rim = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * outward
    middle = (centres[1, 0] + centres[2, 0]) / 2
    level = [
        (radius, top - 0.004),
        (radius, top + high),
        (0.86 * radius, top + high),
        (0.84 * radius, top + 0.9 * high),
    ]
    rings = np.stack([middle + rim * r + normal * h for r, h in [*level, (1e-4, top + 0.9 * high)]])
    face = np.full(3, rng.uniform(0.005, 0.04)) if rng.random() < 0.6 else rng.uniform(0.3, 0.9, 3)
    case = _metal(rng)
    dial = _mesh(rings, np.stack([case, case, case, face, face]), (0.25, 0.0, 0.0), amounts(metal=0.45))
    return [strap, dial]


def sleeve(
    rng: np.random.Generator,
    loop: np.ndarray,
    outward: np.ndarray,
    length: float,
    widen: float,
    start: float,
    clothes: Clothes | None = None,
) -> Mesh:
    """A sleeve, of any colour or as `clothes` say, from share `start` of the arm to its end; folds denser near its hem."""
    share = np.linspace(0, 1, 13) ** 1.3
    rows = np.concatenate([[start + 0.02, start], start + (1 - start) * share[1:], [1.09, 1.15]])
    rings = arm_rings(loop, outward, length, widen, rows)
    centres = rings.mean(1, keepdims=True)
    count = rings.shape[1]
    angle = np.arange(count) / count * 2 * np.pi
    wide = rng.uniform(1.12, 1.5)
    amount = rng.uniform(0.01, 0.07)
    waves, phase = rng.uniform(4, 9), rng.uniform(0, 6.3, 3)
    skew = rng.uniform(-1.5, 1.5)
    along = (rows - start)[:, None] * waves * 2 * np.pi
    fold = np.sin(along * (1.4 - 0.4 * rows[:, None]) + skew * np.sin(angle + phase[0]) * 2 + phase[1])
    fold = fold + 0.6 * np.sin(2 * angle + phase[2] + 0.7 * along)
    radius = (wide + 0.25 * rows[:, None] + amount * fold)[..., None]
    radius[0] *= 0.93  # the hem's inside
    rings = centres + (rings - centres) * radius
    colour = rng.uniform(0.05, 0.95, 3) ** 2.2 if rng.random() < 0.4 else np.full(3, rng.uniform(0.01, 0.75))
    stripe = rng.uniform(0.05, 0.95, 3) ** 2.2 if rng.random() < 0.2 else colour
    if clothes is not None:
        colour, stripe = clothes.colour, clothes.stripe
    colours = np.tile(colour, (len(rows), 1))
    colours[3::3] = stripe
    colours[0] *= 0.5
    return _mesh(rings, colours, (rng.uniform(0, 0.02), 0.05, rng.uniform(0.08, 0.35)), amounts())


def worn_by(
    rng: np.random.Generator,
    person: Person,
    vertices: np.ndarray,
    loop: np.ndarray,
    back: np.ndarray,
    outward: np.ndarray,
    length: float,
    widen: float,
    clothes: Clothes | None = None,
) -> list[Mesh]:
    """What one hand (V, 3) and its arm wear; see `on_wrist` for the rest. Mostly nothing or a sleeve.

    `clothes` are those of the body behind, if one is seen; None: a sleeve is drawn, or none.
    """
    meshes: list[Mesh] = []
    if person.glove is not None:
        rings = arm_rings(loop, outward, length, widen, np.array([-0.03, -0.03, 0.0, 0.035, 0.06, 0.06]))
        centres = rings.mean(1, keepdims=True)
        thick = np.array([1.0, 1.06, 1.08, 1.1, 1.12, 0.98])[:, None, None]
        meshes.append(_mesh(centres + (rings - centres) * thick, person.glove, (0.05, 0.1, 0.1), amounts()))
    elif rng.random() < 0.16:
        for finger in rng.choice(5, rng.choice([1, 1, 1, 2]), replace=False, p=[0.04, 0.2, 0.26, 0.4, 0.1]):
            meshes.extend(finger_ring(rng, vertices, int(finger)))
    start = np.inf
    if clothes is not None:
        start = max(clothes.cuff, 0.04) if clothes.cuff < 1 else start
    elif rng.random() < 0.55:
        start = rng.uniform(0.04, 0.25) if rng.random() < 0.65 else rng.uniform(0.25, 0.7)
    if start < 1:
        meshes.append(sleeve(rng, loop, outward, length, widen, start, clothes))
    if rng.random() < 0.22 and start * length > 0.06 and person.glove is None:
        meshes.extend(on_wrist(rng, loop, back, outward, length, widen))
    return meshes
