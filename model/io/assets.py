"""Reading and writing of heads: one ``.npz`` per head, without pickles, the same bytes for the same head."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from importlib import resources
from importlib.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from model.asset import JOINTS, HeadAsset, Landmarks, SurfacePoints
from model.io.flame import is_flame, load_flame

SCHEMA = "decatrack-head/1"

_REQUIRED = {
    "template": ("V", 3),
    "faces": ("F", 3),
    "shapedirs": ("V", 3, "S"),
    "exprdirs": ("V", 3, "E"),
    "posedirs": ("V", 3, 36),
    "joint_regressor": (5, "V"),
    "weights": ("V", 5),
    "parents": (5,),
}
_OPTIONAL = {
    "expression_range": (2,),
    "uv": ("VT", 2),
    "uv_faces": ("F", 3),
    "albedo_mean": ("H", "W", 3),
    "albedo_basis": ("A", "h", "w", 3),
    "fixed_displacement": ("rows", "columns"),
}
_LANDMARKS = {"static51": (51,), "contour": (79, 17), "full68": (68,), "mediapipe478": (478,)}
_INTEGER = {"faces", "uv_faces", "parents"}
_SUM_TO_ONE = {"weights", "joint_regressor"}
_KINDS = {"U": "text", "i": "integers", "f": "floats"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold: the bytes must not depend on the clock


def save_head(asset: HeadAsset, path: str | Path) -> str:
    """Write a head; the file appears under its name only when it is complete.

    Bases may be given as float16 and are stored so; any wider float is stored as float32, integers as int32.

    Returns:
        The digest: SHA-256 of the stored content, as `load_head` will report it.

    Raises:
        ValueError: the arrays do not fit together.
    """
    path = Path(path)
    arrays = _stored(asset)
    _check(arrays, str(path))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
            for key in sorted(arrays):
                data = io.BytesIO()
                np.lib.format.write_array(data, arrays[key], version=(1, 0), allow_pickle=False)
                info = zipfile.ZipInfo(f"{key}.npy", _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                info.create_system = 3  # otherwise the platform is written
                out.writestr(info, data.getvalue())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return _digest(arrays)


def load_head(name_or_path: str | Path = "openhead") -> HeadAsset:
    """Read a head: ``openhead``, the head that the package carries, or the path of a file that `save_head` wrote, of a
    FLAME model or of a folder with one (`model.io.flame`).

    Floats come back as float32, integers as int64, whatever the file stores.

    Raises:
        ValueError: no such head, not a head file, or its arrays do not fit together; for FLAME, which file is missing
            and where it is offered.
    """
    if is_flame(name_or_path):
        flame = load_flame(name_or_path)
        arrays = _stored(flame)
        _check(arrays, str(name_or_path))
        return dataclasses.replace(flame, digest=_digest(arrays))
    source, label = _locate(name_or_path)
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, EOFError, zipfile.BadZipFile, ValueError, AttributeError) as error:
        raise ValueError(f"head {label}: not a head file ({error}); give 'openhead' or an .npz by save_head") from error
    if str(arrays.get("schema")) != SCHEMA:
        raise ValueError(
            f"head {label}: schema is {arrays.get('schema')}, expected {SCHEMA}; give an .npz by save_head"
        )
    _check(arrays, label)
    return _restored(arrays)


def _locate(name_or_path: str | Path) -> tuple[Path | Traversable, str]:
    if name_or_path == "openhead":
        shipped = resources.files("model") / "assets" / "openhead.npz"
        if not shipped.is_file():
            raise ValueError(
                "head openhead: model/assets/openhead.npz is missing; reinstall, or run python -m model.openhead.build"
            )
        return shipped, "openhead"
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"head {path}: no such file; give 'openhead', the path of a head file or a FLAME folder")
    return path, str(path)


def _stored(asset: HeadAsset) -> dict[str, np.ndarray]:
    """The arrays of a head as they lie in the file."""
    arrays: dict[str, np.ndarray] = {key: getattr(asset, key) for key in _REQUIRED}
    arrays |= {key: np.asarray(getattr(asset, key)) for key in _OPTIONAL if getattr(asset, key) is not None}
    arrays |= {f"region/{name}": mask for name, mask in asset.regions.items()}
    arrays |= {f"uv_mask/{name}": mask for name, mask in asset.uv_masks.items()}
    for name in _LANDMARKS if asset.landmarks is not None else ():
        points = getattr(asset.landmarks, name)
        if points is not None:
            arrays[f"landmarks/{name}/face"] = points.face
            arrays[f"landmarks/{name}/barycentric"] = points.barycentric
    arrays = {key: _narrow(array) for key, array in arrays.items()}
    arrays["schema"], arrays["name"] = np.array(SCHEMA), np.array(asset.name)
    arrays["expression_names"] = np.array(asset.expression_names, dtype=np.str_)
    return arrays


def _narrow(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float16 if array.dtype == np.float16 else np.float32)
    return np.ascontiguousarray(array, np.int32)


def _restored(arrays: Mapping[str, np.ndarray]) -> HeadAsset:
    wide = {key: _widen(key, array) for key, array in arrays.items() if array.dtype.kind in "fi"}
    landmarks = None
    if "landmarks/static51/face" in wide:
        landmarks = Landmarks(
            **{
                name: SurfacePoints(wide[f"landmarks/{name}/face"], wide[f"landmarks/{name}/barycentric"])
                for name in _LANDMARKS
                if f"landmarks/{name}/face" in wide
            }
        )
    limits = wide.get("expression_range")
    fields: dict[str, Any] = {key: wide[key] for key in _REQUIRED}
    fields |= {key: wide.get(key) for key in _OPTIONAL if key != "expression_range"}
    return HeadAsset(
        **fields,
        name=str(arrays["name"]),
        expression_names=tuple(str(name) for name in arrays["expression_names"]),
        expression_range=None if limits is None else (float(limits[0]), float(limits[1])),
        regions=_named(wide, "region/"),
        uv_masks=_named(wide, "uv_mask/"),
        landmarks=landmarks,
        digest=_digest(arrays),
    )


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): arrays[key] for key in sorted(arrays) if key.startswith(prefix)}


def _widen(key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "i":
        return array.astype(np.int64)
    wide = array.astype(np.float32)
    if array.dtype == np.float16 and (key in _SUM_TO_ONE or key.endswith("/barycentric")):
        wide /= wide.sum(-1, keepdims=True)  # half precision breaks the partition of unity by up to 1e-3
    return wide


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, types, shapes and values; independent of how the zip was compressed."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {array.dtype.str} {arrays[key].shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _check(arrays: Mapping[str, np.ndarray], label: str) -> None:
    """Raise ValueError unless the arrays make a head."""

    def fail(message: str) -> None:
        raise ValueError(f"head {label}: {message}")

    sizes: dict[str, int] = {}
    shapes: dict[str, tuple[str | int, ...]] = dict(_REQUIRED) | {"name": (), "expression_names": ("names",)}
    shapes |= {key: shape for key, shape in _OPTIONAL.items() if key in arrays}
    shapes |= {key: ("V",) for key in arrays if key.startswith("region/")}
    shapes |= {key: (f"{key} rows", f"{key} columns") for key in arrays if key.startswith("uv_mask/")}
    if any(key.startswith("landmarks/") for key in arrays):
        for name, shape in _LANDMARKS.items():
            if name != "mediapipe478" or f"landmarks/{name}/face" in arrays:  # FLAME has no embedding of these
                shapes[f"landmarks/{name}/face"] = shape
                shapes[f"landmarks/{name}/barycentric"] = (*shape, 3)

    for key, shape in shapes.items():
        if key not in arrays:
            fail(f"array '{key}' is missing")
        array = arrays[key]
        if array.ndim != len(shape) or any(
            size != (sizes.setdefault(dim, size) if isinstance(dim, str) else dim)
            for dim, size in zip(shape, array.shape, strict=True)
        ):
            fail(f"'{key}' has shape {array.shape}, expected {_symbolic(shape, sizes)}")
        kind = "U" if key in ("name", "expression_names") else "i" if _is_index(key) else "f"
        if array.dtype.kind != kind:
            fail(f"'{key}' has type {array.dtype}, expected {_KINDS[kind]}")
        if kind == "f" and not np.isfinite(array).all():
            fail(f"'{key}' has values that are not finite")
        if (key in _SUM_TO_ONE or key.endswith("/barycentric")) and abs(
            array.sum(-1, dtype=np.float64) - 1
        ).max() > 3e-3:
            fail(f"rows of '{key}' do not sum to one")
    unknown = sorted(set(arrays) - set(shapes) - {"schema"})
    if unknown:
        fail(f"unknown array '{unknown[0]}'")

    limits = {"faces": "V", "uv_faces": "VT"} | {
        key: "F" for key in shapes if key.startswith("landmarks/") and key.endswith("/face")
    }
    for key, dim in limits.items():
        if key in arrays and dim in sizes and arrays[key].size:
            low, high = int(arrays[key].min()), int(arrays[key].max())
            if low < 0 or high >= sizes[dim]:
                fail(f"'{key}' has indices from {low} to {high}, allowed are 0 to {sizes[dim] - 1}")
    parents = arrays["parents"].tolist()
    if parents[0] != -1 or any(not 0 <= parent < joint for joint, parent in enumerate(parents) if joint):
        fail(f"'parents' is {parents}, expected -1 first and then an earlier joint for each of {', '.join(JOINTS)}")
    if ("uv" in arrays) != ("uv_faces" in arrays):
        fail("'uv' and 'uv_faces' belong together, one is missing")
    if sizes["names"] not in (0, sizes["E"]):
        fail(f"{sizes['names']} expression names for {sizes['E']} expression directions")


def _is_index(key: str) -> bool:
    return key in _INTEGER or (key.startswith("landmarks/") and key.endswith("/face"))


def _symbolic(shape: tuple[str | int, ...], sizes: Mapping[str, int]) -> str:
    """``(V=4700, 3)``: the shape with the sizes that are known."""
    return (
        "("
        + ", ".join(f"{dim}={sizes[dim]}" if isinstance(dim, str) and dim in sizes else str(dim) for dim in shape)
        + ")"
    )
