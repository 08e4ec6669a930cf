"""`track VIDEO … --out PARAMS.npz`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from model.io.configs import load_config, override
from tracker.command import Parser, run
from tracker.config import TrackConfig
from tracker.inputs import Job, plan

if TYPE_CHECKING:
    from tracker.work import Outcome

DESCRIPTION = """\
Track the faces of a video: identity, expression, jaw, gaze and pose of a 3D head for every frame.

  track talk.mp4 --out talk.npz --preview talk_preview.mp4
  track talks/ 'more/*.mov' --out params/ --resume
  track 's3://bucket/talks/*.mp4' --out s3://bucket/params/ --workers 8
"""

_EXPORT = "also write the result in another format, see decatrack export; .glb alone is named after the result"


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: 0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    return run("track", _track, argv)


def parser() -> Parser:
    """The options of `track`."""
    p = Parser(prog="track", description=DESCRIPTION)
    p.add_argument("videos", nargs="+", metavar="VIDEO", help="videos, directories of videos, glob patterns, or URLs")
    p.add_argument("--out", required=True, metavar="PARAMS.npz|DIR", help="where the parameters go; DIR for several")
    p.add_argument("--preview", metavar="OUT.mp4|DIR", help="also write the video beside itself with the mesh over it")
    p.add_argument("--export", action="append", default=[], metavar="FILE|.EXT", help=_EXPORT)
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
    p.add_argument("--workers", metavar="N", help="track in N processes, by Ray (default: in this one)")
    p.add_argument(
        "--ray-address", metavar="ADDRESS", help="track on a Ray cluster: auto, host:port or ray://host:port"
    )
    p.add_argument("--config", metavar="FILE.yaml", help="settings; options given here come on top")
    return p


def _track(argv: Sequence[str]) -> int:
    options = parser().parse(argv)
    config = _config(options)
    workers = _number(options.workers, "--workers") if options.workers else None
    jobs = plan(options.videos, options.out, options.preview)
    # Here, so that --help and mistakes in the options do not wait for torch and the detector.
    from tracker.batch import Log, said, table, write_summary
    from tracker.export.beside import check_exports

    check_exports(options.export, [job.out for job in jobs])

    started, outcomes, several, exported = time.monotonic(), [], len(jobs) > 1, True
    with closing(_outcomes(jobs, config, options.resume, workers, options.ray_address)) as done:
        for job, outcome in done:
            outcomes.append(outcome)
            for note in outcome.notes:
                print(f"track: {outcome.video}: {note}", file=sys.stderr)
            if outcome.error is None:
                print(said(outcome))
                if job.preview is not None:
                    print(f"{job.preview}: preview")
                exported &= _exported(job, options.export, config, several)
            elif several:
                print(f"track: {outcome.error}", file=sys.stderr)
            else:
                raise ValueError(outcome.error) if outcome.mistake else RuntimeError(outcome.error)
            if several and not _by_ray(workers, options.ray_address):  # the driver keeps its logs itself
                Log(job).end(outcome)
    if several:
        order = {str(job.out): number for number, job in enumerate(jobs)}
        outcomes.sort(key=lambda outcome: order[outcome.out])
        seconds = time.monotonic() - started
        print(table(outcomes, seconds))
        print(f"{write_summary(jobs, outcomes, seconds)}: summary")
    return 1 if any(outcome.error for outcome in outcomes) or not exported else 0


def _exported(job: Job, wanted: Sequence[str], config: TrackConfig, several: bool) -> bool:
    """Writes a result in other formats; of several, a failure is told and the others go on."""
    from tracker.export.beside import export_result

    def note(text: str) -> None:
        print(f"track: {text}", file=sys.stderr)

    for to in wanted:
        try:
            files = export_result(job.out, to, job.video, config.head, config.weights, note)
        except ValueError as error:
            if not several:
                raise
            note(f"{job.name}: {error}")
            return False
        print(f"{files[0]}: exported")
    return True


def _by_ray(workers: int | None, address: str | None) -> bool:
    return workers is not None or address is not None


def _outcomes(
    jobs: Sequence[Job], config: TrackConfig, resume: bool, workers: int | None, address: str | None
) -> Generator[tuple[Job, Outcome], None, None]:
    """Every video with how it went, as they are done."""
    from tracker.work import Outcome

    if _by_ray(workers, address):
        try:
            from tracker.cluster import track_by_ray
        except ImportError as error:
            raise ValueError(
                f"--workers and --ray-address need Ray ({error}); pip install 'decatrack[cluster]'"
            ) from None
        yield from track_by_ray(jobs, config, resume=resume, workers=workers, address=address)
        return
    from tracker.single import Tracker

    tracker = Tracker(config)
    for job in jobs:
        try:
            yield job, tracker.track(job, resume=resume)
        except (ValueError, RuntimeError, OSError) as error:
            if len(jobs) == 1:
                raise
            yield job, Outcome.failed(job, error)


def _config(options) -> TrackConfig:
    """Defaults, then the YAML file, then the command line."""
    config = TrackConfig()
    if options.config:
        config = load_config(config, options.config)
    changes: dict = {
        name: value for name in ("head", "weights", "detector", "device") if (value := getattr(options, name))
    }
    if options.faces:
        changes["faces"] = "all" if options.faces == "all" else _number(options.faces, "--faces", also="all")
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


def _number(text: str, option: str, also: str = "") -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{option} {text}: must be a whole number from 1 up" + (f", or '{also}'" if also else ""))
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
