"""Data sets by name: `open_data("synth-bench")`, `open_data("realdata:../shared/realdata")`.

A data set is a small record of samples by index. To add one, write its opener and put it into `OPENERS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from .sample import Sample


@dataclass(frozen=True)
class DataSet:
    """Samples in a fixed order, read or drawn when they are asked for."""

    name: str
    count: int
    load: Callable[[int], Sample]
    skipped: dict[str, int] = field(default_factory=dict)
    """What of the source is not among the samples, or is only partly scored, counted by reason."""
    whole: bool = True
    """Whether these are all samples there are, not some spread over them."""
    truth: Callable[[int], Sample] | None = None
    """As `load`, but the picture is a stand-in of the right size: for scoring what was predicted elsewhere, fast."""
    source: tuple[str, int | None] | None = None
    """What `open_data` makes the same set of in another process; None: nothing does."""
    film: bool = False
    """Whether the pictures of a folder are one camera's frames, in the order of the numbers at their names' ends."""
    alike: Callable[[], np.ndarray] | None = None
    """(N,) for each sample, one that shows the same hands in the same pose, of a group always the same; None: not known."""

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"{self.name} has samples 0 to {self.count - 1}, not {index}")
        return self.load(index)

    def without_picture(self, index: int) -> Sample:
        """A sample whose picture need not be there: black, but of the right size, where the data set can do so."""
        return self[index] if self.truth is None else self.truth(index)

    def __iter__(self) -> Iterator[Sample]:
        return (self.load(index) for index in range(self.count))


def open_data(spec: str, limit: int | None = None) -> DataSet:
    """A data set by `NAME` or `NAME:ROOT`.

    Args:
        spec: the name, and the folder of those that lie in one.
        limit: at most this many samples, spread evenly over the whole so that every kind is among them; the
            counts in `skipped` remain those of the whole.

    Raises:
        ValueError: an unknown name, a missing folder, or a file that cannot be read.
    """
    name, _, root = spec.partition(":")
    if name not in OPENERS:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(sorted(OPENERS))}")
    if limit is not None and limit < 1:
        raise ValueError(f"a limit is at least 1, not {limit}")
    data = replace(OPENERS[name](root), source=(spec, None))
    return data if limit is None or limit >= len(data) else spread(data, limit)


def spread(data: DataSet, limit: int) -> DataSet:
    """`limit` samples of a data set, at even distances."""
    chosen = np.linspace(0, len(data) - 1, limit).round().astype(int)
    source = None if data.source is None or data.source[1] is not None else (data.source[0], limit)
    return DataSet(
        data.name,
        limit,
        lambda index: data.load(int(chosen[index])),
        data.skipped,
        False,
        lambda index: data.without_picture(int(chosen[index])),
        source,
    )


def _open_synth_bench(root: str) -> DataSet:
    if root:
        raise ValueError("synth-bench is drawn, not read: it takes no folder")
    try:
        from ..synth.generate import BENCH_COUNT, bench_sample
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("lgnet"):
            raise
        raise ValueError(f"drawing synth-bench needs {error.name}; install it by pip install 'lgnet[train]'") from error
    return DataSet("synth-bench", BENCH_COUNT, bench_sample)


def cycles_bench(root: str) -> Path:
    """The folder of synth-bench-cycles: the one named, or the repository's."""
    if root:
        return Path(root)
    folder = Path(__file__).parents[3] / "benchmarks" / "synth-bench-cycles"
    if not folder.is_dir():
        raise ValueError(
            "synth-bench-cycles lies in lgnet's repository, which an installed lgnet does not have: get the folder "
            "benchmarks/synth-bench-cycles from there and name it as synth-bench-cycles:FOLDER"
        )
    return folder


def _open_cycles_bench(root: str) -> DataSet:
    from .synthetic import load_sample, open_folder

    data, name = open_folder(cycles_bench(root)), "synth-bench-cycles"
    return DataSet(name, data.count, lambda i: replace(load_sample(data, i), name=f"{name}/{i:06d}"), data.skipped)


def _open_synth(root: str) -> DataSet:
    from .synthetic import load_sample, open_folder

    data = open_folder(_folder(root, "synth", "a set of synthetic pictures"))
    return DataSet("synth", data.count, lambda index: load_sample(data, index), data.skipped)


def _open_unlabelled(root: str) -> DataSet:
    from .unlabelled import load_sample, read_folder

    data = read_folder(_folder(root, "unlabelled", "what nobody labelled"))
    return DataSet("unlabelled", len(data.pictures), lambda index: load_sample(data, index), data.skipped)


def _open_realdata(root: str) -> DataSet:
    from .realdata import load_sample, read_realdata

    data = read_realdata(_folder(root, "realdata", "realdata"))
    return DataSet("realdata", len(data.records), lambda index: load_sample(data.records[index]), data.skipped)


MANO_UNUSED = "hands with MANO labels that are not used: set MANO_DIR to the folder of MANO's own files"


def mano_labels(found: int) -> tuple[bool, dict[str, int]]:
    """Whether MANO's labels can be used, and what to say of `found` hands that have some if they cannot."""
    if os.environ.get("MANO_DIR") or not found:
        return bool(found), {}
    return False, {MANO_UNUSED: found}


def _open_interhand(root: str, split: str, which: str) -> DataSet:
    name = f"interhand26m-{split}" + (f"-{which}" if which != "all" else "")
    from .interhand import find_annotations, load_index, load_sample, select
    from .interhand_selection import DARK, best_of_frames, bright

    folder = _folder(root, name, "InterHand2.6M")
    files = find_annotations(folder, split)
    if which in ("mano", "published") and "mano" not in files:
        raise ValueError(
            f"{name} is of pictures with MANO labels, and InterHand2.6M_{split}_MANO_NeuralAnnot.json is not beside the other "
            f"annotations in {files['data'].parent}"
        )
    index = load_index(folder, split)
    rows, skipped = select(index, "mano" if which == "published" else which)
    if which == "published":
        lit = bright(folder, split, index, rows)
        rows, skipped = rows[lit], {**skipped, DARK: int((~lit).sum())}
    mano, unused = mano_labels(int(index.mano_valid[index.joints[rows]].sum()) if len(rows) else 0)
    return DataSet(
        name,
        len(rows),
        lambda i: load_sample(folder, split, index, int(rows[i]), mano),
        {**skipped, **unused},
        truth=lambda i: load_sample(folder, split, index, int(rows[i]), mano, picture=False),
        alike=lambda: best_of_frames(index, rows),
        film=True,
    )


def _open_freihand(root: str, split: str) -> DataSet:
    from .freihand import load_sample, read_freihand

    data = read_freihand(_folder(root, f"freihand-{split}", "FreiHAND"), split)
    mano, unused = mano_labels(0 if data.mano is None and data.vertices is None else data.pictures)
    return DataSet(
        f"freihand-{split}",
        data.pictures,
        lambda index: load_sample(data, index, mano),
        unused,
        alike=lambda: np.arange(data.pictures) % len(data.xyz),
    )


def _open_wholebody(root: str, split: str) -> DataSet:
    from .coco_wholebody import load_sample, read_wholebody

    name = f"coco-wholebody-{split}"
    data = read_wholebody(_folder(root, name, "COCO-WholeBody"), split)
    return DataSet(name, len(data.people), lambda index: load_sample(data, index), data.skipped)


def _folder(root: str, name: str, whose: str) -> Path:
    if not root:
        raise ValueError(f"{whose} lies in a folder: name it as {name}:FOLDER")
    return Path(root)


def _open_rhd(root: str, split: str) -> DataSet:
    from .rhd import load_sample, read_rhd

    name = f"rhd-{split}"
    data = read_rhd(_folder(root, name, "RHD"), split)
    return DataSet(name, len(data.numbers), lambda index: load_sample(data, index))


def _open_ho3d(root: str, split: str, two_hands: bool) -> DataSet:
    from .ho3d import load_sample, read_ho3d

    name = f"{'h2o3d' if two_hands else 'ho3d'}-{split}"
    data = read_ho3d(_folder(root, name, "H2O-3D" if two_hands else "HO-3D"), split, two_hands)
    mano, unused = mano_labels(len(data.frames) if split == "train" else 0)
    return DataSet(name, len(data.frames), lambda index: load_sample(data, index, mano), unused, film=True)


def _open_ego3dhands(root: str) -> DataSet:
    from .ego3dhands import load_sample, read_ego3dhands

    data = read_ego3dhands(_folder(root, "ego3dhands", "Ego3DHands"))
    return DataSet("ego3dhands", len(data.folders), lambda index: load_sample(data, index))


def _open_ego2hands(root: str) -> DataSet:
    from .ego2hands import load_sample, read_ego2hands

    data = read_ego2hands(_folder(root, "ego2hands-eval", "Ego2Hands"))
    return DataSet("ego2hands-eval", len(data.stems), lambda index: load_sample(data, index))


def _open_arctic(root: str, protocol: str, split: str) -> DataSet:
    from .arctic import load_sample, read_arctic

    name = f"arctic-{protocol}-{split}"
    data = read_arctic(_folder(root, name, "ARCTIC"), protocol, split)
    mano, unused = mano_labels(len(data.pictures))
    return DataSet(name, len(data.pictures), lambda index: load_sample(data, index, mano), unused, film=True)


def _open_h2o(root: str, split: str) -> DataSet:
    from .h2o import load_sample, read_h2o

    name = f"h2o-{split}"
    data = read_h2o(_folder(root, name, "H2O"), split)
    return DataSet(name, len(data.pictures), lambda index: load_sample(data, index), film=True)


def _open_hic(root: str) -> DataSet:
    from .hic import load_sample, read_hic

    data = read_hic(_folder(root, "hic", "HIC"))
    found = sum(mesh is not None for picture in data.pictures for mesh in picture.meshes)
    return DataSet(
        "hic", len(data.pictures), lambda index: load_sample(data, index), data.skipped | mano_labels(found)[1]
    )


def _open_egohands(root: str) -> DataSet:
    from .egohands import load_sample, read_egohands

    data = read_egohands(_folder(root, "egohands", "EgoHands"))
    return DataSet("egohands", len(data.pictures), lambda index: load_sample(data, index))


def _open_rgb2hands(root: str) -> DataSet:
    from .rgb2hands import load_sample, read_rgb2hands

    data = read_rgb2hands(_folder(root, "rgb2hands", "RGB2Hands"))
    return DataSet("rgb2hands", len(data.pictures), lambda index: load_sample(data, index), data.skipped)


def _open_hot3d(root: str) -> DataSet:
    from .hot3d import load_sample, read_hot3d

    data = read_hot3d(_folder(root, "hot3d", "HOT3D-Clips"))
    return DataSet("hot3d", len(data.picture), lambda index: load_sample(data, index), data.skipped)


def _open_onehand10k(root: str, split: str) -> DataSet:
    from .onehand10k import load_sample, read_onehand10k

    name = f"onehand10k-{split}"
    data = read_onehand10k(_folder(root, name, "OneHand10K"), split)
    return DataSet(name, len(data.pictures), lambda index: load_sample(data, index), data.skipped)


def _open_reinterhand(root: str, split: str) -> DataSet:
    from .reinterhand import load_sample, read_reinterhand

    name = f"reinterhand-{split}"
    data = read_reinterhand(_folder(root, name, "Re:InterHand"), split)
    return DataSet(name, len(data.pictures), lambda index: load_sample(data, index), film=True)


def _open_assemblyhands(root: str, split: str) -> DataSet:
    from .assemblyhands import load_sample, read_assemblyhands

    name = f"assemblyhands-{split}"
    data = read_assemblyhands(_folder(root, name, "AssemblyHands"), split)
    return DataSet(name, len(data.pictures), lambda index: load_sample(data, index), film=True)


OPENERS: dict[str, Callable[[str], DataSet]] = {
    "realdata": _open_realdata,
    "synth": _open_synth,
    "unlabelled": _open_unlabelled,
    "synth-bench": _open_synth_bench,
    "synth-bench-cycles": _open_cycles_bench,
    "ego2hands-eval": _open_ego2hands,
    "ego3dhands": _open_ego3dhands,
    "egohands": _open_egohands,
    "hic": _open_hic,
    "hot3d": _open_hot3d,
    "rgb2hands": _open_rgb2hands,
    **{
        f"arctic-{protocol}-{split}": partial(_open_arctic, protocol=protocol, split=split)
        for protocol in ("p1", "p2")
        for split in ("train", "val")
    },
    **{f"assemblyhands-{split}": partial(_open_assemblyhands, split=split) for split in ("train", "val")},
    **{f"h2o-{split}": partial(_open_h2o, split=split) for split in ("train", "val", "test")},
    **{f"h2o3d-{split}": partial(_open_ho3d, split=split, two_hands=True) for split in ("train", "evaluation")},
    **{f"ho3d-{split}": partial(_open_ho3d, split=split, two_hands=False) for split in ("train", "evaluation")},
    **{f"onehand10k-{split}": partial(_open_onehand10k, split=split) for split in ("train", "test")},
    **{f"reinterhand-{split}": partial(_open_reinterhand, split=split) for split in ("train", "test")},
    **{f"rhd-{split}": partial(_open_rhd, split=split) for split in ("training", "evaluation")},
    **{f"coco-wholebody-{split}": partial(_open_wholebody, split=split) for split in ("train", "val")},
    **{f"freihand-{split}": partial(_open_freihand, split=split) for split in ("training", "evaluation")},
    **{
        f"interhand26m-{split}{end}": partial(_open_interhand, split=split, which=end[1:] or "all")
        for split in ("train", "val", "test")
        for end in ("", "-two", "-mano", "-published")
    },
}
