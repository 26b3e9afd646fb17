"""Two evaluations of the same pictures against each other, picture by picture.

A hand's error in millimetres counts only if both runs predicted the hand, so that no run gains by leaving out hard ones;
misses are compared by presence, hands found, PCK and AUC. The difference's interval is a bootstrap over recordings (over
pictures, where each is by itself), the same drawn for both runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Column, Table

from ..aside import write_aside
from .columns import SCORING, Scores, read_scores
from .summary import LEVEL, RESAMPLES, by_recording, interval, resampled, totals

LARGER_IS_BETTER = {
    "presence_accuracy", "handedness_accuracy", "hands_found", "auc_0_50", "auc_20_50", "pck2d", "f_5", "f_15", "mask_iou",
    "contact_accuracy",
}  # fmt: skip
OF_RUN = ("weights", "boxes", "root_depth", "tta")
"""What the comparison tells of each run, besides how many "hands_of_mesh" it has."""
_OF_MESHES = ("protocols.A.", "protocols.B.", "auc_")
"""Figures, by how their names begin, that are told by the true meshes where these are known, else by the joints."""
NEITHER_IS_BETTER = {"contact", "true_contact"}
_OF_PREDICTED = (
    "right_side",
    "absolute",
    "acceleration",
    "error2d_px",
    "pa_mpjpe",
    "pa_mpvpe",
    "mask_iou",
    "f_",
    "mpvpe",
)
"""Columns of hands, by how their names begin, that hold a number only for hands that were predicted or found."""
_OF_TRUTH = ("distance", "pose_difference")
"""What scores keep of a picture's two true hands."""


RUNS = ("first", "second")


def compare_runs(first: str | Path, second: str | Path) -> dict[str, Any]:
    """The paired comparison of two folders that `lgnet evaluate` wrote.

    Returns:
        "first", "second": what each was; "pictures": how many both have; "only_first", "only_second"; "figures": for
        each figure, by its path joined with dots, the two values, "difference" (second minus first), its "interval",
        how many "pictures" and "recordings" have it, and "better": "first", "second" or None where the interval has 0 in it.

    Raises:
        ValueError: a run cannot be read, they are of different data, or have no picture in common.
    """
    folders = Path(first), Path(second)
    metrics = [_read_metrics(folder) for folder in folders]
    scores = [read_scores(folder / "scores.npz") for folder in folders]
    if metrics[0]["data"] != metrics[1]["data"]:
        raise ValueError(
            f"{folders[0]} is of {metrics[0]['data']} and {folders[1]} of {metrics[1]['data']}; only evaluations of the "
            "same data can be compared"
        )
    rows = [_rows_by_name(own, folder) for own, folder in zip(scores, folders)]
    names = [name for name in rows[0] if name in rows[1]]
    if not names:
        raise ValueError(f"{folders[0]} and {folders[1]} have no picture in common")
    paired = _pair(*(_take(own, [of[name] for name in names]) for own, of in zip(scores, rows)))
    of_mesh = [own.hands["of_mesh"] for own in paired]
    alike = np.array_equal(of_mesh[0], of_mesh[1])
    return {
        "data": metrics[0]["data"],
        **{
            which: {"folder": str(folder), **{key: own[key] for key in OF_RUN}, "hands_of_mesh": int(meshes.sum())}
            for which, folder, own, meshes in zip(RUNS, folders, metrics, of_mesh)
        },
        "pictures": len(names),
        "only_first": len(rows[0]) - len(names),
        "only_second": len(rows[1]) - len(names),
        "level": LEVEL,
        "figures": {k: v for k, v in _differences(*paired).items() if alike or not k.startswith(_OF_MESHES)},
    }


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("scoring") == SCORING:
            told = {key: content[key] for key in ("data", "weights", "boxes", "tta")}
            return told | {"root_depth": content["root_depth"]["source"]}
    except FileNotFoundError as error:
        raise ValueError(f"there is no {path}; name a folder that lgnet evaluate wrote") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged; evaluate this run anew") from error
    raise ValueError(f"{folder} was scored by the rules of another version of lgnet; evaluate this run anew")


def _rows_by_name(scores: Scores, folder: Path) -> dict[str, int]:
    rows = {str(name): row for row, name in enumerate(scores.pictures["name"])}
    if len(rows) < len(scores):
        raise ValueError(f"{folder} has two pictures of one name, so that pictures cannot be paired")
    return rows


def _take(scores: Scores, rows: list[int]) -> Scores:
    """These pictures, in this order, and their hands, in the pictures' order, right first."""
    place = np.full(len(scores), -1)
    place[rows] = np.arange(len(rows))
    of = place[scores.hands["picture"]]
    hands = np.flatnonzero(of >= 0)
    hands = hands[np.lexsort((scores.hands["side"][hands], of[hands]))]
    columns = {key: values[hands] for key, values in scores.hands.items()}
    return Scores({key: values[rows] for key, values in scores.pictures.items()}, columns | {"picture": of[hands]})


def _pair(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """Both with every number that one of them lacks struck out of the other."""
    same = all(np.array_equal(first.hands[key], second.hands[key]) for key in ("picture", "side"))
    if not same:
        raise ValueError("the two runs do not have the same true hands: the data changed between them")
    for key in _OF_TRUTH:
        own, other = first.pictures[key], second.pictures[key]
        if not np.allclose(own, other, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(
                "pictures of one name have other true hands in the two runs: these are not of the same data"
            )
    if not np.array_equal(first.pictures["recording"], second.pictures["recording"]):
        raise ValueError("pictures of one name are of other recordings in the two runs: these are not of the same data")
    out = []
    both = first.hands["predicted"] & second.hands["predicted"]
    for own, other in ((first, second), (second, first)):
        hands, pictures = dict(own.hands), dict(own.pictures)
        for key, values in hands.items():
            if key.startswith(_OF_PREDICTED):
                hands[key] = np.where(np.isnan(other.hands[key]), np.nan, values)
        for key in ("mrrpe", "depth", "volume", "touching"):
            pictures[key] = np.where(np.isnan(other.pictures[key]), np.nan, pictures[key])
        hands["both"] = both
        out.append(Scores(pictures, hands))
    return out[0], out[1]


def _differences(first: Scores, second: Scores) -> dict[str, Any]:
    """Joint errors are inf where missed, which PCK and AUC need, so MPJPE takes the hands of both from `both`."""
    both = first.hands["both"]
    sums = []
    for own in (first, second):
        every, shared = totals(own), totals(own, both)
        sums.append({path: shared[path] if path[-1] == "mpjpe" else every[path] for path in every})
    out = {}
    paths = [path for path in sums[0] if sums[0][path][1].sum() and sums[1][path][1].sum()]
    if not paths:
        return out
    columns = np.stack([half for path in paths for own in sums for half in own[path]], 1)
    together = by_recording(first, columns)
    drawn = resampled(together)
    for i, path in enumerate(paths):
        of, drawn_of = columns[:, 4 * i : 4 * i + 4], drawn[:, 4 * i : 4 * i + 4]
        total = of.sum(0)
        values = total[0] / total[1], total[2] / total[3]
        pictures, recordings = (int((rows[:, 4 * i + 1] > 0).sum()) for rows in (columns, together))
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = interval(drawn_of[:, 2] / drawn_of[:, 3] - drawn_of[:, 0] / drawn_of[:, 1])
        out[".".join(path)] = {
            "first": float(values[0]),
            "second": float(values[1]),
            "difference": float(values[1] - values[0]),
            "interval": [low, high],
            "pictures": pictures,
            "recordings": recordings,
            "better": _better(path, low, high) if recordings >= FEWEST else None,
        }
    return out


FEWEST = 10
"""Recordings that have a figure, from which on a bootstrap over them tells who is better."""


def _better(path: tuple[str, ...], low: float, high: float) -> str | None:
    if low <= 0 <= high or path[-1] in NEITHER_IS_BETTER:
        return None
    larger = bool(LARGER_IS_BETTER & set(path))
    return "second" if (low > 0) == larger else "first"


MAIN = ("protocols.A.mpjpe", "protocols.B.mpjpe", "protocols.C.mpjpe", "pa_mpjpe", "mrrpe", "auc_0_50", "hands_found")


def sentences(result: dict[str, Any]) -> list[str]:
    """What the comparison says of the main figures, in words, and what it leaves out."""
    lines = []
    if result["first"]["boxes"] != result["second"]["boxes"]:
        lines.append(f"Mind: the first had boxes {result['first']['boxes']}, the second {result['second']['boxes']}.")
    if result["first"]["root_depth"] != result["second"]["root_depth"]:
        lines.append(
            "Mind: the wrists' distances are not from the same source, so MRRPE and absolute_mpjpe say nothing here."
        )
    first, second = (result[which]["tta"] for which in RUNS)
    if None not in (first, second) and first != second:  # of predictions that came as files it is not known
        lines.append(f"Mind: the first takes the mean of {first} crops of each hand, the second of {second}.")
    meshes = [result[which]["hands_of_mesh"] for which in RUNS]
    if not any(name.startswith(_OF_MESHES) for name in result["figures"]) and any(meshes):
        lines.append(
            f"Mind: protocols A and B and AUC are of the true meshes of {meshes[0]} hands in the first and of {meshes[1]} in the "
            "second, else of annotated joints (MANO_DIR, or the files of MANO labels, were not the same): they are left out."
        )
    for which in RUNS:
        if result[f"only_{which}"]:
            lines.append(f"{result[f'only_{which}']} pictures are in the {which} run only and left out.")
    lines += [sentence(name, result["figures"][name]) for name in MAIN if name in result["figures"]]
    return lines


def sentence(name: str, figure: dict[str, Any]) -> str:
    """What the comparison says of one figure, in words."""
    low, high = figure["interval"]
    told = f"{name}: second minus first is {figure['difference']:+.3g} ({100 * LEVEL:g} % interval {low:+.3g} to {high:+.3g})"
    if figure["recordings"] < FEWEST:
        what = "pictures" if figure["recordings"] == figure["pictures"] else "recordings"
        return f"{told}; {figure['recordings']} {what} are too few to tell."
    if figure["better"] is None:
        return f"{told}; no difference can be told." if low <= 0 <= high else f"{told}."
    return f"{told}; the {figure['better']} run is better."


def compare_table(result: dict[str, Any]) -> Table:
    """Every figure of both runs, the difference with its interval, and who is better."""
    title = f"{result['data']}, {result['pictures']} pictures, {RESAMPLES} resamples"
    whole = Column(no_wrap=True, min_width=max(map(len, result["figures"]), default=0))  # cut off, two would look alike
    out = Table(whole, "first", "second", "difference", f"{100 * LEVEL:g} % interval", "better", title=title)
    for name, own in result["figures"].items():
        low, high = own["interval"]
        cells = [
            f"{own['first']:.3f}",
            f"{own['second']:.3f}",
            f"{own['difference']:+.3f}",
            f"{low:+.3f} to {high:+.3f}",
        ]
        out.add_row(name, *cells, own["better"] or "-")
    return out


def write(result: dict[str, Any], path: str | Path) -> None:
    """The comparison as JSON; the folder is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
