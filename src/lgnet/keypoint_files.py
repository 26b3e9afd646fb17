"""`--evidence FILE`: 2D key points of hands as people have them, from a file or a folder of files.

Read are lgnet's own layout, OpenPose's (also as DWPose writes it for image generators), MMPose's instances (RTMPose,
RTMW, DWPose: the 133 points of COCO-WholeBody, or 21 of one hand) and COCO's results; docs/keypoints.md shows each. Points are
pixels of the upright picture. A person's hands are those with any point that is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .align import KeyPoints
from .hands import NUM_JOINTS, SIDES
from .image_io import Item, only_ones

WHOLE_BODY = 133
WHOLE_BODY_HANDS = {"left": slice(91, 112), "right": slice(112, 133)}
"""Of COCO-WholeBody's points; each hand's are in lgnet's order."""
WIDEST_CANVAS = 1_000_000
"""Pixels, of the canvas that OpenPose's files may name: a mistake beyond."""
FARTHEST = 1e6
"""Pixels from the picture's corner that a point may lie."""
MOST_SHARE = 2.0
"""Points no further out than this are shares of the picture: no hand is so small in pixels."""
SIDE_SCORE = 0.9
"""How sure a side is that a file names: of ten such names one is thought to be wrong."""


def read_key_points(path: str | Path, items: Sequence[Item]) -> Callable[[np.ndarray, Item, int], Sequence[KeyPoints]]:
    """The hands of each picture or frame, as `evidence.Source` wants them; none where the file says nothing of it.

    Args:
        path: a JSON file, or a folder with one a picture, video or frame.
        items: the inputs, of which it has to know at least one.

    Raises:
        ValueError: it cannot be read, is laid out like none of these, or names none of the inputs. What is wrong with one
            picture's points comes to light, as a `ValueError`, when they are asked for.
    """
    path = Path(path)
    alone = only_ones(items)
    whole = None if path.is_dir() else _by_image(_read(path))
    contents = {
        item.path: content for item in items if (content := _of_item(path, whole, item, items, alone)) is not None
    }
    if not contents:
        raise ValueError(
            f"the key points {path} belong to none of the inputs: its keys or files are named as they are, see "
            "docs/keypoints.md"
        )

    def look(image: np.ndarray, item: Item, frame: int) -> Sequence[KeyPoints]:
        content = contents.get(item.path)
        if content is None:
            return []
        if item.moving:
            content = _frame(content, frame)
        try:
            hands = parse_hands(content, image.shape[1], image.shape[0])
            wide = [hand for hand in hands if _wide(hand)]
            seen = [hand for hand in wide if _within(hand, image.shape[1], image.shape[0])]
            if hands and not seen and not item.moving:
                raise ValueError(
                    f"no point lies in the picture of {image.shape[1]} x {image.shape[0]} pixels; points are pixels of the "
                    "upright picture"
                    if wide
                    else "its points lie within a pixel of each other; points are pixels of the upright picture"
                )
            return seen
        except (ValueError, OverflowError) as error:
            place = f"{item.shown}, frame {frame}" if item.moving else item.shown
            raise ValueError(f"the key points {path} of {place}: {error}") from error

    return look


class _Results(NamedTuple):
    """Of a file of COCO results."""

    of: dict[str, list[Any]]
    """By what they have for `image_id`, as `_number` has it."""


def _by_image(content: Any) -> Any:
    """COCO results as `_Results`; what is none, as it is."""
    if not (isinstance(content, list) and content and all(isinstance(c, dict) and "image_id" in c for c in content)):
        return content
    of: dict[str, list[Any]] = {}
    for result in content:
        of.setdefault(_number(str(result["image_id"])), []).append(result)
    return _Results(of)


def _number(name: str) -> str:
    """The name of a picture, without leading zeros where it is a number."""
    return str(int(name)) if name.isdecimal() else name


def _of_item(path: Path, content: Any, item: Item, items: Sequence[Item], alone: Collection[str]) -> Any:
    """What is said of one input: a picture's content, or for a video a list or a mapping of frames; None: nothing. By its
    bare name it is known only where no other input has it, by `alone`. `content` is the file's, where `path` is one.
    """
    name = Path(item.path).name
    stem = Path(name).stem
    if path.is_dir():
        places = (path / Path(item.stem).parent, path)[: 2 if item.path in alone else 1]
        for place in places:
            for file in (place / f"{stem}.json", place / f"{stem}_keypoints.json"):
                if file.is_file():
                    return _frames_of(_read(file), item)
            frames = sorted(place.glob(f"{escape(stem)}_*_keypoints.json")) if item.moving else []
            if frames:
                numbers = [file.name.removeprefix(f"{stem}_").removesuffix("_keypoints.json") for file in frames]
                return {int(number): file for number, file in zip(numbers, frames) if number.isdecimal()}
        return None
    if isinstance(content, dict) and not {"people", "instance_info", *SIDES} & set(content):
        keys = [item.path, item.key, item.stem, *([name, stem] if item.path in alone else [])]
        return next((_frames_of(content[key], item) for key in keys if key in content), None)
    if isinstance(content, _Results):
        return content.of.get(_number(stem)) if item.path in alone else None
    return _frames_of(content, item) if len(items) == 1 or path.stem in (stem, f"{stem}_keypoints") else None


def _frames_of(content: Any, item: Item) -> Any:
    """A picture's content as it is, a video's as a list of its frames'."""
    if isinstance(content, dict) and isinstance(content.get("instance_info"), list):
        content = content["instance_info"]
        frames = [c.get("instances", []) if isinstance(c, dict) and "instances" in c else c for c in content]
        if item.moving and all(isinstance(c, dict) and type(c.get("frame_id")) is int for c in content):
            numbers = [c["frame_id"] for c in content]  # from 1 on, as MMPose counts, or from 0
            return {number - (0 not in numbers): some for number, some in zip(numbers, frames)}
        return frames if item.moving else (frames[0] if _is_frame(content) else content)
    if isinstance(content, list) and not item.moving and len(content) == 1 and _of_people(content[0]):
        return content[0]  # a list of one picture, as image generators write it
    return content


def _is_frame(content: Any) -> bool:
    return bool(content) and isinstance(content[0], dict) and "instances" in content[0]


def _of_people(content: Any) -> bool:
    return isinstance(content, dict) and "people" in content


def _frame(content: Any, frame: int) -> Any:
    if isinstance(content, Mapping) and all(isinstance(key, int) for key in content):
        some = content.get(frame)
        return _read(some) if isinstance(some, Path) else some
    if not isinstance(content, list):
        raise ValueError("of a video the key points are a list with an entry for each frame")
    return content[frame] if frame < len(content) else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"the key points {path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the key points {path} are not JSON ({error})") from error


def parse_hands(content: Any, width: int, height: int) -> list[KeyPoints]:
    """The hands of one picture's content, in any of the layouts.

    Args:
        content: of the JSON file.
        width: of the picture, pixels.
        height: of the picture.

    Raises:
        ValueError: it is laid out like none of them.
    """
    hands = _parse(content, width, height)
    if _normalised(hands):  # 0 and 1 are the picture's edges, where pixels end
        hands = [replace(hand, points=hand.points * [width, height] - 0.5) for hand in hands]
    return hands


def _normalised(hands: Sequence[KeyPoints]) -> bool:
    """Whether the points are shares of the picture, as MediaPipe and OpenPose (keypoint_scale 3) write them; joints of
    a hand that leaves the picture lie a little outside of 0 to 1.
    """
    seen = [hand.points[hand.sure] for hand in hands if hand.sure.any()]
    return len(seen) > 0 and all(np.abs(points).max() <= MOST_SHARE for points in seen)


def _parse(content: Any, width: int, height: int) -> list[KeyPoints]:
    if content is None:
        return []
    if isinstance(content, dict) and isinstance(content.get("instances"), list):
        content = content["instances"]
    if _of_people(content):
        return _openpose(content, width, height)
    if isinstance(content, dict) and not set(content) - set(SIDES):
        found = [(side, content[side]) for side in SIDES if content.get(side) is not None]
        return _known([_hand(rows, side, f"the {side} hand") for side, rows in found])
    if isinstance(content, dict) and ("keypoints" in content or "lefthand_kpts" in content):
        content = [content]
    if isinstance(content, list) and all(isinstance(one, dict) for one in content):
        return _known([hand for number, one in enumerate(content, 1) for hand in _instance(one, f"person {number}")])
    raise ValueError('these are no key points of hands: neither "right" and "left", nor "people", nor instances')


def _openpose(content: dict[str, Any], width: int, height: int) -> list[KeyPoints]:
    """Points of a canvas are scaled to the picture."""
    people = content["people"]
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError('"people" is a list of objects')
    hands = [
        _hand(person[f"hand_{side}_keypoints_2d"], side, f"hand_{side}_keypoints_2d of person {number}")
        for number, person in enumerate(people, 1)
        for side in SIDES
        if person.get(f"hand_{side}_keypoints_2d")
    ]
    hands = _known(hands)
    try:
        canvas = np.array([float(content.get("canvas_width") or width), float(content.get("canvas_height") or height)])
    except (TypeError, ValueError) as error:
        raise ValueError(f"canvas_width and canvas_height are no numbers ({error})") from error
    if not ((canvas >= 1) & (canvas <= WIDEST_CANVAS)).all():
        raise ValueError(
            f"canvas_width and canvas_height are at least 1 and at most {WIDEST_CANVAS:,}, not {canvas.tolist()}"
        )
    if _normalised(hands):
        return hands
    scale = np.array([width, height]) / canvas  # pixels of both are told by their middles
    return [replace(hand, points=(hand.points + 0.5) * scale - 0.5) for hand in hands]


def _instance(content: dict[str, Any], where: str) -> list[KeyPoints]:
    """A person of MMPose, or of COCO's results."""
    if "lefthand_kpts" in content or "righthand_kpts" in content:
        found = [(side, content.get(f"{side}hand_kpts")) for side in SIDES]
        return [_hand(rows, side, f"{side}hand_kpts of {where}") for side, rows in found if rows is not None]
    if "keypoints" not in content:
        raise ValueError(f'{where} has no "keypoints"')
    rows = _rows(content["keypoints"], f"keypoints of {where}")
    scores = content.get("keypoint_scores")
    if scores is not None:
        try:
            scores = np.asarray(scores, np.float64).ravel()
        except (TypeError, ValueError) as error:
            raise ValueError(f"keypoint_scores of {where} are no numbers ({error})") from error
        if len(scores) != len(rows):
            raise ValueError(f"{where} has {len(rows)} keypoints and {len(scores)} keypoint_scores")
        rows = np.column_stack([rows[:, :2], scores])
    if len(rows) == NUM_JOINTS:
        return [_hand(rows, None, f"keypoints of {where}")]
    if len(rows) != WHOLE_BODY:
        raise ValueError(
            f"{where} has {len(rows)} keypoints; {WHOLE_BODY} of COCO-WholeBody or {NUM_JOINTS} of a hand are read"
        )
    return [_hand(rows[WHOLE_BODY_HANDS[side]], side, f"{side} hand of {where}") for side in SIDES]


def _rows(values: Any, where: str) -> np.ndarray:
    """(N, 2 or 3) u, v and, where there is one, the score; null where nothing is known."""
    if not isinstance(values, list):
        raise ValueError(f"{where}: these are no list")
    try:
        if values and isinstance(values[0], (list, type(None))):
            wide = max((len(row) for row in values if row is not None), default=3)
            array = np.array([[np.nan] * wide if row is None else row for row in values], np.float64)
        else:
            array = np.asarray(values, np.float64)
            array = array.reshape(-1, 3) if array.ndim == 1 else array
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: these are not rows of u, v and confidence ({error})") from error
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise ValueError(f"{where}: these are not rows of u, v and confidence, but {array.shape}")
    return array


def _hand(values: Any, side: str | None, where: str) -> KeyPoints:
    rows = values if isinstance(values, np.ndarray) else _rows(values, where)
    if len(rows) != NUM_JOINTS:
        raise ValueError(f"{where}: a hand has {NUM_JOINTS} joints, not {len(rows)}")
    confidence = np.ones(NUM_JOINTS) if rows.shape[1] == 2 else np.clip(rows[:, 2], 0, 1)
    known = np.asarray(np.isfinite(rows).all(axis=1))
    farthest = np.abs(rows[known, :2]).max(initial=0)
    if farthest > FARTHEST:
        raise ValueError(f"{where}: a point lies at {farthest:g}; points are pixels of the upright picture")
    return KeyPoints(np.where(known[:, None], rows[:, :2], np.nan), np.where(known, confidence, 0), side, SIDE_SCORE)


def _wide(hand: KeyPoints) -> bool:
    """Whether its sure points are not all within a pixel."""
    return bool(np.ptp(hand.points[hand.sure], axis=0).max() >= 1)


def _within(hand: KeyPoints, width: int, height: int) -> bool:
    """Whether a sure point is in the picture."""
    points = hand.points[hand.sure]
    return bool(((points >= 0) & (points < [width, height])).all(1).any())


def _known(hands: Sequence[KeyPoints]) -> list[KeyPoints]:
    return [hand for hand in hands if hand.sure.any()]
