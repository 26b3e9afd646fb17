"""Drawing of synthetic pictures: the same bytes every time, shadows, labels, and meshes nobody can see."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lgnet.config import SynthConfig

pytest.importorskip("numba")

from lgnet.synth import raster
from lgnet.synth.appearance import Lights, Mesh, occluder
from lgnet.synth.faults import tone
from lgnet.synth.generate import make_sample, training_rng
from lgnet.synth.render import render, smooth_edges

SMALL = SynthConfig(size=96)
K = np.array([100.0, 100.0, 31.5, 31.5])


def digest(seed: int, looks: float = 0.0) -> str:
    """Hash of a picture and all its labels."""
    sample = make_sample(training_rng(seed, 0, 0), replace(SMALL, looks=looks))
    arrays = (sample.image, sample.parts, sample.joints2d, sample.joints3d, sample.pose, sample.shape, sample.box)
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def plane(z: float, half: float = 1.0, albedo: float = 0.5, part: int = 0, x: float = 0.0, y: float = 0.0) -> Mesh:
    """A dull square across the line of sight."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * half
    return Mesh(
        vertices=corners + np.array([x, y, z], np.float32),
        faces=np.array([[0, 2, 1], [0, 3, 2]], np.int32),
        albedo=np.full((4, 3), albedo, np.float32),
        gloss=np.zeros((4, 3), np.float32),
        rest=np.zeros((4, 3), np.float32),
        part=np.full(4, part, np.uint8),
    )


def lit(travel: tuple[float, float, float], ambient: float = 0.0) -> Lights:
    """One white key light, and as much light from everywhere as asked."""
    way = np.array(travel) / np.linalg.norm(travel)
    zero = np.zeros(3)
    return Lights(way, np.ones(3), np.array([0, 0, -1.0]), zero, np.full(3, ambient), np.full(3, ambient))


BLACK = np.zeros((64, 64, 3), np.float32)


def test_the_same_seed_gives_the_same_bytes():
    assert digest(3) == digest(3)
    assert digest(3) != digest(4)
    assert digest(3, 1.0) == digest(3, 1.0)
    assert digest(3, 1.0) != digest(3)


OLDER = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX2 FMA3",
}
"""What lets torch, its BLAS, NumPy's and NumPy compute as on a processor without AVX (other processors read past it)."""


@pytest.mark.parametrize("processor", [{}, OLDER], ids=["this processor", "an older one"])
def test_another_process_draws_the_same_bytes(processor):
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", "from test_render import digest; print(digest(3), digest(3, 1.0))"],
        cwd=here.parent,
        env={**os.environ, **processor, "PYTHONPATH": os.pathsep.join([str(here), *(p for p in sys.path if p)])},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert run.stdout.split() == [digest(3), digest(3, 1.0)]


def test_a_plane_is_as_bright_as_lambert_says():
    straight = render([plane(1.0)], K, BLACK, lit((0, 0, 1))).linear[32, 32]
    slanted = render([plane(1.0)], K, BLACK, lit((3**0.5, 0, 1))).linear[32, 32]  # 60 degrees
    np.testing.assert_allclose(straight, 0.5, rtol=1e-3)
    np.testing.assert_allclose(slanted, 0.25, rtol=1e-3)


def test_a_blocker_darkens_the_plane_behind_it_where_its_shadow_falls():
    """Light travels (1, 0, 2): a blocker 0.4 m before the plane throws its shadow 0.2 m to the right."""
    lights = lit((1, 0, 2))
    bare = render([plane(1.0, 0.6)], K, BLACK, lights, shadow=320).linear
    shaded = render([plane(1.0, 0.6), plane(0.6, 0.03)], K, BLACK, lights, shadow=320)
    u = round(K[0] * 0.2 / 1.0 + K[2])
    assert shaded.depth[31, u] == pytest.approx(1.0)
    assert bare[31, u].min() > 0.4
    assert shaded.linear[31, u].max() < 0.15 * bare[31, u].min()
    np.testing.assert_allclose(shaded.linear[31, 5], bare[31, 5], rtol=0.05)  # and nowhere else
    np.testing.assert_allclose(shaded.linear[55, u], bare[55, u], rtol=0.05)


def test_ambient_light_reaches_the_shadow():
    shaded = render([plane(1.0, 0.6), plane(0.6, 0.03)], K, BLACK, lit((1, 0, 2), 0.3), shadow=320).linear
    assert shaded[31, 52].min() > 0.3 * 0.5 * 0.95


def test_the_background_is_kept_where_nothing_is_drawn():
    background = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    before = background.copy()
    out = render([plane(1.0, 0.1)], K, background, lit((0, 0, 1)))
    np.testing.assert_array_equal(background, before)
    nothing = out.depth == 0
    np.testing.assert_array_equal(out.linear[nothing], background[nothing])
    assert (~nothing).sum() == 400
    empty = render([], K, background, lit((0, 0, 1)))
    np.testing.assert_array_equal(empty.linear, background)
    assert empty.parts.max() == 0
    assert empty.depth.max() == 0


def test_parts_are_those_of_the_nearest_mesh():
    out = render([plane(1.0, 0.2, part=5), plane(0.8, 0.04, part=20)], K, BLACK, lit((0, 0, 1)))
    assert out.parts[32, 32] == 20
    assert out.parts[32, 45] == 5
    assert out.parts[2, 2] == 0


def test_an_occluder_covers_and_has_no_part():
    thing = occluder(np.random.default_rng(0), np.array([0, 0, 0.5]), 0.05)
    out = render([plane(1.0, 1.0, part=5), thing], K, BLACK, lit((0, 0, 1)))
    assert out.parts[32, 32] == 0
    assert out.depth[32, 32] < 0.56
    assert out.parts[0, 0] == 5


def test_meshes_that_face_away_or_lie_behind_the_camera_do_no_harm():
    away = plane(1.0, 0.1)
    away = Mesh(**{**away.__dict__, "faces": np.ascontiguousarray(away.faces[:, ::-1])})
    seen = render([away], K, BLACK, lit((0, 0, 1)))
    np.testing.assert_allclose(seen.linear[32, 32], 0.5, rtol=1e-3)  # both sides are drawn
    for meshes in ([plane(-1.0, 0.1)], [plane(0.0, 0.1)], [plane(raster.NEAR, 0.1)], [plane(1.0, 0.1, x=50)]):
        out = render(meshes, K, BLACK, lit((0, 0, 1)))
        assert out.depth.max() == 0
        assert np.isfinite(out.linear).all()
        assert out.linear.max() == 0
    mixed = render([plane(-1.0, 0.1), plane(1.0, 0.1)], K, BLACK, lit((0, 0, 1)))
    assert (mixed.depth > 0).sum() == 400
    point = Mesh(**{**plane(1.0).__dict__, "vertices": np.ones((4, 3), np.float32)})  # no area at all
    assert render([point], K, BLACK, lit((0, 0, 1))).depth.max() == 0


def test_part_labels_of_one_hand_are_its_own():
    found = {0: 0, 1: 0}
    for index in range(40):
        sample = make_sample(training_rng(1, 0, index), SMALL, "single")
        side = int(np.flatnonzero(sample.present)[0])
        found[side] += 1
        labels = np.unique(sample.parts[sample.parts > 0])
        assert len(labels) > 1
        assert labels.min() >= 1 + 16 * side
        assert labels.max() <= 16 + 16 * side
        if min(found.values()) >= 3:
            break
    assert min(found.values()) >= 3


def test_parts_lie_at_the_joints_that_move_them():
    """Where the last bone of a finger shows, its tip or its last joint is near by; a finger's own, not its neighbour's."""
    config = SynthConfig(size=160, difficulty=0.0)
    checked = right = 0
    for index in range(12):
        sample = make_sample(training_rng(2, 0, index), config, "single")
        side = int(np.flatnonzero(sample.present)[0])
        for finger in range(5):
            rows, columns = np.nonzero(sample.parts == 16 * side + 3 * finger + 3 + 1)
            if len(rows) < 12:
                continue
            middle = np.array([columns.mean(), rows.mean()])
            joints = sample.joints2d[side]
            bones = np.stack([(joints[4 * f + 3] + joints[4 * f + 4]) / 2 for f in range(5)])
            distance = np.linalg.norm(bones - middle, axis=1)
            checked += 1
            right += distance[finger] < 0.12 * sample.box[side, 2:].max()
    assert checked > 20
    assert right > 0.95 * checked


def test_vertex_normals_are_outward_and_unit():
    """Of a hand's mesh: the numba ones equal the hand model's."""
    from lgnet.hand_model import load_hand_model, vertex_normals

    hand = load_hand_model("lgnet", "left")
    expected = vertex_normals(hand.template, hand.faces).numpy()
    found = raster.vertex_normals(hand.template.numpy(), hand.faces.numpy().astype(np.int32))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_outlines_are_blended_and_surfaces_left_alone():
    depth = np.zeros((20, 20), np.float32)
    depth[:, 10:] = 0.5
    depth[:, 15:] = 0.504  # not a jump
    linear = np.repeat((depth > 0).astype(np.float32)[..., None], 3, 2)
    linear[:, 15:] = 0.25
    out = smooth_edges(linear.copy(), depth)
    assert 0 < out[10, 9, 0] < 0.5 < out[10, 10, 0] < 1  # the two pixels at the outline
    untouched = np.r_[0:9, 11:20]
    assert np.array_equal(out[:, untouched], linear[:, untouched])


def test_tone_steepens_contrast_keeps_grey_grey_and_order():
    ramp = np.repeat(np.linspace(60, 190, 64, dtype=np.float32)[None, :, None], 64, 0).repeat(3, 2)
    for seed in range(20):
        toned = tone(ramp.copy(), np.random.default_rng(seed))
        assert np.allclose(toned[..., 0], toned[..., 1], atol=0.01)  # no colour where there was none
        assert (np.diff(toned[32, 8:-8, 0]) > 0).all()
    spreads = [np.ptp(tone(ramp.copy(), np.random.default_rng(s))[32, 8:-8, 0]) for s in range(20)]
    assert np.mean(spreads) > 1.1 * np.ptp(ramp[32, 8:-8, 0])
    level = [tone(ramp.copy(), np.random.default_rng(s)).mean() for s in range(40)]
    assert np.mean(level) < ramp.mean() - 10
    coloured = np.tile(np.float32([180, 120, 90]), (32, 32, 1))
    red, green, blue = tone(coloured.copy(), np.random.default_rng(1))[16, 16]
    assert red > green > blue
