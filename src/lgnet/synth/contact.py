"""Two hands in a key pose -> two hands that touch and do not cut one another, by optimisation (used to bake the bank).

Each hand is a few hundred points of its skin and some hundred spheres inside it, all carried by skinning. The left hand's
place and turn and both hands' finger angles are moved by Adam until the named spots meet, no skin point is inside
the other hand's spheres, joints keep their limits, and all stay near where they began. Batched over many pairs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..anatomy import LIMITS, rotations_from_angles
from ..geometry import rotvec_to_matrix
from ..hand_model import HandModel, farthest_points, load_hand_model, mirrored, pose_hand, vertex_normals
from ..hands import FINGERS
from ..penetration import inside, surface_distance
from .pairs import PAIRS, PairPose
from .poses import FOR_TWO, LIBRARY, _vary
from .rotations import basis, random_turn

SKIN_POINTS, SPHERES = 360, 160
GAP = 0.0015
"""Metres that skin points are kept off the other hand's spheres."""
STEPS = 160


@functools.lru_cache(maxsize=1)
def spots() -> dict[str, int]:
    """The vertex of each named spot, found on the flat right hand: the one nearest a ray from inside outwards."""
    hand = load_hand_model()
    skin, points = hand.template.numpy(), hand.points.numpy()
    part = hand.part.numpy()
    palm = np.array([0.0, 0.0, 1.0])

    def at(origin: np.ndarray, direction: np.ndarray, parts: tuple[int, ...]) -> int:
        direction = direction / np.linalg.norm(direction)
        offset = skin - origin
        along = offset @ direction
        aside = np.linalg.norm(offset - along[:, None] * direction, axis=1)
        return int(np.argmin(np.where(np.isin(part, parts) & (along > 0), aside, 1.0)))

    out = {}
    for index, finger in enumerate(FINGERS):
        base, middle, last, tip = points[1 + 4 * index : 5 + 4 * index]
        inward = -hand.thumb_dorsal.numpy() if index == 0 else palm
        bones = (3 * index + 1, 3 * index + 2, 3 * index + 3)
        along = (tip - last) / np.linalg.norm(tip - last)
        side = np.cross(along, inward)  # of a finger: the thumb's side
        out[f"{finger}_tip"] = at(0.35 * last + 0.65 * tip, inward, bones[2:])
        out[f"{finger}_end"] = at(last, along + 0.15 * inward, bones[2:])
        out[f"{finger}_mid"] = at((middle + last) / 2, inward, bones)
        out[f"{finger}_midback"] = at((middle + last) / 2, -inward, bones)
        out[f"{finger}_side"] = at((middle + last) / 2, -side if finger == "little" else side, bones)
        out[f"{finger}_base"] = at((base + 2 * middle) / 3, inward, bones)
        out[f"{finger}_front"] = at((base + middle) / 2, -inward, bones)
    centre = points[[0, 5, 9, 17]].mean(0)
    wrist = points[0]
    out["palm"], out["back"] = at(centre, palm, (0,)), at(centre, -palm, (0,))
    out["heel"] = at(0.75 * wrist + 0.25 * points[17], palm, (0,))
    out["edge"] = at((wrist + points[17]) / 2, np.array([-1.0, 0, 0]), (0,))
    out["radial"] = at(0.8 * points[5] + 0.2 * wrist, np.array([1.0, 0, 0]), (0, 4))
    out["knuckle"] = at(points[9], -palm, (0, 7))
    out["front"] = out["middle_front"]
    low = wrist + np.array([0, 0.004, 0])
    out["wrist_front"], out["wrist_back"] = at(low, palm, (0,)), at(low, -palm, (0,))
    return out


@dataclass(frozen=True)
class Proxy:
    """A hand as points: skin, spots, a centimetre above each spot, and centres of inner spheres; all skinned alike."""

    hand: HandModel  # its vertices are those points
    radii: Float[Tensor, " S"]

    @property
    def parts(self) -> tuple[slice, slice, slice, slice]:
        """Where skin, spots, the points above them and sphere centres stand among the vertices."""
        n = SKIN_POINTS
        s = len(spots())
        return slice(0, n), slice(n, n + s), slice(n + s, n + 2 * s), slice(n + 2 * s, None)


@functools.lru_cache(maxsize=2)
def proxy(side: str) -> Proxy:
    """The proxy of one side's hand."""
    hand = load_hand_model()
    skin = hand.template
    normals = vertex_normals(skin, hand.faces)
    chosen = farthest_points(skin, SKIN_POINTS, first=0)
    of_spots = torch.tensor(list(spots().values()))
    # sphere centres: inwards from skin points as far as the hand is thick there, the fattest and farthest apart kept
    depth = torch.linspace(0.003, 0.016, 14)
    inwards = skin[:, None] - normals[:, None] * depth[:, None]  # V, 14, 3
    flat, mesh, faces = inwards.reshape(-1, 3).double().numpy(), skin.double().numpy(), hand.faces.numpy()
    away = torch.from_numpy(surface_distance(flat, mesh, faces) * inside(flat, mesh, faces)).float()
    away = away.reshape(inwards.shape[:2])
    best = away.argmax(1)
    rows = torch.arange(len(skin))
    centres, radii = inwards[rows, best], away[rows, best]
    fat = torch.nonzero(radii > 0.0035)[:, 0]
    balls = fat[farthest_points(centres[fat], SPHERES, first=0)]
    of = torch.cat([chosen, of_spots, of_spots, balls])
    places = torch.cat([skin[chosen], skin[of_spots], skin[of_spots] + 0.01 * normals[of_spots], centres[balls]])
    small = replace(hand, template=places, shape_basis=hand.shape_basis[of], weights=hand.weights[of], pose_basis=None)
    return Proxy(small if side == "right" else mirrored(small), radii[balls])


@dataclass(frozen=True)
class Pairs:
    """Pairs of hands, the right one upright at the origin: what the bank keeps."""

    angles: Float[Tensor, "n 2 15 3"]  # right, left; see anatomy.py
    turn: Float[Tensor, "n 3 3"]  # of the left hand, as a left hand
    shift: Float[Tensor, "n 3"]  # of the left wrist, metres
    betas: Float[Tensor, "n 10"]  # of both: one person's


def start(names: Sequence[str], rng: np.random.Generator) -> Pairs:
    """Key poses with everybody's own variation, not yet touching."""
    angles, turns, shifts = [], [], []
    for name in names:
        pair = PAIRS[name]
        both = [(LIBRARY | FOR_TWO)[pose] for pose in (pair.right, pair.left)]
        if rng.random() < 0.25:  # on the way to another key pose's hands
            other = PAIRS[list(PAIRS)[rng.integers(len(PAIRS))]]
            share = rng.uniform(0, 0.35)
            both = [(1 - share) * p + share * LIBRARY.get(q, p) for p, q in zip(both, (other.right, other.left))]
        angles.append([np.clip(_vary(rng, pose, 0.09), LIMITS[..., 0], LIMITS[..., 1]) for pose in both])
        turn = random_turn(rng, 12 * pair.loose) @ basis(np.array(pair.fingers), np.array(pair.palm))
        turns.append(turn)
        shifts.append(
            (0.0, 0.0, 0.0) if pair.apart is None else np.array(pair.apart) + rng.normal(0, 0.02 * pair.loose, 3)
        )
    betas = np.clip(rng.normal(size=(len(names), 10)), -2.5, 2.5)
    return Pairs(*(torch.from_numpy(np.asarray(v)).float() for v in (angles, turns, shifts, betas)))


def pose_points(pairs: Pairs, models: Sequence[HandModel]) -> list[Tensor]:
    """Right and left (n, V, 3) of these models in the right hand's frame."""
    out = []
    for side, model in enumerate(models):
        fingers = rotations_from_angles(model, pairs.angles[:, side])
        wrist = pairs.turn if side else torch.eye(3).expand(len(pairs.turn), 3, 3)
        points = pose_hand(model, torch.cat([wrist[:, None], fingers], 1), pairs.betas).vertices
        out.append(points + pairs.shift[:, None] if side else points)
    return out


def solve(names: Sequence[str], begin: Pairs, steps: int = STEPS) -> Pairs:
    """Move each pair until its spots touch and nothing cuts; see the module's head."""
    proxies = [proxy("right"), proxy("left")]
    models = [p.hand for p in proxies]
    skin, spots, above, balls = proxies[0].parts
    touch, weight = _touches([PAIRS[name] for name in names])
    low, high = (torch.from_numpy(LIMITS[..., i]).float() for i in (0, 1))
    begin = replace(begin, shift=_first_shift(begin, models, spots, above, touch, weight))
    bend = torch.zeros_like(begin.angles, requires_grad=True)
    turn = torch.zeros(len(names), 3, requires_grad=True)
    shift = torch.zeros(len(names), 3, requires_grad=True)  # decimetres
    optimiser = torch.optim.Adam([bend, turn, shift], lr=0.025)
    rows = torch.arange(len(names))[:, None]
    now = begin

    def current() -> Pairs:
        return Pairs(begin.angles + bend, rotvec_to_matrix(turn) @ begin.turn, begin.shift + 0.1 * shift, begin.betas)

    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 0.025 * min(1.0, 2.5 * (1 - step / steps))
        now = current()
        right, left = pose_points(now, models)
        meet = right[:, spots][rows, touch[..., 0]] - left[:, spots][rows, touch[..., 1]]
        contact = (weight * meet.norm(dim=-1).clamp_min(1e-6)).sum(1)
        out = [
            torch.nn.functional.normalize(hand[:, above] - hand[:, spots], dim=-1)[rows, touch[..., side]]
            for side, hand in enumerate((right, left))
        ]
        facing = (weight * (1 + (out[0] * out[1]).sum(-1))).sum(1)
        cut = torch.zeros(len(names))
        for a, b, own in ((right, left, 1), (left, right, 0)):
            deep = (proxies[own].radii + GAP - torch.cdist(a[:, skin], b[:, balls])).clamp_min(0)
            cut = cut + (deep.amax(2) ** 2).sum(1)
        limits = ((low - now.angles).clamp_min(0) ** 2 + (now.angles - high).clamp_min(0) ** 2).sum((1, 2, 3))
        near = (bend**2).sum((1, 2, 3)) * 0.15 + (turn**2).sum(1) * 0.3 + (shift**2).sum(1) * 0.02
        ramp = min(1.0, 0.1 + 1.8 * step / steps)  # first together, then apart
        loss = contact * 60 + facing * 0.05 + ramp * cut * 4e4 + limits * 20 + near
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    with torch.no_grad():
        now = current()
        angles = torch.minimum(torch.maximum(now.angles, low), high)
        return Pairs(angles, now.turn, now.shift, now.betas)


def _touches(poses: Sequence[PairPose]) -> tuple[Tensor, Tensor]:
    """(n, T, 2) spot indices and (n, T) weights, 0 where a pose has fewer."""
    names = list(spots())
    most = max(1, *(len(pose.touch) for pose in poses))
    touch, weight = torch.zeros(len(poses), most, 2, dtype=torch.long), torch.zeros(len(poses), most)
    for row, pose in enumerate(poses):
        for column, pair in enumerate(pose.touch):
            touch[row, column] = torch.tensor([names.index(spot) for spot in pair])
            weight[row, column] = 1 / len(pose.touch) ** 0.5
    return touch, weight


def _first_shift(begin: Pairs, models, spots: slice, above: slice, touch: Tensor, weight: Tensor) -> Tensor:
    """(n, 3) the left wrist's place with which the spots meet on average, a centimetre apart; else what was given."""
    rows = torch.arange(len(touch))[:, None]
    right, left = pose_points(begin, models)
    meet = right[:, spots][rows, touch[..., 0]] - left[:, spots][rows, touch[..., 1]]
    total = weight.sum(1, keepdim=True)
    mean = (weight[..., None] * meet).sum(1) / total.clamp_min(1e-6)
    outward = (right[:, above] - right[:, spots])[rows, touch[..., 0]]
    mean = mean + (weight[..., None] * outward).sum(1) / total.clamp_min(1e-6)
    return torch.where(total > 0, begin.shift + mean, begin.shift)
