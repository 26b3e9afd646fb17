import numpy as np
import pytest
import torch

from lgnet.anatomy import LIMITS, angles_from_rotations, joint_axes, palm_axes, rotations_from_angles
from lgnet.hand_model import HandModel, load_hand_model, pose_hand

torch.set_num_threads(1)
FLEX, SPREAD, TWIST = range(3)
NAMES = [f"{finger}{joint}" for finger in ("thumb", "index", "middle", "ring", "little") for joint in (1, 2, 3)]


def posed(hand: HandModel, angles: torch.Tensor) -> torch.Tensor:
    """(21, 3) millimetres."""
    rotations = torch.cat([torch.eye(3)[None], rotations_from_angles(hand, angles)])
    return pose_hand(hand, rotations, torch.zeros(10)).joints * 1000


def tip_motion(joint: int, kind: int, degrees: float = 25, side: str = "right") -> torch.Tensor:
    """(3,) how the fingertip moves from the flat hand, millimetres, in a right hand's canonical frame."""
    hand = load_hand_model("lgnet", side)
    angles = torch.zeros(15, 3)
    angles[joint, kind] = np.deg2rad(degrees)
    tip = 4 * (joint // 3) + 4
    moved = (posed(hand, angles) - posed(hand, torch.zeros(15, 3)))[tip]
    return moved if side == "right" else moved * torch.tensor([-1.0, 1, 1])


def test_axes_are_orthonormal():
    axes = joint_axes(load_hand_model())
    torch.testing.assert_close(axes @ axes.transpose(1, 2), torch.eye(3).expand(15, 3, 3), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="right"):
        joint_axes(load_hand_model("lgnet", "left"))


def test_zero_is_the_flat_hand():
    torch.testing.assert_close(
        rotations_from_angles(load_hand_model(), torch.zeros(2, 15, 3)), torch.eye(3).expand(2, 15, 3, 3)
    )
    joints = posed(load_hand_model(), torch.zeros(15, 3))
    assert joints[5:, 2].abs().max() < 8  # fingers in the plane of the palm


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("joint", range(3, 15), ids=NAMES[3:])
def test_fingers_flex_towards_the_palm(joint, side):
    moved = tip_motion(joint, FLEX, side=side)
    assert moved[2] > 4
    assert moved[1] < 0
    assert moved[0].abs() < 0.25 * moved[2]  # in the finger's own plane
    assert tip_motion(joint, FLEX, -10, side)[2] < -1  # and the other way


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("joint", range(3), ids=NAMES[:3])
def test_thumb_flexes_across_the_palm(joint, side):
    moved = tip_motion(joint, FLEX, side=side)
    assert moved[0] < -5  # towards the little finger
    assert moved[2] > -1  # and not through the palm
    assert moved[0].abs() > 0.7 * moved.norm()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("finger", "sign"), [(1, 1), (2, 1), (3, -1), (4, -1)])
def test_fingers_spread_in_the_plane_of_the_palm(finger, sign, side):
    moved = tip_motion(3 * finger, SPREAD, 15, side)
    assert sign * moved[0] > 8  # index and middle to the thumb's side, ring and little away from it
    assert moved[2].abs() < 0.1 * moved.norm()


def test_spreading_parts_neighbours():
    hand = load_hand_model()
    angles = torch.zeros(15, 3)
    angles[[3, 9, 12], SPREAD] = torch.tensor([0.25, 0.2, 0.3])
    before, after = posed(hand, torch.zeros(15, 3)), posed(hand, angles)
    for a, b in ((8, 12), (12, 16), (16, 20)):
        assert (after[a] - after[b]).norm() > (before[a] - before[b]).norm() + 1


@pytest.mark.parametrize("side", ["right", "left"])
def test_thumb_spreads_away_from_the_palm(side):
    assert tip_motion(0, SPREAD, 25, side)[2] > 15


@pytest.mark.parametrize("finger", range(1, 5))
def test_twist_turns_the_nail_to_the_little_finger_and_keeps_the_bone(finger):
    hand = load_hand_model()
    angles = torch.zeros(15, 3)
    angles[3 * finger, TWIST] = 0.5
    rotation = rotations_from_angles(hand, angles)[3 * finger]
    nail = rotation @ torch.tensor([0.0, 0, -1])
    assert nail[0] < -0.4
    assert tip_motion(3 * finger, TWIST, 25).norm() < 1.5


def test_limits_are_ordered_and_hold_rest():
    assert LIMITS.shape == (15, 3, 2)
    assert (LIMITS[..., 0] <= 0).all()
    assert (LIMITS[..., 1] >= 0).all()
    assert (LIMITS[:, FLEX, 1] > LIMITS[:, FLEX, 0] + np.deg2rad(60)).all()
    bend = np.rad2deg(LIMITS[3:, FLEX])
    assert bend.min() >= -45
    assert bend.max() <= 120
    hinges = [j for j in range(3, 15) if j % 3]
    assert (LIMITS[hinges, SPREAD:] == 0).all()  # PIP and DIP only bend


def test_left_is_the_right_mirrored():
    rng = np.random.default_rng(0)
    angles = torch.from_numpy(rng.uniform(LIMITS[..., 0], LIMITS[..., 1], (6, 15, 3))).float()
    right, left = load_hand_model("lgnet", "right"), load_hand_model("lgnet", "left")
    for one in angles:
        torch.testing.assert_close(posed(left, one), posed(right, one) * torch.tensor([-1.0, 1, 1]), atol=1e-3, rtol=0)


def test_order_of_twist_flex_spread():
    """Spread is about an axis fixed in the palm: with the finger bent by 90 degrees the knuckle line still turns."""
    hand = load_hand_model()
    angles = torch.zeros(15, 3)
    angles[6, FLEX] = np.pi / 2
    bent = posed(hand, angles)
    angles[6, SPREAD] = 0.3
    torch.testing.assert_close(posed(hand, angles)[10, 2], bent[10, 2], atol=0.5, rtol=0)  # height over the palm


def test_gradient_and_dtype():
    angles = torch.zeros(15, 3, dtype=torch.float64, requires_grad=True)
    out = rotations_from_angles(load_hand_model(), angles)
    assert out.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda a: rotations_from_angles(load_hand_model(), a), (angles,))


@pytest.mark.parametrize("side", ["right", "left"])
def test_angles_come_back_from_rotations(side):
    hand = load_hand_model("lgnet", side)
    limits = torch.from_numpy(LIMITS)
    share = torch.rand(200, 15, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    angles = limits[..., 0] + share * (limits[..., 1] - limits[..., 0])
    rotations = rotations_from_angles(hand, angles)
    found = angles_from_rotations(hand, rotations)
    torch.testing.assert_close(rotations_from_angles(hand, found), rotations, atol=1e-4, rtol=0)
    clear = (angles[..., 0] - np.pi / 2).abs() > 0.05  # at 90 degrees of flex spread and twist are one
    torch.testing.assert_close(found[clear], angles[clear], atol=1e-3, rtol=0)
    torch.testing.assert_close(found[..., 0], angles[..., 0], atol=1e-2, rtol=0)


def test_angles_at_a_right_angle_are_finite():
    hand, angles = load_hand_model(), torch.zeros(15, 3)
    angles[:, FLEX], angles[:, TWIST] = np.pi / 2, 0.05
    rotations = rotations_from_angles(hand, angles)
    torch.testing.assert_close(
        rotations_from_angles(hand, angles_from_rotations(hand, rotations)), rotations, atol=1e-3, rtol=0
    )


def test_the_palm_looks_the_same_way_on_both_sides():
    right, left = (palm_axes(load_hand_model("lgnet", side)) for side in ("right", "left"))
    torch.testing.assert_close(left, right * torch.tensor([-1.0, 1, 1]))
    assert right[0, 1] > 0.99 and right[1, 2] > 0.99
