"""Figures: PCK curves, errors by joint and by pose difference, learning curves.

matplotlib comes with the extra `train` and is imported only here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .aside import written
from .metrics import AUC_LIMIT, PCK_PROTOCOL, PROTOCOLS, area_under_pck, pck

LGNET_PCK = ((5, 10, 15, 20, 25, 30), (0.38, 0.67, 0.83, 0.92, 0.94, 0.97))
"""Millimetres and share of joints, read off the paper's plot: InterHand2.6M, protocol B."""


def require_matplotlib() -> Any:
    """matplotlib.pyplot, drawing into files only.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ValueError("plots need matplotlib; install it by pip install 'lgnet[train]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    return pyplot


def plot_pck(
    errors3d: Mapping[str, np.ndarray],
    errors2d: Mapping[str, np.ndarray],
    out: str | Path,
    title: str = "",
    paper: bool = False,
) -> Path:
    """Two panels: 3D PCK over 0 to 50 mm and 2D PCK over 0 to half a box; a panel without errors says so.

    Args:
        errors3d: label -> (N,) mm, protocol B, infinite where missed.
        errors2d: label -> (N,) shares of the hand's box, infinite where missed.
        out: the PNG to write.
        title: over both panels.
        paper: also draw LGNet's published points (another data set: only where that comparison is explained).
    """
    pyplot = require_matplotlib()
    figure, (deep, flat) = pyplot.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    _curves(deep, errors3d, np.linspace(0, AUC_LIMIT, 201), f"error, mm (protocol {PCK_PROTOCOL})", AUC_LIMIT)
    _curves(flat, errors2d, np.linspace(0, 0.5, 201), "2D error / larger side of the hand's box", 0.5)
    if paper:
        deep.plot(*LGNET_PCK, "k.", label="LGNet, InterHand2.6M, as published")
        deep.legend(loc="lower right", fontsize="small")
    deep.set_title("3D joints, missed hands wrong")
    flat.set_title("2D joints, missed hands wrong")
    if title:
        figure.suptitle(title)
    return _save(pyplot, figure, Path(out))


def _curves(axes: Any, errors: Mapping[str, np.ndarray], thresholds: np.ndarray, label: str, limit: float) -> None:
    axes.set_xlabel(label)
    axes.set_ylabel("PCK")
    axes.set_xlim(0, thresholds[-1])
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    known = {name: values for name, values in errors.items() if len(values)}
    for name, values in known.items():
        axes.plot(thresholds, pck(values, thresholds), label=f"{name}: area {area_under_pck(values, limit):.3f}")
    if known:
        axes.legend(loc="lower right", fontsize="small")
    else:
        axes.text(0.5, 0.5, "no truth", ha="center", va="center", transform=axes.transAxes)


def plot_joints(by_joint: Mapping[str, Any], out: str | Path, title: str = "") -> Path:
    """Bars of the mean error of each joint, one a protocol.

    Args:
        by_joint: "by_joint" of metrics.json.
        out: the PNG to write.
        title: over it.
    """
    pyplot = require_matplotlib()
    figure, axes = pyplot.subplots(figsize=(10, 4), constrained_layout=True)
    names = list(by_joint)
    drawn = False
    for number, protocol in enumerate(PROTOCOLS):
        errors = [by_joint[name]["protocols"][protocol]["mpjpe"] for name in names]
        if any(error is not None for error in errors):
            heights = [np.nan if error is None else error for error in errors]
            axes.bar(np.arange(len(names)) + 0.27 * (number - 1), heights, 0.27, label=f"protocol {protocol}")
            drawn = True
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=60, ha="right")
    return _finish(pyplot, figure, axes, drawn, out, title)


def plot_asymmetry(bins: Mapping[str, Any], out: str | Path, title: str = "") -> Path:
    """MPJPE over the pose difference of the two hands, a line a protocol, as in LGNet's figure of robustness.

    Args:
        bins: "by_pose_difference" of metrics.json.
        out: the PNG to write.
        title: over it.
    """
    pyplot = require_matplotlib()
    figure, axes = pyplot.subplots(figsize=(6, 4), constrained_layout=True)
    drawn = False
    for protocol in PROTOCOLS:
        points = [(k, own["protocols"][protocol]["mpjpe"]) for k, own in enumerate(bins.values())]
        points = [point for point in points if point[1] is not None]
        if points:
            axes.plot(*zip(*points), marker="o", label=f"protocol {protocol}")
            drawn = True
    labels = [f"{name.removesuffix(' degrees')}\n{own['hands']} hands" for name, own in bins.items()]
    axes.set_xticks(range(len(labels)), labels, fontsize="small")
    axes.set_xlabel("pose difference of the two hands, degrees")
    axes.set_ylim(bottom=0)
    return _finish(pyplot, figure, axes, drawn, out, title)


def plot_reliability(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], out: str | Path, title: str = ""
) -> Path:
    """Two panels: actual over expected error in bins, and the error of the surest over the share that is kept.

    Args:
        curves: label -> mean expected and mean actual error of each bin, and the mean error of the k surest by expected and
            by true error, k = 1 to n; all mm.
        out: the PNG to write.
        title: over both panels.
    """
    pyplot = require_matplotlib()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    highest = max(float(max(low.max(), high.max())) for low, high, _, _ in curves.values()) * 1.05
    left.plot([0, highest], [0, highest], color="0.6", linestyle=":", label="as expected")
    for name, (low, high, kept, best) in curves.items():
        (line,) = left.plot(low, high, marker="o", label=f"{name}s")
        right.plot(
            np.arange(1, len(kept) + 1) / len(kept), kept, color=line.get_color(), label=f"{name}s, surest first"
        )
        right.plot(
            np.arange(1, len(best) + 1) / len(best), best, color=line.get_color(), linestyle=":", label="by true error"
        )
    left.set_xlabel("expected error, mm")
    left.set_ylabel("actual error, mm")
    right.set_xlabel("share that is kept")
    right.set_ylabel("mean error of what is kept, mm")
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    if title:
        figure.suptitle(title)
    return _save(pyplot, figure, Path(out))


def _finish(pyplot: Any, figure: Any, axes: Any, drawn: bool, out: str | Path, title: str) -> Path:
    axes.set_ylabel("MPJPE, mm")
    axes.grid(alpha=0.3, axis="y")
    if drawn:
        axes.legend(fontsize="small")
    else:
        axes.text(0.5, 0.5, "no truth", ha="center", va="center", transform=axes.transAxes)
    if title:
        axes.set_title(title)
    return _save(pyplot, figure, Path(out))


def plot_learning_curves(
    runs: Mapping[str, str | Path],
    out: str | Path,
    name: str,
    x: str = "samples",
    ylabel: str = "mm",
) -> Path:
    """A figure over samples seen (or seconds), one line a run.

    Args:
        runs: label -> `metrics.jsonl` of a training run.
        out: the PNG to write.
        name: the figure to draw, such as "bench/mpjpe"; rows that lack it are passed over.
        x: the column along x: "samples" or "seconds".
        ylabel: what it is, and its unit.

    Raises:
        ValueError: a file is missing or has no row with a wanted column.
    """
    pyplot = require_matplotlib()
    figure, axes = pyplot.subplots(figsize=(6, 4), constrained_layout=True)
    for label, path in runs.items():
        rows = read_curve(path)
        points = [(float(r[x]), float(r[name])) for r in rows if _number(r.get(x)) and _number(r.get(name))]
        if not points:
            raise ValueError(f"{path} has no row with both {x} and {name}")
        axes.plot(*zip(*points), marker=".", label=label)
    axes.set_xlabel(x)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    return _save(pyplot, figure, Path(out))


def read_curve(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a file with one JSON object a line.

    Raises:
        ValueError: the file is missing or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no learning curve {path}")
    text = path.read_text(encoding="utf-8")
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as one JSON object a line: {error}") from error


def _number(value: Any) -> bool:
    try:
        return value is not None and bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False


def _save(pyplot: Any, figure: Any, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    with written(out) as part:
        figure.savefig(part, dpi=120, format="png")
    pyplot.close(figure)
    return out
