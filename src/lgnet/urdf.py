"""A robot hand as a URDF describes it: its driven joints, and the chains from its wrist to its fingertips.

The file is parsed by yourdfpy (extra `robot`); which link is which fingertip is told from the links' names, or by the user.
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

from .hands import FINGERS, SIDES

LONGEST = 10.0
"""Metres between two joints; what is more was meant in millimetres."""
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
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise ValueError(f"the robot's file {path} {what}; check the name")
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
    if not used or not (limits[:, 0] < limits[:, 1]).any():
        raise ValueError(f"{path}: no joint can move between {wrist} and the fingertips {', '.join(tips.values())}")
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
    if not names:
        raise ValueError(f"{path} describes no link; give the URDF of a robot hand")
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
        if not np.isfinite(origin).all() or np.abs(origin[:3, 3]).max() > LONGEST:
            far = np.abs(origin[:3, 3]).max()
            raise ValueError(f"{path}: the joint {joint.name} lies {far:g} from its link; metres are wanted")
        if joint.type != "fixed" and not 1e-6 < np.linalg.norm(axis) < 1e6:
            raise ValueError(f"{path}: the joint {joint.name} has the axis {axis.tolist()}, which is no direction")
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
