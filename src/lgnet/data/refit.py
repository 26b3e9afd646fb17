"""Samples told in another hand model's terms: joints of any data set become pose and shape of the one that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from ..fit import fit_joints
from ..geometry import matrix_to_rotvec
from ..hand_model import load_hand_model
from ..hands import SIDES, WRIST
from .sample import Sample

ENOUGH = 15
"""Hands with fewer known 3D joints are left without parameters."""
WORST = 0.010
"""Metres: hands whose joints are further off on average are too, as their truth is no hand this model has."""


def refit(samples: Sequence[Sample], hand_model: Literal["lgnet", "mano"] = "lgnet", batch: int = 500) -> list[Sample]:
    """The same samples with pose and shape in terms of `hand_model`, fitted to their 3D joints, all in batches.

    Samples that are in its terms already stay as they are. In the others every hand with 15 or more known 3D joints, the
    wrist among them, that can be fitted to 10 mm on average has parameters afterwards, and no other hand has.

    Raises:
        ValueError: MANO is wanted and its files are not there.
    """
    out = [
        s
        if s.hand_model == hand_model
        else replace(
            s,
            hand_model=hand_model,
            wrist=None,
            pose=np.zeros_like(s.pose),
            shape=np.zeros_like(s.shape),
            has_params=np.zeros(2, bool),
        )
        for s in samples
    ]
    for side, name in enumerate(SIDES):
        rows = [
            index
            for index, s in enumerate(samples)
            if s.hand_model != hand_model
            and s.present[side]
            and s.joints3d_valid[side, WRIST]
            and s.joints3d_valid[side].sum() >= ENOUGH
        ]
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            fit = fit_joints(
                load_hand_model(hand_model, name),
                torch.from_numpy(np.stack([samples[i].joints3d[side] for i in some])),
                torch.from_numpy(np.stack([samples[i].joints3d_valid[side] for i in some])),
            )
            pose, off = matrix_to_rotvec(fit.rotations).numpy(), fit.residual.nanmean(1).numpy()
            for row, index in enumerate(some):
                if off[row] < WORST:
                    out[index].pose[side] = pose[row]
                    out[index].shape[side] = fit.betas[row].numpy()
                    out[index].has_params[side] = True
    return out
