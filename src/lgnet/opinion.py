"""What the hand network makes of a place: told that it is a right hand, and that it is a left one, which does it believe, does
it believe in any, and where does it see the hand?

It is no judge of sides by training, as it is told the side, but it learns to say when there is no such hand in a crop, and is
unsure where it does not fit; it has seen more pictures than the side network, and errs at others. So what both say counts. And
a place that is none, or only a part of a hand, is one where its mesh does not lie in the box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .geometry import iou

PRESENCE, ERROR_3D, ERROR_2D = 0.24, 0.78, 0.73
"""What the hand network adds to the log odds that the side network gives of right against left: the difference of the
presence that it sees with either side, as logits, and of the logs of its mean expected errors. By logistic regression over
places found in synthetic pictures of a seed that neither training nor synth-bench uses (benchmarks/side_opinions.py)."""

PRESENT, UNSURE, FITS = 0.1, 0.4, 1.0
"""What it adds to the evidence of there being such a hand at all: per logit of its presence (no more than `MOST_PRESENT`), per
log of the 2D error that it expects over `USUAL_2D`, and per IoU of its mesh's box with the place over a half. Chosen like
`detect.HAND_THRESHOLD`."""
MOST_PRESENT = 4.0
USUAL_2D = 0.25
"""Half crops."""


class Opinion(NamedTuple):
    """Of P boxes, each taken for a right and for a left hand."""

    presence: np.ndarray  # (P, 2) logits
    errors: np.ndarray | None
    """(P, 2, 2) mean expected errors, in 3D and in the crop; None: nobody calibrated the network."""
    boxes: np.ndarray  # (P, 2, 4) x, y, w, h of the mesh it sees, pixels


Seen = Callable[[np.ndarray, Sequence[np.ndarray], np.ndarray], Opinion]
"""Picture (H, W, 3) uint8 RGB, P boxes (4,), camera (4,) -> what the network makes of them."""


def signs(sides: np.ndarray, opinion: Opinion) -> np.ndarray:
    """(P, 4) what speaks for right rather than left, the side network's log odds, then in the order of the weights above.

    `sides` (P, 3) are those of `side.look_at_places`: right, left, none.
    """
    told = np.log(np.maximum(sides[:, :2], 1e-4))
    doubt = np.zeros((len(sides), 2, 2)) if opinion.errors is None else np.log(opinion.errors)
    return np.stack(
        [
            told[:, 0] - told[:, 1],
            opinion.presence[:, 0] - opinion.presence[:, 1],
            doubt[:, 1, 0] - doubt[:, 0, 0],
            doubt[:, 1, 1] - doubt[:, 0, 1],
        ],
        1,
    )


def agreed(sides: np.ndarray, opinion: Opinion) -> np.ndarray:
    """(P, 3) `sides` with what the hand network makes of it; how likely each place is no hand stays as it is."""
    odds = signs(sides, opinion) @ np.array([1.0, PRESENCE, ERROR_3D, ERROR_2D])
    right = 1 / (1 + np.exp(-odds))
    hand = sides[:, :2].sum(1)
    return np.stack([hand * right, hand * (1 - right), sides[:, 2]], 1)


def belief(boxes: Sequence[np.ndarray], opinion: Opinion) -> np.ndarray:
    """(P, 2) what it says for there being a right hand, a left hand in each box (4,), beside `detect.side_evidence`."""
    fits = np.array([[iou(box, seen) for seen in meshes] for box, meshes in zip(boxes, opinion.boxes)]) - 0.5
    doubt = 0.0 if opinion.errors is None else np.log(opinion.errors[:, :, 1] / USUAL_2D)
    return PRESENT * np.clip(opinion.presence, -MOST_PRESENT, MOST_PRESENT) - UNSURE * doubt + FITS * fits


def closer(box: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(..., 4) what to crop by: halfway from the box of whoever found the hand to that of the mesh that was seen in it.

    Only halfway, because an unsure network draws hands too small, and a crop that followed it would lose them.
    """
    return (box + seen) / 2
