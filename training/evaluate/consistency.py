"""How much of a person's codes is the person: spread over photographs, and what swapping codes costs.

  python -m training.evaluate consistency shards/lfw --weights with.safetensors --weights without.safetensors

The shards name who is on each photograph (python -m training.prepare FOLDER, one folder a person).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.deca import DECA
from model.views import composite
from training.evaluate.batches import open_faces
from training.evaluate.estimate import Network
from training.evaluate.looks import Looks, Seen, look_at, mean_of, people_of, photometric_error, see
from training.evaluate.options import add_held_out, estimators_of, parser_of
from training.evaluate.report import Cell, Report, Table
from training.networks.identity import IdentityNetwork
from training.networks.load import identity_network
from training.stages.consistency import within_subjects


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("consistency", __doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="folders of shards with several faces a person")
    parser.add_argument("--weights", action="append", required=True, metavar="PATH", help="may be given repeatedly")
    parser.add_argument("--people", type=int, default=40, metavar="N", help="at most (default: 40)")
    parser.add_argument("--photos", type=int, default=4, metavar="N", help="of a person, at most (default: 4)")
    parser.add_argument("--identity", metavar="PATH", help="a face-recognition network that judges renders")
    parser.add_argument("--seed", type=int, default=0, help="of who swaps with whom (default: 0)")
    add_held_out(parser)
    options = parser.parse(argv)
    if options.people < 2 or options.photos < 2:
        raise ValueError("--people and --photos must be at least 2")
    options.fit = False
    networks = [estimator for estimator in estimators_of(options) if isinstance(estimator, Network)]
    judge = identity_network(options.identity)[0] if options.identity else None
    faces = open_faces(options.shards, networks[0].head.asset.name)
    chosen = people_of(faces, options.people, options.photos, options.held_out)
    report = Report("consistency", options.out)
    people = len(np.unique(faces.people[chosen]))
    report.note("faces", len(chosen), f"{len(chosen)} photographs of {people} people")
    spread_rows: list[tuple[Cell, ...]] = []
    swap_rows: list[tuple[Cell, ...]] = []
    alike_rows: list[tuple[Cell, ...]] = []
    for network in networks:
        seen = see(network.deca, faces, chosen, "consistency")
        spread_rows += [(f"{network.name}, {what}", *row) for what, row in spreads(network.deca, seen).items()]
        looks = look_at(network.deca, seen.face, seen.appearance, seen.camera, seen.images.shape[-1])
        swaps = swapped(network.deca, seen, looks, options.seed)
        swap_rows += [(f"{network.name}, {what}", *row) for what, row in swaps.items()]
        if judge is not None:
            alike_rows.append((network.name, *likeness(judge, seen, looks, options.seed)))
    title = "spread of a person's codes over photographs, against that between people"
    columns = ("codes", "within, sd", "between, sd", "within / between", "within, surface", "between, surface")
    report.table("spread", Table(title, columns, tuple(spread_rows)))
    title = "codes swapped: photometric error in the face, % of white, and of the landmarks, % of their box"
    columns = ("codes of", "own", "swapped", "costs, %", "landmarks own", "landmarks swapped")
    report.table("swaps", Table(title, columns, tuple(swap_rows)))
    if judge is not None:
        title = "likeness (cosine of identity embeddings) of a photograph and ..."
        columns = ("network", "its render", "same person's photograph", "stranger's photograph")
        report.table("identity", Table(title, columns, tuple(alike_rows)))
    report.close()
    return 0


def spreads(deca: DECA, seen: Seen) -> dict[str, tuple[float, ...]]:
    """Of shape and detail codes: standard deviation within a person and between people (root mean square over the
    code's dimensions), their ratio, and what that is on the surface: mean distance of two neutral heads' face vertices,
    and mean difference of two displacement maps at rest, for photographs of one person and of two people; mm and µm."""
    neutral = replace(deca.head.neutral(len(seen.keys)), shape=seen.face.shape)
    skin = torch.from_numpy(deca.head.asset.regions.get("face", np.ones(len(deca.head.template)))) > 0.5
    with torch.no_grad():
        vertices = deca.head(neutral)[:, skin] * 1000
        maps = deca.detail_decoder(neutral.jaw, neutral.expression, seen.appearance.detail).float() * 1e6
    mask = torch.nn.functional.interpolate(deca.surface.mask[None, None], maps.shape[-2:])[0, 0] > 0.5
    inside = maps[:, mask]
    return {
        "shape, mm": (
            *_spread(seen.face.shape, seen.person),
            *_apart(seen.person, lambda i, j: _distance(vertices, i, j)),
        ),
        "detail, µm": (
            *_spread(seen.appearance.detail, seen.person),
            *_apart(seen.person, lambda i, j: (inside[i] - inside[j]).abs().mean(-1)),
        ),
    }


def _distance(vertices: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return (vertices[i] - vertices[j]).norm(dim=-1).mean(-1)


def _spread(codes: Float[Tensor, "N D"], person: Int[np.ndarray, "N"]) -> tuple[float, float, float]:
    """Unbiased: one-way analysis of variance, so that noise within people is not counted between them."""
    groups = [codes[torch.from_numpy(person == p)].double() for p in np.unique(person)]
    freedom = sum(len(group) - 1 for group in groups)
    within = sum(float((group - group.mean(0)).square().sum()) for group in groups) / (freedom * codes.shape[1])
    size = len(person) / len(groups)
    means = torch.stack([group.mean(0) for group in groups])
    between = max(float(means.var(0).mean()) - within / size, 0.0)
    ratio = (within / between) ** 0.5 if between > 0 else float("nan")
    return within**0.5, between**0.5, ratio


def _apart(person: Int[np.ndarray, "N"], distance, most: int = 2000) -> tuple[float, float]:
    """Mean distance of pairs within people, and of pairs of two people (every `step`-th pair where there are many)."""
    pairs = np.array(list(combinations(range(len(person)), 2)))
    same = person[pairs[:, 0]] == person[pairs[:, 1]]
    result = []
    for chosen in (pairs[same], pairs[~same]):
        some = torch.from_numpy(chosen[:: max(1, len(chosen) // most)])
        values = [distance(part[:, 0], part[:, 1]) for part in some.split(64)]
        result.append(float(torch.cat(values).mean()))
    return result[0], result[1]


def swapped(deca: DECA, seen: Seen, own: Looks, seed: int) -> dict[str, tuple[float, ...]]:
    """Photometric error and landmarks with own codes and with another photograph's.

    Own and swapped are compared over the same pixels: skin of the photograph where both heads show their face. With
    shape codes the coarse picture counts, with detail codes the detailed one.
    """
    friend, stranger = partners(seen.person, seed)
    rows = {}
    for name, giver in (("the same person", friend), ("a stranger", stranger)):
        face = replace(seen.face, shape=seen.face.shape[giver])
        other = look_at(deca, face, seen.appearance, seen.camera, seen.images.shape[-1])
        rows[f"shape of {name}"] = _cost(seen, own, other, own.coarse, other.coarse)
    for name, giver in (("the same person", friend), ("a stranger", stranger)):
        appearance = replace(seen.appearance, detail=seen.appearance.detail[giver])
        other = look_at(deca, seen.face, appearance, seen.camera, seen.images.shape[-1])
        rows[f"detail of {name}"] = _cost(seen, own, other, own.detailed, other.detailed)
    return rows


def partners(person: Int[np.ndarray, "N"], seed: int) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """For every photograph another one of the same person, and one of somebody else."""
    _, numbers = np.unique(person, return_inverse=True)
    friend = within_subjects(torch.from_numpy(numbers), torch.Generator().manual_seed(seed))
    random = np.random.default_rng([seed, 1])
    stranger = [random.choice(np.flatnonzero(person != p)) for p in person]
    return friend, torch.tensor(stranger)


def _cost(seen: Seen, own: Looks, other: Looks, mine: Tensor, theirs: Tensor) -> tuple[float, ...]:
    region = seen.masks * own.face * other.face
    before, after = (photometric_error(picture, seen.images, region) for picture in (mine, theirs))
    size = (seen.landmarks.amax(1) - seen.landmarks.amin(1)).prod(-1).sqrt()
    marks = [
        float(100 * ((looks.landmarks - seen.landmarks).norm(dim=-1).mean(-1) / size).mean()) for looks in (own, other)
    ]
    before, after = mean_of(before), mean_of(after)
    cost = 100 * (after / before - 1) if before > 0 else float("nan")
    return before, after, cost, *marks


@torch.no_grad()
def likeness(judge: IdentityNetwork, seen: Seen, looks: Looks, seed: int) -> tuple[float, float, float]:
    """Mean cosine of the embedding of a photograph and of: its render (put over the photograph), another photograph of
    the person, one of a stranger."""
    shown = composite(looks.coarse, looks.face, seen.images).clamp(0, 1)
    photo, render = (
        torch.cat([judge(part, marks) for part, marks in zip(x.split(16), seen.landmarks.split(16), strict=True)])
        for x in (seen.images, shown)
    )
    friend, stranger = partners(seen.person, seed)

    def cosine(other: Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(photo, other).mean())

    return cosine(render), cosine(photo[friend]), cosine(photo[stranger])
