import json

import numpy as np

from lgnet.hands import BONES, JOINT_NAMES, JOINT_PARENTS, ROTATION_NAMES, ROTATION_PARENTS, Camera, Hand, TwoHands


def hand(side: str, x: float) -> Hand:
    return Hand(
        side=side,
        score=0.75,
        box=np.array([1.0, 2.0, 3.0, 4.0], np.float32),
        joints2d=np.zeros((21, 2), np.float32),
        joints3d=np.full((21, 3), x),
        vertices=np.zeros((5, 3)),
        vertices_rough=np.zeros((5, 3)),
        faces=np.zeros((2, 3), int),
        pose=np.zeros((16, 3)),
        shape=np.zeros(10),
        translation=np.array([x, 0.0, 0.5]),
    )


def two(right: Hand | None, left: Hand | None) -> TwoHands:
    return TwoHands(right, left, 640, 480, Camera(500, 501, 320, 240, True), "a.jpg", {"weights": "w"})


def test_joint_order_is_the_public_one():
    assert len(JOINT_NAMES) == 21
    assert JOINT_NAMES[0] == "wrist"
    assert JOINT_NAMES[1:5] == ("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip")
    assert JOINT_NAMES[9] == "middle_mcp"
    assert JOINT_NAMES[17:] == ("little_mcp", "little_pip", "little_dip", "little_tip")
    assert JOINT_PARENTS == (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
    assert len(BONES) == 20


def test_rotations_are_the_joints_that_turn():
    assert len(ROTATION_NAMES) == 16
    assert ROTATION_NAMES[1:7] == ("thumb_cmc", "thumb_mcp", "thumb_ip", "index_mcp", "index_pip", "index_dip")
    assert ROTATION_PARENTS == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)


def test_hands_come_right_first_and_relative_translation_is_left_minus_right():
    both = two(hand("right", 0.1), hand("left", 0.3))
    assert [h.side for h in both.hands] == ["right", "left"]
    np.testing.assert_allclose(both.relative_translation, [0.2, 0, 0], atol=1e-12)
    assert two(None, hand("left", 0.3)).relative_translation is None
    assert two(None, None).hands == ()


def test_dict_is_plain_json_of_the_schema():
    content = json.loads(json.dumps(two(hand("right", 0.1), hand("left", 0.3)).to_dict(), allow_nan=False))
    assert content["schema"] == "lgnet/1"
    assert content["image"] == {"file": "a.jpg", "width": 640, "height": 480}
    assert content["camera"] == {"fx": 500, "fy": 501, "cx": 320, "cy": 240, "assumed": True}
    assert [h["side"] for h in content["hands"]] == ["right", "left"]
    first = content["hands"][0]
    assert set(first) == {"side", "score", "box", "joints2d", "joints3d", "pose", "shape", "translation"}
    assert np.shape(first["joints2d"]) == (21, 2)
    assert np.shape(first["joints3d"]) == (21, 3)
    assert np.shape(first["pose"]) == (16, 3)
    assert first["box"] == [1, 2, 3, 4]
    np.testing.assert_allclose(content["relative_translation"], [0.2, 0, 0])
    assert two(None, None).to_dict()["relative_translation"] is None
    assert two(None, None).to_dict()["hands"] == []
