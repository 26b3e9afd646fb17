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
`flat_hand_mean=True`; `hands_mean` is not used).
"""

from __future__ import annotations

import functools
import os
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .hand_model import HandModel, influence, vertex_normals
from .hands import SIDES

MANO_URL = "https://mano.is.tue.mpg.de"
MANO_ENV = "MANO_DIR"
FINGERTIPS = (745, 317, 444, 556, 673)
"""Vertices for the tips of thumb .. little, the convention of the code of InterHand2.6M and IntagHand, both hands."""

_VERTICES, _FACES = 778, 1538
_FROM_MANO = np.array([0, 13, 14, 15, 1, 2, 3, 4, 5, 6, 10, 11, 12, 7, 8, 9])  # MANO's joint for each of ours
_MANO_PARENTS = np.array([0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])  # of joints 1..15
_POINT_JOINT = np.array([0, *(j for f in range(5) for j in (3 * f + 1, 3 * f + 2, 3 * f + 3, 3 * f + 3))])
_SHAPES = {
    "v_template": (_VERTICES, 3),
    "shapedirs": (_VERTICES, 3, 10),
    "posedirs": (_VERTICES, 3, 135),
    "J_regressor": (16, _VERTICES),
    "weights": (_VERTICES, 16),
    "kintree_table": (2, 16),
    "f": (_FACES, 3),
}


def load_mano(side: Literal["right", "left"], mano_dir: str | Path | None = None) -> HandModel:
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
    return _load(side, str(Path(folder).expanduser().resolve()))


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
    pose_basis = data["posedirs"].reshape(_VERTICES, 3, 15, 9)[:, :, _FROM_MANO[1:] - 1].reshape(_VERTICES, 3, 135)

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
        template=_float(template),
        shape_basis=_float(basis),
        centres=_float(centres),
        centres_basis=_float(centres_basis),
        weights=_float(weights / weights.sum(1, keepdims=True)),
        faces=_int(faces),
        pose_basis=_float(pose_basis),
        point_joint=_int(_POINT_JOINT),
        points=_float(points),
        points_basis=_float(points_basis),
        points_vertex=_int(points_vertex),
        vertex_influence=_float(influence(points, template)),
        uvs=_float(np.zeros((0, 2))),
        uv_faces=_int(np.zeros((0, 3))),
        part=_int(part),
        nail=_float(np.zeros(_VERTICES)),
        palm=_float(np.clip((normals * inward).sum(1) * 1.5 + 0.2, 0, 1)),
        wrist_loop=_int(_boundary_loop(faces if side == "right" else faces[:, ::-1], _path(side, folder))),
        thumb_dorsal=_float(dorsal),
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


def _read(side: str, folder: str) -> dict[str, np.ndarray]:
    """The file's arrays by name: float64 (indices as they are), of the shapes in `_SHAPES`, checked."""
    path = _path(side, folder)
    if not path.is_file():
        raise ValueError(f"there is no {path}; {_where(side)}")
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
    except _RefusedError as error:
        raise ValueError(f"{path} asks for {error}, which a file of MANO's does not need; it was not read") from None
    except Exception as error:  # a broken pickle may raise anything at all
        raise ValueError(f"{path} is cut short or not one of MANO's files ({error}); {_where(side)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no dictionary and so is not one of MANO's files; {_where(side)}")
    arrays = {}
    for key, shape in _SHAPES.items():
        if key not in content:
            raise ValueError(f"{path} is not one of MANO's files, it lacks {key!r}; {_where(side)}")
        try:
            array = _dense(content[key])
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
    if arrays["f"].min() < 0 or arrays["f"].max() >= _VERTICES or (arrays["weights"].sum(1) < 0.5).any():
        raise ValueError(f"{path} is damaged: its faces or skinning weights make no hand")
    return arrays


class _RefusedError(Exception):
    """The pickle names something that is not on the list."""


class _StandIn:
    """Holds the state of an object whose class is not to be loaded; does nothing."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(_StandIn):
    """For `numpy.dtype(code, align, copy)` with the state (version, byte order, ...)."""


class _Array(_StandIn):
    """For `numpy.ndarray`, with the state (version, shape, dtype, Fortran order, bytes)."""


class _Sparse(_StandIn):
    """For SciPy's compressed sparse matrices."""

    by_row = False


class _SparseRows(_Sparse):
    by_row = True


_SPARSE = {"csc_matrix": _Sparse, "csc_array": _Sparse, "csr_matrix": _SparseRows, "csr_array": _SparseRows}


def _dense(value: Any, depth: int = 0) -> np.ndarray:
    """The array behind the stand-in of an ndarray, a chumpy `Ch` or `Select`, or a compressed sparse matrix."""
    state = value.state if isinstance(value, _StandIn) else None
    if state is None or depth > 8:
        raise ValueError(f"it is no array but a {type(value).__name__}")
    if isinstance(value, _Array):
        _, shape, kind, fortran, raw = state
        code, order = str(kind.args[0]), kind.state[1] if kind.state else "="
        if not re.fullmatch("[biuf][1248]", code) or order not in "<>|=":
            raise ValueError(f"it is an array of {code}")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote it
        return np.frombuffer(raw, np.dtype(order + code)).reshape(shape, order="F" if fortran else "C")
    if isinstance(value, _Sparse):
        rows, columns = (int(_dense(n)) if isinstance(n, _StandIn) else int(n) for n in state["_shape"])
        ends, places, entries = (_dense(state[key]) for key in ("indptr", "indices", "data"))
        if (np.diff(ends) < 0).any() or ends[-1] != len(entries) or not 0 <= rows * columns <= 1_000_000:
            raise ValueError("it is no sparse matrix")
        out = np.zeros((rows, columns) if value.by_row else (columns, rows))
        np.add.at(out, (np.repeat(np.arange(len(out)), np.diff(ends)), places), entries)
        return out if value.by_row else out.T
    if "idxs" in state:  # chumpy.reordering.Select
        chosen = _dense(state["a"], depth + 1).ravel()[_dense(state["idxs"])]
        return chosen.reshape(state["preferred_shape"]) if "preferred_shape" in state else chosen
    return _dense(state["x"], depth + 1)  # chumpy.ch.Ch


class _Unpickler(pickle.Unpickler):
    """Loads plain containers, and stand-ins for NumPy's, SciPy's and chumpy's objects; refuses every other name.

    Not even NumPy's own functions are let near the file: a made-up dtype can bring them to read foreign memory. The
    classes are made anew for each file, so that a file cannot change what the next one finds.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")
        array, dtype = type("ndarray", (_Array,), {}), type("dtype", (_Dtype,), {})

        def filled(shape: Any, kind: Any, order: str, raw: Any) -> Any:
            out = array()
            out.state = (1, shape, kind, order == "F", raw)
            return out

        known: dict[str, Any] = {"numpy.ndarray": array, "numpy.dtype": dtype}
        for core in ("numpy.core", "numpy._core"):
            known[f"{core}.multiarray._reconstruct"] = lambda *_: array()
            known[f"{core}.multiarray.scalar"] = lambda kind, raw: filled((), kind, "C", raw)
            known[f"{core}.numeric._frombuffer"] = lambda raw, kind, shape, order: filled(shape, kind, order, raw)
        known["_codecs.encode"] = lambda text, _="latin1": text.encode("latin1")
        for copying in ("copy_reg", "copyreg"):
            known[f"{copying}._reconstructor"] = lambda kind, *_: kind()
        for builtins in ("__builtin__", "builtins"):
            known |= {f"{builtins}.{kind.__name__}": kind for kind in (set, frozenset, slice, object)}
        self._known = known

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of that name, if it is on the list."""
        full = f"{module}.{name}"
        if full not in self._known:
            if module.startswith("scipy.sparse") and name in _SPARSE:
                self._known[full] = type(name, (_SPARSE[name],), {})
            elif module.split(".")[0] == "chumpy":
                self._known[full] = type(name, (_StandIn,), {})
            else:
                raise _RefusedError(f"'{full}'")
        return self._known[full]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _int(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
