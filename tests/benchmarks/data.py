"""How many faces a second are prepared and loaded: ``python tests/benchmarks/data.py [--shards DIR] [--photos DIR]``.

Per processor core: what is counted is the processor's time, so that other work on the machine matters less. Without
--shards and --photos, the astronaut of scikit-image is prepared again and again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from model.io.assets import load_head
from training.config import DataConfig, StageConfig
from training.data.faces import Faces
from training.data.loader import Crops
from training.data.order import Order
from training.prepare.config import PrepareConfig
from training.prepare.pipeline import Job, prepare
from training.prepare.sources import find
from training.prepare.worker import Worker, with_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder or a list, as for python -m training.prepare")
    parser.add_argument("--count", type=int, default=64, help="photographs that are prepared")
    parser.add_argument("--batches", type=int, default=20, help="of 32 faces, that are loaded")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        photos = options.photos or astronauts(Path(scratch) / "photos", options.count)
        layout, items = find(photos)
        items = [item for item in items if not item.is_video][: options.count]
        config = replace(with_frames(PrepareConfig(), layout), duplicate=0)
        worker = Worker(config)
        worker(items[:2])  # compiles the rasteriser
        start = time.process_time()
        kept = sum(outcome.face is not None for outcome in worker(items))
        print(f"prepare: {len(items) / (time.process_time() - start):7.1f} photographs a second and core ({kept} kept)")
        worker.close()
        shards = options.shards
        if shards is None:
            shards = Path(scratch) / "shards"
            prepare(Job(items, shards, config))
        load(shards, options.batches)


def load(shards: Path, batches: int) -> None:
    """Prints how fast batches come, plain and with every change."""
    asset = load_head()
    faces = Faces([shards], asset.name)
    changed = {"colour": 0.5, "degrade": 0.5, "occlude": 0.5, "rotate": 20.0, "shift": 0.05}
    for name, config in (
        ("as the paper", DataConfig(held_out=0.0)),
        ("all changes", DataConfig(held_out=0.0, **changed)),
    ):
        order = Order(faces, config, StageConfig(subjects=32, images=1), seed=0)
        crops = Crops(faces, order, asset, config, 224, seed=0)
        crops[0]
        start = time.process_time()
        for step in range(1, batches + 1):
            crops[step]
        rate = 32 * batches / (time.process_time() - start)
        print(f"load, {name + ':':<13} {rate:7.1f} faces a second and core")


def astronauts(folder: Path, count: int) -> Path:
    """The photograph, many times, each a person of its own."""
    from PIL import Image
    from skimage import data

    folder.mkdir()
    image = Image.fromarray(data.astronaut())
    for number in range(count):
        image.save(folder / f"{number:04}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
