"""From pictures to hands with an untrained network: frames, sides and files; not accuracy."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_image_io import exif_block
from test_outputs import hand as hand_of

import lgnet
from lgnet.checkpoint import save_weights
from lgnet.confidence import Calibration, features
from lgnet.detect import build_detector
from lgnet.finder import Finder, bundled
from lgnet.hand_model import hand_length, load_hand_model
from lgnet.hands import Camera, TwoHands, assumed_camera
from lgnet.model.network import build_network
from lgnet.pair import build_pair_net
from lgnet.place import place_hands
from lgnet.predict import Model, View, fingerprint, load
from lgnet.presets import MODELS
from lgnet.side import build_side_net


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    config = MODELS["lgnet-mobile"]
    network = build_network(config).eval()
    hands = (load_hand_model("lgnet", "right"), load_hand_model("lgnet", "left"))
    return Model(
        network,
        config,
        Finder(build_detector().eval(), build_side_net().eval(), build_pair_net().eval()),
        hands,
        "untrained",
    )


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


BOXES = np.array([[60.0, 70, 80, 90], [170.0, 60, 90, 100]])


def test_results_agree_with_themselves(model, picture):
    hands = model.predict(picture, Camera(300, 300, 159.5, 119.5), BOXES)
    for hand, side in ((hands.right, "right"), (hands.left, "left")):
        assert hand.side == side
        np.testing.assert_allclose(hand.joints3d[0], hand.translation, atol=1e-9)
        assert hand.vertices.shape == hand.vertices_rough.shape == (len(load_hand_model().template), 3)
        assert hand.translation[2] > 0
        seen = 300 * hand.joints3d[:, :2] / hand.joints3d[:, 2:] + (159.5, 119.5)
        np.testing.assert_allclose(hand.joints2d, seen, atol=1e-6)
        # the rough mesh is the hand model in the stated pose and shape, at the stated place, of the stated side
        from lgnet.geometry import rotvec_to_matrix
        from lgnet.hand_model import pose_hand

        posed = pose_hand(
            load_hand_model("lgnet", side),
            rotvec_to_matrix(torch.from_numpy(hand.pose).float()),
            torch.from_numpy(hand.shape).float(),
        )
        np.testing.assert_allclose(posed.vertices.numpy() + hand.translation, hand.vertices_rough, atol=1e-4)
    np.testing.assert_allclose(hands.relative_translation, hands.left.translation - hands.right.translation)


def test_flipped_picture_gives_flipped_hands(model, picture):
    """With crops the two slots share everything, so a mirrored picture must give the mirrored answer exactly."""
    camera = Camera(300, 300, 159.5, 119.5)
    hands = model.predict(picture, camera, BOXES)
    boxes = BOXES[::-1].copy()
    boxes[:, 0] = 319 - boxes[:, 0] - boxes[:, 2]
    flipped = model.predict(np.ascontiguousarray(picture[:, ::-1]), camera, boxes)
    sign = np.array([-1.0, 1, 1])
    np.testing.assert_allclose(
        flipped.left.joints3d - flipped.left.translation,
        (hands.right.joints3d - hands.right.translation) * sign,
        atol=2e-3,
    )
    np.testing.assert_allclose(flipped.right.joints2d[:, 0], 319 - hands.left.joints2d[:, 0], atol=2, rtol=0.03)


def test_one_given_box_gives_one_hand(model, picture):
    hands = model.predict(picture, None, BOXES, np.array([False, True]))
    assert hands.right is None
    assert hands.left is not None
    assert hands.camera.assumed
    assert hands.relative_translation is None


def test_nothing_found_is_no_hands(model):
    assert model.predict(np.zeros((50, 60, 3), np.uint8)).to_dict()["hands"] == []


def test_a_picture_alone_or_in_a_batch_is_the_same():
    examples = Path(lgnet.__file__).parent / "examples"
    model, paths = load(device="cpu"), [examples / name for name in ("apart.jpg", "single.jpg", "crossed.jpg")]
    for path, together in zip(paths, model.batch(paths), strict=True):
        alone = model(path)
        assert (together.file, together.camera) == (alone.file, alone.camera) == (str(path), together.camera)
        assert [h.side for h in together.hands] == [h.side for h in alone.hands] != []
        for one, other in zip(together.hands, alone.hands):
            np.testing.assert_allclose(one.vertices, other.vertices, atol=1e-4)


def test_assumed_camera_sees_sixty_degrees():
    camera = assumed_camera(200, 100)
    assert camera.assumed
    assert np.rad2deg(2 * np.arctan(100 / camera.fx)) == pytest.approx(60)
    assert (camera.cx, camera.cy) == (99.5, 49.5)


@pytest.mark.parametrize("bad", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_not_a_picture(model, bad):
    with pytest.raises(ValueError, match="a picture is an array"):
        model.predict(bad)


@pytest.mark.parametrize("bad", [None, [1, 2], torch.zeros(3, 5, 5)])
def test_not_a_kind_of_picture(model, bad):
    with pytest.raises(ValueError, match="a picture is a path, an"):
        model(bad)


def test_boxes_that_are_none(model, picture):
    for boxes, given in ((np.ones(4), None), (np.ones((1, 4)), None), (BOXES, [True])):
        with pytest.raises(ValueError, match=r"boxes are \(2, 4\) and given is \(2,\)"):
            model.predict(picture, boxes=boxes, given=given)


def test_a_pillow_image_is_read_as_its_file_is(model, tmp_path):
    rng = np.random.default_rng(3)
    turned, deep = tmp_path / "turned.png", tmp_path / "deep.png"
    Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(turned, exif=exif_block(6, 36))
    Image.fromarray(rng.integers(0, 65535, (48, 64)).astype(np.uint16)).save(deep)
    for path in (turned, deep):
        with Image.open(path) as image:
            by_image, by_path = model(image), model(path)
        assert by_image.camera == by_path.camera
        assert (by_image.width, by_image.height) == (by_path.width, by_path.height)
        assert json.dumps(replace(by_image, file=None).to_dict()) == json.dumps(replace(by_path, file=None).to_dict())
    assert (model(turned).width, model(turned).camera.assumed) == (48, False)


def test_weights_by_path_and_by_name(tmp_path):
    config = MODELS["lgnet-mobile"]
    path = tmp_path / "mine.safetensors"
    save_weights(path, build_network(config), config, {"name": "mine"}, half=True)
    assert load(str(path), "cpu").name == load(path, "cpu").name == "mine"
    with pytest.raises(ValueError, match="there are no weights 'nonsense'"):
        bundled("nonsense")
    with pytest.raises(ValueError, match="no device 'abacus'"):
        load(str(path), "abacus")
    if not torch.backends.mps.is_available():
        with pytest.raises(ValueError, match="no Apple MPS device"):
            load(path, "mps")


def test_a_given_hand_length_sets_size_and_distance(model, picture):
    """Twice the length asked for: all of space is twice as large, and the picture is the same."""
    camera = Camera(300, 300, 159.5, 119.5)
    small, large = (replace(model, hand_length=length).predict(picture, camera, BOXES).hands for length in (0.1, 0.2))
    for one, two in zip(small, large):
        own = hand_length(load_hand_model("lgnet", one.side), torch.from_numpy(one.shape).float())
        assert one.scale == pytest.approx(0.1 / float(own)) and two.scale == pytest.approx(0.2 / float(own))
        np.testing.assert_allclose(two.shape, one.shape)
        # the bones of the straight hand: the model's own, scaled; those of the rough mesh's size too
        np.testing.assert_allclose(np.ptp(two.vertices, 0), 2 * np.ptp(one.vertices, 0), rtol=1e-6)
        np.testing.assert_allclose(np.ptp(two.vertices_rough, 0), 2 * np.ptp(one.vertices_rough, 0), rtol=1e-6)
    single = np.array([True, False])
    alone = [replace(model, hand_length=n).predict(picture, camera, BOXES, single).right for n in (0.1, 0.2)]
    np.testing.assert_allclose(alone[1].translation, 2 * alone[0].translation, rtol=1e-4)
    np.testing.assert_allclose(alone[1].joints2d, alone[0].joints2d, atol=1e-3)
    assert model.predict(picture, camera, BOXES).right.scale == 1
    assert "scale" in TwoHands(alone[0], None, 320, 240, camera).to_dict()["hands"][0]


def test_two_hands_of_a_given_length_stand_as_the_network_says(model, picture):
    """The two wrists' distance grows with the hands: the placing is told lengths and relative translation alike."""
    told = []

    def place(joints2d, joints3d, crops, relative, *more):
        told.append((joints3d, relative))
        return place_hands(joints2d, joints3d, crops, relative, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lgnet.predict.place_hands", place)
        plain = model.predict(picture, None, BOXES)
        scaled = replace(model, hand_length=0.2).predict(picture, None, BOXES)
    factors = [
        0.2 / float(hand_length(load_hand_model("lgnet", h.side), torch.from_numpy(h.shape).float()))
        for h in plain.hands
    ]
    for side in (0, 1):
        np.testing.assert_allclose(told[1][0][side], told[0][0][side] * factors[side], rtol=1e-6)
    np.testing.assert_allclose(told[1][1], told[0][1] * np.mean(factors), rtol=1e-6)
    assert [h.scale for h in scaled.hands] == pytest.approx(factors)


def test_doubtful_boxes_leave_out_what_the_network_does_not_see(model, picture):
    """Given boxes count as sure; doubtful ones carry the network's own presence, and go where it is below the least."""
    sure = model.predict(picture, None, BOXES)
    assert [h.score for h in sure.hands] == [1, 1]
    presence = []
    for least, seen in ((-1.0, 2), (2.0, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lgnet.predict.LEAST_PRESENCE", least)
            (doubted,) = model.predict_same([picture], None, BOXES, np.ones(2, bool))
        assert len(doubted.hands) == seen
        presence += [hand.score for hand in doubted.hands]
    assert all(0 < score < 1 for score in presence)
    between = sum(presence) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lgnet.predict.LEAST_PRESENCE", between)
        (doubted,) = model.predict_same([picture], None, BOXES, np.ones(2, bool))
    assert [hand.score for hand in doubted.hands] == [score for score in presence if score > between]


CAMERA = Camera(300, 300, 159.5, 119.5)


def told_by_joint(model):
    """A calibration that expects (0.01 + 0.001 j) m and (0.1 + 0.01 j) half crops of joint j, whatever is seen; and these."""
    view = View(np.zeros((240, 320, 3), np.uint8), CAMERA, BOXES, np.ones(2, bool), np.ones(2))
    inputs, _ = model._inputs([view], [0.0])
    count = features(inputs, model._forward(inputs)).shape[-1]
    hidden = torch.zeros(21, count)
    hidden[:, -21:] = 10 * torch.eye(21)  # each unit sees whether it is its joint: 0 or 1
    wanted = torch.stack([0.01 + 0.001 * torch.arange(21), 0.1 + 0.01 * torch.arange(21)])
    nothing = torch.zeros(count), torch.ones(count)
    return Calibration(*nothing, hidden, torch.zeros(21), wanted.log(), torch.zeros(2)), wanted.numpy()


@pytest.mark.parametrize("tta", [1, 3])
def test_expected_errors_go_where_they_belong(model, picture, monkeypatch, tta):
    """Metres to the results, half crops to the placing, by joint, and each picture's own."""
    calibration, wanted = told_by_joint(model)
    told = replace(model, calibration=calibration, tta=tta)
    given = []

    def place(joints2d, joints3d, crops, relative, errors=None):
        given.append(errors)
        return place_hands(joints2d, joints3d, crops, relative, errors)

    monkeypatch.setattr("lgnet.predict.place_hands", place)
    hands = told.predict(picture, None, BOXES)
    np.testing.assert_allclose(given[0], np.stack([wanted[1]] * 2), rtol=1e-3)
    expected = wanted[0].copy()
    expected[0] = 0  # the wrist is what errors are relative to
    for hand in hands.hands:
        np.testing.assert_allclose(hand.joint_errors, expected, rtol=1e-3)
    # errors of several pictures: each has the mean of its own crops
    views = [View(picture, CAMERA, BOXES, np.ones(2, bool), np.ones(2)) for _ in range(2)]
    count = iter(range(99))

    def errors(inputs, output):
        rows = len(inputs.images)
        return np.repeat(np.arange(rows, dtype=float)[:, None] + next(count), 2 * 21 * 2, 1).reshape(rows, 2, 21, 2) + 1

    monkeypatch.setattr(Model, "_errors", lambda self, inputs, output: errors(inputs, output))
    given.clear()
    told._run(views, False, tta)
    assert [float(e[0, 0]) for e in given] == [np.mean(np.arange(tta)) + 1, np.mean(np.arange(tta)) + tta + 1]


def test_everyone_is_found_the_nearest_first(model, picture, monkeypatch):
    """People by how far away their nearest hand is; without those none of whose hands is sure, but for the surest."""

    def person(*hands: tuple[str, float, float]) -> TwoHands:
        sides = {side: replace(hand_of(side), score=score, translation=np.array([0, 0, z])) for side, score, z in hands}
        return TwoHands(sides.get("right"), sides.get("left"), 320, 240, CAMERA)

    pair, single = person(("right", 0.4, 0.9), ("left", 0.1, 0.6)), person(("left", 0.9, 0.7))
    unsure, unseen = person(("right", 0.2, 0.3)), person()
    asked = []
    monkeypatch.setattr(Finder, "everyone", lambda self, image, K: asked.append(K) or [[]] * len(seen))
    monkeypatch.setattr(Model, "_run", lambda self, views, drop, tta: seen)
    everyone = replace(model, everyone=True)
    seen = [single, unsure, unseen, pair]
    found = everyone.predict(picture, CAMERA, file="crowd")
    assert found.people == (pair, single) and found.file == "crowd"
    assert (found.right, found.left) == (pair.right, pair.left)
    np.testing.assert_array_equal(asked[0], CAMERA.K)
    seen = [unsure, person(("left", 0.1, 0.2))]
    assert everyone.predict(picture, CAMERA).people == (unsure,)  # nobody is sure: the surest
    seen = [unseen]
    assert everyone.predict(picture, CAMERA).people == everyone.predict(picture, CAMERA).hands == ()
    with pytest.raises(ValueError, match="lgnet's own finder only"):
        replace(everyone, finder=None).predict(picture, CAMERA)


def test_the_fingerprint_tells_another_calibration():
    model = load("lgnet-mobile", device="cpu")
    assert model.calibration is not None
    assert fingerprint(model) == fingerprint(load("lgnet-mobile", device="cpu"))
    assert len({fingerprint(m) for m in (model, replace(model, calibration=None), replace(model, finder=None))}) == 3
