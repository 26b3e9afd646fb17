"""One hand posed without torch's overhead is what the hand model poses; that not a bit differs, test_synth.py's sums say."""

import numpy as np
import pytest
import torch

from lgnet.anatomy import LIMITS, rotations_from_angles
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.synth.posing import finger_rotations, posed
from lgnet.synth.rotations import random_rotation


@pytest.mark.parametrize(("side", "name"), [(0, "right"), (1, "left")])
def test_a_hand_is_posed_as_the_hand_model_poses_it(side, name):
    rng, model = np.random.default_rng(side), load_hand_model("lgnet", name)
    for trial in range(100):
        angles = rng.uniform(LIMITS[..., 0], LIMITS[..., 1])
        if trial < 20:
            angles[rng.random(angles.shape) < 0.5] *= 1e-4 * (trial % 2)
        betas = np.clip(rng.normal(size=10), -2.5, 2.5)
        wrist = torch.from_numpy(random_rotation(rng) if trial else np.eye(3)).float()
        with torch.inference_mode():
            fingers = rotations_from_angles(model, torch.from_numpy(angles).float())
            rotations = torch.cat([wrist[None], fingers])
            expected = pose_hand(model, rotations, torch.from_numpy(betas).float())
        np.testing.assert_allclose(finger_rotations(side, angles), fingers.numpy(), rtol=0, atol=5e-7)
        vertices, joints = posed(side, rotations.numpy(), betas)
        np.testing.assert_allclose(vertices, expected.vertices.numpy(), rtol=0, atol=1e-7)
        np.testing.assert_allclose(joints, expected.joints.numpy(), rtol=0, atol=1e-7)
