"""Give weights that were trained without LGBlock and refine stage the block of other weights, to train on as a whole.

    python scripts/graft_block.py TRUNK.safetensors WHOLE.safetensors OUT.safetensors

The block is not listened to at first (`lgnet.model.graft`), so the network says what TRUNK said; but unlike a fresh one it
already attends to something. The refine stage begins anew. Backbone and crops are TRUNK's: what the block has learnt of each
cell is drawn anew where the grid is another.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from lgnet.checkpoint import init_from, load_weights, save_weights
from lgnet.config import ModelConfig, from_dict
from lgnet.model.graft import on_grid
from lgnet.model.network import build_network

BLOCK = "joint_stage.lgblock."
OWN = ("mobile_depths", "crop_size", "crop_enlarge", "grid", "heatmap_size")
"""In these TRUNK may differ."""


def main(trunk: str, whole: str, out: str) -> None:
    """Write the grafted weights, with what is known of the trunk.

    Raises:
        ValueError: there is nothing to graft, or it does not fit.
    """
    values, _, meta = load_weights(trunk)
    given, state, _ = load_weights(whole)
    config, other = from_dict(ModelConfig, values), from_dict(ModelConfig, given)
    full = replace(other, **{name: getattr(config, name) for name in OWN})
    parts = ("lgblock", "refine_stage", "dense_head", "surface_head")
    if replace(config, **{name: getattr(other, name) for name in parts}) != full:
        raise ValueError(f"{trunk} and {whole} differ in more than {', '.join((*parts, *OWN))}")
    network = build_network(full)
    init_from(network, trunk)
    own = network.state_dict()
    grafted = [name for name in state if name.startswith(BLOCK)]
    if config.lgblock or not grafted:
        raise ValueError(f"{trunk} has an LGBlock already, or {whole} has none")
    with torch.no_grad():
        for name in grafted:
            shape = own[name].shape
            fitting = state[name] if state[name].shape == shape else on_grid(name, state[name], shape)
            if fitting is None:
                raise ValueError(f"{whole}: {name} does not fit {trunk}")
            own[name].copy_(fitting)
    save_weights(out, own, full, {**meta, "grafted": f"{len(grafted)} tensors of the LGBlock"})


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
