"""LGBlock: the hands' features adapted to each other, locally (graph + LGFA) and globally (LGFA of LGFAs).

Xue and Wang, LGNet (CAVW 2025), sections on the local and the global unit, and the printed LGFA algorithm.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Attention, PerHand, SelfAttentionBlock, mix_nodes, mlp


class LGFA(nn.Module):
    """Local-and-global feature adaption: (A, B), each (n, t, c) tokens -> (n, t, c).

    The printed algorithm, with these **choices** where it is silent: pre-norm and learned positions (both as in EANet,
    which LGFA extends); `depth` of 1 and one head are the paper's, EANet has four of each.
    """

    def __init__(self, width: int, tokens: int, depth: int, heads: int) -> None:
        super().__init__()
        self.fuse = nn.Linear(2 * width, width)
        self.class_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(2 * tokens + 1, width) * 0.02)
        self.sa = nn.ModuleList([SelfAttentionBlock(width, heads) for _ in range(depth)])
        self.cross = nn.ModuleList([CrossBlock(width, heads) for _ in range(depth)])

    def forward(
        self, a: Float[Tensor, "n t c"], b: Float[Tensor, "n t c"]
    ) -> tuple[Float[Tensor, "n t c"], Float[Tensor, "n heads t k"]]:
        """The adapted tokens, and the attention (k = 2t + 1: class token, A, B) of the last block."""
        out = self.fuse(torch.cat([a, b], -1))  # FCToken t_f
        tokens = torch.cat([self.class_token.expand(a.shape[0], -1, -1), a, b], 1) + self.position
        for block in self.sa:  # SAToken t_s
            tokens = block(tokens)
        for cross in self.cross:
            out, attention = cross(out, tokens)
        return out, attention


class CrossBlock(nn.Module):
    """a' = attention(q of t_f; k, v of t_s) + t_f; out = a' + MLP(a')."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_q, self.norm_kv, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, heads)
        self.mlp = mlp(width, 4 * width, width)

    def forward(self, t_f: Float[Tensor, "n t c"], t_s: Float[Tensor, "n k c"]) -> tuple[Tensor, Tensor]:
        """Tokens (n, t, c) and the attention (n, heads, t, k)."""
        value, attention = self.attention(self.norm_q(t_f), self.norm_kv(t_s))
        a = value + t_f
        return a + self.mlp(self.norm(a)), attention


def grid_adjacency(side: int) -> Float[Tensor, "n n"]:
    """1 where two cells of a side x side grid touch, corners included (**choice**: 8 neighbours)."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    cells = torch.stack([row, column], -1).reshape(-1, 2)
    far = (cells[:, None] - cells[None]).abs().amax(-1)
    return (far == 1).float()


def scaled_laplacian(adjacency: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """2 L / lambda_max - 1 for the symmetric normalised Laplacian with lambda_max taken as 2: -D^-1/2 A D^-1/2."""
    scale = adjacency.sum(-1).clamp_min(1).rsqrt()
    return -scale[:, None] * adjacency * scale


class GINConv(nn.Module):
    """MLP((1 + eps) x + sum of the neighbours) (Xu et al., ICLR 2019)."""

    adjacency: Tensor

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.eps = nn.Parameter(torch.zeros(()))
        self.mlp = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))

    def forward(self, x: Float[Tensor, "n v c"]) -> Float[Tensor, "n v d"]:
        """Nodes in, nodes out."""
        return self.mlp((1 + self.eps) * x + mix_nodes(self.adjacency, x))


class ChebConv(nn.Module):
    """Sum over k < K of T_k(L~) x W_k (Defferrard et al., NIPS 2016)."""

    laplacian: Tensor

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int, order: int = 3) -> None:
        super().__init__()
        self.register_buffer("laplacian", scaled_laplacian(adjacency), persistent=False)
        self.order = order
        self.linear = nn.Linear(order * inputs, outputs)

    def forward(self, x: Float[Tensor, "n v c"]) -> Float[Tensor, "n v d"]:
        """Nodes in, nodes out."""
        terms = [x, mix_nodes(self.laplacian, x)]
        while len(terms) < self.order:
            terms.append(2 * mix_nodes(self.laplacian, terms[-1]) - terms[-2])
        return self.linear(torch.cat(terms[: self.order], -1))


GRAPHS = {"gin": GINConv, "cheb": ChebConv}


class GraphBlock(nn.Module):
    """Graph convolution, LayerNorm, ReLU; `residual` adds the input."""

    def __init__(self, kind: str, adjacency: Tensor, inputs: int, outputs: int, residual: bool = False) -> None:
        super().__init__()
        self.conv = GRAPHS[kind](adjacency, inputs, outputs)
        self.norm = nn.LayerNorm(outputs)
        self.residual = residual

    def forward(self, x: Float[Tensor, "n v c"]) -> Float[Tensor, "n v d"]:
        """Nodes in, nodes out."""
        y = F.relu(self.norm(self.conv(x)))
        return x + y if self.residual else y


class GraphBranch(nn.Module):
    """Graph block, three residual ones, graph block, over the grid's cells (**choice**: a node a cell)."""

    def __init__(self, kind: str, width: int, side: int) -> None:
        super().__init__()
        adjacency = grid_adjacency(side)
        self.feature = nn.Linear(width, width)  # the shared fully-connected feature of F
        self.code = nn.Parameter(torch.randn(side * side, width) * 0.02)  # "dense matching" code of each node
        self.blocks = nn.Sequential(
            GraphBlock(kind, adjacency, width, width),
            *(GraphBlock(kind, adjacency, width, width, residual=True) for _ in range(3)),
            GraphBlock(kind, adjacency, width, width),
        )

    def forward(self, x: Float[Tensor, "n v c"]) -> Float[Tensor, "n v c"]:
        """Nodes in, nodes out."""
        return self.blocks(self.feature(x) + self.code)


class LGBlock(nn.Module):
    """F_R, F_L -> F_global, tokens (B, hw, c), which the joint stage joins to each hand's own features.

    Without the local unit F_global = LGFA_global(F_R, F_L); without the global unit it is F_local.
    """

    def __init__(
        self,
        width: int,
        side: int,
        graph: str,
        depth: int,
        heads: int,
        shared: bool,
        local_unit: bool = True,
        global_unit: bool = True,
    ) -> None:
        super().__init__()

        def lgfa() -> LGFA:
            return LGFA(width, side * side, depth, heads)

        self.graph = PerHand(lambda: GraphBranch(graph, width, side), shared) if local_unit else None
        self.lgfa_local = lgfa() if local_unit else None
        # **choice**: one LGFA serves both hands when their crops look alike, as every other per-hand part
        self.lgfa_hands = (
            nn.ModuleList([lgfa() for _ in range(1 if shared else 2)]) if local_unit and global_unit else None
        )
        self.lgfa_global = lgfa() if global_unit else None

    def forward(self, hands: Float[Tensor, "B 2 t c"]) -> tuple[Float[Tensor, "B t c"], dict[str, Tensor]]:
        """F_global, and the attention maps by unit: "local", "right", "left", "global", each (B, heads, t, 2t + 1)."""
        attention: dict[str, Tensor] = {}
        right, left = hands.unbind(1)
        if self.lgfa_local is not None and self.graph is not None:
            local, attention["local"] = self.lgfa_local(*self.graph(hands).unbind(1))
            if self.lgfa_global is None or self.lgfa_hands is None:
                return local, attention
            right, attention["right"] = self.lgfa_hands[0](right, local)
            left, attention["left"] = self.lgfa_hands[-1](left, local)
        assert self.lgfa_global is not None, "an LGBlock without any unit is not built"
        out, attention["global"] = self.lgfa_global(right, left)
        return out, attention
