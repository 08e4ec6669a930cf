"""Real videos against MediaPipe's points and against a network that knows nothing of our head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from accuracy_bench import Bench, correlation

from model.head import HeadModel
from model.landmarks import HeadLandmarks
from tracker.fit.points import MEDIAPIPE
from tracker.observation import Observations
from tracker.track import Track
from tracker.video import open_video

MOVES = 0.1
"""Standard deviation over a clip from which a score of the judge counts as moving."""


def clips(bench: Bench) -> None:
    videos = sorted((bench.data / "video").glob("**/*.m[op][4v]"), key=lambda p: (p.parent.name != "video", p.name))
    task = bench.data / "nets" / "face_landmarker.task"
    if not videos or not task.is_file():
        print(f"  skipped: no videos or no {task}; give --data or set DECATRACK_DATA")
        return
    videos = [video for video in videos if video.stem != "no_face"][: bench.limit]
    print(
        f"  distance to the detector's inner points; correlations where the judge's score moves (deviation > {MOVES})"
    )
    print(f"  {'clip':34}{'distance':>9}{'jaw':>7}{'blinks':>8}{'gaze':>7}{'units':>7}  worst units")
    table = []
    for video in videos:
        seen, track = bench.observations(video), bench.track(video)
        distance = distance_to_detector(bench.head, seen, track)
        scores = judge(video, task, track)
        units = judged(track, scores)
        groups = {
            "jaw": [v for k, v in units.items() if k == "jawOpen"],
            "blinks": [v for k, v in units.items() if k.startswith("eyeBlink")],
            "gaze": [v for k, v in units.items() if k.startswith("eyeLook")],
            "units": list(units.values()),
        }
        row = {name: float(np.mean(values)) if values else np.nan for name, values in groups.items()}
        worst = sorted(units.items(), key=lambda item: item[1])[:3]
        figures = "".join(
            f"{row[name]:{width}.2f}" for name, width in (("jaw", 7), ("blinks", 8), ("gaze", 7), ("units", 7))
        )
        print(
            f"  {video.stem:34}{distance:7.2f} %{figures}  " + ", ".join(f"{k} {v:.2f}" for k, v in worst), flush=True
        )
        table.append((distance, *row.values()))
    columns = [[value for value in column if np.isfinite(value)] for column in zip(*table, strict=True)]
    distance, jaw, blinks, gaze, units = (float(np.mean(column)) if column else np.nan for column in columns)
    print(f"  {len(table)} clips; gaze {gaze:.2f}")
    bench.report.goal("clips: distance to the detector's inner points, mean", distance, 2.0, " %")
    bench.report.goal("clips: jaw, mean correlation", jaw, 0.9, "", True)
    bench.report.goal("clips: blinks, mean correlation", blinks, 0.8, "", True)
    bench.report.goal("clips: units that move, mean correlation", units, 0.65, "", True)


def distance_to_detector(head: HeadModel, seen: Observations, track: Track) -> float:
    """Mean over the valid frames, percent of the distance of the head's outer eye corners in space."""
    marks = HeadLandmarks(head).mediapipe478
    assert marks is not None
    rows = np.flatnonzero(track.valid)
    with torch.no_grad():
        points = marks(track.params(rows)).numpy()
    camera = track.camera[rows, None]
    eyes = camera[:, 0, 0] * np.linalg.norm(points[:, 33] - points[:, 263], axis=1)
    at = np.searchsorted(seen.frame, track.frame[rows])
    inner = MEDIAPIPE.index[MEDIAPIPE.inner]
    pixels = camera[..., :1] * points[:, inner, :2] * (1, -1) + camera[..., 1:]
    return float(100 * np.mean(np.linalg.norm(pixels - seen.of_scheme(at)[:, inner], axis=2).mean(1) / eyes))


def judge(video: Path, task: Path, track: Track) -> dict[str, np.ndarray]:
    """The judge's scores by name, one per row of the track, NaN where it sees no face.

    It looks at a fixed square around all of the track's boxes: in the whole picture it loses small faces.
    """
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    low, high = track.box[track.valid, :2].min(0), track.box[track.valid, 2:].max(0)
    centre, side = (low + high) / 2, 1.8 * float((high - low).max())
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task)),
        output_face_blendshapes=True,
        running_mode=vision.RunningMode.VIDEO,
    )
    wanted = {int(frame): row for row, frame in enumerate(track.frame)}
    scores: dict[str, np.ndarray] = {}
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        for frame in open_video(video):
            if frame.index not in wanted:
                continue
            corner = np.maximum(centre - side / 2, 0).astype(int)
            far = np.ceil(centre + side / 2).astype(int)
            image = np.ascontiguousarray(frame.image[corner[1] : far[1], corner[0] : far[0]])
            found = landmarker.detect_for_video(
                mp.Image(mp.ImageFormat.SRGB, image), round(frame.time * 1000) + frame.index
            )
            for category in found.face_blendshapes[0] if found.face_blendshapes else ():
                column = scores.setdefault(category.category_name, np.full(len(track), np.nan))
                column[wanted[frame.index]] = category.score
    return scores


def judged(track: Track, scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Correlation with each of the judge's scores that moves, where the head has such a unit."""
    units = our_units(track)
    result = {}
    for name, score in scores.items():
        rows = np.isfinite(score) & track.valid
        if name in units and rows.sum() > 10 and score[rows].std() > MOVES:
            result[name] = correlation(units[name][rows], score[rows])
    return result


def our_units(track: Track) -> dict[str, np.ndarray]:
    """The track in ARKit's names: jaw and gaze come from the joints, what ARKit does not split is averaged."""
    units = {name: track.expression[:, i] for i, name in enumerate(track.expression_names)}
    for name in list(units):
        whole = name.removesuffix("Left")
        if whole != name and whole + "Right" in units:
            units.setdefault(whole, (units[name] + units[whole + "Right"]) / 2)
    units["jawOpen"] = track.jaw[:, 0]
    for side, start, outwards in (("Left", 0, 1.0), ("Right", 3, -1.0)):
        down, aside = track.eyes[:, start], outwards * track.eyes[:, start + 1]
        units |= {f"eyeLookDown{side}": np.maximum(down, 0), f"eyeLookUp{side}": np.maximum(-down, 0)}
        units |= {f"eyeLookOut{side}": np.maximum(aside, 0), f"eyeLookIn{side}": np.maximum(-aside, 0)}
    return units
