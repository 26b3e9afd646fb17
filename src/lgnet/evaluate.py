"""A predictor over a data set: `metrics.json`, curves, a table, and the worst pictures to look at.

With boxes "own" the predictor is given the picture and, where the data set knows it, the camera, and nothing else.
With boxes "truth" it is also given the true boxes and with them which sides there are; presence, handedness and
hands_found then say nothing of finding hands, and `given` in the results says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from . import plots
from .data.registry import DataSet, spread
from .data.sample import Sample
from .hands import BONES, SIDES, Camera, TwoHands
from .metrics import PictureScore, pooled, score_picture, summarise

WORST = 24
TILE, COLUMNS = 256, 6
TRUTH_COLOUR, COLOURS = (40, 220, 40), ((255, 60, 50), (70, 110, 255))


class Predictor(Protocol):
    """What is evaluated: `lgnet.load(...)`, or anything like it."""

    def predict(
        self, image: np.ndarray, camera: Camera | None, boxes: np.ndarray | None, given: np.ndarray | None
    ) -> TwoHands:
        """Hands of an RGB picture; boxes (2, 4) and given (2,) for right and left, or None: find them yourself."""
        ...


def evaluate(
    predictor: Predictor,
    data: DataSet,
    out: str | Path,
    boxes: Literal["own", "truth"] = "own",
    limit: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate and write `out`/metrics.json, `out`/pck.png and `out`/worst/worst.png.

    Args:
        predictor: the model.
        data: from `open_data`.
        out: folder to write into; made if missing.
        boxes: who finds the hands, see the module's head.
        limit: at most this many pictures, spread evenly over the data set.
        quiet: no table (the progress bar shows on terminals only).

    Returns:
        The content of metrics.json.

    Raises:
        ValueError: `boxes` is neither, the data set is empty or unreadable, or matplotlib is missing.
    """
    if boxes not in ("own", "truth"):
        raise ValueError(f"boxes are 'own' or 'truth', not {boxes!r}")
    plots.require_matplotlib()
    if limit is not None and limit < len(data):
        data = spread(data, limit)
    if not len(data):
        raise ValueError(f"{data.name} has no picture to evaluate")
    folder = Path(out)
    (folder / "worst").mkdir(parents=True, exist_ok=True)

    scores: list[PictureScore] = []
    worst: list[tuple[float, np.ndarray]] = []
    weights, with_camera = None, 0
    console = Console(stderr=True)
    for sample in track(
        data, "evaluating", total=len(data), console=console, transient=True, disable=not console.is_terminal
    ):
        hands = predict_sample(predictor, sample, boxes)
        weights = hands.model.get("weights", weights)
        with_camera += sample.K is not None
        score = score_picture(sample, hands, true_vertices(sample))
        scores.append(score)
        worst = _keep_worst(worst, sample, hands, score)

    given = ["K"] * (with_camera > 0) + ["boxes", "sides"] * (boxes == "truth")
    figures = summarise(scores)
    metrics = {
        "data": data.name,
        "boxes": boxes,
        "weights": weights,
        "count": figures.pop("count"),
        "skipped": data.skipped,
        "given": given,
        "pictures_with_K": with_camera,
        **figures,
    }
    _write_aside(folder / "metrics.json", (json.dumps(metrics, indent=1, allow_nan=False) + "\n").encode())
    groups = {"all": scores}
    groups.update({kind: [s for s in scores if s.kind == kind] for kind in metrics["by"]})
    plots.plot_pck(
        {name: pooled(group, "errors3d") for name, group in groups.items()},
        {name: pooled(group, "errors2d") for name, group in groups.items()},
        folder / "pck.png",
        title=f"{data.name}, {len(scores)} pictures, boxes: {boxes}",
    )
    _write_aside(folder / "worst" / "worst.png", _contact_sheet([tile for _, tile in worst]))
    if not quiet:
        Console().print(table(metrics))
        if len(metrics["groups"]) > 1:
            Console().print(group_table(metrics))
    return metrics


def predict_sample(predictor: Predictor, sample: Sample, boxes: str) -> TwoHands:
    """Run the predictor on one sample; nothing of the truth reaches it but what `boxes` says."""
    camera = None
    if sample.K is not None:
        fx, fy, cx, cy = map(float, sample.K)
        camera = Camera(fx, fy, cx, cy)
    if boxes == "own":
        return predictor.predict(sample.image, camera=camera, boxes=None, given=None)
    given = sample.present & (sample.box[:, 2:].max(1) > 0)
    if not given.any():
        height, width = sample.image.shape[:2]
        return TwoHands(None, None, width, height, camera or Camera(width, width, width / 2, height / 2, True))
    return predictor.predict(sample.image, camera=camera, boxes=sample.box.astype(np.float64), given=given)


def true_vertices(sample: Sample) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Right and left (V, 3) metres, camera frame, by the hand model from true pose and shape; None where unknown."""
    if sample.hand_model is None or not (sample.present & sample.has_params).any():
        return None, None
    import torch

    from .geometry import rotvec_to_matrix
    from .hand_model import load_hand_model, pose_hand

    out: list[np.ndarray | None] = [None, None]
    for side in np.flatnonzero(sample.present & sample.has_params & sample.joints3d_valid[:, 0]):
        model = load_hand_model(sample.hand_model, SIDES[side])  # type: ignore[arg-type]
        rotations = rotvec_to_matrix(torch.from_numpy(sample.pose[side]).float())
        posed = pose_hand(model, rotations, torch.from_numpy(sample.shape[side]).float())
        out[side] = posed.vertices.numpy().astype(np.float64) + sample.joints3d[side, 0]
    return out[0], out[1]


def table(metrics: dict[str, Any]) -> Table:
    """The figures, a column for all pictures and one for each kind that occurs."""
    columns = {"all": metrics, **{kind: own for kind, own in metrics["by"].items() if own["count"]}}
    title = f"{metrics['data']}: boxes {metrics['boxes']}, given {', '.join(metrics['given']) or 'nothing'}"
    result = Table("", *columns, title=title)
    for name, path, form in _ROWS:
        if metrics["boxes"] == "truth" and name in _TOLD:
            name += " (told)"
        cells = [_look_up(column, path) for column in columns.values()]
        result.add_row(name, *("-" if cell is None else format(cell, form) for cell in cells))
    return result


def group_table(metrics: dict[str, Any]) -> Table:
    """A row for each group of pictures: those with two hands, and each folder."""
    chosen = [row for row in _ROWS if row[0] in _OF_GROUPS]
    result = Table("", *(name for name, _, _ in chosen), title=f"{metrics['data']}: boxes {metrics['boxes']}")
    for group, figures in metrics["groups"].items():
        cells = [(_look_up(figures, path), form) for _, path, form in chosen]
        result.add_row(group, *("-" if cell is None else format(cell, form) for cell, form in cells))
    return result


_OF_GROUPS = ("pictures", "presence", "handedness", "hands found", "2D PCK@0.1", "2D PCK@0.2", "PA-MPJPE mm")

_ROWS = (
    ("pictures", ("count",), "d"),
    ("presence", ("presence_accuracy",), ".3f"),
    ("handedness", ("handedness_accuracy",), ".3f"),
    ("hands found", ("hands_found",), ".3f"),
    ("2D PCK@0.1", ("pck2d", "0.1"), ".3f"),
    ("2D PCK@0.2", ("pck2d", "0.2"), ".3f"),
    *(
        (f"{label} mm, protocol {protocol}", ("protocols", protocol, key), ".2f")
        for protocol in "ABC"
        for label, key in (("MPJPE", "mpjpe"), ("MPVPE", "mpvpe"), ("MPVPE of M_r", "mpvpe_rough"))
    ),
    ("PA-MPJPE mm", ("pa_mpjpe",), ".2f"),
    ("PA-MPVPE mm", ("pa_mpvpe",), ".2f"),
    ("MRRPE mm", ("mrrpe",), ".2f"),
    ("AUC 0-50 mm, protocol B", ("auc_0_50",), ".3f"),
)


_TOLD = ("presence", "handedness", "hands found")
"""Figures that measure nothing where boxes and sides are given."""


def _look_up(figures: dict[str, Any], path: tuple[str, ...]) -> Any:
    for key in path:
        figures = figures[key]
    return figures


def badness(score: PictureScore) -> float:
    """How bad a picture is: the worst hand's mean 2D error, shares of its box; a missed joint counts as 1."""
    errors = [float(np.minimum(hand.errors2d, 1).mean()) for hand in score.hands if len(hand.errors2d)]
    return max(errors, default=0.0)


def _keep_worst(
    worst: list[tuple[float, np.ndarray]], sample: Sample, hands: TwoHands, score: PictureScore
) -> list[tuple[float, np.ndarray]]:
    """The `WORST` worst so far, worst first; a picture is drawn only if it is among them."""
    bad = badness(score)
    if len(worst) == WORST and bad <= worst[-1][0]:
        return worst
    return sorted([*worst, (bad, _tile(sample, hands, score))], key=lambda pair: -pair[0])[:WORST]


def _tile(sample: Sample, hands: TwoHands, score: PictureScore) -> np.ndarray:
    """(TILE, TILE, 3): the region of the hands, truth green, right prediction red, left blue, errors written below."""
    truths = [sample.joints2d[s][sample.joints2d_valid[s]] for s in (0, 1) if sample.joints2d_valid[s].any()]
    height, width = sample.image.shape[:2]
    points = np.concatenate(truths) if truths else np.array([[0.0, 0.0], [width - 1.0, height - 1.0]])
    centre = (points.min(0) + points.max(0)) / 2
    side = max(float(np.ptp(points, 0).max()) * 1.6, 16.0)
    scale = TILE / side
    shift = centre - side / 2
    to_tile = np.array([[scale, 0, -scale * shift[0]], [0, scale, -scale * shift[1]]])
    tile = cv2.warpAffine(sample.image, to_tile, (TILE, TILE), flags=cv2.INTER_AREA)
    for s in (0, 1):
        if sample.present[s]:
            _skeleton(tile, (sample.joints2d[s] - shift) * scale, sample.joints2d_valid[s], TRUTH_COLOUR)
    for hand in hands.hands:
        colour = COLOURS[SIDES.index(hand.side)]
        _skeleton(tile, (hand.joints2d - shift) * scale, np.ones(len(hand.joints2d), bool), colour)
    told = [f"{SIDES[h.side][0].upper()} {h.errors2d.mean():.2f}" for h in score.hands if len(h.errors2d)]
    for row, text in enumerate((Path(sample.name).name, "  ".join(told).replace("inf", "missed"))):
        place = (4, TILE - 20 + 14 * row)
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def _skeleton(tile: np.ndarray, joints: np.ndarray, valid: np.ndarray, colour: tuple[int, int, int]) -> None:
    pixels = np.clip(joints, -9999, 9999).round().astype(int)
    for a, b in BONES:
        if valid[a] and valid[b]:
            cv2.line(tile, tuple(map(int, pixels[a])), tuple(map(int, pixels[b])), colour, 1, cv2.LINE_AA)
    for joint in np.flatnonzero(valid):
        cv2.circle(tile, tuple(map(int, pixels[joint])), 2, colour, -1, cv2.LINE_AA)


def _contact_sheet(tiles: list[np.ndarray]) -> bytes:
    """A PNG of the tiles, row by row."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[i : i + COLUMNS], 1) for i in range(0, len(tiles), COLUMNS)]
    ok, coded = cv2.imencode(".png", np.concatenate(rows)[..., ::-1])
    if not ok:
        raise ValueError("the sheet of the worst pictures could not be coded as PNG")
    return coded.tobytes()


def _write_aside(path: Path, content: bytes) -> None:
    """Write beside the file, then rename, so that a broken run leaves no half file."""
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(content)
    aside.replace(path)
