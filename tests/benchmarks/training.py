# ruff: noqa: E402
"""How many images a second each stage of training learns from, where the time goes, and whether the loader keeps up.

    .venv/bin/python tests/benchmarks/training.py                        # on the CPU: small batches
    .venv/bin/python tests/benchmarks/training.py --device cuda          # the paper's batches, float32 and bfloat16

The faces are rendered first (a minute). Times are by the clock; ``--busy`` counts processor time instead, for machines
that do other things meanwhile. Weights are random: they do not matter here.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Scripts of this folder that import the package `training` find this file first: out of the way with it.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
if __name__ != "__main__":
    sys.modules.pop(__name__, None)

import torch
from torch import nn

import model.views
from model.io.assets import load_head
from training.config import ModelConfig, Precision, StageName, TrainConfig
from training.data.faces import Faces
from training.data.loader import Crops, loader
from training.data.order import Order
from training.ema import Average
from training.loop import to_device
from training.memory import keep_memory
from training.pipeline import ORDER
from training.stages import build_stage
from training.stages.start import new_deca
from training.synthetic.make import Recipe, write_faces

GOAL = 1.2  # images a second of the loader over those of a step
CPU_BATCHES = {"pretrain": (16, 1), "coarse": (4, 2), "detail": (2, 2)}
CLOCK = time.process_time if "--busy" in sys.argv else time.perf_counter


class Times:
    """Seconds by what they went into."""

    def __init__(self, device: torch.device) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._device = device

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return CLOCK()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        start = self.now()
        yield
        self.spent[name] += self.now() - start


class Stopwatch:
    """Measures the networks and the rasteriser inside a stage, from outside."""

    def __init__(self, deca, times: Times) -> None:
        self.times = times
        self.networks = [deca.coarse_encoder, deca.detail_encoder, deca.detail_decoder]
        self.learning_since: float | None = None
        self._starts: dict[nn.Module, float] = {}
        for network in self.networks:
            network.register_forward_pre_hook(self._enter)
            network.register_forward_hook(self._leave)

    def _enter(self, network: nn.Module, _: object) -> None:
        self._starts[network] = self.times.now()

    def _leave(self, network: nn.Module, _: object, output: torch.Tensor) -> None:
        self.times.spent["networks, forward"] += self.times.now() - self._starts[network]
        if output.requires_grad:
            output.register_hook(self._back)

    def _back(self, *_: object) -> None:
        """The gradient has come back to the first of the networks that learn; what follows is theirs."""
        if self.learning_since is None:
            self.learning_since = self.times.now()

    @contextmanager
    def rasteriser(self) -> Iterator[None]:
        own = model.views.rasterise

        def timed(*arguments):
            with self.times.of("rasteriser"):
                return own(*arguments)

        model.views.rasterise = timed
        yield
        model.views.rasterise = own


def run(name: StageName, config: TrainConfig, crops: Crops, device: torch.device, steps: int) -> tuple[float, float]:
    """Prints where the time of a stage goes; returns images per second of a step, and of decoding in one process."""
    deca = new_deca(load_head(config.model.head), config).to(device)
    for network in (deca.coarse_encoder, deca.detail_encoder, deca.detail_decoder):
        network.to(memory_format=torch.channels_last)
    stage = build_stage(name, deca, config).train()
    parameters = list(stage.trained())
    optimiser = torch.optim.Adam(parameters, lr=1e-6)
    average = Average(deca, 0.999)
    times = Times(device)
    watch = Stopwatch(deca, times)
    with watch.rasteriser():
        for step in range(-2, steps):
            if step == 0:
                times.spent.clear()
            with times.of("data (one process)"):
                batch = crops[step + 2]
            with times.of("to the device"):
                batch = to_device(batch, device)
            start = times.now()
            watch.learning_since = None
            terms = stage(batch, torch.Generator().manual_seed(step + 2))
            middle = times.now()
            torch.stack(list(terms.values())).sum().backward()
            end = times.now()
            times.spent["forward"] += middle - start
            times.spent["losses, backward"] += (watch.learning_since or end) - middle
            times.spent["networks, backward"] += end - (watch.learning_since or end)
            with times.of("clip, Adam, mean"):
                nn.utils.clip_grad_norm_(parameters, 10.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                average.update(step + 3)
    spent = dict(times.spent)
    data = spent.pop("data (one process)")
    spent["losses, forward"] = spent.pop("forward") - spent["networks, forward"] - spent.get("rasteriser", 0.0)
    images = len(crops[0].keys)
    total = sum(spent.values())
    settings = getattr(config, name)
    print(f"\n{name}: {settings.subjects} people with {settings.images} images, {config.precision}, {device.type}")
    print(f"  {steps * images / total:8.1f} images/s ({1e3 * total / steps:.0f} ms a step, data apart)")
    order = ("networks, forward", "networks, backward", "rasteriser", "losses, forward", "losses, backward")
    for part in (*order, "clip, Adam, mean", "to the device"):
        print(f"  {part:20} {spent.get(part, 0.0) / total:6.1%}")
    print(f"  {'data (one process)':20} {data / total:6.1%} beside it")
    return steps * images / total, steps * images / data


def prepared(
    base: TrainConfig, name: StageName, precision: Precision, faces: Faces, device: torch.device
) -> tuple[TrainConfig, Crops]:
    """Settings and data of a stage."""
    settings = getattr(base, name)
    if device.type == "cpu":
        subjects, images = CPU_BATCHES[name]
        settings = dataclasses.replace(settings, subjects=subjects, images=images)
    data = dataclasses.replace(base.data, held_out=0.0)
    config = dataclasses.replace(base, precision=precision, data=data, **{name: settings})
    order = Order(faces, data, settings, seed=0)
    return config, Crops(faces, order, load_head(config.model.head), data, config.model.resolution, seed=0)


def compare_memory(config: TrainConfig, crops: Crops, device: torch.device, steps: int) -> None:
    """Prints what it brings that the process keeps its memory (`training.memory`); it does from then on."""
    before, _ = run("pretrain", config, crops, device, steps)
    kept = keep_memory()
    after, _ = run("pretrain", config, crops, device, steps)
    print(f"\nmemory {'kept' if kept else 'cannot be kept'}: {after / before:.2f} × the images/s of pretrain above")


def keeps_up(crops: Crops, rate: float, most: int) -> None:
    """Prints the fewest loading processes with which the loader is fast enough."""
    images = len(crops[0].keys)
    count = 24
    for workers in range(1, most + 1):
        batches = loader(crops, 0, count + 3 * workers, workers=workers)
        for _ in range(3 * workers):  # those that are decoded ahead
            next(batches)
        start = time.perf_counter()
        for _ in batches:
            pass
        # What was decoded ahead at the start is the same amount at the end: the rate is that of decoding.
        found = count * images / (time.perf_counter() - start)
        if found >= GOAL * rate or workers == most:
            verdict = "reached" if found >= GOAL * rate else "missed"
            print(
                f"  loader with {workers} workers: {found:.0f} images/s, {found / rate:.1f} × (goal {GOAL}: {verdict})"
            )
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", action="store_true", help="count processor time instead of the clock's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--steps", type=int, default=6, help="of each stage, after two that do not count")
    parser.add_argument("--faces", type=int, default=48, help="that are rendered")
    options = parser.parse_args()
    device = torch.device(options.device)
    asset = load_head()
    base = TrainConfig(model=ModelConfig(backbone=options.backbone))
    cores = os.cpu_count() or 1
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else f'{cores} CPU cores'}, {options.backbone}")
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder), options.faces, Recipe(per_identity=4), jobs=cores, report=lambda *_: None)
        faces = Faces([folder], asset.name)
        if device.type == "cpu":
            compare_memory(*prepared(base, "pretrain", "bfloat16", faces, device), device, options.steps)
        for precision in ("float32", "bfloat16"):
            for name in ORDER:
                config, crops = prepared(base, name, precision, faces, device)
                rate, alone = run(name, config, crops, device, options.steps)
                if options.busy:
                    verdict = "reached" if alone >= GOAL * rate else "missed"
                    print(f"  one loading process: {alone:.0f} images/s, {alone / rate:.1f} × (goal {GOAL}: {verdict})")
                else:
                    keeps_up(crops, rate, cores)


if __name__ == "__main__":
    main()
