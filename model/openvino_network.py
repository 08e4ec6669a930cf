"""Networks run by OpenVINO, on processors."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import openvino
import torch
from jaxtyping import Float
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn


class OpenVINONetwork(nn.Module):
    """A network translated for OpenVINO, with as many threads as PyTorch has; no gradients.

    Args:
        example: inputs of the right shapes; the batch may be another later.
    """

    def __init__(self, network: nn.Module, example: list[Tensor], half: bool) -> None:
        super().__init__()
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "ENABLE_CPU_PINNING": False,  # other threads, and other processes, work beside it
        }
        self.compiled = _core().compile_model(_translated(network.eval(), example), "CPU", options)

    def forward(self, *inputs: Float[Tensor, "batch *_"]) -> Float[Tensor, "batch *_"]:
        # The result's memory is used again by the next call.
        return torch.from_numpy(self.compiled([value.detach().contiguous().numpy() for value in inputs])[0].copy())


@cache
def _core() -> openvino.Core:
    """One for the process, as OpenVINO wants it: it holds the plugin that all networks run in."""
    return openvino.Core()


def _translated(network: nn.Module, example: list[Tensor]) -> openvino.Model:
    """By the frontend that `openvino.convert_model` uses too, which besides reports to OpenVINO's makers that somebody
    converts a model, and traces twice."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces, which PyTorch would rather not see any more
        decoder = TorchScriptPythonDecoder(
            network, example_input=tuple(example), shared_memory=False, trace_kwargs={"check_trace": False}
        )
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))  # asks the decoder, which must live until here
    model.reshape({index: [-1, *value.shape[1:]] for index, value in enumerate(example)})
    return model
