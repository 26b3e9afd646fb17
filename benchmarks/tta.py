"""How many rolled crops of a hand, and how far rolled: where `lgnet.tta.WIDEST` comes from.

    python benchmarks/tta.py [--count 300] [--data realdata:../shared/realdata]

MPJPE (protocol C), PA-MPJPE and 2D PCK with true boxes, on synthetic pictures like those of synth-bench of the seed of
benchmarks/finder_thresholds.py, which neither training nor synth-bench uses; or on another data set.
"""

from __future__ import annotations

import argparse

import numpy as np
from finder_thresholds import pictures
from rich.console import Console
from rich.progress import track
from rich.table import Table

import lgnet
from lgnet import tta
from lgnet.data.registry import open_data
from lgnet.evaluate import predict_sample
from lgnet.scoring.score import score_picture

TRIED = ((1, 0.0), (2, 15.0), (2, 25.0), (3, 15.0), (3, 20.0), (3, 25.0), (3, 30.0), (3, 40.0), (5, 30.0), (5, 40.0))
"""Crops, and degrees of the outermost."""


def main() -> None:
    """Print a row for each pair of values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--data", default=None)
    parser.add_argument("--weights", default="lgnet-mobile")
    options = parser.parse_args()
    samples = list(pictures(options.count)) if options.data is None else list(open_data(options.data, options.count))
    rows = Table("crops", "degrees", "MPJPE", "PA-MPJPE", "PCK@0.2", "PCK@0.1")
    for count, widest in track(TRIED, "looking", console=Console(stderr=True), transient=True):
        tta.WIDEST = widest
        model = lgnet.load(options.weights, tta=count)
        hands = [hand for s in samples for hand in score_picture(s, predict_sample(model, s, "truth")).hands]
        flat = np.concatenate([hand.errors2d for hand in hands if hand.errors2d is not None])
        flat = flat[~np.isnan(flat)]
        mpjpe = np.mean([hand.mpjpe["C"] for hand in hands if "C" in hand.mpjpe])
        aligned = np.mean([hand.pa_mpjpe for hand in hands if hand.pa_mpjpe is not None])
        figures = (f"{mpjpe:.2f}", f"{aligned:.2f}", f"{(flat < 0.2).mean():.3f}", f"{(flat < 0.1).mean():.3f}")
        rows.add_row(str(count), f"{widest:g}", *figures)
    Console().print(rows)


if __name__ == "__main__":
    main()
