"""Every term of the loss as a small pure function, and their weighted sum.

Each term is a mean over what is known; truth that is missing is never looked at (it may even be NaN), and a term
without any known truth is exactly zero. Lengths are metres unless a term says otherwise.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from .config import LossConfig
from .model.mesh_stage import HandLayer, pose_slots, project_weak
from .model.network import LGNet
from .model.records import Output, Targets

DEPTH_UNIT = 0.15
"""Metres per unit of the 2.5D joints' z in the loss: the heat map's half range, so that x, y and z weigh alike."""


def masked_mean(values: Float[Tensor, "*shape"], valid: Bool[Tensor, "*valid"]) -> Float[Tensor, ""]:
    """Mean of the values whose leading axes are valid; 0 when none is. `valid` has the first axes of `values`."""
    valid = valid.reshape(*valid.shape, *(1,) * (values.dim() - valid.dim())).expand_as(values)
    return torch.where(valid, values, torch.zeros_like(values)).sum() / valid.sum().clamp_min(1)


def l1(prediction: Float[Tensor, "*shape"], truth: Float[Tensor, "*shape"], valid: Bool[Tensor, "*valid"]) -> Tensor:
    """Mean absolute difference over valid entries, in the units of the arguments."""
    prediction = prediction.float()
    wide = valid.reshape(*valid.shape, *(1,) * (prediction.dim() - valid.dim()))
    truth = torch.where(wide, truth, prediction.detach())  # so that no gradient meets what is not known
    return masked_mean((prediction - truth).abs(), valid)


def joints25d_loss(
    prediction: Float[Tensor, "*batch 21 3"],
    joints2d: Float[Tensor, "*batch 21 2"],
    joints2d_valid: Bool[Tensor, "*batch 21"],
    joints3d: Float[Tensor, "*batch 21 3"],
    joints3d_valid: Bool[Tensor, "*batch 21"],
) -> Float[Tensor, ""]:
    """L1 of x, y (half crops) plus half of L1 of z (units of 0.15 m): x, y and z weigh alike."""
    xy = l1(prediction[..., :2], joints2d, joints2d_valid)
    z = l1(prediction[..., 2] / DEPTH_UNIT, joints3d[..., 2] / DEPTH_UNIT, joints3d_valid)
    return xy + 0.5 * z


def pose_loss(
    prediction: Float[Tensor, "*batch 16 3 3"], truth: Float[Tensor, "*batch 16 3 3"], valid: Bool[Tensor, "*batch"]
) -> Float[Tensor, ""]:
    """L1 of the rotation matrices' entries: smooth everywhere, unlike the angle between them."""
    return l1(prediction, truth, valid)


def normal_loss(
    vertices: Float[Tensor, "n V 3"], true_vertices: Float[Tensor, "n V 3"], faces: Int[Tensor, "F 3"], valid: Tensor
) -> Float[Tensor, ""]:
    """Mean |cosine| between the predicted faces' edges and the true faces' normals: 0 where parallel."""
    a, b, c = _corners(true_vertices, faces)
    normal = F.normalize(torch.linalg.cross(b - a, c - a, dim=-1), dim=-1, eps=1e-12)
    a, b, c = _corners(vertices.float(), faces)
    cosines = [(F.normalize(edge, dim=-1, eps=1e-6) * normal).sum(-1).abs() for edge in (b - a, c - b, a - c)]
    return masked_mean(torch.stack(cosines, -1), valid)


def _corners(vertices: Float[Tensor, "n V 3"], faces: Int[Tensor, "F 3"]) -> tuple[Tensor, Tensor, Tensor]:
    a, b, c = (vertices.index_select(-2, faces[:, corner]) for corner in range(3))
    return a, b, c


def edge_loss(
    vertices: Float[Tensor, "n V 3"], true_vertices: Float[Tensor, "n V 3"], edges: Int[Tensor, "E 2"], valid: Tensor
) -> Float[Tensor, ""]:
    """Mean absolute difference of the edges' lengths, metres."""

    def lengths(points: Tensor) -> Tensor:
        step = points.index_select(-2, edges[:, 0]) - points.index_select(-2, edges[:, 1])
        return step.square().sum(-1).clamp_min(1e-12).sqrt()

    return l1(lengths(vertices.float()), lengths(true_vertices), valid)


def laplacian_loss(
    offsets: Float[Tensor, "n V 3"], edges: Int[Tensor, "E 2"], valid: Bool[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Mean length of dM(vertex) minus the mean of dM over its neighbours (uniform Laplacian), metres."""
    offsets, count = offsets.float(), offsets.shape[-2]
    i, j = edges.unbind(1)
    degree = torch.bincount(edges.flatten(), minlength=count).clamp_min(1)[:, None]
    around = torch.zeros_like(offsets)
    around = around.index_add(-2, i, offsets.index_select(-2, j)).index_add(-2, j, offsets.index_select(-2, i))
    return masked_mean((offsets - around / degree).square().sum(-1).add(1e-12).sqrt() - 1e-6, valid)


def presence_loss(
    logit: Float[Tensor, "*batch"], present: Bool[Tensor, "*batch"], known: Bool[Tensor, "*batch"]
) -> Tensor:
    """Binary cross-entropy, nats."""
    entropy = F.binary_cross_entropy_with_logits(logit.float(), present.float(), reduction="none")
    return masked_mean(entropy, known)


def parts_loss(logit: Float[Tensor, "*batch 17 P P"], parts: Int[Tensor, "*batch P P"]) -> Float[Tensor, ""]:
    """Cross-entropy of the part of every cell, nats; cells of -1 are not known."""
    flat = logit.float().flatten(0, -4)
    labels = parts.flatten(0, -3)
    entropy = F.cross_entropy(flat, labels.clamp_min(0), reduction="none")
    return masked_mean(entropy, labels >= 0)


def surface_truth(
    vertices: Float[Tensor, "n V 3"],
    wrist: Float[Tensor, "n 3"],
    tan_half: Float[Tensor, " n"],
    rest: Float[Tensor, "V 3"],
    parts: Int[Tensor, "n P P"],
) -> tuple[Float[Tensor, "n 3 P P"], Bool[Tensor, "n P P"]]:
    """Where on the hand at rest lies what each cell of a crop shows of the hand, decimetres, and of which cells that is known.

    It is the place of that vertex which, of those seen in the cell, is nearest to the camera; cells that do not show the
    hand (`parts`), or in which no vertex falls, are not known. `vertices` are metres from the wrist, `wrist` from the camera.
    """
    count = parts.shape[-1]
    points = vertices + wrist[:, None]
    depth = points[..., 2].clamp_min(1e-3)
    cells = ((points[..., :2] / (depth * tan_half[:, None])[..., None] + 1) / 2 * count).floor()
    inside = ((cells >= 0) & (cells < count)).all(-1)
    index = torch.where(inside, cells[..., 1] * count + cells[..., 0], 0).long()
    depth = torch.where(inside, depth, torch.inf)
    none = torch.full((len(vertices), count * count), torch.inf, device=depth.device)
    nearest = none.scatter_reduce(1, index, depth, "amin")
    front = inside & (depth == nearest.gather(1, index))
    numbers = torch.where(front, torch.arange(len(rest), device=depth.device), -1)
    chosen = torch.full_like(none, -1, dtype=torch.long).scatter_reduce(1, index, numbers, "amax")
    places = 10 * rest[chosen.clamp_min(0)].transpose(1, 2).unflatten(-1, (count, count))
    return places, (parts > 0) & (chosen >= 0).unflatten(-1, (count, count))


def total_loss(
    output: Output, targets: Targets, config: LossConfig, network: LGNet
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """The weighted sum, and every term (unweighted, detached) by its name in LossConfig.

    `network` is asked only for its hand models: true vertices are made here from the true parameters.
    A term of weight 0 is not computed.
    """
    joint, mesh, refine = output.joint, output.mesh, output.refine
    t, known = targets, targets.has_params
    refined = refine.vertices is not mesh.vertices
    terms: dict[str, Tensor] = {}

    def wanted(name: str) -> bool:
        return getattr(config, name) != 0

    if wanted("joints25d"):
        terms["joints25d"] = joints25d_loss(joint.joints25d, t.joints2d, t.joints2d_valid, t.joints3d, t.joints3d_valid)
    if wanted("pose"):
        terms["pose"] = pose_loss(mesh.rotations, t.rotations, known)
    if wanted("shape"):
        terms["shape"] = l1(mesh.betas, t.betas, known)
    if wanted("joints3d"):  # of M_r, and of M_f where that is another mesh
        terms["joints3d"] = l1(mesh.joints, t.joints3d, t.joints3d_valid)
        if refined:
            terms["joints3d"] = terms["joints3d"] + l1(refine.joints, t.joints3d, t.joints3d_valid)
    if wanted("projected"):
        terms["projected"] = l1(project_weak(mesh.joints, mesh.camera), t.joints2d, t.joints2d_valid)
    if wanted("relative"):
        terms["relative"] = l1(mesh.relative, t.relative, t.has_relative)
    if wanted("presence"):
        terms["presence"] = presence_loss(joint.presence_logit, t.present, t.present_known)
    if wanted("parts") and output.parts_logit is not None:
        terms["parts"] = parts_loss(output.parts_logit, t.parts)

    if any(wanted(name) for name in ("vertices_rough", "vertices", "normal", "edge", "laplacian")) or (
        output.surface is not None and wanted("surface")
    ):
        terms.update(_mesh_terms(output, targets, network, wanted, refined))
    loss = torch.stack([getattr(config, name) * value for name, value in terms.items()]).sum()
    return loss, {name: value.detach() for name, value in terms.items()}


def _mesh_terms(output: Output, targets: Targets, network: LGNet, wanted, refined: bool) -> dict[str, Tensor]:
    """The terms that compare meshes, for hands whose parameters are known."""
    hands = network.mesh_stage.hands
    first: HandLayer = hands[0]  # type: ignore[assignment]
    faces, edges = first.model.faces, first.edges  # the left hand's are the same but for the faces' sense
    known = targets.has_params
    with torch.no_grad():
        identity = torch.eye(3, device=known.device)
        rotations = torch.where(known[..., None, None, None], targets.rotations, identity)
        betas = torch.where(known[..., None], targets.betas, torch.zeros_like(targets.betas))
        truth, _ = pose_slots(hands, rotations, betas)
    terms = {}
    if wanted("vertices_rough"):
        terms["vertices_rough"] = l1(output.mesh.vertices, truth, known)
    if wanted("vertices") and refined:
        terms["vertices"] = l1(output.refine.vertices, truth, known)
    if output.surface is not None and wanted("surface"):
        terms["surface"] = _surface_loss(output.surface, truth, targets, [hand.model.template for hand in hands])  # type: ignore[union-attr]
    rows = known.flatten()
    final, truth = output.refine.vertices.flatten(0, 1), truth.flatten(0, 1)
    if wanted("normal"):
        terms["normal"] = normal_loss(final, truth, faces, rows)
    if wanted("edge"):
        terms["edge"] = edge_loss(final, truth, edges, rows)
    if wanted("laplacian") and refined:
        terms["laplacian"] = laplacian_loss(output.refine.offsets.flatten(0, 1), edges, rows)
    return terms


def _surface_loss(
    surface: Float[Tensor, "B 2 3 P P"], vertices: Float[Tensor, "B 2 V 3"], targets: Targets, rests: list[Tensor]
) -> Float[Tensor, ""]:
    """L1, decimetres; `rests`: of the one hand model of both slots, or of the right and the left one."""
    with torch.no_grad():
        sides = [
            surface_truth(
                vertices[:, side],
                targets.wrist[:, side],
                targets.tan_half[:, side],
                rests[side % len(rests)],
                targets.parts[:, side],
            )
            for side in (0, 1)
        ]
        places, seen = (torch.stack(values, 1) for values in zip(*sides))
        seen = seen & targets.has_params[..., None, None]
    return l1(surface.movedim(2, -1), places.movedim(2, -1), seen)
