"""Where the detail stage may start: E_d and F_d in closed form, from relief (`training.relief`).

  python -m training.detail_start SHARDS... --weights coarse.safetensors --usual usual.npz --out start.safetensors

Relief of many photographs is unwrapped; its principal directions are what a detail code can say, and the maps that F_d
(``basis``) adds up. E_d (backbone ``contrast``, its trunk that of E_c) becomes the linear map from what it reads to
their coefficients, by ridge regression. From there the losses of the paper have something to hold on to; from random
weights they take very long to find it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from model.contrast import ContrastPoints
from model.deca import DECA
from model.detail_basis import MAP, BasisDecoder
from model.io.assets import load_head
from model.io.checkpoints import Checkpoint, read_checkpoint, save_checkpoint, write_checkpoint
from tracker.command import Parser, run
from tracker.progress import Progress
from training.data.faces import Faces
from training.evaluate.batches import batches, open_faces
from training.relief import Relief, relief_of
from training.stages.pretrain import crop_pixels
from training.stages.start import start_from_mean

RIDGE = (1e2, 3e2, 1e3, 3e3, 1e4, 3e4)
"""Strengths that are tried; the held-out faces choose."""
BATCH = 16


@dataclass(frozen=True)
class Material:
    """What is known of all photographs.

    Attributes:
        relief: metres × 10⁴, half precision, and its weight.
        places, readings: of `ContrastPoints`.
        expression, jaw: E_c's.
        people: a number for who is on each.
        held: photographs of people that only choose and judge.
    """

    relief: Float[Tensor, "N H W"]
    weight: Float[Tensor, "N H W"]
    places: Float[Tensor, "N places"]
    readings: Float[Tensor, "N P 27"]
    expression: Float[Tensor, "N E"]
    jaw: Float[Tensor, "N 3"]
    people: Int[np.ndarray, "N"]
    held: Bool[np.ndarray, "N"]


@dataclass(frozen=True)
class Directions:
    """Of the relief of many photographs.

    Attributes:
        mean, basis: maps, millimetres; the basis in standard deviations.
        codes: of every photograph, standard deviations.
        scale: root mean square over the map of each direction times the number of its texels, millimetres.
    """

    mean: Float[Tensor, "H W"]
    basis: Float[Tensor, "D H W"]
    codes: Float[Tensor, "N D"]
    scale: Float[Tensor, "D"]


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = Parser(prog="python -m training.detail_start", description=__doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS")
    parser.add_argument("--weights", required=True, metavar="PATH", help="E_c, of backbone keypoints")
    parser.add_argument("--usual", default="", metavar="USUAL.npz", help="of python -m training.usual_relief")
    parser.add_argument("--out", required=True, metavar="PATH")
    parser.add_argument("--codes", type=int, default=64, metavar="N", help="length of the detail code (default: 64)")
    parser.add_argument("--steps", type=int, default=2000, metavar="N", help="of F_d's small network (default: 2000)")
    parser.add_argument("--held-out", type=float, default=0.05, metavar="SHARE", help="of the people (default: 0.05)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse(argv)
    if options.steps < 1 or options.codes < 2 or not 0 < options.held_out < 1:
        raise ValueError("--steps must be positive, --codes at least 2, --held-out between 0 and 1")
    deca, errors = _begin(options.weights, options.codes, options.seed)
    relief = relief_of(deca, options.usual)
    material = gather(deca, relief, open_faces(options.shards, deca.head.asset.name), options.held_out)
    directions = principal_codes(material, deca.config.detail)
    solve(deca, material, directions)
    torch.manual_seed(options.seed)
    teach_own(deca, material, directions, options.steps)
    for name, held in (("learned from", False), ("held out", True)):
        own, other, mean = explained(deca, material, held)
        print(
            f"share of the relief that is explained, people {name}: by the photograph's own code {own:.3f}, "
            f"by another photograph's {other:.3f}, by the mean code {mean:.3f}"
        )
    save_checkpoint(deca, options.out)
    write_checkpoint(dataclasses.replace(read_checkpoint(options.out), errors=errors), options.out)
    return 0


def _begin(weights: str, codes: int, seed: int):
    """A DECA with the E_c of weights and new detail networks; and E_c's errors."""
    asset, coarse = load_head("openhead"), read_checkpoint(weights)
    if coarse.config.backbone != "keypoints":
        raise ValueError(f"--weights {weights}: backbone is {coarse.config.backbone}, expected keypoints")
    torch.manual_seed(seed)
    config = dataclasses.replace(coarse.config, detail_backbone="contrast", decoder="basis", detail=codes)
    deca = DECA(asset, config, MAP)
    start_from_mean(deca, 1.6, torch.Generator().manual_seed(seed))
    _take_coarse(deca, coarse)
    backbone = deca.detail_encoder.encoder
    assert isinstance(backbone, ContrastPoints)
    backbone.trunk.load_state_dict(deca.coarse_encoder.encoder.state_dict())
    return deca.eval(), coarse.errors


def _take_coarse(deca: DECA, coarse: Checkpoint) -> None:
    mine = {key: value for key, value in coarse.state.items() if key.startswith(("coarse_encoder", "code_"))}
    deca.load_state_dict(mine, strict=False)


@torch.no_grad()
def gather(deca: DECA, relief: Relief, faces: Faces, held_out: float) -> Material:
    """Relief of every photograph, and what E_d reads there."""
    backbone = deca.detail_encoder.encoder
    assert isinstance(backbone, ContrastPoints)
    parts: list[tuple[Tensor, ...]] = []
    done = 0
    with Progress("detail start") as progress:
        for batch in batches(faces, np.arange(len(faces)), deca.head.asset, deca.config.resolution, BATCH):
            codes = deca.encode_coarse(batch.images)
            camera = crop_pixels(codes.camera, batch.images.shape[-1])
            found, weight = relief(batch.images, deca.head.mesh(codes.face), camera)
            assert codes.points is not None
            readings = backbone.readings(batch.images, codes.points.float())
            values = (1e4 * found, weight, codes.points.flatten(1), readings)
            parts.append((*(value.half() for value in values), codes.face.expression, codes.face.jaw))
            progress("faces", done := done + len(batch.images), len(faces))
    joined = [torch.cat(column) for column in zip(*parts, strict=True)]
    return Material(*joined, people=faces.people, held=faces.held_out(held_out))  # pyright: ignore[reportCallIssue]


def principal_codes(material: Material, count: int) -> Directions:
    """Principal directions of the relief where it is learned."""
    taken = material.weight.float().mean(0) > 0.02
    maps = 0.1 * material.relief[:, taken].float()
    learned = torch.from_numpy(~material.held)
    mean = maps[learned].mean(0)
    torch.manual_seed(0)
    _, _, axes = torch.svd_lowrank(maps[learned] - mean, q=count, niter=4)
    codes = (maps - mean) @ axes
    scale = codes[learned].std(0)
    full = maps.new_zeros(1 + count, *taken.shape)
    full[:, taken] = torch.cat([mean[None], (axes * scale).T])
    return Directions(full[0], full[1:], codes / scale, scale)


def pairs_of(material: Material, held: bool, rounds: int = 2) -> Int[np.ndarray, "2 N"]:
    """Whose picture E_d sees, and whose expression and relief it is to tell: every photograph's own, and `rounds` times
    another of the same person's, of those who have one."""
    rows = np.flatnonzero(material.held == held)
    pairs = [np.stack([rows, rows])]
    random = np.random.default_rng(0)
    for _ in range(rounds):
        order = random.permutation(rows)
        order = order[np.argsort(material.people[order], kind="stable")]
        people = material.people[order]
        starts = np.flatnonzero(np.r_[True, people[1:] != people[:-1]])
        sizes = np.diff(np.r_[starts, len(order)])
        place = np.arange(len(order)) - np.repeat(starts, sizes)
        other = order[np.repeat(starts, sizes) + (place + 1) % np.repeat(sizes, sizes)]
        pairs.append(np.stack([order, other])[:, order != other])
    return np.concatenate(pairs, axis=1)


@torch.no_grad()
def solve(deca: DECA, material: Material, directions: Directions) -> None:
    """E_d and the linear part of F_d by one ridge regression, so that a photograph's code and the expression of another
    of the same person tell the other's relief: detail consistency (§4.2) in closed form.

    A ReLU lies between E_d's two layers: x goes through it as max(x, 0) and max(−x, 0). Its other hidden units stay
    random, with outputs of zero: training finds them.
    """
    backbone, (first, _, last), decoder = deca.detail_encoder.encoder, deca.detail_encoder.layers, deca.detail_decoder
    assert isinstance(backbone, ContrastPoints) and isinstance(decoder, BasisDecoder)
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    learned = torch.from_numpy(~material.held)
    some = material.readings[learned].flatten(0, 1)[::29].float()
    torch.manual_seed(0)
    _, _, words = torch.svd_lowrank(some, q=len(backbone.words.weight), niter=4)
    backbone.words.weight.copy_(words.T)
    seen, moved = _features(deca, material), torch.cat([material.jaw, material.expression], dim=1)
    (a, b), (c, d) = pairs_of(material, held=False), pairs_of(material, held=True)
    wanted = directions.codes * directions.scale  # millimetres: strong directions count more
    known, judged = torch.cat([seen[a], moved[b]], dim=1), torch.cat([seen[c], moved[d]], dim=1)
    centre, spread = known.mean(0), known.std(0).clamp(min=1e-3)
    known, judged = (known - centre) / spread, (judged - centre) / spread
    normal, right = known.T @ known, known.T @ wanted[b]
    least, matrix = torch.inf, right
    for strength in RIDGE:
        tried = torch.linalg.solve(normal + strength * torch.eye(len(normal)), right)
        wrong = float((judged @ tried - wanted[d]).square().sum())
        if wrong < least:
            least, matrix = wrong, tried
    weight = (matrix / spread[:, None]).T / directions.scale[:, None]
    mine, everybody = weight.split([seen.shape[1], moved.shape[1]], dim=1)
    bias, count = -weight @ centre, len(weight)
    first.weight[: 2 * count], first.bias[: 2 * count] = torch.cat([mine, -mine]), torch.cat([bias, -bias])
    last.weight.zero_()
    last.weight[:, :count], last.weight[:, count : 2 * count] = torch.eye(count), -torch.eye(count)
    last.bias.zero_()
    decoder.everybody.weight.copy_(everybody)
    decoder.mean.copy_(directions.mean)
    decoder.basis.copy_(directions.basis)


def teach_own(deca: DECA, material: Material, directions: Directions, steps: int, rate: float = 1e-3) -> None:
    """F_d's small network: what is left of the pairs' relief. Kept as it was best for people held out."""
    decoder = deca.detail_decoder
    assert isinstance(decoder, BasisDecoder)
    said = _codes(deca, material)
    scale = directions.scale

    def loss(pairs: Int[np.ndarray, "2 N"]) -> Tensor:
        a, b = pairs
        found = decoder.coefficients(material.jaw[b], material.expression[b], said[a])
        return ((found - directions.codes[b]) * scale).square().sum(1).mean() / scale.square().sum()

    pairs, judged = pairs_of(material, held=False), pairs_of(material, held=True)
    optimiser = torch.optim.AdamW(decoder.own.parameters(), lr=rate, weight_decay=0.1)
    random = np.random.default_rng(0)
    with torch.no_grad():
        least, kept = float(loss(judged)), copy.deepcopy(decoder.own.state_dict())
    with Progress("detail start") as progress:
        for step in range(steps):
            value = loss(pairs[:, random.integers(0, pairs.shape[1], 256)])
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            progress("F_d", step + 1, steps)
            if step % 50 == 49:
                with torch.no_grad():
                    now = float(loss(judged))
                if now < least:
                    least, kept = now, copy.deepcopy(decoder.own.state_dict())
    decoder.own.load_state_dict(kept)


@torch.no_grad()
def explained(deca: DECA, material: Material, held: bool) -> tuple[float, float, float]:
    """Share of the relief's weighted square that is explained, by E_d's code of the same photograph, of another of the
    same person, and by everybody's mean code."""
    said, decoder = _codes(deca, material), deca.detail_decoder
    pairs = pairs_of(material, held)
    own, other = pairs[:, pairs[0] == pairs[1]], pairs[:, pairs[0] != pairs[1]]
    shares = []
    for (a, b), mean in ((own, False), (other, False), (own, True)):
        some = np.arange(len(a))[:: max(len(a) // 300, 1)]
        total = wrong = 0.0
        for rows in np.array_split(some, max(len(some) // 16, 1)):
            wanted, weight = material.relief[b[rows]].float(), material.weight[b[rows]].float()
            codes = said.mean(0).expand(len(rows), -1) if mean else said[a[rows]]
            maps = decoder(material.jaw[b[rows]], material.expression[b[rows]], codes)
            maps = nn.functional.interpolate(maps[:, None], wanted.shape[-2:], mode="bilinear")[:, 0]
            total += float((weight * wanted.square()).sum())
            wrong += float((weight * (1e4 * maps * deca.surface.mask - wanted).square()).sum())
        shares.append(1 - wrong / total)
    return shares[0], shares[1], shares[2]


@torch.no_grad()
def _features(deca: DECA, material: Material) -> Float[Tensor, "N features"]:
    backbone = deca.detail_encoder.encoder
    assert isinstance(backbone, ContrastPoints)
    parts = [backbone.words(some.float()).flatten(1) for some in material.readings.split(256)]
    return torch.cat([material.places.float(), torch.cat(parts)], dim=1)


@torch.no_grad()
def _codes(deca: DECA, material: Material) -> Float[Tensor, "N D"]:
    return deca.detail_encoder.layers(_features(deca, material))


if __name__ == "__main__":
    raise SystemExit(run("python -m training.detail_start", main))
