"""On an accelerator: `pytest -m gpu`. The same answers as on the processor, and a step of training in half precision."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lgnet
from lgnet.model.network import build_network
from lgnet.presets import MODELS

EXAMPLES = sorted((Path(lgnet.__file__).parent / "examples").glob("*.jpg"))
DEVICE = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(DEVICE is None, reason="there is no accelerator here")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_hands_are_those_of_the_processor(path):
    """Found, told apart and placed: to a millimetre, a pixel."""
    here, there = (lgnet.load(device=device, tta=3)(path) for device in ("cpu", DEVICE))
    assert [hand.side for hand in here.hands] == [hand.side for hand in there.hands]
    for one, other in zip(here.hands, there.hands):
        assert other.score == pytest.approx(one.score, abs=0.02)
        np.testing.assert_allclose(other.joints2d, one.joints2d, atol=1)
        np.testing.assert_allclose(other.joints3d - other.translation, one.joints3d - one.translation, atol=1e-3)
        np.testing.assert_allclose(other.translation, one.translation, rtol=0.01)
        np.testing.assert_allclose(other.joint_errors, one.joint_errors, rtol=0.05, atol=1e-4)


def test_a_step_in_half_precision_pulls_as_one_in_full():
    from test_model import make_inputs

    torch.manual_seed(0)
    config = replace(MODELS["lgnet-mobile"], crop_size=64, grid=4, heatmap_size=16)
    network = build_network(config).to(DEVICE).train()
    inputs = make_inputs(config, 4)
    inputs = replace(inputs, **{name: value.to(DEVICE) for name, value in vars(inputs).items()})
    pulls = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=enabled):
            output = network(inputs)
            (output.refine.joints.square().sum() + output.joint.joints25d.square().sum()).backward()
        pulls.append(torch.cat([p.grad.float().ravel() for p in network.parameters() if p.grad is not None]))
    assert all(pull.isfinite().all() for pull in pulls)
    assert torch.cosine_similarity(*pulls, dim=0) > 0.9
