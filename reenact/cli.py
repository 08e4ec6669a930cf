"""`reenact --target FACE.jpg --driver TALK.mp4`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tracker.command import Parser, run

DESCRIPTION = """\
Move the head of a photograph as the face in a video moves: expression, jaw, gaze and pose.

  reenact --target face.jpg --driver talk.mp4 --out out.mp4
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: 0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    return run("reenact", _reenact, argv)


def parser() -> Parser:
    """The options of `reenact`."""
    p = Parser(prog="reenact", description=DESCRIPTION)
    p.add_argument("--target", required=True, metavar="FACE.jpg", help="a photograph; its largest face is taken")
    p.add_argument("--driver", required=True, metavar="TALK.mp4|PARAMS.npz", help="a video, or what track made of it")
    p.add_argument("--out", default="reenacted.mp4", metavar="OUT.mp4", help="the video (default: reenacted.mp4)")
    p.add_argument(
        "--transfer",
        choices=("relative", "absolute"),
        default="relative",
        help="relative (default): the driver's changes from the driver's own neutral; absolute: the driver's values",
    )
    p.add_argument("--head", default="openhead", metavar="openhead|PATH", help="the head model (default: openhead)")
    p.add_argument(
        "--weights",
        default="embedded",
        metavar="embedded|open|PATH|none",
        help="the network that looks at the driver's face, as in track (default: embedded)",
    )
    return p


def _reenact(argv: Sequence[str]) -> int:
    options = parser().parse(argv)
    # Here, so that --help and mistakes in the options do not wait for torch and the detector.
    from reenact.pipeline import Reenactor, fit_target, write_reenactment
    from tracker.config import TrackConfig
    from tracker.inputs import plan
    from tracker.pipeline import load_model, track_video
    from tracker.progress import Progress
    from tracker.track import load_track
    from tracker.video import open_video

    driver = Path(options.driver)
    out = Path(plan([options.driver], options.out, None, suffix=".mp4")[0].out)
    config = TrackConfig(head=options.head, weights=options.weights, device="cpu")
    head = load_model(config)
    target = fit_target(options.target, head)
    with Progress(driver.name) as progress:
        if driver.suffix == ".npz":
            track, sound = load_track(driver), None
        else:
            with open_video(driver) as video:
                track, sound = track_video(video, config, report=progress), driver
        reenactor = Reenactor(head, target, options.transfer)
        write_reenactment(out, reenactor, track, sound, lambda done, total: progress("draw", done, total))
    print(f"{out}: {options.target} moved by {options.driver}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
