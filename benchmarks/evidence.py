"""Key points from elsewhere beside the network alone, and both together: the same pictures, the same scoring.

    python benchmarks/evidence.py --data realdata:../shared/realdata --evidence mediapipe --boxes own [--out DIR]
    python benchmarks/evidence.py --data synth-bench --evidence truth --noise 2 --seed 0 --boxes truth --limit 200

`--evidence truth` is the data set's own 2D joints with Gaussian noise (pixels); a FILE as `lgnet reconstruct` takes it.
With --out each row's predictions are written to DIR/<row>, as `lgnet evaluate --predictions` reads them. Rows: `network`
alone; the key points `alone` (MediaPipe's 3D joints are its world landmarks); both `together`; with MediaPipe and own
boxes also `its-boxes`: the network in the boxes and sides that MediaPipe found. Error is the mean over hands that were
found (right side, under half a box off) of their 2D error, a share of the box; PCK counts missed hands as wrong;
millimetres are of hands that were predicted, protocol C.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

import lgnet
from lgnet.align import KeyPoints
from lgnet.data.registry import open_data
from lgnet.data.sample import Sample
from lgnet.evidence import guide
from lgnet.hands import SIDES, Hand, TwoHands, assumed_camera, camera_of
from lgnet.image_io import Item
from lgnet.keypoint_files import read_key_points
from lgnet.mediapipe_hands import MediaPipeHands
from lgnet.predict import Model
from lgnet.scoring.predictions import write_prediction
from lgnet.scoring.score import HandScore, score_picture

GROUPS = {"demo_dynhamr_video": "by eye: Dyn-HaMR frames", "demo_interhand_unannotated": "by eye: InterHand2.6M frames"}
"""Names of groups of realdata's pictures; what else lies in a folder demo_... are photographs."""


def group_of(name: str) -> str:
    """Of a picture's name: its folder's, as this project's tables call them."""
    folder = name.split("/")[0] if "/" in name else "all"
    if folder in GROUPS or not folder.startswith("demo_"):
        return GROUPS.get(folder, folder)
    return "by eye: photographs"


def alone(given: Sequence[KeyPoints], like: TwoHands) -> TwoHands:
    """The key points as a prediction: of each side the surest, by the name that they give it."""
    pair: list[Hand | None] = [None, None]
    for points in given:
        side = SIDES.index(points.side or "right")
        before = pair[side]
        if before is None or points.score > before.score:
            joints2d = np.where(points.sure[:, None], points.points, 0.0)
            world = np.zeros((21, 3)) if points.world is None else points.world
            zero = np.zeros((0, 3))
            pair[side] = Hand(
                SIDES[side], points.score, points.box, joints2d, world, zero, zero, zero.astype(int), np.zeros((16, 3)),
                np.zeros(10), world[0],
            )  # fmt: skip
    return replace(like, right=pair[0], left=pair[1])


def true_points(sample: Sample, noise: float, rng: np.random.Generator) -> list[KeyPoints]:
    """The sample's own valid joints, with noise."""
    return [
        KeyPoints(
            sample.joints2d[side] + rng.normal(0, noise, (21, 2)),
            sample.joints2d_valid[side].astype(float),
            SIDES[side],
        )
        for side in (0, 1)
        if sample.present[side] and sample.joints2d_valid[side].any()
    ]


def answers(
    model: Model,
    sample: Sample,
    options: argparse.Namespace,
    mediapipe: MediaPipeHands | None,
    rng: np.random.Generator,
) -> dict[str, TwoHands]:
    """One picture's prediction of each row."""
    camera = assumed_camera(*sample.image.shape[1::-1]) if sample.K is None else camera_of(sample.K)
    told = options.boxes == "truth"
    boxes = (sample.box.astype(float), sample.present) if told else (None, None)
    network = model.predict(sample.image, camera, *boxes)
    if mediapipe is not None:
        given = mediapipe.see(sample.image)
    elif options.evidence == "truth":
        given = true_points(sample, options.noise, rng)
    else:
        item = Item(sample.name, str(Path(sample.name).with_suffix("")), "image")
        given = list(read_key_points(options.evidence, [item])(sample.image, item, 0))
    rows = {"network": network, "alone": alone(given, network)}
    rows["together"] = guide(model, network, sample.image, given, told)
    if mediapipe is not None and not told:
        rows["its-boxes"] = replace(model, finder=mediapipe).predict(sample.image, camera)
    return rows


def row(scores: Sequence[HandScore]) -> list[str]:
    """Found, error, PCK@0.2, PCK@0.1, MPJPE, PA-MPJPE."""
    flat = [s for s in scores if s.found is not None]
    joints = np.concatenate([s.errors2d[~np.isnan(s.errors2d)] for s in flat]) if flat else np.zeros(0)
    found = [float(np.nanmean(s.errors2d)) for s in flat if s.found]
    deep = [s.mpjpe["C"] for s in scores if "C" in s.mpjpe]
    aligned = [s.pa_mpjpe for s in scores if s.pa_mpjpe is not None]
    return [
        f"{len(found)} of {len(flat)}",
        f"{np.mean(found):.3f}" if found else "",
        *(f"{(joints <= limit).mean():.3f}" if len(joints) else "" for limit in (0.2, 0.1)),
        *(f"{np.mean(values):.1f} ({len(values)})" if values else "" for values in (deep, aligned)),
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="as of lgnet evaluate")
    parser.add_argument("--evidence", default="mediapipe", help="mediapipe, truth, or a file")
    parser.add_argument("--boxes", choices=("own", "truth"), default="own")
    parser.add_argument("--weights", default="lgnet-mobile")
    parser.add_argument("--noise", type=float, default=2.0, help="pixels, of --evidence truth")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--out", default=None)
    options = parser.parse_args()
    data = open_data(options.data, options.limit)
    mediapipe = MediaPipeHands() if options.evidence == "mediapipe" else None
    model = lgnet.load(options.weights)
    rng = np.random.default_rng(options.seed)
    table: dict[str, dict[str, list[HandScore]]] = defaultdict(lambda: defaultdict(list))
    mrrpe: dict[str, list[float]] = defaultdict(list)
    for index in track(range(len(data)), console=Console(stderr=True), transient=True):
        sample = data.load(index)
        for name, hands in answers(model, sample, options, mediapipe, rng).items():
            score = score_picture(sample, hands)
            for group in {"all", group_of(sample.name), sample.kind}:
                table[group][name] += score.hands
            if score.mrrpe is not None and name != "alone":
                mrrpe[name].append(score.mrrpe)
            if options.out is not None:
                write_prediction(
                    replace(hands, model={**hands.model, "weights": name}), sample, Path(options.out) / name
                )
    print(f"{options.data}, boxes {options.boxes}, evidence {options.evidence}: {len(data)} pictures\n")
    print(
        "| pictures | row | hands found | error | PCK@0.2 | PCK@0.1 | MPJPE | PA-MPJPE |\n|---|---|---|---|---|---|---|---|"
    )
    for group, rows in table.items():
        for name, scores in rows.items():
            cells = row(scores)
            if name == "alone" and mediapipe is None:
                cells[-2:] = "", ""
            print(f"| {group} | {name} | {' | '.join(cells)} |")
    for name, values in mrrpe.items():
        print(f"MRRPE, {name}: {np.mean(values):.1f} mm ({len(values)} pictures)")


if __name__ == "__main__":
    main()
