import json

import numpy as np
import pytest

from lgnet.image_io import Item
from lgnet.keypoint_files import SIDE_SCORE, parse_hands, read_key_points

PHOTO = Item("in/photo.jpg", "photo", "image")
OTHER = Item("in/other.jpg", "other", "image")
FILM = Item("in/film.mp4", "film", "video")
PICTURE = np.zeros((100, 200, 3), np.uint8)
RIGHT = np.column_stack([10.0 + np.arange(21), 50.0 - np.arange(21), np.linspace(1, 0.2, 21)])
LEFT = RIGHT + (100, 0, 0)


def look(path, item=PHOTO, items=None, frame=0):
    return read_key_points(path, items or [item])(PICTURE, item, frame)


def check(hands, sides=("right", "left")):
    """They are RIGHT and LEFT."""
    assert sorted(map(str, (hand.side for hand in hands))) == sorted(map(str, sides))
    for hand in hands:
        rows = LEFT if hand.side == "left" else RIGHT
        np.testing.assert_allclose(hand.points, rows[:, :2])
        np.testing.assert_allclose(hand.confidence, rows[:, 2])
        assert hand.score == SIDE_SCORE


def whole_body() -> np.ndarray:
    rows = np.full((133, 3), -7.0)
    rows[91:112], rows[112:133] = LEFT, RIGHT  # 17 of the body, 6 of the feet, 68 of the face come before
    return rows


def openpose(**more):
    person = {
        "person_id": [-1],
        "pose_keypoints_2d": [0.0] * 75,
        "hand_left_keypoints_2d": LEFT.ravel().tolist(),
        "hand_right_keypoints_2d": RIGHT.ravel().tolist(),
    }
    return {"version": 1.3, "people": [person], **more}


def mmpose():
    rows = whole_body()
    return {"keypoints": rows[:, :2].tolist(), "keypoint_scores": rows[:, 2].tolist(), "bbox": [[0, 0, 9, 9]]}


LAYOUTS = {
    "our own": {"right": RIGHT.tolist(), "left": LEFT.tolist()},
    "OpenPose": openpose(),
    "DWPose for image generators": [openpose(canvas_width=200, canvas_height=100)],
    "MMPose": [mmpose()],
    "MMPose's meta": {"meta_info": {}, "instance_info": [mmpose()]},
    "COCO's results": [
        {"image_id": 7, "lefthand_kpts": LEFT.ravel().tolist(), "righthand_kpts": RIGHT.ravel().tolist()}
    ],
    "COCO's flat": [{"image_id": "photo", "keypoints": whole_body().ravel().tolist(), "score": 0.9}],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_picture_in_every_layout(layout, tmp_path):
    path = tmp_path / "photo.json"
    item = Item("in/000007.jpg", "000007", "image") if layout == "COCO's results" else PHOTO
    path.write_text(json.dumps(LAYOUTS[layout]))
    check(look(path, item))


@pytest.mark.parametrize("layout", ["our own", "OpenPose", "MMPose"])
def test_several_pictures_by_name(layout, tmp_path):
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"photo.jpg": LAYOUTS[layout], "nobody.jpg": LAYOUTS[layout]}))
    check(look(path, items=[PHOTO, OTHER]))
    assert look(path, OTHER, items=[PHOTO, OTHER]) == []


@pytest.mark.parametrize("name", ["photo_keypoints.json", "photo.json"])
def test_a_folder_with_a_file_a_picture(name, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_text(json.dumps(openpose()))
    check(look(tmp_path, Item("in/sub/photo.jpg", "sub/photo", "image")))
    check(look(tmp_path / "sub", Item("in/sub/photo.jpg", "sub/photo", "image")))


def test_frames_of_a_video(tmp_path):
    (tmp_path / "film_000000000002_keypoints.json").write_text(json.dumps(openpose()))
    (tmp_path / "film_000000000003_keypoints.json").write_text(json.dumps({"people": []}))
    check(look(tmp_path, FILM, frame=2))
    assert look(tmp_path, FILM, frame=3) == look(tmp_path, FILM, frame=9) == []
    frames = [{"frame_id": 1, "instances": []}, {"frame_id": 2, "instances": [mmpose()]}]
    path = tmp_path / "film.json"
    path.write_text(json.dumps({"meta_info": {}, "instance_info": frames}))
    assert look(path, FILM, frame=0) == []
    check(look(path, FILM, frame=1))
    path.write_text(json.dumps({"film.mp4": [None, LAYOUTS["our own"]]}))
    check(look(path, FILM, frame=1))
    assert look(path, FILM, frame=0) == look(path, FILM, frame=2) == []


def test_points_of_a_canvas_and_of_a_unit_square_become_pixels():
    half = openpose(canvas_width=400, canvas_height=50)
    points = parse_hands(half, 200, 100)[0].points
    np.testing.assert_allclose(points[3] + 0.5, (RIGHT[3, :2] + 0.5) * (0.5, 2))
    unit = openpose()
    person = unit["people"][0]
    person["hand_left_keypoints_2d"] = None  # a hand that was not seen
    shares = (RIGHT + (0.5, 0.5, 0)) / (200, 100, 1)  # of the way from edge to edge
    person["hand_right_keypoints_2d"] = shares.ravel().tolist()
    for content in (unit, {"right": [*shares[:-1].tolist(), None]}):  # MediaPipe's own numbers are shares too
        (hand,) = parse_hands(content, 200, 100)
        np.testing.assert_allclose(hand.points[:-1], RIGHT[:-1, :2])
    moved = shares - (shares[:, 0].min() + 0.02, 0, 0)  # one joint is outside of the picture, as MediaPipe tells it too
    (hand,) = parse_hands({"right": moved.tolist()}, 200, 100)
    np.testing.assert_allclose(hand.points, moved[:, :2] * (200, 100) - 0.5)


def test_hands_of_unknown_side_and_points_that_are_not_known():
    rows = RIGHT.tolist()
    rows[4] = None
    (hand,) = parse_hands({"right": rows, "left": None}, 200, 100)
    assert not hand.sure[4] and hand.sure.sum() == 20 and hand.confidence[4] == 0
    (hand,) = parse_hands([{"keypoints": RIGHT[:, :2].tolist(), "keypoint_scores": [3.0] * 21}], 200, 100)
    assert hand.side is None and (hand.confidence == 1).all()  # SimCC's scores may be above 1
    assert parse_hands({"people": [{"hand_left_keypoints_2d": [0.0] * 63}]}, 200, 100) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"right": RIGHT[:20].tolist()}, "the right hand: a hand has 21 joints, not 20"),
        ([{"keypoints": RIGHT[:17, :2].tolist()}], "person 1 has 17 keypoints; 133 of COCO-WholeBody or 21"),
        ([{"keypoints": RIGHT[:, :2].tolist(), "keypoint_scores": [1]}], "21 keypoints and 1 keypoint_scores"),
        ([{"bbox": []}], 'person 1 has no "keypoints"'),
        ({"people": 3}, '"people" is a list'),
        ({"right": [["a", 1]] * 21}, "the right hand: these are not rows"),
        ({"right": {"a": 1}}, "the right hand: these are no list"),
        ({"people": [], "canvas_width": [1]}, "canvas_width and canvas_height are no numbers"),
        (
            {"people": [], "canvas_width": -5, "canvas_height": 1e-300},
            "are at least 1 and at most 1,000,000, not [-5.0, 1e-300]",
        ),
        ({"people": [], "canvas_width": 1e308}, "at most 1,000,000, not [1e+308"),
        (
            [{"keypoints": RIGHT[:, :2].tolist(), "keypoint_scores": {"a": 1}}],
            "keypoint_scores of person 1 are no numbers",
        ),
        (7, "these are no key points of hands"),
    ],
)
def test_what_is_wrong_is_said_of_the_picture(content, said, tmp_path):
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"photo.jpg": content}))
    with pytest.raises(ValueError) as error:
        look(path, items=[PHOTO, OTHER])
    assert said in str(error.value) and "all.json of in/photo.jpg" in str(error.value)


def test_files_that_say_nothing_of_the_inputs(tmp_path):
    path = tmp_path / "a.json"
    for text, said in (("{", "are not JSON"), ('{"x.jpg": []}', "belong to none of the inputs")):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            look(path)
    with pytest.raises(ValueError, match="cannot be read"):
        look(tmp_path / "missing.json")
    with pytest.raises(ValueError, match="belong to none"):
        look(tmp_path)


def test_a_bare_name_is_nobodys_where_two_inputs_have_it(tmp_path):
    two = [Item("in/photo.jpg", "photo", "image"), Item("in/sub/photo.jpg", "sub/photo", "image")]
    path = tmp_path / "all.json"
    for key, of in (("photo.jpg", 0), ("sub/photo.jpg", 1), ("in/sub/photo.jpg", 1)):
        path.write_text(json.dumps({key: LAYOUTS["our own"]}))
        check(look(path, two[of], items=two))
        assert look(path, two[1 - of], items=two) == []
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.json").write_text(json.dumps(LAYOUTS["our own"]))
    check(look(tmp_path / "folder", two[0], items=two))
    assert look(tmp_path / "folder", two[1], items=two) == []


@pytest.mark.parametrize(("numbers", "seen"), [((3, 5), (2, 4)), ((0, 2), (0, 2))])
def test_frames_of_mmpose_are_those_that_it_numbers(numbers, seen, tmp_path):
    path = tmp_path / "film.json"
    path.write_text(json.dumps({"instance_info": [{"frame_id": n, "instances": [mmpose()]} for n in numbers]}))
    assert [frame for frame in range(7) if look(path, FILM, frame=frame)] == list(seen)
