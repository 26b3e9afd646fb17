"""What a training run would be: `lgnet train --dry-run` prints it, with memory and time as measured here; writes nothing."""

from __future__ import annotations

import dataclasses
import math
import resource
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoint import init_from
from .config import TrainConfig, to_dict
from .data.feed import Mix
from .data.ring import plan_ring, sample_dtype
from .presets import PRESETS
from .synth.generate import make_sample, training_rng
from .tasks import build_task
from .train import checked, prepare, start_fabric, train_mode

STEPS = 3
"""Timed steps, after one that is not; at most `_LONGEST` seconds of them."""
_LONGEST = 60.0


def main(config: TrainConfig, resume: str | None = None) -> None:
    """Print what `train.main` would do with the same arguments.

    Raises:
        ValueError: as `train.main`.
    """
    config, done, mix = checked(config, resume)
    fabric = start_fabric(config)
    lines = plan_lines(fabric, config, done, mix)
    if fabric.global_rank == 0:
        print("\n".join(lines))


def plan_lines(fabric: Any, config: TrainConfig, done: int, mix: Mix) -> list[str]:
    """The plan, a sentence or a figure a line, of a run that has seen `done` samples."""
    world, batch = fabric.world_size, config.batch_size
    task = build_task(config)
    parameters = sum(p.numel() for p in task.network.parameters())
    own = config.model if config.task == "hands" else None
    start = str(init_from(task.network, config.init, own)) if config.init and not done else "random weights"
    step, pictures, bytes_used = _measure(fabric, config, task)
    step_size = batch * config.accumulate * world
    left = max(config.samples - done, 0)
    trained = batch * world / step
    drawn = math.inf if mix.real > 1 - 1e-9 else pictures * config.renderers * config.reuse * world / (1 - mix.real)
    speed = min(trained, drawn)
    plan = plan_ring(config.ring, config.reuse, config.seed)
    ring = plan.block * (config.reuse + 1) * sample_dtype(config.synth.size).itemsize * (mix.real < 1 - 1e-9)
    weights = 4 * parameters
    moments = 2 if config.optimiser == "adamw" else 1  # kept of each weight; with Muon, of nearly each
    lines = [
        f"task          {config.task}: {parameters:,} parameters, {f'going on after {done:,} samples' if done else start}",
        f"options       {_changed(config)}",
        f"runs on       {world} process(es), {fabric.device}, {fabric.strategy.precision.precision}, "
        f"{torch.get_num_threads()} thread(s) each",
        f"a step        {batch} samples x {config.accumulate} x {world} process(es) = {step_size}; {left:,} samples are "
        f"{math.ceil(left / step_size):,} steps",
    ]
    lines += [
        f"data          {share:.0%} {data.name}, {len(data):,} pictures" for data, share in zip(mix.sets, mix.shares)
    ]
    if mix.sets and config.fit_within:
        lines.append(
            f"labels        of hands in these without pose and shape of the hand model {config.model.hand_model} are fitted "
            f"first, once, into {config.out}/fits, and used within {config.fit_within:g} mm"
        )
    lines += [
        f"data          {1 - mix.real:.0%} synthetic, {config.synth.size} pixels, each used {config.reuse} times",
        f"memory        {_size(bytes_used)} a process as measured, with weights, gradients, averages and optimiser "
        f"({_size((3 + moments) * weights)}); ring {_size(ring)} of shared memory a process",
        f"speed         {trained:.1f} samples/s by the network, {drawn:.1f} by {config.renderers} renderer(s) a process "
        f"({pictures:.1f} pictures/s each); the slower counts",
        f"time          {_duration(left / speed)}, evaluations and compiling not counted, if the machine stays as busy as now",
        f"would write   {config.out}/: config.json, starts.jsonl, metrics.jsonl, tensorboard/, sheet.jpg, "
        f"state.safetensors ({_size((2 + moments) * weights)}), best.safetensors and last.safetensors ({_size(weights)} each)",
        "dry run: nothing was written",
    ]
    return lines


def _measure(fabric: Any, config: TrainConfig, task: Any) -> tuple[float, float, float]:
    """Seconds a batch, pictures a renderer draws a second, and bytes a process uses."""
    rng = training_rng(config.seed, 0, 0)
    make_sample(rng, config.synth)  # compiles what draws
    begin = time.monotonic()
    samples = [make_sample(rng, config.synth) for _ in range(8)]
    pictures = len(samples) / (time.monotonic() - begin)
    net, optimiser, average = prepare(fabric, dataclasses.replace(config, compile=False), task)
    train_mode(net, task, config)
    chosen = [samples[i % len(samples)] for i in range(config.batch_size)]
    data = {key: value.to(fabric.device) for key, value in task.batch(chosen, np.random.default_rng(0)).items()}
    times = []
    for _ in range(1 + STEPS):
        begin = time.monotonic()
        loss, _terms = net(data)
        fabric.backward(loss)
        nn.utils.clip_grad_norm_(task.network.parameters(), config.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(task.network, 0)
        float(loss.detach())  # waits for a GPU
        times.append(time.monotonic() - begin)
        if sum(times) > _LONGEST:
            break
    return min(times), pictures, _bytes_used()


def _bytes_used() -> float:
    """The most memory so far: the GPU's where there is one, else this process's own."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _changed(config: TrainConfig) -> str:
    """What differs from the preset that is most like it, as the command line says it."""
    mine = _flat(to_dict(config))
    by_preset = {
        name: {key: value for key, value in mine.items() if _flat(to_dict(preset))[key] != value}
        for name, preset in PRESETS.items()
    }
    name = min(by_preset, key=lambda name: len(by_preset[name]))
    words = {key: value if isinstance(value, (tuple, list)) else [value] for key, value in by_preset[name].items()}
    return " ".join([name, *(f"--{key.replace('_', '-')} {' '.join(map(str, some))}" for key, some in words.items())])


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    out = {}
    for key, value in values.items():
        out |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return out


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
