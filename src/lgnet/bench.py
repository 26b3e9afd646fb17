"""`lgnet bench`: how long every stage and the whole take on this machine.

Every figure is the median over repeats, after two runs that do not count. Beside milliseconds stands the ratio to a
fixed piece of work timed in the same run, a 3 x 3 convolution of 32 channels over 256 x 256: it lets figures of
machines, or of a busy and an idle hour, be compared.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from .aside import write_aside
from .crop import crop_geometry, cut_crops, hand_crops
from .hands import assumed_camera
from .image_io import camera_from_exif, read_image
from .model.records import Inputs, as_input
from .place import place_hands
from .predict import Model
from .visualize import overlay

REFERENCE = "reference"
WARM_UP = 2


@dataclass(frozen=True)
class Figures:
    """What was measured, and on what."""

    milliseconds: dict[str, float]  # medians by stage; "reference" is the fixed piece of work
    picture: str
    width: int
    height: int
    hands: int  # that the stages worked on
    boxes: str  # whose boxes those were
    weights: str
    device: str
    threads: int
    repeats: int
    torch: str
    machine: str


def set_threads(count: int) -> None:
    """Let torch and OpenCV use this many threads; 0 leaves them as they are."""
    if count:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)


def measure(model: Model, path: str | Path, repeats: int = 20) -> Figures:
    """Time every stage on one picture.

    Raises:
        ImageError: the picture cannot be read.
    """
    picture = read_image(path)
    image = picture.pixels
    height, width = image.shape[:2]
    camera = camera_from_exif(picture) or assumed_camera(width, height)
    config, network = model.config, model.network
    device = next(network.parameters()).device
    milliseconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        result, milliseconds[name] = _median(work, repeats, device)
        return result

    with torch.inference_mode():
        picture_of_noise = torch.rand(1, 32, 256, 256, device=device)
        kernel = torch.rand(32, 32, 3, 3, device=device)
        timed(REFERENCE, lambda: F.conv2d(picture_of_noise, kernel, padding=1))
        timed("read", lambda: read_image(path))
        boxes, given, whose = np.zeros((2, 4)), np.zeros(2, bool), "own"
        if model.finder is not None:
            view = timed("find", lambda: model.find(image, camera))
            boxes, given = view.boxes, view.given.copy()
        if not given.any():
            boxes[:], given[:], whose = [width / 4, height / 4, width / 2, height / 2], True, "the picture's middle"

        def crop() -> tuple[Any, Inputs]:
            crops = hand_crops(boxes, given, camera.K, config.crop_size, config.crop_enlarge, config.separation)
            images = as_input(cut_crops(image, crops, config.separation)[None], device)
            geometry = torch.from_numpy(crop_geometry(crops, config.separation)[None]).to(device)
            there = torch.from_numpy(given[None]).to(device)
            return crops, Inputs(images, there, geometry)

        crops, inputs = timed("crop", crop)
        output = timed("network", lambda: network(inputs))
        maps = timed("  backbone", lambda: network.features(inputs))
        joint = timed("  joint stage", lambda: network.joint_stage(maps[-1], inputs.given, inputs.geometry, False))
        mesh = timed("  mesh stage", lambda: network.mesh_stage(joint, inputs.geometry))
        timed("  refine stage", lambda: network.refine_stage(maps[:-1], joint, mesh, inputs.geometry[..., 4]))

        def numpy(tensor: torch.Tensor) -> np.ndarray:
            return tensor[0].cpu().double().numpy()

        flat, solid = numpy(output.joint.joints25d)[..., :2], numpy(output.refine.joints)
        relative = numpy(output.mesh.relative) if given.all() else None
        joints2d, joints3d = ([values[s] if given[s] else None for s in (0, 1)] for values in (flat, solid))
        timed("place", lambda: place_hands(joints2d, joints3d, crops, relative))
    hands = timed("predict, boxes given", lambda: model.predict(image, camera, boxes, given))
    if model.finder is not None:
        timed("predict, own boxes", lambda: model.predict(image, camera))
        timed("the same, --tta 3", lambda: replace(model, tta=3).predict(image, camera))
    timed("overlay", lambda: overlay(image, hands))
    return Figures(
        milliseconds={name: round(value, 4) for name, value in milliseconds.items()},
        picture=str(path),
        width=width,
        height=height,
        hands=int(given.sum()),
        boxes=whose,
        weights=model.name,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=torch.get_num_threads(),
        repeats=repeats,
        torch=torch.__version__,
        machine=_processor(),
    )


def _median(work: Callable[[], Any], repeats: int, device: torch.device) -> tuple[Any, float]:
    """What the work gives, and the median of its milliseconds."""
    result, times = None, []
    for turn in range(WARM_UP + repeats):
        begun = time.perf_counter()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        if turn >= WARM_UP:
            times.append((time.perf_counter() - begun) * 1000)
    return result, statistics.median(times)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def show(figures: Figures) -> None:
    """Print the table."""
    print(f"{figures.weights} on {figures.device}, {figures.threads} threads, torch {figures.torch}, {figures.machine}")
    print(
        f"{Path(figures.picture).name}, {figures.width} x {figures.height}, {figures.hands} hands "
        f"(boxes: {figures.boxes}), median of {figures.repeats}"
    )
    table = Table("stage")
    table.add_column("ms", justify="right")
    table.add_column("x reference", justify="right")
    reference = figures.milliseconds[REFERENCE]
    for name, value in figures.milliseconds.items():
        table.add_row(name, f"{value:.2f}", f"{value / reference:.2f}")
    Console().print(table)


def write(figures: Figures, path: str | Path) -> None:
    """Write the figures as JSON."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_aside(Path(path), (json.dumps(asdict(figures), indent=1) + "\n").encode())
