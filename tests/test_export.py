"""ONNX files say what the networks say, of batches they were not traced with, and are refused where they do not."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lgnet.checkpoint import save_weights
from lgnet.cli import main
from lgnet.model.network import build_network
from lgnet.presets import MODELS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_the_detector_runs_for_any_number_of_pictures(tmp_path, capsys):
    path = tmp_path / "detector.onnx"
    assert main(["export", "--weights", "detector", "--out", str(path)]) == 0
    assert "cells" in capsys.readouterr().out
    from lgnet.finder import load_finder

    finder = load_finder(torch.device("cpu"))
    assert finder is not None
    images = torch.rand(5, 3, 224, 224, generator=torch.Generator().manual_seed(7))
    (cells,) = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(cells, finder.detector(images).numpy(), atol=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["detector.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lgnet-mobile", "lgnet-mobile-heads", "sides", "pair"])
def test_every_network_passes_its_own_check(tmp_path, name):
    from lgnet.export import export

    weights = name
    if name == "lgnet-mobile-heads":  # none is bundled: fresh weights do
        config = replace(MODELS[name], crop_size=64)
        weights = str(tmp_path / "heads.safetensors")
        save_weights(weights, build_network(config), config, {"name": "heads"})
    done = export(weights, tmp_path / "net.onnx")
    names = [output.name for output in onnx.load(done.path).graph.output]
    assert list(done.differences) == names and len(names) == {"sides": 2, "pair": 3}.get(name, 8)


def test_a_file_that_says_something_else_is_refused(tmp_path):
    from lgnet.export import compare

    class Twice(torch.nn.Module):
        def forward(self, images):
            return (images * 2,)

    class Thrice(torch.nn.Module):
        def forward(self, images):
            return (images * 2.01,)

    path, batch = tmp_path / "twice.onnx", (torch.rand(2, 3),)
    torch.onnx.export(
        Twice().eval(), batch, path, dynamo=True, input_names=["images"], output_names=["y"], verbose=False
    )
    assert compare(Twice(), path, [batch])["y"] < 1e-6
    with pytest.raises(ValueError, match=r"twice\.onnx: y is off by"):
        compare(Thrice(), path, [batch])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "net.pt"], "has to end in .onnx"),
        (["--out", "a.onnx", "--weights", "nothing"], "no weights 'nothing'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(options, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_extra(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "--weights", "detector", "--out", str(tmp_path / "a.onnx")]) == 2
    said = capsys.readouterr().err
    assert "onnxscript" in said and "lgnet[export]" in said
