"""People behind the hands and things held in them."""

from dataclasses import replace

import numpy as np
import pytest

from lgnet.config import SynthConfig
from lgnet.data.sample import FACE
from lgnet.hands import BONES
from lgnet.rasterize import rasterize
from lgnet.synth.appearance import sample_clothes, sample_skin
from lgnet.synth.body import FOREARM, UPPER_ARM, bystander, find_body, person_meshes
from lgnet.synth.generate import make_sample, training_rng
from lgnet.synth.held import THICKNESS, held_object
from lgnet.synth.poses import LIBRARY
from lgnet.synth.render import joined
from lgnet.synth.scene import _place, sample_betas

PEOPLE = SynthConfig(size=96, people=1.0, held=1.0)
WEBCAM = np.array([400.0, 400, 127.5, 127.5])


def raised(side: int, x: float):
    """Wrist, direction to the elbow and some points of a hand held up before a webcam, 0.5 m away."""
    wrist = np.array([x, 0.0, 0.5])
    return wrist, np.array([0.0, 0.8, 0.6]), wrist + np.random.default_rng(side).uniform(-0.08, 0.05, (30, 3))


def test_two_raised_hands_get_one_body_that_reaches_them():
    found = 0
    for seed in range(20):
        (right, arm_r, a), (left, arm_l, b) = raised(0, -0.2), raised(1, 0.2)
        hands = np.concatenate([a, b])
        body = find_body(np.random.default_rng(seed), [right, left], [arm_r, arm_l], hands)
        if body is None:
            continue
        found += 1
        for elbow, wrist, shoulder in zip(body.elbows, (right, left), body.shoulders):
            assert np.linalg.norm(elbow - wrist) == pytest.approx(FOREARM * body.scale)
            assert np.linalg.norm(shoulder - elbow) < 1.36 * UPPER_ARM * body.scale
        # seen from the front, the person's right shoulder is on the picture's left, and the head above
        assert body.shoulders[0, 0] < body.shoulders[1, 0]
        assert body.axes[1, 1] < 0
        assert np.allclose(body.axes @ body.axes.T, np.eye(3), atol=1e-9)
    assert found > 10


def test_arms_that_come_from_behind_the_camera_have_no_body():
    wrist, arm = np.array([0.0, 0.1, 0.4]), np.array([0.0, 0.3, -0.95])
    assert all(find_body(np.random.default_rng(s), [wrist, None], [arm, None], wrist[None]) is None for s in range(10))


def test_a_person_is_no_hand_and_throws_no_shadow():
    rng = np.random.default_rng(1)
    body = bystander(rng, 1.5, WEBCAM, 256)
    wide = np.array([40.0, 40, 127.5, 127.5])
    meshes = person_meshes(rng, body, sample_skin(rng), sample_clothes(rng), (wide, 256))
    assert len(meshes) > 8
    for mesh in meshes:
        assert set(np.unique(mesh.part)) <= {0, FACE}
        assert not mesh.casts_shadow
        assert np.isfinite(mesh.vertices).all()
        assert mesh.faces.max() < len(mesh.vertices)
        assert (mesh.albedo >= 0).all()
    points = np.concatenate([mesh.vertices for mesh in meshes])
    tall = np.ptp((points - body.neck) @ body.axes[1])
    assert 1.5 < tall / body.scale < 2.0  # feet to hair


def test_of_a_person_only_what_the_picture_can_show_is_made(monkeypatch):
    monkeypatch.setattr("lgnet.synth.body.head", lambda rng, *_: [])  # coarser where it is small
    left_out = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        K = np.array([1.0, 1, 0, 0]) * rng.uniform(200, 1500) + [0, 0, 127.5, 127.5]
        body, skin, clothes = bystander(rng, 1.5, WEBCAM, 256), sample_skin(rng), sample_clothes(rng)
        some, whole = (
            person_meshes(np.random.default_rng(seed), body, skin, clothes, frame) for frame in ((K, 256), None)
        )
        left_out += len(whole) - len(some)
        if some:
            one, two = (rasterize(*joined(meshes), K, 256, 256)[1] for meshes in (some, whole))
            np.testing.assert_array_equal(one, two)
        else:
            assert not rasterize(*joined(whole), K, 256, 256)[1].any()
    assert left_out > 40


def test_same_seed_same_picture_and_the_hands_stay_labelled():
    one, two = (make_sample(training_rng(5, 0, 3), PEOPLE, "single") for _ in range(2))
    assert np.array_equal(one.image, two.image)
    side = int(one.present[1])
    assert ((one.parts > 16 * side) & (one.parts <= 16 * side + 16)).any()


def test_without_people_nothing_changes():
    plain = SynthConfig(size=96)
    a = make_sample(training_rng(5, 0, 3), plain, "single")
    b = make_sample(training_rng(5, 0, 3), replace(plain, people=0.0, held=0.0), "single")
    assert np.array_equal(a.image, b.image)
    assert not np.array_equal(a.image, make_sample(training_rng(5, 0, 3), PEOPLE, "single").image)


def _distance_to_bones(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    best = np.full(len(points), np.inf)
    for a, b in BONES:
        along = joints[b] - joints[a]
        t = np.clip((points - joints[a]) @ along / (along @ along), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - joints[a] - t[:, None] * along, axis=1))
    return best


@pytest.mark.parametrize("pose", ["fist_loose", "cupped", "ok"])
def test_what_is_held_does_not_cut_the_fingers_bones(pose):
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(30):
        hand = _place(0, LIBRARY[pose], np.eye(3), sample_betas(rng)[0], rng, 20.0)
        mesh = held_object(np.random.default_rng(seed), hand.joints)
        if mesh is None:
            continue
        held += 1
        inside = _distance_to_bones(mesh.vertices.astype(float), hand.joints) < 0.5 * THICKNESS
        assert not inside.any()
        # and it is in the hand: something of it within 2 cm of a bone
        assert _distance_to_bones(mesh.vertices.astype(float), hand.joints).min() < 0.03
    assert held > 0


def test_a_flat_hand_holds_nothing_in_its_grip():
    rng = np.random.default_rng(0)
    hand = _place(0, LIBRARY["spread"], np.eye(3), np.zeros(10), rng, 20.0)
    assert all(held_object(np.random.default_rng(s), hand.joints) is None for s in range(5))
