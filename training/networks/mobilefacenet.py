"""MobileFaceNet (Chen et al. 2018; ArcFace embeddings) from the files of ncnn, a runtime for phones.

The ``.param`` file lists the layers in order, each with its kind, name, inputs, outputs and numbered settings; the
``.bin`` file beside it holds their weights one after another as float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, linear, prelu

from training.networks.identity import IdentityNetwork, aligned

SIZE = 112
ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Eyes (the picture's left first), nose, corners of the mouth in the aligned picture, where pixel centres are whole
numbers (ArcFace)."""

_MAGIC = "7767517"
_FLAG = 1  # floats before the weights of a convolution: how they are stored


@dataclass(frozen=True)
class _Layer:
    """One line of the .param file; `weights` are names of buffers."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[int, float]
    weights: tuple[str, ...]

    def whole(self, key: int, default: int = 0) -> int:
        return int(self.settings.get(key, default))


class MobileFaceNet(IdentityNetwork):
    """128 numbers per face, as published.

    Args:
        description: text of the .param file.
        values: content of the .bin file.

    Raises:
        ValueError: not such files, a layer that MobileFaceNet does not have, or too few or too many weights.
    """

    template: Float[Tensor, "5 2"]

    def __init__(self, description: str, values: Float[np.ndarray, " N"]) -> None:
        super().__init__()
        self.register_buffer("template", torch.tensor(ARCFACE) + 0.5, persistent=False)
        lines = [line.split() for line in description.splitlines() if line.strip()]
        if not lines or lines[0] != [_MAGIC]:
            raise ValueError(f"the first line is not {_MAGIC}, not an ncnn .param file")
        self.layers: list[_Layer] = []
        position = 0
        for index, words in enumerate(lines[2:]):
            layer = _parsed(words)
            shapes = _shapes(layer)
            position += _FLAG if layer.kind in ("Convolution", "ConvolutionDepthWise", "InnerProduct") else 0
            names = []
            for number, shape in enumerate(shapes):
                size = int(np.prod(shape))
                if position + size > len(values):
                    raise ValueError(f"the weights end within layer {words[1]}")
                names.append(f"layer{index}_{number}")
                part = torch.from_numpy(values[position : position + size].copy()).reshape(shape)
                self.register_buffer(names[-1], part, persistent=False)
                position += size
            self.layers.append(_Layer(layer.kind, layer.inputs, layer.outputs, layer.settings, tuple(names)))
        if position != len(values):
            raise ValueError(f"{len(values)} weights, {position} are used")

    def forward(
        self, images: Float[Tensor, "batch 3 H W"], landmarks: Float[Tensor, "batch 68 2"]
    ) -> Float[Tensor, "batch D"]:
        return self.embed(aligned(images, landmarks, self.template, SIZE) * 255)

    def embed(self, pictures: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch D"]:
        """Of aligned pictures, RGB in [0, 255]."""
        blobs = {}
        result = pictures
        for layer in self.layers:
            inputs = [pictures if layer.kind == "Input" else blobs[name] for name in layer.inputs or ("",)]
            result = _applied(layer, inputs, [getattr(self, name) for name in layer.weights])
            blobs.update(dict.fromkeys(layer.outputs, result))
        return result


def load_mobilefacenet(path: Path) -> MobileFaceNet:
    """From the .param or the .bin file of a pair.

    Raises:
        ValueError: one of the two is missing, or they are not MobileFaceNet's.
    """
    files = path.with_suffix(".param"), path.with_suffix(".bin")
    for file in files:
        if not file.is_file():
            raise ValueError(f"networks.identity {path}: {file.name} is missing beside it")
    try:
        if files[1].stat().st_size % 4:
            raise ValueError("the .bin file is cut short")
        return MobileFaceNet(files[0].read_text(), np.fromfile(files[1], "<f4")).eval()
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"networks.identity {path}: not MobileFaceNet's .param and .bin ({error})") from error


def _parsed(words: list[str]) -> _Layer:
    """``kind name n_inputs n_outputs inputs… outputs… key=value…``"""
    inputs, outputs = int(words[2]), int(words[3])
    split = 4 + inputs, 4 + inputs + outputs
    settings = dict(word.split("=") for word in words[split[1] :])
    return _Layer(
        words[0],
        tuple(words[4 : split[0]]),
        tuple(words[split[0] : split[1]]),
        {int(key): float(value) for key, value in settings.items()},
        (),
    )


def _shapes(layer: _Layer) -> list[tuple[int, ...]]:
    """Of a layer's weights, in the order of the .bin file."""
    channels = layer.whole(0)
    if layer.kind in ("Convolution", "ConvolutionDepthWise"):
        size = layer.whole(1)
        bias = [(channels,)] if layer.whole(5) else []
        return [(channels, layer.whole(6) // (channels * size * size), size, size), *bias]
    if layer.kind == "InnerProduct":
        bias = [(channels,)] if layer.whole(1) else []
        return [(channels, layer.whole(2) // channels), *bias]
    if layer.kind == "BatchNorm":
        return [(channels,)] * 4  # slope, mean, variance, bias
    return [(channels,)] if layer.kind == "PReLU" else []


def _applied(layer: _Layer, inputs: list[Tensor], weights: list[Tensor]) -> Tensor:
    x = inputs[0]
    if layer.kind in ("Input", "Split"):
        return x
    if layer.kind in ("Convolution", "ConvolutionDepthWise"):
        bias = weights[1] if len(weights) > 1 else None
        return conv2d(x, weights[0], bias, layer.whole(3, 1), layer.whole(4), groups=layer.whole(7, 1))
    if layer.kind == "InnerProduct":
        return linear(x.flatten(1), *weights)
    if layer.kind == "PReLU":
        return prelu(x, weights[0])
    if layer.kind == "BatchNorm":
        slope, mean, variance, bias = (w.reshape(1, -1, *(1,) * (x.dim() - 2)) for w in weights)
        return (x - mean) / variance.sqrt() * slope + bias
    if layer.kind == "BinaryOp" and layer.whole(0) in (0, 1, 2):
        other = layer.settings[2] if layer.whole(1) else inputs[1]
        return (torch.add, torch.sub, torch.mul)[layer.whole(0)](x, other)
    raise ValueError(f"layer {layer.kind} is not of MobileFaceNet")
