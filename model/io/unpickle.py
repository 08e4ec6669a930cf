"""Pickles, read without trusting them: an allow-list of what model files contain, and nothing else.

A pickle is a program. The files that FLAME users have are pickles, most of them made by Python 2, some with `chumpy`
objects or PyTorch tensors inside. Here such a program may build NumPy arrays, SciPy sparse matrices, chumpy arrays and
tensors; chumpy need not be installed. Everything else is refused by name before anything of it runs.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

_SPARSE = {
    f"scipy.sparse.{module}.{kind}_{form}": kind
    for kind in ("csc", "csr")
    for form in ("matrix", "array")
    for module in (kind, f"_{kind}")
}


def read_pickle(path: str | Path) -> Any:
    """Read a pickle file of arrays: ``dict``, ``list``, numbers and text pass as they are, latin-1 strings as text.

    Sparse matrices come as `scipy.sparse` matrices, chumpy arrays and tensors as NumPy arrays.

    Raises:
        ValueError: the pickle names a class or function that is not on the list, or it is damaged.
    """
    return _load(Path(path).read_bytes(), str(path))


def read_npy(path: str | Path) -> Any:
    """Read an ``.npy`` file; arrays of Python objects pass through the same allow-list as `read_pickle`.

    Returns:
        The array; the object itself where the file holds a single object.

    Raises:
        ValueError: not an ``.npy`` file, or its pickle is refused.
    """
    content = io.BytesIO(Path(path).read_bytes())
    try:
        version = np.lib.format.read_magic(content)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(content)
        if not dtype.hasobject:
            content.seek(0)
            return np.load(content, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not an .npy file ({error})") from error
    value = np.asarray(_load(content.read(), str(path)), dtype=object)
    return value.item() if shape == () else value.reshape(shape)


def _load(content: bytes, label: str) -> Any:
    try:
        return _resolve(_Unpickler(content, label).load())
    except _RefusedError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # a damaged program can fail in any way
        raise ValueError(f"{label}: damaged pickle ({type(error).__name__}: {error})") from error


class _RefusedError(Exception):
    pass


class _Stub:
    """Stands in for a class that is not imported; keeps the attributes that its pickle sets."""

    kind = ""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise TypeError(f"{self.kind}: expected attributes, got {type(state).__name__}")
        self.state = state


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, label: str) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._label = label
        self._allowed = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in self._allowed:
            raise _RefusedError(f"{self._label}: this pickle wants {wanted}, which is not data; refused, nothing ran")
        return self._allowed[wanted]

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError(f"{self._label}: this pickle refers to storage outside itself ({pid!r}); refused")


def _allowed() -> dict[str, Any]:
    """What a pickle may name.

    Made anew for each pickle: a program can set attributes of classes and Python functions that it was given, and what
    it sets must not outlive it. The rest are types and functions of C, which cannot be changed.
    """

    def stub(kind: str) -> type[_Stub]:
        return type(f"_{kind}", (_Stub,), {"kind": kind})

    def reconstruct(cls: type, base: type, state: Any) -> Any:  # copyreg's, for plain objects only
        if not issubclass(cls, _Stub) or base is not object:
            raise TypeError(f"cannot make {cls.__name__} from {base.__name__}")
        return cls()

    def encode(text: str, encoding: str) -> bytes:  # how protocols below 3 write bytes
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"bytes encoded as {encoding}")
        return text.encode("latin1")

    def storage(content: bytes) -> Any:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    def tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
        flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
        return flat.as_strided(size, stride, offset)  # refuses what lies outside of the storage

    array, scalar = (value.__reduce__()[0] for value in (np.zeros(1), np.float64(0)))  # their home moved in NumPy 2
    classes = {kind: stub(kind) for kind in ("chumpy", "csc", "csr")}
    allowed: dict[str, Any] = {
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "chumpy.ch.Ch": classes["chumpy"],
        "collections.OrderedDict": OrderedDict,
        "_codecs.encode": encode,
        "torch.storage._load_from_bytes": storage,
        "torch._utils._rebuild_tensor_v2": tensor,
    }
    for package in ("numpy.core", "numpy._core"):  # 1.x, 2.x
        allowed |= {f"{package}.multiarray._reconstruct": array, f"{package}.multiarray.scalar": scalar}
    for package in ("copyreg", "copy_reg"):  # Python 3, 2
        allowed[f"{package}._reconstructor"] = reconstruct
    for package in ("builtins", "__builtin__"):
        allowed |= {f"{package}.object": object, f"{package}.bytes": lambda: b""}
    return allowed | {name: classes[kind] for name, kind in _SPARSE.items()}


def _resolve(value: Any) -> Any:
    """Replace stubs and tensors by what they hold, in nested containers and object arrays too."""
    if isinstance(value, _Stub):
        return _resolve_stub(value)
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: _resolve(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(item) for item in value)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        resolved = np.empty(value.shape, dtype=object)
        for index in np.ndindex(value.shape):
            resolved[index] = _resolve(value[index])
        return resolved
    return value


def _resolve_stub(stub: _Stub) -> Any:
    state = getattr(stub, "state", {})
    if stub.kind == "chumpy":
        if "x" not in state:
            raise ValueError("a chumpy array without its values (attribute x)")
        return np.asarray(_resolve(state["x"]))
    make = scipy.sparse.csc_matrix if stub.kind == "csc" else scipy.sparse.csr_matrix
    matrix = make((state["data"], state["indices"], state["indptr"]), shape=state["_shape"])
    matrix.check_format(full_check=True)  # indices come from the file
    return matrix
