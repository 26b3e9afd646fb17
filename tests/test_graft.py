"""Weights of a smaller network begin a larger one that predicts what they predicted."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lgnet.checkpoint import init_from, load_network, save_weights
from lgnet.model.network import build_network
from lgnet.model.records import Inputs
from lgnet.presets import MODELS

SMALL = {"crop_size": 64, "grid": 8, "channels": 32, "joint_channels": 32, "heatmap_size": 8}
SAID = {
    "joint": ("joints25d", "presence_logit"),
    "mesh": ("rotations", "betas", "camera", "relative"),
    "refine": ("vertices", "joints"),
}


@pytest.mark.parametrize(
    ("preset", "change"),
    [
        ("lgnet-mobile", {}),
        ("lgnet-mobile", {"block": "eanet", "lgfa_depth": 4, "lgfa_heads": 4}),
        ("lgnet-mobile", {"heatmap_size": 2}),  # the grid's own: nothing between F* and the heat maps
        ("lgnet-mobile", {"joint_stage": False}),
        ("lgnet-mobile", {"mesh_stage": False}),
        ("lgnet-mobile-heads", {"crop_size": 128}),
    ],
)
def test_the_whole_network_says_what_the_part_said(preset, change, tmp_path):
    torch.manual_seed(1)
    config = replace(MODELS[preset], **(SMALL | change))
    if "heatmap_size" in change:
        config = replace(config, heatmap_size=config.grid)
    part = build_network(replace(config, lgblock=False, refine_stage=False))
    for layer in part.modules():  # fresh weights say the same of everything
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)
    for bias in (part.joint_stage.fc.bias, *(h.out.bias for h in part.mesh_stage.pose.hands)):
        nn.init.normal_(bias)
    save_weights(tmp_path / "part.safetensors", part, config, {})
    whole = build_network(config)
    init_from(whole, tmp_path / "part.safetensors")
    size, crops = config.crop_size, 2 if config.separation == "crops" else 1
    inputs = Inputs(
        images=torch.rand(3, crops, 3, size, size),
        given=torch.tensor([[True, True], [True, False], [False, True]]),
        geometry=torch.rand(3, 2, 5) + 0.5,
    )
    with torch.no_grad():
        before, after = part.eval()(inputs), whole.eval()(inputs)
    for stage, names in SAID.items():
        for name in names:
            one, other = (getattr(getattr(output, stage), name) for output in (before, after))
            assert one.flatten(0, 1).std(0).max() > 1e-4  # it does depend on the picture
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


def test_weights_with_a_block_are_taken_as_they_are(tmp_path):
    torch.manual_seed(1)
    config = replace(MODELS["lgnet-mobile"], **SMALL)
    one, other = build_network(config), build_network(config)
    save_weights(tmp_path / "whole.safetensors", one, config, {})
    init_from(other, tmp_path / "whole.safetensors")
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_deeper_backbone_begins_as_the_shallower_one(tmp_path):
    torch.manual_seed(1)
    config = replace(MODELS["lgnet-mobile"], **SMALL)
    more = tuple(depth + 1 for depth in config.mobile_depths)
    one, deep = build_network(config), build_network(replace(config, mobile_depths=more))
    for layer in one.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    save_weights(tmp_path / "one.safetensors", one, config, {})
    init_from(deep, tmp_path / "one.safetensors")
    images = torch.rand(2, 3, config.crop_size, config.crop_size)
    with torch.no_grad():
        for before, after in zip(one.eval().backbone(images), deep.eval().backbone(images)):
            assert before.std() > 1e-3
            torch.testing.assert_close(before, after)


@pytest.mark.parametrize("block", ["lgnet", "eanet"])
def test_crops_of_another_size_keep_what_was_learnt_of_each_cell(block, tmp_path):
    torch.manual_seed(1)
    config = replace(MODELS["lgnet-mobile"], **SMALL, block=block)
    larger = replace(config, crop_size=96, grid=12, heatmap_size=12)
    one, other = build_network(config), build_network(larger)

    def ramp(side):  # falls and rises steadily over the crop, whatever the number of cells
        steps = (torch.arange(side) + 0.5) / side
        return (steps[:, None] - 2 * steps[None])[None]

    codes = [
        name
        for name, _ in one.named_parameters()
        if name.endswith((".code", ".position", ".empty")) and "joint" in name
    ]
    with torch.no_grad():
        for name in codes:
            weight = one.get_parameter(name)
            if weight.dim() == 3:
                weight.copy_(ramp(8).expand_as(weight))
            else:
                sets = len(weight) // 64
                weight[-64 * sets :] = ramp(8).flatten()[:, None].repeat(sets, weight.shape[1])
    save_weights(tmp_path / "one.safetensors", one, config, {})
    assert init_from(other, tmp_path / "one.safetensors").unfit == []
    assert len(codes) == (6 if block == "lgnet" else 4)
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[3:9, 3:9] = True  # away from the border, beyond which there is nothing to draw on
    for name in codes:
        before, after = one.get_parameter(name), other.get_parameter(name)
        if after.dim() == 3:
            torch.testing.assert_close(after[:, inside], ramp(12)[:, inside].expand(len(after), -1))
            continue
        sets = len(after) // 144
        torch.testing.assert_close(after[: len(after) % 144], before[: len(before) % 64])  # the class token
        for cells in after[-144 * sets :].chunk(sets):
            torch.testing.assert_close(cells[inside.flatten()], ramp(12)[0, inside][:, None].expand(-1, cells.shape[1]))


def test_a_grid_of_as_many_cells_is_not_enough_where_the_width_differs(tmp_path):
    torch.manual_seed(1)
    config = replace(MODELS["lgnet-mobile"], **SMALL)
    save_weights(tmp_path / "one.safetensors", build_network(config), config, {})
    wider = build_network(replace(config, crop_size=96, grid=12, heatmap_size=12, channels=48))
    assert "joint_stage.separation.position" in init_from(wider, tmp_path / "one.safetensors").unfit


def test_weights_from_before_the_refine_stage_was_told_of_joints_say_what_they_said(tmp_path):
    torch.manual_seed(4)
    config = replace(MODELS["lgnet-mobile"], **SMALL)
    network = build_network(config).eval()
    stage = network.refine_stage
    with torch.no_grad():
        for net in stage.net.hands:
            nn.init.normal_(net.out.weight[:3], std=0.1)
        stage.way.weight.zero_()
        stage.way.bias.zero_()
    state = {k: v.clone() for k, v in network.state_dict().items() if not k.startswith("refine_stage.way.")}
    for name in ("refine_stage.net.hands.0.out.weight", "refine_stage.net.hands.0.out.bias"):
        state[name] = state[name][:3].clone()
    save_weights(tmp_path / "old.safetensors", state, config, {})
    loaded, fresh = load_network(tmp_path / "old.safetensors").network, build_network(config).eval()
    assert not init_from(fresh, tmp_path / "old.safetensors").fresh
    inputs = Inputs(torch.rand(2, 2, 3, 64, 64), torch.ones(2, 2, dtype=torch.bool), torch.rand(2, 2, 5) + 0.5)
    with torch.no_grad():
        said = network(inputs)
        assert said.refine.offsets.abs().max() > 1e-4
        for other in (loaded, fresh):
            torch.testing.assert_close(other(inputs).refine.vertices, said.refine.vertices)


def test_finer_heat_maps_begin_with_the_joints_where_they_were(tmp_path):
    torch.manual_seed(1)
    config = replace(MODELS["lgnet-mobile"], **SMALL | {"heatmap_size": 16})
    one, other = build_network(config), build_network(replace(config, heatmap_size=64))
    save_weights(tmp_path / "one.safetensors", one, config, {})
    taken = init_from(other, tmp_path / "one.safetensors")
    assert not (taken.fresh or taken.unfit or taken.unused)
    coarse, fine = (network.joint_stage.extractor.hands[0] for network in (one, other))
    with torch.no_grad():
        coarse.out.weight.mul_(30), fine.out.weight.mul_(30)  # maps with peaks, also at the border
        features = torch.randn(8, coarse.up[0].in_channels, 8, 8)
        before, after = coarse(features), fine(features)
    assert before[..., :2].abs().max() > 0.5
    torch.testing.assert_close(after[..., :3], before[..., :3], atol=1e-4, rtol=0)
