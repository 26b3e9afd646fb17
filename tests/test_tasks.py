"""What each of the four networks is taught: every part of it, by every term of its loss."""

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="drawing scenes needs the extra lgnet[train]")

from dataclasses import replace

from lgnet.config import DetectorConfig, PairConfig, SideConfig
from lgnet.presets import PRESETS
from lgnet.synth.generate import SynthConfig, make_sample, training_rng
from lgnet.tasks import build_task

SMALL = {
    "detector": replace(PRESETS["detector"], detector=DetectorConfig(size=96, widths=(4, 4, 8, 8, 8))),
    "sides": replace(PRESETS["sides"], side=SideConfig(crop_size=64, grid=4, depths=(1, 1, 1, 1))),
    "pair": replace(PRESETS["pair"], pair=PairConfig(crop_size=64, grid=4, depths=(1, 1, 1, 1))),
}
TERMS = {
    "detector": {"focal", "offset", "size"},
    "sides": {"entropy", "axes"},
    "pair": {"presence", "box", "overlap", "side"},
}
FIGURES = {
    "detector": {"found", "error"},
    "sides": {"side", "side_together", "hand", "error"},
    "pair": {"iou", "found", "side", "error"},
}


@pytest.fixture(scope="module")
def samples():
    kinds = ("interacting", "separate", "single", "none", "interacting", "single")
    return [make_sample(training_rng(5, 0, i), SynthConfig(size=128), kind) for i, kind in enumerate(kinds)]


@pytest.mark.parametrize("name", SMALL)
def test_every_part_learns_by_every_term(name, samples):
    """The loss pulls at all of the network, and its gradient is a sum of the terms' own, each with a weight above zero."""
    torch.manual_seed(0)
    task = build_task(SMALL[name])
    data, weights = task.batch(samples, np.random.default_rng(0)), list(task.network.parameters())

    def pull(value):
        grads = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        pulls = [torch.zeros_like(w).ravel() if g is None else g.ravel() for w, g in zip(weights, grads)]
        return torch.cat(pulls).double()

    total, terms = task.loss(task.network.eval(), data)
    assert set(terms) == TERMS[name]
    total.backward(retain_graph=True)
    assert all(w.grad is not None for w in weights)
    heads = [n for n, w in task.network.named_parameters() if "backbone" not in n and not w.grad.abs().sum() > 0]
    assert not heads
    pulls = torch.stack([pull(term) for term in terms.values()], 1)
    share = torch.linalg.lstsq(pulls, pull(total)[:, None]).solution
    assert (pulls @ share - pull(total)[:, None]).norm() < 0.01 * pull(total).norm()
    assert (share > 0.05).all() and (pulls.norm(dim=0) > 0).all()


@pytest.mark.parametrize("name", SMALL)
def test_figures_and_sheets_are_made(name, samples):
    torch.manual_seed(0)
    task = build_task(SMALL[name])
    figures = task.evaluate(task.network, samples)
    assert set(figures) >= FIGURES[name] and task.better in figures
    assert all(np.isfinite(value) for value in figures.values())
    assert not task.network.training
    sheet = task.sheet(task.network, samples, np.random.default_rng(0))
    assert sheet.dtype == np.uint8 and sheet.ndim == 3 and sheet.std() > 5
