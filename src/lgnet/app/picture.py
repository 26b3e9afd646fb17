"""One picture for the page: read within limits, reconstructed, and described as the page wants it."""

from __future__ import annotations

import base64
import time
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import __version__, attention, maps, outputs, visualize
from ..aside import write_aside, written
from ..coding import jpeg, png
from ..gestures import pose_of
from ..hands import SIDES, Camera, TwoHands
from ..image_io import ImageError, Picture, camera_from_exif, read_image
from .desk import Desk, Kept, clean_name

MOST_BYTES, MOST_PIXELS = 32_000_000, 50_000_000
"""Larger pictures are refused, before they are read and before they are decoded."""
SHOWN = 1280
"""Pixels: the longer side of what the page shows. Files to download have the picture's own size."""


def open_picture(path: Path, name: str, most: int = MOST_PIXELS) -> Picture:
    """Read an uploaded file of at most so many pixels.

    Raises:
        ValueError: it cannot be read, or is larger; the text calls it by `name`.
    """
    try:
        return replace(read_image(path, most), file=name)
    except ImageError as error:
        raise ValueError(str(error).replace(str(path), name or "this file")) from error


def reconstruct(desk: Desk, content: bytes, name: str) -> dict[str, Any]:
    """The hands of an uploaded picture, kept on the desk; what the page needs to show them.

    Raises:
        ValueError: it is no picture, or too large.
        BusyError: too many wait.
    """
    kept = desk.pictures.new()
    try:
        answer = _reconstruct(desk, kept, content, name)
    except BaseException:
        desk.pictures.drop(kept)
        raise
    desk.pictures.settle(kept)
    return answer


def _reconstruct(desk: Desk, kept: Kept, content: bytes, name: str) -> dict[str, Any]:
    upload, stem = kept.folder / "upload", clean_name(name, "picture")
    upload.write_bytes(content)
    picture = open_picture(upload, name)
    with desk.turns.take():
        begun = time.monotonic()
        hands = desk.model.predict(picture.pixels, camera_from_exif(picture), file=name)
        seconds = time.monotonic() - begun
        attended = attention.attend(desk.model, picture.pixels, hands)
    small, shown = reduced(picture.pixels, hands, SHOWN)
    views = {"picture": small, "overlay": visualize.overlay(small, shown), "joints": _joints(small, shown)}
    kept.files.update({path.name: partial(_make, upload, hands, kind) for kind, path in _names(hands, stem)})
    for unit in attended.maps if attended else ():
        assert attended is not None
        views[f"attention_{unit}"] = attention.draw(small, attended, unit)
        kept.files[f"{stem}_attention_{unit}.png"] = partial(_make_attention, upload, attended, unit)
    kept.files[f"{stem}.zip"] = partial(_make_zip, kept)
    downloads = list(kept.files)
    for view, image in views.items():
        (kept.folder / f"view_{view}.jpg").write_bytes(jpeg(image))
        kept.files[f"view_{view}.jpg"] = None
    return {
        "id": kept.id,
        "name": name,
        "result": describe(hands),
        "views": {view: f"/files/{kept.id}/view_{view}.jpg" for view in views},
        "attention": {unit: _shares(found) for unit, found in (attended.maps if attended else {}).items()},
        "files": [{"name": file, "url": f"/files/{kept.id}/{file}"} for file in downloads],
        "seconds": seconds,
    }


def describe(hands: TwoHands) -> dict[str, Any]:
    """The result's JSON, and of each hand `vertices` (float32, little-endian, base64) and `angles`: 5 fingers by 3 joints
    by flex, spread and twist, whole degrees.
    """
    out = hands.to_dict()
    kind = hands.model.get("hand_model", "lgnet")
    for hand, said in zip(hands.hands, out["hands"]):
        said["vertices"] = to_base64(hand.vertices, "<f4")
        said["angles"] = np.rint(np.degrees(pose_of(hand, kind).angles)).astype(int).tolist()
    return out


def to_base64(values: np.ndarray, kind: str) -> str:
    """The bytes of an array, row by row, as text."""
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def reduced(image: np.ndarray, hands: TwoHands, longest: int) -> tuple[np.ndarray, TwoHands]:
    """A copy of a picture whose longer side is at most so many pixels, and the hands as they are seen in it."""
    height, width = image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    if factor == 1:
        return image, hands
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    sx, sy = w / width, h / height
    c = hands.camera
    camera = Camera(c.fx * sx, c.fy * sy, (c.cx + 0.5) * sx - 0.5, (c.cy + 0.5) * sy - 0.5, c.assumed)

    def moved(side: str) -> Any:
        hand = getattr(hands, side)
        if hand is None:
            return None
        corner, size = (hand.box[:2] + 0.5) * [sx, sy] - 0.5, hand.box[2:] * [sx, sy]
        joints2d = (hand.joints2d + 0.5) * [sx, sy] - 0.5
        return replace(hand, joints2d=joints2d, box=np.concatenate([corner, size]))

    small = np.asarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA))
    return small, replace(hands, width=w, height=h, camera=camera, right=moved("right"), left=moved("left"))


def _joints(image: np.ndarray, hands: TwoHands) -> np.ndarray:
    for hand in hands.hands:
        image = visualize.skeleton(image, hand.joints2d, visualize.COLOURS[hand.side])
    return image


def _shares(maps: np.ndarray) -> dict[str, float]:
    """Per cent of the attention that the least and the most attended cell get, and that each would get if all were alike."""
    return {"least": 100 * float(maps.min()), "most": 100 * float(maps.max()), "even": 100 / (maps.size + 1)}


def _names(hands: TwoHands, stem: str) -> list[tuple[str, Path]]:
    """Kind and name of every file; a hand that is not there has none of its own."""
    absent = tuple(f"{stem}_{side}." for side in SIDES if getattr(hands, side) is None)
    kinds = [kind for kind in outputs.KINDS if kind != "uv" or maps.has_uvs(hands)]
    every = [(kind, path) for kind in kinds for path in outputs.names(stem, [kind])]
    return [(kind, path) for kind, path in every if not path.name.startswith(absent)]


def _make(upload: Path, hands: TwoHands, kind: str, path: Path) -> None:
    stem = path.with_name(path.name.removesuffix(next(e for e in outputs.ENDINGS[kind] if path.name.endswith(e))))
    outputs.save(hands, read_image(upload).pixels, stem, [kind])


def _make_attention(upload: Path, attended: attention.Attention, unit: str, path: Path) -> None:
    write_aside(path, png(attention.draw(read_image(upload).pixels, attended, unit)))


def _make_zip(kept: Kept, path: Path) -> None:
    """All other files of the result that can be downloaded, in one."""
    with written(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, make in kept.files.items():
            file = kept.folder / name
            if make is None or file == path:
                continue
            if not file.exists():
                make(file)
            archive.write(file, name)


def about(desk: Desk) -> dict[str, Any]:
    """What the page has to know of the networks: their name, and each side's triangles."""
    model = desk.model
    faces = {m.side: to_base64(m.faces.cpu().numpy(), "<u2") for m in model.hand_models}
    return {"version": __version__, "weights": model.name, "faces": faces}
