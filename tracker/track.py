"""`Track`: heads over a video, and its file ``params.npz`` (schema ``decatrack/1``)."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from model.params import Camera, FaceParams

SCHEMA = "decatrack/1"

Rows = int | slice | np.ndarray


@dataclass(frozen=True)
class Track:
    """Posed heads, one row per (face, frame), sorted by face, then frame. T rows.

    Attributes:
        head: the head model that the codes belong to: its name and content hash; ``openhead-...`` has units in [0, 1].
        video: name of the source.
        fps: average frame rate, Hz.
        size: width, height of the video as displayed, px.
        face: face id, from 0 by total time on screen.
        frame: index of the frame in the source.
        time: presentation time, s.
        shot: index of the shot; nothing is smoothed across a cut.
        valid: whether the face was seen; a missed frame keeps finite, interpolated values.
        confidence: of the detector, [0, 1].
        shape: identity, standard deviations; the same in all rows of a face.
        expression: [0, 1] per named unit (openhead) or standard deviations.
        pose: global rotation, axis-angle, radians: head space to camera axes.
        neck: axis-angle, radians.
        jaw: axis-angle, radians; +x opens the mouth.
        eyes: left, right eyeball, axis-angle, radians.
        camera: s, tx, ty of the full-frame camera ``u = s X + tx``, ``v = -s Y + ty``; px per metre, px, px.
        landmarks: the posed head's iBUG-68 points, px, full frame.
        box: x0, y0, x1, y1, px.
        expression_names: names of the expression units; empty where they have none.
        albedo: albedo coefficients; None, as the two below, where nothing estimated them.
        light: spherical-harmonics lighting of order 2, RGB.
        detail: detail code of the displacement map.
        origin: hash of the video's content and of the settings; empty where nobody said. A result whose origin is
            what it would be again need not be made again.
    """

    head: str
    video: str
    fps: float
    size: tuple[int, int]
    face: Int[np.ndarray, "T"]
    frame: Int[np.ndarray, "T"]
    time: Float[np.ndarray, "T"]
    shot: Int[np.ndarray, "T"]
    valid: Bool[np.ndarray, "T"]
    confidence: Float[np.ndarray, "T"]
    shape: Float[np.ndarray, "T S"]
    expression: Float[np.ndarray, "T E"]
    pose: Float[np.ndarray, "T 3"]
    neck: Float[np.ndarray, "T 3"]
    jaw: Float[np.ndarray, "T 3"]
    eyes: Float[np.ndarray, "T 6"]
    camera: Float[np.ndarray, "T 3"]
    landmarks: Float[np.ndarray, "T 68 2"]
    box: Float[np.ndarray, "T 4"]
    expression_names: tuple[str, ...] = ()
    albedo: Float[np.ndarray, "T A"] | None = None
    light: Float[np.ndarray, "T 9 3"] | None = None
    detail: Float[np.ndarray, "T D"] | None = None
    origin: str = ""

    def __len__(self) -> int:
        return len(self.face)

    @property
    def faces(self) -> tuple[int, ...]:
        """Ids of the faces, ascending."""
        return tuple(int(i) for i in np.unique(self.face))

    @property
    def expression_range(self) -> tuple[float, float] | None:
        """Limits of the expression: (0, 1) for openhead, None where it is unbounded."""
        return (0.0, 1.0) if self.head.startswith("openhead") else None

    def of_face(self, face: int) -> Track:
        """The rows of one face, in frame order.

        Raises:
            ValueError: there is no such face.
        """
        if face not in self.faces:
            raise ValueError(f"{self.video}: no face {face}; the track has the faces {_listed(self.faces)}")
        return self.select(self.face == face)

    def select(self, rows: slice | np.ndarray) -> Track:
        """Some of the rows, as a slice, mask or index array; the order of the rows is kept as asked for."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self._columns()})

    def params(self, rows: Rows = slice(None), dtype: torch.dtype = torch.float32) -> FaceParams:
        """Codes and pose of some rows (one row: an int) as tensors, ready for a `model.head.HeadModel`."""
        names = ("shape", "expression", "pose", "neck", "jaw", "eyes")
        return FaceParams(*(torch.tensor(getattr(self, name)[rows], dtype=dtype) for name in names))

    def cameras(self, rows: Rows = slice(None), dtype: torch.dtype = torch.float32) -> Camera:
        """Full-frame cameras of some rows (one row: an int) as tensors."""
        camera = torch.tensor(self.camera[rows], dtype=dtype)
        return Camera(s=camera[..., 0], t=camera[..., 1:])

    def save(self, path: str | Path) -> None:
        """Write the track under its final name only when it is whole.

        Floats are stored in single precision, times in double.

        Raises:
            ValueError: the file cannot be written there, or a value breaks the schema.
        """
        path = Path(path)
        _check(self, str(path))
        arrays = {"schema": np.array(SCHEMA), "fps": np.array(self.fps, float), "size": np.array(self.size, np.int32)}
        arrays |= {"head": np.array(self.head), "video": np.array(self.video)}
        if self.expression_names:
            arrays["expression_names"] = np.array(self.expression_names)
        if self.origin:
            arrays["origin"] = np.array(self.origin)
        arrays |= {name: getattr(self, name).astype(_stored_as(name)) for name in self._columns()}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)
            os.replace(temporary, path)
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
        finally:
            temporary.unlink(missing_ok=True)

    def _columns(self) -> tuple[str, ...]:
        """Names of the fields with one value per row that are there."""
        return tuple(f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray))


def load_track(path: str | Path) -> Track:
    """Read and check a ``params.npz``.

    Raises:
        ValueError: the file is missing, is none of ours, is damaged or breaks the schema; one line, which names it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such track; make one with: track VIDEO --out {path.name}")
    again = "make it again with: track VIDEO --out FILE.npz"
    try:
        with open(path, "rb") as handle:  # np.load would leave it open when it fails
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("a bare array")
            data = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        raise ValueError(f"{path}: not a params.npz, or damaged; {again}") from None
    return track_of(data, str(path))


def track_of(data: Mapping[str, np.ndarray], path: str) -> Track:
    """The track in the arrays of a ``params.npz``.

    Args:
        path: how errors name it.

    Raises:
        ValueError: another schema, or it is broken; one line.
    """
    again = "make it again with: track VIDEO --out FILE.npz"
    schema = str(data.get("schema", "none"))
    if schema != SCHEMA:
        known = f"schema is {schema}, this version reads {SCHEMA}"
        raise ValueError(f"{path}: {known}; try: decatrack convert FILE.npz --out NEW.npz, or {again}")
    optional = ("expression_names", "albedo", "light", "detail", "origin")
    required = [f.name for f in fields(Track) if f.name not in optional]
    missing = [name for name in required if name not in data]
    if missing:
        raise ValueError(f"{path}: lacks {_listed(missing)}; {again}")
    values: dict[str, Any] = {name: data[name] for name in (*required, *optional) if name in data}
    _check_arrays(values, path)
    values["expression_names"] = tuple(str(name) for name in data.get("expression_names", ()))
    for name in ("head", "video"):
        values[name] = str(data[name])
    values["origin"] = str(data.get("origin", ""))
    values["fps"] = float(data["fps"])
    values["size"] = (int(data["size"][0]), int(data["size"][1]))
    track = Track(**values)
    _check(track, path)
    return track


_KINDS = {"face": "iu", "frame": "iu", "shot": "iu", "size": "iu", "valid": "b"}
_KINDS |= dict.fromkeys(("head", "video", "expression_names", "origin"), "U")
_SHAPES: dict[str, tuple[int | str, ...]] = {
    **dict.fromkeys(("head", "video", "fps", "origin"), ()),
    **dict.fromkeys(("face", "frame", "time", "shot", "valid", "confidence"), ("T",)),
    **dict.fromkeys(("pose", "neck", "jaw", "camera"), ("T", 3)),
    "size": (2,),
    "shape": ("T", "S"),
    "expression": ("T", "E"),
    "eyes": ("T", 6),
    "landmarks": ("T", 68, 2),
    "box": ("T", 4),
    "expression_names": ("E",),
    "albedo": ("T", "A"),
    "light": ("T", 9, 3),
    "detail": ("T", "D"),
}


def _stored_as(name: str) -> type:
    return {"i": np.int32, "b": np.bool_}.get(_KINDS.get(name, "f")[0], np.float64 if name == "time" else np.float32)


def _check_arrays(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Shapes (with one size per letter) and kinds of the arrays of a file."""
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        kinds = _KINDS.get(name, "f")
        if array.dtype.kind not in kinds:
            words = {"f": "floating-point numbers", "b": "booleans", "U": "text"}.get(kinds, "whole numbers")
            raise ValueError(f"{where}: {name} must hold {words}, got {array.dtype}")
        shape = _SHAPES[name]
        fits = len(shape) == array.ndim
        for wanted, got in zip(shape, array.shape, strict=False):
            fits &= got == (wanted if isinstance(wanted, int) else sizes.setdefault(wanted, got))
        if not fits:
            wanted = ", ".join(f"{s}={sizes[s]}" if isinstance(s, str) and s in sizes else str(s) for s in shape)
            raise ValueError(f"{where}: {name} must have the shape ({wanted}), got {array.shape}")


def _check(track: Track, where: str) -> None:
    """Values: finite, in their units, in order; raises ValueError with the first fault."""

    def require(condition: bool | np.bool_, message: str) -> None:
        if not condition:
            raise ValueError(f"{where}: {message}")

    columns = track._columns()
    _check_arrays({name: getattr(track, name) for name in columns}, where)
    require(len(track) > 0, "holds no face")
    for name in columns:
        values = getattr(track, name)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values.reshape(len(track), -1)).all(1)))
            raise ValueError(f"{where}: {name} is not finite in row {row}")
    require(np.isfinite(track.fps) and track.fps > 0, f"fps must be positive, got {track.fps}")
    require(min(track.size) > 0, f"size must be positive, got {track.size}")
    for name in ("face", "frame", "shot"):
        require(getattr(track, name).min() >= 0, f"{name} must not be negative")
    same = np.diff(track.face) == 0
    require(bool((np.diff(track.face) >= 0).all()), "rows must be sorted by face")
    require(bool((np.diff(track.frame)[same] > 0).all()), "rows of a face must have ascending frames")
    require(bool((np.diff(track.time)[same] >= 0).all()), "times of a face must not go back")
    require(bool((np.diff(track.shape, axis=0)[same] == 0).all()), "shape must be the same in all rows of a face")
    _check_range(track.confidence, 0.0, 1.0, "confidence", where)
    if track.expression_range is not None:
        _check_range(track.expression, *track.expression_range, "expression of openhead", where)
    require(bool((track.camera[:, 0] > 0).all()), "the scale of the camera must be positive")
    for name in ("pose", "neck", "jaw", "eyes"):
        angle = np.linalg.norm(getattr(track, name).reshape(-1, 3), axis=1)
        require(bool((angle <= 2 * np.pi + 1e-4).all()), f"{name} must be axis-angle in radians, got {angle.max():.1f}")
    require(bool((track.box[:, 2:] >= track.box[:, :2]).all()), "box must be x0, y0, x1, y1 with x0 ≤ x1, y0 ≤ y1")
    names = len(track.expression_names)
    units = track.expression.shape[1]
    require(names in (0, units), f"expression_names has {names} names for {units} units")


def _check_range(values: np.ndarray, low: float, high: float, name: str, where: str) -> None:
    if values.size and (values.min() < low or values.max() > high):
        raise ValueError(
            f"{where}: {name} must lie in [{low:g}, {high:g}], got {values.min():.3g} to {values.max():.3g}"
        )


def _listed(items) -> str:
    return ", ".join(str(item) for item in items)
