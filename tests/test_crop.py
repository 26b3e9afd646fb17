import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lgnet.crop import Crop, crop_for_box, crop_geometry, cut_crops, hand_crops, look_rotation, union_box

settings.register_profile("lgnet", deadline=None)  # a busy machine is no failure
settings.load_profile("lgnet")

WIDTH, HEIGHT = 640, 480


@st.composite
def crops(draw) -> Crop:
    """A crop of any box that meets the picture, of any camera from wide (100 degrees) to tele."""
    focal = draw(st.floats(270, 4000))
    K = np.array([focal, focal * draw(st.floats(0.8, 1.25)), draw(st.floats(200, 440)), draw(st.floats(150, 330))])
    centre = draw(st.floats(0, WIDTH)), draw(st.floats(0, HEIGHT))
    w, h = draw(st.floats(5, 500)), draw(st.floats(5, 500))
    return crop_for_box(
        np.array([centre[0] - w / 2, centre[1] - h / 2, w, h]),
        K,
        size=draw(st.sampled_from([64, 128, 256])),
        enlarge=draw(st.floats(1, 2)),
        mirrored=draw(st.booleans()),
        roll=draw(st.floats(-math.pi, math.pi)),
    )


coordinates = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(np.array)


@given(crops(), coordinates)
def test_crop_to_image_and_back(crop, normalised):
    ray = crop.to_camera(np.array([*normalised * crop.tan_half, 1.0]))
    assume(ray[2] > 0.05 * np.linalg.norm(ray))  # a corner of a wide crop may look beyond the picture's half space
    pixel = crop.crop_to_image(normalised)
    np.testing.assert_allclose(crop.image_to_crop(pixel), normalised, atol=1e-7)


@given(crops(), st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)).map(np.array))
def test_image_to_crop_and_back(crop, pixel):
    normalised = crop.image_to_crop(pixel)
    assume((np.abs(normalised) < 50).all())
    np.testing.assert_allclose(crop.crop_to_image(normalised), pixel, atol=1e-5)


@given(crops(), coordinates)
def test_homography_says_the_same(crop, normalised):
    """`cut` and the coordinates must not differ by half a pixel: crop pixel = (normalised + 1) / 2 * size - 1 / 2."""
    ray = crop.to_camera(np.array([*normalised * crop.tan_half, 1.0]))
    assume(ray[2] > 0.05 * np.linalg.norm(ray))
    place = (normalised + 1) / 2 * crop.size - 0.5
    u, v, w = crop.homography() @ [*place, 1]
    np.testing.assert_allclose([u / w, v / w], crop.crop_to_image(normalised), atol=1e-6)


@given(crops(), st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.2, 3)).map(np.array))
def test_points_go_to_the_crop_and_back(crop, point):
    inside = crop.to_crop(point)
    np.testing.assert_allclose(crop.to_camera(inside), point, atol=1e-12)
    assert np.linalg.norm(inside) == pytest.approx(np.linalg.norm(point))  # a turn, not a stretch


@given(crops(), st.floats(0.2, 3), coordinates)
def test_projection_falls_where_the_crop_frame_says(crop, depth, normalised):
    """A 3D point projected by the real camera lies in the crop where its own crop-frame x / z, y / z put it."""
    point = crop.to_camera(np.array([*normalised * crop.tan_half, 1.0]) * depth)
    assume(point[2] > 0.05 * np.linalg.norm(point))
    pixel = point[:2] / point[2] * crop.K[:2] + crop.K[2:]
    inside = crop.to_crop(point)
    np.testing.assert_allclose(inside[:2] / inside[2] / crop.tan_half, crop.image_to_crop(pixel), atol=1e-6)
    np.testing.assert_allclose(normalised, crop.image_to_crop(pixel), atol=1e-6)


@given(crops())
def test_the_box_fills_the_crop(crop):
    """The crop's middle looks at the box's middle."""
    middle = crop.crop_to_image(np.zeros(2))
    np.testing.assert_allclose(crop.image_to_crop(middle), 0, atol=1e-9)
    assert np.linalg.det(crop.R_camera_crop) == pytest.approx(1)


@given(
    st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)),
    st.tuples(st.floats(5, 300), st.floats(5, 300)),
    st.floats(1, 2),
    st.floats(0.5, 2),
)
def test_the_box_is_inside(centre, size, enlarge, aspect):
    """All four middles of the box's sides are in the crop, also where the camera's pixels are not square."""
    box = np.array([centre[0] - size[0] / 2, centre[1] - size[1] / 2, *size])
    crop = crop_for_box(box, np.array([600, 600 * aspect, 320, 240]), 128, enlarge)
    x, y, w, h = box
    sides = np.array([[x, y + h / 2], [x + w, y + h / 2], [x + w / 2, y], [x + w / 2, y + h]])
    assert (np.abs(crop.image_to_crop(sides)) <= 1 + 0.35 * max(size) / 600 / min(aspect, 1)).all()
    if max(size) < 60:  # a small box: perspective hardly bends it, so its larger side is 1 / enlarge of the crop
        reach = np.abs(crop.image_to_crop(sides)).max()
        assert reach <= 1.08 / enlarge
    # at the principal point, where nothing is foreshortened, exactly so
    box = np.array([320 - size[0] / 2, 240 - size[1] / 2, *size])
    crop = crop_for_box(box, np.array([600, 600 * aspect, 320, 240]), 128, enlarge)
    sides = np.array([[320 + size[0] / 2, 240], [320, 240 + size[1] / 2]])
    assert np.abs(crop.image_to_crop(sides)).max() == pytest.approx(1 / enlarge)


@given(crops())
def test_rotations_go_with_the_points(crop):
    """Orientation in the crop frame turns the (mirrored) hand's points to where `to_crop` sends the real ones."""
    rotation = look_rotation(np.array([0.3, -0.5, 0.8]))
    rest = np.array([[0.0, 0.1, 0.02], [0.05, 0.0, 0.01], [-0.03, 0.02, 0.0]])
    sign = np.array([-1.0, 1.0, 1.0]) if crop.mirrored else np.ones(3)
    seen = crop.to_crop(rest @ rotation.T)
    bent = look_rotation(np.array([0.1, 0.2, 0.9]))
    pose = np.stack([rotation, *[bent] * 15])
    in_crop = crop.pose_to_crop(pose)
    np.testing.assert_allclose((rest * sign) @ in_crop[0].T, seen, atol=1e-12)
    np.testing.assert_allclose((rest * sign) @ in_crop[5].T, (rest @ bent.T) * sign, atol=1e-12)
    np.testing.assert_allclose(crop.pose_to_camera(in_crop), pose, atol=1e-12)


def plain_crop(scale: float, size: int, middle: tuple[float, float], mirrored: bool = False) -> tuple[Crop, np.ndarray]:
    """A crop along the optical axis with `scale` picture pixels per crop pixel."""
    K = np.array([500.0, 500.0, *middle])
    side = scale * size
    return crop_for_box(np.array([middle[0] - side / 2, middle[1] - side / 2, side, side]), K, size, 1.0, mirrored), K


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_painted_pixel_appears_exactly(mirrored):
    # 64 crop pixels over 64 picture pixels around (100, 80): crop pixel (i, j) shows picture pixel (68.5 + i, 48.5 + j);
    # around (99.5, 79.5): (68 + i, 48 + j), whole pixels, so nothing is blurred
    image = np.zeros((160, 200, 3), np.uint8)
    image[60, 75] = 255
    crop, _ = plain_crop(1.0, 64, (99.5, 79.5), mirrored)
    out = crop.cut(image)[..., 0]
    expected = (12, 63 - 7 if mirrored else 7)  # row 60 - 48; column 75 - 68, from the other end if mirrored
    assert out[expected] == 255
    assert out.sum() == 255
    place = (crop.image_to_crop(np.array([75.0, 60.0])) + 1) / 2 * 64 - 0.5
    np.testing.assert_allclose(place, expected[::-1], atol=1e-9)


@pytest.mark.parametrize("scale", [2.0, 3.0, 4.0, 8.0, 11.3])
@pytest.mark.parametrize("trim", [0, 1, 3])
def test_a_big_picture_reduced_first_keeps_its_place(scale, trim):
    """A soft blob's centre of mass falls where the coordinates say, also after reduction by averaging."""
    height, width = 1200 - trim, 1600 - trim
    centre = np.array([733.0, 581.0])
    v, u = np.mgrid[:height, :width]
    blob = 250 * np.exp(-((u - centre[0]) ** 2 + (v - centre[1]) ** 2) / (2 * (2.5 * scale) ** 2))
    crop, _ = plain_crop(scale, 96, (790.0, 600.0))
    out = crop.cut(blob.astype(np.uint8)).astype(float)
    rows, columns = np.mgrid[:96, :96]
    mass = np.array([(out * columns).sum(), (out * rows).sum()]) / out.sum()
    expected = (crop.image_to_crop(centre) + 1) / 2 * 96 - 0.5
    np.testing.assert_allclose(mass, expected, atol=0.03)


def test_reduction_averages():
    """Fine stripes give grey, not stripes of another width."""
    image = np.zeros((800, 800), np.uint8)
    image[:, ::2] = 200
    crop, _ = plain_crop(8.0, 64, (399.5, 399.5))
    assert np.abs(crop.cut(image)[4:-4, 4:-4].astype(int) - 100).max() <= 1


@pytest.mark.parametrize("place", [(900.0, 600.0), (0.0, 0.0), (400.0, 300.0)])
def test_a_reduced_picture_has_no_seam_at_its_edges(place):
    """Of a picture of one colour, whose sides are no multiples of 8, every pixel that lies inside by half a cell shows it."""
    image = np.full((603, 1003), 200, np.uint8)
    crop = crop_for_box(np.array([*place, 500.0, 500.0]), np.array([800.0, 800, 501, 301]), 64)
    steps = (np.arange(64) + 0.5) / 32 - 1
    u, v = np.moveaxis(crop.crop_to_image(np.stack(np.meshgrid(steps, steps), -1)), -1, 0)
    inside = (u > 4) & (u < 998) & (v > 4) & (v < 598)
    beyond = (u < -20) | (u > 1022) | (v < -20) | (v > 622)
    out = crop.cut(image)
    assert inside.sum() > 100 and (out[inside] == 200).all()
    assert (out[beyond] == 0).all()


@pytest.mark.parametrize("scale", [1, 6])
def test_nothing_is_seen_behind_the_camera(scale):
    """A lens of 145 degrees: part of a wide crop at its edge looks away from the picture."""
    image = np.full((480 * scale, 640 * scale), 200, np.uint8)
    K = np.array([100.0, 100, 320, 240]) * scale
    crop = crop_for_box(np.array([500.0, 0, 300, 479]) * scale, K, 64)
    steps = (np.arange(64) + 0.5) / 32 - 1
    rays = np.concatenate([np.stack(np.meshgrid(steps, steps), -1) * crop.tan_half, np.ones((64, 64, 1))], -1)
    behind = crop.to_camera(rays)[..., 2] < 0
    out = crop.cut(image)
    assert behind.sum() > 100 and (out[behind] == 0).all()
    assert (out == 200).sum() > 1000
    assert (crop.cut(image[..., None].repeat(3, 2), nearest=True)[behind] == 0).all()


def test_nearest_invents_no_label():
    parts = np.zeros((480, 640), np.uint8)
    parts[200:300, 200:420] = 30
    crop = crop_for_box(np.array([180.0, 180, 300, 200]), np.array([500.0, 500, 320, 240]), 64, roll=0.5)
    assert set(np.unique(crop.cut(parts, nearest=True))) == {0, 30}


def test_outside_the_picture_is_the_border():
    crop, _ = plain_crop(1.0, 64, (0.0, 0.0))
    out = crop.cut(np.full((100, 100, 3), 200, np.uint8), border=7)
    assert (out[:30] == 7).all()
    assert (out[34:, 34:] == 200).all()


@settings(max_examples=20)
@given(
    st.floats(-40, 640),
    st.floats(-40, 480),
    st.floats(30, 260),
    st.floats(30, 260),
    st.floats(-1, 1),
    st.integers(0, 3),
)
def test_a_mirrored_crop_is_the_crop_of_the_mirror_picture(x, y, w, h, roll, seed):
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8), (0, 0), 3)
    K = np.array([520.0, 510, 300, 250])
    own = crop_for_box(np.array([x, y, w, h]), K, 96, mirrored=True, roll=roll)
    mirror_K = np.array([K[0], K[1], 639 - K[2], K[3]])
    other = crop_for_box(np.array([639 - x - w, y, w, h]), mirror_K, 96, mirrored=False, roll=-roll)
    difference = np.abs(own.cut(image).astype(int) - other.cut(image[:, ::-1].copy()).astype(int))
    assert np.percentile(difference, 99.9) <= 2
    point = np.array([0.1, -0.05, 0.6])
    np.testing.assert_allclose(own.to_crop(point), other.to_crop(point * [-1, 1, 1]), atol=1e-12)


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda d: math.hypot(*d) > 0.1 and d[2] > -0.9 * math.hypot(*d)))
def test_look_rotation(direction):
    direction = np.array(direction) / np.linalg.norm(direction)
    rotation = look_rotation(direction)
    np.testing.assert_allclose(rotation @ [0, 0, 1], direction, atol=1e-9)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert math.acos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)) == pytest.approx(  # the smallest turn
        math.acos(np.clip(direction[2], -1, 1)), abs=1e-6
    )


def test_union_box():
    # x from 10 to max(30, 45) = 45, y from 5 to max(60, 25) = 60
    np.testing.assert_allclose(union_box(np.array([[10, 20, 20, 40], [15, 5, 30, 20]])), [10, 5, 35, 55])
    np.testing.assert_allclose(union_box(np.array([[1, 2, 3, 4]])), [1, 2, 3, 4])


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [0, 0, -5, -1], [0, np.nan, 5, 5], [np.inf, 0, 5, 5]])
def test_an_empty_box_is_refused(box):
    with pytest.raises(ValueError, match="a box needs"):
        crop_for_box(np.array(box, float), np.array([500.0, 500, 320, 240]), 64)


BOXES = np.array([[300.0, 100, 100, 120], [150.0, 140, 90, 80]])
K = np.array([600.0, 600, 320, 240])


def test_hand_crops_by_crops():
    crops = hand_crops(BOXES, np.array([True, True]), K, 128, 1.25, "crops")
    right, left = crops.hands
    assert right is not None
    assert left is not None
    assert (right.mirrored, left.mirrored, crops.pair.mirrored) == (False, True, False)
    np.testing.assert_allclose(right.crop_to_image(np.zeros(2)), [350, 160], atol=1e-9)
    np.testing.assert_allclose(left.crop_to_image(np.zeros(2)), [195, 180], atol=1e-9)
    np.testing.assert_allclose(crops.pair.crop_to_image(np.zeros(2)), [275, 160], atol=1e-9)  # of 150..400, 100..220
    image = np.full((480, 640, 3), 90, np.uint8)
    assert cut_crops(image, crops, "crops").shape == (2, 128, 128, 3)


def test_hand_crops_of_one_hand():
    crops = hand_crops(BOXES, np.array([False, True]), K, 64, 1.25, "crops")
    assert crops.hands[0] is None
    cut = cut_crops(np.full((480, 640, 3), 90, np.uint8), crops, "crops")
    assert (cut[0] == 0).all()
    assert (cut[1] == 90).all()
    geometry = crop_geometry(crops, "crops")
    assert (geometry[0] == 0).all()
    assert (geometry[1, :4] == 0).all()
    assert geometry[1, 4] == pytest.approx(crops.hands[1].tan_half)


def test_hand_crops_by_heads_share_one():
    crops = hand_crops(BOXES, np.array([True, True]), K, 64, 1.25, "heads")
    assert crops.hands == (crops.pair, crops.pair)
    assert cut_crops(np.zeros((480, 640, 3), np.uint8), crops, "heads").shape == (1, 64, 64, 3)
    assert (crop_geometry(crops, "heads") == 0).all()


def test_no_box_is_refused():
    with pytest.raises(ValueError, match="no box"):
        hand_crops(BOXES, np.array([False, False]), K, 64, 1.25, "crops")


def test_geometry_tells_where_the_other_hand_is():
    """Two equal boxes left and right of the principal point: each sees the other to its own side, at equal size."""
    boxes = np.array([[200.0, 200, 80, 80], [360.0, 200, 80, 80]])  # right hand's box on the left of the picture
    geometry = crop_geometry(hand_crops(boxes, np.array([True, True]), K, 128, 1.25, "crops"), "crops")
    # the right hand's crop sees the left hand's to the right (+x); the left one's is mirrored, so it too says +x
    assert geometry[0, 0] > 0
    np.testing.assert_allclose(geometry[0], geometry[1], atol=1e-6)
    # centres at -+80 px of a focal length of 600: the angle between the axes is 2 atan(80 / 600), its tangent
    # 2 t / (1 - t^2) with t = 80 / 600; the crop's half angle has tangent 50 / (600 sqrt(1 + t^2))
    t = 80 / 600
    assert geometry[0, 0] == pytest.approx(2 * t / (1 - t * t) / (50 / 600 / math.hypot(1, t)), rel=1e-5)
    assert geometry[0, 1] == pytest.approx(0, abs=1e-6)
    assert geometry[0, 2] == pytest.approx(0, abs=1e-6)
    assert geometry[0, 3] == 1
