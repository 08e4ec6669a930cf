"""`reenact --target FACE.jpg --driver TALK.mp4`."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from tracker.command import Parser, run

DESCRIPTION = """\
Move the face of a photograph as the face in a video moves: expression, lips, gaze, blinks and head.

  reenact --target face.jpg --driver talk.mp4 --out out.mp4

Only use photographs of people who agreed to it. Every video is marked as synthetic in its metadata.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: 0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    return run("reenact", _reenact, argv)


def parser() -> Parser:
    """The options of `reenact`."""
    p = Parser(prog="reenact", description=DESCRIPTION)
    p.add_argument("--target", required=True, metavar="FACE.jpg", help="a photograph or painting: JPEG, PNG or WebP")
    p.add_argument("--face", default="1", metavar="N", help="which face of the target: 1 (default) is the largest")
    p.add_argument("--driver", required=True, metavar="TALK.mp4|PARAMS.npz", help="a video, or what track made of it")
    p.add_argument("--out", default="reenacted.mp4", metavar="OUT.mp4", help="the video (default: reenacted.mp4)")
    p.add_argument(
        "--view",
        choices=("composite", "shape", "detail", "grid"),
        default="composite",
        help="composite (default): the photograph moves; shape, detail: the grey head; grid: all side by side",
    )
    p.add_argument(
        "--transfer",
        choices=("relative", "absolute"),
        default="relative",
        help="relative (default): the driver's changes from the driver's own neutral; absolute: the driver's values",
    )
    p.add_argument("--strength", default="1", metavar="X", help="of the expression; 1 (default) is the driver's")
    p.add_argument(
        "--gain",
        action="append",
        default=[],
        metavar="PART=X",
        help="more or less of a part: brows, eyes, cheeks, mouth, jaw or gaze; may be given several times",
    )
    p.add_argument(
        "--pose",
        choices=("driver", "target", "none"),
        default="driver",
        help="whose head pose: the driver's motion (default), the photograph's, or none: facing the camera",
    )
    p.add_argument("--damping", default="0", metavar="X", help="part of the head's motion left out, 0 (default) to 1")
    p.add_argument(
        "--detail",
        choices=("animated", "static", "off"),
        default="animated",
        help="wrinkles: moving with the expression (default), those of the photograph, or none",
    )
    p.add_argument("--label", action="store_true", help="burn a small visible mark into the picture: synthetic")
    p.add_argument(
        "--export",
        action="append",
        default=[],
        metavar="FILE|.EXT",
        help="also write the moved head with the photograph's texture, see decatrack export; .glb alone is named after "
        "the video",
    )
    p.add_argument("--head", default="openhead", metavar="openhead|PATH", help="the head model (default: openhead)")
    p.add_argument(
        "--weights",
        default="embedded",
        metavar="embedded|open|PATH|none",
        help="the network that looks at both faces, as in track (default: embedded)",
    )
    return p


def _reenact(argv: Sequence[str]) -> int:
    options = parser().parse(argv)
    face = _number(options.face, "--face", whole=True)
    # Here, so that --help and mistakes in the options do not wait for torch and the detector.
    from reenact.driver import DRIVER, open_driver
    from reenact.pipeline import Reenactor, ViewConfig, write_reenactment
    from reenact.target import fit_target, open_deca
    from reenact.transfer import TransferConfig
    from tracker.export.beside import check_exports, destination
    from tracker.inputs import plan
    from tracker.pipeline import load_model
    from tracker.progress import Progress

    transfer = TransferConfig(
        mode=options.transfer,
        strength=_number(options.strength, "--strength"),
        gains=_gains(options),
        head=options.pose,
        damping=_number(options.damping, "--damping"),
    )
    driver_path = Path(options.driver)
    out = Path(plan([options.driver], options.out, None, suffix=".mp4")[0].out)
    if driver_path.resolve() == out.resolve():
        raise ValueError(f"--out {out}: would overwrite the driver; give another name")
    check_exports(options.export, [out])
    config = replace(DRIVER, head=options.head, weights=options.weights)
    head = load_model(config)
    deca, network = open_deca(options.weights, head) or (None, None)
    target = fit_target(options.target, head, network, face=int(face), note=_note)
    show = ViewConfig(options.view, options.detail, options.label)
    reenactor = Reenactor(target, head, deca, transfer, show)
    with Progress(driver_path.name) as progress:
        driver = open_driver(driver_path, out, head, config, network, report=progress, note=_note)
        started = time.monotonic()
        write_reenactment(out, reenactor, driver, lambda done, total: progress("draw", done, total))
    count = len(driver.track)
    print(
        f"{out}: {options.target} moved by {options.driver}, {count} frames, "
        f"{count / (time.monotonic() - started):.0f} frames/s"
    )
    if options.export:
        from reenact.export import export_moved
    for to in options.export:
        files = export_moved(reenactor, driver.track, destination(to, out), options.weights, _note)
        print(f"{files[0]}: exported")
    return 0


def _note(text: str) -> None:
    print(f"reenact: {text}", file=sys.stderr)


def _gains(options: Namespace):
    from reenact.transfer import Gains

    names = [f.name for f in fields(Gains)]
    values = {}
    for text in options.gain:
        name, _, value = text.partition("=")
        if name not in names or not value:
            raise ValueError(f"--gain {text}: expected PART=NUMBER with a part of {', '.join(names)}")
        values[name] = _number(value, f"--gain {name}")
    return Gains(**values)


def _number(text: str, option: str, *, whole: bool = False) -> float:
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise ValueError(f"{option} {text}: must be a {'whole ' if whole else ''}number from 0 up")
    return value


if __name__ == "__main__":
    sys.exit(main())
