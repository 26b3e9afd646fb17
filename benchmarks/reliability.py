"""Do the weights know how wrong they are: expected against actual errors, over a data set.

    python benchmarks/reliability.py --data synth-bench --boxes truth --out docs/reliability.png
    python benchmarks/reliability.py --data realdata:../shared/realdata --boxes own

Joints are compared without the wrist, whose error is 0 by definition (protocol C); hands by their mean over 21 joints, which
is their MPJPE. "Calibration error" is the mean over ten equal bins of |mean expected - mean actual|, mm. "Rank" is Spearman's
correlation. "Area" is the mean of the risk-coverage curve, mm: the error of the hands that are kept when the least sure ones
are refused one by one; `best` if they were refused by their true error, `blind` if by lot. The 2D columns compare the same
expectation with the 2D error as a share of the hand's box, for data without 3D truth: ranks only.
"""

from __future__ import annotations

import argparse

import numpy as np

import lgnet
from lgnet.data.registry import open_data
from lgnet.evaluate import predict_sample
from lgnet.hands import WRIST
from lgnet.metrics import MM
from lgnet.plots import plot_reliability

BINS = 10


def ranks(values: np.ndarray) -> np.ndarray:
    """(n,) places in the order of the values, ties sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def bins(expected: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(BINS,) mean expected and mean actual error of equally many, from the surest to the least sure."""
    order = np.array_split(np.argsort(expected, kind="stable"), BINS)
    return np.array([expected[o].mean() for o in order]), np.array([actual[o].mean() for o in order])


def risk(order_by: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(n,) the mean error of the k surest, k = 1 to n."""
    return np.cumsum(actual[np.argsort(order_by, kind="stable")]) / np.arange(1, len(actual) + 1)


def gather(model: lgnet.Model, data, boxes: str) -> dict[str, np.ndarray]:
    """Expected and actual errors of joints (mm), of hands (mm), and 2D errors (shares of the box) with their expectation."""
    out: dict[str, list[np.ndarray]] = {k: [] for k in ("joint", "joint_true", "hand", "hand_true")}
    out |= {k: [] for k in ("flat", "flat_true", "hand_flat", "hand_flat_true")}
    for sample in data:
        hands = predict_sample(model, sample, boxes)
        for side, hand in enumerate((hands.right, hands.left)):
            if hand is None or not sample.present[side]:
                continue
            if hand.joint_errors is None:
                raise SystemExit(f"{model.name} is not calibrated: python scripts/calibrate.py FILE")
            expected = hand.joint_errors * MM
            if sample.joints3d_valid[side].all():
                truth = sample.joints3d[side] - sample.joints3d[side, WRIST]
                actual = np.linalg.norm(hand.joints3d - hand.joints3d[WRIST] - truth, axis=1) * MM
                out["joint"].append(expected[1:])
                out["joint_true"].append(actual[1:])
                out["hand"].append(expected.mean(keepdims=True))
                out["hand_true"].append(actual.mean(keepdims=True))
            seen = sample.joints2d_valid[side].copy()
            if seen.any():
                flat = np.linalg.norm(hand.joints2d - sample.joints2d[side], axis=1) / sample.box[side, 2:].max()
                out["hand_flat"].append(expected.mean(keepdims=True))
                out["hand_flat_true"].append(flat[seen].mean(keepdims=True))
                seen[WRIST] = False
                out["flat"].append(expected[seen])
                out["flat_true"].append(flat[seen])
    return {key: np.concatenate(values) if values else np.zeros(0) for key, values in out.items()}


def main() -> None:
    """Print the figures, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synth-bench")
    parser.add_argument("--boxes", choices=["own", "truth"], default="truth")
    parser.add_argument("--weights", default="lgnet-mobile")
    parser.add_argument("--tta", type=int, default=1)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--out", default=None, help="a PNG: the reliability plot")
    options = parser.parse_args()
    data = open_data(options.data, options.limit)
    found = gather(lgnet.load(options.weights, tta=options.tta), data, options.boxes)
    curves = {}
    for what in ("joint", "hand"):
        expected, actual = found[what], found[f"{what}_true"]
        if len(expected) >= BINS:
            low, high = bins(expected, actual)
            area, best = risk(expected, actual).mean(), risk(actual, actual).mean()
            print(
                f"{what}s: {len(expected)}; expected {expected.mean():.1f}, actual {actual.mean():.1f} mm; calibration error "
                f"{np.abs(low - high).mean():.1f} mm; rank {spearman(expected, actual):.2f}; area {area:.1f} mm "
                f"(blind {actual.mean():.1f}, best {best:.1f}); half of the {what}s, the surest: "
                f"{risk(expected, actual)[len(actual) // 2 - 1]:.1f} mm"
            )
            print("  expected", np.round(low, 1).tolist(), "\n  actual  ", np.round(high, 1).tolist())
            curves[what] = (low, high, risk(expected, actual), risk(actual, actual))
    for what in ("flat", "hand_flat"):
        name = "2D, joints" if what == "flat" else "2D, hands"
        print(f"{name}: {len(found[what])}; rank {spearman(found[what], found[f'{what}_true']):.2f}")
    if options.out and curves:
        plot_reliability(curves, options.out, f"{options.data.split(':')[0]}, boxes: {options.boxes}")


if __name__ == "__main__":
    main()
