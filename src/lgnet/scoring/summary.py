"""Scores of many pictures as columns, and everything that is said of them: figures, groups, intervals.

A figure is a mean: over hands (errors in millimetres, of those that were predicted), over joints of all hands with
missed ones wrong (PCK and AUC), over sides (presence) or over pictures (MRRPE, contact). Each is kept as one sum and one
count a picture, so that means of any choice of pictures, and of any resampling of them, are sums of these.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sample import KINDS
from ..hands import FINGERS, JOINT_NAMES, NUM_JOINTS, SIDES
from ..metrics import AUC_LIMIT, AUC_STARTS, F_LIMITS, PCK2D_LIMITS, PCK_PROTOCOL, PROTOCOLS, right_share
from .score import HandScore, PictureScore

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


@dataclass(frozen=True)
class Scores:
    """Columns over P pictures and H true hands; NaN: not known. Errors of missed joints are infinite."""

    pictures: dict[str, np.ndarray]  # name, kind, presence (P, 2), mrrpe, distance, pose_difference, touch columns
    hands: dict[str, np.ndarray]  # picture (H,) int, side (H,) int, errors2d (H, 21), errors3d_A (H, 21), ...

    def __len__(self) -> int:
        return len(self.pictures["name"])


def tabulate(scores: Sequence[PictureScore], film: bool = False) -> Scores:
    """The columns of scored pictures, in their order; of a `film` with "offset" (H, 21, 3), for `motion.with_acceleration`."""
    hands = [hand for picture in scores for hand in picture.hands]
    of_picture = np.repeat(np.arange(len(scores)), [len(picture.hands) for picture in scores]).astype(np.int64)
    pictures = {
        "name": np.array([p.name for p in scores], dtype=np.str_),
        "kind": np.array([p.kind for p in scores], dtype=np.str_),
        "presence": np.array([[_number(flag) for flag in p.presence] for p in scores]).reshape(-1, 2),
        **{key: _column(scores, key) for key in ("mrrpe", "distance", "pose_difference")},
    }
    for prefix, key in (("", "touch"), ("true_", "true_touch")):
        touches = [getattr(p, key) for p in scores]
        for what in ("depth", "volume", "touching"):
            pictures[prefix + what] = np.array([np.nan if t is None else float(getattr(t, what)) for t in touches])
    columns = {
        "picture": of_picture,
        "side": np.array([hand.side for hand in hands], np.int64),
        "predicted": np.array([hand.predicted for hand in hands], bool),
        **{
            key: _column(hands, key)
            for key in ("found", "right_side", "error2d_px", "absolute", "pa_mpjpe", "pa_mpvpe", "mask_iou", "visible")
        },
        "errors2d": _rows([hand.errors2d for hand in hands]),
    }
    if film:
        columns["offset"] = np.array([hand.offset for hand in hands], np.float32).reshape(-1, NUM_JOINTS, 3)
    else:
        columns["acceleration"] = np.full(len(hands), np.nan)
    for name in PROTOCOLS:
        columns[f"errors3d_{name}"] = _rows([hand.errors3d.get(name, _NONE) for hand in hands])
        for key in ("mpvpe", "mpvpe_rough"):
            columns[f"{key}_{name}"] = np.array([getattr(hand, key).get(name, np.nan) for hand in hands], np.float64)
    for index, limit in enumerate(F_LIMITS):
        columns[f"f_{limit:g}"] = np.array([_f_score(hand, index) for hand in hands], np.float64)
    return Scores(pictures, columns)


def joined(parts: Sequence[Scores]) -> Scores:
    """The pictures of several parts, one after the other."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    hands = {key: np.concatenate([part.hands[key] for part in parts]) for key in parts[0].hands}
    hands["picture"] = np.concatenate([part.hands["picture"] + start for part, start in zip(parts, starts)])
    return Scores({key: np.concatenate([part.pictures[key] for part in parts]) for key in parts[0].pictures}, hands)


_NONE = np.full(NUM_JOINTS, np.nan)


def _rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, NUM_JOINTS)


def _f_score(hand: HandScore, index: int) -> float:
    return np.nan if hand.f_scores is None else hand.f_scores[index]


def _number(value: float | bool | None) -> float:
    return np.nan if value is None else float(value)


def _column(records: Sequence[Any], key: str) -> np.ndarray:
    return np.array([_number(getattr(record, key)) for record in records], np.float64)


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
    return {**count, "hands": len(scores.hands["side"][of_hands]), "hands_scored_3d": scored, **nested(means)}


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
    """`LEVEL` intervals of every figure, by the percentiles of a bootstrap over pictures (not hands: they go together).

    None where fewer than two pictures have the figure.
    """
    total = totals(scores)
    paths = list(total)
    intervals: dict[tuple[str, ...], list[float] | None] = dict.fromkeys(paths)
    told = [path for path in paths if (total[path][1] > 0).sum() > 1]
    if told:
        columns = np.stack([half for path in told for half in total[path]], 1)
        sums = resampled(columns, resamples, seed)
        ratios = sums[:, ::2] / np.where(sums[:, 1::2] > 0, sums[:, 1::2], np.nan)
        intervals.update({path: interval(ratios[:, i]) for i, path in enumerate(told)})
    return {"level": LEVEL, "resamples": resamples, "seed": seed, "over": "pictures", "figures": nested(intervals)}


def interval(values: np.ndarray) -> list[float]:
    """The middle `LEVEL` of resampled values (R,), NaN left out."""
    low, high = np.nanpercentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return [float(low), float(high)]


def to_npz(scores: Scores) -> bytes:
    """scores.npz: every column by its name, `pictures.name`, `hands.errors2d`, ...; read without pickle."""
    columns = {f"pictures.{k}": v for k, v in scores.pictures.items()} | {
        f"hands.{k}": v for k, v in scores.hands.items()
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in columns.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            # the errors of single joints, most of the bytes, hardly get smaller, and take long over it
            member.compress_type = zipfile.ZIP_STORED if "errors" in name else zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, values, allow_pickle=False)
    return file.getvalue()


def read_scores(path: Path) -> Scores:
    """What `to_npz` wrote.

    Raises:
        ValueError: the file is missing, damaged or no scores.npz.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {key: file[key] for key in file.files}
    except FileNotFoundError as error:
        raise ValueError(f"there is no {path}; lgnet evaluate writes it, so evaluate this run anew") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged and cannot be read; evaluate this run anew") from error
    parts = [{k.split(".", 1)[1]: v for k, v in columns.items() if k.startswith(p)} for p in ("pictures.", "hands.")]
    if "name" not in parts[0] or "picture" not in parts[1]:
        raise ValueError(f"{path} holds no scores of lgnet evaluate; name the folder of an evaluation")
    for key in ("absolute", "acceleration"):  # not in files of earlier versions
        parts[1].setdefault(key, np.full(len(parts[1]["picture"]), np.nan))
    return Scores(parts[0], parts[1])
