"""The training loop of the face-parsing network: resumable, the same bits after a resume."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.io.configs import override
from model.io.parsing import save_parsing
from model.parsing import Parser, ParsingNetwork, Part
from training.parsing.batches import Batches
from training.parsing.config import ParsingConfig
from training.parsing.evaluate import confusion, iou
from training.parsing.loss import parsing_loss
from training.parsing.portraits import Portraits

_EVALUATE_EVERY = 500
_COLUMNS = ("step", "side", "rate", "loss", "images_per_second", "skin", "hair", "mean")


def train(
    batches: Batches,
    weights: Tensor,
    held_out: Portraits,
    config: ParsingConfig,
    folder: Path,
    resume: bool,
    about: dict[str, str],
    progress: Callable[[str, int, int], None],
    save_every: int = 200,
) -> Path:
    """Train, and write ``parsing.safetensors``, ``log.csv`` and, to go on from, ``state.pt`` into the folder.

    Args:
        weights: of the parts, see `training.parsing.loss.part_weights`.
        held_out: portraits to log the IoU of; nothing is chosen by it.
        about: for the metadata of the weights.
        save_every: steps between two states to go on from.

    Returns:
        The path of the weights.

    Raises:
        ValueError: the folder holds a run of other settings.
    """
    torch.manual_seed(config.seed)
    network = ParsingNetwork().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    average = ParsingNetwork()
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(_groups(network, config.decay), lr=config.rate)
    start = _restore(folder, network, average, optimiser, config) if resume else 0
    log = _Log(folder / "log.csv", start)
    losses, since, done = [], time.monotonic(), 0
    for step in range(start, config.steps):
        images, parts = batches.batch(step)
        for group in optimiser.param_groups:
            group["lr"] = config.rate_at(step)
        network.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = parsing_loss(logits.float(), parts, weights, config.dice, corner=step % 4)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        _follow(average, network, min(config.average, (step + 1) / (step + 20)))
        losses.append(loss.item())
        done += len(images)
        step += 1
        progress("training", step, config.steps)
        last = step == config.steps
        if step % _EVALUATE_EVERY == 0 or last:
            speed = done / (time.monotonic() - since)
            scores = iou(confusion(Parser(average), held_out))
            log.write(step, config, sum(losses) / len(losses), speed, scores)
            losses, since, done = [], time.monotonic(), 0
        if step % save_every == 0 or last:
            _save(folder, network, average, optimiser, config, step)
    path = folder / "parsing.safetensors"
    save_parsing(average, path, {**about, "config": json.dumps(dataclasses.asdict(config), sort_keys=True)})
    return path


def _groups(network: ParsingNetwork, decay: float) -> list[dict[str, Any]]:
    """Weight decay for convolutions only, not for biases and normalisations."""
    heavy = [value for value in network.parameters() if value.dim() == 4]
    light = [value for value in network.parameters() if value.dim() != 4]
    return [{"params": heavy, "weight_decay": decay}, {"params": light, "weight_decay": 0.0}]


@torch.no_grad()
def _follow(average: ParsingNetwork, network: ParsingNetwork, decay: float) -> None:
    """The running average one step on, statistics of the normalisations included."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)


def _save(
    folder: Path,
    network: ParsingNetwork,
    average: ParsingNetwork,
    optimiser: torch.optim.Optimizer,
    config: ParsingConfig,
    step: int,
) -> None:
    temporary = folder / f".state.{os.getpid()}.part"
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "config": dataclasses.asdict(config),
        "step": step,
    }
    torch.save(state, temporary)
    os.replace(temporary, folder / "state.pt")


def _restore(
    folder: Path,
    network: ParsingNetwork,
    average: ParsingNetwork,
    optimiser: torch.optim.Optimizer,
    config: ParsingConfig,
) -> int:
    path = folder / "state.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not config.same_until(override(ParsingConfig(), state["config"]), state["step"]):
        raise ValueError(f"--out {folder}: holds a run of other settings; choose another folder, or leave out --resume")
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"]


class _Log:
    """A table of the run; rows after the step that is gone on from are dropped."""

    def __init__(self, path: Path, start: int) -> None:
        rows = []
        if start and path.is_file():
            with path.open(newline="") as file:
                rows = [row for row in list(csv.reader(file))[1:] if int(row[0]) <= start]
        self._path = path
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *rows])

    def write(self, step: int, config: ParsingConfig, loss: float, speed: float, scores: Tensor) -> None:
        row = [step, config.side(step - 1), f"{config.rate_at(step - 1):.2e}", f"{loss:.4f}", f"{speed:.1f}"]
        row += [f"{value:.4f}" for value in (scores[Part.SKIN], scores[Part.HAIR], scores.nanmean())]
        with self._path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)
