"""A hand model fitted to joints or meshes, many at once: any truth then trains any hand.

Levenberg and Marquardt's method over turn, place, anatomical angles (see anatomy.py) and shape. Their limits are soft:
going beyond costs as much as a distance does. Distances are weighed down where they are large (Geman and McClure), so
that single wrong joints pull little. What joints do not tell (twist, much of the shape) stays near its rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .anatomy import LIMITS, rotations_from_angles
from .geometry import project, rotvec_to_matrix
from .hand_model import HandModel, pose_hand
from .hands import NUM_BETAS, NUM_JOINTS

LIMIT_COST = 0.05
"""Metres a radian beyond a limit."""
REST_COST = 0.001
"""Metres a radian away from rest, 0.6 of the middle of a joint's range: decides where the joints given do not."""
SHAPE_COST = 0.0005
"""Metres a standard deviation of shape."""
ROBUST = 0.03
"""Metres: a joint this far off pulls at half its strength or less."""
PALM = (0, 1, 5, 9, 13, 17)
LEAST_JOINTS = 8
"""Fewer known joints than this say too little of a hand."""

ENOUGH_GAIN = 1e-3
"""A step that lowers the cost of all hands by a smaller share than this is the last."""

BLOCK = 100
"""Hands that are fitted at once; more no longer fit into a core's caches."""

_CURLS = (0.2, 0.9)  # radians of every finger joint from which pixels are fitted
_NEAR = ("joints", "rotations", "translation", "betas")  # what meshes start from
_WIDE = np.broadcast_to(np.array([-0.5, 0.5]), (15, 3, 2))  # where limits are a point, for meshes: twist of all joints


@dataclass(frozen=True)
class Fit:
    """Fitted hands, B of them, of the model's side."""

    rotations: Float[Tensor, "B 16 3 3"]  # wrist first, as `pose_hand` takes them
    betas: Float[Tensor, "B 10"]
    translation: Float[Tensor, "B 3"]  # the wrist, metres, camera frame
    joints: Float[Tensor, "B 21 3"]  # metres, camera frame
    residual: Float[
        Tensor, "B N"
    ]  # distance to each target (metres, or pixels where it was given in pixels); NaN: unknown


@dataclass(frozen=True)
class _State:
    turn: Tensor  # (B, 3, 3)
    place: Tensor  # (B, 3)
    angles: Tensor  # (B, D) those that are free
    betas: Tensor  # (B, 10)


def fit_joints(
    model: HandModel, joints: Float[Tensor, "B 21 3"], valid: Bool[Tensor, "B 21"] | None = None, steps: int = 20
) -> Fit:
    """Fit to joints in 3D.

    Args:
        model: the hand of one side, which all joints are of.
        joints: metres, any frame (that of the result).
        valid: which are known; None: all.
        steps: of the method; it ends before where nothing improves.

    Raises:
        ValueError: a hand has fewer than 8 known joints.
    """
    joints, known = _checked(joints, valid)
    few = joints_only(model)
    return _joined([_fit_joints(few, *some, steps=steps) for some in _blocks(joints, known)])


def _fit_joints(model: HandModel, joints: Tensor, known: Tensor, steps: int) -> Fit:
    free = _free(LIMITS)

    def distances(posed: Tensor) -> Tensor:
        return posed - joints

    state = _minimise(model, _start3d(model, joints, known, free), distances, known, free, LIMITS, steps)
    return _result(model, state, free, distances, known)


def fit_pixels(
    model: HandModel,
    pixels: Float[Tensor, "B 21 2"],
    K: Float[Tensor, "B 4"],
    valid: Bool[Tensor, "B 21"] | None = None,
    steps: int = 30,
) -> Fit:
    """Fit to joints in pixels: the distance of a hand of average size, and of poses seen alike the more likely one.

    Args:
        model: the hand of one side.
        pixels: of the picture (u, v).
        K: fx, fy, cx, cy of the camera.
        valid: which are known; None: all.
        steps: of the method.

    Raises:
        ValueError: a hand has fewer than 8 known joints.
    """
    pixels, known = _checked(pixels, valid)
    few = joints_only(model)
    return _joined([_fit_pixels(few, *some, steps=steps) for some in _blocks(pixels, K.to(pixels), known)])


def _fit_pixels(model: HandModel, pixels: Tensor, K: Tensor, known: Tensor, steps: int) -> Fit:
    free = _free(LIMITS)
    best: tuple[Tensor, _State] | None = None
    for curl in _CURLS:
        start = _start2d(model, pixels, K, known, free, curl)
        per_pixel = start.place[:, 2:].clamp_min(0.1)[:, None] / K[:, None, :2]  # metres a pixel at the hand

        def distances(posed: Tensor, per_pixel: Tensor = per_pixel) -> Tensor:
            ahead = torch.cat([posed[..., :2], posed[..., 2:].clamp_min(0.02)], -1)
            return (project(ahead, K) - pixels) * per_pixel

        state = _minimise(model, start, distances, known, free, LIMITS, steps)
        cost = _cost(model, state, distances, known, free, LIMITS)
        best = (cost, state) if best is None else _better(best, (cost, state))
    assert best is not None
    return _result(model, best[1], free, lambda posed: project(posed, K) - pixels, known)


def _blocks(*values: Tensor) -> list[tuple[Tensor, ...]]:
    return list(zip(*(value.split(BLOCK) for value in values), strict=True))


def _joined(fits: list[Fit]) -> Fit:
    return Fit(**{name: torch.cat([getattr(fit, name) for fit in fits]) for name in vars(fits[0])})


def fit_vertices(model: HandModel, vertices: Float[Tensor, "B V 3"], count: int = 120, steps: int = 20) -> Fit:
    """Fit to meshes of the model's own topology (as FreiHAND's of MANO); every joint may twist a little.

    Args:
        model: the hand of one side.
        vertices: metres, any frame.
        count: how many vertices, at even distances in their order, are looked at; `residual` is theirs.
        steps: of the method.

    Raises:
        ValueError: another number of vertices than the model's, or not more than 21 to look at.
    """
    if count <= NUM_JOINTS:
        raise ValueError(f"a mesh is fitted by more than {NUM_JOINTS} of its vertices, not {count}")
    if vertices.shape[1] != len(model.template):
        raise ValueError(
            f"a mesh of {vertices.shape[1]} vertices is not of {model.name}, which has {len(model.template)}"
        )
    vertices = vertices.to(model.template)
    near = fit_joints(model, model.vertex_influence @ vertices, steps=steps // 2)
    chosen = torch.linspace(0, len(model.template) - 1, count).round().long()
    few = _cut(model, chosen)
    fit = _joined(
        [
            _fit_vertices(few, *some, steps=steps)
            for some in _blocks(vertices[:, chosen], *(getattr(near, n) for n in _NEAR))
        ]
    )
    joints = pose_hand(joints_only(model), fit.rotations, fit.betas).joints + fit.translation[:, None]
    return replace(fit, joints=joints)


def _fit_vertices(
    model: HandModel, target: Tensor, joints: Tensor, rotations: Tensor, place: Tensor, betas: Tensor, steps: int
) -> Fit:
    limits = np.where((LIMITS[..., 1] > LIMITS[..., 0])[..., None], LIMITS, _WIDE)
    free = _free(limits)
    known = torch.ones(target.shape[:2], dtype=torch.bool)
    start = _start3d(model, joints, torch.ones(joints.shape[:2], dtype=torch.bool), free)
    start = replace(start, turn=rotations[:, 0], place=place, betas=betas)

    def distances(posed: Tensor) -> Tensor:
        return posed - target

    state = _minimise(model, start, distances, known, free, limits, steps)
    return _result(model, state, free, distances, known)


def joints_only(model: HandModel) -> HandModel:
    """The same hand with no more of its mesh than its joints need; posing it costs little."""
    used = model.points_vertex[model.points_vertex >= 0]
    rows = used if len(used) else torch.zeros(1, dtype=torch.long)
    number = torch.full_like(model.points_vertex, -1)
    number[model.points_vertex >= 0] = torch.arange(len(used))
    return replace(_cut(model, rows), points_vertex=number)


def _cut(model: HandModel, rows: Tensor) -> HandModel:
    """The same hand with these vertices only; no joint is one of them."""
    return replace(
        model,
        template=model.template[rows],
        shape_basis=model.shape_basis[rows],
        weights=model.weights[rows],
        pose_basis=None if model.pose_basis is None else model.pose_basis[rows],
        points_vertex=torch.full_like(model.points_vertex, -1),
        vertex_influence=model.vertex_influence[:, rows],
    )


def _checked(target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    target = target.detach().to("cpu", torch.float32)
    known = torch.isfinite(target).all(-1)
    if valid is not None:
        known = known & valid.to("cpu")
    fewest = int(known.sum(1).min()) if len(known) else LEAST_JOINTS
    if fewest < LEAST_JOINTS:
        raise ValueError(f"a hand has {fewest} known joints; a fit takes {LEAST_JOINTS} or more")
    return torch.where(known[..., None], target, torch.zeros_like(target)), known


def _free(limits: np.ndarray) -> Tensor:
    """Which of the 45 angles have a range at all."""
    return torch.from_numpy(np.flatnonzero((limits[..., 1] > limits[..., 0]).ravel()))


def _angles(state: _State, free: Tensor) -> Tensor:
    every = state.angles.new_zeros(*state.angles.shape[:-1], 45)
    return every.index_copy(-1, free, state.angles).unflatten(-1, (15, 3))


def _rotations(model: HandModel, state: _State, free: Tensor) -> Tensor:
    local = rotations_from_angles(model, _angles(state, free))
    return torch.cat([state.turn[..., None, :, :], local], -3)


def _posed(model: HandModel, state: _State, free: Tensor, points: int) -> Tensor:
    """The joints, or the vertices where there are as many as `points`."""
    hand = pose_hand(model, _rotations(model, state, free), state.betas)
    out = hand.joints if points == NUM_JOINTS else hand.vertices
    return out + state.place[..., None, :]


def _moved(state: _State, step: Tensor) -> _State:
    count = state.angles.shape[-1]
    turn, place, angles, betas = step.split([3, 3, count, NUM_BETAS], -1)
    return _State(rotvec_to_matrix(turn) @ state.turn, state.place + place, state.angles + angles, state.betas + betas)


def _priors(state: _State, low: Tensor, high: Tensor) -> Tensor:
    beyond = (state.angles - high).clamp_min(0) - (low - state.angles).clamp_min(0)
    rest = state.angles - 0.3 * (low + high)
    return torch.cat([LIMIT_COST * beyond, REST_COST * rest, SHAPE_COST * state.betas], -1)


def _bounds(limits: np.ndarray, free: Tensor) -> tuple[Tensor, Tensor]:
    rows = torch.from_numpy(limits.reshape(45, 2)).float()[free]
    return rows[:, 0], rows[:, 1]


def _robust(distance2: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, ROBUST**2 / (ROBUST**2 + distance2), torch.zeros_like(distance2))


def _cost(
    model: HandModel, state: _State, distances: Callable, known: Tensor, free: Tensor, limits: np.ndarray
) -> Tensor:
    """(B,) square metres, of Geman and McClure's measure and the priors."""
    off = distances(_posed(model, state, free, known.shape[1])).square().sum(-1)
    return (_robust(off, known) * off).sum(1) + _priors(state, *_bounds(limits, free)).square().sum(1)


def _minimise(
    model: HandModel, state: _State, distances: Callable, known: Tensor, free: Tensor, limits: np.ndarray, steps: int
) -> _State:
    """Damped Gauss-Newton steps, each hand with its own damping; a step that does not help is not taken."""
    low, high = _bounds(limits, free)
    count, size = len(state.place), 6 + len(free) + NUM_BETAS
    directions = torch.eye(size)[:, None].expand(size, count, size)
    zero = torch.zeros(count, size)
    damping = torch.full((count,), 1e-2, dtype=torch.float64)
    cost = _cost(model, state, distances, known, free, limits)
    for _ in range(steps):
        here = state

        def residual(step: Tensor, here: _State = here) -> Tensor:
            moved = _moved(here, step)
            off = distances(_posed(model, moved, free, known.shape[1])).flatten(1)
            return torch.cat([off, _priors(moved, low, high)], 1)

        value = residual(zero)
        slopes = torch.vmap(lambda t: torch.func.jvp(residual, (zero,), (t,))[1])(directions)
        points = known.shape[1]
        wide = value.shape[1] - 2 * len(free) - NUM_BETAS
        off = value[:, :wide].unflatten(1, (points, -1))
        pull = _robust(off.square().sum(-1), known).square()  # the slope of x^2 s^2 / (s^2 + x^2) in x^2
        weight = torch.cat([pull.repeat_interleave(wide // points, 1), torch.ones(count, value.shape[1] - wide)], 1)
        jacobian = slopes.permute(1, 2, 0).double()  # (B, residuals, parameters)
        weighted = jacobian * weight.double()[..., None]
        normal = weighted.mT @ jacobian
        slope = (weighted.mT @ value.double()[..., None]).squeeze(-1)
        scale = normal.diagonal(dim1=1, dim2=2)
        damped = normal + torch.diag_embed(damping[:, None] * scale + 1e-9)
        step = -torch.linalg.solve(damped, slope).float()
        new = _moved(state, step)
        new_cost = _cost(model, new, distances, known, free, limits)
        helped = new_cost < cost
        gain = (cost - new_cost)[helped].sum() / cost.sum()
        cost, state = _better((cost, state), (new_cost, new))
        damping = torch.where(helped, damping * 0.2, damping * 5).clamp(1e-7, 1e6)
        if helped.any() and float(gain) < ENOUGH_GAIN:
            break
    return state


def _better(one: tuple[Tensor, _State], other: tuple[Tensor, _State]) -> tuple[Tensor, _State]:
    """Of each hand the one that costs less."""
    less = other[0] < one[0]
    fields = {
        name: torch.where(less.reshape(-1, *(1,) * (value.dim() - 1)), value, getattr(one[1], name))
        for name, value in vars(other[1]).items()
    }
    return torch.where(less, other[0], one[0]), _State(**fields)


def _start3d(model: HandModel, joints: Tensor, known: Tensor, free: Tensor) -> _State:
    """The palm aligned, and every finger joint bent as the bones before and after it are to each other."""
    count = len(joints)
    rest = pose_hand(model, torch.eye(3).expand(16, 3, 3), torch.zeros(NUM_BETAS)).joints
    weight = known.float() * 0.05
    weight[:, PALM] += known[:, PALM].float()
    weight = weight / weight.sum(1, keepdim=True)
    mean_s, mean_t = weight @ rest, (weight[..., None] * joints).sum(1)
    cross = ((joints - mean_t[:, None]) * weight[..., None]).mT @ (rest - mean_s[:, None])
    u, _, vh = torch.linalg.svd(cross)
    sign = torch.ones(count, 3)
    sign[:, 2] = torch.linalg.det(u @ vh).sign()
    turn = (u * sign[:, None]) @ vh
    place = mean_t - (turn @ mean_s[..., None]).squeeze(-1)
    bend = torch.full((count, 15), 0.3)
    local = (joints - joints[:, :1]) @ turn  # in the rest frame
    for finger in range(5):
        chain = [0, *range(4 * finger + 1, 4 * finger + 5)]
        for joint in range(3):
            a, b, c = chain[joint : joint + 3]
            before, after, flat = local[:, b] - local[:, a], local[:, c] - local[:, b], rest[c] - rest[b]
            if joint == 0:  # the palm is no bone of the finger's: measured from where it points at rest
                before = flat.expand_as(after)
            cosine = torch.nn.functional.cosine_similarity(before, after, dim=-1).clamp(-1, 1)
            seen = known[:, [a, b, c]].all(1)
            bend[:, 3 * finger + joint] = torch.where(seen, torch.acos(cosine), bend[:, 3 * finger + joint])
    return _State(turn, place, _bent(bend, free), torch.zeros(count, NUM_BETAS))


def _bent(flex: Tensor, free: Tensor) -> Tensor:
    every = torch.zeros(len(flex), 15, 3)
    every[..., 0] = flex.clamp(0, 1.6)
    every[:, :3, 0] *= 0.3  # the thumb's bones are bent at rest too
    return every.flatten(1)[:, free]


def _start2d(model: HandModel, pixels: Tensor, K: Tensor, known: Tensor, free: Tensor, curl: float) -> _State:
    """Of each hand, the turn and place in which a hand bent by `curl` is seen most like it."""
    count = len(pixels)
    angles = _bent(torch.full((count, 15), curl), free)
    flat = _State(torch.eye(3).expand(count, 3, 3), torch.zeros(count, 3), angles, torch.zeros(count, NUM_BETAS))
    rest = _posed(model, flat, free, 21).numpy().astype(np.float64)
    turns, places = [], []
    for points, seen, which, (fx, fy, cx, cy) in zip(rest, pixels.numpy(), known.numpy(), K.tolist(), strict=True):
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        found, rotvec, place = cv2.solvePnP(
            points[which], seen[which].astype(np.float64), matrix, None, flags=cv2.SOLVEPNP_SQPNP
        )
        if not found or place[2, 0] < 0.05:
            rotvec, place = np.zeros((3, 1)), np.array([[0.0], [0.0], [0.6]])
        turns.append(cv2.Rodrigues(rotvec)[0])
        places.append(place[:, 0])
    return _State(
        torch.from_numpy(np.stack(turns)).float(), torch.from_numpy(np.stack(places)).float(), angles, flat.betas
    )


def _result(model: HandModel, state: _State, free: Tensor, distances: Callable, known: Tensor) -> Fit:
    rotations = _rotations(model, state, free)
    joints = _posed(model, state, free, 21)
    off = distances(_posed(model, state, free, known.shape[1])).norm(dim=-1)
    residual = torch.where(known, off, torch.full_like(off, torch.nan))
    return Fit(rotations, state.betas, state.place, joints, residual)
