"""What is kept of some pictures once they are scored, in memory and as a file."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .columns import Scores
from .predictions import Reader


@dataclass(frozen=True)
class Part:
    """Some pictures, one after the other."""

    scores: Scores
    joints2d: np.ndarray  # (P, 2, 21, 2) float32 pixels, predicted; NaN where there is no hand
    with_camera: int
    weights: str | None
    without_depth: int  # true hands whose wrist's depth was asked for and is not known


def part_bytes(part: Part, found: Reader | None) -> bytes:
    """A part, and what was found of prediction files in it, as an .npz without pickle."""
    told = {"with_camera": part.with_camera, "weights": part.weights, "without_depth": part.without_depth}
    if found is not None:
        told |= {"missing": found.missing, "damaged": found.damaged, "used": found.used}
    columns: dict[str, Any] = part.scores.columns()
    file = io.BytesIO()
    np.savez(file, joints2d=part.joints2d, told=np.frombuffer(json.dumps(told).encode(), np.uint8), **columns)
    return file.getvalue()


def read_part(content: bytes, name: Path, folder: Path | None) -> tuple[Part, Reader | None]:
    """What `part_bytes` made; `folder` of the predictions, where they are files.

    Raises:
        ValueError: the file `name` that it is the content of is damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            columns = {key: file[key] for key in file.files}
        told = json.loads(columns.pop("told").tobytes())
        joints2d = columns.pop("joints2d")
        part = Part(Scores.of(columns), joints2d, told["with_camera"], told["weights"], told["without_depth"])
        reader = None if folder is None else Reader(folder, told["missing"], told["damaged"], told["used"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} is damaged; delete it, and start again: only what it held is done anew") from error
    return part, reader
