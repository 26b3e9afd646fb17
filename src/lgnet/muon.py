"""Muon: momentum made orthogonal for matrices, AdamW for everything else, in one optimiser.

Keller Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024), with the scale of Liu et al., *Muon
is Scalable for LLM Training* (2025), by which a step is as large as one of AdamW and takes its learning rate. Not
`torch.optim.Muon`: that refuses convolutions and always computes in bfloat16, which processors without units do slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives singular values to about 1 (Jordan); five rounds bring those from 0.003 up to within 0.7 to 1.2."""
ROUNDS = 5
SMALLEST = 32
"""Matrices with a side below are AdamW's: what reads off a few numbers is no hidden layer."""


def orthogonalised(matrix: Float[Tensor, "m n"], half: bool = False) -> Float[Tensor, "m n"]:
    """U V^T, nearly, of the matrix's singular value decomposition U S V^T, by Newton and Schulz's iteration.

    In float32 the rounds are done on the smaller Gram matrix, which for wide matrices takes less than half the
    multiplications. `half`: in bfloat16, quicker where there are units for it, and on the matrix itself: a Gram matrix
    rounded so roughly has negative eigenvalues, which the rounds would blow up.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T, half).T
    a, b, c = COEFFICIENTS
    x = matrix.float()
    x = x / (x.norm() + 1e-7)
    if half:
        x = x.bfloat16()
        for _ in range(ROUNDS):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x.float()
    gram, total = x @ x.T, torch.eye(len(x), device=x.device)
    for left in reversed(range(ROUNDS)):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)  # b G + c G^2, and a on the diagonal: x_next = factor x
        factor.diagonal().add_(a)
        total = factor @ total
        if left:
            gram = factor @ gram @ factor
    return total @ x


class Muon(torch.optim.Optimizer):
    """Groups with `muon` true are stepped by orthogonal momentum, the others as `torch.optim.AdamW` does."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float = 0.95, half: bool = False):
        """`half`: orthogonalise in bfloat16."""
        super().__init__(
            groups,
            {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "betas": (0.9, 0.999), "eps": 1e-8, "muon": False},
        )
        self.half = half

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step along the gradients that there are."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            step = self._orthogonal_step if group["muon"] else _adamw_step
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    step(weight, weight.grad, self.state[weight], group)
        return loss

    def _orthogonal_step(self, weight: Tensor, slope: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(slope, 1 - group["momentum"])
        ahead = slope.lerp(state["momentum"], group["momentum"])  # Nesterov's
        # a convolution's weight is laid out channels last; a row is one output's (a transposed one's: input's), in whatever order
        rows = ahead.movedim(1, -1)
        move = orthogonalised(rows.flatten(1), self.half)
        scale = 0.2 * max(move.shape) ** 0.5
        weight.add_(move.unflatten(1, rows.shape[1:]).movedim(-1, 1), alpha=-group["lr"] * scale)


def _adamw_step(weight: Tensor, slope: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """Kingma and Ba's step; the decay of weights is apart from it (Loshchilov and Hutter, ICLR 2019)."""
    if not state:
        state |= {"step": torch.zeros(()), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
    first, second = group["betas"]
    state["step"] += 1
    state["mean"].lerp_(slope, 1 - first)
    state["square"].mul_(second).addcmul_(slope, slope, value=1 - second)
    count = state["step"].item()
    spread = (state["square"] / (1 - second**count)).sqrt_().add_(group["eps"])
    weight.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - first**count))


def groups(network: nn.Module, weight_decay: float, muon: bool) -> list[dict[str, Any]]:
    """The network's parameters that are trained, as either optimiser wants them: matrices, and the rest, which does not decay.

    With `muon` the matrices of hidden layers are a group of their own.
    """
    every = [p for p in network.parameters() if p.requires_grad]
    hidden = {
        layer.weight
        for layer in network.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        and min(len(layer.weight), layer.weight[0].numel()) >= SMALLEST
    }
    own = [p for p in every if p in hidden] if muon else []
    others = [p for p in every if p.dim() > 1 and not (muon and p in hidden)]
    out = [
        {"params": others, "weight_decay": weight_decay},
        {"params": [p for p in every if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return [*out, {"params": own, "weight_decay": weight_decay, "muon": True}] if own else out
