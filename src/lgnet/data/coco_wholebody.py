"""Reader of the hands of COCO-WholeBody (Jin et al., ECCV 2020): 21 joints in 2D of the people in COCO's photographs.

A root holds `annotations/coco_wholebody_<split>_v1.0.json` (also without the folder) and the photographs in
`<split>2017/` (also below `images/`). One person with a labelled hand is one sample; joints are in lgnet's own order.

Traps: a hand without a label may be there all the same, too small or blurred, and so may other people's: which sides are
absent is never known. Most hands have 10 to 40 pixels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..hands import NUM_JOINTS, SIDES
from .files import read_pixels, stream
from .sample import Sample, empty_sample, kind_of, set_joints


@dataclass(frozen=True)
class Person:
    """The labelled hands of one person."""

    number: int
    file: str
    size: tuple[int, int]  # width, height
    joints: np.ndarray  # (2, 21, 3) u, v, visibility; right, left; zeros where not labelled


@dataclass(frozen=True)
class WholeBody:
    """One split."""

    folder: Path
    people: tuple[Person, ...]
    skipped: dict[str, int]


def read_wholebody(root: Path, split: str) -> WholeBody:
    """Stream the split's annotations (not yet the pictures).

    Raises:
        ValueError: a file or folder is missing or not laid out as published.
    """
    name = f"coco_wholebody_{split}_v1.0.json"
    file = next((f for f in (root / "annotations" / name, root / name) if f.is_file()), None)
    if file is None:
        raise ValueError(
            f"{root} holds no annotations of COCO-WholeBody: there is no file {root / 'annotations' / name}"
        )
    folder = next((f for f in (root / f"{split}2017", root / "images" / f"{split}2017") if f.is_dir()), None)
    if folder is None:
        raise ValueError(f"{root} holds no pictures of COCO: there is no folder {root / f'{split}2017'}")
    skipped: Counter[str] = Counter()
    people = []
    try:
        images = {
            i["id"]: (str(i["file_name"]), int(i["width"]), int(i["height"])) for i in stream(file, "images.item")
        }
        for person in stream(file, "annotations.item"):
            labelled = [side for side in SIDES if person[f"{side}hand_valid"]]
            if not labelled:
                skipped["people without a labelled hand"] += 1
                continue
            joints = np.zeros((2, NUM_JOINTS, 3), np.float32)
            for side in labelled:
                values = np.asarray(person[f"{side}hand_kpts"], np.float32)
                joints[SIDES.index(side)] = values.reshape(NUM_JOINTS, 3)
            picture, width, height = images[person["image_id"]]
            people.append(Person(int(person["id"]), picture, (width, height), joints))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not laid out as COCO-WholeBody's annotations: {error!r}") from error
    return WholeBody(folder, tuple(people), dict(skipped))


def load_sample(data: WholeBody, index: int) -> Sample:
    """Read one person's picture and hands.

    Raises:
        ValueError: the picture is missing or unreadable, or not of the size that is annotated.
    """
    person = data.people[index]
    image = read_pixels(data.folder / person.file, person.size)
    there = person.joints[..., 2].any(1)
    sample = replace(
        empty_sample(f"{person.file}#{person.number}", "single", image, None),
        present_known=there,
        score_box=np.zeros((2, 4), np.float32),
        recording=person.file,
    )
    for side in np.flatnonzero(there):
        set_joints(sample, int(side), person.joints[side, :, :2], person.joints[side, :, 2] > 0)
    return replace(sample, kind=kind_of(sample))
