"""scripts/average_weights.py and scripts/graft_block.py."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import average_weights
import graft_block

from lgnet.checkpoint import load_network, save_weights
from lgnet.model.network import build_network
from lgnet.model.records import Inputs
from lgnet.presets import MODELS

WHOLE = replace(MODELS["lgnet-mobile"], crop_size=64, grid=8, heatmap_size=8, channels=32, joint_channels=32)
PART = replace(WHOLE, lgblock=False, refine_stage=False)


def saved(folder, name, config, seed):
    torch.manual_seed(seed)
    save_weights(folder / name, build_network(config), config, {"samples": seed, "figures": {}, "confidence": {}})
    return str(folder / name)


def test_the_mean_lies_between_both_and_says_of_what_it_is(tmp_path):
    start, end = saved(tmp_path, "a", WHOLE, 1), saved(tmp_path, "b", WHOLE, 2)
    average_weights.main(start, end, 0.25, str(tmp_path / "mean"))
    (a, b, mean) = (load_network(path).network.state_dict() for path in (start, end, tmp_path / "mean"))
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * a[name] + 0.25 * b[name])
    meta = load_network(tmp_path / "mean").meta
    assert meta["averaged"] == "0.75 of weights of 1 samples, 0.25 of these"
    assert not {"figures", "confidence"} & set(meta)  # neither is of these weights


def test_with_all_of_a_part_the_whole_network_says_what_the_part_said(tmp_path):
    start, end = saved(tmp_path, "part", PART, 1), saved(tmp_path, "whole", WHOLE, 2)
    average_weights.main(start, end, 0.0, str(tmp_path / "mean"))
    inputs = Inputs(torch.rand(2, 2, 3, 64, 64), torch.ones(2, 2, dtype=torch.bool), torch.rand(2, 2, 5) + 0.5)
    with torch.no_grad():
        part, mean = (load_network(path).network(inputs) for path in (start, tmp_path / "mean"))
    torch.testing.assert_close(mean.mesh.joints, part.mesh.joints, atol=1e-4, rtol=1e-3)


def test_crops_of_different_sizes_have_no_mean(tmp_path):
    larger = replace(WHOLE, crop_size=96, grid=12, heatmap_size=12)
    start, end = saved(tmp_path, "a", WHOLE, 1), saved(tmp_path, "b", larger, 2)
    with pytest.raises(ValueError, match="grid is not the same"):
        average_weights.main(start, end, 0.5, str(tmp_path / "mean"))
    assert not (tmp_path / "mean").exists()


def test_a_grafted_network_says_what_the_trunk_said_and_has_the_others_block(tmp_path):
    deeper = replace(PART, mobile_depths=(1, 2, 3, 2))
    trunk, whole = saved(tmp_path, "trunk", deeper, 1), saved(tmp_path, "whole", WHOLE, 2)
    graft_block.main(trunk, whole, str(tmp_path / "out"))
    inputs = Inputs(torch.rand(2, 2, 3, 64, 64), torch.ones(2, 2, dtype=torch.bool), torch.rand(2, 2, 5) + 0.5)
    with torch.no_grad():
        said, grafted = (load_network(path).network(inputs) for path in (trunk, tmp_path / "out"))
    torch.testing.assert_close(grafted.mesh.joints, said.mesh.joints, atol=1e-4, rtol=1e-3)
    own, given = (load_network(path).network.state_dict() for path in (tmp_path / "out", whole))
    for name in given:
        if name.startswith(graft_block.BLOCK):
            torch.testing.assert_close(own[name], given[name])
    larger = saved(tmp_path, "larger", replace(deeper, crop_size=96, grid=12, heatmap_size=12), 4)
    graft_block.main(larger, whole, str(tmp_path / "on a larger grid"))
    inputs = replace(inputs, images=torch.rand(2, 2, 3, 96, 96))
    with torch.no_grad():
        said, grafted = (load_network(path).network(inputs) for path in (larger, tmp_path / "on a larger grid"))
    torch.testing.assert_close(grafted.mesh.joints, said.mesh.joints, atol=1e-4, rtol=1e-3)
    larger_own = load_network(tmp_path / "on a larger grid").network.state_dict()
    resized = [name for name in given if graft_block.BLOCK in name and larger_own[name].shape != given[name].shape]
    assert resized
    for name in given:
        if graft_block.BLOCK in name and name not in resized:
            torch.testing.assert_close(larger_own[name], given[name])
    with pytest.raises(ValueError, match="an LGBlock already"):
        graft_block.main(whole, whole, str(tmp_path / "no"))
    with pytest.raises(ValueError, match="differ in more"):
        graft_block.main(trunk, saved(tmp_path, "wide", replace(WHOLE, channels=48), 3), str(tmp_path / "no"))
    assert not (tmp_path / "no").exists()
