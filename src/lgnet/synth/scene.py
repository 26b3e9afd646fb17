"""Scenes: who holds which pose where, seen by which camera. Numbers only; generate.py draws them.

Distances are metres in the camera frame (x right, y down, z forward). A "view" is the direction the fingers point and
the direction the palm faces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..config import SynthConfig
from ..data.sample import KINDS
from ..hands import BONES, LEFT, RIGHT
from .gestures import gesture_pose
from .interaction import load_bank
from .poses import CLASPING, sample_pose, sign_pose
from .posing import finger_rotations, posed
from .rotations import basis, cross, random_rotation, random_turn, rotation_about


@dataclass(frozen=True)
class PlacedHand:
    """One hand of a scene, in the camera frame."""

    rotations: np.ndarray  # (16, 3, 3)
    betas: np.ndarray  # (10,)
    vertices: np.ndarray  # (V, 3) metres
    joints: np.ndarray  # (21, 3)
    arm: np.ndarray  # (3,) from the wrist to the elbow
    """Of length 1 to 1.05: its square is 1 + sin^2 of the wrist's flexion times sin^2 of its deviation."""


@dataclass(frozen=True)
class Scene:
    """The hands there are (right, left; None where there is none) and the camera."""

    kind: str
    hands: tuple[PlacedHand | None, PlacedHand | None]
    K: np.ndarray  # (4,) pixels
    size: int  # the picture is size x size


_MIRROR = np.diag([-1.0, 1.0, 1.0])


def sample_view(rng: np.random.Generator, everyday: float) -> np.ndarray:
    """(3, 3) orientation of a right hand in the camera frame: as people show hands, or any."""
    if rng.random() >= everyday:
        return random_rotation(rng)
    towards = rng.choice(5, p=[0.5, 0.2, 0.08, 0.08, 0.14])
    # fingers up, sideways (either way), down, away from the camera (one's own hand from above)
    roll = np.deg2rad(
        [rng.normal(0, 30), rng.choice([-1, 1]) * rng.normal(75, 25), rng.normal(180, 30), rng.uniform(-180, 180), 0][
            towards
        ]
    )
    fingers = np.array([np.sin(roll), -np.cos(roll), np.tan(np.clip(rng.normal(0, 0.35), -1.2, 1.2))])
    if towards == 4:
        fingers = np.array([rng.normal(0, 0.5), -abs(rng.normal(0.5, 0.4)), 1.0])
    facing = rng.choice(3, p=[0.42, 0.34, 0.24])  # palm, back, edge of the hand to the camera
    palm = np.array([0.0, 0.0, (-1.0, 1.0, -0.05)[facing]])
    if facing == 2:
        palm = palm + cross(fingers, (0.0, 0.0, 1.0)) * rng.choice([-1, 1])
    if towards == 4:
        palm = np.array([0, 1.0, 0.3]) * (1 if rng.random() < 0.8 else -1)
    return rotation_about(fingers, np.deg2rad(rng.normal(0, 25))) @ basis(fingers, palm + 1e-3) @ random_turn(rng, 10)


def sample_gesture(rng: np.random.Generator, config: SynthConfig) -> tuple[np.ndarray, np.ndarray]:
    """(15, 3) what a hand by itself does and (3, 3) how it is seen: as shown to somebody, or drawn independently."""
    if config.signs and rng.random() < config.signs:
        return sign_pose(rng), sample_view(rng, 0.85)
    if config.gestures and rng.random() < config.gestures:
        return gesture_pose(rng), sample_view(rng, max(config.everyday, 0.6))
    return sample_pose(rng, config.everyday), sample_view(rng, config.everyday)


def _place(
    side: int,
    angles: np.ndarray,
    orientation: np.ndarray,
    betas: np.ndarray,
    rng: np.random.Generator,
    wrist_bend: float,
):
    """A hand with its wrist at the origin. `orientation` is a right hand's; a left hand's is seen in the mirror."""
    wrist = _MIRROR @ orientation @ _MIRROR if side == LEFT else orientation
    rotations = np.concatenate([wrist.astype(np.float32)[None], finger_rotations(side, angles)])
    vertices, joints = posed(side, rotations, betas)
    # the arm goes on from the wrist, bent and deviated within what wrists can do (AAOS 1965: 80 and 30 degrees)
    most = min(80.0, 60 / 22 * wrist_bend), min(32.0, 25 / 22 * wrist_bend)
    bend = np.deg2rad(np.clip(rng.normal(0, wrist_bend), -most[0], most[0]))
    deviate = np.deg2rad(np.clip(rng.normal(0, 10 / 22 * wrist_bend), -most[1], most[1]))
    arm = np.array([np.sin(deviate), -np.cos(deviate) * np.cos(bend), np.sin(bend)])
    arm = wrist @ (arm * [-1 if side == LEFT else 1, 1, 1])
    return PlacedHand(rotations, betas, vertices, joints, arm)


def moved(hand: PlacedHand, rotation: np.ndarray, shift: np.ndarray) -> PlacedHand:
    """The hand turned about the origin, then moved."""
    rotations = hand.rotations.copy()
    rotations[0] = rotation @ rotations[0]
    return replace(
        hand,
        rotations=rotations,
        vertices=hand.vertices @ rotation.T + shift,
        joints=hand.joints @ rotation.T + shift,
        arm=rotation @ hand.arm,
    )


def shifted(hand: PlacedHand, shift: np.ndarray) -> PlacedHand:
    """The hand moved by `shift` (3,) metres; float64, like `moved`."""
    f64 = np.float64
    return replace(hand, vertices=hand.vertices.astype(f64) + shift, joints=hand.joints.astype(f64) + shift)


_RADII = np.array([0.012 if child % 4 == 1 else 0.0085 for _, child in BONES])


def _spheres(hand: PlacedHand) -> tuple[np.ndarray, np.ndarray]:
    """(S, 3) centres and (S,) radii that fill the hand: five along each bone, thicker in the palm."""
    ends = hand.joints[np.array(BONES)]
    t = np.linspace(0.1, 0.95, 5)[:, None, None]
    centres = ends[None, :, 0] * (1 - t) + ends[None, :, 1] * t
    return centres.reshape(-1, 3), np.tile(_RADII, 5)


def approach(still: PlacedHand, moving: PlacedHand, direction: np.ndarray, gap: float) -> np.ndarray:
    """(3,) the shift of `moving` along `direction` at which it comes within `gap` metres of `still`, from afar."""
    a, ra = _spheres(still)
    b, rb = _spheres(moving)
    reach = ra[:, None] + rb[None, :] + gap
    offset = a[:, None] - b[None]
    along = offset @ direction
    x, y, z = offset[..., 0], offset[..., 1], offset[..., 2]
    off2 = x * x + y * y + z * z - along**2
    hit = reach**2 - off2
    if not (hit > 0).any():
        return direction * 0.0
    return direction * float((along + np.sqrt(np.maximum(hit, 0)))[hit > 0].max())


_RELATIONS = ("facing", "stacked", "crossed", "beside", "tips", "free")


def _interacting(rng: np.random.Generator, config: SynthConfig, betas: list[np.ndarray]) -> list[PlacedHand]:
    """A right and a left hand that touch or nearly do, in the right hand's canonical frame turned into a view."""
    relation = _RELATIONS[rng.choice(6, p=[0.24, 0.16, 0.18, 0.10, 0.10, 0.22])]
    everyday = config.everyday
    clasp = rng.random() < 0.45 * everyday * 2
    names = CLASPING if clasp else None
    angles = [sample_pose(rng, everyday, names), sample_pose(rng, everyday, names)]
    if relation in ("facing", "tips") and rng.random() < 0.5:
        angles[1] = angles[0] + rng.normal(0, 0.05, (15, 3))
    right = _place(RIGHT, angles[0], np.eye(3), betas[0], rng, config.wrist_bend)
    # the left hand's orientation, as that of the right hand whose mirror picture it is, in the right hand's frame
    # (x thumb, y fingers, z palm)
    towards = np.array([0.0, 0.0, 1.0])
    if relation == "facing":  # palm to palm, as in prayer, clapping, clasping
        wrist = (
            _MIRROR
            @ np.diag([-1.0, 1, -1])
            @ random_turn(rng, 14)
            @ rotation_about(np.array([0, 0, 1.0]), rng.normal(0, 0.5))
            @ _MIRROR
        )
    elif relation == "stacked":  # one palm on the other's back
        wrist, towards = (
            _MIRROR @ rotation_about(np.array([0, 0, 1.0]), rng.normal(0, 0.7)) @ _MIRROR,
            np.array([0, 0, -1.0]),
        )
        if rng.random() < 0.5:
            towards = -towards
    elif relation == "crossed":
        wrist = rotation_about(np.array([0, 0, 1.0]), rng.choice([-1, 1]) * rng.normal(1.5, 0.4)) @ random_turn(rng, 25)
        towards = np.array([0, 0, rng.choice([-1.0, 1.0])])
    elif relation == "beside":  # thumbs together or little fingers together, both palms to one side
        wrist, towards = random_turn(rng, 15), np.array([rng.choice([-1.0, 1.0]), 0, 0])
    elif relation == "tips":  # fingertips meet
        turn = rotation_about(np.array([0, 0, 1.0]), np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.3))
        wrist, towards = turn @ random_turn(rng, 25), np.array([0, 1.0, 0.3])
    else:
        wrist, towards = random_rotation(rng), rng.normal(size=3)
    orientation = _MIRROR @ wrist @ _MIRROR
    left = _place(LEFT, angles[1], orientation, betas[1], rng, config.wrist_bend)
    towards = towards + rng.normal(0, 0.25, 3)
    towards /= np.linalg.norm(towards)
    centre = right.vertices.mean(0) - left.vertices.mean(0)
    aside = rng.normal(0, 0.022, 3) if clasp else rng.normal(0, 0.045, 3)
    left = shifted(left, centre + aside - (aside @ towards) * towards)
    gap = rng.uniform(-0.003, 0.004) if rng.random() < 0.75 else rng.exponential(0.04)
    left = shifted(left, approach(right, left, towards, gap))
    view = sample_view(rng, config.everyday)
    return [moved(hand, view, np.zeros(3)) for hand in (right, left)]


def _from_bank(rng: np.random.Generator, config: SynthConfig) -> list[PlacedHand]:
    """A right and a left hand as the bank has them (interaction.py), half the time in the mirror, turned into a view."""
    bank = load_bank()
    index = rng.integers(len(bank.name))
    first, second = (RIGHT, LEFT) if rng.random() < 0.5 else (LEFT, RIGHT)
    angles, betas = bank.angles[index], bank.betas[index]
    turn, shift = bank.turn[index], bank.shift[index]
    # `_place` wants every orientation as a right hand's; `first` stands for the bank's right hand
    hands: list[PlacedHand | None] = [None, None]
    hands[first] = _place(first, angles[0], np.eye(3), betas, rng, config.wrist_bend)
    other = _place(second, angles[1], _MIRROR @ turn @ _MIRROR, betas, rng, config.wrist_bend)
    hands[second] = shifted(other, shift if second == LEFT else _MIRROR @ shift)
    view = sample_view(rng, config.everyday)
    return [moved(hand, view, np.zeros(3)) for hand in hands if hand is not None]


def _extent(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle (3,) and radius across the line of sight of points about the origin."""
    low, high = (np.array([reduce(axis) for axis in points.T]) for reduce in (np.min, np.max))
    return (low + high) / 2, float(max(high[0] - low[0], high[1] - low[1]) / 2)


def sample_betas(rng: np.random.Generator) -> list[np.ndarray]:
    """Two hands' shapes: mostly one person's."""
    own = np.clip(rng.normal(size=10), -2.5, 2.5)
    if rng.random() < 0.85:
        return [own, np.clip(own + rng.normal(0, 0.05, 10), -2.5, 2.5)]
    return [own, np.clip(rng.normal(size=10), -2.5, 2.5)]


def sample_scene(rng: np.random.Generator, config: SynthConfig, kind: str | None = None) -> Scene:
    """One scene. `kind` is drawn after `config.kinds` unless given. Whether the hands can be seen is checked later."""
    kind = kind or KINDS[rng.choice(4, p=config.kinds)]
    distance = float(np.exp(rng.uniform(np.log(0.28), np.log(1.4))))
    betas = sample_betas(rng)
    hands: list[PlacedHand | None] = [None, None]
    if kind == "interacting":
        held = config.bank and rng.random() < config.bank
        both = _from_bank(rng, config) if held else _interacting(rng, config, betas)
        middle, radius = _extent(np.concatenate([h.vertices for h in both]))
        hands = [shifted(h, -middle) for h in both]
    elif kind == "separate":
        alike = rng.random() < 0.4
        first_pose, first_view = sample_gesture(rng, config)
        for side in (RIGHT, LEFT):
            pose, view = (
                (first_pose + rng.normal(0, 0.08, (15, 3)), first_view @ random_turn(rng, 12))
                if alike
                else sample_gesture(rng, config)
            )
            hand = _place(side, pose, view, betas[side], rng, config.wrist_bend)
            middle, _ = _extent(hand.vertices)
            hands[side] = shifted(hand, -middle)
        width = sum(_extent(h.vertices)[1] for h in hands if h is not None)
        # a person seen from the front shows the right hand on the picture's left; one's own hands are the other way
        sign = -1 if rng.random() < 0.6 else 1
        if rng.random() < 0.12:
            sign = -sign  # crossed arms
        angle = rng.normal(0, 0.5)
        apart = width * rng.uniform(1.0, 1.9) * np.array([np.cos(angle), np.sin(angle), 0])
        apart[2] = rng.normal(0, 0.05)
        right, left = hands
        assert right is not None and left is not None
        hands = [shifted(right, sign * apart / 2), shifted(left, -sign * apart / 2)]
        middle, radius = _extent(np.concatenate([h.vertices for h in hands if h is not None]))
        hands = [shifted(h, -middle) for h in hands if h is not None]
    elif kind == "single":
        side = int(rng.integers(2))
        hand = _place(side, *sample_gesture(rng, config), betas[side], rng, config.wrist_bend)
        middle, radius = _extent(hand.vertices)
        hands[side] = shifted(hand, -middle)
    else:
        radius = 0.1
    distance = max(distance, 2.2 * radius)
    return _camera(rng, config, kind, hands, radius, distance)


def _camera(rng, config: SynthConfig, kind: str, hands: list, radius: float, distance: float) -> Scene:
    """Put the hands before a camera: they fill a drawn share of the picture, about its middle or, full frame, anywhere."""
    size = config.size
    low, high = config.fill
    fill = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if config.full_frame:
        focal = size / 2 / np.tan(np.deg2rad(rng.uniform(22, 38)))  # fields of view of 44 to 76 degrees
        distance = max(focal * radius * 2 / (fill * size), 0.16)
        room = max(0.0, 0.56 - fill / 2)
        offset = rng.uniform(-room, room, 2) * size
    else:
        focal = fill * size / 2 / radius * distance
        offset = rng.normal(0, 0.04, 2) * size
    K = np.array([focal, focal, (size - 1) / 2, (size - 1) / 2])
    direction = np.array([offset[0] / focal, offset[1] / focal, 1.0])
    placed = tuple(None if hand is None else shifted(hand, direction * distance) for hand in hands)
    return Scene(kind, placed, K, size)  # type: ignore[arg-type]
