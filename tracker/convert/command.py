"""Bring a file of an older schema, or codes of another tool, to the params.npz of this version.

  decatrack convert old.npz --out new.npz
  decatrack convert codes.npz --out talk.npz --head flame/ --size 1280,720 --fps 30
  decatrack convert tracked_flame_params.npz --out talk.npz --head flame/ --transforms transforms.json --fps 30

Other tools' files are .npz or .mat (not 7.3): per-frame codes as DECA and EMOCA give them (shape, exp, pose, cam,
tform), and FLAME tracks of Gaussian-avatar tools (shape, expr, rotation, ..., with their transforms.json). Pickles are
refused: they can run code.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `decatrack convert`."""
    parser.add_argument("file", metavar="OLD.npz|.mat", help="what is converted")
    parser.add_argument("--out", required=True, metavar="NEW.npz", help="the params.npz")
    parser.add_argument("--head", metavar="openhead|PATH", help="whose codes they are, for other tools' files")
    parser.add_argument("--size", metavar="W,H", help="of the frames, px")
    parser.add_argument("--fps", metavar="X", help="frames per second (default: 25)")
    parser.add_argument("--crop", metavar="CX,CY,SIDE", help="the crop of all frames, px, where the file has no tform")
    parser.add_argument("--transforms", metavar="FILE.json", help="the cameras of an avatar's track")


def main(options: Namespace) -> int:
    """Converts; prints what was written."""
    from model.head import HeadModel
    from model.io.assets import load_head
    from tracker.convert.avatar import is_avatar, track_of_avatar
    from tracker.convert.codes import is_codes, track_of_codes
    from tracker.convert.facts import Facts
    from tracker.convert.files import read_arrays
    from tracker.convert.schema import upgraded
    from tracker.track import track_of

    size = None if options.size is None else _numbers(options.size, "--size", 2)
    crop = None if options.crop is None else _numbers(options.crop, "--crop", 3)
    fps = 25.0 if options.fps is None else _numbers(options.fps, "--fps", 1)[0]
    out = Path(options.out)
    if out.suffix != ".npz":
        raise ValueError(f"--out {out}: must end in .npz")
    arrays = read_arrays(Path(options.file))
    if "schema" in arrays:
        old = str(arrays["schema"])
        track = track_of(upgraded(arrays, options.file), options.file)
    else:
        facts = Facts(
            options.file,
            None if options.head is None else HeadModel(load_head(options.head)),
            None if size is None else (int(size[0]), int(size[1])),
            fps,
            None if crop is None else (crop[0], crop[1], crop[2]),
            None if options.transforms is None else Path(options.transforms),
            lambda text: print(f"decatrack convert: {text}", file=sys.stderr),
        )
        if is_avatar(arrays):
            old, track = "an avatar's FLAME track", track_of_avatar(arrays, facts)
        elif is_codes(arrays):
            old, track = "codes of DECA", track_of_codes(arrays, facts)
        else:
            raise ValueError(
                f"{options.file}: no schema, and neither codes (shape, exp, pose, cam) nor an avatar's track (shape, "
                f"expr, rotation, jaw_pose, translation); it holds {', '.join(sorted(arrays)) or 'nothing'}"
            )
    track.save(out)
    print(f"{out}: {len(track.faces)} face(s), {len(track)} rows, from {old}")
    return 0


def _numbers(text: str, option: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(0 < value < 1e6 for value in values):
        what = "a positive number" if count == 1 else f"{count} positive numbers with commas between them"
        raise ValueError(f"{option} {text}: must be {what}")
    return values
