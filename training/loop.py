"""One stage of training, from wherever it stands to its end."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.deca import DECA
from model.io.checkpoints import save_checkpoint
from training.checkpoint import State, load_state, save_state
from training.config import StageConfig, StageName, TrainConfig
from training.data.sample import Batch
from training.ema import Average
from training.interrupt import Stop
from training.log import Log
from training.schedule import rate_at
from training.stages.base import Stage
from training.team import Team


@dataclass(frozen=True)
class Task:
    """What a stage is to do.

    Attributes:
        name: of the stage; its folder in the run's folder is named so.
        config: of the run.
        steps: to the end of the stage.
        batches: the batches from a step on, endless; a pure function of that step.
        held_out: the batches that validation judges, the same every time; none where nobody is held out.
        about: all that the loss curve hangs on (`training.checkpoint.about`).
    """

    name: StageName
    config: TrainConfig
    steps: int
    batches: Callable[[int], Iterator[Batch]]
    held_out: Callable[[], Iterable[Batch]]
    about: dict[str, str]

    @property
    def stage(self) -> StageConfig:
        """The stage's own settings."""
        return getattr(self.config, self.name)

    @property
    def folder(self) -> Path:
        """Where the stage writes."""
        return Path(self.config.out) / self.name


class DivergedError(RuntimeError):
    """A loss or a gradient is not a number; the last checkpoint is from before it."""


def train(
    stage: Stage,
    deca: DECA,
    task: Task,
    *,
    resume: bool = False,
    team: Team | None = None,
    stop: Stop | None = None,
    say: Callable[[str], None] = print,
) -> bool:
    """Train to the end of the stage.

    Every ``save_every`` steps, at the end, and when it is stopped, it writes ``last.pt`` (to go on from) and
    ``last.safetensors`` (the mean weights); ``best.safetensors`` are the mean weights with the lowest validation loss,
    or the last ones where nobody is held out.

    Args:
        stage: with the networks of ``deca`` in it, on the device where they are to learn.
        resume: go on from ``last.pt`` where there is one.
        team: the processes that train together.
        stop: ends training after the step under way.
        say: takes lines about how it goes.

    Returns:
        Whether the stage is finished; False when it was stopped.

    Raises:
        ValueError: ``last.pt`` is of another run.
        DivergedError: a loss or gradient is not a number; names step and faces.
    """
    team = Team() if team is None else team
    worker = _Worker(stage, deca, task, team, say)
    resumed = resume and (task.folder / "last.pt").exists()
    if resumed:
        worker.load(load_state(task.folder / "last.pt", task.about))
    done = worker.step if resumed else None
    with Log(task.folder, task.name, done, task.steps) if team.first else nullcontext() as log:
        if not resumed:
            worker.validate(log)
        return worker.run(log, Stop() if stop is None else stop)


def seed_of(*parts: object) -> int:
    """A seed for a generator: a pure function of what is named."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def to_device(record: Any, device: torch.device) -> Any:
    """A copy of a record with its tensors, and those of the records inside it, on the device."""
    if isinstance(record, torch.Tensor):
        return record.to(device, non_blocking=True)
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        fields = dataclasses.fields(record)
        return dataclasses.replace(record, **{f.name: to_device(getattr(record, f.name), device) for f in fields})
    return record


class _Worker:
    """One process's share of a stage's training, and where it stands."""

    def __init__(self, stage: Stage, deca: DECA, task: Task, team: Team, say: Callable[[str], None]) -> None:
        self.stage, self.deca, self.task, self.team, self.say = stage, deca, task, team, say
        self.device = deca.albedo_mean.device
        self.parameters = list(stage.trained())
        learning = {id(parameter) for parameter in self.parameters}
        assert learning <= {id(parameter) for parameter in deca.parameters()}, "only DECA's networks are kept"
        for parameter in stage.parameters():
            parameter.requires_grad_(id(parameter) in learning)
        self.optimiser = torch.optim.Adam(self.parameters, lr=task.stage.rate)
        self.average = Average(deca, task.stage.ema)
        self.module: nn.Module = team.wrap(stage)
        self.step, self.best = 0, math.inf

    def load(self, state: State) -> None:
        self.step, self.best = state.step, state.best
        self.deca.load_state_dict(state.weights, strict=True)
        self.average.load(state.average)
        self.optimiser.load_state_dict(state.optimiser)

    def save(self) -> None:
        """The last good state, and the mean weights for use."""
        if not self.team.first:
            return
        folder = self.task.folder
        with self.average.applied():
            save_checkpoint(self.deca, folder / "last.safetensors")
            if not math.isfinite(self.best):
                save_checkpoint(self.deca, folder / "best.safetensors")
        weights, optimiser = self.deca.state_dict(), self.optimiser.state_dict()
        save_state(
            folder / "last.pt", State(self.step, self.best, weights, self.average.state, optimiser), self.task.about
        )

    def run(self, log: Log | None, stop: Stop) -> bool:
        config, steps = self.task.config, self.task.steps
        batches = self.task.batches(self.step)
        pace = _Pace()
        saved = self.step
        while self.step < steps:
            pace.ask()
            try:
                batch = next(batches)
            except BaseException:  # a picture that cannot be read, say: what was learned until then is not lost
                if self.step > saved:
                    self.save()
                raise
            pace.got(len(batch.keys) * self.team.world)
            terms, rate, gradient, asked = self._learn(to_device(batch, self.device), bool(stop))
            pace.done()
            if log is not None:
                log.step(self.step, terms, rate, gradient)
                if self.step % config.log_every == 0 or self.step == steps:
                    scalars = {f"loss/{name}": value for name, value in terms.items()}
                    scalars |= {"loss/sum": sum(terms.values()), "rate": rate, "gradient": gradient}
                    log.scalars(self.step, scalars | pace.scalars())
                if self.step % config.picture_every == 0 or self.step == steps:
                    self._draw(log, batch)
            if self.step % config.validate_every == 0 or self.step == steps:
                self.validate(log)
            if self.step % config.save_every == 0 or self.step == steps or asked:
                self.save()
                saved = self.step
            if asked:
                break
        self.team.wait(self.device)  # the next stage reads what the first process has written
        return self.step >= steps

    def _learn(self, batch: Batch, stop: bool) -> tuple[dict[str, float], float, float, bool]:
        """One step: the weighted loss terms (their means over the team), rate, gradient, whether anybody is to stop."""
        settings, config = self.task.stage, self.task.config
        self.stage.train()
        chance = torch.Generator().manual_seed(seed_of(config.seed, self.task.name, self.step, self.team.rank))
        terms = self.module(batch, chance)
        assert terms, f"every loss of stage {self.task.name} is switched off"
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        limit = settings.clip if settings.clip > 0 else math.inf
        gradient = nn.utils.clip_grad_norm_(self.parameters, limit)
        values = torch.stack([value.detach().float() for value in terms.values()])
        bad = ~(values.isfinite().all() & gradient.isfinite())
        told = torch.cat([values / self.team.world, bad[None].float(), values.new_tensor([float(stop)])])
        *means, wrong, asked = self.team.sum(told).tolist()  # the step's only wait for the device
        norm = float(gradient)
        if wrong:
            self._diverged(batch, dict(zip(terms, values.tolist(), strict=True)), norm, bool(bad))
        rate = rate_at(settings, self.step, self.task.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.step += 1
        self.average.update(self.step)
        return dict(zip(terms, means, strict=True)), rate, norm, asked > 0

    def _diverged(self, batch: Batch, terms: dict[str, float], gradient: float, here: bool) -> None:
        step = self.step + 1
        wrong = [name for name, value in terms.items() if not math.isfinite(value)] or ["gradient"]
        if not here:
            raise DivergedError(f"step {step} of {self.task.name}: another worker's loss is not a number")
        path = self.task.folder / f"diverged-{self.team.rank}.json"
        told = {"step": step, "terms": {name: str(value) for name, value in terms.items()}, "gradient": str(gradient)}
        path.write_text(json.dumps(told | {"keys": batch.keys}, indent=1) + "\n")
        names = ", ".join(batch.keys[:4]) + (f" and {len(batch.keys) - 4} more" if len(batch.keys) > 4 else "")
        kept = self.task.folder / "last.pt"
        raise DivergedError(
            f"step {step} of {self.task.name}: {', '.join(wrong)} is not a number; faces {names} (all in {path}); "
            + (f"the last checkpoint, {kept}, is from before it; " if kept.exists() else "no checkpoint was due yet; ")
            + f"a lower {self.task.name}.rate or {self.task.name}.clip may help"
        )

    @torch.no_grad()
    def validate(self, log: Log | None) -> None:
        """Judge the mean weights by the held-out faces, with the same chance every time; keep them if they are best."""
        if log is None:
            return
        total: dict[str, float] = {}
        count = 0
        self.stage.eval()
        with self.average.applied():
            for i, batch in enumerate(self.task.held_out()):
                chance = torch.Generator().manual_seed(seed_of(self.task.config.seed, "validation", i))
                for name, value in self.stage(to_device(batch, self.device), chance).items():
                    total[name] = total.get(name, 0.0) + float(value)
                count += 1
            if not count:
                return
            terms = {name: value / count for name, value in total.items()}
            log.validated(self.step, terms)
            loss = sum(terms.values())
            if loss < self.best:
                self.best = loss
                save_checkpoint(self.deca, self.task.folder / "best.safetensors")
        self.say(f"{self.task.name}: step {self.step}, validation {loss:.5g}, best {self.best:.5g}")

    @torch.no_grad()
    def _draw(self, log: Log, batch: Batch) -> None:
        """Pictures of held-out faces, of those just learned from where there are none."""
        self.stage.eval()
        with self.average.applied():
            shown = next(iter(self.task.held_out()), batch)
            log.pictures(self.step, self.stage.pictures(to_device(shown, self.device)))


class _Pace:
    """Images per second, and the share of the time that went into waiting for them, since they were last asked for."""

    def __init__(self) -> None:
        self._images, self._waited, self._worked = 0, 0.0, 0.0
        self._mark = time.perf_counter()

    def ask(self) -> None:
        """The next batch is asked for."""
        self._mark = time.perf_counter()

    def got(self, images: int) -> None:
        """It came."""
        now = time.perf_counter()
        self._images, self._waited, self._mark = self._images + images, self._waited + now - self._mark, now

    def done(self) -> None:
        """It was learned from."""
        now = time.perf_counter()
        self._worked, self._mark = self._worked + now - self._mark, now

    def scalars(self) -> dict[str, float]:
        time_spent = self._waited + self._worked
        told = {"pace/images_per_second": self._images / time_spent, "pace/waiting": self._waited / time_spent}
        self._images, self._waited, self._worked = 0, 0.0, 0.0
        return told
