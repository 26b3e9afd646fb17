"""Weights of one network as the beginning of another: one with an LGBlock, whose block then says nothing yet, one with crops of
another size, where what was learnt of each cell is drawn anew from the cells about its place, one with finer heat maps, or one of
a later version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

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


_OFFSETS = re.compile(r"refine_stage\.net\.hands\.\d\.out\.(weight|bias)")


def with_shares(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights from before the refine stage was told the way from M_r to J: it goes no share of it, and nothing changes."""
    out = dict(state)
    old = [name for name, weight in state.items() if _OFFSETS.fullmatch(name) and len(weight) == 3]
    for name in old:
        out[name] = torch.cat([state[name], torch.zeros_like(state[name])])
    if old:
        width = len(state["refine_stage.place.bias"])
        out["refine_stage.way.weight"] = state["refine_stage.place.weight"].new_zeros(width, 6)
        out["refine_stage.way.bias"] = torch.zeros_like(state["refine_stage.place.bias"])
    return out


_COARSEST = re.compile(r"joint_stage\.extractor\.hands\.\d\.up\.0\.weight")
_FINER = re.compile(r"joint_stage\.extractor\.hands\.\d\.up\.([2-9]|\d\d)\.(weight|bias)")
"""Of the heat maps' transposed convolutions all but the first, which as many channels go into as come out of."""


def with_finer_heat_maps(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights for a network, with weights `own`, whose heat maps are finer: each cell begins as four like it, so joints
    stay where they were. Interpolated ones would be flatter, and so move joints towards the middle.
    """
    out = dict(state)
    if not any(_COARSEST.fullmatch(name) for name in state):
        return out  # heat maps of the grid's own size: their last layer reads something else
    for name in own.keys() - state.keys():
        if not _FINER.fullmatch(name):
            continue
        fresh = own[name]
        out[name] = torch.zeros_like(fresh)
        if fresh.dim() == 4:
            line = fresh.new_tensor([0, 1, 1, 0])
            out[name][range(len(fresh)), range(len(fresh))] = line[:, None] * line
    return out


_PLACES = re.compile(r"joint_stage\.(separation\.(position|empty)|lgblock\..*\.(position|code))")
"""Learned of each cell of the grid: maps (c, s, s), codes (s^2, c), or positions (1 + 2 s^2, c), the class token's first."""


def on_grid(name: str, weight: Tensor, shape: torch.Size) -> Tensor | None:
    """What was learnt of the cells of one grid, for a grid of another size, as vision transformers do (Dosovitskiy et al.,
    2021); None where this weight is none of those, or differs in more.
    """
    if not _PLACES.fullmatch(name) or weight.dim() != len(shape):
        return None
    if weight.dim() == 3:
        return _resized(weight, shape[-1]) if len(weight) == shape[0] else None
    sets = 1 if name.endswith("code") else 2
    head, (old, new) = sets - 1, (round((count / sets) ** 0.5) for count in (len(weight), shape[0]))
    if (len(weight), shape) != (head + sets * old * old, (head + sets * new * new, weight.shape[1])):
        return None
    maps = weight[head:].unflatten(0, (sets, old, old)).permute(0, 3, 1, 2)
    tokens = torch.stack([_resized(x, new) for x in maps]).flatten(2).transpose(1, 2).flatten(0, 1)
    return torch.cat([weight[:head], tokens])


def _resized(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps[None], size=(side, side), mode="bilinear", align_corners=False)[0]
