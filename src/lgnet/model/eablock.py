"""EANet's block, to compare the LGBlock with: Park, Jung, Moon, Lee, Extract-and-Adaptation Network (ICCVW 2023).

Its module takes two sets of tokens A and B: the JoinToken is both joined along channels and put through a linear layer, the
SimToken a class token with all tokens of both after self-attention; out of the JoinToken's queries and the SimToken's keys
and values come as many tokens as A has. That is what LGFA is, with four blocks of four heads each (`lgfa_depth`,
`lgfa_heads`), so LGFA serves for it; EANet's further linear layers after each part are left out. What differs is how the
modules are joined: one extracts what the hands have in common, one a hand adapts that to the hand; there are no graphs,
no local unit, and each hand gets its own adapted features, not one that both share.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .lgblock import LGFA


class EABlock(nn.Module):
    """F_R, F_L -> F_interR, F_interL, tokens (B, 2, hw, c), which the joint stage joins to each hand's own features."""

    def __init__(self, width: int, side: int, depth: int, heads: int, shared: bool) -> None:
        super().__init__()

        def fuse() -> LGFA:
            return LGFA(width, side * side, depth, heads)

        self.extract = fuse()
        self.adapt = nn.ModuleList([fuse() for _ in range(1 if shared else 2)])

    def forward(self, hands: Float[Tensor, "B 2 t c"]) -> tuple[Float[Tensor, "B 2 t c"], dict[str, Tensor]]:
        """The adapted tokens, and the attention maps "global", "right", "left", each (B, heads, t, 2t + 1)."""
        right, left = hands.unbind(1)
        common, together = self.extract(right, left)
        of_right, attention_right = self.adapt[0](right, common)
        of_left, attention_left = self.adapt[-1](left, common)
        return torch.stack([of_right, of_left], 1), {
            "global": together,
            "right": attention_right,
            "left": attention_left,
        }
