"""Refine stage: image, local and global features at each vertex -> offsets dM; M_f = M_r + dM."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..hand_model import HandModel, MeshLevel, mesh_pyramid
from ..hands import NUM_JOINTS
from .layers import PerHand, mix_nodes, sample_map
from .lgblock import GraphBlock
from .mesh_stage import project_weak
from .records import JointOutput, MeshOutput, RefineOutput

OFFSET_UNIT = 0.01
"""Metres per unit of the last layer, so that its outputs are of order one."""
REACH = 0.015
"""Metres over which a joint speaks for the surface about it."""


def _adjacency(level: MeshLevel) -> Tensor:
    out = torch.zeros(len(level.vertices), len(level.vertices))
    out[level.edges[:, 0], level.edges[:, 1]] = 1
    return torch.maximum(out, out.T)


def _upsampling(level: MeshLevel) -> Float[Tensor, "M N"]:
    """Matrix of the shares by which the next finer level's values are blended from this one's."""
    return torch.zeros(len(level.nearest), len(level.vertices)).scatter_add(1, level.nearest, level.blend)


class OffsetNet(nn.Module):
    """Features of the nodes -> offsets of all vertices, over a pyramid: Chebyshev blocks (K = 3), coarse then fine.

    **choice**: an offset is one freely regressed, and the regressed share of the way to where J is seen. The last layer starts
    at zero, so that an untrained refine stage is the identity.
    """

    coarse: Tensor
    to_fine: Tensor
    to_mesh: Tensor

    def __init__(self, levels: tuple[MeshLevel, MeshLevel], width: int) -> None:
        super().__init__()
        fine, coarse = levels
        place = {int(vertex): node for node, vertex in enumerate(fine.vertices)}
        self.register_buffer("coarse", torch.tensor([place[int(v)] for v in coarse.vertices]), persistent=False)
        self.register_buffer("to_fine", _upsampling(coarse), persistent=False)
        self.register_buffer("to_mesh", _upsampling(fine), persistent=False)
        self.code = nn.Parameter(torch.randn(len(fine.vertices), width) * 0.02)
        self.coarse_blocks = nn.Sequential(
            *(GraphBlock("cheb", _adjacency(coarse), width, width, residual=True) for _ in range(3))
        )
        self.fine_blocks = nn.Sequential(
            *(GraphBlock("cheb", _adjacency(fine), width, width, residual=True) for _ in range(2))
        )
        self.out = nn.Linear(width, 6)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "n p c"], way: Float[Tensor, "n p 3"]) -> Float[Tensor, "n V 3"]:
        """Metres; `way`: from M_r to J, at each node."""
        x = x + self.code
        x = x + mix_nodes(self.to_fine, self.coarse_blocks(x[:, self.coarse]))
        offsets, shares = self.out(self.fine_blocks(x)).float().split(3, -1)
        return mix_nodes(self.to_mesh, OFFSET_UNIT * offsets + shares * way)


class RefineStage(nn.Module):
    """Samples features at the projections of a few hundred vertices, regresses offsets there, spreads them smoothly.

    **choice**: M_r, its camera and J enter detached and M_f = M_r (detached) + dM. So M_r is trained by its own losses
    alone, exactly as without a refine stage, and dM learns what is left: it cannot starve the coarse stage. Gradients
    reach the backbone, F and F* through the sampled features.

    **choice**: J is given as what it differs by from the joints of M_r, in metres, at the nodes near each joint, with the
    spread of its heat map. The two err differently: a third of the way from the one to the other is better than either.
    """

    nodes: Tensor
    influence: Tensor
    near: Tensor

    def __init__(self, hand: HandModel, channels: list[int], local: int, wide: int, width: int, shared: bool) -> None:
        """`channels` of the backbone's three earlier maps; `local` and `wide` of F and F*; `width` inside."""
        super().__init__()
        levels = mesh_pyramid(hand, (400, 100))
        self.register_buffer("nodes", levels[0].vertices, persistent=False)
        self.register_buffer("influence", hand.vertex_influence, persistent=False)
        rest = hand.template
        apart = torch.cdist(rest[levels[0].vertices], hand.vertex_influence @ rest)
        self.register_buffer("near", (-((apart / REACH) ** 2) / 2).softmax(1), persistent=False)
        # a linear layer a source and a sum: the same as joining the features and one layer, with less memory
        self.image = nn.ModuleList([nn.Linear(c, width) for c in channels])
        self.local, self.wide = nn.Linear(local, width), nn.Linear(wide, width)
        self.joints, self.place, self.way = nn.Linear(NUM_JOINTS * 3, width), nn.Linear(3, width), nn.Linear(6, width)
        self.net = PerHand(lambda: OffsetNet((levels[0], levels[1]), width), shared)

    def forward(
        self, maps: list[Tensor], joint: JointOutput, mesh: MeshOutput, tan_half: Float[Tensor, "B 2"]
    ) -> RefineOutput:
        """`maps`: the backbone's, (B, N, C, h, w), N = 2 crops or 1 picture of both hands; `tan_half`: of half the crop's
        angle of view, 0 where it is not known.
        """
        rough = mesh.vertices.detach()
        nodes = rough[:, :, self.nodes]
        xy = project_weak(nodes, mesh.camera.detach())
        units = joint.joints25d.new_tensor([1.0, 1.0, 10.0])
        joints = joint.joints25d.detach() * units
        way = mix_nodes(self.near, joints_seen(joint, mesh, tan_half) - mesh.joints.detach())
        told = torch.cat([way * 10, mix_nodes(self.near, joint.spread * units)], -1)
        x = self.joints(joints.flatten(2))[:, :, None] + self.place(nodes * 10) + self.way(told)
        for layer, features in (*zip(self.image, maps), (self.local, joint.features), (self.wide, joint.interaction)):
            # first the layer, then the sampling: being linear they commute, and few channels are quicker to sample
            x = x + sample_hands(layer(features.movedim(2, -1)).movedim(-1, 2), xy)
        offsets = self.net(x, way)
        # the wrist stays at the origin: what the offsets would move it by is taken from the whole hand
        offsets = offsets - mix_nodes(self.influence[:1], offsets)
        return RefineOutput(
            offsets=offsets,
            vertices=rough + offsets,
            joints=mesh.joints.detach() + mix_nodes(self.influence, offsets),
        )


def joints_seen(joint: JointOutput, mesh: MeshOutput, tan_half: Float[Tensor, "B 2"]) -> Float[Tensor, "B 2 21 3"]:
    """J in metres relative to the wrist of M_r, by the weak camera's scale; a joint farther away is larger than it looks."""
    xy, z = joint.joints25d.detach().split([2, 1], -1)
    scale, middle = mesh.camera.detach()[:, :, None].split([1, 2], -1)
    return torch.cat([(xy * (1 + z * scale * tan_half[..., None, None]) - middle) / scale, z], -1)


def sample_hands(features: Float[Tensor, "B N c h w"], xy: Float[Tensor, "B 2 p 2"]) -> Float[Tensor, "B 2 p c"]:
    """Features of each hand's points, from its own map (N = 2) or from the one of both (N = 1)."""
    rows, count = features.shape[:2]
    points = xy.reshape(rows * count, -1, 2)
    return sample_map(features.flatten(0, 1), points).reshape(rows, 2, xy.shape[2], -1)


class NoRefine(nn.Module):
    """Ablation "without refine stage": the rough mesh is the final one."""

    def forward(
        self, maps: list[Tensor], joint: JointOutput, mesh: MeshOutput, tan_half: Float[Tensor, "B 2"]
    ) -> RefineOutput:
        """M_f = M_r."""
        return RefineOutput(offsets=torch.zeros_like(mesh.vertices), vertices=mesh.vertices, joints=mesh.joints)
