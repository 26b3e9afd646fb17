import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lgnet.geometry import procrustes, rotvec_to_matrix
from lgnet.metrics import (
    PROTOCOLS,
    area_under_pck,
    can_score,
    match_hands,
    mpjpe,
    pa_error,
    pck,
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
    plain = pa_error(predicted, true)
    assert pa_error(scale * predicted @ rotation.T + shift, true) == pytest.approx(plain, abs=1e-5)
    # least squares is over squared distances, so compare those: no rooted and scaled alignment does better
    aligned = similarity_aligned(predicted, true)
    for protocol in (A, B, C):
        other = rooted_errors(predicted, true, predicted, true, protocol) / 1000
        assert ((aligned - true) ** 2).sum() <= (other**2).sum() + 1e-9


def test_pa_does_see_mirrors():
    true = grid_hand()
    assert pa_error(true * (-1, 1, 1), true) > 5


def test_pa_agrees_with_the_other_procrustes():
    generator = np.random.default_rng(3)
    for flip in (1, -1):
        source = generator.normal(size=(21, 3))
        target = generator.normal(size=(21, 3)) + source * (flip, 1, 1)
        scale, rotation, shift = procrustes(torch.from_numpy(source), torch.from_numpy(target))
        expected = scale.item() * source @ rotation.numpy().T + shift.numpy()
        np.testing.assert_allclose(similarity_aligned(source, target), expected, atol=1e-9)


def test_invalid_joints_are_ignored():
    """InterHand2.6M stores joints it does not know as (1, 1, 1)."""
    true, valid = grid_hand(), ALL.copy()
    predicted = true.copy()
    predicted[4] += 0, 0, 0.019
    true_broken = true.copy()
    true_broken[[12, 16, 20]], valid[[12, 16, 20]] = 1.0, False
    for protocol in (A, B, C):
        assert mpjpe(predicted, true_broken, valid, protocol) == pytest.approx(19 / 18)  # 18 joints are left
    expected = pa_error(predicted[valid], true[valid])
    assert pa_error(predicted, true_broken, valid) == pytest.approx(expected)


def test_no_root_no_figure():
    true = grid_hand()
    no_wrist, no_middle = ALL.copy(), ALL.copy()
    no_wrist[0] = no_middle[9] = False
    assert [can_score(p, true, no_wrist) for p in (A, B, C)] == [False, False, False]
    assert [can_score(p, true, no_middle) for p in (A, B, C)] == [False, False, True]
    assert mpjpe(true, true, no_middle, A) is None
    assert mpjpe(true, true, np.zeros(21, bool), C) is None
    assert pa_error(true, true, np.arange(21) < 3) is None


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
    assert match_hands(np.array([[0.1, 2.0], [2.0, 0.1]])) == [0, 1]
    assert match_hands(np.array([[2.0, 0.1], [0.1, 2.0]])) == [1, 0]
    assert match_hands(np.array([[0.1, 0.2]])) == [0, None]  # one prediction is one hand
    assert match_hands(np.array([[0.9], [0.6]])) == [None]
    assert match_hands(np.array([[0.3], [0.2]])) == [1]
    # both together beat the best single one: 0.2 + 0.3 < 0.1 + nothing
    assert match_hands(np.array([[0.1, 0.2], [0.3, 2.0]])) == [1, 0]
