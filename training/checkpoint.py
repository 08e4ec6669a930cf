"""What a stopped stage needs to go on as if nothing had happened, in one file."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.deca import DECA
from training.config import StageName, TrainConfig

SCHEMA = "decatrack-training/1"


@dataclass(frozen=True)
class State:
    """A stage after some steps. Schedule, data order and chance are functions of the step and need no room here.

    Attributes:
        step: how many are done.
        best: lowest validation loss so far; infinite before the first.
        weights: of DECA.
        average: their running mean.
        optimiser: Adam's moments.
    """

    step: int
    best: float
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Any]


def about(name: StageName, config: TrainConfig, deca: DECA, keys: np.ndarray, steps: int) -> dict[str, str]:
    """All that the loss curve hangs on, by the names that a user knows; runs that differ in it are not one run.

    Args:
        keys: of the faces that are learned from.
        steps: length of the stage; it counts only where the rate falls towards its end.
    """
    stage = getattr(config, name)
    told: dict[str, Any] = {"stage": name, "head": f"{deca.head.asset.name} ({deca.head.asset.digest[:12]})"}
    told |= {"seed": config.seed, "precision": config.precision}
    told |= _flat("model", config.model) | _flat("data", config.data) | _flat("networks", config.networks)
    told |= _flat(name, stage)
    for key in ("model.head", "model.start", "data.shards", "data.workers", f"{name}.epochs", f"{name}.steps"):
        del told[key]
    digest = hashlib.sha256("\0".join(keys.tolist()).encode()).hexdigest()[:12]
    for key in ("networks.identity", "networks.vgg"):
        told[key] = Path(told[key]).name  # wherever it lies
    told["data.shards"] = f"{len(keys)} faces ({digest})"
    if stage.decay:
        told[f"{name}.steps"] = steps
    return {key: str(value) for key, value in told.items()}


def save_state(path: Path, state: State, told: dict[str, str]) -> None:
    """Write it; it appears under its name only when it is whole, and replaces the one before."""
    content = {"schema": SCHEMA, "about": told, **{f.name: getattr(state, f.name) for f in dataclasses.fields(state)}}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_state(path: Path, told: dict[str, str] | None = None) -> State:
    """Read it; nothing that the file says is run.

    Args:
        told: what the run is that wants to go on (`about`); None takes any.

    Raises:
        ValueError: damaged, of another version, or of another run: what differs is named.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        schema, was = content["schema"], content["about"]
    except Exception as error:  # torch raises almost anything for a file that is none of its own
        raise ValueError(
            f"{path}: not a checkpoint that can be read ({type(error).__name__}); delete it to begin the stage again"
        ) from error
    if schema != SCHEMA:
        raise ValueError(f"{path}: schema is '{schema}', this version reads '{SCHEMA}'; train with the older version")
    if told is not None and was != told:
        differing = [key for key in sorted(was.keys() | told.keys()) if was.get(key) != told.get(key)]
        faults = [f"{key} was {was.get(key)}, is {told.get(key)}" for key in differing]
        raise ValueError(f"{path}: of another run: {'; '.join(faults)}; go on with those settings, or give another out")
    return State(**{field.name: content[field.name] for field in dataclasses.fields(State)})


def _flat(prefix: str, record: Any) -> dict[str, Any]:
    """A dataclass and those inside it as dotted names and values."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        name = f"{prefix}.{field.name}"
        flat |= _flat(name, value) if dataclasses.is_dataclass(value) else {name: value}
    return flat
