"""The new looks: detail maps, skin colours, rings, the lens and the sensor; and that without them nothing changes."""

import cv2
import numpy as np
import pytest
import torch

from lgnet.anatomy import LIMITS, joint_axes, rotations_from_angles
from lgnet.config import SynthConfig
from lgnet.hand_model import load_hand_model, pose_hand

pytest.importorskip("numba")

from lgnet.synth import generate
from lgnet.synth.appearance import Lights
from lgnet.synth.faults import develop, film, monochrome
from lgnet.synth.generate import make_sample, training_rng
from lgnet.synth.lighting import STYLES, sample_backdrop, sample_setting
from lgnet.synth.person import ROWS, Person, arm_rings, hand_and_arm, sample_person, skin_colour
from lgnet.synth.render import render
from lgnet.synth.skin_detail import CHANNELS, PALM_LINES, detail_maps
from lgnet.synth.skin_shader import AMOUNTS
from lgnet.synth.skin_texels import SIZE as SIZE_OF_MAP
from lgnet.synth.skin_texels import corner_texels, curve, skin_texels
from lgnet.synth.worn import AROUND, band, ring_loop

torch.set_num_threads(1)
SIZE = 256
K = np.array([500.0, 500.0, 127.5, 127.5])


def plain(crease: float) -> Person:
    """Even skin with nothing but creases and nails of its own colour."""
    colour = skin_colour(0.3, 0.2)
    amounts = np.zeros(len(AMOUNTS), np.float32)
    amounts[AMOUNTS.index("crease")] = crease
    return Person(colour, colour, amounts, 0.0, 0.0, None)


def flat_palm(person: Person) -> tuple[np.ndarray, np.ndarray, float]:
    """The flat right hand before the camera, palm up front, in light from all sides alone: picture (H, W, 3) linear.

    Also where a point of the canonical frame lies (3, 3) rotation and depth of the wrist.
    """
    turn = np.diag([1.0, -1.0, -1.0])  # fingers up, palm to the camera
    place = np.array([0.0, 0.09, 0.5])
    model = load_hand_model()
    vertices = (model.template.numpy() @ turn.T + place).astype(np.float32)
    even, zero = np.full(3, 0.8), np.zeros(3)
    lights = Lights(np.array([0, 0, 1.0]), zero, np.array([0, 0, -1.0]), zero, even, even)
    mesh = hand_and_arm(vertices, generate._arrays(0), person, False, None)
    return render([mesh], K, np.zeros((SIZE, SIZE, 3), np.float32), lights).linear, turn, place


def at(picture: np.ndarray, points: np.ndarray, turn: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(N,) green at points (N, 3) mm of the canonical frame."""
    seen = points / 1000 @ turn.T + place
    uv = seen[:, :2] / seen[:, 2:] * K[:2] + K[2:]
    return cv2.remap(picture[..., 1], uv[None].astype(np.float32), None, cv2.INTER_LINEAR)[0]


def on_palm(xy: np.ndarray) -> np.ndarray:
    """(N, 3) mm: the nearest vertex's height of the palm's side at (N, 2)."""
    model = load_hand_model()
    vertices = model.template.numpy()[model.palm.numpy() > 0.6] * 1000
    nearest = np.linalg.norm(vertices[None, :, :2] - xy[:, None], axis=-1).argmin(1)
    return np.concatenate([xy, vertices[nearest, 2:]], 1)


def test_detail_maps_are_the_same_every_time():
    first = detail_maps()
    detail_maps.cache_clear()
    for before, now in zip(first, detail_maps()):
        np.testing.assert_array_equal(before, now)
    assert [m.shape for m in first] == [(SIZE_OF_MAP >> k, SIZE_OF_MAP >> k, len(CHANNELS)) for k in range(4)]


def test_every_face_before_the_cap_has_its_place_in_the_map():
    corner = corner_texels()
    model = load_hand_model()
    there = corner[..., 0] >= 0
    assert there[: len(model.uv_faces)].all()
    assert not there[len(model.uv_faces) :].any()
    assert corner.max() < SIZE_OF_MAP - 1


def test_channels_are_where_they_belong():
    """Nails on the last phalanges' backs, veins on the back of the hand, palm lines on the palm."""
    model = load_hand_model()
    texels = skin_texels(model)
    layer = {n: detail_maps()[0][texels.row, texels.column, i] / 127 for i, n in enumerate(CHANNELS)}
    nail = layer["nail"] > 0.5
    for finger in range(5):
        tip = model.points.numpy()[4 * finger + 4] * 1000
        own = nail & (texels.finger[:, finger + 1] > 0.5)
        assert own.sum() > 150
        assert np.linalg.norm(texels.place[own] - tip, axis=1).max() < 25
    assert texels.palm[nail].max() < 0.5
    assert texels.palm[layer["vein"] > 0.3].max() < 0.3
    assert texels.palm[layer["hair"] > 0.5].max() < 0.3


@pytest.mark.parametrize("name", list(PALM_LINES))
def test_palm_lines_are_darker_than_the_palm_beside_them(name):
    """Against the same hand without creases, so that hollows and the palm's shape play no part."""
    (picture, turn, place), (smooth, *_) = flat_palm(plain(1.0)), flat_palm(plain(0.0))
    line = curve(PALM_LINES[name])
    middle = line[len(line) // 4 : 3 * len(line) // 4]
    way = np.gradient(middle, axis=0)
    aside = np.stack([-way[:, 1], way[:, 0]], 1) / np.linalg.norm(way, axis=1, keepdims=True)
    spots = [on_palm(middle + d * aside) for d in np.arange(-5, 5.1, 0.5)]
    across = np.stack([at(picture, s, turn, place) / at(smooth, s, turn, place) for s in spots])
    darkest = across[7:14].min(0)  # within 1.5 mm of where it is drawn
    beside = np.median(np.concatenate([across[:5], across[-5:]]), 0)
    assert (darkest < 0.97 * beside).mean() > 0.7
    assert beside.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("finger", [1, 2, 3, 4])
def test_fingers_have_a_crease_at_their_middle_joint(finger):
    picture, turn, place = flat_palm(plain(1.0))
    model = load_hand_model()
    pip, dip = model.centres.numpy()[[3 * finger + 2, 3 * finger + 3]] * 1000.0
    bone = joint_axes(model).numpy()[3 * finger + 1, 2]
    along = on_palm((pip + np.arange(-4, 4.1, 0.5)[:, None] * bone)[:, :2])
    between = on_palm(((pip + dip) / 2 + np.arange(-2, 2.1, 0.5)[:, None] * bone)[:, :2])
    assert at(picture, along, turn, place).min() < 0.93 * np.median(at(picture, between, turn, place))


def test_more_melanin_is_darker_and_more_blood_is_redder():
    tones = np.array([skin_colour(m, 0.2) for m in (0.1, 0.5, 1.2, 2.6)])
    assert (np.diff(tones, axis=0) < 0).all()
    pale, flushed = skin_colour(0.3, 0.1), skin_colour(0.3, 0.5)
    assert flushed[0] / flushed[1] > 1.2 * pale[0] / pale[1]
    for seed in range(40):
        person = sample_person(np.random.default_rng(seed))
        assert (person.palm > person.back * 0.75).all()  # palms are not darker than backs
        assert 0 < person.back.min() <= person.back.max() < 1


def posed(seed: int, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and rotation centres of a hand in any pose within the joints' limits."""
    rng = np.random.default_rng(seed)
    model = load_hand_model("lgnet", side)
    angles = LIMITS[..., 0] + rng.uniform(0.1, 0.9, (15, 3)) * np.ptp(LIMITS, axis=-1)
    rotations = torch.cat([torch.eye(3)[None], rotations_from_angles(model, torch.from_numpy(angles).float())])
    out = pose_hand(model, rotations, torch.from_numpy(rng.normal(size=10)).float())
    return out.vertices.numpy().astype(np.float64), out.centres.numpy().astype(np.float64)


@pytest.mark.parametrize("side", ["right", "left"])
def test_rings_go_round_the_bone_and_lie_on_the_skin(side):
    for seed in range(6):
        vertices, centres = posed(seed, side)
        for finger in range(5):
            first = 3 * finger + (2 if finger == 0 else 1)
            a, b = centres[first], centres[first + 1]
            bone = (b - a) / np.linalg.norm(b - a)
            loop = ring_loop(vertices, finger)
            inner = band(loop, 0.0015, 0.0006, 0.0002)[0]
            for ring in (loop, inner):
                spoke = ring - a
                spoke = spoke - (spoke @ bone)[:, None] * bone
                assert np.linalg.norm(spoke, axis=1).min() > 0.001
                nxt = np.roll(spoke, -1, 0)
                turned = np.arctan2(np.cross(spoke, nxt) @ bone, (spoke * nxt).sum(1))
                assert abs(turned.sum()) == pytest.approx(2 * np.pi)  # once round it
            gap = np.linalg.norm(inner - loop, axis=1)
            assert gap.max() < 0.004  # does not float
            middle = loop.mean(0)
            assert len(loop) == AROUND
            outside = np.linalg.norm(inner - middle, axis=1) - np.linalg.norm(loop - middle, axis=1)
            assert np.median(outside) > 0


def test_an_arm_grows_on_from_the_wrist_and_is_not_labelled_as_the_hand():
    for side in (0, 1):
        vertices, _ = posed(3, ("right", "left")[side])
        arrays = generate._arrays(side)
        loop = vertices[arrays["loop"]]
        outward = np.array([0, -1.0, 0])
        arm = arm_rings(loop, outward, 0.3, 0.4, ROWS)
        np.testing.assert_allclose(arm[0], loop, atol=1e-12)
        assert np.diff(arm.mean(1) @ outward).min() > 0
        mesh = hand_and_arm(vertices, arrays, plain(0.5), side == 1, arm)
        label = mesh.part[mesh.faces[:, 0]]
        count = len(load_hand_model().uv_faces)
        assert label[:count].min() > 0
        assert label[count:].max() == 0
        edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
        assert len(np.unique(edges, axis=0)) == len(edges)  # one sense all over: no edge is walked twice the same way


def test_looks_0_draws_no_random_number_more(monkeypatch):
    """The generator comes to the lights just as the scene left it."""
    states = []

    def note(function):
        def run(rng, *args):
            before = rng.bit_generator.state
            out = function(rng, *args)
            states.append((before, rng.bit_generator.state))
            return out

        return run

    monkeypatch.setattr(generate, "sample_scene", note(generate.sample_scene))
    monkeypatch.setattr(generate, "sample_lights", note(generate.sample_lights))
    monkeypatch.setattr(generate, "sample_setting", None)
    make_sample(training_rng(0, 0, 0), SynthConfig(size=64))
    assert states[0][1] == states[1][0]


def test_looks_is_a_share(monkeypatch):
    drawn, dress = [], generate._dressed
    monkeypatch.setattr(generate, "_dressed", lambda *args: drawn.append(1) or dress(*args))
    for index in range(40):
        before = len(drawn)
        make_sample(training_rng(1, 0, index), SynthConfig(size=32, looks=0.5), "single")
        drawn[before:] = drawn[before : before + 1]  # a picture that was drawn again counts once
    assert 8 <= len(drawn) <= 32


def test_a_monochrome_picture_has_equal_channels_and_keeps_grey():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    grey = monochrome(image, rng)
    assert (grey == grey[..., :1]).all()
    flat = np.full((4, 4, 3), 117, np.uint8)
    np.testing.assert_array_equal(monochrome(flat, rng), flat)


def test_the_lens_darkens_corners_and_moves_nothing():
    """Over many draws; a bright dot stays on its pixel."""
    darker = 0
    for seed in range(40):
        linear = np.full((64, 64, 3), 0.2, np.float32)
        linear[20, 44] = 2.0
        out = film(linear, np.random.default_rng(seed), "sun", 0.0)
        assert np.unravel_index(out[..., 1].argmax(), (64, 64)) == (20, 44)
        darker += out[:3, :3].mean() < 0.93 * out[30:34, 30:34].mean()
        assert np.isfinite(develop(out, np.random.default_rng(0), 0.0)).all()
    assert 5 < darker < 30


@pytest.mark.parametrize("size", [600, 640, 1000])
def test_noise_covers_pictures_of_any_size(size):
    """With noise some seeds leave every part of a flat picture uneven."""
    flat = np.full((size, 64, 3), 0.2, np.float32)
    rough = 0
    for seed in range(12):
        out = film(flat.copy(), np.random.default_rng(seed), "night", 1.0)
        rough += all(np.diff(out[y : y + 8, :, 1], axis=1).std() > 1e-3 for y in (0, size // 2, size - 8))
    assert rough == 12


def test_settings_and_backdrops_are_light_and_finite():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        lights, style = sample_setting(rng)
        seen.add(style)
        assert np.linalg.norm(lights.key_direction) == pytest.approx(1)
        assert min(lights.key.min(), lights.fill.min(), lights.sky.min(), lights.ground.min()) >= 0
        backdrop = sample_backdrop(rng, 48, 48, style)
        assert backdrop.shape == (48, 48, 3)
        assert backdrop.dtype == np.float32
        assert np.isfinite(backdrop).all()
        assert backdrop.min() >= 0
    assert seen >= set(STYLES) - {"plain"}
    studio = [np.median(sample_backdrop(rng, 48, 48, "studio")) for _ in range(10)]
    assert max(studio) < 0.02
