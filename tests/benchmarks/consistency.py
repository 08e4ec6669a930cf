"""What swapping a person's codes between photographs costs, with and without training for it.

    python tests/benchmarks/consistency.py [--out DIR] [--people 12] [--steps 1.0] [--data SHARDS] [--start WEIGHTS]

A few people, four pictures of each: rendered ones, or those of `--data`. One pretraining on landmarks, or the coarse
encoder of `--start`; from it the coarse stage with and without shape consistency; from the former the detail stage
with and without detail consistency: same data, same steps, same chance. Then the photometric error in the face with
the own codes, and with those of another picture of the same person, and of a stranger. Exit status 1 where a swap
within the person does not cost less after training for it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model.io.assets import load_head
from model.io.checkpoints import load_deca, read_checkpoint
from training.config import DataConfig, LossWeights, ModelConfig, StageConfig, StageName, TrainConfig
from training.data.faces import Faces
from training.evaluate.consistency import swapped
from training.evaluate.looks import look_at, people_of, see
from training.pipeline import run_stages
from training.synthetic.make import Recipe, write_faces

SIZE = 64
UV_SIZE = 128
PICTURES = 4
SWAPS = 8
"""Times that everybody swaps at random."""


@dataclass(frozen=True)
class Swap:
    """Photometric error in the face, percent of white: with own codes and with another picture's, by swap."""

    own: np.ndarray
    other: np.ndarray

    @property
    def costs(self) -> np.ndarray:
        """Percent of the own error, by swap."""
        return 100 * (self.other / self.own - 1)

    @property
    def cost(self) -> float:
        """Their mean."""
        return float(self.costs.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return float(self.costs.std(ddof=1) / len(self.costs) ** 0.5)


def base(options: argparse.Namespace, data: Path) -> TrainConfig:
    """Settings that all runs share; short runs need higher rates than the paper's."""
    few = {"rate": 1e-3, "ema": 0.95, "warmup": 10}
    weights = LossWeights()

    def steps(count: int) -> int:
        return max(1, round(count * options.steps))

    return TrainConfig(
        out=str(options.out / "pretrain"),
        stages=("pretrain",),
        device="cpu",
        log_every=50,
        picture_every=10**6,
        validate_every=10**6,
        save_every=10**6,
        model=model_of(options.start),
        data=DataConfig(shards=(str(data),), held_out=0.0, scale=(1.6, 1.6)),
        pretrain=StageConfig(steps=steps(200), subjects=16, images=1, **few, loss=weights),
        coarse=StageConfig(steps=steps(300), subjects=4, images=4, **few, loss=weights),
        # The symmetry loss is a sum over the map: at its full weight it flattens the relief of a run as short as this.
        detail=StageConfig(steps=steps(250), subjects=2, images=4, **few, loss=replace(weights, symmetry=2e-4)),
    )


def model_of(start: Path | None) -> ModelConfig:
    """A small network, or that of the weights."""
    if start is None:
        return ModelConfig(backbone="mobilenetv2", resolution=SIZE, uv_size=UV_SIZE, curved=True)
    config = read_checkpoint(start).config
    return ModelConfig(
        backbone=config.backbone,  # pyright: ignore[reportArgumentType]  # of a checkpoint that was trained here
        detail_backbone=config.detail_backbone,  # pyright: ignore[reportArgumentType]
        decoder=config.decoder,  # pyright: ignore[reportArgumentType]
        resolution=config.resolution,
        coarse_resolution=config.coarse_resolution,
        uv_size=UV_SIZE,
        detail=config.detail,
        curved=config.curved,
        gaze=config.gaze,
        normalised=config.normalised,
    )


def trained(config: TrainConfig, stage: StageName, name: str, start: Path | None, consistency: bool) -> Path:
    """Weights of one stage, from those of another."""
    settings = replace(getattr(config, stage), consistency=consistency)
    config = replace(config, **{stage: settings}, stages=(stage,), out=str(Path(config.out).parent / name))
    config = replace(config, model=replace(config.model, start="" if start is None else str(start)))
    weights = Path(config.out) / stage / "last.safetensors"
    if not weights.exists():
        begun = time.perf_counter()
        run_stages(config)
        print(f"{name}: {settings.steps} steps in {(time.perf_counter() - begun) / 60:.1f} min")
    return weights


def judged(weights: Path, data: Path, part: str) -> dict[str, Swap]:
    """What swaps cost."""
    asset = load_head("openhead")
    deca = load_deca(weights, asset, UV_SIZE)
    faces = Faces([str(data)], asset.name)
    seen = see(deca, faces, people_of(faces, 1000, PICTURES), "codes")
    own = look_at(deca, seen.face, seen.appearance, seen.camera, seen.images.shape[-1])
    swaps = [swapped(deca, seen, own, seed) for seed in range(SWAPS)]
    return {
        whose: Swap(*np.array([rows[f"{part} of {whose}"][:2] for rows in swaps]).T)
        for whose in ("the same person", "a stranger")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keeps what was trained, and goes on with it")
    parser.add_argument("--people", type=int, default=12, help="rendered people (default 12)")
    parser.add_argument("--steps", type=float, default=1.0, help="factor on the steps of every stage (default 1)")
    parser.add_argument("--data", type=Path, help="shards with several faces a person, instead of rendered ones")
    parser.add_argument("--start", type=Path, help="weights to begin with, instead of a pretraining")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        options.out = Path(scratch) if options.out is None else options.out
        options.out.mkdir(parents=True, exist_ok=True)
        data = options.data or options.out / "faces"
        if options.data is None:
            write_faces(data, options.people * PICTURES, Recipe("openhead", 11, 160, PICTURES, ""), 1)
        config = base(options, data)
        start = options.start or trained(config, "pretrain", "pretrain", None, False)
        found: dict[str, dict[str, Swap]] = {}
        coarse = {on: trained(config, "coarse", f"coarse_{_with(on)}", start, on) for on in (True, False)}
        for on, weights in coarse.items():
            found[f"shape, {_with(on)} L_sc"] = judged(weights, data, "shape")
        for on in (True, False):
            weights = trained(config, "detail", f"detail_{_with(on)}", coarse[True], on)
            found[f"detail, {_with(on)} L_dc"] = judged(weights, data, "detail")
    print(f"\n{'codes, trained':22} {'own':>7} {'swapped':>9} {'costs':>16} {'a stranger':>12} {'costs':>9}")
    for name, rows in found.items():
        same, other = rows["the same person"], rows["a stranger"]
        columns = f"{same.own.mean():7.3f} {same.other.mean():9.3f} {same.cost:8.3f} ± {same.error:.3f}%"
        print(f"{name:22} {columns} {other.other.mean():12.3f} {other.cost:8.2f}%")
    costs = {name: rows["the same person"] for name, rows in found.items()}
    good = []
    for part, loss in (("shape", "L_sc"), ("detail", "L_dc")):
        kept, free = costs[f"{part}, with {loss}"], costs[f"{part}, without {loss}"]
        good.append(free.cost - kept.cost > 2 * (kept.error**2 + free.error**2) ** 0.5)  # not by chance of the swaps
    shape, detail = ("yes" if fine else "NO" for fine in good)
    print(f"the swap costs less with consistency: shape {shape}, detail {detail}")
    return 0 if all(good) else 1


def _with(on: bool) -> str:
    return "with" if on else "without"


if __name__ == "__main__":
    sys.exit(main())
