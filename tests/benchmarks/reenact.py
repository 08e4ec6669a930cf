"""Self-reenactment: a clip's calmest frame is the target, the clip the driver; the clip itself is the truth.

  python tests/benchmarks/reenact.py [CLIP.mp4 ...] [--frames N] [--weights W] [--detail D] [--sheets DIR]

Without clips, those of ../shared/data/video with one face (skipped where absent). Printed per clip, and as means: the
distance of the landmarks that a detector finds on the output from those on the true frames (% of the distance of the
outer eye corners), PSNR and SSIM in the face region, and flicker: the mean second difference over time in the face
region over that of the true video. Beside ours: the photograph standing still, and a piecewise-affine warp of the
photograph by the driver's landmarks. SSIM is over the frames whose head is turned by at most 15° from the target.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder: this file has the name of the package that it measures

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import roma
import torch
from scipy.spatial import Delaunay
from skimage.metrics import structural_similarity

from model.head import HeadModel
from model.io.assets import load_head
from model.raster.cpu import rasterise
from reenact.driver import DRIVER
from reenact.lips import Lips
from reenact.pipeline import Reenactor, ViewConfig
from reenact.remainder import Remainder, remainder_of
from reenact.target import open_deca, target_of, within
from reenact.transfer import TransferConfig, neutral_at
from reenact.wrinkles import Detail
from tracker.detect import open_detector
from tracker.image import write_image
from tracker.observation import Detection, Frame, Observations, ibug68
from tracker.pipeline import track_video
from tracker.track import Track
from tracker.video import open_video

FOLDER = Path(__file__).resolve().parents[2] / "../shared/data/video"
CLIPS = ("d10", "d12", "d3", "d0", "wda_512", "retalking1", "single_face")
TURN = np.radians(15)
_REACH = 3.0  # the truth holds nothing back


@dataclass(frozen=True)
class Scores:
    """Of one way to make the clip."""

    landmarks: float
    psnr: float
    ssim: float
    flicker: float

    def __str__(self) -> str:
        parts = f"landmarks {self.landmarks:5.2f} %", f"PSNR {self.psnr:5.2f}", f"SSIM {self.ssim:.3f}"
        return "  ".join((*parts, f"flicker {self.flicker:.2f}"))


def main() -> int:
    """Print the figures with their goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=75, help="of each clip")
    parser.add_argument("--weights", default="embedded")
    parser.add_argument("--detail", choices=("animated", "static", "off"), default="animated", help="wrinkles")
    parser.add_argument("--sheets", type=Path, help="folder for pictures: truth, ours, still, warp")
    options = parser.parse_args()
    clips = options.clips or [FOLDER / f"{name}.mp4" for name in CLIPS if (FOLDER / f"{name}.mp4").is_file()]
    if not clips:
        print(f"no clips: {FOLDER} is absent; name some")
        return 0
    head = HeadModel(load_head())
    deca, network = open_deca(options.weights, head) or (None, None)
    table: dict[str, list[Scores]] = {"ours": [], "still": [], "warp": []}
    for path in clips:
        frames = _frames(path, options.frames)
        with open_video(path) as video:
            seen: list[Observations] = []
            config = replace(DRIVER, weights=options.weights)
            track = track_video(_Short(video, len(frames)), config, network=network, seen_faces=seen.extend)
        track = track.of_face(0)
        remainder = remainder_of(track, seen[0], head)
        frames = [frames[k] for k in track.frame if k < len(frames)]
        made, row, speed = _made(frames, track, remainder, head, deca, network, options.detail)
        turns = _turns(track, row)
        scores = _judged(frames, made, turns)
        print(
            f"{path.stem}: {len(frames)} frames, target is frame {row}; {speed[0]:.1f} frames/s, "
            f"{speed[1]:.0f} ms of CPU per frame",
            flush=True,
        )
        for name, score in scores.items():
            print(f"  {name:6s}{score}", flush=True)
            table[name].append(score)
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            _sheet(options.sheets / f"{path.stem}.png", frames, made)
    mean = {name: Scores(*np.mean([list(vars(s).values()) for s in rows], axis=0)) for name, rows in table.items()}
    print("mean")
    for name, score in mean.items():
        print(f"  {name:6s}{score}")
    ours, still, warp = mean["ours"], mean["still"], mean["warp"]
    goals = {
        "landmarks ≤ 4 %": ours.landmarks <= 4,
        "landmarks under half of the still photo's": ours.landmarks < still.landmarks / 2,
        "SSIM above both baselines": ours.ssim > max(still.ssim, warp.ssim),
        "flicker ≤ 1.2": ours.flicker <= 1.2,
    }
    for goal, met in goals.items():
        print(f"{'met   ' if met else 'MISSED'} {goal}")
    return 0 if all(goals.values()) else 1


class _Short:
    """The first frames of a video."""

    def __init__(self, video, count: int) -> None:
        self.path, self.fps, self.size, self.frames, self._video = video.path, video.fps, video.size, count, video
        self.truncated = None

    def between(self, index, start: int, stop: int | None):
        for frame in self._video.between(index, start, stop):
            if frame.index >= self.frames:
                return
            yield frame


def _frames(path: Path, count: int) -> list[np.ndarray]:
    frames = []
    with open_video(path) as video:
        for frame in video:
            if len(frames) == count:
                break
            frames.append(within(frame.image))
    return frames


def _made(frames, track: Track, remainder: Remainder, head: HeadModel, deca, network, detail: Detail):
    """The clip made in three ways, which frame the target is, and frames drawn per second."""
    params = track.params()
    activity = params.expression.square().sum(1) + params.jaw.square().sum(1) + Lips(head).gap(params).clamp(min=0) * 50
    activity = activity + (roma.rotvec_to_rotmat(params.pose)[:, 2, 2] < 0.9) * 10
    row = int(activity.masked_fill(~torch.from_numpy(track.valid), torch.inf).argmin())
    with open_detector(static=True) as detector:
        found = [_first(detector.detect(Frame(k, 0.0, frame))) for k, frame in enumerate(frames)]
    target = target_of(frames[row], _needed(found[row]), head, network)
    reenactor = Reenactor(target, head, deca, TransferConfig(reach=_REACH), ViewConfig(detail=detail))
    since = remainder.since(np.array([row]))
    started, worked = time.monotonic(), time.process_time()
    ours = list(reenactor.render(track, rest=neutral_at(track, row), remainder=since))
    speed = len(ours) / (time.monotonic() - started), 1000 * (time.process_time() - worked) / len(ours)
    still = [frames[row]] * len(frames)
    warp = [frames[row] if face is None else _warped(frames[row], found[row], face) for face in found]
    return {"ours": ours, "still": still, "warp": warp}, row, speed


def _warped(image: np.ndarray, source: Detection | None, face: Detection) -> np.ndarray:
    """The photograph's triangles between landmarks and the picture's border moved to other landmarks."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.linspace(0, width, 5), np.linspace(0, height, 5))
    border = np.stack([x, y], -1)[(x == 0) | (y == 0) | (x == width) | (y == height)]
    old, new = (np.concatenate([ibug68(_needed(f)), border]) for f in (source, face))
    triangles = Delaunay(old).simplices
    points = np.column_stack([new, np.zeros(len(new))])
    fragments = rasterise(torch.from_numpy(points), torch.from_numpy(triangles).long(), height, width)
    corners = old[triangles[fragments.face.clamp(min=0).numpy()]]
    places = np.einsum("hwk,hwkc->hwc", fragments.barycentric.numpy(), corners)
    empty = fragments.face.numpy() < 0
    rows, columns = np.nonzero(empty)
    places[rows, columns] = np.stack([columns + 0.5, rows + 0.5], 1)
    at = places.astype(np.float32) - 0.5
    return cv2.remap(image, at[..., 0].copy(), at[..., 1].copy(), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _turns(track: Track, row: int) -> np.ndarray:
    rotation = roma.rotvec_to_rotmat(track.params().pose)
    return roma.rotmat_to_rotvec(rotation @ rotation[row].T).norm(dim=1).numpy()


def _judged(frames, made, turns) -> dict[str, Scores]:
    with open_detector(static=True) as detector:
        truth = [_first(detector.detect(Frame(k, 0.0, frame))) for k, frame in enumerate(frames)]
        boxes = [
            None if face is None else _region(face, frame.shape) for face, frame in zip(truth, frames, strict=True)
        ]
        result = {}
        for name, pictures in made.items():
            misses, psnr, ssim = [], [], []
            for k, (picture, frame, face, box) in enumerate(zip(pictures, frames, truth, boxes, strict=True)):
                if face is None or box is None:
                    continue
                found = _first(detector.detect(Frame(k, 0.0, picture)))
                eyes = np.linalg.norm(ibug68(face)[36] - ibug68(face)[45])
                if found is not None:
                    misses.append(100 * np.linalg.norm(ibug68(found) - ibug68(face), axis=1).mean() / eyes)
                a, b = picture[box], frame[box]
                psnr.append(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-6)))
                if turns[k] <= TURN:
                    ssim.append(structural_similarity(a, b, channel_axis=2))
            whole = _hull([box for box in boxes if box is not None])
            flicker = _unrest(pictures, whole) / max(_unrest(frames, whole), 1e-6)
            result[name] = Scores(*(float(np.mean(v)) for v in (misses, psnr, ssim)), flicker)
    return result


def _unrest(pictures, box) -> float:
    """Mean absolute second difference over time."""
    parts = [picture[box].astype(np.float32) for picture in pictures]
    triples = zip(parts, parts[1:], parts[2:], strict=False)
    return float(np.mean([np.abs(a - 2 * b + c).mean() for a, b, c in triples]))


def _region(face: Detection, shape) -> tuple[slice, slice]:
    low, high = ibug68(face).min(0), ibug68(face).max(0)
    low[1] -= 0.2 * (high - low)[1]
    x0, y0 = np.maximum(low.astype(int), 0)
    x1, y1 = np.minimum(high.astype(int), [shape[1], shape[0]])
    return slice(y0, max(y1, y0 + 8)), slice(x0, max(x1, x0 + 8))


def _hull(boxes) -> tuple[slice, slice]:
    rows, columns = zip(*boxes, strict=True)
    return (
        slice(min(r.start for r in rows), max(r.stop for r in rows)),
        slice(min(c.start for c in columns), max(c.stop for c in columns)),
    )


def _first(faces: list[Detection]) -> Detection | None:
    return faces[0] if faces else None


def _needed(face: Detection | None) -> Detection:
    assert face is not None
    return face


def _sheet(path: Path, frames, made) -> None:
    picked = np.linspace(0, len(frames) - 1, 7).round().astype(int)
    rows = [frames, made["ours"], made["still"], made["warp"]]
    cells = [
        [cv2.resize(row[k], (256, round(256 * row[k].shape[0] / row[k].shape[1]))) for k in picked] for row in rows
    ]
    write_image(path, np.concatenate([np.concatenate(row, axis=1) for row in cells], axis=0))


if __name__ == "__main__":
    sys.exit(main())
