"""Errors by skin tone, or by any group that you know of your photographs (age, sex): who is served worse?

  python -m training.evaluate skin ../shared/data --set helen_test --set afw --fit --track
  python -m training.evaluate skin PHOTOS --groups ages.tsv --fit
  python -m training.evaluate skin shards/unseen --weights deca.safetensors

Photographs with 68 landmarks as for `landmarks`. The tone is read off the photograph: median colour of the pixels that
the face parser calls skin, as individual typology angle, ITA = atan2(L* − 50, b*) in degrees (Chardon et al. 1991), in
the six classes of Del Bino et al. 2013. That is skin *and* light: a light skin in the shade counts as dark. With
--groups, a file with a line `PATH<tab>GROUP` per photograph, its groups take the place of the classes.

Shards of rendered faces (python -m training.synthetic) have a tone that is known and a light that does not depend on
it: there the network is judged by the albedo direction `tone`, in standard deviations.
"""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from model.head import HeadModel
from model.io.assets import load_head
from model.io.parsing import load_parser
from model.openhead.learned import LEARNED_NAMES
from model.params import Camera, FaceParams
from model.parsing import Part
from tracker.encode import cut
from tracker.fit import FitConfig
from tracker.image import read_image
from tracker.network import Network, open_network, track_photos
from tracker.progress import Progress
from training.evaluate.annotations import Annotated, find_annotated
from training.evaluate.batches import open_faces
from training.evaluate.codes import compare_codes, estimate, labelled
from training.evaluate.estimate import Estimate, Photo
from training.evaluate.estimate import Network as Judged
from training.evaluate.faces import Finder, crop_around, tensor
from training.evaluate.landmarks import Compared, measure
from training.evaluate.options import add_estimators, estimators_of, folder_of, parser_of
from training.evaluate.report import Report, Table, strings

Parse = Callable[[torch.Tensor], torch.Tensor]
"""As `model.parsing.Parser`."""
CLASSES = (
    ("very light", 55.0),
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -90.0),
)
"""Classes of ITA, degrees: name and lower end."""
UNKNOWN = "no skin, or no colour"
COLOUR = 0.04
"""Least difference of the skin's channels; below it a photograph is taken for black and white."""
TONES = (("darkest, below −1 σ", -1.0), ("dark, −1 to 0", 0.0), ("light, 0 to 1", 1.0), ("lightest, above 1 σ", np.inf))
"""Groups of the albedo direction `tone`: name and upper end."""
SURE = 0.8
"""Probability from which a pixel is taken for skin."""
LEAST = 200
"""Pixels of skin, of `SIDE`², from which its colour is trusted."""
SIDE = 128
DRAWS = 2000
"""Resamplings of the photographs of a group for the interval of its mean."""
_INNER = slice(17, 68)
_COLUMNS = ("faces", "not found", "mean", "95 % from", "to", "median")


class Tracked:
    """What `track` does with a photograph: network and fit."""

    def __init__(self, network: Network, head: HeadModel, name: str = "network and fit") -> None:
        self.name, self.head, self._network = name, head, network

    def __call__(self, photos: Sequence[Photo]) -> Estimate:
        """One row per photograph, each of which shows a detected face."""
        faces = [photo.face for photo in photos if photo.face is not None]
        assert len(faces) == len(photos)
        fit = track_photos([photo.image for photo in photos], faces, self.head, self._network, FitConfig())
        names = ("shape", "expression", "pose", "neck", "jaw", "eyes")
        camera = torch.from_numpy(fit.camera).float()
        codes = FaceParams(**{name: torch.from_numpy(getattr(fit, name)).float() for name in names})
        return Estimate(codes, Camera(camera[:, 0], camera[:, 1:]))


@dataclass(frozen=True)
class Rated:
    """A photograph and the group that it counts in.

    Attributes:
        entry: with its annotation.
        group: class of skin tone, or what the user's file says.
        angle: ITA, degrees; NaN where no skin was seen.
    """

    entry: Annotated
    group: str
    angle: float


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("skin", __doc__)
    parser.add_argument("folder", metavar="FOLDER", help="annotated photographs")
    add_estimators(parser, mean=False)
    parser.add_argument("--track", action="store_true", help="the network that comes with the package, and the fit")
    parser.add_argument("--set", action="append", default=[], metavar="NAME", dest="sets", help="only these sets")
    parser.add_argument("--limit", type=int, metavar="N", help="photographs of a set, at most, spread over it")
    parser.add_argument("--groups", type=Path, metavar="FILE.tsv", help="lines PATH<tab>GROUP, in place of skin tones")
    parser.add_argument("--faces", type=int, default=500, metavar="N", help="of shards, at most (default: 500)")
    options = parser.parse(argv)
    if (Path(options.folder) / "meta.json").is_file():
        return rendered(options)
    annotated = find_annotated(folder_of(options), options.sets)
    groups = None if options.groups is None else read_groups(options.groups)
    estimators: list = [*estimators_of(options, others=options.track)]
    if options.track:
        head = HeadModel(load_head(options.head))
        network = open_network("embedded", head)
        if network is None:
            raise ValueError(f"--track: no weights come with the package for the head {options.head}")
        estimators.append(Tracked(network, head))
    report = Report("skin", options.out)
    rated: list[Rated] = []
    parts: list[dict[str, Compared]] = []
    with Finder() as finder:
        for _, group in groupby(sorted(annotated, key=lambda entry: entry.set), key=lambda entry: entry.set):
            entries = spread(list(group), options.limit)
            rated += rate(entries, load_parser(), groups)
            parts.append(measure(entries, estimators, finder))
    show(rated, parts, report)
    report.close()
    return 0


def rendered(options: Namespace) -> int:
    """Rendered faces: the networks' errors by the known tone of the skin."""
    networks = [estimator for estimator in estimators_of(options) if isinstance(estimator, Judged)]
    if not networks:
        raise ValueError("shards judge networks only; give --weights PATH")
    asset = networks[0].head.asset
    if not asset.name.startswith("openhead"):
        raise ValueError(
            f"{asset.name}: nobody says which direction of its albedo is the tone; give shards of openhead"
        )
    faces = open_faces([options.folder], asset.name)
    chosen = labelled(faces, options.faces, None)
    report = Report("skin", options.out)
    for network in networks:
        known, found = estimate(network.deca, faces, chosen)
        errors = compare_codes(network.deca, found, known)
        tone = known.albedo[:, LEARNED_NAMES.index("tone")].numpy()
        groups = np.searchsorted([high for _, high in TONES], tone, side="right")
        for key, unit in (("landmarks", "% of box"), ("pose", "degrees"), ("gaze", "degrees"), ("albedo", "RGB 0–1")):
            error = getattr(errors, key)
            rows = [("all", *_row(error, np.ones(len(tone), bool)))]
            rows += [(name, *_row(error, groups == i)) for i, (name, _) in enumerate(TONES) if (groups == i).any()]
            title = f"{network.name}, {key}, {unit}, by the known tone of the skin"
            report.table(f"{network.name}: {key}", Table(title, ("tone", *_COLUMNS), tuple(rows)))
    report.close()
    return 0


def rate(entries: Sequence[Annotated], parse: Parse, groups: dict[str, str] | None) -> list[Rated]:
    """The group of every photograph: its class of skin tone, or what the user's file says of it."""
    rated = []
    with Progress(f"skin: {entries[0].set}") as progress:
        for done, entry in enumerate(entries, 1):
            angle = skin_angle(read_image(entry.path), entry.points, parse)
            if groups is None:
                group = class_of(angle)
            else:
                group = groups.get(entry.path.name, groups.get(entry.path.as_posix(), "not in the list"))
            rated.append(Rated(entry, group, angle))
            progress("photographs", done, len(entries))
    return rated


def skin_angle(image: np.ndarray, points: Float[np.ndarray, "68 2"], parse: Parse) -> float:
    """ITA of the face at the landmarks, degrees: of the median colour of its skin; NaN where too little is seen."""
    picture = tensor([cut(image, crop_around(points), SIDE)])
    skin = (parse(picture)[0, [Part.SKIN, Part.NOSE]].sum(0) > SURE).numpy()
    if skin.sum() < LEAST:
        return float("nan")
    colour = np.median(picture[0].permute(1, 2, 0).numpy()[skin], axis=0)
    return typology_angle(colour) if np.ptp(colour) > COLOUR else float("nan")


def typology_angle(colour: Float[np.ndarray, "3"]) -> float:
    """Individual typology angle of an sRGB colour in [0, 1], degrees (Chardon et al. 1991); D65."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    white = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    y, z = (white @ linear / white.sum(1))[1:]

    def f(t: float) -> float:
        return t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29

    lightness, b = 116 * f(y) - 16, 200 * (f(y) - f(z))
    return float(np.rad2deg(np.arctan2(lightness - 50, max(b, 1e-6))))  # bluish skin is an accident of the light


def class_of(angle: float) -> str:
    """Class of an ITA (Del Bino et al. 2013)."""
    if not np.isfinite(angle):
        return UNKNOWN
    return next(name for name, low in CLASSES if angle >= low)


def read_groups(path: Path) -> dict[str, str]:
    """Group by name or path of a photograph.

    Raises:
        ValueError: no such file, or a line has not two columns.
    """
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file, delimiter="\t") if row]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--groups {path}: cannot be read ({error})") from None
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise ValueError(f"--groups {path}: line {number} has {len(row)} columns, expected PATH<tab>GROUP")
    return {row[0]: row[1] for row in rows}


def spread(entries: list[Annotated], limit: int | None) -> list[Annotated]:
    """At most so many of them, evenly over the list."""
    if limit is None or limit >= len(entries):
        return entries
    if limit < 1:
        raise ValueError(f"--limit {limit}: must be at least 1")
    return [entries[i] for i in np.linspace(0, len(entries) - 1, limit).round().astype(int)]


def interval(errors: Float[np.ndarray, "N"], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by the bootstrap; NaN for fewer than two values."""
    if len(errors) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, len(errors), (DRAWS, len(errors)))
    low, high = np.percentile(errors[draws].mean(1), [2.5, 97.5])
    return float(low), float(high)


def joined(parts: Sequence[dict[str, Compared]], method: str) -> Compared:
    """The photographs of all sets in order."""
    return Compared(
        *(np.concatenate([getattr(p[method], name) for p in parts]) for name in ("error", "eyes", "box", "yaw"))
    )


def show(rated: Sequence[Rated], parts: Sequence[dict[str, Compared]], report: Report) -> None:
    """Prints the tables: how many of each group were found, and the error of every method by group."""
    groups = np.array([r.group for r in rated])
    order = [name for name, _ in CLASSES] + sorted(set(groups) - {name for name, _ in CLASSES})
    names = [name for name in order if (groups == name).any()]
    rows, arrays = [], {}
    for method in parts[0]:
        compared = joined(parts, method)
        error = compared.nme(_INNER, compared.box)
        arrays[f"{method}/error"] = error
        for name in ("all", *names):
            rows.append((f"{method}, {name}", *_row(error, (groups == name) | (name == "all"))))
    title = "inner 51 landmarks, % of the side of the annotations' box"
    report.table("groups", Table(title, ("method, group", *_COLUMNS), tuple(rows)))
    report.arrays(
        arrays
        | {"group": strings(list(groups)), "angle": np.array([r.angle for r in rated])}
        | {"path": strings([r.entry.path.name for r in rated])}
    )


def _row(error: Float[np.ndarray, "N"], chosen: Bool[np.ndarray, "N"]) -> tuple[int | float, ...]:
    found = error[chosen & np.isfinite(error)]
    nothing = float("nan")
    middle = (float(found.mean()), *interval(found), float(np.median(found))) if len(found) else (nothing,) * 4
    return (int(chosen.sum()), int(chosen.sum()) - len(found), *middle)
