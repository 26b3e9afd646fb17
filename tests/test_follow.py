"""Following with a scripted model: which boxes are looked at, when the detector looks, and who keeps which side."""

from dataclasses import replace

import numpy as np
import pytest
from scripted import Scripted
from test_outputs import hand

from lgnet.follow import (
    GROWTH,
    LONGEST_WAIT,
    WAIT_FOR_OTHER,
    Following,
    Track,
    _votes,
    follow,
    follow_some,
    led,
    mesh_box,
    next_box,
)
from lgnet.hands import SIDES, Camera, Hand, TwoHands

CAMERA = Camera(100, 100, 100, 75)
IMAGE = np.zeros((150, 200, 3), np.uint8)
FAR, NEAR = (60.0, 70.0), (140.0, 70.0)  # middles of two places in the picture


def at(side: int, middle: tuple[float, float], score: float = 0.9, size: float = 40.0) -> Hand:
    """A hand whose mesh spans a square of `size` pixels about a point, one metre away."""
    low, high = np.array(middle) - size / 2, np.array(middle) + size / 2
    corners = np.array([[*low], [high[0], low[1]], [*high], [low[0], high[1]]])
    vertices = np.concatenate([(corners - [100, 75]) / 100, np.ones((4, 1))], 1)
    box = np.array([*low, size, size])
    return replace(hand(SIDES[side]), score=score, vertices=vertices, translation=vertices[0], box=box)


class World(Scripted):
    """Hands where the script says; the detector may name their sides otherwise.

    Attributes:
        places: middle of each hand, by its true side; None: not there.
        crossed: the detector takes right for left.
        looks: of the detector, by frame.
        unseen: the side of a hand that the detector does not see.
    """

    def __init__(self):
        self.places: list[tuple[float, float] | None] = [FAR, NEAR]
        self.crossed, self.looks, self.frame, self.given = False, [], 0, []
        self.state = Following()
        self.blind, self.unseen, self.score = False, None, 0.9

    def predict(self, image, camera=None, boxes=None, given=None, file=None):
        hands: list[Hand | None] = [None, None]
        if boxes is None:
            self.looks.append(self.frame)
            for side, place in enumerate(self.places):
                if place is not None and not self.blind and side != self.unseen:
                    own = 1 - side if self.crossed else side
                    hands[own] = at(own, place, self.score)
        else:
            assert given is not None
            self.given.append(boxes.copy())
            for slot in (0, 1):
                for place in self.places:
                    if given[slot] and place is not None and self._covers(boxes[slot], place):
                        hands[slot] = replace(at(slot, place, 0.99), box=boxes[slot])  # as the network answers
        return TwoHands(hands[0], hands[1], 200, 150, CAMERA, file)

    @staticmethod
    def _covers(box, place):
        return (np.abs(box[:2] + box[2:] / 2 - place) < box[2:] / 2).all()

    def step(self):
        step = follow(self, self.state, IMAGE, CAMERA, "film")
        self.state, self.frame = step.state, self.frame + 1
        assert step.looked == (self.frame - 1 in self.looks)
        return step

    def run(self, frames: int):
        return [self.step() for _ in range(frames)]


def middle(hand: Hand | None):
    assert hand is not None
    box = mesh_box(hand, CAMERA)
    return tuple(np.round(box[:2] + box[2:] / 2, 6).tolist())


def test_the_next_box_is_the_mesh_grown_about_its_middle():
    seen = at(0, FAR, size=40)
    np.testing.assert_allclose(mesh_box(seen, CAMERA), [40, 50, 40, 40])
    grown = 40 * GROWTH
    np.testing.assert_allclose(next_box(seen, CAMERA), [60 - grown / 2, 70 - grown / 2, grown, grown])


def test_two_hands_are_followed_and_the_detector_looks_ever_less():
    world = World()
    steps = world.run(60)
    assert all(len(s.hands.hands) == 2 for s in steps)
    assert steps[0].fresh == (True, True) and not any(any(s.fresh) for s in steps[1:])
    # found at 0; then after pauses of 1, 2, 4, 8 and from there LONGEST_WAIT frames
    waits = np.diff(world.looks) - 1
    assert waits.tolist() == [1, 2, 4, 8, LONGEST_WAIT, LONGEST_WAIT][: len(waits)]


def test_hands_that_move_keep_their_sides_through_a_crossing():
    """They pass each other, one above; the detector would call whoever is at the left of the picture the right one."""
    world = World()
    for i in range(40):
        world.places = [(60.0 + 2 * i, 50.0), (140.0 - 2 * i, 100.0)]
        world.crossed = False
        step = world.step()
        assert middle(step.hands.right) == world.places[0] and middle(step.hands.left) == world.places[1]


def test_a_wrong_look_at_a_fast_hand_invents_no_other():
    """It is matched with where the hand is now, not with where it was a frame ago."""
    world = World()
    world.places = [(20.0, 30.0), None]
    world.run(3)
    for _ in range(8):
        world.places = [(world.places[0][0] + 15, world.places[0][1] + 12), None]
        world.crossed = True
        step = world.step()
        assert step.hands.left is None and middle(step.hands.right) == world.places[0]
        np.testing.assert_allclose(step.hands.right.box, mesh_box(step.hands.right, CAMERA))
        if step.looked:
            break
    assert step.looked and step.state.tracks[0].votes < 1.8  # it voted against the side instead


def test_a_long_mistake_comes_right_soon_once_the_looks_say_so():
    world = World()
    world.crossed = True
    assert all(middle(step.hands.right) == NEAR for step in world.run(60))
    world.crossed = False
    steps = world.run(LONGEST_WAIT + 20)  # the next look may be as far away as the longest wait
    assert middle(steps[-1].hands.right) == FAR and middle(steps[-1].hands.left) == NEAR


def test_what_a_look_says_of_one_hand_holds_for_the_other():
    """The detector sees only the left hand and takes it for the right one: that speaks against both hands' sides."""
    two = (Track(np.zeros(4), 5, 1.0), Track(np.zeros(4), 5, 1.5))
    assert _votes(two, [1, None], [0.5, 0.0]) == [0.5, 1.0]
    assert _votes(two, [0, None], [0.5, 0.0]) == [1.5, 2.0]
    assert _votes(two, [0, 1], [0.25, 0.5]) == [1.25, 2.0]
    assert _votes(two, [None, None], [0.0, 0.0]) == [1.0, 1.5]
    assert _votes((two[0], None), [0, None], [0.5, 0.0]) == [1.5, 0.0]


@pytest.mark.parametrize("blind", [True, False])
def test_what_is_left_of_a_wrong_look_takes_no_hand_away_when_the_other_goes(blind):
    """One crossed look leaves the left hand with votes against its side; then the right hand, which had enough, leaves."""
    world = World()
    world.score = 0.5
    world.step()
    world.state = replace(
        world.state,
        tracks=tuple(t and replace(t, votes=v) for t, v in zip(world.state.tracks, (0.5, -0.09))),
    )
    world.places[0], world.blind, world.score = None, blind, 0.05
    steps = world.run(12)
    assert all(middle(step.hands.left) == NEAR and step.hands.right is None for step in steps)


def test_one_wrong_look_changes_nothing():
    world = World()
    world.run(8)
    world.crossed = True
    looks = len(world.looks)
    while len(world.looks) == looks:
        step = world.step()
        assert middle(step.hands.right) == FAR and step.fresh == (False, False)


def test_a_wrong_beginning_comes_right():
    world = World()
    world.crossed = True
    assert middle(world.step().hands.right) == NEAR
    world.crossed = False
    steps = world.run(12)
    assert middle(steps[-1].hands.right) == FAR and middle(steps[-1].hands.left) == NEAR
    changes = [s.fresh for s in steps if any(s.fresh)]
    assert changes == [(True, True)]


@pytest.mark.parametrize("seen", [0, 1])
def test_a_hand_that_the_look_did_not_see_changes_its_side_with_the_other(seen):
    """Both began on the wrong side; from then on the detector sees one of them only, and the network both."""
    world = World()
    world.crossed = True
    world.step()
    world.crossed, world.unseen = False, 1 - seen
    steps = world.run(20)
    assert all(len(step.hands.hands) == 2 for step in steps)
    assert middle(steps[-1].hands.right) == FAR and middle(steps[-1].hands.left) == NEAR
    assert [s.fresh for s in steps if any(s.fresh)] == [(True, True)]


def test_one_hand_that_began_on_the_wrong_side_comes_right():
    world = World()
    world.places, world.crossed = [FAR, None], True
    assert world.step().hands.right is None
    world.crossed = False
    last = world.run(12)[-1].hands
    assert last.left is None and middle(last.right) == FAR


def test_a_lost_hand_is_searched_for_at_once_and_found_again():
    world = World()
    world.run(20)
    before = len(world.looks)
    world.places[1] = (100.0, 20.0)  # leapt out of its box
    step = world.step()
    assert step.looked and len(world.looks) == before + 1
    assert middle(step.hands.left) == (100.0, 20.0) and step.fresh == (False, True)
    assert middle(step.hands.right) == FAR


def test_a_hand_that_comes_in_is_found_soon():
    world = World()
    world.places[1] = None
    assert all(s.hands.left is None for s in world.run(30))
    world.places[1] = NEAR
    steps = world.run(WAIT_FOR_OTHER + 1)
    assert middle(steps[-1].hands.left) == NEAR
    assert not any(s.fresh[0] for s in steps)


def test_a_weak_second_hand_is_not_taken_while_one_is_followed():
    """Found together in a first look it is as the detector says; later it is more likely an invention."""
    world = World()
    world.places[1] = None
    world.run(3)
    world.places[1], world.score = NEAR, 0.2
    assert all(s.hands.left is None and s.hands.right is not None for s in world.run(2 * WAIT_FOR_OTHER + 2))
    world.score = 0.4
    assert world.run(WAIT_FOR_OTHER + 1)[-1].hands.left is not None


def test_a_surer_hand_takes_the_place_of_a_followed_one_that_the_look_does_not_see():
    """The network believes in a place that the detector, which sees a hand elsewhere, says nothing of."""
    for followed, there in ((0.8, True), (0.95, False)):
        world = World()
        world.places[1] = None
        world.run(3)

        def predict(image, camera=None, boxes=None, given=None, file=None, sure=followed, world=world):
            if boxes is None:
                world.looks.append(world.frame)
                return TwoHands(at(0, NEAR, 0.9), None, 200, 150, CAMERA, file)
            return TwoHands(at(0, FAR, sure), None, 200, 150, CAMERA, file)

        world.predict = predict
        steps = [world.step()]
        while not steps[-1].looked:
            steps.append(world.step())
        assert (middle(steps[-1].hands.right) == NEAR) == there
        assert steps[-1].fresh == (there, False)


def test_a_hand_that_evidence_takes_away_is_not_fresh():
    world = World()
    step = world.step()
    assert step.fresh == (True, True)
    taken = led(step, replace(step.hands, left=None))
    assert taken.fresh == (True, False) and taken.state.tracks[1] is None
    moved = led(step, replace(step.hands, right=at(0, (100.0, 30.0))))
    assert moved.fresh == (True, True) and middle(moved.hands.right) == (100.0, 30.0)
    np.testing.assert_allclose(moved.state.tracks[0].box, next_box(moved.hands.right, CAMERA))


def test_with_no_hand_the_detector_looks_at_every_frame():
    world = World()
    world.places = [None, None]
    steps = world.run(5)
    assert world.looks == [0, 1, 2, 3, 4] and not world.given
    assert all(s.hands.hands == () for s in steps)


def test_followed_hands_stay_where_the_detector_is_blind():
    world = World()
    world.run(3)
    world.blind = True
    assert all(len(s.hands.hands) == 2 for s in world.run(30))


@pytest.mark.parametrize("change", [{"score": 0.2}, {"size": 5.0}])
def test_a_hand_hardly_seen_or_shrunk_at_once_is_lost(change, monkeypatch):
    world = World()
    world.places[1] = None
    world.run(10)
    seen = world.predict

    def worse(image, boxes=None, **more):
        out = seen(image, boxes=boxes, **more)
        return out if boxes is None else replace(out, right=at(0, FAR, **change))

    monkeypatch.setattr(world, "predict", worse)
    world.blind = True
    assert world.step().hands.hands == ()


def test_a_box_that_left_the_picture_is_not_looked_at():
    world = World()
    world.places = [(3.0, 70.0), None]
    world.run(2)
    world.places = [(-2.0, 70.0), None]
    world.blind = True
    world.step()
    asked = len(world.given)
    world.step()
    assert len(world.given) == asked


def test_frames_seen_together_end_where_the_hands_change_sides():
    """Hands over each other, whose sides are found to be the other way round: their new boxes overlap the old ones."""

    class Near(World):
        def predict(self, image, camera=None, boxes=None, given=None, file=None):
            if boxes is None:
                return super().predict(image, camera, boxes, given, file)
            nearest = [min(self.places, key=lambda p, b=box: np.linalg.norm(b[:2] + b[2:] / 2 - p)) for box in boxes]
            return TwoHands(at(0, nearest[0], 0.99), at(1, nearest[1], 0.99), 200, 150, CAMERA, file)

    world = Near()
    world.places, world.crossed = [(95.0, 70.0), (105.0, 70.0)], True
    tracks = [Track(next_box(at(side, world.places[side]), CAMERA), 9, 0.05) for side in (0, 1)]
    steps = follow_some(world, Following((tracks[0], tracks[1]), 0, 1), [IMAGE] * 4, CAMERA, None)
    assert len(steps) == 1  # the others are looked at anew, in the boxes of the changed hands
    assert middle(steps[0].hands.right)[0] == pytest.approx(105, abs=1)
    assert steps[0].fresh == (True, True)
