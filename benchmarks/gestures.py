"""How often gestures are recognised in pictures: the bundled weights on drawn hands, whose pose is known.

    python benchmarks/gestures.py --count 40

One hand is drawn, right or left by turns, in a known pose of the library, with the palm to the camera and turned by some
12 degrees more. Its joints are varied by 4 degrees, those of pinches by 1, so that the tips stay together. lgnet finds it
and each rule is asked of what it sees, and of the true pose. A gesture "is seen" where its rule says at least `begin`, on
the hand's true side: in a video it would begin.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import torch
import tyro

from lgnet import predict
from lgnet.anatomy import rotations_from_angles
from lgnet.config import SynthConfig
from lgnet.gestures import PAPER, Pose, pose_of
from lgnet.hand_model import load_hand_model, pose_hand
from lgnet.hands import SIDES, Camera, Hand, camera_of
from lgnet.synth.generate import draw
from lgnet.synth.poses import LIBRARY
from lgnet.synth.rotations import random_turn
from lgnet.synth.scene import sample_scene

CONFIG = SynthConfig(size=320, full_frame=True, fill=(0.4, 0.7), difficulty=0.2)
SHOWN = {"thumb_up": ("forward", "summon"), "pinch": ("pinch",), "ok": ("pinch",)}
OTHERS = ("flat", "open", "relaxed", "fist", "fist_loose", "point", "victory", "three", "half", "shaka", "claw", "hook")
SPREAD = {"pinch": 1.0, "ok": 1.0}
"""Degrees by which joints are varied where not 4: fingertips that touch stay together."""
PALM_TO_CAMERA = np.diag([1.0, -1.0, -1.0])


def picture(rng: np.random.Generator, name: str, side: int) -> tuple[np.ndarray, Camera, Pose] | None:
    """A drawn picture, its camera and the true pose; None where the scene had no such hand."""
    scene = sample_scene(rng, CONFIG, "single")
    old = scene.hands[side]
    if old is None:
        return None
    model = load_hand_model("lgnet", SIDES[side])
    angles = LIBRARY[name] + np.deg2rad(rng.normal(0, SPREAD.get(name, 4), (15, 3))) * [1, 0.3, 0.2]
    whole = random_turn(rng, 12) @ PALM_TO_CAMERA
    fingers = rotations_from_angles(model, torch.from_numpy(angles)).float()
    rotations = torch.cat([torch.from_numpy(whole).float()[None], fingers])
    posed = pose_hand(model, rotations, torch.from_numpy(old.betas).float())
    at = old.joints.mean(0) - posed.joints.numpy().mean(0)
    new = replace(
        old,
        rotations=rotations.numpy(),
        vertices=posed.vertices.numpy() + at,
        joints=posed.joints.numpy() + at,
        arm=whole @ np.array([0.0, -1.0, 0.0]),
    )
    hands = (new, None) if side == 0 else (None, new)
    drawn = draw(rng, replace(scene, hands=hands), CONFIG, name, force=True)
    if drawn is None:
        return None
    numbers = np.stack([cv2.Rodrigues(r)[0][:, 0] for r in rotations.double().numpy()])
    nothing = np.zeros((0, 3))
    hand = Hand(
        SIDES[side], 1.0, np.zeros(4), nothing, new.joints, nothing, nothing, nothing, numbers, old.betas, new.joints[0]
    )
    assert drawn.sample.K is not None
    return drawn.sample.image, camera_of(drawn.sample.K), pose_of(hand)


def on(pose: Pose | None) -> set[str]:
    """The gestures whose rules say so of this pose."""
    if pose is None:
        return set()
    return {g.name for g in PAPER if g.hand in ("either", pose.side) and g.rule(pose) >= g.begin}


def main(count: int = 40, seed: int = 1, device: str = "cpu") -> None:
    """Measure and print.

    Args:
        count: pictures of each pose.
        seed: of the first.
        device: where to compute.
    """
    torch.set_num_threads(1)
    model = predict.load(device=device)
    found, truly, seen, wrong, drawn = Counter(), Counter(), Counter(), Counter(), Counter()
    for name in (*SHOWN, *OTHERS):
        rng = np.random.default_rng([seed, (*SHOWN, *OTHERS).index(name)])
        while drawn[name] < count:
            shown = picture(rng, name, drawn[name] % 2)
            if shown is None:
                continue
            image, camera, truth = shown
            hands = model.predict(image, camera)
            hand = hands.right if truth.side == "right" else hands.left
            pose = None if hand is None else pose_of(hand, hands.model["hand_model"])
            right = set(SHOWN.get(name, ())) & {g.name for g in PAPER if g.hand in ("either", truth.side)}
            drawn[name] += 1
            found[name] += pose is not None
            truly[name] += on(truth) == right
            seen[name] += bool(right) and right <= on(pose)
            wrong[name] += bool(on(pose) - right)
        line = f"{name:12s} of {drawn[name]}: hand found {found[name]}, rules right on the true pose {truly[name]}, "
        print(line + f"gesture seen {seen[name] if name in SHOWN else '-'}, another seen {wrong[name]}", flush=True)
    others = sum(wrong[name] for name in OTHERS)
    print(f"a gesture seen where there is none: {others} of {sum(drawn[name] for name in OTHERS)}")


if __name__ == "__main__":
    tyro.cli(main)
