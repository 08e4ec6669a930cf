"""E_c's shape codes drawn to the mean head as far as one photograph leaves them open.

  python -m training.shape_posterior shards/lfw --weights deca.safetensors --out drawn.safetensors

From several photographs of many people: W is the covariance of codes within people, what light, hair, lens and pose do
to them; B is that between people. Where a code s is a person's plus such noise, both Gaussian, the mean of what the
person's own may be is μ + B (B + W)⁻¹ (s − μ), the best linear guess (Ioffe 2006 calls it so in probabilistic linear
discriminant analysis). It is a linear map, so it goes into the last layer: nothing is added to the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from model.deca import DECA
from model.io.assets import load_head
from model.io.checkpoints import build_deca, read_checkpoint, write_checkpoint
from tracker.command import Parser, run
from tracker.progress import Progress
from training.evaluate.batches import batches, open_faces


@dataclass(frozen=True)
class Spread:
    """How codes vary.

    Attributes:
        mean: of all.
        within: covariance of codes about their person's.
        between: covariance of the people's own codes, without what the noise adds to means of few photographs.
    """

    mean: Float[Tensor, "C"]
    within: Float[Tensor, "C C"]
    between: Float[Tensor, "C C"]

    @property
    def ratio(self) -> float:
        """Variance within people over that between them, summed over the codes."""
        return float(self.within.trace() / self.between.trace())


def spread_of(codes: Float[Tensor, "N C"], people: Int[np.ndarray, "N"]) -> Spread:
    """Of the people who are there more than once (one-way analysis of variance).

    Raises:
        ValueError: fewer than two of them.
    """
    _, numbers, counts = np.unique(people, return_inverse=True, return_counts=True)
    codes, numbers = codes[torch.from_numpy(counts[numbers] > 1)].double(), numbers[counts[numbers] > 1]
    _, numbers, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} people with two photographs, need two; one folder a person makes identities")
    person = torch.from_numpy(numbers)
    own = codes.new_zeros(len(counts), codes.shape[1]).index_add_(0, person, codes) / torch.from_numpy(counts)[:, None]
    noise = codes - own[person]
    within = noise.T @ noise / (len(codes) - len(counts))
    apart = own - own.mean(0)
    between = apart.T @ apart / (len(counts) - 1) - within * float((1 / counts).mean())
    values, axes = torch.linalg.eigh(between)
    return Spread(codes.mean(0), within, axes * values.clamp(min=0) @ axes.T)


def posterior_map(spread: Spread) -> tuple[Float[Tensor, "C C"], Float[Tensor, "C"]]:
    """Matrix A and offset o of the mean of the person's own code, A s + o."""
    total = spread.between + spread.within
    matrix = torch.linalg.solve(total + 1e-9 * total.trace() * torch.eye(len(total)), spread.between).T
    return matrix, spread.mean - matrix @ spread.mean


@torch.no_grad()
def draw(deca: DECA, matrix: Float[Tensor, "C C"], offset: Float[Tensor, "C"]) -> None:
    """Let E_c give A s + o in place of its shape codes s; changes its last layer in place."""
    last, count = deca.coarse_encoder.layers[-1], deca.config.shape
    assert isinstance(last, nn.Linear)
    mean, scale = deca.code_mean[:count].double(), deca.code_spread[:count].double()
    weight, bias = last.weight[:count].double(), last.bias[:count].double()
    last.weight[:count] = (matrix @ (scale[:, None] * weight) / scale[:, None]).float()
    last.bias[:count] = ((matrix @ (mean + scale * bias) + offset - mean) / scale).float()


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = Parser(prog="python -m training.shape_posterior", description=__doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="several photographs of many people")
    parser.add_argument("--weights", required=True, metavar="PATH")
    parser.add_argument("--out", required=True, metavar="PATH")
    parser.add_argument(
        "--held-out", type=float, default=0.05, metavar="SHARE", help="of the people, only judged by (default: 0.05)"
    )
    options = parser.parse(argv)
    if not 0 < options.held_out < 1:
        raise ValueError(f"--held-out is {options.held_out:g}, expected a share between 0 and 1")
    checkpoint, asset = read_checkpoint(options.weights), load_head("openhead")
    deca = build_deca(checkpoint, asset, 64, str(options.weights))
    faces = open_faces(options.shards, asset.name)
    held = faces.held_out(options.held_out)
    codes = _codes(deca, faces)
    spread = spread_of(codes[torch.from_numpy(~held)], faces.people[~held])
    matrix, offset = posterior_map(spread)
    drawn = codes.double() @ matrix.T + offset
    for name, rows in (("learned from", ~held), ("held out", held)):
        few, people = torch.from_numpy(rows), faces.people[rows]
        before, after = spread_of(codes[few], people).ratio, spread_of(drawn[few], people).ratio
        print(f"{name}: variance of shape codes within people over between them {before:.3f}, drawn {after:.3f}")
    draw(deca, matrix, offset)
    # The errors were measured on the codes as they were.
    write_checkpoint(dataclasses.replace(checkpoint, state=deca.state_dict(), errors=None), options.out)
    return 0


@torch.no_grad()
def _codes(deca: DECA, faces) -> Float[Tensor, "N S"]:
    parts, done, asset = [], 0, deca.head.asset
    with Progress("shape posterior") as progress:
        for batch in batches(faces, np.arange(len(faces)), asset, deca.coarse_resolution, 32):
            parts.append(deca.encode_coarse(batch.images).face.shape)
            progress("faces", done := done + len(batch.images), len(faces))
    return torch.cat(parts)


if __name__ == "__main__":
    raise SystemExit(run("python -m training.shape_posterior", main))
