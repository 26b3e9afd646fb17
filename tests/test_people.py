"""Which hands belong together: cases set by hand. Boxes are x, y, w, h; sides are right, left, none."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from lgnet import places
from lgnet.detect import Place, choose_sides
from lgnet.hands import Camera
from lgnet.people import MOST, group, nearest_pair
from lgnet.places import find_places, look_at_tiles, tile_sides

R, L, UNSURE, NONE = (0.9, 0.08, 0.02), (0.08, 0.9, 0.02), (0.49, 0.49, 0.02), (0.01, 0.01, 0.98)


def place(x: float, size: float = 50.0, y: float = 100.0, score: float = 0.8) -> Place:
    return Place(score, np.array([x, y, size, size]))


def found(places: list[Place], sides: list[tuple[float, float, float]]) -> set[tuple[int | None, int | None]]:
    """Pairs as the places' numbers, right and left."""
    number = {id(p.box): i for i, p in enumerate(places)}
    people = group(places, np.array(sides))
    assert all(d.side == s for person in people for s, d in enumerate(person) if d is not None)
    return {(a and number[id(a.box)], b and number[id(b.box)]) if a and b else
            (number[id(a.box)] if a else None, number[id(b.box)] if b else None) for a, b in people}  # fmt: skip


def test_one_person_is_one_pair():
    assert found([place(0), place(120)], [R, L]) == {(0, 1)}
    assert found([place(120), place(0)], [R, L]) == {(0, 1)}  # hands crossed, or seen by the person's own eyes
    assert found([place(0)], [L]) == {(None, 0)}
    assert found([place(0), place(120)], [NONE, NONE]) == set()
    assert group([], np.zeros((0, 3))) == []


def test_a_hand_that_was_found_twice_is_one_persons():
    twice = place(4, score=0.7)  # nearly where the first is
    assert found([place(0), twice], [L, L]) == {(None, 0)}
    assert found([twice, place(0)], [L, L]) == {(None, 1)}  # the surer one
    assert found([place(0), place(-120), twice], [L, R, L]) == {(1, 0)}
    assert found([place(0), place(200)], [L, L]) == {(None, 0), (None, 1)}  # two people's
    meant = [replace(p, closer=np.stack([p.box, [300.0, 100, 50, 50]])) for p in (place(0), place(400, score=0.7))]
    assert len(group(meant, np.array([L, L]))) == 1  # found apart, but it is the same hand that is seen there


def test_what_detector_and_pair_network_both_saw_is_one_persons():
    seen = [place(0), place(120), replace(place(3), look=0, score=0.7), replace(place(118), look=0, score=0.9)]
    assert found(seen, [R, L, R, L]) == {(0, 3)}
    over = [replace(place(0), look=0), replace(place(5), look=0)]  # one hand nearly hides the other
    assert found(over, [R, L]) == {(0, 1)}
    assert len(nearest_pair(over, np.array([R, L]))) == 2


def test_who_is_far_is_far_wherever_it_was_seen():
    near = [place(0, 120), place(300, 120)]
    far = [place(600, 50, score=0.95), place(680, 50, score=0.95), replace(place(602, 50, score=0.9), look=0)]
    chosen = nearest_pair([*far, *near], np.array([R, L, R, R, L]))
    assert [d.box[2] for d in chosen] == [120, 120]


def test_two_people_side_by_side_keep_their_own_hands():
    """Right and left of each 100 pixels apart; neighbours' hands 60: nearer, but in the wrong order."""
    places = [place(0), place(100), place(160), place(260)]
    for order in itertools.permutations(range(4)):
        pairs = found([places[i] for i in order], [(R, L, R, L)[i] for i in order])
        assert {(order[a], order[b]) for a, b in pairs} == {(0, 1), (2, 3)}


def test_a_large_pair_before_a_small_one():
    """A child behind: its hands, half as large, lie between the others."""
    places = [place(0, 120), place(400, 120), place(170, 50), place(260, 50)]
    assert found(places, [R, L, R, L]) == {(0, 1), (2, 3)}
    people = group(places, np.array([R, L, R, L]))
    assert [p[0].box[2] for p in people if p[0]] == [120, 50]  # the largest first


def test_far_hands_are_two_people():
    assert found([place(0), place(1500)], [R, L]) == {(0, None), (None, 1)}
    assert found([place(0), place(100)], [R, R]) == {(0, None), (1, None)}
    assert found([place(0), place(100)], [R, UNSURE]) == {(0, 1)}  # the unsure one completes the pair
    assert found([place(0), place(100), place(190)], [R, L, L]) == {(0, 1), (None, 2)}


def test_what_is_nearly_as_large_is_not_others():
    """A second pair at 0.6 of the nearest one's size may be at the same distance; a single large hand tells of nobody."""
    near = [place(0, 120, score=0.5), place(300, 120, score=0.5)]
    small, tiny = ([place(x, size, score=0.95) for x in (600, 680)] for size in (72, 50))
    for others, chosen in ((small, [72, 72]), (tiny, [120, 120])):
        assert [d.box[2] for d in nearest_pair([*others, *near], np.array([R, L, R, L]))] == chosen
    alone = [place(0, 120, score=0.5), *tiny]
    assert [d.box[2] for d in nearest_pair(alone, np.array([R, R, L]))] == [50, 50]


def test_hands_of_one_size_go_together():
    """A small left hand is nearer to the right one, also in hand sizes, than one of the right one's own size."""
    places = [place(200, 100), place(350, 40, y=130), place(450, 100)]
    assert found(places, [R, L, L]) == {(0, 2), (None, 1)}


def test_of_a_hand_found_twice_the_pair_stays():
    """The left hand of a pair is seen once more, surer, as a single one's."""
    meant = np.stack([[0.0, 0, 1, 1], [120.0, 100, 50, 50]])
    twice = Place(0.99, np.array([2000.0, 100, 50, 50]), closer=meant)
    places = [place(0, score=0.6), place(120, score=0.6), twice]
    people = group(places, np.array([R, L, L]))
    assert [tuple(h and h.score > 0.7 for h in person) for person in people] == [(False, False)]


def test_more_hands_than_are_grouped_take_no_time():
    places = [place(80.0 * i) for i in range(40)]
    people = group(places, np.array([(R, L)[i % 2] for i in range(40)]))
    assert sum(h is not None for person in people for h in person) == MOST


def test_the_nearest_pair_is_taken_and_one_person_is_as_before():
    near, far = (
        [place(0, 120, score=0.5), place(300, 120, score=0.5)],
        [place(600, 50, score=0.95), place(680, 50, score=0.95)],
    )
    chosen = nearest_pair([*far, *near], np.array([R, L, R, L]))
    assert [(d.side, d.box[2]) for d in chosen] == [(0, 120), (1, 120)]
    rng = np.random.default_rng(0)
    for _ in range(30):  # two places near each other: one person, whatever the sides
        places = [place(0, score=rng.uniform(0.1, 1)), place(60, score=rng.uniform(0.1, 1))]
        sides = rng.dirichlet((1, 1, 1), 2)
        if len(group(places, sides)) < 2:
            assert [(d.side, id(d.box)) for d in nearest_pair(places, sides)] == [
                (d.side, id(d.box)) for d in choose_sides(places, sides)
            ]


class SeesWhite(torch.nn.Module):
    """Finds a hand as large as the white square about a cell, if that is 3 to 16 cells large."""

    class config:  # noqa: N801
        size = 224

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        out = torch.full((len(images), 5, 28, 28), -9.0)
        for n, image in enumerate(images.numpy()):
            cells = image.mean(0).reshape(28, 8, 28, 8).mean((1, 3)) > 0.9
            rows, columns = np.nonzero(cells)
            if len(rows) and 3 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 16:
                y, x = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
                size = np.log(max(np.ptp(rows), np.ptp(columns)) + 1)
                out[n, :, y, x] = torch.tensor([3.0, 0.5, 0.5, size, size])
        return out


def test_small_hands_are_found_in_tiles():
    image = np.zeros((1500, 2400, 3), np.uint8)
    image[900:980, 1300:1380] = 255  # 80 pixels: one cell of the whole picture, nothing to this detector
    assert find_places(SeesWhite(), image, tiles="off") == []
    for tiles in ("auto", "all"):
        places = find_places(SeesWhite(), image, tiles=tiles)
        assert places
        middle = places[0].box[:2] + places[0].box[2:] / 2
        assert np.abs(middle - [1340, 940]).max() < 40
        assert len(places) == 1  # of all tiles that see it
    assert find_places(SeesWhite(), image[:400, :600], tiles="all") == []  # too small for tiles


def test_of_tiles_of_several_sizes_what_lies_in_a_place_is_the_same(monkeypatch):
    """The palm alone, seen in a smaller tile, is no second hand; in one look's places it may be another one's."""
    hand, palm, beside = place(400, 200, y=400, score=0.9), place(450, 100, y=450), place(560, 100, y=450)
    monkeypatch.setattr(places, "_look", lambda net, parts: [[hand, palm, beside] for _ in parts])
    monkeypatch.setattr(places, "_shifted", lambda some, corner: some)
    image = np.zeros((1000, 1000, 3), np.uint8)
    net = SeesWhite()
    assert [p.box[2] for p in find_places(net, image, tiles="all")] == [200, 100]
    assert [p.box[0] for p in find_places(net, image, tiles="all")] == [400, 560]
    assert len(find_places(net, image, tiles="off")) == 3


def test_tiles_cover_the_picture_and_overlap(monkeypatch):
    seen = []
    monkeypatch.setattr(places, "_look", lambda net, parts: [seen.append(p.shape) or [] for p in parts])
    image = np.zeros((1000, 4000, 3), np.uint8)
    assert tile_sides(image, 224) == [2000, 1000, 500]
    assert tile_sides(image[:, :895], 224) == [500]
    assert tile_sides(image[:800, :895], 224) == []  # tiles are twice the detector's input at least
    assert look_at_tiles(None, image, 500) == []
    assert set(seen) == {(500, 500, 3)}
    assert len(seen) == 12 * 3  # a step of 334: 11.5 and 2.5 steps


def test_hands_cut_by_a_tile_are_left_to_the_next(monkeypatch):
    cut = Place(0.9, np.array([460.0, 100, 100, 100]))  # reaches over the right border of a tile of 500
    monkeypatch.setattr(places, "_look", lambda net, parts: [[cut] for _ in parts])
    corners = [tuple(p.box[:2]) for p in look_at_tiles(None, np.zeros((500, 1000, 3), np.uint8), 500)]
    assert corners == [(960.0, 100.0)]  # only where that is the picture's own border


def test_json_keeps_the_nearest_pair_and_lists_all():
    from posing import posed_hand, scene

    near, far = (posed_hand(np.zeros((15, 3)), "right", at=(0, 0, z)) for z in (0.4, 0.9))
    first, second = scene(near), scene(far, posed_hand(np.zeros((15, 3)), "left", at=(0.2, 0, 0.9)))
    content = replace(first, people=(first, second)).to_dict()
    assert content["hands"] == first.to_dict()["hands"]
    assert [[h["side"] for h in person["hands"]] for person in content["people"]] == [["right"], ["right", "left"]]
    assert content["people"][1]["relative_translation"] == pytest.approx([0.2, 0, 0])
    assert "people" not in first.to_dict()
    assert len(replace(first, people=(first, second)).everyone) == 3
    assert Camera(1, 1, 0, 0).assumed is False
