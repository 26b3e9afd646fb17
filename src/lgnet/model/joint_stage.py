"""Joint stage: separate the hands, let them adapt to each other, read off 2.5D joints and joint tokens."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..hands import NUM_JOINTS
from .eablock import EABlock
from .layers import PerHand, mlp, sample_map, small_init, soft_argmax_3d
from .lgblock import LGBlock
from .records import JointOutput


class Separation(nn.Module):
    """F -> F_R, F_L: 1x1 convolution + BN + ReLU a hand, plus a positional embedding.

    `way` is "heads" (the paper: two heads on one map), "crops" (one shared head; the crops separate the hands, and the
    geometry of the two is told by an embedding), or "none" (ablation: both hands get the same map).
    A hand without a crop gets learned features in place of its map.
    """

    def __init__(self, inputs: int, width: int, side: int, way: str) -> None:
        super().__init__()
        self.way = way
        self.heads = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
                for _ in range(2 if way == "heads" else 1)
            ]
        )
        # **choice**: learned; the paper does not say which positional embedding
        self.position = nn.Parameter(torch.randn(width, side, side) * 0.02)
        self.empty = nn.Parameter(torch.randn(width, side, side) * 0.02)
        self.geometry = mlp(5, width, width) if way == "crops" else None

    def forward(
        self,
        features: Float[Tensor, "B N C h w"],
        given: Bool[Tensor, "B 2"],
        geometry: Float[Tensor, "B 2 5"],
    ) -> Float[Tensor, "B 2 c h w"]:
        """N = 2 crops or 1 picture of both hands."""
        if self.way == "crops":
            flat = features.flatten(0, 1)
            rows = given.flatten().nonzero()[:, 0] if self.training and not given.all() and given.any() else None
            if rows is None:
                hands = self.heads[0](flat)
            else:  # empty crops must not enter BatchNorm's statistics
                seen = self.heads[0](flat[rows])
                hands = seen.new_zeros(flat.shape[0], *seen.shape[1:]).index_copy(0, rows, seen)
            hands = hands.unflatten(0, (-1, 2))
        else:
            maps = [head(features[:, 0]) for head in self.heads]
            hands = torch.stack([maps[0], maps[-1]], 1)
        hands = torch.where(given[..., None, None, None], hands, self.empty.to(hands.dtype)) + self.position
        if self.geometry is not None:
            hands = hands + self.geometry(geometry)[..., None, None]
        return hands


class JointExtractor(nn.Module):
    """F* -> a heat map of depth x size x size per joint -> its 3D soft-argmax (x, y, z in [-1, 1])."""

    def __init__(self, inputs: int, side: int, size: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        ups, n, width = [], side, inputs
        while n < size:  # the paper's heat maps have the grid's size; finer ones are a **choice** of the mobile presets
            ups += [nn.ConvTranspose2d(width, max(inputs // 2, 32), 4, 2, 1), nn.ReLU()]
            n, width = n * 2, max(inputs // 2, 32)
        if n != size:
            raise ValueError(f"heatmap_size {size} is not grid {side} times a power of two")
        self.up = nn.Sequential(*ups)
        self.out = nn.Conv2d(width, NUM_JOINTS * depth, 1)

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n 21 6"]:
        """Normalised joints, and the spread of each one's heat map in x, y and z."""
        return torch.cat(soft_argmax_3d(self.out(self.up(x)).unflatten(1, (NUM_JOINTS, self.depth))), -1)


class PooledJoints(nn.Module):
    """Ablation "without joint stage": joints by fully-connected layers from the pooled features."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, width)
        self.out = small_init(nn.Linear(width, NUM_JOINTS * 3))

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n 21 6"]:
        """Normalised joints, not bounded to the crop; there is no heat map, so its spread is 0."""
        joints = self.out(F.relu(self.hidden(x.mean((-2, -1))))).unflatten(-1, (NUM_JOINTS, 3))
        return torch.cat([joints, torch.zeros_like(joints)], -1)


class JointStage(nn.Module):
    """Separation, LGBlock, joint extractor, joint tokens, presence."""

    def __init__(
        self,
        separation: Separation,
        lgblock: LGBlock | EABlock | None,
        width: int,
        extractor: PerHand,
        token_width: int,
        shared: bool,
        depth_range: float,
        sample_tokens: bool,
    ) -> None:
        """`token_width` 0: no joint tokens, as nothing would read them (ablation without mesh stage).

        `sample_tokens` False: all joints' tokens are the pooled features (ablation without joint stage).
        """
        super().__init__()
        self.separation, self.lgblock, self.extractor = separation, lgblock, extractor
        # F* = concat(F, fc(F_global)), c + c/4 wide. Without LGBlock F* = concat(F, fc(F)): the layer has the same name
        # and shape, so what was pre-trained without the block carries over
        self.fc = nn.Linear(width, width // 4)
        wide = width + width // 4
        self.token = PerHand(lambda: nn.Conv2d(wide, token_width, 1), shared) if token_width else None
        self.presence = PerHand(lambda: nn.Linear(wide + width, 1), shared)
        self.depth_range, self.sample_tokens = depth_range, sample_tokens

    def forward(
        self,
        features: Float[Tensor, "B N C h w"],
        given: Bool[Tensor, "B 2"],
        geometry: Float[Tensor, "B 2 5"],
        keep_attention: bool = False,
    ) -> JointOutput:
        """Everything of the joint stage, from the backbone's last map."""
        hands = self.separation(features, given, geometry)  # F_R, F_L
        h, w = hands.shape[-2:]
        tokens = hands.flatten(-2).transpose(-1, -2)  # (B, 2, hw, c)
        attention: dict[str, Tensor] = {}
        if self.lgblock is None:
            extra = self.fc(tokens)
        else:
            adapted, attention = self.lgblock(tokens)
            own = adapted if adapted.dim() == 4 else adapted[:, None]  # of each hand, or what both share
            extra = self.fc(own).expand(-1, 2, -1, -1)
        extra = extra.transpose(-1, -2).unflatten(-1, (h, w))
        interaction = torch.cat([hands, extra], 2)  # F*_R, F*_L

        joints, spread = self.extractor(interaction).split(3, -1)
        units = joints.new_tensor([1.0, 1.0, self.depth_range])
        joints, spread = joints * units, spread * units
        pooled = torch.cat([interaction.mean((-2, -1)), hands.mean((-2, -1))], -1)
        return JointOutput(
            joints25d=joints,
            spread=spread,
            features=hands,
            interaction=interaction,
            tokens=self._tokens(interaction, joints),
            presence_logit=self.presence(pooled)[..., 0],
            attention=attention if keep_attention else {},
        )

    def _tokens(
        self, interaction: Float[Tensor, "B 2 d h w"], joints: Float[Tensor, "B 2 21 3"]
    ) -> Float[Tensor, "B 2 21 e"]:
        if self.token is None:
            return joints.new_zeros(*joints.shape[:3], 0)
        token_map = self.token(interaction)
        if not self.sample_tokens:
            return token_map.mean((-2, -1))[:, :, None].expand(-1, -1, NUM_JOINTS, -1)
        tokens = sample_map(token_map.flatten(0, 1), joints[..., :2].detach().flatten(0, 1))
        return tokens.unflatten(0, (-1, 2))
