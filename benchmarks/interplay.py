"""What trained weights take from the other hand, and from each stage: parts are withheld from them, nothing is trained.

    python benchmarks/interplay.py                      # the bundled weights, synth-bench's pictures of two hands, true boxes
    python benchmarks/interplay.py --data realdata:../shared/realdata --weights runs/lgnet-mobile/best.safetensors

MPJPE (protocol C, mm) over the hands of pictures that show both, and the difference to the whole network with its 95 %
interval over pictures. This is no ablation: a network trained without a part learns to do without it, one that is robbed
of it does not. `by itself` is the exception: single hands are what the network is trained on as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lgnet.checkpoint import load_network
from lgnet.config import ModelConfig
from lgnet.crop import hand_crops
from lgnet.data.batch import make_batch, sample_camera
from lgnet.data.registry import open_data
from lgnet.data.sample import Sample
from lgnet.finder import bundled
from lgnet.model.records import Inputs, Output
from lgnet.scoring.summary import interval, resampled

TOGETHER = 16
VARIED = 96
"""Pictures from which it is told how much each unit's output varies."""
Errors = np.ndarray
"""(pictures, 2) mm, NaN where there is no truth."""


def errors(
    network: nn.Module,
    config: ModelConfig,
    samples: Sequence[Sample],
    change: Callable[[Inputs], Inputs] = lambda inputs: inputs,
    joints: Callable[[Output], Tensor] = lambda output: output.refine.joints,
) -> Errors:
    """MPJPE of each hand, after something was done to what goes in."""
    rows = []
    for start in range(0, len(samples), TOGETHER):
        inputs, targets = make_batch(samples[start : start + TOGETHER], config)
        with torch.inference_mode():
            output = network(change(inputs))
        error = (joints(output) - targets.joints3d).norm(dim=-1).mean(-1) * 1000
        known = targets.joints3d_valid.all(-1) & targets.present & inputs.given
        rows.append(torch.where(known, error, torch.nan).numpy())
    return np.concatenate(rows)


def by_itself(network: nn.Module, config: ModelConfig, samples: Sequence[Sample]) -> Errors:
    """Each hand of a picture that is said to show no other."""
    out = np.full((len(samples), 2), np.nan)
    for side in (0, 1):
        only = np.arange(2) == side
        alone = [replace(s, present=s.present & only, box=np.where(only[:, None], s.box, 0)) for s in samples]
        out[:, side] = errors(network, config, alone)[:, side]
    return out


def other_hand_of_another(inputs: Inputs, side: int) -> Inputs:
    """The crop of one side as it is, the other's from the next picture of the batch."""
    images = inputs.images.clone()
    images[:, 1 - side] = images[:, 1 - side].roll(1, 0)
    return replace(inputs, images=images)


def without_block(network: nn.Module, config: ModelConfig, samples: Sequence[Sample]) -> Errors:
    """F_global the same for every picture: its mean over all of them."""
    block = network.joint_stage.lgblock  # type: ignore[union-attr]
    seen: list[Tensor] = []
    hook = block.register_forward_hook(lambda module, given, out: seen.append(out[0].mean(0)))  # type: ignore[operator]
    errors(network, config, samples)
    hook.remove()
    mean = torch.stack(seen).mean(0)
    hook = block.register_forward_hook(lambda module, given, out: (mean.expand_as(out[0]), out[1]))  # type: ignore[operator]
    try:
        return errors(network, config, samples)
    finally:
        hook.remove()


def variation(network: nn.Module, config: ModelConfig, samples: Sequence[Sample]) -> dict[str, float]:
    """By unit of the LGBlock: how much of its output's spread is from picture to picture, the rest being the same for all.

    The standard deviation over pictures, meant over cells and channels, as a share of that over everything.
    """
    block = network.joint_stage.lgblock  # type: ignore[union-attr]
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for name, unit in block.named_children():  # type: ignore[union-attr]
        unit = unit[0] if isinstance(unit, nn.ModuleList) else unit

        def keep(module: nn.Module, given: object, out: Tensor | tuple[Tensor, Tensor], name: str = name) -> None:
            seen.setdefault(name, []).append(out if isinstance(out, Tensor) else out[0])

        hooks.append(unit.register_forward_hook(keep))
    errors(network, config, samples)
    for hook in hooks:
        hook.remove()
    joined = {name: torch.cat(values) for name, values in seen.items()}
    return {name: float(values.std(0).mean() / values.std()) for name, values in joined.items()}


def shown(config: ModelConfig, sample: Sample) -> float:
    """Share of each hand's joints that lie inside the other hand's crop."""
    boxes = sample.box.astype(np.float64)
    crops = hand_crops(
        boxes, sample.present, sample_camera(sample), config.crop_size, config.crop_enlarge, config.separation
    )
    inside = [
        np.all(np.abs(crop.image_to_crop(sample.joints2d[1 - side])) < 1, axis=-1)[sample.joints2d_valid[1 - side]]
        for side, crop in enumerate(crops.hands)
        if crop is not None
    ]
    return float(np.concatenate(inside).mean())


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights", default=bundled("lgnet-mobile"), help="of a network that separates the hands by crops"
    )
    parser.add_argument("--data", default="synth-bench")
    parser.add_argument("--limit", type=int, default=None, help="pictures, from the first")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network, config, _ = load_network(options.weights)
    if config.separation != "crops" or network.joint_stage.lgblock is None:
        parser.error(f"{options.weights} is no network with crops and an LGBlock")
    samples = [s for s in open_data(options.data) if s.present.all()][: options.limit]
    whole = errors(network, config, samples)
    misled = np.stack(
        [
            errors(network, config, samples, lambda inputs, side=side: other_hand_of_another(inputs, side))[:, side]
            for side in (0, 1)
        ],
        1,
    )
    rows = {
        "whole": whole,
        "refine stage left out (M_r)": errors(network, config, samples, joints=lambda output: output.mesh.joints),
        "each hand by itself": by_itself(network, config, samples),
        "the other hand's crop from another picture": misled,
        "F_global its mean": without_block(network, config, samples),
    }
    for name, share in variation(network, config, samples[:VARIED]).items():
        print(f"{name}: {share:.1%} of what it says depends on the picture")
    kinds = np.array([s.kind for s in samples])
    columns = [kind for kind in ("interacting", "separate") if (kinds == kind).any()]
    print(f"{len(samples)} pictures of two hands, {options.data}, {options.weights}")
    for kind in columns:
        share = np.mean([shown(config, s) for s in samples if s.kind == kind])
        print(f"{kind}: each hand's crop shows {share:.0%} of the other's joints besides")
    print("| | " + " | ".join(f"{kind} | against whole" for kind in columns) + " |")
    print("|---" * (2 * len(columns) + 1) + "|")
    for name, values in rows.items():
        cells = []
        for kind in columns:
            there = values[kinds == kind]
            difference = np.nanmean(there - whole[kinds == kind], 1)
            difference = difference[~np.isnan(difference)]
            low, high = interval(resampled(difference[:, None]) / max(len(difference), 1))
            said = f"{difference.mean():+.1f} ({low:+.1f} to {high:+.1f})" if name != "whole" else ""
            cells += [f"{np.nanmean(there):.1f}", said]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
