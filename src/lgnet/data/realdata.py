"""Reader of annotated real pictures: `annotations.json` and `annotations_two_hands.json` in one folder.

Both files have a header and `records`, one a picture, with pixels in the stored picture, millimetres in the camera
frame and joints in lgnet's own order. The second file's joints were placed by eye: only its visible ones (flag 1) are
scored. These pictures are for testing only.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hands import NUM_JOINTS, SIDES
from .files import read_pixels
from .sample import Sample, empty_sample, grown, kind_of_boxes

FILES = ("annotations.json", "annotations_two_hands.json")
PLACED_BY_EYE = FILES[1]


@dataclass(frozen=True)
class Record:
    """One picture that can be used: its annotation and which hand goes into which slot."""

    image: Path
    annotation: dict[str, Any]
    by_eye: bool
    hands: tuple[dict[str, Any] | None, dict[str, Any] | None]  # right, left
    present_known: tuple[bool, bool]


@dataclass(frozen=True)
class RealData:
    """The usable pictures of a folder and what was left out, counted by reason."""

    root: Path
    records: tuple[Record, ...]
    skipped: dict[str, int]


def read_realdata(root: str | Path) -> RealData:
    """Read the annotations (not yet the pictures).

    A sample has one slot for each side. A hand of unknown side, or a smaller second hand of the same side, fits none
    and is skipped; whether the picture's empty slots are truly empty is then not known. A picture without any hand
    left is skipped whole.

    Raises:
        ValueError: no such folder, neither file in it, or one cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"there is no folder {root} of annotated pictures")
    files = [root / name for name in FILES if (root / name).is_file()]
    if not files:
        raise ValueError(f"{root} holds neither {FILES[0]} nor {FILES[1]}")
    records, skipped = [], Counter()
    for file in files:
        for annotation in _records(file):
            try:
                record = _place(root, annotation, file.name == PLACED_BY_EYE, skipped)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"{file} has a record that is not laid out as it should be: {error!r}") from error
            if record is not None:
                records.append(record)
    return RealData(root, tuple(records), dict(skipped))


def _records(file: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from error
    records = content.get("records") if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise ValueError(f"{file} has no list of records")
    return records


def _place(root: Path, annotation: dict[str, Any], by_eye: bool, skipped: Counter[str]) -> Record | None:
    """Put a picture's hands into slots; counts what is left out."""
    slots: list[dict[str, Any] | None] = [None, None]
    complete = not annotation.get("unlabelled_hands_visible", False)
    for hand in sorted(annotation["hands"], key=_extent, reverse=True):
        if hand["side"] is None:
            skipped["hands of unknown side"] += 1
            complete = False
        elif slots[SIDES.index(hand["side"])] is not None:
            skipped["smaller second hands of the same side"] += 1
        else:
            slots[SIDES.index(hand["side"])] = hand
            if _joints(hand, by_eye)[1].sum() == 0:
                skipped["hands without a visible joint: scored in presence only"] += 1
    if slots == [None, None]:
        skipped["pictures without a hand of known side"] += 1
        return None
    for hand in slots:
        if hand is not None and hand.get("kp3d_cam_norm") and not hand.get("kp3d_cam_mm"):
            skipped["hands whose 3D joints are not in millimetres: scored in 2D only"] += 1
    known = tuple(complete or hand is not None for hand in slots)
    return Record(root / annotation["image"], annotation, by_eye, (slots[0], slots[1]), (known[0], known[1]))


def _joints(hand: dict[str, Any], by_eye: bool) -> tuple[np.ndarray, np.ndarray]:
    """(21, 2) pixels and (21,) bool, which of them may be scored."""
    joints = np.asarray(hand["kp2d"], dtype=np.float64)
    if joints.shape != (NUM_JOINTS, 3):
        raise ValueError(f"kp2d is {joints.shape}, not {NUM_JOINTS} x 3")
    return joints[:, :2], joints[:, 2] == 1 if by_eye else joints[:, 2] > 0


def _box(hand: dict[str, Any]) -> np.ndarray | None:
    """(4,) the annotated box: of the hand, or else of its joints."""
    box = hand.get("hand_box_xywh") or hand.get("kp_box_xywh")
    return None if box is None else np.asarray(box, dtype=np.float64)


def _extent(hand: dict[str, Any]) -> float:
    box = _box(hand)
    return 0.0 if box is None else float(box[2:].max())


def load_sample(record: Record) -> Sample:
    """Read one picture and lay its truth out.

    Raises:
        ValueError: the picture is missing or unreadable, or not of the size that its annotation states.
    """
    annotation = record.annotation
    image = read_pixels(record.image, (annotation["width"], annotation["height"]))
    K = None if annotation["K"] is None else np.asarray(annotation["K"], np.float32)
    sample = replace(
        empty_sample(annotation["image"], _kind(record), image, K),
        present_known=np.array(record.present_known),
        score_box=np.zeros((2, 4), np.float32),
    )
    for side, hand in enumerate(record.hands):
        if hand is not None:
            _fill(sample, side, hand, record.by_eye)
    return sample


def _fill(sample: Sample, side: int, hand: dict[str, Any], by_eye: bool) -> None:
    assert sample.score_box is not None
    sample.present[side] = True
    sample.joints2d[side], sample.joints2d_valid[side] = _joints(hand, by_eye)
    box = _box(hand)
    if box is not None:
        sample.score_box[side] = box
        if hand.get("hand_box_xywh") is None:
            box = grown(box)
        sample.box[side] = box
    if hand.get("kp3d_cam_mm"):
        sample.joints3d[side] = np.asarray(hand["kp3d_cam_mm"], np.float64) / 1000
        sample.joints3d_valid[side] = np.asarray(hand["kp3d_valid"], bool)


def _kind(record: Record) -> str:
    """The kind that samples tell apart. Pictures of several people go with the two-handed ones."""
    stated = record.annotation["kind"]
    if stated == "single":
        return "single"
    if stated in ("two_interacting", "two_separate"):
        return stated.removeprefix("two_")
    boxes = [_box(hand) for hand in record.hands if hand is not None]
    if len(boxes) == 2 and boxes[0] is not None and boxes[1] is not None:
        return kind_of_boxes(boxes[0], boxes[1])
    return "separate"
