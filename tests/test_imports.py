"""Imports go one way: read off the syntax trees, so that lazy imports count too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "lgnet"

LAYERS = (
    {"hands", "config", "presets"},
    {"aside", "progress", "coding", "geometry", "penetration", "zbuffer", "safe_pickle", "shards"},
    {"hand_model", "mano", "anatomy", "crop", "data.sample", "image_io"},
    {"model"},
    {"losses", "metrics", "checkpoint", "confidence", "detect", "side", "pair", "place", "fit", "data", "synth"},
    {"data.ring", "data.registry", "data.refit", "data.check"},
    {"data.feed"},
    {"people", "places", "opinion", "tta"},
    {"finder"},
    {"predict", "tasks", "plots", "teach"},
    {"train", "train_state", "muon"},
    {"*"},  # what stands on predictions: outputs, pictures, evaluation, export, stream, ...
    {"app"},
    {"commands", "cli", "__main__"},
)
"""A module may import from its own layer and those before. A module that is not named here is of the layer "*"; one
that others below that need has to be named. A package stands for all in it, unless its module is named itself."""


def layer(module: str) -> int:
    for name in (module, module.split(".")[0], module.split("_")[0], "*"):  # commands_stream is one of the commands
        for index, names in enumerate(LAYERS):
            if name in names:
                return index
    raise AssertionError("unreachable")


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, whole: bool = True) -> set[str]:
    """All that a module imports: lgnet's own modules by their names within it, others as they are called.

    With `whole`, imports within functions too; else only what runs when the module is imported.
    """
    path = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    package = [part for part in package if part]
    out = set()
    for node in ast.walk(tree) if whole else tree.body:
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join(["lgnet", *above, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                out.add(full if full.removeprefix("lgnet.") in MODULES else base)
    return {i.removeprefix("lgnet.") if i.startswith("lgnet.") else i for i in out}


def own(name: str, whole: bool = True) -> set[str]:
    return {i for i in imports(name, whole) if i in MODULES and i}


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_go_one_way(name):
    upward = {i for i in own(name) if layer(i) > layer(name)}
    assert not upward, f"lgnet.{name} imports {sorted(upward)}, of a layer above its own (tests/test_imports.py)"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("model")])
def test_the_network_knows_no_data_no_training_no_command_line(name):
    forbidden = {"data", "synth", "train", "tasks", "evaluate", "predict", "cli", "app"}
    assert not {i for i in own(name) if i.split(".")[0] in forbidden}


def test_the_reader_of_imports_sees_them():
    """The checks above check something."""
    assert {"config", "model.backbone", "model.records"} <= own("model.network")
    assert "synth.generate" in own("data.registry")  # lazy
    assert "synth.generate" not in own("data.registry", whole=False)
    assert "plots" in own("evaluate")  # from . import plots
    assert "torch" in imports("geometry")
    assert layer("data.sample") < layer("model") < layer("data.batch") < layer("something new") < layer("cli")


def test_no_cycle_when_imported():
    done, open_ = set(), []

    def visit(name: str) -> None:
        assert name not in open_, f"imports go in a circle: {' -> '.join([*open_, name])}"
        if name in done:
            return
        open_.append(name)
        for other in sorted(own(name, whole=False)):
            visit(other)
        open_.pop()
        done.add(name)

    for name in MODULES:
        visit(name)


def test_heavy_and_optional_packages_stay_where_they_belong():
    for name in MODULES:
        packages = {i.split(".")[0] for i in imports(name)}
        if name in (
            "hands",
            "config",
            "metrics",
            "crop",
            "data.sample",
            "data.realdata",
            "data.interhand",
            "data.registry",
        ):
            assert "torch" not in packages, name
        if "matplotlib" in packages:
            assert name == "plots"
            assert "matplotlib" not in imports(name, whole=False)
        if "mediapipe" in packages:
            assert name == "mediapipe_hands"
            assert "mediapipe" not in {i.split(".")[0] for i in imports(name, whole=False)}
        if "websockets" in packages:
            assert name == "publish"
            assert "websockets" not in {i.split(".")[0] for i in imports(name, whole=False)}
        if "yourdfpy" in packages:
            assert name == "urdf"
            assert "yourdfpy" not in imports(name, whole=False)
        assert "numba" not in packages or name.startswith("synth") or name in ("penetration", "zbuffer"), name
        assert not packages & {"pickle", "torchvision"} or name == "safe_pickle", name


def test_blender_is_another_program():
    """Its module (GPL) is imported by the script that runs in it, and that script by nobody."""
    script = "synth.blender_script"
    assert "bpy" in imports(script)
    assert not own(script)
    for name in MODULES:
        assert name == script or not {"bpy", script} & imports(name), name


@pytest.mark.parametrize("module", ["lgnet", "lgnet.config", "lgnet.hands", "lgnet.metrics", "lgnet.data.registry"])
def test_importing_needs_no_torch(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
