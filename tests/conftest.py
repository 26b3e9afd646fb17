import pytest

from lgnet import plots


@pytest.fixture
def no_plots(monkeypatch):
    """Evaluations without their plots: they take longer than all else on a toy data set."""
    for name in ("plot_pck", "plot_joints", "plot_asymmetry"):
        monkeypatch.setattr(plots, name, lambda *given, **named: None)
