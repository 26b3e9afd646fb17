"""A predictor, or a folder of its predictions, over a data set: figures, tables, curves, and pictures of cases.

With boxes "own" the predictor is given the picture and, where the data set knows it, the camera, and nothing else.
With boxes "truth" it is also given the true boxes and with them which sides there are; presence, handedness and
hands_found then say nothing of finding hands, and `given` in the results says so. docs/evaluation.md says what every
figure is.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from . import plots
from .aside import write_aside
from .coding import jpeg, png
from .data.registry import DataSet, open_data
from .data.sample import Sample, require_side
from .geometry import meets_picture
from .hands import TwoHands, assumed_camera, camera_of
from .metrics import PCK_PROTOCOL
from .predictor import Predicts
from .progress import progress_bar
from .scoring.cases import sheet, tile, worst_and_median
from .scoring.columns import SCORING, Scores, joined, tabulate, to_npz
from .scoring.motion import with_acceleration
from .scoring.parts import Part, part_bytes, read_part
from .scoring.predictions import Reader, open_predictions, write_prediction
from .scoring.roots import root_depths
from .scoring.score import Noted, note_picture, score_pictures
from .scoring.summary import confidence_intervals, summarise
from .scoring.tables import beside_published, group_table, table, to_latex, to_markdown
from .scoring.truth import true_faces, true_hands
from .shards import Shards

WORST = 24
"""Pictures of worst/worst.png."""
CASES = 12
"""Worst, and as many median, pictures of cases.jpg."""
TOGETHER, PARTS = 250, 64
"""Pictures that are scored before they become columns, and that a process takes at once: at most so many, and so few that
there are this many parts, where there are pictures enough."""
Boxes = Literal["own", "truth"]


def evaluate(
    predictor: Predicts,
    data: DataSet,
    out: str | Path,
    boxes: Boxes = "own",
    quiet: bool = False,
    save_predictions: bool = False,
    root_depth: str = "predicted",
    shards: Shards | None = None,
) -> dict[str, Any]:
    """Evaluate a predictor and write into `out`: metrics.json, scores.npz, table.md, table.tex, plots and cases.

    Args:
        predictor: the model.
        data: from `open_data`.
        out: folder to write into; made if missing.
        boxes: who finds the hands, see the module's head.
        quiet: no table (the progress bar shows on terminals only).
        save_predictions: also write `out`/predictions, which `evaluate_files` scores to the same figures.
        root_depth: how far away the wrists are taken to be: "predicted", "rootnet:FILE" or "truth"; see `scoring.roots`.
        shards: where parts are kept until all are done, and which process this is; its plan has to tell everything that
            the figures depend on. None: nothing is kept.

    Returns:
        The content of metrics.json; empty in a process that is not the first of several, which writes it.

    Raises:
        ValueError: `boxes` is neither, the data set is empty or unreadable, or matplotlib is missing; or `root_depth` is
            none of these, its file missing, damaged or of other pictures; or predictions are to be kept where another
            run's are.
    """
    kept, written = Path(out) / "predictions", Reader(Path(out) / "predictions")
    going_on = shards is not None and (shards.folder / "plan.json").exists()
    if save_predictions and not going_on and kept.is_dir() and any(kept.iterdir()):
        raise ValueError(f"{kept} holds the predictions of another run, which would stay among the new ones; delete it")

    def answer(sample: Sample) -> TwoHands:
        hands = predict_sample(predictor, sample, boxes)
        if save_predictions:
            written.claim(sample)
            write_prediction(hands, sample, kept)
        return hands

    told = {"tta": getattr(predictor, "tta", None)}
    return _evaluate(answer, data, Path(out), boxes, quiet, None, root_depth, 1, shards, told)


def evaluate_files(
    predictions: str | Path,
    data: DataSet,
    out: str | Path,
    boxes: Boxes = "own",
    quiet: bool = False,
    jobs: int = 1,
    root_depth: str = "predicted",
    shards: Shards | None = None,
) -> dict[str, Any]:
    """Score a folder of prediction files, lgnet's or another network's, as `evaluate` does a predictor.

    Args:
        predictions: the folder; docs/evaluation.md has the format.
        boxes: what whoever made the predictions was given; it is only told in the results.
        data, out, quiet: as for `evaluate`; pictures are looked at for the cases alone where the data set allows it.
        jobs: processes that read and score; 1 for a data set that is not from `open_data`.
        root_depth, shards: as for `evaluate`.

    Returns:
        As `evaluate`; "predictions" in it says which files were missing, damaged or of no sample. A
        sample whose file is missing or damaged counts as one in which no hand was found.

    Raises:
        ValueError: as `evaluate`; or there is no prediction of any sample, or two samples have one name.
    """
    reader = open_predictions(predictions)
    return _evaluate(reader.read, data, Path(out), boxes, quiet, reader, root_depth, jobs, shards, {"tta": None})


def _evaluate(
    answer: Callable[[Sample], TwoHands],
    data: DataSet,
    folder: Path,
    boxes: str,
    quiet: bool,
    reader: Reader | None,
    root_depth: str,
    jobs: int,
    shards: Shards | None,
    told: dict[str, Any],
) -> dict[str, Any]:
    if boxes not in ("own", "truth"):
        raise ValueError(f"boxes are 'own' or 'truth', not {boxes!r}")
    if jobs < 1:
        raise ValueError(f"at least one process scores, not {jobs}")
    root_depths(root_depth)  # says what is wrong with it before the work
    plots.require_matplotlib()
    if not len(data):
        raise ValueError(f"{data.name} has no picture to evaluate")
    (folder / "worst").mkdir(parents=True, exist_ok=True)

    parts = _all_parts(answer, data, reader, root_depth, jobs, shards)
    if not parts:
        return {}
    scores, joints2d = joined([part.scores for part in parts]), np.concatenate([part.joints2d for part in parts])
    with_camera = sum(part.with_camera for part in parts)
    weights = next((part.weights for part in parts[::-1] if part.weights is not None), None)
    without_depth = sum(part.without_depth for part in parts)
    parts.clear()  # half of the memory
    if reader is not None:
        reader.check_any(len(scores))
    if data.film:
        scores = with_acceleration(scores)
    if without_depth and without_depth == len(scores.hands["side"]):
        raise ValueError(f"{root_depth} has no depth of any hand of {data.name}: are its results of another split?")
    figures = summarise(scores)
    metrics = {
        "data": data.name,
        "boxes": boxes,
        "weights": weights,
        "count": figures.pop("count"),
        "scoring": SCORING,
        "whole": data.whole,
        "skipped": data.skipped,
        "given": ["K"] * (with_camera > 0) + ["boxes", "sides"] * (boxes == "truth"),
        **told,
        "pictures_with_K": with_camera,
        "root_depth": {"source": root_depth, "hands_without": without_depth},
        "predictions": None if reader is None else reader.report(data.whole),
        **figures,
        "confidence": confidence_intervals(scores),
    }
    _write(folder, metrics, scores)
    _write_cases(folder, data, scores, joints2d)
    if not quiet:
        Console().print(table(metrics))
        if len(metrics["groups"]) > 1:
            Console().print(group_table(metrics))
    if shards is not None:
        shards.remove()
    return metrics


def _all_parts(
    answer: Callable[[Sample], TwoHands],
    data: DataSet,
    reader: Reader | None,
    root_depth: str,
    jobs: int,
    shards: Shards | None,
) -> list[Part]:
    """All pictures scored, in their order, whoever did it; nothing in a process whose part of it is done."""
    step = min(TOGETHER, max(1, len(data) // PARTS))
    ranges = [(start, min(start + step, len(data))) for start in range(0, len(data), step)]
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=len(data))
        if shards is None:
            parts = []
            for part, found in _parts(answer, data, reader, root_depth, jobs, ranges):
                parts.append(part)
                if reader is not None and found is not None:
                    reader.add(found)
                progress.advance(task, len(part.scores))
            return parts

        def tell(done: list[int]) -> None:
            progress.update(task, completed=sum(ranges[n][1] - ranges[n][0] for n in done))

        todo = shards.begin(len(ranges))
        if shards.rank == 0 and (done := shards.done(len(ranges))):
            progress.console.print(
                f"{len(done)} of {len(ranges)} parts are done already, in {shards.folder}", soft_wrap=True
            )
        shards.meet()
        work = _parts(answer, data, reader, root_depth, jobs, [ranges[n] for n in todo])
        with shards.kept():
            for n, (part, found) in zip(todo, work):
                shards.write(n, part_bytes(part, found))
                if not progress.disable:
                    tell(shards.done(len(ranges)))
        if shards.rank:
            return []
        parts = []
        for n, content in enumerate(shards.wait(len(ranges), tell)):
            part, found = read_part(content, shards.path(n), None if reader is None else reader.folder)
            parts.append(part)
            if reader is not None and found is not None:
                reader.add(found)
        return parts


def _parts(
    answer: Callable[[Sample], TwoHands],
    data: DataSet,
    reader: Reader | None,
    root_depth: str,
    jobs: int,
    ranges: list[tuple[int, int]],
) -> Iterator[tuple[Part, Reader | None]]:
    """The pictures of some ranges scored, each with what was found of files; by several processes where they can open them."""
    if reader is None:
        for start, stop in ranges:
            yield _score((data.load(index) for index in range(start, stop)), answer, root_depth, data.film), None
    elif jobs == 1 or data.source is None or len(ranges) == 1:
        for start, stop in ranges:
            own = Reader(reader.folder)
            yield _score((data.without_picture(i) for i in range(start, stop)), own.read, root_depth, data.film), own
    elif ranges:
        context = multiprocessing.get_context("spawn")  # not fork: other threads may run here
        with ProcessPoolExecutor(min(jobs, len(ranges)), context) as pool:
            yield from pool.map(partial(_score_files, data.source, reader.folder, root_depth), ranges)


def _score(samples: Iterable[Sample], answer: Callable[[Sample], TwoHands], root_depth: str, film: bool) -> Part:
    noted: list[Noted] = []
    with_camera, weights, unknown, depths_of = 0, None, 0, root_depths(root_depth)
    for sample in samples:
        hands = answer(sample)
        weights = hands.model.get("weights", weights)
        with_camera += sample.K is not None
        depths = None if depths_of is None else depths_of(sample)
        if depths is not None:
            unknown += int((sample.present & (np.isnan(depths) | (sample.K is None))).sum())
        vertices, joints = true_hands(sample)
        noted.append(note_picture(sample, hands, vertices, true_faces(sample), depths, joints))
    pictures = score_pictures(noted)
    return Part(
        tabulate(pictures, film), np.stack([picture.joints2d for picture in pictures]), with_camera, weights, unknown
    )


def _score_files(
    source: tuple[str, int | None], folder: Path, root_depth: str, places: tuple[int, int]
) -> tuple[Part, Reader]:
    """Samples from one place to another, by their files, in a process of its own."""
    data, reader = _opened(source), Reader(folder)
    return _score((data.without_picture(index) for index in range(*places)), reader.read, root_depth, data.film), reader


@functools.lru_cache(maxsize=1)
def _opened(source: tuple[str, int | None]) -> DataSet:
    return open_data(*source)


def _write(folder: Path, metrics: dict[str, Any], scores: Scores) -> None:
    write_aside(folder / "metrics.json", (json.dumps(metrics, indent=1, allow_nan=False) + "\n").encode())
    write_aside(folder / "scores.npz", to_npz(scores))
    write_aside(folder / "table.md", to_markdown(metrics).encode())
    write_aside(folder / "table.tex", to_latex(metrics).encode())
    kinds = scores.pictures["kind"][scores.hands["picture"]]
    chosen = {"all": np.ones(len(kinds), bool), **{kind: kinds == kind for kind in metrics["by"]}}
    deep, flat = scores.hands[f"errors3d_{PCK_PROTOCOL}"], scores.hands["errors2d"]
    title = f"{metrics['data']}, {metrics['count']} pictures, boxes: {metrics['boxes']}"
    plots.plot_pck(
        {name: _known(deep[rows]) for name, rows in chosen.items()},
        {name: _known(flat[rows]) for name, rows in chosen.items()},
        folder / "pck.png",
        title=title,
        paper=beside_published(metrics, PCK_PROTOCOL),
    )
    plots.plot_joints(metrics["by_joint"], folder / "joints.png", title)
    plots.plot_asymmetry(metrics["by_pose_difference"], folder / "asymmetry.png", title)


def _known(errors: np.ndarray) -> np.ndarray:
    """(N,) what is not NaN."""
    return errors[~np.isnan(errors)]


def _write_cases(folder: Path, data: DataSet, scores: Scores, joints2d: np.ndarray) -> None:
    """Samples are loaded again for their pictures: those of a whole data set would not fit into memory."""
    worst, median = worst_and_median(scores, WORST, CASES)
    tiles = {index: tile(data[index], scores, index, joints2d[index]) for index in {*worst, *median}}
    write_aside(folder / "worst" / "worst.png", png(sheet([("", [tiles[i] for i in worst])])))
    colours = "truth green, right hand red, left hand blue; 2D error as a share of the hand's box, MPJPE of protocol C"
    both = [(f"worst: {colours}", [tiles[i] for i in worst[:CASES]]), ("median", [tiles[i] for i in median])]
    write_aside(folder / "cases.jpg", jpeg(sheet([group for group in both if group[1]])))


def predict_sample(predictor: Predicts, sample: Sample, boxes: str) -> TwoHands:
    """Run the predictor on one sample; nothing of the truth reaches it but what `boxes` says."""
    camera = None if sample.K is None else camera_of(sample.K)
    if boxes == "own":
        return predictor.predict(sample.image, camera=camera, boxes=None, given=None)
    require_side(sample)
    height, width = sample.image.shape[:2]
    given = sample.present & [bool(box[2:].max() > 0) and meets_picture(box, height, width) for box in sample.box]
    if not given.any():
        return TwoHands(None, None, width, height, camera or assumed_camera(width, height))
    return predictor.predict(sample.image, camera=camera, boxes=sample.box.astype(np.float64), given=given)
