"""What the networks make of photographs, to be looked at: every face beside its head, plain and with its wrinkles.

  python -m training.evaluate pictures PHOTOS... --weights deca.safetensors --out pictures/
  python -m training.evaluate pictures PHOTOS... --weights deca.safetensors --no-fit --out pictures/

Photographs are pictures or folders of pictures; of each the largest face is taken, as `track` sees it, with the
landmark fit or without. Columns: photograph; coarse head in colour; coarse and detailed shape; the detailed shape with
the expression and jaw of the next person in the list; the same without any expression, so that what an expression adds
to the wrinkles can be seen; albedo, and displacement (grey is none, white 2 mm outwards), over the UV map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from model.camera import lift, lower
from model.crop import Crop
from model.deca import DECA
from model.io.assets import load_head
from model.io.checkpoints import build_deca, read_checkpoint
from model.params import Appearance, Camera, FaceParams
from model.views import composite
from tracker.encode import cut
from tracker.fit import FaceFit, FitConfig
from tracker.image import read_image, write_image
from tracker.network import network_of, track_photos
from tracker.progress import Progress
from training.evaluate.estimate import Photo, photo_of
from training.evaluate.faces import Finder, stacked, tensor
from training.evaluate.looks import rows_of
from training.evaluate.options import parser_of
from training.log import ROWS, grid
from training.prepare.sources import PICTURES

RELIEF = 2e-3
"""Displacement that is white, metres."""
UV_SIZE = 256
"""Texels on a side of what lies over the UV map."""


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("pictures", __doc__)
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTOS", help="pictures, or folders of pictures")
    parser.add_argument("--weights", required=True, metavar="PATH", help="the networks")
    parser.add_argument("--no-fit", dest="fit", action="store_false", help="the network alone")
    parser.add_argument("--count", type=int, default=32, metavar="N", help="at most, spread over all (default: 32)")
    parser.add_argument("--size", type=int, default=256, metavar="PX", help="side of each picture (default: 256)")
    options = parser.parse(argv)
    if options.out is None:
        raise ValueError("--out is missing; name a folder for the pictures")
    if options.count < 2 or options.size < 32:
        raise ValueError("--count must be at least 2 and --size at least 32")
    checkpoint = read_checkpoint(options.weights)
    deca = build_deca(checkpoint, load_head(options.head), UV_SIZE, options.weights)
    names, photos = _faces(_spread(_pictures(options.photos), options.count))
    network = network_of(deca, checkpoint.errors)
    found = [photo.face for photo in photos if photo.face is not None]
    fit = track_photos([photo.image for photo in photos], found, deca.head, network, FitConfig(landmarks=options.fit))
    options.out.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(photos), ROWS):
        rows = np.arange(start, min(start + ROWS, len(photos)))
        page = options.out / f"people-{start // ROWS:02d}.png"
        write_image(page, grid(look(deca, fit, photos, rows, options.size)))
        print(f"{page}: {', '.join(names[row] for row in rows)}")
    return 0


@torch.no_grad()
def look(
    deca: DECA, fit: FaceFit, photos: Sequence[Photo], rows: np.ndarray, size: int
) -> dict[str, Float[Tensor, "rows 3 size size"]]:
    """Pictures of some of the people by column; the driver of the last one is the first one.

    Args:
        fit: a row per photograph, with an appearance where the network was believed.
        rows: of the people to show.
    """
    face = FaceParams(**{f.name: torch.from_numpy(getattr(fit, f.name)).float() for f in fields(FaceParams)})
    appearance = _appearance(fit, deca)
    crops = [photo.crop for photo in photos]
    camera = lower(Camera(torch.from_numpy(fit.camera[:, 0]), torch.from_numpy(fit.camera[:, 1:])), stacked(crops))
    driver = torch.from_numpy((rows + 1) % len(photos))
    index = torch.from_numpy(rows)
    mine, looks, seen = (rows_of(record, index) for record in (face, appearance, camera))
    pictures = tensor([cut(photos[row].image, photos[row].crop, size) for row in rows])
    pixels = lift(seen, Crop(torch.full((len(rows), 2), size / 2), torch.full((len(rows),), float(size))))
    own = deca.decode(mine, looks, seen)
    views = deca.pictures(own, looks.light, pixels, size, size)
    driven = deca.animate(mine, looks, seen, face.expression[driver], face.jaw[driver])
    plain = deca.animate(mine, looks, seen, torch.zeros_like(mine.expression), torch.zeros_like(mine.jaw))
    relief = (own.detail.displacement / RELIEF / 2 + 0.5).clamp(0, 1)[:, None].expand(-1, 3, -1, -1)
    return {
        "input": pictures,
        "coarse": composite(views.image, views.alpha, pictures).clamp(0, 1),
        "coarse shape": composite(views.shape, views.shape_alpha, pictures),
        "detailed shape": composite(views.detail_shape, views.shape_alpha, pictures),
        "next one's expression": deca.detail_shape(driven, pixels, size, size)[0],
        "neutral": deca.detail_shape(plain, pixels, size, size)[0],
        "albedo": interpolate(own.albedo.clamp(0, 1), (size, size), mode="area"),
        "displacement": interpolate(relief, (size, size), mode="area"),
    }


def _appearance(fit: FaceFit, deca: DECA) -> Appearance:
    if fit.appearance is None:
        raise ValueError("the network was not believed in any photograph; look at it alone with --no-fit")
    look = fit.appearance
    return Appearance(*(torch.from_numpy(x).float() for x in (look.albedo, look.light, look.detail)))


def _pictures(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES and not p.stem.endswith("_mask"))
            if not inside:
                raise ValueError(f"{path}: no pictures in there")
            found += inside
        else:
            found.append(path)
    return found


def _spread(paths: list[Path], count: int) -> list[Path]:
    places = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int))
    return [paths[place] for place in places]


def _faces(paths: Sequence[Path]) -> tuple[list[str], list[Photo]]:
    names, photos = [], []
    with Finder() as finder, Progress("faces") as progress:
        for number, path in enumerate(paths):
            image = read_image(path)
            face = finder.find(image)
            progress("photographs", number + 1, len(paths))
            if face is None:
                print(f"{path}: no face, left out")
                continue
            names.append(path.stem)
            photos.append(photo_of(image, face))
    if len(photos) < 2:
        raise ValueError(f"a face in {len(photos)} of {len(paths)} photographs, need two")
    return names, photos
