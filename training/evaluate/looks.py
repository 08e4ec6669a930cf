"""What a network makes of faces that it sees, as codes and as pictures; the error of those pictures in the face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.camera import lift
from model.crop import Crop
from model.deca import DECA, Reconstruction
from model.params import Appearance, CropCamera, FaceParams
from model.uv import sample
from model.views import look
from tracker.progress import Progress
from training.data.faces import Faces
from training.data.sample import Labels
from training.evaluate.batches import batches

RENDERED = 8
"""Faces that are rendered at once."""


@dataclass(frozen=True)
class Seen:
    """Faces with the network's codes.

    Attributes:
        images, masks, landmarks: as in `training.data.sample.Batch`.
        person: the same number for the same person.
        face, appearance, camera: the codes.
        shown: codes that say which expression a photograph shows: the shards' where they are known, else the network's.
        keys: of the faces.
    """

    images: Float[Tensor, "N 3 S S"]
    masks: Float[Tensor, "N 1 S S"]
    landmarks: Float[Tensor, "N 68 2"]
    person: Int[np.ndarray, "N"]
    face: FaceParams
    appearance: Appearance
    camera: CropCamera
    shown: FaceParams
    keys: tuple[str, ...]

    def at(self, rows: Int[np.ndarray, "K"] | slice) -> Seen:
        """Some of the faces."""
        index = rows if isinstance(rows, slice) else torch.from_numpy(rows)
        numbers = np.arange(len(self.person))[rows]
        return Seen(
            self.images[index],
            self.masks[index],
            self.landmarks[index],
            self.person[rows],
            rows_of(self.face, index),
            rows_of(self.appearance, index),
            rows_of(self.camera, index),
            rows_of(self.shown, index),
            tuple(self.keys[i] for i in numbers),
        )


@dataclass(frozen=True)
class Looks:
    """Pictures of heads in their crops.

    Attributes:
        coarse, detailed: RGB, black where no head is.
        face: 1 where the face's skin shows (the UV mask of the detail), else 0.
        texels: where each pixel looks in the UV map, as sampling coordinates.
        landmarks: iBUG-68, [−1, 1].
    """

    coarse: Float[Tensor, "N 3 S S"]
    detailed: Float[Tensor, "N 3 S S"]
    face: Float[Tensor, "N 1 S S"]
    texels: Float[Tensor, "N S S 2"]
    landmarks: Float[Tensor, "N 68 2"]


def rows_of(record, index):
    """Rows of a record of tensors."""
    return type(record)(**{f.name: getattr(record, f.name)[index] for f in fields(record)})


def people_of(faces: Faces, people: int, photos: int, held_out: float = 0.0) -> Int[np.ndarray, "N"]:
    """Rows of several photographs of several people, those of a person together, spread over all people.

    Args:
        people, photos: at most.
        held_out: only people that training with this share of `DataConfig.held_out` never saw; 0 takes all.

    Raises:
        ValueError: fewer than two people with two photographs.
    """
    taken = faces.held_out(held_out) if held_out else np.ones(len(faces.people), bool)
    numbers, counts = np.unique(faces.people[taken], return_counts=True)
    several = numbers[counts >= 2]
    if len(several) < 2:
        raise ValueError(
            f"{len(several)} people with two photographs in these shards, need two; identities come from the folders "
            "of python -m training.prepare, one a person" + (", or raise --held-out" if held_out else "")
        )
    chosen = several[np.unique(np.linspace(0, len(several) - 1, people).round().astype(int))]
    rows = []
    for person in chosen:
        mine = np.flatnonzero(faces.people == person)
        rows.append(mine[np.unique(np.linspace(0, len(mine) - 1, min(photos, len(mine))).round().astype(int))])
    return np.concatenate(rows)


@torch.no_grad()
def see(deca: DECA, faces: Faces, chosen: Int[np.ndarray, "N"], name: str) -> Seen:
    """The network's codes of the chosen faces."""
    parts: list[tuple] = []
    with Progress(name) as progress:
        for batch in batches(faces, chosen, deca.head.asset):
            face, appearance, camera = deca.encode(batch.images)
            parts.append((batch, face, appearance, camera, _known_or(batch.labels, face)))
            progress("codes", sum(len(part[0].keys) for part in parts), len(chosen))

    def joined(place: int):
        records = [part[place] for part in parts]
        return type(records[0])(
            **{f.name: torch.cat([getattr(r, f.name) for r in records]) for f in fields(records[0])}
        )

    images, masks, landmarks = (torch.cat([getattr(p[0], x) for p in parts]) for x in ("images", "masks", "landmarks"))
    keys = tuple(key for part in parts for key in part[0].keys)
    return Seen(images, masks, landmarks, faces.people[chosen], joined(1), joined(2), joined(3), joined(4), keys)


def _known_or(labels: Labels, face: FaceParams) -> FaceParams:
    known = labels.known[:, None]
    return FaceParams(
        **{f.name: torch.where(known, getattr(labels.face, f.name), getattr(face, f.name)) for f in fields(FaceParams)}
    )


@torch.no_grad()
def look_at(
    deca: DECA,
    face: FaceParams,
    appearance: Appearance,
    camera: CropCamera,
    size: int,
    displacement: Float[Tensor, "N h w"] | None = None,
) -> Looks:
    """Render heads in their crops.

    Args:
        size: side of the pictures, px.
        displacement: detail to show in place of what F_d says, metres.
    """
    parts = []
    for rows in _slices(len(camera.s)):
        shown = None if displacement is None else displacement[rows]
        codes = rows_of(face, rows), rows_of(appearance, rows), rows_of(camera, rows)
        parts.append(_look(deca, codes[0], codes[1], codes[2], size, shown))
    return Looks(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Looks)))


def _slices(count: int) -> Iterator[slice]:
    for start in range(0, count, RENDERED):
        yield slice(start, min(start + RENDERED, count))


def _look(
    deca: DECA, face: FaceParams, appearance: Appearance, camera: CropCamera, size: int, displacement: Tensor | None
) -> Looks:
    made: Reconstruction = deca.decode(face, appearance, camera)
    if displacement is not None:
        detail = deca.surface(made.mesh, displacement, made.normals)
        made = replace(made, displacement=displacement, detail=detail)
    count = len(camera.s)
    pixels = lift(camera, Crop(torch.full((count, 2), size / 2), torch.full((count,), float(size))))
    surface = look(made.mesh, pixels, size, size, made.normals)
    pictures = deca.pictures_of(surface, made, appearance.light)
    grid = surface.grid(deca.layout)
    skin = sample(deca.surface.mask.expand(count, 1, -1, -1), grid) * surface.alpha
    return Looks(pictures.image, pictures.detail_image, (skin > 0.5).float(), grid, made.projected)


def photometric_error(
    rendered: Float[Tensor, "N 3 S S"], images: Float[Tensor, "N 3 S S"], region: Float[Tensor, "N 1 S S"]
) -> Float[np.ndarray, "N"]:
    """Mean absolute difference of RGB in a region, percent of white; NaN where the region is empty."""
    area = region.sum((1, 2, 3))
    error = ((rendered - images).abs().mean(1, keepdim=True) * region).sum((1, 2, 3)) / area
    return (100 * torch.where(area > 0, error, torch.nan)).numpy()


def mean_of(errors: Float[np.ndarray, "N"]) -> float:
    """Mean of those that are known; NaN where none is (no face in any picture)."""
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else float("nan")
