"""What a run is made of while it runs, and how it is kept: averaged weights, and the file that `--resume` takes up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .checkpoint import write_tensors
from .teach import Teachers


class Average:
    """Exponential moving average of a network's weights and buffers; young runs average over fewer steps."""

    def __init__(self, network: nn.Module, decay: float):
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.decay = decay

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

    @torch.no_grad()
    def give_buffers(self, network: nn.Module) -> None:
        """Put the averaged buffers into the network: BatchNorm's own have seen what made a step's gradient not finite."""
        for name, buffer in network.named_buffers():
            if name in self.values:
                buffer.copy_(self.values[name])


def save_state(
    path: Path, network: nn.Module, average: Average, optimiser, state: dict[str, Any], teachers: Teachers | None = None
) -> None:
    """Everything needed to go on, as safetensors with the counters in its header; written aside, then renamed."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.values.items()}
    tensors |= {f"teacher.{k}": v for k, v in (teachers.state() if teachers is not None else {}).items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
    write_tensors(path, {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"state": json.dumps(state)})


def restore_state(
    path: Path, network: nn.Module, average: Average, optimiser, teachers: Teachers | None = None
) -> dict[str, Any]:
    """Put back what `save_state` wrote; returns the counters.

    Raises:
        ValueError: the file is damaged or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            state = json.loads(file.metadata()["state"])
        network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        for name, value in average.values.items():
            value.copy_(tensors[f"average.{name}"])
        if teachers is not None:
            teachers.load({k[8:]: v for k, v in tensors.items() if k.startswith("teacher.")})
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        saved = optimiser.state_dict()
        saved["state"] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                like = parameters[int(index)]
                # laid out in memory as the parameter is: other strides are other kernels, which round differently
                value = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
                saved["state"].setdefault(int(index), {})[name] = value
        optimiser.load_state_dict(saved)
    except Exception as error:
        raise ValueError(f"{path} does not hold a run of this network that could be taken up: {error}") from error
    return state


def samples_done(path: Path) -> int | None:
    """How many samples the run of a state file has seen; None: there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return int(json.loads(file.metadata()["state"])["samples"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a run that could be taken up: {error}") from error
