"""Predictions as files, one or two a picture: what lgnet writes, and what any other network may write to be scored.

`<name>.json` follows schema lgnet/1 (docs/evaluation.md lists what is asked for), `<name>.npz` beside it may hold the
meshes. The name is the sample's, without the ending of its picture.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import outputs
from ..data.sample import Sample
from ..hands import (
    NUM_BETAS,
    NUM_JOINTS,
    NUM_ROTATIONS,
    SCHEMA,
    SIDES,
    WRIST,
    Camera,
    Hand,
    TwoHands,
    assumed_camera,
    camera_of,
)
from ..image_io import IMAGE_SUFFIXES

LARGEST = 1e7
"""No number of a prediction is larger, pixels, metres and focal lengths alike: means and squares of such stay finite."""
NAMED = 20
"""At most so many files of each kind of trouble are named in metrics.json; all are counted."""


def prediction_stem(folder: str | Path, name: str) -> Path:
    """The path of a sample's prediction without .json or .npz.

    Raises:
        ValueError: the sample's name leads out of the folder.
    """
    return Path(folder) / _relative_stem(folder, name)


def _relative_stem(folder: str | Path, name: str) -> str:
    """Below the folder, with slashes; by strings alone, since paths take longer than the scoring of a picture."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts:
        raise ValueError(f"the sample {name!r} cannot name a prediction: it leads out of {folder}")
    stem, dot, end = parts[-1].rpartition(".")
    return "/".join([*parts[:-1], stem if stem and dot + end.lower() in IMAGE_SUFFIXES else parts[-1]])


def write_prediction(hands: TwoHands, sample: Sample, folder: str | Path) -> list[Path]:
    """Write one sample's prediction, so that it scores from file exactly as it would from memory."""
    return outputs.save(hands, sample.image, prediction_stem(folder, sample.name), ("json", "npz"))


@dataclass
class Reader:
    """A folder of predictions, and what was wrong with it so far: the one record here that changes."""

    folder: Path
    missing: list[str] = field(default_factory=list)  # samples without a file
    damaged: dict[str, str] = field(default_factory=dict)  # sample -> what is wrong, one sentence
    used: dict[str, str] = field(default_factory=dict)  # file below the folder -> sample

    def read(self, sample: Sample) -> TwoHands:
        """The prediction of a sample; no hands where the file is missing or damaged, which is kept in mind.

        Raises:
            ValueError: another sample has the same file.
        """
        name = self.claim(sample)
        try:
            return read_prediction(f"{self.folder}{os.sep}{name}", sample)
        except FileNotFoundError:
            self.missing.append(sample.name)
        except ValueError as error:
            self.damaged[sample.name] = str(error)
        height, width = sample.image.shape[:2]
        return TwoHands(None, None, width, height, _camera(None, sample))

    def claim(self, sample: Sample) -> str:
        """The file of a sample, below the folder, which no other may have.

        Raises:
            ValueError: another sample has it.
        """
        name = _relative_stem(self.folder, sample.name) + ".json"
        self._use(name, sample.name)
        return name

    def _use(self, file: str, sample: str) -> None:
        if file in self.used:
            path = self.folder / file
            raise ValueError(f"two samples would be scored by {path}: {sample} is not the only one of its name")
        self.used[file] = sample

    def add(self, other: Reader) -> None:
        """Take over what another reader of the same folder found, of other samples.

        Raises:
            ValueError: both have a sample of the same file.
        """
        for file, sample in other.used.items():
            self._use(file, sample)
        self.missing += other.missing
        self.damaged |= other.damaged

    def check_any(self, count: int) -> None:
        """Refuse where none of `count` samples has a file: the names do not fit.

        Raises:
            ValueError: what a file is called, and what one was to be called.
        """
        if len(self.missing) == count:
            wanted, there = _relative_stem(self.folder, self.missing[0]), next(_json_files(self.folder))
            raise ValueError(
                f"{self.folder} has no prediction of any sample: its files are called as {there}, wanted is {wanted}.json "
                "(named as the sample, docs/evaluation.md)"
            )

    def report(self, whole: bool) -> dict[str, Any]:
        """What metrics.json says of the files; those of no sample are told only where the `whole` data set was scored."""
        unknown = sorted(file for file in _json_files(self.folder) if file not in self.used) if whole else []
        damaged = [self.damaged[name] for name in sorted(self.damaged)]
        return {
            "folder": str(self.folder),
            "missing": {"count": len(self.missing), "names": self.missing[:NAMED]},
            "damaged": {"count": len(damaged), "reasons": damaged[:NAMED]},
            "unknown": {"count": len(unknown), "names": unknown[:NAMED]} if whole else None,
        }


def _json_files(folder: Path) -> Iterator[str]:
    """Every .json below the folder, as told from there, with slashes."""
    for place, _, names in os.walk(folder):
        below = os.path.relpath(place, folder).replace(os.sep, "/")
        yield from (name if below == "." else f"{below}/{name}" for name in names if name.endswith(".json"))


def open_predictions(folder: str | Path) -> Reader:
    """A folder of prediction files.

    Raises:
        ValueError: there is no such folder, or no .json in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} of predictions")
    if next(_json_files(folder), None) is None:
        raise ValueError(f"{folder} has no prediction: one .json for each sample is wanted, see docs/evaluation.md")
    return Reader(folder)


def read_prediction(path: str | Path, sample: Sample) -> TwoHands:
    """One prediction file, with the meshes of the .npz beside it if there is one.

    Raises:
        FileNotFoundError: there is no such .json.
        ValueError: it, or the .npz, is not what the format asks for.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (a path object takes as long as the reading)
            text = file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it is no JSON") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f'{path} is no prediction: "schema" has to be "{SCHEMA}"')
    height, width = sample.image.shape[:2]
    picture = content.get("image") or {}
    if not isinstance(picture, dict):
        raise ValueError(f'{path}: "image" has to hold file, width and height')
    size = (picture.get("width", width), picture.get("height", height))
    if size != (width, height):
        raise ValueError(
            f"{path} is of a picture of {size[0]} x {size[1]} pixels, but {sample.name} has {width} x {height}"
        )
    camera = _camera(content.get("camera"), sample, path)
    hands = content.get("hands")
    if not isinstance(hands, list) or not all(isinstance(hand, dict) for hand in hands):
        raise ValueError(f'{path} has no list "hands"')
    sides = [hand.get("side") for hand in hands]
    if any(side not in SIDES for side in sides) or len(set(sides)) < len(sides):
        raise ValueError(f'{path} has hands of sides {sides}; at most one "right" and one "left" are allowed')
    meshes = _read_meshes(path.removesuffix(".json") + ".npz")
    found = {hand["side"]: _hand(hand, meshes, path) for hand in hands}
    model = content.get("model")
    return TwoHands(
        found.get("right"),
        found.get("left"),
        width,
        height,
        camera,
        picture.get("file"),
        {str(k): str(v) for k, v in model.items()} if isinstance(model, dict) else {},
    )


def _camera(content: Any, sample: Sample, path: str | None = None) -> Camera:
    """The file's camera, else the sample's, else a guess, which only meshes drawn into the picture depend on."""
    if content is None:
        height, width = sample.image.shape[:2]
        return assumed_camera(width, height) if sample.K is None else camera_of(sample.K)
    try:
        fx, fy, cx, cy = (float(content[key]) for key in ("fx", "fy", "cx", "cy"))
        if not (np.abs([fx, fy, cx, cy]) < LARGEST).all():
            raise ValueError
        return Camera(fx, fy, cx, cy, bool(content.get("assumed", False)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f'{path} has a "camera" without the numbers fx, fy, cx, cy') from error


def _hand(content: dict[str, Any], meshes: dict[str, np.ndarray], path: str) -> Hand:
    side = content["side"]
    joints3d = _array(content, "joints3d", (NUM_JOINTS, 3), path)
    defaults = {"box": (4,), "pose": (NUM_ROTATIONS, 3), "shape": (NUM_BETAS,)}
    given = {key: _array(content, key, size, path, optional=True) for key, size in defaults.items()}
    translation = joints3d[WRIST]
    if content.get("translation") is not None:
        translation = _array(content, "translation", (3,), path)
    vertices = meshes.get(f"{side}_vertices", np.zeros((0, 3)))
    rough = meshes.get(f"{side}_vertices_rough", np.zeros((0, 3)))
    faces = meshes.get(f"{side}_faces", np.zeros((0, 3), np.int64))
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"the .npz beside {path} has faces of the {side} hand that name vertices it does not have")
    try:
        score = float(content.get("score", 1.0))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f'{path}: "score" of the {side} hand is no number') from error
    return Hand(
        side=side,
        score=score,
        box=given["box"],
        joints2d=_array(content, "joints2d", (NUM_JOINTS, 2), path),
        joints3d=joints3d,
        vertices=vertices,
        vertices_rough=rough,
        faces=faces,
        pose=given["pose"],
        shape=given["shape"],
        translation=translation,
    )


def _array(content: dict[str, Any], key: str, size: tuple[int, ...], path: str, optional: bool = False) -> np.ndarray:
    if optional and content.get(key) is None:
        return np.zeros(size)
    try:
        array = np.asarray(content[key], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if array.shape != size or not (np.abs(array) < LARGEST).all():
        raise ValueError(
            f'{path}: "{key}" of the {content["side"]} hand has to be {" x ".join(map(str, size))} numbers, finite and below '
            f"{LARGEST:g}"
        )
    return array


def _read_meshes(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz that are meshes: `right_vertices`, `right_vertices_rough`, `right_faces`, and left ones."""
    kinds = {"vertices": np.float64, "vertices_rough": np.float64, "faces": np.int64}
    out = {}
    if not os.path.exists(path):  # noqa: PTH110
        return out
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError
            for side in SIDES:
                for kind, dtype in kinds.items():
                    if f"{side}_{kind}" in file.files:
                        out[f"{side}_{kind}"] = file[f"{side}_{kind}"].astype(dtype)
    except (OSError, ValueError, TypeError, EOFError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ValueError(f"{path} is damaged: it cannot be read as an .npz without pickles") from error
    for key, array in out.items():
        if array.ndim != 2 or array.shape[1] != 3 or not (np.abs(array) < LARGEST).all():
            raise ValueError(f'{path}: "{key}" has to be N x 3 numbers, finite and below {LARGEST:g}')
    return out
