"""Look at a track in the browser: play, scrub and orbit; the head with detail or texture, beside the video or over it.

decatrack view talk.npz --video talk.mp4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PORT = 8080


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``decatrack view``."""
    parser.add_argument("track", metavar="PARAMS.npz", help="what `track` wrote")
    parser.add_argument("--video", metavar="V", help="the video (default: the one of its name beside the track)")
    parser.add_argument("--head", metavar="openhead|PATH", default="openhead", help="the head model of the track")
    parser.add_argument(
        "--weights",
        metavar="embedded|open|PATH|none",
        default="embedded",
        help="of the network that made the track's detail; none shows the coarse head only",
    )
    parser.add_argument("--port", default=str(PORT), metavar="P", help=f"of the page (default: {PORT})")
    parser.add_argument(
        "--host", default="127.0.0.1", help="who may look: 127.0.0.1 is this machine (default), 0.0.0.0 is everybody"
    )
    parser.add_argument("--browser", action=argparse.BooleanOptionalAction, default=True, help="open it in a browser")
    parser.add_argument("--light", action="store_true", help="bright colours")


def main(options: argparse.Namespace) -> int:
    """Serve the page until interrupted."""
    from tracker.track import load_track

    port = port_number(options.port)
    track = load_track(options.track)
    # After the track, since its faults are told at once; before the page, since these take a second.
    from tracker.view.serve import open_viewer

    with open_viewer(
        track,
        find_video(track.video, Path(options.track), options.video),
        head=options.head,
        weights=options.weights,
        host=options.host,
        port=port,
        dark=not options.light,
    ) as viewer:
        print(f"{options.track}: {viewer.page.url} (Ctrl-C ends it)", flush=True)
        if options.browser:
            import webbrowser

            webbrowser.open(viewer.page.url)
        try:
            viewer.player.run()
        except KeyboardInterrupt:
            print(file=sys.stderr)
        print(viewer.timing())
    return 0


def port_number(text: str) -> int:
    """A port from the command line.

    Raises:
        ValueError: it is none.
    """
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(f"--port {text}: must be a whole number from 1 to 65535")
    return int(text)


def find_video(name: str, track: Path, given: str | None) -> Path | None:
    """The video that is given, or the one that the track names, beside the track or here; None if not there."""
    if given is not None:
        return Path(given)
    for folder in (track.parent, Path()):
        if name and (folder / name).is_file():
            return folder / name
    print(f"view: {name} is not beside {track}; without --video there are no pictures", file=sys.stderr)
    return None
