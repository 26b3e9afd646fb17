"""Expected errors: fitted to what they should say, kept with the weights, carried to every output."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from test_model import CROPS, HEADS, make_inputs

from lgnet.checkpoint import load_weights, save_weights
from lgnet.confidence import META, Calibration, features, fit, from_meta, to_meta
from lgnet.model.network import build_network


def test_fit_finds_the_mean_of_errors_and_ranks_them():
    g = torch.Generator().manual_seed(0)
    told = torch.randn(6000, 5, generator=g)
    mean = torch.stack([0.02 * (0.6 * told[:, 0]).exp(), torch.full((6000,), 0.3)], 1)
    errors = mean * -torch.rand(6000, 2, generator=g).clamp_min(1e-6).log()  # exponential about that mean
    errors[::7, 0] = float("nan")  # no truth
    said = fit(told, errors, hidden=8, steps=200)(told)
    assert bool((said > 0).all())
    # the mean of exponentials is known to about 1 / sqrt(n); what is said has to follow it over the whole range
    for low, high in ((-3, -1), (-0.3, 0.3), (1, 3)):
        rows = (told[:, 0] > low) & (told[:, 0] < high)
        assert said[rows, 0].mean() == pytest.approx(mean[rows, 0].mean().item(), rel=0.12)
    assert said[:, 1].mean() == pytest.approx(0.3, rel=0.05)
    assert said[:, 1].std() < 0.05


def hand_worked():
    """One feature, one unit: error = exp(tanh(2 (x - 1) / 0.5) * 3 - 4), and exp(-1) whatever x is."""
    one = torch.ones(1)
    return Calibration(
        mean=one,
        deviation=0.5 * one,
        hidden=2 * torch.ones(1, 1),
        hidden_bias=0 * one,
        out=torch.tensor([[3.0], [0.0]]),
        out_bias=torch.tensor([-4.0, -1.0]),
    )


def test_a_perceptron_by_hand_and_back_from_metadata():
    x = torch.tensor([[1.0], [1.25], [9.0]])  # the last is clamped to 4 deviations
    wanted = [np.exp(np.tanh(2 * u) * 3 - 4) for u in (0.0, 0.5, 4.0)]
    for calibration in (hand_worked(), from_meta(json.loads(json.dumps({META: to_meta(hand_worked())})))):
        np.testing.assert_allclose(calibration(x)[:, 0], wanted, rtol=1e-4)
        np.testing.assert_allclose(calibration(x)[:, 1], np.exp(-1), rtol=1e-4)
    assert from_meta({}) is None
    with pytest.raises(ValueError, match=r"calibrate\.py"):
        from_meta({META: {**to_meta(hand_worked()), "hidden": [[1.0, 2.0, 3.0]]}})
    with pytest.raises(ValueError, match=r"calibrate\.py"):
        from_meta({META: {"mean": [0.0]}})


@pytest.mark.parametrize("config", [HEADS, CROPS, dataclasses.replace(CROPS, joint_stage=False, refine_stage=False)])
def test_features_of_every_kind_of_network(config):
    network, inputs = build_network(config).eval(), make_inputs(config, 3)
    with torch.inference_mode():
        told = features(inputs, network(inputs))
        one = dataclasses.replace(inputs, **{k: v[1:2] for k, v in vars(inputs).items()})
        alone = features(one, network(one))
    assert told.shape[:3] == (3, 2, 21) and bool(told.isfinite().all())
    torch.testing.assert_close(alone[0], told[1], atol=1e-3, rtol=1e-3)  # of a hand's own picture alone
    assert torch.equal(told[..., -21:], torch.eye(21).expand(3, 2, 21, 21))


def test_features_are_what_the_calibration_was_fitted_to():
    """By hand, of one joint: the units and the order of what the bundled numbers multiply."""
    network, inputs = build_network(CROPS).eval(), make_inputs(CROPS, 1)
    with torch.inference_mode():
        output = network(inputs)
    told = features(inputs, output)[0, 1, 8].double()
    joint, mesh, refine = output.joint, output.mesh, output.refine
    seen, final, rough = (
        joint.joints25d[0, 1, 8].double(),
        refine.joints[0, 1, 8].double(),
        mesh.joints[0, 1, 8].double(),
    )
    scale, middle = mesh.camera[0, 1, 0].double(), mesh.camera[0, 1, 1:].double()
    flat = scale * final[:2] + middle
    doubts = [
        *joint.spread[0, 1, 8].double().clamp_min(1e-4).log(),
        ((flat - seen[:2]).norm() + 0.01).log(),
        ((final[2] - seen[2]).abs() + 0.002).log(),
        ((final - rough).norm() + 0.0005).log(),
    ]
    own = [*doubts, *seen[:2].abs(), 10 * final.norm(), 10 * final[2]]
    torch.testing.assert_close(told[: len(own)], torch.stack(own), atol=1e-4, rtol=1e-3)
    geometry = inputs.geometry[0, 1].double()
    whole = [
        joint.presence_logit[0, 1].double().clamp(-8, 8),
        scale.log(),
        *mesh.rotations[0, 1, 0, 2].double(),
        0.3 * mesh.betas[0, 1].double().norm(),
        geometry[:2].norm(),
        *geometry[2:4],
    ]
    start = len(own) + len(doubts)  # the doubts' means over the joints come before
    torch.testing.assert_close(told[start : start + len(whole)], torch.stack(whole), atol=1e-4, rtol=1e-3)
    assert told[start + len(whole) :].argmax() == 8 and len(told) == start + len(whole) + 21


def test_weights_carry_their_calibration_and_results_its_errors(tmp_path):
    from lgnet.outputs import to_npz
    from lgnet.predict import load

    network = build_network(CROPS)
    f = features(make_inputs(CROPS, 1), network.eval()(make_inputs(CROPS, 1))).shape[-1]
    # expected: exp(-3) m of every joint, whatever is seen
    flat = Calibration(
        torch.zeros(f), torch.ones(f), torch.zeros(2, f), torch.zeros(2), torch.zeros(2, 2), -3 * torch.ones(2)
    )
    plain, told = tmp_path / "plain.safetensors", tmp_path / "told.safetensors"
    save_weights(plain, network, CROPS, {"name": "x"})
    save_weights(told, network, CROPS, {"name": "x", META: to_meta(flat)})
    image = np.random.default_rng(0).integers(0, 255, (100, 120, 3), np.uint8).astype(np.uint8)
    boxes = np.array([[10.0, 20, 40, 50], [60.0, 20, 40, 50]])
    hands = load(str(told), "cpu").predict(image, boxes=boxes)
    expected = np.full(21, np.exp(-3))
    expected[0] = 0  # the root
    np.testing.assert_allclose(hands.right.joint_errors, expected, rtol=1e-4)
    assert hands.left.error == pytest.approx(np.exp(-3) * 20 / 21, rel=1e-4)
    result = hands.to_dict()["hands"][0]
    assert result["error"] == hands.right.error and result["joint_errors"] == hands.right.joint_errors.tolist()
    assert json.dumps(result)
    (tmp_path / "x.npz").write_bytes(to_npz(hands))
    with np.load(tmp_path / "x.npz") as arrays:
        np.testing.assert_array_equal(arrays["left_joint_errors"], hands.left.joint_errors)
        assert arrays["right_error"] == hands.right.error
    # twice as long a hand is twice as wrong
    model = load(str(told), "cpu")
    long = dataclasses.replace(model, hand_length=0.3).predict(image, boxes=boxes).right
    np.testing.assert_allclose(long.joint_errors, expected * long.scale, rtol=1e-4)
    without = load(str(plain), "cpu").predict(image, boxes=boxes)
    assert without.right.joint_errors is None and "joint_errors" not in without.to_dict()["hands"][0]


def test_calibrating_a_file_leaves_its_weights_alone(tmp_path):
    pytest.importorskip("numba", reason="drawing scenes needs the extra lgnet[train]")
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
    try:
        import calibrate
    finally:
        sys.path.pop(0)
    path, config = tmp_path / "small.safetensors", dataclasses.replace(CROPS, crop_size=64)
    network = build_network(config).eval()
    save_weights(path, network, config, {"name": "small"}, half=True)
    before = load_weights(path)
    calibrate.write(path, path, calibrate.calibrate(network, config, 20))
    after = load_weights(path)
    assert all(torch.equal(v, after.state[k]) for k, v in before.state.items())
    assert after.meta["name"] == "small"
    said = from_meta(after.meta)(features(make_inputs(config, 2), network(make_inputs(config, 2))))
    # an untrained network is about as wrong as a hand is large, 0.05 to 0.15 m, and about half a crop
    assert 0.03 < float(said[..., 1:, 0].mean()) < 0.3


def test_dots_are_white_where_it_is_sure_and_black_where_not():
    from lgnet.hands import Camera, Hand, TwoHands
    from lgnet.marks import mark_joints

    joints = np.stack([np.arange(21) * 10.0 + 5, np.full(21, 20.0)], 1)
    joints[20] = np.nan
    errors = np.full(21, 0.035)  # half way from 10 to 60 mm
    errors[0], errors[1] = 0.0, 0.2
    zeros = np.zeros((21, 3))
    hand = Hand("right", 1.0, np.array([0, 0, 210, 40.0]), joints, zeros, zeros, zeros, zeros[:1].astype(int), zeros[:16],
                np.zeros(10), np.zeros(3), joint_errors=errors)  # fmt: skip
    picture = np.full((40, 210, 3), 77, np.uint8)
    camera = Camera(100, 100, 105, 20)
    marked = mark_joints(picture, TwoHands(hand, None, 210, 40, camera))
    assert marked[20, [5, 15]].tolist() == [[255] * 3, [0] * 3]
    assert abs(int(marked[20, 25, 0]) - 127) <= 1
    assert (marked[20, 10] == 77).all() and (marked[20, 205] == 77).all() and (picture == 77).all()
    plain = dataclasses.replace(hand, joint_errors=None)
    assert np.array_equal(mark_joints(picture, TwoHands(plain, None, 210, 40, camera)), picture)
