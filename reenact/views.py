"""Other pictures of the reenacted head: its shape, its shape with wrinkles, and all beside each other."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.mesh import Mesh
from model.params import Camera
from model.uv import UVLayout
from model.views import detail_normal_view, look, shape_view
from reenact.matte import Window

View = Literal["composite", "shape", "detail", "grid"]
VIEWS: tuple[str, ...] = get_args(View)

_BACKGROUND = 0.11
CELL = 384
"""Side of the pictures of a grid, px."""


@torch.no_grad()
def shape_picture(
    mesh: Mesh,
    normals: Float[Tensor, "V 3"],
    camera: Camera,
    window: Window,
    detailed: tuple[UVLayout, Float[Tensor, "3 h w"]] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """The grey head before a dark background, as large as the window.

    Args:
        mesh: one head.
        normals: of its vertices.
        camera: of the whole photograph.
        detailed: normals of the detailed surface over the UV map.
    """
    width, height = window.size
    moved = Camera(camera.s, camera.t - camera.t.new_tensor([window.x0, window.y0]))
    surface = look(mesh, moved, height, width, normals)
    fine = None if detailed is None else detail_normal_view(surface, detailed[1], detailed[0])
    grey, alpha = shape_view(surface, fine)
    picture = grey * alpha + _BACKGROUND * (1 - alpha)
    return (picture.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).contiguous().numpy()


def driver_window(box: Float[np.ndarray, "T 4"], size: tuple[int, int]) -> Window:
    """A square about all of a driver's places, within the video."""
    low, high = box[:, :2].min(0), box[:, 2:].max(0)
    half = min(0.85 * float((high - low).max()), min(size) / 2)
    x, y = (np.clip(c, half, most - half) for c, most in zip((low + high) / 2, size, strict=True))
    return Window(int(x - half), int(y - half), int(x + half), int(y + half))


def grid(pictures: dict[str, UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures side by side with their names, each in a square cell."""
    cells = []
    for name, picture in pictures.items():
        height, width = picture.shape[:2]
        scale = CELL / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shrinks = scale < 1
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        cell = np.zeros((CELL, CELL, 3), np.uint8)
        y, x = (CELL - size[1]) // 2, (CELL - size[0]) // 2
        cell[y : y + size[1], x : x + size[0]] = small
        cells.append(written(cell, name, top=True))
    return np.concatenate(cells, axis=1)


def written(picture: UInt8[np.ndarray, "H W 3"], text: str, *, top: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with a small line of text in a corner, readable on any ground."""
    out = picture.copy()
    height = out.shape[0]
    scale = max(0.35, height / 900)
    (_, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    place = (round(0.4 * tall) + 2, round(1.6 * tall) if top else height - round(0.7 * tall))
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return out
