"""What photographs of faces show alike of lighter and darker skin; the loss `relief` takes it off (`training.relief`).

python -m training.usual_relief SHARDS... --weights deca.safetensors --out usual.npz
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from model.io.assets import load_head
from model.io.checkpoints import load_deca
from tracker.command import Parser, run
from tracker.progress import Progress
from training.evaluate.batches import batches, open_faces
from training.relief import relief_of
from training.stages.pretrain import crop_pixels


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: what photographs show on average."""
    parser = Parser(prog="python -m training.usual_relief", description=__doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS")
    parser.add_argument("--weights", required=True, metavar="PATH", help="whose E_c is used")
    parser.add_argument("--out", required=True, type=Path, metavar="USUAL.npz")
    parser.add_argument("--size", type=int, default=256, metavar="TEXELS", help="side of the map (default: 256)")
    parser.add_argument("--count", type=int, default=400, metavar="N", help="faces, at most (default: 400)")
    options = parser.parse(argv)
    if options.size < 32 or options.count < 1:
        raise ValueError("--size must be at least 32 and --count at least 1")
    asset = load_head("openhead")
    deca = load_deca(options.weights, asset, options.size).eval()
    relief = relief_of(deca)
    faces = open_faces(options.shards, asset.name)
    chosen = np.unique(np.linspace(0, len(faces) - 1, options.count).astype(int))
    total, count, done = torch.zeros_like(relief.usual), torch.zeros_like(relief.usual), 0
    with Progress("usual relief") as progress, torch.no_grad():
        for batch in batches(faces, chosen, asset, deca.config.resolution, 8):
            codes = deca.encode_coarse(batch.images)
            camera = crop_pixels(codes.camera, batch.images.shape[-1])
            contrast, weight = relief.contrast(batch.images, deca.head.mesh(codes.face), camera)
            total, count = total + contrast.sum(0), count + weight.sum(0)
            done += len(batch.images)
            progress("faces", done, len(chosen))
    usual = total / count.clamp(min=1)
    both = (usual + usual.flip(-1)) / 2  # nothing that all people share is one-sided but light
    np.savez_compressed(options.out, usual=both.numpy(), head=asset.name)
    print(f"{options.out}: {len(chosen)} faces, contrast {float(both[count > 1].abs().mean()):.3f} on average")
    return 0


if __name__ == "__main__":
    sys.exit(run("python -m training.usual_relief", main))
