"""Fit the confidence of a hand network: `python scripts/calibrate.py WEIGHTS [--scenes N] [--out FILE]`.

WEIGHTS is a bundled name or a file; it is written anew with the calibration among its metadata (its weights stay as they
are, bit for bit). A minute or two of one processor core for the mobile preset: scenes are drawn, half of them as synth-bench's
are and half as training's, from a seed that nothing else uses, the network looks at them in exact and in shifted boxes,
and the perceptron of `lgnet.confidence` is fitted to how wrong it was. To be done anew whenever weights change.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from lgnet.checkpoint import load_network, load_weights, save_weights
from lgnet.confidence import META, Calibration, features, fit, to_meta
from lgnet.config import ModelConfig, SynthConfig
from lgnet.data.batch import NO_AUGMENT, Augment, make_batch
from lgnet.data.sample import Sample
from lgnet.finder import bundled
from lgnet.model.network import LGNet
from lgnet.presets import PRESETS
from lgnet.synth.generate import BENCH_CONFIG, make_sample

SEED = 0x2CA11B
"""Of these scenes, and of nothing else: training seeds are below 2**16, the benchmarks have their own."""
SHIFTED = Augment(centre=0.08, scale=0.18)
"""Half of the boxes: about as wrong as those that lgnet finds itself."""
TOGETHER = 16


def scene(index: int, configs: tuple[SynthConfig, ...]) -> Sample:
    """Scene `index` of those to calibrate on; the configurations take turns."""
    rng = np.random.Generator(np.random.PCG64([SEED, index]))
    return make_sample(rng, configs[index % len(configs)])


def look(network: LGNet, config: ModelConfig, samples: Iterator[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, f) features and (n, 2) true errors of all joints but the wrist; NaN where there is no truth."""
    told, errors = [], []
    held: list[Sample] = []
    rng = np.random.default_rng(SEED)

    def run() -> None:
        augment = SHIFTED if len(told) % 2 else NO_AUGMENT
        inputs, targets = make_batch(held, config, rng, augment)
        with torch.inference_mode():
            output = network(inputs)
            own = features(inputs, output)
        missing = torch.tensor(float("nan"))
        deep = (output.refine.joints - targets.joints3d).norm(dim=-1)
        flat = (output.joint.joints25d[..., :2] - targets.joints2d).norm(dim=-1)
        deep = torch.where(targets.joints3d_valid, deep, missing)
        flat = torch.where(targets.joints2d_valid, flat, missing)
        there = targets.present & inputs.given
        told.append(own[there])
        errors.append(torch.stack([deep, flat], -1)[there])
        held.clear()

    for sample in samples:
        held.append(sample)
        if len(held) == TOGETHER:
            run()
    if held:
        run()
    return torch.cat(told), torch.cat(errors)


def calibrate(network: LGNet, config: ModelConfig, scenes: int) -> Calibration:
    """The calibration of a network in eval mode, from so many scenes."""
    configs = (BENCH_CONFIG, PRESETS["lgnet-mobile"].synth)
    told, errors = look(network, config, (scene(index, configs) for index in range(scenes)))
    errors[:, 0, 0] = float("nan")  # the wrist is the root: that its error is 0 is no merit
    return fit(told.flatten(0, 1), errors.flatten(0, 1))


def main() -> None:
    """Calibrate a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--scenes", type=int, default=1024)
    parser.add_argument("--out", default=None, help="where to write; else the file itself")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = options.weights if "/" in options.weights or options.weights.endswith(".safetensors") else None
    source = source or bundled(options.weights)
    network, config, _ = load_network(source)
    begin = time.process_time()
    calibration = calibrate(network, config, options.scenes)
    write(source, options.out or source, calibration)
    print(f"{options.out or source}: {options.scenes} scenes, {time.process_time() - begin:.0f} s of processor time")


def write(source: str | Path, target: str | Path, calibration: Calibration) -> None:
    """The weights of `source` with this calibration, as precise as they were stored."""
    with safe_open(source, framework="pt") as file:
        half = any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118
    values, state, meta = load_weights(source)
    mode = Path(source).stat().st_mode
    save_weights(target, state, ModelConfig(**values), {**meta, META: to_meta(calibration)}, half=half)
    Path(target).chmod(mode)


if __name__ == "__main__":
    main()
