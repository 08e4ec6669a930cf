"""The demo: two clips with known answers, or a video of yours, tracked with a preview; and a photograph that follows.

python -m training.demo [--out out] [--video PATH] [--figure PICTURE.png]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reenact.cli import main as reenact
from tracker.cli import main as track
from tracker.command import Parser, run
from tracker.image import resize, write_image
from tracker.track import load_track
from tracker.video import open_video
from training.clips import load_openhead, write_astronaut, write_openhead

_GIF_SECONDS = 6.0
_FIGURE_TIMES = {"astronaut": (0.35,), "openhead": (0.31, 0.69)}  # parts of the clips' lengths


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    return run("demo", _demo, argv)


def _demo(argv: Sequence[str]) -> int:
    parser = Parser(prog="demo", description="Track the demonstration clips, or a video of yours, with a preview.")
    parser.add_argument("--out", default="out", metavar="DIR", help="where everything goes (default: out)")
    parser.add_argument("--video", metavar="PATH", help="your video; without it the clips are made first")
    parser.add_argument("--figure", metavar="PICTURE.png", help="also put frames of the previews into one picture")
    options = parser.parse(argv)
    out = Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {out}: cannot be made ({error.strerror})") from None

    photo = _photograph(out)
    if options.video:
        return _tracked(Path(options.video), out) or _reenacted(photo, Path(options.video), out)
    print("making the clips: a photograph under a moving camera, and the head with known parameters")
    clips = {"astronaut": out / "astronaut.mp4", "openhead": out / "openhead.mp4"}
    write_astronaut(clips["astronaut"])
    write_openhead(clips["openhead"])
    status = max(_tracked(clip, out) for clip in clips.values())
    status = status or _reenacted(photo, clips["openhead"], out)
    if status == 0:
        _compare(clips["openhead"], out)
        if options.figure:
            _figure(Path(options.figure), out)
    return status


def _tracked(video: Path, out: Path) -> int:
    params, preview = out / f"{video.stem}.params.npz", out / f"{video.stem}.preview.mp4"
    return track([str(video), "--out", str(params), "--preview", str(preview)])


def _photograph(out: Path) -> Path:
    """The astronaut of scikit-image (NASA, public domain), around her face."""
    from skimage.data import astronaut  # a development dependency, as for the clips

    path = out / "astronaut.png"
    write_image(path, np.ascontiguousarray(astronaut()[:320, 60:380]))
    return path


def _reenacted(photo: Path, video: Path, out: Path) -> int:
    """The photograph moved by the clip's face, whose track is there already; and the first seconds as a GIF."""
    params, result = out / f"{video.stem}.params.npz", out / f"{photo.stem}.as-{video.stem}.mp4"
    # The track lies beside the video in the demo; a video from elsewhere lends its sound by being the driver itself.
    driver = params if video.parent == out else video
    status = reenact(["--target", str(photo), "--driver", str(driver), "--out", str(result), "--label"])
    if status == 0:
        _gif(result, result.with_suffix(".gif"))
    return status


def _gif(video: Path, path: Path) -> None:
    """Every second picture of the first seconds, small."""
    with open_video(video) as frames:
        pictures = [resize(f.image, (256, 256)) for f in frames if f.time < _GIF_SECONDS and f.index % 2 == 0]
    first, *others = [Image.fromarray(picture).quantize(96) for picture in pictures]
    first.save(path, save_all=True, append_images=others, duration=80, loop=0)
    print(f"{path}: its first {_GIF_SECONDS:.0f} seconds")


def _compare(clip: Path, out: Path) -> None:
    """The known parameters of the rendered clip beside the tracked ones."""
    truth, found = load_openhead(clip), load_track(out / f"{clip.stem}.params.npz")
    jaw = truth.params.jaw[found.frame, 0].numpy()
    print(f"known against tracked jaw opening: correlation {np.corrcoef(jaw, found.jaw[:, 0])[0, 1]:.3f}")


def _figure(path: Path, out: Path) -> None:
    """Input above, tracked head below, at some times of the two previews."""
    columns = []
    for name, times in _FIGURE_TIMES.items():
        with open_video(out / f"{name}.preview.mp4") as video:
            frames = [frame.image for frame in video]
        for part in times:
            left, right = np.split(frames[round(part * (len(frames) - 1))], 2, axis=1)
            columns.append(np.concatenate([left, right], axis=0))
    write_image(path, np.concatenate(columns, axis=1))
    print(f"{path}: frames of the previews")


if __name__ == "__main__":
    sys.exit(main())
