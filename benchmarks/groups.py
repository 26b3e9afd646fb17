"""What each group of the synthetic engine is worth: the same short training with one group switched off at a time.

    python benchmarks/groups.py --out runs/groups --samples 6000 [--init WEIGHTS] [--real ../shared/realdata] [--only NAME ...]

Each run starts from the same weights (the bundled ones unless told), sees the same number of samples, the rate falling
over the last two thirds, and is then judged with true boxes: MPJPE (protocol C) on every fifth picture of synth-bench
and PCK of the 2.5D joints on real photographs. Runs that are there already, made with these options, are read, not
repeated; one that was broken off goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ablations import trained
from rich.console import Console
from rich.table import Table

from lgnet.config import SynthConfig
from lgnet.presets import PRESETS

PLAIN = SynthConfig()
GROUPS: dict[str, tuple[str, ...]] = {
    "everything": (),
    "without interaction": ("bank",),
    "without appearance": ("looks", "toned", "lens"),
    "without context": ("people", "held", "places"),
    "without views and poses": ("signs", "gestures", "wrist_bend", "fill"),
}
GROUPS["nothing"] = sum(GROUPS.values(), ())
"""The fields that go back to their plain values, of each group and of all."""


def run(name: str, options: argparse.Namespace) -> dict[str, float]:
    """The last row of a run's learning curve, training first where it is not there."""
    preset = PRESETS["lgnet-mobile"]
    config = replace(
        preset,
        synth=replace(preset.synth, **{field: getattr(PLAIN, field) for field in GROUPS[name]}),
        out=str(Path(options.out) / name.replace(" ", "-")),
        init=options.init,
        samples=options.samples,
        decay=options.samples * 2 // 3,
        warmup=options.samples // 12,
        learning_rate=5e-4,
        batch_size=16,
        ema=0.99,
        ring=800,
        evaluate_every=10 * options.samples,
        real_data=options.real,
        seed=options.seed,
        threads=1,
    )
    return trained(config, name)


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/groups")
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--init", default=str(Path(__file__).parents[1] / "src/lgnet/weights/lgnet-mobile.safetensors"))
    parser.add_argument("--real", default=None, help="root of real annotated pictures, to judge by only")
    parser.add_argument("--only", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    rows = {name: run(name, options) for name in options.only}
    keys = [key for key in next(iter(rows.values())) if key.split("/")[-1] in ("mpjpe", "pck01", "pck02")]
    table = Table(title=f"{options.samples} samples each, seed {options.seed}")
    for heading in ("trained with", *keys):
        table.add_column(heading)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[key]:.3f}" if row.get(key) is not None else "" for key in keys))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
