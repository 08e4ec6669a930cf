"""The photographs of the calibration: which ones, what the detector sees on them, and their annotations."""

from __future__ import annotations

import csv
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from tracker.detect import Detector
from tracker.image import read_image
from tracker.observation import Frame

_SAVE_EVERY = 25


@dataclass(frozen=True)
class Photographs:
    """Photographs with a face, as the detector and, where they did, annotators saw it.

    Attributes:
        paths: relative to the folder of the data.
        learn: for calibration; the others, of other people, check it.
        points: MediaPipe's, px.
        annotated: iBUG-68 by hand, px; NaN where there are none.
    """

    paths: tuple[str, ...]
    learn: Bool[np.ndarray, " N"]
    points: Float[np.ndarray, "N 478 2"]
    annotated: Float[np.ndarray, "N 68 2"]


def choose(folder: Path, *, seed: int, studio: int, annotated: int, wild: int) -> list[tuple[str, str]]:
    """A reproducible choice of the training photographs: paths and whose face each shows (or the path itself).

    Args:
        folder: holds ``manifest.tsv``.
        studio: how many people of the London set, neutral and smiling.
        annotated: how many photographs of HELEN's training set.
        wild: how many people of LFW.

    Raises:
        ValueError: there is no manifest, or it has none of these sets.
    """
    manifest = folder / "manifest.tsv"
    if not manifest.is_file():
        raise ValueError(f"--photos {folder}: no manifest.tsv there; give the folder of the data")
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["path"].startswith("train/")]
    people: dict[str, dict[str, list[str]]] = {"studio": {}, "annotated": {}, "wild": {}}
    kinds = {
        "webmorph_neutral_front": "studio",
        "webmorph_smiling_front": "studio",
        "helen_train": "annotated",
        "lfw_deepfunneled": "wild",
    }
    for row in rows:
        if row["set"] in kinds:
            person = row["identity"] or row["path"]
            people[kinds[row["set"]]].setdefault(person, []).append(row["path"])
    if not people["studio"] or not people["annotated"]:
        raise ValueError(f"--photos {folder}: the manifest has no webmorph_neutral_front or no helen_train photographs")
    chosen: list[tuple[str, str]] = []
    for kind, count in (("studio", studio), ("annotated", annotated), ("wild", wild)):
        # Not by a generator: a photograph more or less would change all the others.
        ranked = sorted(people[kind], key=lambda person: zlib.crc32(f"{seed} {person}".encode()))
        for person in ranked[:count]:
            chosen += [(path, person) for path in people[kind][person][: 2 if kind == "studio" else 1]]
    return chosen


def observe(folder: Path, chosen: list[tuple[str, str]], detector: Detector, keep: Path | None = None) -> Photographs:
    """Detect the face on every photograph; those without one are left out.

    Every third person is for checking.

    Args:
        keep: where detections are kept, and from where an interrupted run goes on.
    """
    known: dict[str, np.ndarray] = {}
    if keep is not None and keep.is_file():
        with np.load(keep, allow_pickle=False) as arrays:
            known = dict(zip(arrays["paths"].tolist(), arrays["points"], strict=True))
    with np.load(folder / "landmarks.npz", allow_pickle=False) as arrays:
        annotations = {
            path: arrays[path.replace("/", "|")] for path, _ in chosen if path.replace("/", "|") in arrays.files
        }
    by_hand = {path: points.astype(float) for path, points in annotations.items() if len(points) == 68}
    missing = [path for path, _ in chosen if path not in known]
    for count, path in enumerate(tqdm(missing, desc="photographs", unit="photo", disable=not missing), 1):
        known[path] = _points(folder / path, detector, by_hand.get(path))
        if keep is not None and (count % _SAVE_EVERY == 0 or count == len(missing)):
            temporary = keep.with_name(f".{os.getpid()}.{keep.name}")
            np.savez_compressed(temporary, paths=np.array(list(known)), points=np.stack(list(known.values())))
            os.replace(temporary, keep)
    found = [(path, person) for path, person in chosen if np.isfinite(known[path]).all()]
    nothing = np.full((68, 2), np.nan)
    return Photographs(
        paths=tuple(path for path, _ in found),
        learn=np.array([zlib.crc32(person.encode()) % 3 != 0 for _, person in found]),
        points=np.stack([known[path] for path, _ in found]).astype(float),
        annotated=np.stack([by_hand.get(path, nothing) for path, _ in found]),
    )


def _points(path: Path, detector: Detector, annotated: Float[np.ndarray, "68 2"] | None) -> Float[np.ndarray, "478 2"]:
    """MediaPipe's points of the largest face, or of the annotated one; NaN where there is none."""
    found = detector.detect(Frame(0, 0.0, read_image(path)))
    if annotated is not None:
        size = np.linalg.norm(np.ptp(annotated, axis=0))
        middle = annotated[17:].mean(axis=0)
        found = [face for face in found if np.linalg.norm(face.points[:468].mean(axis=0) - middle) < 0.25 * size]
    return found[0].points.astype(float) if found else np.full((478, 2), np.nan)
