"""Each gesture on its pose, for both sides, and on no other; hysteresis; hands that go; gestures of one's own."""

import math

import numpy as np
import pytest
import torch
from posing import PALM_TO_CAMERA, posed_hand, scene, turn

from lgnet.gestures import (
    PAPER,
    Event,
    Gesture,
    bent,
    curl,
    end_all,
    facing,
    load_gestures,
    pose_of,
    recognise,
    rise,
    straight,
    turned,
)
from lgnet.synth.gestures import GESTURES as MORE_POSES
from lgnet.synth.poses import LIBRARY

torch.set_num_threads(1)
OPPOSITE = {"right": "left", "left": "right"}
THUMB_OUT = LIBRARY["thumb_up"]


def put(hand):
    """The picture with this hand alone."""
    return scene(**{hand.side: hand})


def seen(hand, gestures=PAPER) -> list[tuple[str, str]]:
    """The gestures on after this hand has stood still for a second."""
    state, events = {}, []
    for time in (0.0, 0.5, 1.0):
        state, events = recognise(gestures, state, time, put(hand))
    return [(event.gesture, event.hand) for event in events]


@pytest.mark.parametrize("side", ["right", "left"])
def test_thumb_out_with_the_palm_to_the_camera_is_forward_left_and_summon_right(side):
    name = {"left": "forward", "right": "summon"}[side]
    assert seen(posed_hand(THUMB_OUT, side)) == [(name, side)]
    for axis, degrees in (((0, 0, 1), 90), ((0, 0, 1), -60), ((1, 0, 0), 30), ((0, 1, 0), -30)):
        assert seen(posed_hand(THUMB_OUT, side, turn(axis, degrees) @ PALM_TO_CAMERA)) == [(name, side)], (
            axis,
            degrees,
        )
    for axis, degrees in (((0, 1, 0), 180), ((1, 0, 0), 90), ((0, 1, 0), -80)):  # the back, the fingers, the edge
        assert seen(posed_hand(THUMB_OUT, side, turn(axis, degrees) @ PALM_TO_CAMERA)) == [], (axis, degrees)


@pytest.mark.parametrize("side", ["right", "left"])
def test_pinches_are_pinches_whichever_way_they_look(side):
    for name in ("pinch", "ok", "precision"):
        for axis, degrees in (((0, 0, 1), 0), ((0, 0, 1), 120), ((0, 1, 0), 180), ((1, 0, 0), -70)):
            assert seen(posed_hand(LIBRARY[name], side, turn(axis, degrees) @ PALM_TO_CAMERA)) == [("pinch", side)]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "name",
    ["flat", "open", "spread", "relaxed", "fist", "fist_loose", "point", "point_thumb_out", "victory", "three", "four"]
    + ["gun", "shaka", "horns", "hook", "claw", "half", "table", "letter_a", "letter_b"],
)
def test_other_poses_are_no_gesture(name, side):
    assert seen(posed_hand({**MORE_POSES, **LIBRARY}[name], side)) == []


def test_a_pinch_tells_the_turn_beyond_half_a_turn():
    state, values = {}, []
    for frame in range(40):
        rotation = turn((0, 0, 1), -10.0 * frame) @ PALM_TO_CAMERA  # the camera's z is forward: counter-clockwise
        state, events = recognise(PAPER, state, frame / 30, put(posed_hand(LIBRARY["pinch"], "right", rotation)))
        values += [(event.phase, event.value) for event in events]
    phases = [phase for phase, _ in values]
    assert phases[0] == "begin" and set(phases[1:]) == {"hold"} and len(phases) > 30
    np.testing.assert_allclose(
        np.rad2deg([value for _, value in values]), 10.0 * np.arange(len(values)), atol=0.01
    )  # from 0 on, past 180
    assert values[-1][1] > 1.5 * math.pi


def test_only_the_turn_in_the_picture_counts():
    first = pose_of(posed_hand(LIBRARY["pinch"], "left"))
    tilted = turn((1, 0, 0), 20) @ PALM_TO_CAMERA
    assert turned(first, pose_of(posed_hand(LIBRARY["pinch"], "left", tilted))) == pytest.approx(0, abs=1e-6)
    quarter = turn((0, 0, 1), 90) @ PALM_TO_CAMERA
    assert turned(first, pose_of(posed_hand(LIBRARY["pinch"], "left", quarter))) == pytest.approx(-math.pi / 2)


def between(share: float) -> np.ndarray:
    """From a flat hand to a pinch."""
    return (1 - share) * LIBRARY["flat"] + share * LIBRARY["pinch"]


def test_noise_about_a_threshold_does_not_flicker():
    rule = PAPER[2].rule
    shares = np.linspace(0, 1, 101)
    scores = [rule(pose_of(posed_hand(between(s)))) for s in shares]
    at_begin = shares[int(np.argmax(np.array(scores) >= PAPER[2].begin))]
    rng = np.random.default_rng(0)
    for middle in (at_begin, shares[int(np.argmax(np.array(scores) >= PAPER[2].end))]):
        state, phases = {}, []
        for frame in range(150):
            hand = posed_hand(between(float(np.clip(middle + rng.normal(0, 0.01), 0, 1))))
            state, events = recognise(PAPER, state, frame / 30, put(hand))
            phases += [event.phase for event in events]
        assert phases.count("begin") <= 1 and phases.count("end") <= 1


def score_of(values: list[float], gesture: Gesture, rate: float = 30.0) -> list[str]:
    """Per frame, what the gesture does where its rule says these values."""
    told = iter(values)
    gesture = Gesture(gesture.name, lambda pose: next(told), gesture.hand, gesture.begin, gesture.end, gesture.wait)
    hands, state, out = put(posed_hand(LIBRARY["flat"])), {}, []
    for frame in range(len(values)):
        state, events = recognise((gesture,), state, frame / rate, hands)
        out.append(events[0].phase if events else "")
    return out


def test_begin_hold_end_and_the_two_thresholds():
    gesture = Gesture("x", lambda pose: 0.0, begin=0.6, end=0.4, wait=0.0)
    assert score_of([0.5, 0.6, 0.5, 0.41, 0.39, 0.5, 0.7], gesture) == ["", "begin", "hold", "hold", "end", "", "begin"]
    assert score_of([math.nan, 0.9, math.nan, 0.0], gesture) == ["", "begin", "end", ""]


def test_what_is_seen_for_a_moment_only_does_not_begin():
    gesture = Gesture("x", lambda pose: 0.0, begin=0.6, end=0.4, wait=0.1)
    assert score_of([0.9, 0.9, 0.5, 0.9, 0.9, 0.9, 0.9, 0.5], gesture) == ["", "", "", "", "", "", "begin", "hold"]


def test_a_gesture_that_anything_holds_ends_with_its_hand():
    anything = Gesture("anything", lambda pose: 1.0, begin=0.5, end=0.0, wait=0.0)
    state, events = recognise([anything], {}, 0.0, put(posed_hand(THUMB_OUT, "left")))
    assert events == [Event("anything", "left", "begin", 0.0)]
    gone, events = recognise([anything], state, 0.1, scene())
    assert events == [Event("anything", "left", "end", 0.0)] and not gone


def test_a_hand_that_goes_or_becomes_another_ends_its_gestures():
    hand = posed_hand(THUMB_OUT, "left")
    state = {}
    for time in (0.0, 0.2):
        state, events = recognise(PAPER, state, time, put(hand))
    assert events == [Event("forward", "left", "begin", 0.0)]
    gone, events = recognise(PAPER, state, 0.3, scene())
    assert events == [Event("forward", "left", "end", 0.0)] and not gone
    other, events = recognise(PAPER, state, 0.3, put(hand), fresh=(False, True))
    assert events == [Event("forward", "left", "end", 0.0)]
    assert recognise(PAPER, other, 0.5, put(hand))[1] == [Event("forward", "left", "begin", 0.0)]
    assert end_all(state) == [Event("forward", "left", "end", 0.0)] and end_all(other) == []


def test_both_hands_at_once():
    state, events = {}, []
    both = scene(
        posed_hand(LIBRARY["pinch"], "right", at=(0.1, 0.05, 0.5)), posed_hand(THUMB_OUT, "left", at=(-0.1, 0.05, 0.5))
    )
    for time in (0.0, 0.2):
        state, events = recognise(PAPER, state, time, both)
    assert [(e.gesture, e.hand) for e in events] == [("pinch", "right"), ("forward", "left")]


def test_facing_is_towards_the_camera_not_along_its_axis():
    at = (0.4, 0.0, 0.4)  # seen at 45 degrees: the palm that looks back along the axis looks past the camera
    straight_back = posed_hand(LIBRARY["flat"], at=at)
    assert facing(pose_of(straight_back)) == pytest.approx(math.cos(math.pi / 4), abs=0.06)
    at_the_camera = posed_hand(LIBRARY["flat"], rotation=turn((0, 1, 0), 45) @ PALM_TO_CAMERA, at=at)
    assert facing(pose_of(at_the_camera)) > 0.98


def test_what_rules_are_made_of():
    pose = pose_of(posed_hand(LIBRARY["point"]))
    assert straight(pose, "index") == 1 and bent(pose, "middle") == 1 and curl(pose, "ring") > 80
    assert pose.angles.shape == (5, 3, 3) and pose.palm == pytest.approx([0, 0, -1], abs=0.02)
    assert [rise(v, 0.0, 2.0) for v in (-1, 0.5, 3)] == [0, 0.25, 1] and rise(0.5, 2.0, 0.0) == 0.75


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from lgnet.gestures import Gesture, bent, straight\n"
        "OTHERS = ('middle', 'ring', 'little')\n"
        "def point(pose):\n"
        "    return min(straight(pose, 'index'), *(bent(pose, f) for f in OTHERS))\n"
        "GESTURES = (Gesture('point', point, hand='right'),)\n"
    )
    gestures = load_gestures(str(file))
    assert seen(posed_hand(LIBRARY["point"]), gestures) == [("point", "right")]
    assert seen(posed_hand(LIBRARY["point"], "left"), gestures) == []
    assert seen(posed_hand(LIBRARY["fist"]), gestures) == []
    assert load_gestures("none") == () and load_gestures("paper") is PAPER


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        ("GESTURES = 3", "has to hold GESTURES"),
        ("import nosuch", "cannot be run: ModuleNotFoundError"),
        ("x = (", "cannot be run: SyntaxError"),
        (
            "from lgnet.gestures import Gesture as G\nGESTURES = [G('a', float), G('a', float)]",
            "two gestures named 'a'",
        ),
        ("from lgnet.gestures import Gesture as G\nGESTURES = [G('', float)]", "name has 1 to 32 bytes"),
        ("from lgnet.gestures import Gesture as G\nGESTURES = [G('a', float, begin=0.3)]", "end is less than begin"),
        (
            "from lgnet.gestures import Gesture as G\nGESTURES = [G('a', float, begin=60, end=40)]",
            "both are from 0 to 1",
        ),
        ("from lgnet.gestures import Gesture as G\nGESTURES = [G('a', float, wait=float('nan'))]", "wait is seconds"),
    ],
)
def test_files_that_are_none(tmp_path, content, said):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=said):
        load_gestures(str(file))


def test_other_words_and_rules_that_fail():
    with pytest.raises(ValueError, match="takes paper, none or a Python file"):
        load_gestures("all")
    with pytest.raises(ValueError, match="the gesture bad failed: ZeroDivisionError"):
        recognise((Gesture("bad", lambda pose: 1 / 0),), {}, 0.0, put(posed_hand(THUMB_OUT)))
    hands = put(posed_hand(THUMB_OUT))
    for number in (float("inf"), float("nan"), 1e39):
        big = Gesture("big", lambda pose: 1.0, wait=0, value=lambda first, now, n=number: n)
        with pytest.raises(ValueError, match="the gesture big failed: its value is"):
            recognise((big,), recognise((big,), {}, 0.0, hands)[0], 1.0, hands)
    with pytest.raises(ValueError, match="there is no finger 'pinky'; they are thumb, index"):
        recognise((Gesture("bad", lambda pose: bent(pose, "pinky")),), {}, 0.0, put(posed_hand(THUMB_OUT)))


def test_a_file_that_ends_the_program_is_told(tmp_path):
    (tmp_path / "g.py").write_text("raise SystemExit(3)")
    with pytest.raises(ValueError, match=r"g\.py cannot be run: SystemExit: 3"):
        load_gestures(str(tmp_path / "g.py"))
