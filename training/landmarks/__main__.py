"""Find the landmark embeddings of openhead: ``python -m training.landmarks --photos DIR`` (extra ``build-head``).

First MediaPipe's points are found by detection on renders of the head; then they, and iBUG's, are calibrated on
photographs. Writes ``model/openhead/landmarks.npz``; ``python -m model.openhead.build`` puts it into the head.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from tqdm import tqdm

from model.asset import HeadAsset, Landmarks, SurfacePoints
from model.io.assets import load_head
from tracker.command import Parser, run
from tracker.detect import open_detector
from training.landmarks import store
from training.landmarks.anatomy import Anatomy, anatomy
from training.landmarks.calibrate import Fitted, calibrate_mediapipe, common_bias, fit_heads
from training.landmarks.contour import contour_table, even_angles, trace_contour
from training.landmarks.embed import embed_ibug51, embed_mediapipe, joined, mirror_points
from training.landmarks.ibug import calibrate_contour, calibrate_ibug51, landmark_error
from training.landmarks.photographs import Photographs, choose, observe
from training.landmarks.renders import sightings
from training.landmarks.schemes import MEDIAPIPE_PARTS
from training.landmarks.surface import positions

DEFAULT_PATH = Path("model/openhead/landmarks.npz")


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = Parser(prog="python -m training.landmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_PATH, help=f"the file to write (default {DEFAULT_PATH})")
    parser.add_argument("--photos", type=Path, help="folder with manifest.tsv; without it no calibration is done")
    parser.add_argument("--renders", type=int, default=300, help="pictures of random heads (default 300)")
    parser.add_argument("--skip-renders", action="store_true", help="keep the embedding from renders that --out holds")
    parser.add_argument("--seed", type=int, default=0, help="of renders and choice of photographs (default 0)")
    parser.add_argument("--rounds", type=int, default=4, help="of calibration (default 4)")
    parser.add_argument("--keep", type=Path, help="file in which detections are kept, to go on after an interruption")
    options = parser.parse(argv)
    if options.renders < 50 or options.rounds < 1:
        raise ValueError("--renders must be at least 50 and --rounds at least 1")
    chosen = choose(options.photos, seed=options.seed, studio=102, annotated=330, wild=90) if options.photos else []

    asset = load_head()
    parts = anatomy(asset)
    provenance: dict[str, Any] = {"head": asset.name, "seed": options.seed}
    with open_detector("mediapipe", static=True) as detector:
        if options.skip_renders:
            rendered = store.load(options.out, "renders/")
            assert rendered.mediapipe478 is not None
            mirror = mirror_points(positions(parts.vertices, parts.faces, rendered.mediapipe478))
            provenance["renders"] = store.load_provenance(options.out).get("renders")
        else:
            drawn = tqdm(sightings(asset, detector, options.renders, options.seed), "renders", options.renders)
            seen = [sighting for sighting in drawn if sighting is not None]
            mediapipe, mirror = embed_mediapipe(parts, seen)
            traces = trace_contour(parts)
            contour = contour_table(parts, traces, even_angles(traces))
            rendered = assemble(contour, embed_ibug51(parts, mediapipe), mediapipe)
            provenance["renders"] = {"drawn": options.renders, "detected": len(seen)}
        photos = observe(options.photos, chosen, detector, options.keep) if chosen else None
    landmarks = rendered
    if photos is not None:
        landmarks, record = calibrate(asset, parts, rendered, mirror, photos, options.rounds)
        provenance["photographs"] = record
    store.save(options.out, landmarks, rendered, provenance)
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB; now run python -m model.openhead.build")
    return 0


def assemble(contour: SurfacePoints, static51: SurfacePoints, mediapipe: SurfacePoints) -> Landmarks:
    """The record; the fixed 68 have the contour of a face that looks at the viewer."""
    frontal = SurfacePoints(contour.face[0], contour.barycentric[0])
    return Landmarks(static51, contour, joined(frontal, static51), mediapipe)


def calibrate(
    asset: HeadAsset,
    parts: Anatomy,
    start: Landmarks,
    mirror: Int[np.ndarray, " 478"],
    photos: Photographs,
    rounds: int,
) -> tuple[Landmarks, dict[str, Any]]:
    """Calibrate all embeddings; prints the common bias before and after every round.

    Returns:
        The landmarks, and a record of counts and biases for the file.
    """
    landmarks = start
    record: dict[str, Any] = {"learn": int(photos.learn.sum()), "check": int((~photos.learn).sum()), "rounds": rounds}
    print("common bias, % of the distance of the outer eye corners, median over people, mean over points")
    print(f"{'round':>5} {'people':>6}  all " + " ".join(f"{name:>8}" for name in MEDIAPIPE_PARTS))
    for number in range(rounds + 1):
        assert landmarks.mediapipe478 is not None
        last = number == rounds
        # Photographs that are for iBUG or checking only are fitted at the beginning and at the end.
        used = np.ones(len(photos.learn), bool) if number == 0 or last else photos.learn
        fitted = fit_heads(asset, landmarks, photos.points[used])
        for name, rows in (("learn", photos.learn[used]), ("check", ~photos.learn[used])):
            if rows.any():
                seen = photos.points[used][rows]
                bias = 100 * common_bias(parts, fitted.chosen(rows), landmarks.mediapipe478, seen)
                record[f"bias_{name}_round_{number}"] = _show(number, name, bias)
        if last:
            break
        learn = photos.learn[used]
        moved = calibrate_mediapipe(
            parts, landmarks.mediapipe478, mirror, fitted.chosen(learn), photos.points[used][learn]
        )
        landmarks = replace(landmarks, mediapipe478=moved)
    assert landmarks.mediapipe478 is not None
    landmarks = _calibrate_ibug(parts, landmarks, fitted, photos, record)
    return landmarks, record


def _calibrate_ibug(
    parts: Anatomy, landmarks: Landmarks, fitted: Fitted, photos: Photographs, record: dict[str, Any]
) -> Landmarks:
    by_hand = np.isfinite(photos.annotated).all(axis=(1, 2))
    learn, check = by_hand & photos.learn, by_hand & ~photos.learn
    heads, seen = fitted.chosen(learn), photos.annotated[learn]
    assert landmarks.mediapipe478 is not None
    static = calibrate_ibug51(parts, landmarks.static51, heads, seen[:, 17:])
    contour = calibrate_contour(parts, heads, seen[:, :17])
    calibrated = assemble(contour, static, landmarks.mediapipe478)
    print(
        "iBUG against annotations by hand, % of the outer eye distance: common bias of the 51, errors of the 51, the 68"
    )
    for when, marks in (("before", landmarks), ("after", calibrated)):
        for name, rows in (("learn", learn), ("check", check)):
            people, points = fitted.chosen(rows), photos.annotated[rows]
            bias = 100 * common_bias(parts, people, marks.static51, points[:, 17:]).mean()
            inner, all68 = (100 * error for error in landmark_error(parts, marks, people, points))
            print(f"{when:>6} {name:>6} {rows.sum():4d} photographs  {bias:5.2f} {inner:5.2f} {all68:5.2f}")
            record[f"ibug_{name}_{when}"] = [round(float(x), 3) for x in (bias, inner, all68)]
    return calibrated


def _show(number: int, name: str, bias: Float[np.ndarray, " 478"]) -> dict[str, float]:
    row = {"all": bias.mean()} | {part: bias[list(index)].mean() for part, index in MEDIAPIPE_PARTS.items()}
    print(
        f"{number:5d} {name:>6} " + " ".join(f"{value:{max(4, len(key))}.2f}" for key, value in row.items()), flush=True
    )
    return {key: round(float(value), 3) for key, value in row.items()}


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.exit(run("python -m training.landmarks", main))
