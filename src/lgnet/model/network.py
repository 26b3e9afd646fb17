"""LGNet as the paper's figure shows it: backbone -> joint stage -> mesh stage -> refine stage."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..config import ModelConfig
from ..hand_model import load_hand_model
from .backbone import DenseHead, build_backbone
from .eablock import EABlock
from .joint_stage import JointExtractor, JointStage, PooledJoints, Separation
from .layers import PerHand
from .lgblock import LGBlock
from .mesh_stage import CAMERA_SCALE, HandLayer, MeshStage
from .records import PARTS_STRIDE, Inputs, Output
from .refine_stage import NoRefine, RefineStage


class LGNet(nn.Module):
    """The whole network, given its built stages."""

    def __init__(
        self,
        backbone: nn.Module,
        joint_stage: JointStage,
        mesh_stage: MeshStage,
        refine_stage: RefineStage | NoRefine,
        dense_head: DenseHead | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.joint_stage = joint_stage
        self.mesh_stage = mesh_stage
        self.refine_stage = refine_stage
        self.dense_head = dense_head

    def forward(self, inputs: Inputs, keep_attention: bool = False) -> Output:
        """Everything the network says of a batch; the LGBlock's attention maps only when asked for."""
        maps = self.features(inputs)
        joint = self.joint_stage(maps[-1], inputs.given, inputs.geometry, keep_attention)
        mesh = self.mesh_stage(joint, inputs.geometry)
        refine = self.refine_stage(maps[:-1], joint, mesh, inputs.geometry[..., 4])
        parts, surface = (None, None) if self.dense_head is None else self.dense_head(maps)
        return Output(joint=joint, mesh=mesh, refine=refine, parts_logit=parts, surface=surface)

    def features(self, inputs: Inputs) -> list[Float[Tensor, "B N c h w"]]:
        """The backbone's maps, fine to coarse. In training crops of absent hands do not pass it (nor its BatchNorm),
        unless no hand of the batch is there.
        """
        images = inputs.images.flatten(0, 1)
        given = inputs.given.flatten()
        if inputs.images.shape[1] == 1 or not self.backbone.training or given.all() or not given.any():
            maps = self.backbone(images)
        else:
            rows = given.nonzero()[:, 0]
            maps = [_scatter(x, rows, len(images)) for x in self.backbone(images[rows])]
        return [x.unflatten(0, inputs.images.shape[:2]) for x in maps]


def _scatter(x: Tensor, rows: Tensor, count: int) -> Tensor:
    empty = torch.empty((count, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return empty.zero_().index_copy(0, rows, x)


def build_network(config: ModelConfig) -> LGNet:
    """The network a configuration describes, with fresh weights.

    Raises:
        ValueError: the configuration contradicts itself, or names what there is not.
    """
    crops = config.separation == "crops"
    if crops and not config.separate:
        raise ValueError("separate=False is an ablation of separation by heads; crops are separate by themselves")
    if config.surface_head and not config.dense_head:
        raise ValueError("surface_head is a part of the dense head: it wants dense_head too")
    backbone = build_backbone(config)
    width, wide = config.channels, config.channels + config.channels // 4
    lgblock = None
    if config.lgblock and config.block == "eanet":
        if not (config.local_unit and config.global_unit):
            raise ValueError("local and global unit are parts of the block lgnet; EANet's has none to leave out")
        lgblock = EABlock(width, config.grid, config.lgfa_depth, config.lgfa_heads, shared=crops)
    elif config.lgblock and (config.local_unit or config.global_unit):
        lgblock = LGBlock(
            width,
            config.grid,
            config.graph,
            config.lgfa_depth,
            config.lgfa_heads,
            shared=crops,
            local_unit=config.local_unit,
            global_unit=config.global_unit,
        )

    def extractor() -> nn.Module:
        if config.joint_stage:
            return JointExtractor(wide, config.grid, config.heatmap_size, config.heatmap_depth)
        return PooledJoints(wide, config.joint_channels)

    # mirrored crops look alike, so both hands share every part; in one picture of both each has its own, as it must
    # where the hands are not separated and their features are the same
    joint_stage = JointStage(
        Separation(backbone.channels[-1], width, config.grid, _way(config)),
        lgblock,
        width,
        PerHand(extractor, shared=crops),
        config.joint_channels if config.mesh_stage else 0,
        shared=crops,
        depth_range=config.depth_range,
        sample_tokens=config.joint_stage,
    )
    sides = ("right",) if crops else ("right", "left")
    hands = [load_hand_model(config.hand_model, side) for side in sides]
    mesh_stage = MeshStage(
        [HandLayer(hand) for hand in hands],
        wide,
        config.joint_channels,
        config.sjt_depth,
        config.sjt_heads,
        shared=crops,
        camera_scale=CAMERA_SCALE[config.separation],
        transformer=config.mesh_stage,
    )
    refine_stage = (
        RefineStage(hands[0], list(backbone.channels[:3]), width, wide, config.refine_channels, shared=crops)
        if config.refine_stage
        else NoRefine()
    )
    dense_head = None
    if config.dense_head:
        size = config.crop_size // PARTS_STRIDE
        dense_head = DenseHead(backbone.channels, 64, 1 if crops else 2, size, config.surface_head)
    return LGNet(backbone, joint_stage, mesh_stage, refine_stage, dense_head)


def _way(config: ModelConfig) -> str:
    if config.separation == "crops":
        return "crops"
    return "heads" if config.separate else "none"
