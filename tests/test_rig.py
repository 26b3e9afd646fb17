"""Rigs: several cameras about one scene agree on where the hands are, in every format, and see the same scene."""

from dataclasses import replace

import numpy as np
import pytest

from lgnet.config import SynthConfig
from lgnet.data.check import check_data
from lgnet.data.registry import open_data
from lgnet.data.sample import Sample, project
from lgnet.synth.generate import training_rng
from lgnet.synth.rig import NEAREST, draw_views, sample_camera, sample_rig_scene, seen_by
from lgnet.synth.write import write_dataset

CONFIG = SynthConfig(size=64, full_frame=True, kinds=(0.4, 0.3, 0.2, 0.1), people=0.5, held=0.5, looks=0.5)
VIEWS, SCENES, SEED = 4, 3, 11


@pytest.fixture(scope="module")
def pictures():
    return list(draw_views(SEED, range(VIEWS * SCENES), VIEWS, CONFIG))


def in_world(sample: Sample, points: np.ndarray) -> np.ndarray:
    assert sample.T_camera_world is not None
    R, t = sample.T_camera_world[:3, :3], sample.T_camera_world[:3, 3]
    return (points.astype(np.float64) - t) @ R


def agree(samples: list[Sample]) -> None:
    """World joints agree within 0.01 mm, and each picture's own joints are where its camera projects them."""
    for first in samples:
        for other in samples:
            if other.scene != first.scene:
                continue
            assert (other.present == first.present).all()
            for side in np.flatnonzero(first.present):
                one, two = (in_world(s, s.joints3d[side]) for s in (first, other))
                np.testing.assert_allclose(one, two, atol=1e-5)
        for side in np.flatnonzero(first.present):
            if (first.joints3d[side][:, 2] > 0.1).all():
                uv = project(first.joints3d[side].astype(np.float64), first.K, first.distortion)
                np.testing.assert_allclose(first.joints2d[side], uv, atol=0.02)


def test_views_agree_in_the_world(pictures):
    samples = [drawn.sample for drawn in pictures]
    assert [s.recording for s in samples] == [s.scene for s in samples]
    assert [s.scene for s in samples] == [f"{scene:06d}" for scene in range(SCENES) for _ in range(VIEWS)]
    agree(samples)
    agree([d.sample for d in draw_views(SEED, range(VIEWS), VIEWS, replace(CONFIG, lens=1.0))])
    for sample in samples:
        R = sample.T_camera_world[:3, :3]
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(R) == pytest.approx(1)
    np.testing.assert_array_equal(samples[0].T_camera_world, np.eye(4))
    assert any(s.present.any() for s in samples)


def test_meshes_and_light_of_all_views_are_one_scene(pictures):
    for scene in range(SCENES):
        own = pictures[VIEWS * scene : VIEWS * (scene + 1)]
        for drawn in own:
            assert drawn.light == own[0].light and len(drawn.meshes) == len(own[0].meshes)
            for mesh, first in zip(drawn.meshes, own[0].meshes):
                np.testing.assert_allclose(in_world(drawn.sample, mesh.vertices), first.vertices, atol=1e-5)
                np.testing.assert_array_equal(mesh.albedo, first.albedo)
            hands = [h for h in drawn.scene.hands if h is not None]
            for side, hand in enumerate(drawn.scene.hands):
                at = drawn.hands[side]
                if hand is not None and at is not None:  # the labels' pose is of this camera's frame
                    np.testing.assert_allclose(
                        drawn.meshes[at].vertices[: len(hand.vertices)], hand.vertices, atol=1e-5
                    )
            assert not hands or drawn.sample.present.any()


def test_cameras_stand_round_the_hands_and_look_at_them():
    ways = []
    for index in range(20):
        rng = training_rng(1, 0, index)
        seen = sample_rig_scene(rng, replace(CONFIG, people=0.0, kinds=(1.0, 0, 0, 0)))
        for view in range(1, 8):
            T_camera_world, K = sample_camera(rng, seen, view, 8)
            moved = seen_by(seen, T_camera_world, K)
            middle = np.mean([h.joints.mean(0) for h in moved.scene.hands if h is not None], 0)
            assert middle[2] > 0.9 * NEAREST
            assert (abs(project(middle[None], K)[0] - 31.5) < 10).all()
            ways.append(-T_camera_world[:3, :3].T @ T_camera_world[:3, 3] - seen.scene.hands[0].joints.mean(0))
    around = np.degrees(np.arctan2(*np.array(ways)[:, [0, 2]].T)) % 360
    assert (np.histogram(around, 6, (0, 360))[0] > 8).all()


@pytest.mark.parametrize("form", ["files", "webdataset", "interhand"])
def test_rigs_come_back_from_every_format(form, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("LGNET_CACHE", str(tmp_path / "cache"))
    options = {"count": VIEWS * SCENES, "seed": SEED, "config": CONFIG, "form": form, "views": VIEWS}
    write_dataset(tmp_path / "a", shard_size=6, **options)  # a scene may lie in two shards
    if form != "interhand":
        write_dataset(tmp_path / "b", shard_size=6, jobs=2, **options)
        files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
        assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    name = "interhand26m-train" if form == "interhand" else "synth"
    data = open_data(f"{name}:{tmp_path / 'a'}")
    samples = [data.load(i) for i in range(data.count)]
    agree(samples)
    drawn = [d.sample for d in pictures if form != "interhand" or (d.sample.present.any() and _seen(d.sample))]
    assert len(samples) == len(drawn)
    for sample, true in zip(samples, drawn):
        np.testing.assert_allclose(sample.T_camera_world, true.T_camera_world, atol=1e-7)
        np.testing.assert_allclose(sample.joints3d[true.present], true.joints3d[true.present], atol=2e-6)
    together = {frozenset(np.flatnonzero([t.scene == s.scene for t in samples])) for s in samples}
    assert max(map(len, together)) > 1
    assert check_data(f"{name}:{tmp_path / 'a'}").faults == ()


def _seen(sample: Sample) -> bool:
    """Whether a joint is inside the picture: the reader leaves out pictures without any valid joint."""
    uv = sample.joints2d[sample.present]
    return bool(((uv >= 0) & (uv <= 63)).all(-1).any())
