"""Training processes that are killed, and those that train together: slow, since each start imports all there is."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("numba", reason="training needs the extra lgnet[train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra lgnet[train]")

from safetensors.torch import load_file

from lgnet.config import SynthConfig, to_dict
from lgnet.presets import MODELS, PRESETS

pytestmark = pytest.mark.slow

RUN = """
import json, sys
from lgnet import train
from lgnet.config import train_config
from lgnet.synth.generate import make_sample, training_rng
train._held_out = lambda config: {"bench": [make_sample(training_rng(1, 1, i), config.synth, "separate") for i in range(2)]}
if __name__ == "__main__":
    config, resume = json.loads(sys.argv[1]), sys.argv[2] or None
    train.main(train_config(config), resume=resume)
"""
"""The true loop with two held-out pictures instead of two hundred."""

CONFIG = replace(
    PRESETS["hands"],
    model=replace(MODELS["lgnet-mobile"], crop_size=64, grid=8, heatmap_size=16, channels=32, joint_channels=32),
    synth=SynthConfig(size=64),
    samples=240,
    batch_size=4,
    ring=40,
    reuse=3,
    warmup=40,
    evaluate_every=60,
    checkpoint_every=20,
    threads=1,
)


def command(script, config, resume=None, torchrun=0):
    script.write_text(RUN)
    start = [sys.executable]
    if torchrun:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={torchrun}"]
    return [*start, str(script), json.dumps(to_dict(config)), str(resume or "")]


def environment():
    source = str(Path(__file__).parents[1] / "src")
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(words):
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def weights(folder):
    return {name: load_file(folder / name) for name in ("state.safetensors", "best.safetensors", "last.safetensors")}


def curve(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("time", "seconds")} for row in rows]


def test_killed_ten_times_a_run_ends_in_the_same_bits(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    begin = time.monotonic()
    run(command(tmp_path / "whole.py", replace(CONFIG, out=str(whole))))
    took = time.monotonic() - begin
    chance = random.Random(int(os.environ.get("LGNET_KILL_SEED", "0")))
    before: list[int] = []
    for kill in range(int(os.environ.get("LGNET_KILLS", "10"))):
        resume = broken if (broken / "config.json").exists() else None
        words = command(tmp_path / "broken.py", replace(CONFIG, out=str(broken)), resume)
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(words, env=environment(), stdout=log, stderr=log, start_new_session=True)
        if kill % 4:  # within training; else anywhere, starting included
            while process.poll() is None and len(starts(broken)) <= len(before):
                time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, took / 3))
        process.kill()  # SIGKILL to the trainer alone: its renderers must notice by themselves
        assert process.wait() in (0, -9), (tmp_path / "log").read_text()[-2000:]
        before = starts(broken)
    run(command(tmp_path / "broken.py", CONFIG, broken))
    print("took", round(took), "s; started at samples", starts(broken))
    assert len(set(starts(broken))) >= 3  # it did go on from somewhere
    for name, kept in weights(whole).items():
        again = weights(broken)[name]
        assert kept.keys() == again.keys()
        assert not [key for key in kept if not torch.equal(kept[key], again[key])], name
    assert curve(whole) == curve(broken)


def starts(folder):
    path = folder / "starts.jsonl"
    return [json.loads(line)["samples"] for line in path.read_text().splitlines()] if path.exists() else []


def test_two_processes_train_one_network_and_one_goes_on(tmp_path):
    config = replace(CONFIG, samples=64, checkpoint_every=32, devices=2, accumulate=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(command(tmp_path / "whole.py", replace(config, out=str(whole)), torchrun=2))
    run(command(tmp_path / "launched.py", replace(config, out=str(broken), samples=32)))  # starts the second itself
    run(command(tmp_path / "launched.py", config, broken))
    one, other = (load_file(folder / "state.safetensors") for folder in (whole, broken))
    assert not [key for key in one if not torch.equal(one[key], other[key])]
    run(command(tmp_path / "alone.py", replace(config, samples=96, devices=1), broken))
    rows = [json.loads(line) for line in (broken / "starts.jsonl").read_text().splitlines()]
    assert [(row["samples"], row["processes"]) for row in rows] == [(0, 2), (32, 2), (64, 1)]
    assert curve(broken)[-1]["samples"] == 96
