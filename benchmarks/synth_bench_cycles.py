"""Make synth-bench-cycles: 300 scenes of a seed of its own, drawn as those of synth-bench, rendered by Blender's Cycles.

    python benchmarks/synth_bench_cycles.py --blender blender                              # benchmarks/synth-bench-cycles
    python benchmarks/synth_bench_cycles.py --renderer numba --out FOLDER                  # the same scenes by lgnet
    python benchmarks/synth_bench_cycles.py --blender blender --pictures docs/cycles.jpg   # some scenes by both

Pictures, joints, boxes, pose, shape and part maps are kept; what `lgnet synth` writes besides, of every pixel and vertex,
would be six times as large.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from lgnet.presets import PRESETS
from lgnet.synth.blender import Cycles, repainted
from lgnet.synth.generate import (
    CYCLES_BENCH_CONFIG,
    CYCLES_BENCH_COUNT,
    CYCLES_BENCH_SEED,
    cycles_bench_drawn,
    make_drawn,
    training_rng,
)
from lgnet.synth.write import write_dataset

FOLDER = Path(__file__).with_name("synth-bench-cycles")
QUALITY = 86
SHOWN = (0, 26, 200, 250)
RICH = replace(PRESETS["lgnet-mobile"].synth, size=256)
RICH_SEED, RICH_SHOWN = 77, (0, 3, 7, 10)


def show(path: Path, cycles: Cycles) -> None:
    """Scenes of the benchmark, then some with everything on: lgnet's renderer above, Cycles below."""
    columns = []
    for config, pictures in (
        (CYCLES_BENCH_CONFIG, [(i, cycles_bench_drawn(i)) for i in SHOWN]),
        (RICH, [(i, make_drawn(training_rng(RICH_SEED, 0, i), RICH)) for i in RICH_SHOWN]),
    ):
        for (_, own), (_, new) in zip(pictures, repainted(pictures, config, cycles)):
            columns.append(np.concatenate([own.sample.image, new.sample.image], 0))
    sheet = cv2.resize(np.concatenate(columns, 1), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--renderer", choices=("cycles", "numba"), default="cycles")
    parser.add_argument("--blender", default="blender", help="Blender, or a python that has bpy")
    parser.add_argument("--samples", type=int, default=16, help="Cycles' samples a pixel")
    parser.add_argument("--threads", type=int, default=1, help="of Blender in each process; 0: it chooses")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--pictures", type=Path, help="instead, draw some scenes by both renderers into this JPEG")
    args = parser.parse_args()
    cycles = Cycles(args.blender, args.samples, args.threads)
    if args.pictures is not None:
        show(args.pictures, cycles)
        return
    start = time.perf_counter()
    count = write_dataset(
        args.out,
        CYCLES_BENCH_COUNT,
        CYCLES_BENCH_SEED,
        CYCLES_BENCH_CONFIG,
        form="webdataset",
        shard_size=50,
        jobs=args.jobs,
        cycles=cycles if args.renderer == "cycles" else None,
        draw=cycles_bench_drawn,
        maps=False,
        quality=QUALITY,
    )
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{count} pictures in {args.out}, {size / 1e6:.2f} MB, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
