"""The plain loop behind `lgnet reconstruct` and `lgnet demo`: inputs -> read -> predict -> files.

An input that fails is named on standard error in one sentence; the others are done.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from rich.progress import TextColumn

from . import maps, outputs
from .aside import aside, aside_moving, can_be_made, real
from .hands import SIDES, Camera
from .image_io import ImageError, Item, camera_from_exif, is_folder, only_ones, read_image
from .predictor import Predictor
from .progress import progress_bar

if TYPE_CHECKING:
    from .evidence import Source

BoxesBySide = tuple[np.ndarray, np.ndarray]  # (2, 4) x, y, w, h of right and left; (2,) bool which count


LONGEST_NAME = 255
"""Bytes, of a file's name."""


@dataclass
class Summary:
    """What became of the inputs."""

    done: int = 0
    failed: int = 0
    written: list[Path] = field(default_factory=list)


LARGEST_BOX = 10
"""Times the picture: a hand of which so little is seen is none that anything can be said of."""
FAR_FROM_MIDDLE = 0.2
"""Share of the picture by which a camera's middle may be off the picture's before it is spoken of."""


def check_outputs(items: Sequence[Item], out: str | Path, kinds: Sequence[str] | None = None) -> None:
    """Look before any work whether the results can be written.

    Raises:
        ValueError: `out` is not a folder, a result would replace an input or another input's result, or a folder is where
            a file is to be or the other way round.
    """
    if not str(out):
        raise ValueError("--out has no name (an empty variable of the shell?); name a folder")
    if os.path.lexists(out) and not is_folder(out):
        what = (
            "a file"
            if Path(out).is_file()
            else "a link to nothing, or to itself"
            if Path(out).is_symlink()
            else "no folder"
        )
        raise ValueError(f"--out {out} is {what}; give a folder")
    if not can_be_made(Path(out) / "results"):
        raise ValueError(f"--out {out} cannot be made or written to; choose another folder")
    inputs = {real(item.path) for item in items}
    whose: dict[Path, Item] = {}
    for item in items:
        stem = Path(out) / item.stem
        own = _kinds_of(item, kinds)
        moving = {path: kind in maps.MAPS for kind, paths in outputs.moving_names(stem, own).items() for path in paths}
        pictures = dict.fromkeys(outputs.names(stem, own), False)
        for path, folder in (moving if item.moving else pictures).items():
            part = aside_moving(path) if item.moving else aside(path)
            for written in (path, part):
                if real(written) in inputs:
                    raise ValueError(
                        f"the results of {item.shown} would replace the input {written}; choose another --out"
                    )
                other = whose.setdefault(written, item)
                if other is not item:
                    raise ValueError(
                        f"{other.shown} and {item.shown} would both be written to {written}; rename one, or run lgnet once "
                        "for each"
                    )
            if is_folder(path) != folder and os.path.lexists(path):
                kind, wanted = ("a file", "a folder") if folder else ("a folder", "a file")
                raise ValueError(
                    f"{path} is {kind}, where {wanted} of the results is to be; move it, or choose another --out"
                )


def reconstruct(
    model: Predictor,
    items: Sequence[Item],
    out: str | Path,
    kinds: Sequence[str] | None = None,
    camera: Camera | None = None,
    boxes: Mapping[str, BoxesBySide] | None = None,
    frames: int | None = None,
    smooth: Literal["off", "live", "offline"] = "live",
    gestures: Sequence[Any] = (),
    evidence: Source | None = None,
) -> Summary:
    """Reconstruct every input and write its files.

    Args:
        model: from `lgnet.load`.
        items: from `expand_inputs`.
        out: folder of the results.
        kinds: kinds of file, see `outputs.KINDS`; None: json, glb and overlay of a picture, json and overlay of a video.
            Of videos and cameras those of `outputs.MOVING_KINDS` are written, see `moving_names`.
        camera: of all inputs; None: by each picture's EXIF, else assumed.
        boxes: from `read_boxes`; pictures without an entry are searched for hands.
        frames: at most this many of a video or camera.
        smooth: how the hands of a video are filtered, see `smooth.py`.
        gestures: `gestures.Gesture`s whose events are written into a video's lines.
        evidence: key points from elsewhere, which the hands are aligned to, see `evidence.py`.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; what was done of a video until then is written.
    """
    from .moving import reconstruct_moving  # with torch

    tell_if_unlike.cache_clear()
    summary, alone = Summary(), only_ones(items)
    with progress_bar(TextColumn("{task.fields[speed]}")) as progress:
        bar = progress.add_task("reconstructing", total=len(items), speed="")
        for item in items:
            stem = Path(out) / item.stem
            try:
                own = _kinds_of(item, kinds)
                _check_names(item, stem, own)
                if item.moving:
                    written = reconstruct_moving(
                        model, item, stem, own, camera, frames, smooth, gestures, progress, evidence
                    )
                else:
                    given = _boxes_of(item, boxes or {}, alone)
                    written = _reconstruct_picture(model, item, stem, own, camera, given, evidence)
            except (ValueError, OSError, MemoryError, RuntimeError, cv2.error) as error:
                if isinstance(error, RuntimeError) and "memory" not in str(error):  # torch's, of any device
                    raise
                summary.failed += 1
                progress.console.print(_sentence(item, error), markup=False, highlight=False, soft_wrap=True)
            else:
                summary.done += 1
                summary.written += written
            progress.advance(bar)
    return summary


def _check_names(item: Item, stem: Path, kinds: Sequence[str]) -> None:
    """Before the work, as all of an input's results are written or none."""
    ends = (
        [e for ends in outputs.moving_names(stem, kinds).values() for e in ends]
        if item.moving
        else outputs.names(stem, kinds)
    )
    parts = [aside_moving(end) if item.moving else aside(end) for end in ends]
    if any(len(os.fsencode(part.name)) > LONGEST_NAME for part in parts):
        raise ValueError("its name is too long for those of its results; give it a shorter one")


def _kinds_of(item: Item, kinds: Sequence[str] | None) -> Sequence[str]:
    if kinds is not None:
        return kinds
    return outputs.MOVING_DEFAULT_KINDS if item.moving else outputs.DEFAULT_KINDS


def _sentence(item: Item, error: Exception) -> str:
    if isinstance(error, (MemoryError, RuntimeError)):
        return f"lgnet: {item.shown}: there is not enough memory for it; give a smaller copy"
    if isinstance(error, ImageError):  # names the file itself
        return f"lgnet: {error}"
    if isinstance(error, OSError) and error.filename:  # of the results: those that cannot be read are ImageErrors
        return f"lgnet: {item.shown}: {error.filename} cannot be written ({error.strerror}); choose another --out"
    return f"lgnet: {item.shown}: {' '.join(str(error).split())}"


def _reconstruct_picture(
    model: Predictor,
    item: Item,
    stem: Path,
    kinds: Sequence[str],
    camera: Camera | None,
    given: BoxesBySide | None,
    evidence: Source | None,
) -> list[Path]:
    picture = read_image(_standard_input() if item.path == "-" else item.path)
    if camera is not None:
        tell_if_unlike(camera, picture.pixels.shape[1], picture.pixels.shape[0])
    if given is not None:
        _check_size(given, picture.pixels)
    hands = model.predict(
        picture.pixels,
        camera=camera or camera_from_exif(picture),
        boxes=None if given is None else given[0],
        given=None if given is None else given[1],
        file=picture.file,
    )
    if evidence is not None:
        from .evidence import guide  # with torch

        hands = guide(model, hands, picture.pixels, evidence(picture.pixels, item, 0), told=given is not None)
    return outputs.save(hands, picture.pixels, stem, kinds)


def _check_size(given: BoxesBySide, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    for box in given[0][given[1]]:
        if box[2:].max() > LARGEST_BOX * max(width, height):
            raise ValueError(
                f"the box {box.tolist()} is more than {LARGEST_BOX} times the picture of {width} x {height} pixels; boxes are "
                "x, y, width, height in pixels of the upright picture"
            )


@functools.lru_cache(maxsize=64)  # once for many pictures of one size
def tell_if_unlike(camera: Camera, width: int, height: int) -> None:
    """A sentence where the middle of `--intrinsics` is far from the picture's: calibrations are of one size of picture."""
    off = max(abs(camera.cx - (width - 1) / 2) / width, abs(camera.cy - (height - 1) / 2) / height)
    if off > FAR_FROM_MIDDLE:
        print(
            f"lgnet: mind: the middle of --intrinsics, {camera.cx:g} {camera.cy:g}, is far from that of pictures of {width} x "
            f"{height} pixels; unless these were cut out of larger ones, the numbers are of another size, and distances wrong",
            file=sys.stderr,
        )


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise ImageError("standard input is closed; give a picture on it, or name a file")
    return sys.stdin.buffer.read()


def _boxes_of(item: Item, boxes: Mapping[str, BoxesBySide], alone: Collection[str]) -> BoxesBySide | None:
    """By its bare name a picture is known only where no other input has it, by `alone`."""
    keys = [item.path, item.key, *([Path(item.path).name] if item.path in alone else [])]
    return next((boxes[key] for key in keys if key in boxes), None)


def read_boxes(path: str | Path, items: Sequence[Item] | None = None) -> dict[str, BoxesBySide]:
    """The boxes of `{"<file name>": {"right": [x, y, w, h] | null, "left": ...}}`; a side left out is null.

    A key is an input's path below the folder that was given, its path as it was given, or its name where no other input has
    the same.

    Raises:
        ValueError: the file cannot be read or is not like this, or, where `items` are given, none of them is in it, or a
            video is.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"the boxes file {path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the boxes file {path} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f'the boxes file {path} has to hold {{"<file name>": {{"right": [x, y, w, h], "left": ...}}}}')
    out = {}
    for name, entry in content.items():
        if entry is None:  # as if it were not in the file
            continue
        if not isinstance(entry, dict) or set(entry) - set(SIDES):
            raise ValueError(
                f"the boxes file {path} has to say of {name!r} its 'right' and 'left' box and nothing else"
            )
        boxes, given = np.zeros((2, 4)), np.zeros(2, bool)
        for side, key in enumerate(SIDES):
            if entry.get(key) is not None:
                boxes[side], given[side] = _box(entry[key], f"the boxes file {path}: {name}, {key}"), True
        out[name] = (boxes, given)
    alone = only_ones(items or ())
    named = [item for item in items or () if _boxes_of(item, out, alone)]
    if items is not None and not named:
        raise ValueError(
            f"the boxes file {path} names none of the inputs; its keys are their file names, or where two have the same "
            "one their paths below the folder that was given"
        )
    moving = next((item.path for item in named if item.moving), None)
    if moving is not None:
        raise ValueError(f"the boxes file {path} names {moving}, but boxes are for pictures; leave the video out of it")
    return out


def _box(value: Any, where: str) -> list[float]:
    numbers = isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    if not numbers or not all(abs(v) < 1e6 for v in value) or min(value[2:]) < 1:
        raise ValueError(
            f"{where}: a box is [x, y, width, height] in pixels, a pixel wide and high at least, not {value!r}"
        )
    return [float(v) for v in value]


def camera_from_intrinsics(values: tuple[float, float, float, float]) -> Camera:
    """The camera of `--intrinsics FX FY CX CY`.

    Raises:
        ValueError: one is not finite, or a focal length is below a pixel.
    """
    fx, fy, cx, cy = values
    if not all(abs(v) <= 1e6 for v in values) or min(fx, fy) < 10:
        raise ValueError(
            f"--intrinsics takes FX FY CX CY in pixels, focal lengths of at least 10, not {fx} {fy} {cx} {cy}"
        )
    return Camera(fx, fy, cx, cy)
