"""Samples -> what the network is given and compared with: the crops, their augmentation and the truth in their frames.

Augmentation here is a change of the crop's camera (where it looks, how wide, rolled) and of colour, so that the truth
is carried along exactly: no picture moves without its camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ..config import ModelConfig
from ..crop import Crop, HandCrops, crop_geometry, cut_crops, hand_crops
from ..geometry import iou
from ..hands import NUM_BETAS, NUM_JOINTS, NUM_ROTATIONS, assumed_camera
from ..model.records import PARTS_STRIDE, Inputs, Targets, as_input
from .sample import Sample, labelled, require_side


@dataclass(frozen=True)
class Augment:
    """How training crops differ from the plain ones; all zero is the plain crop of evaluation."""

    centre: float = 0.0  # the box moves by up to this share of its size
    scale: float = 0.0  # and grows or shrinks by up to this share
    roll: float = 0.0  # radians, standard deviation
    colour: float = 0.0  # strength of brightness, contrast and tint
    negatives: float = 0.0  # share of absent hands shown a crop without them
    wrong_side: float = 0.0  # share of two-hand pictures in which one slot is shown the other's hand


NO_AUGMENT = Augment()
TRAIN_AUGMENT = Augment(centre=0.08, scale=0.18, roll=0.45, colour=0.2, negatives=0.4, wrong_side=0.1)


def make_batch(
    samples: Sequence[Sample],
    config: ModelConfig,
    rng: np.random.Generator | None = None,
    augment: Augment = NO_AUGMENT,
) -> tuple[Inputs, Targets]:
    """Crop samples and carry their truth into the crops' frames.

    Samples without any hand are shown negative crops of any place, each slot with the probability `augment.negatives`,
    else with nothing given. `rng` is needed only when `augment` is not the plain one.
    """
    rows = [_one(sample, config, rng, augment) for sample in samples]
    images = as_input(np.stack([row.pop("images") for row in rows]))
    stacked = {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}
    inputs = Inputs(images=images, given=stacked.pop("given"), geometry=stacked.pop("geometry"))
    return inputs, Targets(**stacked)


def _one(sample: Sample, config: ModelConfig, rng: np.random.Generator | None, augment: Augment) -> dict:
    require_side(sample)
    boxes = sample.box.astype(np.float64).copy()
    shown = sample.present & (sample.box[:, 2:].max(1) > 0)  # which slots look at their own hand; one of no place: none
    given = shown.copy()
    absent = ~sample.present & (sample.present_known if sample.present_known is not None else True)
    K = sample_camera(sample)
    roll = 0.0
    if rng is not None and augment is not NO_AUGMENT:
        for side in (0, 1):
            if shown[side]:
                boxes[side] = jitter_box(boxes[side], rng, augment)
            elif absent[side] and rng.random() < augment.negatives:
                boxes[side], given[side] = _negative(sample, side, rng, augment), True
                if rng.random() < 0.25:  # also alone, so that a lone crop is no proof of a hand
                    given[1 - side] = shown[1 - side] = False
        crops_apart = config.separation == "crops"  # one crop of both hands shows each of them
        if crops_apart and shown.all() and iou(*sample.box) < 0.4 and rng.random() < augment.wrong_side:
            side = int(rng.integers(2))
            boxes[side], shown[side] = jitter_box(sample.box[1 - side].astype(np.float64), rng, augment), False
        roll = rng.normal(0, augment.roll)
    row = _empty_row(config)
    if not given.any():
        height, width = sample.image.shape[:2]
        boxes[0] = 0, 0, width, height
        crops = hand_crops(boxes, np.array([True, False]), K, config.crop_size, config.crop_enlarge, config.separation)
        row["images"] = cut_crops(
            sample.image, crops, config.separation
        )  # as BatchNorm of heads has every picture before it
        return row
    crops = hand_crops(boxes, given, K, config.crop_size, config.crop_enlarge, config.separation, roll)
    images = cut_crops(sample.image, crops, config.separation)
    if rng is not None and augment.colour:
        images = change_colours(images, rng, augment.colour)
    row.update(images=images, given=given, geometry=crop_geometry(crops, config.separation))
    row["present_known"] = given & (
        labelled(sample) | ~sample.present
    )  # the box of an unlabelled hand was found, not told
    for side, crop in enumerate(crops.hands):
        if crop is not None and shown[side]:
            _truth(row, sample, side, crop, config.hand_model)
        if crop is not None and sample.parts is not None:
            row["parts"][side] = _parts(sample.parts, side, crop)
    if shown.all():
        _relative(row, sample, crops)
    return row


def sample_camera(sample: Sample) -> np.ndarray:
    """(4,) the sample's camera, or the assumed one where it is unknown."""
    if sample.K is not None:
        return np.asarray(sample.K, dtype=np.float64)
    height, width = sample.image.shape[:2]
    return assumed_camera(width, height).K


def _empty_row(config: ModelConfig) -> dict:
    p = config.crop_size // PARTS_STRIDE
    return {
        "given": np.zeros(2, bool),
        "geometry": np.zeros((2, 5), np.float32),
        "present": np.zeros(2, bool),
        "present_known": np.zeros(2, bool),
        "joints2d": np.zeros((2, NUM_JOINTS, 2), np.float32),
        "joints2d_valid": np.zeros((2, NUM_JOINTS), bool),
        "joints3d": np.zeros((2, NUM_JOINTS, 3), np.float32),
        "joints3d_valid": np.zeros((2, NUM_JOINTS), bool),
        "rotations": np.tile(np.eye(3, dtype=np.float32), (2, NUM_ROTATIONS, 1, 1)),
        "betas": np.zeros((2, NUM_BETAS), np.float32),
        "has_params": np.zeros(2, bool),
        "relative": np.zeros(3, np.float32),
        "has_relative": np.zeros((), bool),
        "parts": np.full((2, p, p), -1, np.int64),
        "wrist": np.zeros((2, 3), np.float32),
        "tan_half": np.ones(2, np.float32),
    }


def _truth(row: dict, sample: Sample, side: int, crop: Crop, hand_model: str) -> None:
    row["present"][side] = True
    joints2d = crop.image_to_crop(sample.joints2d[side])
    row["joints2d"][side] = np.clip(joints2d, -4, 4)
    row["joints2d_valid"][side] = sample.joints2d_valid[side] & (np.abs(joints2d) < 2).all(-1)
    if sample.joints3d_valid[side, 0]:
        row["joints3d"][side] = crop.to_crop(sample.joints3d[side] - sample.joints3d[side, :1])
        row["joints3d_valid"][side] = sample.joints3d_valid[side]
        row["wrist"][side], row["tan_half"][side] = crop.to_crop(sample.joints3d[side, 0]), crop.tan_half
    if sample.has_params[side] and sample.hand_model == hand_model:  # another model's pose and shape mean other things
        rotations = np.stack([cv2.Rodrigues(r)[0] for r in sample.pose[side].astype(np.float64)])
        row["rotations"][side] = crop.pose_to_crop(rotations)
        row["betas"][side] = sample.shape[side]
        row["has_params"][side] = True


def _relative(row: dict, sample: Sample, crops: HandCrops) -> None:
    if crops.hands[0] is not None and crops.hands[1] is not None and sample.joints3d_valid[:, 0].all():
        row["relative"][:] = crops.pair.to_crop(sample.joints3d[1, 0] - sample.joints3d[0, 0])
        row["has_relative"] = np.array(True)


def _parts(parts: np.ndarray, side: int, crop: Crop) -> np.ndarray:
    cut = crop.cut(parts, nearest=True)
    step = PARTS_STRIDE
    cut = cut[step // 2 :: step, step // 2 :: step]
    low = 16 * side
    return np.where((cut > low) & (cut <= low + 16), cut - low, 0).astype(np.int64)


def jitter_box(box: np.ndarray, rng: np.random.Generator, augment: Augment) -> np.ndarray:
    """(4,) x, y, w, h moved and scaled at random, as a detector would be wrong about it."""
    side = max(box[2], box[3])
    centre = box[:2] + box[2:] / 2 + rng.uniform(-augment.centre, augment.centre, 2) * side
    size = box[2:] * np.exp(rng.uniform(-augment.scale * 0.6, augment.scale))
    return np.concatenate([centre - size / 2, size])


def _negative(sample: Sample, side: int, rng: np.random.Generator, augment: Augment) -> np.ndarray:
    """A box that a detector might wrongly offer for an absent hand: the other hand, taken for this side, or any place."""
    height, width = sample.image.shape[:2]
    other = sample.box[1 - side].astype(np.float64)
    if sample.present[1 - side] and other[2:].max() > 0 and rng.random() < 0.7:
        return jitter_box(other, rng, augment)
    size = rng.uniform(0.15, 0.6) * min(height, width)
    centre = rng.uniform(0, 1, 2) * (width, height)
    return np.array([*(centre - size / 2), size, size])


def change_colours(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """(..., 3) uint8 with another brightness, contrast and tint, the same for all of it."""
    gain = np.exp(rng.normal(0, strength)) * np.exp(rng.normal(0, 0.3 * strength, 3))
    gamma = np.exp(rng.normal(0, strength))
    table = np.clip(255 * gain * (np.arange(256)[:, None] / 255) ** gamma, 0, 255).astype(np.uint8)
    return np.stack([table[images[..., c], c] for c in range(3)], -1)
