"""Hands aligned to 2D joints from elsewhere, from the network's answer on, both hands together.

Levenberg and Marquardt's method over each hand's turn, place, 45 anatomical angles (anatomy.py) and shape. What pulls:
the joints given, as many as are there and as sure as they are, and their depths where they have any; the network's
answer as a prior of turn, angles, shape and of the way from one wrist to the other; limits of the joints. Joints that
stay far off pull little (Geman and McClure); at first that limit is wide, so that a hand which the network saw wrongly
is still drawn over (graduated non-convexity). A second start turns the network's hand so that it is seen most like the
joints given; the one that costs less is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from .anatomy import LIMITS, angles_from_rotations, rotations_from_angles
from .fit import joints_only
from .geometry import matrix_to_rotvec, rotvec_to_matrix
from .hand_model import HandModel, hand_length, load_hand_model, pose_hand
from .hands import NUM_BETAS, SIDES, Hand, TwoHands
from .place import NEAREST
from .smooth import Size, to_hand, to_numbers

SIGMA_2D = 0.02
"""How far off a joint given with full confidence is thought to be, as a share of the hand's size in the picture."""
SIGMA_TURN = 0.5
"""Radians: how far the network's turn of the hand is thought to be off."""
SIGMA_ANGLE = (0.4, 0.15, 0.15)
"""Radians: the same of flex, spread and twist."""
SIGMA_SHAPE = 0.5
"""Standard deviations: the same of each shape coefficient."""
SIGMA_RELATIVE = 0.05
"""Metres: the same of the way from the right wrist to the left one."""
SIGMA_DEPTH = 0.02
"""Metres: how far off each joint's depth is thought to be, where depths were given."""
SIGMA_LIMIT = 0.05
"""Radians that a joint goes beyond its limits."""
ROBUST = (1.0, 0.15)
"""Shares of the hand's size: a joint so far off pulls at half its strength, at first and in the end."""
STEPS = 14
"""Of the method, from each start; as many again for both hands together."""
ENOUGH_GAIN = 1e-3
"""A step that lowers the cost by a smaller share than this is the last."""
WELL = 1.5
"""Times `SIGMA_2D`: a hand whose joints are off by less, on average, is where it belongs."""
SURE = 0.1
"""A joint given with less confidence than this is not looked at."""
LEAST = 4
"""A hand with fewer sure joints than this says too little."""
TINY = 1e-6
SIZE = 6 + 45 + NUM_BETAS


@dataclass(frozen=True)
class KeyPoints:
    """The 2D joints of one hand from elsewhere."""

    points: np.ndarray  # (21, 2) pixels of the upright picture, lgnet's order; not finite: not known
    confidence: np.ndarray  # (21,) 0..1; 0 where the point is not known
    side: str | None  # "right" or "left" as they say; None: not told
    score: float = 1.0  # how sure the side is, 0..1
    world: np.ndarray | None = None  # (21, 3) metres about any origin, z along the look at the hand; None: not told

    @property
    def sure(self) -> np.ndarray:
        """(21,) bool: the joints that are looked at."""
        return (self.confidence >= SURE) & np.isfinite(self.points).all(1)

    @property
    def box(self) -> np.ndarray:
        """(4,) x, y, w, h around the sure joints, pixels."""
        seen = self.points[self.sure]
        return np.concatenate([seen.min(0), np.ptp(seen, 0)])

    @property
    def size(self) -> float:
        """Pixels: the larger side of the box; at least 1."""
        return max(float(self.box[2:].max()), 1.0)


@dataclass(frozen=True)
class _State:
    """B guesses of one hand, float64."""

    turn: Tensor  # (B, 3, 3)
    numbers: Tensor  # (B, 58) place in metres, angles, shape

    def moved(self, step: Tensor) -> _State:
        """By steps (B, 61): a turn as axis and angle, then the numbers."""
        return _State(rotvec_to_matrix(step[:, :3]) @ self.turn, self.numbers + step[:, 3:])


class _Problem:
    """One hand with what is known of it: B guesses -> B x M residuals, each divided by what it is thought to be off."""

    def __init__(self, hand: Hand, given: KeyPoints, model: HandModel, K: np.ndarray):
        self.model, self.K = _light(model), torch.from_numpy(K)
        self.sure = torch.from_numpy(given.sure)
        points = np.where(given.sure[:, None], given.points, 0.0)
        self.points, self.size = torch.from_numpy(points).double(), given.size
        self.weight = torch.from_numpy(np.where(given.sure, np.clip(given.confidence, 0, 1), 0.0)).double()
        rotations = rotvec_to_matrix(torch.from_numpy(np.asarray(hand.pose, np.float64)))
        angles = angles_from_rotations(self.model, rotations[1:]).flatten()
        betas = torch.from_numpy(np.asarray(hand.shape, np.float64))
        place = torch.from_numpy(np.asarray(hand.translation, np.float64))
        self.start = _State(rotations[None, 0], torch.cat([place, angles, betas])[None])
        self.length = None if hand.scale == 1 else hand.scale * hand_length(self.model, betas)
        offsets = (hand.vertices - hand.vertices_rough) @ rotations[0].numpy() / hand.scale
        self.offsets = model.vertex_influence.double() @ torch.from_numpy(offsets)
        limits = torch.from_numpy(LIMITS.reshape(45, 2))
        flat = limits[:, 0] == limits[:, 1]
        self.low = torch.where(flat, -0.5, torch.minimum(limits[:, 0], angles))  # the network's own answer is no fault
        self.high = torch.where(flat, 0.5, torch.maximum(limits[:, 1], angles))
        self.depth = None if given.world is None else self._depth(given.world)
        self.sigma = torch.cat([torch.tensor(SIGMA_ANGLE).repeat(15), torch.full((NUM_BETAS,), SIGMA_SHAPE)]).double()

    def _depth(self, world: np.ndarray) -> tuple[Tensor, Tensor]:
        """(3,) the look at the hand, and (21,) metres along it from the middle of the sure joints, at the hand's own size."""
        look = torch.cat([(self.points[self.sure].mean(0) - self.K[2:]) / self.K[:2], torch.ones(1).double()])
        given, own = torch.from_numpy(world).double(), self.joints(self.start)[0]
        given, own = given - given[self.sure].mean(0), own - own[self.sure].mean(0)
        return look / look.norm(), given[:, 2] * (own[self.sure].norm() / given[self.sure].norm().clamp_min(1e-6))

    def joints(self, state: _State) -> Tensor:
        """(B, 21, 3) metres, camera frame."""
        place, angles, betas = state.numbers.split([3, 45, NUM_BETAS], 1)
        local = rotations_from_angles(self.model, angles.unflatten(1, (15, 3)))
        posed = pose_hand(self.model, torch.cat([state.turn[:, None], local], 1), betas).joints
        posed = posed + self.offsets @ state.turn.mT
        if self.length is not None:
            posed = posed * (self.length / hand_length(self.model, betas))[:, None, None]
        return posed + place[:, None]

    def off(self, state: _State) -> Tensor:
        """(B, 21, 2) how far off the sure joints are, as shares of the hand's size; 0 elsewhere."""
        joints = self.joints(state)
        seen = joints[..., :2] / joints[..., 2:].clamp_min(0.02) * self.K[:2] + self.K[2:]
        return torch.where(self.sure[:, None], (seen - self.points) / self.size, 0.0)

    def prior(self, state: _State) -> Tensor:
        """(B, M) how far from the network's answer, beyond the limits, and from the depths given."""
        angles = state.numbers[:, 3:48]
        beyond = (angles - self.high).clamp_min(0) - (self.low - angles).clamp_min(0)
        turned = matrix_to_rotvec(state.turn @ self.start.turn.mT)
        away = (state.numbers[:, 3:] - self.start.numbers[:, 3:]) / self.sigma
        rows = [beyond / SIGMA_LIMIT, turned / SIGMA_TURN, away]
        if self.depth is not None:
            look, depth = self.depth
            along = self.joints(state) @ look
            off = along - along[:, self.sure].mean(1, keepdim=True) - depth
            rows.append(torch.where(self.sure, off, 0.0) / SIGMA_DEPTH)
        return torch.cat(rows, 1)


def align_hands(hands: TwoHands, given: Sequence[KeyPoints | None]) -> TwoHands:
    """The hands drawn towards the joints given; a hand without any stays as it is, to the last bit.

    Args:
        hands: the network's answer.
        given: for the right and the left hand; None: nothing is known of it. What is given of a hand that is not there is
            passed over, and what would put a hand behind the camera.
    """
    pair = (hands.right, hands.left)
    name = hands.model.get("hand_model", "lgnet")
    problems: dict[int, _Problem] = {}
    for side, (hand, points) in enumerate(zip(pair, given)):
        if hand is not None and points is not None and points.sure.sum() >= LEAST:
            model = load_hand_model(name, SIDES[side])
            problems[side] = _Problem(hand, points, model, hands.camera.K)
    if not problems:
        return hands
    with torch.inference_mode():
        states = {side: _best_start(problem) for side, problem in problems.items()}
        if hands.right is not None and hands.left is not None:
            right, left = (torch.from_numpy(np.array(h.translation, np.float64)) for h in (hands.right, hands.left))
            states = _minimise(problems, states, (right, left), [ROBUST[1]] * STEPS)[0]
    out = list(pair)
    for side, state in states.items():
        if not state.numbers.isfinite().all() or state.numbers[0, 2] < NEAREST:
            continue  # points that no hand before the camera is seen by
        out[side] = _to_hand(pair[side], problems[side], state, hands.camera.K, name)
    return replace(hands, right=out[0], left=out[1])


def _best_start(problem: _Problem) -> _State:
    """Where the cheapest way from a start ends; the second start is not tried where the first one ends well."""
    schedule = [*np.geomspace(*ROBUST, STEPS // 2).tolist(), *[ROBUST[1]] * (STEPS - STEPS // 2)]
    best, cost = _minimise({0: problem}, {0: problem.start}, None, schedule)
    off = problem.off(best[0])[0, problem.sure].norm(dim=-1).mean()
    other = _seen_alike(problem) if off > WELL * SIGMA_2D else None
    if other is not None:
        end, least = _minimise({0: problem}, {0: other}, None, schedule)
        best = end if least < cost else best
    return best[0]


def _seen_alike(problem: _Problem) -> _State | None:
    """The network's hand turned and moved so that it is seen most like the joints given."""
    start, sure = problem.start, problem.sure.numpy()
    local = (problem.joints(start)[0] - start.numbers[0, :3]).numpy()
    fx, fy, cx, cy = problem.K.tolist()
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    seen = problem.points.numpy()
    found, rotvec, place = cv2.solvePnP(local[sure], seen[sure], matrix, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found or not np.isfinite(place).all() or place[2, 0] < 0.05:
        return None
    turn = torch.from_numpy(cv2.Rodrigues(rotvec)[0])[None] @ start.turn
    moved = torch.cat([torch.from_numpy(place[None, :, 0]), start.numbers[:, 3:]], 1)
    return _State(turn, moved)


def _minimise(
    problems: dict[int, _Problem],
    states: dict[int, _State],
    places: tuple[Tensor, Tensor] | None,
    schedule: Sequence[float],
) -> tuple[dict[int, _State], float]:
    """Damped Gauss-Newton steps with these robust limits, one each; a step that does not help is not taken.

    Args:
        problems: the hands that move, by side.
        states: where they start.
        places: the network's wrists, whose difference is a prior; None: there is none.
        schedule: robust limits, as shares of the hand's size.

    Returns:
        Where they end, and what that costs by the last limit.
    """
    damping, gain = 1e-3, 1.0
    number = {side: index for index, side in enumerate(problems)}
    around = {side: _around(problems[side], states[side]) for side in problems}
    for index, robust in enumerate(schedule):
        if gain < ENOUGH_GAIN and robust == schedule[index - 1]:
            break
        cost, A, b = _normal(problems, around, states, places, robust)
        for _ in range(4):
            step, singular = torch.linalg.solve_ex(A + damping * torch.diag(A.diagonal()), -b)
            if singular or not step.isfinite().all():
                damping *= 5
                continue
            moved = {side: state.moved(step[None, SIZE * number[side] :][:, :SIZE]) for side, state in states.items()}
            near = {side: _around(problems[side], moved[side]) for side in problems}
            least = _normal(problems, near, moved, places, robust, alone=True)[0]
            gain = 1 - least / max(cost, 1e-12)
            if gain > 0:
                states, around, damping = moved, near, max(damping / 5, 1e-7)
                break
            damping *= 5
    return states, _normal(problems, around, states, places, schedule[-1], alone=True)[0]


def _around(problem: _Problem, state: _State) -> tuple[Tensor, Tensor]:
    """(1 + 61, 21, 2) and (1 + 61, M): what is off there, and a tiny step further along each parameter."""
    steps = torch.cat([torch.zeros(1, SIZE), TINY * torch.eye(SIZE)]).double()
    near = _State(state.turn.expand(SIZE + 1, 3, 3), state.numbers.expand(SIZE + 1, -1)).moved(steps)
    return problem.off(near), problem.prior(near)


def _normal(
    problems: dict[int, _Problem],
    around: dict[int, tuple[Tensor, Tensor]],
    states: dict[int, _State],
    places: tuple[Tensor, Tensor] | None,
    robust: float,
    alone: bool = False,
) -> tuple[float, Tensor, Tensor]:
    """The cost; and, but with `alone`, J^T W J and J^T W r of all hands, J by differences."""
    total, blocks, sides = 0.0, [], []
    for side, problem in problems.items():
        off, prior = around[side]
        off2 = off[0].square().sum(-1)
        share = robust**2 / (robust**2 + off2)
        total += float((problem.weight * share * off2).sum()) / SIGMA_2D**2 + float(prior[0].square().sum())
        if not alone:
            pull = (problem.weight * share.square()).repeat_interleave(2) / SIGMA_2D**2  # the measure's slope in x^2
            weight = torch.cat([pull, torch.ones(prior.shape[1], dtype=torch.float64)])
            every = torch.cat([off.flatten(1), prior], 1)
            J = (every[1:] - every[0]) / TINY  # transposed
            blocks.append((J * weight) @ J.T)
            sides.append((J * weight) @ every[0])
    A, b = (torch.block_diag(*blocks), torch.cat(sides)) if blocks else (torch.zeros(0), torch.zeros(0))
    if places is not None:
        right, left = (states[side].numbers[0, :3] if side in states else places[side] for side in (0, 1))
        apart = (left - right - places[1] + places[0]) / SIGMA_RELATIVE
        total += float(apart.square().sum())
        if blocks:
            J = torch.zeros(3, len(b), dtype=torch.float64)
            for index, side in enumerate(problems):
                J[:, SIZE * index + 3 : SIZE * index + 6] = torch.eye(3) * (1 if side else -1) / SIGMA_RELATIVE
            A, b = A + J.T @ J, b + J.T @ apart
    return total, A, b


def _to_hand(hand: Hand | None, problem: _Problem, state: _State, K: np.ndarray, name: str) -> Hand:
    """The hand with its pose, shape and place exchanged; the network's last offsets of the mesh go with the wrist."""
    assert hand is not None
    place, angles, betas = state.numbers[0].split([3, 45, NUM_BETAS])
    local = rotations_from_angles(problem.model, angles.unflatten(0, (15, 3)))
    model = load_hand_model(name, hand.side)
    own = float(hand_length(model, betas.float()))
    length = own if problem.length is None else float(problem.length)
    x, y, z = place.tolist()
    numbers = replace(
        to_numbers(hand, model),
        rotations=torch.cat([state.turn, local]).numpy(),
        place=np.array([x / z, y / z]),
        distance=np.array([np.log(z / length)]),
    )
    return to_hand(hand, numbers, Size(1, betas.numpy(), length), model, K)


@functools.lru_cache(maxsize=4)
def _light(model: HandModel) -> HandModel:
    """The same hand in float64 with no more of its mesh than the joints need."""
    few = joints_only(model)
    values = {f.name: getattr(few, f.name) for f in fields(few)}
    return replace(few, **{k: v.double() for k, v in values.items() if isinstance(v, Tensor) and v.is_floating_point()})
