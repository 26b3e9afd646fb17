"""What the hand network's opinion is worth in telling right hands from left: where the weights of lgnet.opinion come from.

    python benchmarks/side_opinions.py [--count 500] [--data synth-bench]

Places that the finder proposes are those of a hand where they overlap it by more than 0.35 (IoU). The weights are fitted to
synthetic pictures like those of synth-bench of the seed of benchmarks/finder_thresholds.py, which neither training nor
synth-bench uses; with --data the same weights are tried on another data set. Printed are how often the side is right, and the
mean of the negative log of its probability.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from finder_thresholds import pictures
from rich.console import Console
from rich.progress import track

import lgnet
from lgnet import opinion
from lgnet.data.batch import sample_camera
from lgnet.data.registry import open_data, spread
from lgnet.data.sample import Sample
from lgnet.finder import Finder, find_sides
from lgnet.geometry import iou


def collect(model: lgnet.Model, samples: Iterable[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) signs of the places of hands (`opinion.signs`), and (n,) 1 for right hands, -1 for left ones."""
    assert isinstance(model.finder, Finder) and model.finder.seen is not None
    alone, told, truth = replace(model.finder, seen=None), [], []
    for sample in samples:
        K = np.asarray(sample_camera(sample))
        places, sides = find_sides(alone, sample.image, K)
        if not places:
            continue
        rows = opinion.signs(sides, model.finder.seen(sample.image, [place.box for place in places], K))
        for place, row in zip(places, rows):
            overlap = [iou(place.box, sample.box[s].astype(float)) * sample.present[s] for s in (0, 1)]
            if max(overlap) > 0.35:
                told.append(row)
                truth.append(1 if overlap[0] > overlap[1] else -1)
    return np.array(told), np.array(truth)


def fit(told: np.ndarray, truth: np.ndarray, shrink: float = 1e-3) -> np.ndarray:
    """Weights of all signs but the first, which counts in full: logistic regression by Newton's method.

    Without a constant, so that both sides are alike. The side network's word counts in full because it is fitted too little
    otherwise: on synthetic pictures it is sure where it is wrong, on photographs of single hands it is right.
    """
    own, rest = told[:, 0], told[:, 1:]
    weights = np.zeros(rest.shape[1])
    for _ in range(50):
        wrong = 1 / (1 + np.exp(truth * (own + rest @ weights)))
        slope = -(rest * (truth * wrong)[:, None]).mean(0) + shrink * weights
        curve = (rest * (wrong * (1 - wrong))[:, None]).T @ rest / len(rest) + shrink * np.eye(len(weights))
        weights -= np.linalg.solve(curve, slope)
    return weights


def main() -> None:
    """Print the weights, and what they are worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--data", nargs="*", default=[], help="data sets to try the bundled weights on besides")
    parser.add_argument("--limit", type=int, default=500, help="pictures of each")
    options = parser.parse_args()
    model = lgnet.load()
    used = np.array([1.0, opinion.PRESENCE, opinion.ERROR_3D, opinion.ERROR_2D])
    sets: dict[str, Iterable[Sample]] = {"to fit": pictures(options.count)}
    for name in options.data:
        data = open_data(name)
        sets[name.split(":")[0]] = spread(data, options.limit) if options.limit < len(data) else data
    for name, samples in sets.items():
        told, truth = collect(model, track(list(samples), name, console=Console(stderr=True), transient=True))
        if name == "to fit":
            print("fitted:", *(f"{value:.2f}" for value in fit(told, truth)), "; in use:", *used[1:])
        for who, odds in {"side network": told[:, 0], "presence": told[:, 1], "together": told @ used}.items():
            right, loss = (odds * truth > 0).mean(), np.log1p(np.exp(-odds * truth)).mean()
            print(f"{name}: {len(truth)} places; {who}: {right:.3f} right, {loss:.3f}")


if __name__ == "__main__":
    main()
