"""scripts/widen_detector.py."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import widen_detector

from lgnet.config import DetectorConfig
from lgnet.detect import build_detector


def test_a_wider_detector_does_what_the_narrow_one_does(monkeypatch):
    torch.manual_seed(0)
    old = build_detector(DetectorConfig(size=64, widths=(4, 6, 8, 10, 12)))
    images = torch.rand(2, 3, 64, 64)
    old.train()(images)  # running statistics that are not the plain ones
    old.eval()
    monkeypatch.setattr(widen_detector, "NOISE", 0.0)
    new = widen_detector.widen(old, (6, 9, 12, 15, 18), np.random.default_rng(0)).eval()
    assert sum(p.numel() for p in new.parameters()) > 2 * sum(p.numel() for p in old.parameters())
    torch.testing.assert_close(new(images), old(images), rtol=1e-4, atol=1e-5)


def test_widths_that_shrink_are_refused():
    old = build_detector(DetectorConfig(size=64, widths=(4, 6, 8, 10, 12)))
    with pytest.raises(ValueError, match="cannot widen"):
        widen_detector.widen(old, (4, 6, 7, 10, 12), np.random.default_rng(0))
