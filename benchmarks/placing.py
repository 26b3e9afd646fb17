"""Where the wrists end up, by what the placing believes: the network's relative translation, and joints by expected errors.

    python benchmarks/placing.py --scenes tune       # to choose by: 250 pairs of the seed that calibration uses, further on
    python benchmarks/placing.py --scenes bench      # to judge by: every fourth picture of synth-bench, its pairs

True boxes. MRRPE is the error of the left wrist relative to the right one, `wrists` that of either in the camera's frame;
differences are to the first row, with 95 % intervals over pictures. Nothing is fitted here but what is printed; `place.py`
says what is used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from calibrate import SEED

from lgnet import place
from lgnet.checkpoint import load_network, load_weights
from lgnet.confidence import features, from_meta
from lgnet.crop import HandCrops, hand_crops
from lgnet.data.batch import make_batch, sample_camera
from lgnet.data.sample import Sample
from lgnet.finder import bundled
from lgnet.presets import PRESETS
from lgnet.synth.generate import BENCH_CONFIG, bench_sample, make_sample

SIGMAS = (0.03, 0.02, 0.015, 0.01, 0.005)
TOGETHER = 16


def scene(which: str, number: int) -> Sample:
    """Scene `number` of 250."""
    if which == "bench":
        return bench_sample(4 * number)
    rng = np.random.Generator(np.random.PCG64([SEED, 100_000 + number]))
    config = (BENCH_CONFIG, PRESETS["lgnet-mobile"].synth)[number % 2]
    return make_sample(rng, config, "interacting" if number % 4 else "separate")


def main() -> None:
    """Print a row for each way of placing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", choices=["tune", "bench"], default="bench")
    parser.add_argument("--weights", default=bundled("lgnet-mobile"))
    parser.add_argument("--count", type=int, default=250)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, config, _ = load_network(options.weights)
    calibration = from_meta(load_weights(options.weights).meta)
    pairs: list[tuple[np.ndarray, np.ndarray, HandCrops, np.ndarray, np.ndarray | None, np.ndarray]] = []
    for start in range(0, options.count, TOGETHER):
        samples = [scene(options.scenes, n) for n in range(start, min(start + TOGETHER, options.count))]
        samples = [s for s in samples if s.present.all()]
        if not samples:
            continue
        inputs, _ = make_batch(samples, config)
        with torch.inference_mode():
            output = network(inputs)
            errors = None if calibration is None else calibration(features(inputs, output)).double().numpy()[..., 1]
        for row, s in enumerate(samples):
            boxes = s.box.astype(np.float64)
            crops = hand_crops(
                boxes, s.present, sample_camera(s), config.crop_size, config.crop_enlarge, config.separation
            )
            flat, deep = output.joint.joints25d[row, ..., :2].double(), output.refine.joints[row].double()
            relative = output.mesh.relative[row].double().numpy()
            told = None if errors is None else errors[row]
            pairs.append((flat.numpy(), deep.numpy(), crops, relative, told, s.joints3d[:, 0].astype(np.float64)))
    print(f"{len(pairs)} pictures of two hands, {options.weights}")
    first: np.ndarray | None = None
    for weighed in (False, True) if calibration is not None else (False,):
        for sigma in SIGMAS:
            place.SIGMA_RELATIVE = sigma
            rows = []
            for flat, deep, crops, relative, told, wrists in pairs:
                at = np.array(place.place_hands(list(flat), list(deep), crops, relative, told if weighed else None))
                off = (at[1] - at[0]) - (wrists[1] - wrists[0])
                rows.append((np.linalg.norm(off) * 1000, np.linalg.norm(at - wrists, axis=1).mean() * 1000))
            found = np.array(rows)
            first = found if first is None else first
            change, half = (found - first).mean(0), 1.96 * (found - first).std(0) / len(found) ** 0.5
            print(
                f"{'by expected errors' if weighed else 'joints alike      '}  relative {sigma:.3f}: "
                f"MRRPE {found[:, 0].mean():.1f} ({change[0]:+.1f} +- {half[0]:.1f}), "
                f"wrists {found[:, 1].mean():.1f} ({change[1]:+.1f} +- {half[1]:.1f}) mm",
                flush=True,
            )


if __name__ == "__main__":
    main()
