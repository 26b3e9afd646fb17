"""How hands stand to each other in interacting scenes: distance, penetration, joint angles, relative pose.

    python benchmarks/interaction_report.py [--count 300] [--seed 5] [--bank 1.0]

Scenes as training draws them (preset lgnet-mobile), of a seed of their own; meshes, not pixels.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lgnet.anatomy import LIMITS
from lgnet.hand_model import load_hand_model
from lgnet.hands import SIDES
from lgnet.penetration import measure_contact
from lgnet.presets import PRESETS
from lgnet.synth.generate import training_rng
from lgnet.synth.poses import LIBRARY
from lgnet.synth.scene import sample_gesture, sample_scene

ANGLES = (("flex", 0), ("spread", 1))
JOINTS = ("thumb CMC", "thumb MCP", "thumb IP") + tuple(
    f"{f} {j}" for f in ("index", "middle", "ring", "little") for j in ("MCP", "PIP", "DIP")
)


def contacts(count: int, seed: int, bank: float) -> Table:
    """Distances, depths and volumes over `count` scenes, and how far the relative pose spreads."""
    config = replace(PRESETS["lgnet-mobile"].synth, bank=bank)
    faces = [load_hand_model("lgnet", side).faces.numpy() for side in SIDES]
    found, turns, shifts = [], [], []
    for index in track(range(count), "measuring", console=Console(stderr=True), transient=True):
        scene = sample_scene(training_rng(seed, 0, index), config, "interacting")
        right, left = scene.hands
        assert right is not None and left is not None
        found.append(measure_contact(right.vertices, faces[0], left.vertices, faces[1]))
        wrist = right.rotations[0].T @ left.rotations[0]
        turns.append(np.linalg.norm(cv2.Rodrigues(wrist.astype(np.float64))[0]))
        shifts.append(np.linalg.norm(left.joints[9] - right.joints[9]))
    table = Table("", "median", "95 %", title=f"{count} interacting scenes of seed {seed}, bank {bank}")
    for name, values in (
        ("closest distance, mm", [c.distance * 1e3 for c in found]),
        ("penetration depth, mm", [c.depth * 1e3 for c in found]),
        ("penetration volume, mm3", [c.volume * 1e9 for c in found]),
        ("turn of left against right, degrees", np.rad2deg(turns)),
        ("distance of middle knuckles, mm", np.array(shifts) * 1e3),
    ):
        table.add_row(name, f"{np.median(values):.2f}", f"{np.percentile(values, 95):.2f}")
    table.add_row("depth under 3 mm", f"{np.mean([c.depth < 0.003 for c in found]):.3f}", "")
    table.add_row("touching or within 5 mm", f"{np.mean([c.distance <= 0.005 for c in found]):.3f}", "")
    return table


def angles(count: int, seed: int) -> Table:
    """How much of each joint's range of flexion single poses cover: 1st and 99th percentile against the limits."""
    rng = np.random.default_rng(seed)
    config = PRESETS["lgnet-mobile"].synth
    poses = np.stack([sample_gesture(rng, config)[0] for _ in range(count)])
    title = f"joint angles in degrees, {count} poses; limits after AAOS 1965 ({len(LIBRARY)} key poses)"
    table = Table("joint", *(f"{name}: 1 % to 99 % (limits)" for name, _ in ANGLES), title=title)
    for joint, name in enumerate(JOINTS):
        cells = []
        for _, axis in ANGLES:
            low, high = np.rad2deg(np.percentile(poses[:, joint, axis], (1, 99)))
            least, most = np.rad2deg(LIMITS[joint, axis])
            cells.append(f"{low:.0f} to {high:.0f} ({least:.0f} to {most:.0f})" if most > least else "-")
        table.add_row(name, *cells)
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--bank", type=float, default=PRESETS["lgnet-mobile"].synth.bank)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=110)
    console.print(contacts(options.count, options.seed, options.bank))
    console.print(angles(4 * options.count, options.seed))


if __name__ == "__main__":
    main()
