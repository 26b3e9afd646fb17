"""The second renderer: what is exported, that only pixels change, what is said when Blender fails; and Blender itself.

Tests of Blender itself run where the variable LGNET_BLENDER, or else the search path, leads to one.
"""

import ast
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lgnet.config import SynthConfig
from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.data.sample import project
from lgnet.data.synthetic import load_labels, open_folder

pytest.importorskip("numba")

from lgnet.cli import main
from lgnet.hand_model import load_hand_model
from lgnet.synth import blender, generate
from lgnet.synth.appearance import Lights, Mesh, plain_mesh
from lgnet.synth.blender import MATERIAL, SCRIPT, Cycles, over, render_scenes, repainted, scene_arrays, skin_textures
from lgnet.synth.generate import Drawn, cycles_bench_drawn, make_drawn, taken_again, training_rng
from lgnet.synth.render import render, smooth_edges
from lgnet.synth.skin_shader import AMOUNTS
from lgnet.synth.skin_texels import corner_texels
from lgnet.synth.write import write_dataset

CONFIG = SynthConfig(size=64, full_frame=True, kinds=(0.4, 0.2, 0.4, 0.0))
RICH = replace(CONFIG, looks=1.0, people=1.0, held=1.0)
BLENDER = shutil.which(os.environ.get("LGNET_BLENDER", "blender"))
needs_blender = pytest.mark.skipif(BLENDER is None, reason="no Blender here: set LGNET_BLENDER to one")

BENCH = Path(__file__).parents[1] / "benchmarks" / "synth-bench-cycles"
needs_bench = pytest.mark.skipif(not BENCH.is_dir(), reason="benchmarks/ is in the repository alone")

PAINTER = """#!{python}
import sys
import numpy as np
words = sys.argv[sys.argv.index("--") + 1 :]
assert words[:4] == ["--samples", "3", "--threads", "1"], words
print("hello")
for path in words[4:]:
    with np.load(path) as arrays:
        width, height = arrays["camera"][4:].astype(int)
    picture = np.zeros((height, width, 4), np.float32)
    picture[:, : width // 2] = [0.5, 0.1, 0.1, 1]
    np.save(path.replace(".npz", ".npy"), picture)
    print("lgnet has rendered", path, flush=True)
"""
"""Stands for Blender: the left half of every picture is reddish."""


def program(folder: Path, text: str, name: str = "blender") -> str:
    path = folder / name
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def arrays_of(drawn: Drawn) -> dict[str, np.ndarray]:
    return scene_arrays(drawn.meshes, drawn.scene.K, drawn.scene.size, drawn.shot.lights)


@pytest.fixture(scope="module")
def rich() -> Drawn:
    """A picture with skin in detail, things worn and somebody behind."""
    for index in range(40):
        drawn = make_drawn(training_rng(31, 0, index), RICH)
        if len(drawn.meshes) > 6 and any(m.corner is not None for m in drawn.meshes):
            return drawn
    raise AssertionError("no such picture")


@pytest.mark.parametrize("config", [CONFIG, RICH])
def test_our_own_light_taken_again_is_the_very_picture(config):
    """What is kept with a picture is enough for another renderer: not a byte of the camera's work depends on more."""
    for index in range(4):
        drawn = make_drawn(training_rng(3, 0, index), config)
        own = render(drawn.meshes, drawn.scene.K, drawn.shot.background, drawn.shot.lights)
        linear = smooth_edges(own.linear, own.depth) if drawn.shot.looks else own.linear
        again = taken_again(drawn, linear, config)
        np.testing.assert_array_equal(again.sample.image, drawn.sample.image)
        assert again.sample.joints3d is drawn.sample.joints3d
        dark = taken_again(drawn, np.zeros_like(linear), config)
        assert dark.sample.image.mean() < drawn.sample.image.mean()


def test_a_scene_holds_all_meshes_lights_and_the_camera(rich):
    a = arrays_of(rich)
    K, lights = rich.scene.K, rich.shot.lights
    np.testing.assert_allclose(a["camera"], [*K, 64, 64])
    assert a["lights"].shape == (7, 3)
    np.testing.assert_allclose(a["lights"][0], lights.key_direction)
    np.testing.assert_allclose(a["lights"][4], lights.sky)
    assert 0 <= a["lights"][6, 0] <= 40
    np.testing.assert_array_equal(a["counts"], [[len(m.vertices), len(m.faces)] for m in rich.meshes])
    total, faces = a["counts"].sum(0)
    assert a["vertices"].shape == a["colour"].shape == a["gloss"].shape == a["rest"].shape == (total, 3)
    assert a["faces"].shape == (faces, 3) and a["texel"].shape == (faces, 3, 2)
    start = 0
    for mesh, (vertices, _) in zip(rich.meshes, a["counts"]):
        own = slice(start, start + vertices)
        np.testing.assert_array_equal(a["vertices"][own], mesh.vertices)
        np.testing.assert_array_equal(a["colour"][own], mesh.albedo)
        start += vertices
    assert all(array.dtype.kind in "fiu" for array in a.values())  # nothing that only pickle can read


def test_materials_tell_skin_from_cloth_and_what_casts_shadows(rich):
    column = dict(zip(MATERIAL, arrays_of(rich)["materials"].T))
    for k, mesh in enumerate(rich.meshes):
        assert column["casts_shadow"][k] == mesh.casts_shadow
        assert column["texture"][k] == (k if mesh.corner is not None else -1)
        if mesh.part.any() and mesh.amounts is not None and mesh.amounts[AMOUNTS.index("crease")] > 0:
            assert column["skin"][k] == 1
    cloth = plain_mesh(
        (np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32)), np.ones((3, 3)), np.tile([0, 0.05, 0.3], (3, 1)), np.eye(3)
    )
    assert not blender.is_skin(cloth)
    hand = next(m for m in rich.meshes if m.corner is not None)
    assert hand.amounts is not None
    assert blender.is_skin(replace(hand, amounts=np.where(np.arange(len(AMOUNTS)) == 0, 1, hand.amounts)))
    assert not blender.is_skin(replace(hand, amounts=np.zeros(len(AMOUNTS), np.float32)))  # a glove


def test_nails_lie_where_the_texture_has_them():
    """The texels of nail vertices fall on the painted part of the texture, rows counted from below; others do not."""
    amounts = np.zeros(len(AMOUNTS), np.float32)
    amounts[[AMOUNTS.index(name) for name in ("crease", "nail", "nail_red")]] = 0.7, 1, 0.9
    textures = skin_textures(amounts, 1)
    size = len(textures["tint"])
    model = load_hand_model("lgnet", "right")
    faces = model.faces.numpy()[: len(model.uv_faces)]
    nail = model.nail.numpy()[faces].min(1)
    texel = (corner_texels()[: len(faces)].mean(1) + 0.5) / 640
    column, row = np.clip((texel * size).astype(int), 0, size - 1).T
    alpha = textures["paint"][row, column, 3]
    assert (alpha[nail > 0.95] > 0.5).mean() > 0.8
    assert (alpha[nail == 0] < 0.1).mean() > 0.95
    tinted = textures["tint"][row, column]
    assert (tinted >= 0).all() and tinted.max() < 1.5
    assert tinted[nail == 0].mean() > 0.7
    np.testing.assert_allclose(np.linalg.norm(textures["normal"] * 2 - 1, axis=2), 1, atol=1e-5)
    assert (textures["normal"][..., 2] > 0.8).mean() > 0.9


def test_textures_are_stored_from_below(rich):
    a = arrays_of(rich)
    k = int(a["materials"][:, 3].max())
    amounts = rich.meshes[k].amounts
    assert amounts is not None
    size = len(a[f"tint_{k}"])
    level = {640: 0, 320: 1, 160: 2, 80: 3}[size]
    np.testing.assert_allclose(a[f"tint_{k}"][::-1], skin_textures(amounts, level)["tint"], atol=2e-3)
    there = a["texel"][..., 0] >= 0
    assert (a["texel"][there] >= 0).all() and (a["texel"][there] <= 1).all()
    assert (a["texel"][~there] == -1).all()


def test_light_over_a_background():
    rgba = np.array([[[0.2, 0.1, 0.0, 0.5]]], np.float32)
    np.testing.assert_allclose(over(rgba, np.full((1, 1, 3), 0.6)), [[[0.5, 0.4, 0.3]]], atol=1e-6)


def test_only_pixels_change(tmp_path):
    cycles = Cycles(program(tmp_path, PAINTER), 3, 1)
    own = [(i, make_drawn(training_rng(4, 0, i), CONFIG, name=str(i))) for i in range(3)]
    for (number, new), (_, old) in zip(repainted(own, CONFIG, cycles), own, strict=True):
        assert (number, new.sample.name) == (int(old.sample.name), old.sample.name)
        for key in ("joints2d", "joints3d", "box", "pose", "shape", "K", "parts"):
            np.testing.assert_array_equal(getattr(new.sample, key), getattr(old.sample, key))
        assert new.rendered is old.rendered
        left = new.sample.image[:, :24].astype(float).mean((0, 1))
        assert left[0] > left[1]


def test_every_batch_is_told_as_it_goes(tmp_path, monkeypatch):
    ticks: list[int] = []
    cycles = Cycles(program(tmp_path, PAINTER), 3, 1)
    drawn = make_drawn(training_rng(4, 0, 0), CONFIG)
    out = render_scenes([arrays_of(drawn)] * 3, cycles, lambda: ticks.append(1))
    assert len(ticks) == len(out) == 3
    assert out[0].shape == (64, 64, 4)
    monkeypatch.setattr(blender, "BATCH", 2)
    assert len(list(repainted([(i, drawn) for i in range(5)], CONFIG, cycles))) == 5
    assert list(repainted([], CONFIG, cycles)) == []


def test_a_folder_of_cycles_says_so_and_goes_on_only_as_such(tmp_path):
    cycles = Cycles(program(tmp_path, PAINTER), 3, 1)
    out = tmp_path / "out"
    write_dataset(out, 2, 5, CONFIG, "webdataset", 1, cycles=cycles, maps=False, quality=80)
    head = json.loads((out / "index.json").read_text())
    assert head["renderer"] == "cycles, 3 samples a pixel"
    assert write_dataset(out, 2, 5, CONFIG, "webdataset", 1, cycles=cycles, maps=False, quality=80) == 2
    with pytest.raises(ValueError, match="begun with renderer cycles, 3 samples a pixel, not numba"):
        write_dataset(out, 2, 5, CONFIG, "webdataset", 1, maps=False, quality=80)
    data = open_folder(out)
    with pytest.raises(ValueError, match="written without the labels of every pixel"):
        load_labels(data, 0)
    numba = tmp_path / "numba"
    write_dataset(numba, 2, 5, CONFIG, "webdataset", 1)
    for one, two in zip(open_data(f"synth:{out}"), open_data(f"synth:{numba}"), strict=True):
        np.testing.assert_array_equal(one.joints3d, two.joints3d)
        np.testing.assert_array_equal(one.parts, two.parts)
        assert not np.array_equal(one.image, two.image)


def test_a_folder_of_before_there_were_renderers_goes_on(tmp_path):
    write_dataset(tmp_path, 2, 5, CONFIG, "files", 1)
    path = tmp_path / "dataset.json"
    head = json.loads(path.read_text())
    for key in ("renderer", "maps", "quality"):
        del head[key]
    path.write_text(json.dumps(head))
    assert write_dataset(tmp_path, 2, 5, CONFIG, "files", 1) == 2


def test_a_missing_blender_is_one_sentence(tmp_path, capsys):
    words = ["synth", "--out", str(tmp_path / "out"), "--count", "1", "--renderer", "cycles", "--blender"]
    assert main([*words, str(tmp_path / "no" / "blender")]) == 2
    said = capsys.readouterr().err
    assert "there is no program" in said and "--blender PATH" in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main([*words, "x", "--samples", "0"]) == 2
    assert "--samples is at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do echo line $i; done\necho no >&2\nexit 3\n", 3),
        ("#!/bin/sh\necho line 13; echo no\n", 0),
    ],
)
def test_a_blender_that_fails_is_told_in_its_own_last_lines(tmp_path, capsys, text, status):
    own = program(tmp_path, text)
    words = ("--count", "1", "--size", "64", "--renderer", "cycles", "--blender", own)
    assert main(["synth", "--out", str(tmp_path / "out"), *words]) == 2
    said = capsys.readouterr().err
    assert f"{own} could not render (exit status {status}); it said: " in said
    assert said.endswith("line 13 / no\n") and "line 1 /" not in said


def test_blender_is_called_as_blender_and_python_as_python(tmp_path):
    for name, first in (("blender", "--background"), ("blender-5.0", "--background"), ("python3.11", "-P")):
        call = blender.command(Cycles(program(tmp_path, "#!/bin/sh\n", name), 9, 2))
        assert call[1] == first
        assert call[-5:] == ["--", "--samples", "9", "--threads", "2"]
        assert call[-6] == str(SCRIPT)


def test_the_script_stands_alone():
    """It runs in Blender, under Blender's licence: it knows nothing of lgnet, and lgnet does not import it (test_imports)."""
    names = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module)
    assert names <= {*sys.stdlib_module_names, "bpy", "mathutils", "numpy"}


@needs_bench
def test_the_benchmark_is_read_with_its_kinds_and_joints_in_their_boxes():
    data = open_data("synth-bench-cycles")
    assert len(data) == 300 and not data.skipped
    samples = list(data)
    assert [s.kind for s in samples] == ["interacting"] * 180 + ["separate"] * 60 + ["single"] * 60
    for index, sample in enumerate(samples):
        assert sample.name == f"synth-bench-cycles/{index:06d}"
        assert sample.image.shape == (256, 256, 3)
        assert sample.present.sum() == (1 if sample.kind == "single" else 2)
        for side in np.flatnonzero(sample.present):
            uv = project(sample.joints3d[side], sample.K)
            np.testing.assert_allclose(uv, sample.joints2d[side], atol=0.05)
            x, y, w, h = sample.box[side]
            assert (uv > [x - 3, y - 3]).all() and (uv < [x + w + 3, y + h + 3]).all()
    assert not check_data("synth-bench-cycles").faults


@needs_bench
@pytest.mark.parametrize("index", [0, 200, 299])
def test_the_benchmark_is_of_the_scenes_that_are_drawn_for_it(index):
    """Its labels are those of its seed, and its pictures look like our renderer's of the same scene."""
    stored, drawn = open_data("synth-bench-cycles")[index], cycles_bench_drawn(index).sample
    for key in ("joints2d", "joints3d", "box", "pose", "shape"):
        np.testing.assert_allclose(getattr(stored, key), getattr(drawn, key), atol=1e-4)
    np.testing.assert_array_equal(stored.parts, drawn.parts)
    assert np.abs(stored.image.astype(float) - drawn.image).mean() < 25


def test_the_benchmark_has_a_seed_of_its_own():
    seeds = {generate.BENCH_SEED, generate.CYCLES_BENCH_SEED}
    assert len(seeds) == 2 and min(seeds) > 0xFFFF
    for index in (-1, 300):
        with pytest.raises(IndexError, match="synth-bench-cycles"):
            cycles_bench_drawn(index)


def test_a_wheel_says_where_the_benchmark_is(monkeypatch, tmp_path):
    from lgnet.data import registry

    monkeypatch.setattr(registry, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    with pytest.raises(ValueError, match="name it as synth-bench-cycles:FOLDER"):
        open_data("synth-bench-cycles")
    with pytest.raises(ValueError, match="holds no synthetic pictures"):
        open_data(f"synth-bench-cycles:{tmp_path}")


def square(turn: float) -> list[Mesh]:
    """A dull orange square before the camera, turned about the x axis by so many radians."""
    c, s = np.cos(turn), np.sin(turn)
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.2
    vertices = corners @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T + [0, 0, 1]
    faces = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
    return [plain_mesh((vertices, faces), np.tile([0.5, 0.4, 0.2], (4, 1)), np.zeros((4, 3)), vertices)]


def lights(key: float = 0.0, fill: float = 0.0, sky: float = 0.0, ground: float = 0.0) -> Lights:
    grey = (np.full(3, value) for value in (key, fill, sky, ground))
    travel = np.array([0.6, 0.0, 0.8])
    key_colour, *others = grey
    return Lights(travel, key_colour, np.array([0, 0.0, -1]), *others)


@needs_blender
def test_the_light_is_as_bright_as_ours_and_from_the_same_side():
    """And where there is nothing, there is nothing."""
    assert BLENDER is not None
    K = np.array([100.0, 100, 31.5, 31.5])
    cases = [(0.0, lights(key=1)), (0.0, lights(fill=1)), (0.9, lights(sky=1)), (0.9, lights(ground=1))]
    meshes = [square(turn) for turn, _ in cases]
    scenes = [scene_arrays(mesh, K, 64, light) for mesh, (_, light) in zip(meshes, cases)]
    *pictures, empty = render_scenes([*scenes, scene_arrays([], K, 64, lights(key=1))], Cycles(BLENDER, 32, 1))
    assert np.abs(empty).max() < 1e-4  # what the denoiser leaves
    for mesh, (_, light), rgba in zip(meshes, cases, pictures):
        own = render(mesh, K, np.zeros((64, 64, 3), np.float32), light).linear[32, 32]
        np.testing.assert_allclose(rgba[32, 32], [*own, 1], atol=0.006)
        assert np.abs(rgba[2, 2]).max() < 1e-4


@needs_blender
def test_cycles_draws_things_where_our_labels_are():
    """Outlines of both renderers, also with the principal point shifted and pixels that are not square."""
    assert BLENDER is not None
    config = SynthConfig(size=192, full_frame=True, looks=0.5)
    pictures = [make_drawn(training_rng(5, 0, index), config) for index in range(3)]
    change = np.array([[1, 1, 0, 0], [1, 1, 17.25, -9.6], [1, 1.3, -5, 6]])
    cameras = [p.scene.K * c * [1, 1, 0, 0] + (p.scene.K + c) * [0, 0, 1, 1] for p, c in zip(pictures, change)]
    scenes = [scene_arrays(p.meshes, K, 192, p.shot.lights) for p, K in zip(pictures, cameras)]
    for picture, K, rgba in zip(pictures, cameras, render_scenes(scenes, Cycles(BLENDER, 4, 1))):
        own = render(picture.meshes, K, picture.shot.background, picture.shot.lights).depth > 0
        alpha = rgba[..., 3]

        def agree(mask: np.ndarray, own: np.ndarray = own) -> float:
            return float((own & mask).sum() / (own | mask).sum())

        assert agree(alpha > 0.5) > 0.985
        for way in ((0, 1), (0, -1), (1, 0), (-1, 0)):  # a pixel aside is worse
            assert agree(np.roll(alpha, way, (0, 1)) > 0.5) < agree(alpha > 0.5) - 0.01
        y, x = np.mgrid[:192, :192]
        for axis in (x, y):
            assert abs((alpha * axis).sum() / alpha.sum() - axis[own].mean()) < 0.15


@needs_blender
@needs_bench
def test_the_benchmark_is_what_blender_draws():
    assert BLENDER is not None
    ((_, drawn),) = repainted([(3, cycles_bench_drawn(3))], generate.CYCLES_BENCH_CONFIG, Cycles(BLENDER, 16, 1))
    stored = open_data("synth-bench-cycles")[3].image.astype(float)
    assert np.abs(stored - drawn.sample.image).mean() < 6
