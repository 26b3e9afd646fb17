"""A network as an ONNX file for other programs, and the proof that it says the same.

The file holds the network alone: crops go in and come out as docs/export.md says. Its metadata carries the configuration.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoint import load_network
from .config import DetectorConfig, to_dict
from .finder import FINDERS, load_finder, weights_file
from .model.network import LGNet
from .model.records import Inputs
from .pair import PairOutput
from .side import SideOutput

OPSET = 20
TOLERANCE = 1e-3
"""The greatest difference allowed between ONNX and PyTorch, over the spread of that output."""
CHECKED = (1, 3)
"""Batches of these sizes are compared; the network is traced with a batch of 2."""


class HandNetwork(nn.Module):
    """The hand network with plain tensors at both ends."""

    inputs = ("images", "given", "geometry")
    outputs = ("presence", "joints25d", "rotations", "betas", "relative", "vertices_rough", "vertices", "joints")

    def __init__(self, network: LGNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, given: Tensor, geometry: Tensor) -> tuple[Tensor, ...]:
        """`Inputs` in; what the stages say, in the order of `outputs`."""
        out = self.network(Inputs(images, given, geometry))
        joint, mesh, refine = out.joint, out.mesh, out.refine
        presence = joint.presence_logit.sigmoid()
        rough = (mesh.rotations, mesh.betas, mesh.relative, mesh.vertices)
        return presence, joint.joints25d, *rough, refine.vertices, refine.joints


class OfImages(nn.Module):
    """A network that sees images (B, 3, S, S) in 0..1 and no more; `read` makes plain tensors of what it says."""

    inputs = ("images",)

    def __init__(self, network: nn.Module, outputs: Sequence[str], read: Callable[[Any], tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.network, self.outputs, self.read = network, tuple(outputs), read

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """In the order of `outputs`."""
        return self.read(self.network(images))


def _sides(said: SideOutput) -> tuple[Tensor, ...]:
    return said.logits.softmax(-1), said.axes


def _pair(said: PairOutput) -> tuple[Tensor, ...]:
    return said.logits.sigmoid(), said.boxes, said.sides.softmax(-1)


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked."""

    path: Path
    megabytes: float
    differences: dict[str, float]
    """By output, the greatest absolute difference from PyTorch, over all batches compared."""


def export(weights: str, out: str | Path) -> Exported:
    """Write a network as ONNX, with any number of pictures in a batch, and compare it with PyTorch on other inputs.

    Args:
        weights: "detector", "sides", "pair", a bundled name of hand weights, or the path of a hand checkpoint.
        out: the file, *.onnx; written aside, and renamed when it has passed.

    Raises:
        ValueError: there are no such weights, `out` is no .onnx, or the file does not say what the network says.
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is missing.
    """
    import onnx
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401  # torch asks for it, less clearly

    path = Path(out)
    if path.suffix != ".onnx":
        raise ValueError(f"--out {path} has to end in .onnx")
    module, draw, config = _load(weights)
    rng = torch.Generator().manual_seed(0)
    names = {name: {0: torch.export.Dim("batch")} for name in module.inputs}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        aside = Path(folder) / path.name
        with _quiet():
            torch.onnx.export(
                module,
                draw(2, rng),
                aside,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(module.inputs),
                output_names=list(module.outputs),
                dynamic_shapes=names,
                external_data=False,
            )
        content = onnx.load(aside)
        onnx.helper.set_model_props(content, {"lgnet": json.dumps({"weights": weights, "config": config})})
        onnx.save(content, aside)
        differences = compare(module, aside, [draw(count, rng) for count in CHECKED])
        aside.replace(path)
    return Exported(path, path.stat().st_size / 1e6, differences)


def compare(module: nn.Module, path: Path, batches: list[tuple[Tensor, ...]]) -> dict[str, float]:
    """The greatest absolute difference of each output of the file from the module's.

    Raises:
        ValueError: one is more than `TOLERANCE` of that output's spread.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    worst = dict.fromkeys(names, 0.0)
    for batch in batches:
        with torch.inference_mode():
            expected = [x.numpy() for x in module(*batch)]
        feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), batch)}
        got = [np.asarray(x) for x in session.run(None, feed)]
        for name, a, b in zip(names, expected, got):
            if a.shape != b.shape:
                raise ValueError(f"{path.name}: {name} is {b.shape} instead of {a.shape}")
            worst[name] = max(worst[name], float(np.abs(a - b).max()))
            if not worst[name] <= TOLERANCE * max(float(a.std()), 1e-3):
                raise ValueError(f"{path.name}: {name} is off by {worst[name]:.2g} from what PyTorch says; not written")
    return worst


def _load(weights: str) -> tuple[HandNetwork | OfImages, Callable[..., tuple[Tensor, ...]], dict]:
    """The network in eval mode, what draws a batch for it, and its configuration as plain values."""
    if weights in FINDERS:
        finder = load_finder(torch.device("cpu"))
        if finder is None:
            raise ValueError(f"there are no bundled weights {weights!r}")
        wrapped = {
            "detector": OfImages(finder.detector, ("cells",), lambda cells: (cells,)),
            "sides": OfImages(finder.side_net, ("side", "axes"), _sides),
            "pair": OfImages(finder.pair_net, ("presence", "boxes", "side"), _pair),
        }[weights]
        config: Any = wrapped.network.config
        size = config.size if isinstance(config, DetectorConfig) else config.crop_size
        return wrapped.eval(), lambda n, rng: (torch.rand(n, 3, size, size, generator=rng),), to_dict(config)
    path = weights_file(weights)
    network, config, _ = load_network(path)
    crops, size = (2 if config.separation == "crops" else 1), config.crop_size

    def draw(count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
        given = torch.rand(count, 2, generator=rng) < 0.7
        given[:, 0] |= ~given.any(1)
        geometry = torch.randn(count, 2, 5, generator=rng) * 0.5
        return torch.rand(count, crops, 3, size, size, generator=rng), given, geometry

    return HandNetwork(network).eval(), draw, to_dict(config)


@contextlib.contextmanager
def _quiet():
    """Keep torch's exporter from telling of its steps."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
