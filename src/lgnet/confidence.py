"""How wrong each joint probably is: a few hundred numbers, fitted to a network's errors on pictures it never saw.

What the network says of a hand tells how sure it is: how wide a joint's heat map is, how far its stages disagree, how
sure it is of the hand at all, how the hand is turned and where the other one lies. A small perceptron makes the expected
error of it. `scripts/calibrate.py` fits it to synthetic scenes of a seed of its own and puts it into the file of the
weights, among their metadata. docs/confidence.md says how good it is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .hands import NUM_JOINTS
from .model.mesh_stage import project_weak
from .model.records import Inputs, Output

META = "confidence"
"""The key of the calibration among the metadata of weights."""


def features(inputs: Inputs, output: Output) -> Float[Tensor, "B 2 21 f"]:
    """What the expected errors are made of, for each joint of each hand slot; no truth in it."""
    joint, mesh, refine = output.joint, output.mesh, output.refine
    plane = (project_weak(refine.joints, mesh.camera) - joint.joints25d[..., :2]).norm(dim=-1, keepdim=True)
    depth = (refine.joints[..., 2:] - joint.joints25d[..., 2:]).abs()
    moved = (refine.joints - mesh.joints).norm(dim=-1, keepdim=True)
    spread = joint.spread.clamp_min(1e-4).log()
    doubts = torch.cat([spread, (plane + 0.01).log(), (depth + 0.002).log(), (moved + 0.0005).log()], -1)
    own = torch.cat(
        [
            doubts,
            joint.joints25d[..., :2].abs(),  # near the crop's border
            10 * refine.joints.norm(dim=-1, keepdim=True),  # far from the wrist
            10 * refine.joints[..., 2:],  # towards the camera or away
        ],
        -1,
    )
    geometry = inputs.geometry
    whole = torch.cat(
        [
            doubts.mean(-2),
            joint.presence_logit.clamp(-8, 8)[..., None],
            mesh.camera[..., :1].log(),
            mesh.rotations[..., 0, 2, :],  # how the hand is turned to the camera
            0.3 * mesh.betas.norm(dim=-1, keepdim=True),
            geometry[..., :2].norm(dim=-1, keepdim=True),  # where the other hand lies
            geometry[..., 2:4],
        ],
        -1,
    )
    joints = torch.eye(NUM_JOINTS, device=own.device).expand(*own.shape[:2], -1, -1)
    return torch.cat([own, whole[..., None, :].expand(*own.shape[:3], -1), joints], -1).float()


@dataclass(frozen=True)
class Calibration:
    """Features -> expected errors, by one hidden layer of tanh and an exponential, so that they are above 0."""

    mean: Float[Tensor, " f"]  # of the features, where it was fitted
    deviation: Float[Tensor, " f"]
    hidden: Float[Tensor, "h f"]
    hidden_bias: Float[Tensor, " h"]
    out: Float[Tensor, "2 h"]
    out_bias: Float[Tensor, " 2"]

    def __call__(self, told: Float[Tensor, "*n f"]) -> Float[Tensor, "*n 2"]:
        """Expected distance from the truth: relative to the wrist in metres, and in the crop in half crops."""
        x = ((told - self.mean) / self.deviation).clamp(-4, 4)
        x = torch.tanh(x @ self.hidden.T + self.hidden_bias)
        return (x @ self.out.T + self.out_bias).clamp(-12, 2).exp()


def to_meta(calibration: Calibration) -> dict[str, Any]:
    """As it stands in a checkpoint's metadata: lists of numbers with five digits."""

    def plain(values: Any) -> Any:
        return [plain(v) for v in values] if isinstance(values, list) else float(f"{values:.5g}")

    return {f.name: plain(getattr(calibration, f.name).tolist()) for f in fields(Calibration)}


def from_meta(meta: dict[str, Any], device: torch.device | str = "cpu") -> Calibration | None:
    """The calibration in the metadata of weights; None where they have none.

    Raises:
        ValueError: there is one, but damaged or of another version.
    """
    if meta.get(META) is None:
        return None
    try:
        values = {f.name: torch.tensor(meta[META][f.name], device=device) for f in fields(Calibration)}
        calibration = Calibration(**values)
        calibration(torch.zeros_like(calibration.mean))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the calibration of these weights cannot be used: {error}; run scripts/calibrate.py"
        ) from error
    return calibration


def fit(
    told: Float[Tensor, "n f"], errors: Float[Tensor, "n 2"], hidden: int = 16, steps: int = 400, seed: int = 0
) -> Calibration:
    """The calibration that says the mean of such errors best: Gamma deviance, whose optimum is the mean.

    `errors` (metres, half crops) may be NaN where there is no truth.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = told.mean(0), told.std(0).clamp_min(1e-3)
    known = ~errors.isnan()
    truth = torch.where(known, errors, torch.zeros_like(errors)).clamp_min(1e-6)
    level = torch.stack([errors[known[:, k], k].mean() for k in range(errors.shape[1])]).log()
    start = torch.randn(hidden, told.shape[1], generator=generator) * told.shape[1] ** -0.5
    weights = [start, torch.zeros(hidden), torch.zeros(errors.shape[1], hidden), level]
    weights = [w.clone().requires_grad_() for w in weights]
    optimiser = torch.optim.Adam(weights, 0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(told), (4096,), generator=generator)
        said = Calibration(mean, deviation, *weights)(told[rows])
        loss = torch.where(known[rows], truth[rows] / said + said.log(), torch.zeros_like(said)).sum() / len(rows)
        loss = loss + 1e-4 * sum(w.square().sum() for w in (weights[0], weights[2]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return Calibration(mean, deviation, *(w.detach() for w in weights))
