"""Maps of parts, texture coordinates and for generators: values worked by hand, and the same at a pixel in all of them."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from posing import posed_hand, scene, turn

from lgnet import maps, outputs
from lgnet.hand_model import load_hand_model
from lgnet.hands import ROTATION_NAMES

FLAT = np.zeros((15, 3))
RIGHT = posed_hand(FLAT, "right", at=(-0.1, 0.05, 0.5))
LEFT = posed_hand(FLAT, "left", at=(0.1, 0.05, 0.5))
BOTH = scene(RIGHT, LEFT)


def at(picture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    u, v = np.round(uv).astype(int)
    return picture[v, u]


def test_parts_are_where_the_joints_are():
    parts = maps.part_map(BOTH)
    for hand, first in ((RIGHT, 1), (LEFT, 17)):
        seen = hand.joints2d
        assert at(parts, (seen[0] + seen[9]) / 2) == first  # the palm is the wrist's
        for finger in range(5):
            tips = [seen[4 * finger + j] for j in range(2, 5)]
            for bone in (1, 2):
                middle = (tips[bone - 1] + tips[bone]) / 2
                name = ROTATION_NAMES[int(at(parts, middle)) - first]
                assert name == ROTATION_NAMES[1 + 3 * finger + bone], (hand.side, finger, bone)


def test_all_maps_have_one_silhouette():
    near = posed_hand(FLAT, "left", turn((0, 0, 1), 40) @ np.diag([1.0, -1.0, -1.0]), at=(-0.05, 0.05, 0.4))
    hands = scene(RIGHT, near)
    pictures = maps.all_maps(hands, set(maps.MAPS))
    assert set(pictures) == {"_depth", "_normal", "_mask", "_part", "_uv", "_control_depth", "_control_normal"}
    mask = pictures["_mask"]
    assert {0, 1, 2} == set(np.unique(mask))
    shown = mask > 0
    for ending, background in (("_depth", 0), ("_normal", 0), ("_part", 0), ("_control_depth", 0)):
        picture = pictures[ending]
        np.testing.assert_array_equal((picture != background).reshape(*mask.shape, -1).any(-1), shown, ending)
    np.testing.assert_array_equal(pictures["_uv"][..., 2], mask)
    np.testing.assert_array_equal((pictures["_part"] > 16), mask == 2)
    assert (pictures["_control_normal"][~shown] == (128, 128, 255)).all()
    depth = pictures["_depth"][shown & (mask == 2)]
    assert depth.max() < 480  # the near hand covers the far one, at 500 mm
    assert pictures["_control_depth"].max() == 255
    assert pictures["_control_depth"][shown].min() == 51
    order = np.argsort(pictures["_depth"][shown], kind="stable")
    assert (np.diff(pictures["_control_depth"][shown][order].astype(int)) <= 3).all()  # nearer is brighter


def test_uv_leads_back_to_the_vertex():
    """At the pixel of a vertex that is seen, the texture coordinates are that vertex's, up to a pixel's width."""
    uv = maps.uv_map(BOTH)
    depth = maps.depth_map(BOTH)
    for hand, label in ((RIGHT, 1), (LEFT, 2)):
        model = load_hand_model("lgnet", hand.side)
        faces, uv_faces = model.faces.numpy(), model.uv_faces.numpy()
        flat = np.full((len(hand.vertices), 2), np.nan)
        flat[faces[: len(uv_faces)].ravel()] = model.uvs.numpy()[uv_faces.ravel()]
        pixel = hand.vertices[:, :2] / hand.vertices[:, 2:] * 600 + (319.5, 239.5)
        place = np.round(pixel).astype(int)
        value = uv[place[:, 1], place[:, 0]]
        seen = np.abs(depth[place[:, 1], place[:, 0]] - 1000 * hand.vertices[:, 2]) < 1.5
        seen &= (value[:, 2] == label) & np.isfinite(flat[:, 0])
        assert seen.sum() > 300
        off = np.abs(value[seen, :2] / 65535 - flat[seen]).max(1)
        assert np.quantile(off, 0.9) < 0.004  # the hand's atlas is 0.19 wide and some 150 pixels


def test_generators_normals_are_left_up_and_towards_the_viewer():
    plain, control = maps.normal_map(BOTH).astype(int), maps.control_normal(BOTH).astype(int)
    shown = maps.mask(BOTH) > 0
    assert np.abs(plain[shown] + control[shown] - 255).max() <= 1  # the opposite of camera x right, y down, z forward
    columns = np.nonzero(shown.any(0))[0]
    palm = at(control, RIGHT.joints2d[[0, 9]].mean(0))
    assert palm[2] > 200  # it faces the viewer
    row = int(RIGHT.joints2d[9, 1])
    first = np.nonzero(shown[row])[0][0]
    assert control[row, first, 0] > 140  # the left edge of the hand looks left
    assert len(columns)


def test_part_files_have_indices_and_colours(tmp_path):
    image = np.zeros((480, 640, 3), np.uint8)
    outputs.save(BOTH, image, tmp_path / "a", ("part", "uv", "mask"))
    picture = Image.open(tmp_path / "a_part.png")
    parts = np.asarray(picture)
    np.testing.assert_array_equal(parts, maps.part_map(BOTH))
    colours = cv2.imread(str(tmp_path / "a_part.png"))[..., ::-1]
    np.testing.assert_array_equal(colours, maps.palette()[parts])
    assert len({tuple(c) for c in maps.palette()}) == 33
    uv = cv2.imread(str(tmp_path / "a_uv.png"), cv2.IMREAD_UNCHANGED)
    assert uv.dtype == np.uint16
    np.testing.assert_array_equal(uv[..., ::-1], maps.uv_map(BOTH))


def test_nothing_found_is_all_background():
    pictures = maps.all_maps(scene(), set(maps.MAPS))
    for ending, picture in pictures.items():
        assert picture.shape[:2] == (480, 640)
        expected = (128, 128, 255) if ending == "_control_normal" else 0
        assert (picture == expected).all(), ending
    assert maps.all_maps(BOTH, {"json"}) == {}


def test_what_cannot_be_mapped_is_said():
    other = replace(RIGHT, faces=RIGHT.faces[:10])
    with pytest.raises(ValueError, match="not that of the hand model lgnet"):
        maps.part_map(scene(other))


def test_the_same_maps_in_the_file():
    buffer = io.BytesIO(outputs.to_map("_depth.png", maps.depth_map(BOTH)))
    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), maps.depth_map(BOTH))
