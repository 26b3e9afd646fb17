import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lgnet.geometry import (
    matrix_to_rotvec,
    mirror_rotation,
    project,
    rotation_6d_to_matrix,
    rotvec_to_matrix,
)

settings.register_profile("lgnet", deadline=None)  # a busy machine is no failure
settings.load_profile("lgnet")

unit = st.floats(-1, 1, allow_nan=False)
axes = st.tuples(unit, unit, unit).filter(lambda a: math.hypot(*a) > 0.1)
angles = st.one_of(
    st.floats(0, math.pi),
    st.floats(0, 1e-3),
    st.floats(math.pi - 1e-3, math.pi),
    st.sampled_from([0.0, 1e-12, 1e-5, 1e-4, math.pi / 2, math.pi - 1e-9, math.pi]),
)


def turn(axis, angle, dtype=torch.float64) -> torch.Tensor:
    axis = torch.tensor(axis, dtype=dtype)
    return axis / axis.norm() * angle


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return rotvec_to_matrix(torch.randn(count, 3, generator=generator, dtype=torch.float64) * 1.5)


def test_rotvec_by_hand():
    quarter = rotvec_to_matrix(torch.tensor([0, 0, math.pi / 2], dtype=torch.float64))
    # a quarter turn about z takes x to y and y to -x
    expected = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(quarter, expected)


@given(axes, angles)
def test_rotvec_round_trip(axis, angle):
    rotvec = turn(axis, angle)
    matrix = rotvec_to_matrix(rotvec)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)
    assert torch.linalg.det(matrix) == pytest.approx(1)
    back = matrix_to_rotvec(matrix)
    assert back.norm() <= math.pi + 1e-9
    torch.testing.assert_close(rotvec_to_matrix(back), matrix, atol=1e-7, rtol=0)
    if angle < math.pi - 1e-4:  # at pi itself the axis has two signs
        torch.testing.assert_close(back, rotvec, atol=1e-7, rtol=0)


@given(axes, angles)
def test_rotvec_round_trip_single_precision(axis, angle):
    matrix = rotvec_to_matrix(turn(axis, angle, torch.float32))
    torch.testing.assert_close(rotvec_to_matrix(matrix_to_rotvec(matrix)), matrix, atol=2e-6, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-4, 1.0])
def test_rotvec_gradient_is_finite(angle):
    rotvec = torch.tensor([angle, 0.0, 0.0], requires_grad=True)
    rotvec_to_matrix(rotvec).sum().backward()
    # dR/drx at zero is the generator of x: its entries sum to 0 ( -1 at [1, 2] and +1 at [2, 1] )
    assert torch.isfinite(rotvec.grad).all()
    matrix = rotvec_to_matrix(torch.tensor([angle, 0.0, 0.0])).requires_grad_()
    matrix_to_rotvec(matrix).sum().backward()
    assert torch.isfinite(matrix.grad).all()


def test_6d_round_trip_and_orthonormality():
    matrix = rotations(50)
    torch.testing.assert_close(rotation_6d_to_matrix(matrix[..., :2].mT.flatten(-2)), matrix)  # its first two columns
    # any six numbers give a rotation, and lengths do not matter
    six = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    made = rotation_6d_to_matrix(six)
    torch.testing.assert_close(made.mT @ made, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(made), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(rotation_6d_to_matrix(six * 3), made)


def test_mirror_commutes_with_turning():
    matrix, points = rotations(20), torch.randn(20, 3, dtype=torch.float64)
    mirror = torch.tensor([-1.0, 1, 1]).double()
    seen = mirror * (matrix @ points[..., None]).squeeze(-1)
    turned = (mirror_rotation(matrix) @ (mirror * points)[..., None]).squeeze(-1)
    torch.testing.assert_close(seen, turned)
    torch.testing.assert_close(mirror_rotation(mirror_rotation(matrix)), matrix)
    torch.testing.assert_close(torch.linalg.det(mirror_rotation(matrix)), torch.ones(20, dtype=torch.float64))
    # about x itself, the mirror's normal, a turn looks the same; about y it goes the other way round
    about = rotvec_to_matrix(torch.tensor([[0.3, 0, 0], [0, 0.3, 0]], dtype=torch.float64))
    torch.testing.assert_close(mirror_rotation(about)[0], about[0])
    torch.testing.assert_close(mirror_rotation(about)[1], about[1].T)


def test_project_by_hand():
    points = torch.tensor([[[0.1, -0.2, 0.5], [0.0, 0.0, 2.0]]])
    # 0.1 / 0.5 * 100 + 50 = 70; -0.2 / 0.5 * 200 + 40 = -40; on the axis: the principal point
    pixels = project(points, torch.tensor([[100.0, 200.0, 50.0, 40.0]]))
    torch.testing.assert_close(pixels, torch.tensor([[[70.0, -40.0], [50.0, 40.0]]]))
