import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lgnet.geometry import rotvec_to_matrix
from lgnet.metrics import (
    PROTOCOLS,
    acceleration_errors,
    area_under_pck,
    can_score,
    f_scores,
    hands_distance,
    mask_iou,
    match_hands,
    pa_errors,
    pck,
    pose_difference,
    relative_error,
    rooted_errors,
    similarity_aligned,
)

settings.register_profile("lgnet", deadline=None)  # a busy machine is no failure
settings.load_profile("lgnet")

A, B, C = (PROTOCOLS[name] for name in "ABC")
ALL = np.ones(21, bool)


def grid_hand() -> np.ndarray:
    """(21, 3): the wrist at the origin, middle MCP 0.1 m along y, every other joint somewhere definite."""
    joints = np.random.default_rng(7).normal(size=(21, 3)) * 0.05
    joints[0] = 0
    joints[9] = 0, 0.1, 0
    return joints


def mpjpe(joints, true, valid, protocol) -> float | None:
    """Mean error of the valid joints, mm; None where the truth does not have what the protocol needs."""
    if not can_score(protocol, true, valid):
        return None
    return float(rooted_errors(joints, true, joints, true, protocol)[valid].mean())


# --- one hand


def test_mpjpe_by_hand():
    true = grid_hand()
    moved = true.copy()
    moved[4] += 0, 0.03, 0.04  # 50 mm at one of 21 joints
    for protocol in (A, B, C):
        assert mpjpe(moved, true, ALL, protocol) == pytest.approx(50 / 21)
    assert mpjpe(true + (1.0, 2.0, 3.0), true, ALL, C) == pytest.approx(0)  # where the hand is does not matter


def test_protocols_differ_in_root():
    true = grid_hand()
    moved = true.copy()
    moved[0] += 0.01, 0, 0  # the wrist alone, square to bone 0-9
    # C: rooted at the wrist, every joint but the wrist is 10 mm off
    assert mpjpe(moved, true, ALL, C) == pytest.approx(10 * 20 / 21)
    # A and B first scale by |bone|: 100 / sqrt(100^2 + 10^2)
    scale = 100 / np.hypot(100, 10)
    relative = true - true[9]
    expected = np.linalg.norm(scale * (moved - moved[9]) - relative, axis=1).mean() * 1000
    assert mpjpe(moved, true, ALL, A) == pytest.approx(expected)
    assert mpjpe(moved, true, ALL, A) < 3 < 9 < mpjpe(moved, true, ALL, B)


def test_protocols_differ_in_scale():
    true = grid_hand()
    # twice the size: C sees every joint as far off as it is from the wrist, A and B see nothing
    assert mpjpe(2 * true, true, ALL, C) == pytest.approx(np.linalg.norm(true, axis=1).mean() * 1000)
    assert mpjpe(2 * true, true, ALL, A) == pytest.approx(0, abs=1e-9)
    assert mpjpe(2 * true, true, ALL, B) == pytest.approx(0, abs=1e-9)


def test_vertices_are_rooted_and_scaled_by_the_joints():
    true = grid_hand()
    vertices = np.array([[0.0, 0, 0], [0.02, 0, 0]])
    # predicted joints half the size, so the scale is 2; the mesh moved along with them by (0, 0, 1)
    joints, mesh = 0.5 * true + (0, 0, 1), 0.5 * vertices + (0, 0, 1.003)
    # the mesh lies 3 mm off its joints, 6 mm after scaling; C: 3 mm, and vertex 1 is also 10 mm short in x
    np.testing.assert_allclose(rooted_errors(mesh, vertices, joints, true, B), [6, 6], atol=1e-9)
    np.testing.assert_allclose(rooted_errors(mesh, vertices, joints, true, C), [3, np.hypot(3, 10)], atol=1e-9)


shifts = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array)
noises = arrays(np.float64, (21, 3), elements=st.floats(-0.02, 0.02))


@given(noises, st.floats(0.3, 3), shifts)
def test_a_and_b_do_not_see_scale_or_place_but_c_sees_scale(noise, scale, shift):
    true = grid_hand()
    predicted = true + noise
    for protocol in (A, B):
        plain = mpjpe(predicted, true, ALL, protocol)
        assert mpjpe(scale * predicted + shift, true, ALL, protocol) == pytest.approx(plain, abs=1e-6)
    assert mpjpe(predicted + shift, true, ALL, C) == pytest.approx(mpjpe(predicted, true, ALL, C), abs=1e-6)
    grown = mpjpe(true * scale, true, ALL, C)
    assert grown == pytest.approx(abs(scale - 1) * np.linalg.norm(true, axis=1).mean() * 1000)


@given(noises, st.floats(0.3, 3), shifts, shifts)
def test_pa_does_not_see_similarities(noise, scale, shift, rotvec):
    true = grid_hand()
    predicted = true + noise
    rotation = rotvec_to_matrix(torch.from_numpy(3 * rotvec)).numpy()
    plain = pa_errors(predicted, true, ALL)
    assert pa_errors(scale * predicted @ rotation.T + shift, true, ALL) == pytest.approx(plain, abs=1e-5)
    # least squares is over squared distances, so compare those: no rooted and scaled alignment does better
    aligned = similarity_aligned(predicted, true)
    for protocol in (A, B, C):
        other = rooted_errors(predicted, true, predicted, true, protocol) / 1000
        assert ((aligned - true) ** 2).sum() <= (other**2).sum() + 1e-9


def test_pa_does_see_mirrors():
    true = grid_hand()
    assert pa_errors(true * (-1, 1, 1), true, ALL) > 5


def test_invalid_joints_are_ignored():
    """InterHand2.6M stores joints it does not know as (1, 1, 1)."""
    true, valid = grid_hand(), ALL.copy()
    predicted = true.copy()
    predicted[4] += 0, 0, 0.019
    true_broken = true.copy()
    true_broken[[12, 16, 20]], valid[[12, 16, 20]] = 1.0, False
    for protocol in (A, B, C):
        assert mpjpe(predicted, true_broken, valid, protocol) == pytest.approx(19 / 18)  # 18 joints are left
    expected = pa_errors(predicted[valid], true[valid], valid[valid])
    assert pa_errors(predicted, true_broken, valid) == pytest.approx(expected)


def test_no_root_no_figure():
    true = grid_hand()
    no_wrist, no_middle = ALL.copy(), ALL.copy()
    no_wrist[0] = no_middle[9] = False
    assert [can_score(p, true, no_wrist) for p in (A, B, C)] == [False, False, False]
    assert [can_score(p, true, no_middle) for p in (A, B, C)] == [False, False, True]
    assert mpjpe(true, true, no_middle, A) is None
    assert mpjpe(true, true, np.zeros(21, bool), C) is None
    assert np.isnan(pa_errors(true, true, np.arange(21) < 3))


def test_relative_error_by_hand():
    true = np.array([[0.0, 0, 1], [0.2, 0, 1]])
    assert relative_error(true + (5.0, 5.0, 5.0), true) == pytest.approx(0)
    # left is 30 mm too far right and 40 mm too deep, relative to right
    assert relative_error(np.array([[0.0, 0, 1], [0.23, 0, 1.04]]), true) == pytest.approx(50)


def test_pck_and_its_area_by_hand():
    errors = np.array([0.0, 10, 25, 60, np.inf])
    np.testing.assert_allclose(pck(errors, np.array([0, 10, 24.9, 50, 1000])), [0.2, 0.4, 0.4, 0.6, 0.8])
    # each error is right from itself to 50: (50 + 40 + 25 + 0 + 0) / 50 / 5
    assert area_under_pck(errors) == pytest.approx(115 / 250)
    thresholds = np.linspace(0, 50, 50_001)
    assert area_under_pck(errors) == pytest.approx(pck(errors, thresholds).mean(), abs=1e-4)


def test_match_hands():
    assert match_hands(np.array([[0.1, 2.0], [2.0, 0.1]])).tolist() == [0, 1]
    assert match_hands(np.array([[2.0, 0.1], [0.1, 2.0]])).tolist() == [1, 0]
    assert match_hands(np.array([[0.1, 0.2]])).tolist() == [0, -1]  # one prediction is one hand
    assert match_hands(np.array([[0.9], [0.6]])).tolist() == [-1]
    assert match_hands(np.array([[0.3], [0.2]])).tolist() == [1]
    # both together beat the best single one: 0.2 + 0.3 < 0.1 + nothing
    assert match_hands(np.array([[0.1, 0.2], [0.3, 2.0]])).tolist() == [1, 0]


def test_the_upper_part_of_the_area_by_hand():
    # from 20 to 50 mm an error is right from itself on: 30, 30, 25, 0 and 0 of the 30 mm
    assert area_under_pck(np.array([0.0, 10, 25, 60, np.inf]), start=20) == pytest.approx(85 / 150)


def on_a_line(*millimetres: float) -> np.ndarray:
    return np.array([[x / 1000, 0, 0] for x in millimetres])


def test_f_scores_by_hand():
    # within 5 mm: one of three predicted, one of three true; within 15 mm: two of each
    assert f_scores(on_a_line(3, 110, 500), on_a_line(0, 100, 200)) == pytest.approx((1 / 3, 2 / 3))
    # both predicted points lie at one true point of three: precision 1, recall 1/3
    assert f_scores(on_a_line(3, 0), on_a_line(0, 100, 200)) == pytest.approx((0.5, 0.5))
    assert f_scores(on_a_line(500), on_a_line(0)) == (0, 0)


def test_f_scores_agree_with_a_slow_version():
    generator = np.random.default_rng(5)
    points, true = generator.normal(size=(60, 3)) * 0.02, generator.normal(size=(70, 3)) * 0.02
    for limit, fast in zip((5, 15), f_scores(points, true)):
        near = [[np.linalg.norm(p - t) * 1000 <= limit for t in true] for p in points]
        precision = sum(any(row) for row in near) / 60
        recall = sum(any(row[i] for row in near) for i in range(70)) / 70
        assert fast == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-9)


def test_acceleration_error_by_hand():
    off = np.zeros((4, 21, 3))
    off[3, 8, 1] = 21.0  # at frame 2 its acceleration is 21 mm per frame squared; at frame 1 it is none
    assert acceleration_errors(off[:2], off[1:3], off[2:]).tolist() == pytest.approx([0, 1])
    off[0] = np.nan  # frame 2 is left
    errors = acceleration_errors(off[:2], off[1:3], off[2:])
    assert np.isnan(errors[0]) and errors[1] == pytest.approx(1)
    steady = np.arange(4)[:, None, None] * np.array([10.0, 0, 0]) + np.ones((21, 3))  # off, and drifting evenly
    assert acceleration_errors(steady[:2], steady[1:3], steady[2:]).tolist() == pytest.approx([0, 0])


def flat_hand() -> np.ndarray:
    """(21, 3) a right hand in the plane z = 0, every finger straight along y."""
    joints = np.zeros((21, 3))
    for finger in range(5):
        for bone in range(4):
            joints[4 * finger + 1 + bone] = 0.02 * finger - 0.05, 0.03 + 0.05 * (finger > 0) + 0.025 * bone, 0
    return joints


def test_pose_difference_by_hand():
    right = flat_hand()
    left = right * (-1, 1, 1)
    turn = rotvec_to_matrix(torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64)).numpy()
    assert pose_difference(right, left) == pytest.approx(0, abs=1e-5)
    assert pose_difference(right, 1.3 * left @ turn.T + (0.2, 0.1, 1)) == pytest.approx(0, abs=1e-5)
    bent = left.copy()
    bent[6:9] = bent[5] + np.array([[0, 0, 0.025], [0, 0, 0.05], [0, 0, 0.075]])  # a finger square to the palm
    assert pose_difference(right, bent @ turn.T) == pytest.approx(3 * 90 / 15)
    one = left.copy()
    one[20] = one[19] + 0.025 * np.array([np.sin(np.pi / 6), np.cos(np.pi / 6), 0])  # one bone by 30 degrees
    assert pose_difference(right, one) == pytest.approx(2)
    # the same shape on both sides is not the same pose: turned palm onto palm, the finger points the other way
    assert pose_difference(bent, bent) == pytest.approx(3 * 180 / 15)


def test_hands_distance_and_masks_by_hand():
    assert hands_distance(on_a_line(0, 10), np.array([[0.013, 0.004, 0], [1, 1, 1]])) == pytest.approx(5)
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert mask_iou(a, b) is None
    a[:, :2], b[:2] = True, True
    assert mask_iou(a, b) == pytest.approx(4 / 12)


def test_similarity_never_reflects():
    """Where the naive answer U V^T is a mirror, the best true rotation is found: checked against a plain search."""
    generator = np.random.default_rng(4)
    source = generator.normal(size=(6, 3)) * (1.0, 0.7, 0.3)
    target = source * (-1, 1, 1) + generator.normal(size=(6, 3)) * 0.02
    s, t = source - source.mean(0), target - target.mean(0)
    u, _, vh = np.linalg.svd(t.T @ s)
    assert np.linalg.det(u @ vh) < 0  # the trap is set
    error = ((similarity_aligned(source, target) - target) ** 2).sum()
    six = torch.from_numpy(generator.normal(size=(200_000, 3)) * np.pi / 3)
    turned = s @ rotvec_to_matrix(six).mT.numpy()
    best = (turned * t).sum((-1, -2)).clip(0) / (turned**2).sum((-1, -2))
    searched = ((best[:, None, None] * turned - t) ** 2).sum((-1, -2)).min()
    assert error <= searched + 1e-9
    assert searched < error * 1.1  # and the search did come near


def test_similarity_of_one_point_cloud_collapsed():
    np.testing.assert_allclose(similarity_aligned(np.zeros((21, 3)), np.ones((21, 3))), np.ones((21, 3)))
