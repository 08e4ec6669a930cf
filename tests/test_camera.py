"""Cameras and crops: signs, round trips, and that lifting a crop camera changes no pixel."""

import pytest
import torch

from model.camera import lift, lower, project, project_crop, project_with_depth, unproject
from model.crop import Crop, T_frame_crop, crop_of_box, crop_of_landmarks, to_crop, to_frame
from model.params import Camera, CropCamera

BATCHES = pytest.mark.parametrize("batch", [(), (3,), (2, 3)])


def uniform(*shape: int, low: float = -1, high: float = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=generator)


def test_axes() -> None:
    camera = Camera(torch.tensor(1000.0), torch.tensor([300.0, 200.0]))
    points = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    expected = torch.tensor([[300.0, 200, 0], [400, 200, 0], [300, 100, 0], [300, 200, 100]])  # up is up, near is large
    torch.testing.assert_close(project_with_depth(camera, points), expected)
    torch.testing.assert_close(project(camera, points), expected[:, :2])


@BATCHES
def test_unprojecting_undoes_projecting(batch: tuple[int, ...]) -> None:
    camera = Camera(uniform(*batch, low=500, high=2000), uniform(*batch, 2, low=0, high=900))
    points = uniform(*batch, 7, 3, low=-0.2, high=0.2, seed=1)
    image = project_with_depth(camera, points)
    torch.testing.assert_close(unproject(camera, image[..., :2], image[..., 2]), points)


@BATCHES
def test_lifting_changes_no_pixel(batch: tuple[int, ...]) -> None:
    crop = Crop(uniform(*batch, 2, low=100, high=900), uniform(*batch, low=100, high=500, seed=1))
    camera = CropCamera(uniform(*batch, low=7, high=9, seed=2), uniform(*batch, 2, low=-0.05, high=0.05, seed=3))
    points = uniform(*batch, 7, 3, low=-0.15, high=0.15, seed=4)
    seen = project_crop(camera, points)
    torch.testing.assert_close(project(lift(camera, crop), points), to_frame(crop, seen[..., :2]))
    back = lower(lift(camera, crop), crop)
    torch.testing.assert_close(back.s, camera.s)
    torch.testing.assert_close(back.t, camera.t)


def test_deca_crop_camera() -> None:
    """x' = s (x + tx), y' = s (y + ty), z' = s z, then y and z negated."""
    seen = project_crop(CropCamera(torch.tensor(8.0), torch.tensor([0.01, 0.02])), torch.tensor([[0.05, 0.03, 0.02]]))
    torch.testing.assert_close(seen, torch.tensor([[0.48, -0.40, -0.16]]))


@BATCHES
def test_the_crop_transform_agrees_with_the_normalised_one(batch: tuple[int, ...]) -> None:
    crop = Crop(uniform(*batch, 2, low=100, high=900), uniform(*batch, low=100, high=500, seed=1))
    pixels = uniform(*batch, 5, 2, low=0, high=224, seed=2)
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
    mapped = homogeneous @ T_frame_crop(crop).mT.to(torch.float64)
    torch.testing.assert_close(mapped[..., :2], to_frame(crop, pixels / 224 * 2 - 1))
    torch.testing.assert_close(to_crop(crop, to_frame(crop, pixels)), pixels)


def test_crops_around_faces() -> None:
    points = torch.tensor([[100.0, 50.0], [180.0, 150.0], [140.0, 90.0]])
    crop = crop_of_landmarks(points)
    torch.testing.assert_close(crop.centre, torch.tensor([140.0, 100.0]))
    torch.testing.assert_close(crop.size, torch.tensor(1.25 * 1.1 * 90))
    crop = crop_of_box(torch.tensor([100.0, 50.0, 180.0, 150.0]))
    torch.testing.assert_close(crop.centre, torch.tensor([140.0, 100.0 + 0.12 * 90]))
    torch.testing.assert_close(crop.size, torch.tensor(1.25 * 90))
