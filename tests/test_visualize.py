"""Pictures of results: sizes, colours, which hand is in front, and numbers that can be read back."""

from dataclasses import replace

import numpy as np
import pytest

from lgnet import maps, visualize
from lgnet.hands import Camera, Hand, TwoHands

WIDTH, HEIGHT = 120, 80


def plate(side: str, x: float, z: float, half: float = 0.05) -> Hand:
    """A square across the line of sight, outward side to the camera, as a hand."""
    vertices = np.array(
        [[x - half, -half, z], [x + half, -half, z], [x + half, half, z], [x - half, half, z]], np.float32
    )
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    zero = np.zeros((21, 3))
    return Hand(
        side, 1.0, np.zeros(4), zero[:, :2], zero, vertices, vertices, faces, zero[:16], np.zeros(10), vertices[0]
    )


def two(right: Hand | None, left: Hand | None, scale: int = 1) -> TwoHands:
    camera = Camera(200.0 * scale, 200.0 * scale, 59.5 * scale, 39.5 * scale)
    return TwoHands(right, left, WIDTH * scale, HEIGHT * scale, camera)


BOTH = two(plate("right", -0.1, 0.5), plate("left", 0.1, 0.5))
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def test_right_is_red_left_is_blue_and_the_rest_is_untouched():
    image = np.random.default_rng(0).integers(0, 256, GREY.shape, dtype=np.uint8)
    before = image.copy()
    out = visualize.overlay(image, BOTH)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    on_grey = visualize.overlay(GREY, BOTH)
    red, blue = on_grey[40, 20].astype(int), on_grey[40, 100].astype(int)
    assert red[0] > red[2] + 40
    assert blue[2] > blue[0] + 40
    np.testing.assert_array_equal(out[:, 55:65], image[:, 55:65])


def test_three_quarters_of_the_mesh_and_one_of_the_photograph():
    black, white = (visualize.overlay(np.full_like(GREY, v), BOTH)[40, 20].astype(int) for v in (0, 255))
    np.testing.assert_allclose(white - black, 255 * (1 - visualize.OPACITY), atol=1.01)


@pytest.mark.parametrize(("near", "label"), [(0.4, maps.RIGHT_LABEL), (0.6, maps.LEFT_LABEL)])
def test_the_nearer_hand_is_in_front(near, label):
    hands = two(plate("right", 0.0, near), plate("left", 0.0, 0.5))
    assert maps.mask(hands)[40, 60] == label
    pixel = visualize.overlay(GREY, hands)[40, 60].astype(int)
    assert (pixel[0] > pixel[2]) == (label == maps.RIGHT_LABEL)
    assert maps.depth_map(hands)[40, 60] == min(near, 0.5) * 1000


def test_mask_and_depth_lie_where_the_hand_projects():
    """At 0.5 m a half side of 0.05 m is 20 pixels: the right hand's square is centred on 59.5 - 40."""
    mask, depth = maps.mask(BOTH), maps.depth_map(BOTH)
    assert mask.dtype == np.uint8
    assert depth.dtype == np.uint16
    rows, columns = np.nonzero(mask == maps.RIGHT_LABEL)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (0, 39, 20, 59)
    rows, columns = np.nonzero(mask == maps.LEFT_LABEL)
    assert (columns.min(), columns.max()) == (80, 119)
    assert set(np.unique(depth[mask > 0])) == {500}
    assert set(np.unique(depth[mask == 0])) == {0}


def test_depth_beyond_sixteen_bits_is_held():
    assert maps.depth_map(two(plate("right", 0.0, 90.0, 20.0), None))[40, 60] == 65535


def test_normals_are_of_the_camera_frame():
    normal = maps.normal_map(BOTH)
    assert normal.shape == GREY.shape
    np.testing.assert_allclose(normal[40, 20], [128, 128, 0], atol=1)  # faces the camera: (0, 0, -1)
    np.testing.assert_array_equal(normal[40, 60], 0)
    slanted = plate("right", 0.0, 0.5)
    slanted.vertices[:, 2] += slanted.vertices[:, 0]  # z grows to the right: outward normal (1, 0, -1) / sqrt 2
    found = maps.normal_map(two(slanted, None))[40, 60] / 127.5 - 1
    np.testing.assert_allclose(found, [2**-0.5, 0, -(2**-0.5)], atol=0.02)


def test_the_inside_is_turned_towards_the_camera():
    inside = plate("right", 0.0, 0.5)
    turned = Hand(**{**inside.__dict__, "faces": inside.faces[:, ::-1]})
    np.testing.assert_array_equal(maps.normal_map(two(turned, None)), maps.normal_map(two(inside, None)))


def test_sphere_normals_are_smooth_and_right():
    """A coarse ball's interpolated normals are within a few degrees of the true ones."""
    t, p = np.meshgrid(np.linspace(0, np.pi, 15), np.arange(20) / 20 * 2 * np.pi, indexing="ij")
    centre = np.array([0, 0, 1.0])
    ball = np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], -1).reshape(-1, 3) * 0.15 + centre
    i, j = (g.ravel() for g in np.meshgrid(np.arange(14), np.arange(20), indexing="ij"))
    a, b = i * 20 + j, i * 20 + (j + 1) % 20
    faces = np.concatenate([np.stack([a, a + 20, b], 1), np.stack([b, a + 20, b + 20], 1)])
    hand = Hand(**{**plate("left", 0, 1).__dict__, "vertices": ball, "faces": faces})
    hands = two(None, hand)
    normal = maps.normal_map(hands) / 127.5 - 1
    depth = maps.depth_map(hands) / 1000
    y, x = np.nonzero(depth)
    point = np.stack([(x - 59.5) / 200 * depth[y, x], (y - 39.5) / 200 * depth[y, x], depth[y, x]], 1)
    truth = (point - centre) / np.linalg.norm(point - centre, axis=1, keepdims=True)
    agree = (truth * normal[y, x]).sum(1)
    assert len(y) > 2000
    assert np.median(agree) > np.cos(np.deg2rad(3))
    assert np.quantile(agree, 0.02) > np.cos(np.deg2rad(15))


def test_no_hands_and_hands_behind_the_camera():
    for hands in (two(None, None), two(plate("right", 0.0, -0.5), None)):
        np.testing.assert_array_equal(visualize.overlay(GREY, hands), GREY)
        assert maps.depth_map(hands).max() == 0
        assert maps.mask(hands).max() == 0
        assert maps.normal_map(hands).shape == GREY.shape


@pytest.mark.parametrize("scale", [9, 20])
def test_pictures_of_every_size_keep_it(scale):
    """Middle sizes are drawn as they are, large ones small and enlarged: the hand stays in its place."""
    hands = two(plate("right", -0.1, 0.5), plate("left", 0.1, 0.5), scale)
    image = np.full((HEIGHT * scale, WIDTH * scale, 3), 128, np.uint8)
    out = visualize.overlay(image, hands)
    assert out.shape == image.shape
    drawn = (out != 128).any(2)
    expected = maps.mask(hands) > 0
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.98


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="picture"):
        visualize.overlay(GREY[:-1], BOTH)
    with pytest.raises(ValueError, match="uint8"):
        visualize.overlay(GREY.astype(np.float32), BOTH)


def test_skeleton_is_drawn_at_its_joints():
    joints = np.stack([np.linspace(10, 110, 21), np.linspace(10, 70, 21)], 1)
    out = visualize.skeleton(GREY, joints, (255, 255, 0))
    assert out.shape == GREY.shape
    assert (GREY == 128).all()
    np.testing.assert_array_equal(out[10, 10], [255, 255, 0])
    np.testing.assert_array_equal(out[70, 110], [255, 255, 0])
    np.testing.assert_array_equal(out[5, 100], [128, 128, 128])
    np.testing.assert_array_equal(visualize.skeleton(GREY, np.full((21, 2), np.nan), (1, 2, 3)), GREY)
    np.testing.assert_array_equal(visualize.skeleton(GREY, np.full((21, 2), 1e12), (1, 2, 3)), GREY)


def test_contact_sheet_lays_out_row_by_row():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    pictures = [np.full((30 + 20 * i, 60, 3), c, np.uint8) for i, c in enumerate(colours)]
    sheet = visualize.contact_sheet([*pictures, np.full((40, 40), 77, np.uint8)], None, 2, 64)
    assert sheet.shape == (128, 128, 3)
    for (y, x), colour in zip([(32, 32), (32, 96), (96, 32), (96, 96)], [*colours, (77, 77, 77)]):
        np.testing.assert_array_equal(sheet[y, x], colour)
    np.testing.assert_array_equal(sheet[2, 32], 255)  # above the wide picture


def test_contact_sheet_captions():
    sheet = visualize.contact_sheet([GREY, GREY, GREY], ["a", "ä", "a very long line of text that is cut"], 2, 100)
    strip = (sheet.shape[0] - 200) // 2
    assert sheet.shape[1] == 200
    assert strip >= 14
    assert (sheet[100 : 100 + strip, :100] < 128).any()
    assert (sheet[100 + strip :, 100:] == 255).all()  # no fourth picture, no text in its place
    with pytest.raises(ValueError, match="captions"):
        visualize.contact_sheet([GREY], ["a", "b"], 2, 100)
    with pytest.raises(ValueError, match="at least one"):
        visualize.contact_sheet([], None, 2, 100)


def test_all_people_are_drawn_with_their_dots():
    far = replace(plate("left", 0.1, 0.5), joint_errors=np.full(21, 0.001), joints2d=np.full((21, 2), 100.0))
    near, second = two(plate("right", -0.1, 0.5), None), two(None, replace(far, joints2d=far.joints2d * (1, 0.4)))
    out = visualize.overlay(GREY, replace(near, people=(near, second)))
    assert out[40, 20, 0] > out[40, 20, 2] + 40  # the first one's right hand
    assert out[30, 105, 2] > out[30, 105, 0] + 40  # the second one's left hand
    assert (out[40, 100] == 255).all()  # and its joints, which are sure
