"""How long a scan takes: ``python tests/benchmarks/scans.py [--points 100000]``.

A head of openhead is sampled as densely as a scanner sees it; the mean head is laid over it as NoW does. Printed:
seconds of nearest points per 100,000 points and of the whole comparison of one picture, and what the number of points
that the alignment uses changes.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import numpy as np
import torch

from model.head import HeadModel
from model.io.assets import load_head
from training.evaluate.codes import sampled_scan
from training.evaluate.estimate import neutral_heads
from training.evaluate.scan import align_landmarks, align_surface, compare, distances, face_area


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000, help="of the scan (default: 100000)")
    points = parser.parse_args().points
    asset = load_head()
    model = HeadModel(asset)
    shape = torch.randn(1, asset.shapedirs.shape[2], generator=torch.Generator().manual_seed(1))
    (known,), (mean,) = neutral_heads(model, shape), neutral_heads(model, torch.zeros_like(shape))
    scan = sampled_scan(known, asset, points, 0)
    kept = face_area(scan.points, scan.landmarks, 0.7)
    placed = align_landmarks(mean.landmarks, scan.landmarks)
    start = time.perf_counter()
    distances(scan.points, mean, placed)
    nearest = time.perf_counter() - start
    print(f"nearest points: {nearest * 1e5 / points:.2f} s per 100,000")
    start = time.perf_counter()
    result = compare(scan, replace(mean), radius=0.7, scaled=True, refined=True)
    print(
        f"one picture: {time.perf_counter() - start:.2f} s, {kept.sum()} of {points} points in the face area, "
        f"median {np.median(result.distance):.3f} mm, mean {result.distance.mean():.3f} mm"
    )
    for samples in ((1000,), (1000, 10_000), (1000, 10_000, points)):
        start = time.perf_counter()
        fine = align_surface(scan.points[kept], mean, placed, True, samples)
        taken = time.perf_counter() - start
        away = distances(scan.points[kept], mean, fine)
        print(
            f"aligned on {min(samples[-1], kept.sum()):6} points in {taken:.2f} s: "
            f"median {np.median(away):.4f} mm, mean {away.mean():.4f} mm"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
