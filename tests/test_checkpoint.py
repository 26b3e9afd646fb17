import dataclasses
import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lgnet import checkpoint
from lgnet.checkpoint import init_from, load_network, load_weights, save_weights
from lgnet.config import to_dict
from lgnet.model.network import build_network
from lgnet.presets import MODELS

TINY = dataclasses.replace(MODELS["lgnet-mobile"], channels=16, joint_channels=16, sjt_depth=1, refine_channels=8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(TINY)


@pytest.fixture
def saved(tmp_path, network):
    path = tmp_path / "deep" / "tiny.safetensors"
    save_weights(path, network, TINY, {"name": "tiny", "samples": 3})
    return path


def test_round_trip(saved, network):
    config, state, meta = load_weights(saved)
    assert config == json.loads(json.dumps(to_dict(TINY)))
    assert meta == {"name": "tiny", "samples": 3, "kind": "hands"}
    assert state.keys() == network.state_dict().keys()
    loaded = load_network(saved)
    assert loaded.config == TINY
    assert not loaded.network.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]  # nothing is left lying aside


def test_half_is_smaller_and_loads_as_float32(tmp_path, saved, network):
    path = tmp_path / "half.safetensors"
    state = {**network.state_dict(), "joint_stage.fc.bias": torch.full((4,), 1e6)}  # beyond float16: kept whole
    save_weights(path, state, TINY, {}, half=True)
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    loaded = load_weights(path).state
    assert all(v.dtype in (torch.float32, torch.int64) for v in loaded.values())
    assert torch.equal(loaded["joint_stage.fc.bias"], torch.full((4,), 1e6))
    torch.testing.assert_close(loaded["joint_stage.fc.weight"], state["joint_stage.fc.weight"], rtol=1e-3, atol=1e-3)


def test_hand_models_are_not_stored(saved):
    assert not [name for name in load_weights(saved).state if "template" in name or "faces" in name]


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*none\.safetensors"):
        load_weights(tmp_path / "none.safetensors")


def test_a_disk_that_is_full_is_told_and_nothing_left_half_written(tmp_path, monkeypatch):
    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:4])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    (tmp_path / "w.safetensors").write_bytes(b"what was there")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: .*w.safetensors'$"):
        checkpoint.write_tensors(tmp_path / "w.safetensors", {}, {})
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"what was there"]


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.999])
def test_cut_off_file(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(ValueError, match=r"tiny\.safetensors is damaged"):
        load_network(saved)


def test_flipped_bit(saved):
    data = bytearray(saved.read_bytes())
    data[-1000] ^= 4
    saved.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="damaged"):
        load_network(saved)
    with pytest.raises(ValueError, match="damaged"):
        init_from(build_network(MODELS["lgnet-mobile"]), saved)


def test_not_ours(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors is not an lgnet checkpoint"):
        load_network(path)
    (tmp_path / "text.safetensors").write_text("a text, not weights at all, whatever it is called")
    with pytest.raises(ValueError, match=r"text\.safetensors is damaged"):
        load_network(tmp_path / "text.safetensors")


def test_other_kind(tmp_path, network):
    save_weights(tmp_path / "d", {"w": torch.zeros(2)}, TINY, {}, kind="detector")
    with pytest.raises(ValueError, match="kind 'detector', not 'hands'"):
        load_weights(tmp_path / "d")
    assert load_weights(tmp_path / "d", kind="detector").state.keys() == {"w"}


def test_other_architecture(tmp_path, network):
    state = network.state_dict()
    del state["joint_stage.fc.bias"]
    state["extra"] = torch.zeros(1)
    state["joint_stage.fc.weight"] = torch.zeros(3, 3)
    save_weights(tmp_path / "w", state, TINY, {})
    with pytest.raises(ValueError, match=r"another architecture: .*fc\.bias is missing; extra is unknown; .*\(3, 3\)"):
        load_network(tmp_path / "w")


def test_configuration_of_another_version(tmp_path, network, monkeypatch):
    monkeypatch.setattr("lgnet.checkpoint.to_dict", lambda c: {**to_dict(c), "novelty": 1})
    save_weights(tmp_path / "w", network, TINY, {})
    with pytest.raises(ValueError, match=r"w: .*does not know: novelty"):
        load_network(tmp_path / "w")


def test_init_from(saved, network):
    other = build_network(dataclasses.replace(TINY, lgblock=False, refine_stage=False, dense_head=True, sjt_depth=2))
    report = init_from(other, saved)
    assert "backbone.conv1.weight" in report.taken
    assert "joint_stage.fc.weight" in report.taken
    assert any(name.startswith("dense_head") for name in report.fresh)
    assert any(name.startswith("refine_stage") for name in report.unused)
    assert not report.unfit
    assert torch.equal(other.state_dict()["backbone.conv1.weight"], network.state_dict()["backbone.conv1.weight"])
    assert str(len(report.taken)) in str(report)


def test_init_from_reports_other_shapes(saved):
    other = build_network(dataclasses.replace(TINY, channels=32))
    assert "joint_stage.fc.weight" in init_from(other, saved).unfit


def test_init_from_tells_what_means_something_else_though_it_fits(saved):
    """All z of the 2.5D joints would begin scaled."""
    wide = dataclasses.replace(TINY, depth_range=0.25)
    told = init_from(build_network(wide), saved, wide)
    assert not told.unfit and "trained with depth_range 0.15, not 0.25" in str(told)
    assert "trained with" not in str(init_from(build_network(TINY), saved, TINY))


def test_init_from_published_backbone(tmp_path, network):
    weights = {name: torch.ones(value.shape) for name, value in network.backbone.state_dict().items()}
    save_file({**weights, "fc.weight": torch.zeros(10, 3)}, tmp_path / "b.safetensors")
    other = build_network(TINY)
    report = init_from(other, tmp_path / "b.safetensors")
    assert len(report.taken) == len(weights)
    assert report.unused == ["fc.weight"]
    assert bool((other.backbone.conv1.weight == 1).all())


def test_init_from_nothing_fits(tmp_path, network):
    save_file({"a": torch.zeros(3)}, tmp_path / "o.safetensors")
    with pytest.raises(ValueError, match="nothing in"):
        init_from(network, tmp_path / "o.safetensors")
