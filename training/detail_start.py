"""Where the detail stage may start: E_d and F_d in closed form, from relief (`training.relief`).

  python -m training.detail_start SHARDS... --weights coarse.safetensors --usual usual.npz --out start.safetensors

Relief of many photographs is unwrapped; its principal directions are what a detail code can say. E_d (backbone
``contrast``, its trunk that of E_c) becomes the linear map from what it reads to those coefficients, by ridge
regression; F_d learns to draw the directions, without pictures, in some hundred quick steps. From there the losses of
the paper have something to hold on to; from random weights they take very long to find it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from model.contrast import ContrastPoints
from model.deca import DECA
from model.io.assets import load_head
from model.io.checkpoints import Checkpoint, read_checkpoint, save_checkpoint, write_checkpoint
from tracker.command import Parser, run
from tracker.progress import Progress
from training.data.faces import Faces
from training.evaluate.batches import batches, open_faces
from training.losses import relief_loss
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
        held: photographs of people that only choose and judge.
    """

    relief: Float[Tensor, "N H W"]
    weight: Float[Tensor, "N H W"]
    places: Float[Tensor, "N places"]
    readings: Float[Tensor, "N P 27"]
    expression: Float[Tensor, "N E"]
    jaw: Float[Tensor, "N 3"]
    held: Bool[np.ndarray, "N"]


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = Parser(prog="python -m training.detail_start", description=__doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS")
    parser.add_argument("--weights", required=True, metavar="PATH", help="E_c, of backbone keypoints")
    parser.add_argument("--usual", default="", metavar="USUAL.npz", help="of python -m training.usual_relief")
    parser.add_argument("--out", required=True, metavar="PATH")
    parser.add_argument("--uv-size", type=int, default=192, metavar="TEXELS", help="(default: 192)")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="of F_d (default: 600)")
    parser.add_argument("--held-out", type=float, default=0.05, metavar="SHARE", help="of the people (default: 0.05)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse(argv)
    if options.steps < 1 or options.uv_size < 32 or not 0 < options.held_out < 1:
        raise ValueError("--steps must be positive, --uv-size at least 32, --held-out between 0 and 1")
    deca, errors = _begin(options.weights, options.uv_size, options.seed)
    relief = relief_of(deca, options.usual)
    faces = open_faces(options.shards, deca.head.asset.name)
    material = gather(deca, relief, faces, options.held_out)
    codes = principal_codes(material, deca.config.detail)
    share = set_encoder(deca, material, codes)
    print(f"E_d: explains {share:.3f} of the variance of the codes of people held out")
    torch.manual_seed(options.seed)
    teach_decoder(deca, relief, material, codes, options.steps)
    for name, rows in (("learned from", ~material.held), ("held out", material.held)):
        shares = explained(deca, relief, material, codes, np.flatnonzero(rows)[:200])
        print(f"relief, {name}: F_d with the true codes explains {shares[0]:.3f} of it, with E_d's {shares[1]:.3f}")
    save_checkpoint(deca, options.out)
    write_checkpoint(dataclasses.replace(read_checkpoint(options.out), errors=errors), options.out)
    return 0


def _begin(weights: str, uv_size: int, seed: int):
    """A DECA with the E_c of weights and new detail networks; and E_c's errors."""
    asset, coarse = load_head("openhead"), read_checkpoint(weights)
    if coarse.config.backbone != "keypoints":
        raise ValueError(f"--weights {weights}: backbone is {coarse.config.backbone}, expected keypoints")
    torch.manual_seed(seed)
    deca = DECA(asset, dataclasses.replace(coarse.config, detail_backbone="contrast"), uv_size)
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
    return Material(*joined, held=faces.held_out(held_out))  # pyright: ignore[reportCallIssue]


def principal_codes(material: Material, count: int) -> Float[Tensor, "N count"]:
    """Coefficients of the relief's principal directions about its mean, each of unit variance where it is learned."""
    taken = material.weight.float().mean(0) > 0.02
    maps = material.relief[:, taken].float()
    learned = torch.from_numpy(~material.held)
    centred = maps - maps[learned].mean(0)
    torch.manual_seed(0)
    _, _, directions = torch.svd_lowrank(centred[learned], q=count, niter=4)
    codes = centred @ directions
    return codes / codes[learned].std(0)


@torch.no_grad()
def set_encoder(deca: DECA, material: Material, codes: Float[Tensor, "N D"]) -> float:
    """Make E_d the linear map to the codes; the share of their variance that it explains where it did not learn.

    A ReLU lies between its two layers: x goes through it as max(x, 0) and max(−x, 0). Other hidden units stay random,
    with outputs of zero: training finds them.
    """
    backbone, (first, _, last) = deca.detail_encoder.encoder, deca.detail_encoder.layers
    assert isinstance(backbone, ContrastPoints) and isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    learned, count = torch.from_numpy(~material.held), codes.shape[1]
    some = material.readings[learned][::4].float().flatten(0, 1)
    _, _, words = torch.svd_lowrank(some[::7], q=len(backbone.words.weight), niter=4)
    backbone.words.weight.copy_(words.T)
    features = torch.cat([material.places.float(), (material.readings.float() @ words).flatten(1)], dim=1)
    mean, spread = features[learned].mean(0), features[learned].std(0).clamp(min=1e-3)
    known, truth = (features - mean) / spread, codes - codes[learned].mean(0)
    kernel = known[learned] @ known[learned].T
    best, kept = -torch.inf, torch.zeros(known.shape[1], count)
    for strength in RIDGE:
        ridge = kernel + strength * torch.eye(len(kernel))
        matrix = known[learned].T @ torch.linalg.solve(ridge, truth[learned])
        wrong = (known[~learned] @ matrix - truth[~learned]).square().sum()
        share = float(1 - wrong / truth[~learned].square().sum())
        if share > best:
            best, kept = share, matrix
    weight = (kept / spread[:, None]).T
    bias = codes[learned].mean(0) - weight @ mean
    first.weight[: 2 * count] = torch.cat([weight, -weight])
    first.bias[: 2 * count] = torch.cat([bias, -bias])
    last.weight.zero_()
    last.weight[:, :count], last.weight[:, count : 2 * count] = torch.eye(count), -torch.eye(count)
    last.bias.zero_()
    return best


def teach_decoder(
    deca: DECA, relief: Relief, material: Material, codes: Float[Tensor, "N D"], steps: int, rate: float = 3e-3
) -> None:
    """Let F_d draw the relief that codes stand for; half of the codes are E_d's, so that it knows their errors."""
    decoder = deca.detail_decoder.train()
    guesses = _guesses(deca, material)
    learned = np.flatnonzero(~material.held)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    random = np.random.default_rng(0)
    with Progress("detail start") as progress:
        for step in range(steps):
            rows = torch.from_numpy(random.choice(learned, BATCH, replace=False))
            said = torch.where(torch.rand(BATCH, 1) < 0.5, codes[rows], guesses[rows])
            with torch.autocast("cpu", torch.bfloat16):
                maps = decoder(material.jaw[rows], material.expression[rows], said)
            loss = relief_loss(
                _as_seen(deca, maps.float()), material.relief[rows].float(), material.weight[rows].float()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            progress("F_d", step + 1, steps)
    decoder.eval()


@torch.no_grad()
def explained(deca: DECA, relief: Relief, material: Material, codes: Tensor, rows: np.ndarray) -> tuple[float, float]:
    """Share of the relief's weighted square that F_d explains, with the true codes and with E_d's."""
    guesses, total, wrong = _guesses(deca, material), 0.0, [0.0, 0.0]
    for start in range(0, len(rows), BATCH):
        some = torch.from_numpy(rows[start : start + BATCH])
        wanted, weight = material.relief[some].float(), material.weight[some].float()
        total += float((weight * wanted.square()).sum())
        for k, said in enumerate((codes, guesses)):
            maps = deca.detail_decoder(material.jaw[some], material.expression[some], said[some])
            wrong[k] += float((weight * (_as_seen(deca, maps) - wanted).square()).sum())
    return 1 - wrong[0] / total, 1 - wrong[1] / total


def _as_seen(deca: DECA, maps: Float[Tensor, "batch 256 256"]) -> Float[Tensor, "batch H W"]:
    """F_d's maps as `Material.relief`: at its size, where detail shows, in its unit."""
    size = (deca.layout.size,) * 2
    return 1e4 * nn.functional.interpolate(maps[:, None], size, mode="bilinear")[:, 0] * deca.surface.mask


@torch.no_grad()
def _guesses(deca: DECA, material: Material) -> Float[Tensor, "N D"]:
    backbone = deca.detail_encoder.encoder
    assert isinstance(backbone, ContrastPoints)
    read = backbone.words(material.readings.float()).flatten(1)
    return deca.detail_encoder.layers(torch.cat([material.places.float(), read], dim=1))


if __name__ == "__main__":
    raise SystemExit(run("python -m training.detail_start", main))
