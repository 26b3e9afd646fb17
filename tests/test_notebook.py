"""The notebook in examples/ runs from top to bottom, its code cells one after the other in one namespace."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

NOTEBOOK = Path(__file__).parents[1] / "examples" / "lgnet.ipynb"


def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_no_outputs_are_stored():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells() if "outputs" in cell)


def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))
    namespace: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells()):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, cell {number}", "exec"), namespace)
    hands = namespace["hands"]
    assert [hand.side for hand in hands.hands] == ["right", "left"]
    assert {path.name for path in tmp_path.iterdir()} >= {"apart.json", "apart.glb", "apart_overlay.png"}
    assert namespace["cut"].shape == (2, namespace["config"].crop_size, namespace["config"].crop_size, 3)
    assert np.ptp(namespace["cut"], axis=(1, 2, 3)).min() > 50  # both crops show something
    assert namespace["mesh_error"] < 1
    assert max(namespace["left_over"]) < 3
    assert "joints 0." in capsys.readouterr().out
