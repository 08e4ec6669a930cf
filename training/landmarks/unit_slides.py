"""Measure how MediaPipe's points slide with the expression: ``python -m training.landmarks.unit_slides SHARDS``.

SHARDS are rendered heads with every unit at random: ``python -m training.synthetic --out SHARDS --count 12000
--size 256 --plain --turned 40 --expressions random --seed 3``. The difference between where the detector sees a
point and where it is embedded, less its slide with the turn of the head (`training.landmarks.slides`), is regressed,
robustly, on all units and the sine of the jaw's opening. Writes ``tracker/fit/unit_slides.npz``, which the landmark fit
reads.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from PIL import Image
from tqdm import tqdm

from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from tracker.command import Parser, run
from tracker.detect import open_detector
from tracker.fit.slides import read_slides, turn_features
from tracker.fit.unit_slides import UNIT_SLIDES_PATH
from tracker.observation import Frame
from training.data.sample import Labels
from training.data.shards import Shards
from training.landmarks.anatomy import anatomy
from training.landmarks.embed import mirror_points
from training.landmarks.surface import positions

_TURN = np.sin(np.radians(35.0))  # faces that are turned further show a half only
_ITERATIONS = 6
_FLOOR = 1e-3  # metres: residuals under this weigh alike
_RIDGE = 0.06  # of a unit's variance, per picture


@dataclass(frozen=True)
class Seen:
    """N pictures: where the detector sees K points less where they are, and what the face does.

    Attributes:
        offsets: metres on the head, upright, y up.
        sines: of yaw and pitch.
        expression: units.
        jaw: sine of the opening.
    """

    offsets: Float[np.ndarray, "N K 2"]
    sines: Float[np.ndarray, "N 2"]
    expression: Float[np.ndarray, "N U"]
    jaw: Float[np.ndarray, "N"]


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = Parser(prog="python -m training.landmarks.unit_slides", description=__doc__)
    parser.add_argument("shards", type=Path, help="rendered heads")
    parser.add_argument("--out", type=Path, default=UNIT_SLIDES_PATH, help="the file to write (default %(default)s)")
    parser.add_argument("--pictures", type=int, default=3000, help="evenly from the shards (default %(default)s)")
    options = parser.parse(argv)
    if options.pictures < 500:
        raise ValueError(f"--pictures must be at least 500, got {options.pictures}")
    asset = load_head()
    names = asset.expression_names
    parts = anatomy(asset)
    assert asset.landmarks is not None and asset.landmarks.mediapipe478 is not None and names is not None
    mirror = mirror_points(positions(parts.vertices, parts.faces, asset.landmarks.mediapipe478))
    seen = observe(Shards(options.shards), options.pictures)
    apart = np.arange(len(seen.jaw)) % 5 == 0
    checked = fit_unit_slides(_some(seen, ~apart), mirror, mirrored_units(names))
    before, after = (_left(_some(seen, apart), slopes) for slopes in (np.zeros_like(checked), checked))
    slopes = fit_unit_slides(seen, mirror, mirrored_units(names))
    temporary = options.out.with_name(f".{options.out.stem}.{os.getpid()}.npz")
    units, jaw = slopes[:, :-1].astype(np.float16), slopes[:, -1].astype(np.float16)
    np.savez_compressed(temporary, names=np.array(names), units=units, jaw=jaw, pictures=np.array(len(seen.jaw)))
    os.replace(temporary, options.out)
    print(
        f"{options.out}: {len(seen.jaw)} pictures; on a fifth of them, by slides of the others, the median deviation "
        f"of a point falls from {before:.2f} mm to {after:.2f} mm"
    )
    return 0


def observe(shards: Shards, count: int) -> Seen:
    """Detect the points on pictures whose codes are known; the slide with the turn is taken off."""
    head = HeadModel(load_head())
    marks = HeadLandmarks(head)
    offsets, turns, expressions, jaws = [], [], [], []
    with open_detector("mediapipe", static=True) as detector, torch.no_grad():
        for number in tqdm(np.unique(np.linspace(0, len(shards) - 1, count).astype(int)), "pictures", disable=None):
            sample = shards[int(number)]
            if sample.labels is None or not bool(sample.labels.known):
                raise ValueError(f"{sample.key}: its codes are not known; give rendered heads")
            params, camera = _batched(sample.labels)
            picture = np.array(Image.open(io.BytesIO(sample.image)).convert("RGB"))
            found = detector.detect(Frame(0, 0.0, picture))
            sines, upright = turn_features(roma.rotvec_to_rotmat(params.pose))
            if not found or abs(sines[0, 0]) > _TURN:
                continue
            there = project(camera, marks.mediapipe(params))[0].numpy()
            offset = (found[0].points - there) * [1.0, -1.0] / camera.s.item() @ upright[0].numpy()
            offsets.append(offset - np.einsum("f,kfj->kj", sines[0].numpy(), read_slides()))
            turns.append(sines[0].numpy())
            expressions.append(params.expression[0].numpy())
            jaws.append(np.sin(params.jaw[0, 0].item()))
    if len(jaws) < 100:
        raise ValueError(f"a face was found in {len(jaws)} pictures only; give more of them")
    points, sines, units = (np.stack(x).astype(float) for x in (offsets, turns, expressions))
    return Seen(points, sines, units, np.array(jaws, float))


def fit_unit_slides(
    seen: Seen, mirror: Int[np.ndarray, " K"], swapped: Int[np.ndarray, " U"]
) -> Float[np.ndarray, "K U1 2"]:
    """Slopes of the offsets by the units, then by the jaw; mirror symmetric, with the least sum of distances.

    Args:
        mirror: of every point its mirror image.
        swapped: of every unit that of the other side.
    """
    # The mirror image of a picture is a picture.
    offsets = np.concatenate([seen.offsets, seen.offsets[:, mirror] * [-1.0, 1.0]])
    features = np.concatenate([_features(seen), _features(seen)[:, [*swapped, len(swapped)]]])
    system = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    ridge = np.diag(_RIDGE * len(system) * system.var(0))
    weight = np.ones(offsets.shape[:2])
    slopes = np.zeros((offsets.shape[1], system.shape[1], 2))
    for _ in range(_ITERATIONS):
        gram = np.einsum("nk,nf,ng->kfg", weight, system, system, optimize=True) + ridge * weight.mean(0)[:, None, None]
        slopes = np.linalg.solve(gram, np.einsum("nk,nf,nkj->kfj", weight, system, offsets, optimize=True))
        distance = np.linalg.norm(offsets - np.einsum("nf,kfj->nkj", system, slopes, optimize=True), axis=-1)
        weight = _FLOOR / np.maximum(distance, _FLOOR)
    return slopes[:, :-1]


def mirrored_units(names: Sequence[str]) -> Int[np.ndarray, " U"]:
    """Of every unit the place of its mirror image; a unit without sides is its own."""
    at = {name: i for i, name in enumerate(names)}
    other = {"Left": "Right", "Right": "Left"}

    def image(name: str) -> str:
        side = next((side for side in other if name.endswith(side)), "")
        return name[: len(name) - len(side)] + other.get(side, "")

    return np.array([at.get(image(name), i) for i, name in enumerate(names)])


def _features(seen: Seen) -> Float[np.ndarray, "N U1"]:
    return np.concatenate([seen.expression, seen.jaw[:, None]], axis=1)


def _some(seen: Seen, rows: np.ndarray) -> Seen:
    return Seen(seen.offsets[rows], seen.sines[rows], seen.expression[rows], seen.jaw[rows])


def _left(seen: Seen, slopes: Float[np.ndarray, "K U1 2"]) -> float:
    """Median distance of points from where slides put them, less what is the same in all pictures, mm."""
    left = seen.offsets - np.einsum("nf,kfj->nkj", _features(seen), slopes, optimize=True)
    return float(1e3 * np.median(np.linalg.norm(left - np.median(left, axis=0), axis=-1)))


def _batched(labels: Labels) -> tuple[FaceParams, Camera]:
    """Codes and camera as a batch of one."""
    face = FaceParams(*(getattr(labels.face, name)[None].float() for name in FaceParams.__dataclass_fields__))
    return face, Camera(labels.camera.s.reshape(1).float(), labels.camera.t.reshape(1, 2).float())


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(run("python -m training.landmarks.unit_slides", main))
