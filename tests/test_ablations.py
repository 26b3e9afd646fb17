"""benchmarks/ablations.py: rows change one thing, and a run of other options is never taken for this one."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import ablations
import groups

from lgnet.config import to_dict

OPTIONS = {"samples": 64, "init": None, "renderers": 1, "threads": 1, "real": None, "seed": 31, "tiny": False}


def options(folder, **changed):
    return Namespace(**{**OPTIONS, "out": str(folder), **changed})


def kept(config):
    """The folder of a run that was trained to its end."""
    folder = Path(config.out)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    (folder / "metrics.jsonl").write_text(json.dumps({"samples": config.samples, "bench/mpjpe": 1.0}) + "\n")
    (folder / "last.safetensors").touch()


def test_runs_of_the_same_options_are_read_and_others_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations.trainer, "main", lambda *a, **k: pytest.fail("trained"))
    kept(ablations.configured(ablations.WHOLE, 0, options(tmp_path)))
    assert ablations.run(ablations.WHOLE, 0, options(tmp_path, renderers=2))["bench/mpjpe"] == 1.0
    for changed, said in (
        ({"tiny": True}, "model"),
        ({"seed": 77}, "seed"),
        ({"samples": 640}, "samples"),
        ({"init": "x"}, "init"),
    ):
        with pytest.raises(ValueError, match=rf"holds a run with other options \(.*{said}"):
            ablations.run(ablations.WHOLE, 0, options(tmp_path, **changed))


def test_groups_that_were_broken_off_go_on_and_others_are_refused(tmp_path, monkeypatch):
    chosen = Namespace(out=str(tmp_path), samples=640, init=None, real=None, seed=17)
    configs = []
    monkeypatch.setattr(groups, "trained", lambda config, name: configs.append(config))
    groups.run("without views and poses", chosen)
    kept(configs[0])
    (Path(configs[0].out) / "metrics.jsonl").write_text(json.dumps({"samples": 0, "bench/mpjpe": 90.0}) + "\n")
    monkeypatch.undo()
    resumed = []
    monkeypatch.setattr(ablations.trainer, "main", lambda config, resume: resumed.append(resume))
    groups.run("without views and poses", chosen)
    assert resumed == [configs[0].out] and configs[0].synth.signs == 0
    with pytest.raises(ValueError, match="other options"):
        groups.run("without views and poses", Namespace(**{**vars(chosen), "seed": 18}))


def test_a_kept_backbone_is_of_the_weights_that_were_named(tmp_path):
    for name in ("a", "b"):
        save_file({"backbone.x": torch.zeros(1), "rest": torch.ones(1)}, tmp_path / name)
    path = ablations.backbone_of(str(tmp_path / "a"), tmp_path / "out")
    assert list(load_file(path)) == ["backbone.x"]
    assert ablations.backbone_of(str(tmp_path / "a"), tmp_path / "out") == path
    with pytest.raises(ValueError, match="choose another --out, or remove it"):
        ablations.backbone_of(str(tmp_path / "b"), tmp_path / "out")


def test_phases_have_their_own_pictures_and_go_by_the_seed(tmp_path):
    begin, rest = ablations.phases("easy pictures first, a third", 1, options(tmp_path, seed=77))
    assert (begin.seed, rest.seed) == (78, 78 + ablations.OTHER_PICTURES)
    assert begin.samples + rest.samples == 64
    assert rest.init == str(Path(begin.out) / "last.safetensors")
    assert begin.synth.difficulty == 0 and rest.synth.difficulty > 0


@pytest.mark.parametrize("name", [*ablations.PARTS, *ablations.TRAINING])
def test_crops_of_another_size_keep_their_heat_maps_as_fine(name, tmp_path):
    model = ablations.configured(name, 0, options(tmp_path)).model
    if not name.startswith("heat maps"):
        assert model.heatmap_size == 4 * model.grid
    assert model.crop_size % model.grid == 0
