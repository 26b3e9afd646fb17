"""The detector's network and its loss.

It says for each cell of a 28 x 28 grid how likely a hand has its middle there, and how large it is (Zhou et al., "Objects as
Points", 2019). Places are read from that by `detect.decode`. It has up to two columns that both look at the whole picture, and
says the mean of what they say: a small one of plain convolutions, and one with the hand network's backbone, which tells
touching hands apart better but is led astray more by photographs (docs/trials.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .config import DetectorConfig, ModelConfig
from .model.backbone import build_backbone

STRIDE = 8
WIDTH = 64
"""Channels of the deep column's head."""


class PlainColumn(nn.Module):
    """Convolutions to 1/32 of the picture, a look at the whole, and back up to 1/8."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        a, b, c, d, e = widths
        self.stem = nn.Sequential(_conv(3, a, 2), _conv(a, b, 2), _conv(b, b))
        self.eighth = nn.Sequential(_conv(b, c, 2), _conv(c, c), _conv(c, c))
        self.sixteenth = nn.Sequential(_conv(c, d, 2), _conv(d, d), _conv(d, d))
        self.thirtysecond = nn.Sequential(_conv(d, e, 2), _conv(e, e), _conv(e, e), _conv(e, e))
        self.whole = nn.Linear(e, e)
        self.lateral16, self.lateral32 = nn.Conv2d(d, c, 1), nn.Conv2d(e, c, 1)
        self.merge = nn.Sequential(_conv(c, c), _conv(c, c))
        self.out = _out(c)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 5 h w"]:
        """As `Detector.forward`."""
        x8 = self.eighth(self.stem((images - 0.45) * 4))
        x16 = self.sixteenth(x8)
        x32 = self.thirtysecond(x16)
        x32 = F.relu(x32 + self.whole(x32.mean((2, 3)))[..., None, None])
        up = self.lateral16(x16) + F.interpolate(self.lateral32(x32), scale_factor=2.0, mode="nearest")
        x = F.relu(x8 + F.interpolate(up, scale_factor=2.0, mode="nearest"))
        return self.out(self.merge(x))


class DeepColumn(nn.Module):
    """The hand network's backbone to 1/16 of the picture, a look at the whole, and back up to 1/8."""

    def __init__(self, depths: Sequence[int], size: int):
        super().__init__()
        shape = ModelConfig(backbone="mobile", mobile_depths=tuple(depths), crop_size=size, grid=size // 16)  # type: ignore[arg-type]
        self.backbone = build_backbone(shape)
        _, fine, _, coarse = self.backbone.channels
        self.whole = nn.Linear(coarse, coarse)
        self.lateral8, self.lateral16 = nn.Conv2d(fine, WIDTH, 1), nn.Conv2d(coarse, WIDTH, 1)
        self.merge = nn.Sequential(_conv(WIDTH, WIDTH), _conv(WIDTH, WIDTH))
        self.out = _out(WIDTH)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 5 h w"]:
        """As `Detector.forward`."""
        _, x8, _, x16 = self.backbone(images)
        x16 = F.relu(x16 + self.whole(x16.mean((2, 3)))[..., None, None])
        x = F.relu(self.lateral8(x8) + F.interpolate(self.lateral16(x16), scale_factor=2.0, mode="nearest"))
        return self.out(self.merge(x))


class Detector(nn.Module):
    """The mean of its columns."""

    def __init__(self, config: DetectorConfig):
        """As configured.

        Raises:
            ValueError: there is no column, or a column has another number of stages.
        """
        super().__init__()
        if not (config.widths or config.depths):
            raise ValueError("a detector wants a column: widths, depths, or both")
        if len(config.widths) not in (0, 5) or len(config.depths) not in (0, 4):
            raise ValueError("a detector has five widths and four depths, or none of one of them")
        self.config = config
        self.plain = PlainColumn(config.widths) if config.widths else None
        self.deep = DeepColumn(config.depths, config.size) if config.depths else None

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 5 h w"]:
        """Heat logit, then x and y of the middle from the cell's corner, log width and log height, all in cells."""
        return torch.stack([column(images).float() for column in (self.plain, self.deep) if column is not None]).mean(0)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _out(inputs: int) -> nn.Conv2d:
    out = nn.Conv2d(inputs, 5, 1)
    with torch.no_grad():
        out.weight.mul_(0.1)
        # hands are rare: one cell in some four hundred
        out.bias = nn.Parameter(torch.tensor([-4.0, *[0.0] * 4]))
    return out


def build_detector(config: DetectorConfig | None = None) -> Detector:
    """A detector with fresh weights.

    Raises:
        ValueError: as `Detector`.
    """
    return Detector(config or DetectorConfig())


def encode_targets(
    boxes: Float[Tensor, "B 2 4"], present: Bool[Tensor, "B 2"], grid: int
) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B 4 h w"], Bool[Tensor, "B h w"]]:
    """Heat (a Gaussian about each hand's middle, 1 at its cell), regression targets and where they hold.

    Boxes are x, y, w, h in pixels of the network's input. A middle outside the picture is taken at its border. Where the
    surroundings of two middles meet, a cell tells of the nearer.
    """
    middle = boxes[..., :2] + boxes[..., 2:] / 2 + 0.5  # in the frame where the picture spans 0..size
    place = (middle / STRIDE).clamp(0, grid - 1e-3)
    cell = place.floor()
    steps = torch.arange(grid, dtype=boxes.dtype, device=boxes.device)
    sigma = (boxes[..., 2:].amax(-1) / STRIDE / 8).clamp(0.7, 3.0)[..., None, None]
    dx = (steps[None, None, None, :] - cell[..., 0, None, None]).expand(-1, -1, grid, grid)
    dy = (steps[None, None, :, None] - cell[..., 1, None, None]).expand(-1, -1, grid, grid)
    there = present[..., None, None]
    heat = (torch.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)) * there).amax(1)
    values = torch.cat([place - cell, torch.log(boxes[..., 2:].clamp_min(2) / STRIDE)], -1)[..., None, None]
    sizes = values[:, :, 2:].expand(-1, -1, -1, grid, grid)
    regression = torch.cat([values[:, :, :1] - dx[:, :, None], values[:, :, 1:2] - dy[:, :, None], sizes], 2)
    far = torch.maximum(dx.abs(), dy.abs()) + (dx * dx + dy * dy) * 1e-3 + torch.where(there, 0.0, 1e3)
    nearest = far.argmin(1, keepdim=True)
    regression = regression.gather(1, nearest[:, :, None].expand(-1, -1, 4, -1, -1))[:, 0]
    return heat, regression, far.amin(1) < 1.5


def detector_loss(
    detector: nn.Module,
    images: Float[Tensor, "B 3 S S"],
    boxes: Float[Tensor, "B 2 4"],
    present: Bool[Tensor, "B 2"],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Focal loss of the heat (CenterNet, equation 1: alpha 2, beta 4) and L1 of place and size about the middles."""
    out = detector(images).float()
    heat, regression, near = encode_targets(boxes, present, out.shape[-1])
    probability = torch.sigmoid(out[:, 0]).clamp(1e-5, 1 - 1e-5)
    peak = heat >= 0.9999
    positive = torch.log(probability) * (1 - probability) ** 2
    negative = torch.log(1 - probability) * probability**2 * (1 - heat) ** 4
    focal = -torch.where(peak, positive, negative).sum() / peak.sum().clamp_min(1)
    error = (out[:, 1:] - regression).abs() * near[:, None]
    count = near.sum().clamp_min(1)
    offset, size = error[:, :2].sum() / count, error[:, 2:].sum() / count
    return focal + 0.5 * offset + size, {"focal": focal, "offset": offset, "size": size}
