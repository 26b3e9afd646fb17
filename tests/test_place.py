"""Placing hands: exact where nothing is noisy, sensible where it is."""

import numpy as np
import pytest

from lgnet.crop import hand_crops
from lgnet.place import NEAREST, USUAL_2D, place_hands

K = np.array([600.0, 620.0, 330.0, 250.0])


def _scene(separation: str, seed: int = 0):
    rng = np.random.default_rng(seed)
    wrists = np.array([[-0.08, 0.02, 0.6], [0.1, -0.03, 0.7]])
    points = rng.normal(0, 0.05, (2, 21, 3))
    points[:, 0] = 0
    world = points + wrists[:, None]
    uv = world[..., :2] / world[..., 2:] * K[:2] + K[2:]
    low, high = uv.min(1), uv.max(1)
    crops = hand_crops(np.concatenate([low, high - low], 1), np.ones(2, bool), K, 128, 1.25, separation)
    joints2d = [crop.image_to_crop(uv[side]) for side, crop in enumerate(crops.hands)]
    joints3d = [crop.to_crop(points[side]) for side, crop in enumerate(crops.hands)]
    relative = crops.pair.to_crop(wrists[1] - wrists[0])
    return wrists, joints2d, joints3d, crops, relative


@pytest.mark.parametrize("separation", ["crops", "heads"])
@pytest.mark.parametrize("with_relative", [True, False])
def test_exact_without_noise(separation, with_relative):
    wrists, joints2d, joints3d, crops, relative = _scene(separation)
    placed = place_hands(joints2d, joints3d, crops, relative if with_relative else None)
    np.testing.assert_allclose(np.stack(placed), wrists, atol=1e-6)


def test_one_hand_alone():
    wrists, joints2d, joints3d, crops, _ = _scene("crops")
    right, left = place_hands([None, joints2d[1]], [None, joints3d[1]], crops, None)
    assert right is None
    np.testing.assert_allclose(left, wrists[1], atol=1e-6)


def test_relative_translation_steadies_depth():
    wrists, joints2d, joints3d, crops, relative = _scene("crops")
    with_it, without = [], []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.06, (2, 21, 2))
        # a hand's 2D errors are alike in all joints of a finger; scale them together so that depth is what suffers
        noisy = [joints2d[s] * (1 + noise[s, 0, 0]) + noise[s] * 0.3 for s in (0, 1)]
        for store, given in ((with_it, relative), (without, None)):
            placed = np.stack(place_hands(noisy, joints3d, crops, given))
            store.append(np.linalg.norm((placed[1] - placed[0]) - (wrists[1] - wrists[0])))
    assert np.mean(with_it) < 0.7 * np.mean(without)


def test_never_behind_the_camera():
    _, joints2d, joints3d, crops, _ = _scene("crops")
    upside_down = [-j for j in joints2d]  # contradicts the 3D joints, so that the rays want a negative depth
    for wrist in place_hands(upside_down, joints3d, crops, None):
        assert wrist[2] > NEAREST
    rng = np.random.default_rng(0)
    wide = np.array([190.0, 190.0, 319.5, 239.5])  # 119 degrees, and crops far off the axis
    for _ in range(300):
        box = np.array([*rng.uniform(0, (560, 400)), *rng.uniform(40, 120, 2)])
        crops = hand_crops(np.stack([box, box]), np.array([True, False]), wide, 128, 1.25, "crops")
        points = rng.normal(0, 0.05, (21, 3))
        (wrist, _) = place_hands([-points[:, :2] / 0.1, None], [points - points[0], None], crops, None)
        assert wrist[2] > NEAREST


def test_what_the_rays_cannot_place_is_placed_by_its_size():
    """A hand turned upside down in the crop: as far as its size says, in the direction where it is seen."""
    for axis in ((320.0, 240.0), (100.0, 80.0)):
        box = np.array([axis[0] - 60, axis[1] - 60, 120, 120])
        crops = hand_crops(np.stack([box, box]), np.array([True, False]), K, 128, 1.25, "crops")
        points = np.random.default_rng(1).normal(0, [0.05, 0.05, 0.001], (21, 3))
        points -= points.mean(0)
        seen = -points[:, :2] / 0.8 / crops.hands[0].tan_half  # as of a hand 0.8 m away
        (wrist, _) = place_hands([seen, None], [points - points[0], None], crops, None)
        middle = wrist - crops.hands[0].to_camera(points[0])
        assert np.linalg.norm(middle) == pytest.approx(0.8, rel=0.02)
        np.testing.assert_allclose(middle[:2] / middle[2] * K[:2] + K[2:], axis, atol=2)


def test_rays_count_by_their_angle():
    """Of two hands held together by their relative place, one far and one near, equally noisy rays fix the near one better:
    the answer is that of weights by the true depths, not of the same weights for both.
    """
    rng = np.random.default_rng(3)
    wrists = np.array([[-0.1, 0.0, 0.35], [0.15, 0.0, 1.2]])
    points = rng.normal(0, 0.05, (2, 21, 3))
    points[:, 0] = 0
    world = points + wrists[:, None]
    uv = world[..., :2] / world[..., 2:] * K[:2] + K[2:]
    low, high = uv.min(1), uv.max(1)
    crops = hand_crops(np.concatenate([low, high - low], 1), np.ones(2, bool), K, 128, 1.25, "crops")
    joints3d = [crop.to_crop(points[side]) for side, crop in enumerate(crops.hands)]
    relative = crops.pair.to_crop(wrists[1] - wrists[0] + [0, 0, 0.05])  # they contradict each other by 5 cm
    joints2d = [crop.image_to_crop(uv[side]) for side, crop in enumerate(crops.hands)]
    right, left = place_hands(joints2d, joints3d, crops, relative)
    off = abs(right[2] - 0.35), abs(left[2] - 1.2)
    assert off[0] < 0.5 * off[1]  # with the same weights for both, as far


def test_no_hand_has_no_place():
    crops = hand_crops(np.array([[10.0, 10, 50, 50]] * 2), np.ones(2, bool), K, 128, 1.25, "crops")
    assert place_hands([None, None], [None, None], crops, None) == [None, None]


def test_surer_joints_count_more():
    wrists, joints2d, joints3d, crops, _ = _scene("crops")
    wrong = joints2d[0].copy()
    wrong[5:9] += 0.3  # a finger taken for another
    told = np.full((2, 21), 0.1)
    told[0, 5:9] = 0.5
    alike, weighed, exact = (
        place_hands([points, None], [joints3d[0], None], crops, None, errors)[0]
        for points, errors in ((wrong, None), (wrong, told), (joints2d[0], told))
    )
    np.testing.assert_allclose(exact, wrists[0], atol=1e-6)  # weights change nothing where nothing is wrong
    # a weight of 1 / 25 of the others': what those four joints pull is about a twentieth of before
    assert np.linalg.norm(weighed - wrists[0]) < 0.1 * np.linalg.norm(alike - wrists[0])
    # errors as they usually are: as if nothing were said
    usual = place_hands([wrong, None], [joints3d[0], None], crops, None, np.full((2, 21), USUAL_2D))[0]
    np.testing.assert_allclose(usual, alike, atol=1e-9)
