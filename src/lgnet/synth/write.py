"""`lgnet synth`: pictures and labels on disk, shard by shard, so that a broken run goes on and several processes share it.

A shard is one unit of work: `--shard-size` pictures, drawn from seed and number alone. Each leaves one file, written
aside and renamed when all of it is there, and the folder's index then holds that file's size and SHA-256:

    webdataset  shard-000000.tar, the pictures with their labels
    files       checksums/000000.txt (as sha256sum writes it) over the loose files of its pictures
    interhand   parts/000000.json, its share of the annotations with its pictures' sums (interhand_layout.py)
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import __version__
from ..aside import write_aside, written
from ..coding import jpeg, png
from ..config import SynthConfig
from ..data.files import checksum
from ..data.labels import encode
from ..data.sample import Sample
from ..data.synthetic import FORMATS, SCHEMA, index_file, intact, loose_name
from ..hands import JOINT_NAMES, SIDES
from ..progress import progress_bar
from . import interhand_layout
from .blender import Cycles, command, renderer_name, repainted
from .generate import Drawn, make_drawn, training_rng
from .labels import make_labels
from .rig import draw_views

SHARD_SIZE = 500
QUALITY = 95


@dataclass(frozen=True)
class Plan:
    """What a folder is to hold; a run goes on only with the plan that it was begun with."""

    schema: str
    version: str  # of lgnet: another one may draw other pictures
    format: str
    count: int
    seed: int
    shard_size: int
    config: dict[str, Any]
    views: int = 1  # pictures of each scene
    renderer: str = "numba"
    maps: bool = True  # whether there are the labels of every pixel and vertex
    quality: int = QUALITY  # of the JPEGs


@dataclass(frozen=True)
class _Work:
    """What a process needs to write a shard of a folder."""

    folder: Path
    plan: Plan
    config: SynthConfig
    draw: Callable[[int], Drawn] | None
    cycles: Cycles | None


def write_dataset(
    out: str | Path,
    count: int,
    seed: int = 0,
    config: SynthConfig | None = None,
    form: str = "files",
    shard_size: int = SHARD_SIZE,
    jobs: int = 1,
    views: int = 1,
    cycles: Cycles | None = None,
    draw: Callable[[int], Drawn] | None = None,
    maps: bool = True,
    quality: int = QUALITY,
) -> int:
    """Draw and write `count` pictures with their labels under `out`; how many are there now.

    Shards that are finished and intact are left as they are. The result does not depend on `jobs`, nor on how often
    the run was broken off.

    Args:
        out: the folder.
        count: how many pictures.
        seed: of the first.
        config: what they are drawn from.
        form: one of `data.synthetic.FORMATS`.
        shard_size: pictures that one process writes at a time.
        jobs: processes.
        views: so many pictures after one another are one scene seen by a rig of cameras (rig.py).
        cycles: let Blender make the pixels.
        draw: number -> picture, a function of a module; None: the training pictures of `seed`.
        maps: also write the labels of every pixel and vertex (not those of the InterHand2.6M layout, which has none).
        quality: of the JPEGs.

    Raises:
        ValueError: no such format, one that has no place for what is asked for, the folder was begun with another plan, or
            Blender is missing or fails.
    """
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r}; there are {', '.join(FORMATS)}")
    config = config or SynthConfig(full_frame=True)
    if form == "interhand" and config.lens:
        raise ValueError("InterHand2.6M's layout has no place for lenses that bend lines; draw without --lens")
    plain = json.loads(json.dumps(asdict(config)))
    if cycles is not None:
        command(cycles)  # a missing Blender is told before anything is written
    name = renderer_name(cycles)
    plan = Plan(SCHEMA, __version__, form, count, seed, shard_size, plain, views, name, maps, quality)
    folder = Path(out)
    done = _begin(folder, plan)
    left = [number for number in range(-(-count // shard_size)) if number not in done]
    with progress_bar() as progress:
        task = progress.add_task("drawing", total=count, completed=sum(done[n]["pictures"] for n in done))
        work = _Work(folder, plan, config, draw, cycles)
        for number, record in _shards(work, left, jobs, lambda: progress.advance(task)):
            done[number] = record
            progress.update(task, completed=sum(done[n]["pictures"] for n in done))
            _write_index(folder, plan, done)
    if form == "interhand" and (left or not interhand_layout.merged(folder)):
        interhand_layout.merge(folder, [done[number]["name"] for number in sorted(done)])
    return sum(record["count"] for record in done.values())


_DEFAULTS = {"views": 1, "renderer": "numba", "maps": True, "quality": QUALITY}
"""What an index of an earlier version does not say."""


def _begin(folder: Path, plan: Plan) -> dict[int, dict[str, Any]]:
    """The intact shards of an earlier run by number; writes the plan where there is none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("shard-*.part"):
        stale.unlink()
    for name in sorted(set(map(index_file, FORMATS))):
        path = folder / name
        if not path.is_file():
            continue
        try:
            before = _DEFAULTS | json.loads(path.read_text(encoding="utf-8"))
            shards = {int(record["number"]): record for record in before.get("shards", [])}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged; delete it and the files beside it, or give another --out") from error
        if not shards and _in_the_way(folder, plan) is None:
            path.unlink()  # of a run that came to nothing
            continue
        for key, wanted in asdict(plan).items():
            if before.get(key) != wanted:
                raise ValueError(
                    f"{path} was begun with {key} {_brief(before.get(key), wanted)}, not {_brief(wanted, before.get(key))}; "
                    "give the options it was begun with, or another --out"
                )
        return {number: record for number, record in shards.items() if intact(folder, plan.format, record)}
    there = _in_the_way(folder, plan)
    if there is not None:
        raise ValueError(f"{there} is there already, and {folder} was not begun by lgnet synth; give another --out")
    _write_index(folder, plan, {})
    return {}


def _in_the_way(folder: Path, plan: Plan) -> Path | None:
    """A file of a name that the plan's own will have; None: there is none."""
    if plan.format == "interhand":
        names = [folder / name for name in ("annotations", "images", "parts")]
        return next((path for path in names if path.exists()), None)
    start, end = ("shard-", ".tar") if plan.format == "webdataset" else ("", "")
    for path in folder.iterdir():
        number = path.name.removeprefix(start)[:6]
        if path.name.startswith(start) and path.name.endswith(end) and len(number) == 6 and number.isdecimal():
            return path
    return None


def _brief(value: Any, other: Any) -> str:
    """A value as told to the user: of a configuration, only what differs."""
    if isinstance(value, dict):
        other = other if isinstance(other, dict) else {}
        return (
            ", ".join(f"{key} {value[key]}" for key in sorted(value) if value[key] != other.get(key)) or "other options"
        )
    return "nothing" if value is None else str(value)


def _write_index(folder: Path, plan: Plan, done: dict[int, dict[str, Any]]) -> None:
    shards = [done[number] for number in sorted(done)]
    content = {**asdict(plan), "joints": list(JOINT_NAMES), "shards": shards}
    write_aside(folder / index_file(plan.format), json.dumps(content, indent=1).encode())


def _shards(
    work: _Work, numbers: list[int], jobs: int, tick: Callable[[], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Write shards here (`tick` after each picture) or in `jobs` processes; their records in the index as they finish."""
    tasks = [(work, number) for number in numbers]
    if min(jobs, len(tasks)) <= 1:
        for task in tasks:
            yield _write_shard(task, tick)
        return
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for done in as_completed([pool.submit(_write_shard, task) for task in tasks]):
                yield done.result()
        except BrokenProcessPool as error:
            raise ValueError(
                "a process that draws was killed, perhaps for want of memory; the same command goes on, with fewer --jobs if "
                "need be"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # nobody wants their shards any more
                process.terminate()
            raise


def _write_shard(task: tuple[_Work, int], tick: Callable[[], None] = lambda: None) -> tuple[int, dict[str, Any]]:
    """Draw one shard; its number and its record in the index."""
    work, number = task
    folder, plan = work.folder, work.plan
    indices = range(number * plan.shard_size, min(plan.count, (number + 1) * plan.shard_size))
    pictures = _told(_pictures(work, indices), tick)
    with _one_thread():
        if plan.format == "interhand":
            name, count = interhand_layout.write_part(folder, number, pictures, plan.quality)
        else:
            files = ((drawn.sample.name, picture_files(plan, index, drawn)) for index, drawn in pictures)
            name = (_write_tar if plan.format == "webdataset" else _write_files)(folder, number, files)
            count = len(indices)
    record = {"number": number, "name": name, "pictures": len(indices), "count": count}
    return number, {**record, "bytes": (folder / name).stat().st_size, "sha256": checksum(folder / name)}


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of torch come out the same whether one process draws or many."""
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _pictures(work: _Work, indices: range) -> Iterator[tuple[int, Drawn]]:
    if work.draw is None:
        return numbered(work.plan.seed, work.config, indices, work.plan.views, work.cycles)
    pictures = ((index, work.draw(index)) for index in indices)
    return pictures if work.cycles is None else repainted(pictures, work.config, work.cycles)


def numbered(
    seed: int, config: SynthConfig, indices: range, views: int = 1, cycles: Cycles | None = None
) -> Iterator[tuple[int, Drawn]]:
    """The pictures of a seed with these numbers, each scene from `views` cameras, of our renderer or of Cycles."""
    if views > 1:
        pictures = zip(indices, draw_views(seed, indices, views, config))
    else:
        pictures = ((i, make_drawn(training_rng(seed, 0, i), config, name=f"{i:06d}")) for i in indices)
    return pictures if cycles is None else repainted(pictures, config, cycles)


def _told(pictures: Iterator[tuple[int, Drawn]], tick: Callable[[], None]) -> Iterator[tuple[int, Drawn]]:
    for picture in pictures:
        yield picture
        tick()


def picture_files(plan: Plan, index: int, drawn: Drawn) -> dict[str, bytes]:
    """A picture and its labels as files, by the end of their names: jpg, json, parts.png and data.labels.MAPS."""
    labels = make_labels(drawn)
    description = describe(plan.seed, index, drawn, labels.joints_visible)
    return {
        "jpg": jpeg(drawn.sample.image, plan.quality),
        "json": json.dumps(description).encode(),
        "parts.png": png(np.asarray(drawn.sample.parts)),
        **(encode(labels) if plan.maps else {}),
    }


def describe(seed: int, index: int, drawn: Drawn, joints_visible: np.ndarray) -> dict[str, Any]:
    """What stands in a picture's .json: hands as in lgnet's results, with the visibility of their joints."""
    sample: Sample = drawn.sample
    camera: dict[str, Any] = dict(zip(("fx", "fy", "cx", "cy"), map(float, np.asarray(sample.K))))
    if sample.distortion is not None:
        camera["distortion"] = sample.distortion.tolist()
    keys = ("box", "joints2d", "joints3d", "pose", "shape")
    rig = {}
    if sample.T_camera_world is not None:
        rig = {"scene": sample.scene, "T_camera_world": sample.T_camera_world.tolist()}
    return {
        "image": f"{sample.name}.jpg",
        "seed": seed,
        "index": index,
        "kind": sample.kind,
        "light": drawn.light,
        "camera": camera,
        **rig,
        "hand_model": sample.hand_model,
        "hands": [
            {
                "side": SIDES[side],
                **{key: getattr(sample, key)[side].astype(float).round(6).tolist() for key in keys},
                "joints_visible": joints_visible[side].tolist(),
            }
            for side in (0, 1)
            if sample.present[side]
        ],
    }


def _write_tar(folder: Path, number: int, pictures: Iterator[tuple[str, dict[str, bytes]]]) -> str:
    """A WebDataset shard; its name. Headers hold no time and no owner, so the same pictures are the same bytes."""
    name = f"shard-{number:06d}.tar"
    mark = f".{os.getpid()}"  # not the file of a process which a killed run has left behind
    with written(folder / name, mark) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for stem, files in pictures:
            for end, content in files.items():
                header = tarfile.TarInfo(f"{stem}.{end}")
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    return name


def _write_files(folder: Path, number: int, pictures: Iterator[tuple[str, dict[str, bytes]]]) -> str:
    """Loose files; the name of the list of their checksums."""
    name, sums = f"checksums/{number:06d}.txt", []
    for stem, files in pictures:
        for end, content in files.items():
            path = folder / loose_name(stem, end)
            write_aside(path, content)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    (folder / "checksums").mkdir(exist_ok=True)
    write_aside(folder / name, "".join(sums).encode())
    return name
