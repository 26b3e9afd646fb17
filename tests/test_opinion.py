"""The hand network's opinion of places: is there a hand of that side, and where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lgnet
from lgnet.detect import Detection, Place, as_hand, choose_sides
from lgnet.finder import find_sides
from lgnet.geometry import iou
from lgnet.hands import LEFT, RIGHT, Camera
from lgnet.opinion import Opinion, belief
from lgnet.synth.generate import bench_sample


def test_a_hand_is_believed_where_its_mesh_lies_in_the_place_and_is_sure() -> None:
    box = np.array([10.0, 10, 40, 40])
    there, beside = box, box + [35, 0, 0, 0]
    sure, unsure = 0.1, 0.4

    def asked(presence: float, error: float, seen: np.ndarray) -> float:
        told = belief([box], Opinion(np.array([[presence, 0]]), np.array([[error, error]]), np.array([[seen, seen]])))
        assert told.shape == (1, 2)
        return float(told[0, 0])

    assert asked(3, sure, there) > 0 > asked(-3, unsure, beside)
    best = asked(3, sure, there)
    assert all(worse < best for worse in (asked(-3, sure, there), asked(3, unsure, there), asked(3, sure, beside)))
    assert asked(40, sure, there) == asked(4, sure, there)  # no presence outweighs everything else
    silent = belief([box], Opinion(np.array([[3.0, -3.0]]), None, np.array([[there, there]])))  # not calibrated
    assert silent[0, 0] > silent[0, 1] > 0


def test_of_two_places_the_one_that_is_believed_is_taken() -> None:
    first, second = Place(0.5, np.array([0.0, 0, 40, 40])), Place(0.45, np.array([100.0, 0, 40, 40]))
    right = np.array([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05]])
    assert [d.box[0] for d in choose_sides([first, second], right)] == [0]
    doubted, believed = np.array([-0.8, -0.8]), np.array([0.8, 0.8])
    (hand,) = choose_sides([replace(first, believed=doubted), replace(second, believed=believed)], right)
    assert hand.side == RIGHT and hand.box[0] == 100
    assert choose_sides([replace(first, believed=4 * doubted)], right[:1]) == []


def test_exchanging_the_sides_exchanges_the_answer() -> None:
    rng = np.random.default_rng(0)
    boxes = [np.array([*rng.uniform(0, 50, 2), 40, 40]) for _ in range(5)]
    presence, errors, seen = rng.normal(0, 3, (5, 2)), rng.uniform(0.1, 0.5, (5, 2)), rng.uniform(20, 50, (5, 2, 4))
    there = belief(boxes, Opinion(presence, errors, seen))
    back = belief(boxes, Opinion(presence[:, ::-1], errors[:, ::-1], seen[:, ::-1]))
    np.testing.assert_allclose(there, back[:, ::-1])


def test_a_mirrored_picture_gets_the_mirrored_opinion() -> None:
    """By construction: the crop of a left hand is mirrored, so a box taken for a left hand in the mirror is the same crop."""
    sample = bench_sample(4)
    assert sample.K is not None and sample.present.any()
    model, width = lgnet.load(device="cpu"), sample.image.shape[1]
    side = int(np.flatnonzero(sample.present)[0])
    box = sample.box[side].astype(np.float64)
    flipped = np.array([width - 1 - box[0] - box[2], *box[1:]])
    K = np.asarray(sample.K, np.float64)
    K_flipped = np.array([K[0], K[1], width - 1 - K[2], K[3]])
    presence, errors, seen = model.either_side(sample.image, [box], K)
    presence2, errors2, _ = model.either_side(np.ascontiguousarray(sample.image[:, ::-1]), [flipped], K_flipped)
    assert errors is not None and errors2 is not None
    assert errors.shape == (1, 2)
    # the LGBlock tells its two slots apart, so what it adds to both need not be the same: their difference is
    assert presence[0, 0] - presence[0, 1] == pytest.approx(presence2[0, 1] - presence2[0, 0], abs=0.2)
    np.testing.assert_allclose(errors, errors2[:, ::-1], rtol=0.1)
    assert presence.argmax() == side
    assert iou(seen[0, side], box) > 0.5  # the mesh of the true side is where the hand is


def test_the_finder_asks_and_heeds_it() -> None:
    sample = bench_sample(3)
    finder = lgnet.load(device="cpu").finder
    assert sample.K is not None and isinstance(finder, lgnet.predict.Finder)
    asked: list[int] = []

    def right(image, boxes, K):
        asked.append(len(boxes))
        wide = [[box, box + [-8, 0, 16, 0]] for box in boxes]  # a left hand would be sixteen pixels wider
        return Opinion(np.tile([[40.0, -40.0]], (len(boxes), 1)), None, np.array(wide))

    places, sides = find_sides(replace(finder, seen=right), sample.image, sample.K)
    assert asked == [len(places)] and len(places) > 0
    assert all(p.believed is not None and p.believed[0] > p.believed[1] for p in places)
    # hands are cropped halfway to the box that is seen of their side
    assert all(as_hand(p, RIGHT, 1.0).box == pytest.approx(p.box) for p in places)
    assert all(as_hand(p, LEFT, 1.0).box == pytest.approx(p.box + [-4, 0, 8, 0]) for p in places)
    alone_places, alone = find_sides(replace(finder, seen=None), sample.image, sample.K)
    assert [p.box.tolist() for p in alone_places] == [p.box.tolist() for p in places]
    np.testing.assert_allclose(alone, sides)  # which side, the side network alone says
    assert all(p.believed is None for p in alone_places)


def test_boxes_of_another_finder_are_looked_at_by_the_network_too() -> None:
    sample = bench_sample(4)
    side = int(np.flatnonzero(sample.present)[0])
    true = sample.box[side].astype(np.float64)
    box = np.concatenate([true[:2] - 0.15 * true[2:], 1.3 * true[2:]])

    class Elsewhere:
        def detections(self, image, K):
            return [Detection(side, 0.9, box)]

    model = replace(lgnet.load(device="cpu"), finder=Elsewhere())
    assert sample.K is not None
    camera = Camera(*(float(k) for k in sample.K))
    view = model.find(sample.image, camera)
    seen = model.either_side(sample.image, [box], camera.K).boxes[0, side]
    assert view.given.tolist() == [side == 0, side == 1]
    np.testing.assert_allclose(view.boxes[side], (box + seen) / 2)
    assert iou(view.boxes[side], true) > iou(box, true)
