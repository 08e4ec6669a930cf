"""A track to its report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from model.head import HeadModel
from model.io.assets import load_head
from tracker.report.page import FaceReport, write_report
from tracker.report.sheet import contact_sheet
from tracker.track import Track
from tracker.video import open_video
from tracker.view.frames import FrameReader, check_size

FACES = 8
"""Faces that the page shows at most, longest on screen first."""
PICTURES = 12
"""Of a face's contact sheet."""

Report = Callable[[str, int, int], None]


def make_report(
    folder: Path,
    name: str,
    track: Track,
    *,
    video: Path | None = None,
    raw: Track | None = None,
    head: str = "openhead",
    source: str = "",
    report: Report = lambda stage, done, total: None,
) -> Path:
    """Write ``folder/name.report.html``.

    Args:
        video: that the track was made from; None leaves the frames out of the contact sheet.
        raw: the track before smoothing, for the jitter; None where it is not at hand.
        source: what the page says that it was made from; by default the name.

    Returns:
        the page.

    Raises:
        ValueError: the folder cannot be written to, the video is not the track's, or there is no such head.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be made ({error.strerror or error})") from None
    model = HeadModel(load_head(head))
    if (
        track.shape.shape[1] != model.asset.shapedirs.shape[2]
        or track.expression.shape[1] != model.asset.exprdirs.shape[2]
    ):
        raise ValueError(
            f"the track was made with the head {track.head}, --head is {model.asset.name}; give the track's"
        )
    path = folder / f"{name}.report.html"
    with ExitStack() as stack:
        reader = None
        if video is not None:
            opened = stack.enter_context(open_video(video))
            check_size(opened.size, track.size, video)
            reader = FrameReader(opened, longest=max(opened.size))
            stack.callback(reader.close)
        faces = []
        for number in track.faces[:FACES]:
            face = track.of_face(number)
            before = None if raw is None else raw.of_face(number)
            sheet = contact_sheet(face, model, reader, PICTURES, lambda done, total: report("report", done, total))
            faces.append(FaceReport(face, before, sheet))
        write_report(path, track, faces, source or name)
    return path
