"""Which videos a command line names, where their results go, and whether they can be written there."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif")
"""What counts as a video when a directory is given."""


@dataclass(frozen=True)
class Job:
    """One video and its results."""

    video: Path
    out: Path
    preview: Path | None


def plan(inputs: Sequence[str], out: str, preview: str | None, *, suffix: str = ".npz") -> list[Job]:
    """The jobs of a command line.

    Args:
        inputs: videos, directories (every video in them, not below) and glob patterns.
        out: an ``.npz`` (or what `suffix` says) for one video; a directory, made if need be, for several. Results are
            named after the videos.
        preview: likewise an ``.mp4`` or a directory.

    Raises:
        ValueError: nothing matches, an output cannot be written, or several videos would share one output.
    """
    videos = _videos(inputs)
    single = len(videos) == 1
    outs = _results(videos, Path(out), suffix, single, "--out")
    previews = _results(videos, Path(preview), ".mp4", single, "--preview") if preview else [None] * len(videos)
    for kind, paths in (("--out", outs), ("--preview", previews)):
        for folder in {path.parent for path in paths if path is not None}:
            _writable(folder, kind)
    return [Job(*job) for job in zip(videos, outs, previews, strict=True)]


def _videos(inputs: Sequence[str]) -> list[Path]:
    videos: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
            if not found:
                raise ValueError(f"{text}: no video in this directory (looked for {' '.join(SUFFIXES)})")
        elif path.exists():
            found = [path]
        else:
            found = [Path(p) for p in sorted(glob.glob(text, recursive=True)) if Path(p).is_file()]
            if not found:
                raise ValueError(f"{text}: {'no file matches' if glob.has_magic(text) else 'no such file'}")
        videos += [p for p in found if p not in videos]
    return videos


def _results(videos: list[Path], target: Path, suffix: str, single: bool, kind: str) -> list[Path]:
    if single and target.suffix.lower() == suffix and not target.is_dir():
        return [target]
    if target.suffix and not target.is_dir():
        need = f"a name ending in {suffix} or a directory" if single else f"a directory, for {len(videos)} videos"
        raise ValueError(f"{kind} {target}: must be {need}")
    if target.exists() and not target.is_dir():
        raise ValueError(f"{kind} {target}: is a file; give a directory")
    paths = [target / (video.stem + suffix) for video in videos]
    doubles = sorted({p.name for p in paths if paths.count(p) > 1})
    if doubles:
        raise ValueError(
            f"{kind} {target}: several videos would be written as {doubles[0]}; rename one or track it alone"
        )
    return paths


def _writable(folder: Path, kind: str) -> None:
    """Tries it, since permission bits do not tell of read-only mounts, quotas or a root user's exceptions."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{kind}: cannot write into {folder} ({error.strerror or error})") from None
