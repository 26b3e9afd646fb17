"""`lgnet retarget`: results -> joint angles of a robot hand. As commands.py, it imports when it runs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from .commands import UsageError, complain

if TYPE_CHECKING:
    import numpy as np


def retarget(
    result: Positional[Annotated[str, arg(metavar="RESULT")]],
    *,
    urdf: Annotated[str, arg(metavar="FILE.urdf")],
    out: Annotated[str, arg(metavar="FILE.csv|json")],
    side: Literal["auto", "right", "left"] = "auto",
    links: Annotated[tuple[str, ...], arg(metavar="FINGER=LINK ...")] = (),
    axes: Annotated[str | None, arg(metavar="FINGERS,PALM")] = None,
    scale: Annotated[float | None, arg(metavar="X")] = None,
) -> int:
    """Joint angles of a robot hand that follows the hand of a result; needs pip install 'lgnet[robot]'.

    docs/outputs.md says how, and what is in the file.

    Args:
        result: a picture's .json or a video's .jsonl, from lgnet reconstruct.
        urdf: the robot hand.
        out: .csv or .json to write.
        side: which hand to follow; auto: the one that the robot's names tell, else the right one.
        links: the robot's fingertips, as thumb=thumb_tip index=ff_tip, and its wrist, as wrist=palm; those left out are
            guessed from the links' names.
        axes: where the robot's fingers point and where its palm looks when it is open, in its wrist's frame, as +z,-y
            (write --axes=-z,+x where it begins with -); without it that is found from its joints.
        scale: size of the robot's hand over a mean person's; without it by the distances from wrist to fingertips.
    """
    from . import robot as work
    from .aside import real, write_aside
    from .hands import FINGERS
    from .urdf import load_robot

    if Path(out).suffix not in (".csv", ".json"):
        raise UsageError(f"--out ends in .csv or .json, not {Path(out).name}")
    if real(out) in (real(result), real(urdf)):
        raise UsageError(f"--out {out} would replace what is read; give another name")
    if scale is not None and not 0.05 <= scale <= 20:
        raise UsageError(f"--scale is from 0.05 to 20, not {scale:g}")
    looks = None if axes is None else parse_axes(axes)
    hand = load_robot(urdf, dict(_pair(text) for text in links))
    chosen = (hand.side or "right") if side == "auto" else side
    fit, frames, last = None, [], None
    for index, time, model, entries in read_results(result):
        entry = next((e for e in entries if e["side"] == chosen), None)
        if entry is None:
            continue
        if fit is None:
            fit = work.fit_frames(hand, chosen, looks, scale, model)
        last, error = work.solve(hand, work.targets(hand, fit, entry), last)
        frames.append({"frame": index, "time": time, "angles": last.tolist(), "error_mm": 1000 * error})
    if fit is None:
        complain(f"{result} has no {chosen} hand; --side says which to follow")
        return 1
    about = {
        "robot": hand.name,
        "side": chosen,
        "wrist": hand.wrist,
        "fingertips": {FINGERS[f]: link for f, link in zip(hand.fingers, hand.links)},
        "rotation": fit.rotation.tolist(),
        "size_m": fit.size,
        "joints": list(hand.joints),
    }
    if out.endswith(".csv"):
        content = _csv(hand.joints, frames)
    else:
        content = json.dumps({**about, "frames": frames}, allow_nan=False) + "\n"
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_aside(Path(out), content.encode())
    mean = sum(frame["error_mm"] for frame in frames) / len(frames)
    tips = ", ".join(f"{finger} {link}" for finger, link in about["fingertips"].items())
    print(
        f"{chosen} hand, wrist {hand.wrist}, {tips}: {len(frames)} frames, fingertips off by {mean:.1f} mm on average"
    )
    return 0


def _csv(joints: tuple[str, ...], frames: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", "time_s", *joints, "error_mm"])
    for frame in frames:
        angles = [f"{angle:.6f}" for angle in frame["angles"]]
        writer.writerow([frame["frame"], f"{frame['time']:.6f}", *angles, f"{frame['error_mm']:.3f}"])
    return text.getvalue()


def _pair(text: str) -> tuple[str, str]:
    finger, _, link = text.partition("=")
    if not link:
        raise UsageError(f"--links takes FINGER=LINK, as index=ff_tip, not {text!r}")
    return finger, link


def parse_axes(text: str) -> np.ndarray:
    """(2, 3) unit vectors of `+z,-y` and the like.

    Raises:
        UsageError: they are not such, or along one line.
    """
    import numpy as np

    rows = []
    for word in text.split(","):
        name = word.strip().removeprefix("+").removeprefix("-")
        if name in ("x", "y", "z"):
            rows.append((-1.0 if "-" in word else 1.0) * np.eye(3)["xyz".index(name)])
    if len(rows) != 2 or len(text.split(",")) != 2 or abs(rows[0] @ rows[1]) > 0.5:
        raise UsageError(f"--axes takes two of +x, -x, +y, -y, +z, -z that are square to each other, not {text!r}")
    return np.stack(rows)


def read_results(path: str | Path) -> Iterator[tuple[int, float, str, list[dict[str, Any]]]]:
    """Frame, seconds, hand model and `hands` of each result of a .json or .jsonl file.

    Raises:
        ValueError: it cannot be read, or holds no result of this schema.
    """
    import numpy as np

    from .hands import SCHEMA, SIDES

    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            lines, empty = [file.read()] if Path(path).suffix == ".json" else file, True
            for number, line in enumerate(lines):
                if not line.strip():
                    continue
                try:
                    content = json.loads(line)
                    if content["schema"] != SCHEMA:
                        raise ValueError(f"its schema is {content['schema']!r}")
                    found = content["hands"], content["model"]["hand_model"]
                    for hand in found[0]:
                        whole = all(
                            np.shape(values) == shape and np.isfinite(np.asarray(values, np.float64)).all()
                            for values, shape in (
                                (hand["joints3d"], (21, 3)),
                                (hand["pose"], (16, 3)),
                                (hand["shape"], (10,)),
                            )
                        )
                        scale = float(hand.get("scale", 1.0))
                        if hand["side"] not in SIDES or not whole or not 0 < scale < math.inf:
                            raise ValueError("a hand is incomplete")
                    moment = int(content.get("frame", number)), float(content.get("time", 0.0))
                    if not math.isfinite(moment[1]):
                        raise ValueError(f"its time is {moment[1]}")
                except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
                    if isinstance(error, json.JSONDecodeError) and number and not line.endswith("\n"):
                        complain(f"{path}: its last line is cut off and left out")
                        return
                    raise ValueError(
                        f"{path}, line {number + 1}, is no result of lgnet reconstruct ({error}); give its .json or .jsonl"
                    ) from error
                empty = False
                yield *moment, found[1], found[0]
            if empty:
                raise ValueError(f"{path} is empty; give a .json or .jsonl of lgnet reconstruct")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
