"""How many synthetic pictures one core draws a second, where the time goes, and what numba saves.

    python benchmarks/bench_render.py [--count 200] [--looks 0 | --preset lgnet-mobile] [--processes 2]

CPU time of one thread is measured, not the clock, and nothing that is done once a process: imports, compiling, baking.
Other work on the machine still slows a core, by half and more where two share one. So a fixed piece of work, `reference`,
runs between the pictures; a picture's time in pieces of it hardly depends on what else runs, and compares two versions.
`--processes` draws in 1 to that many processes at once, as training's renderers do.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
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

from lgnet.config import SynthConfig
from lgnet.presets import PRESETS
from lgnet.rasterize import rasterize
from lgnet.synth import generate, raster, render
from lgnet.synth.generate import make_sample, training_rng

STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "pose + scene": ((generate, "sample_scene"),),
    "meshes": tuple(
        (generate, name)
        for name in (
            *("sample_lights", "sample_skin", "_in_the_way"),
            *("sample_setting", "sample_person", "_dressed", "_simple"),
        )
    ),
    "people": tuple((generate, name) for name in ("_owner", "person_meshes", "_bystanders")),
    "things held": ((generate, "held_object"),),
    "background": ((generate, "sample_background"), (generate, "sample_backdrop")),
    "raster": tuple((raster, name) for name in ("vertex_normals", "rasterize", "labels")),
    "shadow": ((raster, "shadow_map"),),
    "shade": ((raster, "shade"), (render, "shade_looks")),
    "buffers": ((generate, "render"),),
    "faults": tuple((generate, name) for name in ("develop", "film", "monochrome", "smooth_edges")),
    "labels": ((generate, "_label"),),
}


@contextmanager
def stopwatches(spent: dict[str, float]) -> Iterator[None]:
    """While open, every stage adds its CPU seconds to `spent`, less those of stages within it."""
    inner: list[float] = []

    def timed(stage: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = time.process_time() - start
                spent[stage] += took - inner.pop()
                if inner:
                    inner[-1] += took

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


@functools.lru_cache(maxsize=1)
def _material() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random(20000), rng.random((96, 96, 3)).astype(np.float32)


def reference() -> float:
    """CPU seconds of a fixed piece of work that is about as mixed as a picture's: small arrays, sorting, filtering."""
    numbers, picture = _material()
    start = time.process_time()
    for k in range(60):
        few = numbers[3 * k : 3 * k + 9].reshape(3, 3)
        np.clip(few @ few.T, 0, 1).sum(0)
    np.sort(numbers)
    np.exp(numbers)
    cv2.GaussianBlur(picture, (0, 0), 2.0)
    return time.process_time() - start


def warm_up(config: SynthConfig) -> None:
    """Draw some pictures that are not measured: in the first ones code is compiled and maps are baked."""
    for index in range(30):
        make_sample(training_rng(0, 1000, index), config)
        reference()


def drawing(config: SynthConfig, count: int, worker: int = 0) -> tuple[float, float]:
    """CPU seconds a picture takes, and how many times as long that is as `reference`, which runs after each picture."""
    warm_up(config)
    pictures, pieces = 0.0, 0.0
    for index in range(count):
        start = time.process_time()
        make_sample(training_rng(0, worker, index), config)
        pictures += time.process_time() - start
        pieces += reference()
    return pictures / count, pictures / pieces


def speed(config: SynthConfig, count: int) -> tuple[float, float, dict[str, float]]:
    """Pictures a CPU second and a picture's time in references, without stopwatches; each stage's share with them."""
    seconds, pieces = drawing(config, count)
    spent: dict[str, float] = defaultdict(float)
    start = time.process_time()
    with stopwatches(spent):
        for index in range(count):
            make_sample(training_rng(0, 0, index), config)
    total = time.process_time() - start
    shares = {stage: spent[stage] / total for stage in STAGES}
    return 1 / seconds, pieces, {**shares, "rest": 1 - sum(shares.values())}


def _one_of_many(task: tuple[SynthConfig, int, int, Any]) -> tuple[float, float, float, float]:
    """In a process of its own: when drawing began and ended by the clock, then what `drawing` says."""
    config, count, worker, together = task
    _one_thread()
    warm_up(config)
    together.wait()
    start = time.time()
    for index in range(count):
        make_sample(training_rng(0, worker, index), config)
    return start, time.time(), *drawing(config, count, worker)


def scaling(config: SynthConfig, count: int, most: int) -> None:
    """Print how drawing in 1 to `most` processes at once goes."""
    context = multiprocessing.get_context("spawn")
    print(f"{'processes':<12}{'pictures/s, clock':>20}{'a CPU s of each':>18}{'in references':>16}")
    for processes in range(1, most + 1):
        with context.Manager() as manager, context.Pool(processes) as pool:
            together = manager.Barrier(processes)
            tasks = [(config, count, worker, together) for worker in range(processes)]
            runs = pool.map(_one_of_many, tasks, chunksize=1)
        clock = max(end for _, end, _, _ in runs) - min(start for start, _, _, _ in runs)
        drawn = processes * count / clock
        each = np.mean([1 / seconds for _, _, seconds, _ in runs])
        pieces = np.mean([p for _, _, _, p in runs])
        print(f"{processes:<12}{drawn:>20.1f}{each:>18.1f}{pieces:>16.2f}")


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
    parser.add_argument("--processes", type=int, default=0, help="only: how 1 to this many processes at once draw")
    args = parser.parse_args()
    count = args.count
    drawn = PRESETS[args.preset].synth if args.preset else SynthConfig(looks=args.looks)
    _one_thread()
    if args.processes:
        print(f"{os.cpu_count()} cores, pictures of 128 pixels, {count} a process")
        scaling(replace(drawn, size=128), count, args.processes)
        return
    results = {size: speed(replace(drawn, size=size), count) for size in (128, 256)}
    z_buffers = {size: rasterizers(size) for size in results}
    print(f"{'one core':<28}" + "".join(f"{f'{size} px':>12}" for size in results))
    print(f"{'pictures a second':<28}" + "".join(f"{rate:>12.1f}" for rate, _, _ in results.values()))
    print(f"{'target':<28}" + "".join(f"{target:>12}" for target in (60, 30)))
    print(f"{'a picture / the reference':<28}" + "".join(f"{pieces:>12.2f}" for _, pieces, _ in results.values()))
    costs = [looks_cost(size, count) for size in results]
    print(f"{'time with looks / without':<28}" + "".join(f"{cost:>12.2f}" for cost in costs))
    for stage in next(iter(results.values()))[2]:
        print(f"{'share of ' + stage:<28}" + "".join(f"{shares[stage]:>12.1%}" for _, _, shares in results.values()))
    for name, which in (("numba", 0), ("NumPy", 1)):
        print(f"{name + ' z-buffer, ms':<28}" + "".join(f"{1000 * z[which]:>12.2f}" for z in z_buffers.values()))
    print(f"{'NumPy / numba':<28}" + "".join(f"{z[1] / z[0]:>12.1f}" for z in z_buffers.values()))


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    np.seterr(all="ignore")


if __name__ == "__main__":
    main()
