"""Everything that is said of many pictures' scores: figures, groups, intervals.

A figure is a mean: over hands (errors in millimetres, of those that were predicted), over joints of all hands with
missed ones wrong (PCK and AUC), over sides (presence) or over pictures (MRRPE, contact). Each is kept as one sum and one
count a picture, so that means of any choice of pictures, and of any resampling of them, are sums of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.sample import KINDS
from ..hands import FINGERS, JOINT_NAMES, SIDES
from ..metrics import AUC_LIMIT, AUC_STARTS, F_LIMITS, PCK2D_LIMITS, PCK_PROTOCOL, PROTOCOLS, right_share
from .columns import Scores

Figures = Mapping[tuple[str, ...], tuple[np.ndarray, np.ndarray]]
"""Path of a figure in metrics.json -> sums (P,) and counts (P,) of each picture."""

RESAMPLES, LEVEL = 1000, 0.95

POSE_BINS = (14.1, 16.2, 33.5, 39.1, 43.1, 102.3)
"""Degrees: upper ends of the paper's six bins of pose difference. **choice**: its plot's labels are taken as upper ends,
and as degrees (it says neither); what lies above the last belongs to it."""
DISTANCE_BINS = (20.0, 35.0, 60.0, 100.0, np.inf)
"""Millimetres between the nearest joints of two hands: upper ends. Joints lie within the flesh: fingers that touch have
theirs some 15 mm apart."""
VISIBLE_BINS = (0.5, 0.75, 0.9, 1.0)
"""Share of the hand's pixels that is seen: upper ends."""


def row_figures(scores: Scores) -> Figures:
    """Every figure's sum and count in each hand (H,), or, of those in `OF_PICTURES`, in each picture (P,)."""
    hands, pictures = scores.hands, scores.pictures
    out: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {
        ("presence_accuracy",): row_totals(pictures["presence"]),
        ("handedness_accuracy",): row_totals(hands["right_side"]),
    }
    for name in PROTOCOLS:
        out["protocols", name, "mpjpe"] = row_totals(hand_means(hands[f"errors3d_{name}"]))
        for key in ("mpvpe", "mpvpe_rough"):
            out["protocols", name, key] = row_totals(hands[f"{key}_{name}"])
    out["absolute_mpjpe",] = row_totals(hands["absolute"])
    out["pa_mpjpe",], out["pa_mpvpe",] = row_totals(hands["pa_mpjpe"]), row_totals(hands["pa_mpvpe"])
    for limit in F_LIMITS:
        out[f"f_{limit:g}",] = row_totals(hands[f"f_{limit:g}"])
    out["mrrpe",] = row_totals(pictures["mrrpe"])
    deep, flat = hands[f"errors3d_{PCK_PROTOCOL}"], hands["errors2d"]
    for start in AUC_STARTS:
        out[f"auc_{start:g}_{AUC_LIMIT:g}",] = row_totals(right_share(deep, AUC_LIMIT, start))
    for limit in PCK2D_LIMITS:
        out["pck2d", str(limit)] = row_totals(np.where(np.isnan(flat), np.nan, flat <= limit))
    out["hands_found",] = row_totals(hands["found"])
    out["error2d_px",] = row_totals(hands["error2d_px"])
    out["mask_iou",] = row_totals(hands["mask_iou"])
    out["acceleration_error",] = row_totals(hands["acceleration"])
    out["penetration", "depth"] = row_totals(pictures["depth"])
    out["penetration", "volume"] = row_totals(pictures["volume"])
    out["penetration", "contact"] = row_totals(pictures["touching"])
    out["penetration", "true_contact"] = row_totals(pictures["true_touching"])
    agree = np.where(
        np.isnan(pictures["touching"] + pictures["true_touching"]),
        np.nan,
        pictures["touching"] == pictures["true_touching"],
    )
    out["penetration", "contact_accuracy"] = row_totals(agree)
    return out


def totals(scores: Scores, chosen: np.ndarray | None = None) -> Figures:
    """Every figure's sum and count in each picture.

    Args:
        scores: the columns.
        chosen: (H,) bool: only these hands; None: all. Figures of sides and pictures do not depend on it.
    """
    rows = slice(None) if chosen is None else chosen
    of_picture, count = scores.hands["picture"][rows], len(scores)
    return {
        path: both
        if path[0] in OF_PICTURES
        else (np.bincount(of_picture, both[0][rows], count), np.bincount(of_picture, both[1][rows], count))
        for path, both in row_figures(scores).items()
    }


def row_totals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count (N,) of what is not NaN in each row of values (N,) or (N, K)."""
    values = values if values.ndim == 2 else values[:, None]
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(1), known.sum(1).astype(np.float64)


def hand_means(errors: np.ndarray) -> np.ndarray:
    """(H,) mean over each hand's joints with truth (H, 21); NaN for hands without, and for those that were missed."""
    finite = np.isfinite(errors)
    return np.where(finite, errors, 0).sum(1) / np.where(finite.any(1), finite.sum(1), np.nan)


OF_PICTURES = ("presence_accuracy", "mrrpe", "penetration")
"""Figures of pictures or sides: not said of a choice of hands."""


def figures(
    scores: Scores, pictures: np.ndarray | None = None, hands: np.ndarray | None = None, rows: Figures | None = None
) -> dict[str, Any]:
    """The figures, nested as in metrics.json, of all or a choice; None where there is no truth.

    Args:
        scores: the columns.
        pictures: (P,) bool: only these and their hands.
        hands: (H,) bool: only these; what is said of pictures is then left out.
        rows: `row_figures` of the scores, where many choices are made; None: found anew.
    """
    rows = row_figures(scores) if rows is None else rows
    of_hands: np.ndarray | slice = slice(None) if hands is None else hands
    if pictures is not None:
        of_hands = pictures[scores.hands["picture"]] & (True if hands is None else hands)
    of_pictures = slice(None) if pictures is None else pictures
    means = {}
    for path, (sums, counts) in rows.items():
        if path[0] not in OF_PICTURES:
            means[path] = _ratio(sums[of_hands].sum(), counts[of_hands].sum())
        elif hands is None:
            means[path] = _ratio(sums[of_pictures].sum(), counts[of_pictures].sum())
    scored = int(rows["protocols", "C", "mpjpe"][1][of_hands].sum())
    count = {} if hands is not None else {"count": int(len(scores) if pictures is None else pictures.sum())}
    scaled = scores.hands["of_mesh"][of_hands], ~np.isnan(scores.hands[f"errors3d_{PCK_PROTOCOL}"][of_hands]).all(1)
    counts_of = {
        "hands": len(scaled[0]),
        "hands_scored_3d": scored,
        "hands_of_mesh": int((scaled[0] & scaled[1]).sum()),
        "hands_of_joints": int((~scaled[0] & scaled[1]).sum()),
    }
    return {**count, **counts_of, **nested(means)}


def _ratio(total: float, count: float) -> float | None:
    return float(total / count) if count else None


def nested(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """{("a", "b"): v} as {"a": {"b": v}}."""
    out: dict[str, Any] = {}
    for path, value in values.items():
        at = out
        for key in path[:-1]:
            at = at.setdefault(key, {})
        at[path[-1]] = value
    return out


def summarise(scores: Scores) -> dict[str, Any]:
    """The figures of metrics.json: of all, `by` kind of picture, for `groups`, and by what the hands are like.

    Groups are the pictures with two true hands, and those of each folder where the data set has several.
    """
    kinds = [kind for kind in KINDS if kind != "none"]
    names, kind = scores.pictures["name"], scores.pictures["kind"]
    groups = {"two hands": np.bincount(scores.hands["picture"], minlength=len(scores)) == 2}
    first = np.array([name.partition("/")[0] if "/" in name else "" for name in names], dtype=np.str_)
    if len(set(first)) > 1:
        groups |= {str(folder): first == folder for folder in sorted(set(first) - {""})}
    rows = row_figures(scores)
    return {
        **figures(scores, rows=rows),
        "by": {k: figures(scores, kind == k, rows=rows) for k in kinds},
        "groups": {str(name): figures(scores, chosen, rows=rows) for name, chosen in groups.items() if chosen.any()},
        **{f"by_{name}": own for name, own in breakdown(scores, rows).items()},
    }


def breakdown(scores: Scores, rows: Figures | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures by hand, finger and joint, by closeness and pose difference of two hands, by how much of a hand is seen.

    Empty where nothing is known to go by; "joint" and "finger" have `joint_figures`, the others `figures`. `rows` as there.
    """
    rows = row_figures(scores) if rows is None else rows
    hands, pictures = scores.hands, scores.pictures
    of = hands["picture"]
    fingers = {"wrist": [0], **{finger: list(range(4 * i + 1, 4 * i + 5)) for i, finger in enumerate(FINGERS)}}
    choices = {
        "hand": {side: hands["side"] == index for index, side in enumerate(SIDES)},
        "closeness": _bins(pictures["distance"][of], DISTANCE_BINS, "mm"),
        "pose_difference": _bins(np.minimum(pictures["pose_difference"][of], POSE_BINS[-1]), POSE_BINS, "degrees"),
        "visible": _bins(hands["visible"], VISIBLE_BINS, "seen"),
    }
    out = {
        name: {label: figures(scores, hands=chosen, rows=rows) for label, chosen in parts.items()}
        if any(chosen.any() for chosen in parts.values())
        else {}
        for name, parts in choices.items()
    }
    out["joint"] = {name: joint_figures(scores, [j]) for j, name in enumerate(JOINT_NAMES)}
    out["finger"] = {finger: joint_figures(scores, joints) for finger, joints in fingers.items()}
    return out


def joint_figures(scores: Scores, joints: list[int]) -> dict[str, Any]:
    """Of some joints of all hands: mean error by protocol (predicted hands), 2D PCK and AUC (missed ones wrong)."""

    def mean(values: np.ndarray) -> float | None:
        return _ratio(np.nansum(values), (~np.isnan(values)).sum())

    deep, flat = scores.hands[f"errors3d_{PCK_PROTOCOL}"][:, joints], scores.hands["errors2d"][:, joints]
    by_protocol = {}
    for name in PROTOCOLS:
        errors = scores.hands[f"errors3d_{name}"][:, joints]
        by_protocol[name] = {"mpjpe": mean(np.where(np.isfinite(errors), errors, np.nan))}
    return {
        "protocols": by_protocol,
        f"auc_0_{AUC_LIMIT:g}": mean(right_share(deep)),
        "pck2d": {str(limit): mean(np.where(np.isnan(flat), np.nan, flat <= limit)) for limit in PCK2D_LIMITS},
    }


def _bins(values: np.ndarray, ends: tuple[float, ...], unit: str) -> dict[str, np.ndarray]:
    """ "0-10 mm" -> which of the values (H,) lie above the lower and not above the upper end; the first takes 0 too."""
    out, low = {}, 0.0
    for high in ends:
        label = f"{low:g}-{high:g} {unit}" if np.isfinite(high) else f"over {low:g} {unit}"
        out[label] = (values <= high) & ((values > low) | (low == 0.0))
        low = high
    return out


def resampled(columns: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(R, C): sums of the columns (P, C) over `resamples` draws of P rows with replacement (Efron's bootstrap)."""
    count = len(columns)
    rng = np.random.default_rng(seed)
    step = max(1, min(resamples, 5_000_000 // max(count, 1)))
    out = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        out.append(np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count) @ columns)
    return np.concatenate(out)


def confidence_intervals(scores: Scores, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """`LEVEL` intervals of every figure, by the percentiles of a bootstrap over recordings: neither a picture's hands nor a
    film's pictures are independent of each other. Where each picture is by itself, it is one over pictures.

    None where fewer than two recordings have the figure.
    """
    total = totals(scores)
    paths = list(total)
    intervals: dict[tuple[str, ...], list[float] | None] = dict.fromkeys(paths)
    columns = by_recording(scores, np.stack([half for path in paths for half in total[path]], 1))
    told = [i for i in range(len(paths)) if (columns[:, 2 * i + 1] > 0).sum() > 1]
    if told:
        sums = resampled(columns, resamples, seed)
        ratios = sums[:, ::2] / np.where(sums[:, 1::2] > 0, sums[:, 1::2], np.nan)
        intervals.update({paths[i]: interval(ratios[:, i]) for i in told})
    over = "pictures" if len(columns) == len(scores) else "recordings"
    how = {"level": LEVEL, "resamples": resamples, "seed": seed, "over": over, "count": len(columns)}
    return {**how, "figures": nested(intervals)}


def by_recording(scores: Scores, columns: np.ndarray) -> np.ndarray:
    """(R, C): columns (P, C) of pictures summed over each recording's."""
    names, first, of = np.unique(scores.pictures["recording"], return_index=True, return_inverse=True)
    of = np.argsort(np.argsort(first))[of]  # in the pictures' order
    return np.stack([np.bincount(of, column, len(names)) for column in columns.T], 1)


def interval(values: np.ndarray) -> list[float]:
    """The middle `LEVEL` of resampled values (R,), NaN left out."""
    low, high = np.nanpercentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return [float(low), float(high)]
