import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lgnet.anatomy import LIMITS, rotations_from_angles
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.synth.gestures import GESTURES, gesture_pose
from lgnet.synth.poses import CLASPING, LIBRARY, broad_pose, sample_pose, sign_pose

torch.set_num_threads(1)
PALM = [0, 5, 9, 13, 17]
THUMB, INDEX, MIDDLE, RING, LITTLE = (4, 8, 12, 16, 20)


def joints(name: str) -> torch.Tensor:
    """(21, 3) millimetres, canonical frame."""
    hand = load_hand_model()
    rotations = rotations_from_angles(hand, torch.from_numpy(BOTH[name]).float())
    return pose_hand(hand, torch.cat([torch.eye(3)[None], rotations]), torch.zeros(10)).joints * 1000


def reach(name: str) -> torch.Tensor:
    """(5,) millimetres from the middle of the palm to each fingertip, thumb first."""
    place = joints(name)
    return (place[4::4] - place[PALM].mean(0)).norm(dim=1)


BOTH = LIBRARY | GESTURES


@pytest.mark.parametrize("name", BOTH)
def test_library_keeps_the_limits(name):
    pose = BOTH[name]
    assert pose.shape == (15, 3)
    assert (pose >= LIMITS[..., 0] - 1e-9).all()
    assert (pose <= LIMITS[..., 1] + 1e-9).all()


def test_library_has_no_pose_twice():
    assert len(BOTH) == len(LIBRARY) + len(GESTURES) >= 60
    stack = np.stack(list(BOTH.values())).reshape(len(BOTH), -1)
    apart = np.abs(stack[:, None] - stack[None]).max(-1) + np.eye(len(stack))
    assert apart.min() > np.deg2rad(3)
    assert set(CLASPING) <= set(LIBRARY)


@given(seed=st.integers(0, 2**63), everyday=st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_samples_keep_the_limits(seed, everyday):
    pose = sample_pose(np.random.default_rng(seed), everyday)
    assert pose.shape == (15, 3)
    assert np.isfinite(pose).all()
    assert (pose >= LIMITS[..., 0]).all()
    assert (pose <= LIMITS[..., 1]).all()


@given(seed=st.integers(0, 2**63))
@settings(max_examples=50, deadline=None)
def test_same_seed_same_pose(seed):
    for arguments in ((0.5,), (0.5, CLASPING)):
        first, second = (sample_pose(np.random.default_rng(seed), *arguments) for _ in range(2))
        assert np.array_equal(first, second)


def test_signs_keep_the_limits_and_bend_fingers_apart():
    rng = np.random.default_rng(0)
    poses = np.stack([sign_pose(rng) for _ in range(600)])
    assert (poses >= LIMITS[..., 0]).all()
    assert (poses <= LIMITS[..., 1]).all()
    straight = poses.reshape(-1, 5, 3, 3)[:, 1:, 1, 0] < np.deg2rad(30)  # the PIP of index to little finger
    patterns, counts = np.unique(straight, axis=0, return_counts=True)
    assert len(patterns) == 16  # V, L, horns and all the rest
    assert counts.min() >= 5


def test_gestures_keep_the_limits_and_their_meaning():
    rng = np.random.default_rng(0)
    poses = np.stack([gesture_pose(rng) for _ in range(300)])
    assert (poses >= LIMITS[..., 0]).all()
    assert (poses <= LIMITS[..., 1]).all()
    palm = {name: reach(name) for name in ("middle_alone", "last_two", "letter_b", "letter_a")}
    assert palm["middle_alone"][2] > palm["middle_alone"][[1, 3, 4]].max() + 40
    assert palm["last_two"][[3, 4]].min() > palm["last_two"][[1, 2]].max() + 20
    assert palm["letter_b"][1:].min() > palm["letter_a"][1:].max() + 30
    crossed = joints("letter_r")  # the index finger's tip is on the little finger's side of the middle finger's
    assert (crossed[INDEX] - crossed[MIDDLE]) @ (crossed[17] - crossed[5]) > 0


def test_names_restrict_the_library():
    rng = np.random.default_rng(0)
    for _ in range(50):
        fingers = sample_pose(rng, 0.0, ("fist",))[3:, 0].reshape(4, 3).sum(1)
        assert np.rad2deg(fingers).min() > 130
    before = LIBRARY["fist"].copy()
    sample_pose(rng, 1.0, ("fist",))
    assert np.array_equal(LIBRARY["fist"], before)


def test_samples_differ():
    rng = np.random.default_rng(1)
    for everyday in (0.0, 1.0):
        poses = np.stack([sample_pose(rng, everyday) for _ in range(200)])
        bend = np.rad2deg(poses[:, 3:, 0].reshape(200, 4, 3).sum(2))  # of each finger, 0 straight .. 260
        assert bend.std(0).min() > 30
        assert (bend.max(0) - bend.min(0)).min() > 120
    # neighbours bend alike, but not all of them the same
    broad = np.stack([broad_pose(rng) for _ in range(400)])[:, 3:, 0].reshape(400, 4, 3).sum(2)
    correlation = np.corrcoef(broad.T)
    assert 0.4 < correlation[0, 1] < 0.95
    assert correlation[0, 1] > correlation[0, 3]


@pytest.mark.parametrize("name", ["fist", "fist_loose"])
def test_fists_bring_fingertips_to_the_palm(name):
    far = reach("flat")
    near = reach(name)
    assert near[1:].max() < 60
    assert (near[1:] < 0.6 * far[1:]).all()
    assert near[0] < far[0]
    assert (joints(name)[[INDEX, MIDDLE, RING, LITTLE], 2] > 5).all()  # on the palm's side of the hand


def test_point():
    near = reach("point")
    assert near[1] > 90
    assert near[2:].max() < 45
    assert near[0] < 60


def test_victory_and_two():
    apart = {name: (joints(name)[INDEX] - joints(name)[MIDDLE]).norm() for name in ("victory", "two")}
    assert apart["victory"] > apart["two"] + 15
    for name in apart:
        near = reach(name)
        assert near[1:3].min() > 90
        assert near[3:].max() < 45


@pytest.mark.parametrize("name", ["ok", "pinch", "precision", "pen"])
def test_pinches_bring_thumb_and_index_together(name):
    gap = (joints(name)[THUMB] - joints(name)[INDEX]).norm()
    assert 6 < gap < 20  # the ends of two pads that touch, a finger's thickness being some 15
    if name in ("precision", "pen"):
        assert (joints(name)[THUMB] - joints(name)[MIDDLE]).norm() < 25


def test_thumb_up_and_shaka():
    for name in ("thumb_up", "shaka"):
        assert reach(name)[0] > reach("fist")[0] + 20
    assert reach("shaka")[4] > reach("thumb_up")[4] + 30
