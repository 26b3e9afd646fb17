"""Several people in view: are their hands paired rightly?

    python benchmarks/people.py [--count 60] [--grouping-only]

Three full frames of one person with two hands each, drawn by lgnet.synth (no other use of this seed), side by side: hands
of neighbours lie as near to each other as chance has it. Of all people: the share whose two hands are one pair, and pairs that
mix two people; with true boxes and sides (grouping alone), and with the bundled finder, tiles and all (a hand is found where
the box overlaps by an IoU of 0.35), where also hands found with their side, and people made of no true hand, a picture.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track

import lgnet
from lgnet.detect import Place
from lgnet.finder import Finder, find_sides
from lgnet.geometry import iou
from lgnet.hands import assumed_camera
from lgnet.people import MOST, Person, group
from lgnet.presets import PRESETS
from lgnet.synth.generate import make_sample, training_rng

SEED, SIZE, FRAMES = 4848, 640, 3
Owner = tuple[int, int]  # person, side


def owners(people: list[Person], boxes: dict[Owner, np.ndarray], least: float) -> list[list[Owner | None]]:
    """Whose hands a group's are; None: nobody's of that side."""
    out = []
    for person in people:
        own: list[Owner | None] = []
        for hand in person:
            if hand is not None:
                shared = {k: iou(box, hand.box) for k, box in boxes.items() if k[1] == hand.side}
                near = [k for k, share in shared.items() if share >= least]
                own.append(max(near, key=shared.__getitem__) if near else None)
        out.append(own)
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="pictures, of three people each")
    parser.add_argument("--grouping-only", action="store_true")
    options = parser.parse_args()
    finder = None if options.grouping_only else lgnet.load(device="cpu").finder
    assert finder is None or isinstance(finder, Finder)
    config = replace(PRESETS["detector"].synth, size=SIZE, fill=(0.25, 0.8))
    names = ("true boxes and sides", "bundled finder")
    totals = {name: dict.fromkeys(("people", "whole", "mixed", "hands", "invented"), 0) for name in names}
    for index in track(range(options.count), "looking", console=Console(stderr=True), transient=True):
        rng = (training_rng(SEED, 0, FRAMES * index + f) for f in range(FRAMES))
        samples = [make_sample(r, config, "separate") for r in rng]
        boxes = {
            (f, side): s.box[side].astype(float) + np.array([f * SIZE, 0, 0, 0])
            for f, s in enumerate(samples)
            for side in (0, 1)
            if s.present[side]
        }
        whole = [f for f in range(FRAMES) if (f, 0) in boxes and (f, 1) in boxes]
        sides = np.array([(0.98, 0.01, 0.01) if side == 0 else (0.01, 0.98, 0.01) for _, side in boxes])
        ways = [(names[0], group([Place(0.9, box) for box in boxes.values()], sides), 0.99)]
        if finder is not None:
            image = np.ascontiguousarray(np.concatenate([s.image for s in samples], 1))
            K = assumed_camera(image.shape[1], image.shape[0]).K
            ways.append((names[1], group(*find_sides(finder, image, K, MOST, "all")), 0.35))
        for name, people, least in ways:
            found = owners(people, boxes, least)
            total = totals[name]
            total["people"] += len(whole)
            total["whole"] += sum([(f, 0), (f, 1)] in found for f in whole)
            total["mixed"] += sum(len(o) == 2 and None not in o and o[0][0] != o[1][0] for o in found)  # type: ignore[index]
            total["hands"] += len({o for own in found for o in own if o is not None and o[0] in whole})
            total["invented"] += sum(all(o is None for o in own) for own in found)
    for name, t in totals.items():
        if t["hands"]:
            print(
                f"{name}: {t['people']} people: pair right {t['whole'] / t['people']:.2f}, "
                f"pairs of two people a person {t['mixed'] / t['people']:.2f}, "
                f"hands found with their side {t['hands'] / (2 * t['people']):.2f}, "
                f"people invented a picture {t['invented'] / options.count:.2f}"
            )


if __name__ == "__main__":
    main()
