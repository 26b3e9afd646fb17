"""Learning from other networks: distillation from a larger one, and self-training on pictures that nobody labelled.

Teachers see the same crops and say where everything is; the student is drawn to the mean of what they say, joint by joint
as much as they agree. Teachers may stay as they are (distillation), or follow the student as averages of its weights
(self-training), in turns, so that two of them stay apart. What the student is shown of unlabelled pictures is roughened
(noise, colours, a patch hidden), what teachers see is not, or there would be nothing to learn.

A student between two teachers, weighted by how far these are apart, follows Ohkawa, Li, Fu, Furuta, Kitani, Sato, Domain
Adaptive Hand Keypoint and Pixel Localization in the Wild (ECCV 2022); averages as teachers, Tarvainen and Valpola, Mean
Teachers (NeurIPS 2017). **choice**: the form of the weight, and that it is taken joint by joint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .checkpoint import load_network
from .config import MEANING, LossConfig, ModelConfig
from .losses import DEPTH_UNIT, masked_mean
from .model.network import LGNet
from .model.records import Inputs, Output, Targets

HALF = 0.02
"""Metres: where two teachers' joints are so far apart, what they say counts by half."""


@dataclass(frozen=True)
class Lesson:
    """What teachers say of a batch, and how much each joint of it is to be believed."""

    joints25d: Float[Tensor, "B 2 21 3"]
    joints: Float[Tensor, "B 2 21 3"]  # of M_f, metres
    rotations: Float[Tensor, "B 2 16 3 3"]
    betas: Float[Tensor, "B 2 10"]
    weight: Float[Tensor, "B 2 21"]  # 0 to 1
    given: Bool[Tensor, "B 2"]


class Teachers:
    """One or two networks that teach; not part of what is trained."""

    def __init__(self, networks: Sequence[LGNet], sizes: Sequence[int], decay: float) -> None:
        """`sizes`: the side of each one's crops; `decay`: of the averages of the student that they become, 0: they stay."""
        self.networks, self._sizes, self._decay = list(networks), list(sizes), decay
        for network in self.networks:
            network.eval().requires_grad_(False)

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        for network in self.networks:
            network.to(device)

    @torch.no_grad()
    def say(self, inputs: Inputs, absent: Bool[Tensor, "B 2"] | None = None) -> Lesson:
        """Their mean, weighted by their agreement; a hand without a crop has weight 0, and so has one that the truth says is
        `absent`, whatever its crop shows.
        """
        said = [network(_sized(inputs, size)) for network, size in zip(self.networks, self._sizes)]
        given = inputs.given if absent is None else inputs.given & ~absent
        weight = given[..., None].float().expand(-1, -1, said[0].joint.joints25d.shape[2])
        if len(said) > 1:
            weight = weight * agreement(said[0].refine.joints, said[1].refine.joints)
        return Lesson(
            joints25d=torch.stack([o.joint.joints25d for o in said]).mean(0),
            joints=torch.stack([o.refine.joints for o in said]).mean(0),
            rotations=torch.stack([o.mesh.rotations for o in said]).mean(0),
            betas=torch.stack([o.mesh.betas for o in said]).mean(0),
            weight=weight,
            given=given,
        )

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """One of them, in turns, takes in the student's weights of this step, on every process alike."""
        if not self._decay:
            return
        chosen = self.networks[step % len(self.networks)]
        new = student.state_dict()
        own = {name: value for name, value in chosen.state_dict().items() if name in new}  # dense heads teach nothing
        for name, value in own.items():
            if value.is_floating_point():
                value.lerp_(new[name].detach(), 1 - self._decay)
            else:
                value.copy_(new[name])
        # parameters are alike by themselves, but each process has seen its own batches' statistics
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            statistics = {name for name, _ in chosen.named_buffers()} & set(own)
            _broadcast([own[name] for name in sorted(statistics) if own[name].is_floating_point()])

    def state(self) -> dict[str, Tensor]:
        """What has to be kept for a run to go on: nothing of teachers that stay as they are."""
        if not self._decay:
            return {}
        return {f"{k}.{name}": v for k, net in enumerate(self.networks) for name, v in net.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for k, network in enumerate(self.networks if self._decay else ()):
            network.load_state_dict({n.split(".", 1)[1]: v for n, v in state.items() if n.split(".", 1)[0] == str(k)})


def _broadcast(buffers: Sequence[Tensor]) -> None:
    """The first process's values, to all others; in one message."""
    joined = torch.cat([buffer.ravel() for buffer in buffers])
    torch.distributed.broadcast(joined, 0)
    for buffer, values in zip(buffers, joined.split([buffer.numel() for buffer in buffers])):
        buffer.copy_(values.view_as(buffer))


def load_teachers(paths: Sequence[str], student: ModelConfig, decay: float) -> Teachers | None:
    """The teachers of these files; None: there are none.

    Raises:
        ValueError: a file cannot be read, there are more than two, or one sees or says other things than the student.
    """
    if not paths:
        return None
    if len(paths) > 2:
        raise ValueError(f"--teacher takes one or two files, not {len(paths)}")
    networks, sizes = [], []
    for path in paths:
        network, config, _ = load_network(path)
        for name in MEANING:
            if getattr(config, name) != getattr(student, name):
                raise ValueError(
                    f"{path} cannot teach this network: its {name} is {getattr(config, name)!r}, not {getattr(student, name)!r}"
                )
        if decay and replace(config, dense_head=student.dense_head, surface_head=student.surface_head) != student:
            raise ValueError(
                f"{path} is of another architecture, so it cannot follow the student; leave --teacher-ema at 0"
            )
        networks.append(network)
        sizes.append(config.crop_size)
    return Teachers(networks, sizes, decay)


def agreement(one: Float[Tensor, "*n 3"], other: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """2 (1 - sigmoid(k d)) of the distance d in metres: 1 where two teachers agree, a half at `HALF`, then towards 0."""
    distance = (one - other).norm(dim=-1)
    return 2 * (1 - torch.sigmoid(distance * (1.0986123 / HALF)))  # sigmoid(ln 3) = 3 / 4


def lesson_loss(output: Output, lesson: Lesson, config: LossConfig) -> Float[Tensor, ""]:
    """How far the student is from what it is taught: the ordinary loss's terms of 2.5D joints, joints of both meshes, pose
    and shape, weighed as there, means over the hands that are given, each joint by how much it is to be believed.
    """
    hand = lesson.weight.mean(-1)

    def far(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        return masked_mean((a.float() - b).abs().flatten(weight.dim()).mean(-1) * weight, lesson.given)

    said, taught = output.joint.joints25d, lesson.joints25d
    across = far(said[..., :2], taught[..., :2], lesson.weight)
    along = far(said[..., 2:] / DEPTH_UNIT, taught[..., 2:] / DEPTH_UNIT, lesson.weight)
    total = config.joints25d * (across + 0.5 * along)  # as `losses.joints25d_loss`
    total = total + config.joints3d * far(output.mesh.joints, lesson.joints, lesson.weight)
    if output.refine.joints is not output.mesh.joints:
        total = total + config.joints3d * far(output.refine.joints, lesson.joints, lesson.weight)
    total = total + config.pose * far(output.mesh.rotations, lesson.rotations, hand)
    return total + config.shape * far(output.mesh.betas, lesson.betas, hand)


def unlabelled(targets: Targets) -> Bool[Tensor, " B"]:
    """Which pictures of a batch have no truth of any hand."""
    known = targets.joints2d_valid.any(-1) | targets.joints3d_valid.any(-1) | targets.has_params | targets.present_known
    return ~known.any(-1)


def roughen(images: Float[Tensor, "B N 3 S S"], rows: Bool[Tensor, " B"]) -> Float[Tensor, "B N 3 S S"]:
    """The crops of these rows with other colours, noise and a patch of one colour over some of them; nothing is moved.

    By torch's own generator, so that a step's seed decides it.
    """
    count, crops, _, size, _ = images.shape
    device = images.device

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device)

    rough = images * (0.7 + 0.6 * drawn(count, 1, 3, 1, 1)) + 0.2 * (drawn(count, 1, 1, 1, 1) - 0.5)
    rough = rough + 0.08 * drawn(count, 1, 1, 1, 1) * torch.randn(images.shape, device=device)
    side = size * (0.15 + 0.25 * drawn(count, crops, 1))
    at = torch.arange(size, device=device)
    low_x, low_y = ((size - side) * drawn(count, crops, 1) for _ in range(2))
    across = (at >= low_x) & (at < low_x + side)
    down = (at >= low_y) & (at < low_y + side)
    hidden = (down[..., None] & across[..., None, :])[:, :, None] & (drawn(count, crops, 1, 1, 1) < 0.5)
    rough = torch.where(hidden, drawn(count, crops, 3, 1, 1), rough).clamp(0, 1)
    return torch.where(rows[:, None, None, None, None], rough, images)


def _sized(inputs: Inputs, size: int) -> Inputs:
    """The same crops in the pixels that a teacher is used to."""
    if inputs.images.shape[-1] == size:
        return inputs
    shape = inputs.images.shape
    images = F.interpolate(inputs.images.flatten(0, 1), (size, size), mode="bilinear", antialias=True)
    return replace(inputs, images=images.unflatten(0, shape[:2]))
