"""`track --camera`: from the command line to a live session."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from tracker.config import TrackConfig


def track_live(
    camera: str, config: TrackConfig, *, out: str | None, view: bool, port: int, host: str = "127.0.0.1"
) -> int:
    """Track what a camera shows until interrupted, or a file at its own pace to its end.

    Args:
        camera: number of a camera, or a video file.
        out: where the parameters go in the end; None keeps none.
        view: show it on a page.

    Raises:
        ValueError: no such camera or file, the result cannot be written, no viewer, or no face was seen.
    """
    from tracker.camera import open_live
    from tracker.live import LiveTracker, run_live

    if out is not None:
        target = Path(out)
        if target.suffix != ".npz" or target.is_dir():
            raise ValueError(f"--out {out}: must be a name ending in .npz")
        if not target.absolute().parent.is_dir():
            raise ValueError(f"--out {out}: the folder is not there; make it first")
    source = open_live(camera)
    with ExitStack() as stack:
        tracker = stack.enter_context(LiveTracker(config, source.size, source.fps, source.name))
        show, tell = None, None
        if view:
            from tracker.view.live import open_live_page

            page = stack.enter_context(open_live_page(tracker, config, source.size, source.name, host=host, port=port))
            show, tell = page.show, page.tell
            print(f"{source.name}: {page.page.url}", flush=True)
        print(
            f"{source.name}: {source.size[0]}×{source.size[1]}, {source.fps:.4g} frames/s; Ctrl-C ends it", flush=True
        )
        terminal = sys.stderr.isatty()

        def status(latency) -> None:
            if tell is not None:
                tell(latency)
            if terminal:
                recent = latency.whole[-50:] or [0.0]
                text = f"{sum(recent) / len(recent):.0f} ms behind, {latency.dropped} of {latency.arrived} dropped"
                print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)

        latency = run_live(source, tracker, show, status)
        if terminal:
            print(file=sys.stderr)
        print(latency)
        if out is not None:
            track = tracker.finish()
            track.save(out)
            print(f"{out}: {len(track.faces)} face(s), {len(track)} rows")
    return 0
