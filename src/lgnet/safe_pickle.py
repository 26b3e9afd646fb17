"""Pickles of strangers, read without running anything they ask for: plain containers and NumPy arrays.

Data sets and models are still given away as Python pickles. What is read here is what they need; objects of NumPy, SciPy
and chumpy become inert stand-ins, of which `dense` makes arrays, and every other name is refused.
"""

from __future__ import annotations

import pickle
import re
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


def read_pickle(path: Path) -> Any:
    """What a pickle holds; arrays in it are stand-ins, for `dense`.

    Raises:
        ValueError: the file is missing, damaged, or names what data need not.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            return Unpickler(file).load()
    except UnsafePickleError as error:
        raise ValueError(f"{path} asks for {error}, which data do not need; it was not read") from None
    except Exception as error:  # a broken pickle may raise anything at all
        raise ValueError(f"{path} is cut short or no pickle of data: {error}") from error


def read_npy_object(path: Path) -> Any:
    """The one object of an .npy that `numpy.save` pickled; arrays in it are stand-ins, for `dense`.

    The bytes of large arrays stay in the file and are mapped when `dense` asks for them, so that files of many
    gigabytes cost only what is used of them.

    Raises:
        ValueError: the file is missing, damaged, holds plain numbers, or names what data need not.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
            shape, _, dtype = read_header(file)
            if shape != () or not dtype.hasobject:
                raise ValueError(f"it holds an array of {dtype}, not one object")
            array = _MappingUnpickler(file, path).load()
        _, _, _, _, (content,) = array.state
        return content
    except UnsafePickleError as error:
        raise ValueError(f"{path} asks for {error}, which data do not need; it was not read") from None
    except Exception as error:  # a broken pickle may raise anything at all
        raise ValueError(f"{path} is cut short or no pickled object of NumPy's: {error}") from error


class UnsafePickleError(Exception):
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


class _BytesInFile:
    """Bytes that were left where they are."""

    def __init__(self, path: Path, start: int, length: int) -> None:
        self.path, self.start, self.length = path, start, length

    def mapped(self, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
        """Them as an array, read-only; pages come into memory as they are looked at."""
        if dtype.itemsize * int(np.prod(shape)) != self.length:
            raise ValueError(f"an array of {shape} {dtype} has {self.length} bytes")
        return np.memmap(self.path, dtype, "r", self.start, shape, order)  # type: ignore[call-overload]


class _Sparse(_StandIn):
    """For SciPy's compressed sparse matrices."""

    by_row = False


class _SparseRows(_Sparse):
    by_row = True


_SPARSE = {"csc_matrix": _Sparse, "csc_array": _Sparse, "csr_matrix": _SparseRows, "csr_array": _SparseRows}


def dense(value: Any, depth: int = 0) -> np.ndarray:
    """The array behind the stand-in of an ndarray, a chumpy `Ch` or `Select`, or a compressed sparse matrix."""
    state = value.state if isinstance(value, _StandIn) else None
    if state is None or depth > 8:
        raise ValueError(f"it is no array but a {type(value).__name__}")
    if isinstance(value, _Array):
        _, shape, kind, fortran, raw = state
        code, order = str(kind.args[0]), kind.state[1] if kind.state else "="
        if not re.fullmatch("[biuf][1248]", code) or order not in "<>|=":
            raise ValueError(f"it is an array of {code}")
        if isinstance(raw, _BytesInFile):
            return raw.mapped(np.dtype(order + code), shape, "F" if fortran else "C")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote it
        return np.frombuffer(raw, np.dtype(order + code)).reshape(shape, order="F" if fortran else "C")
    if isinstance(value, _Sparse):
        rows, columns = (int(dense(n)) if isinstance(n, _StandIn) else int(n) for n in state["_shape"])
        ends, places, entries = (dense(state[key]) for key in ("indptr", "indices", "data"))
        if (np.diff(ends) < 0).any() or ends[-1] != len(entries) or not 0 <= rows * columns <= 1_000_000:
            raise ValueError("it is no sparse matrix")
        out = np.zeros((rows, columns) if value.by_row else (columns, rows))
        np.add.at(out, (np.repeat(np.arange(len(out)), np.diff(ends)), places), entries)
        return out if value.by_row else out.T
    if "idxs" in state:  # chumpy.reordering.Select
        chosen = dense(state["a"], depth + 1).ravel()[dense(state["idxs"])]
        return chosen.reshape(state["preferred_shape"]) if "preferred_shape" in state else chosen
    return dense(state["x"], depth + 1)  # chumpy.ch.Ch


class _Known:
    """The names that a pickle of data may use. Made anew for each file, so that a file cannot change the next one's."""

    def __init__(self) -> None:
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
        self.classes = known

    def find(self, module: str, name: str) -> Any:
        """The class or function of that name, if it is on the list."""
        full = f"{module}.{name}"
        if full not in self.classes:
            if module.startswith("scipy.sparse") and name in _SPARSE:
                self.classes[full] = type(name, (_SPARSE[name],), {})
            elif module.split(".")[0] == "chumpy":
                self.classes[full] = type(name, (_StandIn,), {})
            else:
                raise UnsafePickleError(f"'{full}'")
        return self.classes[full]


class Unpickler(pickle.Unpickler):
    """Loads plain containers, and stand-ins for NumPy's, SciPy's and chumpy's objects; refuses every other name.

    Not even NumPy's own functions are let near the file: a made-up dtype can bring them to read foreign memory.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")
        self._known = _Known()

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of that name, if it is on the list."""
        return self._known.find(module, name)


class _MappingUnpickler(pickle._Unpickler):
    """The same, in Python, but that large bytes are not read: a `_BytesInFile` stands for them."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._file, self._path, self._known = file, path, _Known()

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of that name, if it is on the list."""
        return self._known.find(module, name)

    def _bytes(self, kind: str) -> None:
        (length,) = struct.unpack(kind, self.read(struct.calcsize(kind)))  # type: ignore[attr-defined]
        if length < _LEFT_IN_FILE or self._unframer.current_frame is not None:  # type: ignore[attr-defined]
            self.append(self.read(length))  # type: ignore[attr-defined]
            return
        start = self._file.tell()
        self._file.seek(length, 1)
        self.append(_BytesInFile(self._path, start, length))  # type: ignore[attr-defined]

    def _short(self) -> None:
        self._bytes("<I")

    def _long(self) -> None:
        self._bytes("<Q")

    dispatch[pickle.BINBYTES[0]], dispatch[pickle.BINBYTES8[0]] = _short, _long


_LEFT_IN_FILE = 4096
"""Bytes: what is smaller is read at once."""
