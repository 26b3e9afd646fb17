"""Make synth-bench-cycles: 300 scenes of a seed of its own, drawn as those of synth-bench, rendered by Blender's Cycles.

    python benchmarks/synth_bench_cycles.py --blender blender                              # benchmarks/synth-bench-cycles
    python benchmarks/synth_bench_cycles.py --renderer numba --out FOLDER                  # the same scenes by lgnet
    python benchmarks/synth_bench_cycles.py --renderer numba --out FOLDER --pictures FILE.png      # both side by side

Pictures, joints, boxes, pose, shape and part maps are kept; what `lgnet synth` writes besides, of every pixel and vertex,
would be six times as large.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from lgnet.data.registry import open_data
from lgnet.synth.blender import Cycles
from lgnet.synth.generate import CYCLES_BENCH_CONFIG, CYCLES_BENCH_COUNT, CYCLES_BENCH_SEED, cycles_bench_drawn
from lgnet.synth.write import write_dataset

FOLDER = Path(__file__).with_name("synth-bench-cycles")
QUALITY = 86
SHOWN = (0, 25, 60, 130, 200, 215, 250, 290)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--renderer", choices=("cycles", "numba"), default="cycles")
    parser.add_argument("--blender", default="blender", help="Blender, or a python that has bpy")
    parser.add_argument("--samples", type=int, default=16, help="Cycles' samples a pixel")
    parser.add_argument("--threads", type=int, default=1, help="of Blender in each process; 0: it chooses")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--pictures", type=Path, help="also show some of --out (above) and of the benchmark (below)")
    args = parser.parse_args()
    start = time.perf_counter()
    count = write_dataset(
        args.out,
        CYCLES_BENCH_COUNT,
        CYCLES_BENCH_SEED,
        CYCLES_BENCH_CONFIG,
        form="webdataset",
        shard_size=50,
        jobs=args.jobs,
        cycles=Cycles(args.blender, args.samples, args.threads) if args.renderer == "cycles" else None,
        draw=cycles_bench_drawn,
        maps=False,
        quality=QUALITY,
    )
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{count} pictures in {args.out}, {size / 1e6:.2f} MB, {time.perf_counter() - start:.0f} s")
    if args.pictures is not None:
        pairs = [open_data(name) for name in (f"synth:{args.out}", "synth-bench-cycles")]
        sheet = np.concatenate([np.concatenate([data[i].image for i in SHOWN], 1) for data in pairs], 0)
        cv2.imwrite(str(args.pictures), sheet[..., ::-1])


if __name__ == "__main__":
    main()
