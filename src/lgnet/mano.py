"""MANO (Romero, Tzionas and Black, 2017) as a `HandModel`, read from the user's own files without running their code.

MANO_RIGHT.pkl and MANO_LEFT.pkl are Python pickles that hold chumpy and SciPy objects. They are read by an unpickler
that knows NumPy arrays, plain containers and inert stand-ins for the rest, so that neither chumpy nor SciPy is needed
and nothing a file asks for is run.

What differs from the file:

- Joints are in the package's order (thumb, index, middle, ring, little); MANO's is index, middle, little, ring, thumb.
- The published left hand's shape basis has the x of the right hand's: it is negated where the two are equal, as the
  users of MANO for two hands do (https://github.com/vchoutas/smplx/issues/48). That takes MANO_RIGHT.pkl in the same
  folder; with the left file alone the basis stays as it is in the file.

What does not: units (metres), the rest frame (MANO's own; the right hand's fingers lie along -x, its palm looks to -y;
the left is the mirror x -> -x), the faces (open at the wrist), and the zero pose, which is the flat hand (smplx calls it
`flat_hand_mean=True`; `mano_pose` adds `hands_mean` to poses told relative to it).
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import cv2
import numpy as np
import torch

from .hand_model import HandModel, as_float, as_int, influence, vertex_normals
from .hands import MANO_VERTICES, SIDES
from .safe_pickle import Unpickler, UnsafePickleError, dense

MANO_URL = "https://mano.is.tue.mpg.de"
MANO_ENV = "MANO_DIR"
FINGERTIPS = (745, 317, 444, 556, 673)
"""Vertices for the tips of thumb .. little, the convention of the code of InterHand2.6M and IntagHand, both hands."""

_FACES = 1538
_FROM_MANO = np.array([0, 13, 14, 15, 1, 2, 3, 4, 5, 6, 10, 11, 12, 7, 8, 9])  # MANO's joint for each of ours
_MANO_PARENTS = np.array([0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])  # of joints 1..15
_POINT_JOINT = np.array([0, *(j for f in range(5) for j in (3 * f + 1, 3 * f + 2, 3 * f + 3, 3 * f + 3))])
_SHAPES = {
    "v_template": (MANO_VERTICES, 3),
    "shapedirs": (MANO_VERTICES, 3, 10),
    "posedirs": (MANO_VERTICES, 3, 135),
    "J_regressor": (16, MANO_VERTICES),
    "weights": (MANO_VERTICES, 16),
    "kintree_table": (2, 16),
    "f": (_FACES, 3),
}


def load_mano(side: str, mano_dir: str | Path | None = None) -> HandModel:
    """MANO's hand of one side, on the CPU, float32; cached.

    Args:
        side: "right" or "left".
        mano_dir: the folder of MANO_RIGHT.pkl and MANO_LEFT.pkl; None for the one the variable MANO_DIR names.

    Raises:
        ValueError: the file is missing, cut short or not MANO's.
    """
    if side not in SIDES:
        raise ValueError(f"a hand is 'right' or 'left', not {side!r}")
    folder = mano_dir or os.environ.get(MANO_ENV)
    if not folder:
        raise ValueError(f"no folder with MANO's hands is given; {_where(side)}")
    return _load(side, _absolute(folder))


def load_hands_mean(side: str) -> np.ndarray:
    """(15, 3) axis-angle in MANO's own order of joints: the mean pose that many data sets' poses are told relative to.

    Added to such a pose (smplx's `flat_hand_mean=False`) it gives the pose relative to the flat hand; see `mano_pose`.

    Raises:
        ValueError: as `load_mano`.
    """
    load_mano(side)  # says what is wrong with the folder
    return _hands_mean(side, _absolute(os.environ[MANO_ENV])).copy()


def _absolute(folder: str | Path) -> str:
    return str(Path(folder).expanduser().resolve())


@functools.lru_cache(maxsize=8)
def _hands_mean(side: str, folder: str) -> np.ndarray:
    return _read(side, folder, _SHAPES | {"hands_mean": (45,)})["hands_mean"].reshape(15, 3)


def mano_pose(pose: np.ndarray, R_camera_world: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """(16, 3) axis-angle in the package's order, wrist to the camera, from a data set's 48 numbers in MANO's order.

    Args:
        pose: (48,) axis-angle, the wrist's in the world.
        R_camera_world: (3, 3).
        mean: (15, 3) from `load_hands_mean` where the pose is relative to it; None: it is relative to the flat hand.
    """
    rotvecs = np.array(pose, np.float64).reshape(16, 3)
    if mean is not None:
        rotvecs[1:] += mean
    rotvecs[0] = cv2.Rodrigues(np.asarray(R_camera_world, np.float64) @ cv2.Rodrigues(rotvecs[0])[0])[0][:, 0]
    return rotvecs[_FROM_MANO]


def mano_wrist(side: str, shape: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """(3,) where MANO's wrist is, in the frame of `translation`, which moves the origin of its template.

    The wrist is not at that origin and its place there depends on the shape (10,): a turn of the world turns about it.
    """
    hand = load_mano(side)
    return hand.centres[0].numpy() + hand.centres_basis[0].numpy() @ np.asarray(shape) + np.asarray(translation)


def mano_joints(side: str, vertices: np.ndarray) -> np.ndarray:
    """(21, 3) joints of a posed mesh (778, 3), in its frame and unit: MANO's regressor, and the fingertips' vertices.

    Raises:
        ValueError: as `load_mano`.
    """
    load_mano(side)  # says what is wrong with the folder
    joints = (_regressor(side, _absolute(os.environ[MANO_ENV])) @ vertices)[_POINT_JOINT]
    joints[4::4] = vertices[list(FINGERTIPS)]
    return joints


@functools.lru_cache(maxsize=8)
def _regressor(side: str, folder: str) -> np.ndarray:
    return _read(side, folder)["J_regressor"][_FROM_MANO]


@functools.lru_cache(maxsize=8)
def _load(side: str, folder: str) -> HandModel:
    data = _read(side, folder)
    template, weights, faces = data["v_template"], data["weights"][:, _FROM_MANO], data["f"].astype(np.int64)
    basis = data["shapedirs"]
    if side == "left" and _path("right", folder).is_file():
        right = _read("right", folder)["shapedirs"]
        if np.abs(basis[:, 0] - right[:, 0]).sum() < 1:
            basis = basis * np.array([-1.0, 1.0, 1.0])[:, None]
    regressor = data["J_regressor"][_FROM_MANO]
    centres, centres_basis = regressor @ template, np.einsum("jv,vcb->jcb", regressor, basis)
    pose_basis = (
        data["posedirs"].reshape(MANO_VERTICES, 3, 15, 9)[:, :, _FROM_MANO[1:] - 1].reshape(MANO_VERTICES, 3, 135)
    )

    points, points_basis = centres[_POINT_JOINT], centres_basis[_POINT_JOINT]
    points_vertex = np.full(21, -1)
    points_vertex[4::4] = FINGERTIPS
    points[4::4], points_basis[4::4] = template[list(FINGERTIPS)], basis[list(FINGERTIPS)]

    palm_normal = _palm_normal(points, side)
    dorsal = _thumb_dorsal(template, centres, points, weights, palm_normal)
    part = weights.argmax(1)
    normals = vertex_normals(torch.from_numpy(template), torch.from_numpy(faces)).numpy()
    inward = np.where(np.isin(part, [2, 3])[:, None], -dorsal, palm_normal)
    return HandModel(
        name="mano",
        side=side,
        template=as_float(template),
        shape_basis=as_float(basis),
        centres=as_float(centres),
        centres_basis=as_float(centres_basis),
        weights=as_float(weights / weights.sum(1, keepdims=True)),
        faces=as_int(faces),
        pose_basis=as_float(pose_basis),
        point_joint=as_int(_POINT_JOINT),
        points=as_float(points),
        points_basis=as_float(points_basis),
        points_vertex=as_int(points_vertex),
        vertex_influence=as_float(influence(points, template)),
        uvs=as_float(np.zeros((0, 2))),
        uv_faces=as_int(np.zeros((0, 3))),
        part=as_int(part),
        nail=as_float(np.zeros(MANO_VERTICES)),
        palm=as_float(np.clip((normals * inward).sum(1) * 1.5 + 0.2, 0, 1)),
        wrist_loop=as_int(_boundary_loop(faces if side == "right" else faces[:, ::-1], _path(side, folder))),
        thumb_dorsal=as_float(dorsal),
    )


def _palm_normal(points: np.ndarray, side: str) -> np.ndarray:
    """(3,) unit, out of the palm, square to the line from the wrist to the middle finger's MCP. Points: (21, 3)."""
    along = _unit(points[9] - points[0])
    normal = np.cross(points[5] - points[0], points[17] - points[0])
    normal = _unit(normal - (normal @ along) * along)
    return normal if side == "right" else -normal


def _thumb_dorsal(
    template: np.ndarray, centres: np.ndarray, points: np.ndarray, weights: np.ndarray, palm_normal: np.ndarray
) -> np.ndarray:
    """(3,) unit, towards the thumb's nail: the thin direction of its last phalanx's cross-section."""
    bone = _unit(points[4] - centres[3])
    own = template[weights[:, 3] > 0.9]
    if len(own) < 8:
        own = template[weights.argmax(1) == 3]
    flat = own - centres[3]
    flat = flat - (flat @ bone)[:, None] * bone
    thin = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][1]
    # the thumb's pad looks to a place some 2 cm over the middle of the palm
    middle = centres[[0, 4, 7, 10, 13]].mean(0) + 0.02 * palm_normal
    return -thin if thin @ (middle - centres[3]) > 0 else thin


def _boundary_loop(faces: np.ndarray, path: Path) -> np.ndarray:
    """(L,) vertices of the mesh's open border, in order, walked against the sense of the faces."""
    edges = {(int(f[i]), int(f[i - 2])) for f in faces for i in range(3)}
    following = {b: a for a, b in edges if (b, a) not in edges}
    if not following:
        raise ValueError(f"{path} is not MANO's: its mesh is not open at the wrist")
    loop = [min(following)]
    while (nxt := following.get(loop[-1])) is not None and nxt != loop[0] and len(loop) <= len(following):
        loop.append(nxt)
    if len(loop) != len(following) or following.get(loop[-1]) != loop[0]:
        raise ValueError(f"{path} is not MANO's: its mesh has another border than one loop at the wrist")
    return np.array(loop)


def _path(side: str, folder: str) -> Path:
    return Path(folder) / f"MANO_{side.upper()}.pkl"


def _where(side: str) -> str:
    name = f"MANO_{side.upper()}.pkl"
    return f"MANO is to be had from {MANO_URL}: unpack it and set {MANO_ENV} to the folder that holds {name}"


def _read(side: str, folder: str, shapes: dict[str, tuple[int, ...]] | None = None) -> dict[str, np.ndarray]:
    """The file's arrays by name: float64 (indices as they are), of the shapes in `_SHAPES` or those given, checked."""
    path = _path(side, folder)
    if not path.is_file():
        raise ValueError(f"there is no {path}; {_where(side)}")
    try:
        with path.open("rb") as file:
            content = Unpickler(file).load()
    except UnsafePickleError as error:
        raise ValueError(f"{path} asks for {error}, which a file of MANO's does not need; it was not read") from None
    except Exception as error:  # a broken pickle may raise anything at all
        raise ValueError(f"{path} is cut short or not one of MANO's files ({error}); {_where(side)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no dictionary and so is not one of MANO's files; {_where(side)}")
    arrays = {}
    for key, shape in (shapes or _SHAPES).items():
        if key not in content:
            raise ValueError(f"{path} is not one of MANO's files, it lacks {key!r}; {_where(side)}")
        try:
            array = dense(content[key])
            if key == "shapedirs":
                array = array[..., :10]
            array = array.astype(np.int64 if key in ("f", "kintree_table") else np.float64)
        except Exception as error:
            raise ValueError(f"{path} is not one of MANO's files, {key!r} cannot be read: {error}") from error
        if array.shape != shape:
            raise ValueError(f"{path} is not one of MANO's files: {key!r} is {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{path} is damaged: {key!r} has values that are not finite")
        arrays[key] = array
    if (arrays["kintree_table"][0, 1:] != _MANO_PARENTS).any():
        raise ValueError(f"{path} is not one of MANO's files: its joints hang together in another way")
    if arrays["f"].min() < 0 or arrays["f"].max() >= MANO_VERTICES or (arrays["weights"].sum(1) < 0.5).any():
        raise ValueError(f"{path} is damaged: its faces or skinning weights make no hand")
    return arrays


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
