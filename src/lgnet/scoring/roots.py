"""How far away the wrists are taken to be when positions in the camera's frame are scored: three sources to choose from.

InterHand2.6M's read-me offers two beside the prediction's own: what its RootNet predicted, as a file, and the truth. Either way
the wrist lies on the ray through its predicted pixel; the hand about it stays as predicted. Of the relative position,
as InterNet's code has it, only the right wrist's depth comes from the source: the left one's is that plus the
predicted difference.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ..data.sample import Sample
from ..hands import LEFT, RIGHT, WRIST, TwoHands

Depths = Callable[[Sample], np.ndarray]
"""(2,) metres along the optical axis of the right and the left wrist, NaN where not known, of a sample."""
ROOT_DEPTHS = "predicted, rootnet:FILE or truth"


def root_depths(source: str) -> Depths | None:
    """What `--root-depth` names; None: the prediction's own.

    Raises:
        ValueError: it is none of `ROOT_DEPTHS`, or the file is missing or not laid out as RootNet's results.
    """
    if source == "predicted":
        return None
    if source == "truth":
        return true_depths
    kind, _, file = source.partition(":")
    if kind != "rootnet" or not file:
        raise ValueError(f"root depths are {ROOT_DEPTHS}, not {source!r}")
    return functools.partial(_looked_up, Path(file), read_rootnet(Path(file)))


def true_depths(sample: Sample) -> np.ndarray:
    """The annotated ones."""
    known = sample.present & sample.joints3d_valid[:, WRIST]
    return np.where(known, sample.joints3d[:, WRIST, 2].astype(np.float64), np.nan)


@functools.lru_cache(maxsize=2)
def read_rootnet(path: Path) -> dict[int, np.ndarray]:
    """Number of the annotation -> (2,) metres, from RootNet's results on InterHand2.6M.

    They are a JSON list of `{"annot_id": number, "abs_depth": [right, left]}`, millimetres; what else stands there is not read.

    Raises:
        ValueError: the file is missing or not laid out so.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"there is no file {path} of RootNet's results; InterHand2.6M's read-me has the link to them"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON, download RootNet's results again: {error}") from error
    try:
        out = {}
        for entry in content:
            right, left = (np.nan if depth is None else float(depth) for depth in entry["abs_depth"])
            out[int(entry["annot_id"])] = np.array([right, left]) / 1000
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f'{path} is no result of RootNet: a list of {{"annot_id": .., "abs_depth": [right, left]}} is wanted, but {error!r}'
        ) from error
    return out


def _looked_up(path: Path, known: dict[int, np.ndarray], sample: Sample) -> np.ndarray:
    if sample.annotation is None:
        raise ValueError(
            f"{path} names InterHand2.6M's annotations, which {sample.name} is none of: choose --root-depth predicted or truth"
        )
    return known.get(sample.annotation, np.full(2, np.nan))


def placed_wrists(sample: Sample, prediction: TwoHands, depths: np.ndarray | None) -> np.ndarray:
    """(2, 3) metres, camera frame, where the predicted right and left wrist are taken to be; NaN where not known.

    Args:
        sample: whose camera the rays are of; without one nothing is known but the prediction's own.
        prediction: of the sample's picture.
        depths: (2,) metres; None: the prediction's own.
    """
    out = np.full((2, 3), np.nan)
    for side, hand in ((RIGHT, prediction.right), (LEFT, prediction.left)):
        if hand is None:
            continue
        if depths is None:
            out[side] = hand.joints3d[WRIST]
        elif sample.K is not None:
            out[side] = _on_ray(hand.joints2d[WRIST], depths[side], sample.K, sample.distortion)
    return out


def relative_wrists(sample: Sample, prediction: TwoHands, depths: np.ndarray | None) -> np.ndarray:
    """(2, 3) as `placed_wrists`, but the left one's depth is the right one's plus the predicted difference, as MRRPE has it."""
    right, left = prediction.right, prediction.left
    if depths is not None and right is not None and left is not None:
        difference = float(left.joints3d[WRIST][2]) - float(right.joints3d[WRIST][2])
        depths = np.array([depths[RIGHT], depths[RIGHT] + difference])
    return placed_wrists(sample, prediction, depths)


def _on_ray(pixel: np.ndarray, depth: float, K: np.ndarray, distortion: np.ndarray | None) -> np.ndarray:
    fx, fy, cx, cy = np.asarray(K, np.float64)
    camera = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    straight = cv2.undistortPoints(np.asarray(pixel, np.float64).reshape(1, 1, 2), camera, distortion)
    return np.append(straight.ravel(), 1.0) * depth
