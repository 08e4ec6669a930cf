"""Which videos a command line names, where their results go, and whether they can be written there."""

from __future__ import annotations

import glob
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tracker.storage import Place, below, is_url, matching, name_of

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif")
"""What counts as a video when a directory is given."""


@dataclass(frozen=True)
class Job:
    """One video and its results."""

    video: Place
    out: Place
    preview: Place | None

    @property
    def name(self) -> str:
        """The video's."""
        return name_of(self.video)


def plan(inputs: Sequence[str], out: str, preview: str | None, *, suffix: str = ".npz") -> list[Job]:
    """The jobs of a command line.

    Args:
        inputs: videos, directories (every video in them, not below) and glob patterns; URLs of videos, and patterns of
            them.
        out: an ``.npz`` (or what `suffix` says) for one video; a directory, made if need be, for several. Results are
            named after the videos. Or URLs.
        preview: likewise an ``.mp4`` or a directory.

    Raises:
        ValueError: nothing matches, an output cannot be written, or several videos would share one output.
    """
    videos = _videos(inputs)
    single = len(videos) == 1
    outs = _results(videos, out, suffix, single, "--out")
    previews = _results(videos, preview, ".mp4", single, "--preview") if preview else [None] * len(videos)
    for kind, places in (("--out", outs), ("--preview", previews)):
        for folder in {place.parent for place in places if isinstance(place, Path)}:
            _writable(folder, kind)
    return [Job(*job) for job in zip(videos, outs, previews, strict=True)]


def _videos(inputs: Sequence[str]) -> list[Place]:
    videos: dict[Place, None] = {}  # in order, each once
    for text in inputs:
        videos |= dict.fromkeys(_urls(text) if is_url(text) else _paths(text))
    return list(videos)


def _urls(text: str) -> list[str]:
    try:
        found = matching(text) if glob.has_magic(text) else [text]
    except OSError as error:
        raise ValueError(f"{text}: cannot be reached ({error})") from None
    if not found:
        raise ValueError(f"{text}: no file matches")
    return found


def _paths(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise ValueError(f"{text}: no video in this directory (looked for {' '.join(SUFFIXES)})")
        return found
    if path.exists():
        return [path]
    found = [Path(p) for p in sorted(glob.glob(text, recursive=True)) if Path(p).is_file()]
    if not found:
        raise ValueError(f"{text}: {'no file matches' if glob.has_magic(text) else 'no such file'}")
    return found


def _results(videos: Sequence[Place], where: str, suffix: str, single: bool, kind: str) -> list[Place]:
    if is_url(where):
        if single and where.lower().endswith(suffix):
            return [where]
    else:
        target = Path(where)
        if single and target.suffix.lower() == suffix and not target.is_dir():
            return [target]
        if target.suffix and not target.is_dir():
            need = f"a name ending in {suffix} or a directory" if single else f"a directory, for {len(videos)} videos"
            raise ValueError(f"{kind} {target}: must be {need}")
        if target.exists() and not target.is_dir():
            raise ValueError(f"{kind} {target}: is a file; give a directory")
    names = [PurePosixPath(name_of(video)).stem + suffix for video in videos]
    doubles = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubles:
        raise ValueError(
            f"{kind} {where}: several videos would be written as {doubles[0]}; rename one or track it alone"
        )
    return [below(where if is_url(where) else Path(where), name) for name in names]


def _writable(folder: Path, kind: str) -> None:
    """Tries it, since permission bits do not tell of read-only mounts, quotas or a root user's exceptions."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{kind}: cannot write into {folder} ({error.strerror or error})") from None
