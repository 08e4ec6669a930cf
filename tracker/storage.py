"""Files here or anywhere that fsspec reaches (``s3://``, ``gs://``, ``hdfs://`` ...): read, written whole, copied here.

A place is a `Path`, or a URL as a string. Writing is all or nothing: under a temporary name first where files can be
renamed, in one piece where an object store takes it so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from fsspec.core import url_to_fs

Place = Path | str


def is_url(text: str) -> bool:
    """Whether it names a place that only fsspec reaches."""
    return "://" in text


def place_of(text: str) -> Place:
    """A URL stays one; all else is a path, made absolute."""
    return text if is_url(text) else Path(text).absolute()


def name_of(place: Place) -> str:
    """The last part."""
    return place.name if isinstance(place, Path) else place.rstrip("/").rsplit("/", 1)[-1]


def beside(place: Place, name: str) -> Place:
    """Another name in the same folder."""
    return place.with_name(name) if isinstance(place, Path) else f"{place.rstrip('/').rsplit('/', 1)[0]}/{name}"


def below(place: Place, name: str) -> Place:
    """A name in a folder."""
    return place / name if isinstance(place, Path) else f"{place.rstrip('/')}/{name}"


def exists(place: Place) -> bool:
    """Whether something is there."""
    if isinstance(place, Path):
        return place.exists()
    with _spoken(place) as (system, path):
        return bool(system.exists(path))


def listing(place: Place) -> list[Place]:
    """What a folder holds, in order; nothing where there is no folder."""
    if isinstance(place, Path):
        return sorted(place.iterdir()) if place.is_dir() else []
    with _spoken(place) as (system, path):
        system.invalidate_cache()
        names = sorted(system.ls(path, detail=False)) if system.isdir(path) else []
    return [below(place, name.rstrip("/").rsplit("/", 1)[-1]) for name in names]


def matching(pattern: str) -> list[str]:
    """URLs of the files that match a URL with wild cards, in order."""
    with _spoken(pattern) as (system, path):
        return [system.unstrip_protocol(str(name)) for name in sorted(system.glob(path))]


def read(place: Place) -> bytes:
    """The whole content.

    Raises:
        OSError: it cannot be read; `FileNotFoundError` where nothing is there.
    """
    if isinstance(place, Path):
        return place.read_bytes()
    with fsspec.open(place, "rb") as file:
        return file.read()  # pyright: ignore[reportAttributeAccessIssue]


def write(place: Place, data: bytes) -> None:
    """Write a file, which is seen only when it is whole.

    Raises:
        OSError: it cannot be written.
    """
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.{os.getpid()}.part")
        try:
            part.write_bytes(data)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
        return
    with _spoken(place) as (system, path):
        if "file" in _protocols(system):
            write(Path(path), data)
        else:
            system.makedirs(system._parent(path), exist_ok=True)
            system.pipe_file(path, data)


def remove(place: Place) -> None:
    """Remove a file or a folder with all in it; quietly, also where nothing is there."""
    if isinstance(place, Path):
        shutil.rmtree(place, ignore_errors=True)
        place.unlink(missing_ok=True)
        return
    with suppress(OSError, ValueError), _spoken(place) as (system, path):
        system.invalidate_cache()
        if system.exists(path):
            system.rm(path, recursive=True)


@contextmanager
def local_copy(place: Place) -> Iterator[Path]:
    """The file as one that decoders can open; a copy, gone afterwards, where it is not here already.

    Copies stay in the temporary folder while the disk has room, so that the chunks of a video on one machine share one.

    Raises:
        ValueError: it cannot be fetched.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="decatrack-") as folder:
        mine = Path(folder) / name_of(place)
        try:
            _fetch(place, mine)
        except (OSError, ValueError) as error:
            raise ValueError(f"{place}: cannot be fetched ({error})") from None
        yield mine


def _fetch(url: str, target: Path) -> None:
    """A hard link to a shared copy, which somebody else may remove meanwhile; or a copy of one's own."""
    with _spoken(url) as (system, path):
        if "file" in _protocols(system):
            target.symlink_to(Path(path).absolute())
            if not target.exists():
                raise FileNotFoundError("no such file")
            return
        stamp = hashlib.sha256(f"{url} {system.ukey(path)}".encode()).hexdigest()[:24]
        cache = Path(tempfile.gettempdir()) / f"decatrack-copies-{os.getuid()}"
        cache.mkdir(exist_ok=True, mode=0o700)
        shared = cache / stamp
        for _ in range(2):
            with suppress(OSError):
                os.link(shared, target)
                os.utime(shared)
                return
            part = cache / f"{stamp}.{os.getpid()}.part"
            try:
                system.get_file(path, str(part))
                part.replace(shared)
            finally:
                part.unlink(missing_ok=True)
            _make_room(cache, keep=shared)
        system.get_file(path, str(target))


def _make_room(cache: Path, keep: Path) -> None:
    """Remove the copies that nobody used for longest until a fifth of the disk is free."""
    for file in sorted(cache.iterdir(), key=lambda file: file.stat().st_mtime):
        usage = shutil.disk_usage(cache)
        if usage.free > 0.2 * usage.total:
            return
        if file != keep and file.suffix != ".part":
            file.unlink(missing_ok=True)


@contextmanager
def _spoken(url: str) -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
    """The file system of a URL, and the path there; a library that is not installed is said so."""
    try:
        yield url_to_fs(url)
    except ImportError as error:
        raise ValueError(f"{url}: {error}") from None


def _protocols(system: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
