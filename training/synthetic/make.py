"""Folders of shards of rendered faces."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

from model.io.assets import load_head
from training.data.sample import Sample
from training.data.shards import ShardWriter
from training.synthetic.photograph import list_backgrounds
from training.synthetic.population import MOST_YAW, Population
from training.synthetic.render import PLAIN, Renderer

_CHUNK = 8  # faces that a worker makes at a time
_PATIENCE = 120.0  # seconds of work that a killed process may lose

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Recipe:
    """What decides the faces of a folder, apart from how many there are.

    Attributes:
        head: ``openhead`` or the path of another head with an albedo and named expression units.
        seed: of everything random.
        size: side of the pictures, px.
        per_identity: pictures of one person.
        backgrounds: folder of photographs to put behind the faces; painted backgrounds when empty.
        plain: nothing but the head of the codes under its light before a background: no hair, no glasses, no camera.
        turned: most degrees of yaw, to either side; pitch and roll are drawn from as much less.
        expressions: ``acts`` as people make them, or ``random``: every unit for itself.
    """

    head: str = "openhead"
    seed: int = 0
    size: int = 256
    per_identity: int = 1
    backgrounds: str = ""
    plain: bool = False
    turned: float = MOST_YAW
    expressions: str = "acts"

    def renderer(self) -> Renderer:
        """What makes the faces.

        Raises:
            ValueError: a setting out of range, an unusable head, no backgrounds where some were named.
        """
        photographs = list_backgrounds(self.backgrounds) if self.backgrounds else ()
        population = Population(load_head(self.head), self.seed, self.per_identity, self.turned, self.expressions)
        return Renderer(population, self.size, photographs, PLAIN if self.plain else None)


def write_faces(
    folder: str | Path, count: int, recipe: Recipe | None = None, jobs: int = 1, report: Report | None = None
) -> int:
    """Write faces 0 … count − 1; those that are there already stay, so an interrupted run goes on.

    What a face looks like does not depend on the number of jobs.

    Args:
        jobs: processes.
        report: called with a stage's name, how much of it is done, and how much there is.

    Returns:
        How many faces were made.

    Raises:
        ValueError: a number out of range, or the folder holds faces by another recipe.
    """
    recipe = Recipe() if recipe is None else recipe
    if count < 1:
        raise ValueError(f"count is {count}, expected 1 or more")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected 1 or more")
    renderer = recipe.renderer()
    with ShardWriter(folder, renderer.asset.name, renderer.asset.digest) as writer:
        _remember(Path(folder), recipe, renderer.asset.digest)
        missing = [k for k in range(count) if renderer.key(k) not in writer]
        if report is not None:
            report("faces", 0, len(missing))
        with _made(renderer, recipe, missing, jobs) as samples:
            flushed = time.monotonic()
            for done, sample in enumerate(samples, start=1):
                writer.write(sample)
                if time.monotonic() - flushed > _PATIENCE:
                    writer.flush()
                    flushed = time.monotonic()
                if report is not None:
                    report("faces", done, len(missing))
    return len(missing)


def _remember(folder: Path, recipe: Recipe, digest: str) -> None:
    """Note the recipe and the head's content in the folder; a folder by another one is refused."""
    path, text = folder / "synthetic.json", json.dumps({**asdict(recipe), "digest": digest}) + "\n"
    if not path.exists():
        temporary = path.with_name(".synthetic.part")
        temporary.write_text(text)
        temporary.replace(path)
    elif path.read_text() != text:
        raise ValueError(f"{folder}: was made with {path.read_text().strip()}, not {text.strip()}; use another folder")


@contextmanager
def _made(renderer: Renderer, recipe: Recipe, numbers: Sequence[int], jobs: int) -> Iterator[Iterator[Sample]]:
    if jobs == 1 or len(numbers) < 2:
        yield map(renderer.sample, numbers)
        return
    # not forked: torch's and numba's threads do not survive it
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:  # the parent ends them
        yield pool.imap(partial(_sample, recipe), numbers, chunksize=_CHUNK)


@lru_cache(maxsize=1)
def _renderer(recipe: Recipe) -> Renderer:
    """A worker's own: made once, used for all its faces."""
    return recipe.renderer()


def _sample(recipe: Recipe, k: int) -> Sample:
    return _renderer(recipe).sample(k)
