"""What own boxes cost, by how well they fit: hands of synth-bench with true and with own boxes, beside each other.

    python benchmarks/box_errors.py --count 500
    python benchmarks/box_errors.py --count 250 --weights FILE --found-by lgnet-mobile   # the same boxes for other weights

Each hand that is found is counted under the IoU of the box it was cropped by with its true one, and whether that box lies
rather on the other hand. `share` is what the row adds to the difference of the MPJPE (protocol C, mm) of all found hands.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import lgnet
from lgnet.data.sample import Sample
from lgnet.evaluate import predict_sample
from lgnet.finder import Finder
from lgnet.geometry import iou
from lgnet.hands import WRIST, Hand
from lgnet.synth.generate import bench_sample

EDGES = (0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.001)


def error(hand: Hand | None, sample: Sample, side: int) -> float:
    """MPJPE in millimetres, relative to the wrist; NaN of a missed hand."""
    if hand is None:
        return float("nan")
    true = sample.joints3d[side] - sample.joints3d[side, WRIST]
    return float(1000 * np.linalg.norm(hand.joints3d - hand.joints3d[WRIST] - true, axis=1).mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="pictures of synth-bench, its first ones")
    parser.add_argument("--weights", default="lgnet-mobile")
    parser.add_argument(
        "--found-by", default=None, help="weights whose opinion and boxes the finder takes; else the same"
    )
    parser.add_argument("--tta", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = lgnet.load(options.weights, tta=options.tta)
    if options.found_by is not None and isinstance(model.finder, Finder):
        model = replace(model, finder=replace(model.finder, seen=lgnet.load(options.found_by).either_side))
    rows = []
    for number in track(range(options.count), console=Console(stderr=True), transient=True):
        sample = bench_sample(number)
        own, true = (predict_sample(model, sample, boxes) for boxes in ("own", "truth"))
        for side in np.flatnonzero(sample.present).tolist():
            hands = [(pair.right, pair.left)[side] for pair in (own, true)]
            box = None if hands[0] is None else hands[0].box
            fits = [0.0 if box is None else iou(box, of) for of in (sample.box[side], sample.box[1 - side])]
            rows.append((*(error(hand, sample, side) for hand in hands), *fits, sample.present.all()))
    own, true, fit, other, pair = np.array(rows, float).T
    found = ~np.isnan(own)
    table = Table("IoU of box and true box", "hands", "own", "true", "share")

    def add(name: str, chosen: np.ndarray) -> None:
        if chosen.any():
            share = (own - true)[chosen].sum() / found.sum()
            table.add_row(
                name, str(chosen.sum()), f"{own[chosen].mean():.1f}", f"{true[chosen].mean():.1f}", f"{share:.2f}"
            )

    for low, high in itertools.pairwise(EDGES):
        add(f"{low:.1f} to {min(high, 1):.1f}", found & (fit >= low) & (fit < high))
    add("of these: rather on the other hand", found & (pair > 0) & (other > fit))
    add("all that are found", found)
    Console().print(table)
    print(f"{(~found).sum()} of {len(found)} hands are not found; with true boxes {true.mean():.1f} mm over all")


if __name__ == "__main__":
    main()
