"""What each part of the network and each choice of training is worth: one thing changed at a time, trained alike.

    python benchmarks/ablations.py --init src/lgnet/weights/lgnet-mobile.safetensors --backbone-only --samples 16000
    python benchmarks/ablations.py --table training --init runs/plain/last.safetensors --out runs/ablations --samples 100000
    python benchmarks/ablations.py --tiny --samples 512          # a trial of the machinery, in runs/ablations-tiny

`--table parts` has the paper's ablations, and the blocks to compare with; `--table training` what can be trained otherwise,
of the network without LGBlock and refine stage: it takes half the time, and the question is another.

Every row starts from the same weights. With `--backbone-only` from a trained backbone and everything after it random, as
the paper does; else those of a network without LGBlock and refine stage are best: all rows that have either begin with
one that says nothing yet, so with the same error as those without. Each sees the same pictures in
the same order and is judged by the averaged weights at the end, with true boxes, on every fifth picture of synth-bench
and, with --real, on photographs. The first row is trained with three seeds: their spread is the noise that a
difference has to stand out from. Runs that are done are read, not repeated, and a run that was broken off goes on, if it was
made with these options; the table is written anew after each. Several processes may share the work: give each other rows by
`--only`, then start once more without it, which writes the whole table. What differs between rows is in `PARTS` and
`TRAINING`, as configuration flags.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from lgnet import train as trainer
from lgnet.aside import write_aside
from lgnet.config import RESUMABLE, TrainConfig, read_run
from lgnet.finder import bundled
from lgnet.presets import MODELS, PRESETS
from lgnet.synth.generate import bench_sample

WHOLE = "LGNet, whole"
HEADS = "hands separated by two heads, as in the paper"
FINER = MODELS["lgnet-mobile"].heatmap_size // MODELS["lgnet-mobile"].grid
"""Times finer than F the preset's heat maps are; so they are in rows whose F has another size."""
BY_HEADS: dict[str, Any] = {
    name: getattr(MODELS["lgnet-mobile-heads"], name) for name in ("separation", "crop_size", "grid")
}
BY_HEADS["heatmap_size"] = BY_HEADS["grid"] * FINER
PARTS: dict[str, dict[str, Any]] = {
    WHOLE: {},
    "without joint stage": {"model": {"joint_stage": False}},
    "without mesh stage": {"model": {"mesh_stage": False}},
    "without refine stage": {"model": {"refine_stage": False}},
    "without LGBlock": {"model": {"lgblock": False}},
    "without local unit": {"model": {"local_unit": False}},
    "without global unit": {"model": {"global_unit": False}},
    "without L_normal": {"loss": {"normal": 0.0}},
    "without L_edge": {"loss": {"edge": 0.0}},
    "without L_lap": {"loss": {"laplacian": 0.0}},
    "LGNet (Light): half the channels": {"model": {"channels": MODELS["lgnet-mobile"].channels // 2}},
    "baseline: without LGBlock and refine stage": {"model": {"lgblock": False, "refine_stage": False}},
    "EANet's block in place of LGBlock": {"model": {"block": "eanet", "lgfa_depth": 4, "lgfa_heads": 4}},
    "LGBlock as deep as EANet's block": {"model": {"lgfa_depth": 4, "lgfa_heads": 4}},
    HEADS: {"model": BY_HEADS},
    "the same, hands not separated": {"model": {**BY_HEADS, "separate": False}},
}
"""What each row changes of the preset `lgnet-mobile`. With crops the hands are separate by themselves, so the ablation
"hands not separated" is one of the paper's separation by heads and to be compared with that row."""
AS_IS = "as it is, without LGBlock and refine stage"
_OF_MESHES = ("pose", "shape", "joints3d", "projected", "vertices_rough", "vertices", "normal", "edge", "laplacian")
JOINTS_ONLY = dict.fromkeys((*_OF_MESHES, "relative", "presence"), 0.0)
OTHER_PICTURES = 10_000
"""Added to the seed of a row's second run, which would else be shown the first one's pictures again."""
TRAINING: dict[str, dict[str, Any]] = {
    AS_IS: {},
    "from random weights": {"train": {"init": None}},
    "from random weights, a third for joints in the crop only": {
        "train": {"init": None},
        "first": {"loss": JOINTS_ONLY},
    },
    "from random weights, a third for parts of hands only": {
        "train": {"init": None},
        "first": {"loss": {**JOINTS_ONLY, "joints25d": 0.0, "parts": 1.0}, "model": {"dense_head": True}},
    },
    "single hands first, a third of the pictures": {"first": {"synth": {"kinds": (0.0, 0.0, 0.97, 0.03)}}},
    "easy pictures first, a third": {
        "first": {"synth": {"difficulty": 0.0, "looks": 0.0, "held": 0.0, "people": 0.0, "places": 0.0}}
    },
    "half as many everyday poses": {"synth": {"everyday": 0.4}},
    "no pairs of the bank": {"synth": {"bank": 0.0}},
    "each picture used once": {"train": {"reuse": 1, "renderers": 2}},
    "crops half as far off": {"train": {"jitter": 0.5}},
    "crops of 128 pixels": {"model": {"crop_size": 128, "grid": 8, "heatmap_size": 8 * FINER}},
    "crops of 192 pixels": {"model": {"crop_size": 192, "grid": 12, "heatmap_size": 12 * FINER}},
    "heat maps of 10 x 10": {"model": {"heatmap_size": 10}},
    "heat maps of 20 x 20": {"model": {"heatmap_size": 20}},
    "z of the 2.5D joints over 0.1 m": {"model": {"depth_range": 0.1}},
    "z of the 2.5D joints over 0.25 m": {"model": {"depth_range": 0.25}},
    "parts of hands segmented besides": {"model": {"dense_head": True}},
    "and places on the hand told": {"model": {"dense_head": True, "surface_head": True}},
    "pose weighs four times as much": {"loss": {"pose": 8.0}},
    "2.5D joints weigh a quarter": {"loss": {"joints25d": 1.0}},
    "no loss of shape": {"loss": {"shape": 0.0}},
    "no loss of vertices": {"loss": {"vertices": 0.0, "vertices_rough": 0.0}},
    "weights not averaged": {"train": {"ema": 0.0}},
    "AdamW, no Muon": {"train": {"optimiser": "adamw"}},
    "taught by the bundled weights besides": {"train": {"teacher": (str(bundled("lgnet-mobile")),)}},
}
"""What each row trains otherwise. `first`: one in `FIRST` of the pictures comes before the rest and is drawn, or learnt from,
so."""
TABLES = {"parts": PARTS, "training": TRAINING}
FIRST = 3
"""One in how many samples belongs to the first phase of rows that have one."""
SEEDS = 3
COLUMNS = {
    "bench/mpjpe": "MPJPE",
    "bench/mpjpe_interacting": "interacting",
    "bench/mpjpe_rough": "M_r",
    "bench/mrrpe_network": "MRRPE",
    "bench/depth25d": "2.5D z",
    "bench/pck02": "PCK@0.2",
}


def configured(name: str, seed: int, options: argparse.Namespace) -> TrainConfig:
    """The training of one row."""
    preset = PRESETS["lgnet-mobile"]
    change = (PARTS | TRAINING)[name]
    base = preset.model if name in PARTS else replace(preset.model, lgblock=False, refine_stage=False)
    model = replace(base, **change.get("model", {}))
    config = replace(
        preset,
        model=model,
        loss=replace(preset.loss, **change.get("loss", {})),
        synth=replace(preset.synth, **change.get("synth", {})),
        out=str(Path(options.out) / f"{slug(name)}-{seed}"),
        init=options.init,
        samples=options.samples,
        decay=3 * options.samples // 4,
        warmup=min(2000, options.samples // 12),
        learning_rate=5e-4,
        batch_size=16,
        ema=0.9 if options.tiny else 0.995,
        ring=min(1500, max(100, options.samples)),
        renderers=options.renderers,
        threads=options.threads,
        evaluate_every=10 * options.samples,
        real_data=options.real,
        seed=options.seed + seed,
    )
    config = replace(config, **change.get("train", {}))
    if options.tiny:
        half = model.crop_size // 2
        small = replace(model, crop_size=half, channels=model.channels // 4, joint_channels=32, refine_channels=8)
        config = replace(config, model=small, synth=replace(config.synth, size=128))
    return config


def phases(name: str, seed: int, options: argparse.Namespace) -> list[TrainConfig]:
    """The run of a row, before it the one that begins it where its pictures change; together as many samples as any."""
    config = configured(name, seed, options)
    first = TRAINING.get(name, {}).get("first")
    if first is None:
        return [config]
    changed = {part: replace(getattr(config, part), **values) for part, values in first.items()}
    begin = replace(config, out=config.out + "-first", samples=config.samples // FIRST, decay=0, **changed)
    rest = replace(config, init=str(Path(begin.out) / "last.safetensors"), samples=config.samples - begin.samples)
    return [begin, replace(rest, seed=config.seed + OTHER_PICTURES)]


def slug(name: str) -> str:
    """The name as part of a path."""
    return "".join(c if c.isalnum() else "-" for c in name.split(":")[0]).strip("-").lower()


def run(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """The last row of a run's learning curve, training first what is left of it.

    Raises:
        ValueError: its folder holds a run that was made with other options.
    """
    return [trained(config, f"{name}, seed {seed}") for config in phases(name, seed, options)][-1]


def trained(config: TrainConfig, name: str) -> dict[str, float]:
    """The end of a run's curve; what is missing of the run is trained first.

    Raises:
        ValueError: its folder holds a run with other options.
    """
    out = Path(config.out)
    _require_same(config)
    if not (out / "last.safetensors").exists() or last(out)["samples"] < config.samples:
        print(f"=== {name}", flush=True)
        begin = time.process_time()
        trainer.main(config, resume=str(out) if (out / "config.json").exists() else None)
        (out / "processor_seconds").write_text(f"{time.process_time() - begin:.1f}\n")
    return last(out)


def _require_same(config: TrainConfig) -> None:
    """A run that is read or goes on was configured like this one, but for what the machine makes faster."""
    if not (Path(config.out) / "config.json").exists():
        return
    kept, free = read_run(config.out), set(RESUMABLE) - {"samples", "decay", "learning_rate"}
    other = [f.name for f in fields(config) if f.name not in free and getattr(kept, f.name) != getattr(config, f.name)]
    if other:
        raise ValueError(
            f"{config.out} holds a run with other options ({', '.join(other)}): choose another --out, or remove it"
        )


def backbone_of(weights: str, folder: Path) -> str:
    """Weights of which only the backbone's are left, as a file in the folder; one that is there already stays, so that all
    rows of a folder begin alike whatever became of `weights` since.

    Raises:
        ValueError: the one that is there is of a file of another name.
    """
    path, source = folder / "backbone.safetensors", str(Path(weights).resolve())
    if path.exists():
        with safe_open(path, "pt") as file:
            kept_of = (file.metadata() or {}).get("of")
        if kept_of != source:
            raise ValueError(f"{path} is of {kept_of}, not of {source}: choose another --out, or remove it")
        return str(path)
    with safe_open(weights, "pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys() if name.startswith("backbone.")}  # noqa: SIM118
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(path, save(kept, {"of": source}))
    return str(path)


def last(out: Path) -> dict[str, float]:
    """The end of a run's curve."""
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])


def table(done: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    """The rows that there are, as Markdown: means over seeds, and the spread (highest less lowest) where there are more."""
    columns = {key: text for key, text in COLUMNS.items() if any(key in row for rows in done.values() for row in rows)}
    real = sorted({k for rows in done.values() for row in rows for k in row if k.startswith("real_") and "pck02" in k})
    columns |= {key: key.split("/")[0].removeprefix("real_") + " PCK@0.2" for key in real}
    lines = ["| " + " | ".join(["", *columns.values()]) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, rows in done.items():
        cells = []
        for key in columns:
            values = [row[key] for row in rows if key in row]
            digits = 3 if "pck" in key else 1
            text = f"{statistics.mean(values):.{digits}f}" if values else ""
            cells.append(text + (f" ({max(values) - min(values):.{digits}f})" if len(values) > 1 else ""))
        lines.append("| " + " | ".join([name + (f", {len(rows)} seeds" if len(rows) > 1 else ""), *cells]) + " |")
    head = (
        f"{options.samples} samples a run{', tiny' if options.tiny else ''}, seed {options.seed} on; lengths in mm, protocol C; "
        "in brackets the spread over seeds.\n\n"
    )
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=None, help="folder of the runs, else runs/ablations, or runs/ablations-tiny")
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--init", default=None, help="weights that every row starts from; else random ones")
    parser.add_argument("--backbone-only", action="store_true", help="of --init, take only the backbone")
    parser.add_argument("--real", default=None, help="root of real annotated pictures, to judge by only")
    parser.add_argument("--table", choices=list(TABLES), default="parts")
    parser.add_argument("--only", nargs="*", choices=list(PARTS | TRAINING), metavar="ROW", help="rows, else all")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the first row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--renderers", type=int, default=1)
    parser.add_argument(
        "--tiny", action="store_true", help="a quarter of the channels, half the pixels, 20 pictures to judge by"
    )
    options = parser.parse_args()
    options.out = options.out or ("runs/ablations-tiny" if options.tiny else "runs/ablations")
    if options.tiny:
        few = {"bench": [bench_sample(index) for index in range(0, 1000, 50)]}
        trainer._held_out = lambda config: few
    done: dict[str, list[dict[str, float]]] = {}
    only = options.only or list(TABLES[options.table])
    jobs = [(name, seed) for name in only for seed in range(options.seeds if name in (WHOLE, AS_IS) else 1)]
    if options.backbone_only and options.init is None:
        parser.error("--backbone-only takes the backbone of --init WEIGHTS, which is missing")
    if options.backbone_only:
        options.init = backbone_of(options.init, Path(options.out))
    for name, seed in jobs:
        try:
            done.setdefault(name, []).append(run(name, seed, options))
        except ValueError as error:
            parser.error(str(error))
        text = table(done, options)
        (Path(options.out) / f"{options.table}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
