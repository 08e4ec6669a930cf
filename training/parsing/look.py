"""Face parsing laid over photographs and frames of video, to look at.

    python -m training.parsing.look FILE [FILE …] --out PICTURE.png [--frames 6] [--weights FILE.safetensors]

Every face that is found becomes two tiles: the crop as it is, and with its parts in colour. Of a video, frames at even
distances are shown; the share of the pixels whose part changes from one frame to the next, after the crop was moved
along with the face, is printed: flicker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from model.io.parsing import SHIPPED, load_parser
from model.parsing import Parser as FaceParser
from model.parsing import Part
from tracker.command import Parser, run
from tracker.detect import Detector, open_detector
from tracker.image import read_image, warp, write_image
from tracker.observation import Frame
from tracker.video import open_video

_TILE = 256
_ROOM = 1.9  # crop's side over the landmarks' box, as portraits of the training data have it
_COLOURS = {
    Part.SKIN: (235, 160, 130),
    Part.NOSE: (255, 90, 60),
    Part.BROWS: (90, 50, 20),
    Part.EYES: (60, 120, 255),
    Part.LIPS: (220, 0, 90),
    Part.MOUTH: (255, 255, 255),
    Part.HAIR: (60, 200, 60),
    Part.GLASSES: (0, 230, 230),
    Part.HAT: (160, 60, 200),
    Part.NECK: (240, 220, 60),
    Part.EARS: (255, 140, 0),
    Part.CLOTHES: (70, 70, 150),
}
_PICTURES = {".jpg", ".jpeg", ".png"}


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = Parser(prog="python -m training.parsing.look", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="photographs and videos")
    parser.add_argument("--out", type=Path, required=True, metavar="PICTURE.png")
    parser.add_argument("--frames", type=int, default=6, help="of every video (default 6)")
    parser.add_argument("--weights", default=SHIPPED, metavar="FILE", help="default: the shipped ones")
    options = parser.parse(argv)
    if options.frames < 1:
        raise ValueError(f"--frames is {options.frames}, must be at least 1")
    torch.set_num_threads(1)
    face_parser = load_parser(options.weights)
    tiles: list[np.ndarray] = []
    for path in options.files:
        still = path.suffix.lower() in _PICTURES
        with open_detector("mediapipe", faces=4 if still else 1, static=still) as detector:
            if still:
                tiles += _of_photograph(face_parser, detector, read_image(path))
            else:
                tiles += _of_video(face_parser, detector, path, options.frames)
    if not tiles:
        raise ValueError("no face was found in any of the files")
    columns = min(len(tiles), 4)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[k : k + columns], axis=1) for k in range(0, len(tiles), columns)]
    write_image(options.out, np.concatenate(rows))
    return 0


def overlay(image: UInt8[np.ndarray, "H W 3"], parts: Int[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with its parts in colour; the background stays as it is, but darker."""
    colours = np.zeros((len(Part), 3))
    for part, colour in _COLOURS.items():
        colours[part] = colour
    return (0.45 * image + 0.55 * colours[parts]).round().astype(np.uint8)


def _of_photograph(parser: FaceParser, detector: Detector, image: np.ndarray) -> list[np.ndarray]:
    tiles = []
    for face in detector.detect(Frame(0, 0.0, image)):
        crop = _crop(image, face.points)
        tiles.append(np.concatenate([crop, overlay(crop, _parse(parser, crop))], axis=1))
    return tiles


def _of_video(parser: FaceParser, detector: Detector, path: Path, count: int) -> list[np.ndarray]:
    """Tiles of `count` frames; each is parsed together with the frame after it, to see what flickers."""
    with open_video(path) as video:
        frames = _pairs(video, max(2, _length(path) // count))
        tiles, changes = [], []
        for first, second in frames:
            found, after = detector.detect(first), detector.detect(second)
            if not found or not after or len(tiles) == count:
                continue
            crops = [_crop(frame.image, face[0].points) for frame, face in ((first, found), (second, after))]
            parts = [_parse(parser, crop) for crop in crops]
            tiles.append(np.concatenate([crops[0], overlay(crops[0], parts[0])], axis=1))
            changes.append((parts[0] != parts[1]).mean())
    if changes:
        print(f"{path.name}: {100 * np.mean(changes):.1f} % of the crop's pixels change part from frame to frame")
    return tiles


def _length(path: Path) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video)


def _pairs(frames: Iterable[Frame], distance: int) -> Iterator[tuple[Frame, Frame]]:
    """Frames at even distances with their successors."""
    before: Frame | None = None
    for frame in frames:
        if before is not None and before.index % distance == distance // 2:
            yield before, frame
        before = frame


def _crop(image: np.ndarray, points: Float[np.ndarray, "N 2"]) -> UInt8[np.ndarray, "S S 3"]:
    low, high = points.min(0), points.max(0)
    size = _ROOM * (high - low).mean()
    corner = (low + high) / 2 - size / 2
    scale = _TILE / size
    T = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    return warp(image, T, (_TILE, _TILE))


def _parse(parser: FaceParser, crop: UInt8[np.ndarray, "S S 3"]) -> Int[np.ndarray, "S S"]:
    return parser(torch.from_numpy(crop).movedim(-1, 0)[None].float() / 255)[0].argmax(0).numpy()


if __name__ == "__main__":
    sys.exit(run("look", main))
