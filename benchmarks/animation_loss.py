"""What an animated GLB loses against the predicted meshes: one mesh at rest has to do for all frames.

    python benchmarks/animation_loss.py --film film.mp4 [--frames 40] [--how offline]

Millimetres between the vertices predicted in a frame and those that the file's skin gives there, mean and 95th percentile over
vertices and frames, of each hand: with the mesh at rest that fits all frames best, which is what is written, and with the
mean shape alone (the refine stage's offsets dropped).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import tyro

from lgnet import predict
from lgnet.follow import Following, follow
from lgnet.geometry import rotvec_to_matrix
from lgnet.hand_model import HandModel, pose_hand
from lgnet.hands import SIDES, Hand
from lgnet.image_io import expand_inputs
from lgnet.motion import Recorder, Rest
from lgnet.smooth import Moment, smooth
from lgnet.video import open_film


def at_rest(rest: Rest, vertices: np.ndarray) -> HandModel:
    """The hand model whose mean shape has these vertices (V, 3) at rest and the mean shape's joints."""
    centres, points = rest.skeleton()
    model = rest.model
    arrays = {"template": vertices, "centres": centres, "points": points}
    values = {name: torch.from_numpy(value).float() for name, value in arrays.items()}
    still = {name: torch.zeros_like(getattr(model, name)) for name in ("shape_basis", "centres_basis", "points_basis")}
    return replace(model, **values, **still, pose_basis=None)


def off(model: HandModel, hand: Hand, scale: float) -> np.ndarray:
    """(V,) millimetres."""
    rotations = rotvec_to_matrix(torch.from_numpy(hand.pose)).float()
    mesh = pose_hand(model, rotations, torch.zeros(10)).vertices.double().numpy() * scale + hand.translation
    return 1000 * np.linalg.norm(mesh - hand.vertices, axis=1)


def main(film: str, frames: int = 40, how: Literal["off", "live", "offline"] = "offline") -> None:
    """Measure and print."""
    model = predict.load(device="cpu")
    moments, state = [], Following()
    with open_film(expand_inputs([film])[0], frames) as opened:
        for frame in opened.frames:
            step = follow(model, state, frame.image)
            state = step.state
            moments.append(Moment(frame.time, step.hands, step.fresh))
    recorder, shown = Recorder(), list(smooth(moments, how))
    for moment in shown:
        recorder.add(moment.time, moment.hands)
    lengths = np.concatenate([chunk["length"] for chunk in recorder.chunks()])
    for side, rest in enumerate(recorder.rests):
        if rest is None:
            continue
        betas = rest.betas / rest.count
        points = rest.model.points.numpy() + rest.model.points_basis.numpy() @ betas
        shape = rest.model.template.numpy() + rest.model.shape_basis.numpy() @ betas - points[0]
        for name, vertices in (("written", rest.vertices()), ("offsets dropped", shape)):
            own = at_rest(rest, vertices)
            errors = [
                off(own, hand, lengths[i, side] / rest.length())
                for i, m in enumerate(shown)
                if (hand := (m.hands.right, m.hands.left)[side]) is not None
            ]
            flat = np.concatenate(errors)
            print(
                f"{SIDES[side]} hand, {len(errors)} frames, {name}: mean {flat.mean():.2f}, p95 {np.percentile(flat, 95):.2f} mm"
            )


if __name__ == "__main__":
    tyro.cli(main)
