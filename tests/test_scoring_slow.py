"""Many pictures scored at once: as each alone, and as written down joint by joint."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lgnet.data.sample import empty_sample
from lgnet.geometry import box_of
from lgnet.hands import SIDES, Camera, Hand, TwoHands
from lgnet.scoring.score import note_picture, score_picture, score_pictures

K = np.array([300.0, 310, 64, 60], np.float32)


def random_picture(seed: int):
    """Truth and prediction with joints, hands and sides missing at random."""
    rng = np.random.default_rng(seed)
    sample = empty_sample(f"{seed}", "interacting", np.zeros((120, 128, 3), np.uint8), K)
    found = [None, None]
    for side in range(2):
        joints = rng.normal((0.1 * side, 0, 0.6), 0.04, (21, 3))
        own = joints + rng.normal(0, 0.01, (21, 3)) * (1 + 9 * (rng.random() < 0.2))
        if rng.random() < 0.85:
            sample.present[side] = True
            sample.joints3d[side], sample.joints2d[side] = joints, joints[:, :2] / joints[:, 2:] * K[:2] + K[2:]
            sample.box[side] = box_of(sample.joints2d[side])
            sample.joints3d_valid[side] = rng.random(21) < rng.choice([0.1, 0.8, 1])
            sample.joints2d_valid[side] = rng.random(21) < rng.choice([0, 0.8, 1])
            sample.joints3d[side][~sample.joints3d_valid[side]] = 1.0  # as some data sets store what is not known
        if rng.random() < 0.85:
            pixels = own[:, :2] / own[:, 2:] * K[:2] + K[2:]
            none, zero = np.zeros((0, 3)), np.zeros((16, 3))
            found[side] = Hand(SIDES[side], 1, np.zeros(4), pixels, own, none, none, none, zero, np.zeros(10), own[0])
    if rng.random() < 0.2:
        sample = replace(sample, present_known=np.array([True, False]))
    return sample, TwoHands(found[0], found[1], 128, 120, Camera(*map(float, K)))


def aligned(source, target):
    """Kabsch and Umeyama, as in textbooks."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, d, vh = np.linalg.svd(a.T @ b)
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vh))])
    scale = np.trace(np.diag(d) @ flip) / (a**2).sum()
    return scale * a @ (u @ flip @ vh) + target.mean(0)


def slow_hand(sample, side, hand):
    """What a hand's score has to say, by loops."""
    truth, valid, out = sample.joints3d[side].astype(float), sample.joints3d_valid[side], {}
    seen = np.flatnonzero(sample.joints2d_valid[side])
    box = max(np.ptp(sample.joints2d[side][seen], axis=0)) if len(seen) else 0
    out["2d"] = [math.nan] * 21
    for j in seen if box > 0 else ():
        out["2d"][j] = math.inf if hand is None else math.dist(hand.joints2d[j], sample.joints2d[side][j]) / box
    for name, root, scaled in (("A", 9, True), ("B", 0, True), ("C", 0, False)):
        if not valid[root] or (scaled and not (valid[0] and valid[9])):
            continue
        row = [math.nan] * 21
        for j in np.flatnonzero(valid):
            if hand is None:
                row[j] = math.inf
                continue
            scale = math.dist(truth[0], truth[9]) / math.dist(hand.joints3d[0], hand.joints3d[9]) if scaled else 1
            row[j] = 1000 * math.dist((hand.joints3d[j] - hand.joints3d[root]) * scale, truth[j] - truth[root])
        out[name] = row
    out["pa"] = out["absolute"] = None
    if hand is not None and valid.any():
        out["absolute"] = 1000 * np.mean([math.dist(hand.joints3d[j], truth[j]) for j in np.flatnonzero(valid)])
        if valid.sum() >= 4:
            off = aligned(hand.joints3d[valid], truth[valid]) - truth[valid]
            out["pa"] = 1000 * np.mean([math.hypot(*row) for row in off])
    return out


def test_many_at_once_are_as_by_loops():
    pictures = [random_picture(seed) for seed in range(120)]
    scores = score_pictures([note_picture(sample, hands) for sample, hands in pictures])
    checked = 0
    for (sample, hands), score in zip(pictures, scores):
        assert [hand.side for hand in score.hands] == np.flatnonzero(sample.present).tolist()
        predicted = (hands.right, hands.left)
        known = (True, True) if sample.present_known is None else sample.present_known
        told = [bool((predicted[s] is not None) == sample.present[s]) if known[s] else None for s in range(2)]
        assert list(score.presence) == told
        for own in score.hands:
            expected = slow_hand(sample, own.side, predicted[own.side])
            np.testing.assert_allclose(own.errors2d, expected["2d"], rtol=1e-6)
            assert set(own.errors3d) == set(expected) & set("ABC")
            for name, errors in own.errors3d.items():
                np.testing.assert_allclose(errors, expected[name], atol=1e-6)
                checked += 1
            assert (own.pa_mpjpe is None) == (expected["pa"] is None)
            if own.pa_mpjpe is not None:
                assert own.pa_mpjpe == pytest.approx(expected["pa"], abs=1e-6)
            assert own.absolute == (
                None if expected["absolute"] is None else pytest.approx(expected["absolute"], abs=1e-6)
            )
        wrists = sample.joints3d_valid[:, 0].all() and sample.present.all() and None not in predicted
        assert (score.mrrpe is not None) == wrists
        if wrists:
            own, true = (h[1] - h[0] for h in ([p.joints3d[0] for p in predicted], sample.joints3d[:, 0].astype(float)))
            assert score.mrrpe == pytest.approx(1000 * math.dist(own, true), abs=1e-6)
        both = [sample.joints3d[s][sample.joints3d_valid[s]].astype(float) for s in np.flatnonzero(sample.present)]
        if len(both) == 2 and all(map(len, both)):
            assert score.distance == pytest.approx(
                1000 * min(math.dist(a, b) for a in both[0] for b in both[1]), abs=1e-6
            )
        else:
            assert score.distance is None
    assert checked > 300


def test_many_at_once_are_as_each_alone():
    pictures = [random_picture(seed) for seed in range(200, 230)]
    together = score_pictures([note_picture(sample, hands) for sample, hands in pictures])
    for (sample, hands), score in zip(pictures, together):
        alone = score_picture(sample, hands)
        assert (alone.presence, alone.mrrpe, alone.distance) == (score.presence, score.mrrpe, score.distance)
        for a, b in zip(alone.hands, score.hands, strict=True):
            assert (a.found, a.right_side, a.error2d_px, a.pa_mpjpe) == (
                b.found,
                b.right_side,
                b.error2d_px,
                b.pa_mpjpe,
            )
            for name in a.errors3d:
                np.testing.assert_array_equal(a.errors3d[name], b.errors3d[name])
