"""Scores of many pictures as columns: a row a picture, a row a true hand; and as the file scores.npz."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..hands import NUM_JOINTS
from ..metrics import F_LIMITS, PROTOCOLS
from .score import HandScore, PictureScore

SCORING = 2
"""Raised where figures come to mean something else: what was scored by other rules is neither gone on with nor compared."""


@dataclass(frozen=True)
class Scores:
    """Columns over P pictures and H true hands; NaN: not known. Errors of missed joints are infinite."""

    pictures: dict[str, np.ndarray]  # name, recording, kind, presence (P, 2), mrrpe, distance, pose_difference, touch
    hands: dict[str, np.ndarray]  # picture (H,) int, side (H,) int, errors2d (H, 21), errors3d_A (H, 21), ...

    def __len__(self) -> int:
        return len(self.pictures["name"])

    def columns(self) -> dict[str, np.ndarray]:
        """All by one name each, as files have them: `pictures.name`, `hands.errors2d`, ..."""
        parts = (("pictures", self.pictures), ("hands", self.hands))
        return {f"{part}.{key}": values for part, own in parts for key, values in own.items()}

    @staticmethod
    def of(columns: Mapping[str, np.ndarray]) -> Scores:
        """What `columns` made a dictionary of; other names are passed over."""
        pictures, hands = (
            {name.removeprefix(start): values for name, values in columns.items() if name.startswith(start)}
            for start in ("pictures.", "hands.")
        )
        return Scores(pictures, hands)


def tabulate(scores: Sequence[PictureScore], film: bool = False) -> Scores:
    """The columns of scored pictures, in their order; of a `film` with "offset" (H, 21, 3), for `motion.with_acceleration`."""
    hands = [hand for picture in scores for hand in picture.hands]
    of_picture = np.repeat(np.arange(len(scores)), [len(picture.hands) for picture in scores]).astype(np.int64)
    pictures = {
        "name": np.array([p.name for p in scores], dtype=np.str_),
        "recording": np.array([p.name if p.recording is None else p.recording for p in scores], dtype=np.str_),
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
        "of_mesh": np.array([hand.of_mesh for hand in hands], bool),
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


def to_npz(scores: Scores) -> bytes:
    """scores.npz: every column by its name, `pictures.name`, `hands.errors2d`, ...; read without pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in scores.columns().items():
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
            scores = Scores.of({key: file[key] for key in file.files})
    except FileNotFoundError as error:
        raise ValueError(f"there is no {path}; lgnet evaluate writes it, so evaluate this run anew") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged and cannot be read; evaluate this run anew") from error
    if "name" not in scores.pictures or "picture" not in scores.hands:
        raise ValueError(f"{path} holds no scores of lgnet evaluate; name the folder of an evaluation")
    return scores
