"""Photographs with landmarks by hand: the fitted head's iBUG-68 against them. A section of `accuracy.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from accuracy_bench import Bench
from scipy.spatial.transform import Rotation

from model.head import HeadModel
from model.landmarks import HeadLandmarks
from tracker.detect import open_detector
from tracker.fit import FaceFit
from tracker.image import read_image
from tracker.network import track_photos
from tracker.observation import MEDIAPIPE_OF_IBUG, Detection, Frame


@dataclass(frozen=True)
class Photos:
    """Photographs in which the annotated face was found: what the detector says of it, and the annotation, px."""

    names: list[str]
    images: list[np.ndarray]
    faces: list[Detection]
    annotated: np.ndarray


def photos(bench: Bench) -> None:
    if not (bench.data / "landmarks.npz").is_file():
        print(f"  skipped: no {bench.data / 'landmarks.npz'}; give --data or set DECATRACK_DATA")
        return
    for name in ("helen_test", "afw", "aflw2000"):
        found = find_photos(bench, name)
        points = np.stack([face.points for face in found.faces])
        fit = track_photos(found.images, found.faces, bench.head, bench.network, bench.config.fit)
        fixed = name == "aflw2000"  # its annotations lie on the surface, behind the face too; others follow the outline
        eyes = np.linalg.norm(found.annotated[:, 36] - found.annotated[:, 45], axis=1)
        ours = np.linalg.norm(marks68(bench.head, fit, fixed) - found.annotated, axis=2)
        theirs = np.linalg.norm(points[:, MEDIAPIPE_OF_IBUG] - found.annotated, axis=2)
        if fixed:
            by_yaw(fit, ours, theirs, found.annotated)
            continue
        ours, theirs = 100 * ours / eyes[:, None], 100 * theirs / eyes[:, None]
        for what, error in (("the fitted head", ours), ("MediaPipe's own points", theirs)):
            inner, whole = error[:, 17:].mean(1), error.mean(1)
            print(
                f"  {name}, {what}: inner 51 {inner.mean():.2f} % (median {np.median(inner):.2f}), "
                f"all 68 {whole.mean():.2f} % (median {np.median(whole):.2f})"
            )
        parts = {"outline": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}
        print("    " + ", ".join(f"{part} {ours[:, a:b].mean():.2f} %" for part, (a, b) in parts.items()))
        worst = np.argsort(-ours[:, 17:].mean(1))[:3]
        print("    worst: " + ", ".join(f"{found.names[i]} {ours[i, 17:].mean():.1f} %" for i in worst))
        if name == "helen_test":
            goal = 3.6 if bench.network is None else 3.5 if bench.config.fit.landmarks else 6.0
            bench.report.goal("photos: helen_test, inner 51, mean", float(ours[:, 17:].mean()), goal, " %")


def by_yaw(fit: FaceFit, ours: np.ndarray, theirs: np.ndarray, annotated: np.ndarray) -> None:
    """In profile the eye corners meet, so the distances are over the side of the annotations' box."""
    box = 100 / np.sqrt(np.prod(annotated.max(1) - annotated.min(1), axis=1))[:, None]
    facing = Rotation.from_rotvec(fit.pose).apply([0.0, 0.0, 1.0])
    yaw = np.abs(np.rad2deg(np.arctan2(facing[:, 0], facing[:, 2])))
    print("  aflw2000, mean over the side of the box (yaw of the fitted head):")
    for low, high in ((0, 30), (30, 60), (60, 180)):
        rows = (yaw >= low) & (yaw < high)
        if rows.any():
            figures = [(box * e)[rows][:, part].mean() for e in (ours, theirs) for part in (slice(17, 68), slice(68))]
            print(
                f"    {low:2}–{min(high, 90)}°, {rows.sum():3} faces: inner 51 {figures[0]:.2f} %, "
                f"all 68 {figures[1]:.2f} %; MediaPipe's own points {figures[2]:.2f} %, {figures[3]:.2f} %"
            )


def find_photos(bench: Bench, name: str) -> Photos:
    """The detector on every photograph; of the faces that it finds, the one that lies on the annotation."""
    with np.load(bench.data / "landmarks.npz") as marks:
        keys = [key for key in marks.files if key.startswith(f"eval|{name}|")][: bench.limit]
        annotated = np.stack([marks[key] for key in keys])
    images, found, names, kept = [], [], [], []
    with open_detector("mediapipe", faces=8, static=True) as detector:
        for i, key in enumerate(keys):
            image = read_image(bench.data / key.replace("|", "/"))
            faces = detector.detect(Frame(i, 0.0, image))
            misses = [misplaced(face.points, annotated[i]) for face in faces]
            if misses and min(misses) < 0.5:
                found.append(faces[int(np.argmin(misses))])
                images.append(image)
                names.append(key.split("|")[-1])
                kept.append(i)
    print(f"  {name}: {len(kept)} of {len(keys)} annotated faces found")
    return Photos(names, images, found, annotated[kept])


def misplaced(face: np.ndarray, annotated: np.ndarray) -> float:
    """Distance of the boxes' centres and difference of their sizes, over the annotation's size."""
    (a0, a1), (b0, b1) = (face.min(0), face.max(0)), (annotated.min(0), annotated.max(0))
    size = np.sqrt(np.prod(b1 - b0))
    apart = np.linalg.norm((a0 + a1) / 2 - (b0 + b1) / 2) / size
    return float(apart + 0.5 * abs(np.log(np.sqrt(np.prod(a1 - a0)) / size)))


def marks68(head: HeadModel, fit: FaceFit, fixed: bool) -> np.ndarray:
    """iBUG-68 of fitted heads, px: the outline as it is seen, or points fixed on the surface."""
    marks = HeadLandmarks(head)
    params = replace(
        head.neutral(len(fit.pose)),
        **{
            name: torch.from_numpy(getattr(fit, name))
            for name in ("shape", "expression", "pose", "neck", "jaw", "eyes")
        },
    )
    with torch.no_grad():
        points = (marks.full68(params) if fixed else marks.ibug68(params)).numpy()[..., :2]
    return fit.camera[:, None, :1] * points * (1, -1) + fit.camera[:, None, 1:]
