"""Fitting the hand to joints: what is left over and how long it takes, on one core.

    OMP_NUM_THREADS=1 python benchmarks/bench_fit.py [--count 1000] [--noise 3] [--data realdata:../shared/realdata]

The hands are those of synth-bench's scenes, every person's of another shape; `--data` takes the 3D joints of a data set.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from lgnet.config import SynthConfig
from lgnet.data.registry import open_data
from lgnet.fit import fit_joints
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.hands import SIDES
from lgnet.synth.generate import training_rng
from lgnet.synth.scene import sample_scene


def drawn(count: int) -> list[tuple[int, np.ndarray, np.ndarray | None]]:
    """Side, joints (21, 3) and vertices of the first hands of synth-bench's distribution."""
    found, index = [], 0
    while len(found) < count:
        scene = sample_scene(training_rng(1, 0, index), SynthConfig(signs=0, bank=0))
        found += [(side, hand.joints, hand.vertices) for side, hand in enumerate(scene.hands) if hand is not None]
        index += 1
    return found[:count]


def of_data(spec: str) -> list[tuple[int, np.ndarray, np.ndarray | None]]:
    """The hands of a data set whose 21 joints are all known in 3D."""
    return [
        (side, sample.joints3d[side], None)
        for sample in open_data(spec)
        for side in range(2)
        if sample.present[side] and sample.joints3d_valid[side].all()
    ]


def main() -> None:
    """Fit and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation added to the joints, mm")
    parser.add_argument("--data", help="a data set's 3D joints instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    hands = of_data(options.data) if options.data else drawn(options.count)
    rng = np.random.default_rng(0)
    seconds, busy, residuals, meshes = 0.0, 0.0, [], []
    for side, name in enumerate(SIDES):
        own = [hand for hand in hands if hand[0] == side]
        if not own:
            continue
        model = load_hand_model("lgnet", name)
        joints = np.stack([hand[1] for hand in own])
        joints = joints + rng.normal(0, options.noise / 1000, joints.shape)
        start, used = time.monotonic(), time.process_time()
        fit = fit_joints(model, torch.from_numpy(joints))
        seconds, busy = seconds + time.monotonic() - start, busy + time.process_time() - used
        residuals.append(fit.residual.numpy() * 1000)
        if own[0][2] is not None:
            posed = pose_hand(model, fit.rotations, fit.betas).vertices + fit.translation[:, None]
            truth = torch.from_numpy(np.stack([hand[2] for hand in own if hand[2] is not None]))
            count = min(truth.shape[1], posed.shape[1])
            meshes.append((posed[:, :count] - truth[:, :count]).norm(dim=-1).mean(1).numpy() * 1000)
    off = np.concatenate(residuals)
    mean = off.mean(1)
    print(f"{len(off)} hands in {seconds:.1f} s, {busy:.1f} s of them on the core")
    print(f"residual, mm: median {np.median(off):.2f}; of a hand's mean: median {np.median(mean):.2f}, ", end="")
    print(f"95 % {np.percentile(mean, 95):.2f}, worst {mean.max():.2f}")
    if meshes:
        off = np.concatenate(meshes)
        print(f"vertices, mm: median {np.median(off):.2f}, 95 % {np.percentile(off, 95):.2f}, worst {off.max():.2f}")


if __name__ == "__main__":
    main()
