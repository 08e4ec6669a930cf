"""The command: ``python -m training.synthetic --out SHARDS --count N``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from tracker.command import Parser, run
from tracker.progress import Progress
from training.synthetic.make import Recipe, write_faces
from training.synthetic.population import MOST_YAW


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0, 2 for a user's mistake, 1 where the work failed."""
    return run("synthetic", _command, argv)


def _command(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="python -m training.synthetic",
        description="Renders faces whose codes are known exactly, into a folder of shards. Called again it goes on.",
    )
    parser.add_argument("--out", required=True, metavar="SHARDS", help="folder of shards, made if need be")
    parser.add_argument("--count", required=True, type=int, metavar="N", help="faces that the folder shall hold")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--size", type=int, default=256, metavar="PX", help="side of the pictures (default 256)")
    parser.add_argument("--per-identity", type=int, default=1, metavar="K", help="pictures of one person (default 1)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (default 1)")
    parser.add_argument("--backgrounds", default="", metavar="DIR", help="photographs to put behind the faces")
    parser.add_argument("--plain", action="store_true", help="no hair, glasses, hands, wrinkles, camera")
    parser.add_argument("--turned", type=float, default=MOST_YAW, metavar="DEG", help=f"most yaw ({MOST_YAW:g})")
    parser.add_argument("--expressions", default="acts", help="acts as people make them (default), or random units")
    parser.add_argument("--head", default="openhead", help="openhead, or a head's path")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run; it does so anyway")
    options = parser.parse(argv)
    recipe = Recipe(
        options.head,
        options.seed,
        options.size,
        options.per_identity,
        options.backgrounds,
        options.plain,
        options.turned,
        options.expressions,
    )
    start = time.perf_counter()
    with Progress("synthetic") as progress:
        made = write_faces(options.out, options.count, recipe, options.jobs, progress)
    rate = f", {made / (time.perf_counter() - start):.1f} a second" if made else ""
    print(f"{options.out}: {options.count} faces, {made} of them new{rate}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
