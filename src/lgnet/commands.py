"""What commands do, and what all commands share: plain functions whose arguments are the options, whose value is the exit status.

Each imports what it needs when it runs, so that the command line parses without torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from .config import BUNDLED

PROGRAM = "lgnet"
DEMO_OUT = "lgnet-demo"
TTA = 3
"""Crops of each hand of a picture (`lgnet.tta`), where nobody waits for the next frame."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Weights = Annotated[str, arg(metavar="NAME|PATH")]
Whole = Annotated[int, arg(metavar="N")]


class UsageError(ValueError):
    """What the user asked for cannot be done; the text is one sentence."""


def demo(
    images: Positional[Annotated[tuple[str, ...], arg(metavar="[IMAGE ...]")]] = (),
    weights: Weights = BUNDLED,
    device: Device = "auto",
) -> int:
    """Reconstruct the bundled example pictures, or those given, into lgnet-demo/.

    Args:
        images: pictures; the bundled ones if none is given.
        weights: bundled weights by name, or a checkpoint by path.
        device: where to compute.
    """
    from .image_io import expand_inputs
    from .outputs import DEMO_KINDS

    moving = next((item for item in expand_inputs(images) if item.moving and item.path in images), None)
    if moving is not None:
        raise UsageError(
            f"lgnet demo is for pictures, and {moving.shown} is none; lgnet reconstruct INPUT --out DIR takes videos and cameras"
        )
    chosen = list(images) or _examples()
    return _reconstruct(chosen, DEMO_OUT, weights, device, DEMO_KINDS, say=True)


def reconstruct(
    inputs: Positional[Annotated[tuple[str, ...], arg(metavar="INPUT ...")]] = (),
    *,
    out: Annotated[str, arg(metavar="DIR")],
    weights: Weights = BUNDLED,
    device: Device = "auto",
    intrinsics: Annotated[tuple[float, float, float, float] | None, arg(metavar="FX FY CX CY")] = None,
    boxes: Annotated[str | None, arg(metavar="FILE.json")] = None,
    save: Annotated[str | None, arg(metavar="KIND,...")] = None,
    frames: Annotated[int | None, arg(metavar="N")] = None,
    smooth: Literal["off", "live", "offline"] = "live",
    hand_length: Annotated[float | None, arg(metavar="MM")] = None,
    sequence: bool = False,
    gestures: Annotated[str, arg(metavar="none|paper|FILE.py")] = "none",
    evidence: Annotated[str | None, arg(metavar="mediapipe|FILE")] = None,
    finder: Literal["lgnet", "mediapipe"] = "lgnet",
    people: Literal["nearest", "all"] = "nearest",
    tiles: Literal["auto", "off", "all"] = "auto",
    tta: Whole = TTA,
) -> int:
    """Reconstruct the hands of pictures and videos.

    Args:
        inputs: pictures, videos, folders of them, `-` for a picture on standard input, `camera:0` for a camera,
            `rtsp://...` (or rtmp, http) for a stream.
        out: folder of the results; those of a folder mirror its sub-folders.
        weights: bundled weights by name, or a checkpoint by path.
        device: where to compute.
        intrinsics: of every picture, in pixels; else from EXIF, else a field of view of 60 degrees is assumed.
        boxes: where the hands are: {"<file name>": {"right": [x, y, w, h] or null, "left": ...}}. Pictures that are
            not in the file are searched.
        save: some of json, npz, glb, obj, overlay, depth, normal, mask, part, uv, control, bvh, csv; docs/outputs.md says
            what they are. Without it json, glb and overlay of a picture; json and overlay of a video, as JSONL and MP4.
        frames: at most this many of each video or camera.
        smooth: how the hands of a video are filtered: off, live (by what came before), offline (by what comes after too).
        hand_length: millimetres from the wrist joint to the tip of the straight middle finger: sets the size of both
            hands, and so their distance.
        sequence: take each folder as one video, its pictures in the order of the numbers in their names, 30 a second.
        gestures: write the events of these into a video's JSONL: paper (forward, summon, pinch), or those of a Python
            file, which is run; see docs/streaming.md.
        evidence: align the hands to 2D key points that you trust: mediapipe finds them, or a JSON file or folder of
            OpenPose's, RTMPose's or DWPose's; see docs/keypoints.md.
        finder: who finds the hands of pictures without boxes: lgnet itself, or MediaPipe.
        people: whose hands: those of the person nearest to the camera, or of all (pictures only); see docs/outputs.md.
        tiles: look for hands in tiles of a large picture too: auto, where nothing is found in the whole, and with --people
            all; off; all.
        tta: test-time augmentation: so many crops of each hand of a picture, each rolled otherwise; their mean is better
            than one (docs/results.md), and takes as many runs of the network. Hands that are followed in a video get one.
    """
    from .outputs import parse_kinds

    if not inputs:
        raise UsageError("name at least one picture, video or folder to reconstruct")
    check_film(frames, hand_length)
    kinds = None if save is None else parse_kinds(save)
    return _reconstruct(
        inputs,
        out,
        weights,
        device,
        kinds,
        intrinsics=intrinsics,
        boxes=boxes,
        frames=frames,
        smooth=smooth,
        hand_length=hand_length,
        sequence=sequence,
        gestures=gestures,
        evidence=evidence,
        finder=finder,
        everyone=people == "all",
        tiles=tiles,
        tta=tta,
    )


def _reconstruct(
    inputs: Sequence[str],
    out: str,
    weights: str,
    device: str,
    kinds: Sequence[str] | None,
    *,
    intrinsics: tuple[float, float, float, float] | None = None,
    boxes: str | None = None,
    frames: int | None = None,
    smooth: Literal["off", "live", "offline"] = "live",
    hand_length: float | None = None,
    sequence: bool = False,
    gestures: str = "none",
    evidence: str | None = None,
    finder: Literal["lgnet", "mediapipe"] = "lgnet",
    say: bool = False,
    everyone: bool = False,
    tiles: Literal["auto", "off", "all"] = "auto",
    tta: int = TTA,
) -> int:
    """Everything that can be wrong with the call is looked at before the weights are read."""
    from . import reconstruct as work
    from .image_io import expand_inputs

    items = expand_inputs(inputs, out, sequence)
    work.check_outputs(items, out, kinds)
    if everyone and any(item.moving for item in items):
        raise UsageError("--people all is for pictures; in a video the nearest pair is followed")
    _check_moving(items, kinds, sequence, {"frames": frames, "smooth": smooth, "gestures": gestures})
    if finder == "mediapipe" and (everyone or tiles != "auto"):
        raise UsageError("--people all and --tiles are of lgnet's own finder; leave out --finder mediapipe, or them")
    if gestures != "none" and kinds is not None and "json" not in kinds:  # by default a video's lines are written
        raise UsageError("gestures are written to a video's lines; add json to --save, or leave out --gestures")
    if everyone and boxes is not None:
        raise UsageError("--boxes says where one pair of hands is; leave it, or --people all, out")
    camera = None if intrinsics is None else work.camera_from_intrinsics(intrinsics)
    given = None if boxes is None else work.read_boxes(boxes, items)
    wanted: Sequence[Any] = ()
    if gestures != "none":  # with torch
        from .gestures import load_gestures

        wanted = load_gestures(gestures)
    source, mediapipe = from_elsewhere(evidence, finder, items)
    from . import predict

    model = predict.load(weights, device=device, tta=tta)
    if hand_length is not None:
        model = replace(model, hand_length=hand_length / 1000)
    if mediapipe is not None:
        model = replace(model, finder=mediapipe)
    elif tiles != "auto" and isinstance(model.finder, predict.Finder):
        model = replace(model, finder=replace(model.finder, tiles=tiles))
    if everyone:
        model = replace(model, everyone=True)
    summary = work.reconstruct(model, items, out, kinds, camera, given, frames, smooth, wanted, source)
    if say:
        for path in summary.written:
            print(path)
    return 1 if summary.failed else 0


def _check_moving(items: Sequence[Any], kinds: Sequence[str] | None, sequence: bool, options: dict[str, Any]) -> None:
    """Refuse options of videos where there is none, and files of pictures where there are only videos.

    Raises:
        UsageError: which, and why.
    """
    from .outputs import MOVING_KINDS

    if sequence and not any(item.kind == "frames" for item in items):
        raise UsageError("--sequence takes a folder's pictures as frames, and no folder is named")
    usual = {"frames": None, "smooth": "live", "gestures": "none"}
    unfit = [name for name, value in options.items() if value != usual[name]]
    if unfit and not any(item.moving for item in items):
        raise UsageError(f"--{unfit[0]} is of videos, cameras and --sequence, and none is named")
    unfit = [kind for kind in kinds or () if kind not in MOVING_KINDS]
    if unfit and all(item.moving for item in items):
        raise UsageError(
            f"{unfit[0]} is not saved of videos; leave it out of --save, which takes {','.join(MOVING_KINDS)}"
        )


def from_elsewhere(evidence: str | None, finder: str, items: Sequence[Any]) -> tuple[Any, Any]:
    """What gives key points (an `evidence.Source`) and what finds the hands, where it is not lgnet: None otherwise.

    Raises:
        ValueError: MediaPipe is not there, or the file of key points is none.
    """
    mediapipe: Any = None
    if "mediapipe" in (evidence, finder):
        from .mediapipe_hands import MediaPipeHands

        mediapipe = MediaPipeHands()
    source: Any = mediapipe if evidence == "mediapipe" else None
    if evidence not in (None, "mediapipe"):
        from .keypoint_files import read_key_points

        source = read_key_points(evidence, items)
    return source, mediapipe if finder == "mediapipe" else None


def _examples() -> list[str]:
    folder = resources.files("lgnet") / "examples"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".jpg")) if folder.is_dir() else []
    if not names:
        raise UsageError("this installation of lgnet has no example pictures; give some: lgnet demo IMAGE ...")
    return [str(folder / name) for name in names]


def bench(
    weights: Weights = BUNDLED,
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
    check_file(out)
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


def check_file(out: str | None) -> None:
    """Look before the work whether a file of this name can be written; else a `UsageError`."""
    from .aside import can_be_made

    if out is not None and Path(out).is_dir():
        raise UsageError(f"--out {out} is a folder; name a file")
    if out is not None and not can_be_made(out):
        raise UsageError(f"--out {out} cannot be written; choose another name")


def complain(text: str) -> None:
    """One line on standard error, after the program's name."""
    print(f"{PROGRAM}: {text}", file=sys.stderr)


def interrupted(error: BaseException) -> bool:
    """Whether it is Ctrl-C, or numba's word for Ctrl-C while it computed."""
    return isinstance(error.__cause__ or error.__context__ or error, KeyboardInterrupt)
