"""How right the tracker is: ``python tests/benchmarks/accuracy.py [rendered] [photos] [clips] [smoothing]``.

rendered    rendered clips of openhead with known parameters, several people: pose, jaw, expression, gaze.
photos      photographs with landmarks by hand: the fitted head's iBUG-68 against them.
clips       real videos: distance to the detector's own points, and correlation over time with the blend-shape scores of
            MediaPipe's Face Landmarker, a network that knows nothing of our head.
smoothing   the astronaut clip, whose motion is known: what smoothing takes of the error, and the lag.

Without names all four run. `photos` and `clips` need the development data (--data, or DECATRACK_DATA; ../shared/data by
default) and are skipped, saying so, where it is absent. Every goal is printed with its figure; exit status 1 if one is
missed. All distances in percent are over the distance of the outer eye corners unless a table says otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "3")

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from model.head import HeadModel
from model.landmarks import HeadLandmarks
from tracker.config import TrackConfig
from tracker.detect import open_detector
from tracker.fit import FaceFit, fit_photos
from tracker.fit.points import MEDIAPIPE
from tracker.image import read_image
from tracker.observation import MEDIAPIPE_OF_IBUG, Frame, Observations
from tracker.pipeline import detection_settings, load_model, observe, track_video
from tracker.resume import DetectionStore
from tracker.smooth import SmoothConfig
from tracker.track import Track
from tracker.video import open_video

ROOT = Path(__file__).resolve().parents[2]
MOVES = 0.1
"""Standard deviation over a clip from which a score of the judge counts as moving."""
SLOW_HZ = 2.0
"""Slower errors than this are the detector's bias, which follows the pose; no smoother can know of them."""
PEOPLE = 5
"""Who perform in the rendered clips."""
MOVES_IN_TRUTH = 0.05
"""The same for the known units of the rendered clips."""


@dataclass
class Report:
    """Prints figures and remembers the goals that were missed."""

    missed: list[str] = field(default_factory=list)
    checked: int = 0

    def goal(self, what: str, value: float, bound: float, unit: str = "", at_least: bool = False) -> None:
        met = value >= bound if at_least else value <= bound
        self.checked += 1
        sign = "≥" if at_least else "≤"
        print(f"  {'pass' if met else 'FAIL'}  {what}: {value:.3g}{unit} (goal {sign} {bound:g}{unit})", flush=True)
        if not met:
            self.missed.append(what)


@dataclass(frozen=True)
class Bench:
    """What all sections share."""

    report: Report
    config: TrackConfig
    head: HeadModel
    data: Path
    folder: Path
    limit: int | None

    def track(self, video: Path, config: TrackConfig | None = None) -> Track:
        """The whole tracker on a video; its detections are kept, so that a second run of it only fits."""
        config = config or self.config
        return track_video(open_video(video), config, store=self.store(video, config))

    def observations(self, video: Path) -> Observations:
        """What the detector saw of the longest face."""
        with open_detector(self.config.detector, faces=self.config.most_faces, dither=True) as detector:
            return observe(open_video(video), detector, self.config, store=self.store(video, self.config))[0]

    def store(self, video: Path, config: TrackConfig) -> DetectionStore:
        return DetectionStore.beside(self.folder / video.stem, video, detection_settings(config))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """0 where one of them does not move at all."""
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


@dataclass(frozen=True)
class Performance:
    """How well one rendered person's performance was read.

    Attributes:
        pose: error of every frame, degrees.
        jaw: correlation of its opening.
        units: correlation by unit, of those that move.
        gaze: correlation of the left eye down and aside, of the right eye down and aside.
        shut: what each blink unit reads where the lid is shut (1).
    """

    pose: np.ndarray
    jaw: float
    units: dict[str, float]
    gaze: list[float]
    shut: dict[str, float]


def rendered(bench: Bench) -> None:
    """Several people give the same performance: one person alone can be luck."""
    read = [perform(bench, person) for person in range(PEOPLE)]
    for person, one in enumerate(read):
        worst = sorted(one.units.items(), key=lambda item: item[1])[:4]
        print(
            f"  person {person}: pose {np.median(one.pose):.2f}° (worst {one.pose.max():.1f}°), jaw {one.jaw:.3f}, "
            f"units {np.mean(list(one.units.values())):.3f}, shut lids {np.mean(list(one.shut.values())):.2f}; "
            "gaze down {:.2f}, aside {:.2f}, down {:.2f}, aside {:.2f}; ".format(*one.gaze)
            + ", ".join(f"{name} {value:.2f}" for name, value in worst)
        )
    units = {name: float(np.mean([one.units[name] for one in read])) for name in read[0].units}
    print("  units:", ", ".join(f"{name} {value:.2f}" for name, value in sorted(units.items(), key=lambda x: x[1])))
    pose, jaw = float(np.mean([np.median(one.pose) for one in read])), float(np.mean([one.jaw for one in read]))
    bench.report.goal(f"rendered: pose error, median, mean of {PEOPLE} people", pose, 2.0, "°")
    bench.report.goal("rendered: jaw opening, correlation", jaw, 0.97, "", True)
    bench.report.goal(
        f"rendered: {len(units)} units that move, mean", float(np.mean(list(units.values()))), 0.85, "", True
    )


def perform(bench: Bench, person: int) -> Performance:
    """Render a person's performance, track it, and compare."""
    from training.clips import write_openhead

    path = bench.folder / f"openhead{person}.mp4"
    truth = write_openhead(path, bench.head.asset, seed=person)
    track = bench.track(path)
    rows = track.frame
    known = {name: getattr(truth.params, name).numpy()[rows] for name in ("expression", "pose", "jaw", "eyes")}
    turned = Rotation.from_rotvec(track.pose) * Rotation.from_rotvec(known["pose"]).inv()
    names, expression = track.expression_names, known["expression"]
    moving = np.flatnonzero(expression.std(0) > MOVES_IN_TRUTH)
    blinks = [i for i in moving if "Blink" in names[i]]
    return Performance(
        pose=np.rad2deg(turned.magnitude()),
        jaw=correlation(track.jaw[:, 0], known["jaw"][:, 0]),
        units={names[i]: correlation(track.expression[:, i], expression[:, i]) for i in moving},
        gaze=[correlation(track.eyes[:, i], known["eyes"][:, i]) for i in (0, 1, 3, 4)],
        shut={names[i]: float(track.expression[expression[:, i] > 0.9, i].mean()) for i in blinks},
    )


@dataclass(frozen=True)
class Photos:
    """Photographs in which the annotated face was found: points of the detector and of the annotation, px."""

    names: list[str]
    points: np.ndarray
    annotated: np.ndarray


def photos(bench: Bench) -> None:
    if not (bench.data / "landmarks.npz").is_file():
        print(f"  skipped: no {bench.data / 'landmarks.npz'}; give --data or set DECATRACK_DATA")
        return
    for name in ("helen_test", "afw", "aflw2000"):
        found = find_photos(bench, name)
        fit = fit_photos(found.points, "mediapipe478", bench.head, bench.config.fit)
        fixed = name == "aflw2000"  # its annotations lie on the surface, behind the face too; others follow the outline
        eyes = np.linalg.norm(found.annotated[:, 36] - found.annotated[:, 45], axis=1)
        ours = np.linalg.norm(marks68(bench.head, fit, fixed) - found.annotated, axis=2)
        theirs = np.linalg.norm(found.points[:, MEDIAPIPE_OF_IBUG] - found.annotated, axis=2)
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
            bench.report.goal("photos: helen_test, inner 51, mean", float(ours[:, 17:].mean()), 3.6, " %")


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
    points, names, kept = [], [], []
    with open_detector("mediapipe", faces=8, static=True) as detector:
        for i, key in enumerate(keys):
            image = read_image(bench.data / key.replace("|", "/"))
            faces = [face.points for face in detector.detect(Frame(i, 0.0, image))]
            misses = [misplaced(face, annotated[i]) for face in faces]
            if misses and min(misses) < 0.5:
                points.append(faces[int(np.argmin(misses))])
                names.append(key.split("|")[-1])
                kept.append(i)
    print(f"  {name}: {len(kept)} of {len(keys)} annotated faces found")
    return Photos(names, np.stack(points), annotated[kept])


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


def smoothing(bench: Bench) -> None:
    from training.clips import write_astronaut

    path = bench.folder / "astronaut.mp4"
    truth = write_astronaut(path)
    errors = {}
    for method in ("none", "kalman", "causal"):
        track = bench.track(path, replace(bench.config, smooth=SmoothConfig(method)))
        T = truth.T_frame_from_photo[track.frame]
        A, shift = T[:, :, :2], T[:, None, :, 2]
        # The photograph does not change, so in it the landmarks stand still: where, the track's own mean says.
        still = (np.linalg.inv(A)[:, None] @ (track.landmarks - shift)[..., None])[..., 0].mean(0)
        true = (A[:, None] @ still[None, :, :, None])[..., 0] + shift
        error = track.landmarks - true
        quick = error - gaussian_filter1d(error, track.fps / (2 * np.pi * SLOW_HZ), axis=0)
        errors[method] = [float(np.sqrt(np.mean(np.sum(part**2, axis=2)))) for part in (error, quick)]
        late = [lag(track.landmarks[:, :, axis].mean(1), true[:, :, axis].mean(1)) for axis in (0, 1)]
        less = [100 * (1 - now / before) for now, before in zip(errors[method], errors["none"], strict=True)]
        print(
            f"  {method}: RMS error {errors[method][0]:.3f} px ({less[0]:.0f} % less), "
            f"of it quicker than {SLOW_HZ:g} Hz {errors[method][1]:.3f} px ({less[1]:.0f} % less); "
            f"lag {late[0]:+.2f}, {late[1]:+.2f} frames"
        )
        if method != "none":
            bench.report.goal(f"smoothing: lag of {method}, frames", max(map(abs, late)), 0.5)
        if method == "kalman":
            bench.report.goal("smoothing: RMS error less by", less[0], 40, " %", True)


def lag(moved: np.ndarray, truth: np.ndarray) -> float:
    """By how many frames `moved` comes later: peak of the normalised cross-correlation, to a fraction of a frame."""
    shifts, middle = np.arange(-6, 7), slice(10, len(truth) - 10)
    c = [np.corrcoef(np.roll(moved, -k)[middle], truth[middle])[0, 1] for k in shifts]
    i = int(np.clip(np.argmax(c), 1, len(c) - 2))
    return float(shifts[i] + 0.5 * (c[i - 1] - c[i + 1]) / (c[i - 1] - 2 * c[i] + c[i + 1]))


SECTIONS = {"rendered": rendered, "photos": photos, "clips": clips, "smoothing": smoothing}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"some of: {', '.join(SECTIONS)}; all by default"
    )
    default = os.environ.get("DECATRACK_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default), help="development data (default: %(default)s)")
    parser.add_argument("--head", default="openhead", help="openhead, or the path of a head")
    parser.add_argument("--limit", type=int, help="photographs of a set, and clips, at most")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - SECTIONS.keys()
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    config = TrackConfig(head=arguments.head)
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(report, config, load_model(config), arguments.data, Path(folder), arguments.limit)
        for name in arguments.sections or SECTIONS:
            print(f"{name}:", flush=True)
            SECTIONS[name](bench)
    missed = f"; missed: {', '.join(report.missed)}" if report.missed else ""
    print(f"{report.checked - len(report.missed)} of {report.checked} goals met{missed}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
