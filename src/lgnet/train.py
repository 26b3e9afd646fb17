"""One plain training loop for everything, on Lightning Fabric: readable from top to bottom.

A run's folder holds `config.json`, `state.safetensors` (network, EMA, optimiser, counters: what `--resume` takes up),
`best.safetensors` and `last.safetensors` (EMA weights to use), `metrics.jsonl` (the learning curve), TensorBoard files
and `sheet.jpg` (what it trains on). Everything is written aside, then renamed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from . import __version__
from .checkpoint import init_from, save_weights
from .config import DetectorConfig, LossConfig, ModelConfig, SideConfig, SynthConfig, TrainConfig, to_dict
from .data.ring import Ring
from .data.sample import Sample
from .tasks import Task, Trainee, build_task


def main(config: TrainConfig, resume: str | None = None) -> Path:
    """Train; returns the run's folder.

    Args:
        config: what to train. With `resume` it is read from the run's folder, except for `samples`, `decay`,
            `learning_rate`, `renderers`, `threads`, `devices`, `compile`, `real_data` and `evaluate_every`, which are
            taken from here.
        resume: a run's folder to go on with.

    Raises:
        ValueError: the folder to resume holds no run, or the new run's folder already holds one.
    """
    from lightning_fabric import Fabric

    if resume is not None:
        config = _resumed_config(config, Path(resume))
    out = Path(config.out)
    if resume is None and (out / "state.safetensors").exists():
        raise ValueError(f"{out} already holds a run; go on with it by --resume {out}, or choose another --out")
    if config.threads:
        torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)
    many = config.devices > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1
    # which parts of the network a batch uses depends on which hands are in it
    strategy = "ddp_find_unused_parameters_true" if many else "auto"
    fabric = Fabric(devices=config.devices, strategy=strategy, precision=_precision(config))  # type: ignore[arg-type]
    if many:
        fabric.launch()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed + fabric.global_rank)
    task = build_task(config)
    if config.init and resume is None:
        fabric.print(str(init_from(task.network, config.init)))
    task.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = Average(task.network, config.ema)
    decayed = [p for p in task.network.parameters() if p.dim() > 1]
    plain = [p for p in task.network.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
    if config.compile:
        task.network.compile()
    net, optimiser = fabric.setup(Trainee(task), optimiser)
    average.to(fabric.device)
    state: dict[str, Any] = {"samples": 0, "seconds": 0.0, "drawn": 0, "best": float("inf")}
    if resume is not None:
        state = load_state(out / "state.safetensors", task.network, average, optimiser)
    if fabric.global_rank == 0:
        _write_text(out / "config.json", json.dumps(to_dict(config), indent=1))
    _loop(fabric, config, task, net, optimiser, average, state, out)
    if many:
        fabric.barrier()  # or gloo's other end may be gone before the group is
    return out


def _loop(fabric, config: TrainConfig, task: Task, net, optimiser, average: Average, state: dict, out: Path) -> None:
    rank, world = fabric.global_rank, fabric.world_size
    rng = np.random.default_rng([config.seed, rank, state["samples"]])
    held_out = _held_out(config) if rank == 0 else {}
    writer = _writer(out) if rank == 0 else None
    step_size = config.batch_size * world
    seed = config.seed * 101 + rank
    with Ring(config.synth, config.ring, config.renderers, config.reuse, seed, state["drawn"]) as ring:
        while ring.ready < min(config.ring, max(4 * config.batch_size, config.ring // 4)):
            time.sleep(0.2)
        feed = _Feed(lambda: task.batch(ring.take(config.batch_size, rng), rng))
        begin, begin_samples, waited = time.monotonic(), state["samples"], 0.0
        sums: dict[str, float] = {}
        next_checkpoint = state["samples"] + config.checkpoint_every
        next_evaluation = state["samples"] + config.evaluate_every if state["samples"] else 0
        net.train()
        while state["samples"] < config.samples:
            if state["samples"] >= next_evaluation:
                next_evaluation += config.evaluate_every
                if rank == 0:
                    state["drawn"] = ring.drawn
                    _evaluate(config, task, average, held_out, state, out, writer, ring, rng)
                net.train()
            before = time.monotonic()
            data = feed.take()
            waited += time.monotonic() - before
            for group in optimiser.param_groups:
                group["lr"] = rate(config, state["samples"])
            loss, terms = net({key: value.to(fabric.device) for key, value in data.items()})
            fabric.backward(loss)
            norm = nn.utils.clip_grad_norm_(task.network.parameters(), config.clip)
            if torch.isfinite(norm):
                optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            average.update(task.network, state["samples"] / step_size)
            state["samples"] += step_size
            for key, value in {"loss": loss, **terms}.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
            if state["samples"] % (100 * step_size) < step_size and rank == 0:
                spent = time.monotonic() - begin
                speed = (state["samples"] - begin_samples) / spent
                line = {key: round(value / 100, 4) for key, value in sums.items()}
                print(
                    f"{state['samples']:>9} samples  {speed:6.1f}/s  waited {waited / spent:5.1%}  "
                    f"reuse {ring.reuse:4.1f}  " + "  ".join(f"{k} {v:.4f}" for k, v in line.items()),
                    flush=True,
                )
                if writer is not None:
                    for key, value in line.items():
                        writer.add_scalar(f"train/{key}", value, state["samples"])
                    writer.add_scalar("speed/samples_per_second", speed, state["samples"])
                sums = {}
            if state["samples"] >= next_checkpoint or state["samples"] >= config.samples:
                next_checkpoint += config.checkpoint_every
                if rank == 0:
                    now = time.monotonic()
                    state["seconds"] += now - begin
                    state["drawn"] = ring.drawn
                    begin, begin_samples, waited = now, state["samples"], 0.0
                    save_state(out / "state.safetensors", task.network, average, optimiser, state)
        feed.stop()
        if rank == 0:
            _evaluate(config, task, average, held_out, state, out, writer, ring, rng)


def rate(config: TrainConfig, samples: int) -> float:
    """The learning rate: rising over `warmup`, then constant, falling linearly to 0 over the last `decay` samples."""
    up = min(1.0, (samples + 1) / max(config.warmup, 1))
    down = min(1.0, (config.samples - samples) / config.decay) if config.decay else 1.0
    return config.learning_rate * up * max(down, 0.0)


class _Feed:
    """Makes the next batch in a thread while this one is trained on."""

    def __init__(self, make):
        self._queue: queue.Queue = queue.Queue(maxsize=2)
        self._make, self._stopped = make, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped:
            try:
                item: Any = self._make()
            except Exception as error:
                item, self._stopped = error, True
            while True:
                try:
                    self._queue.put(item, timeout=0.5)
                    break
                except queue.Full:
                    if self._stopped:
                        return

    def take(self) -> Any:
        item = self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(5)


class Average:
    """Exponential moving average of a network's weights and buffers; young runs average over fewer steps."""

    def __init__(self, network: nn.Module, decay: float):
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.decay = decay

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        self.values = {name: value.to(device) for name, value in self.values.items()}

    @torch.no_grad()
    def update(self, network: nn.Module, steps: float) -> None:
        """Take one step's weights in."""
        weight = 1 - min(self.decay, (1 + steps) / (10 + steps))
        new = network.state_dict()
        floats = [name for name, value in self.values.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.values[n] for n in floats], [new[n].detach() for n in floats], weight)  # pyright: ignore[reportPrivateImportUsage]
        for name, value in self.values.items():
            if not value.is_floating_point():
                value.copy_(new[name])


def _held_out(config: TrainConfig) -> dict[str, list[Sample]]:
    """Every fifth picture of synth-bench, and real annotated photographs where their folder is given (watched only)."""
    from .synth.generate import BENCH_COUNT, bench_sample

    sets = {"bench": [bench_sample(i) for i in range(0, BENCH_COUNT, 5)]}
    if config.real_data:
        from .data.registry import open_data

        for sample in open_data(f"realdata:{config.real_data}"):
            sets.setdefault("real_" + sample.name.split("/")[0], []).append(sample)
            if sample.kind in ("interacting", "separate"):
                sets.setdefault("real_two_hands", []).append(sample)
        sets = {name: samples for name, samples in sets.items() if len(samples) >= 6 or name == "bench"}
    return sets


@torch.compiler.set_stance("force_eager")  # batches of other sizes than in training: not worth compiling for
def _evaluate(config, task: Task, average: Average, held_out, state, out: Path, writer, ring, rng) -> None:
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
    sheet = task.sheet(network, ring.take(32, rng), rng)
    cv2.imwrite(str(out / "sheet.part.jpg"), sheet[..., ::-1])
    (out / "sheet.part.jpg").replace(out / "sheet.jpg")
    meta = {
        "samples": state["samples"],
        "hours": round(state["seconds"] / 3600, 3),
        "commit": _commit(),
        "version": __version__,
        "seed": config.seed,
        "figures": {k: v for k, v in row.items() if "/" in k},
    }
    architecture = {"hands": config.model, "detector": config.detector, "sides": config.side}[config.task]
    save_weights(out / "last.safetensors", network, architecture, meta, kind=config.task)
    if row[f"bench/{task.better}"] <= state["best"]:
        state["best"] = row[f"bench/{task.better}"]
        save_weights(out / "best.safetensors", network, architecture, meta, kind=config.task)
    network.load_state_dict(live)


def save_state(path: Path, network: nn.Module, average: Average, optimiser, state: dict[str, Any]) -> None:
    """Everything needed to go on, as safetensors with the counters in its header; written aside, then renamed."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.values.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
    tensors["torch_rng"] = torch.get_rng_state()
    part = path.with_suffix(".part")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, {"state": json.dumps(state)})
    part.replace(path)


def load_state(path: Path, network: nn.Module, average: Average, optimiser) -> dict[str, Any]:
    """Put back what `save_state` wrote; returns the counters.

    Raises:
        ValueError: the file is damaged or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            state = json.loads(file.metadata()["state"])
        network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        device = next(network.parameters()).device
        average.values = {k[8:]: v.to(device) for k, v in tensors.items() if k.startswith("average.")}
        saved = optimiser.state_dict()
        saved["state"] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                saved["state"].setdefault(int(index), {})[name] = value
        optimiser.load_state_dict(saved)
        torch.set_rng_state(tensors["torch_rng"])
    except Exception as error:
        raise ValueError(f"{path} does not hold a run of this network that could be taken up: {error}") from error
    return state


def _resumed_config(config: TrainConfig, folder: Path) -> TrainConfig:
    try:
        values = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no run to go on with: {error}") from error
    kinds: dict[str, Any] = {
        "model": ModelConfig,
        "detector": DetectorConfig,
        "side": SideConfig,
        "loss": LossConfig,
        "synth": SynthConfig,
    }
    for key, kind in kinds.items():
        values[key] = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.get(key, {}).items()})
    saved = TrainConfig(**values)
    taken = ("samples", "decay", "learning_rate", "renderers", "threads", "devices", "compile", "real_data")
    taken += ("evaluate_every",)
    return dataclasses.replace(saved, out=str(folder), **{name: getattr(config, name) for name in taken})


def _precision(config: TrainConfig) -> str:
    """bf16 where the processor or the GPU computes in it, else float32."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.ops.mkldnn._is_mkldnn_bf16_supported() and _has_bf16_units() else "32-true"


def _has_bf16_units() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _writer(out: Path) -> Any:
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))


def _commit() -> str:
    try:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _write_text(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text)
    part.replace(path)
