"""What a hand's skin shows that its mesh does not: creases, palm lines, veins, tendons, nails, freckles, hair.

Made by code in the hand's UV space once a process, from places on the flat mean hand, so that the maps fit every shape
and pose. Nothing here is drawn at random per picture: people differ in how strongly they show each channel.
Lengths within this module are millimetres; "distal" is towards the fingertip.
"""

from __future__ import annotations

import functools

import cv2
import numba
import numpy as np

from ..anatomy import joint_axes
from ..hand_model import HandModel, load_hand_model
from .skin_texels import SIZE, Texels, corner_texels, curve, noise, pick, skin_texels, smooth_step, spread, to_curve

CHANNELS = (
    "crease_u",  # gradients of the height of creases and grain along the map's columns and rows, STEP mm a texel
    "crease_v",
    "relief_u",  # the same of veins and tendons
    "relief_v",
    "crease",  # 0..1, how deep in a crease or line
    "vein",  # 0..1
    "blood",  # -1..1, redder or paler than the rest
    "freckle",  # 0..1
    "nail",  # 0..1
    "nail_light",  # -1..1, the moon and the free edge are lighter, the border is darker
    "hair",  # 0..1
)
STEP = 0.5
"""Millimetres of height from one texel to the next that the gradients' 127 stands for."""
LEVELS = 4


@functools.lru_cache(maxsize=1)
def detail_maps() -> tuple[np.ndarray, ...]:
    """LEVELS maps (S, S, C) int8 of CHANNELS, each half the size of the one before; 127 stands for 1.

    The gradients of a level are a texel of that level.
    """
    model = load_hand_model()
    texels = skin_texels(model)
    rng = np.random.default_rng(20261121)
    layers = {name: np.zeros(len(texels.palm)) for name in ("height", "relief", *CHANNELS[4:])}
    _grain(layers, texels)
    _finger_creases(layers, texels, model)
    _palm_lines(layers, texels, rng)
    _tendons_and_veins(layers, texels, model)
    _blood(layers, texels, model)
    uneven = 0.75 + 0.45 * noise(texels.place, 7.0, 6.0)  # no crease is as deep all along
    layers["crease"] *= np.clip(uneven, 0.25, 1)
    _nails(layers, texels, model)
    _freckles(layers, texels, rng)
    images = spread(texels, layers)
    images["hair"] = _hair(texels, model, rng) * (images["nail"] == 0)
    full = np.stack([*_slopes(images["height"]), *_slopes(images["relief"]), *(images[n] for n in CHANNELS[4:])], 2)
    levels = []
    for level in range(LEVELS):
        if level:
            full = (full[0::2, 0::2] + full[1::2, 0::2] + full[0::2, 1::2] + full[1::2, 1::2]) / 4
            full[..., :4] *= 2
        values = np.rint(np.clip(full, -1, 1) * 127).astype(np.int8)
        values.flags.writeable = False
        levels.append(values)
    return tuple(levels)


def _slopes(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients along columns and rows, in STEP mm a texel."""
    rows, columns = np.gradient(height)
    return columns / STEP, rows / STEP


def _groove(
    layers: dict[str, np.ndarray],
    where: np.ndarray,
    distance: np.ndarray,
    strength: np.ndarray,
    depth: float,
    width: float,
):
    """Cut a line into the texels `where` (n,): `distance` (n,) mm from it, `strength` (n,) 0..1, `depth` and half `width` mm."""
    _cut(layers["height"], layers["crease"], where, distance, strength, depth, min(1.0, depth / 0.45), width)


@numba.njit(cache=True)
def _cut(height, crease, where, distance, strength, depth, dark, width):
    for k in range(len(where)):
        if strength[k] > 0 and abs(distance[k]) < 3 * width:
            i = where[k]
            profile = strength[k] * np.exp(-((distance[k] / width) ** 2))
            height[i] -= depth * profile
            crease[i] = max(crease[i], dark * profile)


def _grain(layers: dict[str, np.ndarray], texels: Texels) -> None:
    """The net of fine furrows that skin is, coarser on the back of the hand."""
    fine, coarse = noise(texels.place, 1.1), noise(texels.place, 2.3, 5.0)
    furrows = np.abs(fine) * 0.06 + np.abs(coarse) * 0.09 * (1 - 0.6 * texels.palm)
    layers["height"] += furrows


def _finger_creases(layers: dict[str, np.ndarray], texels: Texels, model: HandModel) -> None:
    """Flexion creases on the palm's side at each joint and the web; wrinkles over the knuckles on the back."""
    axes = joint_axes(model).numpy().astype(np.float64)
    centres = model.centres.numpy()[1:] * 1000.0
    for finger in range(5):
        where = np.flatnonzero(texels.finger[:, finger + 1] > 0.45)
        own = pick(texels, where)
        palmar, dorsal = smooth_step(own.palm, 0.35, 0.75), smooth_step(own.palm, 0.3, 0.02)
        wobble = 0.5 * noise(own.place, 5.0, 3.0)
        of_finger = smooth_step(own.finger[:, finger + 1], 0.45, 0.8)
        chain = centres[3 * finger : 3 * finger + 3]
        for joint in range(3):
            flex, _, bone = axes[3 * finger + joint]
            along = (own.place - chain[joint]) @ bone + wobble
            across = (own.place - chain[joint]) @ flex
            lines: list[tuple[float, float, float]]  # place along the bone, depth, half width
            if joint == 0:
                web = 0.42 * np.linalg.norm(chain[1] - chain[0])
                lines = [] if finger == 0 else [(web, 0.45, 0.8), (web + 2.2, 0.18, 0.6)]
            elif joint == 1:
                lines = [(-1.2, 0.45, 0.8), (1.6, 0.3, 0.7)] if finger else [(-1.0, 0.3, 0.8), (2.4, 0.16, 0.6)]
            else:
                lines = [(-1.0, 0.42, 0.75)] if finger else [(-1.2, 0.42, 0.8), (1.8, 0.22, 0.7)]
            for place, depth, width in lines:
                _groove(layers, where, along - place + 0.012 * across**2, palmar * of_finger, depth, width)
            if joint == 0 or (finger == 0 and joint == 1):
                continue
            last = joint == 2
            narrow = 1 - np.clip(across / 9, -1, 1) ** 2 * 0.55  # wrinkles run together at the sides
            fade = dorsal * of_finger * np.exp(-((across / (4.5 if last else 6.0)) ** 2))
            places = (-2.4, -0.6, 1.3) if last else (-5.6, -3.7, -1.9, 0.0, 1.9, 4.2)
            for place in places:
                depth = (0.13 if last else 0.22) * (1 - 0.07 * abs(place))
                _groove(layers, where, along - place * narrow, fade, depth, 0.6)


# (x, y) mm on the flat right palm, x to the thumb, y to the fingers; drawn after anatomy books' plain diagrams
PALM_LINES: dict[str, tuple[tuple[float, float], ...]] = {
    "distal transverse": ((-43, 60), (-33, 64), (-20, 67), (-6, 72), (5, 80), (10, 90)),
    "proximal transverse": ((36, 73), (26, 71), (12, 65), (-3, 57), (-18, 49), (-30, 43)),
    "thenar": ((36, 72), (25, 68), (14, 58), (6, 44), (3, 30), (5, 16), (8, 9)),
}
_MINOR_LINES = (
    ((-2, 14), (-5, 34), (-8, 54), (-8, 68)),
    ((14, 64), (17, 58), (22, 50)),
    ((-14, 20), (-20, 32), (-28, 40)),
    ((18, 84), (12, 80), (3, 76)),
    ((-28, 75), (-24, 69), (-18, 67)),
    ((16, 40), (24, 44), (30, 52)),
    ((-34, 30), (-26, 27), (-18, 26)),
    ((-38, 44), (-30, 42), (-20, 44)),
)
_WRIST_LINES = (((-24, 1.5), (0, 3.5), (22, 2.5)), ((-24, 6), (-4, 8), (22, 7)))


def _palm_lines(layers: dict[str, np.ndarray], texels: Texels, rng: np.random.Generator) -> None:
    """The three main lines of the palm, some minor ones and those before the wrist."""
    where = np.flatnonzero((texels.palm > 0.4) & (texels.finger[:, 0] > 0.1))
    texels = pick(texels, where)
    palmar = smooth_step(texels.palm, 0.4, 0.8) * smooth_step(texels.finger[:, 0], 0.1, 0.4)
    xy = texels.place[:, :2] + 0.5 * np.stack([noise(texels.place, 6.0, 1.0), noise(texels.place, 6.0, 9.0)], 1)
    groups = ((tuple(PALM_LINES.values()), 0.5, 0.85), (_MINOR_LINES, 0.15, 0.6), (_WRIST_LINES, 0.25, 0.7))
    for lines, depth, width in groups:
        for points in lines:
            distance, along = to_curve(xy, curve(points), 4.0)
            ends = smooth_step(along, -0.05, 0.08) * smooth_step(along, 1.0, 0.75)
            _groove(layers, where, distance, palmar * ends, depth, width)
    for _ in range(40):  # short scratches in all directions
        start = rng.uniform([-38, 5], [34, 85])
        way = rng.uniform(0, np.pi)
        end = start + rng.uniform(5, 12) * np.array([np.cos(way), np.sin(way)])
        middle = (start + end) / 2 + rng.normal(0, 0.8, 2)
        distance, along = to_curve(xy, curve(np.stack([start, middle, end]), 4), 3.0)
        _groove(
            layers,
            where,
            distance,
            palmar * smooth_step(along, 0, 0.2) * smooth_step(along, 1, 0.8),
            rng.uniform(0.05, 0.11),
            0.5,
        )


# (x, y) mm, seen through the hand from the palm's side: the net of the back
_VEINS = (
    ((20, 4), (19, 22), (13, 38), (14, 54), (19, 72), (14, 86)),
    ((13, 38), (2, 47), (-2, 62), (-9, 78), (-9, 90)),
    ((-18, 6), (-15, 24), (-20, 40), (-17, 56), (-25, 70), (-27, 80)),
    ((-20, 40), (-29, 52), (-34, 62)),
    ((-17, 56), (-9, 64), (-2, 62)),
    ((19, 22), (28, 32), (32, 40)),
    ((14, 54), (7, 64), (6, 80)),
)


def _tendons_and_veins(layers: dict[str, np.ndarray], texels: Texels, model: HandModel) -> None:
    """Extensor tendons fan out from the wrist to the knuckles; veins wind over them."""
    where = np.flatnonzero((texels.palm < 0.25) & (texels.finger[:, 0] > 0.15))
    texels = pick(texels, where)
    dorsal = smooth_step(texels.palm, 0.25, 0.0) * smooth_step(texels.finger[:, 0], 0.15, 0.5)
    relief, vein = np.zeros(len(where)), np.zeros(len(where))
    xy = texels.place[:, :2]
    knuckles = model.points.numpy()[[5, 9, 13, 17], :2] * 1000.0
    for k, knuckle in enumerate(knuckles):
        start = np.array([5.0 - 3.5 * k, 14.0])
        distance, along = to_curve(xy, np.stack([start, knuckle]), 12.0)
        relief += 0.7 * dorsal * np.exp(-((distance / 2.6) ** 2)) * smooth_step(along, 0.15, 0.5)
        # knuckles stand out, with a dip between them
        bump = np.exp(-((np.linalg.norm(xy - knuckle, axis=1) / 6.5) ** 2))
        relief += 0.9 * dorsal * bump
    bent = xy + 1.3 * np.stack([noise(texels.place, 13.0, 2.0), noise(texels.place, 13.0, 7.0)], 1)
    for points in _VEINS:
        distance, along = to_curve(bent, curve(points), 7.0)
        strength = dorsal * smooth_step(along, -0.05, 0.1) * smooth_step(along, 1.0, 0.7)
        relief += 0.5 * strength * np.exp(-((distance / 1.6) ** 2))
        vein = np.maximum(vein, strength * np.exp(-((distance / 1.9) ** 2)))
    layers["relief"][where], layers["vein"][where] = relief, vein


def _blood(layers: dict[str, np.ndarray], texels: Texels, model: HandModel) -> None:
    """Fingertips, knuckles and the balls of the palm are redder, the palm's hollow paler, all of it patchy."""
    centres = model.centres.numpy() * 1000.0
    points = model.points.numpy() * 1000.0
    palmar = smooth_step(texels.palm, 0.3, 0.8)
    blood = 0.22 * noise(texels.place, 9.0, 4.0) + 0.16 * noise(texels.place, 3.5, 8.0)

    for finger in range(5):
        where = np.flatnonzero(texels.finger[:, finger + 1] > 0.01)
        place, back = texels.place[where], 1 - palmar[where]
        spots = [(points[4 * finger + 4], 13.0, 0.65)]
        spots += [(centres[3 * finger + 1 + joint], 11.0, (0.2, 0.45, 0.35)[joint] * back) for joint in range(3)]
        for middle, radius, amount in spots:
            x, y, z = (place - middle).T
            blood[where] += amount * np.exp(-(x * x + y * y + z * z) / radius**2)
    xy = texels.place[:, :2]
    for x, y, radius, amount in ((22, 40, 18, 0.4), (-26, 34, 19, 0.4), (-6, 78, 30, 0.25), (-3, 48, 14, -0.35)):
        blood += (
            amount * palmar * texels.finger[:, 0] * np.exp(-((xy[:, 0] - x) ** 2 + (xy[:, 1] - y) ** 2) / radius**2)
        )
    layers["blood"] = blood


def _nails(layers: dict[str, np.ndarray], texels: Texels, model: HandModel) -> None:
    """Rounded plates with a moon, a lighter free edge and a groove about them."""
    centres, tips = model.centres.numpy() * 1000.0, model.points.numpy()[4::4] * 1000.0
    axes = joint_axes(model).numpy().astype(np.float64)
    template, mask, part = model.template.numpy() * 1000.0, model.nail.numpy(), model.part.numpy()
    for finger in range(5):
        last = 3 * finger + 3
        centre = centres[last]
        bone = tips[finger] - centre
        length = np.linalg.norm(bone)
        side = axes[last - 1, 0]
        own = template[(part == last) & (mask > 0)] - centre
        low, high = (own @ bone / length).min() - 0.3, min((own @ bone / length).max() + 0.6, 0.97 * length)
        half = np.abs(own @ side - (own @ side).mean()).max() * 0.94
        where = np.flatnonzero((texels.finger[:, finger + 1] > 0.5) & (texels.palm < 0.3))
        where = where[(texels.place[where] - centre) @ bone > 0]
        local = texels.place[where] - centre
        x = (local @ side - (own @ side).mean()) / half
        y = (local @ bone / length - (low + high) / 2) / ((high - low) / 2)  # -1 at the moon, 1 at the free edge
        # millimetres inside a rounded rectangle, about
        x2, y2 = x * x, y * y
        inside = (1 - np.sqrt(np.sqrt(x2 * x2 + np.where(y < 0, y2, y2 * y2)))) * half
        plate = smooth_step(inside, -0.35, 0.35)
        layers["nail"][where] = plate
        layers["crease"][where] *= 1 - plate
        layers["height"][where] *= 1 - plate
        border = np.exp(-((inside / 0.6) ** 2)) * np.where(y > 0.75, 0.3, 1.0)
        layers["height"][where] -= 0.3 * border
        layers["crease"][where] = np.maximum(layers["crease"][where], 0.5 * border * (1 - plate))
        moon = 0.55 * smooth_step(np.hypot(x / 0.62, (y + 1.0) / 0.42), 1.1, 0.85) * plate
        edge = 0.8 * smooth_step(y + 0.10 * x**2, 0.84, 0.92) * plate
        layers["nail_light"][where] = moon + edge - 0.7 * border * plate * (1 - edge)


def _freckles(layers: dict[str, np.ndarray], texels: Texels, rng: np.random.Generator) -> None:
    """Small brown spots strewn over the back."""
    back = np.flatnonzero((texels.palm < 0.1) & (layers["nail"] == 0))
    chosen = rng.choice(back, 90, replace=False)
    _dab(layers["freckle"], texels.place, back, chosen, rng.uniform(0.5, 1.6, 90), rng.uniform(0.3, 1, 90))


@numba.njit(cache=True)
def _dab(layer, place, where, chosen, radius, strength):
    """Paint round spots on the texels `where` about those `chosen`."""
    for i in where:
        for k in range(len(chosen)):
            j = chosen[k]
            reach = 2.5 * radius[k]
            dx, dy, dz = place[i, 0] - place[j, 0], place[i, 1] - place[j, 1], place[i, 2] - place[j, 2]
            if abs(dx) < reach and abs(dy) < reach:
                value = strength[k] * np.exp(-(dx * dx + dy * dy + dz * dz) / radius[k] ** 2)
                layer[i] = max(layer[i], value)


def _hair(texels: Texels, model: HandModel, rng: np.random.Generator) -> np.ndarray:
    """(SIZE, SIZE) 0..1: short strokes on the back, denser on the little finger's side, and on the first phalanges."""
    picture = np.zeros((SIZE, SIZE), np.uint8)
    corners = corner_texels().astype(np.float64)
    triangles = model.template.numpy().astype(np.float64)[model.faces.numpy()] * 1000
    near_root = model.part.numpy()[model.faces.numpy()[texels.face, 0]]
    where = np.flatnonzero((texels.palm < 0.08) & ((near_root % 3 == 1) | (texels.finger[:, 0] > 0.6)))
    chance = np.clip(0.5 - texels.place[where, 0] / 60, 0.08, 1) * smooth_step(texels.place[where, 1], 120, 60)
    for index in rng.choice(where, 420, replace=False, p=chance / chance.sum()):
        face = texels.face[index]
        a, b, c = triangles[face]
        way = np.array([-0.45 + rng.normal(0, 0.25), 0.9, 0.0])  # hair lies distal and towards the little finger
        e1, e2 = b - a, c - a
        d11, d12, d22, d1, d2 = e1 @ e1, e1 @ e2, e2 @ e2, e1 @ way, e2 @ way
        share = np.array([d22 * d1 - d12 * d2, d11 * d2 - d12 * d1]) / (d11 * d22 - d12 * d12)
        step = share @ (corners[face, 1:] - corners[face, 0]) * rng.uniform(2.5, 5.5)
        start = np.array([texels.column[index], texels.row[index]])
        ends = [tuple(int(v) for v in np.rint(p)) for p in (start, start + step)]
        cv2.line(picture, ends[0], ends[1], int(rng.integers(110, 255)), 1)
    return picture / 255.0
