"""How well hands are found for other thresholds: where those of lgnet.detect come from, and what opinion.belief weighs.

    python benchmarks/finder_thresholds.py [--count 300] [--both 0.3] [--detector FILE] [--sides FILE] [--pair FILE]

Synthetic pictures like those of synth-bench, of a seed that no recorded run and not synth-bench uses. What the hand network
drops afterwards is not counted here; `lgnet evaluate --boxes own` counts it.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import lgnet
from lgnet import opinion, pair
from lgnet.data.sample import Sample
from lgnet.detect import HAND_THRESHOLD, SIDE_WEIGHT, Place, choose_sides
from lgnet.finder import FINDERS, find_sides, load_finder
from lgnet.geometry import iou
from lgnet.synth.generate import BENCH_CONFIG, make_sample, training_rng

SEED = 777
KINDS = ("interacting", "interacting", "interacting", "separate", "single")
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
WEIGHTS = (0.15, 0.3, 0.45, 0.6)

BELIEFS = ((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 1.0), (0.1, 0.4, 1.0), (0.2, 0.8, 2.0))
"""Of `opinion.PRESENT`, `UNSURE` and `FITS`."""

Seen = tuple[Sample, list[Place], np.ndarray, opinion.Opinion | None]
"""What was found in a picture, and the hand network's opinion of the places, None where there are none."""


def pictures(count: int) -> Iterator[Sample]:
    """So many of the seed."""
    for index in range(count):
        yield make_sample(training_rng(SEED, 0, index), BENCH_CONFIG, KINDS[index % len(KINDS)])


def collect(count: int, files: dict[str, str | None]) -> list[Seen]:
    """Pictures with the places found in them and the probabilities of their sides."""
    finder = load_finder(torch.device("cpu"), **files)
    if finder is None:
        raise SystemExit("the package has no weights to find hands with; give --detector, --sides and --pair")
    either_side = lgnet.load(device="cpu").either_side
    said: list[opinion.Opinion] = []

    def listen(*asked: Any) -> opinion.Opinion:
        said.append(either_side(*asked))
        return said[-1]

    finder = replace(finder, seen=listen)
    seen: list[Seen] = []
    for sample in track(pictures(count), "looking", count, console=Console(stderr=True), transient=True):
        assert sample.K is not None
        said.clear()
        seen.append((sample, *find_sides(finder, sample.image, sample.K), said[-1] if said else None))
    return seen


def believing(seen: list[Seen], present: float, unsure: float, fits: float) -> list[Seen]:
    """The same with other weights of `opinion.belief`."""
    opinion.PRESENT, opinion.UNSURE, opinion.FITS = present, unsure, fits

    def again(found: list[Place], said: opinion.Opinion | None) -> list[Place]:
        if said is None:
            return found
        told = opinion.belief([place.box for place in found], said)
        return [replace(place, believed=belief) for place, belief in zip(found, told)]

    return [(sample, again(found, said), sides, said) for sample, found, sides, said in seen]


def score(seen: list[Seen], threshold: float, weight: float) -> dict[str, float]:
    """Presence over sides; of true hands: found by place, found with side; of single hands' pictures: a second invented."""
    presence, placed, sided, invented = [], [], [], []
    for sample, proposed, sides, _ in seen:
        found = {d.side: d.box for d in choose_sides(proposed, sides, threshold, weight)}
        presence += [(side in found) == sample.present[side] for side in (0, 1)]
        for side in np.flatnonzero(sample.present):
            near = [other for other, box in found.items() if iou(box, sample.box[side].astype(float)) > 0.35]
            placed.append(bool(near))
            sided.append(side in near)
        if sample.present.sum() == 1:
            invented.append(len(found) > 1)
    columns = {"presence": presence, "found": placed, "found with side": sided, "second invented": invented}
    return {name: float(np.mean(values)) for name, values in columns.items()}


def main() -> None:
    """Print a row for each pair of values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--both", type=float, default=pair.BOTH, help="another BOTH")
    for name in FINDERS:
        parser.add_argument(f"--{name}", help="other weights")
    options = parser.parse_args()
    pair.BOTH = options.both
    seen = collect(options.count, {name: getattr(options, name) for name in FINDERS})
    rows = [(t, w, score(seen, t, w)) for t, w in itertools.product(THRESHOLDS, WEIGHTS)]
    table = Table("HAND_THRESHOLD", "SIDE_WEIGHT", *rows[0][2], title=f"{len(seen)} pictures of seed {SEED}")
    for threshold, weight, figures in rows:
        used = " *" if (threshold, weight) == (HAND_THRESHOLD, SIDE_WEIGHT) else ""
        table.add_row(f"{threshold}{used}", f"{weight}", *(f"{value:.3f}" for value in figures.values()))
    Console().print(table)
    used = opinion.PRESENT, opinion.UNSURE, opinion.FITS
    table = Table("PRESENT", "UNSURE", "FITS", *rows[0][2], title="what the hand network says for a hand")
    for belief in BELIEFS:
        figures = score(believing(seen, *belief), HAND_THRESHOLD, SIDE_WEIGHT)
        weights = [f"{weight}{' *' if belief == used else ''}" for weight in belief]
        table.add_row(*weights, *(f"{value:.3f}" for value in figures.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
