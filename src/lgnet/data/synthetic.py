"""Reader of what `lgnet synth` writes (synth/write.py): `synth:FOLDER`, loose files or tar shards.

A folder holds an index, `dataset.json` of loose files or `index.json` of tar shards, with seed, configuration and the size
and SHA-256 of every finished shard. Only pictures of finished shards are read.
"""

from __future__ import annotations

import functools
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..coding import decoded
from ..hands import SIDES
from .files import checksum
from .labels import MAPS, Labels, decode
from .sample import Sample, empty_sample

SCHEMA = "lgnet-synth/2"
FORMATS = ("files", "webdataset", "interhand")
_OF_SAMPLE = ("jpg", "json", "parts.png")


def index_file(form: str) -> str:
    """The name of a folder's index."""
    return "index.json" if form == "webdataset" else "dataset.json"


def loose_name(stem: str, end: str) -> str:
    """What a loose file is called: 000000.jpg, 000000_depth.png; in a tar it is 000000.depth.png."""
    return f"{stem}_{end}" if end.endswith(".png") else f"{stem}.{end}"


@dataclass(frozen=True)
class Synthetic:
    """A folder of synthetic pictures."""

    root: Path
    form: str
    shards: tuple[dict[str, Any], ...]  # the finished ones, by number
    shard_size: int
    wanted: int  # pictures when the folder is finished
    maps: bool = True  # whether there are the labels of every pixel and vertex

    @property
    def count(self) -> int:
        """Pictures that are there."""
        return sum(record["count"] for record in self.shards)

    @property
    def skipped(self) -> dict[str, int]:
        """Pictures that are still to be drawn."""
        left = self.wanted - sum(record["pictures"] for record in self.shards)
        return {"pictures not yet drawn": left} if left else {}


def open_folder(root: Path) -> Synthetic:
    """Read a folder's index (not yet the pictures).

    Raises:
        ValueError: there is none, it is damaged, or it is of another version or layout.
    """
    path = next((root / name for name in ("index.json", "dataset.json") if (root / name).is_file()), None)
    if path is None:
        if not root.is_dir():
            raise ValueError(f"there is no folder {root} of synthetic pictures; check the name")
        raise ValueError(f"{root} holds no synthetic pictures: there is neither index.json nor dataset.json in it")
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        schema = head["schema"]
        if schema != SCHEMA:
            raise ValueError(f"{path} has the schema {schema!r}, this version reads {SCHEMA!r}: draw the pictures anew")
        if head["format"] == "interhand":
            raise ValueError(f"{root} is in InterHand2.6M's layout: name it as interhand26m-train:{root}")
        shards = sorted(head["shards"], key=lambda record: int(record["number"]))
        data = Synthetic(
            root,
            head["format"],
            tuple(shards),
            int(head["shard_size"]),
            int(head["count"]),
            bool(head.get("maps", True)),
        )
        _ = data.count, data.skipped
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); run lgnet synth anew into an empty folder") from error
    return data


def _place(data: Synthetic, index: int) -> tuple[dict[str, Any], str]:
    """The shard of a picture and the stem of its files."""
    for record in data.shards:
        if index < record["count"]:
            return record, f"{record['number'] * data.shard_size + index:06d}"
        index -= record["count"]
    raise IndexError(f"{data.root} has {data.count} pictures")


def read_files(data: Synthetic, index: int, ends: Sequence[str]) -> tuple[str, dict[str, bytes]]:
    """The stem of a picture and the content of its files with these ends, such as "jpg" and "depth.png".

    Raises:
        ValueError: a file is missing, or a tar is damaged.
    """
    record, stem = _place(data, index)
    if data.form == "files":
        paths = {end: data.root / loose_name(stem, end) for end in ends}
        for path in paths.values():
            if not path.is_file():
                raise ValueError(f"there is no file {path}")
        return stem, {end: path.read_bytes() for end, path in paths.items()}
    path = data.root / record["name"]
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    members = _members(path, path.stat().st_size, path.stat().st_mtime_ns)
    out = {}
    with path.open("rb") as file:
        for end in ends:
            start, size = members.get(f"{stem}.{end}", (0, -1))
            file.seek(start)
            out[end] = file.read(size) if size >= 0 else b""
            if len(out[end]) != size:
                raise ValueError(f"{path} is damaged: {stem}.{end} is not whole in it")
    return stem, out


@functools.lru_cache(maxsize=256)
def _members(path: Path, size: int, changed: int) -> dict[str, tuple[int, int]]:
    """Where each file lies in a tar as it is now (`size` and `changed` are of it), as far as the tar can be read."""
    found = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                found[member.name] = member.offset_data, member.size
    except tarfile.TarError:
        pass  # what is missing from the result is told by name when it is asked for
    return found


def load_sample(data: Synthetic, index: int) -> Sample:
    """Read one picture and its truth.

    Raises:
        ValueError: a file is missing or damaged.
    """
    stem, files = read_files(data, index, _OF_SAMPLE)
    try:
        content = json.loads(files["json"])
        K = np.array([content["camera"][key] for key in ("fx", "fy", "cx", "cy")], np.float32)
        sample = empty_sample(f"synth/{stem}", content["kind"], decoded(files["jpg"], ".jpg"), K)
        sample = replace(sample, parts=decoded(files["parts.png"], ".parts.png"), hand_model=content["hand_model"])
        bends = content["camera"].get("distortion")
        sample = replace(sample, distortion=None if bends is None else np.array(bends, np.float64).reshape(4))
        if "T_camera_world" in content:
            T_camera_world = np.array(content["T_camera_world"], np.float64).reshape(4, 4)
            scene = content["scene"]
            sample = replace(sample, scene=scene, recording=scene, T_camera_world=T_camera_world)
        for hand in content["hands"]:
            side = SIDES.index(hand["side"])
            for key in ("box", "joints2d", "joints3d", "pose", "shape"):
                getattr(sample, key)[side] = hand[key]
            for known in (sample.present, sample.joints2d_valid, sample.joints3d_valid, sample.has_params):
                known[side] = True
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        what = f"its description has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{data.root}: picture {stem} is damaged: {what}") from error
    return sample


def load_labels(data: Synthetic, index: int) -> Labels:
    """Read the labels of every pixel, joint and vertex of one picture.

    Raises:
        ValueError: a file is missing or damaged, or the folder was written without these labels.
    """
    if not data.maps:
        raise ValueError(
            f"{data.root} was written without the labels of every pixel and vertex; draw the pictures anew"
        )
    stem, files = read_files(data, index, MAPS)
    try:
        return decode(files)
    except ValueError as error:
        raise ValueError(f"{data.root}: picture {stem} is damaged: {error}") from error


def sums(root: Path, form: str, record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every file that a shard vouches for, below `root`, and the SHA-256 it should have; the shard's own comes first."""
    yield record["name"], record["sha256"]
    if form == "files":
        for line in (root / record["name"]).read_text(encoding="utf-8").splitlines():
            value, name = line.split("  ", 1)
            yield name, value
    elif form == "interhand":
        content = json.loads((root / record["name"]).read_text(encoding="utf-8"))
        yield from content["sha256"].items()


def broken(root: Path, form: str, record: dict[str, Any]) -> str | None:
    """The first file of a shard that is missing or not as it was written; None: all are whole."""
    for name, value in sums(root, form, record):
        path = root / name
        if not path.is_file():
            return f"{path} is missing"
        if checksum(path) != value:
            return f"{path} is damaged: its checksum is not the one it was written with"
    return None


def intact(root: Path, form: str, record: dict[str, Any]) -> bool:
    """Whether all files of a shard are as they were written."""
    return broken(root, form, record) is None


def damaged(data: Synthetic) -> Iterator[str]:
    """A sentence for each shard that is not whole, and one if some are not there yet."""
    cure = "run lgnet synth again with the same options"
    for record in data.shards:
        fault = broken(data.root, data.form, record)
        if fault is not None:
            yield f"{fault}; {cure}"
    for reason, count in data.skipped.items():
        yield f"{data.root} is not finished, {count} {reason}; {cure}"
