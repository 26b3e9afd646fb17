"""Test-time augmentation: crops of one hand, rolled and averaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import lgnet
from lgnet.crop import hand_crops
from lgnet.data.registry import open_data, spread
from lgnet.evaluate import predict_sample
from lgnet.geometry import rotvec_to_matrix
from lgnet.model.records import JointOutput, MeshOutput, Output, RefineOutput
from lgnet.tta import AGREE, WIDEST, mean_of_rolls, rolls

K = np.array([300.0, 300.0, 160.0, 120.0])
BOXES = np.array([[40.0, 60.0, 80.0, 90.0], [180.0, 70.0, 70.0, 60.0]])


def test_rolls_lie_evenly_about_no_roll() -> None:
    assert rolls(1).tolist() == [0.0]
    assert torch.rad2deg(rolls(3)).tolist() == pytest.approx([-WIDEST, 0.0, WIDEST])
    assert rolls(4).sum().item() == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="1 to 64, not 0"):
        rolls(0)


def said(separation: str, roll: float, rng: np.random.Generator) -> Output:
    """What a network that makes no mistake says of two hands seen in crops rolled so."""
    points = rng.normal(0, 0.05, (2, 21, 3)) + np.array([[[-0.1, 0, 0.5]], [[0.1, 0, 0.6]]])
    turns = rotvec_to_matrix(torch.from_numpy(rng.normal(0, 0.7, (2, 16, 3)))).numpy()
    crops = hand_crops(BOXES, np.ones(2, bool), K, 128, 1.25, separation, roll)
    pixels = points[..., :2] / points[..., 2:] * K[:2] + K[2:]
    xy = np.stack([crop.image_to_crop(uv) for crop, uv in zip(crops.hands, pixels)])
    own = np.stack([crop.to_crop(p) for crop, p in zip(crops.hands, points)])
    rotations = np.stack([crop.pose_to_crop(turn) for crop, turn in zip(crops.hands, turns)])
    own3 = own - own[:, :1]
    flat = np.concatenate([xy, own3[..., 2:]], -1)

    def row(x) -> torch.Tensor:
        return torch.from_numpy(np.asarray(x, np.float64))[None]

    maps = row(np.zeros((2, 4, 2, 2)))
    scale, shift = np.full((2, 1), 8.0), xy[:, 9]  # a weak camera that goes with the crop
    joint = JointOutput(row(flat), row(np.ones((2, 21, 3))), maps, maps, row(np.zeros((2, 21, 4))), row(np.zeros(2)))
    mesh = MeshOutput(
        row(rotations),
        row(np.zeros((2, 10))),
        row(np.concatenate([scale, shift], 1)),
        row(crops.pair.to_crop(points[1, 0] - points[0, 0])),
        row(own3),
        row(own3),
    )
    return Output(joint, mesh, RefineOutput(row(np.zeros_like(own3)), row(own3), row(own3)))


def stacked(outputs: list[Output]) -> Output:
    """Rows side by side."""

    def together(*records):
        if isinstance(records[0], torch.Tensor):
            return torch.cat(records)
        if records[0] is None or isinstance(records[0], dict):
            return records[0]
        names = records[0].__dataclass_fields__
        return type(records[0])(**{name: together(*(getattr(r, name) for r in records)) for name in names})

    return together(*outputs)


@pytest.mark.parametrize("separation", ["crops", "heads"])
def test_a_network_without_error_says_the_same_after_any_number_of_crops(separation: str) -> None:
    """The way back from a rolled crop, mirrored or not, for every kind of value; two pictures, so that rows do not mix."""
    angles = rolls(4).double()
    rows, wanted = [], []
    for picture in (1, 2):
        rows += [said(separation, float(a), np.random.default_rng(picture)) for a in angles]
        wanted.append(said(separation, 0.0, np.random.default_rng(picture)))
    mean, truth = mean_of_rolls(stacked(rows), angles, separation == "crops"), stacked(wanted)
    for stage, names in {
        "joint": ("joints25d", "presence_logit"),
        "mesh": ("rotations", "camera", "relative", "vertices", "joints", "betas"),
        "refine": ("offsets", "vertices", "joints"),
    }.items():
        for name in names:
            got, want = getattr(getattr(mean, stage), name), getattr(getattr(truth, stage), name)
            assert (got - want).abs().max() < 1e-9, f"{stage}.{name}"


def test_a_crop_that_says_something_else_does_not_count() -> None:
    """Their mean would be a small ball: two crops that agree are the answer, whatever the third says."""
    rng = np.random.default_rng
    one, other = said("crops", 0.0, rng(1)), said("crops", 0.0, rng(2))
    near = replace(one, refine=replace(one.refine, joints=one.refine.joints + 0.002))
    assert (one.refine.joints - other.refine.joints).norm(dim=-1).mean() > AGREE
    for order in ([one, near, other], [other, one, near], [near, other, one]):
        mean = mean_of_rolls(stacked(order), torch.zeros(3, dtype=torch.float64), True)
        torch.testing.assert_close(mean.refine.joints, one.refine.joints + 0.001)
        torch.testing.assert_close(mean.mesh.rotations, one.mesh.rotations)


def test_rotations_are_averaged_to_a_rotation() -> None:
    a, b = (said("crops", 0.0, np.random.default_rng(seed)) for seed in (1, 2))
    b = replace(a, mesh=replace(a.mesh, rotations=b.mesh.rotations))  # joints agree, so both count
    mean = mean_of_rolls(stacked([a, b]), torch.zeros(2, dtype=torch.float64), True).mesh.rotations
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(mean @ mean.transpose(-1, -2), eye.expand_as(mean), rtol=0, atol=1e-9)
    assert (torch.linalg.det(mean) > 0).all()
    torch.testing.assert_close(  # as far from the one as from the other
        (mean - a.mesh.rotations).square().sum((-1, -2)), (mean - b.mesh.rotations).square().sum((-1, -2))
    )


def test_a_hand_seen_in_one_crop_is_there() -> None:
    a, b = (said("crops", 0.0, np.random.default_rng(1)) for _ in range(2))
    seen = replace(b, joint=replace(b.joint, presence_logit=torch.tensor([[3.0, -2.0]], dtype=torch.float64)))
    mean = mean_of_rolls(stacked([a, seen]), torch.zeros(2, dtype=torch.float64), True)
    assert mean.joint.presence_logit.tolist() == [[3.0, 0.0]]


def test_three_crops_err_less_than_one() -> None:
    """With the bundled weights, over every tenth picture of synth-bench: not for each hand, but in the mean."""
    data, means = spread(open_data("synth-bench"), 100), []
    samples = [data.load(index) for index in range(100)]
    for tta in (1, 3):
        model, errors = lgnet.load(device="cpu", tta=tta), []
        for sample in samples:
            hands = predict_sample(model, sample, "truth")
            for side, hand in enumerate((hands.right, hands.left)):
                if hand is not None and sample.present[side]:
                    off = (hand.joints3d - hand.joints3d[0]) - (sample.joints3d[side] - sample.joints3d[side, 0])
                    errors.append(np.linalg.norm(off, axis=-1).mean())
        means.append(np.mean(errors))
    assert means[1] < means[0]
