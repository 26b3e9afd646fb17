"""Which hand is it: a place in a picture -> right hand, left hand or none.

Seen alone a hand tells its side by thumb, nails and palm together with where its arm comes from, so this network looks at
a natural, unmirrored crop, wider than the hand. It is trained by itself, on the hand network's backbone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .config import ModelConfig, SideConfig
from .crop import crop_for_box
from .data.batch import Augment, change_colours, jitter_box, sample_camera
from .data.sample import Sample
from .geometry import iou
from .model.backbone import build_backbone

RIGHT, LEFT, NO_HAND = 0, 1, 2
AUGMENT = Augment(centre=0.12, scale=0.25, roll=0.25, colour=0.25)
NO_HAND_SHARE = 0.25
"""Training crops of places without a hand, per picture."""


class SideNet(nn.Module):
    """Backbone to 1/32 of the crop, then a small convolution that keeps places apart, and two linear layers.

    Each crop is looked at twice, once mirrored, so that by construction a mirrored crop gets the mirrored answer: nothing
    that looks the same in a mirror can lean it to a side.
    """

    def __init__(self, config: SideConfig):
        super().__init__()
        self.config = config
        self.backbone = build_backbone(ModelConfig(backbone="mobile", crop_size=config.crop_size, grid=config.grid))
        self.squeeze = nn.Sequential(
            nn.Conv2d(self.backbone.channels[-1], 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * config.grid**2, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 3)
        )

    def forward(self, crops: Float[Tensor, "n 3 S S"]) -> Float[Tensor, "n 3"]:
        """Logits of right, left, none."""
        both = self.head(self.squeeze(self.backbone(torch.cat([crops, crops.flip(-1)]))[-1]))
        plain, mirrored = both.chunk(2)
        return (plain + mirrored[:, [LEFT, RIGHT, NO_HAND]]) / 2


def build_side_net(config: SideConfig | None = None) -> SideNet:
    """A network with fresh weights."""
    return SideNet(config or SideConfig())


def cut_place(image: np.ndarray, box: np.ndarray, K: np.ndarray, config: SideConfig, roll: float = 0.0) -> np.ndarray:
    """(S, S, 3) uint8, what the network sees of a box (4,) x, y, w, h in pixels of the picture with camera K (4,)."""
    return crop_for_box(box, K, config.crop_size, config.crop_enlarge, mirrored=False, roll=roll).cut(image)


@torch.no_grad()
def side_probabilities(net: SideNet, image: np.ndarray, boxes: Sequence[np.ndarray], K: np.ndarray) -> np.ndarray:
    """(P, 3) how likely each box shows a right hand, a left hand, none.

    Args:
        net: in eval mode.
        image: (H, W, 3) uint8 RGB.
        boxes: P times (4,) x, y, w, h, pixels.
        K: (4,) the picture's camera.
    """
    cut = np.stack([cut_place(image, np.asarray(box, np.float64), K, net.config) for box in boxes])
    crops = as_input(cut).to(next(net.parameters()).device)
    return net(crops).double().softmax(-1).cpu().numpy()


def as_input(crops: np.ndarray) -> Float[Tensor, "n 3 S S"]:
    """uint8 crops (n, S, S, 3) -> the network's input."""
    return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float().div_(255)


def side_batch(
    samples: Sequence[Sample], config: SideConfig, rng: np.random.Generator | None
) -> tuple[Float[Tensor, "n 3 S S"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Crops of all hands in the samples and of some places without, their labels, and each one's sample.

    With a generator crops are jittered, rolled and coloured (not mirrored: the network does that); without, every sample
    gives one place without a hand, always the same.
    """
    crops, labels, rows = [], [], []
    for row, sample in enumerate(samples):
        plain = np.random.default_rng(row) if rng is None else rng
        places = [(sample.box[side].astype(np.float64), side) for side in (RIGHT, LEFT) if sample.present[side]]
        if rng is not None:
            places = [(jitter_box(box, rng, AUGMENT), side) for box, side in places]
        if rng is None or rng.random() < NO_HAND_SHARE or not places:
            empty = _empty_place(sample, plain)
            places += [] if empty is None else [(empty, NO_HAND)]
        K = sample_camera(sample)
        for box, label in places:
            crop = cut_place(sample.image, box, K, config, rng.normal(0, AUGMENT.roll) if rng is not None else 0.0)
            if rng is not None:
                crop = change_colours(crop, rng, AUGMENT.colour)
            crops.append(crop)
            labels.append(label)
            rows.append(row)
    return as_input(np.stack(crops)), torch.tensor(labels), torch.tensor(rows)


def _empty_place(sample: Sample, rng: np.random.Generator) -> np.ndarray | None:
    """A box that shows no hand, or only a hand's edge; None if none was met in a few tries."""
    height, width = sample.image.shape[:2]
    for _ in range(10):
        size = rng.uniform(0.12, 0.5) * min(height, width)
        centre = rng.uniform(0, 1, 2) * (width, height)
        box = np.array([*(centre - size / 2), size, size])
        if all(
            iou(sample.box[s].astype(np.float64), box) < 0.15 for s in (RIGHT, LEFT) if sample.present[s]
        ) and not any(_inside(box, sample.box[s]) for s in (RIGHT, LEFT) if sample.present[s]):
            return box
    return None


def _inside(box: np.ndarray, other: np.ndarray) -> bool:
    """Whether the middle of either box lies in the other's inner half."""
    a, b = box[:2] + box[2:] / 2, other[:2] + other[2:] / 2
    far = np.abs(a - b)
    return bool((far < box[2:] / 3).all() or (far < other[2:] / 3).all())
