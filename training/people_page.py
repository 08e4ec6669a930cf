"""What the shipped networks make of the astronaut photograph and of rendered heads, for the docs.

``python -m training.people_page [--weights PATH] [--out docs/images/deca-people.png]``
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from skimage import data

from model.io.assets import load_head
from model.io.checkpoints import build_deca, read_checkpoint
from tracker.command import Parser, run
from tracker.image import decode_image, write_image
from tracker.network import network_of, track_photos
from training.data.shards import Shards
from training.evaluate.estimate import Photo, photo_of
from training.evaluate.faces import Finder
from training.evaluate.pictures import UV_SIZE, look
from training.log import ROWS, grid
from training.synthetic.make import Recipe, write_faces

SEED = 20261123
SIZE = 160


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = Parser(prog="python -m training.people_page", description=__doc__)
    parser.add_argument("--weights", default="openhead", metavar="PATH", help="default: the shipped ones")
    parser.add_argument("--out", type=Path, default=Path("docs/images/deca-people.png"), metavar="PICTURE.png")
    options = parser.parse(argv)
    checkpoint = read_checkpoint(options.weights)
    deca = build_deca(checkpoint, load_head(), UV_SIZE, options.weights)
    photos = people()
    faces = [photo.face for photo in photos if photo.face is not None]
    fit = track_photos([p.image for p in photos], faces, deca.head, network_of(deca, checkpoint.errors))
    write_image(options.out, grid(look(deca, fit, photos, np.arange(len(photos)), SIZE)))
    print(f"{options.out}: {len(photos)} people")
    return 0


def people() -> list[Photo]:
    """The astronaut, and rendered people that no training has seen, all with their faces found."""
    with tempfile.TemporaryDirectory() as folder:
        write_faces(folder, ROWS, Recipe(seed=SEED, size=384, turned=30.0))
        rendered = [decode_image(sample.image) for sample in Shards(folder)]
    pictures: list[UInt8[np.ndarray, "H W 3"]] = [np.ascontiguousarray(data.astronaut()), *rendered]
    with Finder() as finder:
        found = [(picture, finder.find(picture)) for picture in pictures]
    return [photo_of(picture, face) for picture, face in found if face is not None][:ROWS]


if __name__ == "__main__":
    sys.exit(run("python -m training.people_page", main))
