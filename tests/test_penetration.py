import numpy as np
import pytest
import trimesh

from lgnet.penetration import close_mesh, fill, inside, measure_contact, surface_distance


def box(middle, size):
    mesh = trimesh.creation.box(extents=size)
    return np.asarray(mesh.vertices) + middle, np.asarray(mesh.faces)


def test_boxes_apart():
    first, second = box((0, 0, 0), (0.1, 0.1, 0.1)), box((0.07, 0.013, 0.007), (0.02, 0.02, 0.02))
    contact = measure_contact(*first, *second)
    assert contact.distance == pytest.approx(0.01)
    assert contact.depth == contact.volume == 0


def test_meshes_beyond_reach_are_infinitely_far_apart():
    first, second = box((0, 0, 0), (0.1, 0.1, 0.1)), box((0.07, 0.013, 0.007), (0.02, 0.02, 0.02))
    assert measure_contact(*first, *second, reach=0.011).distance == pytest.approx(0.01)
    assert measure_contact(*first, *second, reach=0.009).distance == np.inf
    far = box((0.5, 0, 0), (0.02, 0.02, 0.02))
    assert measure_contact(*first, *far, reach=0.009).distance == np.inf


def test_a_box_without_a_lid_is_closed_again():
    vertices, faces = box((0, 0, 0), (0.2, 0.1, 0.1))
    assert close_mesh(faces).tolist() == faces.tolist()
    lid = (vertices[faces][:, :, 2] > 0).all(1)
    assert lid.sum() == 2
    closed = close_mesh(faces[~lid])
    assert len(closed) == 12
    mesh = trimesh.Trimesh(vertices, closed, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(0.002)
    assert close_mesh(np.concatenate([faces, faces[:1]])) is None  # an edge that two faces run along the same way


def test_boxes_in_one_another():
    first, second = box((0, 0, 0), (0.1, 0.1, 0.1)), box((0.055, 0.013, 0.007), (0.02, 0.02, 0.02))
    contact = measure_contact(*first, *second, voxel=0.001)
    assert contact.distance == 0
    assert contact.depth == pytest.approx(0.005)  # the small box reaches 5 mm into the large one
    assert contact.volume == pytest.approx(0.005 * 0.02 * 0.02, rel=0.1)


def test_against_a_sphere():
    ball = trimesh.creation.icosphere(subdivisions=4, radius=1.0)
    vertices, faces = np.asarray(ball.vertices), np.asarray(ball.faces)
    points = np.random.default_rng(0).normal(0, 0.7, (500, 3))
    radius = np.linalg.norm(points, axis=1)
    clear = np.abs(radius - 1) > 0.01
    assert (inside(points, vertices, faces) == (radius < 1))[clear].all()
    np.testing.assert_allclose(surface_distance(points, vertices, faces), np.abs(radius - 1), atol=0.005)
    low, shape = np.full(3, -1.1), np.full(3, 110)
    assert fill(vertices, faces, low, 0.02, shape).sum() * 0.02**3 == pytest.approx(4 / 3 * np.pi, rel=0.01)
