"""The small parts that several stages share: attention, token blocks, sampling, soft-argmax, hands sharing weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def conv_block(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the map's size (over `stride`), BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class PerHand(nn.Module):
    """One module for both hands (`shared`: mirrored crops look alike), or one each; works on (B, 2, ...)."""

    def __init__(self, make: Callable[[], nn.Module], shared: bool) -> None:
        super().__init__()
        self.hands = nn.ModuleList([make() for _ in range(1 if shared else 2)])

    def forward(self, *inputs: Tensor) -> Tensor:
        """Each input (B, 2, ...) -> (B, 2, ...)."""
        if len(self.hands) == 1:
            rows = inputs[0].shape[0]
            return self.hands[0](*(x.flatten(0, 1) for x in inputs)).unflatten(0, (rows, 2))
        return torch.stack([hand(*(x[:, side] for x in inputs)) for side, hand in enumerate(self.hands)], 1)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(width of a head)) v, with q, k, v from three linear layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be split into {heads} attention heads")
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(
        self, query: Float[Tensor, "n q c"], context: Float[Tensor, "n k c"]
    ) -> tuple[Float[Tensor, "n q c"], Float[Tensor, "n heads q k"]]:
        """Values attended to, and the attention itself."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, query), (self.k, context), (self.v, context))
        )
        attention = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1)
        return (attention @ v).transpose(1, 2).flatten(2), attention


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with GELU between."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class SelfAttentionBlock(nn.Module):
    """x + attention(x), then x + MLP(x), c -> 4c -> c.

    **choice**: normalised before each (pre-norm), as in EANet's blocks; the paper's printed algorithm shows no norms.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = mlp(width, 4 * width, width)

    def forward(self, x: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """Tokens in, tokens out."""
        y = self.norm1(x)
        x = x + self.attention(y, y)[0]
        return x + self.mlp(self.norm2(x))


def cell_centres(n: int, device: torch.device | None = None) -> Float[Tensor, " n"]:
    """Centres of n equal cells of [-1, 1]: (i + 0.5) / n * 2 - 1."""
    return (torch.arange(n, device=device, dtype=torch.float32) + 0.5) / n * 2 - 1


def soft_argmax_3d(
    logits: Float[Tensor, "*batch d h w"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """The expected (x, y, z), each in [-1, 1], of a softmax over the cells of a volume, and how widely it spreads there.

    Cells count with their centres, so a peak in cell i of n lies at (i + 0.5) / n * 2 - 1 and a flat volume at 0. The
    spread is the standard deviation of each; no gradient passes it. Computed in float32: in half precision the sum over
    thousands of cells would not be exact enough.
    """
    d, h, w = logits.shape[-3:]
    p = logits.float().flatten(-3).softmax(-1).unflatten(-1, (d, h, w))
    plane = p.sum(-3)
    along = plane.sum(-2), plane.sum(-1), p.sum((-2, -1))
    centres = [cell_centres(n, logits.device) for n in (w, h, d)]
    mean = torch.stack([(share * cells).sum(-1) for share, cells in zip(along, centres)], -1)
    with torch.no_grad():
        square = torch.stack([(share * cells**2).sum(-1) for share, cells in zip(along, centres)], -1)
        return mean, (square - mean**2).clamp_min(0).sqrt()


def sample_map(features: Float[Tensor, "n c h w"], points: Float[Tensor, "n p 2"]) -> Float[Tensor, "n p c"]:
    """Bilinear features at points in normalised coordinates: -1 and 1 are the map's outer edges; clamped beyond.

    In float32: half precision would misplace points by a quarter of a cell. In training a point that is no number is taken
    for the middle: on a CPU its gradient would be written outside the map. Points are clamped to the outermost cells' centres
    here, not by grid_sample's "border", which Apple's MPS lacks before torch 2.11.
    """
    grid = points[:, None].float()
    if torch.is_grad_enabled():
        grid = grid.nan_to_num()
    h, w = features.shape[-2:]
    inner = grid.new_tensor([1 - 1 / w, 1 - 1 / h])
    grid = grid.clamp(-inner, inner)
    sampled = F.grid_sample(features.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[:, :, 0].transpose(1, 2)


def mix_nodes(matrix: Float[Tensor, "p n"], x: Float[Tensor, "*batch n c"]) -> Float[Tensor, "*batch p c"]:
    """matrix @ x as one product for the whole batch: broadcast, the matrix would be copied for every row of it."""
    columns = x.transpose(-1, -2)
    return (columns.flatten(0, -2) @ matrix.T).unflatten(0, columns.shape[:-1]).transpose(-1, -2)


def small_init(layer: nn.Linear, std: float = 0.01) -> nn.Linear:
    """The layer with weights near zero and no bias, so that what it regresses starts near its mean."""
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer
