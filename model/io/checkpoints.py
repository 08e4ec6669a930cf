"""Weights of DECA's networks: the published ``deca_model.tar``, and ours, one ``.safetensors`` with its config inside.

Convert between the two::

    python -m model.io.checkpoints deca_model.tar mine.safetensors
    python -m model.io.checkpoints mine.safetensors deca_model.tar
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.errors import NetworkErrors

SCHEMA = "decatrack-weights/1"

PUBLISHED_NAMES = {"coarse_encoder": "E_flame", "detail_encoder": "E_detail", "detail_decoder": "D_detail"}
"""Our networks and their names in ``deca_model.tar``."""

_OFFER = "deca_model.tar is offered by its authors at https://github.com/yfeng95/DECA"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Weights and what they are for.

    Attributes:
        config: sizes and backbone.
        head: name of the head that they were trained for, e.g. ``flame-2020``.
        state: of a `DECA`, float32.
        errors: of E_c, where they were measured (`python -m training.evaluate errors`).
    """

    config: DECAConfig
    head: str
    state: Mapping[str, Tensor]
    errors: NetworkErrors | None = None


def shipped_weights(asset: HeadAsset, name: str = "") -> Path | None:
    """Where the weights for a head lie that come with the package; None where none do.

    Args:
        name: a second set, e.g. ``open``.
    """
    family = asset.name.split("-")[0]
    path = _assets() / f"{family}-{name}.safetensors" if name else _assets() / f"{family}.safetensors"
    return path if path.is_file() else None


def load_deca(name_or_path: str | Path, asset: HeadAsset, uv_size: int = 256) -> DECA:
    """A DECA with its weights, in evaluation mode.

    Args:
        name_or_path: a file in ``model/assets`` without its suffix, or the path of a ``.safetensors`` or ``.tar``.
        asset: the head that the weights are for.

    Raises:
        ValueError: no such weights, or they are not for this head, or not those of these networks (each missing,
            unknown and mismatched name is listed).
    """
    return build_deca(read_checkpoint(name_or_path), asset, uv_size, str(name_or_path))


def build_deca(checkpoint: Checkpoint, asset: HeadAsset, uv_size: int = 256, label: str = "checkpoint") -> DECA:
    """A DECA with the weights of a checkpoint, in evaluation mode.

    Raises:
        ValueError: as `load_deca`; `label` is what the weights are called in it.
    """
    # FLAME's releases share the meaning of their codes well enough for one set of weights; openhead does not.
    if checkpoint.head.split("-")[0] != asset.name.split("-")[0]:
        raise ValueError(
            f"weights {label}: trained for {checkpoint.head}, the head is {asset.name}; choose a matching --head"
        )
    deca = DECA(asset, checkpoint.config, uv_size)
    _load_strictly(deca, checkpoint.state, label)
    return deca.eval()


def read_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Read weights of either kind, without running anything that a file says.

    Raises:
        ValueError: no such weights, or a damaged or unknown file.
    """
    path = locate_weights(name_or_path)
    return _read_own(path) if path.suffix == ".safetensors" else _read_published(path)


def save_checkpoint(deca: DECA, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write weights and config to one ``.safetensors``; it appears under its name only when it is complete.

    Args:
        dtype: of floating-point weights on disk; ``torch.float16`` halves the file.
    """
    write_checkpoint(Checkpoint(deca.config, deca.head.asset.name, deca.state_dict()), path, dtype)


def write_checkpoint(checkpoint: Checkpoint, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write weights of either kind, by the path's suffix: ``.safetensors`` or ``.tar``.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        state = {
            key: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).contiguous()
            for key, value in checkpoint.state.items()
        }
        metadata = {
            "schema": SCHEMA,
            "head": checkpoint.head,
            "config": json.dumps(dataclasses.asdict(checkpoint.config), sort_keys=True),
        }
        if checkpoint.errors is not None:
            metadata["errors"] = json.dumps(checkpoint.errors.to_lists())
        _write(path, lambda temporary: save_file(state, temporary, metadata))
    elif path.suffix == ".tar":
        plain = _plain(checkpoint.state)
        published = {theirs: _part(plain, ours) for ours, theirs in PUBLISHED_NAMES.items()}
        _write(path, lambda temporary: torch.save(published, temporary))
    else:
        raise ValueError(f"weights {path}: unknown suffix {path.suffix!r}; give .safetensors or .tar")


def write_errors(path: str | Path, errors: NetworkErrors) -> None:
    """Put measured errors into a ``.safetensors`` of ours; the weights stay as they are, to the bit.

    Raises:
        ValueError: no such file, or not one of ours.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        raise ValueError(f"weights {path}: errors are written into a .safetensors that is there")
    _read_own(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | {"errors": json.dumps(errors.to_lists())}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    _write(path, lambda temporary: save_file(state, temporary, metadata))


def _read_own(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weights {path}: not a safetensors file ({error})") from error
    if metadata.get("schema") != SCHEMA:
        raise ValueError(f"weights {path}: schema is {metadata.get('schema')}, expected {SCHEMA}")
    try:
        config = DECAConfig(**json.loads(metadata["config"]))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"weights {path}: damaged config ({error})") from error
    try:
        errors = NetworkErrors.from_lists(json.loads(metadata["errors"])) if "errors" in metadata else None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"weights {path}: damaged errors ({error})") from error
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return Checkpoint(config, metadata.get("head", ""), state, errors)


def _read_published(path: Path) -> Checkpoint:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for a file that is none of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"weights {path}: not a checkpoint that can be read safely ({reason}); {_OFFER}") from error
    missing = [name for name in PUBLISHED_NAMES.values() if not isinstance(content, dict) or name not in content]
    if missing:
        raise ValueError(f"weights {path}: without {', '.join(missing)}; {_OFFER}")
    state = {
        f"{ours}.{key}": value for ours, theirs in PUBLISHED_NAMES.items() for key, value in content[theirs].items()
    }
    return Checkpoint(DECAConfig(), "flame-2020", state)


def _load_strictly(deca: DECA, state: Mapping[str, Tensor], label: str) -> None:
    wanted = deca.state_dict()
    faults = [f"{key} is missing" for key in wanted if key not in state]
    faults += [f"{key} is not of these networks" for key in state if key not in wanted]
    faults += [
        f"{key} has shape {tuple(state[key].shape)}, expected {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    if faults:
        raise ValueError(f"weights {label}: {len(faults)} of {len(wanted)} do not fit: {'; '.join(faults)}")
    deca.load_state_dict(state, strict=True)


def locate_weights(name_or_path: str | Path) -> Path:
    """The file of weights given by the name of those that come with the package, or by a path.

    Raises:
        ValueError: there is none.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    assets = _assets()
    if path.suffix == "" and path.parent == Path("."):
        shipped = assets / f"{path}.safetensors"
        if shipped.is_file():
            return shipped
    names = sorted(file.stem for file in assets.glob("*.safetensors"))
    known = f"one of {', '.join(names)}, or " if names else ""
    raise ValueError(f"weights {path}: no such file; give {known}the path of a .safetensors or of deca_model.tar")


def _assets() -> Path:
    return Path(str(resources.files("model") / "assets"))


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same networks with the mean and spread of normalised codes taken into E_c's last layer."""
    rest = {key: value for key, value in state.items() if key not in ("code_mean", "code_spread")}
    if len(rest) < len(state):
        last, spread = "coarse_encoder.layers.2", state["code_spread"]
        rest[f"{last}.weight"] = spread[:, None] * state[f"{last}.weight"]
        rest[f"{last}.bias"] = spread * state[f"{last}.bias"] + state["code_mean"]
    return rest


def _part(state: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    prefix = f"{network}."
    return {
        key.removeprefix(prefix): value.detach().cpu().clone() for key, value in state.items() if key.startswith(prefix)
    }


def _write(path: Path, write: Callable[[str], None]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def main(arguments: list[str] | None = None) -> int:
    """``IN OUT``: convert weights between the published layout and ours."""
    parser = argparse.ArgumentParser(prog="python -m model.io.checkpoints", description=main.__doc__)
    parser.add_argument("source", help="deca_model.tar, a .safetensors, or the name of shipped weights")
    parser.add_argument("target", help=".safetensors or .tar")
    parser.add_argument("--half", action="store_true", help="store .safetensors in half precision")
    options = parser.parse_args(arguments)
    try:
        dtype = torch.float16 if options.half else torch.float32
        write_checkpoint(read_checkpoint(options.source), options.target, dtype)
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
