"""What the protocols on scans (NoW, Stirling) share: pictures to heads, heads against scans, tables and curves."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tracker.command import Parser
from tracker.image import read_image
from tracker.progress import Progress
from training.evaluate.curve import POINTS, cumulative, save_curves
from training.evaluate.estimate import BATCH, Estimator, Mean, Network, Photo, neutral_heads, photo_of
from training.evaluate.faces import Finder, crop_around
from training.evaluate.meshes import UNITS, read_head, read_scan
from training.evaluate.options import add_estimators, estimators_of
from training.evaluate.report import Report, Table, statistics, strings
from training.evaluate.scan import Comparison, Head, Scan, compare

BAD_LANDMARKS = 10.0
"""Millimetres between aligned landmarks from which they are taken to be wrong, and the report says so."""


@dataclass(frozen=True)
class Item:
    """A picture and the scan of its person.

    Attributes:
        name: path of the picture relative to the pictures' folder, without suffix; predictions are named alike.
        group: the challenge (NoW) or quality (Stirling).
        gender: ``F``, ``M`` or empty.
        picture: the file.
        points: around the face in the picture, px: 68 landmarks' corners or so; None where nothing is known.
        scan, landmarks: files of the scan.
    """

    name: str
    group: str
    gender: str
    picture: Path
    points: Float[np.ndarray, "N 2"] | None
    scan: Path
    landmarks: Path


@dataclass(frozen=True)
class Rules:
    """How a protocol measures.

    Attributes:
        radius: of the face area, see `training.evaluate.scan.face_area`.
        scaled: whether heads may be scaled.
        refined: whether the alignment is refined by distances.
        limit: end of the curves' axis, mm.
    """

    radius: float
    scaled: bool
    refined: bool
    limit: float = 7.0


@dataclass
class Measured:
    """Distances of one method, per picture, mm.

    Attributes:
        missing: pictures without a result (no face found, no prediction).
        suspicious: pictures whose seven landmarks do not fit the scan's.
    """

    method: str
    items: list[Item] = field(default_factory=list)
    distances: list[np.ndarray] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    suspicious: list[str] = field(default_factory=list)

    def of(self, chosen: Callable[[Item], bool]) -> list[np.ndarray]:
        """Distances of the pictures that are chosen."""
        return [distance for item, distance in zip(self.items, self.distances, strict=True) if chosen(item)]


Source = Callable[[Sequence[Item]], list[Head | None]]
"""Pictures to heads, millimetres (or any unit, where the rules scale); None where there is none."""


def add_sources(parser: Parser) -> None:
    """Options that name what is judged."""
    add_estimators(parser)
    parser.add_argument("--predictions", action="append", default=[], metavar="DIR", help="meshes made elsewhere")
    parser.add_argument("--unit", choices=tuple(UNITS), default="mm", help="of --predictions (default: mm)")


def judge(items: Sequence[Item], options: Namespace, rules: Rules, report: Report, title: str) -> None:
    """Everything that the options name, on all pictures.

    Raises:
        ValueError: nothing is named, or a file is missing or damaged.
    """
    with ExitStack() as stack:
        sources: dict[str, Source] = {}
        estimators = estimators_of(options, bool(options.predictions))
        if estimators:
            finder = stack.enter_context(Finder())
            sources |= {estimator.name: from_estimator(estimator, finder) for estimator in estimators}
        sources |= {Path(folder).name: from_folder(Path(folder), options.unit) for folder in options.predictions}
        results = measure(items, sources, rules, report.name)
    show(results, rules, report, title)


def from_estimator(estimator: Estimator, finder: Finder) -> Source:
    """Heads of the estimated identity with expression and pose zero."""

    def heads(items: Sequence[Item]) -> list[Head | None]:
        photos = [_photo(item, estimator, finder) for item in items]
        found = [photo for photo in photos if photo is not None]
        made = iter(neutral_heads(estimator.head, estimator(found).face.shape) if found else [])
        return [None if photo is None else next(made) for photo in photos]

    if isinstance(estimator, Mean):
        mean = neutral_heads(estimator.head, estimator.head.neutral(1).shape)[0]
        return lambda items: [mean] * len(items)
    return heads


def _photo(item: Item, estimator: Estimator, finder: Finder) -> Photo | None:
    image = read_image(item.picture)
    if item.points is not None and isinstance(estimator, Network):
        return Photo(image, None, crop_around(item.points))
    face = finder.find(image, item.points)
    return None if face is None else photo_of(image, face)


def from_folder(folder: Path, unit: str) -> Source:
    """Predictions made elsewhere: beside each other ``NAME.obj`` or ``.ply`` and ``NAME.npy`` or ``.txt``.

    Raises:
        ValueError: no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"--predictions {folder}: no such folder")

    def head(item: Item) -> Head | None:
        mesh, landmarks = (_first(folder, item.name, suffixes) for suffixes in ((".obj", ".ply"), (".npy", ".txt")))
        if mesh is None:
            return None
        if landmarks is None:
            raise ValueError(f"{mesh}: without landmarks; put the seven points beside it as .npy or .txt")
        return read_head(mesh, landmarks, unit)

    return lambda items: [head(item) for item in items]


def _first(folder: Path, name: str, suffixes: tuple[str, ...]) -> Path | None:
    return next((path for suffix in suffixes if (path := folder / f"{name}{suffix}").is_file()), None)


def measure(items: Sequence[Item], sources: dict[str, Source], rules: Rules, name: str) -> list[Measured]:
    """Every method on every picture. Pictures of one scan must stand together, so that it is read once.

    Raises:
        ValueError: a file is missing or damaged.
    """
    results = [Measured(method) for method in sources]
    done = 0
    with Progress(name) as progress:
        for (scan_path, landmarks), group in groupby(items, key=lambda item: (item.scan, item.landmarks)):
            scan = read_scan(scan_path, landmarks)
            for batch in _batches(list(group)):
                for result, source in zip(results, sources.values(), strict=True):
                    _measure_batch(result, scan, batch, source(batch), rules)
                done += len(batch)
                progress("pictures", done, len(items))
    return results


def _measure_batch(
    result: Measured, scan: Scan, batch: Sequence[Item], heads: Sequence[Head | None], rules: Rules
) -> None:
    last: tuple[Head, Comparison] | None = None  # the mean head is one head for all pictures
    for item, head in zip(batch, heads, strict=True):
        if head is None:
            result.missing.append(item.name)
            continue
        if last is None or last[0] is not head:
            try:
                compared = compare(scan, head, radius=rules.radius, scaled=rules.scaled, refined=rules.refined)
            except ValueError as error:
                raise ValueError(f"{item.scan}: {error}") from None
            last = head, compared
        comparison = last[1]
        result.items.append(item)
        result.distances.append(comparison.distance.astype(np.float32))
        result.scales.append(comparison.T_scan_head.scale)
        if comparison.landmark_error > BAD_LANDMARKS:
            result.suspicious.append(item.name)


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def show(results: Sequence[Measured], rules: Rules, report: Report, title: str) -> None:
    """Tables per group and per gender, curves and arrays.

    Median, mean and standard deviation are over all distances of all pictures together; RMSE is per picture, then
    averaged.
    """
    columns = ("method", "pictures", "missing", "median", "mean", "std", "RMSE")

    def table(chosen: Callable[[Item], bool], label: str, missing: bool) -> Table:
        rows = []
        for result in results:
            distances = result.of(chosen)
            pooled = np.concatenate(distances) if distances else np.zeros(0)
            rmse = np.mean([np.sqrt(np.mean(np.square(d))) for d in distances]) if distances else float("nan")
            lost = len(result.missing) if missing else "–"
            rows.append((result.method, len(distances), lost, *statistics(pooled), float(rmse)))
        return Table(f"{title}, {label}: distance from scan to mesh, mm", columns, tuple(rows))

    items = {item.name: item for result in results for item in result.items}.values()
    report.table("all", table(lambda item: True, "all", True))
    for group in sorted({item.group for item in items}):
        report.table(group, table(lambda item, group=group: item.group == group, group, False))
    for gender, word in (("F", "women"), ("M", "men")):
        if any(item.gender == gender for item in items):
            report.table(word, table(lambda item, gender=gender: item.gender == gender, word, False))
    for result in results:
        for what, names in (("no result", result.missing), ("landmarks do not fit", result.suspicious)):
            if names:
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                report.note(f"{result.method}: {what}", names, f"{result.method}: {what}: {', '.join(names[:5])}{more}")
    _write(results, rules, report, title)


def _write(results: Sequence[Measured], rules: Rules, report: Report, title: str) -> None:
    if report.out is None:
        return
    arrays: dict[str, np.ndarray] = {"error": np.linspace(0, rules.limit, POINTS)}
    curves = {}
    for result in results:
        pooled = np.concatenate(result.distances) if result.distances else np.zeros(0, np.float32)
        curves[result.method] = pooled
        arrays[f"{result.method}/cumulative"] = cumulative(pooled, rules.limit)[1]
        arrays[f"{result.method}/names"] = strings([item.name for item in result.items])
        arrays[f"{result.method}/scale"] = np.array(result.scales)
        per_picture = [statistics(distance) for distance in result.distances]
        arrays[f"{result.method}/median_mean_std"] = np.array(per_picture).reshape(-1, 3)
    report.arrays(arrays)
    save_curves(report.out / f"{report.name}.png", curves, rules.limit, "distance from scan to mesh, mm", title)
