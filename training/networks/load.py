"""Judging networks by the paths that the settings name, and what stands in for a missing one."""

from __future__ import annotations

from pathlib import Path

import torch

from training.networks.filters import FilterBank
from training.networks.identity import IdentityNetwork
from training.networks.mobilefacenet import load_mobilefacenet
from training.networks.vggface2 import load_vggface2
from training.vgg import VGG19


def identity_network(path: str | None) -> tuple[IdentityNetwork | None, str]:
    """A face-recognition network, and a line for the log.

    Args:
        path: VGGFace2's ResNet50 (.pt, .pth, .pkl) or MobileFaceNet's .bin or .param; empty where there is none; None
            where none is wanted.

    Raises:
        ValueError: no such file, or not such a network.
    """
    if path is None:
        return None, ""
    if path == "":
        return None, "identity loss: off, networks.identity names no face-recognition network"
    file = _existing(path, "networks.identity", "VGGFace2's ResNet50 (.pt, .pkl) or MobileFaceNet (.bin, .param)")
    if file.suffix in (".bin", ".param"):
        return load_mobilefacenet(file), f"identity loss: MobileFaceNet, {path}"
    return load_vggface2(file), f"identity loss: VGGFace2's ResNet50, {path}"


def texture_network(path: str | None) -> tuple[VGG19 | FilterBank | None, str]:
    """What the ID-MRF loss compares, and a line for the log; arguments and errors as for `identity_network`."""
    if path is None:
        return None, ""
    if path == "":
        return FilterBank(), "texture loss: a fixed bank of filters stands in for VGG19, networks.vgg names no file"
    file = _existing(path, "networks.vgg", "torchvision's VGG19 weights (.pth)")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        network = VGG19()
        wanted = network.features.state_dict()
        network.features.load_state_dict({key: state[f"features.{key}"] for key in wanted})
    except Exception as error:  # torch raises almost anything for a file that is none of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"networks.vgg {path}: not torchvision's VGG19 weights ({reason})") from error
    return network.eval(), f"texture loss: VGG19, {path}"


def _existing(path: str, name: str, expected: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{name} {path}: no such file; give {expected}, or leave it empty")
    return file
