"""Give an LGBlock to weights that were trained without one, so that the network says what it said before."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

FC = "joint_stage.fc.weight"
_READERS = re.compile(
    r"joint_stage\.extractor\.hands\.\d\.(up\.0|out|hidden)|joint_stage\.(token|presence)\.hands\.\d"
    r"|mesh_stage\.(shape_camera|pose)\.hands\.\d\.hidden|mesh_stage\.relative\.layers\.0|refine_stage\.wide"
)
"""First layers of what reads F* or its mean; `out` and `pose` are only in some networks."""


def lacks_block(state: Mapping[str, Tensor]) -> bool:
    """Whether these weights are of a network without LGBlock (or EANet's block)."""
    return FC in state and not any(name.startswith("joint_stage.lgblock.") for name in state)


def with_silent_block(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights for a network whose block is fresh: it is not listened to yet, and nothing else changes.

    Without a block F* = concat(F, fc(F)). Every reader of F* begins with a linear layer, so the part that came by way of fc
    moves into that layer's weights for F, and fc's own begin at 0 (its bias stays). With a block F* = concat(F, fc(F_global)),
    which is then the same.
    """
    fc = state[FC]
    quarter, width = fc.shape
    out = dict(state)
    for name, weight in state.items():
        if not _READERS.fullmatch(name.removesuffix(".weight")):
            continue
        if ".out." in name and {name.replace(".out.", before) for before in (".up.0.", ".hidden.")} & state.keys():
            continue  # something else reads F* for it
        changed = weight.clone()
        rows = changed if ".up.0." in name else changed.transpose(0, 1)  # a transposed convolution's inputs come first
        if ".pose." in name and len(rows) != width + quarter:
            continue  # of joint tokens
        for start in (0, len(rows) // 2) if ".relative." in name else (0,):  # which reads one hand's, then the other's
            middle = start + width
            rows[start:middle] += torch.tensordot(fc.T, rows[middle : middle + quarter], dims=1)
        out[name] = changed
    out[FC] = torch.zeros_like(fc)
    return out
