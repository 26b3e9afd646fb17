"""A person's hand -> joint angles of a robot hand that a URDF describes, frame by frame.

The objective is the vector objective of dex-retargeting (Qin et al., "AnyTeleop", RSS 2023;
github.com/dexsuite/dex-retargeting, MIT), written anew: the robot's vectors from wrist to fingertips are to be the person's,
scaled by the size of the hands, within the joints' limits, with a pull to the last frame's angles. Solved by damped
Gauss-Newton steps projected on the limits, from the last frame's answer. The URDF is parsed by yourdfpy (extra `robot`).
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from .anatomy import LIMITS, rotations_from_angles
from .geometry import rotvec_to_matrix
from .hand_model import HandModel, load_hand_model, pose_hand
from .hands import FINGERS, SIDES

TIPS = np.array([4, 8, 12, 16, 20])
"""The fingertips among the 21 joints."""
SMOOTH = 0.001
"""Metres of fingertip that a radian from the last frame's angles is worth."""
THUMB = 0.3
"""Weight of the thumb when frames are aligned: robots' thumbs rest where they like."""
_WORDS = {
    "thumb": ("thumb", "th", "thj"),
    "index": ("index", "ff", "ffj", "fore", "forefinger", "first"),
    "middle": ("middle", "mid", "mf", "mfj"),
    "ring": ("ring", "rf", "rfj"),
    "little": ("little", "pinky", "pinkie", "lf", "lfj", "small"),
}
_PARTS = "finger|tip|distal|middle|proximal|knuckle|metacarpal|base|hub|pad|link"
"""What may follow a finger in one word with it: `fftip`, `thumbtip`."""


@dataclass(frozen=True)
class Step:
    """One joint of a chain."""

    origin: np.ndarray  # (4, 4) in the link before, at angle 0
    axis: np.ndarray  # (3,)
    kind: str  # "turn", "slide" or "fixed"
    index: int  # among the robot's own angles; -1 of a fixed one
    factor: float  # of that angle (mimic joints)
    offset: float


@dataclass(frozen=True)
class RobotHand:
    """A robot hand: n joints that are driven, and the chains from its wrist to its fingertips."""

    name: str
    joints: tuple[str, ...]  # n
    low: np.ndarray  # (n,) radians or metres
    high: np.ndarray
    wrist: str
    fingers: tuple[int, ...]  # which of `hands.FINGERS`, for each chain
    links: tuple[str, ...]  # their fingertips
    chains: tuple[tuple[Step, ...], ...]
    side: str | None  # as its names say

    def open(self) -> np.ndarray:
        """(n,) all angles 0, or as near to it as the limits let them."""
        return np.clip(0.0, self.low, self.high)

    def tips(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(F, 3) metres: the fingertips in the wrist's frame; (F, 3, n) how they move with the angles."""
        places, slopes = np.zeros((len(self.chains), 3)), np.zeros((len(self.chains), 3, len(self.joints)))
        for finger, chain in enumerate(self.chains):
            pose, passed = np.eye(4), []
            for step in chain:
                pose = pose @ step.origin
                if step.kind == "fixed":
                    continue
                passed.append((step, pose[:3, 3].copy(), pose[:3, :3] @ step.axis))
                value = step.factor * angles[step.index] + step.offset
                move = np.eye(4)
                if step.kind == "turn":
                    move[:3, :3] = cv2.Rodrigues(step.axis * value)[0]
                else:
                    move[:3, 3] = step.axis * value
                pose = pose @ move
            places[finger] = pose[:3, 3]
            for step, centre, axis in passed:
                along = axis if step.kind == "slide" else np.cross(axis, pose[:3, 3] - centre)
                slopes[finger, :, step.index] += step.factor * along
        return places, slopes


def load_robot(path: str | Path, links: Mapping[str, str] | None = None) -> RobotHand:
    """A hand of a URDF; meshes are not read.

    Args:
        path: the file.
        links: the link of each fingertip, by finger, and of the `wrist`; what is left out is told from the names: the
            wrist is the link that all hangs on, a fingertip the last link with the finger's name and, if there is one, "tip".

    Raises:
        ValueError: the file cannot be read, a link is not in it, or the fingertips cannot be told from the names.
    """
    import yourdfpy

    logging.getLogger("yourdfpy").setLevel(logging.CRITICAL)  # what is wrong is said below
    if not Path(path).is_file():
        raise ValueError(f"the robot's file {path} does not exist; check the name")
    try:
        robot = yourdfpy.URDF.load(str(path), build_scene_graph=False, load_meshes=False).robot
    except Exception as error:  # lxml, yourdfpy and NumPy raise anything at all
        raise ValueError(f"the robot's file {path} is no URDF that can be read ({error})") from error
    given = dict(links or {})
    names = [link.name for link in robot.links]
    _check(path, robot, names)
    unknown = sorted(set(given) - {"wrist", *FINGERS})
    missing = sorted(set(given.values()) - set(names))
    if unknown or missing:
        what = f"there is no finger {unknown[0]!r}" if unknown else f"{path} has no link {missing[0]!r}"
        raise ValueError(f"{what}; links are {', '.join(names)}; fingers are {', '.join(FINGERS)}, and wrist")
    twice = sorted(link for link in given.values() if list(given.values()).count(link) > 1)
    if twice:
        raise ValueError(f"--links names {twice[0]} more than once; each finger and the wrist have a link of their own")
    above = {joint.child: joint for joint in robot.joints}
    wrist = given.get("wrist") or next(name for name in names if name not in above)
    tips = _fingertips(names, above, given)
    if len(tips) < 2:
        ends = sorted(set(names) - {joint.parent for joint in robot.joints})
        raise ValueError(
            f"the names of {path} do not tell which links are fingertips (its last links are {', '.join(ends)}); "
            f"say so: --links thumb=LINK index=LINK ..."
        )
    driven = [j for j in robot.joints if j.type in ("revolute", "continuous", "prismatic") and j.mimic is None]
    order = {joint.name: i for i, joint in enumerate(driven)}
    chains = tuple(tuple(_chain(path, wrist, link, above, order)) for link in tips.values())
    used = sorted({step.index for chain in chains for step in chain if step.index >= 0})
    chains = tuple(tuple(replace(s, index=used.index(s.index) if s.index >= 0 else -1) for s in c) for c in chains)
    limits = np.array([_range(driven[i], robot.joints) for i in used]).reshape(-1, 2)
    if not used:
        raise ValueError(f"{path}: no joint lies between {wrist} and the fingertips {', '.join(tips.values())}")
    return RobotHand(
        name=str(robot.name or Path(path).stem),
        joints=tuple(driven[i].name for i in used),
        low=limits[:, 0],
        high=limits[:, 1],
        wrist=wrist,
        fingers=tuple(FINGERS.index(finger) for finger in tips),
        links=tuple(tips.values()),
        chains=chains,
        side=_side(f"{robot.name} {Path(path).stem} {' '.join(names)}"),
    )


def _check(path: str | Path, robot: Any, names: Sequence[str]) -> None:
    """Refuse what is no tree of links, and joints that cannot move.

    Raises:
        ValueError: which joint or link is wrong, in one sentence.
    """
    above: dict[str, Any] = {}
    for joint in robot.joints:
        for link in (joint.parent, joint.child):
            if link not in names:
                raise ValueError(f"{path}: the joint {joint.name} joins the link {link}, which is not there")
        if joint.child in above:
            raise ValueError(
                f"{path}: the link {joint.child} hangs on two joints, {above[joint.child].name} and {joint.name}"
            )
        above[joint.child] = joint
        if joint.type in ("revolute", "prismatic") and joint.limit is None and joint.mimic is None:
            raise ValueError(f"{path}: the {joint.type} joint {joint.name} has no limit; give lower and upper")
        if joint.type != "continuous" and joint.limit is not None:
            low, high = _limits(joint)
            if not -math.inf < low <= high < math.inf:
                raise ValueError(f"{path}: the limits of the joint {joint.name} are {low:g} to {high:g}")
    for name in names:
        seen = {name}
        while name in above:
            name = above[name].parent
            if name in seen:
                raise ValueError(f"{path}: the joints about the link {name} are a ring; a hand's are a tree")
            seen.add(name)


def _words(name: str) -> list[str]:
    """`RightIndexTip_2` -> right, index, tip."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _side(text: str) -> str | None:
    words = set(_words(text))
    found = [side for side in SIDES if side in words]
    return found[0] if len(found) == 1 else None


def _fingertips(names: Sequence[str], above: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The fingertips' links by finger, in the fingers' order."""

    def depth(name: str) -> int:
        return 1 + depth(above[name].parent) if name in above else 0

    tips = {}
    for finger in FINGERS:
        own = [name for name in names if _finger(name) == finger]
        ranked = sorted(own, key=lambda name: ("tip" in name.lower(), depth(name)))
        link = given.get(finger) or (ranked[-1] if ranked and depth(ranked[-1]) > 0 else None)
        if link is not None:
            tips[finger] = link
    return tips


def _finger(name: str) -> str | None:
    """Which finger a link's name tells of; `middle` beside another finger is its middle phalanx."""
    told = [
        finger
        for finger, words in _WORDS.items()
        if any(re.fullmatch(rf"(left|right|l|r)?({'|'.join(words)})({_PARTS})?", word) for word in _words(name))
    ]
    found = [finger for finger in told if finger != "middle"] or told
    return found[0] if len(found) == 1 else None


def _chain(path: str | Path, wrist: str, link: str, above: Mapping[str, Any], order: Mapping[str, int]) -> list[Step]:
    steps: list[Step] = []
    at = link
    while at != wrist:
        if at not in above:
            raise ValueError(f"{path}: the fingertip {link} does not hang on the wrist {wrist}")
        joint = above[at]
        at = joint.parent
        origin = np.eye(4) if joint.origin is None else np.asarray(joint.origin, float)
        axis = np.array([1.0, 0, 0]) if joint.axis is None else np.asarray(joint.axis, float)
        axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
        if joint.type == "fixed":
            steps.append(Step(origin, axis, "fixed", -1, 0.0, 0.0))
        elif joint.type in ("revolute", "continuous", "prismatic"):
            leader, factor, offset = joint.name, 1.0, 0.0
            if joint.mimic is not None:
                leader, factor = joint.mimic.joint, _or(joint.mimic.multiplier, 1.0)
                offset = _or(joint.mimic.offset, 0.0)
            if leader not in order:
                raise ValueError(f"{path}: the joint {joint.name} follows {leader}, which is no driven joint")
            kind = "slide" if joint.type == "prismatic" else "turn"
            steps.append(Step(origin, axis, kind, order[leader], factor, offset))
        else:
            raise ValueError(f"{path}: the joint {joint.name} is {joint.type}, which is not supported")
    return steps[::-1]


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _limits(joint: Any) -> tuple[float, float]:
    if joint.type == "continuous" or joint.limit is None:
        return -math.pi, math.pi
    return _or(joint.limit.lower, 0.0), _or(joint.limit.upper, 0.0)


def _range(joint: Any, joints: Sequence[Any]) -> tuple[float, float]:
    """A driven joint's limits, narrowed to what the joints that follow it can take; one whose own limits would leave it no
    range at all, as in files that give followers none in earnest, does not count.
    """
    low, high = _limits(joint)
    for follower in joints:
        factor = _or(follower.mimic.multiplier, 1.0) if follower.mimic and follower.mimic.joint == joint.name else 0.0
        if factor:
            ends = sorted((end - _or(follower.mimic.offset, 0.0)) / factor for end in _limits(follower))
            if max(low, ends[0]) < min(high, ends[1]):
                low, high = max(low, ends[0]), min(high, ends[1])
    return low, high


@dataclass(frozen=True)
class Fit:
    """How a person's hand is laid on the robot's: robot = size of the robot's hand / of the person's * rotation @ person."""

    rotation: np.ndarray  # (3, 3) from the hand model's canonical frame to the robot's wrist
    size: float  # metres: mean distance from wrist to fingertips of the open robot hand
    model: HandModel


def fit_frames(
    robot: RobotHand, side: str, axes: np.ndarray | None = None, scale: float | None = None, hand_model: str = "lgnet"
) -> Fit:
    """Lay a person's flat and half-bent hand on the robot's open and half-bent one: by the turn that brings the vectors from
    wrist to fingertips nearest to each other.

    Args:
        robot: from `load_robot`.
        side: of the person's hand, "right" or "left".
        axes: (2, 3) where the robot's fingers point and its palm looks, in its wrist's frame; None: found.
        scale: the robot's size over the person's mean hand; None: by the mean length of those vectors.
        hand_model: which hand model the results have.
    """
    model = load_hand_model(hand_model, side)  # type: ignore[arg-type]
    fingers, tips = list(robot.fingers), robot.tips(robot.open())[0]
    own = _model_tips(model, np.zeros(10))[fingers]
    size = float(np.linalg.norm(tips, axis=1).mean())
    if scale is not None:
        size = scale * float(np.linalg.norm(own, axis=1).mean())
    if axes is not None:
        from .anatomy import palm_axes

        own_axes = palm_axes(model).double().numpy()
        return Fit(_frame(axes).T @ _frame(own_axes), size, model)
    bent = robot.tips((robot.low + robot.high) / 2)[0]
    angles = np.zeros((15, 3))
    angles[:, 0] = LIMITS[:, 0].mean(1)
    turns = rotations_from_angles(model, torch.from_numpy(angles))
    posed = pose_hand(model, torch.cat([torch.eye(3)[None], turns.float()]), torch.zeros(10))
    own_bent = posed.joints.double().numpy()[TIPS][fingers]
    weight = np.where(np.array(fingers) == 0, THUMB, 1.0)
    pairs = [(own, tips, weight)]
    if np.linalg.norm(bent - tips, axis=1).mean() > 0.3 * np.linalg.norm(tips, axis=1).mean():
        pairs.append((own_bent, bent, weight))
    spread = sum((w[:, None] * b).T @ a for a, b, w in pairs)
    u, _, vt = np.linalg.svd(spread)
    keep = np.diag([1.0, 1.0, np.linalg.det(u @ vt)])
    return Fit(u @ keep @ vt, size, model)


def _frame(axes: np.ndarray) -> np.ndarray:
    """(3, 3) rows: along, out of the palm made square to it, and across."""
    along = axes[0] / np.linalg.norm(axes[0])
    palm = axes[1] - (axes[1] @ along) * along
    palm = palm / np.linalg.norm(palm)
    return np.stack([along, palm, np.cross(along, palm)])


def _model_tips(model: HandModel, betas: np.ndarray) -> np.ndarray:
    """(5, 3) wrist to fingertips of the flat hand of this shape, metres."""
    posed = pose_hand(model, torch.eye(3).expand(16, 3, 3), torch.from_numpy(betas).float())
    return posed.joints.double().numpy()[TIPS]


def targets(robot: RobotHand, fit: Fit, hand: Mapping[str, Any]) -> np.ndarray:
    """(F, 3) metres: where the robot's fingertips are to be, of one entry of a result's `hands`."""
    joints = np.asarray(hand["joints3d"], np.float64)
    wrist = rotvec_to_matrix(torch.tensor(hand["pose"][0], dtype=torch.float64)).numpy()
    flat = _model_tips(fit.model, np.asarray(hand["shape"], np.float64))[list(robot.fingers)]
    own = float(np.linalg.norm(flat, axis=1).mean()) * float(hand.get("scale", 1.0))
    vectors = (joints[TIPS] - joints[0])[list(robot.fingers)] @ wrist
    return fit.size / own * vectors @ fit.rotation.T


def solve(robot: RobotHand, goal: np.ndarray, last: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """The angles (n,) that bring the fingertips nearest to `goal` (F, 3), and how far they are off on average, metres.

    Args:
        robot: from `load_robot`.
        goal: in the wrist's frame.
        last: (n,) the frame's before: where it starts, and what it is drawn to. None: the best of two starts, the open
            and the half-bent hand.
    """
    if last is None:
        starts = (robot.open(), (robot.low + robot.high) / 2)
        found = [_descend(robot, goal, start, start, 0.01 * SMOOTH) for start in starts]
        best = min(found, key=lambda q: float(((robot.tips(q)[0] - goal) ** 2).sum()))
    else:
        best = _descend(robot, goal, last, last, SMOOTH)
    return best, float(np.linalg.norm(robot.tips(best)[0] - goal, axis=1).mean())


def _descend(robot: RobotHand, goal: np.ndarray, start: np.ndarray, pull: np.ndarray, weight: float) -> np.ndarray:
    """Damped Gauss-Newton; a joint that stands at its limit and would go on is left out of the step."""

    def residual(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places, slopes = robot.tips(q)
        rows = np.concatenate([slopes.reshape(-1, len(q)), weight * np.eye(len(q))])
        return np.concatenate([(places - goal).ravel(), weight * (q - pull)]), rows

    q, damping = start.copy(), 1e-6
    r, J = residual(q)
    for _ in range(100):
        slope = J.T @ r
        free = ~(((q <= robot.low) & (slope > 0)) | ((q >= robot.high) & (slope < 0)))
        if not free.any():
            break
        normal = (J.T @ J)[np.ix_(free, free)]
        step = np.zeros_like(q)
        step[free] = -np.linalg.solve(normal + damping * np.eye(int(free.sum())), slope[free])
        size = np.abs(step).max()
        trial = np.clip(q + step * min(1.0, 0.5 / max(size, 1e-12)), robot.low, robot.high)
        r_new, J_new = residual(trial)
        if r_new @ r_new < r @ r:
            moved = np.abs(trial - q).max()
            q, r, J, damping = trial, r_new, J_new, max(damping / 4, 1e-9)
            if moved < 1e-7:
                break
        else:
            damping *= 8
            if damping > 1e3:
                break
    return q
