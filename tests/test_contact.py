"""Two-hand poses: spots where they should be, hands that end up touching, and the bank they are kept in."""

import numpy as np
import pytest
import torch

from lgnet.anatomy import LIMITS
from lgnet.config import SynthConfig
from lgnet.hand_model import load_hand_model
from lgnet.hands import SIDES
from lgnet.penetration import measure_contact
from lgnet.synth import scene
from lgnet.synth.contact import pose_points, proxy, solve, spots, start
from lgnet.synth.interaction import load_bank, pack
from lgnet.synth.pairs import PAIRS
from lgnet.synth.poses import FOR_TWO, LIBRARY

torch.set_num_threads(1)
HANDS = [load_hand_model("lgnet", side) for side in SIDES]
FACES = [hand.faces.numpy() for hand in HANDS]


def test_every_key_pose_names_things_that_exist():
    assert len(PAIRS) >= 40
    for pair in PAIRS.values():
        assert {pair.right, pair.left} <= set(LIBRARY) | set(FOR_TWO)
        assert {spot for both in pair.touch for spot in both} <= set(spots())
        assert bool(pair.touch) != (pair.apart is not None)
        assert np.linalg.norm(np.cross(pair.fingers, pair.palm)) > 0.5  # they say a direction each


def test_spots_lie_where_their_names_say():
    skin, points = HANDS[0].template.numpy(), HANDS[0].points.numpy()
    at = {name: skin[vertex] for name, vertex in spots().items()}
    assert len({tuple(place) for name, place in at.items() if name != "front"}) == len(at) - 1  # no two at one place
    for finger, tip in (("index", 8), ("middle", 12), ("ring", 16), ("little", 20)):
        assert np.linalg.norm(at[f"{finger}_tip"] - points[tip]) < 0.015
        assert at[f"{finger}_mid"][2] > points[tip - 1][2] > at[f"{finger}_midback"][2]  # palm side, back
    assert at["palm"][2] > 0.005 > at["back"][2]
    assert at["edge"][0] == pytest.approx(skin[HANDS[0].part.numpy() == 0][:, 0].min(), abs=0.012)
    assert at["radial"][0] > points[5][0]


def test_proxy_spheres_are_inside_the_hand_and_fill_it():
    own = proxy("right")
    balls = own.hand.template[own.parts[3]].numpy()
    from lgnet.penetration import inside, surface_distance

    skin = HANDS[0].template.double().numpy()
    assert inside(balls.astype(np.float64), skin, FACES[0]).mean() > 0.97
    deep = surface_distance(balls.astype(np.float64), skin, FACES[0])
    assert (own.radii.numpy() <= deep + 0.002).mean() > 0.95


@pytest.fixture(scope="module")
def solved():
    names = ["prayer", "fist_in_palm", "index_to_index", "book", "wrists_crossed", "behind"]
    begin = start(names, np.random.default_rng(3))
    return names, begin, solve(names, begin)


def test_solved_hands_touch_and_do_not_cut(solved):
    names, _, pairs = solved
    right, left = (points.numpy() for points in pose_points(pairs, HANDS))
    contacts = [measure_contact(right[i], FACES[0], left[i], FACES[1]) for i in range(len(names))]
    assert max(contact.depth for contact in contacts) < 0.004
    assert max(contact.distance for name, contact in zip(names, contacts) if PAIRS[name].touch) < 0.006


def test_solved_hands_keep_their_limits_and_their_poses(solved):
    _, begin, pairs = solved
    low, high = (torch.from_numpy(LIMITS[..., i]).float() for i in (0, 1))
    assert (pairs.angles >= low - 1e-6).all()
    assert (pairs.angles <= high + 1e-6).all()
    assert (pairs.angles - begin.angles).abs().mean() < np.deg2rad(8)
    turned = pairs.turn @ begin.turn.mT
    angle = torch.rad2deg(((turned.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1).arccos())
    assert angle.max() < 60


def test_a_bank_gives_back_what_was_packed(solved, tmp_path, monkeypatch):
    names, _, pairs = solved
    rows = [(name, pairs.angles[i], pairs.turn[i], pairs.shift[i], pairs.betas[i]) for i, name in enumerate(names)]
    pack(rows, tmp_path / "bank.npz")
    monkeypatch.setattr("lgnet.synth.interaction.BANK", str(tmp_path / "bank.npz"))
    load_bank.cache_clear()
    bank = load_bank()
    load_bank.cache_clear()
    assert [list(PAIRS)[index] for index in bank.name] == names
    np.testing.assert_allclose(bank.angles, pairs.angles.numpy(), atol=1e-4)
    np.testing.assert_allclose(bank.turn, pairs.turn.numpy(), atol=3e-4)
    np.testing.assert_allclose(bank.shift, pairs.shift.numpy(), atol=1.1e-5)
    np.testing.assert_allclose(bank.betas, pairs.betas.numpy(), atol=0.011)


def test_scenes_from_the_bank_touch_as_the_bank_does_on_either_side():
    config = SynthConfig(kinds=(1, 0, 0, 0), bank=1.0)
    bank = load_bank()
    depths, gaps, first = [], [], []
    for seed in range(30):
        hands = scene._from_bank(np.random.default_rng(seed), config)
        contact = measure_contact(hands[0].vertices, FACES[0], hands[1].vertices, FACES[1])
        depths.append(contact.depth)
        gaps.append(contact.distance)
        index = np.random.default_rng(seed).integers(len(bank.name))
        first.append(np.linalg.norm(hands[1].joints[0] - hands[0].joints[0]) - np.linalg.norm(bank.shift[index]))
    assert np.mean(np.array(depths) < 0.0035) > 0.9
    assert np.mean(np.array(gaps) < 0.005) > 0.7
    np.testing.assert_allclose(first, 0, atol=1e-4)  # the wrists stand as far apart as the bank says
