"""Weights of the face-parsing network: one ``.safetensors``, half precision, with what it is written inside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model.parsing import Parser, ParsingNetwork, Part

SCHEMA = "decatrack-parsing/1"

SHIPPED = "parsing"


def load_parser(name_or_path: str | Path = SHIPPED, half: bool = False) -> Parser:
    """A parser with its weights, on the CPU.

    Args:
        name_or_path: ``parsing``, the shipped weights, or the path of a ``.safetensors`` of `save_parsing`.
        half: bfloat16 inside the network, see `Parser`.

    Raises:
        ValueError: no such file, or it is not one of ours.
    """
    return Parser(load_network(name_or_path), half)


def load_network(name_or_path: str | Path = SHIPPED) -> ParsingNetwork:
    """The network itself, in evaluation mode, to look into or to train on; arguments and errors as `load_parser`."""
    path = Path(name_or_path)
    if str(name_or_path) == SHIPPED:
        path = Path(str(resources.files("model") / "assets" / f"{SHIPPED}.safetensors"))
    if not path.is_file():
        raise ValueError(f"parsing weights {path}: no such file; give '{SHIPPED}' or the path of a .safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"parsing weights {path}: not a safetensors file ({error})") from None
    if metadata.get("schema") != SCHEMA:
        raise ValueError(f"parsing weights {path}: schema is {metadata.get('schema')}, expected {SCHEMA}")
    if metadata.get("parts") != _parts():
        raise ValueError(f"parsing weights {path}: parts are {metadata.get('parts')}, expected {_parts()}")
    network = ParsingNetwork()
    wanted = {key: value.shape for key, value in network.state_dict().items() if not key.endswith(_COUNTER)}
    if {key: value.shape for key, value in state.items()} != wanted:
        raise ValueError(f"parsing weights {path}: not those of this network; train again")
    network.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in state.items()}, strict=False
    )
    return network.eval()


def save_parsing(network: ParsingNetwork, path: str | Path, about: Mapping[str, str]) -> None:
    """Write the weights in half precision; the file appears under its name only when it is complete.

    Args:
        about: further text for the file's metadata, e.g. data, terms and settings.
    """
    path = Path(path)
    state = {
        key: value.detach().cpu().to(torch.float16).contiguous()
        for key, value in network.state_dict().items()
        if not key.endswith(_COUNTER)
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(state, temporary, {**about, "schema": SCHEMA, "parts": _parts()})
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _parts() -> str:
    return " ".join(part.name.lower() for part in Part)


_COUNTER = "num_batches_tracked"  # of batch normalisation; means nothing after training
