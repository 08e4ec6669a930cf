"""Wrinkles: how far they move with the expression, where, and whether they explain photographs.

  python -m training.evaluate detail shards/london --weights deca.safetensors --out detail/

Of every person the most neutral photograph is compared with the one that smiles most and the one with the brows raised
most, by the codes that the shards carry (of the landmark fit), or by the network's own where they carry none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from model.deca import DECA
from model.uv import sample
from training.evaluate.batches import open_faces
from training.evaluate.estimate import Network
from training.evaluate.looks import Seen, look_at, mean_of, people_of, photometric_error, see
from training.evaluate.options import add_held_out, estimators_of, parser_of
from training.evaluate.regions import wrinkle_regions
from training.evaluate.report import Cell, Report, Table

KINDS = {"smile": ("mouthSmile",), "brows raised": ("browInnerUp", "browOuterUp")}
LEAST = 0.15
"""By how much the units of an expression must be stronger than on the neutral photograph, mean of them."""


@dataclass(frozen=True)
class Pairs:
    """Photographs of the same people: rows of `Seen`.

    Attributes:
        kind: what the second ones show.
    """

    kind: str
    neutral: Int[np.ndarray, "P"]
    expressive: Int[np.ndarray, "P"]


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("detail", __doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="folders of shards with several faces a person")
    parser.add_argument("--weights", action="append", required=True, metavar="PATH", help="may be given repeatedly")
    parser.add_argument("--people", type=int, default=40, metavar="N", help="at most (default: 40)")
    parser.add_argument("--photos", type=int, default=6, metavar="N", help="of a person, at most (default: 6)")
    add_held_out(parser)
    options = parser.parse(argv)
    if options.people < 2 or options.photos < 2:
        raise ValueError("--people and --photos must be at least 2")
    options.fit = False
    networks = [estimator for estimator in estimators_of(options) if isinstance(estimator, Network)]
    faces = open_faces(options.shards, networks[0].head.asset.name)
    chosen = people_of(faces, options.people, options.photos, options.held_out)
    report = Report("detail", options.out)
    report.note("faces", len(chosen), f"{len(chosen)} photographs of {len(np.unique(faces.people[chosen]))} people")
    for network in networks:
        deca = network.deca
        seen = see(deca, faces, chosen, "detail")
        regions = wrinkle_regions(deca)
        report.table(f"{network.name}: all", _normals(network.name, deca, seen, regions))
        for pairs in pairs_of(deca, seen):
            title = f"{network.name}, neutral to {pairs.kind}, {len(pairs.neutral)} people"
            if not len(pairs.neutral):
                report.note(title, 0, f"{title}: nobody's units move by {LEAST:g}; give more expressive photographs")
                continue
            report.table(f"{title}: change", _changes(title, deca, seen, pairs, regions))
            report.table(f"{title}: pictures", _explained(title, deca, seen, pairs, regions))
    report.close()
    return 0


def pairs_of(deca: DECA, seen: Seen) -> list[Pairs]:
    """Per kind of expression, the photographs of the people who show it by at least `LEAST`.

    On a head whose expressions have no names (FLAME) the one kind is the largest expression.
    """
    names = deca.head.asset.expression_names
    codes = seen.shown.expression.numpy()
    strength = np.abs(codes).sum(1) + np.linalg.norm(seen.shown.jaw.numpy(), axis=1)
    kinds = {
        kind: codes[:, [i for i, name in enumerate(names) if name.startswith(starts)]].mean(1)
        for kind, starts in KINDS.items()
        if any(name.startswith(starts) for name in names)
    } or {"largest expression": np.abs(codes).mean(1)}
    people = [np.flatnonzero(seen.person == person) for person in np.unique(seen.person)]
    result = []
    for kind, score in kinds.items():
        both = [(rows[np.argmin(strength[rows])], rows[np.argmax(score[rows])]) for rows in people]
        both = [(a, b) for a, b in both if score[b] - score[a] >= LEAST]
        pairs = np.array(both, dtype=int).reshape(-1, 2)
        result.append(Pairs(kind, pairs[:, 0], pairs[:, 1]))
    return result


@torch.no_grad()
def displacements(deca: DECA, seen: Seen, of: np.ndarray, expressed: np.ndarray) -> Float[Tensor, "P h w"]:
    """F_d with the detail codes of some photographs and the expression and jaw of others, metres."""
    a, b = torch.from_numpy(of), torch.from_numpy(expressed)
    return deca.detail_decoder(seen.face.jaw[b], seen.face.expression[b], seen.appearance.detail[a]).float()


def _changes(title: str, deca: DECA, seen: Seen, pairs: Pairs, regions: dict[str, Float[Tensor, "h w"]]) -> Table:
    """Mean |ΔD| per region: both photographs' own maps, and the neutral one's code animated to the other expression;
    beside them another expression-free change for scale: two people's neutral maps."""
    neutral = displacements(deca, seen, pairs.neutral, pairs.neutral)
    own = displacements(deca, seen, pairs.expressive, pairs.expressive)
    animated = displacements(deca, seen, pairs.neutral, pairs.expressive)
    others = neutral.roll(1, 0)
    rows: list[tuple[Cell, ...]] = []
    for name, mask in _resized(regions, neutral).items():
        values = [
            float(1e6 * (difference.abs() * mask).sum((1, 2)).mean() / mask.sum())
            for difference in (neutral, own - neutral, animated - neutral, neutral - others)
        ]
        rows.append((name, *values))
    columns = ("region", "|D| neutral", "|ΔD| own codes", "|ΔD| animated", "|ΔD| of two people")
    return Table(f"{title}: mean displacement and its change, µm", columns, tuple(rows))


def _explained(title: str, deca: DECA, seen: Seen, pairs: Pairs, regions: dict[str, Float[Tensor, "h w"]]) -> Table:
    """Photometric error on the expressive photographs: coarse, own detail, the neutral photograph's detail animated,
    and the same frozen as it was at rest."""
    there = seen.at(pairs.expressive)
    size = there.images.shape[-1]
    shown = {
        "own detail": displacements(deca, seen, pairs.expressive, pairs.expressive),
        "neutral's, animated": displacements(deca, seen, pairs.neutral, pairs.expressive),
        "neutral's, static": displacements(deca, seen, pairs.neutral, pairs.neutral),
    }
    looks = {name: look_at(deca, there.face, there.appearance, there.camera, size, d) for name, d in shown.items()}
    first = looks["own detail"]
    pictures = {"coarse": first.coarse} | {name: look.detailed for name, look in looks.items()}
    rows: list[tuple[Cell, ...]] = []
    for name, mask in regions.items():
        area = _pixels(mask, first.texels) * first.face * there.masks
        errors = [mean_of(photometric_error(picture, there.images, area)) for picture in pictures.values()]
        rows.append((name, *errors))
    return Table(f"{title}: photometric error on the second, % of white", ("region", *pictures), tuple(rows))


def _normals(name: str, deca: DECA, seen: Seen, regions: dict[str, Float[Tensor, "h w"]]) -> Table:
    """Photometric error with coarse and with detailed normals, all photographs."""
    looks = look_at(deca, seen.face, seen.appearance, seen.camera, seen.images.shape[-1])
    rows: list[tuple[Cell, ...]] = []
    for region, mask in regions.items():
        area = _pixels(mask, looks.texels) * looks.face * seen.masks
        coarse, detailed = (photometric_error(x, seen.images, area) for x in (looks.coarse, looks.detailed))
        better = mean_of(np.where(np.isfinite(coarse), 100.0 * (detailed < coarse), np.nan))
        rows.append((region, mean_of(coarse), mean_of(detailed), better))
    columns = ("region", "coarse normals", "detailed normals", "better with, % of photographs")
    return Table(f"{name}: photometric error, % of white", columns, tuple(rows))


def _resized(regions: dict[str, Tensor], like: Tensor) -> dict[str, Tensor]:
    return {
        name: interpolate(mask[None, None], like.shape[-2:], mode="nearest")[0, 0] for name, mask in regions.items()
    }


def _pixels(mask: Float[Tensor, "h w"], texels: Float[Tensor, "N S S 2"]) -> Float[Tensor, "N 1 S S"]:
    """A region of the UV map as pixels of pictures."""
    return (sample(mask.expand(len(texels), 1, -1, -1), texels) > 0.5).float()
