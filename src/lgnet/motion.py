"""Hands over time as other programs take them: what an animation needs of each frame, BVH, and CSV of joint angles.

docs/outputs.md says what is in the files. Frames are kept in a temporary file, so memory does not grow with the video.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import numpy as np
import torch

from .anatomy import angles_from_rotations
from .geometry import matrices_of, matrices_of_quaternions, quaternions_of, rotvec_to_matrix
from .hand_model import HandModel, length_of, load_hand_model
from .hands import JOINT_NAMES, ROTATION_NAMES, ROTATION_PARENTS, SIDES, Hand, TwoHands

TO_Y_UP = np.array([1.0, -1.0, -1.0])
"""Half a turn about x: camera frame (y down, z forward) -> y up, z backward. Its own inverse."""
ANGLES = ("flex", "spread", "twist")
CHUNK = 4096
"""Frames held at once when files are made of what was kept."""
_RECORD = np.dtype(
    [("time", "<f8"), ("there", "?", 2), ("at", "<f4", (2, 3)), ("length", "<f4", 2), ("turn", "<f4", (2, 16, 4))]
)


@dataclass
class Rest:
    """One side's sums over the frames it was seen in: its mean shape, and the mesh at rest that explains them best."""

    model: HandModel
    count: int
    betas: np.ndarray  # (10,) sum
    square: np.ndarray  # (V, 3, 3) sum of B^T B, B the blend of the rotations that move the vertex
    moved: np.ndarray  # (V, 3) sum of B^T times where the vertex was, in hand lengths

    def skeleton(self) -> tuple[np.ndarray, np.ndarray]:
        """(16, 3) rotation centres and (21, 3) public joints of the mean shape at rest, the wrist at 0; metres."""
        centres, points = _rest_joints(self.model, self.betas / self.count)
        return centres - points[0], points - points[0]

    def vertices(self) -> np.ndarray:
        """(V, 3) metres: the mesh at rest, the wrist at 0, that the joints' turns carry nearest to all meshes seen."""
        _, points = _rest_joints(self.model, self.betas / self.count)
        apart = self.square + 1e-9 * self.count * np.eye(3)
        return np.linalg.solve(apart, self.moved[..., None])[..., 0] * self.length() - points[0]

    def length(self) -> float:
        """Metres of the hand of mean shape, see `hand_model.hand_length`."""
        return length_of(self.model, self.betas / self.count)


class Recorder:
    """Keeps of each frame what BVH and animated GLB need: place, size and turns of both hands, on the disk."""

    def __init__(self) -> None:
        self.count = 0
        self.rests: list[Rest | None] = [None, None]
        self.times: list[float] = []  # of the first and the last frame
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._last = np.zeros((), _RECORD)
        self._last["turn"][..., 3] = 1
        self._last["length"] = 1

    def add(self, time: float, hands: TwoHands) -> None:
        """One more frame. A hand that is not there stays as it was last, and is marked.

        Raises:
            ValueError: a mesh is not that of the result's hand model.
        """
        record = self._last.copy()
        record["time"] = time
        for side, hand in enumerate((hands.right, hands.left)):
            record["there"][side] = hand is not None
            if hand is None:
                continue
            rest = self.rests[side]
            if rest is None:
                model = load_hand_model(hands.model["hand_model"], SIDES[side])
                if len(hand.vertices) != len(model.template):
                    raise ValueError(f"the {hand.side} hand's mesh is not that of the hand model {model.name}")
                size = len(model.template)
                rest = self.rests[side] = Rest(model, 0, np.zeros(10), np.zeros((size, 3, 3)), np.zeros((size, 3)))
            record["at"][side] = hand.translation
            record["length"][side] = hand.scale * _add(rest, hand)
            turn = quaternions_of(hand.pose)
            turn[(turn * self._last["turn"][side]).sum(1) < 0] *= -1  # the shorter way from frame to frame
            record["turn"][side] = turn
        self._file.write(record.tobytes())
        self._last = record
        self.times = [*self.times[:1], float(time)]
        self.count += 1

    def chunks(self) -> Iterator[np.ndarray]:
        """The frames again, `CHUNK` at a time: structured arrays of `time`, `there` (right, left), `at` (3,) metres of the
        wrist, camera frame, `length` of the hand in metres, `turn` (16, 4) quaternions x, y, z, w.
        """
        self._file.flush()
        self._file.seek(0)
        while True:
            data = self._file.read(CHUNK * _RECORD.itemsize)
            if not data:
                break
            yield np.frombuffer(data, _RECORD)
        self._file.seek(0, io.SEEK_END)

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()


def _rest_joints(model: HandModel, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centres = model.centres.double().numpy() + model.centres_basis.double().numpy() @ betas
    return centres, model.points.double().numpy() + model.points_basis.double().numpy() @ betas


def _add(rest: Rest, hand: Hand) -> float:
    """Add a frame to the sums; the length of the hand of its shape, metres."""
    model = rest.model
    length = length_of(model, hand.shape)
    local = matrices_of(hand.pose)
    centres, points = _rest_joints(model, np.asarray(hand.shape, np.float64))
    turned, place = [np.eye(3)], [centres[0]]
    for joint in range(1, 16):
        parent = ROTATION_PARENTS[joint]
        place.append(place[parent] + turned[parent] @ (centres[joint] - centres[parent]))
        turned.append(turned[parent] @ local[joint])
    shift = np.stack([p - t @ c for p, t, c in zip(place, turned, centres)])
    weights = model.weights.double().numpy()
    blend = (weights @ np.stack(turned).reshape(16, 9)).reshape(-1, 3, 3)
    seen = (hand.vertices - hand.translation) @ local[0] / hand.scale + points[0] - weights @ shift
    rest.square += np.swapaxes(blend, 1, 2) @ blend
    rest.moved += (np.swapaxes(blend, 1, 2) @ seen[..., None])[..., 0] / length
    rest.betas += hand.shape
    rest.count += 1
    return length


# CSV

COLUMNS = (
    *("frame", "time_s", "side", "score", "wrist_x_m", "wrist_y_m", "wrist_z_m"),
    *("wrist_qx", "wrist_qy", "wrist_qz", "wrist_qw"),
    *(f"{joint}_{angle}_deg" for joint in ROTATION_NAMES[1:] for angle in ANGLES),
)


def csv_rows(frame: int, time: float, hands: TwoHands) -> str:
    """The lines of one frame, one for each hand there is, right first; columns as `COLUMNS`."""
    lines = []
    for hand in hands.hands:
        model = load_hand_model(hands.model["hand_model"], hand.side)
        local = rotvec_to_matrix(torch.from_numpy(np.asarray(hand.pose, np.float64)))
        angles = np.degrees(angles_from_rotations(model, local[1:]).numpy())
        values = [
            *(str(frame), f"{time:.6f}", hand.side, f"{hand.score:.4f}"),
            *(f"{v:.6f}" for v in (*hand.translation, *quaternions_of(np.asarray(hand.pose[0])))),
            *(f"{v:.3f}" for v in angles.ravel()),
        ]
        lines.append(",".join(values) + "\n")
    return "".join(lines)


def csv_header() -> str:
    """The first line."""
    return ",".join(COLUMNS) + "\n"


# BVH


def write_bvh(file: TextIO, recorder: Recorder, side: int, rate: float) -> None:
    """One hand's motion as BVH: centimetres, degrees, y up; a hand that is not there holds its last pose.

    Args:
        file: to write to.
        recorder: holds the frames; this side was seen in one at least.
        side: 0 right, 1 left.
        rate: frames a second, where the frames themselves do not tell.
    """
    rest = recorder.rests[side]
    assert rest is not None
    size = _mean_length(recorder, side) / rest.length() * 100
    centres, points = (v * size for v in rest.skeleton())
    file.write("HIERARCHY\n" + "\n".join(_hierarchy(SIDES[side], centres, points)) + "\n")
    first, last = recorder.times[0], recorder.times[-1]
    step = (last - first) / (recorder.count - 1) if recorder.count > 1 and last > first else 1 / rate
    file.write(f"MOTION\nFrames: {recorder.count}\nFrame Time: {step:.8f}\n")
    before = None
    for chunk in recorder.chunks():
        turns = matrices_of_quaternions(chunk["turn"][:, side].astype(np.float64))
        turns[:, 0] = TO_Y_UP[:, None] * turns[:, 0]
        angles = np.degrees(_zxy(turns))
        joined = angles if before is None else np.concatenate([before[None], angles])
        angles = np.unwrap(joined, axis=0, period=360)[len(joined) - len(angles) :]
        before = angles[-1]
        at = chunk["at"][:, side] * TO_Y_UP * 100
        for place, angle in zip(at, angles.reshape(len(angles), -1)):
            file.write(" ".join(f"{v:.5f}" for v in (*place, *angle)) + "\n")


def _mean_length(recorder: Recorder, side: int) -> float:
    total = count = 0.0
    for chunk in recorder.chunks():
        there = chunk["there"][:, side]
        total, count = total + float(chunk["length"][there, side].sum()), count + float(there.sum())
    return total / count


def _hierarchy(side: str, centres: np.ndarray, points: np.ndarray) -> list[str]:
    """The skeleton; rest: a flat hand, x to the thumb's side of a right hand, y along the fingers, z out of the palm."""

    def offset(vector: np.ndarray) -> str:
        return "OFFSET " + " ".join(f"{v:.5f}" for v in vector)

    turns = "Zrotation Xrotation Yrotation"
    lines = [f"ROOT {side}_wrist", "{", "\t" + offset(np.zeros(3))]
    lines.append(f"\tCHANNELS 6 Xposition Yposition Zposition {turns}")
    for finger in range(5):
        parent = np.zeros(3)
        for level in range(3):
            joint, tab = 1 + 3 * finger + level, "\t" * (level + 1)
            lines += [f"{tab}JOINT {side}_{ROTATION_NAMES[joint]}", f"{tab}{{"]
            lines += [f"{tab}\t{offset(centres[joint] - parent)}", f"{tab}\tCHANNELS 3 {turns}"]
            parent = centres[joint]
        tip = 4 * finger + 4
        assert JOINT_NAMES[tip].endswith("_tip")
        lines += ["\t\t\t\tEnd Site", "\t\t\t\t{", f"\t\t\t\t\t{offset(points[tip] - parent)}", "\t\t\t\t}"]
        lines += ["\t" * level + "}" for level in (3, 2, 1)]
    return [*lines, "}"]


def _zxy(m: np.ndarray) -> np.ndarray:
    """(..., 3) radians z, x, y of rotations (..., 3, 3) = Rz Rx Ry."""
    x = np.arcsin(np.clip(m[..., 2, 1], -1, 1))
    level = np.abs(m[..., 2, 1]) > 1 - 1e-9  # then z and y turn about one axis: all of it is called z
    z = np.where(level, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(-m[..., 0, 1], m[..., 1, 1]))
    y = np.where(level, 0.0, np.arctan2(-m[..., 2, 0], m[..., 2, 2]))
    return np.stack([z, x, y], -1)


def of_one_picture(hands: TwoHands, kind: str, ending: str) -> bytes | None:
    """The content of a picture's .csv or .bvh (one frame); None where there is no such hand."""
    if kind == "csv":
        return (csv_header() + csv_rows(0, 0.0, hands)).encode()
    side = 0 if ending == "_right.bvh" else 1
    if (hands.right, hands.left)[side] is None:
        return None
    recorder = Recorder()
    try:
        recorder.add(0.0, hands)
        text = io.StringIO()
        write_bvh(text, recorder, side, 30.0)
        return text.getvalue().encode()
    finally:
        recorder.close()
