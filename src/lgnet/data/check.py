"""Is a data set complete and readable: every picture read, truth that contradicts itself found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..progress import progress_bar
from .registry import cycles_bench, open_data
from .sample import Sample, project


@dataclass(frozen=True)
class DataReport:
    """What `lgnet data check` says of a data set."""

    name: str
    count: int  # pictures that can be read
    hands: int
    hands3d: int  # with 3D joints
    kinds: dict[str, int]
    skipped: dict[str, int]
    faults: tuple[str, ...]  # one sentence each; none: complete and readable


def check_data(spec: str) -> DataReport:
    """Open a data set and read every sample of it.

    Raises:
        ValueError: it cannot even be opened.
    """
    data = open_data(spec)
    kinds: Counter[str] = Counter()
    count = hands = hands3d = 0
    faults = list(_missing(spec))
    with progress_bar() as progress:
        for index in progress.track(range(len(data)), description=f"checking {data.name}"):
            try:
                sample = data[index]
            except (ValueError, OSError) as error:
                faults.append(str(error))
                continue
            count += 1
            hands += int(sample.present.sum())
            hands3d += int((sample.present & sample.joints3d_valid.any(1)).sum())
            kinds[sample.kind] += 1
            faults.extend(_inconsistent(sample))
    return DataReport(data.name, count, hands, hands3d, dict(kinds), dict(data.skipped), tuple(faults))


def _missing(spec: str) -> Iterator[str]:
    name, _, root = spec.partition(":")
    if name == "realdata":
        from .realdata import FILES, read_realdata

        folder = read_realdata(root).root
        yield from (f"{folder / file} is missing" for file in FILES if not (folder / file).is_file())
    elif name in ("synth", "synth-bench-cycles"):
        from .synthetic import damaged, open_folder

        yield from damaged(open_folder(Path(root) if name == "synth" else cycles_bench(root)))
    elif name.startswith("freihand-"):
        from .freihand import read_freihand

        data = read_freihand(Path(root), name.removeprefix("freihand-"))
        if not data.pictures or data.pictures % len(data.xyz):
            yield f"{data.folder} has {data.pictures} pictures, and {len(data.xyz)} hands are annotated: some are missing"
    elif name.startswith("interhand26m-"):
        from .interhand import damaged, find_annotations, index_folder

        split = name.split("-")[1]
        kept = index_folder(find_annotations(Path(root), split), split)
        yield from (f"{kept / array}.npy is damaged; delete {kept} and it is built anew" for array in damaged(kept))


def _inconsistent(sample: Sample) -> Iterator[str]:
    """Truth that contradicts itself."""
    for side in np.flatnonzero(sample.present):
        both = sample.joints2d_valid[side] & sample.joints3d_valid[side]
        if max(sample.box[side, 2:]) <= 0 and sample.joints2d_valid[side].sum() > 1:  # else none can be made
            yield f"{sample.name} has a hand without a box"
        if sample.K is None or not both.any():
            continue
        points = sample.joints3d[side][both]
        if (points[:, 2] <= 0).any():
            yield f"{sample.name} has 3D joints behind the camera"
            continue
        worst = float(np.abs(project(points, sample.K, sample.distortion) - sample.joints2d[side][both]).max())
        if worst > 2:
            yield f"{sample.name} has 3D joints that project {worst:.1f} pixels away from its 2D joints"
