"""Make a wider detector that finds what a trained one finds, to train on: Net2WiderNet (Chen et al., 2016, section 2.2).

    python scripts/widen_detector.py FROM.safetensors TO.safetensors --widths 24 48 72 144 192 [--seed 0]

Every new channel copies one that is there, and what reads the copies divides their weights by their number, so that the
function stays; a little noise on the copies lets them part.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from lgnet.checkpoint import load_state, load_weights, save_weights
from lgnet.config import DetectorConfig
from lgnet.detect import Detector, build_detector

NOISE = 0.02
"""Of a copied weight's size."""


def widen(old: Detector, widths: tuple[int, ...], rng: np.random.Generator) -> Detector:
    """A detector of these widths that does what `old` does, but for the noise.

    Raises:
        ValueError: a width is smaller than it was, or two layers of different depth were of one width before.
    """
    before = old.config.widths
    if len(set(before)) != len(before) or any(n < o for n, o in zip(widths, before)):
        raise ValueError(f"cannot widen {before} to {widths}: each width must be one of its own, and not shrink")
    chosen = {o: np.concatenate([np.arange(o), rng.integers(0, o, n - o)]) for o, n in zip(before, widths)}
    new = build_detector(DetectorConfig(size=old.config.size, widths=widths))  # type: ignore[arg-type]
    state: dict[str, torch.Tensor] = {}
    for name, value in old.state_dict().items():
        weight = value.double().numpy()
        if weight.ndim and weight.shape[0] in chosen:
            weight = weight[chosen[weight.shape[0]]]
        if weight.ndim > 1 and weight.shape[1] in chosen:
            inputs = chosen[weight.shape[1]]
            copies = np.bincount(inputs)[inputs].reshape(1, -1, *[1] * (weight.ndim - 2))
            weight = weight[:, inputs] / copies
            weight = weight * (1 + NOISE * rng.standard_normal(weight.shape) * (copies > 1))
        state[name] = torch.from_numpy(np.asarray(weight)).to(value.dtype)
    new.load_state_dict(state)
    return new


def main() -> None:
    """Read, widen, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--widths", type=int, nargs=5, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    values, state, meta = load_weights(options.source, kind="detector")
    old = build_detector(DetectorConfig(size=values["size"], widths=tuple(values["widths"])))
    load_state(old, state, options.source)
    new = widen(old, tuple(options.widths), np.random.default_rng(options.seed))
    save_weights(options.target, new, new.config, {**meta, "widened from": list(old.config.widths)}, kind="detector")


if __name__ == "__main__":
    main()
