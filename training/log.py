"""What a run shows: a bar, the loss curve as a file, TensorBoard's scalars and pictures, the pictures as PNG files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm

_LABEL = 14  # px above each column
ROWS = 6


class Journal:
    """Lines about a whole run, with their time, in its ``log.txt``; shown as well, above the bar.

    Args:
        folder: of the run.
        writes: whether this process says anything at all.
        shows: whether it also prints.
    """

    def __init__(self, folder: Path, writes: bool = True, shows: bool = True) -> None:
        self.path = folder / "log.txt"
        self._writes, self._shows = writes, shows

    def __call__(self, line: str) -> None:
        """Say it."""
        if self._writes:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a") as file:
                file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
            if self._shows:
                tqdm.write(line)


class Log:
    """The written side of one stage; a context manager.

    ``curve.jsonl`` has a line for every step and ``validation.jsonl`` one for every validation; both hold nothing that
    depends on the clock, so that a resumed run leaves the same bytes as one that was never stopped.

    Args:
        folder: of the stage.
        name: of the stage.
        done: steps that a resumed run has done; lines of later ones (it was killed) are dropped. None begins anew.
        steps: of the whole stage.
    """

    def __init__(self, folder: Path, name: str, done: int | None, steps: int) -> None:
        self.folder = folder
        for file in ("curve.jsonl", "validation.jsonl"):
            _cut(folder / file, -1 if done is None else done)
        self._curve = open(folder / "curve.jsonl", "a", buffering=1)  # noqa: SIM115
        self._validation = open(folder / "validation.jsonl", "a", buffering=1)  # noqa: SIM115
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=0 if done is None else done + 1)
        self._bar = tqdm(total=steps, initial=done or 0, desc=name, unit=" steps", disable=None, leave=False)

    def step(self, step: int, terms: Mapping[str, float], rate: float, gradient: float) -> None:
        """Every step's weighted loss terms, Adam's rate, and the gradient's norm before it was clipped."""
        loss = sum(terms.values())
        self._curve.write(json.dumps({"step": step, "loss": loss, **terms, "rate": rate, "gradient": gradient}) + "\n")
        self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self._bar.update(step - self._bar.n)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers for TensorBoard, by their names there."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def validated(self, step: int, terms: Mapping[str, float]) -> None:
        """What the held-out faces say."""
        loss = sum(terms.values())
        self._validation.write(json.dumps({"step": step, "loss": loss, **terms}) + "\n")
        self.scalars(step, {f"validation/{name}": value for name, value in {"loss": loss, **terms}.items()})

    def pictures(self, step: int, pictures: Mapping[str, Float[Tensor, "batch 3 _ _"]]) -> None:
        """A row for every face, a column for every kind of picture."""
        picture = grid(pictures)
        folder = self.folder / "pictures"
        folder.mkdir(exist_ok=True)
        temporary = folder / f".{step:07}.png"
        Image.fromarray(picture).save(temporary)
        os.replace(temporary, folder / f"{step:07}.png")
        self._board.add_image("faces", picture, step, dataformats="HWC")

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._board.close()
        self._curve.close()
        self._validation.close()


def grid(pictures: Mapping[str, Float[Tensor, "batch 3 _ _"]]) -> np.ndarray:
    """(H, W, 3) uint8: a row for every face, up to six, a named column for every kind; sizes are those of the first."""
    size = next(iter(pictures.values())).shape[-2:]
    columns = []
    for name, faces in pictures.items():
        faces = faces[:ROWS].detach().float().cpu()
        if faces.shape[-2:] != size:
            faces = interpolate(faces, size, mode="bilinear", align_corners=False, antialias=True)
        column = (faces.clamp(0, 1) * 255).round().to(torch.uint8)
        column = column.permute(0, 2, 3, 1).reshape(-1, size[1], 3).numpy()
        label = Image.new("RGB", (size[1], _LABEL))
        ImageDraw.Draw(label).text((3, 1), name.replace("_", " "), fill=(255, 255, 255))
        columns.append(np.concatenate([np.asarray(label), column]))
    return np.concatenate(columns, axis=1)


def read_curve(path: Path) -> list[dict[str, int | float]]:
    """The lines of ``curve.jsonl`` or ``validation.jsonl``."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _cut(path: Path, step: int) -> None:
    """Keep the lines up to a step; a line that was cut off in writing goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)
