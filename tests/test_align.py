"""Hands drawn to key points: the truth is a posed hand, the network's answer the same hand bent, turned and moved."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from posing import CAMERA, PALM_TO_CAMERA, posed_hand, scene, turn

from lgnet.align import KeyPoints, align_hands
from lgnet.anatomy import LIMITS, angles_from_rotations
from lgnet.data.sample import project
from lgnet.geometry import rotvec_to_matrix
from lgnet.hand_model import hand_length, load_hand_model

torch.set_num_threads(1)
STRAIGHT = np.zeros((15, 3))
BENT = np.zeros((15, 3))
BENT[3:, 0] = 0.6  # radians, every joint of the four fingers
BENT[3:6, 0] = 0.1  # but the index finger, which points


def truth(side="right", at=(0.0, 0.05, 0.5)):
    return posed_hand(BENT, side, at=at)


def guess(side="right", at=(0.02, 0.03, 0.55)):
    """The network's answer: fingers half as bent, 15 degrees turned, 2 to 5 cm off."""
    return posed_hand(BENT / 2 + 0.05, side, turn((0.3, 1, 0.2), 15) @ PALM_TO_CAMERA, at)


def given(hand, confidence=1.0):
    return KeyPoints(hand.joints2d.copy(), np.full(21, confidence), hand.side)


def rooted_error(hand, true):
    """Millimetres, the wrists on each other."""
    own = hand.joints3d - hand.joints3d[0] - true.joints3d + true.joints3d[0]
    return 1000 * np.linalg.norm(own, axis=1).mean()


def pixels_off(hand, true):
    return np.linalg.norm(hand.joints2d - true.joints2d, axis=1)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_hand_comes_to_the_points_and_nearer_to_the_truth(side):
    true, before = truth(side), guess(side)
    hands = scene(**{side: before})
    points = (given(true), None) if side == "right" else (None, given(true))
    after = getattr(align_hands(hands, points), side)
    assert pixels_off(before, true).mean() > 20
    assert pixels_off(after, true).mean() < 2
    assert rooted_error(after, true) < 0.5 * rooted_error(before, true)
    assert abs(after.translation[2] - 0.5) < 0.02  # as far as its size says; the network had 0.55
    np.testing.assert_allclose(project(after.joints3d, CAMERA.K), after.joints2d, atol=1e-6)
    np.testing.assert_allclose(after.joints3d[0], after.translation, atol=1e-6)
    assert (after.side, after.score, after.vertices.shape) == (side, before.score, before.vertices.shape)


def test_a_hand_without_points_stays_to_the_last_bit():
    hands = scene(guess(), guess("left", (-0.2, 0.05, 0.6)))
    assert align_hands(hands, (None, None)) is hands
    assert align_hands(hands, (given(truth(), confidence=0.05), None)) is hands  # nobody is sure of them
    few = given(truth())
    few.confidence[3:] = 0
    assert align_hands(hands, (few, None)) is hands  # three joints tell too little
    assert align_hands(scene(guess()), (None, given(truth("left")))).left is None
    after = align_hands(hands, (given(truth()), None))
    assert after.left is hands.left and after.right is not hands.right


def test_points_that_no_hand_before_the_camera_is_seen_by_change_nothing():
    hands, far = scene(guess()), given(truth())
    far.points[:] = far.points[:1] + 40 * (far.points - far.points[:1])
    assert align_hands(hands, (far, None)).right is hands.right


def test_one_wrong_point_pulls_little():
    true, before = truth(), guess()
    points = given(true)
    points.points[8] += (140, -60)
    after = align_hands(scene(before), (points, None)).right
    others = [j for j in range(21) if j not in (6, 7, 8)]
    assert pixels_off(after, true)[others].mean() < 4
    assert pixels_off(after, true)[8] < 60


def test_points_count_as_sure_as_they_are():
    true = truth()
    shifted = KeyPoints(true.joints2d + (12.0, 0), np.ones(21), "right")
    still = list(range(0, 21, 2))
    shifted.points[still] = true.joints2d[still]  # every other one is 12 pixels off
    moved = []
    for confidence in (1.0, 0.15):
        shifted.confidence[1::2] = confidence
        after = align_hands(scene(true), (shifted, None)).right
        moved.append((after.joints2d - true.joints2d)[1::2, 0].mean())
    assert moved[1] < 0.6 * moved[0]


def test_limits_of_the_joints_hold():
    true = truth()
    backwards = BENT.copy()
    backwards[4, 0] = -1.0  # the index finger's middle joint, a radian backwards; its limit is -5 degrees
    asked = posed_hand(backwards, rotation=turn((0, 1, 0), 70) @ PALM_TO_CAMERA)
    start = posed_hand(BENT, rotation=turn((0, 1, 0), 70) @ PALM_TO_CAMERA)
    after = align_hands(scene(start), (given(asked), None)).right
    local = rotvec_to_matrix(torch.from_numpy(after.pose))[1:]
    angles = angles_from_rotations(load_hand_model("lgnet", "right"), local).numpy()
    assert angles[4, 0] > LIMITS[4, 0, 0] - 0.15
    assert pixels_off(asked, true).max() > 10  # it was asked for


def test_both_hands_keep_the_way_between_their_wrists_weakly():
    pair = scene(guess(), guess("left", (-0.18, 0.03, 0.57)))
    true = truth(), truth("left", (-0.2, 0.05, 0.5))
    after = align_hands(pair, (given(true[0]), given(true[1])))
    alone = [align_hands(scene(guess()), (given(true[0]), None)).right]
    alone.append(align_hands(scene(left=pair.left), (None, given(true[1]))).left)
    said = pair.relative_translation
    together = np.linalg.norm(after.relative_translation - said)
    assert together <= np.linalg.norm(alone[1].translation - alone[0].translation - said) + 1e-4
    assert max(pixels_off(after.right, true[0]).mean(), pixels_off(after.left, true[1]).mean()) < 2.5


def test_the_length_that_the_user_gave_stays():
    model = load_hand_model("lgnet", "right")
    own = float(hand_length(model, torch.zeros(10)))
    before = guess()
    at = before.translation
    long = replace(
        before,
        scale=1.2,
        joints3d=(before.joints3d - at) * 1.2 + at * 1.2,
        vertices=(before.vertices - at) * 1.2 + at * 1.2,
        vertices_rough=(before.vertices_rough - at) * 1.2 + at * 1.2,
        translation=at * 1.2,
    )
    after = align_hands(scene(long), (given(truth()), None)).right
    length = after.scale * float(hand_length(model, torch.from_numpy(after.shape).float()))
    assert abs(length - 1.2 * own) < 1e-4
    assert abs(after.translation[2] - 1.2 * 0.5) < 0.03


def test_a_hand_seen_turned_round_is_turned_back():
    """The network's hand upside down: no small step leads there, the second start does."""
    true = truth()
    before = posed_hand(BENT, rotation=turn((0, 0, 1), 170) @ PALM_TO_CAMERA)
    after = align_hands(scene(before), (given(true), None)).right
    assert pixels_off(after, true).mean() < 5


def test_depths_tell_what_pixels_do_not():
    """A finger that points at the camera or away from it looks nearly the same."""
    flat, bent = np.zeros((15, 3)), np.zeros((15, 3))
    bent[3:15:3, 0] = 0.8  # the four knuckles, towards the camera
    true, before = posed_hand(bent, at=(0, 0.05, 1.5)), posed_hand(flat, at=(0, 0.05, 1.5))
    world = true.joints3d - true.joints3d.mean(0)
    off = []
    for told in (None, 1.3 * world):  # of a larger hand: the size is taken off
        points = KeyPoints(true.joints2d, np.ones(21), "right", 1.0, told)
        off.append(rooted_error(align_hands(scene(before), (points, None)).right, true))
    assert off[1] < 0.3 * off[0]
