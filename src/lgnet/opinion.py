"""Which hand is it, by the hand network: told that a place is a right hand, and that it is a left one, which does it believe?

It is no judge by training, as it is told the side, but it learns to say when there is no such hand in a crop, and is unsure
where it does not fit; it has seen more pictures than the side network, and errs at others. So what both say counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

PRESENCE, ERROR_3D, ERROR_2D = 0.22, 0.01, 1.0
"""What the hand network adds to the log odds that the side network gives of right against left: the difference of the
presence that it sees with either side, as logits, and of the logs of its mean expected errors. By logistic regression over
places found in synthetic pictures of a seed that neither training nor synth-bench uses (benchmarks/side_opinions.py)."""

Seen = Callable[[np.ndarray, Sequence[np.ndarray], np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""Picture, P boxes (4,), camera (4,) -> (P, 2) presence as logit of the box taken for a right and for a left hand, and (P,
2, 2) mean expected errors so, in 3D and in the crop; None where nobody calibrated the network."""


def signs(sides: np.ndarray, presence: np.ndarray, errors: np.ndarray | None) -> np.ndarray:
    """(P, 4) what speaks for right rather than left, the side network's log odds, then in the order of the weights above.

    Args:
        sides: (P, 3) from `side.look_at_places`: right, left, none.
        presence, errors: see `Seen`.
    """
    told = np.log(np.maximum(sides[:, :2], 1e-4))
    doubt = np.zeros((len(sides), 2, 2)) if errors is None else np.log(errors)
    return np.stack(
        [
            told[:, 0] - told[:, 1],
            presence[:, 0] - presence[:, 1],
            doubt[:, 1, 0] - doubt[:, 0, 0],
            doubt[:, 1, 1] - doubt[:, 0, 1],
        ],
        1,
    )


def agreed(sides: np.ndarray, presence: np.ndarray, errors: np.ndarray | None) -> np.ndarray:
    """(P, 3) `sides` with what the hand network makes of it; how likely each place is no hand stays as it is."""
    odds = signs(sides, presence, errors) @ np.array([1.0, PRESENCE, ERROR_3D, ERROR_2D])
    right = 1 / (1 + np.exp(-odds))
    hand = sides[:, :2].sum(1)
    return np.stack([hand * right, hand * (1 - right), sides[:, 2]], 1)
