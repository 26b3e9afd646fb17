"""Give weights trained without LGBlock and refine stage both of them: `python scripts/graft_block.py FROM OUT`.

The two take nearly half of a training step, so most of the training goes without (`--model.no-lgblock
--model.no-refine-stage`), and `lgnet train lgnet-mobile --init OUT` goes on with the whole network. What OUT predicts is what
FROM predicted: the fresh refine stage adds nothing yet, and the fresh LGBlock's word is not yet listened to. Without the
block F* is concat(F, fc(F)), and every reader of F* begins with a linear layer, so the part by way of fc moves into that
layer's weights for F, and fc begins again at 0.
"""

import sys
from dataclasses import replace

import torch
from torch import Tensor

from lgnet.checkpoint import load_network, save_weights
from lgnet.config import MODELS
from lgnet.model.network import build_network

READERS = (
    "joint_stage.extractor.hands.0.up.0.weight",
    "joint_stage.token.hands.0.weight",
    "joint_stage.presence.hands.0.weight",
    "mesh_stage.shape_camera.hands.0.hidden.weight",
    "mesh_stage.relative.layers.0.weight",
)
"""First layers of all that reads F* or its mean."""


def grafted(state: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """The weights with the readers of F* reading fc(F) straight from F, and fc's own at 0; its bias stays."""
    out, fc = dict(state), state["joint_stage.fc.weight"]
    for name in READERS:
        weight = state[name].clone()
        transposed = "extractor" in name  # a transposed convolution's inputs come first
        rows = weight if transposed else weight.transpose(0, 1)
        for start in (0, len(rows) // 2) if "relative" in name else (0,):  # which reads one hand's, then the other's
            near = rows[start : start + width]
            far = rows[start + width : start + width + len(fc)]
            near += torch.tensordot(fc.T, far, dims=1)
        out[name] = weight
    out["joint_stage.fc.weight"] = torch.zeros_like(fc)
    return out


def main(source: str, out: str) -> None:
    """Write the whole network's weights."""
    network, config, meta = load_network(source)
    if config.lgblock or config.refine_stage:
        raise ValueError(f"{source} has an LGBlock or a refine stage already")
    torch.manual_seed(0)
    whole = replace(config, lgblock=True, refine_stage=True)
    if whole != MODELS["lgnet-mobile"]:
        raise ValueError(f"{source} is not a lgnet-mobile without LGBlock and refine stage")
    values = build_network(whole).state_dict() | grafted(network.state_dict(), config.channels)
    save_weights(out, values, whole, {**meta, "grafted": "LGBlock and refine stage begin here"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
