"""The training loop itself: it learns, stops, goes on exactly where it was, and leaves nothing half-written."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="training needs the extra lgnet[train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra lgnet[train]")

from lgnet import dry_run, train
from lgnet.checkpoint import load_network
from lgnet.config import LossConfig, SynthConfig, to_dict, train_config
from lgnet.config_check import check_train
from lgnet.presets import MODELS, PRESETS
from lgnet.tasks import build_task
from lgnet.train import main, rate
from lgnet.train_state import Average, restore_state, save_state

NO_LOSS = LossConfig(**dict.fromkeys(vars(LossConfig()), 0.0))


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
    state = restore_state(tmp_path / "state.safetensors", other, other_average, other_optimiser)
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
        restore_state(tmp_path / "state.safetensors", net, Average(net, 0.9), torch.optim.AdamW(net.parameters()))


TINY = replace(
    PRESETS["hands"],
    model=replace(MODELS["lgnet-mobile"], crop_size=64, grid=8, heatmap_size=16, channels=32, joint_channels=32),
    synth=SynthConfig(size=64),
    samples=24,
    batch_size=2,
    accumulate=2,
    ring=10,
    reuse=2,
    warmup=8,
    evaluate_every=1000,
    checkpoint_every=8,
    threads=1,
)


class Killed(BaseException):
    """What stands for a kill in the same process."""


def killed_after(monkeypatch, steps):
    """Let the run die in its step number `steps`, counted from this start."""
    left = iter(range(steps))

    def dying(config, samples):
        if next(left, None) is None:
            raise Killed
        return rate(config, samples)

    monkeypatch.setattr(train, "rate", dying)


def kept(folder):
    """The tensors of a run's state."""
    from safetensors.torch import load_file

    return load_file(folder / "state.safetensors")


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    different = [key for key in one if not torch.equal(one[key], other[key])]
    assert not different, f"{len(different)} of {len(one)} differ, such as {different[:3]}"


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_run_goes_on_to_the_same_bits(tmp_path, monkeypatch, ring_here, optimiser):
    config = replace(TINY, optimiser=optimiser)
    monkeypatch.setattr(train, "_held_out", lambda config: {"bench": train_pictures(3)})
    main(replace(config, out=str(tmp_path / "whole")))
    broken = tmp_path / "broken"
    for steps in (1, 3):  # before the first state, after it
        killed_after(monkeypatch, steps)
        with pytest.raises(Killed):
            main(replace(config, out=str(broken)), resume=str(broken) if broken.exists() else None)
    monkeypatch.setattr(train, "rate", rate)
    main(replace(config, renderers=2), resume=str(broken))
    assert_same_bits(kept(tmp_path / "whole"), kept(broken))
    starts = [json.loads(line)["samples"] for line in (broken / "starts.jsonl").read_text().splitlines()]
    assert starts == [0, 0, 8]
    whole, again = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "whole", broken)
    )
    assert [row["samples"] for row in whole] == [row["samples"] for row in again] == [0, 24]
    assert [row["bench/mpjpe"] for row in whole] == [row["bench/mpjpe"] for row in again]
    assert whole[-1]["seconds"] > 0  # of training up to the row, not to the state before
    assert (broken / "sheet.jpg").stat().st_size > 1000
    assert not list(broken.glob("*.part*"))
    network, saved, meta = load_network(broken / "last.safetensors")
    assert saved == config.model and meta["samples"] == 24 and not network.training
    with pytest.raises(ValueError, match="already holds a run"):
        main(replace(config, out=str(broken)))
    shutil.copytree(broken, tmp_path / "tidied", ignore=shutil.ignore_patterns("state.safetensors"))
    with pytest.raises(ValueError, match="already holds a run"):  # whose weights would be replaced
        main(replace(config, out=str(tmp_path / "tidied")))
    with pytest.raises(ValueError, match="seen 24 samples already; --samples above"):
        main(replace(config, samples=16), resume=str(broken))
    assert main(config, resume=str(broken)) == broken  # there is nothing left to do
    assert json.loads((broken / "config.json").read_text())["samples"] == 24
    assert len((broken / "starts.jsonl").read_text().splitlines()) == 3
    assert (broken / "last.safetensors").stat().st_mode == (broken / "config.json").stat().st_mode


def lose_steps(monkeypatch, which):
    """Make the steps' losses no numbers, by pictures that are none; `which`: step -> bool."""
    take, count = train.Feed.take, iter(range(1000))

    def taken(feed):
        data = take(feed)
        if which(next(count)):
            data["images"] = torch.full_like(data["images"], float("nan"))
        return data

    monkeypatch.setattr(train.Feed, "take", taken)
    monkeypatch.setattr(train, "_held_out", lambda config: {"bench": train_pictures(3)})


def test_a_run_that_is_lost_ends_and_says_so(tmp_path, monkeypatch, ring_here):
    lose_steps(monkeypatch, lambda step: True)
    monkeypatch.setattr(train, "MOST_LOST", 2)
    with pytest.raises(ValueError, match="not finite for 2 steps up to 4 samples"):
        main(replace(TINY, out=str(tmp_path / "run")))


def test_a_lost_step_leaves_no_trace_in_the_weights(tmp_path, monkeypatch, ring_here):
    lose_steps(monkeypatch, lambda step: step == 1)
    out = main(replace(TINY, out=str(tmp_path / "run")))
    network, _, _ = load_network(out / "last.safetensors")
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())


def test_real_pictures_to_watch_that_are_not_there_are_told_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        main(replace(TINY, out=str(tmp_path / "run"), real_data=str(tmp_path / "nowhere")))
    with pytest.raises(ValueError, match="nowhere"):
        dry_run.main(replace(TINY, out=str(tmp_path / "run"), real_data=str(tmp_path / "nowhere")))
    assert not (tmp_path / "run").exists()


def train_pictures(count):
    from lgnet.synth.generate import make_sample, training_rng

    return [make_sample(training_rng(1, 1, i), TINY.synth, "separate") for i in range(count)]


def test_only_the_named_parts_are_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "_held_out", lambda config: {"bench": train_pictures(3)})
    whole = replace(TINY, model=replace(TINY.model, refine_stage=True), out=str(tmp_path / "whole"), samples=8)
    main(whole)
    start = tmp_path / "whole" / "last.safetensors"
    only = replace(
        whole, out=str(tmp_path / "only"), init=str(start), only=("refine_stage",), learning_rate=1e-2, decay=0
    )
    main(only)
    before, after = (
        load_network(folder / "last.safetensors").network.state_dict() for folder in (start.parent, tmp_path / "only")
    )
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"refine_stage"}
    with pytest.raises(ValueError, match="--only names 'refine', but the network's parts are backbone, joint_stage"):
        main(replace(only, out=str(tmp_path / "none"), only=("refine",)))
    bare = replace(only, out=str(tmp_path / "none"), model=replace(only.model, refine_stage=False))
    with pytest.raises(ValueError, match="--only names refine_stage, and this network has nothing to train there"):
        main(bare)
    for wrong in ({"init": str(tmp_path / "no.safetensors")}, {"data": (f"freihand-training:{tmp_path}=0.5",)}):
        with pytest.raises(ValueError, match=r"no file .*no\.safetensors|holds no pictures of FreiHAND"):
            main(replace(only, out=str(tmp_path / "none"), **wrong))
    assert not (tmp_path / "none").exists()


def test_more_processes_than_the_machine_has_room_for_are_never_started(tmp_path):
    config = replace(TINY, devices=10_000, out=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="--devices is 10000, but this machine has"):
        main(config)
    with pytest.raises(ValueError, match="--devices is 10000, but this machine has"):
        dry_run.main(config)
    assert not (tmp_path / "run").exists()


def test_configurations_go_round_and_nonsense_is_refused():
    config = replace(TINY, data=("freihand-training:x=0.5",))
    assert train_config(json.loads(json.dumps(to_dict(config)))) == config
    old = to_dict(PRESETS["detector"])
    for name in ("data", "accumulate", "readers"):  # not known to the runs before them
        del old[name]
    assert train_config(old) == PRESETS["detector"]
    with pytest.raises(ValueError, match="no training configuration"):
        train_config({**old, "nonsense": 1})
    for change, said in (
        ({"batch_size": 0}, "--batch-size is at least 1 and finite, not 0"),
        ({"accumulate": 0}, "--accumulate is at least 1"),
        ({"weight_decay": float("inf")}, "--weight-decay is at least 0 and finite, not inf"),
        ({"model": replace(TINY.model, grid=0)}, "--model.grid is at least 1, not 0"),
        ({"model": replace(TINY.model, sjt_heads=0)}, "--model.sjt-heads is at least 1"),
        ({"model": replace(TINY.model, mobile_depths=(1, 1, 0, 1))}, "--model.mobile-depths are at least 1"),
        ({"model": replace(TINY.model, depth_range=float("nan"))}, "--model.depth-range is above 0, not nan"),
        ({"loss": replace(TINY.loss, joints3d=-1.0)}, "--loss.joints3d is at least 0, not -1"),
        ({"model": replace(TINY.model, hand_model="mano")}, "synthetic pictures tell no pose and shape of MANO"),
        ({"data": ("synth-bench=0.5",)}, "synth-bench is for evaluation"),
        ({"data": ("realdata:x=0.5",)}, "realdata:x is for evaluation"),
        ({"data": ("interhand26m-test-two:x=0.5",)}, "interhand26m-test-two:x is for evaluation"),
        ({"data": ("freihand-evaluation:x=0.5",)}, "freihand-evaluation:x is for evaluation"),
        ({"teacher_ema": 0.9}, "are of --teacher, which names nobody"),
        ({"loss": NO_LOSS}, "there is nothing to train by"),
        ({"loss": replace(NO_LOSS, parts=1.0, surface=1.0)}, "there is nothing to train by"),
        (
            {"loss": replace(NO_LOSS, vertices=1.0), "model": replace(TINY.model, refine_stage=False)},
            "there is nothing to train by",
        ),
        (
            {"only": ("dense_head",), "loss": replace(TINY.loss, parts=0.0, surface=0.0)},
            "reaches dense_head, which --only",
        ),
        (
            {"only": ("refine_stage",), "loss": replace(NO_LOSS, joints25d=1.0)},
            "reaches refine_stage, which --only trains",
        ),
        (
            {"model": replace(TINY.model, hand_model="mano"), "data": ("synth:x=1",), "fit_within": 0},
            "fitted first .--fit-within above 0",
        ),
        ({"side": replace(TINY.side, crop_enlarge=-1.0)}, "--side.crop-enlarge is above 0, not -1"),
        ({"pair": replace(TINY.pair, depths=(0, 1, 1, 1))}, "--pair.depths are at least 1"),
        ({"detector": replace(TINY.detector, widths=(16, 0, 48, 96, 128))}, "--detector.widths are at least 1"),
        ({"learning_rate": float("nan")}, "--learning-rate is above 0, not nan"),
        ({"ema": 1.0}, "--ema is from 0 to below 1"),
        ({"ring": 2}, "--ring is at least --reuse [+] 1, here 3"),
        ({"data": ("freihand-training:x",)}, "--data wants NAME:ROOT=SHARE"),
        ({"data": ("freihand-training:x=0.7", "synth:y=0.7")}, "add up to 1.4, more than 1"),
        ({"data": ("synth:y=0.1", "synth:y=0.1")}, "names synth:y twice"),
        ({"data": ("synth:y=0.1",), "task": "sides"}, "--data is for hand networks"),
        ({"synth": replace(TINY.synth, kinds=(0.5, 0.5, 0.5, 0.0))}, "four shares that add up to 1"),
    ):
        with pytest.raises(ValueError, match=said):
            check_train(replace(TINY, **change))
    for preset in PRESETS.values():
        check_train(preset)


def test_half_precision_is_taken_where_there_are_units_for_it_only(monkeypatch):
    """Not where a GPU would emulate it, and without asking for what builds of other processors lack."""
    asked = {}

    def supported(including_emulation=True):
        asked["emulated"] = including_emulation
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert train._precision(replace(TINY, precision="auto")) == "32-true" and asked == {"emulated": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(train, "_has_bf16_units", lambda: True)
    monkeypatch.setattr(torch.ops, "mkldnn", None)
    assert train._precision(replace(TINY, precision="auto")) == "32-true"


def test_dry_run_says_what_would_happen_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dry_run.main(replace(TINY, out="run", samples=1000))
    said = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    network = build_task(TINY).network
    assert f"{sum(p.numel() for p in network.parameters()):,} parameters" in said
    for text in ("2 samples x 2 x 1 process(es) = 4; 1,000 samples are 250 steps", "--accumulate 2", "100% synthetic"):
        assert text in said
    assert said.endswith("dry run: nothing was written\n")
    with pytest.raises(ValueError, match="--clip is above 0"):
        dry_run.main(replace(TINY, clip=0.0))


def test_jitter_says_how_far_crops_are_off_their_boxes():
    """Without it the hand is as large in its crop as in evaluation (rolled only); with it, it is not."""
    samples = train_pictures(4)

    def sizes(config, rng):
        data = build_task(config).batch(samples, rng)
        joints, known = data["joints2d"], data["joints2d_valid"].all(-1) & data["present"]
        return (joints[:, :, 9] - joints[:, :, 0]).norm(dim=-1)[known], known

    plain, known = sizes(TINY, None)
    exact, exact_known = sizes(replace(TINY, jitter=0.0), np.random.default_rng(0))
    loose, loose_known = sizes(TINY, np.random.default_rng(0))
    both = known & exact_known & loose_known
    assert both.sum() >= 3
    torch.testing.assert_close(exact[both[exact_known]], plain[both[known]], rtol=2e-3, atol=0)
    assert ((loose[both[loose_known]] / plain[both[known]] - 1).abs() > 0.02).any()
