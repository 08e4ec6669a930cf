"""DECA's networks, faster, for inference. What pays was measured: processor time in ms per image, one core of an EPYC.

==================================  ===========  ========  =======================================================
encoder                             MobileNetV2  ResNet50
==================================  ===========  ========  =======================================================
PyTorch                                    16.9      80.9
PyTorch, channels last                     14.8      74.3  same numbers
PyTorch, channels last, bfloat16            7.9      38.6  codes off by 1 % of their spread; needs AVX512-BF16 or AMX
torch.compile, channels last               12.3            compiles for a minute: left out
OpenVINO                                    4.3      38.4  same numbers
OpenVINO, bfloat16                          2.5      19.7  as above
==================================  ===========  ========  =======================================================

The shipped E_c (``keypoints``, 128²), batches of 16: PyTorch 6.2, in bfloat16 2.4; OpenVINO 3.0, in bfloat16 1.6
(``tests/benchmarks/deca.py --busy``).
Larger batches help bfloat16 most (5.1 and 27.2 with 4 images in PyTorch).
"""

from __future__ import annotations

import copy
import importlib.util

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.deca import DECA


def accelerate(deca: DECA, engine: str = "auto", half: bool = False) -> DECA:
    """The same DECA with faster networks, for inference only; the one given is not changed.

    Args:
        deca: in evaluation mode, on its device.
        engine: ``torch``, ``openvino`` (CPU only), or ``auto``: on the CPU, where OpenVINO is installed, it runs E_c,
            which sees every frame. Translating a network takes a second or two, which E_d and F_d do not earn back.
        half: bfloat16 inside the networks; codes are off by about 1 % of their spread.

    Raises:
        ValueError: an unknown engine, or OpenVINO is not there or cannot run on the device.
    """
    device = deca.albedo_mean.device.type
    available = importlib.util.find_spec("openvino") is not None
    translated = ("coarse_encoder", "detail_encoder", "detail_decoder")
    if engine == "auto":
        engine = "openvino" if available and device == "cpu" else "torch"
        translated = translated[:1]
    if engine not in ("torch", "openvino"):
        raise ValueError(f"engine is {engine!r}, expected auto, torch or openvino")
    if engine == "openvino" and device != "cpu":
        raise ValueError(f"engine is openvino, which runs on the CPU, but the networks are on {device}; use torch")
    if engine == "openvino" and not available:
        raise ValueError("engine is openvino, which is not installed; pip install openvino")
    fast = copy.copy(deca)
    fast._modules = dict(deca._modules)
    codes = [torch.zeros(2, size, device=deca.albedo_mean.device) for size in _decoder_sizes(deca)]
    small, large = (torch.zeros(2, 3, side, side) for side in (deca.coarse_resolution, deca.config.resolution))
    examples = {
        "coarse_encoder": [small],
        "detail_encoder": [large],
        "detail_decoder": codes,
    }
    for name, example in examples.items():
        network = getattr(deca, name)
        if engine == "openvino" and name in translated:
            from model.openvino_network import OpenVINONetwork

            fast._modules[name] = OpenVINONetwork(network, example, half)
        else:
            fast._modules[name] = TorchNetwork(network, half)
    return fast


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether arithmetic in bfloat16 is quicker than in float32 there."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    # PyTorch has no public name for it; without this one we do without.
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return kind == "cpu" and known is not None and bool(known())


class TorchNetwork(nn.Module):
    """A network with its channels last in memory, in bfloat16 if wanted."""

    def __init__(self, network: nn.Module, half: bool) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.half_precision = half

    def forward(self, *inputs: Float[Tensor, "batch *_"]) -> Float[Tensor, "batch *_"]:
        inputs = tuple(
            value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value for value in inputs
        )
        with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=self.half_precision):
            return self.network(*inputs)


def _decoder_sizes(deca: DECA) -> tuple[int, int, int]:
    return 3, deca.config.expression, deca.config.detail
