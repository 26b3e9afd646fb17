"""OpenXR's joints: where they are, how they are turned, and how far the skin is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from posing import posed_hand

from lgnet.anatomy import LIMITS
from lgnet.geometry import quaternions_of, rotvecs_of
from lgnet.openxr import JOINTS, _geometry, hand_joints, radii
from lgnet.synth.poses import LIBRARY

torch.set_num_threads(1)


def turned(quaternion: np.ndarray, vector: tuple[float, float, float]) -> np.ndarray:
    """(J, 3) the vector turned by each quaternion x, y, z, w: v + 2 q x (q x v + w v)."""
    q, w = quaternion[:, :3], quaternion[:, 3:]
    return vector + 2 * np.cross(q, np.cross(q, vector) + w * np.array(vector))


def bone_of(joint: str) -> tuple[str, str]:
    """From where to where the joint's -z points, written out as the specification has it."""
    if joint in ("palm", "wrist"):
        return joint, "middle_proximal"
    finger, part = joint.split("_")
    chain = ["metacarpal", "proximal", "intermediate", "distal", "tip"]
    if finger == "thumb":
        chain.remove("intermediate")
    index = min(chain.index(part), len(chain) - 2)
    return f"{finger}_{chain[index]}", f"{finger}_{chain[index + 1]}"


def test_there_are_openxrs_joints():
    assert len(JOINTS) == 26 and JOINTS[:2] == ("palm", "wrist")
    assert "thumb_intermediate" not in JOINTS and JOINTS[10] == "index_tip" and JOINTS[25] == "little_tip"


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["flat", "fist", "pinch", "victory"])
def test_minus_z_points_along_the_bone_and_y_out_of_the_back(side, name):
    hand = posed_hand(LIBRARY[name], side)
    found = hand_joints(hand, space="openxr")
    assert found.positions.shape == (26, 3) and found.orientations.shape == (26, 4)
    np.testing.assert_allclose(np.linalg.norm(found.orientations, axis=1), 1, atol=1e-9)
    at = dict(zip(JOINTS, found.positions))
    forward = turned(found.orientations, (0, 0, -1))
    for joint, along in zip(JOINTS, forward):
        start, end = (at[j] for j in bone_of(joint))
        np.testing.assert_allclose(along, (end - start) / np.linalg.norm(end - start), atol=1e-6, err_msg=joint)
    # posed_hand shows the camera its palm, fingers up: the back looks away from the camera, along -z of OpenXR
    up = turned(found.orientations, (0, 1, 0))
    for joint in ("palm", "wrist", "index_metacarpal", "little_metacarpal"):
        assert up[JOINTS.index(joint), 2] < -0.95, joint
    if name == "flat":
        assert (up[[j for j, n in enumerate(JOINTS) if "thumb" not in n], 2] < -0.95).all()
        # x is to the little finger's side of a right hand, to the thumb's of a left one: the picture's left, for both
        right = turned(found.orientations, (1, 0, 0))[0]
        assert np.sign(right @ (at["little_proximal"] - at["index_proximal"])) == (1 if side == "right" else -1)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_bent_finger_shows_its_nail_to_the_other_side(side):
    angles = np.zeros((15, 3))
    angles[4, 0] = np.pi / 2  # the index finger's middle joint: from there on it points to the camera, its nail up
    found = hand_joints(posed_hand(angles, side), space="openxr")
    distal = JOINTS.index("index_distal")
    assert turned(found.orientations, (0, 0, -1))[distal, 2] > 0.95
    assert turned(found.orientations, (0, 1, 0))[distal, 1] > 0.95


def test_the_camera_frame_is_half_a_turn_about_x():
    hand = posed_hand(LIBRARY["ok"], "left")
    camera, openxr = hand_joints(hand, space="camera"), hand_joints(hand, space="openxr")
    np.testing.assert_allclose(camera.positions * [1, -1, -1], openxr.positions)
    np.testing.assert_allclose(
        turned(camera.orientations, (0, 1, 0)) * [1, -1, -1], turned(openxr.orientations, (0, 1, 0)), atol=1e-9
    )
    np.testing.assert_allclose(camera.positions[1], hand.joints3d[0])
    np.testing.assert_allclose(camera.positions[10], hand.joints3d[8])
    np.testing.assert_array_equal(camera.radii, openxr.radii)


def test_webxr_has_all_but_the_palm():
    hand = posed_hand(LIBRARY["half"], "right")
    all_of_them, web = hand_joints(hand), hand_joints(hand, joints="webxr")
    np.testing.assert_array_equal(web.positions, all_of_them.positions[1:])
    np.testing.assert_array_equal(web.orientations, all_of_them.orientations[1:])
    np.testing.assert_array_equal(web.radii, all_of_them.radii[1:])


def test_metacarpals_stand_in_a_row_before_the_wrist_and_are_rigid():
    flat, fist = (hand_joints(posed_hand(LIBRARY[n], "right"), space="camera").positions for n in ("flat", "fist"))
    bases = [JOINTS.index(f"{f}_metacarpal") for f in ("index", "middle", "ring", "little")]
    knuckles = [j + 1 for j in bases]
    lengths = 1000 * np.linalg.norm(flat[bases] - flat[knuckles], axis=1)
    np.testing.assert_allclose(lengths, [68, 65, 58, 54], atol=2)
    np.testing.assert_allclose(1000 * flat[bases], 1000 * fist[bases], atol=0.01)
    np.testing.assert_allclose(flat[0], (flat[bases[1]] + flat[knuckles[1]]) / 2)  # the palm


def test_radii_are_of_fingers_and_follow_the_shape():
    radius = dict(zip(JOINTS, 1000 * hand_joints(posed_hand(LIBRARY["flat"], "right")).radii))
    assert all(3 < r < 25 for r in radius.values())
    for finger in ("index", "middle", "ring", "little"):
        assert radius[f"{finger}_tip"] < radius[f"{finger}_distal"] < radius[f"{finger}_intermediate"]
    assert 7.5 < radius["index_intermediate"] < 10.5 and 13 < radius["palm"] < 17
    left = hand_joints(posed_hand(LIBRARY["fist"], "left")).radii
    np.testing.assert_allclose(1000 * left, list(radius.values()), atol=0.01)  # pose does not change them, nor side
    geometry = _geometry("lgnet", "right")
    shapes = [radii(geometry, np.eye(10)[0] * k).mean() for k in (-2, 0, 2)]
    assert abs(shapes[2] - shapes[0]) > 5e-4  # the first component is size


def test_a_scaled_hand_has_scaled_radii():
    hand = posed_hand(LIBRARY["flat"], "right")
    np.testing.assert_allclose(hand_joints(replace(hand, scale=1.1)).radii, 1.1 * hand_joints(hand).radii)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_quaternions_of_any_rotation(seed):
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=(9, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.concatenate([rng.uniform(0, np.pi, 6), [0, np.pi, np.pi / 2]])
    frames = np.stack([_rodrigues(a, t) for a, t in zip(axis, angle)])
    found = quaternions_of(rotvecs_of(frames))
    for vector in np.eye(3):
        np.testing.assert_allclose(turned(found, tuple(vector)), frames @ vector, atol=1e-7)
    assert (found[:, 3] >= 0).all()


def _rodrigues(axis: np.ndarray, angle: float) -> np.ndarray:
    k = np.cross(np.eye(3), axis) * -1
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def test_every_pose_within_the_limits_gives_finite_joints():
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = rng.uniform(LIMITS[..., 0], LIMITS[..., 1])
        found = hand_joints(posed_hand(angles, "left"))
        assert all(np.isfinite(v).all() for v in (found.positions, found.orientations, found.radii))
