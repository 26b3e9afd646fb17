"""The bank of two-hand poses: solved beforehand (scripts/bake_interactions.py), read and drawn from here."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from ..aside import written
from .pairs import PAIRS

BANK = "weights/interactions.npz"
_ANGLE, _LENGTH, _BETA = 1e-4, 2e-5, 0.02  # units of what is stored as 16-bit (betas: 8-bit) integers


@dataclass(frozen=True)
class Bank:
    """N pairs, the right hand upright at the origin in its canonical frame."""

    name: np.ndarray  # (N,) index into PAIRS
    angles: np.ndarray  # (N, 2, 15, 3) radians: right, left
    turn: np.ndarray  # (N, 3, 3) of the left hand, as a left hand
    shift: np.ndarray  # (N, 3) metres, of the left wrist
    betas: np.ndarray  # (N, 10) of both hands


def pack(pairs: Sequence[tuple[str, Tensor, Tensor, Tensor, Tensor]], path: str | Path) -> None:
    """Write (name, angles, turn, shift, betas) of pairs as a compact file, written aside, then renamed."""
    names = list(PAIRS)
    turns = [cv2.Rodrigues(turn.double().numpy())[0][:, 0] for _, _, turn, _, _ in pairs]
    arrays = {
        "name": np.array([names.index(pair[0]) for pair in pairs], np.uint8),
        "angles": _stored([pair[1] for pair in pairs], _ANGLE, np.int16),
        "turn": _stored(turns, _ANGLE, np.int16),
        "shift": _stored([pair[3] for pair in pairs], _LENGTH, np.int16),
        "betas": _stored([pair[4] for pair in pairs], _BETA, np.int8),
    }
    with written(Path(path)) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _stored(values: Sequence, unit: float, kind: type) -> np.ndarray:
    scaled = np.round(np.stack([np.asarray(v, np.float64) for v in values]) / unit)
    if np.abs(scaled).max() > np.iinfo(kind).max:
        raise ValueError(f"a value of {np.abs(scaled).max() * unit:.3g} does not fit the bank's {kind.__name__}")
    return scaled.astype(kind)


@functools.lru_cache(maxsize=1)
def load_bank() -> Bank:
    """The package's bank."""
    with resources.files("lgnet").joinpath(BANK).open("rb") as file:
        data = dict(np.load(file, allow_pickle=False))
    return Bank(
        data["name"].astype(np.int64),
        data["angles"] * _ANGLE,
        np.stack([cv2.Rodrigues(turn * _ANGLE)[0] for turn in data["turn"]]),
        data["shift"] * _LENGTH,
        data["betas"] * _BETA,
    )
