"""Hands followed and smoothed through videos: jitter, delay, error, and how often the detector had to look.

    python benchmarks/following.py                          # synthetic sequences, whose truth is known
    python benchmarks/following.py --videos film.mp4        # your own: without truth

Synthetic: two hands move smoothly between key poses before a still camera, 30 frames a second, drawn by lgnet.synth.
Reported of the joints of all hands that are there, found on their own side:

- MPJPE: mm, joints relative to the wrist, unscaled (protocol C); "placed": the same in the camera frame;
- jitter: mm/frame^2, length of the difference between the second differences found and true, in the camera frame
  ("turned": relative to the wrist); of a real video, where truth is not known, of the found ones alone;
- delay: frames by which the joints (relative to the wrist) lag behind the truth: the best shift by cross-correlation,
  between frames by a parabola. Unfiltered hands lag by nothing, so what they show is this measure's own error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from lgnet import predict
from lgnet.config import SynthConfig
from lgnet.data.sample import Sample
from lgnet.follow import Following, follow
from lgnet.geometry import matrix_to_rotvec, rotvec_to_matrix
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.hands import SIDES, Camera, Hand
from lgnet.image_io import expand_inputs
from lgnet.smooth import Moment, smooth
from lgnet.synth.generate import draw
from lgnet.synth.rotations import random_turn
from lgnet.synth.scene import PlacedHand, Scene, sample_scene
from lgnet.video import open_film

RATE = 30.0
CONFIG = SynthConfig(size=320, full_frame=True, fill=(0.4, 0.7), difficulty=0.2)
KEYS_A_SECOND = 2.5
HOWS = ("off", "live", "offline")


def turned(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """(n, 3, 3) the rotations `share` of the way from a to b along the shortest turns."""
    first, second = torch.from_numpy(a).double(), torch.from_numpy(b).double()
    return (first @ rotvec_to_matrix(share * matrix_to_rotvec(first.transpose(-1, -2) @ second))).numpy()


def sequence(seed: int, frames: int, kind: str) -> list[Sample]:
    """Pictures of two hands that move from key to key, at rest at each (cosine).

    Every frame is drawn with the same random numbers, so skin, light and background stand still. An arm that comes near
    the camera is left out, which shifts these numbers: such a sequence is drawn again from another seed.
    """
    for again in range(20):
        samples = _sequence(seed + 1000 * again, frames, kind)
        if samples is not None:
            return samples
    raise ValueError(f"no sequence of {frames} frames after seed {seed} keeps its arms off the camera")


def _sequence(seed: int, frames: int, kind: str) -> list[Sample] | None:
    rng = np.random.default_rng(seed)
    base = sample_scene(rng, CONFIG, kind)
    count = 2 + int(frames / RATE * KEYS_A_SECOND)
    keys: list[list[tuple[np.ndarray, np.ndarray] | None]] = []
    for index in range(count):
        other = sample_scene(rng, CONFIG, kind)
        key: list[tuple[np.ndarray, np.ndarray] | None] = []
        for hand, pose in zip(base.hands, other.hands):
            if hand is None:
                key.append(None)
                continue
            rotations, at = hand.rotations.copy(), hand.joints[0].astype(np.float64)
            if index and pose is not None:
                rotations[0] = random_turn(rng, 25) @ rotations[0]
                rotations[1:] = turned(rotations[1:], pose.rotations[1:], 0.7)
                at = at + rng.normal(0, 0.02, 3)
            key.append((rotations, at))
        keys.append(key)
    samples, meshes = [], None
    for frame in range(frames):
        step, within = divmod(frame / RATE * KEYS_A_SECOND, 1)
        share = (1 - np.cos(np.pi * within)) / 2
        hands: list[PlacedHand | None] = []
        for side, (own, a, b) in enumerate(zip(base.hands, keys[int(step)], keys[int(step) + 1])):
            if own is None or a is None or b is None:
                hands.append(None)
                continue
            rotations = turned(a[0], b[0], share)
            at = a[1] + share * (b[1] - a[1])
            posed = pose_hand(
                load_hand_model("lgnet", SIDES[side]),
                torch.from_numpy(rotations).float(),
                torch.from_numpy(own.betas).float(),
            )
            arm = rotations[0] @ own.rotations[0].T @ own.arm
            hands.append(
                replace(
                    own,
                    rotations=rotations,
                    vertices=posed.vertices.numpy() + at,
                    joints=posed.joints.numpy() + at,
                    arm=arm,
                )
            )
        scene = Scene(kind, (hands[0], hands[1]), base.K, base.size)
        drawn = draw(np.random.default_rng(seed), scene, CONFIG, f"{seed}-{frame}", force=True)
        assert drawn is not None
        meshes = meshes or len(drawn.meshes)
        if len(drawn.meshes) != meshes:
            return None
        samples.append(drawn.sample)
    return samples


def followed(
    model: predict.Model, pictures: Iterator[tuple[float, np.ndarray, Camera | None]], each_alone: bool = False
):
    """The moments of a video, how many had a look of the detector, and the seconds a frame."""
    state, moments, looks, begun, seconds = Following(), [], 0, 0.0, 0.0
    for moment, image, camera in pictures:
        begun = time.perf_counter()
        step = follow(model, Following() if each_alone else state, image, camera)
        seconds += time.perf_counter() - begun
        state = step.state
        looks += step.looked
        fresh = (False, False) if each_alone else step.fresh
        moments.append(Moment(moment, step.hands, fresh))
    return moments, looks, seconds / max(len(moments), 1)


def joints_of(moments: list[Moment]) -> np.ndarray:
    """(T, 2, 21, 3) metres, camera frame; NaN where there is no hand."""

    def joints(hand: Hand | None) -> np.ndarray:
        return np.full((21, 3), np.nan) if hand is None else hand.joints3d

    return np.stack([[joints(m.hands.right), joints(m.hands.left)] for m in moments])


def delay(found: np.ndarray, true: np.ndarray, most: int = 6) -> float:
    """Frames by which found (T, ...) lags behind true (T, ...): where their correlation is greatest."""
    values = []
    for shift in range(-most, most + 1):
        a = found[max(shift, 0) : len(found) + min(shift, 0)]
        b = true[max(-shift, 0) : len(true) + min(-shift, 0)]
        good = np.isfinite(a) & np.isfinite(b)
        n = np.maximum(good.sum(0), 1)
        a, b = (np.where(good, v - np.where(good, v, 0).sum(0) / n, 0) for v in (a, b))
        values.append((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    best = int(np.clip(np.argmax(values), 1, 2 * most - 1))
    left, middle, right = values[best - 1 : best + 2]
    return best - most + 0.5 * (left - right) / (left - 2 * middle + right)


def bent(joints: np.ndarray) -> np.ndarray:
    """Second differences over time."""
    return joints[2:] - 2 * joints[1:-1] + joints[:-2]


def mean_length(vectors: np.ndarray) -> float:
    """Millimetres."""
    return float(1000 * np.nanmean(np.linalg.norm(vectors, axis=-1)))


def figures(moments: list[Moment], true: np.ndarray | None) -> dict[str, float]:
    """What this module's head says, of one sequence."""
    found = joints_of(moments)
    rooted = found - found[:, :, :1]
    if true is None:
        return {"jitter": mean_length(bent(found)), "jitter turned": mean_length(bent(rooted))}
    true_rooted = true - true[:, :, :1]
    return {
        "MPJPE": mean_length(rooted - true_rooted),
        "MPJPE placed": mean_length(found - true),
        "jitter": mean_length(bent(found) - bent(true)),
        "jitter turned": mean_length(bent(rooted) - bent(true_rooted)),
        "delay": delay(rooted, true_rooted),
    }


@dataclass
class Row:
    """One line of the table."""

    name: str
    found: float  # share of the hands that are there (real: of two a frame)
    looked: float  # share of the frames in which the detector looked
    milliseconds: float
    values: dict[str, dict[str, float]]


def table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        lines.append(f"{row.name}: hands {row.found:.0%}, detector {row.looked:.0%}, {row.milliseconds:.0f} ms a frame")
        for how, values in row.values.items():
            lines.append(f"  {how:8s}" + "".join(f"  {key} {value:6.2f}" for key, value in values.items()))
    return "\n".join(lines)


def main(
    sequences: int = 3,
    frames: int = 60,
    seed: int = 1,
    videos: tuple[Annotated[str, tyro.conf.arg(metavar="FILE")], ...] = (),
    alone: bool = False,
    out: str | None = None,
    device: str = "cpu",
) -> None:
    """Measure and print.

    Args:
        sequences: synthetic ones; of two hands apart, then of two hands that interact, in turns.
        frames: of each, and at most of each video.
        seed: of the first.
        videos: real ones instead.
        alone: also with every frame for itself, as pictures are done.
        out: a JSON file of the figures.
        device: where to compute.
    """
    model = predict.load(device=device)
    rows = []
    for index in range(len(videos) or sequences):
        true = None
        if videos:
            name = Path(videos[index]).name
            with open_film(expand_inputs([videos[index]])[0], frames) as film:
                pictures = [(f.time, f.image, None) for f in film.frames]
        else:
            kind = ("separate", "interacting")[index % 2]
            name = f"{kind} {seed + index}"
            samples = sequence(seed + index, frames, kind)
            true = np.stack([np.where(s.present[:, None, None], s.joints3d, np.nan) for s in samples]).astype(
                np.float64
            )
            camera = Camera(*samples[0].K.astype(float).tolist())  # type: ignore[union-attr]
            pictures = [(i / RATE, s.image, camera) for i, s in enumerate(samples)]
        for each_alone in (False, True) if alone else (False,):
            moments, looks, seconds = followed(model, iter(pictures), each_alone)
            there = np.isfinite(joints_of(moments)[:, :, 0, 0])
            values = {how: figures(list(smooth(moments, how)), true) for how in (HOWS[:1] if each_alone else HOWS)}
            title = name + (", each frame alone" if each_alone else "")
            rows.append(Row(title, float(there.mean()), looks / len(moments), 1000 * seconds, values))
            print(table(rows[-1:]), flush=True)
    if out:
        Path(out).write_text(json.dumps([vars(row) for row in rows], indent=1))


if __name__ == "__main__":
    tyro.cli(main)
