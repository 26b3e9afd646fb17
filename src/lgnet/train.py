"""One plain training loop for everything, on Lightning Fabric: readable from top to bottom.

A run's folder is described in docs/training.md. Everything in it is written aside, then renamed, or a line appended; after
a kill at any moment, `--resume` goes on from the last `state.safetensors` to the very weights of an unbroken run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from . import __version__
from .aside import write_aside
from .checkpoint import init_from, save_weights
from .coding import jpeg
from .config import RESUMABLE, TrainConfig, read_run, to_dict
from .config_check import check_train
from .data.feed import Feed, Mix, open_mix
from .data.registry import open_data
from .data.sample import Sample
from .muon import Muon, groups
from .tasks import Task, Trainee, build_task
from .train_state import Average, restore_state, samples_done, save_state

REPORT_EVERY = 100
"""Steps between two lines of progress."""
MOST_LOST = 100
"""Steps in a row whose gradients are not finite; one is passed over."""


def main(config: TrainConfig, resume: str | None = None) -> Path:
    """Train; returns the run's folder.

    Args:
        config: what to train. With `resume` it is read from the run's folder, except for what `config.RESUMABLE` names.
        resume: a run's folder to go on with.

    Raises:
        ValueError: the configuration cannot be trained or names parts that the network does not have, the folder to resume
            holds no run, or the new run's folder already holds one.
    """
    config, done, mix = checked(config, resume)
    out = Path(config.out)
    if done >= config.samples:
        print(f"{out} has seen its {done} samples; --samples above that goes on with it")
        return out
    fabric = start_fabric(config)
    torch.manual_seed(config.seed + fabric.global_rank)
    task = build_task(config)
    _parts(task.network, config.only)  # says what is wrong before anything is written
    going_on = (out / "state.safetensors").exists()  # a run may have been killed before its first
    if config.init and not going_on:
        fabric.print(str(init_from(task.network, config.init, config.model if config.task == "hands" else None)))
    out.mkdir(parents=True, exist_ok=True)
    if fabric.global_rank == 0:
        write_aside(out / "config.json", json.dumps(to_dict(config), indent=1).encode())
    net, optimiser, average = prepare(fabric, config, task)
    state: dict[str, Any] = {"samples": 0, "seconds": 0.0, "best": float("inf")}
    if going_on:
        state |= restore_state(out / "state.safetensors", task.network, average, optimiser, task.teachers)
    if fabric.global_rank == 0:
        _note_start(out, fabric, state)
    _loop(fabric, config, mix, task, net, optimiser, average, state, out)
    if fabric.world_size > 1:
        fabric.barrier()  # or gloo's other end may be gone before the group is
    return out


def checked(config: TrainConfig, resume: str | None) -> tuple[TrainConfig, int, Mix]:
    """What is to be trained, how many samples of it have been, and the data sets that are mixed in; nothing is written.

    Raises:
        ValueError: as `main`, but for what only the network tells.
    """
    own = None if resume is None else read_run(resume)
    if own is not None:
        config = dataclasses.replace(own, **{name: getattr(config, name) for name in RESUMABLE})
    check_train(config)
    out, done = Path(config.out), samples_done(Path(config.out) / "state.safetensors")
    if own is None and any((out / f"{name}.safetensors").exists() for name in ("state", "best", "last")):
        raise ValueError(f"{out} already holds a run; go on with it by --resume {out}, or choose another --out")
    other = own is not None and config.samples != own.samples
    if other and done is not None and done >= config.samples:
        raise ValueError(f"{out} has seen {done} samples already; --samples above that goes on with it")
    if config.real_data:
        open_data(f"realdata:{config.real_data}")
    return config, done or 0, open_mix(config.data, bool(config.teacher))


def start_fabric(config: TrainConfig) -> Any:
    """Processes, devices and precision: torchrun's where it started us, else `devices` of this machine.

    Raises:
        ValueError: it has fewer.
    """
    from lightning_fabric import Fabric

    cv2.setNumThreads(1)
    world, here = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    torchrun = world > 0 and here > 0
    devices, machines = (here, world // here) if torchrun else (config.devices, 1)
    there = torch.cuda.device_count() or os.cpu_count() or 1
    # Apple's GPU is one device: several processes there are the processor's
    accelerator = "cpu" if devices > 1 and not torch.cuda.is_available() else "auto"
    if not torchrun and devices > there:
        kind = "GPUs" if torch.cuda.is_available() else "cores"
        raise ValueError(f"--devices is {devices}, but this machine has {there} {kind}, and each process wants its own")
    many = devices * machines > 1
    # which parts of the network a batch uses depends on which hands are in it
    strategy = "ddp_find_unused_parameters_true" if many else "auto"
    precision: Any = _precision(config)
    fabric = Fabric(
        accelerator=accelerator, strategy=strategy, devices=devices, num_nodes=machines, precision=precision
    )
    if many:
        fabric.launch()
    if config.threads:  # after the launch, which sets its own number where OMP_NUM_THREADS does not say one
        torch.set_num_threads(config.threads)
    return fabric


def prepare(fabric: Any, config: TrainConfig, task: Task) -> tuple[Any, Any, Average]:
    """The network with its loss as Fabric runs it, the optimiser, and the averaged weights."""
    if config.only:
        task.network.requires_grad_(False)
        for part in _parts(task.network, config.only):
            part.requires_grad_(True)
    task.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = groups(task.network, config.weight_decay, config.optimiser == "muon")
    if config.optimiser == "muon":
        optimiser = Muon(parameters, lr=config.learning_rate, half=_precision(config) == "bf16-mixed")
    else:
        optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate)
    if config.compile:
        task.network.compile()
    net, optimiser = fabric.setup(Trainee(task), optimiser)
    if task.teachers is not None:
        task.teachers.to(fabric.device)
    return net, optimiser, Average(task.network, config.ema)


def train_mode(net: nn.Module, task: Task, config: TrainConfig) -> None:
    """BatchNorm and dropout as training has them, in the parts that are trained."""
    net.train()
    if config.only:
        task.network.eval()
        for part in _parts(task.network, config.only):
            part.train()


def _parts(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    there = dict(network.named_children())
    for name in names:
        if name not in there:
            raise ValueError(f"--only names {name!r}, but the network's parts are {', '.join(there)}")
    parts = [there[name] for name in names]
    if names and not any(True for part in parts for _ in part.parameters()):
        raise ValueError(f"--only names {' and '.join(names)}, and this network has nothing to train there")
    return parts


def _loop(
    fabric, config: TrainConfig, mix: Mix, task: Task, net, optimiser, average: Average, state: dict, out: Path
) -> None:
    rank, world = fabric.global_rank, fabric.world_size
    step_size = config.batch_size * config.accumulate * world
    first = state["samples"] // (config.batch_size * world)
    held_out = _held_out(config) if rank == 0 else {}
    writer = _writer(out, state["samples"]) if rank == 0 else None
    with Feed(config, mix, task.batch, first, rank, world) as feed:
        begin, began, waited = time.monotonic(), state["samples"], 0.0
        marked, sums, steps, lost = begin, {}, 0, 0
        if rank == 0 and state["samples"] == 0:
            _evaluate(config, task, average, held_out, state, out, writer, [])
        train_mode(net, task, config)
        while state["samples"] < config.samples:
            torch.manual_seed(_step_seed(config.seed, rank, state["samples"]))
            learning_rate = rate(config, state["samples"])
            for group in optimiser.param_groups:
                group["lr"] = learning_rate
            for part in range(config.accumulate):
                before = time.monotonic()
                data = {key: value.to(fabric.device) for key, value in feed.take().items()}
                waited += time.monotonic() - before
                with fabric.no_backward_sync(net, enabled=part < config.accumulate - 1 and world > 1):
                    loss, terms = net(data)
                    fabric.backward(loss / config.accumulate)
                for key, value in {"loss": loss, **terms}.items():
                    sums[key] = sums.get(key, 0.0) + value.detach() / config.accumulate
            norm = nn.utils.clip_grad_norm_(task.network.parameters(), config.clip)
            lost = 0 if torch.isfinite(norm) else lost + 1
            if lost == 0:
                optimiser.step()
                average.update(task.network, state["samples"] / step_size)
                if task.teachers is not None:
                    task.teachers.update(task.network, state["samples"] // step_size)
            elif lost == MOST_LOST:
                raise ValueError(
                    f"the gradient was not finite for {lost} steps up to {state['samples']} samples: the run is lost; begin "
                    f"anew with a lower --learning-rate, or from {out / 'best.safetensors'}"
                )
            else:
                average.give_buffers(task.network)
            optimiser.zero_grad(set_to_none=True)
            state["samples"] += step_size
            steps += 1
            if steps == REPORT_EVERY:
                if rank == 0:
                    speed = (state["samples"] - began) / (time.monotonic() - begin)
                    share = waited / (time.monotonic() - begin)
                    _report(state["samples"], speed, share, {k: float(v) / steps for k, v in sums.items()}, writer)
                sums, steps = {}, 0
            finished = state["samples"] >= config.samples
            if rank == 0 and (finished or _due(state["samples"], step_size, config.evaluate_every)):
                now = time.monotonic()
                state["seconds"] += now - marked
                _evaluate(config, task, average, held_out, state, out, writer, feed.seen)
                train_mode(net, task, config)
                marked = time.monotonic()  # an evaluation's time is not training's
                begin += marked - now
            if finished or _due(state["samples"], step_size, config.checkpoint_every):
                now = time.monotonic()
                state["seconds"] += now - marked
                marked = begin = now
                began, waited = state["samples"], 0.0
                if rank == 0:
                    save_state(out / "state.safetensors", task.network, average, optimiser, state, task.teachers)
    if writer is not None:
        writer.close()


def _due(samples: int, step_size: int, every: int) -> bool:
    """Whether this step reached a multiple of `every` samples: the same steps however often a run was broken off."""
    return samples // every > (samples - step_size) // every


def _step_seed(seed: int, rank: int, samples: int) -> int:
    return int(np.random.SeedSequence([seed, rank, samples]).generate_state(1)[0])


def rate(config: TrainConfig, samples: int) -> float:
    """The learning rate: rising over `warmup`, then constant, falling linearly to 0 over the last `decay` samples."""
    up = min(1.0, (samples + 1) / max(config.warmup, 1))
    down = min(1.0, (config.samples - samples) / config.decay) if config.decay else 1.0
    return config.learning_rate * up * max(down, 0.0)


def _report(samples: int, speed: float, waited: float, line: dict[str, float], writer: Any) -> None:
    terms = "  ".join(f"{k} {v:.4f}" for k, v in line.items())
    print(f"{samples:>9} samples  {speed:6.1f}/s  waited {waited:5.1%}  {terms}", flush=True)
    if writer is not None:
        for key, value in line.items():
            writer.add_scalar(f"train/{key}", value, samples)
        writer.add_scalar("speed/samples_per_second", speed, samples)


def _note_start(out: Path, fabric: Any, state: dict[str, Any]) -> None:
    """Add a line on this start to `starts.jsonl`, and take from the curve what came after the state that is gone on from."""
    row = {
        "time": time.time(),
        "samples": state["samples"],
        "commit": _commit(),
        "version": __version__,
        "torch": torch.__version__,
        "processes": fabric.world_size,
        "device": str(fabric.device),
        "threads": torch.get_num_threads(),
    }
    with (out / "starts.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    curve = out / "metrics.jsonl"
    if curve.exists():
        lines = [line for line in curve.read_text().splitlines() if _up_to(line, state["samples"])]
        write_aside(curve, "".join(line + "\n" for line in lines).encode())


def _up_to(line: str, samples: int) -> bool:
    """Whether a line of the curve is whole and no later than that; a fresh start evaluates anew."""
    try:
        return samples > 0 and json.loads(line)["samples"] <= samples
    except (ValueError, KeyError, TypeError):
        return False


def _held_out(config: TrainConfig) -> dict[str, list[Sample]]:
    """Every fifth picture of synth-bench, and real annotated photographs where their folder is given (watched only)."""
    from .synth.generate import BENCH_COUNT, bench_sample

    sets = {"bench": [bench_sample(i) for i in range(0, BENCH_COUNT, 5)]}
    if config.real_data:
        for sample in open_data(f"realdata:{config.real_data}"):
            sets.setdefault("real_" + sample.name.split("/")[0], []).append(sample)
            if sample.kind in ("interacting", "separate"):
                sets.setdefault("real_two_hands", []).append(sample)
        sets = {name: samples for name, samples in sets.items() if len(samples) >= 6 or name == "bench"}
    return sets


@torch.compiler.set_stance("force_eager")  # batches of other sizes than in training: not worth compiling for
def _evaluate(config, task: Task, average: Average, held_out, state, out: Path, writer, seen: Sequence[Sample]) -> None:
    """Figures of the averaged weights, appended to the curve; keeps the best and the last weights."""
    network = task.network
    live = {name: value.detach().clone() for name, value in network.state_dict().items()}
    network.load_state_dict(average.values)
    row: dict[str, Any] = {"samples": state["samples"], "seconds": round(state["seconds"], 1), "time": time.time()}
    for name, samples in held_out.items():
        figures = task.evaluate(network, samples)
        row.update({f"{name}/{key}": round(value, 4) for key, value in figures.items()})
    with (out / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    if writer is not None:
        for key, value in row.items():
            if "/" in key:
                writer.add_scalar(key, value, state["samples"])
        writer.flush()
    print("evaluated " + "  ".join(f"{k} {v}" for k, v in row.items() if "/" in k), flush=True)
    if seen:
        sheet = task.sheet(network, seen, np.random.default_rng([config.seed, state["samples"]]))
        write_aside(out / "sheet.jpg", jpeg(sheet, 95))
    meta = {
        "samples": state["samples"],
        "hours": round(state["seconds"] / 3600, 3),
        "commit": _commit(),
        "version": __version__,
        "seed": config.seed,
        "figures": {k: v for k, v in row.items() if "/" in k},
    }
    architecture = {"hands": config.model, "detector": config.detector, "sides": config.side, "pair": config.pair}[
        config.task
    ]
    save_weights(out / "last.safetensors", network, architecture, meta, kind=config.task)
    if row[f"bench/{task.better}"] <= state["best"]:
        state["best"] = row[f"bench/{task.better}"]
        save_weights(out / "best.safetensors", network, architecture, meta, kind=config.task)
    network.load_state_dict(live)


def _precision(config: TrainConfig) -> str:
    """bf16 where the processor or the GPU computes in it, else float32."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    there = _has_bf16_units() and torch.backends.mkldnn.is_available()  # type: ignore[attr-defined]
    return "bf16-mixed" if there and torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32-true"


def _has_bf16_units() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _writer(out: Path, samples: int) -> Any:
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"), purge_step=samples + 1 if samples else None)


def _commit() -> str:
    try:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
