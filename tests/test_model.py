import dataclasses
import sys

import pytest
import torch

from lgnet.config import LossConfig, ModelConfig
from lgnet.hand_model import load_hand_model, mesh_pyramid
from lgnet.losses import total_loss
from lgnet.model.backbone import build_backbone
from lgnet.model.mesh_stage import project_weak
from lgnet.model.network import build_network
from lgnet.model.records import Inputs, Targets
from lgnet.model.refine_stage import OffsetNet
from lgnet.presets import MODELS

HEADS = dataclasses.replace(
    ModelConfig(), backbone="mobile", crop_size=128, channels=16, joint_channels=16, sjt_depth=1, refine_channels=8
)
CROPS = dataclasses.replace(HEADS, separation="crops", heatmap_size=16)
ABLATIONS = {
    "whole": {},
    "cheb": {"graph": "cheb"},
    "deep": {"lgfa_depth": 2, "lgfa_heads": 4},
    "no joint stage": {"joint_stage": False},
    "no mesh stage": {"mesh_stage": False},
    "no refine stage": {"refine_stage": False},
    "no lgblock": {"lgblock": False},
    "no local unit": {"local_unit": False},
    "no global unit": {"global_unit": False},
    "no units": {"local_unit": False, "global_unit": False},
    "eanet": {"block": "eanet", "lgfa_depth": 2, "lgfa_heads": 4},
    "dense head": {"dense_head": True},
}
CASES = {
    **{f"heads {name}": dataclasses.replace(HEADS, **change) for name, change in ABLATIONS.items()},
    "heads not separated": dataclasses.replace(HEADS, separate=False),
    **{f"crops {name}": dataclasses.replace(CROPS, **change) for name, change in ABLATIONS.items()},
}


def make_inputs(config: ModelConfig, rows: int, seed: int = 0) -> Inputs:
    g = torch.Generator().manual_seed(seed)
    crops, size = (2 if config.separation == "crops" else 1), config.crop_size
    return Inputs(
        images=torch.rand(rows, crops, 3, size, size, generator=g),
        given=torch.ones(rows, 2, dtype=torch.bool),
        geometry=torch.rand(rows, 2, 5, generator=g) * 0.5,
    )


def make_targets(config: ModelConfig, rows: int, seed: int = 0) -> Targets:
    """Everything known, and consistent: joints are those of the parameters."""
    from lgnet.geometry import rotvec_to_matrix
    from lgnet.hand_model import pose_hand

    g = torch.Generator().manual_seed(seed)
    rotations = rotvec_to_matrix(torch.randn(rows, 2, 16, 3, generator=g) * 0.3)
    betas = torch.randn(rows, 2, 10, generator=g)
    joints = pose_hand(load_hand_model("lgnet", "right"), rotations, betas).joints
    yes = torch.ones(rows, 2, dtype=torch.bool)
    cells = config.crop_size // 8
    return Targets(
        present=yes,
        present_known=yes,
        joints2d=project_weak(joints, torch.tensor([6.0, 0.0, 0.0]).expand(rows, 2, 3)),
        joints2d_valid=yes[..., None].expand(-1, -1, 21),
        joints3d=joints,
        joints3d_valid=yes[..., None].expand(-1, -1, 21),
        rotations=rotations,
        betas=betas,
        has_params=yes,
        relative=torch.randn(rows, 3, generator=g) * 0.1,
        has_relative=yes[:, 0],
        parts=torch.randint(-1, 17, (rows, 2, cells, cells), generator=g),
        wrist=torch.tensor([0.0, 0.05, 0.5]).expand(rows, 2, 3),
        tan_half=torch.full((rows, 2), 0.25),
    )


def disturb(network: torch.nn.Module) -> None:
    """Move every weight off its start, zeros included, so that nothing is hidden by initialisation."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=g)


def tensors(record, prefix: str = "") -> dict[str, torch.Tensor]:
    out = {}
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        if dataclasses.is_dataclass(value):
            out.update(tensors(value, f"{prefix}{f.name}."))
        elif isinstance(value, torch.Tensor):
            out[prefix + f.name] = value
    return out


@pytest.mark.parametrize("name", MODELS)
def test_presets(name, capsys):
    config = MODELS[name]
    network = build_network(config).eval()
    with torch.inference_mode():
        out = network(make_inputs(config, 1), keep_attention=True)
    count = sum(p.numel() for p in network.parameters())
    with capsys.disabled():
        print(f"\n{name}: {count / 1e6:.2f} M parameters")
    c, v = config.channels, len(load_hand_model("lgnet").template)
    assert {k: tuple(t.shape) for k, t in tensors(out).items() if k != "parts_logit"} == {
        "joint.joints25d": (1, 2, 21, 3),
        "joint.spread": (1, 2, 21, 3),
        "joint.features": (1, 2, c, config.grid, config.grid),
        "joint.interaction": (1, 2, c + c // 4, config.grid, config.grid),
        "joint.tokens": (1, 2, 21, config.joint_channels),
        "joint.presence_logit": (1, 2),
        "mesh.rotations": (1, 2, 16, 3, 3),
        "mesh.betas": (1, 2, 10),
        "mesh.camera": (1, 2, 3),
        "mesh.relative": (1, 3),
        "mesh.vertices": (1, 2, v, 3),
        "mesh.joints": (1, 2, 21, 3),
        "refine.offsets": (1, 2, v, 3),
        "refine.vertices": (1, 2, v, 3),
        "refine.joints": (1, 2, 21, 3),
    }
    assert all(bool(t.isfinite().all()) for t in tensors(out).values())
    cells = config.crop_size // 8
    assert (out.parts_logit.shape == (1, 2, 17, cells, cells)) if config.dense_head else out.parts_logit is None
    if config.lgblock:
        assert out.joint.attention.keys() == {"local", "right", "left", "global"}
        for attention in out.joint.attention.values():
            tokens = config.grid**2
            assert attention.shape == (1, config.lgfa_heads, tokens, 2 * tokens + 1)
            torch.testing.assert_close(attention.sum(-1), torch.ones(1, config.lgfa_heads, tokens))
        with torch.inference_mode():
            assert network(make_inputs(config, 1)).joint.attention == {}
    # hands start upright, of mean shape, about as large as their crop
    assert float((out.mesh.rotations - torch.eye(3)).abs().max()) < 0.5
    assert float(out.mesh.betas.abs().max()) < 0.5


def test_published_sizes():
    maps = build_backbone(MODELS["lgnet"])(torch.zeros(1, 3, 256, 256))
    assert [tuple(m.shape[1:]) for m in maps] == [(256, 64, 64), (512, 32, 32), (1024, 16, 16), (2048, 8, 8)]
    state = build_backbone(MODELS["lgnet"]).state_dict()
    # torchvision's resnet50 has 25,557,032 parameters, 2,049,000 of them in its classifier
    counted = sum(v.numel() for k, v in state.items() if "running" not in k and "tracked" not in k)
    assert counted == 25_557_032 - 2_049_000
    for name in ("conv1.weight", "bn1.running_var", "layer1.0.downsample.1.bias", "layer4.2.conv3.weight"):
        assert name in state
    light = build_network(MODELS["lgnet-light"])
    assert light.joint_stage.separation.heads[0][0].out_channels == 2048 // 8


@pytest.mark.parametrize(("crop", "sides"), [(128, [32, 16, 8, 8]), (256, [64, 32, 16, 8]), (64, [16, 8, 8, 8])])
def test_mobile_backbone_ends_at_the_grid(crop, sides):
    maps = build_backbone(dataclasses.replace(CROPS, crop_size=crop))(torch.zeros(1, 3, crop, crop))
    assert [m.shape[-1] for m in maps] == sides


def train(config: ModelConfig, steps: int) -> list[float]:
    torch.manual_seed(0)
    network = build_network(config).train()
    inputs, targets = make_inputs(config, 2), make_targets(config, 2)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(steps):
        loss, terms = total_loss(network(inputs), targets, LossConfig(), network)
        assert all(bool(term.isfinite()) for term in terms.values()), terms
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("case", CASES)
def test_ablation_trains(case):
    losses = train(CASES[case], 2)
    assert losses[1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_ablation_trains_longer(case):
    losses = train(CASES[case], 20)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("case", CASES)
def test_gradient_reaches_every_parameter(case):
    torch.manual_seed(0)
    config = CASES[case]
    network = build_network(config).train()
    disturb(network)
    inputs = make_inputs(config, 3)
    given = torch.tensor([[True, True], [True, False], [False, True]])
    targets = make_targets(config, 3)
    loss, _ = total_loss(network(dataclasses.replace(inputs, given=given)), targets, LossConfig(), network)
    loss.backward()
    # a key's bias shifts all of a query's scores alike, which softmax does not feel
    dead = [
        name
        for name, p in network.named_parameters()
        if not name.endswith("attention.k.bias") and (p.grad is None or not bool((p.grad != 0).any()))
    ]
    assert not dead


def test_separate_is_an_ablation_of_heads():
    with pytest.raises(ValueError, match="separate=False"):
        build_network(dataclasses.replace(CROPS, separate=False))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": "vgg"}, "unknown backbone 'vgg'"),
        ({"crop_size": 100}, "not a multiple of grid"),
        ({"crop_size": 512}, "must be 8, 16 or 32"),
        ({"heatmap_size": 12}, "heatmap_size 12"),
        ({"sjt_heads": 3}, "attention heads"),
    ],
)
def test_wrong_configurations_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        build_network(dataclasses.replace(HEADS, **change))


def test_transformers_backbone_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match="pip install transformers"):
        build_network(dataclasses.replace(HEADS, backbone="hf:microsoft/resnet-18"))


def test_transformers_backbone(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], embedding_size=8)
    transformers.ResNetBackbone(config).save_pretrained(tmp_path)
    config = dataclasses.replace(HEADS, backbone=f"hf:{tmp_path}")
    out = build_network(config).eval()(make_inputs(config, 1))
    assert out.joint.features.shape[-2:] == (8, 8)


def test_a_plain_transformer_gives_its_last_layer(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=12, num_hidden_layers=12, num_attention_heads=2, image_size=64, patch_size=8
    )
    transformers.Dinov2Backbone(config).save_pretrained(tmp_path)
    config = dataclasses.replace(HEADS, backbone=f"hf:{tmp_path}")
    network = build_network(config).eval()
    assert network.backbone.body.out_features == ["stage3", "stage6", "stage9", "stage12"]
    assert network(make_inputs(config, 1)).joint.features.shape[-2:] == (8, 8)


@pytest.mark.parametrize("config", [HEADS, CROPS])
def test_untrained_refine_stage_is_the_identity(config):
    out = build_network(config).eval()(make_inputs(config, 2))
    assert torch.equal(out.refine.vertices, out.mesh.vertices)
    assert torch.equal(out.refine.joints, out.mesh.joints)
    assert not bool(out.refine.offsets.any())


def test_offsets_are_smooth_and_keep_the_wrist():
    network = build_network(CROPS).eval()
    disturb(network)
    out = network(make_inputs(CROPS, 1))
    assert bool(out.refine.offsets.any())
    torch.testing.assert_close(out.refine.joints[:, :, 0], torch.zeros(1, 2, 3), atol=1e-6, rtol=0)
    hand = load_hand_model("lgnet")
    net = OffsetNet(mesh_pyramid(hand, (400, 100)), 8)
    for matrix in (net.to_fine, net.to_mesh):
        torch.testing.assert_close(matrix.sum(1), torch.ones(len(matrix)))


def test_refine_loss_leaves_the_rough_mesh_alone():
    network = build_network(CROPS).train()
    disturb(network)
    network(make_inputs(CROPS, 2)).refine.vertices.square().sum().backward()
    assert all(p.grad is None for p in network.mesh_stage.parameters())
    assert network.backbone.conv1.weight.grad.abs().sum() > 0


def test_weak_camera():
    points = torch.tensor([[[0.1, -0.05, 0.3]]])
    torch.testing.assert_close(project_weak(points, torch.tensor([[8.0, 0.1, 0.2]])), torch.tensor([[[0.9, -0.2]]]))


def assert_same(first, second, rows_first, rows_second, only_side=None):
    a, b = tensors(first), tensors(second)
    for name, value in a.items():
        x, y = value[rows_first], b[name][rows_second]
        if only_side is not None:
            if name == "mesh.relative":
                continue
            x, y = x[:, only_side], y[:, only_side]
        torch.testing.assert_close(x, y, atol=2e-5, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("config", [HEADS, dataclasses.replace(CROPS, dense_head=True)])
def test_a_picture_alone_or_in_a_batch(config):
    network = build_network(config).eval()
    disturb(network)
    inputs = make_inputs(config, 3)
    inputs = dataclasses.replace(inputs, given=torch.tensor([[True, True], [False, True], [True, False]]))
    with torch.inference_mode():
        batch = network(inputs)
        for row in range(3):
            one = Inputs(**{k: v[row : row + 1] for k, v in vars(inputs).items()})
            assert_same(network(one), batch, [0], [row])


@pytest.mark.parametrize("training", [False, True])
def test_absent_hands_picture_changes_nothing(training):
    network = build_network(CROPS).train(training)
    disturb(network)
    inputs = make_inputs(CROPS, 3)
    given = torch.tensor([[True, False]] * 3)
    other = inputs.images.clone()
    other[:, 1] = torch.rand(3, 3, 128, 128) * 9
    with torch.no_grad():
        first = network(dataclasses.replace(inputs, given=given))
        second = network(dataclasses.replace(inputs, given=given, images=other))
        seen = network(inputs)
    assert_same(first, second, slice(None), slice(None), only_side=0)
    assert torch.equal(first.mesh.relative, second.mesh.relative)
    assert not torch.equal(first.mesh.joints[:, 0], seen.mesh.joints[:, 0])  # a hand that is there is heard


def test_absent_hands_do_not_reach_the_statistics_of_a_backbone_trained_alone():
    network = build_network(CROPS).eval()
    network.backbone.train()  # as --only backbone has it
    inputs = make_inputs(CROPS, 3)
    inputs = dataclasses.replace(inputs, given=torch.tensor([[True, False]] * 3))
    passed = []
    network.backbone.register_forward_pre_hook(lambda module, given: passed.append(len(given[0])))
    with torch.no_grad():
        network(inputs)
    assert passed == [3]


def test_nothing_given_at_all():
    network = build_network(CROPS).train()
    inputs = dataclasses.replace(make_inputs(CROPS, 2), given=torch.zeros(2, 2, dtype=torch.bool))
    assert all(bool(t.isfinite().all()) for t in tensors(network(inputs)).values())


@pytest.mark.parametrize("config", [HEADS, dataclasses.replace(CROPS, dense_head=True)])
def test_trains_in_mixed_precision(config):
    network = build_network(config).train()
    inputs, targets = make_inputs(config, 2), make_targets(config, 2)
    inputs = dataclasses.replace(inputs, given=torch.tensor([[True, True], [True, False]]))
    with torch.autocast("cpu", torch.bfloat16):
        out = network(inputs)
        loss, _ = total_loss(out, targets, LossConfig(), network)
    assert out.mesh.vertices.dtype == out.joint.joints25d.dtype == out.refine.vertices.dtype == torch.float32
    exact, _ = total_loss(network(inputs), targets, LossConfig(), network)
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
