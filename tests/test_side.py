"""What the side network is shown and how its answers are read; not how well it is trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lgnet.anatomy import rotations_from_angles
from lgnet.checkpoint import save_weights
from lgnet.config import SideConfig, SynthConfig, to_dict
from lgnet.data.sample import FACE, empty_sample
from lgnet.finder import load_finder
from lgnet.geometry import iou
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.hands import LEFT, RIGHT
from lgnet.side import (
    NO_HAND,
    _empty_place,
    _face,
    _wrong_place,
    build_side_net,
    hand_axes,
    look_at_places,
    place_crop,
    side_batch,
)
from lgnet.synth.generate import make_sample, training_rng

K = np.array([200.0, 200, 79.5, 59.5])


@pytest.fixture
def sample():
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:80, 20:60] = (200, 0, 0)  # the right hand is red
    image[40:80, 100:140] = (0, 0, 200)  # the left one blue
    box = np.array([[20, 40, 40, 40], [100, 40, 40, 40]], np.float32)
    return replace(empty_sample("s", "separate", image, K), present=np.ones(2, bool), box=box)


def test_crops_carry_their_labels(sample):
    images, labels, _, rows = side_batch([sample, sample], SideConfig(), None)
    assert rows.tolist() == sorted(rows.tolist())
    middle = images[:, :, 60:68, 60:68].mean((2, 3))
    for colour, label in zip(middle, labels.tolist()):
        if label == RIGHT:
            assert colour[0] > 0.7 > colour[2]
        elif label == LEFT:
            assert colour[2] > 0.7 > colour[0]
        else:
            assert colour.sum() < 0.7


def test_places_that_are_no_hands_fit_no_hand(sample):
    rng = np.random.default_rng(2)
    empty, wrong = ([draw(sample, rng) for _ in range(60)] for draw in (_empty_place, _wrong_place))
    overlap = np.array(
        [[max(iou(box, hand.astype(float)) for hand in sample.box) for box in boxes] for boxes in (empty, wrong)]
    )
    assert overlap[0].max() < 0.15
    assert overlap[1].max() < 0.3
    assert np.median(overlap[1]) > 0.1  # near misses, not empty places


def test_faces_are_taken_for_no_hand():
    config = SynthConfig(size=256, people=1.0)
    samples = [make_sample(training_rng(3, 0, i), config, "single") for i in range(8)]
    found = 0
    for sample in samples:
        box = _face(sample, np.random.default_rng(0))
        if box is None:
            continue
        found += 1
        x, y, w, h = box.astype(int)
        inside = sample.parts[max(y, 0) : y + h, max(x, 0) : x + w]
        assert (inside == FACE).mean() > 0.15
        own = sample.box[np.flatnonzero(sample.present)[0]]
        assert iou(own, box) < 0.3
    assert found >= 2
    assert _face(replace(samples[0], parts=None), np.random.default_rng(0)) is None


def test_a_mirrored_picture_changes_sides_exactly():
    torch.manual_seed(0)
    net = build_side_net().eval()
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    box = np.array([30.0, 40, 50, 40])
    flipped = np.array([159 - 30 - 50.0, 40, 50, 40])
    p = look_at_places(net, image, [box], K)[0]
    q = look_at_places(net, np.ascontiguousarray(image[:, ::-1]), [flipped], K)[0]
    np.testing.assert_allclose(p.sum(), 1)
    np.testing.assert_allclose(q[[LEFT, RIGHT, NO_HAND]], p, atol=2e-3)


def test_the_crop_is_wider_than_the_box(sample):
    config = SideConfig(crop_enlarge=2.0)
    crop = place_crop(sample.box[0].astype(float), K, config).cut(sample.image)
    assert crop.shape == (config.crop_size, config.crop_size, 3)
    red = crop[..., 0] > 100
    assert red.mean() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(("name", "side"), [("right", RIGHT), ("left", LEFT)])
def test_axes_of_the_hand_at_rest(name, side):
    """Along to the fingers, across to the thumb, and the third out of the palm: the way fingers curl."""
    hand = load_hand_model("lgnet", name)
    angles = torch.zeros(2, 15, 3)
    angles[1, :, 0] = 0.8
    rotations = torch.cat([torch.eye(3).expand(2, 1, 3, 3), rotations_from_angles(hand, angles)], 1)
    flat, curled = pose_hand(hand, rotations, torch.zeros(2, 10)).joints.numpy()
    axes = hand_axes(flat, side)
    assert (flat[12] - flat[0]) @ axes[0] > 0.1
    assert (flat[4] - flat[17]) @ axes[1] > 0.03
    assert (curled[12] - flat[12]) @ axes[2] > 0.02


def test_mirroring_a_hand_mirrors_its_axes():
    joints = np.random.default_rng(0).normal(size=(21, 3))
    mirror = np.array([-1.0, 1, 1])
    np.testing.assert_allclose(hand_axes(joints * mirror, LEFT), hand_axes(joints, RIGHT) * mirror)


def test_a_file_carries_the_depth_of_its_backbone_and_one_of_another_version_is_refused(tmp_path, monkeypatch):
    config = SideConfig(crop_size=64, depths=(1, 2, 1, 1))
    save_weights(tmp_path / "deep", build_side_net(config), config, {}, kind="sides")
    finder = load_finder(torch.device("cpu"), sides=tmp_path / "deep")
    assert finder is not None
    assert finder.side_net.config == config
    monkeypatch.setattr("lgnet.checkpoint.to_dict", lambda c: {**to_dict(c), "novelty": 1})
    save_weights(tmp_path / "new", build_side_net(config), config, {}, kind="sides")
    with pytest.raises(ValueError, match=r"new: the SideConfig .*does not know: novelty"):
        load_finder(torch.device("cpu"), sides=tmp_path / "new")
