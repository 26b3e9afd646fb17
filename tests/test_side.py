"""What the side network is shown and how its answers are read; not how well it is trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lgnet.config import SideConfig
from lgnet.data.sample import empty_sample
from lgnet.side import LEFT, NO_HAND, RIGHT, build_side_net, cut_place, side_batch, side_probabilities

K = np.array([200.0, 200, 79.5, 59.5])


@pytest.fixture
def sample():
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:80, 20:60] = (200, 0, 0)  # the right hand is red
    image[40:80, 100:140] = (0, 0, 200)  # the left one blue
    box = np.array([[20, 40, 40, 40], [100, 40, 40, 40]], np.float32)
    return replace(empty_sample("s", "separate", image, K), present=np.ones(2, bool), box=box)


def test_crops_carry_their_labels(sample):
    images, labels, rows = side_batch([sample, sample], SideConfig(), None)
    assert rows.tolist() == sorted(rows.tolist())
    middle = images[:, :, 60:68, 60:68].mean((2, 3))
    for colour, label in zip(middle, labels.tolist()):
        if label == RIGHT:
            assert colour[0] > 0.7 > colour[2]
        elif label == LEFT:
            assert colour[2] > 0.7 > colour[0]
        else:
            assert colour.sum() < 0.7


def test_places_without_a_hand_stay_off_the_hands(sample):
    images, labels, _ = side_batch([sample] * 40, SideConfig(), np.random.default_rng(1))
    empty = images[labels == NO_HAND][:, :, 56:72, 56:72]
    assert len(empty) > 3
    assert (empty.amax((1, 2, 3)) < 0.35).float().mean() > 0.7


def test_a_mirrored_picture_changes_sides_exactly():
    torch.manual_seed(0)
    net = build_side_net().eval()
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    box = np.array([30.0, 40, 50, 40])
    flipped = np.array([159 - 30 - 50.0, 40, 50, 40])
    p = side_probabilities(net, image, [box], K)[0]
    q = side_probabilities(net, np.ascontiguousarray(image[:, ::-1]), [flipped], K)[0]
    np.testing.assert_allclose(p.sum(), 1)
    np.testing.assert_allclose(q[[LEFT, RIGHT, NO_HAND]], p, atol=2e-3)


def test_the_crop_is_wider_than_the_box(sample):
    config = SideConfig(crop_enlarge=2.0)
    crop = cut_place(sample.image, sample.box[0].astype(float), K, config)
    assert crop.shape == (config.crop_size, config.crop_size, 3)
    red = crop[..., 0] > 100
    assert red.mean() == pytest.approx(0.25, abs=0.04)
