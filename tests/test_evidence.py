"""Which key points are which hand, MediaPipe's place in it, and the command line, by a network and a MediaPipe that only seem."""

import json
import socket
import sys
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from posing import CAMERA, PALM_TO_CAMERA, posed_hand, scene, turn
from scripted import Scripted

import lgnet
from lgnet import cli, moving, predict
from lgnet import reconstruct as work
from lgnet.align import KeyPoints
from lgnet.evidence import choose_points, guide, match_places
from lgnet.follow import Following, Step, Track, led, next_box
from lgnet.geometry import project
from lgnet.hands import TwoHands
from lgnet.image_io import expand_inputs
from lgnet.mediapipe_hands import MediaPipeHands
from lgnet.packets import read_packet
from lgnet.stream import Way, stream

torch.set_num_threads(1)
BENT = np.zeros((15, 3))
BENT[3:, 0] = 0.3
RIGHT, LEFT = posed_hand(BENT, "right", at=(-0.12, 0.05, 0.5)), posed_hand(BENT, "left", at=(0.12, 0.05, 0.5))
MORE_BENT = posed_hand(BENT * 1.5, "right", at=(-0.11, 0.04, 0.52))
PICTURE = np.zeros((480, 640, 3), np.uint8)


def given(hand, side=None, score=0.9):
    return KeyPoints(hand.joints2d.copy(), np.ones(21), side or hand.side, score)


@dataclass
class Fake(Scripted):
    """A network that finds these two hands, and in boxes given sees a hand of that side; it notes what it was given."""

    found: TwoHands
    hand_length: float | None = None
    finder: object = None
    everyone: bool = False
    calls: list = field(default_factory=list)

    def predict(self, image, camera=None, boxes=None, given=None, file=None):
        self.calls.append((boxes, given))
        if boxes is None:
            people = (self.found, scene(left=LEFT)) if self.everyone else None
            return replace(self.found, file=file, people=people)
        right, left = (
            replace(posed_hand(BENT, side, at=at), box=box, score=1.0) if there else None
            for side, there, at, box in zip(("right", "left"), given, ((-0.12, 0.05, 0.5), (0.12, 0.05, 0.5)), boxes)
        )
        return replace(self.found, right=right, left=left, file=file)


def off(hand, points):
    return np.linalg.norm(hand.joints2d - points.points, axis=1).mean()


def test_places_match_whatever_the_names():
    crossed = [given(LEFT, "right"), given(RIGHT, "left")]
    assert match_places(crossed, (RIGHT, LEFT)) == [1, 0]
    assert match_places(crossed[:1], (RIGHT, LEFT)) == [1]
    assert match_places(crossed, (RIGHT, None)) == [None, 0]
    far = KeyPoints(RIGHT.joints2d + (0, 300), np.ones(21), "right")
    assert match_places([far, given(RIGHT)], (RIGHT, LEFT)) == [None, 0]
    assert match_places([], (RIGHT, LEFT)) == []


@pytest.mark.parametrize(
    ("names", "scores", "network", "right_first"),
    [
        (("right", "left"), (0.9, 0.9), (0.7, 0.7), True),  # all agree
        (("left", "right"), (0.6, 0.6), (0.7, 0.7), True),  # 2 log(1.5) = 0.8 against 2.4 * 1.4 = 3.4
        (("left", "right"), (0.98, 0.98), (0.7, 0.7), False),  # 2 log(49) = 7.8 against 3.4
        (("left", "left"), (0.95, 0.6), (0.3, 0.3), False),  # log(19) - log(1.5) = 2.5 against 2.4 * 0.6 = 1.4
        ((None, None), (1.0, 1.0), (0.2, 0.2), True),
    ],
)
def test_sides_by_the_sum_of_log_odds(names, scores, network, right_first):
    pair = replace(RIGHT, score=network[0]), replace(LEFT, score=network[1])
    points = [KeyPoints(h.joints2d, np.ones(21), n, s) for h, n, s in zip((RIGHT, LEFT), names, scores)]
    chosen = choose_points(points, [0, 1], pair)
    assert [choice.points is points[0] for choice in chosen] == [right_first, not right_first]
    assert [choice.match for choice in chosen] == ([0, 1] if right_first else [1, 0])


def test_of_many_people_those_that_the_network_sees_and_the_largest():
    small = KeyPoints(RIGHT.joints2d * 0.2, np.ones(21), "left")
    large = KeyPoints(RIGHT.joints2d * 1.5, np.ones(21), "left")
    assert choose_points([small, large, given(RIGHT)], [None, None, 0], (RIGHT, None))[1].points is large
    assert choose_points([], [], (None, None)) == (None, None)


def test_a_hand_that_only_the_network_sees_makes_room():
    pair = replace(RIGHT, score=0.7), replace(LEFT, score=0.5)
    sure = given(RIGHT, "left", 0.97)  # what the network calls the right hand is the left one: log odds 3.5
    right, left = choose_points([sure], [0], pair)
    assert left.points is sure and (right.points, right.match) == (None, 1)  # against 2.4 * 1.2 = 2.9
    right, left = choose_points([given(RIGHT, "left", 0.9)], [0], pair)  # log(9) = 2.2: not enough
    assert right.match == 0 and (left.points, left.match) == (None, 1)
    right, left = choose_points([given(RIGHT, "left", 0.9)], [None], pair)  # elsewhere: it takes its side
    assert (right.points, right.match) == (None, 0) and left.match is None


def test_no_evidence_changes_nothing():
    hands = scene(RIGHT, LEFT)
    model = Fake(hands)
    assert guide(model, hands, PICTURE, []) is hands
    unsure = KeyPoints(RIGHT.joints2d, np.full(21, 0.05), "right")
    assert guide(model, hands, PICTURE, [unsure]) is hands
    assert not model.calls


def test_the_hand_with_points_is_looked_at_in_their_box_and_drawn_to_them():
    hands, points = scene(RIGHT, LEFT), given(MORE_BENT)
    model = Fake(hands)
    after = guide(model, hands, PICTURE, [points])
    assert after.left is hands.left
    assert off(hands.right, points) > 6 and off(after.right, points) < 2
    ((boxes, there),) = model.calls
    assert there.tolist() == [True, True]
    low, size = points.points.min(0), np.ptp(points.points, 0)
    np.testing.assert_allclose(boxes[0], [*(low - 0.06 * size), *(1.12 * size)])  # grown as data.sample says
    np.testing.assert_allclose(boxes[1], LEFT.box)


def test_a_hand_that_has_just_left_the_picture_is_not_looked_at_again():
    gone = replace(LEFT, box=np.array([PICTURE.shape[1] + 2.0, 10, 40, 40]))
    hands = scene(RIGHT, gone)
    model = Fake(hands)
    after = guide(model, hands, PICTURE, [given(MORE_BENT)])
    ((_, there),) = model.calls
    assert there.tolist() == [True, False] and after.left is hands.left and off(after.right, given(MORE_BENT)) < 2


def test_a_hand_that_only_the_points_have_is_added():
    hands = scene(right=RIGHT)
    after = guide(Fake(hands), hands, PICTURE, [given(LEFT)])
    assert after.right is hands.right
    assert after.left is not None and off(after.left, given(LEFT)) < 2 and after.left.score == 1.0


def test_sure_points_turn_a_side_and_leave_no_second_hand_there():
    hands = scene(left=replace(RIGHT, side="left", score=0.3))  # the right hand taken for a left one
    after = guide(Fake(hands), hands, PICTURE, [given(RIGHT, "right", 0.97)])
    assert after.left is None and after.right is not None and off(after.right, given(RIGHT)) < 2
    told = guide(Fake(hands), hands, PICTURE, [given(RIGHT, "right", 0.97)], told=True)
    assert told.right is None and told.left is not None  # the user said which side it is


def test_two_swapped_sides_come_right_by_the_points_of_one_hand():
    """The network has both sides wrong; the points tell of one hand, and the other is looked at again as what is left."""
    hands = scene(right=replace(LEFT, side="right", score=0.4), left=replace(RIGHT, side="left", score=0.3))
    model = Fake(hands)
    after = guide(model, hands, PICTURE, [given(LEFT, "left", 0.97)])
    assert off(after.left, given(LEFT)) < 2 and after.right.score == 0.3
    ((boxes, there),) = model.calls
    assert there.all()
    np.testing.assert_allclose(boxes[0], RIGHT.box)


def test_told_boxes_add_no_hand_and_are_looked_at_once():
    hands = scene(right=RIGHT)
    model = Fake(hands)
    assert guide(model, hands, PICTURE, [given(LEFT)], told=True) is hands
    assert off(guide(model, hands, PICTURE, [given(MORE_BENT)], told=True).right, given(MORE_BENT)) < 2
    assert not model.calls


def test_told_boxes_hold_points_that_the_network_is_far_from():
    wrong = posed_hand(BENT, "right", turn((0, 0, 1), 180) @ PALM_TO_CAMERA, at=(-0.12, -0.1, 0.5))
    hands = scene(right=replace(wrong, box=RIGHT.box))
    assert match_places([given(RIGHT)], (hands.right, None)) == [None]
    after = guide(Fake(hands), hands, PICTURE, [given(RIGHT)], told=True)
    assert off(after.right, given(RIGHT)) < 4
    assert guide(Fake(hands), hands, PICTURE, [given(RIGHT, "left")], told=True) is hands


def test_a_video_follows_the_guided_hands():
    tracks = (Track(RIGHT.box, 4, 2.0), None)
    step = Step(scene(right=RIGHT), Following(tracks, 3, 1), False, (False, False))
    after = led(step, scene(MORE_BENT, LEFT))
    right, left = after.state.tracks
    np.testing.assert_allclose(right.box, next_box(MORE_BENT, CAMERA))
    assert (right.age, right.votes, left.age) == (4, 2.0, 1)
    assert after.fresh == (False, True)  # the left one was not there before
    np.testing.assert_allclose(left.box, next_box(LEFT, CAMERA))
    assert led(step, scene()).state.tracks == (None, None)


class FakeSolution:
    """mediapipe.solutions.hands.Hands: sees RIGHT and LEFT, and calls them as of a mirrored picture."""

    def __init__(self, **options):
        assert options["static_image_mode"] and options["max_num_hands"] == 2

    def process(self, image):
        assert image.dtype == np.uint8 and image.flags.c_contiguous
        height, width = image.shape[:2]
        point = lambda *p: SimpleNamespace(**dict(zip("xyz", p)))  # noqa: E731
        flat, deep, sides = [], [], []
        for hand, label, score in ((RIGHT, "Left", 0.9), (LEFT, "Right", 0.8)):
            uv = (hand.joints2d + 0.5) / (width, height)
            flat.append(SimpleNamespace(landmark=[point(*p, 0.0) for p in uv]))
            deep.append(SimpleNamespace(landmark=[point(*p) for p in hand.joints3d]))
            sides.append(SimpleNamespace(classification=[SimpleNamespace(label=label, score=score)]))
        return SimpleNamespace(multi_hand_landmarks=flat, multi_hand_world_landmarks=deep, multi_handedness=sides)


@pytest.fixture
def mediapipe(monkeypatch):
    module = ModuleType("mediapipe")
    module.solutions = SimpleNamespace(hands=SimpleNamespace(Hands=FakeSolution))
    monkeypatch.setitem(sys.modules, "mediapipe", module)


def test_mediapipe_speaks_of_mirrored_pictures(mediapipe):
    right, left = MediaPipeHands().see(PICTURE)
    assert (right.side, left.side) == ("right", "left")
    np.testing.assert_allclose(right.points, RIGHT.joints2d)
    np.testing.assert_allclose(left.world, LEFT.joints3d)
    first, second = MediaPipeHands().detections(PICTURE, CAMERA.K)
    assert (first.side, first.score, second.side, second.score) == (0, 0.9, 1, 0.8)
    np.testing.assert_allclose(second.box[2:], 1.12 * np.ptp(LEFT.joints2d, 0))


@pytest.mark.parametrize("module", [None, ModuleType("mediapipe")])  # not installed; too new
def test_without_mediapipe_it_is_said_how_to_install_it(module, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    for option in ("--evidence", "--finder"):
        assert (
            cli.main(["reconstruct", str(tmp_path / "a.png"), "--out", str(tmp_path / "o"), option, "mediapipe"]) == 2
        )
        said = capsys.readouterr().err
        assert "pip install --no-deps mediapipe==0.10.21" in said and said.count("\n") == 1


def reconstruct(monkeypatch, model, *words):
    monkeypatch.setattr(predict, "load", lambda weights="lgnet-mobile", device="auto", tta=1: model)
    return cli.main(["reconstruct", *map(str, words)])


def test_command_with_mediapipe(mediapipe, monkeypatch, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    model = Fake(scene(right=MORE_BENT))
    words = (tmp_path / "a.png", "--out", tmp_path, "--save", "json", "--evidence", "mediapipe")
    assert reconstruct(monkeypatch, model, *words) == 0
    hands = json.loads((tmp_path / "a.json").read_text())["hands"]
    assert [hand["side"] for hand in hands] == ["right", "left"]
    for hand, true in zip(hands, (RIGHT, LEFT)):
        assert np.linalg.norm(np.array(hand["joints2d"]) - true.joints2d, axis=1).mean() < 2


def test_command_with_a_file_where_one_picture_is_wrong(monkeypatch, tmp_path, capsys):
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), PICTURE)
    rows = RIGHT.joints2d.tolist()
    (tmp_path / "points.json").write_text(json.dumps({"a.png": {"right": rows}, "b.png": {"right": rows[:5]}}))
    words = (*(tmp_path / f"{n}.png" for n in "abc"), "--out", tmp_path, "--save", "json")
    model = Fake(scene(right=MORE_BENT))
    assert reconstruct(monkeypatch, model, *words, "--evidence", tmp_path / "points.json") == 1
    said = capsys.readouterr().err
    assert "b.png: the right hand: a hand has 21 joints, not 5" in said and said.count("\n") == 1
    seen = {n: json.loads((tmp_path / f"{n}.json").read_text())["hands"][0]["joints2d"] for n in "ac"}
    assert np.linalg.norm(np.array(seen["a"]) - RIGHT.joints2d, axis=1).mean() < 2
    assert seen["c"] == MORE_BENT.joints2d.tolist()  # nothing is known of it
    assert reconstruct(monkeypatch, model, *words, "--evidence", tmp_path / "none.json") == 2


def test_the_nearest_of_all_people_is_the_one_that_is_guided(mediapipe, monkeypatch, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    words = (tmp_path / "a.png", "--out", tmp_path, "--save", "json", "--people", "all", "--evidence", "mediapipe")
    assert reconstruct(monkeypatch, Fake(scene(right=MORE_BENT)), *words) == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["people"][0]["hands"] == result["hands"] and len(result["people"]) == 2
    away = np.array(result["hands"][0]["joints2d"]) - RIGHT.joints2d
    assert np.linalg.norm(away, axis=1).mean() < 2


def test_command_with_a_video(mediapipe, monkeypatch, tmp_path):
    (tmp_path / "film").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "film" / f"{number}.png"), PICTURE)
    rows = MORE_BENT.joints2d.tolist()
    (tmp_path / "points.json").write_text(json.dumps({"film": [None, {"right": rows}, {"right": rows}]}))
    words = (tmp_path / "film", "--sequence", "--out", tmp_path, "--save", "json", "--smooth", "off")
    assert reconstruct(monkeypatch, Fake(scene(right=RIGHT)), *words, "--evidence", tmp_path / "points.json") == 0
    lines = [json.loads(line) for line in (tmp_path / "film.jsonl").read_text().splitlines()]
    away = [np.abs(np.array(line["hands"][0]["joints2d"]) - MORE_BENT.joints2d).max() for line in lines]
    assert away[0] > 10 and max(away[1:]) < 5


def test_a_stream_sends_the_guided_hands(tmp_path):
    """Asked of every frame by its number, and followed where the points led."""
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), PICTURE)
    asked = []

    def source(image, item, number):
        asked.append(number)
        return [given(MORE_BENT)] if number else []

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        to = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        model, items = Fake(scene(right=RIGHT)), expand_inputs([str(tmp_path)], sequence=True)
        stream(model, items[0], [to], Way(space="camera"), how="off", evidence=source)
        packets = [read_packet(receiver.recv(65536)) for _ in range(3)]
    assert asked == [0, 1, 2]
    tips = [project(packet.hands[0].joints.positions[[5, 10, 15, 20, 25]], CAMERA.K) for packet in packets]
    away = [np.abs(t - MORE_BENT.joints2d[[4, 8, 12, 16, 20]]).max() for t in tips]
    assert away[0] > 10 and max(away[1:]) < 6
    np.testing.assert_allclose(model.calls[-1][0][0], MORE_BENT.box, atol=60)


def test_in_a_video_the_hands_drawn_to_key_points_get_one_crop_too(monkeypatch, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), PICTURE)
    crops = []
    monkeypatch.setattr(moving, "guide", lambda model, hands, image, points: crops.append(model.tta) or hands)
    model, items = lgnet.load(tta=3), expand_inputs([str(tmp_path)], sequence=True)
    work.reconstruct(model, items, tmp_path / "out", ["json"], evidence=lambda image, item, number: [])
    assert crops == [1] and (tmp_path / "out").is_dir()


def test_mediapipe_itself():
    pytest.importorskip("mediapipe")
    from importlib import resources

    picture = cv2.imread(str(resources.files("lgnet") / "examples" / "apart.jpg"))[..., ::-1]
    seen = MediaPipeHands().see(picture)
    assert sorted(one.side for one in seen) == ["left", "right"]
    for one in seen:
        assert one.points.min() > -1 and 0.05 < np.ptp(one.world, 0).max() < 0.3


def test_of_all_people_each_is_drawn_to_the_points_at_their_place():
    far = posed_hand(BENT, "right", at=(0.5, 0.05, 1.2))
    near, second = scene(RIGHT, LEFT), scene(right=far)
    moved = replace(far, joints2d=far.joints2d + (6, 0))
    after = guide(Fake(near), replace(near, people=(replace(near, file=None), second)), PICTURE, [given(moved)])
    assert after.people[0].right is near.right and after.people[0].left is near.left and len(after.people) == 2
    assert after.right is near.right  # the nearest pair is `hands` still
    assert after.file == near.file == "posed"
    assert after.people[1].right is not far
    nobodys = given(replace(RIGHT, joints2d=RIGHT.joints2d + (0, 300)))
    more = guide(Fake(near), replace(near, people=(replace(near, file=None), second)), PICTURE, [nobodys])
    assert len(more.people) == 3 and {id(near.right), id(far)} <= {id(hand) for hand in more.everyone}
    assert len(guide(Fake(near), replace(scene(), people=()), PICTURE, []).hands) == 0
