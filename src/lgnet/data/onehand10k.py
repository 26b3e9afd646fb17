"""Reader of OneHand10K (Wang, Peng and Liu, TCSVT 2018): one labelled hand a web photograph, 21 joints in 2D.

A root holds `annotations/onehand10k_<split>.json` (also without the folder), the conversion to COCO's layout that mmpose
publishes, and the photographs under the names that stand in it (`Train/source/0.jpg`, `Test/source/...`). The release's
own `label_joint.txt` is not read.

Traps: joints that are not seen are 0, 0, 0, the wrist too; the side is not told, so that a sample has `side_known` false
and its hand in the first slot; nor is whether other hands are in the picture; a turn noted in EXIF data is not meant.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..hands import NUM_JOINTS, RIGHT
from .files import read_pixels, stream
from .sample import Sample, empty_sample, set_joints


@dataclass(frozen=True)
class Picture:
    """One labelled hand."""

    file: str
    size: tuple[int, int]  # width, height
    joints: np.ndarray  # (21, 3) float32 u, v, visibility


@dataclass(frozen=True)
class OneHand10K:
    """One split."""

    root: Path
    pictures: tuple[Picture, ...]
    skipped: dict[str, int]


def read_onehand10k(root: Path, split: str) -> OneHand10K:
    """Stream the split's annotations (not yet the pictures).

    Raises:
        ValueError: the file is missing or not laid out as published.
    """
    name = f"onehand10k_{split}.json"
    file = next((f for f in (root / "annotations" / name, root / name) if f.is_file()), None)
    if file is None:
        raise ValueError(
            f"{root} holds no annotations of OneHand10K: there is no file {root / 'annotations' / name}; "
            "mmpose's documentation of its data sets has the link"
        )
    pictures, skipped = [], Counter()
    try:
        images = {
            i["id"]: (str(i["file_name"]), int(i["width"]), int(i["height"])) for i in stream(file, "images.item")
        }
        for annotation in stream(file, "annotations.item"):
            joints = np.asarray(annotation["keypoints"], np.float32).reshape(NUM_JOINTS, 3)
            if not (joints[:, 2] > 0).any():
                skipped["hands without a labelled joint"] += 1
                continue
            picture, width, height = images[annotation["image_id"]]
            pictures.append(Picture(picture, (width, height), joints))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not laid out as mmpose's annotations of OneHand10K: {error!r}") from error
    return OneHand10K(root, tuple(pictures), dict(skipped))


def load_sample(data: OneHand10K, index: int) -> Sample:
    """Read one photograph and its hand.

    Raises:
        ValueError: the picture is missing or unreadable, or not of the size that is annotated.
    """
    picture = data.pictures[index]
    image = read_pixels(data.root / picture.file, picture.size)
    sample = replace(
        empty_sample(picture.file, "single", image, None),
        present_known=np.zeros(2, bool),
        score_box=np.zeros((2, 4), np.float32),
        side_known=False,
    )
    set_joints(sample, RIGHT, picture.joints[:, :2], picture.joints[:, 2] > 0)
    return sample
