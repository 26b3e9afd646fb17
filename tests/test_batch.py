"""Samples to network inputs: the truth follows the picture, whatever is done to the crop."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="synthetic pictures need the extra lgnet[train]")

from lgnet.config import SynthConfig
from lgnet.data.batch import NO_AUGMENT, TRAIN_AUGMENT, _negative, make_batch
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.losses import surface_truth
from lgnet.presets import MODELS
from lgnet.synth.generate import make_sample, training_rng

CROPS, HEADS = MODELS["lgnet-mobile"], MODELS["lgnet-mobile-heads"]


@pytest.fixture(scope="module")
def samples():
    config = SynthConfig(size=160)
    return [
        make_sample(training_rng(3, 0, i), config, kind)
        for i, kind in enumerate(("interacting", "separate", "single", "single", "none"))
    ]


@pytest.mark.parametrize("config", [CROPS, HEADS], ids=["crops", "heads"])
@pytest.mark.parametrize("augment", [NO_AUGMENT, TRAIN_AUGMENT], ids=["plain", "augmented"])
def test_pose_and_shape_give_the_joints_of_the_crop(samples, config, augment):
    """Rotations and betas in the crop's frame, through the hand model, must be the 3D joints in the crop's frame."""
    inputs, targets = make_batch(samples, config, np.random.default_rng(0), augment)
    crops = config.separation == "crops"
    for side in (0, 1):
        model = load_hand_model("lgnet", "right" if crops or side == 0 else "left")
        posed = pose_hand(model, targets.rotations[:, side], targets.betas[:, side])
        known = targets.present[:, side] & inputs.given[:, side]
        assert known.any()
        torch.testing.assert_close(posed.joints[known], targets.joints3d[known, side], atol=2e-5, rtol=0)


@pytest.mark.parametrize("config", [CROPS, HEADS], ids=["crops", "heads"])
def test_crop_coordinates_are_the_projection_in_the_crop(samples, config):
    """joints2d must be (x / z) / tan_half of the true 3D joints in the crop's frame, also when augmented."""
    from lgnet.crop import hand_crops

    sample = samples[0]
    _, targets = make_batch([sample], config)
    crops = hand_crops(sample.box, sample.present, sample.K, config.crop_size, config.crop_enlarge, config.separation)
    for side, crop in enumerate(crops.hands):
        points = crop.to_crop(sample.joints3d[side])
        expected = points[:, :2] / points[:, 2:] / crop.tan_half
        np.testing.assert_allclose(targets.joints2d[0, side].numpy(), expected, atol=1e-4)
    inputs, targets = make_batch([sample] * 8, config, np.random.default_rng(0), TRAIN_AUGMENT)
    points = targets.joints3d + targets.wrist[:, :, None]
    expected = points[..., :2] / points[..., 2:] / targets.tan_half[..., None, None]
    known = targets.joints2d_valid & targets.joints3d_valid & inputs.given[..., None]
    assert known.sum() > 8 * 21
    torch.testing.assert_close(targets.joints2d[known], expected[known], atol=2e-4, rtol=0)


def test_left_hand_looks_like_a_right_hand_of_the_flipped_picture(samples):
    """Flipping the picture swaps the hands: the network must be given the very same crops and truth, slots exchanged."""
    sample = samples[0]
    width = sample.image.shape[1]
    flip2d = lambda uv: np.stack([width - 1 - uv[..., 0], uv[..., 1]], -1)  # noqa: E731
    sign = np.array([-1.0, 1, 1])
    box = sample.box.copy()
    box[:, 0] = width - 1 - box[:, 0] - box[:, 2]
    K = sample.K.copy()
    K[2] = width - 1 - K[2]
    flipped = replace(
        sample,
        image=np.ascontiguousarray(sample.image[:, ::-1]),
        K=K,
        box=box[::-1],
        present=sample.present[::-1],
        joints2d=flip2d(sample.joints2d)[::-1],
        joints3d=(sample.joints3d * sign)[::-1],
        pose=(sample.pose * -sign)[::-1],  # axis-angle seen in a mirror: x stays, y and z change sign
        shape=sample.shape[::-1],
        parts=None,
    )
    a_in, a = make_batch([sample], CROPS)
    b_in, b = make_batch([flipped], CROPS)
    assert (a_in.images - b_in.images.flip(1)).abs().max() <= 2 / 255  # resampling rounds
    torch.testing.assert_close(a.joints2d, b.joints2d.flip(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(a.rotations, b.rotations.flip(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(a.joints3d, b.joints3d.flip(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(a.relative * torch.tensor([1.0, -1, -1]), b.relative, atol=1e-5, rtol=0)
    torch.testing.assert_close(a_in.geometry, b_in.geometry.flip(1), atol=1e-4, rtol=0)


def test_parts_lie_where_the_joints_are(samples):
    """The part plane is cut with the same crop: last bones have their own finger's label (chance: one in sixteen)."""
    _, targets = make_batch(samples, CROPS, np.random.default_rng(5), TRAIN_AUGMENT)
    hits = total = 0
    size = targets.parts.shape[-1]
    for row in range(len(samples)):
        for side in (0, 1):
            if not targets.present[row, side]:
                continue
            for finger in range(5):
                middle = targets.joints2d[row, side, 4 * finger + 3 : 4 * finger + 5].mean(0)  # of the last bone
                x, y = ((middle + 1) / 2 * size).long().tolist()
                if 0 <= x < size and 0 <= y < size and targets.parts[row, side, y, x] > 0:
                    total += 1
                    hits += int((targets.parts[row, side, y, x] + 1) // 3 == finger + 1)
    assert total >= 8
    assert hits / total > 0.35


@pytest.mark.parametrize("config", [CROPS, HEADS], ids=["crops", "heads"])
def test_cells_show_the_vertices_of_their_part(samples, config):
    """What a cell is said to show of the hand at rest belongs to the part that was drawn there (chance: one in sixteen)."""
    _, targets = make_batch(samples, config, np.random.default_rng(5), TRAIN_AUGMENT)
    right = total = 0
    for side in (0, 1):
        crops = config.separation == "crops"
        model = load_hand_model("lgnet", "right" if crops or side == 0 else "left")
        vertices = pose_hand(model, targets.rotations[:, side], targets.betas[:, side]).vertices
        parts, numbers = targets.parts[:, side], torch.arange(len(model.template), dtype=torch.float32)
        places, known = surface_truth(
            vertices, targets.wrist[:, side], targets.tan_half[:, side], numbers[:, None].expand(-1, 3), parts
        )
        label = model.weights.argmax(1)[(places[:, 0] / 10).round().long()] + 1
        known = known & targets.present[:, side, None, None]
        total += int(known.sum())
        right += int((label == parts)[known].sum())
    assert total > 100
    assert right / total > 0.6  # a cell is some 8 mm wide, and parts border each other


def test_absent_hands_are_not_given_without_augmentation(samples):
    inputs, targets = make_batch(samples, CROPS)
    single = samples[2].present
    assert inputs.given[2].tolist() == single.tolist()
    assert not inputs.given[4].any()
    assert not targets.present[4].any()
    assert not targets.joints3d_valid[4].any()
    assert not targets.has_relative[2]
    assert targets.has_relative[0]


def test_negatives_are_known_to_be_absent_and_never_scored(samples):
    augment = replace(TRAIN_AUGMENT, negatives=1.0)
    inputs, targets = make_batch(samples, CROPS, np.random.default_rng(1), augment)
    absent = ~torch.from_numpy(np.stack([s.present for s in samples]))
    shown = absent & inputs.given  # of two absent hands one may stay unshown, so that the other is shown alone
    assert shown.any(1)[absent.any(1)].all()
    assert targets.present_known[shown].all()
    assert not targets.present[absent].any()
    assert not targets.joints2d_valid[absent].any()
    assert not targets.has_params[absent].any()


def test_only_a_crop_of_its_own_can_show_a_slot_the_other_hand(samples):
    """The one crop that heads look at shows both hands, so neither is ever told to be absent there."""
    apart = [s for s in samples if s.present.all()]
    missing = {}
    for config in (CROPS, HEADS):
        _, targets = make_batch(apart * 20, config, np.random.default_rng(2), replace(TRAIN_AUGMENT, wrong_side=1.0))
        missing[config.separation] = int((targets.present_known & ~targets.present).sum())
    assert missing["crops"] > 10 and missing["heads"] == 0


def test_without_jitter_crops_of_absent_hands_are_exact_too(samples):
    """The other hand, taken for this side: in its own box, or in one as far off as asked for."""
    lone = next(s for s in samples if s.present.sum() == 1)
    side = int(np.flatnonzero(~lone.present)[0])
    exact = replace(TRAIN_AUGMENT, centre=0.0, scale=0.0)
    for augment, wanted in ((exact, True), (TRAIN_AUGMENT, False)):
        rng = np.random.default_rng(0)
        boxes = [_negative(lone, side, rng, augment) for _ in range(20)]
        assert any(np.array_equal(box, lone.box[1 - side]) for box in boxes) is wanted


def test_same_generator_same_batch(samples):
    first, second = (make_batch(samples, CROPS, np.random.default_rng(9), TRAIN_AUGMENT)[0].images for _ in range(2))
    assert torch.equal(first, second)


def test_only_the_networks_own_hand_model_gives_pose_and_shape(samples):
    _, own = make_batch(samples, CROPS)
    _, other = make_batch(samples, replace(CROPS, hand_model="mano"))
    assert own.has_params.any() and not other.has_params.any()
    assert torch.equal(own.joints3d, other.joints3d) and torch.equal(own.joints3d_valid, other.joints3d_valid)


def test_what_is_not_known_to_be_absent_is_no_negative(samples):
    lone = next(s for s in samples if s.kind == "single")
    side = int(np.flatnonzero(~lone.present)[0])
    always = replace(TRAIN_AUGMENT, negatives=1.0)
    _, told = make_batch([lone] * 20, CROPS, np.random.default_rng(0), always)
    assert told.present_known[:, side].all() and not told.present[:, side].any()
    unlabelled = replace(lone, present_known=lone.present)
    _, untold = make_batch([unlabelled] * 20, CROPS, np.random.default_rng(0), always)
    assert not untold.present_known[:, side].any()
    nowhere = replace(lone, box=np.zeros((2, 4), np.float32))  # there, but nobody knows where
    inputs, targets = make_batch([nowhere] * 20, CROPS, np.random.default_rng(0), TRAIN_AUGMENT)
    assert not inputs.given[:, 1 - side].any() and not targets.present[:, 1 - side].any()
