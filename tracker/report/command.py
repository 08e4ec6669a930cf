"""A track as one HTML page that opens from disk: curves, gaps and cuts, jitter, and a contact sheet.

decatrack report talk.npz --video talk.mp4 --out reports/
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``decatrack report``."""
    parser.add_argument("track", metavar="PARAMS.npz", help="what `track` wrote")
    parser.add_argument("--video", metavar="V", help="the video (default: the one of its name beside the track)")
    parser.add_argument("--out", required=True, metavar="DIR", help="the page goes there, named after the track")
    parser.add_argument("--head", metavar="openhead|PATH", default="openhead", help="the head model of the track")


def main(options: argparse.Namespace) -> int:
    """Write the page."""
    from tracker.track import load_track

    track = load_track(options.track)
    from tracker.progress import Progress
    from tracker.report.make import make_report
    from tracker.view.command import find_video

    source = Path(options.track)
    video = find_video(track.video, source, options.video)
    with Progress(source.name) as progress:
        path = make_report(
            Path(options.out), source.stem, track, video=video, head=options.head, source=source.name, report=progress
        )
    print(f"{path}: report of {len(track.faces)} face(s)")
    return 0
