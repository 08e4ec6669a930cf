"""Several processes train together, on one machine or many, by Ray Train; a lost one costs the steps since a save.

The run's folder must be one that all machines see: checkpoints are read from it when the processes start again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from model.io.configs import override
from training.config import TrainConfig
from training.interrupt import Stop
from training.log import Journal
from training.loop import DivergedError
from training.pipeline import check, run_stages
from training.team import Team

_STORE = 200 << 20  # bytes for Ray's objects; nothing large goes that way


def launch(config: TrainConfig, *, resume: bool, stop: Stop) -> bool:
    """Train in ``config.workers`` processes until the stages are finished.

    Args:
        resume: go on with what the run's folder holds.
        stop: ends the run after the step under way.

    Returns:
        Whether the run is finished; False when it was stopped.

    Raises:
        ValueError: settings, data or weights that do not fit together.
        DivergedError: a loss is not a number.
        RuntimeError: more processes were lost than ``config.restarts``.
    """
    config = _absolute(config)
    check(config, resume)
    signs = Signs(Path(config.out) / ".workers")
    signs.clear()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local = not (config.ray_address or os.environ.get("RAY_ADDRESS"))
    ray.init(
        address="local" if local else config.ray_address or None,
        num_cpus=config.workers if local else None,
        object_store_memory=_STORE if local else None,
        include_dashboard=False if local else None,
        logging_level=logging.ERROR,
        log_to_driver=False,  # what is worth saying stands in log.txt, without Ray's own worries
    )
    try:
        with Stop() as caught:  # ray.init put its own handler in the place of ours
            _fit(config, signs, stop, caught)
            stop.signal = stop.signal or caught.signal
    finally:
        ray.shutdown()
    signs.raise_failure()
    finished = signs.finished
    signs.clear()
    return finished


@dataclasses.dataclass(frozen=True)
class Signs:
    """What the processes tell one another through files, as they may be anywhere.

    Attributes:
        folder: in the run's folder.
    """

    folder: Path

    @property
    def stop(self) -> Path:
        """There once the run is to stop."""
        return self.folder / "stop"

    @property
    def failure(self) -> Path:
        """There once a process has met what starting again will not mend."""
        return self.folder / "failure.json"

    @property
    def finished(self) -> bool:
        """Whether every stage is done."""
        return (self.folder / "finished").exists()

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self, path: Path, text: str = "") -> None:
        """Make a sign."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(text)
        part.replace(path)

    def raise_failure(self) -> None:
        """What a process met, here."""
        if self.failure.exists():
            told = json.loads(self.failure.read_text())
            shutil.rmtree(self.folder, ignore_errors=True)
            raise {"ValueError": ValueError, "DivergedError": DivergedError}[told["kind"]](told["message"])


class _StopSign(Stop):
    """The stop that the driver asks for, as a process sees it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def __bool__(self) -> bool:
        return self._path.exists()


def _fit(config: TrainConfig, signs: Signs, *stops: Stop) -> None:
    """Run the trainer; in a thread, as it would take SIGINT for itself in the main one."""
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"config": dataclasses.asdict(config), "signs": str(signs.folder)},
        scaling_config=ray.train.ScalingConfig(num_workers=config.workers, use_gpu=_on_gpus(config)),
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=str(signs.folder),
            failure_config=ray.train.FailureConfig(max_failures=config.restarts),
        ),
    )
    errors: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    told = _Tail(Journal(Path(config.out)).path)
    thread.start()
    while thread.is_alive():
        if any(stops) and not signs.stop.exists():
            signs.tell(signs.stop)
        thread.join(0.2)
        told.show()
    if errors and not signs.failure.exists():
        lines = [line for line in str(errors[0]).splitlines() if line.strip()]
        raise RuntimeError(f"a worker was lost {config.restarts + 1} times, the last time by: {lines[-1].strip()}")


class _Tail:
    """Shows what is added to a text file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown = path.stat().st_size if path.exists() else 0

    def show(self) -> None:
        if self._path.exists():
            with open(self._path) as file:
                file.seek(self._shown)
                print(file.read(), end="", flush=True)
                self._shown = file.tell()


def _work(told: dict[str, Any]) -> None:
    """One process."""
    signs = Signs(Path(told["signs"]))
    if signs.failure.exists():  # the others started again only to learn that
        return
    config = override(TrainConfig(), told["config"])
    context = ray.train.get_context()
    team = Team(context.get_world_rank(), context.get_world_size())
    device = ray.train.torch.get_device() if _on_gpus(config) else torch.device("cpu")
    assert isinstance(device, torch.device)
    try:
        # An earlier start of this run may have left checkpoints; there are no others, the driver has looked.
        finished = run_stages(config, resume=True, team=team, stop=_StopSign(signs.stop), device=device)
    except (ValueError, DivergedError) as error:
        signs.tell(signs.failure, json.dumps({"kind": type(error).__name__, "message": str(error)}))
        raise
    if finished and team.first:
        signs.tell(signs.folder / "finished")


def _on_gpus(config: TrainConfig) -> bool:
    return config.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= config.workers


def _absolute(config: TrainConfig) -> TrainConfig:
    """The same with absolute paths: Ray's processes run in folders of their own."""

    def whole(path: str) -> str:
        return str(Path(path).resolve()) if path else path

    head = config.model.head
    model = dataclasses.replace(
        config.model, start=whole(config.model.start), head=whole(head) if Path(head).exists() else head
    )
    networks = dataclasses.replace(
        config.networks, identity=whole(config.networks.identity), vgg=whole(config.networks.vgg)
    )
    data = dataclasses.replace(config.data, shards=tuple(map(whole, config.data.shards)))
    return dataclasses.replace(config, out=whole(config.out), model=model, networks=networks, data=data)
