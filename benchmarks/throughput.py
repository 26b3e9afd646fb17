"""How many samples a second each preset trains on, and how long it would wait for pictures.

    python benchmarks/throughput.py [--presets lgnet-mobile ...] [--batch-size 8] [--steps 3] [--threads N]

A step is a forward and a backward pass with the optimiser's, of float32 and of bfloat16, on the processor and, where there
is one, on the GPU. On the processor it is told in samples a second of processor time, which a busy machine does not change
much (its caches and memory are shared, though); a processor without units for bfloat16 computes it by detours and is
slower. Pictures are drawn by the preset's own configuration. The share of waiting is what is left of the time where one
renderer's process draws for each training process, each picture used `reuse` times: 0 where the network is the slower.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from lgnet.config import TrainConfig
from lgnet.presets import PRESETS
from lgnet.synth.generate import make_sample, training_rng
from lgnet.tasks import build_task
from lgnet.train import _has_bf16_units, prepare


def seconds(config: TrainConfig, device: str, samples: list[Any], steps: int) -> float:
    """Of a step: processor time on a processor, wall time on a GPU; the least of `steps` after one that does not count."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator=device, devices=1, precision=config.precision)  # type: ignore[arg-type]
    task = build_task(config)
    net, optimiser, average = prepare(fabric, config, task)
    net.train()
    data = {key: value.to(fabric.device) for key, value in task.batch(samples, np.random.default_rng(0)).items()}
    clock = time.process_time if device == "cpu" else time.perf_counter
    took = []
    for _ in range(1 + steps):
        begin = clock()
        loss, _terms = net(data)
        fabric.backward(loss)
        nn.utils.clip_grad_norm_(task.network.parameters(), config.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(task.network, 0)
        float(loss.detach())  # waits for a GPU
        took.append(clock() - begin)
    return min(took[1:])


def drawing(config: TrainConfig, count: int) -> tuple[list[Any], float]:
    """Pictures, and the processor time that each takes."""
    rng = training_rng(config.seed, 0, 0)
    make_sample(rng, config.synth)  # compiles what draws
    begin = time.process_time()
    samples = [make_sample(rng, config.synth) for _ in range(count)]
    return samples, (time.process_time() - begin) / count


def main() -> None:
    """Print the table as Markdown, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    hands = [name for name, preset in PRESETS.items() if preset.task == "hands"]
    parser.add_argument("--presets", nargs="*", default=hands, choices=list(PRESETS))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(f"torch {torch.__version__}, {options.threads} thread(s), batches of {options.batch_size}; ", end="")
    print(f"this processor has {'' if _has_bf16_units() else 'no '}units for bfloat16")
    print(
        "| preset | device | fp32, samples/s | bf16, samples/s | bf16 / fp32 | drawn by a renderer, uses/s | waits, fp32 |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in options.presets:
        config = replace(PRESETS[name], batch_size=options.batch_size)
        samples, each = drawing(config, options.batch_size)
        drawn = config.reuse / each
        for device in devices:
            full, half = (
                options.batch_size / seconds(replace(config, precision=precision), device, samples, options.steps)
                for precision in ("32-true", "bf16-mixed")
            )
            wait = max(0.0, 1 - drawn / full)
            print(
                f"| {name} | {device} | {full:.1f} | {half:.1f} | {half / full:.2f} | {drawn:.0f} | {wait:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
