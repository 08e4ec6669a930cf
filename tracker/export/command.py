"""Write a track in another program's format; the ending of --to says which.

decatrack export talk.npz --to talk.glb             glTF: mesh, textures, skeleton, ARKit morph targets, animation
decatrack export talk.npz --to talk.usdc            UsdSkel with blend shapes (pip install 'decatrack[usd]')
decatrack export talk.npz --to talk.csv             Live Link Face: 61 ARKit columns and time codes
decatrack export talk.npz --to head.obj --frame 30  one frame with its texture; .ply with colours of its points
decatrack export talk.npz --to talk.ply --detail    a numbered sequence of dense meshes with wrinkles
decatrack export talk.npz --to talk/ --video talk.mp4   FLAME npz, transforms.json, frames and masks
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `decatrack export`."""
    parser.add_argument("track", metavar="PARAMS.npz", help="what `track` wrote")
    parser.add_argument("--to", required=True, metavar="FILE|DIR/", help=".glb .usda .usdc .csv .obj .ply, or a folder")
    parser.add_argument("--face", metavar="N|all", help="which face (default: all; a folder takes one)")
    parser.add_argument("--frame", metavar="N", help="this frame of the video alone, for .obj and .ply")
    parser.add_argument("--detail", action="store_true", help="dense meshes with wrinkles, for .obj and .ply")
    parser.add_argument(
        "--distance",
        metavar="METRES",
        help="a perspective camera this far from the head, which then moves in depth; "
        "by default an orthographic camera, and the head changes its size (a folder: 10)",
    )
    parser.add_argument("--still", action="store_true", help="keep the head in one place; it still turns")
    parser.add_argument("--texture", metavar="IMAGE", help="over the head's UV map, in place of its albedo")
    parser.add_argument(
        "--video", metavar="VIDEO", help="for frames and masks (default: the track's, where it is there)"
    )
    parser.add_argument("--head", metavar="PATH", help="the track's head, where it is not openhead")
    parser.add_argument("--weights", metavar="embedded|open|PATH|none", default="embedded", help="whose detail it is")


def main(options: Namespace) -> int:
    """Runs the export; prints what was written."""
    from tracker.export.job import ExportConfig, export, format_of, load_head_of
    from tracker.image import read_image
    from tracker.progress import Progress
    from tracker.track import load_track

    kind = format_of(options.to)
    config = ExportConfig(
        face=None if options.face in (None, "all") else int(_number(options.face, "--face", whole=True)),
        frame=None if options.frame is None else int(_number(options.frame, "--frame", whole=True)),
        detail=options.detail,
        distance=None if options.distance is None else _number(options.distance, "--distance"),
        still=options.still,
        weights=options.weights,
        video=None if options.video is None else Path(options.video),
        texture=None if options.texture is None else read_image(options.texture),
    )
    for name, kinds in (("detail", (".obj", ".ply")), ("frame", (".obj", ".ply")), ("video", ("/",))):
        if getattr(config, name) not in (None, False) and kind not in kinds:
            raise ValueError(f"--{name}: has no meaning for {options.to}; it is for {' and '.join(kinds)}")
    track = load_track(options.track)
    asset = load_head_of(track, options.head)
    with Progress(Path(options.track).name) as progress:
        files = export(track, asset, options.to, config, _note, progress)
    shown = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    size = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    print(f"{shown}: {len(track.faces) if config.face is None else 1} face(s), {size:.1f} MB")
    return 0


def _note(text: str) -> None:
    print(f"decatrack export: {text}", file=sys.stderr)


def _number(text: str, option: str, *, whole: bool = False) -> float:
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise ValueError(f"{option} {text}: must be a {'whole ' if whole else ''}number from 0 up")
    return value
