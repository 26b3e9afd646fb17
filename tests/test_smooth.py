"""Filters of hands over time: on motions whose right answer is known, and that results agree with themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lgnet.geometry import rotvec_to_matrix
from lgnet.hand_model import hand_length, load_hand_model, pose_hand
from lgnet.hands import SIDES, Camera, Hand, TwoHands
from lgnet.smooth import LONGEST_STEP, MOST_AHEAD, REACH, Moment, fit_weights, one_euro, smooth

CAMERA = Camera(300, 300, 159.5, 119.5)
RATE = 30


def made(side: int, pose: np.ndarray, betas: np.ndarray, at: np.ndarray, scale: float = 1.0) -> Hand:
    """A hand of the hand model, with offsets of the mesh that the refine stage might have made."""
    model = load_hand_model("lgnet", SIDES[side])
    rotations = rotvec_to_matrix(torch.from_numpy(pose).float())
    posed = pose_hand(model, rotations, torch.from_numpy(betas).float())
    influence = model.vertex_influence.double().numpy()
    offsets = np.random.default_rng(side).normal(0, 0.001, posed.vertices.shape)
    offsets = (offsets - influence[:1] @ offsets) @ rotations[0].double().numpy().T
    rough = scale * posed.vertices.double().numpy() + at
    joints = scale * (posed.joints.double().numpy() + influence @ offsets) + at
    uv = joints[:, :2] / joints[:, 2:] * 300 + (159.5, 119.5)
    faces = model.faces.numpy()
    box = np.array([1.0, 2, 30, 40])
    return Hand(SIDES[side], 0.9, box, uv, joints, rough + scale * offsets, rough, faces, pose, betas, at, scale)


def moment(index: int, right: Hand | None, left: Hand | None = None, fresh=(False, False)) -> Moment:
    hands = TwoHands(right, left, 320, 240, CAMERA, "f", {"weights": "w", "hand_model": "lgnet", "version": "0"})
    return Moment(index / RATE, hands, fresh)


POSE = np.random.default_rng(5).normal(0, 0.3, (16, 3))
BETAS = np.linspace(-1, 1, 10)
AT = np.array([0.05, -0.02, 0.5])


@pytest.mark.parametrize("how", ["off", "live", "offline"])
@pytest.mark.parametrize("scale", [1.0, 1.1])
def test_a_hand_at_rest_stays_as_it_is(how, scale):
    still = [moment(i, made(0, POSE, BETAS, AT, scale), made(1, POSE, BETAS, -AT * [1, 1, -1])) for i in range(8)]
    out = list(smooth(still, how))
    assert [m.time for m in out] == [m.time for m in still]
    for was, now in zip(still[-1].hands.hands, out[-1].hands.hands):
        for key in ("joints3d", "vertices", "vertices_rough", "translation", "shape", "pose"):
            np.testing.assert_allclose(getattr(now, key), getattr(was, key), atol=1e-5, err_msg=key)
        np.testing.assert_allclose(now.joints2d, was.joints2d, atol=1e-2)


@pytest.mark.parametrize("how", ["live", "offline"])
def test_filtered_hands_agree_with_themselves(how):
    """Of a trembling hand: the rough mesh is the hand model in the stated pose and shape, joints2d where joints3d are."""
    rng = np.random.default_rng(0)
    shaking = [
        moment(
            i, made(0, POSE + rng.normal(0, 0.1, (16, 3)), BETAS + rng.normal(0, 0.2, 10), AT + rng.normal(0, 0.01, 3))
        )
        for i in range(10)
    ]
    for m in smooth(shaking, how):
        hand = m.hands.right
        assert hand is not None
        rotations = rotvec_to_matrix(torch.from_numpy(hand.pose).float())
        posed = pose_hand(load_hand_model(), rotations, torch.from_numpy(hand.shape).float())
        np.testing.assert_allclose(posed.vertices.numpy() + hand.translation, hand.vertices_rough, atol=1e-5)
        influence = load_hand_model().vertex_influence.numpy()
        joints = posed.joints.numpy() + influence @ (hand.vertices - hand.vertices_rough) + hand.translation
        np.testing.assert_allclose(hand.joints3d, joints, atol=1e-5)
        seen = 300 * hand.joints3d[:, :2] / hand.joints3d[:, 2:] + (159.5, 119.5)
        np.testing.assert_allclose(hand.joints2d, seen, atol=1e-6)


def test_the_shape_is_the_mean_so_far_and_the_hand_keeps_its_size_in_the_picture():
    """A shape that is wrong in one frame, at a distance that fits it, is brought back to the mean with its distance."""
    model = load_hand_model()
    large = BETAS + np.eye(10)[0] * 2

    def length(betas):
        return float(hand_length(model, torch.from_numpy(betas).float()))

    far = AT * length(large) / length(BETAS)  # seen as large as the other
    frames = [moment(0, made(0, POSE, BETAS, AT)), moment(1, made(0, POSE, large, far))]
    last = list(smooth(frames, "live"))[-1].hands.right
    assert last is not None
    mean = (BETAS + large) / 2
    np.testing.assert_allclose(last.shape, mean)
    np.testing.assert_allclose(last.translation, AT * length(mean) / length(BETAS), rtol=1e-5)


def test_steady_motion_lags_live_but_not_offline():
    """Moving and turning at constant speed: a straight line is what the two-sided filter fits, ends included."""
    steps = np.arange(20)
    turn = np.array([0.02, 0.05, -0.03])
    pose = np.zeros((16, 3))
    frames = []
    for i in steps:
        pose = pose.copy()
        pose[0] = i * turn
        frames.append(moment(i, made(0, pose, BETAS, np.array([0.002 * i - 0.02, 0, 0.5]))))
    offline = [m.hands.right for m in smooth(frames, "offline")]
    live = [m.hands.right for m in smooth(frames, "live")]
    for i in steps:
        np.testing.assert_allclose(offline[i].translation, frames[i].hands.right.translation, atol=1e-6)
        np.testing.assert_allclose(offline[i].pose[0], i * turn, atol=1e-5)
    assert live[15].translation[0] < frames[15].hands.right.translation[0]
    assert np.linalg.norm(live[15].pose[0]) < np.linalg.norm(15 * turn)


@pytest.mark.parametrize(("how", "least"), [("live", 1.5), ("offline", 1.5)])
def test_noise_becomes_less(how, least):
    rng = np.random.default_rng(1)
    shaking = [moment(i, made(0, POSE, BETAS, AT + rng.normal(0, 0.005, 3))) for i in range(40)]
    before = np.std([m.hands.right.translation for m in shaking[10:]], axis=0)
    after = np.std([m.hands.right.translation for m in list(smooth(shaking, how))[10:]], axis=0)
    assert (before / after > least).all()


@pytest.mark.parametrize("how", ["live", "offline"])
def test_another_hand_and_a_long_gap_begin_anew(how):
    """Two places 20 cm apart, each seen three times; nothing of the first may leak into the second."""
    near, far = AT, AT + [0.2, 0, 0]
    for fresh, start in ((True, 3), (False, 3 + RATE)):
        frames = [moment(i, made(0, POSE, BETAS, near)) for i in range(3)]
        if not fresh:
            frames.append(moment(3, None))
        frames += [moment(start + i, made(0, POSE, BETAS, far), fresh=(fresh and i == 0, False)) for i in range(3)]
        out = [m.hands.right.translation for m in smooth(frames, how) if m.hands.right is not None]
        np.testing.assert_allclose(out, [near] * 3 + [far] * 3, atol=1e-6)


def test_a_slow_frame_is_no_gap():
    """Half a second without any frame: the hand was there before and after, so its filters and its mean shape go on."""
    rng = np.random.default_rng(3)
    times = [0.0, 0.1, 0.2, 0.7, 0.8]
    frames = [
        replace(moment(0, made(0, POSE, BETAS + rng.normal(0, 0.5, 10), AT + rng.normal(0, 0.004, 3))), time=t)
        for t in times
    ]
    shapes = [m.hands.right.shape for m in smooth(frames, "live")]
    np.testing.assert_allclose(shapes[3], np.mean([f.hands.right.shape for f in frames[:4]], 0), atol=1e-5)
    late = [*frames, replace(frames[0], time=frames[-1].time + LONGEST_STEP + 0.1)]  # a pause
    last = [m.hands.right for m in smooth(late, "live")][-1]
    np.testing.assert_allclose(last.shape, frames[0].hands.right.shape, atol=1e-6)


def test_a_missing_hand_stays_missing():
    frames = [moment(0, made(0, POSE, BETAS, AT)), moment(1, None), moment(2, made(0, POSE, BETAS, AT))]
    for how in ("live", "offline"):
        assert [m.hands.right is None for m in smooth(frames, how)] == [False, True, False]


@pytest.mark.parametrize(("rate", "most"), [(RATE, round(REACH * RATE)), (240, MOST_AHEAD)])
def test_offline_looks_ahead_no_further_than_it_says(rate, most):
    """Frames come out at most REACH seconds and MOST_AHEAD frames after they went in, so memory does not grow with the film."""
    taken, ahead = 0, []

    def source():
        nonlocal taken
        for i in range(40):
            taken += 1
            yield replace(moment(0, made(0, POSE, BETAS, AT)), time=i / rate)

    for count, _ in enumerate(smooth(source(), "offline"), 1):
        ahead.append(taken - count)
    assert len(ahead) == 40 and max(ahead) in (most, most + 1)


def test_one_euro_by_hand():
    """Casiez et al., 2012: dt = 0.1 s, cutoff 1 Hz: alpha = 1 / (1 + 1 / (0.2 pi)) = 0.385869545; speed cutoff 1 Hz."""
    alpha = 0.3858695451
    first = one_euro(None, np.array([[0.0]]), 0.1, 1.0, 0.0)
    second = one_euro(first, np.array([[1.0]]), 0.1, 1.0, 0.0)
    assert second.value[0, 0] == pytest.approx(alpha, abs=1e-9)
    assert second.speed[0, 0] == pytest.approx(10 * alpha, abs=1e-8)
    # with rise 1 the cutoff is 1 + 3.858695451 = 4.858695451 Hz: alpha = 3.0528084 / 4.0528084 = 0.7532575
    third = one_euro(first, np.array([[1.0]]), 0.1, 1.0, 1.0)
    assert third.value[0, 0] == pytest.approx(0.7532575, abs=1e-7)
    # a rotation by 1 rad about z is filtered as its angle is
    quarter = rotvec_to_matrix(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)).numpy()
    turned = one_euro(one_euro(None, np.eye(3)[None], 0.1, 1, 0), quarter, 0.1, 1, 0)
    assert np.arctan2(turned.value[0, 1, 0], turned.value[0, 0, 0]) == pytest.approx(alpha, abs=1e-9)


def test_weights_of_the_two_sided_fit():
    dt = np.array([-0.1, -0.05, 0, 0.05, 0.1])
    even = fit_weights(dt)
    gauss = np.exp(-0.5 * (dt / 0.07) ** 2)
    np.testing.assert_allclose(even, gauss / gauss.sum())
    end = fit_weights(dt[:3])  # only the past: exact for every straight line
    assert end.sum() == pytest.approx(1) and end @ dt[:3] == pytest.approx(0)
    np.testing.assert_allclose(fit_weights(np.array([0.0])), [1])
