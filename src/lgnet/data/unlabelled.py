"""Pictures that nobody labelled, to train on with teachers: `unlabelled:FOLDER`.

Where the hands are, lgnet finds itself, once, beforehand: `lgnet reconstruct FOLDER --out FOLDER --save json` writes a result
beside each picture. Of it boxes, sides and camera are read here, and nothing else: no joint of it is taken for truth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..hands import SCHEMA, SIDES
from ..image_io import IMAGE_SUFFIXES, read_image
from .sample import Sample, empty_sample

OWN = tuple(
    f"{end}.png"
    for end in ("_overlay", "_control_depth", "_control_normal", "_depth", "_mask", "_normal", "_part", "_uv")
)
"""What lgnet's own pictures beside a result end in."""
NO_RESULT, NO_HAND = "pictures without a result beside them", "pictures in which no hand was found"


@dataclass(frozen=True)
class Unlabelled:
    """A folder of pictures with results beside them."""

    root: Path
    pictures: tuple[Path, ...]
    skipped: dict[str, int]


def read_folder(root: Path) -> Unlabelled:
    """List a folder's pictures in which hands were found, sub-folders too.

    Raises:
        ValueError: there is no such folder, or a result is damaged.
    """
    if not root.is_dir():
        raise ValueError(f"there is no folder {root} of unlabelled pictures")
    pictures, skipped = [], {NO_RESULT: 0, NO_HAND: 0}
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
        result = path.with_suffix(".json")
        if not result.is_file() and _written(path):
            continue
        if not result.is_file():
            skipped[NO_RESULT] += 1
        elif not _read(result)["hands"]:
            skipped[NO_HAND] += 1
        else:
            pictures.append(path)
    return Unlabelled(root, tuple(pictures), {reason: count for reason, count in skipped.items() if count})


def load_sample(data: Unlabelled, index: int) -> Sample:
    """One picture with its boxes; a hand that was not found may still be there.

    Raises:
        ValueError: the picture or its result is damaged.
    """
    path = data.pictures[index]
    result = path.with_suffix(".json")
    content = _read(result)
    try:
        K = np.array([content["camera"][key] for key in ("fx", "fy", "cx", "cy")], np.float32)
        kind = "single" if len(content["hands"]) == 1 else "separate"
        pixels, of = read_image(path).pixels, content["image"]
        if (of["height"], of["width"]) != pixels.shape[:2]:
            raise ValueError(f"it is of a picture of {of['width']} x {of['height']} pixels, {path.name} is another")
        sample = empty_sample(str(path.relative_to(data.root)), kind, pixels, K)
        for hand in content["hands"]:
            side = SIDES.index(hand["side"])
            sample.box[side], sample.present[side] = np.array(hand["box"], np.float32).reshape(4), True
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{result} is damaged ({error}); write it anew with lgnet reconstruct") from error
    return replace(sample, present_known=sample.present.copy())


def _written(path: Path) -> bool:
    """Whether a picture is one that lgnet itself writes beside a result: `a_overlay.png` beside `a.json`."""
    return any(
        path.with_name(f"{path.name.removesuffix(end)}.json").is_file() for end in OWN if path.name.endswith(end)
    )


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"it is of {content['schema']!r}")
        if not isinstance(content["hands"], list):
            raise TypeError("its hands are no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of lgnet reconstruct ({error})") from error
    return content
