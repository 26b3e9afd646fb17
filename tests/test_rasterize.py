"""The NumPy z-buffer: worked by hand, and against numba's."""

import numpy as np
import pytest

from lgnet.rasterize import NEAR, rasterize

K = np.array([100.0, 100.0, 15.5, 11.5])
WIDTH, HEIGHT = 32, 24


def square(z: float, half: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles across the line of sight."""
    vertices = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], np.float32)
    return vertices, np.array([[0, 1, 2], [0, 2, 3]])


def test_a_plane_fills_the_picture_at_its_depth():
    triangle, depth = rasterize(*square(2.0), K, WIDTH, HEIGHT)
    assert triangle.shape == depth.shape == (HEIGHT, WIDTH)
    assert triangle.dtype == np.int32
    assert depth.dtype == np.float32
    assert set(np.unique(triangle)) == {0, 1}
    np.testing.assert_allclose(depth, 2.0, rtol=1e-6)


def test_pixels_are_covered_whose_centres_lie_inside():
    """A square from -3.25 to 3.25 pixels about (15.5, 11.5): centres 13..18 and 9..14."""
    triangle, depth = rasterize(*square(1.0, 0.0325), K, WIDTH, HEIGHT)
    rows, columns = np.nonzero(triangle >= 0)
    assert (rows.min(), rows.max()) == (9, 14)
    assert (columns.min(), columns.max()) == (13, 18)
    assert len(rows) == 36
    assert ((depth > 0) == (triangle >= 0)).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_one_is_seen_whatever_the_order(order):
    planes = [square(2.0), square(1.0, 0.05)]
    vertices = np.concatenate([planes[i][0] for i in order])
    faces = np.concatenate([planes[i][1] + 4 * k for k, i in enumerate(order)])
    triangle, depth = rasterize(vertices, faces, K, WIDTH, HEIGHT)
    assert depth[12, 16] == pytest.approx(1.0)
    assert depth[0, 0] == pytest.approx(2.0)
    assert triangle[12, 16] // 2 == order.index(1)


def test_of_equals_the_first_is_kept():
    vertices, faces = square(1.0)
    triangle, _ = rasterize(vertices, np.concatenate([faces, faces]), K, WIDTH, HEIGHT)
    assert triangle.max() == 1


def test_depth_is_that_of_the_plane_and_not_straight_between_the_corners():
    """Floor y = 0.5, z 1 to 9. The row v is at z = fy y / (v - cy): worked by hand, row 21.5 + ... see below."""
    vertices = np.array([[-5, 0.5, 1], [5, 0.5, 1], [5, 0.5, 9], [-5, 0.5, 9]], np.float32)
    K = np.array([20.0, 20.0, 16.0, 10.0])
    _, depth = rasterize(vertices, np.array([[0, 1, 2], [0, 2, 3]]), K, 33, 24)
    # row 15: z = 20 * 0.5 / 5 = 2; row 12: z = 10 / 2 = 5; row 20: z = 1. Straight between would give 5 at row 15.6.
    np.testing.assert_allclose(depth[15, 16], 2.0, rtol=1e-5)
    np.testing.assert_allclose(depth[12, 16], 5.0, rtol=1e-5)
    np.testing.assert_allclose(depth[19, 16], 10 / 9, rtol=1e-5)
    assert (depth[:11] == 0).all()


@pytest.mark.parametrize("z", [-1.0, 0.0, NEAR * 0.99, np.nan, np.inf])
def test_nothing_behind_or_at_the_camera_is_drawn(z):
    vertices, faces = square(1.0)
    vertices[0, 2] = z  # both triangles have this corner
    with np.errstate(all="raise"):
        triangle, depth = rasterize(vertices, faces, K, WIDTH, HEIGHT)
    assert (triangle == -1).all()
    assert (depth == 0).all()


def test_nothing_to_draw():
    for vertices, faces in [
        (np.zeros((0, 3)), np.zeros((0, 3), int)),
        (np.ones((3, 3)), np.zeros((0, 3), int)),
        (np.ones((3, 3)), np.array([[0, 1, 2]])),  # no area
        (square(1.0)[0] + [50, 0, 0], square(1.0)[1]),  # outside the picture
    ]:
        triangle, _ = rasterize(vertices, faces, K, WIDTH, HEIGHT)
        assert (triangle == -1).all()


def test_large_triangles_over_a_large_picture():
    """Many chunks, and corners far outside: no holes, little memory."""
    rng = np.random.default_rng(0)
    planes = [square(float(z), 400.0) for z in rng.uniform(1, 9, 20)]
    vertices = np.concatenate([p[0] for p in planes])
    faces = np.concatenate([p[1] + 4 * k for k, p in enumerate(planes)])
    triangle, depth = rasterize(vertices, faces, np.array([800.0, 800.0, 400.0, 300.0]), 800, 600)
    nearest = min(float(p[0][0, 2]) for p in planes)
    assert (triangle >= 0).all()
    np.testing.assert_allclose(depth, nearest, rtol=1e-4)


def same_as_numba(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, width: int, height: int) -> int:
    """Asserts that both z-buffers agree, ties aside; how many pixels were drawn."""
    raster = pytest.importorskip("lgnet.synth.raster")
    vertices, faces, K = vertices.astype(np.float32), faces.astype(np.int32), K.astype(np.float32)
    expected, far = raster.rasterize(vertices, faces, K, width, height)
    triangle, depth = rasterize(vertices, faces, K, width, height)
    np.testing.assert_array_equal(triangle >= 0, expected >= 0)
    np.testing.assert_allclose(depth, far, rtol=1e-5)
    other = triangle != expected
    assert other.mean() < 1e-3
    return int((triangle >= 0).sum())


@pytest.mark.parametrize("seed", range(8))
def test_random_triangles_come_out_as_numbas(seed):
    rng = np.random.default_rng(seed)
    centre = rng.uniform([-1, -1, 0.0], [1, 1, 3], (200, 1, 3))
    vertices = (centre + rng.normal(0, (0.02, 0.3, 1.0, 0.1)[seed % 4], (200, 3, 3))).reshape(-1, 3)
    faces = rng.permutation(600).reshape(200, 3) if seed == 7 else np.arange(600).reshape(200, 3)
    assert same_as_numba(vertices, faces, np.array([90.0, 70.0, 60.3, 40.8]), 130, 90) > 100


@pytest.mark.parametrize("seed", range(3))
def test_posed_hands_come_out_as_numbas(seed):
    scene_module = pytest.importorskip("lgnet.synth.scene")
    from lgnet.config import SynthConfig
    from lgnet.hand_model import load_hand_model

    scene = scene_module.sample_scene(np.random.default_rng(seed), SynthConfig(size=200), "interacting")
    right, left = scene.hands
    faces = [load_hand_model("lgnet", side).faces.numpy() for side in ("right", "left")]
    vertices = np.concatenate([right.vertices, left.vertices])
    both = np.concatenate([faces[0], faces[1] + len(right.vertices)])
    assert same_as_numba(vertices, both, scene.K, 200, 200) > 3000
