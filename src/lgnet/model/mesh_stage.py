"""Mesh stage: joint tokens -> hand-model parameters -> the rough mesh M_r, its camera and the hands' relative place."""

from __future__ import annotations

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..geometry import rotation_6d_to_matrix
from ..hand_model import HandModel, PosedHand, mesh_edges, pose_hand
from ..hands import NUM_BETAS, NUM_JOINTS, NUM_ROTATIONS
from .layers import PerHand, SelfAttentionBlock, small_init
from .records import JointOutput, MeshOutput

CAMERA_SCALE = {"crops": 8.4, "heads": 5.0}
"""Where the weak camera's s starts: a hand of 0.19 m, or two hands of 0.32 m, in a crop 1.25 times its box."""


class HandLayer(nn.Module):
    """A hand model that moves with the network; its arrays are not weights and stay out of checkpoints."""

    edges: Tensor

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        self._model = model
        self._names = [f.name for f in dataclasses.fields(model) if isinstance(getattr(model, f.name), Tensor)]
        for name in self._names:
            self.register_buffer(f"hand_{name}", getattr(model, name), persistent=False)
        self.register_buffer("edges", mesh_edges(model.faces), persistent=False)

    @property
    def model(self) -> HandModel:
        """The hand model with its arrays where the network is."""
        return dataclasses.replace(self._model, **{name: getattr(self, f"hand_{name}") for name in self._names})

    def forward(self, rotations: Float[Tensor, "*n 16 3 3"], betas: Float[Tensor, "*n 10"]) -> PosedHand:
        """Joints and vertices, wrist at the origin; always in float32."""
        with torch.autocast(rotations.device.type, enabled=False):
            return pose_hand(self.model, rotations.float(), betas.float())


class SelfJointTransformer(nn.Module):
    """SJT: standard self-attention over the joint tokens with learned positions (EANet: 4 blocks, 4 heads)."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(NUM_JOINTS, width) * 0.02)
        self.blocks = nn.Sequential(*(SelfAttentionBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)  # **choice**: the closing norm of pre-norm transformers

    def forward(self, tokens: Float[Tensor, "n 21 e"]) -> Float[Tensor, "n 21 e"]:
        """F_J -> F*_J."""
        return self.norm(self.blocks(tokens + self.position))


class PoseRegressor(nn.Module):
    """Flattened features -> 16 rotations as 6D, starting at the identity.

    **choice**: one hidden layer; the paper does not give the number of layers.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.out = small_init(nn.Linear(hidden, NUM_ROTATIONS * 6))
        with torch.no_grad():
            self.out.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(NUM_ROTATIONS))

    def forward(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n 16 6"]:
        """Rotations, 6D."""
        return self.out(F.gelu(self.hidden(x))).unflatten(-1, (NUM_ROTATIONS, 6))


class ShapeCameraRegressor(nn.Module):
    """Pooled F* with J -> 10 shape coefficients and (log s, tx, ty).

    **choice**: J (detached) beside the pooled map, or the hand's place in the crop would have to survive the pooling.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs + NUM_JOINTS * 3, hidden)
        self.out = small_init(nn.Linear(hidden, NUM_BETAS + 3))

    def forward(self, pooled: Float[Tensor, "n d"], joints: Float[Tensor, "n 63"]) -> Float[Tensor, "n 13"]:
        """Shape, log of the scale over its start, translation."""
        return self.out(F.gelu(self.hidden(torch.cat([pooled, joints], -1))))


class RelativeRegressor(nn.Module):
    """Both pooled maps, geometry and cameras -> left wrist minus right wrist, metres, pair frame.

    **choice**: it is also told the two weak cameras (detached) and the depth each implies, 1 / (s * tan_half).
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * inputs + 2 * 9, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.out = small_init(nn.Linear(hidden, 3))

    def forward(
        self, pooled: Float[Tensor, "B 2 d"], geometry: Float[Tensor, "B 2 5"], camera: Float[Tensor, "B 2 3"]
    ) -> Float[Tensor, "B 3"]:
        """Metres; 0.1 is the unit inside."""
        depth = (1 / (camera[..., :1] * geometry[..., 4:])).nan_to_num(posinf=0).clamp(0, 3)
        told = torch.cat([geometry, camera[..., :1].log(), camera[..., 1:], depth], -1)
        return 0.1 * self.out(self.layers(torch.cat([pooled, told.to(pooled.dtype)], -1).flatten(1)))


class MeshStage(nn.Module):
    """SJT and regressors per hand, relative translation of the pair, the hand model."""

    def __init__(
        self,
        hands: list[HandLayer],
        wide: int,
        token_width: int,
        sjt_depth: int,
        sjt_heads: int,
        shared: bool,
        camera_scale: float,
        transformer: bool = True,
    ) -> None:
        """`hands`: one model for both slots (mirrored crops) or right and left; `wide`: channels of F*.

        `transformer` False: parameters by fully-connected layers from the pooled features (ablation).
        """
        super().__init__()
        self.hands = nn.ModuleList(hands)
        self.sjt = (
            PerHand(lambda: SelfJointTransformer(token_width, sjt_depth, sjt_heads), shared) if transformer else None
        )
        inputs = NUM_JOINTS * (token_width + 3) if transformer else wide
        self.pose = PerHand(lambda: PoseRegressor(inputs, 2 * token_width), shared)
        self.shape_camera = PerHand(lambda: ShapeCameraRegressor(wide, token_width), shared)
        self.relative = RelativeRegressor(wide, token_width)
        self.log_scale = math.log(camera_scale)

    def forward(self, joint: JointOutput, geometry: Float[Tensor, "B 2 5"]) -> MeshOutput:
        """The rough mesh of both hands."""
        pooled = joint.interaction.mean((-2, -1))
        # **choice**: J enters the regressors detached, so that it is supervised as what it is, 2.5D joints
        metric = joint.joints25d.detach() * joint.joints25d.new_tensor([1.0, 1.0, 10.0])
        if self.sjt is None:
            six = self.pose(pooled)
        else:
            tokens = self.sjt(joint.tokens)
            six = self.pose(torch.cat([tokens, metric.to(tokens.dtype)], -1).flatten(2))
        rotations = rotation_6d_to_matrix(six.float())
        regressed = self.shape_camera(pooled, metric.flatten(2).to(pooled.dtype)).float()
        betas, log_s, xy = regressed.split([NUM_BETAS, 1, 2], -1)
        scale = (self.log_scale + 3 * torch.tanh(log_s / 3)).exp()  # within e^+-3 of its start
        camera = torch.cat([scale, xy], -1)
        vertices, joints = pose_slots(self.hands, rotations, betas)
        return MeshOutput(
            rotations=rotations,
            betas=betas,
            camera=camera,
            relative=self.relative(pooled, geometry, camera.detach()).float(),
            vertices=vertices,
            joints=joints,
        )


def pose_slots(
    hands: nn.ModuleList, rotations: Float[Tensor, "B 2 16 3 3"], betas: Float[Tensor, "B 2 10"]
) -> tuple[Float[Tensor, "B 2 V 3"], Float[Tensor, "B 2 21 3"]]:
    """Vertices and joints of both slots: by the one model of mirrored crops, or by the right and the left one."""
    if len(hands) == 1:
        posed = hands[0](rotations, betas)
        return posed.vertices, posed.joints
    right, left = (hand(rotations[:, side], betas[:, side]) for side, hand in enumerate(hands))
    return torch.stack([right.vertices, left.vertices], 1), torch.stack([right.joints, left.joints], 1)


def project_weak(points: Float[Tensor, "*n p 3"], camera: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n p 2"]:
    """Weak-perspective projection of metres to normalised crop coordinates: s * xy + (tx, ty)."""
    return camera[..., None, :1] * points[..., :2] + camera[..., None, 1:]
