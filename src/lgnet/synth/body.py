"""A person to whom the hands belong, and bystanders: arms up to the shoulders, torso, neck and a head with a face.

Faces are what a finder of hands takes for hands most easily: skin, of a hand's size, lit like the hands. Metres, camera
frame (x right, y down, z forward). Measures are about those of the median adult of ANSUR II (Gordon et al., 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.sample import FACE
from .appearance import Clothes, Mesh, Skin, plain_mesh, tube, tube_faces
from .rotations import rotation_about

FOREARM = 0.25
UPPER_ARM = 0.28
SHOULDER = 0.17
"""Metres: wrist to elbow, elbow to shoulder, shoulder to the body's middle."""
HEAD = np.array([0.076, 0.115, 0.096])
"""Half width, height and depth of a head."""


@dataclass(frozen=True)
class Body:
    """Where a person stands. `axes` rows: the person's right, up, and forward; `neck` between the shoulders."""

    neck: np.ndarray  # (3,)
    axes: np.ndarray  # (3, 3)
    scale: float
    shoulders: np.ndarray  # (2, 3) right, left
    elbows: tuple[np.ndarray | None, np.ndarray | None]  # None: that arm is out of sight


def _axes(rng: np.random.Generator, turn: float) -> np.ndarray:
    """(3, 3) rows right, up, forward of somebody before the camera who is turned by about `turn` radians."""
    yaw, roll, lean = rng.normal(0, turn), rng.normal(0, 0.12), rng.normal(0.05, 0.15)
    turned = rotation_about(np.array([0, 1.0, 0]), yaw) @ rotation_about(np.array([1.0, 0, 0]), lean)
    turned = turned @ rotation_about(np.array([0, 0, 1.0]), roll)
    return np.array([[-1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]]) @ turned.T


def find_body(
    rng: np.random.Generator, wrists: Sequence[np.ndarray | None], arms: Sequence[np.ndarray | None], hands: np.ndarray
) -> Body | None:
    """A body whose arms could hold these hands, or None where none is found or it stands behind the camera.

    Args:
        rng: draws where it stands.
        wrists: (3,) right and left, None where that hand is not in the picture.
        arms: (3,) unit, from the wrist to the elbow.
        hands: (N, 3) points of the hands, which the body must not touch.
    """
    depths = [w[2] for w in wrists if w is not None]
    if any(arm is not None and arm[2] < -0.45 for arm in arms):
        return None  # the arm comes from the camera's side: one's own hand
    for _ in range(10):
        scale = rng.uniform(0.85, 1.1)
        axes = _axes(rng, 0.4)
        right, up, forward = axes
        reach = up * rng.uniform(0.1, 1) - forward * rng.uniform(-0.1, 0.9) + right * rng.normal(0, 0.15)
        reach *= UPPER_ARM * scale / np.linalg.norm(reach)
        elbows = [None if w is None else w + a * FOREARM * scale for w, a in zip(wrists, arms)]  # type: ignore[operator]
        out = (SHOULDER * scale * right, -SHOULDER * scale * right)
        necks = [e + reach - o for e, o in zip(elbows, out) if e is not None]
        neck = np.mean(necks, 0)
        shoulders = np.stack([neck + o for o in out])
        lengths = [np.linalg.norm(s - e) for s, e in zip(shoulders, elbows) if e is not None]
        if (
            min(lengths) < 0.6 * UPPER_ARM * scale
            or max(lengths) > 1.35 * UPPER_ARM * scale
            or neck[2] < np.mean(depths)
        ):
            continue
        if _touches(hands, neck, axes, scale):
            continue
        return Body(neck, axes, scale, shoulders, tuple(elbows))  # type: ignore[arg-type]
    return None


def bystander(rng: np.random.Generator, depth: float, K: np.ndarray, size: int) -> Body:
    """Somebody whose hands are behind the back, `depth` metres away, whose head is in the picture (size pixels)."""
    scale, axes = rng.uniform(0.8, 1.1), _axes(rng, 0.6)
    u, v = rng.uniform(0.05, 0.95) * size, rng.uniform(0.05, 0.75) * size
    head = np.array([(u - K[2]) / K[0], (v - K[3]) / K[1], 1.0]) * depth
    neck = head - 0.23 * scale * axes[1]
    shoulders = np.stack([neck + side * SHOULDER * scale * axes[0] for side in (1, -1)])
    return Body(neck, axes, scale, shoulders, (None, None))


def _touches(points: np.ndarray, neck: np.ndarray, axes: np.ndarray, scale: float) -> bool:
    x, y, z = axes @ (points - neck).T / scale
    torso = (y < 0.04) & (y > -0.7) & ((x / 0.2) ** 2 + (z / 0.14) ** 2 < 1)
    head = ((x / (HEAD[0] + 0.02)) ** 2 + ((y - 0.232) / (HEAD[1] + 0.02)) ** 2 + ((z - 0.03) / 0.13) ** 2) < 1
    return bool((torso | head).any())


def person_meshes(
    rng: np.random.Generator, body: Body, skin: Skin, clothes: Clothes, K: np.ndarray, size: int
) -> list[Mesh]:
    """Torso, legs, neck, head and upper arms, as a picture of `size` pixels and camera K (4,) needs them.

    A head out of the picture is left out, a small one is coarser. The forearms are not this function's.
    """
    s, (right, up, forward) = body.scale, body.axes
    meshes = [_torso(body, clothes)]
    trousers = clothes.stripe * rng.uniform(0.05, 1)
    for side in (1, -1):
        hip = body.neck + s * (side * 0.085 * right - 0.72 * up)
        foot = hip + s * (side * 0.06 * right - 0.75 * up + rng.uniform(-0.1, 0.2) * forward)
        meshes.append(_limb(foot, hip, 0.06 * s, 0.1 * s, trousers, None, clothes))
    base, top = body.neck - 0.05 * s * up, body.neck + 0.16 * s * up + 0.02 * s * forward
    meshes.append(_limb(base, top, 0.062 * s, 0.052 * s, skin.back, skin))
    pitch, yaw = rng.normal(0.05, 0.2), rng.normal(0, 0.35)
    turn = rotation_about(up, yaw) @ rotation_about(right, pitch)
    middle = body.neck + 0.232 * s * up + 0.03 * s * forward
    uv, reach = K[:2] * middle[:2] / middle[2] + K[2:], K[0] * 1.4 * HEAD[1] * s / middle[2]
    if middle[2] > 0.1 and (uv > -reach).all() and (uv < size + reach).all():
        meshes += head(rng, middle, body.axes @ turn.T, s, skin, fine=reach > 0.25 * size)
    for shoulder, elbow, side in zip(body.shoulders, body.elbows, (1, -1)):
        if elbow is None:  # hanging, the forearm behind the back
            elbow = shoulder + s * (side * 0.06 * right - 0.27 * up - 0.03 * forward)
            back = elbow - s * (0.2 * forward + side * 0.12 * right)
            meshes.append(_limb(elbow, back, 0.04 * s, 0.035 * s, clothes.colour, None, clothes))
        cover = np.clip(clothes.cuff - 1, 0, 1)
        if cover > 0:
            meshes.append(_limb(elbow, shoulder, 0.04 * s, 0.05 * s, skin.back, skin))
        start = elbow + cover * (shoulder - elbow)
        meshes.append(_limb(start, shoulder, 0.05 * s, 0.064 * s, clothes.colour, None, clothes))
    return meshes


def _limb(
    start: np.ndarray,
    end: np.ndarray,
    thin: float,
    thick: float,
    colour: np.ndarray,
    skin: Skin | None,
    clothes: Clothes | None = None,
) -> Mesh:
    """A round, closed tube from `start` to `end`."""
    along = end - start
    length = np.linalg.norm(along) + 1e-6
    along = along / length
    across = _cross(along, (0.3, 0.2, 0.9))
    across /= np.linalg.norm(across)
    third = _cross(along, across)
    phi = np.arange(12) / 12 * 2 * np.pi
    ring = np.cos(phi)[:, None] * across + np.sin(phi)[:, None] * third
    t = np.array([-0.7, -0.4, 0.0, 0.25, 0.5, 0.75, 1.0, 1.4, 1.7])
    radius = thin + (thick - thin) * np.clip(t, 0, 1)
    round_off = np.array([0.05, 0.75, 1, 1.04, 1.06, 1.04, 1, 0.75, 0.05])
    # beyond both ends it closes like a ball
    place = np.clip(t, 0, 1) * length + np.where(t < 0, t * thin, 0) + np.where(t > 1, (t - 1) * thick, 0)
    rings = start + place[:, None, None] * along + (radius * round_off)[:, None, None] * ring
    gloss = [0.0, 0.05, clothes.rough] if clothes else [skin.specular, 0.25, skin.mottle] if skin else [0, 0, 0]
    return _body_mesh(tube(rings), colour, gloss)


def _cross(a: np.ndarray, b: Sequence[float] | np.ndarray) -> np.ndarray:
    """(3,) x (3,); NumPy's takes twenty times as long on so few numbers."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _body_mesh(shape: tuple[np.ndarray, np.ndarray], colour: np.ndarray, gloss: Sequence[float]) -> Mesh:
    count = len(shape[0])
    return plain_mesh(
        shape, np.broadcast_to(colour, (count, 3)), np.tile(gloss, (count, 1)), shape[0], casts_shadow=False
    )


_TORSO = np.array(  # height, half width, half depth
    [
        [-0.75, 0.175, 0.12],
        [-0.62, 0.170, 0.115],
        [-0.45, 0.150, 0.10],
        [-0.30, 0.160, 0.11],
        [-0.15, 0.185, 0.12],
        [-0.06, 0.195, 0.11],
        [0.00, 0.185, 0.09],
        [0.035, 0.12, 0.07],
        [0.06, 0.06, 0.05],
        [0.065, 0.01, 0.01],
    ]
)


def _torso(body: Body, clothes: Clothes) -> Mesh:
    phi = np.arange(24) / 24 * 2 * np.pi
    rows = np.repeat(_TORSO, 3, 0)[1:-1]  # finer rings, for stripes
    rows = (rows[:-2] + rows[1:-1] + rows[2:]) / 3
    local = np.stack(
        [
            rows[:, 1:2] * np.cos(phi),
            np.broadcast_to(rows[:, :1], (len(rows), 24)),
            rows[:, 2:] * np.sin(phi),
        ],
        -1,
    )
    shape = tube(body.neck + body.scale * local @ body.axes)
    striped = np.where((np.arange(len(rows)) % 4 < 2)[:, None], clothes.colour, clothes.stripe).repeat(24, 0)
    return _body_mesh(shape, striped, [0.01, 0.05, clothes.rough])


_HAIR = np.array([[0.02, 0.018, 0.015], [0.06, 0.04, 0.025], [0.16, 0.10, 0.05], [0.45, 0.32, 0.16], [0.4, 0.4, 0.4]])


def head(
    rng: np.random.Generator, centre: np.ndarray, axes: np.ndarray, scale: float, skin: Skin, fine: bool = True
) -> list[Mesh]:
    """A head with hair, eyes, brows, nose and mouth, now and then glasses or a beard.

    Args:
        rng: draws the face.
        centre: (3,) of the head.
        axes: (3, 3) rows: the person's right, up and forward.
        scale: 1 for the median adult.
        skin: of the person.
        fine: with a mesh for large pictures of it.
    """
    rows, columns = (56, 72) if fine else (36, 48)
    polar = (np.arange(rows) + 0.5) / rows * np.pi
    turn = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    turn = turn + 0.75 * np.sin(turn)  # 0 and 2 pi are the back: columns crowd about the face at pi
    x = np.sin(polar)[:, None] * np.sin(turn)
    y = np.broadcast_to(np.cos(polar)[:, None], x.shape)
    z = -np.sin(polar)[:, None] * np.cos(turn)
    narrow = 1 - 0.28 * np.clip(-y, 0, 1) ** 2
    radius = HEAD * rng.uniform(0.93, 1.07, 3)

    def bump(at_x: float, at_y: float, wide: float, high: float) -> np.ndarray:
        return np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2) * (z > 0)

    def both(at_x: float, at_y: float, wide: float, high: float) -> np.ndarray:
        return bump(at_x, at_y, wide, high) + bump(-at_x, at_y, wide, high)

    nose = bump(0, -0.22, 0.16, 0.12) + 0.5 * bump(0, -0.02, 0.10, 0.2)
    depth = rng.uniform(0.012, 0.024) * nose - 0.007 * both(0.42, 0.05, 0.2, 0.12) + 0.005 * bump(0, -0.72, 0.3, 0.12)
    depth += 0.005 * both(0.55, -0.2, 0.25, 0.2) + 0.004 * bump(0, -0.48, 0.3, 0.08)

    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.7, 1.3)
    style = rng.choice(4, p=[0.5, 0.15, 0.28, 0.07])  # short, receding, long, none
    line = (0.52, 0.75, 0.5, 2.0)[style] + rng.normal(0, 0.05)
    wavy = line + 0.05 * np.sin(9 * x + rng.uniform(0, 6))
    hairy = np.where(z > 0.1, y > wavy - 0.35 * np.clip(np.abs(x) - 0.75, 0, 1), y > (-0.45, -0.4, -0.9, 2)[style])
    shell = np.where(hairy, rng.uniform(0.004, 0.022), 0.0)
    points = np.stack([x * narrow, y, z], -1) * (radius + shell[..., None])
    points[..., 2] += depth

    albedo = np.broadcast_to(skin.back, (*x.shape, 3)).copy()

    def paint(where: np.ndarray, colour: np.ndarray) -> None:
        share = np.clip(where, 0, 1)[..., None]
        albedo[:] = albedo * (1 - share) + share * colour

    flush = np.array([1.0, 0.72, 0.7])
    paint(0.6 * both(0.5, -0.25, 0.2, 0.15) + 0.5 * bump(0, -0.24, 0.1, 0.08), skin.back * flush)
    if rng.random() < 0.25:  # a beard
        beard = np.clip((-0.28 - y) * 6, 0, 1) * np.clip((z + 0.2) * 4, 0, 1) * rng.uniform(0.3, 0.95)
        paint(beard, hair)
    brows = both(0.42, 0.21, 0.2, rng.uniform(0.02, 0.05))
    paint(1.2 * brows * (0.9 if style != 3 else 0.4), hair * 0.8)
    paint(1.4 * both(0.42, 0.035, 0.17, 0.06), np.array([0.6, 0.57, 0.55]) * (0.4 + 0.6 * skin.back.mean() ** 0.3))
    paint(1.5 * both(0.42 + rng.normal(0, 0.015), 0.035, 0.075, 0.065), np.array([0.05, 0.035, 0.03]))
    paint(0.8 * both(0.42, 0.09, 0.2, 0.022), skin.back * 0.25)  # lids
    paint(0.7 * both(0.09, -0.3, 0.05, 0.03), skin.back * 0.2)  # nostrils
    lips = np.clip(skin.back * [0.85, 0.45, 0.45], 0, 1) * rng.uniform(0.7, 1)
    paint(1.2 * bump(0, -0.5, 0.25, rng.uniform(0.035, 0.06)), lips)
    opened = rng.uniform(0.01, 0.05) if rng.random() < 0.3 else 0.012
    paint(
        1.1 * bump(0, -0.5, 0.2, opened), np.array([0.05, 0.02, 0.02]) if opened < 0.03 else np.array([0.6, 0.55, 0.5])
    )
    if rng.random() < 0.25:  # glasses
        ring = np.zeros_like(x)
        for side in (-0.42, 0.42):
            away = np.sqrt(((x - side) / 0.24) ** 2 + ((y - 0.03) / 0.15) ** 2)
            ring += np.exp(-(((away - 1) / 0.14) ** 2)) * (z > 0)
        ring += np.exp(-(((y - 0.06) / 0.02) ** 2)) * (np.abs(x) > 0.6) * (z > -0.1)
        paint(1.3 * ring, np.full(3, rng.uniform(0.01, 0.2)))
    paint(hairy.astype(float), hair * rng.uniform(0.85, 1.15, (*x.shape, 1)))
    gloss = np.where(
        hairy[..., None], [0.05, 0.0, 0.5], [skin.specular, 0.25, skin.mottle * 0.6] * np.ones((*x.shape, 3))
    )
    world = points * scale @ axes + centre
    faces = tube_faces(rows, columns)
    surface = (albedo.reshape(-1, 3), gloss.reshape(-1, 3), points.reshape(-1, 3))
    mesh = plain_mesh((world.reshape(-1, 3), faces), *surface, casts_shadow=False)
    meshes = [replace(mesh, part=np.where(hairy, 0, FACE).astype(np.uint8).ravel())]
    right, up, forward = axes
    if style == 2:  # long hair falls behind the shoulders
        top = centre - scale * 0.03 * forward
        for side in (-1, 0, 1):
            end = top - scale * (rng.uniform(0.14, 0.3) * up + 0.05 * forward) + side * scale * 0.065 * right
            start = top + side * scale * 0.06 * right
            meshes.append(_limb(start, end, 0.04 * scale, 0.04 * scale, hair, None))
    else:
        for side in (-1, 1):
            ear = centre + scale * (side * (radius[0] - 0.002) * right - 0.005 * up - 0.005 * forward)
            meshes.append(_limb(ear - 0.014 * scale * up, ear + 0.016 * scale * up, 0.011 * scale, 0.014 * scale,
                                skin.back * flush, skin))  # fmt: skip
    return meshes
