"""What was seen so far, on disk beside the result: an interrupted `track` goes on with --resume.

On a cluster this is also how chunks come together: whoever finishes one puts it here, and the machine that puts the
video together reads them. A chunk that is here is done, whatever happens to the machines.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from tracker import storage
from tracker.chunks import Seen
from tracker.encode import Kept
from tracker.observation import FaceCodes
from tracker.storage import Place


@dataclass(frozen=True)
class DetectionStore:
    """Finished chunks, one file each, gone when the track is written.

    Attributes:
        root: the folder beside the result; holds nothing but what is under way.
        key: of the video's content and the settings, and the name of the chunks' folder in it.
    """

    root: Place
    key: str

    @property
    def folder(self) -> Place:
        """Where the chunks lie."""
        return storage.below(self.root, self.key)

    @staticmethod
    def beside(out: Place, video: Path, *settings: object) -> DetectionStore:
        """The store for one result; its key follows the file's content and the settings."""
        return DetectionStore.of(out, content_hash(video), *settings)

    @staticmethod
    def of(out: Place, content: str, *settings: object) -> DetectionStore:
        """The same where the content's hash is known already."""
        key = hashlib.sha256(repr((content, settings)).encode()).hexdigest()[:16]
        return DetectionStore(storage.beside(out, f".{storage.name_of(out)}.partial"), key)

    def finished(self) -> set[int]:
        """The numbers of the chunks that are there."""
        names = (storage.name_of(place) for place in storage.listing(self.folder))
        return {int(name[:-4]) for name in names if name.endswith(".npz") and name[:-4].isdigit()}

    def load(self, chunk: int) -> Seen | None:
        """What a finished chunk shows; None where it is not there or damaged."""
        try:
            with np.load(io.BytesIO(storage.read(self._file(chunk))), allow_pickle=False) as data:
                return _unpacked({name: data[name] for name in data.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, chunk: int, seen: Seen) -> None:
        """Put a finished chunk on disk.

        Raises:
            OSError: it cannot be written.
        """
        file = io.BytesIO()
        np.savez(file, **_packed(seen))  # pyright: ignore[reportArgumentType]
        storage.write(self._file(chunk), file.getvalue())

    def discard(self) -> None:
        """Remove everything."""
        storage.remove(self.root)

    def _file(self, chunk: int) -> Place:
        return storage.below(self.folder, f"{chunk:06d}.npz")


def content_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None


_PLAIN = ("frame", "time", "cut", "count", "points", "kept", "confidence", "box")
_TEXT = ("scheme", "damage")


def _packed(seen: Seen) -> dict[str, np.ndarray]:
    """Arrays by name; what is None is left out."""
    arrays = {name: getattr(seen, name) for name in _PLAIN if getattr(seen, name) is not None}
    arrays |= {name: np.array(getattr(seen, name)) for name in _TEXT if getattr(seen, name) is not None}
    for part in ("codes", "best"):
        record = getattr(seen, part)
        if record is not None:
            arrays |= {f"{part}.{f.name}": getattr(record, f.name) for f in fields(record)}
    return arrays


def _unpacked(arrays: dict[str, np.ndarray]) -> Seen:
    def record(kind: type, part: str):
        names = [f.name for f in fields(kind)]
        if f"{part}.{names[0]}" not in arrays:
            return None
        return kind(**{name: arrays[f"{part}.{name}"] for name in names})

    plain: dict = {name: arrays.get(name) for name in _PLAIN}
    text: dict = {name: str(arrays[name]) if name in arrays else None for name in _TEXT}
    return Seen(**plain, **text, codes=record(FaceCodes, "codes"), best=record(Kept, "best"))
