"""`--export` of other command lines: a result that was just written, in another format besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from tracker.export.job import FORMATS, ExportConfig, export, format_of, load_head_of
from tracker.storage import Place, local_copy, name_of
from tracker.track import load_track


def check_exports(wanted: Sequence[str], results: Sequence[Place]) -> None:
    """Before the work: whether every wish names a format and a place.

    Raises:
        ValueError: it does not, or several results would be written to one file.
    """
    for to in wanted:
        for result in results:
            format_of(destination(to, result), "--export")
        if len(results) > 1 and to not in FORMATS:
            raise ValueError(f"--export {to}: one name for {len(results)} results; give its ending alone, such as .glb")


def destination(to: str, result: Place) -> str:
    """Where an export goes: an ending alone becomes the result's name with that ending; ``/`` a folder of that name.

    Raises:
        ValueError: the result is not on this machine, so nothing can be put beside it.
    """
    if to not in FORMATS:
        return to
    if not isinstance(result, Path):
        raise ValueError(f"--export {to}: the result goes to {result}; give the file's whole name on this machine")
    stem = result.parent / PurePosixPath(name_of(result)).stem
    return f"{stem}{to}"


def export_result(
    result: Place, to: str, video: Place | None, head: str, weights: str, note: Callable[[str], None]
) -> list[Path]:
    """Write a ``params.npz`` that is there in another format.

    Args:
        head, weights: that it was tracked with, as on the command line.
    """
    with local_copy(result) as path:
        track = load_track(path)
    asset = load_head_of(track, None if head == "openhead" else head)
    source = video if isinstance(video, Path) else None
    return export(track, asset, destination(to, result), ExportConfig(weights=weights, video=source), note)
