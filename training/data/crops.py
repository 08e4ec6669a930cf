"""From a stored picture to the networks' square crop, and what becomes of landmarks, masks and labels.

A crop is a similarity of the picture: moved, scaled and perhaps rolled. A scaled-orthographic camera sees a rolled
picture of a head as the head turned about the camera's axis, under a light that turned with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from model.camera import lower
from model.crop import Crop
from model.head import Skeleton
from model.params import Camera
from training.config import DataConfig
from training.data.sample import Labels

EVALUATION_SCALE = 1.6
"""Side of the crop over the landmarks' box where nothing is random."""


@dataclass(frozen=True)
class Cut:
    """Where a crop lies in the stored picture.

    Attributes:
        centre: x, y, px.
        side: px.
        roll: radians; the picture is turned by it, clockwise as one sees it.
    """

    centre: Float[np.ndarray, "2"]
    side: float
    roll: float = 0.0

    def matrix(self, resolution: int) -> Float[np.ndarray, "2 3"]:
        """Pixels of the stored picture to pixels of the crop, ``resolution`` on a side."""
        turn = resolution / self.side * _turn(self.roll)
        return np.concatenate([turn, (resolution / 2 - turn @ self.centre)[:, None]], axis=1)

    def points(self, points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
        """Pixels of the stored picture to the crop's [−1, 1]."""
        return (points - self.centre) @ _turn(self.roll).T * (2 / self.side)


def evaluation_cut(landmarks: Float[np.ndarray, "68 2"]) -> Cut:
    """The crop of validation: nothing is random."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return Cut((low + high) / 2.0, EVALUATION_SCALE * float((high - low).mean()))


def training_cut(landmarks: Float[np.ndarray, "68 2"], config: DataConfig, random: np.random.Generator) -> Cut:
    """A random crop by the paper's rule: a square about the middle of the landmarks' box, its side the mean of the
    box's sides times a random scale. Roll and shift are zero unless the settings ask for them."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    scale, roll, x, y = random.random(4)
    side = (config.scale[0] + scale * (config.scale[1] - config.scale[0])) * float((high - low).mean())
    shift = config.shift * side * (2 * np.array([x, y]) - 1)
    return Cut((low + high) / 2.0 + shift, side, math.radians(config.rotate) * (2 * roll - 1))


def cut_labels(labels: Labels, cuts: list[Cut], skeleton: Skeleton) -> Labels:
    """Labels of stored pictures to those of their crops (a batch).

    With A the turn of the camera's axes, the head's rotation becomes A R. It is about the root joint j, which the
    roll moves as all else, so that the camera is shifted by (A − 1) j.

    Args:
        labels: a batch, with full-frame cameras.
        skeleton: of the head that the labels are for; it knows where the root joint is.
    """
    assert isinstance(labels.camera, Camera)
    camera, face, light = labels.camera, labels.face, labels.light
    centre = torch.from_numpy(np.stack([cut.centre for cut in cuts])).to(camera.t)
    side = torch.tensor([cut.side for cut in cuts]).to(camera.s)
    if any(cut.roll for cut in cuts):
        roll = torch.tensor([cut.roll for cut in cuts]).to(camera.s)
        # Clockwise in the picture, where y goes down, is a negative turn about the camera's z.
        turn = roma.rotvec_to_rotmat(torch.stack([0 * roll, 0 * roll, -roll], dim=-1))
        root = skeleton(face).rest[:, 0]
        moved = (turn @ root[..., None])[..., 0] - root
        from_centre = camera.t - centre
        flipped = torch.stack([from_centre[:, 0], -from_centre[:, 1]], dim=-1)
        flipped = (turn[:, :2, :2] @ flipped[..., None])[..., 0] + camera.s[:, None] * moved[:, :2]
        camera = Camera(camera.s, centre + torch.stack([flipped[:, 0], -flipped[:, 1]], dim=-1))
        pose = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(face.pose))
        face = replace(face, pose=torch.where(labels.known[:, None], pose, face.pose))
        light = turn_light(light, -roll)
    one = torch.ones_like(camera.s)
    known = Camera(torch.where(labels.known, camera.s, one), camera.t)  # nothing is divided by zero
    crop = lower(known, Crop(centre, side))
    crop = replace(
        crop,
        s=torch.where(labels.known, crop.s, 0 * one),
        t=torch.where(labels.known[:, None], crop.t, 0 * crop.t),
    )
    return replace(labels, face=face, light=light, camera=crop)


def turn_light(light: Float[Tensor, "batch 9 3"], angle: Float[Tensor, "batch"]) -> Float[Tensor, "batch 9 3"]:
    """Light that turns about the camera's z by an angle, radians, counter-clockwise as the camera sees it.

    Shading of turned normals under turned light is the shading before. With `model.shading.sh_basis`: 1, z and
    3z² − 1 stay; (x, y) and (xz, yz) turn by the angle; (x² − y², 2 xy), whose factors are equal too, by twice it.
    """
    c, s = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
    c2, s2 = torch.cos(2 * angle)[:, None], torch.sin(2 * angle)[:, None]
    constant, x, y, z, xy, xz, yz, x2_y2, z2 = light.unbind(1)
    turned = [
        constant,
        c * x - s * y,
        s * x + c * y,
        z,
        s2 * x2_y2 + c2 * xy,
        c * xz - s * yz,
        s * xz + c * yz,
        c2 * x2_y2 - s2 * xy,
        z2,
    ]
    return torch.stack(turned, dim=1)


def _turn(angle: float) -> np.ndarray:
    """A turn of pixels, clockwise as one sees them (y goes down)."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])
