"""Feature pyramids: a plain ResNet family (ResNet-50 as published, and a small one for CPUs), or one of transformers.

A backbone takes (N, 3, S, S) RGB in 0..1 and returns four maps, fine to coarse; the last is F, always `grid` x `grid`.
The second has stride 8 wherever the backbone has such a map (ours always do), which is what the dense head reads.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class Normalise(nn.Module):
    """RGB in 0..1 -> the mean 0, deviation 1 that ImageNet weights expect."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor(IMAGE_MEAN)[:, None, None], torch.tensor(IMAGE_STD)[:, None, None]
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, images: Float[Tensor, "n 3 S S"]) -> Float[Tensor, "n 3 S S"]:
        """(images - mean) / std in one pass."""
        return torch.addcmul(self.shift, images, self.scale)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 and a shortcut; names and strides as torchvision's ResNet-50."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, 4 width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Stem and four stages. Parameter names are torchvision's, so published ResNet-50 weights load by name."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        widths: tuple[int, int, int, int],
        depths: tuple[int, int, int, int],
        stride: int,
        pool: bool,
    ) -> None:
        """`stride` of the last map: 32, or 16 or 8 where the last stages keep their size.

        The stem is a 7x7 convolution to stride 4: with `pool`, stride 2 and max-pooling as published; without, stride 4
        at once, which saves a fifth of the time of a small network.
        """
        super().__init__()
        if stride not in (8, 16, 32):
            raise ValueError(f"crop_size / grid must be 8, 16 or 32 for this backbone, got {stride}")
        inputs = widths[0]
        self.conv1 = nn.Conv2d(3, inputs, 7, 2 if pool else 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.pool = pool
        strides = (1, 2, 2 if stride >= 16 else 1, 2 if stride == 32 else 1)
        stages = []
        for width, depth, step in zip(widths, depths, strides, strict=True):
            blocks = []
            for index in range(depth):
                blocks.append(block(inputs, width, step if index == 0 else 1))
                inputs = width * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = tuple(width * block.expansion for width in widths)
        self.normalise = Normalise()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock | Bottleneck):  # blocks start as their shortcuts (Goyal et al., 2017)
                nn.init.zeros_((module.bn2 if isinstance(module, BasicBlock) else module.bn3).weight)

    def forward(self, images: Float[Tensor, "n 3 S S"]) -> list[Tensor]:
        """Four maps, fine to coarse."""
        x = self.normalise(images).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class HubBackbone(nn.Module):
    """A backbone of transformers by name; its last map is resized to the grid where its stride does not lead there."""

    def __init__(self, name: str, grid: int) -> None:
        """`name` as in the hub or a folder; made with its published weights where they are stored on this machine.

        Raises:
            ValueError: transformers is not installed, knows no such backbone, or it has less than four stages.
        """
        super().__init__()
        try:
            # not AutoBackbone, which in version 5 asks the hub even for a folder
            from transformers import MODEL_FOR_BACKBONE_MAPPING, AutoConfig  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ValueError(
                f"backbone 'hf:{name}' needs the package transformers, which is not installed: pip install transformers"
            ) from error
        try:
            config = AutoConfig.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise ValueError(f"transformers has no backbone {name!r}: {' '.join(str(error).split())[:200]}") from error
        stages = len(getattr(config, "stage_names", ())) - 1
        if type(config) not in MODEL_FOR_BACKBONE_MAPPING or stages < 4:
            raise ValueError(f"'hf:{name}' is no backbone with four stages or more that transformers knows as one")
        # of a plain transformer, whose every layer is a stage, four at even distances, the last layer's among them
        kind = MODEL_FOR_BACKBONE_MAPPING[type(config)]
        self.body = kind.from_pretrained(name, out_indices=tuple(stages * k // 4 for k in (1, 2, 3, 4)))
        self.grid = grid
        self.channels = tuple(self.body.channels)
        self.normalise = Normalise()

    def forward(self, images: Float[Tensor, "n 3 S S"]) -> list[Tensor]:
        """Four maps, fine to coarse."""
        maps = list(self.body(self.normalise(images)).feature_maps)
        if maps[-1].shape[-1] != self.grid:
            maps[-1] = F.interpolate(maps[-1], size=(self.grid, self.grid), mode="bilinear", align_corners=False)
        return maps


def mobile_backbone(depths: tuple[int, int, int, int], crop_size: int, grid: int) -> ResNet | HubBackbone:
    """The mobile backbone by itself, for the networks that find hands."""
    return build_backbone(ModelConfig(backbone="mobile", mobile_depths=depths, crop_size=crop_size, grid=grid))


def build_backbone(config: ModelConfig) -> ResNet | HubBackbone:
    """The backbone a configuration names.

    Raises:
        ValueError: an unknown name, a size it cannot do, or transformers missing for "hf:...".
    """
    if config.backbone.startswith("hf:"):
        return HubBackbone(config.backbone[3:], config.grid)
    if config.crop_size % config.grid:
        raise ValueError(f"crop_size {config.crop_size} is not a multiple of grid {config.grid}")
    stride = config.crop_size // config.grid
    if config.backbone == "resnet50":
        net = ResNet(Bottleneck, (64, 128, 256, 512), (3, 4, 6, 3), stride, pool=True)
    elif config.backbone == "mobile":
        # no depthwise convolutions: on a CPU in fp32 they are bound by memory and train slower than these
        net = ResNet(BasicBlock, (32, 64, 128, 256), config.mobile_depths, stride, pool=False)
    else:
        raise ValueError(f"unknown backbone {config.backbone!r}: resnet50, mobile or hf:NAME")
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class DenseHead(nn.Module):
    """Parts, and places on the hand at rest, at 1/8 of the crop, from the backbone's stride-8 map and F: dense truth for
    pre-training.
    """

    def __init__(self, channels: tuple[int, ...], width: int, hands: int, size: int, surface: bool = False) -> None:
        super().__init__()
        self.hands, self.size = hands, size
        self.fine = nn.Conv2d(channels[1], width, 1)
        self.coarse = nn.Conv2d(channels[-1], width, 1)
        self.out = nn.Conv2d(width, hands * 17, 3, padding=1)
        self.surface = nn.Conv2d(width, hands * 3, 3, padding=1) if surface else None

    def forward(self, maps: list[Tensor]) -> tuple[Float[Tensor, "B 2 17 P P"], Float[Tensor, "B 2 3 P P"] | None]:
        """Logits of 17 classes a hand, and decimetres on the hand at rest.

        `maps` are (B, N, C, h, w): N = 2 crops of one hand, or 1 crop of both.
        """
        rows, crops = maps[-1].shape[:2]
        size = (self.size, self.size)
        fine, coarse = self.fine(maps[1].flatten(0, 1)), self.coarse(maps[-1].flatten(0, 1))
        if fine.shape[-1] != self.size:
            fine = F.interpolate(fine, size=size, mode="bilinear", align_corners=False)
        x = F.relu(fine + F.interpolate(coarse, size=size, mode="bilinear", align_corners=False))
        parts = self.out(x).reshape(rows, crops * self.hands, 17, *size)
        return parts, None if self.surface is None else self.surface(x).reshape(rows, crops * self.hands, 3, *size)
