"""What the network that sees both hands is shown, asked for and how its answers are read; not how well it is trained."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lgnet import finder
from lgnet.config import PairConfig
from lgnet.data.sample import empty_sample
from lgnet.detect import Place
from lgnet.pair import (
    PairOutput,
    box_in_crop,
    box_in_picture,
    box_overlap,
    build_pair_net,
    look_at_pairs,
    match,
    pair_batch,
    pair_crop,
    pair_loss,
)
from lgnet.places import together

K = np.array([200.0, 200, 79.5, 59.5])
CONFIG = PairConfig(crop_size=64, grid=4, depths=(1, 1, 1, 1))


@pytest.fixture
def sample():
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:80, 20:60] = (200, 0, 0)  # the right hand is red
    image[50:70, 100:140] = (0, 0, 200)  # the left one blue
    box = np.array([[19.5, 39.5, 40, 40], [99.5, 49.5, 40, 20]], np.float32)
    return replace(empty_sample("s", "separate", image, K), present=np.ones(2, bool), box=box)


def seen(image, box):
    """Mean colour inside a box as the network says it, and outside of it."""
    size = image.shape[-1]
    middle, reach = box[:2].numpy(), np.exp(box[2:].numpy())
    low, high = ((middle + sign * reach / 2 + 1) * size / 2 for sign in (-1, 1))
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    inside = (x > low[0] + 1) & (x < high[0] - 1) & (y > low[1] + 1) & (y < high[1] - 1)
    return image.numpy()[:, inside].mean(1)


def test_boxes_lie_where_the_hands_are(sample):
    images, boxes, present = pair_batch([sample], CONFIG, None)
    assert present.all()
    red, blue = (seen(images[0], box) for box in boxes[0])
    assert red[0] > 0.7 > 0.05 > red[2]
    assert blue[2] > 0.7 > 0.05 > blue[0]
    assert boxes[0, 0, 2].exp() == pytest.approx(40 / 120 * 2 / CONFIG.crop_enlarge, rel=0.05)  # 120 wide together


def test_boxes_go_along_with_moved_and_mirrored_crops(sample):
    images, boxes, present = pair_batch([sample] * 40, CONFIG, np.random.default_rng(0))
    mirrored = 0
    for image, pair, there in zip(images, boxes, present):
        colours = [seen(image, box) for box, given in zip(pair, there) if given and (box[:2].abs() < 0.6).all()]
        assert all(c.max() > 0.3 for c in colours)
        if there.all() and len(colours) == 2:
            flipped = colours[0][2] > colours[0][0]  # the right hand is blue: the mirror picture of the left one
            mirrored += flipped
            assert (colours[1][0] > colours[1][2]) == flipped
    assert 2 < mirrored < 38
    assert not present.all()  # crops about one hand leave the other out


def test_a_hand_out_of_view_is_none(sample):
    config = replace(CONFIG, crop_enlarge=0.5)
    _, boxes, present = pair_batch([sample], config, None)
    assert not present.any()
    assert torch.isfinite(boxes).all()
    alone = replace(sample, present=np.array([True, False]))
    assert pair_batch([alone], CONFIG, None).present.tolist() == [[True, False]]
    nobody = replace(sample, present=np.zeros(2, bool))
    assert not pair_batch([nobody], CONFIG, None).present.any()


def test_boxes_come_back_from_the_crop(sample):
    crop = pair_crop(sample.box, K, CONFIG)
    for box in sample.box:
        np.testing.assert_allclose(box_in_picture(box_in_crop(box, crop), crop), box, atol=1.0)


def answers(truth, order, logit=8.0):
    """What is asked for, said in this order."""
    there = truth.present[:, order]
    sides = torch.eye(2)[order].expand(len(there), 2, 2) * 20
    return PairOutput(torch.where(there, logit, -logit), truth.boxes[:, order], sides)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_order_of_the_answers_is_free(sample, order):
    alone = replace(sample, present=np.array([False, True]))
    truth = pair_batch([sample, alone], CONFIG, None)
    output = answers(truth, order)
    there, hand, off = match(output, truth)
    assert hand.tolist() == [order, order]
    assert there.tolist() == [[True, True], [side == 1 for side in order]]
    assert float(off[there].max()) == 0
    assert float(pair_loss(output, truth)[0]) < 0.01


def test_what_is_wrong_costs(sample):
    truth = pair_batch([sample], CONFIG, None)
    output = answers(truth, [0, 1])
    twice = output._replace(boxes=output.boxes[:, [0, 0]])  # both on the right hand
    exchanged = output._replace(sides=output.sides[:, [1, 0]])
    none = output._replace(logits=-output.logits)
    right = pair_loss(output, truth)[1]
    assert pair_loss(twice, truth)[1]["box"] > right["box"] + 0.3
    assert pair_loss(exchanged, truth)[1]["side"] > right["side"] + 5
    assert pair_loss(none, truth)[1]["presence"] > right["presence"] + 5


def test_every_term_is_minimised(sample):
    truth = pair_batch([sample], CONFIG, None)
    output = answers(truth, [0, 1])
    total = float(pair_loss(output, truth)[0])
    moved = output._replace(boxes=output.boxes + 0.3)
    exchanged = output._replace(sides=output.sides[:, [1, 0]])
    none = output._replace(logits=-output.logits)
    for worse in (moved, exchanged, none):
        assert float(pair_loss(worse, truth)[0]) > total + 0.1


def test_of_two_answers_on_a_hand_the_surer_is_meant(sample):
    """One hand, two answers equally far from it."""
    alone = replace(sample, present=np.array([True, False]))
    truth = pair_batch([alone], CONFIG, None)
    both = answers(truth, [0, 1])._replace(boxes=truth.boxes[:, [0, 0]] + torch.tensor([[[0.05], [0.05]]]))
    for logits, meant in (([3.0, -3.0], [True, False]), ([-3.0, 3.0], [False, True])):
        assert match(both._replace(logits=torch.tensor([logits])), truth)[0].tolist() == [meant]


def test_a_box_is_read_where_the_attention_is():
    """Each answer looks at one cell and says: the middle is a quarter of a crop to the right of the cell, and below."""
    net = build_pair_net(CONFIG).eval()
    cells = {0: (2, 0), 1: (1, 3)}  # row, column of a grid of 4
    votes = torch.zeros(1, 10, 4, 4)
    for hand, (row, column) in cells.items():
        votes[0, 5 * hand, row, column] = 50
        votes[0, 5 * hand + 1 : 5 * hand + 5, row, column] = torch.tensor([0.25, 0.1, 0.2, -0.3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net.votes, "forward", lambda x: votes)
        boxes = net(torch.rand(1, 3, 64, 64)).boxes[0]
    for hand, (row, column) in cells.items():
        x, y = (2 * column + 1) / 4 - 1, (2 * row + 1) / 4 - 1
        torch.testing.assert_close(boxes[hand], torch.tensor([x + 0.25, y + 0.1, -0.3, -0.8]))


def test_a_box_that_is_said_to_be_endless_is_not(sample):
    crop = pair_crop(sample.box, K, CONFIG)
    assert np.isfinite(box_in_picture(np.array([0.0, 0, 90, -90]), crop)).all()
    assert box_in_picture(np.array([0.0, 0, 90, 90]), crop)[2:].max() < 2000


def test_overlap_of_boxes():
    boxes = torch.tensor([[[0.0, 0, 0, 0], [0.0, 0, 0, 0]]])
    others = torch.tensor([[[0.5, 0, 0, 0], [2.0, 0, 0, 0]]])
    torch.testing.assert_close(box_overlap(boxes, others), torch.tensor([[1 / 3, 0.0]]))


def test_what_training_asks_for_is_what_the_finder_gets(sample, monkeypatch):
    """The network's words are read in the frame they were learnt in, of the picture and of its mirror image."""
    net = build_pair_net(CONFIG).eval()
    truth = pair_batch([sample], CONFIG, None)

    def said(crops):
        assert torch.equal(crops[:1], truth.images) and torch.equal(crops[1:], truth.images.flip(-1))
        plain, flip = answers(truth, [0, 1]), torch.tensor([-1.0, 1, 1, 1])
        return PairOutput(
            plain.logits.repeat(2, 1), torch.cat([plain.boxes, plain.boxes * flip]), plain.sides.repeat(2, 1, 1)
        )

    monkeypatch.setattr(net, "forward", said)
    found = look_at_pairs(net, sample.image, [sample.box.astype(float)], K)
    assert [place.look for place in found] == [0, 0]
    for place, true in zip(found, sample.box, strict=True):
        assert place.score == pytest.approx(1, abs=0.05)
        np.testing.assert_allclose(place.box, true, atol=1.0)


def test_looks_that_differ_count_for_less(sample, monkeypatch):
    """The mirrored look names the hands in the other order, and has the left one half its height to the side."""
    net = build_pair_net(CONFIG).eval()
    truth = pair_batch([sample], CONFIG, None)
    plain, other = answers(truth, [0, 1]), answers(truth, [1, 0])
    moved = other.boxes * torch.tensor([-1.0, 1, 1, 1])
    moved[0, 0, 1] += truth.boxes[0, 1, 3].exp() / 2
    said = PairOutput(*(torch.cat([a, b]) for a, b in zip(plain, other._replace(boxes=moved))))
    monkeypatch.setattr(net, "forward", lambda crops: said)
    right, left = look_at_pairs(net, sample.image, [sample.box.astype(float)], K)
    assert right.score == pytest.approx(1, abs=0.05)
    assert left.score == pytest.approx(1 / 3, abs=0.05)  # half of either box is shared
    np.testing.assert_allclose(right.box, sample.box[0], atol=1.0)
    np.testing.assert_allclose(left.box, sample.box[1] + [0, 5, 0, 0], atol=1.0)


@pytest.mark.parametrize(("order", "seen"), [([0, 1], 1), ([1, 0], 0)])
def test_a_lone_hand_is_left_to_the_detector(sample, monkeypatch, order, seen):
    """A look that is sure of one hand only adds nothing, whichever answer it is; the next group's look is none the less read."""
    net = build_pair_net(CONFIG).eval()
    alone = replace(sample, present=np.array([seen == 0, seen == 1]))
    one, both = (answers(pair_batch([s], CONFIG, None), order) for s in (alone, sample))
    flip = torch.tensor([-1.0, 1, 1, 1])
    said = PairOutput(*(torch.cat([a, b, a, b]) for a, b in zip(one, both)))
    said.boxes[2:] *= flip
    monkeypatch.setattr(net, "forward", lambda crops: said)
    found = look_at_pairs(net, sample.image, [sample.box.astype(float)] * 2, K)
    assert [place.look for place in found] == [1, 1]


def test_the_finder_asks_of_what_either_saw(sample, monkeypatch):
    """Places of the detector and of the pair network's look about the likely ones are all asked about."""
    asked = []
    detected = [Place(0.8, sample.box[0].astype(float)), Place(0.2, np.array([0.0, 0, 9, 9]))]
    more = [Place(0.9, sample.box[side].astype(float), 0) for side in (0, 1)]
    monkeypatch.setattr(finder, "find_places", lambda *asked: detected)
    monkeypatch.setattr(finder, "look_at_pairs", lambda net, image, groups, K: asked.append(groups) or more)
    monkeypatch.setattr(finder, "look_at_places", lambda net, image, boxes, K: np.full((len(boxes), 3), 1 / 3))
    places, sides = finder.find_sides(SimpleNamespace(detector=0, pair_net=0, side_net=0, seen=None), sample.image, K)
    assert [group.tolist() for group in asked[0]] == [[sample.box[0].tolist()]]
    assert places == [*detected, *more] and len(sides) == 4


def test_boxes_that_touch_are_looked_at_together():
    a, b, c, d = (np.array([x, 0.0, 10, 10]) for x in (0, 40, 8, 16))
    groups = together([a, b, c, d])
    assert sorted(len(group) for group in groups) == [1, 3]
    assert together([]) == []
