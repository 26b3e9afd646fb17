"""`lgnet evaluate` and `lgnet compare`: what scores. As commands.py, it imports when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from . import __version__
from .commands import Device, UsageError, Weights, Whole, check_file, complain
from .config import BUNDLED


def evaluate(
    data: Annotated[str, arg(metavar="NAME[:ROOT]")],
    out: Annotated[str, arg(metavar="DIR")],
    weights: Weights = BUNDLED,
    boxes: Literal["own", "truth"] = "own",
    limit: Annotated[int | None, arg(metavar="N")] = None,
    device: Device = "auto",
    predictions: Annotated[str | None, arg(metavar="DIR")] = None,
    save_predictions: bool = False,
    jobs: Annotated[int, arg(metavar="N")] = 1,
    root_depth: Annotated[str, arg(metavar="predicted|rootnet:FILE|truth")] = "predicted",
    tta: Whole = 1,
) -> int:
    """Measure weights, or predictions kept as files, on a data set: tables, DIR/metrics.json, plots and cases.

    Under torchrun many processes share the work, to the same figures; started again after a break, it goes on.

    Args:
        data: synth-bench, synth-bench-cycles, synth:FOLDER, realdata:FOLDER, or another of docs/data.md.
        out: folder of the results.
        weights: bundled weights by name, or a checkpoint by path.
        boxes: own: lgnet finds the hands itself; truth: boxes and sides are given. With --predictions, what whoever
            made them was given.
        limit: at most this many pictures, spread evenly over the data set.
        device: where to compute.
        predictions: score the files of this folder instead of running a network; docs/evaluation.md has the format.
        save_predictions: write what is predicted to DIR/predictions, in that format.
        jobs: processes that read and score the files of --predictions.
        root_depth: where MRRPE and absolute joints take the distance of the wrists from: the prediction, a file of
            RootNet's results on InterHand2.6M, or the truth.
        tta: test-time augmentation: so many crops of each hand, each rolled otherwise. One is what papers report unless
            they speak of it; `lgnet reconstruct` takes 3.
    """
    from .data.registry import open_data

    if jobs != 1 and predictions is None:
        raise UsageError("--jobs is for the files of --predictions; leave it out")
    if predictions is not None and save_predictions:
        raise UsageError("--predictions are files already: leave out --save-predictions")
    if predictions is not None and tta != 1:
        raise UsageError("--predictions were made with as many crops as they were: leave out --tta")
    if not out:
        raise UsageError("--out has no name (an empty variable of the shell?); name a folder")
    data_set = open_data(data, limit)
    from . import evaluate as work
    from .scoring.columns import SCORING
    from .shards import Shards, launched

    place = launched()
    plan = {"data": data, "limit": limit, "pictures": len(data_set), "boxes": boxes, "root depth": root_depth}
    plan |= {
        "version": __version__,
        "scoring": SCORING,
        "MANO_DIR": os.environ.get("MANO_DIR"),
    }  # which truth meshes have hangs on it
    folder = Path(out) / "parts"
    if predictions is not None:
        plan["predictions"] = predictions
        shards = None if place is None else Shards(folder, plan, *place)  # else they are scored before one would go on
        metrics = work.evaluate_files(
            predictions, data_set, out, boxes=boxes, jobs=jobs, root_depth=root_depth, shards=shards
        )
        return _complain_of_files(metrics["predictions"]) if metrics else 0
    from . import predict

    model = predict.load(weights, device=device, tta=tta)
    plan |= {"weights": predict.fingerprint(model), "save predictions": save_predictions, "tta": tta}
    shards = Shards(folder, plan, *(place or (0, 1)))
    work.evaluate(
        model, data_set, out, boxes=boxes, save_predictions=save_predictions, root_depth=root_depth, shards=shards
    )
    return 0


def _complain_of_files(files: dict[str, Any]) -> int:
    """Name the prediction files that were missing, damaged or of no sample; the exit status."""
    missing, damaged, unknown = files["missing"], files["damaged"], files["unknown"]
    lines = [f"{files['folder']} has no prediction for {name}; its hands count as missed" for name in missing["names"]]
    lines += [f"{reason}; its hands count as missed" for reason in damaged["reasons"]]
    for what, own in (("missing", missing), ("damaged", damaged)):
        more = own["count"] - len(own.get("names", own.get("reasons")))
        lines += [f"and {more} more {what} predictions"] * (more > 0)
    if unknown and unknown["count"]:
        lines.append(
            f"{unknown['count']} files of {files['folder']} belong to no sample, such as {unknown['names'][0]}"
        )
    for line in lines:
        complain(line)
    return 1 if missing["count"] or damaged["count"] else 0


def compare(
    first: Positional[Annotated[str, arg(metavar="DIR")]],
    second: Positional[Annotated[str, arg(metavar="DIR")]],
    out: Annotated[str | None, arg(metavar="FILE.json")] = None,
) -> int:
    """Compare two evaluations of the same data, picture by picture: differences with their 95 % intervals.

    Args:
        first: folder that `lgnet evaluate` wrote.
        second: another one.
        out: write the comparison here too.
    """
    from rich.console import Console

    from .aside import real
    from .scoring import compare as work

    read = [Path(folder, name) for folder in (first, second) for name in ("metrics.json", "scores.npz")]
    if out is not None and real(out) in [real(path) for path in read]:
        raise UsageError(f"--out {out} would replace what is read; give another name")
    check_file(out)
    result = work.compare_runs(first, second)
    Console().print(work.compare_table(result))
    for line in work.sentences(result):
        print(line)
    if out is not None:
        work.write(result, out)
    return 0
