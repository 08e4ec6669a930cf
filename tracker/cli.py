"""`track VIDEO … --out PARAMS.npz`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model.io.configs import load_config, override
from tracker.command import Parser, run
from tracker.config import TrackConfig
from tracker.inputs import Job, plan
from tracker.progress import Progress

DESCRIPTION = """\
Track the faces of a video: identity, expression, jaw, gaze and pose of a 3D head for every frame.

  track talk.mp4 --out talk.npz --preview talk_preview.mp4
  track talks/ 'more/*.mov' --out params/ --resume
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: 0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    return run("track", _track, argv)


def parser() -> Parser:
    """The options of `track`."""
    p = Parser(prog="track", description=DESCRIPTION)
    p.add_argument("videos", nargs="+", metavar="VIDEO", help="videos, directories of videos, or glob patterns")
    p.add_argument("--out", required=True, metavar="PARAMS.npz|DIR", help="where the parameters go; DIR for several")
    p.add_argument("--preview", metavar="OUT.mp4|DIR", help="also write the video beside itself with the mesh over it")
    p.add_argument("--head", metavar="openhead|PATH", help="the head model (default: openhead)")
    p.add_argument(
        "--weights",
        metavar="embedded|open|PATH|none",
        help="the network that looks at every face (default: embedded); none fits landmarks alone",
    )
    p.add_argument("--detector", metavar="NAME", help="mediapipe (default) or face-alignment")
    p.add_argument("--faces", metavar="1|N|all", help="how many faces to keep, longest on screen first (default: 1)")
    p.add_argument("--smooth", metavar="METHOD", help="kalman (default), causal or none")
    p.add_argument(
        "--fit",
        action=argparse.BooleanOptionalAction,
        help="fit the landmarks (default); --no-fit takes the heads as the network sees them, which is faster",
    )
    p.add_argument("--fit-steps", metavar="N", help="Gauss-Newton steps per frame")
    p.add_argument("--device", metavar="NAME", help="auto (default), cpu or cuda")
    p.add_argument("--resume", action="store_true", help="keep finished results, go on with interrupted ones")
    p.add_argument("--config", metavar="FILE.yaml", help="settings; options given here come on top")
    return p


def _track(argv: Sequence[str]) -> int:
    options = parser().parse(argv)
    config = _config(options)
    jobs = plan(options.videos, options.out, options.preview)
    failures = 0
    for job in jobs:
        try:
            _track_one(job, config, options.resume)
        except (ValueError, RuntimeError, OSError) as error:
            if len(jobs) == 1:
                raise
            failures += 1
            print(f"track: {' '.join(str(error).split())}", file=sys.stderr)
    if len(jobs) > 1:
        print(f"{len(jobs) - failures} of {len(jobs)} videos tracked, {failures} failed")
    return 1 if failures else 0


def _config(options) -> TrackConfig:
    """Defaults, then the YAML file, then the command line."""
    config = TrackConfig()
    if options.config:
        config = load_config(config, options.config)
    changes: dict = {
        name: value for name in ("head", "weights", "detector", "device") if (value := getattr(options, name))
    }
    if options.faces:
        changes["faces"] = _number(options.faces, "--faces", also="all")
    if options.smooth:
        changes["smooth"] = {"method": options.smooth}
    fit: dict = {}
    if options.fit is not None:
        fit["landmarks"] = options.fit
    if options.fit_steps:
        fit["steps"] = _number(options.fit_steps, "--fit-steps")
    if fit:
        changes["fit"] = fit
    return override(config, changes, where="options")


def _number(text: str, option: str, also: str | None = None) -> int | str:
    if text == also:
        return text
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{option} {text}: must be a whole number from 1 up" + (f", or '{also}'" if also else ""))
    return int(text)


def _track_one(job: Job, config: TrackConfig, resume: bool) -> None:
    # Here, so that --help and mistakes in the options do not wait for torch and the detector.
    from tracker.pipeline import detection_settings, load_model, track_video
    from tracker.preview import write_preview
    from tracker.resume import DetectionStore
    from tracker.track import load_track
    from tracker.video import open_video

    with open_video(job.video) as video:
        started = time.monotonic()
        if resume and _finished(job.out):
            track = load_track(job.out)
            print(f"{job.video.name}: {job.out} is there already")
        else:
            store = DetectionStore.beside(job.out, job.video, detection_settings(config))
            if not resume:
                store.discard()
            notes: list[str] = []
            with Progress(job.video.name) as progress:
                try:
                    track = track_video(video, config, report=progress, store=store, note=notes.append)
                except ValueError:  # no face, no such head: going on would not help
                    store.discard()
                    raise
            track.save(job.out)
            store.discard()
            if video.truncated:
                print(f"track: warning: {video.truncated}", file=sys.stderr)
            frames = int(track.frame.max()) + 1
            rate = frames / (time.monotonic() - started)
            for note in notes:
                print(f"track: {job.video.name}: {note}", file=sys.stderr)
            print(f"{job.out}: {len(track.faces)} face(s), {frames} frames, {rate:.0f} frames/s")
        if job.preview is not None:
            head = load_model(replace(config, device="cpu"))
            with Progress(job.video.name) as progress:
                write_preview(job.preview, video, track, head, lambda done, total: progress("preview", done, total))
            print(f"{job.preview}: preview")


def _finished(out: Path) -> bool:
    from tracker.track import load_track

    try:
        load_track(out)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
