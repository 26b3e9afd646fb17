"""The pictures of README and docs, made anew: `python scripts/docs_pictures.py`.

docs/demo.jpg: the bundled weights on the bundled examples, nothing chosen. docs/curve.png: the learning curves of the
bundled weights, from the runs' metrics.jsonl as kept in docs/curves/. docs/synthetic.jpg: what the hand networks train on,
the first pictures of a seed, nothing chosen.
"""

from pathlib import Path

import cv2

import lgnet
from lgnet.commands import TTA
from lgnet.image_io import read_image
from lgnet.plots import plot_learning_curves
from lgnet.presets import PRESETS
from lgnet.synth.generate import make_sample, training_rng
from lgnet.visualize import contact_sheet, overlay

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "src" / "lgnet" / "examples"


def demo() -> None:
    """Each example above its overlay."""
    model = lgnet.load(tta=TTA)
    paths = sorted(EXAMPLES.glob("*.jpg"))
    images = [read_image(path).pixels for path in paths]
    overlays = [overlay(image, model(path)) for image, path in zip(images, paths)]
    sheet = contact_sheet([*images, *overlays], columns=len(paths), tile=300)
    cv2.imwrite(str(ROOT / "docs" / "demo.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def curves() -> None:
    """MPJPE of the hand networks on every fifth picture of synth-bench, true boxes."""
    runs = {path.stem: path for path in sorted((ROOT / "docs" / "curves").glob("*.jsonl"))}
    hands = {name: path for name, path in runs.items() if name in ("hands", "lgnet-mobile")}
    plot_learning_curves(hands, ROOT / "docs" / "curve.png", "bench/mpjpe", ylabel="MPJPE, protocol C, mm")
    if {"mobile-heads", "mobile-crops"} <= runs.keys():
        both = {"heads (the paper's way)": runs["mobile-heads"], "crops": runs["mobile-crops"]}
        plot_learning_curves(
            both,
            ROOT / "docs" / "heads-crops.png",
            "bench/mpjpe",
            x="seconds",
            ylabel="MPJPE, protocol C, mm",
        )


def synthetic() -> None:
    """Training pictures of the preset lgnet-mobile, without their joints."""
    config = PRESETS["lgnet-mobile"].synth
    tiles = [make_sample(training_rng(0, 0, index), config).image for index in range(40)]
    sheet = contact_sheet(tiles, columns=10, tile=144)
    cv2.imwrite(str(ROOT / "docs" / "synthetic.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    demo()
    curves()
    synthetic()
