import pytest

from lgnet import plots


@pytest.fixture
def no_plots(monkeypatch):
    """Evaluations without their plots: they take longer than all else on a toy data set."""
    for name in ("plot_pck", "plot_joints", "plot_asymmetry"):
        monkeypatch.setattr(plots, name, lambda *given, **named: None)


@pytest.fixture
def ring_here(monkeypatch):
    """The ring's pictures drawn in this process: the same ones, without the seconds that a renderer takes to start."""
    from lgnet.data import feed
    from lgnet.data.ring import plan_ring
    from lgnet.synth.generate import make_sample, training_rng

    class Here:
        def __init__(self, config, count, workers, reuse, seed, first=0, process=0, processes=1):
            self.config, self.plan, self.use = config, plan_ring(count, reuse, seed), first
            self.process, self.processes, self.made = process, processes, {}

        def __exit__(self, *_):
            pass

        def stop(self):
            pass

        def _next(self):
            number = self.plan.picture(self.use) * self.processes + self.process
            self.use += 1
            if number not in self.made:
                self.made[number] = make_sample(training_rng(self.plan.seed, 0, number), self.config)
            return self.made[number]

        def take(self, count):
            return [self._next() for _ in range(count)]

    monkeypatch.setattr(feed, "Ring", Here)
