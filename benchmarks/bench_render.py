"""How many synthetic pictures one core draws a second, where the time goes, and what numba saves.

    python benchmarks/bench_render.py [--count 200] [--looks 0 | --preset lgnet-mobile]

CPU time of one thread is measured, not the clock, so that other work on the machine matters less.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch

from lgnet.config import PRESETS, SynthConfig
from lgnet.rasterize import rasterize
from lgnet.synth import generate, raster, render
from lgnet.synth.generate import make_sample, training_rng

STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "pose + scene": ((generate, "sample_scene"),),
    "meshes": tuple(
        (generate, name)
        for name in (
            *("sample_lights", "sample_skin", "hand_mesh", "forearm", "_in_the_way"),
            *("sample_setting", "sample_person", "_dressed"),
        )
    ),
    "background": ((generate, "sample_background"), (generate, "sample_backdrop")),
    "raster": tuple((raster, name) for name in ("vertex_normals", "rasterize", "labels")),
    "shadow": ((raster, "shadow_map"),),
    "shade": ((raster, "shade"), (render, "shade_looks")),
    "buffers": ((generate, "render"),),  # less what raster, shadow and shade take
    "faults": tuple((generate, name) for name in ("develop", "film", "monochrome")),
    "labels": ((generate, "_label"),),
}
INSIDE = {"buffers": ("raster", "shadow", "shade")}


@contextmanager
def stopwatches(spent: dict[str, float]) -> Iterator[None]:
    """While open, every stage adds its CPU seconds to `spent`."""

    def timed(stage: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[stage] += time.process_time() - start

        return run

    patches = [
        mock.patch.object(module, name, timed(stage, getattr(module, name)))
        for stage, places in STAGES.items()
        for module, name in places
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def speed(config: SynthConfig, count: int) -> tuple[float, dict[str, float]]:
    """Pictures a CPU second without stopwatches, and each stage's share of the time with them."""
    for index in range(30):  # what is made once per process (detail of skin, leaves, writing) and compiled
        make_sample(training_rng(0, 1, index), config)
    start = time.process_time()
    for index in range(count):
        make_sample(training_rng(0, 0, index), config)
    plain = count / (time.process_time() - start)
    spent: dict[str, float] = defaultdict(float)
    start = time.process_time()
    with stopwatches(spent):
        for index in range(count):
            make_sample(training_rng(0, 0, index), config)
    total = time.process_time() - start
    for stage, inner in INSIDE.items():
        spent[stage] -= sum(spent[name] for name in inner)
    shares = {stage: spent[stage] / total for stage in STAGES}
    return plain, {**shares, "rest": 1 - sum(shares.values())}


def looks_cost(size: int, count: int) -> float:
    """How many times as long a picture with the new looks takes as one without, drawn in turns."""
    seconds = [0.0, 0.0]
    configs = (SynthConfig(size=size), SynthConfig(size=size, looks=1.0))
    for index in range(-2, count):
        for which, config in enumerate(configs):
            rng = training_rng(0, int(index < 0), abs(index))
            start = time.process_time()
            make_sample(rng, config)
            if index >= 0:  # those before compile and bake
                seconds[which] += time.process_time() - start
    return seconds[1] / seconds[0]


def rasterizers(size: int, scenes: int = 5) -> tuple[float, float]:
    """CPU seconds a picture of two hands takes in numba's z-buffer and in NumPy's."""
    seconds = [0.0, 0.0]
    config = SynthConfig(size=size)
    captured: list[tuple] = []
    with mock.patch.object(render.raster, "rasterize", _keep(captured, raster.rasterize)):
        for index in range(scenes):
            make_sample(training_rng(1, 0, index), config, "interacting")
    for arguments in captured:
        for which, function in enumerate((raster.rasterize, rasterize)):
            function(*arguments)
            start = time.process_time()
            for _ in range(3):
                function(*arguments)
            seconds[which] += (time.process_time() - start) / 3
    return seconds[0] / len(captured), seconds[1] / len(captured)


def _keep(captured: list[tuple], function: Callable) -> Callable:
    def run(*args: Any) -> Any:
        captured.append(args)
        return function(*args)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="pictures of each size")
    parser.add_argument("--looks", type=float, default=0.0, help="share of pictures with the new looks")
    parser.add_argument("--preset", help="draw as this preset trains, with everything on")
    args = parser.parse_args()
    count = args.count
    drawn = PRESETS[args.preset].synth if args.preset else SynthConfig(looks=args.looks)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    np.seterr(all="ignore")
    results = {size: speed(replace(drawn, size=size), count) for size in (128, 256)}
    z_buffers = {size: rasterizers(size) for size in results}
    print(f"{'one core':<28}" + "".join(f"{f'{size} px':>12}" for size in results))
    print(f"{'pictures a second':<28}" + "".join(f"{rate:>12.1f}" for rate, _ in results.values()))
    print(f"{'target':<28}" + "".join(f"{target:>12}" for target in (60, 30)))
    costs = [looks_cost(size, count) for size in results]
    print(f"{'time with looks / without':<28}" + "".join(f"{cost:>12.2f}" for cost in costs))
    for stage in next(iter(results.values()))[1]:
        print(f"{'share of ' + stage:<28}" + "".join(f"{shares[stage]:>12.1%}" for _, shares in results.values()))
    for name, which in (("numba", 0), ("NumPy", 1)):
        print(f"{name + ' z-buffer, ms':<28}" + "".join(f"{1000 * z[which]:>12.2f}" for z in z_buffers.values()))
    print(f"{'NumPy / numba':<28}" + "".join(f"{z[1] / z[0]:>12.1f}" for z in z_buffers.values()))


if __name__ == "__main__":
    main()
