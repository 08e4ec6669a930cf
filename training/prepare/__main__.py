"""Prepare photographs and videos of people for training: ``python -m training.prepare PHOTOS --out SHARDS``.

Finds the face on every photograph and on varied frames of every video, leaves out what cannot be trusted (and says what
and why), fits the head to the landmarks, masks the skin, and writes shards. Layouts that are read:
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from tracker.command import Parser, run
from training.prepare import sources
from training.prepare.config import PrepareConfig
from training.prepare.pipeline import KEPT, Job, prepare
from training.prepare.worker import open_landmarks, with_frames


def main(argv: Sequence[str]) -> int:
    """Command line."""
    default = PrepareConfig()
    layouts = (sources.__doc__ or "").split("\n\n", 1)[1]
    parser = Parser(prog="python -m training.prepare", description=f"{__doc__}\n{layouts}")
    parser.add_argument("photos", type=Path, help="a folder, or a list (.csv, .tsv)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--layout", default="auto", help="auto, " + ", ".join(sources.READERS))
    parser.add_argument("--head", default=default.head, help="openhead, or the path of another head")
    parser.add_argument("--detector", default=default.detector, help="mediapipe or face-alignment")
    parser.add_argument("--landmarks", type=Path, help=".npz of your own 68 points (N, 2), px, keyed by path")
    parser.add_argument("--points", default=default.points, help="68 points of the fitted head, or of the detector")
    parser.add_argument("--masks", type=Path, help="folder of your own skin masks: the photographs' names, 255 on skin")
    parser.add_argument("--no-masks", action="store_true", help="make no skin masks")
    parser.add_argument("--several", default=default.several, help="of several faces take the largest, or drop")
    parser.add_argument("--frames", type=int, default=0, help="most frames of a video (32; of VoxCeleb2's 4)")
    parser.add_argument("--smallest", type=float, default=default.smallest, help="least side of a face, px")
    parser.add_argument("--sharpness", type=float, default=default.sharpness, help="least sharpness of a face")
    parser.add_argument("--confidence", type=float, default=default.confidence, help="least of the detector")
    parser.add_argument(
        "--disagreement", type=float, default=default.disagreement, help="of the landmarks of two crops"
    )
    parser.add_argument(
        "--duplicate", type=int, default=default.duplicate, help="bits of 256 in which two photographs differ"
    )
    parser.add_argument("--side", type=int, default=default.side, help="of a stored picture, px")
    parser.add_argument("--room", type=float, default=default.room, help="of a stored picture, over the face")
    parser.add_argument("--quality", type=int, default=default.quality, help="of the stored JPEG")
    parser.add_argument("--limit", type=int, help="only the first so many photographs and videos")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    options = parser.parse(argv)
    for name, allowed in (
        ("detector", ("mediapipe", "face-alignment")),
        ("points", ("head", "detector")),
        ("several", ("largest", "drop")),
    ):
        if getattr(options, name) not in allowed:
            raise ValueError(f"--{name} {getattr(options, name)}: must be {' or '.join(allowed)}")
    if options.jobs < 1 or (options.limit is not None and options.limit < 1):
        raise ValueError("--jobs and --limit must be at least 1")
    if options.masks is not None and not options.masks.is_dir():
        raise ValueError(f"--masks {options.masks}: no such folder")
    if options.landmarks is not None:
        open_landmarks(options.landmarks)
    given = {
        field.name: getattr(options, field.name) for field in fields(PrepareConfig) if hasattr(options, field.name)
    }
    config = PrepareConfig(**{**given, "masks": not options.no_masks})
    layout, items = sources.find(options.photos, options.layout)
    items = items[: options.limit]
    print(
        f"{options.photos}: {len(items)} files of {len({item.identity for item in items})} people ({layout})",
        flush=True,
    )
    job = Job(items, options.out, with_frames(config, layout), options.landmarks, options.masks, options.jobs)
    print(table(prepare(job, resume=options.resume)))
    return 0


def table(counts: Counter[str]) -> str:
    """How many pictures were kept or left out, and why."""
    total = counts.total()
    rows = [(KEPT, counts[KEPT]), *((reason, n) for reason, n in counts.most_common() if reason != KEPT)]
    width = max(len(reason) for reason, _ in rows)
    return "\n".join(f"  {reason:<{width}} {n:>9,} {100 * n / total:6.1f} %" for reason, n in [*rows, ("all", total)])


if __name__ == "__main__":
    sys.exit(run("prepare", main))
