"""Hand model: shape and pose -> vertices and joints, as stages of data: load -> shape -> pose.

The licence-free hand of the package and MANO (from the user's files, see mano.py) are the same `HandModel`.

Canonical frame of the package's hand: right hand flat, x to the thumb's side, y along the fingers, z out of the palm,
metres. The left hand is its exact mirror x -> -x, with the same order of vertices and the faces turned round. Every
result has the public wrist (joint 0) at the origin; the first rotation turns the whole hand about it, the others are
local, relative to the parent, in the axes of the canonical frame.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from importlib import resources

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .hands import ROTATION_PARENTS


@dataclass(frozen=True)
class HandModel:
    """One side's hand: everything fixed about it. V vertices, F faces."""

    name: str  # "lgnet" or "mano"
    side: str
    template: Float[Tensor, "V 3"]  # mean shape, flat, metres
    shape_basis: Float[Tensor, "V 3 10"]  # per unit-variance coefficient
    centres: Float[Tensor, "16 3"]  # rotation centres of the mean shape
    centres_basis: Float[Tensor, "16 3 10"]
    weights: Float[Tensor, "V 16"]  # skinning weights, each vertex's sum to 1
    faces: Int[Tensor, "F 3"]  # counter-clockwise seen from outside
    pose_basis: Float[Tensor, "V 3 135"] | None  # MANO's pose correctives
    point_joint: Int[Tensor, " 21"]  # the public joints: points fixed to the bone of this rotation,
    points: Float[Tensor, "21 3"]  # at this place in the flat mean hand,
    points_basis: Float[Tensor, "21 3 10"]  # and how shape moves it
    points_vertex: Int[Tensor, " 21"]  # or, where not -1, a vertex of the mesh (MANO's fingertips)
    vertex_influence: Float[Tensor, "21 V"]  # mean of the vertices near each public joint: carries offsets over to it
    uvs: Float[Tensor, "T 2"]
    uv_faces: Int[Tensor, "F2 3"]  # of the faces before the wrist's cap, corner by corner
    part: Int[Tensor, " V"]  # the rotation that moves the vertex most
    nail: Float[Tensor, " V"]  # 0..1
    palm: Float[Tensor, " V"]  # 0 dorsal .. 1 palmar
    wrist_loop: Int[Tensor, " L"]  # vertices round the wrist, in order
    thumb_dorsal: Float[Tensor, "3"]  # towards the thumb's nail, canonical frame

    def to(self, device: torch.device | str) -> HandModel:
        """The same hand on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in values.items() if isinstance(v, Tensor)})


@dataclass(frozen=True)
class PosedHand:
    """A hand in a pose; the public wrist is at the origin."""

    vertices: Float[Tensor, "*batch V 3"]
    joints: Float[Tensor, "*batch 21 3"]
    centres: Float[Tensor, "*batch 16 3"]


def load_hand_model(name: str = "lgnet", side: str = "right", mano_dir: str | None = None) -> HandModel:
    """The hand model of one side, on the CPU, float32; cached.

    Raises:
        ValueError: another name or side, or MANO's files are missing or not what they should be.
    """
    if side not in ("right", "left"):
        raise ValueError(f"a hand is 'right' or 'left', not {side!r}")
    if name == "lgnet":
        return _load_lgnet(side)
    if name == "mano":
        from .mano import load_mano

        return load_mano(side, mano_dir)
    raise ValueError(f"there is no hand model {name!r}; there are 'lgnet' and 'mano'")


@functools.lru_cache(maxsize=2)
def _load_lgnet(side: str) -> HandModel:
    with resources.files("lgnet").joinpath("weights/hand.npz").open("rb") as file:
        data = dict(np.load(file, allow_pickle=False))
    count = len(data["template"])
    weights = np.zeros((count, 16), np.float32)
    np.put_along_axis(weights, data["weights_index"].astype(np.int64), data["weights_value"], 1)
    points = data["keypoints"]
    hand = HandModel(
        name="lgnet",
        side="right",
        template=as_float(data["template"]),
        shape_basis=as_float(data["shape_basis"]),
        centres=as_float(data["joints"]),
        centres_basis=as_float(data["joints_basis"]),
        weights=as_float(weights / weights.sum(1, keepdims=True)),
        faces=as_int(data["faces"]),
        pose_basis=None,
        point_joint=as_int(POINT_JOINT),
        points=as_float(points),
        points_basis=as_float(data["keypoints_basis"]),
        points_vertex=as_int(np.full(21, -1)),
        vertex_influence=as_float(influence(points, data["template"])),
        uvs=as_float(data["uvs"]),
        uv_faces=as_int(data["uv_faces"]),
        part=as_int(data["part"]),
        nail=as_float(data["nail"]),
        palm=as_float(data["palm"] / 255),
        wrist_loop=as_int(data["wrist_loop"]),
        thumb_dorsal=as_float(data["thumb_dorsal"]),
    )
    return hand if side == "right" else mirrored(hand)


# MCPs (and the thumb's CMC) are fixed to the wrist, so that bending a finger does not move them; the other joints sit
# on the rotation centre of their own bone, the tips on the last one.
POINT_JOINT = np.array([0, *(j for f in range(5) for j in (0, 3 * f + 2, 3 * f + 3, 3 * f + 3))])


def influence(points: np.ndarray, template: np.ndarray, nearest: int = 16) -> np.ndarray:
    """(21, V) weights, each row's sum 1: the vertices nearest to each public joint of the flat hand."""
    distance = np.linalg.norm(points[:, None] - template[None], axis=-1)
    rows = np.zeros_like(distance)
    np.put_along_axis(rows, np.argsort(distance, 1, kind="stable")[:, :nearest], 1 / nearest, 1)
    return rows


def mirrored(hand: HandModel) -> HandModel:
    """The other side's hand by x -> -x: same vertex order, faces turned round."""

    def flip(points: Tensor, axis: int) -> Tensor:
        shape = [1] * points.dim()
        shape[axis] = 3
        return points * torch.tensor([-1.0, 1.0, 1.0], device=points.device).view(shape)

    pose_basis = hand.pose_basis
    if pose_basis is not None:  # its columns go with the entries of R - I, which become those of M R M - I
        sign = torch.tensor([-1.0, 1.0, 1.0], device=pose_basis.device)
        pose_basis = flip(pose_basis, 1) * torch.outer(sign, sign).flatten().repeat(15)
    return replace(
        hand,
        side="left" if hand.side == "right" else "right",
        template=flip(hand.template, 1),
        shape_basis=flip(hand.shape_basis, 1),
        centres=flip(hand.centres, 1),
        centres_basis=flip(hand.centres_basis, 1),
        points=flip(hand.points, 1),
        points_basis=flip(hand.points_basis, 1),
        faces=hand.faces.flip(1),
        uv_faces=hand.uv_faces.flip(1),
        pose_basis=pose_basis,
        thumb_dorsal=flip(hand.thumb_dorsal, 0),
    )


def pose_hand(
    model: HandModel, rotations: Float[Tensor, "*batch 16 3 3"], betas: Float[Tensor, "*batch 10"]
) -> PosedHand:
    """Linear blend skinning, batched and differentiable.

    Args:
        model: the hand of one side.
        rotations: rotation matrices, wrist first, see the module's head.
        betas: shape coefficients of unit variance.
    """
    batch = rotations.shape[:-3]
    rotations, betas = rotations.reshape(-1, 16, 3, 3), betas.reshape(-1, 10)
    count = betas.shape[0]  # not len(), which an exporter takes for a constant
    shaped = model.template + (betas @ model.shape_basis.reshape(-1, 10).T).reshape(count, -1, 3)
    if model.pose_basis is not None:
        feature = (rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)).reshape(count, 135)
        shaped = shaped + (feature @ model.pose_basis.reshape(-1, 135).T).reshape(count, -1, 3)
    centres = model.centres + (betas @ model.centres_basis.reshape(-1, 10).T).reshape(count, 16, 3)
    points = model.points + (betas @ model.points_basis.reshape(-1, 10).T).reshape(count, 21, 3)

    # the chain, one step a level of the tree: fingers of all hands at once
    turned = [rotations[:, :1].expand(count, 5, 3, 3)]
    places = [centres[:, :1].expand(count, 5, 3)]
    rest = centres[:, 1:].reshape(count, 5, 3, 3)
    local = rotations[:, 1:].reshape(count, 5, 3, 3, 3)
    parent_rest = centres[:, :1].expand(count, 5, 3)
    for level in range(3):
        step = (rest[:, :, level] - parent_rest)[..., None]
        places.append(places[-1] + (turned[-1] @ step).squeeze(-1))
        turned.append(turned[-1] @ local[:, :, level])
        parent_rest = rest[:, :, level]
    world = torch.cat([rotations[:, :1], torch.stack(turned[1:], 2).reshape(count, 15, 3, 3)], 1)
    place = torch.cat([centres[:, :1], torch.stack(places[1:], 2).reshape(count, 15, 3)], 1)
    shift = place - (world @ centres[..., None]).squeeze(-1)

    affine = torch.cat([world, shift[..., None]], -1).reshape(count, 16, 12)
    blend = (model.weights @ affine).reshape(count, -1, 3, 4)
    vertices = (blend[..., :3] @ shaped[..., None]).squeeze(-1) + blend[..., 3]
    of = model.point_joint
    joints = (world[:, of] @ points[..., None]).squeeze(-1) + shift[:, of]
    on_mesh = model.points_vertex >= 0
    joints = torch.where(on_mesh[:, None], vertices[:, model.points_vertex.clamp_min(0)], joints)
    origin = joints[:, :1]
    return PosedHand(
        vertices=(vertices - origin).reshape(*batch, -1, 3),
        joints=(joints - origin).reshape(*batch, 21, 3),
        centres=(place - origin).reshape(*batch, 16, 3),
    )


def hand_length(model: HandModel, betas: Float[Tensor, "*batch 10"]) -> Float[Tensor, "*batch"]:
    """Metres from the wrist joint to the tip of the middle finger of the hand of this shape held straight: the sum of
    the four bones between the joints 0, 9, 10, 11 and 12 of the flat hand.
    """
    joints = model.points + (betas @ model.points_basis.reshape(-1, 10).T).reshape(*betas.shape[:-1], 21, 3)
    middle = joints[..., [0, 9, 10, 11, 12], :]
    return (middle[..., 1:, :] - middle[..., :-1, :]).norm(dim=-1).sum(-1)


def length_of(model: HandModel, betas: np.ndarray) -> float:
    """`hand_length` of one hand's shape (10,) as NumPy has it."""
    return float(hand_length(model, torch.from_numpy(np.asarray(betas, np.float32))))


def vertex_normals(vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*batch V 3"]:
    """Unit normals, outward, faces weighted by their area."""
    corners = vertices[..., faces, :]
    edge1, edge2 = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    face = torch.linalg.cross(edge1, edge2, dim=-1)
    out = torch.zeros_like(vertices)
    for corner in range(3):
        out = out.index_add(-2, faces[:, corner], face)
    return torch.nn.functional.normalize(out, dim=-1, eps=1e-12)


def mesh_edges(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Each edge of the mesh once, smaller vertex first."""
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return torch.unique(pairs.sort(1).values, dim=0)


@dataclass(frozen=True)
class MeshLevel:
    """One level of a mesh pyramid: `vertices` of the full mesh that stand for it, and its graph."""

    vertices: Int[Tensor, " N"]
    edges: Int[Tensor, "E 2"]
    nearest: Int[Tensor, "M 3"]  # for each node of the next finer level (or vertex): the three nearest nodes here
    blend: Float[Tensor, "M 3"]  # and their shares, sum 1


def mesh_pyramid(model: HandModel, sizes: tuple[int, ...] = (400, 100)) -> tuple[MeshLevel, ...]:
    """Finer to coarser levels of the mesh for a graph network, by farthest points; the same on every machine.

    Distances are in the flat hand, with vertices of different bones set apart, so that neighbouring fingers do not mix.
    """
    finger = (model.part + 2) // 3  # 0 wrist, 1..5
    apart = torch.nn.functional.one_hot(finger, 6).float() * 0.04
    place = torch.cat([model.template - model.template.mean(0), apart], 1).double()
    edges = mesh_edges(model.faces)
    chosen = torch.arange(len(place))
    levels = []
    for size in sizes:
        fine = chosen
        coarse = farthest_points(place[fine], size)
        chosen = fine[coarse]
        distance = torch.cdist(place[fine], place[chosen])
        near = distance.topk(3, largest=False)
        blend = 1 / near.values.clamp_min(1e-5)
        ends = distance.argmin(1)[levels[-1].edges if levels else edges]
        graph = torch.unique(ends.sort(1).values[ends[:, 0] != ends[:, 1]], dim=0)
        levels.append(MeshLevel(chosen, graph, near.indices, (blend / blend.sum(1, keepdim=True)).float()))
    return tuple(levels)


def farthest_points(points: Tensor, count: int, first: int | None = None) -> Tensor:
    """(count,) indices of points (N, 3), each the farthest from those before; without `first`, it is nearest the origin."""
    first = int(points.norm(dim=1).argmin()) if first is None else first
    chosen = [first]
    distance = (points - points[first]).norm(dim=1)
    for _ in range(count - 1):
        nxt = int(distance.argmax())
        chosen.append(nxt)
        distance = torch.minimum(distance, (points - points[nxt]).norm(dim=1))
    return torch.tensor(chosen)


def as_float(values: np.ndarray) -> Tensor:
    """As a float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def as_int(values: np.ndarray) -> Tensor:
    """As an int64 tensor."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))


assert ROTATION_PARENTS[1::3] == (0,) * 5, "pose_hand walks five fingers of three joints from the wrist"
