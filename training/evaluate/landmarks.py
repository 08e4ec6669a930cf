"""68 landmarks on photographs against annotations by hand: normalised mean errors per set.

  python -m training.evaluate landmarks ../shared/data --set helen_test --set afw --weights deca.safetensors --fit
  python -m training.evaluate landmarks 300W/ --weights deca.safetensors --out landmarks/

The folder holds manifest.tsv and landmarks.npz, or pictures with .pts (300W, HELEN, AFW) or .mat (AFLW2000-3D) beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Bool, Float

from model.head import HeadModel
from model.landmarks import HeadLandmarks
from tracker.fit.rigid import rigid_start
from tracker.image import read_image
from tracker.observation import ibug68
from tracker.progress import Progress
from training.evaluate.annotations import Annotated, find_annotated
from training.evaluate.curve import save_curves
from training.evaluate.estimate import BATCH, Estimator, Network, Photo, landmarks68, photo_of
from training.evaluate.faces import Finder, crop_around
from training.evaluate.options import add_estimators, estimators_of, folder_of, parser_of
from training.evaluate.report import Report, Table, strings

DETECTOR = "detector's points"
FAILED = 10.0
"""Percent from which a photograph counts as failed."""
BINS = ((0, 30), (30, 60), (60, 90))
_INNER = slice(17, 68)


@dataclass(frozen=True)
class Compared:
    """Errors of one method on the photographs of one set.

    Attributes:
        error: distances of the 68 points, px; NaN where there is no result.
        eyes: distance of the annotated outer eye corners, px.
        box: side of the annotations' box, the root of its area, px.
        yaw: of the annotation, degrees.
    """

    error: Float[np.ndarray, "N 68"]
    eyes: Float[np.ndarray, "N"]
    box: Float[np.ndarray, "N"]
    yaw: Float[np.ndarray, "N"]

    @property
    def found(self) -> Bool[np.ndarray, "N"]:
        """Where there is a result."""
        return np.isfinite(self.error).all(1)

    def nme(self, part: slice, by: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
        """Mean distance of a part of the points over a size, percent."""
        return 100 * self.error[:, part].mean(1) / by


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("landmarks", __doc__)
    parser.add_argument("folder", metavar="FOLDER", help="annotated photographs")
    add_estimators(parser, mean=False)
    parser.add_argument("--set", action="append", default=[], metavar="NAME", dest="sets", help="only these sets")
    parser.add_argument("--limit", type=int, metavar="N", help="photographs of a set, at most")
    parser.add_argument(
        "--crops", choices=("detected", "annotated"), default="detected", help="of networks (default: detected)"
    )
    options = parser.parse(argv)
    annotated = find_annotated(folder_of(options), options.sets)
    estimators = estimators_of(options)
    report = Report("landmarks", options.out)
    tables: list[tuple[str, str, Compared]] = []
    with Finder() as finder:
        for name, group in groupby(sorted(annotated, key=lambda entry: entry.set), key=lambda entry: entry.set):
            entries = list(group)[: options.limit]
            errors = measure(entries, estimators, finder, options.crops == "annotated")
            tables += [(name, method, compared) for method, compared in errors.items()]
            report.note(f"{name}: worst", _worst(entries, errors))
    _show(tables, report)
    report.close()
    return 0


def measure(
    entries: Sequence[Annotated], estimators: Sequence[Estimator], finder: Finder, annotated_crops: bool = False
) -> dict[str, Compared]:
    """Errors of every method on the photographs of one set, and of the detector's own points.

    A photograph on which the annotated face is not found has no result; with `annotated_crops` networks need no
    detection.
    """
    guesses = {name: np.full((len(entries), 68, 2), np.nan) for name in (*(e.name for e in estimators), DETECTOR)}
    marks = {estimator.name: HeadLandmarks(estimator.head) for estimator in estimators}
    surface = entries[0].surface
    with Progress(f"landmarks: {entries[0].set}") as progress:
        for start in range(0, len(entries), BATCH):
            rows = list(range(start, min(start + BATCH, len(entries))))
            photos: dict[int, Photo] = {}
            for row in rows:
                image = read_image(entries[row].path)
                face = finder.find(image, entries[row].points)
                if face is not None:
                    guesses[DETECTOR][row] = ibug68(face)
                    photos[row] = photo_of(image, face)
                elif annotated_crops:
                    photos[row] = Photo(image, None, crop_around(entries[row].points))
            for estimator in estimators:
                chosen = [row for row in photos if isinstance(estimator, Network) or photos[row].face is not None]
                mine = [photos[row] for row in chosen]
                if annotated_crops and isinstance(estimator, Network):
                    mine = [Photo(p.image, p.face, crop_around(entries[r].points)) for r, p in photos.items()]
                if mine:
                    guesses[estimator.name][chosen] = landmarks68(marks[estimator.name], estimator(mine), surface)
            progress("photographs", rows[-1] + 1, len(entries))
    points = np.stack([entry.points for entry in entries])
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
    box = np.sqrt(np.prod(points.max(1) - points.min(1), axis=1))
    yaw = yaws(entries, estimators[0].head if estimators else None)
    return {name: Compared(np.linalg.norm(guess - points, axis=2), eyes, box, yaw) for name, guess in guesses.items()}


def yaws(entries: Sequence[Annotated], head: HeadModel | None) -> Float[np.ndarray, "N"]:
    """Yaw of the annotations, degrees; where a set does not say it, that of the mean head laid over the inner points
    by linear least squares (a scaled-orthographic camera). NaN where there is no head."""
    known = np.array([np.nan if entry.yaw is None else entry.yaw for entry in entries])
    if head is None or np.isfinite(known).all():
        return known
    points = torch.from_numpy(np.stack([entry.points[_INNER] for entry in entries])).float().transpose(1, 2)
    with torch.no_grad():
        mean = HeadLandmarks(head).ibug68_fixed(head.neutral(1))[:, _INNER]
    rotation = rigid_start(points, mean, torch.ones(mean.shape[1]))[0]
    laid = torch.rad2deg(torch.atan2(rotation[:, 0, 2], rotation[:, 2, 2])).numpy()
    return np.where(np.isfinite(known), known, laid)


def _worst(entries: Sequence[Annotated], errors: dict[str, Compared]) -> dict[str, list[str]]:
    """Names of the worst photographs of every method, to look at."""
    worst = {}
    for method, compared in errors.items():
        nme = np.nan_to_num(compared.nme(_INNER, compared.box), nan=-1)
        worst[method] = [f"{entries[i].path.name} {nme[i]:.1f} %" for i in np.argsort(-nme)[:5]]
    return worst


def _show(tables: list[tuple[str, str, Compared]], report: Report) -> None:
    rows, turned, curves, arrays = [], [], {}, {}
    for name, method, compared in tables:
        ok = compared.found
        over_eyes = [compared.nme(part, compared.eyes)[ok] for part in (_INNER, slice(68))]
        over_box = [compared.nme(part, compared.box)[ok] for part in (_INNER, slice(68))]
        profile = bool((np.abs(compared.yaw) > 60).any())  # outer eye corners meet there, so nothing is over them
        means = [float(e.mean()) if len(e) else float("nan") for e in (*over_eyes, *over_box)]
        median = float(np.median(over_eyes[0])) if len(over_eyes[0]) else float("nan")
        if profile:
            means[0] = means[1] = median = float("nan")
        failed = int((over_box[1] > FAILED).sum())
        rows.append((f"{name}, {method}", len(ok), int((~ok).sum()), median, *means, failed))
        for low, high in BINS:
            chosen = ok & (np.abs(compared.yaw) >= low) & ((np.abs(compared.yaw) < high) | (high == BINS[-1][1]))
            if chosen.any() and np.isfinite(compared.yaw).all():
                box = [float(compared.nme(part, compared.box)[chosen].mean()) for part in (_INNER, slice(68))]
                turned.append((f"{name}, {method}, {low}–{high}°", int(chosen.sum()), *box))
        curves[f"{name}, {method}"] = over_box[1]
        arrays[f"{name}/{method}/error"] = compared.error.astype(np.float32)
        arrays[f"{name}/yaw"], arrays[f"{name}/eyes"], arrays[f"{name}/box"] = compared.yaw, compared.eyes, compared.box
    columns = ("set, method", "photographs", "not found", "inner 51 median", "inner 51", "all 68", "inner 51, box",
               "all 68, box", f"> {FAILED:g} %")  # fmt: skip
    title = "landmarks: mean distance, % of the distance of the outer eye corners, and of the side of the box"
    report.table("sets", Table(title, columns, tuple(rows)))
    columns = ("set, method, yaw", "photographs", "inner 51, box", "all 68, box")
    report.table("yaw", Table("by yaw: % of the side of the box", columns, tuple(turned)))
    if report.out is not None:
        report.arrays(arrays | {"sets": strings([name for name, _, _ in tables])})
        save_curves(report.out / "landmarks.png", curves, 10.0, "mean distance of all 68, % of the side of the box")
