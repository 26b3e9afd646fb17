"""Lenses that bend lines: the formula, pictures and labels that bend alike, and how much training sees of them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lgnet.config import SynthConfig
from lgnet.data.sample import distort, project
from lgnet.hand_model import load_hand_model
from lgnet.hands import TwoHands, assumed_camera
from lgnet.presets import PRESETS
from lgnet.rasterize import rasterize
from lgnet.scoring.score import score_picture
from lgnet.scoring.truth import true_faces, true_hands
from lgnet.synth.generate import make_drawn, make_sample, training_rng
from lgnet.synth.labels import make_labels
from lgnet.synth.lens import MILD, Lens, bend_picture, bent, residual, sample_lens, straight

K = np.array([200.0, 210.0, 127.5, 120.0])
LENS = np.array([-0.25, 0.05, 0.004, -0.003])


def test_points_go_where_opencv_says():
    points = np.random.default_rng(0).uniform([-0.5, -0.5, 0.5], [0.5, 0.5, 1.5], (50, 3))
    matrix = np.array([[K[0], 0, K[2]], [0, K[1], K[3]], [0, 0, 1]])
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, LENS)[0][:, 0]
    np.testing.assert_allclose(project(points, K, LENS), expected, atol=1e-9)
    np.testing.assert_allclose(straight(distort(points[:, :2], LENS), LENS), points[:, :2], atol=1e-9)
    np.testing.assert_allclose(project(bent(points, Lens(LENS, 9.0)), K), expected, atol=1e-9)


def test_a_straight_line_bends_as_the_formula_says():
    """The middle of a bright line in the bent picture is where `project` puts the line's points, to 0.1 pixels."""
    size = 256
    picture = np.exp(-(((np.arange(size) - 40.0) / 1.5) ** 2)).astype(np.float32)
    picture = np.repeat(np.repeat(picture[None], size, 0)[..., None], 3, 2)
    shown = bend_picture(picture, K, Lens(LENS, 9.0))[..., 0]
    rows = np.linspace(40, 215, 200)
    line = (np.stack([np.full(200, 40.0), rows], 1) - K[2:]) / K[:2]
    where = project(np.concatenate([line, np.ones((200, 1))], 1), K, LENS)
    assert np.ptp(where[:, 0]) > 3  # it does bend
    for row in range(60, 200, 7):
        middle = (shown[row] * np.arange(size)).sum() / shown[row].sum()
        assert middle == pytest.approx(np.interp(row, where[:, 1], where[:, 0]), abs=0.1)


def test_far_outside_the_picture_nothing_folds_back_into_it():
    rng = np.random.default_rng(1)
    for _ in range(200):
        focal = rng.uniform(100, 2000)
        camera = np.array([focal, focal, 63.5, 63.5])
        lens = sample_lens(rng, camera, 128, [], wide=True)
        way = rng.normal(size=2) / 10
        far = np.linspace(0, 1, 400)[1:, None] ** 3 * 300 / focal * way / np.linalg.norm(way) * 10
        shown = bent(np.concatenate([far, np.ones((399, 1))], 1), lens)[:, :2]
        assert (np.diff(np.linalg.norm(shown, axis=1)) > 0).all()
        ahead = bent(np.array([[0.1, 0.1, 0.001], [0.1, 0.1, -1]]), lens)
        np.testing.assert_array_equal(ahead, [[0.1, 0.1, 0.001], [0.1, 0.1, -1]])  # behind the camera: not drawn


CONFIG = SynthConfig(size=192, full_frame=True, lens=1.0, fill=(0.6, 1.0))


@pytest.mark.parametrize("index", range(4))
def test_masks_joints_boxes_and_maps_bend_with_the_picture(index):
    drawn = make_drawn(training_rng(3, 0, index), CONFIG, "single")
    sample, labels = drawn.sample, make_labels(drawn)
    lens = drawn.lens
    assert lens is not None and sample.distortion is not None
    side = int(sample.present[1])
    np.testing.assert_allclose(
        sample.joints2d[side], project(sample.joints3d[side], sample.K, sample.distortion), atol=2e-3
    )
    # the same hand, every corner of its mesh put where the lens's formula says, drawn as flat as it is there
    model, vertices = load_hand_model("lgnet", ("right", "left")[side]), labels.vertices[side].astype(np.float64)
    hand = drawn.scene.hands[side]
    assert hand is not None
    np.testing.assert_allclose(vertices, hand.vertices, atol=1e-6)  # the labels' mesh is the true one
    flat = np.concatenate([project(vertices, sample.K, sample.distortion), np.ones((len(vertices), 1))], 1)
    flat[:, :2] *= vertices[:, 2:]
    flat[:, 2] = vertices[:, 2]
    mask = rasterize(flat.astype(np.float32), model.faces.numpy(), np.array([1.0, 1, 0, 0]), 192, 192)[0] >= 0
    own = (sample.parts > 16 * side) & (sample.parts <= 16 * side + 16)
    beyond = cv2.erode(own.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask
    assert beyond.sum() == 0  # nothing of the drawn hand is as much as a pixel outside
    assert (own & ~mask).sum() <= 0.01 * own.sum()
    # what each pixel's texture coordinates say it is, projects to it
    rows, columns = np.nonzero(labels.skin == side + 1)
    corners = model.uvs.numpy()[model.uv_faces.numpy()].astype(np.float64)
    a, e1, e2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    checked = 0
    for row, column in list(zip(rows, columns))[:: max(1, len(rows) // 60)]:
        d = labels.uv[row, column] - a
        wb, wc = (d[:, 0] * e2[:, 1] - d[:, 1] * e2[:, 0]) / area, (e1[:, 0] * d[:, 1] - e1[:, 1] * d[:, 0]) / area
        hit = np.flatnonzero((wb > -1e-6) & (wc > -1e-6) & (wb + wc < 1 + 1e-6))
        if not len(hit):
            continue
        share = np.stack([1 - wb[hit] - wc[hit], wb[hit], wc[hit]], 1)
        points = (vertices[model.faces.numpy()[hit]] * share[..., None]).sum(1)
        off = project(points, sample.K, sample.distortion) - [column, row]
        assert np.linalg.norm(off, axis=1).min() < 0.3
        checked += 1
    assert checked > 20


def test_how_much_of_a_hand_is_seen_is_told_through_the_lens():
    """Nothing hides the hand of an easy picture, however much the lens bends it."""
    config = replace(CONFIG, difficulty=0.0, fill=(0.3, 0.6))
    seen = []
    for index in (0, 5, 9, 11):  # as a pinhole would show them 0.95, 0.87, 0.17, 0.77 were seen
        sample = make_sample(training_rng(5, 0, index), config, "single")
        height, width = sample.image.shape[:2]
        nothing = TwoHands(None, None, width, height, assumed_camera(width, height))
        score = score_picture(sample, nothing, true_hands(sample)[0], true_faces(sample))
        seen += [hand.visible for hand in score.hands]
    assert min(seen) > 0.9


def test_without_a_lens_the_picture_is_the_same_and_lenses_change_nothing_else():
    config = replace(PRESETS["lgnet-mobile"].synth, size=96, lens=0.0)
    for index in range(6):
        plain = make_sample(training_rng(8, 0, index), config)
        never = make_sample(training_rng(8, 0, index), replace(config, lens=1e-9))
        np.testing.assert_array_equal(plain.image, never.image)
        always = make_sample(training_rng(8, 0, index), replace(config, lens=1.0))
        assert always.distortion is not None and plain.distortion is None
        np.testing.assert_array_equal(always.joints3d, plain.joints3d)
        assert not np.array_equal(always.image, plain.image)


def test_hand_networks_train_on_mild_lenses_only():
    config = replace(PRESETS["lgnet-mobile"].synth, size=128, lens=1.0)
    left, strong = [], []
    for index in range(40):
        sample = make_sample(training_rng(2, 0, index), config)
        if sample.distortion is None or not sample.present.any():
            continue
        left += [residual(j, sample.K, sample.distortion) / 128 for j in sample.joints3d[sample.present]]
    for index in range(40):
        camera = np.array([128.0, 128, 63.5, 63.5])
        lens = sample_lens(training_rng(2, 1, index), camera, 128, [], wide=True)
        corner = np.array([[63.5, 63.5]]) / 128
        strong.append(1 - np.linalg.norm(distort(corner, lens.distortion)) / np.linalg.norm(corner))
    assert np.median(left) > 0.0005 and max(left) < 1.02 * MILD
    assert max(strong) > 0.2 and min(strong) < -0.005
