"""Fits are held against hands whose pose is known, of both sides and both kinds of model."""

import json
import math

import numpy as np
import pytest
import torch

from lgnet.anatomy import LIMITS, rotations_from_angles
from lgnet.cli import main
from lgnet.data.refit import refit
from lgnet.data.sample import empty_sample, set_joints
from lgnet.fit import fit_joints, fit_pixels, fit_vertices, joints_only
from lgnet.geometry import project, rotvec_to_matrix
from lgnet.hand_model import load_hand_model, pose_hand

torch.set_num_threads(1)
K = torch.tensor([500.0, 510.0, 128.0, 120.0])


def some_hands(count, side="right", seed=0):
    """Rotations, shapes and places of hands anywhere within their joints' limits."""
    generator = torch.Generator().manual_seed(seed)
    low, high = (torch.from_numpy(LIMITS[..., i]).float() for i in (0, 1))
    angles = low + (high - low) * torch.rand(count, 15, 3, generator=generator)
    turn = rotvec_to_matrix(torch.randn(count, 3, generator=generator))
    model = load_hand_model("lgnet", side)
    rotations = torch.cat([turn[:, None], rotations_from_angles(model, angles)], 1)
    place = torch.tensor([0, 0, 0.6]) + 0.05 * torch.randn(count, 3, generator=generator)
    return model, rotations, torch.randn(count, 10, generator=generator), place


@pytest.mark.parametrize("side", ["right", "left"])
def test_joints_of_another_shape(side):
    model, rotations, betas, place = some_hands(12, side)
    truth = pose_hand(model, rotations, betas)
    fit = fit_joints(model, truth.joints + place[:, None])
    assert fit.residual.shape == (12, 21)
    assert fit.residual.max() < 0.002
    posed = pose_hand(model, fit.rotations, fit.betas)
    torch.testing.assert_close(posed.joints + fit.translation[:, None], fit.joints, atol=1e-5, rtol=0)
    meshes = (posed.vertices + fit.translation[:, None] - truth.vertices - place[:, None]).norm(dim=-1)
    assert meshes.mean() < 0.001  # and with the joints the skin comes out, twist and all


def test_wrong_and_missing_joints_pull_little():
    model, rotations, betas, place = some_hands(6)
    truth = pose_hand(model, rotations, betas).joints + place[:, None]
    given = truth.clone()
    given[:, 8] += torch.tensor([0.2, 0, 0])  # a fingertip 20 cm away
    given[:, 16] = torch.nan
    fit = fit_joints(model, given)
    others = [j for j in range(21) if j not in (7, 8, 15, 16)]
    assert (fit.joints - truth)[:, others].norm(dim=-1).mean() < 0.003
    assert fit.residual[:, 16].isnan().all()
    assert (fit.residual[:, 8] > 0.1).all()  # and it is reported
    known = torch.ones(6, 21, dtype=torch.bool)
    known[:, 8] = False
    without = fit_joints(model, given, known)
    assert without.residual[:, [8, 16]].isnan().all()
    assert without.residual[:, others].max() < 0.002


def test_limits_hold_back_what_no_hand_does():
    model, _, _, _ = some_hands(1)
    angles = torch.zeros(1, 15, 3)
    angles[0, 4, 0] = math.radians(-60)  # the index finger's PIP bent backwards by 60 degrees; its limit is -5
    rotations = torch.cat([torch.eye(3).expand(1, 1, 3, 3), rotations_from_angles(model, angles)], 1)
    fit = fit_joints(model, pose_hand(model, rotations, torch.zeros(1, 10)).joints)
    turned = torch.acos(((fit.rotations[0, 5].diagonal().sum() - 1) / 2).clamp(-1, 1))
    assert turned < math.radians(40)
    assert fit.residual.max() > 0.005


def test_pixels_and_camera():
    model, rotations, betas, place = some_hands(8)
    truth = pose_hand(model, rotations, betas * 0.3).joints + place[:, None]
    fit = fit_pixels(model, project(truth, K), K.expand(8, 4))
    assert fit.residual.mean() < 0.7  # pixels
    torch.testing.assert_close(
        (project(fit.joints, K) - project(truth, K)).norm(dim=-1), fit.residual, atol=1e-3, rtol=0
    )
    relative = (fit.joints - fit.joints[:, :1] - truth + truth[:, :1]).norm(dim=-1).mean(1)
    assert relative.median() < 0.012
    assert (fit.translation[:, 2] / place[:, 2] - 1).abs().median() < 0.1  # as far as its average size tells


def test_meshes_of_the_same_kind():
    model, rotations, betas, place = some_hands(4, "left")
    vertices = pose_hand(model, rotations, betas).vertices + place[:, None]
    fit = fit_vertices(model, vertices)
    assert fit.residual.mean() < 0.0005
    again = pose_hand(model, fit.rotations, fit.betas).vertices + fit.translation[:, None]
    assert (again - vertices).norm(dim=-1).mean() < 0.0005
    with pytest.raises(ValueError, match="mesh of 5 vertices is not of lgnet"):
        fit_vertices(model, vertices[:, :5])


def test_joints_alone_pose_as_the_whole_hand():
    model, rotations, betas, _ = some_hands(3)
    torch.testing.assert_close(
        pose_hand(joints_only(model), rotations, betas).joints, pose_hand(model, rotations, betas).joints
    )


def test_too_few_joints():
    known = torch.zeros(1, 21, dtype=torch.bool)
    known[:, :7] = True
    with pytest.raises(ValueError, match="has 7 known joints; a fit takes 8 or more"):
        fit_joints(load_hand_model(), torch.zeros(1, 21, 3), known)


def test_samples_with_joints_alone_train_this_hand():
    samples, truths = [], []
    for side in ("right", "left"):
        model, rotations, betas, place = some_hands(1, side)
        posed = pose_hand(model, rotations, betas)
        joints = (posed.joints + place[:, None])[0].numpy()
        sample = empty_sample(side, "single", np.zeros((8, 8, 3), np.uint8), K.numpy())
        object.__setattr__(sample, "score_box", np.zeros((2, 4), np.float32))
        every = np.ones(21, bool)
        index = ("right", "left").index(side)
        set_joints(sample, index, project(torch.from_numpy(joints), K).numpy(), every, joints, every)
        samples.append(sample)
        truths.append(posed.vertices[0])
    wrong = empty_sample("no hand's", "single", samples[0].image, None)
    wrong.present[0] = wrong.joints3d_valid[0] = True
    wrong.joints3d[0] = np.random.default_rng(0).normal(0, 0.1, (21, 3))
    fitted = refit([*samples, wrong], "lgnet")
    assert [s.has_params.tolist() for s in fitted] == [[True, False], [False, True], [False, False]]
    assert samples[0].has_params.tolist() == [False, False]  # what came in stays
    for index, (sample, truth) in enumerate(zip(fitted, truths)):
        assert sample.hand_model == "lgnet"
        model = load_hand_model("lgnet", ("right", "left")[index])
        rotations = rotvec_to_matrix(torch.from_numpy(sample.pose[index]))
        posed = pose_hand(model, rotations, torch.from_numpy(sample.shape[index]))
        assert (posed.vertices - truth).norm(dim=-1).mean() < 0.002


def test_command(tmp_path, capsys):
    model, rotations, betas, place = some_hands(1, "left")
    joints = (pose_hand(model, rotations, betas).joints + place[:, None])[0]
    file, out = tmp_path / "mine.json", tmp_path / "out.json"
    points = joints.tolist()
    points[3] = None
    camera = dict(zip(("fx", "fy", "cx", "cy"), K.tolist()))
    file.write_text(json.dumps({"hands": [{"side": "left", "joints3d": points}], "camera": camera}))
    assert main(["fit", str(file), "--out", str(out)]) == 0
    assert "left hand: 20 joints, residual 0." in capsys.readouterr().out
    (hand,) = json.loads(out.read_text())["hands"]
    np.testing.assert_allclose(hand["joints3d"], joints, atol=0.003)
    np.testing.assert_allclose(hand["translation"], joints[0], atol=0.002)
    assert np.shape(hand["pose"]) == (16, 3) and np.shape(hand["shape"]) == (10,)
    assert hand["residual"]["unit"] == "mm" and hand["residual"]["mean"] < 2
    assert out.with_name("out_left.obj").read_text().count("\nv ") > 1600

    pixels = project(joints, K).tolist()
    file.write_text(json.dumps({"hands": [{"side": "left", "joints2d": pixels}], "camera": camera}))
    assert main(["fit", str(file), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["hands"][0]["residual"]["unit"] == "px"
    for content, complaint in (
        ({"hands": [{"side": "left", "joints2d": pixels}]}, "has joints in pixels but no camera"),
        ({"hands": [{"side": "both", "joints3d": points}]}, "hand 1 has the side 'both'"),
        ({"hands": [{"side": "left", "joints3d": points[:4]}]}, "hand 1: joints3d is not 21 x 3"),
        (
            {"hands": [{"side": "left", "joints2d": pixels}], "camera": camera | {"fx": 0}},
            "focal lengths of at least 1",
        ),
        (
            {"hands": [{"side": "left", "joints2d": pixels}], "camera": camera | {"fy": float("nan")}},
            "of at least 1, not",
        ),
        ({"hands": [{"side": "left", "joints2d": [[5, 5]] * 21}], "camera": camera}, "all lie in one place"),
        (
            {"hands": [{"side": "left", "joints3d": [[1e30, 0, 0]] * 21}]},
            "holds 1e+30; metres, not millimetres, are wanted",
        ),
        ({"hands": []}, "has no list of hands"),
        ([1], "has no list of hands"),
    ):
        file.write_text(json.dumps(content))
        assert main(["fit", str(file), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert complaint in error and "mine.json" in error and error.count("\n") == 1
    assert main(["fit", str(file), "--out", str(file)]) == 2
    assert "would replace the key points" in capsys.readouterr().err and json.loads(file.read_text()) == [1]
