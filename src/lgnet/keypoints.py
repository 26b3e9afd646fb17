"""`lgnet fit`: a user's own key points in a file -> hands with pose, shape and mesh.

The file is JSON with the keys of lgnet's own results:

    {"hands": [{"side": "right"|"left", "joints3d": 21 x [x, y, z]  or  "joints2d": 21 x [u, v]}, ...],
     "camera": {"fx", "fy", "cx", "cy"}}

Metres in the camera frame, or pixels, for which the camera is needed; `null` stands for a joint that is not known. A hand
with both is fitted to `joints3d`. The result has the same keys, with pose, shape, translation and what is left over.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from .aside import real, write_aside
from .fit import Fit, fit_joints, fit_pixels
from .geometry import matrix_to_rotvec, project
from .hand_model import HandModel, load_hand_model, pose_hand
from .hands import NUM_JOINTS, SIDES

SCHEMA = "lgnet-fit/1"
Side = Literal["right", "left"]
FARTHEST = {"joints3d": 100.0, "joints2d": 1e6}
"""Metres and pixels from the origin; what is farther is of another unit."""
MESH_HEAD = "# lgnet, "
"""How a mesh's file begins."""
LARGEST = 1.0
"""Metres, of a hand along any axis: one of 18 centimetres given as 18 is larger."""


def fit_file(
    path: str | Path, out: str | Path, hand_model: Literal["lgnet", "mano"] = "lgnet", mesh: bool = True
) -> list[str]:
    """Fit every hand of a file; write `out` and, beside it, each hand's mesh as `<stem>_<side>.obj`.

    Returns:
        One line a hand to show.

    Raises:
        ValueError: the file is not laid out as it should be, or a hand has too few joints.
    """
    path, out = Path(path), Path(out)
    if out.suffix != ".json":
        raise ValueError(f"--out ends in .json, not {out.name}; the meshes are written beside it")
    if real(out) == real(path):
        raise ValueError(f"{out} would replace the key points it is made of; choose another --out")
    hands, K = _read(path)
    results, lines, meshes = [], [], {}
    for number, (side, name, points) in enumerate(hands):
        model = load_hand_model(hand_model, side)
        try:
            if name == "joints3d":
                fit = fit_joints(model, points[None])
            else:
                assert K is not None
                fit = fit_pixels(model, points[None], K[None])
        except (ValueError, cv2.error) as error:
            raise ValueError(f"{path}: hand {number + 1}: {error}") from error
        record = _record(fit, side, K, "mm" if name == "joints3d" else "px")
        results.append(record)
        left = record["residual"]
        lines.append(
            f"{side} hand: {left['joints']} joints, residual {left['mean']:.2f} {left['unit']} on average, "
            f"{left['max']:.2f} {left['unit']} at most"
        )
        same = sum(other == side for other, *_ in hands[:number])
        meshes[f"{out.stem}_{side}{same + 1 if same else ''}.obj"] = _obj(model, fit)
    camera = None if K is None else dict(zip(("fx", "fy", "cx", "cy"), K.tolist(), strict=True))
    content = {"schema": SCHEMA, "hand_model": hand_model, "camera": camera, "hands": results}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_aside(out, (json.dumps(content) + "\n").encode())
    if mesh:
        for name, text in meshes.items():
            write_aside(out.with_name(name), text.encode())
    own = re.compile(rf"{re.escape(out.stem)}_({'|'.join(SIDES)})\d*\.obj")
    for old in list(out.parent.glob("*.obj")):  # of an earlier run with more hands
        if own.fullmatch(old.name) and old.name not in meshes and _is_ours(old):
            old.unlink()
    return lines


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MESH_HEAD)) == MESH_HEAD.encode()


def _read(path: Path) -> tuple[list[tuple[Side, str, torch.Tensor]], torch.Tensor | None]:
    if not path.is_file():
        raise ValueError(f"there is no file {path} of key points")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    hands = content.get("hands") if isinstance(content, dict) else None
    if not isinstance(hands, list) or not hands or not all(isinstance(hand, dict) for hand in hands):
        raise ValueError(f"{path} has no list of hands: it holds {{'hands': [{{'side': ..., 'joints3d': ...}}]}}")
    K = None
    if content.get("camera") is not None:
        K = _camera(path, content["camera"])
    found = []
    for number, hand in enumerate(hands, 1):
        side = hand.get("side")
        if side not in SIDES:
            raise ValueError(f"{path}: hand {number} has the side {side!r}, not 'right' or 'left'")
        name = next((key for key in ("joints3d", "joints2d") if hand.get(key) is not None), None)
        if name is None:
            raise ValueError(f"{path}: hand {number} has neither joints3d nor joints2d")
        if name == "joints2d" and K is None:
            raise ValueError(f"{path}: hand {number} has joints in pixels but no camera is given (fx, fy, cx, cy)")
        found.append((side, name, _points(path, number, name, hand[name])))
    return found, K


def _camera(path: Path, given: Any) -> torch.Tensor:
    """(4,) fx, fy, cx, cy."""
    values: list[Any] = [given.get(key) for key in ("fx", "fy", "cx", "cy")] if isinstance(given, dict) else [None]
    if all(type(v) in (int, float) and abs(v) <= 1e6 for v in values) and min(values[:2]) >= 1:
        return torch.tensor([float(v) for v in values])
    raise ValueError(
        f"{path}: the camera is {{'fx': .., 'fy': .., 'cx': .., 'cy': ..}} in pixels, focal lengths of at least 1, not {given!r}"
    )


def _points(path: Path, number: int, name: str, values: Any) -> torch.Tensor:
    """(21, 3) or (21, 2); NaN where a joint is null."""
    size = 3 if name == "joints3d" else 2
    try:
        rows = [[np.nan] * size if row is None else row for row in values]
        points = np.array(rows, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: hand {number}: {name} is not 21 x {size} numbers ({error})") from error
    if points.shape != (NUM_JOINTS, size):
        raise ValueError(f"{path}: hand {number}: {name} is not 21 x {size} but {' x '.join(map(str, points.shape))}")
    known = points[~np.isnan(points).any(1)]
    if len(known) and np.abs(known).max() > FARTHEST[name]:
        wanted = "pixels" if size == 2 else "metres, not millimetres,"
        raise ValueError(f"{path}: hand {number}: {name} holds {np.abs(known).max():g}; {wanted} are wanted")
    if len(known) and name == "joints3d" and np.ptp(known, 0).max() > LARGEST:
        raise ValueError(f"{path}: hand {number} would be {np.ptp(known, 0).max():.3g} m large; metres are wanted")
    if len(known) and np.ptp(known, 0).max() < 1e-6:
        raise ValueError(f"{path}: hand {number}: the {name} all lie in one place")
    return torch.from_numpy(points.astype(np.float32))


def _record(fit: Fit, side: str, K: torch.Tensor | None, unit: str) -> dict[str, Any]:
    off = fit.residual[0][~fit.residual[0].isnan()] * (1000 if unit == "mm" else 1)
    record: dict[str, Any] = {"side": side}
    if K is not None:
        record["joints2d"] = project(fit.joints[0], K).tolist()
    return record | {
        "joints3d": fit.joints[0].tolist(),
        "pose": matrix_to_rotvec(fit.rotations[0]).tolist(),
        "shape": fit.betas[0].tolist(),
        "translation": fit.translation[0].tolist(),
        "residual": {"unit": unit, "mean": float(off.mean()), "max": float(off.max()), "joints": len(off)},
    }


def _obj(model: HandModel, fit: Fit) -> str:
    """The mesh in metres, camera frame."""
    vertices = (pose_hand(model, fit.rotations, fit.betas).vertices + fit.translation[:, None])[0]
    lines = [f"{MESH_HEAD}{model.side} hand of {model.name}, metres, camera frame"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in model.faces.tolist()]
    return "\n".join(lines) + "\n"
