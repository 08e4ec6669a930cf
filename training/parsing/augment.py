"""Portraits to training crops: other framings, backgrounds, things in front, light, and cameras.

Everything random is drawn from one generator, which the caller seeds with the step.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from model.parsing import Part
from training.parsing.config import AugmentConfig
from training.parsing.degrade import degrade
from training.parsing.portraits import UNKNOWN


def augment(
    images: UInt8[Tensor, "B 3 S S"],
    halves: UInt8[Tensor, "B 3 s s"],
    parts: UInt8[Tensor, "B S S"],
    eyes: Float[Tensor, "B 2 2"],
    cut_out: Bool[Tensor, "B"],
    side: int,
    config: AugmentConfig,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "B 3 side side"], Int[Tensor, "B side side"]]:
    """Crops, RGB in [0, 1], with their parts (`UNKNOWN` where there is none).

    Args:
        halves: the images at half their size, for crops that show them small.
        eyes: centres of the right and left eye, px of the images, where glasses are put.
        cut_out: pictures without a background of their own, which get one.
        side: of the crops, px.
    """
    count = len(images)
    glasses = (_uniform(count, generator) < config.glasses) & eyes.isfinite().all((-2, -1))
    width = torch.exp(torch.empty(count).uniform_(*(math.log(value) for value in config.face), generator=generator))
    grid = _framing(width, side, config, generator)
    small = width * side / images.shape[-1] < 0.62  # half the pixels are enough then, and nothing aliases
    mirrored = _uniform(count, generator) < 0.5  # what lies around the portrait: its mirror image, or nothing
    crops, known = [], []
    for k in range(count):
        picture = (halves if small[k] else images)[k].float() / 255
        part = parts[k]
        if glasses[k]:
            picture, part = _with_glasses(picture, part, eyes[k] * picture.shape[-1] / part.shape[-1], generator)
        padding = "reflection" if mirrored[k] else "zeros"
        crops.append(grid_sample(picture[None], grid[k, None], padding_mode=padding, align_corners=False))
        known.append(
            grid_sample(part[None, None].float(), grid[k, None], "nearest", "border", align_corners=False)[:, 0]
        )
    inside = (grid.abs() < 1).all(-1)
    outside = torch.where(mirrored, float(UNKNOWN), float(Part.BACKGROUND))[:, None, None]
    crop, known = torch.cat(crops), torch.where(inside, torch.cat(known), outside)
    crop, known = _with_background(crop, known, inside[:, None], cut_out, config, generator)
    for k in torch.nonzero(_uniform(count, generator) < config.occlude).flatten().tolist():
        crop[k], known[k] = _occluded(crop[k], known[k], generator)
    crop = _recoloured(crop, config, generator)
    return degrade(crop, config, generator), known.long()


def _framing(
    width: Float[Tensor, "B"], side: int, config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "B side side 2"]:
    """Turned, flipped, stretched, shifted: where in the portrait, [−1, 1], the pixels of the crop lie.

    Args:
        width: of the whole portrait, in crops. A large face may lie far out of the crop, so that the frame cuts it.
    """
    count = len(width)
    draw = lambda: _uniform(count, generator)  # noqa: E731
    roll = math.radians(config.rotate) * (2 * draw() - 1) * draw()
    aspect = torch.exp(config.stretch * (2 * draw() - 1))
    mirror = torch.where(draw() < 0.5, -1.0, 1.0)
    shear = 2 * config.stretch / 3 * (2 * draw() - 1)
    shift = config.shift * (2 * torch.stack([draw(), draw()], -1) - 1)
    c, s = roll.cos(), roll.sin()
    turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    skew = torch.zeros(count, 2, 2)
    skew[:, 0, 0], skew[:, 1, 1], skew[:, 0, 1] = mirror * aspect, 1 / aspect, shear
    linear = skew @ turn / width[:, None, None]
    T = torch.cat([linear, (2 * shift)[..., None]], -1)
    return affine_grid(T, [count, 3, side, side], align_corners=False)


def _with_background(
    crops: Tensor, parts: Tensor, inside: Tensor, cut_out: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Another background for some, and for those without one: what lies behind the person, and around the picture."""
    count, side = len(crops), crops.shape[-1]
    replaced = cut_out | (_uniform(count, generator) < config.background)
    around = _uniform(count, generator) < 0.5  # else the portrait's surroundings stay as they are
    for k in torch.nonzero(replaced).flatten().tolist():
        person = (parts[k] != Part.BACKGROUND) & inside[k, 0]
        surroundings = around[k] | cut_out[k]
        wall = texture(side, generator)
        if torch.rand((), generator=generator) < 0.3:  # someone else's picture, out of focus
            other = crops[(k + 1) % count]
            wall = _blurred(other, int(torch.randint(6, 24, (), generator=generator)))
        # A soft edge: one pixel of both.
        weight = avg_pool2d(person[None, None].float(), 3, 1, 1, count_include_pad=False)[0]
        crops[k] = torch.where(inside[k] | surroundings, wall + weight * (crops[k] - wall), crops[k])
        if surroundings:
            parts[k] = torch.where(inside[k, 0], parts[k], float(Part.BACKGROUND))
    return crops, parts


def _occluded(crop: Tensor, parts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One or two things in front: bars, discs and shapeless ones, some of the colour of what they hide."""
    side = crop.shape[-1]
    y, x = _coordinates(side)
    for _ in range(int(torch.randint(1, 3, (), generator=generator))):
        u = torch.rand(8, generator=generator)
        angle, long, wide = math.pi * u[0], 0.08 + 0.45 * u[1] ** 2, 0.05 + 0.25 * u[2] ** 2
        dx, dy = x - (2 * u[3] - 1), y - (2 * u[4] - 1)
        along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
        if u[5] < 0.35:
            distance = torch.maximum(along.abs() / (long + 0.2), across.abs() / wide)
        else:
            distance = torch.hypot(along / long, across / wide)
            if u[5] > 0.65:  # shapeless
                waves = torch.rand(1, 1, 6, 6, generator=generator)
                distance = distance + 1.2 * interpolate(waves, (side, side), mode="bicubic")[0, 0] - 0.6
        cover = (0.5 + (1 - distance) * 0.5 * side * min(long, wide) / 2).clamp(0, 1)
        colour = texture(side, generator)
        if u[6] < 0.3:  # as a hand in front of the face
            place = crop[:, int(side * (0.3 + 0.4 * u[3])), int(side * (0.3 + 0.4 * u[4]))]
            colour = place[:, None, None] * (0.7 + 0.6 * colour.mean(0))
        crop = crop + cover * (colour.clamp(0, 1) - crop)
        parts = torch.where(cover > 0.5, float(Part.BACKGROUND), parts)
    return crop, parts


def _with_glasses(
    picture: Float[Tensor, "3 s s"], parts: UInt8[Tensor, "S S"], eyes: Float[Tensor, "2 2"], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Glasses of any make: frames, clear, tinted or mirroring lenses, a bridge and temples.

    Args:
        parts: a whole multiple of the picture in size.
        eyes: px of the picture.
    """
    side = picture.shape[-1]
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    u = torch.rand(12, generator=generator)
    between = eyes[1] - eyes[0]
    apart = between.norm().clamp(min=8.0)
    ex, ey = (between / apart).tolist()
    middle = eyes.mean(0)
    along = ((x - middle[0]) * ex + (y - middle[1]) * ey) / apart
    across = ((y - middle[1]) * ex - (x - middle[0]) * ey) / apart - 0.06 + 0.1 * (u[0] - 0.5)
    wide, high = 0.3 + 0.15 * u[1], 0.17 + 0.2 * u[2]
    power, thick = 2 + 3 * u[3], 0.015 + 0.07 * u[4] ** 2
    off = (along.abs() - 0.5 - 0.03 * u[5]).abs()
    reach = ((off / wide) ** power + (across.abs() / high) ** power) ** (1 / power)
    edge = thick / min(wide, high)
    lens = reach < 1 - edge / 2
    bars = (along.abs() < 0.5 - wide + 0.03) & ((across + 0.3 * high).abs() < thick / 2 + 0.008)
    bars |= (along.abs() > 0.5 + wide) & (along.abs() < 1.05) & ((across + 0.4 * high).abs() < thick / 2 + 0.012)
    factor = parts.shape[-1] // side
    bars &= parts[::factor, ::factor] != Part.HAIR
    frame = ((reach - 1).abs() < edge / 2) | bars
    if u[6] < 0.15:  # rimless
        frame = bars | ((reach - 1).abs() < 0.15 * edge)
    colour = torch.rand(3, 1, 1, generator=generator) * u[7] * 0.8
    dark = 0.05 * u[8] if u[6] < 0.55 else 0.35 + 0.65 * u[8]
    tint = torch.rand(3, 1, 1, generator=generator) * 0.35
    glow = (0.35 * u[9] ** 2 * (0.5 + torch.sin(6 * along + 9 * across * u[10] + 6 * u[11]))).clamp(min=0)
    covered = picture + dark * (tint - picture) + (glow if u[9] > 0.5 else 0)
    out = torch.where(lens, covered, picture)
    out = torch.where(frame, colour + 0.15 * (picture - colour), out)
    drawn = (lens | frame).repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    return out.clamp(0, 1), torch.where(drawn, int(Part.GLASSES), parts)


def _recoloured(crops: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Exposure, contrast, gamma, white balance, saturation, and light from one side."""
    count, side, k = len(crops), crops.shape[-1], config.colour
    spread = lambda *shape: 2 * torch.rand(count, *shape, generator=generator) - 1  # noqa: E731
    light = interpolate(spread(1, 3, 3), (side, side), mode="bicubic").clamp(-1, 1)
    light = light * torch.rand(count, 1, 1, 1, generator=generator) ** 2
    crops = crops * torch.exp(k * (0.5 * spread(1, 1, 1) + 0.12 * spread(3, 1, 1) + 0.7 * light))
    grey = crops.mean(1, keepdim=True)
    middle = crops.mean((1, 2, 3), keepdim=True)
    saturation = torch.exp(0.6 * k * spread(1, 1, 1))
    saturation[_uniform(count, generator) < config.grey] = 0
    crops = grey + saturation * (crops - grey)
    crops = middle + torch.exp(0.3 * k * spread(1, 1, 1)) * (crops - middle) + 0.06 * k * spread(1, 1, 1)
    return crops.clamp(1e-4, 1) ** torch.exp(0.4 * k * spread(1, 1, 1))


def texture(side: int, generator: torch.Generator) -> Float[Tensor, "3 side side"]:
    """A made-up surface: colours at several scales, sometimes edges; about [0, 1]."""
    out = torch.rand(3, 1, 1, generator=generator).expand(3, side, side)
    for cells in (2, 4, 9, 22, 60):
        if torch.rand((), generator=generator) < 0.55:
            colour = torch.rand((), generator=generator)
            field = torch.rand(1, 3, cells, cells, generator=generator) - 0.5
            field = field.mean(1, keepdim=True) + colour * (field - field.mean(1, keepdim=True))
            hard = torch.rand((), generator=generator) < 0.3
            field = interpolate(field, (side, side), mode="nearest" if hard else "bilinear")
            out = out + 1.2 * torch.rand((), generator=generator) * field[0]
    return out.clamp(0, 1)


def _blurred(picture: Float[Tensor, "3 S S"], factor: int) -> Float[Tensor, "3 S S"]:
    small = interpolate(picture[None], scale_factor=1 / factor, mode="area")
    return interpolate(small, picture.shape[-2:], mode="bilinear", align_corners=False)[0].flip(-2)


def _coordinates(side: int) -> tuple[Tensor, Tensor]:
    axis = (torch.arange(side) + 0.5) * 2 / side - 1
    return torch.meshgrid(axis, axis, indexing="ij")[0], torch.meshgrid(axis, axis, indexing="ij")[1]


def _uniform(count: int, generator: torch.Generator) -> Float[Tensor, "count"]:
    return torch.rand(count, generator=generator)
