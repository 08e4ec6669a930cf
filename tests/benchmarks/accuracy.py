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
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "3")

import numpy as np
from accuracy_bench import Bench, Report, correlation
from accuracy_clips import clips
from accuracy_photos import photos
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from tracker.config import TrackConfig
from tracker.fit import FitConfig
from tracker.network import open_network
from tracker.pipeline import load_model
from tracker.smooth import SmoothConfig

ROOT = Path(__file__).resolve().parents[2]
SLOW_HZ = 2.0
"""Slower errors than this are the detector's bias, which follows the pose; no smoother can know of them."""
PEOPLE = 5
"""Who perform in the rendered clips."""
MOVES_IN_TRUTH = 0.05
"""Standard deviation from which a unit of the rendered clips counts as moving."""


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
    parser.add_argument("--weights", default="embedded", help="as `track` takes them: embedded, open, none or a file")
    parser.add_argument("--no-fit", action="store_true", help="the network alone")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - SECTIONS.keys()
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    config = TrackConfig(arguments.head, arguments.weights, fit=FitConfig(landmarks=not arguments.no_fit))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        head = load_model(config)
        network = open_network(config.weights, head)
        print(
            f"{'landmark fit alone' if network is None else 'network alone' if arguments.no_fit else 'network and fit'}"
        )
        bench = Bench(report, config, head, network, arguments.data, Path(folder), arguments.limit)
        for name in arguments.sections or SECTIONS:
            print(f"{name}:", flush=True)
            SECTIONS[name](bench)
    missed = f"; missed: {', '.join(report.missed)}" if report.missed else ""
    print(f"{report.checked - len(report.missed)} of {report.checked} goals met{missed}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
