"""One person's hands to draw: skin by melanin and blood, its detail, and the arm grown on without a seam."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .appearance import Mesh, Skin, tube_faces
from .rotations import norm
from .skin_shader import AMOUNTS, BLOOD, MELANIN
from .skin_texels import corner_texels

BASE = np.array([0.90, 0.76, 0.63])
"""Linear albedo of skin without melanin and blood. **choice**, with the optical depths: see docs/data.md, "Looks"."""


@dataclass(frozen=True)
class Person:
    """What one person's hands look like."""

    back: np.ndarray  # (3,) linear albedo
    palm: np.ndarray
    amounts: np.ndarray  # (len(AMOUNTS),) see skin_shader.py
    specular: float
    mottle: float
    glove: np.ndarray | None  # (3,) linear colour


def skin_colour(melanin: float, blood: float, warmth: float = 1.0) -> np.ndarray:
    """(3,) linear albedo: light goes through a layer with melanin and one with blood, each as Beer and Lambert say.

    `melanin` 0.1 (very light) .. 2.6 (very dark), `blood` 0.1 .. 0.5, `warmth` 1 or a little less: less blue.
    """
    return BASE * np.exp(-(melanin * MELANIN + blood * BLOOD).astype(np.float64)) * [1.0, 1.0, warmth]


def sample_person(rng: np.random.Generator) -> Person:
    """Any skin from very light to very dark, any grown-up age; now and then painted nails, seldom gloves."""
    melanin = float(np.exp(rng.uniform(np.log(0.12), np.log(2.6))))
    blood, warmth, age = rng.uniform(0.14, 0.34), rng.uniform(0.82, 1.0), rng.random()
    under = 0.10 + 0.27 * melanin  # the palm has little melanin, so that nails and palm stay light
    nail = skin_colour(0.8 * under + 0.2 * melanin, blood + rng.uniform(0.12, 0.26), warmth)
    varnish = rng.random() < 0.1
    if varnish:
        nail = rng.uniform(0.02, 0.8, 3) ** 2
    spots, hairy = rng.random(2)
    amount = {
        "crease": rng.uniform(0.45, 0.8) + 0.5 * age,
        "relief": rng.uniform(0.1, 0.4) + 0.6 * age**2,
        "vein": rng.uniform(0.1, 0.7) * (0.5 + age) / (1 + melanin),
        "blood": rng.uniform(0.5, 1.2),
        "freckle": rng.uniform(0.1, 0.35) if spots < 0.15 + 0.35 * age else 0.0,
        "hair": rng.uniform(0.2, 0.9) if hairy < 0.35 else 0.0,
        "nail": 1.0,
        "nail_red": nail[0],
        "nail_green": nail[1],
        "nail_blue": nail[2],
        "varnish": float(varnish),
        "through": rng.uniform(0.5, 1.0) / (1 + 0.6 * melanin),
        "oil": rng.uniform(0.3, 1.0),
    }
    glove = None
    if rng.random() < 0.05:
        glove = rng.uniform(0.02, 0.8, 3) ** 2 if rng.random() < 0.5 else np.full(3, rng.uniform(0.01, 0.75))
        amount = {"relief": 0.3}
    return Person(
        back=skin_colour(melanin, blood, warmth),
        palm=skin_colour(under, blood + rng.uniform(0.04, 0.16), warmth),
        amounts=np.array([amount.get(name, 0.0) for name in AMOUNTS], np.float32),
        specular=rng.uniform(0.015, 0.08),
        mottle=rng.uniform(0.03, 0.08) if glove is None else rng.uniform(0.05, 0.3),
        glove=glove,
    )


def bare_skin(person: Person) -> Skin:
    """The person's skin without its detail, for face, neck and upper arms."""
    return Skin(person.back, person.palm, person.palm, 0.0, person.specular, min(person.mottle, 0.08))


ROWS = np.array([0.0, 0.05, 0.13, 0.24, 0.4, 0.62, 1.0, 1.08, 1.12])
"""Where the arm's rings of vertices lie, as shares of its length; past 1 the elbow rounds it off."""


def arm_rings(loop: np.ndarray, outward: np.ndarray, length: float, widen: float, rows: np.ndarray) -> np.ndarray:
    """(R, L, 3) rings of a forearm from the wrist's loop (L, 3) on, at shares `rows` (R,) of its length."""
    centre = loop.mean(0)
    ring = loop - centre
    flat = ring - (ring @ outward)[:, None] * outward
    square = np.minimum(rows * 5, 1)[:, None, None]  # the loop is not square to the arm: let its slant fade
    elbow = np.sqrt(1 - np.clip((rows - 1) / 0.12, 0, 0.9998) ** 2)
    grow = ((1 + widen * rows * (2 - rows)) * elbow)[:, None, None]
    return centre + (ring * (1 - square) + flat * square) * grow + outward * (rows * length)[:, None, None]


def hand_and_arm(
    vertices: np.ndarray, arrays: Mapping[str, np.ndarray], person: Person, left: bool, arm: np.ndarray | None
) -> Mesh:
    """A hand (V, 3), camera frame, and the rings of its arm (R, L, 3), the first of which is the wrist's loop.

    Without an arm the wrist is closed. `arrays` is what generate.py knows of the side's model.
    """
    palm = arrays["palm"][:, None]
    hand, grown = len(palm), 0 if arm is None else (len(arm) - 1) * arm.shape[1]
    placed, albedo, gloss, rest = np.empty((4, hand + grown, 3), np.float32)
    placed[:hand], rest[:hand] = vertices, arrays["rest"]
    if person.glove is None:
        albedo[:hand] = person.back * (1 - palm) + person.palm * palm
        shine = person.specular
    else:
        albedo[:hand] = person.glove
        shine = person.specular * 2
    gloss[:hand] = shine, 0.25, person.mottle
    faces, corner = arrays["faces"], _corners(left)
    part = np.zeros(hand + grown, np.uint8)
    part[:hand] = arrays["part"] + 1 + 16 * left
    if arm is not None:
        loop = arrays["loop"]
        length = norm(arm[-1].mean(0) - arm[0].mean(0)) / ROWS[-1]
        placed[hand:] = arm[1:].reshape(-1, 3)
        fade = np.minimum(ROWS[1:] * 4, 1)[:, None, None]
        skin = person.back * (1 - palm[loop]) + person.palm * palm[loop]
        inner = 0.5 * skin + 0.5 * person.back  # the arm's inside is a little lighter than its back
        albedo[hand:] = (skin * (1 - fade) + inner * fade).reshape(-1, 3)
        gloss[hand:] = person.specular, 0.25, min(person.mottle, 0.08)
        below = arrays["rest"][loop][None] + (ROWS[1:] * length)[:, None, None] * [0, -1, 0]
        rest[hand:] = below.reshape(-1, 3)
        faces, corner = _joined(left, hand, arm.shape[1])
    return Mesh(placed, faces, albedo, gloss, rest, part, corner=corner, amounts=person.amounts)


@functools.lru_cache(maxsize=2)
def _corners(left: bool) -> np.ndarray:
    """Texels at the corners of a side's faces; the left hand's faces are turned round."""
    return np.ascontiguousarray(corner_texels()[:, ::-1]) if left else corner_texels()


@functools.lru_cache(maxsize=2)
def _joined(left: bool, hand: int, around: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces and corners of a hand without its cap and an arm whose first ring is the wrist's loop."""
    from ..hand_model import load_hand_model

    model = load_hand_model("lgnet", "left" if left else "right")
    count = len(model.uv_faces)
    tube = tube_faces(len(ROWS), around) + hand - around
    loop = model.wrist_loop.numpy()
    tube = np.where(tube < hand, loop[np.minimum(tube - hand + around, around - 1)], tube)
    # a face's label is that of its first corner: the arm's own, not the loop's, which is the hand's
    tube = tube[:, [2, 1, 0]] if left else tube[:, [2, 0, 1]]
    faces = np.concatenate([model.faces.numpy()[:count], tube]).astype(np.int32)
    corner = np.concatenate([_corners(left)[:count], np.full((len(tube), 3, 2), -1, np.float32)])
    return faces, corner
