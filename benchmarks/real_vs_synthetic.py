"""How synthetic hand crops differ from real ones, by statistics of the pictures.

    python benchmarks/real_vs_synthetic.py --real ../shared/realdata [--count 200] [--seed 6]

The same crops that the hand network gets (true boxes), as training draws the synthetic ones but without its
augmentation; those of the table in docs/data.md had 128 pixels, the preset has 160 since. Per statistic: median and
middle half of both, and the Kolmogorov-Smirnov distance between the two distributions (0 the same, 1 without overlap).
Nothing of the real pictures is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lgnet.config import SynthConfig
from lgnet.data.batch import make_batch
from lgnet.data.registry import open_data
from lgnet.data.sample import Sample
from lgnet.presets import PRESETS
from lgnet.synth.generate import make_sample, training_rng


def statistics(samples: Iterable[Sample]) -> dict[str, np.ndarray]:
    """One value a crop of each statistic."""
    model = PRESETS["lgnet-mobile"].model
    rows: list[dict[str, float]] = []
    for sample in samples:
        inputs, _ = make_batch([sample], model)
        for side in (0, 1):
            if not inputs.given[0, side]:
                continue
            box = sample.box[side]
            # darkened edges of a crop that leaves the picture are no property of the picture
            crop = inputs.images[0, side].permute(1, 2, 0).numpy()
            inside = crop.max(-1) > 0
            rows.append({**_of_crop(crop, inside), "hand / picture": float(max(box[2:]) / max(sample.image.shape[:2]))})
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _of_crop(crop: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Statistics of a (S, S, 3) picture in 0..1, of its pixels `inside`."""
    grey = crop @ np.array([0.299, 0.587, 0.114], np.float32)
    hsv = cv2.cvtColor(crop.astype(np.float32), cv2.COLOR_RGB2HSV)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(grey, cv2.CV_32F, 0, 1) / 8
    gradient = np.hypot(dx, dy)
    detail = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.0))
    size = len(grey)
    middle = np.zeros_like(inside)
    middle[size // 4 : -size // 4, size // 4 : -size // 4] = True
    hand, around = grey[inside & middle], grey[inside & ~middle]
    return {
        "luminance": float(grey[inside].mean()),
        "contrast (std of luminance)": float(grey[inside].std()),
        "saturation": float(hsv[..., 1][inside].mean()),
        "red - blue": float((crop[..., 0] - crop[..., 2])[inside].mean()),
        "gradient": float(gradient[inside].mean()),
        "gradient, 95 %": float(np.quantile(gradient[inside], 0.95)),
        "fine detail": float(detail[inside].mean()),
        "middle - border luminance": float(hand.mean() - around.mean()) if len(around) else 0.0,
        "clipped white": float((grey[inside] > 0.98).mean()),
        "near black": float((grey[inside] < 0.04).mean()),
    }


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sample Kolmogorov-Smirnov statistic: the greatest difference of the two distribution functions."""
    both = np.sort(np.concatenate([a, b]))
    share = [np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (a, b)]
    return float(np.abs(share[0] - share[1]).max())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", required=True, help="folder of the real annotated pictures")
    parser.add_argument("--count", type=int, default=200, help="synthetic pictures")
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    new = PRESETS["lgnet-mobile"].synth
    plain = SynthConfig(kinds=new.kinds)
    engines = {"before": plain, "now": replace(new, size=256)}
    real = statistics(open_data(f"realdata:{options.real}"))
    found = {}
    for name, config in engines.items():
        samples = (
            make_sample(training_rng(options.seed, 0, i), config)
            for i in track(range(options.count), f"drawing, {name}", console=Console(stderr=True), transient=True)
        )
        found[name] = statistics(samples)
    table = Table(
        title=f"{len(next(iter(real.values())))} real crops; {options.count} synthetic pictures, seed {options.seed}"
    )
    for heading in ("statistic", "real", *(f"{name}, KS" for name in engines)):
        table.add_column(heading)
    for key, values in real.items():
        cells = [f"{_spread(found[n][key])}  {distance(values, found[n][key]):.2f}" for n in engines]
        table.add_row(key, _spread(values), *cells)
    means = [np.mean([distance(real[k], found[n][k]) for k in real]) for n in engines]
    table.add_row("mean KS", "", *(f"{m:.2f}" for m in means))
    Console(width=130).print(table)


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
