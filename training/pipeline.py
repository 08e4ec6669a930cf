"""The stages of a run in order, each from the weights of the one before."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import yaml

from model.asset import HeadAsset
from model.deca import DECA
from model.io.assets import load_head
from model.io.checkpoints import read_checkpoint
from training.checkpoint import about, load_state
from training.config import StageName, TrainConfig
from training.data.faces import Faces
from training.data.loader import Crops, loader
from training.data.order import Order
from training.data.sample import Batch
from training.interrupt import Stop
from training.log import Journal
from training.loop import Task, seed_of, train
from training.memory import keep_memory
from training.schedule import steps_of
from training.stages import build_stage
from training.stages.start import new_deca
from training.team import Team

ORDER: tuple[StageName, ...] = get_args(StageName)
"""The stages as they follow one another."""


def check(config: TrainConfig, resume: bool) -> None:
    """What can be found out before anything is loaded.

    Raises:
        ValueError: the stages are not in order, the folder holds a run already, or no stage starts from trained
            weights where it must.
    """
    places = [ORDER.index(name) for name in config.stages]
    if not places or places != sorted(set(places)):
        raise ValueError(f"stages are {', '.join(config.stages) or 'none'}; give some of {', '.join(ORDER)}, in order")
    if config.workers < 1:
        raise ValueError(f"workers must be at least 1, got {config.workers}")
    for name in ("log_every", "picture_every", "validate_every", "save_every"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")
    for name in config.stages:
        state = Path(config.out) / name / "last.pt"
        if state.exists() and not resume:
            raise ValueError(f"{state} is there already; --resume goes on with it, or give another folder with out")
    if config.model.start:
        read_checkpoint(config.model.start)
    elif config.stages[0] == "detail" and _before(config, "detail") is None:
        raise ValueError(
            f"stage detail needs a trained coarse encoder, and {config.out} has none; name weights in model.start, "
            "or train the coarse stage into the same folder first"
        )


def run_stages(
    config: TrainConfig,
    *,
    resume: bool = False,
    team: Team | None = None,
    stop: Stop | None = None,
    device: torch.device | None = None,
) -> bool:
    """Train every stage that is not finished yet.

    Args:
        resume: go on with what the run's folder holds.
        team: the processes that train together.
        stop: ends the run after the step under way.
        device: where; by `config.device` when None.

    Returns:
        Whether the run is finished; False when it was stopped.

    Raises:
        ValueError: settings, data or weights that do not fit together.
        DivergedError: a loss is not a number.
    """
    team = Team() if team is None else team
    stop = Stop() if stop is None else stop
    check(config, resume)
    keep_memory()
    say = Journal(Path(config.out), writes=team.first, shows=team.world == 1)
    device = choose_device(config) if device is None else device
    asset = load_head(config.model.head)
    faces = Faces(config.data.shards, asset.name, asset.digest)
    for name in config.stages:
        if stop:
            return False
        deca = _start(config, name, asset, say)
        task = make_task(config, name, deca, faces, team, say)
        if resume and _finished(task):
            say(f"{name}: finished already")
            continue
        deca = deca.to(device)
        for network in (deca.coarse_encoder, deca.detail_encoder, deca.detail_decoder):
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # convolutions are faster
        stage = build_stage(name, deca, config).to(device)
        task.folder.mkdir(parents=True, exist_ok=True)
        for note in stage.notes:
            say(f"{name}: {note}")
        if team.first:
            _write_config(config, task.folder / "config.yaml")
        if not train(stage, deca, task, resume=resume, team=team, stop=stop, say=say):
            return False
        say(f"{name}: {task.steps} steps; {task.folder / 'best.safetensors'}")
    return True


def choose_device(config: TrainConfig) -> torch.device:
    """The device that the settings ask for.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and there is no GPU here; use auto or cpu")
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(found if config.device == "auto" else config.device)


def make_task(
    config: TrainConfig, name: StageName, deca: DECA, faces: Faces, team: Team, say: Callable[[str], None]
) -> Task:
    """A stage's data and length.

    Raises:
        ValueError: the faces cannot fill the stage's batches.
    """
    asset, stage, data = deca.head.asset, getattr(config, name), config.data
    seed = seed_of(config.seed, name)
    order = Order(faces, data, stage, seed, team.rank, team.world)
    crops = Crops(faces, order, asset, data, config.model.resolution, seed)
    keys = np.concatenate([shards.keys for shards in faces.shards])
    steps = steps_of(stage, order.taking_part)
    judged = _held_out(config, name, faces, asset, say) if team.first else ()
    return Task(
        name=name,
        config=config,
        steps=steps,
        batches=lambda start: loader(crops, start, workers=data.workers),
        held_out=lambda: judged,
        about=about(name, config, deca, keys, steps),
    )


def _held_out(
    config: TrainConfig, name: StageName, faces: Faces, asset: HeadAsset, say: Callable[[str], None]
) -> Iterable[Batch]:
    """The batches that validation judges: always the same, decoded when they are asked for."""
    if config.data.held_out == 0:
        return ()
    try:
        order = Order(faces, config.data, getattr(config, name), 0, held_out=True)
    except ValueError as error:
        say(f"{name}: no validation ({error})")
        return ()
    crops = Crops(faces, order, asset, config.data, config.model.resolution, 0, evaluate=True)
    return _Batches(crops, min(config.validation_batches, order.steps))


class _Batches:
    """The first batches of some crops."""

    def __init__(self, crops: Crops, count: int) -> None:
        self._crops, self._count = crops, count

    def __iter__(self):
        return loader(self._crops, 0, self._count)


def _start(config: TrainConfig, name: StageName, asset: HeadAsset, say: Callable[[str], None]) -> DECA:
    """DECA as the stage finds it: `model.start` for the run's first stage, else what the stage before it left."""
    path = Path(config.model.start) if config.model.start and name == config.stages[0] else _before(config, name)
    deca = new_deca(asset, config)
    say(f"{name}: from {path or 'random weights'}")
    if path is None:
        return deca
    checkpoint = read_checkpoint(path)
    was = {"head": checkpoint.head, **dataclasses.asdict(checkpoint.config)}
    now = {"head": asset.name, **dataclasses.asdict(deca.config)}
    changed = [key for key in was if was[key] != now[key] and not key.endswith("resolution")]  # they take any size
    faults = [f"{key} was {was[key]}, is {now[key]}" for key in changed]
    if faults:
        raise ValueError(f"{path}: weights of another model: {'; '.join(faults)}; choose a matching model.start")
    deca.load_state_dict(dict(checkpoint.state), strict=True)
    return deca


def _before(config: TrainConfig, name: StageName) -> Path | None:
    """The weights of the latest stage before this one in the run's folder."""
    paths = [Path(config.out) / earlier / "best.safetensors" for earlier in ORDER[: ORDER.index(name)]]
    return next((path for path in reversed(paths) if path.exists()), None)


def _finished(task: Task) -> bool:
    path = task.folder / "last.pt"
    return path.exists() and load_state(path, task.about).step >= task.steps


def _write_config(config: TrainConfig, path: Path) -> None:
    """All settings of the run, as a file that ``--config`` takes."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return list(value) if isinstance(value, tuple) else value

    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(yaml.safe_dump(plain(dataclasses.asdict(config)), sort_keys=False))
    os.replace(temporary, path)
