"""Weights to begin training with: the first prediction is the mean face, seen as a crop shows faces, in plain light."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.asset import HeadAsset
from model.crop import RESOLUTION
from model.deca import DECA, DECAConfig
from model.detail_decoder import DetailDecoder
from training import spread
from training.config import TrainConfig

_FACTOR = 0.1
"""What the last layers' usual random weights are multiplied by: codes differ from picture to picture, but little."""


def new_deca(asset: HeadAsset, config: TrainConfig) -> DECA:
    """A DECA of the settings' sizes, its weights a function of the seed alone.

    Raises:
        ValueError: the head lacks texture coordinates or landmarks, or a resolution is too small.
    """
    model = config.model
    for name, side in (("resolution", model.resolution), ("coarse_resolution", model.coarse_resolution)):
        if side < 32 and (name == "resolution" or side != 0):
            raise ValueError(f"model.{name} is {side}, expected 32 or more; {RESOLUTION} is the paper's")
    sizes = DECAConfig(
        backbone=model.backbone,
        detail_backbone=model.detail_backbone,
        decoder=model.decoder,
        shape=asset.shapedirs.shape[-1],
        expression=asset.exprdirs.shape[-1],
        albedo=DECAConfig.albedo if asset.albedo_basis is None else len(asset.albedo_basis),
        detail=model.detail,
        curved=model.curved,
        gaze=model.gaze,
        resolution=model.resolution,
        coarse_resolution=model.coarse_resolution,
        normalised=model.normalised,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        deca = DECA(asset, sizes, model.uv_size)
    start_from_mean(deca, sum(config.data.scale) / 2, torch.Generator().manual_seed(config.seed))
    return deca


@torch.no_grad()
def start_from_mean(deca: DECA, scale: float, generator: torch.Generator) -> None:
    """Let fresh networks begin with the mean face and a flat detail; changes the weights in place.

    Args:
        deca: with randomly initialised networks.
        scale: side of the usual crop over the landmarks' box.
        generator: on the CPU.
    """
    mean, spreads = usual_codes(deca, scale)
    last = deca.coarse_encoder.layers[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(_FACTOR)
    last.bias.zero_()
    if deca.config.normalised:
        deca.code_mean.copy_(mean)
        deca.code_spread.copy_(spreads)
    else:
        last.weight.mul_(spreads[:, None])
        last.bias.copy_(mean)
    # The decoder's normalisation hardly lifts what is weak (eps 0.8): with PyTorch's usual weights the signal fades
    # from block to block, and hardly any gradient comes to the detail code.
    if not isinstance(deca.detail_decoder, DetailDecoder):
        return  # a sum of maps begins with small ones
    *blocks, relief = (layer for layer in deca.detail_decoder.conv_blocks if isinstance(layer, nn.Conv2d))
    for block in blocks:
        nn.init.kaiming_normal_(block.weight, a=0.2, nonlinearity="leaky_relu", generator=generator)
    assert relief.bias is not None
    relief.weight.mul_(_FACTOR)
    relief.bias.zero_()


def usual_codes(deca: DECA, scale: float) -> tuple[Tensor, Tensor]:
    """Mean and spread of E_c's codes, in their order.

    The camera is the one that a crop of `scale` times the landmarks' box has of the mean face; the light makes white
    skin look white from everywhere.
    """
    head = deca.head
    points = deca.points.ibug68(head.neutral(1))[0]
    low, high = points.amin(0), points.amax(0)
    s = float(2 / (scale * (high - low)[:2].mean()))
    centre = ((low + high) / 2)[:2]

    mean, spreads = torch.zeros_like(deca.code_mean), torch.ones_like(deca.code_spread)
    starts = torch.tensor((0, *deca.coarse_sizes)).cumsum(0).tolist()
    expression, pose, camera, light = starts[2:6]
    spreads[expression:pose] = spread.expression_spread(head.asset.expression_range)
    spreads[pose : pose + 3], spreads[pose + 3 : camera] = spread.POSE, spread.JAW
    mean[camera:light] = torch.tensor([s, -float(centre[0]), -float(centre[1])]).to(mean)
    spreads[camera:light] = torch.tensor([s * spread.SCALE, spread.SHIFT, spread.SHIFT]).to(mean)
    mean[light : light + 3] = math.sqrt(4 * math.pi)  # the first harmonic, in each colour
    spreads[light : light + 27] = spread.LIGHT
    spreads[light + 27 :] = spread.EYES
    return mean, spreads
