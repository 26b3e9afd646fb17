"""Muon: orthogonal steps for matrices, AdamW's own steps for the rest."""

import pytest
import torch
from torch import nn

from lgnet.muon import SMALLEST, Muon, groups, orthogonalised


@pytest.mark.parametrize("shape", [(40, 96), (96, 40), (64, 64)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    generator = torch.Generator().manual_seed(1)
    u, _, v = torch.linalg.svd(torch.randn(*shape, generator=generator), full_matrices=False)
    values = torch.logspace(0, -2, min(shape))
    out = orthogonalised(7.0 * u @ torch.diag(values) @ v)
    turned = u.T @ out @ v.T
    assert (turned.diagonal() > 0.6).all() and (turned.diagonal() < 1.25).all()
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-3


def test_groups_hold_every_parameter_once():
    net = nn.Sequential(
        nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(64, SMALLEST), nn.Linear(SMALLEST, 3)
    )
    for muon in (False, True):
        made = groups(net, 0.1, muon)
        held = [p for group in made for p in group["params"]]
        assert len(held) == len(list(net.parameters())) and {id(p) for p in held} == {id(p) for p in net.parameters()}
        assert all(p.dim() <= 1 for group in made if not group["weight_decay"] for p in group["params"])
    orthogonal = [p for group in made if group.get("muon") for p in group["params"]]
    assert {tuple(p.shape) for p in orthogonal} == {(64, 8, 3, 3), (SMALLEST, 64)}


def test_what_is_no_hidden_matrix_is_stepped_as_adamw_does():
    torch.manual_seed(2)
    one, other = nn.Linear(5, 3), nn.Linear(5, 3)
    other.load_state_dict(one.state_dict())
    steppers = [Muon(groups(one, 0.1, True), lr=1e-2), torch.optim.AdamW(groups(other, 0.1, False), lr=1e-2)]
    for _ in range(6):
        x = torch.randn(4, 5)
        for net, stepper in zip((one, other), steppers):
            stepper.zero_grad()
            net(x).square().sum().backward()
            stepper.step()
    torch.testing.assert_close(one.state_dict(), other.state_dict())


def test_a_step_of_a_convolution_is_that_of_its_matrix_however_it_lies_in_memory():
    torch.manual_seed(3)
    convolution, slope = nn.Conv2d(16, 48, 3, bias=False), torch.randn(48, 16, 3, 3)
    before = convolution.weight.detach().clone()
    steps = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = nn.Conv2d(16, 48, 3, bias=False).to(memory_format=layout)  # type: ignore[call-overload]
        net.load_state_dict({"weight": before})
        net.weight.grad = slope.clone(memory_format=layout)
        Muon(groups(net, 0.0, True), lr=1.0).step()
        steps.append(net.weight.detach() - before)
    torch.testing.assert_close(*steps, atol=1e-4, rtol=1e-4)
    # the first step follows the slope alone (the momentum is a share of it): its orthogonal form, a fifth of sqrt(144) long
    torch.testing.assert_close(steps[0].flatten(1), -0.2 * 12 * orthogonalised(slope.flatten(1)), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", [(64, 64), (256, 48), (40, 300)])
def test_slopes_of_few_directions_do_not_blow_up(shape, half):
    generator = torch.Generator().manual_seed(3)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = 10.0 ** -torch.arange(min(shape)).float().div(2)  # as slopes are: a few large ones, the rest far below
    out = orthogonalised(u @ torch.diag(values) @ v, half)
    assert out.dtype == torch.float32
    along = torch.diagonal(u.T @ out @ v.T)
    assert torch.all((along[:4] > 0.6) & (along[:4] < 1.3))
    assert torch.linalg.svdvals(out).max() < 1.3
