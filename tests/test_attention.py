"""What the LGBlock attends to: against a softmax written out in loops, and where it lies in the picture."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lgnet
from lgnet.attention import Attention, attend, draw, lay, to_maps
from lgnet.crop import HandCrops, crop_for_box
from lgnet.hands import assumed_camera
from lgnet.image_io import read_image
from lgnet.model.network import build_network
from lgnet.presets import MODELS

torch.set_num_threads(1)
EXAMPLES = Path(lgnet.__file__).parent / "examples"
K = np.array([600.0, 600.0, 319.5, 239.5])


@pytest.fixture(scope="module")
def model():
    return lgnet.load(device="cpu")


@pytest.fixture(scope="module")
def picture():
    return read_image(EXAMPLES / "crossed.jpg").pixels


def naive(q: np.ndarray, k: np.ndarray, heads: int) -> np.ndarray:
    """Mean attention over queries and heads: q (t, c), k (n, c)."""
    t, c = q.shape
    width, total = c // heads, np.zeros(len(k))
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for query in q[:, part]:
            score = [math.exp(float(query @ key) / math.sqrt(width)) for key in k[:, part]]
            total += np.array(score) / sum(score)
    return total / (t * heads)


def test_maps_are_the_softmax_of_what_the_layers_say_and_sum_to_one(model, picture):
    hands = model(picture)
    assert hands.right is not None and hands.left is not None
    block = model.network.joint_stage.lgblock
    heard, hooks = {}, []
    for unit, lgfa in (("local", block.lgfa_local), ("global", block.lgfa_global)):
        attention = lgfa.cross[-1].attention
        for name in ("q", "k"):
            layer: nn.Linear = getattr(attention, name)
            hooks.append(layer.register_forward_hook(lambda m, x, y, key=(unit, name): heard.update({key: y[0]})))
    try:
        found = attend(model, picture, hands)
    finally:
        for hook in hooks:
            hook.remove()
    assert found is not None and set(found.maps) == {"local", "global"}
    for unit, lgfa in (("local", block.lgfa_local), ("global", block.lgfa_global)):
        q, k = (heard[unit, name].double().numpy() for name in ("q", "k"))
        share = naive(q, k, lgfa.cross[-1].attention.heads)
        assert len(share) == 2 * len(q) + 1
        np.testing.assert_allclose(found.maps[unit].ravel(), share[1:], atol=1e-6)
        assert found.maps[unit].sum() + share[0] == pytest.approx(1, abs=1e-5)
        assert found.maps[unit].min() >= 0


def test_the_crops_are_those_of_the_result_and_nothing_of_it_changes(model, picture):
    hands = model(picture)
    found = attend(model, picture, hands)
    boxes = np.stack([hands.right.box, hands.left.box])
    again = model.predict(picture, boxes=boxes)
    np.testing.assert_allclose(again.right.vertices, hands.right.vertices, atol=1e-6)
    for hand, crop in zip(hands.hands, found.crops.hands):
        np.testing.assert_allclose(crop.image_to_crop(hand.box[:2] + hand.box[2:] / 2), 0, atol=1e-6)


def test_an_ordinary_prediction_keeps_no_attention(model, picture):
    view = model.find(picture, assumed_camera(picture.shape[1], picture.shape[0]))
    assert model.show([view])[0].joint.attention == {}


def test_without_hands_or_without_the_block_there_is_none(model, picture):
    hands = model(picture)
    assert attend(model, picture, replace(hands, right=None, left=None)) is None
    config = replace(MODELS["lgnet-mobile"], lgblock=False)
    plain = replace(model, network=build_network(config).eval(), config=config)
    assert attend(plain, picture, hands) is None


def test_maps_by_hand():
    """One head, g = 1: three keys; two queries would be g * g = 1 each, so a single one."""
    np.testing.assert_allclose(to_maps(np.array([[[0.2, 0.5, 0.3]]])), [[[0.5]], [[0.3]]])
    attention = np.zeros((2, 4, 9))
    attention[0, :, 1 + 2] = 1  # the first head: the right crop's lower left cell
    attention[1, :, 5 + 1] = 1  # the second: the left crop's upper right cell
    np.testing.assert_allclose(to_maps(attention), [[[0, 0], [0.5, 0]], [[0, 0.5], [0, 0]]])


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_map_lies_where_its_crop_was_cut(mirrored):
    """What the crop shows in its upper left cell lies to the left in the picture, or, mirrored, to the right."""
    crop = crop_for_box(np.array([200.0, 100.0, 80.0, 80.0]), K, 128, 1.0, mirrored)
    values = np.array([[1.0, 0.0], [0.0, 0.0]])
    out = lay(values, crop, (640, 480), (640, 480))
    v, u = np.unravel_index(out.argmax(), out.shape)
    assert out.max() == pytest.approx(1, abs=0.02) and 95 < v < 125
    assert (255 < u < 285) if mirrored else (195 < u < 225)
    v, u = np.nonzero(out)
    assert u.min() > 195 and u.max() < 285 and v.min() > 95 and v.max() < 185
    half = lay(values, crop, (320, 240), (640, 480))
    blocks = out.reshape(240, 2, 320, 2).mean((1, 3))
    np.testing.assert_allclose(half[54:88, 104:136], blocks[54:88, 104:136], atol=0.01)


def test_right_is_red_left_is_blue_and_an_absent_hand_is_not_drawn():
    right, left = (crop_for_box(np.array([x, 200.0, 80.0, 80.0]), K, 128, 1.0, x > 300) for x in (100.0, 400.0))
    maps = {"local": np.stack([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.5], [0.0, 0.0]]])}
    grey = np.full((480, 640, 3), 128, np.uint8)
    found = Attention(maps, HandCrops((right, left), right), 640, 480)
    out = draw(grey, found, "local").astype(int)
    red, blue = (
        out[205, 105] - 128,
        out[205, 475] - 128,
    )  # the left crop is mirrored: its upper right cell is to the left
    assert red[0] > 50 and red[2] < -30 and abs(blue).max() < 20 < (out[205, 405] - 128)[2]
    assert abs(out[275, 175] - 128).max() < 25 and (out[20, 20] == 128).all()
    alone = draw(grey, replace(found, crops=HandCrops((None, left), left)), "local").astype(int)
    assert (alone[:, :300] == 128).all() and alone[205, 405, 2] > 180  # now the most attended one
    small = draw(grey[::4, ::4], found, "local").astype(int)
    assert small.shape == (120, 160, 3) and small[51, 26, 0] > 178
