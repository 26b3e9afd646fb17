"""Weights on disk: one safetensors file that carries its own configuration, read without unpickling anything."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .aside import write_aside
from .config import HEADS, MEANING, ModelConfig, from_dict, to_dict
from .model.graft import lacks_block, on_grid, with_finer_heat_maps, with_shares, with_silent_block
from .model.network import LGNet, build_network

FORMAT = "lgnet-weights/1"
Kind = Literal["hands", "detector", "sides", "pair"]
Net = TypeVar("Net", bound=nn.Module)
Config = TypeVar("Config")


class Weights(NamedTuple):
    """What a file holds."""

    config: dict[str, Any]  # plain values, as config.to_dict writes them
    state: dict[str, Tensor]  # float32, on the CPU
    meta: dict[str, Any]  # free: name, samples seen, figures; always with "kind"


class Loaded(NamedTuple):
    """A network ready to run, in eval mode."""

    network: LGNet
    config: ModelConfig
    meta: dict[str, Any]


def save_weights(
    path: str | Path,
    network: nn.Module | dict[str, Tensor],
    config: Any,
    meta: dict[str, Any],
    half: bool = False,
    kind: Kind = "hands",
) -> None:
    """Write weights with their configuration; written aside, then renamed, so that no reader sees half a file.

    Args:
        path: where to.
        network: the module, or its state (of an average of weights, say).
        config: the dataclass the network is built from.
        meta: anything json can hold.
        half: store numbers as float16 (loading gives float32 again).
        kind: what the weights are for.
    """
    path = Path(path)
    state = network.state_dict() if isinstance(network, nn.Module) else network
    tensors = {name: _stored(tensor.detach().cpu(), half) for name, tensor in state.items()}
    metadata = {
        "format": FORMAT,
        "kind": kind,
        "config": json.dumps(to_dict(config)),
        "meta": json.dumps({**meta, "kind": kind}),
        "crc32": json.dumps(_checksum(tensors)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, metadata)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """A safetensors file, written aside, then renamed.

    Raises:
        OSError: it cannot be written, as on a full disk; what was there before stays.
    """
    write_aside(path, save(tensors, metadata=metadata))


def _stored(tensor: Tensor, half: bool) -> Tensor:
    if half and tensor.dtype == torch.float32 and tensor.numel() and tensor.abs().amax().item() < 65504:
        tensor = tensor.half()
    return tensor.contiguous().clone()


def _checksum(tensors: dict[str, Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        data = tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data
        total = zlib.crc32(data, zlib.crc32(name.encode(), total))
    return total


def load_weights(path: str | Path, kind: Kind = "hands") -> Weights:
    """Read a file that `save_weights` wrote.

    Raises:
        ValueError: there is no such file, it is damaged, it is not lgnet's, or it is for something else than `kind`.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT:
        found = metadata.get("format")
        what = f"has the format {found!r}, this version reads {FORMAT!r}" if found else "is not an lgnet checkpoint"
        raise ValueError(f"{path} {what}")
    try:
        config, meta = json.loads(metadata["config"]), json.loads(metadata["meta"])
        checksum = json.loads(metadata["crc32"])
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged: its configuration cannot be read") from error
    if not isinstance(config, dict) or not isinstance(meta, dict):
        raise ValueError(f"{path} is damaged: its configuration cannot be read")
    _check(tensors, checksum, path)
    if metadata.get("kind") != kind:
        raise ValueError(f"{path} holds weights of kind {metadata.get('kind')!r}, not {kind!r}")
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return Weights(config, with_shares(state), meta)


def _check(tensors: dict[str, Tensor], checksum: int, path: str | Path) -> None:
    if checksum != _checksum(tensors):
        raise ValueError(f"{path} is damaged: its weights are not those that were written")


def _read(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or not a safetensors file") from error


def load_state(network: nn.Module, state: dict[str, Tensor], path: str | Path) -> None:
    """Put a state into a network; every name and shape must fit.

    Raises:
        ValueError: names what does not fit.
    """
    own = network.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in state]
    wrong += [f"{name} is unknown" for name in state if name not in own]
    wrong += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"the weights in {path} are of another architecture: {'; '.join(wrong[:3])}{more}")
    network.load_state_dict(state)


def load_network(path: str | Path, device: torch.device | str = "cpu") -> Loaded:
    """The network of a checkpoint, strictly, in eval mode.

    Raises:
        ValueError: as `load_weights`, or the weights do not fit the configuration beside them.
    """
    network, config, meta = load_built(path, ModelConfig, build_network)
    return Loaded(network.to(device), config, meta)


def load_built(
    path: str | Path, config: type[Config], build: Callable[[Config], Net], kind: Kind = "hands"
) -> tuple[Net, Config, dict[str, Any]]:
    """The network that `build` makes of a file's configuration, with the file's weights, strictly, in eval mode.

    Returns:
        The network, its configuration and the file's meta.

    Raises:
        ValueError: as `load_weights`, or the weights do not fit the configuration beside them.
    """
    values, state, meta = load_weights(path, kind=kind)
    try:
        own = from_dict(config, values)
        network = build(own)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    load_state(network, state, path)
    return network.eval(), own, meta


@dataclass(frozen=True)
class Taken:
    """What `init_from` did, by names of weights."""

    taken: list[str]
    fresh: list[str]  # of the network, without a counterpart in the file
    unfit: list[str]  # of both, but of different shapes
    unused: list[str]  # of the file only
    meant: list[str]  # what the file's configuration has otherwise, though the shapes fit: they mean other things then

    def __str__(self) -> str:
        return (
            f"{len(self.taken)} weights taken, {len(self.fresh)} fresh, {len(self.unfit)} of another shape, "
            f"{len(self.unused)} of the file unused{''.join(f'; mind: they were trained with {how}' for how in self.meant)}"
        )


def init_from(network: nn.Module, path: str | Path, config: Any = None) -> Taken:
    """Start a network from whatever in a file fits by name and shape.

    Besides lgnet's own checkpoints, any safetensors file with a backbone's weights by their published names serves
    (torchvision's or timm's ResNet-50): a name is also tried with "backbone." before it. Weights without an LGBlock begin a
    network that has one so that it says what they said, what was learnt of each cell of the grid is resized where crops have
    another size, and cells of finer heat maps begin as four like each (`model.graft`). `config` is the network's own, if what
    differs in meaning is to be told.

    Raises:
        ValueError: there is no such file, it is damaged, or nothing in it fits.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") == FORMAT:
        _check(tensors, json.loads(metadata.get("crc32", "null")), path)
    other = json.loads(metadata["config"]) if metadata.get("format") == FORMAT and config is not None else {}
    tensors, own = with_shares(tensors), network.state_dict()
    if lacks_block(tensors) and not lacks_block(own):
        tensors = with_silent_block(tensors)
    tensors = with_finer_heat_maps(tensors, own)
    named = {name if name in own else f"backbone.{name}": tensor for name, tensor in tensors.items()}
    for name, tensor in named.items():
        if name in own and own[name].shape != tensor.shape:
            resized = on_grid(name, tensor, own[name].shape)
            named[name] = tensor if resized is None else resized
    taken = [name for name, tensor in named.items() if name in own and own[name].shape == tensor.shape]
    if not taken:
        raise ValueError(f"nothing in {path} fits this network by name and shape")
    with torch.no_grad():
        for name in taken:
            own[name].copy_(named[name])
    fitting = set(taken)
    return Taken(
        taken=taken,
        fresh=[name for name in own if name not in named],
        unfit=[name for name in own if name in named and name not in fitting],
        unused=[name.removeprefix("backbone.") for name in named if name not in own],
        meant=[
            f"{name} {other[name]}, not {getattr(config, name)}"
            for name in (*MEANING, *HEADS)
            if name in other and other[name] != getattr(config, name, other[name])
        ],
    )
