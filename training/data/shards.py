"""Faces on disk: folders of Arrow IPC files of about a thousand faces each, memory-mapped, read at random.

A folder holds ``meta.json`` (schema, head, lengths of the codes) and ``faces-00000.arrow``, ``faces-00001.arrow``, ...
Labels lie flat, as float32; they are of the head that ``meta.json`` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from model.params import Camera, FaceParams
from training.data.sample import Labels, Sample

SCHEMA = "decatrack-shards/1"
FACES = 1000
"""Faces in a file."""
BYTES = 512_000_000
"""A file is closed earlier when its pictures take more than this."""
_CODES = tuple(field.name for field in fields(FaceParams))


class ShardWriter:
    """Writes faces into a folder; a context manager. What the folder holds already stays, new files are added.

    A file appears under its name only when it is whole. Leaving the block, by an exception too, writes what is
    waiting. A killed process loses at most `FACES` faces and no file.

    Args:
        folder: made if need be.
        head: `HeadAsset.name` of the head whose codes the labels are.
        digest: `HeadAsset.digest`: which version of that head; empty does not say.

    Raises:
        ValueError: the folder cannot be written to, or holds faces of another head or schema.
    """

    def __init__(self, folder: str | Path, head: str, digest: str = "") -> None:
        self.folder = Path(folder)
        self.head, self.digest = head, digest
        self.sizes: dict[str, int] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{folder}: cannot be written to ({error.strerror})") from None
        if (self.folder / "meta.json").exists():
            meta = _meta(self.folder, head, digest)
            self.sizes = dict(meta["sizes"])
            known = Shards(self.folder).keys.tolist() if _files(self.folder) else []
        else:
            if _files(self.folder):
                raise ValueError(f"{folder}: has faces but no meta.json; write into an empty folder")
            known = []
            self._write_meta()
        self._keys = set(known)
        self._next = 1 + max((int(path.stem.split("-")[1]) for path in _files(self.folder)), default=-1)
        self._waiting: list[Sample] = []
        self._bytes = 0

    def __contains__(self, key: str) -> bool:
        """Whether a face of this key is written or waiting."""
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def waiting(self) -> int:
        """Faces that are not yet in a file."""
        return len(self._waiting)

    def write(self, sample: Sample) -> None:
        """Add a face.

        Raises:
            ValueError: its key is there already, or its labels have other lengths than those before.
        """
        if sample.key in self._keys:
            raise ValueError(f"{self.folder}: there is a face '{sample.key}' already; keys must be unique")
        if sample.labels is not None:
            sizes = _sizes(sample.labels)
            if not self.sizes:
                self.sizes = sizes
                self._write_meta()
            if sizes != self.sizes:
                raise ValueError(f"{self.folder}: '{sample.key}' has codes of {sizes}, the others of {self.sizes}")
        self._keys.add(sample.key)
        self._waiting.append(sample)
        self._bytes += len(sample.image)
        if len(self._waiting) >= FACES or self._bytes >= BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the faces that wait into a file of their own."""
        if not self._waiting:
            return
        table = _table(self._waiting)
        path = self.folder / f"faces-{self._next:05}.arrow"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
                out.write_table(table)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ValueError(f"{path}: cannot be written ({error.strerror or error})") from None
        self._next += 1
        self._waiting, self._bytes = [], 0

    def close(self) -> None:
        """Write what is waiting."""
        self.flush()

    def _write_meta(self) -> None:
        path = self.folder / "meta.json"
        temporary = path.with_name(f".meta.{os.getpid()}.part")
        meta = {"schema": SCHEMA, "head": self.head, "digest": self.digest, "sizes": self.sizes}
        try:
            temporary.write_text(json.dumps(meta) + "\n")
            os.replace(temporary, path)
        except OSError as error:
            raise ValueError(f"{path}: cannot be written ({error.strerror})") from None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Shards(Sequence[Sample]):
    """The faces of a folder. Nothing is read before it is asked for; may be pickled (it opens its files again).

    Attributes:
        head: name of the head that the labels are for.
        sizes: lengths of the codes: ``shape``, ``expression``, ``albedo``; empty where no face has labels.

    Args:
        head: the head that is asked for; None takes any.
        digest: the version of it that is asked for; empty takes any.

    Raises:
        ValueError: no such folder, nothing in it, another schema, another head, or a damaged file.
    """

    def __init__(self, folder: str | Path, head: str | None = None, digest: str = "") -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(f"{folder}: no such folder of shards; python -m training.prepare writes them")
        meta = _meta(self.folder, head, digest)
        self.head: str = meta["head"]
        self.sizes: dict[str, int] = dict(meta["sizes"])
        self.files = tuple(_files(self.folder))
        if not self.files:
            raise ValueError(f"{folder}: holds no faces; python -m training.prepare writes them")
        self._open()
        self._first = np.concatenate([[0], np.cumsum([batch.num_rows for batch in self._batches])])

    def _open(self) -> None:
        self._batches = [_batch(path) for path in self.files]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_batches"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return int(self._first[-1])

    @cached_property
    def keys(self) -> np.ndarray:
        """Keys of all faces, (N,) str."""
        return self._strings("key")

    @cached_property
    def identities(self) -> np.ndarray:
        """Identities of all faces, (N,) str."""
        return self._strings("identity")

    def _strings(self, column: str) -> np.ndarray:
        return np.concatenate(
            [batch.column(column).to_numpy(zero_copy_only=False).astype(str) for batch in self._batches]
        )

    @cached_property
    def sides(self) -> Float[np.ndarray, "N"]:
        """Mean side of the landmarks' boxes in the stored pictures, px."""
        points = [_floats(batch.column("landmarks"), (68, 2)) for batch in self._batches]
        return np.concatenate([np.ptp(p, axis=1).mean(-1) for p in points])

    def place(self, index: int) -> str:
        """Where a face lies, for messages: its file and its row there."""
        number, row = self._locate(index)
        return f"{self.files[number]}, row {row}"

    def _locate(self, index: int) -> tuple[int, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"face {index} of {len(self)}")
        index %= len(self)
        number = int(np.searchsorted(self._first, index, side="right")) - 1
        return number, index - int(self._first[number])

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """A face; a slice gives a list of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, row = self._locate(index)
        batch = self._batches[number]
        return Sample(
            key=batch.column("key")[row].as_py(),
            identity=batch.column("identity")[row].as_py(),
            image=batch.column("image")[row].as_py(),
            landmarks=_row(batch, "landmarks", row, (68, 2)),
            visible=_row(batch, "visible", row, (68,)) > 0.5,
            mask=batch.column("mask")[row].as_py(),
            labels=self._labels(batch, row),
        )

    def _labels(self, batch: pa.RecordBatch, row: int) -> Labels | None:
        if "camera" not in batch.schema.names or not batch.column("camera")[row].is_valid:
            return None

        def of(name: str, *shape: int) -> torch.Tensor:
            return torch.from_numpy(_row(batch, name, row, shape))

        camera = of("camera", 3)
        return Labels(
            face=FaceParams(**{name: of(name, -1) for name in _CODES}),
            albedo=of("albedo", -1),
            light=of("light", 9, 3),
            camera=Camera(camera[0], camera[1:]),
            known=torch.tensor(batch.column("known")[row].as_py()),
            lit=torch.tensor(batch.column("lit")[row].as_py()),
        )


def _sizes(labels: Labels) -> dict[str, int]:
    return {
        "shape": labels.face.shape.shape[-1],
        "expression": labels.face.expression.shape[-1],
        "albedo": labels.albedo.shape[-1],
    }


def _meta(folder: Path, head: str | None, digest: str) -> dict[str, Any]:
    path = folder / "meta.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no meta.json there, so no shards; python -m training.prepare writes them")
    try:
        meta = json.loads(path.read_text())
        found, name, _ = meta["schema"], meta["head"], dict(meta["sizes"])
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise ValueError(f"{path}: damaged; prepare the folder again") from None
    if found != SCHEMA:
        raise ValueError(f"{path}: schema is '{found}', this version reads '{SCHEMA}'; prepare the folder again")
    if head is not None and name != head:
        raise ValueError(f"{folder}: its labels are for head '{name}', not '{head}'; prepare it with that head")
    if digest and meta.get("digest") and meta["digest"] != digest:
        raise ValueError(f"{folder}: its labels are for another version of head '{name}'; prepare it again")
    return meta


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("faces-*.arrow"))


def _batch(path: Path) -> pa.RecordBatch:
    """The only batch of a file, memory-mapped."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise ValueError(
            f"{path}: damaged ({' '.join(str(error).split())[:80]}); delete it and prepare again with --resume"
        ) from None


def _row(batch: pa.RecordBatch, name: str, row: int, shape: tuple[int, ...]) -> np.ndarray:
    """A row of a column of vectors, as an array of its own."""
    column = batch.column(name)
    values = column.values.slice((column.offset + row) * column.type.list_size, column.type.list_size)
    return values.to_numpy(zero_copy_only=True).reshape(shape).copy()


def _floats(column: pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    return column.flatten().to_numpy().reshape(-1, *shape)


def _table(samples: list[Sample]) -> pa.Table:
    """One batch; label columns are there only when a face has labels."""
    columns: dict[str, pa.Array] = {
        "key": pa.array([s.key for s in samples], pa.string()),
        "identity": pa.array([s.identity for s in samples], pa.string()),
        "image": pa.array([s.image for s in samples], pa.binary()),
        "mask": pa.array([s.mask for s in samples], pa.binary()),
        "landmarks": _vectors([s.landmarks.reshape(-1) for s in samples]),
        "visible": _vectors([s.visible.astype(np.float32) for s in samples]),
    }
    labels = [s.labels for s in samples]
    if any(entry is not None for entry in labels):

        def vectors(of) -> pa.Array:
            return _vectors([None if entry is None else _flat(of(entry)) for entry in labels])

        for name in _CODES:
            columns[name] = vectors(lambda entry, name=name: getattr(entry.face, name))
        columns["albedo"] = vectors(lambda entry: entry.albedo)
        columns["light"] = vectors(lambda entry: entry.light)
        columns["camera"] = vectors(lambda entry: torch.cat([entry.camera.s.reshape(1), entry.camera.t]))
        columns["known"] = pa.array([None if entry is None else bool(entry.known) for entry in labels], pa.bool_())
        columns["lit"] = pa.array([None if entry is None else bool(entry.lit) for entry in labels], pa.bool_())
    return pa.table(columns)


def _flat(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().reshape(-1)


def _vectors(rows: list[np.ndarray | None]) -> pa.Array:
    """Vectors of one length, float32; None stays none."""
    size = next(len(row) for row in rows if row is not None)
    flat = np.stack([np.zeros(size) if row is None else row for row in rows]).astype(np.float32)
    gone = pa.array([row is None for row in rows])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), size, mask=gone)
