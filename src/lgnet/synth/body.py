"""A person to whom the hands belong, and bystanders: arms up to the shoulders, torso, neck and a head with a face.

Faces are what a finder of hands takes for hands most easily: skin, of a hand's size, lit like the hands. Metres, camera
frame (x right, y down, z forward). Measures are about those of the median adult of ANSUR II (Gordon et al., 2014).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np

from ..data.sample import FACE
from .appearance import Clothes, Mesh, Skin, plain_mesh, tube, tube_faces
from .rotations import cross, norm, rotation_about

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
        arms: (3,) as `scene.PlacedHand.arm`.
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
        reach *= UPPER_ARM * scale / norm(reach)
        elbows = [None if w is None else w + a * FOREARM * scale for w, a in zip(wrists, arms)]  # type: ignore[operator]
        out = (SHOULDER * scale * right, -SHOULDER * scale * right)
        necks = [e + reach - o for e, o in zip(elbows, out) if e is not None]
        neck = np.mean(necks, 0)
        shoulders = np.stack([neck + o for o in out])
        lengths = [norm(s - e) for s, e in zip(shoulders, elbows) if e is not None]
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
    rng: np.random.Generator, body: Body, skin: Skin, clothes: Clothes, frame: tuple[np.ndarray, int] | None
) -> list[Mesh]:
    """Torso, legs, neck, head and upper arms, as a picture needs them. The forearms are not this function's.

    Args:
        rng: draws trousers, pose of the head and face.
        body, skin, clothes: of the person.
        frame: camera K (4,) and the picture's size; what is outside is left out (a body casts no shadow), a small head
            is coarser. None: whole and fine, to be seen from anywhere.
    """
    s, (right, up, forward) = body.scale, body.axes
    sides = np.zeros((0, 3)) if frame is None else _sides(*frame)
    meshes = []

    def limb(start: np.ndarray, end: np.ndarray, thin: float, thick: float, colour: np.ndarray, bare: bool) -> None:
        if _seen(start, end, 1.3 * max(thin, thick), sides):
            own = (skin, None) if bare else (None, clothes)
            meshes.append(_limb(start, end, thin, thick, colour, *own))

    if _seen(body.neck - 0.75 * s * up, body.neck + 0.065 * s * up, 0.2 * s, sides):
        meshes.append(_torso(body, clothes))
    trousers = clothes.stripe * rng.uniform(0.05, 1)
    for side in (1, -1):
        hip = body.neck + s * (side * 0.085 * right - 0.72 * up)
        foot = hip + s * (side * 0.06 * right - 0.75 * up + rng.uniform(-0.1, 0.2) * forward)
        limb(foot, hip, 0.06 * s, 0.1 * s, trousers, False)
    base, top = body.neck - 0.05 * s * up, body.neck + 0.16 * s * up + 0.02 * s * forward
    limb(base, top, 0.062 * s, 0.052 * s, skin.back, True)
    pitch, yaw = rng.normal(0.05, 0.2), rng.normal(0, 0.35)
    turn = rotation_about(up, yaw) @ rotation_about(right, pitch)
    middle = body.neck + 0.232 * s * up + 0.03 * s * forward
    fine = _head_in(middle, s, *frame) if frame is not None else True
    if fine is not None:
        meshes += head(rng, middle, body.axes @ turn.T, s, skin, fine)
    for shoulder, elbow, side in zip(body.shoulders, body.elbows, (1, -1)):
        if elbow is None:  # hanging, the forearm behind the back
            elbow = shoulder + s * (side * 0.06 * right - 0.27 * up - 0.03 * forward)
            back = elbow - s * (0.2 * forward + side * 0.12 * right)
            limb(elbow, back, 0.04 * s, 0.035 * s, clothes.colour, False)
        cover = min(max(clothes.cuff - 1, 0), 1)
        if cover > 0:
            limb(elbow, shoulder, 0.04 * s, 0.05 * s, skin.back, True)
        start = elbow + cover * (shoulder - elbow)
        limb(start, shoulder, 0.05 * s, 0.064 * s, clothes.colour, False)
    return meshes


def _head_in(middle: np.ndarray, scale: float, K: np.ndarray, size: int) -> bool | None:
    """Whether a head is large in the picture; None where it is not in it."""
    if middle[2] <= 0.1:
        return None
    uv, reach = K[:2] * middle[:2] / middle[2] + K[2:], K[0] * 1.4 * HEAD[1] * scale / middle[2]
    return bool(reach > 0.25 * size) if (uv > -reach).all() and (uv < size + reach).all() else None


def _sides(K: np.ndarray, size: int) -> np.ndarray:
    """(5, 3) unit normals, outward, of the planes through the camera that bound the picture; the last is its own.

    Nearly a third of the picture's size farther out, so that lenses may bend what is beside it into it.
    """
    fx, fy, cx, cy = (float(k) for k in K)
    low, high = -0.3 * size, 1.3 * size
    sides = np.array([[-fx, 0, low - cx], [fx, 0, cx - high], [0, -fy, low - cy], [0, fy, cy - high], [0, 0, -1.0]])
    return sides / np.sqrt((sides**2).sum(1, keepdims=True))


def _seen(start: np.ndarray, end: np.ndarray, radius: float, sides: np.ndarray) -> bool:
    """Whether any of what lies within `radius` of the line from `start` to `end` can be in the picture."""
    return bool((np.minimum(sides @ start, sides @ end) < radius).all())


_AROUND = np.arange(12) / 12 * 2 * np.pi
_COS, _SIN = np.cos(_AROUND)[:, None], np.sin(_AROUND)[:, None]
# of a limb's rings: where along it, how wide; beyond both ends it closes like a ball
_ALONG = np.array([-0.7, -0.4, 0.0, 0.25, 0.5, 0.75, 1.0, 1.4, 1.7])
_WITHIN, _BEFORE, _AFTER = np.clip(_ALONG, 0, 1), np.minimum(_ALONG, 0), np.maximum(_ALONG - 1, 0)
_WIDE = np.array([0.05, 0.75, 1, 1.04, 1.06, 1.04, 1, 0.75, 0.05])


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
    far = norm(along) + 1e-6
    along = along / far
    across = cross(along, (0.3, 0.2, 0.9))
    across /= norm(across)
    ring = _COS * across + _SIN * cross(along, across)
    place = _WITHIN * far + _BEFORE * thin + _AFTER * thick
    radius = (thin + (thick - thin) * _WITHIN) * _WIDE
    rings = (start + place[:, None] * along)[:, None] + radius[:, None, None] * ring
    gloss = [0.0, 0.05, clothes.rough] if clothes else [skin.specular, 0.25, skin.mottle] if skin else [0, 0, 0]
    return _body_mesh(tube(rings), colour, gloss)


def _body_mesh(shape: tuple[np.ndarray, np.ndarray], colour: np.ndarray, gloss: Sequence[float]) -> Mesh:
    vertices, count = shape[0].astype(np.float32), len(shape[0])
    albedo, shine = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    albedo[:], shine[:] = colour, gloss
    return Mesh(vertices, shape[1], albedo, shine, vertices, np.zeros(count, np.uint8), casts_shadow=False)


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


_FINE, _COARSE = (56, 72), (36, 48)


@functools.lru_cache(maxsize=2)
def _ball(fine: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y, z (N,) of a ball's vertices, ring by ring from the top; more of them where the face is."""
    rows, columns = _FINE if fine else _COARSE
    polar = ((np.arange(rows) + 0.5) / rows * np.pi)[:, None]
    turn = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    turn = turn + 0.75 * np.sin(turn)  # 0 and 2 pi are the back: columns crowd about the face at pi
    x, y, z = np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn, -np.sin(polar) * np.cos(turn)
    return x.ravel(), y.ravel(), z.ravel()


Spot = tuple[float, float, float, float, float]
"""Where (x, y), how wide and high, and how strong."""


def _both(x: float, y: float, wide: float, high: float, strong: float) -> tuple[Spot, Spot]:
    """The same on both sides of the face."""
    return (x, y, wide, high, strong), (-x, y, wide, high, strong)


@numba.njit(cache=True, nogil=True)
def _sum_of_spots(x, y, front, table):
    """(M,) float64: the sum of smooth spots `table` (S, 5), each a `Spot`, at x, y (N,) of the vertices `front` (M,)."""
    out = np.zeros(len(front))
    for m in range(len(front)):
        for s in range(len(table)):
            across, down = (x[front[m]] - table[s, 0]) / table[s, 2], (y[front[m]] - table[s, 1]) / table[s, 3]
            away = across * across + down * down
            if away < 25:
                out[m] += table[s, 4] * np.exp(-away)
    return out


def paint(
    albedo: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    front: np.ndarray,
    layers: Sequence[Sequence[Spot]],
    colours: Sequence[np.ndarray],
) -> None:
    """Lay colours (3,) over albedo (N, 3), in place, one after another, where each layer's spots are."""
    starts = np.cumsum([0, *(len(layer) for layer in layers)])
    _paint(albedo, x, y, front, np.array([s for layer in layers for s in layer], np.float64), starts, np.array(colours))


@numba.njit(cache=True, nogil=True)
def _paint(albedo, x, y, front, table, starts, colours):
    for layer in range(len(colours)):
        share = _sum_of_spots(x, y, front, table[starts[layer] : starts[layer + 1]])
        for m in range(len(front)):
            if share[m] > 0:
                part = min(share[m], 1.0)
                for k in range(3):
                    albedo[front[m], k] += part * (colours[layer, k] - albedo[front[m], k])


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
    x, y, z = _ball(fine)
    front = np.flatnonzero(z > 0)
    narrow = 1 - 0.28 * np.clip(-y, 0, 1) ** 2
    radius = HEAD * rng.uniform(0.93, 1.07, 3)
    nose = rng.uniform(0.012, 0.024)
    bumps = [(0, -0.22, 0.16, 0.12, nose), (0, -0.02, 0.10, 0.2, 0.5 * nose), *_both(0.42, 0.05, 0.2, 0.12, -0.007)]
    bumps += [(0, -0.72, 0.3, 0.12, 0.005), *_both(0.55, -0.2, 0.25, 0.2, 0.005), (0, -0.48, 0.3, 0.08, 0.004)]

    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.7, 1.3)
    style = rng.choice(4, p=[0.5, 0.15, 0.28, 0.07])  # short, receding, long, none
    line = (0.52, 0.75, 0.5, 2.0)[style] + rng.normal(0, 0.05)
    wavy = line + 0.05 * np.sin(9 * x + rng.uniform(0, 6))
    hairy = np.where(z > 0.1, y > wavy - 0.35 * np.clip(np.abs(x) - 0.75, 0, 1), y > (-0.45, -0.4, -0.9, 2)[style])
    shell = np.where(hairy, rng.uniform(0.004, 0.022), 0.0)
    points = np.stack([x * narrow, y, z], -1) * (radius + shell[:, None])
    points[front, 2] += _sum_of_spots(x, y, front, np.array(bumps))

    albedo = np.empty((len(x), 3))
    albedo[:] = skin.back
    back = skin.back
    flush = np.array([1.0, 0.72, 0.7])
    paint(albedo, x, y, front, [(*_both(0.5, -0.25, 0.2, 0.15, 0.6), (0, -0.24, 0.1, 0.08, 0.5))], [back * flush])
    if rng.random() < 0.25:  # a beard
        beard = np.clip((-0.28 - y) * 6, 0, 1) * np.clip((z + 0.2) * 4, 0, 1) * rng.uniform(0.3, 0.95)
        albedo += beard[:, None] * (hair - albedo)
    brows = _both(0.42, 0.21, 0.2, rng.uniform(0.02, 0.05), 1.2 * (0.9 if style != 3 else 0.4))
    white = np.array([0.6, 0.57, 0.55]) * (0.4 + 0.6 * back.mean() ** 0.3)
    iris = _both(0.42 + rng.normal(0, 0.015), 0.035, 0.075, 0.065, 1.5)
    lips = np.clip(back * [0.85, 0.45, 0.45], 0, 1) * rng.uniform(0.7, 1)
    mouth = (0, -0.5, 0.25, rng.uniform(0.035, 0.06), 1.2)
    opened = rng.uniform(0.01, 0.05) if rng.random() < 0.3 else 0.012
    within = np.array([0.05, 0.02, 0.02]) if opened < 0.03 else np.array([0.6, 0.55, 0.5])
    eyes, lids, nostrils = (_both(0.42, 0.035, 0.17, 0.06, 1.4), _both(0.42, 0.09, 0.2, 0.022, 0.8),
                            _both(0.09, -0.3, 0.05, 0.03, 0.7))  # fmt: skip
    layers = [brows, eyes, iris, lids, nostrils, (mouth,), ((0, -0.5, 0.2, opened, 1.1),)]
    colours = [hair * 0.8, white, np.array([0.05, 0.035, 0.03]), back * 0.25, back * 0.2, lips, within]
    paint(albedo, x, y, front, layers, colours)
    if rng.random() < 0.25:  # glasses
        ring = np.zeros_like(x)
        for side in (-0.42, 0.42):
            away = np.sqrt(((x - side) / 0.24) ** 2 + ((y - 0.03) / 0.15) ** 2)
            ring += np.exp(-(((away - 1) / 0.14) ** 2)) * (z > 0)
        ring += np.exp(-(((y - 0.06) / 0.02) ** 2)) * (np.abs(x) > 0.6) * (z > -0.1)
        frame = np.full(3, rng.uniform(0.01, 0.2))
        albedo += np.clip(1.3 * ring, 0, 1)[:, None] * (frame - albedo)
    albedo = np.where(hairy[:, None], hair * rng.uniform(0.85, 1.15, (len(x), 1)), albedo)
    gloss = np.empty((len(x), 3))
    gloss[:] = skin.specular, 0.25, skin.mottle * 0.6
    gloss[hairy] = 0.05, 0.0, 0.5
    world = points * scale @ axes + centre
    mesh = plain_mesh((world, tube_faces(*(_FINE if fine else _COARSE))), albedo, gloss, points, casts_shadow=False)
    meshes = [replace(mesh, part=np.where(hairy, 0, FACE).astype(np.uint8))]
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
