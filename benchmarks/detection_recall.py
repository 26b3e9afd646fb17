"""How many hands are found, by their size in the picture; and how many are invented.

    python benchmarks/detection_recall.py [--count 500] [--out FILE.json] [--plot FILE.png]

Full frames drawn by lgnet.synth as the detector's training pictures, of a seed that no recorded run uses, with hands from 2 % of
the picture on. Large pictures are sheets of these, 4 x 3 (2560 x 1920 pixels): 12 people, hands a quarter as large.

A hand is found where a place scores 0.3 or more and its box overlaps the hand's own by an IoU of 0.4; each place counts for
one hand, the best overlap first. Other places of that score are false alarms: nothing there, a second one over one hand, or
a wrong size. Hands of whose box less than half is in the picture are left out, whether found or not. Size is the longer
side of the hand's box over the longer side of the picture. "With its side": the finder's decision on the whole picture.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import lgnet
from lgnet.data.sample import Sample
from lgnet.detect import Detector
from lgnet.finder import Finder, find_sides
from lgnet.geometry import iou
from lgnet.people import nearest_pair
from lgnet.places import STRONG, find_places
from lgnet.presets import PRESETS
from lgnet.synth.generate import make_sample, training_rng

SEED = 4747
SIZE = 640
BINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 1.0)
SAME = 0.4
GRID = (4, 3)

Hand = tuple[float, bool]  # size, found


def true_boxes(sample: Sample) -> list[np.ndarray]:
    return [sample.box[side].astype(float) for side in np.flatnonzero(sample.present)]


def inside(box: np.ndarray, width: int, height: int) -> bool:
    """Is half of the box in the picture?"""
    low, high = np.maximum(box[:2], 0), np.minimum(box[:2] + box[2:], [width, height])
    return bool(np.maximum(high - low, 0).prod() >= 0.5 * box[2:].prod())


def matched(boxes: list[np.ndarray], found: list[np.ndarray]) -> tuple[list[bool], list[bool]]:
    """Which boxes are found, and which places found one."""
    overlap = np.array([[iou(a, b) for b in found] for a in boxes]).reshape(len(boxes), len(found))
    hit, used = [False] * len(boxes), [False] * len(found)
    while overlap.size and overlap.max() >= SAME:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        hit[i] = used[j] = True
        overlap[i], overlap[:, j] = 0, 0
    return hit, used


def look(
    detector: Detector, image: np.ndarray, boxes: list[np.ndarray], most: int, tiles: str
) -> tuple[list[Hand], int]:
    """The hands of one picture and the number of false alarms."""
    height, width = image.shape[:2]
    places = [p.box for p in find_places(detector, image, most, tiles) if p.score >= STRONG]  # type: ignore[arg-type]
    hit, used = matched(boxes, places)
    hands = [(float(b[2:].max() / max(width, height)), h) for b, h in zip(boxes, hit) if inside(b, width, height)]
    return hands, len(used) - sum(used)


def with_side(finder: Finder, sample: Sample) -> list[Hand]:
    """The same for what the finder decides on: the right hand's box has to lie on the right hand."""
    assert sample.K is not None
    height, width = sample.image.shape[:2]
    found = {d.side: d.box for d in nearest_pair(*find_sides(finder, sample.image, sample.K))}
    out = []
    for side in np.flatnonzero(sample.present).tolist():
        box = sample.box[side].astype(float)
        if inside(box, width, height):
            hit = side in found and iou(found[side], box) >= SAME
            out.append((float(box[2:].max() / max(width, height)), bool(hit)))
    return out


def sheet(samples: list[Sample]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Frames side by side, and all their hands' boxes in the sheet's pixels."""
    columns, rows = GRID
    image = np.concatenate(
        [np.concatenate([s.image for s in samples[r * columns : (r + 1) * columns]], 1) for r in range(rows)]
    )
    boxes = [
        box + np.array([i % columns * SIZE, i // columns * SIZE, 0, 0])
        for i, s in enumerate(samples)
        for box in true_boxes(s)
        if inside(box, SIZE, SIZE)
    ]
    return image, boxes


def recall(hands: list[Hand]) -> list[tuple[int, float | None]]:
    """Hands and the share found, of each bin."""
    sizes, hit = np.array([h[0] for h in hands]), np.array([h[1] for h in hands], float)
    out: list[tuple[int, float | None]] = []
    for low, high in pairwise(BINS):
        own = (sizes >= low) & (sizes < high)
        out.append((int(own.sum()), float(hit[own].mean()) if own.any() else None))
    return out


def measure(count: int, out: str | None = None) -> dict[str, dict]:
    """The figures; written to `out` after every sheet, so that a run that is stopped leaves those so far."""
    finder = lgnet.load(device="cpu").finder  # which asks the hand network about sides, as `lgnet reconstruct` does
    if not isinstance(finder, Finder):
        raise SystemExit("the package has no weights to find hands with")
    config = replace(PRESETS["detector"].synth, size=SIZE, fill=(0.02, 1.25))
    names = ("detector", "with its side", "sheets, whole", "sheets, tiles")
    hands: dict[str, list[Hand]] = {name: [] for name in names}
    alarms: dict[str, int] = dict.fromkeys(names, 0)
    pictures: dict[str, int] = dict.fromkeys(names, 0)
    pending: list[Sample] = []
    for index in track(range(count), "looking", console=Console(stderr=True), transient=True):
        sample = make_sample(training_rng(SEED, 0, index), config)
        found, wrong = look(finder.detector, sample.image, true_boxes(sample), 8, "auto")
        hands["detector"] += found
        alarms["detector"] += wrong
        hands["with its side"] += with_side(finder, sample)
        pictures["detector"] += 1
        pending.append(sample)
        if len(pending) == GRID[0] * GRID[1]:
            image, boxes = sheet(pending)
            pending = []
            for name, tiles in (("sheets, whole", "off"), ("sheets, tiles", "all")):
                found, wrong = look(finder.detector, image, boxes, 64, tiles)
                hands[name] += found
                alarms[name] += wrong
                pictures[name] += 1
            if out is not None:
                Path(out).write_text(json.dumps(_figures(hands, alarms, pictures), indent=1))
    return _figures(hands, alarms, pictures)


def _figures(hands: dict[str, list[Hand]], alarms: dict[str, int], pictures: dict[str, int]) -> dict[str, dict]:
    out = {}
    for name, own in hands.items():
        out[name] = {
            "pictures": pictures[name],
            "count": len(own),
            "recall": float(np.mean([h[1] for h in own])) if own else None,
            "false_alarms_a_picture": alarms[name] / pictures[name] if pictures[name] else None,
            "bins": recall(own),
        }
    return out


def show(figures: dict[str, dict]) -> None:
    table = Table("size", "at 224 px", *figures, title=f"hands found (of so many), seed {SEED}")
    for i, (low, high) in enumerate(pairwise(BINS)):
        cells = [f["bins"][i] for f in figures.values()]
        if any(n for n, _ in cells):
            texts = ["" if share is None else f"{share:.2f} ({n})" for n, share in cells]
            table.add_row(f"{100 * low:g}-{100 * high:g} %", f"{224 * low:.0f}-{224 * high:.0f}", *texts)
    table.add_row(
        "all", "", *("" if f["recall"] is None else f"{f['recall']:.2f} ({f['count']})" for f in figures.values())
    )
    alarms = [f["false_alarms_a_picture"] for f in figures.values()]
    table.add_row("false alarms a picture", "", *("" if v is None else f"{v:.2f}" for v in alarms))
    Console(width=120).print(table)


def plot(figures: dict[str, dict], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6))
    for (name, values), colour, style in zip(figures.items(), ("C0", "C0", "C1", "C1"), ("-", ":", ":", "-")):
        points = [
            (100 * np.sqrt(max(low, 0.005) * high), share, n)
            for (low, high), (n, share) in zip(pairwise(BINS), values["bins"])
            if share is not None and n >= 10
        ]
        if points:
            axes.plot([p[0] for p in points], [p[1] for p in points], style, marker="o", color=colour, label=name)
    axes.set(xscale="log", xlabel="hand's size, % of the picture's longer side", ylabel="hands found", ylim=(0, 1.02))
    ticks = [1, 2, 3, 5, 8, 12, 18, 27, 40, 60]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=504)
    parser.add_argument("--out", help="a JSON file of the figures")
    parser.add_argument("--plot", help="a PNG file")
    parser.add_argument("--shown", help="show these figures instead of measuring")
    options = parser.parse_args()
    shown = options.shown and json.loads(Path(options.shown).read_text())
    figures = shown or measure(options.count, options.out)
    show(figures)
    if options.out and not options.shown:
        Path(options.out).write_text(json.dumps(figures, indent=1))
    if options.plot:
        plot(figures, options.plot)


if __name__ == "__main__":
    main()
