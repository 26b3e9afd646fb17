"""The training loop itself: it learns, stops, goes on exactly where it was, and leaves nothing half-written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="training needs the extra lgnet[train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra lgnet[train]")

from lgnet.checkpoint import load_network
from lgnet.config import MODELS, PRESETS, SynthConfig
from lgnet.data.ring import Ring
from lgnet.train import Average, load_state, main, rate, save_state


def test_rate_rises_stays_and_falls():
    config = replace(PRESETS["hands"], samples=1000, warmup=100, decay=200, learning_rate=1.0)
    assert rate(config, 0) == pytest.approx(0.01)
    assert rate(config, 500) == 1.0
    assert rate(config, 900) == pytest.approx(0.5)
    assert rate(replace(config, decay=0), 999) == 1.0


def test_average_follows_and_copies_counters():
    net = torch.nn.BatchNorm1d(2)
    average = Average(net, 0.5)
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.num_batches_tracked.fill_(7)
    average.update(net, 100)
    torch.testing.assert_close(average.values["weight"], torch.full((2,), 2.0))  # (1 + 3) / 2
    assert average.values["num_batches_tracked"] == 7


def test_state_goes_round(tmp_path):
    torch.manual_seed(0)

    def build():
        net = torch.nn.Linear(3, 2)
        return net, Average(net, 0.9), torch.optim.AdamW(net.parameters(), 1e-2)

    net, average, optimiser = build()
    net(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    average.update(net, 1)
    save_state(tmp_path / "state.safetensors", net, average, optimiser, {"samples": 5, "best": float("inf")})
    other, other_average, other_optimiser = build()
    state = load_state(tmp_path / "state.safetensors", other, other_average, other_optimiser)
    assert state["samples"] == 5
    assert not list(tmp_path.glob("*.part"))
    for a, b in ((net, other),):
        torch.testing.assert_close(a.state_dict(), b.state_dict())
    torch.testing.assert_close(average.values, other_average.values)
    # the next step is the same, so the optimiser's memory came along
    for n, o in ((net, optimiser), (other, other_optimiser)):
        o.zero_grad()
        n(torch.full((1, 3), 2.0)).pow(2).sum().backward()
        o.step()
    torch.testing.assert_close(net.state_dict(), other.state_dict())


def test_damaged_state_is_one_sentence(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"nonsense")
    net = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="does not hold a run"):
        load_state(tmp_path / "state.safetensors", net, Average(net, 0.9), torch.optim.AdamW(net.parameters()))


def test_ring_hands_out_what_was_drawn():
    config = SynthConfig(size=64)
    with Ring(config, 8, 1, reuse=2, seed=5) as ring:
        import time

        for _ in range(600):
            if ring.ready >= 4:
                break
            time.sleep(0.1)
        samples = ring.take(6, np.random.default_rng(0))
        assert ring.drawn >= 4
    from lgnet.synth.generate import make_sample, training_rng

    made = {make_sample(training_rng(5, 0, i), config).image.tobytes() for i in range(16)}
    assert all(sample.image.tobytes() in made for sample in samples)


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path):
    model = replace(MODELS["hands"], crop_size=64, channels=32, joint_channels=32, grid=8)
    config = replace(
        PRESETS["hands"],
        model=model,
        synth=SynthConfig(size=64),
        out=str(tmp_path / "run"),
        samples=64,
        batch_size=8,
        ring=32,
        checkpoint_every=32,
        evaluate_every=10_000,
        threads=2,
    )
    main(config)
    main(replace(config, samples=128), resume=str(tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows][-1] == 128
    network, saved, meta = load_network(tmp_path / "run/last.safetensors")
    assert saved == model
    assert meta["samples"] == 128
    assert not network.training
    with pytest.raises(ValueError, match="already holds a run"):
        main(config)
