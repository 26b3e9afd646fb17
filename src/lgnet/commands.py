"""What each command does but training's: plain functions whose arguments are the options, whose value is the exit status.

Each imports what it needs when it runs, so that the command line parses without torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from .config import SynthConfig

if TYPE_CHECKING:
    from .synth.blender import Cycles

PROGRAM = "lgnet"
DEMO_OUT = "lgnet-demo"

Device = Literal["auto", "cpu", "cuda", "mps"]
Weights = Annotated[str, arg(metavar="NAME|PATH")]
Whole = Annotated[int, arg(metavar="N")]


class UsageError(ValueError):
    """What the user asked for cannot be done; the text is one sentence."""


def demo(
    images: Positional[Annotated[tuple[str, ...], arg(metavar="[IMAGE ...]")]] = (),
    weights: Weights = "lgnet-mobile",
    device: Device = "auto",
) -> int:
    """Reconstruct the bundled example pictures, or those given, into lgnet-demo/.

    Args:
        images: pictures; the bundled ones if none is given.
        weights: bundled weights by name, or a checkpoint by path.
        device: where to compute.
    """
    from .outputs import KINDS

    chosen = list(images) or _examples()
    return _reconstruct(chosen, DEMO_OUT, weights, device, KINDS, say=True)


def reconstruct(
    inputs: Positional[Annotated[tuple[str, ...], arg(metavar="INPUT ...")]] = (),
    *,
    out: Annotated[str, arg(metavar="DIR")],
    weights: Weights = "lgnet-mobile",
    device: Device = "auto",
    intrinsics: Annotated[tuple[float, float, float, float] | None, arg(metavar="FX FY CX CY")] = None,
    boxes: Annotated[str | None, arg(metavar="FILE.json")] = None,
    save: Annotated[str, arg(metavar="KIND,...")] = "json,glb,overlay",
    frames: Annotated[int | None, arg(metavar="N")] = None,
    smooth: Literal["off", "live", "offline"] = "live",
    hand_length: Annotated[float | None, arg(metavar="MM")] = None,
    sequence: bool = False,
    gestures: Annotated[str, arg(metavar="none|paper|FILE.py")] = "none",
) -> int:
    """Reconstruct the hands of pictures and videos.

    Args:
        inputs: pictures, videos, folders of them, `-` for a picture on standard input, `camera:0` for a camera,
            `rtsp://...` for a stream.
        out: folder of the results; those of a folder mirror its sub-folders.
        weights: bundled weights by name, or a checkpoint by path.
        device: where to compute.
        intrinsics: of every picture, in pixels; else from EXIF, else a field of view of 60 degrees is assumed.
        boxes: where the hands are: {"<file name>": {"right": [x, y, w, h] or null, "left": ...}}. Pictures that are
            not in the file are searched.
        save: some of json, npz, glb, obj, overlay, depth, normal, mask. Of videos, overlay gives an MP4 and json a
            JSONL.
        frames: at most this many of each video or camera.
        smooth: how the hands of a video are filtered: off, live (by what came before), offline (by what comes after too).
        hand_length: millimetres from the wrist joint to the tip of the straight middle finger: sets the size of both
            hands, and so their distance.
        sequence: take each folder as one video, its pictures in the order of the numbers in their names, 30 a second.
        gestures: write the events of these into a video's JSONL: paper (forward, summon, pinch), or those of a Python
            file, which is run; see docs/streaming.md.
    """
    from .outputs import parse_kinds

    if not inputs:
        raise UsageError("name at least one picture, video or folder to reconstruct")
    check_film(frames, hand_length)
    kinds = parse_kinds(save)
    return _reconstruct(
        inputs, out, weights, device, kinds, intrinsics, boxes, frames, smooth, hand_length, sequence, gestures
    )


def _reconstruct(
    inputs: Sequence[str],
    out: str,
    weights: str,
    device: str,
    kinds: Sequence[str],
    intrinsics: tuple[float, float, float, float] | None = None,
    boxes: str | None = None,
    frames: int | None = None,
    smooth: Literal["off", "live", "offline"] = "live",
    hand_length: float | None = None,
    sequence: bool = False,
    gestures: str = "none",
    say: bool = False,
) -> int:
    """Everything that can be wrong with the call is looked at before the weights are read."""
    from . import reconstruct as work
    from .image_io import expand_inputs

    items = expand_inputs(inputs, out, sequence)
    work.check_outputs(items, out, kinds)
    camera = None if intrinsics is None else work.camera_from_intrinsics(intrinsics)
    given = None if boxes is None else work.read_boxes(boxes, items)
    wanted: Sequence[Any] = ()
    if gestures != "none":  # with torch
        from .gestures import load_gestures

        wanted = load_gestures(gestures)
    from . import predict

    model = predict.load(weights, device=device)
    if hand_length is not None:
        model = replace(model, hand_length=hand_length / 1000)
    summary = work.reconstruct(model, items, out, kinds, camera, given, frames, smooth, wanted)
    if say:
        for path in summary.written:
            print(path)
    return 1 if summary.failed else 0


def _examples() -> list[str]:
    folder = resources.files("lgnet") / "examples"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".jpg")) if folder.is_dir() else []
    if not names:
        raise UsageError("this installation of lgnet has no example pictures; give some: lgnet demo IMAGE ...")
    return [str(folder / name) for name in names]


def evaluate(
    data: Annotated[str, arg(metavar="NAME[:ROOT]")],
    out: Annotated[str, arg(metavar="DIR")],
    weights: Weights = "lgnet-mobile",
    boxes: Literal["own", "truth"] = "own",
    limit: Annotated[int | None, arg(metavar="N")] = None,
    device: Device = "auto",
    predictions: Annotated[str | None, arg(metavar="DIR")] = None,
    save_predictions: bool = False,
    jobs: Annotated[int, arg(metavar="N")] = 1,
    root_depth: Annotated[str, arg(metavar="predicted|rootnet:FILE|truth")] = "predicted",
) -> int:
    """Measure weights, or predictions kept as files, on a data set: tables, DIR/metrics.json, plots and cases.

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
    """
    from .data.registry import open_data

    if predictions is not None and save_predictions:
        raise UsageError("--predictions are files already: leave out --save-predictions")
    data_set = open_data(data, limit)
    from . import evaluate as work

    if predictions is not None:
        metrics = work.evaluate_files(predictions, data_set, out, boxes=boxes, jobs=jobs, root_depth=root_depth)
        return _complain_of_files(metrics["predictions"])
    from . import predict

    model = predict.load(weights, device=device)
    work.evaluate(model, data_set, out, boxes=boxes, save_predictions=save_predictions, root_depth=root_depth)
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

    from .scoring import compare as work

    result = work.compare_runs(first, second)
    Console().print(work.compare_table(result))
    for line in work.sentences(result):
        print(line)
    if out is not None:
        work.write(result, out)
    return 0


def synth(
    out: Annotated[str, arg(metavar="DIR")],
    count: Whole = 100,
    seed: Annotated[int, arg(metavar="S")] = 0,
    format: Literal["files", "webdataset", "interhand"] = "files",
    shard_size: Whole = 500,
    jobs: Whole = 1,
    views: Whole = 1,
    preview: bool = False,
    renderer: Literal["numba", "cycles"] = "numba",
    blender: Annotated[str, arg(metavar="PROGRAM")] = "blender",
    samples: Whole = 16,
    threads: Whole = 0,
    config: Annotated[SynthConfig, arg(name="")] = SynthConfig(full_frame=True),
) -> int:
    """Draw labelled synthetic pictures; the same seed gives the same pictures on every machine.

    A broken run goes on when called again with the same options.

    Args:
        out: folder to write into.
        count: how many pictures.
        seed: of the first picture; 0 or more.
        format: files: loose pictures with their labels; webdataset: the same in tar shards; interhand: pictures and
            joints in InterHand2.6M's layout.
        shard_size: pictures of a shard, which is written by one process and is whole or not there.
        jobs: how many processes draw; the result is the same.
        views: how many cameras of a rig see each scene; the pictures of a scene come after one another.
        preview: write only one sheet, preview.jpg, of the pictures with their joints (right hand red, left hand blue).
        renderer: numba: lgnet's own; cycles: the same scenes and labels, their pixels by Blender's Cycles (docs/data.md).
        blender: for cycles: Blender 4.2 or later, or a python that has its module bpy, by name or path.
        samples: for cycles: paths traced a pixel.
        threads: for cycles: of Blender in each process; 0: as many as it chooses.
        config: what they are drawn from.
    """
    if count < 1 or seed < 0:
        raise UsageError(f"--count is at least 1 and --seed at least 0, not {count} and {seed}")
    if config.size < 32:
        raise UsageError(f"--size is at least 32 pixels, not {config.size}")
    if shard_size < 1 or jobs < 1 or views < 1:
        raise UsageError(f"--shard-size, --jobs and --views are at least 1, not {shard_size}, {jobs} and {views}")
    if samples < 1 or threads < 0:
        raise UsageError(f"--samples is at least 1 and --threads at least 0, not {samples} and {threads}")
    from .synth.blender import Cycles

    cycles = Cycles(blender, samples, threads) if renderer == "cycles" else None
    if preview:
        return _preview(Path(out), count, seed, config, views, cycles)
    from .synth.write import write_dataset

    written = write_dataset(out, count, seed, config, format, shard_size, jobs, views, cycles)
    print(f"{written} pictures in {out}")
    return 0


def _preview(folder: Path, count: int, seed: int, config: SynthConfig, views: int, cycles: Cycles | None) -> int:
    import cv2

    from .synth.write import numbered
    from .visualize import COLOURS, contact_sheet, skeleton

    tiles, captions = [], []
    for index, drawn in numbered(seed, config, range(count), views, cycles):
        sample, picture = drawn.sample, drawn.sample.image
        for side, colour in enumerate((COLOURS["right"], COLOURS["left"])):
            if sample.present[side]:
                picture = skeleton(picture, sample.joints2d[side], colour)
        tiles.append(picture)
        captions.append(f"{index} {sample.kind}")
    folder.mkdir(parents=True, exist_ok=True)
    part, path = folder / "preview.part.jpg", folder / "preview.jpg"
    cv2.imwrite(str(part), contact_sheet(tiles, captions, columns=views if 1 < views < 13 else 8, tile=192)[..., ::-1])
    part.replace(path)
    print(f"{count} pictures on {path}")
    return 0


def data(
    action: Positional[Annotated[str, arg(metavar="check")]],
    name: Positional[Annotated[str, arg(metavar="NAME:ROOT")]],
) -> int:
    """Say whether a data set's files are complete and readable: lgnet data check NAME:ROOT.

    Args:
        action: check.
        name: synth:FOLDER, realdata:FOLDER, synth-bench, synth-bench-cycles, or another of docs/data.md.
    """
    if action != "check":
        raise UsageError(f"lgnet data can check, not {action}: lgnet data check NAME:ROOT")
    from .data.registry import check_data

    report = check_data(name)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items())) or "none"
    print(f"{report.name}: {report.count} pictures ({kinds}), {report.hands} hands, {report.hands3d} with 3D joints")
    for reason, count in sorted(report.skipped.items()):
        print(f"not scored: {count}, {reason}")
    for fault in report.faults:
        complain(fault)
    if not report.faults:
        print("complete and readable")
    return 1 if report.faults else 0


def fit(
    keypoints: Positional[Annotated[str, arg(metavar="FILE.json")]],
    out: Annotated[str, arg(metavar="FILE.json")],
    hand_model: Literal["lgnet", "mano"] = "lgnet",
    mesh: bool = True,
) -> int:
    """Fit the hand model to your own key points: 21 joints in metres, or in pixels with a camera.

    Args:
        keypoints: {"hands": [{"side": "right", "joints3d": 21 x [x, y, z]}], "camera": {"fx", "fy", "cx", "cy"}};
            or "joints2d", in pixels. null stands for a joint that is not known.
        out: pose, shape, translation and joints of every hand, and how far off the key points are.
        hand_model: lgnet, or mano, whose files the variable MANO_DIR leads to.
        mesh: write each hand's mesh beside it as OBJ.
    """
    from .keypoints import fit_file

    for line in fit_file(keypoints, out, hand_model, mesh):
        print(line)
    return 0


def bench(
    weights: Weights = "lgnet-mobile",
    image: Annotated[str | None, arg(metavar="IMAGE")] = None,
    device: Device = "auto",
    threads: Whole = 0,
    repeats: Whole = 20,
    out: Annotated[str | None, arg(metavar="FILE.json")] = None,
) -> int:
    """Time every stage and the whole on this machine: medians, and ratios to a fixed reference of the same run.

    Args:
        weights: bundled weights by name, or a checkpoint by path.
        image: the picture to run on; else the first bundled example.
        device: where to compute.
        threads: of torch and OpenCV; 0: as many as they choose.
        repeats: how often each stage is timed.
        out: write the figures here too.
    """
    if threads < 0 or repeats < 1:
        raise UsageError(f"--threads is at least 0 and --repeats at least 1, not {threads} and {repeats}")
    path = image or _examples()[0]
    from . import bench as work
    from . import predict

    work.set_threads(threads)
    work.show(figures := work.measure(predict.load(weights, device=device), path, repeats))
    if out is not None:
        work.write(figures, out)
    return 0


def check_film(frames: int | None, hand_length: float | None) -> None:
    """Whether what was said of --frames and of --hand-length (millimetres) makes sense; else a `UsageError`."""
    if frames is not None and frames < 1:
        raise UsageError(f"--frames is at least 1, not {frames}")
    if hand_length is not None and not 20 <= hand_length <= 500:
        raise UsageError(f"--hand-length is in millimetres, 20 to 500, not {hand_length:g}")


def complain(text: str) -> None:
    """One line on standard error, after the program's name."""
    print(f"{PROGRAM}: {text}", file=sys.stderr)
