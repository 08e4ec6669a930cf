"""Networks run by OpenVINO, on processors."""

from __future__ import annotations

import warnings
from typing import Any

import openvino  # pyright: ignore[reportMissingImports]
import torch
from jaxtyping import Float
from torch import Tensor, nn


class OpenVINONetwork(nn.Module):
    """A network translated for OpenVINO, with as many threads as PyTorch has; no gradients.

    Args:
        example: inputs of the right shapes; the batch may be another later.
    """

    def __init__(self, network: nn.Module, example: list[Tensor], half: bool) -> None:
        super().__init__()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it traces, which PyTorch would rather not see any more
            translated = openvino.convert_model(network.eval(), example_input=tuple(example))
        translated.reshape({index: [-1, *value.shape[1:]] for index, value in enumerate(example)})
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        }
        self.compiled = openvino.Core().compile_model(translated, "CPU", options)

    def forward(self, *inputs: Float[Tensor, "batch *_"]) -> Float[Tensor, "batch *_"]:
        # The result's memory is used again by the next call.
        return torch.from_numpy(self.compiled([value.detach().contiguous().numpy() for value in inputs])[0].copy())
