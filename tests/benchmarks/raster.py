"""The rasterisers side by side, and the overlay of the preview: ``python tests/benchmarks/raster.py [--slow]``.

All of them draw the same head in turns within one run, so that what else the machine does falls on all alike; compare
the ratios rather than the milliseconds. ``--slow`` adds the NumPy reference, which takes some seconds per picture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from model.camera import project_with_depth
from model.head import HeadModel
from model.io.assets import load_head
from model.params import Camera
from model.raster import cpu, reference
from model.raster import torch as vectorised
from model.render import clay, overlay


def in_turns(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each task, ms; every task runs once per round, after one run that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values[1:])) * 1e3 for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--slow", action="store_true", help="the NumPy reference too, at 224 pixels")
    arguments = parser.parse_args()

    head = HeadModel(load_head())
    params = head.neutral()
    params.pose[1] = 0.3
    vertices, faces = head(params), head.faces
    low, high = vertices[:, :2].amin(0), vertices[:, :2].amax(0)

    def framed(size: int) -> tuple[torch.Tensor, Camera]:
        """The head fills nine tenths of a square frame."""
        s = 0.9 * size / (high - low).max()
        middle = (low + high) / 2
        camera = Camera(s, torch.stack([size / 2 - s * middle[0], size / 2 + s * middle[1]]))
        return project_with_depth(camera, vertices), camera

    print(f"{len(faces)} triangles, {torch.get_num_threads()} threads, median of {arguments.rounds} rounds in turns")
    for size in (224, 512, 1024):
        points, _ = framed(size)
        tasks: dict[str, Callable[[], object]] = {
            "cpu": lambda p=points, n=size: cpu.rasterise(p, faces, n, n),
            "cpu, culled": lambda p=points, n=size: cpu.rasterise(p, faces, n, n, cull=True),
            "cpu, 8 heads": lambda p=points, n=size: cpu.rasterise(p.expand(8, -1, -1), faces, n, n),
            "torch": lambda p=points, n=size: vectorised.rasterise(p, faces, n, n),
        }
        if torch.cuda.is_available():
            p, f = points.cuda(), faces.cuda()
            tasks["torch, cuda"] = lambda p=p, f=f, n=size: vectorised.rasterise(p, f, n, n)
            tasks["torch, cuda, 8 heads"] = lambda p=p, f=f, n=size: vectorised.rasterise(p.expand(8, -1, -1), f, n, n)
        times = in_turns(tasks, arguments.rounds)
        if arguments.slow and size == 224:
            slow = {"reference": lambda p=points, n=size: reference.rasterise(p, faces, n, n)}
            times |= in_turns(slow, 1)
        for name, value in times.items():
            print(f"{size:5}²  {name:22}{value:10.2f} ms  {value / times['cpu']:9.2f} × cpu")

    paint = clay(head.asset)
    for size in (512, 1080):
        _, camera = framed(size)
        frame = np.full((size, size, 3), 90, np.uint8)
        mesh = head.mesh(params)
        times = in_turns(
            {
                "head model": lambda: head.mesh(params),
                "overlay": lambda f=frame, m=mesh, c=camera: overlay(f, m, c, paint),
            },
            arguments.rounds,
        )
        total = sum(times.values())
        parts = ", ".join(f"{name} {value:.2f} ms" for name, value in times.items())
        print(f"{size:5}²  {parts}: {1000 / total:.0f} frames per second")


if __name__ == "__main__":
    main()
