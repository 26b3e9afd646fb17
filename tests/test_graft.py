"""Weights trained without LGBlock and refine stage, given both, predict what they predicted."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lgnet.checkpoint import load_network, save_weights
from lgnet.config import MODELS
from lgnet.model.network import build_network
from lgnet.model.records import Inputs

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import graft_block


def test_the_whole_network_says_what_the_part_said(tmp_path):
    torch.manual_seed(1)
    config = replace(MODELS["lgnet-mobile"], lgblock=False, refine_stage=False)
    network = build_network(config)
    for layer in network.modules():  # fresh weights say the same of everything
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)
    nn.init.normal_(network.joint_stage.fc.bias)
    save_weights(tmp_path / "part.safetensors", network, config, {"samples": 5})
    graft_block.main(str(tmp_path / "part.safetensors"), str(tmp_path / "whole.safetensors"))
    whole, grown, meta = load_network(tmp_path / "whole.safetensors")
    assert grown == MODELS["lgnet-mobile"] and meta["samples"] == 5
    size = config.crop_size
    given = torch.tensor([[True, True], [True, False], [False, True]])
    inputs = Inputs(images=torch.rand(3, 2, 3, size, size), given=given, geometry=torch.rand(3, 2, 5) + 0.5)
    with torch.no_grad():
        before, after = network.eval()(inputs), whole.eval()(inputs)
    pairs = [
        (before.joint.joints25d, after.joint.joints25d),
        (before.joint.presence_logit, after.joint.presence_logit),
        (before.mesh.rotations, after.mesh.rotations),
        (before.mesh.betas, after.mesh.betas),
        (before.mesh.camera, after.mesh.camera),
        (before.mesh.relative, after.mesh.relative),
        (before.mesh.joints, after.refine.joints),
        (before.mesh.vertices, after.refine.vertices),
    ]
    for one, other in pairs:
        assert one.flatten(0, 1).std(0).max() > 1e-4  # it does depend on the picture
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_weights_that_are_whole_are_refused(tmp_path):
    config = MODELS["lgnet-mobile"]
    save_weights(tmp_path / "whole.safetensors", build_network(config), config, {})
    with pytest.raises(ValueError, match="already"):
        graft_block.main(str(tmp_path / "whole.safetensors"), str(tmp_path / "out.safetensors"))
