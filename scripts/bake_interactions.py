"""Bake the bank of two-hand poses that training draws from: src/lgnet/weights/interactions.npz.

    python scripts/bake_interactions.py [--count 2000] [--seed 20] [--out FILE]

Starts key poses (lgnet/synth/pairs.py) with everybody's own variation, solves them (contact.py), keeps those whose hands
cut each other by less than 3 mm and, where they should touch, come within 5 mm. Half a second a pair on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from lgnet.hand_model import load_hand_model
from lgnet.penetration import measure_contact
from lgnet.synth.contact import pose_points, solve, start
from lgnet.synth.interaction import BANK, pack
from lgnet.synth.pairs import PAIRS

DEEPEST, FARTHEST = 0.003, 0.005
BATCH = 64


def main() -> None:
    """Solve, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=768, help="pairs to solve; some four fifths are kept")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", default=str(Path(__file__).parents[1] / "src/lgnet" / BANK))
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    models = [load_hand_model("lgnet", side) for side in ("right", "left")]
    faces = [model.faces.numpy() for model in models]
    kept, depths, gaps, done = [], [], [], 0
    for first in track(range(0, options.count, BATCH), "solving", console=Console(stderr=True)):
        count = min(BATCH, options.count - first)
        names = [list(PAIRS)[(first + i) % len(PAIRS)] for i in range(count)]
        pairs = solve(names, start(names, rng))
        with torch.no_grad():
            right, left = (points.numpy() for points in pose_points(pairs, models))
        for i, name in enumerate(names):
            contact = measure_contact(right[i], faces[0], left[i], faces[1])
            done += 1
            if contact.depth < DEEPEST and (contact.distance < FARTHEST or not PAIRS[name].touch):
                kept.append((name, pairs.angles[i], pairs.turn[i], pairs.shift[i], pairs.betas[i]))
                depths.append(contact.depth * 1000)
                gaps.append(contact.distance * 1000)
    pack(kept, options.out)
    size = Path(options.out).stat().st_size / 1e6
    print(f"kept {len(kept)} of {done}: {size:.2f} MB in {options.out}")
    print(f"depth mm: median {np.median(depths):.2f}, 95 % {np.percentile(depths, 95):.2f}")
    print(f"within 5 mm: {np.mean(np.array(gaps) <= 5):.3f}")


if __name__ == "__main__":
    main()
