"""What readers of data sets read files by: pictures as stored, JSON of numbers, JSON larger than memory, checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def read_pixels(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB as stored; a turn noted in its EXIF data is not applied, as the annotations know none.

    Raises:
        ValueError: there is no such picture, it cannot be read, or its width and height are not the annotated `size`.
    """
    if not path.is_file():
        raise ValueError(f"there is no picture {path}")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError(f"{path} cannot be read as a picture")
    height, width = image.shape[:2]
    if size is not None and (width, height) != tuple(size):
        raise ValueError(f"{path} is {width} x {height} pixels, not {size[0]} x {size[1]} as annotated")
    return np.ascontiguousarray(image[..., ::-1])


def read_numbers(path: Path, shape: tuple[int, int], where: str = "") -> np.ndarray:
    """(N, *shape) float64, the numbers of a JSON file.

    Args:
        path: the file.
        shape: of each row.
        where: what to say, after a semicolon, of where the file is to be had.

    Raises:
        ValueError: it is missing, damaged, or holds none of this shape.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}{where and '; '}{where}")
    try:
        values = np.array(json.loads(path.read_text(encoding="utf-8")), np.float64)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON of numbers: {error}") from error
    if values.shape[1:] != shape or not len(values):
        raise ValueError(f"{path} holds numbers of shape {values.shape}, not N x {shape[0]} x {shape[1]}")
    return values


def stream(path: Path, prefix: str, pairs: bool = False) -> Iterator[Any]:
    """The objects of a JSON file at `prefix` (as ijson names it), one at a time; with `pairs` an object's keys and values.

    Raises:
        ValueError: the file cannot be read as JSON, or ijson is missing.
    """
    try:
        import ijson
    except ModuleNotFoundError as error:
        raise ValueError("reading these annotations needs ijson; install it by pip install 'lgnet[data]'") from error
    with path.open("rb") as file:
        try:
            yield from (ijson.kvitems if pairs else ijson.items)(file, prefix, use_float=True)
        except ijson.JSONError as error:
            raise ValueError(f"{path} cannot be read as JSON: {error}") from error


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()
