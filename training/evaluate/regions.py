"""Where on a face wrinkles are: forehead, crow's feet, nasolabial folds, as masks over the UV map of any head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from model.deca import DECA
from model.landmarks import on_mesh
from model.mesh import Mesh, vertex_normals


def wrinkle_regions(deca: DECA) -> dict[str, Float[Tensor, "h w"]]:
    """Masks, 0 or 1, over the UV map, the same on any head with landmarks: boxes around its iBUG points, seen from the
    front, on skin that shows detail. Both sides of the face are in one mask.

    forehead: between the brows' outer ends, from just above the brows to about as far above them as the nose is long.
    crow's feet: from just beside the outer eye corner outwards by 0.6 eye widths, 0.45 eye widths up and down.
    nasolabial folds: outside of the line from the nostril to the corner of the mouth and half as far above the nostril,
    a quarter of the mouth's width wide.
    face: all skin that shows detail.
    """
    asset = deca.head.asset
    assert asset.landmarks is not None
    template = deca.head.template
    points = on_mesh(template, deca.head.faces, asset.landmarks.full68)
    normals = vertex_normals(Mesh(template, deca.head.faces))
    x, y, _, _, _, facing = deca.layout.carry(torch.cat([template, normals], dim=-1))
    skin = (deca.surface.mask > 0.5) & (facing > 0) & (deca.layout.covered > 0)

    brows, nose = points[17:27], points[27:36]
    length = nose[:, 1].max() - nose[:, 1].min()
    above = y - brows[:, 1].max()
    forehead = (x > brows[0, 0]) & (x < brows[-1, 0]) & (above > 0.1 * length) & (above < 0.95 * length)

    feet = torch.zeros_like(skin)
    folds = torch.zeros_like(skin)
    quarter = (points[54, 0] - points[48, 0]) / 4
    for side, outer, inner, wing, corner in ((-1, 36, 39, 31, 48), (1, 45, 42, 35, 54)):
        width = (points[outer] - points[inner]).norm()
        out = side * (x - points[outer, 0])
        feet |= (out > 0.1 * width) & (out < 0.7 * width) & ((y - points[outer, 1]).abs() < 0.45 * width)
        share = (points[wing, 1] - y) / (points[wing, 1] - points[corner, 1])
        line = points[wing, 0] + share.clamp(min=0) * (points[corner, 0] - points[wing, 0])
        off = side * (x - line)
        folds |= (share > -0.5) & (share < 1) & (off > 0.45 * quarter) & (off < 1.45 * quarter)
    masks = {"forehead": forehead, "crow's feet": feet, "nasolabial folds": folds, "face": torch.ones_like(skin)}
    return {name: (mask & skin).float() for name, mask in masks.items()}
