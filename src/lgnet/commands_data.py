"""`lgnet synth`, `lgnet data` and `lgnet fit`: what makes, checks and labels data. As commands.py, it imports when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from .commands import UsageError, Whole, complain, interrupted
from .config import MOST_SEED, SynthConfig
from .config_check import check_synth

if TYPE_CHECKING:
    from .synth.blender import Cycles

MOST_PREVIEWED = 2000
"""Pictures; JPEG knows no sheet of many more."""


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
    """Draw labelled synthetic pictures; the same seed gives the same pictures on every x86 machine with AVX2.

    A broken run goes on when called again with the same options.

    Args:
        out: folder to write into.
        count: how many pictures.
        seed: of all pictures; another gives other ones; 0 to 65535.
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
    if not out:
        raise UsageError("--out has no name (an empty variable of the shell?); name a folder")
    if count < 1 or not 0 <= seed <= MOST_SEED:
        raise UsageError(f"--count is at least 1 and --seed 0 to {MOST_SEED}, not {count} and {seed}")
    check_synth(config)
    if shard_size < 1 or jobs < 1 or views < 1:
        raise UsageError(f"--shard-size, --jobs and --views are at least 1, not {shard_size}, {jobs} and {views}")
    if samples < 1 or threads < 0:
        raise UsageError(f"--samples is at least 1 and --threads at least 0, not {samples} and {threads}")
    from .synth.blender import Cycles

    cycles = Cycles(blender, samples, threads) if renderer == "cycles" else None
    if preview:
        return _preview(Path(out), count, seed, config, views, cycles)
    from .ending import as_interrupt
    from .synth.write import write_dataset

    try:
        with as_interrupt():
            written = write_dataset(out, count, seed, config, format, shard_size, jobs, views, cycles)
    except (KeyboardInterrupt, SystemError) as error:
        if interrupted(error):
            complain(f"broken off; the same command goes on in {out}")
        raise
    left_out = f" ({count - written} without a hand have no place in this layout)" if written < count else ""
    print(f"{written} pictures in {out}{left_out}")
    return 0


def _preview(folder: Path, count: int, seed: int, config: SynthConfig, views: int, cycles: Cycles | None) -> int:
    from .aside import write_aside
    from .coding import jpeg
    from .synth.write import numbered
    from .visualize import COLOURS, contact_sheet, skeleton

    if count > MOST_PREVIEWED:
        raise UsageError(f"a preview shows at most {MOST_PREVIEWED} pictures, not {count}: give a lower --count")

    tiles, captions = [], []
    for index, drawn in numbered(seed, config, range(count), views, cycles):
        sample, picture = drawn.sample, drawn.sample.image
        for side, colour in enumerate((COLOURS["right"], COLOURS["left"])):
            if sample.present[side]:
                picture = skeleton(picture, sample.joints2d[side], colour)
        tiles.append(picture)
        captions.append(f"{index} {sample.kind}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "preview.jpg"
    write_aside(path, jpeg(contact_sheet(tiles, captions, columns=views if 1 < views < 13 else 8, tile=192)))
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
    from .data.check import check_data

    report = check_data(name)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items())) or "none"
    print(f"{report.name}: {report.count} pictures ({kinds}), {report.hands} hands, {report.hands3d} with 3D joints")
    for reason, count in sorted(report.skipped.items()):
        print(f"not scored: {count}, {reason}")
    for fault in report.faults:
        complain(fault)
    if not report.count:
        complain(f"{name} has no picture that can be used")
    elif not report.faults:
        print("complete and readable")
    return 1 if report.faults or not report.count else 0


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
