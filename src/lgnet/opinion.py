"""What the hand network makes of a place: told that it is a right hand, and that it is a left one, does it believe in it, and
where does it see the hand?

It is no judge of sides by training, as it is told the side, but it learns to say when there is no such hand in a crop, and is
unsure where it does not fit. And a place that is none, or only a part of a hand, is one where its mesh does not lie in the box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .geometry import iou

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
    errors2d: np.ndarray | None
    """(P, 2) mean expected 2D errors, half crops; None: nobody calibrated the network."""
    boxes: np.ndarray  # (P, 2, 4) x, y, w, h of the mesh it sees, pixels


Seen = Callable[[np.ndarray, Sequence[np.ndarray], np.ndarray], Opinion]
"""Picture (H, W, 3) uint8 RGB, P boxes (4,), camera (4,) -> what the network makes of them."""


def belief(boxes: Sequence[np.ndarray], opinion: Opinion) -> np.ndarray:
    """(P, 2) what it says for there being a right hand, a left hand in each box (4,), beside `detect.side_evidence`."""
    fits = np.array([[iou(box, seen) for seen in meshes] for box, meshes in zip(boxes, opinion.boxes)]) - 0.5
    doubt = 0.0 if opinion.errors2d is None else np.log(opinion.errors2d / USUAL_2D)
    return PRESENT * np.clip(opinion.presence, -MOST_PRESENT, MOST_PRESENT) - UNSURE * doubt + FITS * fits


def closer(box: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(..., 4) what to crop by: halfway from the box of whoever found the hand to that of the mesh that was seen in it.

    Only halfway, because an unsure network draws hands too small, and a crop that followed it would lose them.
    """
    return (box + seen) / 2
