"""Looks: skin, nails, sleeves, forearms, things in the way, and lights. All drawn from a given random generator."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """Something to draw. N vertices, F faces; camera frame, metres; colours linear RGB."""

    vertices: np.ndarray  # (N, 3) float32
    faces: np.ndarray  # (F, 3) int32
    albedo: np.ndarray  # (N, 3)
    gloss: np.ndarray  # (N, 3) specular strength, terminator softness, mottle
    rest: np.ndarray  # (N, 3) metres, ties the texture to the surface
    part: np.ndarray  # (N,) uint8: 0 not a hand, 1..16 right hand's joint + 1, 17..32 left hand's, data.sample.FACE
    casts_shadow: bool = True
    corner: np.ndarray | None = None  # (F, 3, 2) texels of the skin's detail, -1 where there is none
    amounts: np.ndarray | None = None  # material of the new looks, see skin_shader.AMOUNTS


@dataclass(frozen=True)
class Lights:
    """A key light with a shadow, a fill light, sky and ground."""

    key_direction: np.ndarray  # (3,) of travel, unit, camera frame
    key: np.ndarray  # (3,) linear colour
    fill_direction: np.ndarray  # (3,) towards the light
    fill: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    soft: float = 1.0  # how far the shadow's border is blurred, in cells of its map; only in the new looks


@dataclass(frozen=True)
class Skin:
    """One person's skin."""

    back: np.ndarray  # (3,) linear albedo of the back of the hand
    palm: np.ndarray
    nail: np.ndarray
    knuckle: float  # how much redder and darker the joints are
    specular: float
    mottle: float


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.asarray(srgb, np.float64) ** 2.2


# sRGB of forearm skin, light to dark, after the range of the Monk scale's middle
_TONES = np.array(
    [
        [0.95, 0.80, 0.72],
        [0.90, 0.72, 0.60],
        [0.82, 0.62, 0.49],
        [0.71, 0.51, 0.38],
        [0.55, 0.38, 0.27],
        [0.36, 0.24, 0.17],
    ]
)


def sample_skin(rng: np.random.Generator) -> Skin:
    """A skin tone anywhere between very light and very dark, palms lighter and pinker, sometimes painted nails."""
    place = rng.uniform(0, len(_TONES) - 1.001) if rng.random() < 0.6 else rng.uniform(0, 3)
    i = int(place)
    tone = _TONES[i] + (place - i) * (_TONES[i + 1] - _TONES[i])
    tone = np.clip(tone * (1 + rng.normal(0, 0.03, 3)) + [rng.normal(0, 0.015), 0, 0], 0.05, 0.97)
    light = np.array([0.93, 0.74, 0.66])
    palm = tone + (0.25 + 0.25 * place / 5) * (light - tone) + [0.03, -0.01, -0.01]
    nail = palm * [1.02, 0.97, 0.98] if rng.random() < 0.85 else rng.uniform(0.05, 0.95, 3)
    return Skin(
        back=_linear(tone),
        palm=_linear(np.clip(palm, 0, 0.97)),
        nail=_linear(np.clip(nail, 0, 0.97)),
        knuckle=rng.uniform(0.0, 0.35),
        specular=rng.uniform(0.01, 0.10),
        mottle=rng.uniform(0.04, 0.16),
    )


def hand_mesh(
    vertices: np.ndarray,
    faces: np.ndarray,
    rest: np.ndarray,
    nail: np.ndarray,
    palm: np.ndarray,
    part: np.ndarray,
    weight_entropy: np.ndarray,
    skin: Skin,
    left: bool,
) -> Mesh:
    """A hand to draw. `weight_entropy` (V,) 0..1 is high at the creases between bones, where knuckles redden."""
    p = palm[:, None]
    albedo = skin.back * (1 - p) + skin.palm * p
    red = (skin.knuckle * weight_entropy)[:, None]
    albedo = albedo * (1 - red * np.array([0.25, 0.55, 0.55]))
    n = nail[:, None]
    albedo = albedo * (1 - n) + skin.nail * n
    gloss = np.stack(
        [skin.specular + 0.12 * nail, np.full(len(nail), 0.25), skin.mottle * (1 - nail)],
        1,
    )
    label = (part + 1 + 16 * left).astype(np.uint8)
    return Mesh(vertices, faces, albedo.astype(np.float32), gloss.astype(np.float32), rest.astype(np.float32), label)


@dataclass(frozen=True)
class Clothes:
    """What a person wears."""

    colour: np.ndarray  # (3,) linear
    stripe: np.ndarray  # (3,) of every other ring
    rough: float  # strength of the cloth's mottle
    cuff: float  # where the sleeve begins: 0 at the wrist, 1 at the elbow, 2 at the shoulder


def sample_clothes(rng: np.random.Generator) -> Clothes:
    """Any colour, mostly muted, plain or striped; sleeves long, short or in between."""
    one, two = rng.uniform(0.03, 0.95, (2, 3))
    if rng.random() < 0.6:
        one, two = one.mean() + 0.3 * (one - one.mean()), two.mean() + 0.3 * (two - two.mean())
    cuff = (rng.uniform(-0.02, 0.15), rng.uniform(0.15, 0.9), rng.uniform(1.2, 1.8))[rng.choice(3, p=[0.45, 0.2, 0.35])]
    colour = _linear(one)
    return Clothes(colour, _linear(two) if rng.random() < 0.25 else colour, rng.uniform(0.05, 0.4), cuff)


def forearm(
    rng: np.random.Generator,
    loop: np.ndarray,
    outward: np.ndarray,
    length: float,
    skin: Skin,
    clothes: Clothes | None = None,
) -> list[Mesh]:
    """A tapering arm from the wrist's loop, bare or in a sleeve.

    Args:
        rng: draws sleeve, taper and colours.
        loop: (L, 3) vertices round the wrist, camera frame, in order.
        outward: (3,) of a length about 1, from the hand towards the elbow.
        length: metres.
        skin: of the hand.
        clothes: of the person; None: a sleeve is drawn, or none.
    """
    centre = loop.mean(0)
    ring = loop - centre
    rows = np.linspace(0, 1, 7)
    grow = 1 + rng.uniform(0.15, 0.6) * rows
    rings = centre + ring[None] * grow[:, None, None] + outward * (rows * length)[:, None, None]
    # the wrist's loop is not square to the arm: let its slant fade along the way
    slant = (ring @ outward)[None, :, None] * outward * np.minimum(rows * 3, 1)[:, None, None]
    bare = tube(rings - slant)
    count = len(bare[0])
    # continue the hand's texture space: millimetres below the wrist
    around = np.tile(loop - centre, (len(rows), 1)) + np.repeat(rows * length, len(loop))[:, None] * [0, -1, 0]
    albedo = np.tile(skin.back, (count, 1)) * 0.97
    gloss = np.tile([skin.specular, 0.25, skin.mottle], (count, 1))
    meshes = [plain_mesh(bare, albedo, gloss, around)]
    if clothes is None and rng.random() < 0.55:
        start = rng.uniform(0.02, 0.6) if rng.random() < 0.6 else 0.02
        wide = rng.uniform(1.08, 1.45)
        colour = _linear(rng.uniform(0.03, 0.95, 3)) if rng.random() < 0.5 else np.full(3, rng.uniform(0.01, 0.8))
        stripe = _linear(rng.uniform(0.03, 0.95, 3)) if rng.random() < 0.25 else colour
        shine, rough = rng.uniform(0, 0.03), rng.uniform(0.05, 0.4)
        meshes.append(_sleeve(centre, ring, outward, length, start, wide, colour, stripe, shine, rough))
    elif clothes is not None and clothes.cuff < 1:
        start, rough = max(clothes.cuff, 0.02), clothes.rough
        meshes.append(_sleeve(centre, ring, outward, length, start, 1.2, clothes.colour, clothes.stripe, 0.01, rough))
    return meshes


def _sleeve(
    centre: np.ndarray,
    ring: np.ndarray,
    outward: np.ndarray,
    length: float,
    start: float,
    wide: float,
    colour: np.ndarray,
    stripe: np.ndarray,
    shine: float,
    rough: float,
) -> Mesh:
    """From the share `start` of the forearm to its end, `wide` times as wide as the wrist's `ring` about `centre`."""
    rows = np.linspace(start, 1, 6)
    grow = (1 + 0.5 * rows) * wide
    sleeve = centre + (ring - (ring @ outward)[:, None] * outward)[None] * grow[:, None, None]
    shape = tube(sleeve + outward * (rows * length)[:, None, None])
    alternate = (np.arange(len(rows)) % 2 == 0).repeat(len(ring))[:, None]
    albedo = np.where(alternate, colour, stripe)
    return plain_mesh(shape, albedo, np.tile([shine, 0.05, rough], (len(albedo), 1)), shape[0])


def tube(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, L, 3) rings -> vertices (R L, 3) and faces."""
    return rings.reshape(-1, 3), tube_faces(*rings.shape[:2])


@functools.lru_cache(maxsize=8)
def tube_faces(r: int, n: int) -> np.ndarray:
    """(2 (r - 1) n, 3) int32 faces between r rings of n vertices."""
    i, j = np.meshgrid(np.arange(r - 1), np.arange(n), indexing="ij")
    a, b = (i * n + j).ravel(), (i * n + (j + 1) % n).ravel()
    faces = np.concatenate([np.stack([a, b, a + n], 1), np.stack([b, b + n, a + n], 1)]).astype(np.int32)
    faces.flags.writeable = False  # every tube of this size shares it
    return faces


def plain_mesh(
    shape: tuple[np.ndarray, np.ndarray],
    albedo: np.ndarray,
    gloss: np.ndarray,
    rest: np.ndarray,
    casts_shadow: bool = True,
) -> Mesh:
    """A mesh of (vertices (N, 3), faces (F, 3)) that is no hand."""
    vertices, faces = shape
    f32 = np.float32
    zero = np.zeros(len(vertices), np.uint8)
    return Mesh(
        vertices.astype(f32), faces, albedo.astype(f32), gloss.astype(f32), rest.astype(f32), zero, casts_shadow
    )


_SPHERE_RINGS = 8


def occluder(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Mesh:
    """An ellipsoid, a rod or a box of any colour about `centre` (3,), about `radius` metres in size."""
    kind = rng.integers(3)
    t = np.linspace(0, np.pi, _SPHERE_RINGS)
    sides = 4 if kind == 2 else 12
    phi = np.arange(sides) / sides * 2 * np.pi
    profile = np.sin(t) + 1e-3 if kind == 0 else np.where((t > 0) & (t < np.pi), 1.0, 1e-3)
    along = -np.cos(t)
    rings = np.stack(
        [
            profile[:, None] * np.cos(phi),
            profile[:, None] * np.sin(phi),
            np.broadcast_to(along[:, None], (_SPHERE_RINGS, sides)),
        ],
        -1,
    )
    scale = radius * (rng.uniform(0.4, 1.0, 3) if kind != 1 else np.array([0.18, 0.18, rng.uniform(1, 2.5)]))
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    vertices, faces = tube(rings * scale)
    colour = _linear(rng.uniform(0.02, 0.98, 3))
    count = len(vertices)
    gloss = np.tile([rng.uniform(0, 0.25), 0.0, rng.uniform(0, 0.2)], (count, 1))
    return plain_mesh((vertices @ axes.T + centre, faces), np.tile(colour, (count, 1)), gloss, vertices)


def sample_lights(rng: np.random.Generator) -> tuple[Lights, str]:
    """Indoor, daylight, dark studio or flash; also the style's name, since backgrounds go with it."""
    style = ("indoor", "daylight", "studio", "flash")[rng.choice(4, p=[0.5, 0.25, 0.17, 0.08])]
    azimuth = rng.uniform(-np.pi, np.pi)
    height = rng.uniform(0.2, 1.3)
    travel = np.array([np.cos(azimuth) * np.cos(height), np.sin(height), np.sin(azimuth) * np.cos(height)])
    if travel[2] < 0 and rng.random() < 0.7:
        travel[2] *= -1  # mostly from the camera's side
    if style == "flash":
        travel = np.array([rng.normal(0, 0.15), rng.normal(0.1, 0.15), 1.0])
    travel /= np.linalg.norm(travel)
    warm = np.array([1.0, rng.uniform(0.82, 1.0), rng.uniform(0.65, 1.05)])
    cool = np.array([rng.uniform(0.8, 1.0), rng.uniform(0.9, 1.0), 1.0])
    ratio = {"indoor": rng.uniform(0.4, 1.1), "daylight": rng.uniform(0.5, 1.6)}.get(style, rng.uniform(0.4, 1.2))
    ambient = rng.uniform(0.35, 0.7) if style != "studio" else rng.uniform(0.1, 0.4)
    fill_towards = rng.normal(size=3) * [1, 0.5, 0.5] + [0, -0.2, -0.6]
    sky = (warm if style == "indoor" else cool) * ambient
    return (
        Lights(
            key_direction=travel,
            key=warm * ratio,
            fill_direction=fill_towards / np.linalg.norm(fill_towards),
            fill=cool * rng.uniform(0, 0.35),
            sky=sky,
            ground=sky * rng.uniform(0.4, 0.9) * rng.uniform(0.85, 1.0, 3),
        ),
        style,
    )
