"""Photographs in, shards out: work shared out to processes, duplicates dropped, and a record from which it goes on."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from model.io.assets import load_head
from tracker.image import decode_image
from training.data.shards import Shards, ShardWriter
from training.prepare.config import PrepareConfig
from training.prepare.quality import fingerprint
from training.prepare.sources import Item
from training.prepare.worker import VIDEO, Outcome, Worker, sample_of

PHOTOGRAPHS = 32
"""Photographs that are fitted together."""
KEPT = "kept"
_PROGRESS, _DROPPED, _SETTINGS = "progress.tsv", "dropped.tsv", "prepare.json"


@dataclass(frozen=True)
class Job:
    """A preparation.

    Attributes:
        items: what to prepare, in order.
        out: the folder of shards.
        config, landmarks, masks: see `Worker`.
        jobs: processes.
    """

    items: list[Item]
    out: Path
    config: PrepareConfig
    landmarks: Path | None = None
    masks: Path | None = None
    jobs: int = 1


def prepare(job: Job, *, resume: bool = False) -> Counter[str]:
    """Prepares what is not yet done and writes `dropped.tsv`: what was left out, and why.

    ``progress.tsv`` in the folder says what became of every photograph whose face is in a shard by now; an interrupted
    run goes on behind that.

    Returns:
        How many photographs and frames were kept or left out, by reason.

    Raises:
        ValueError: the folder is not empty and `resume` is not given, or its settings were others; no face was kept.
    """
    _check_settings(job, resume)
    outcomes = _without_lost(_finished(job.out / _PROGRESS), job.out)
    items = [item for item in job.items if item.key not in outcomes]
    if items:
        asset = load_head(job.config.head)
        albedo = 50 if asset.albedo_basis is None else len(asset.albedo_basis)
        with ShardWriter(job.out, asset.name, asset.digest) as writer:
            known = _fingerprints(job.out, {item.identity for item in items}) if len(writer) else defaultdict(list)
            record = _Record(job.out / _PROGRESS, writer, outcomes)
            try:
                for outcome in _outcomes(job, items):
                    if outcome.face is None:
                        record.add(outcome, outcome.reason)
                    elif outcome.key in writer:
                        record.add(outcome, KEPT)  # it was interrupted between writing and recording
                    elif outcome.key == outcome.item and _is_known(  # frames of a video were chosen to differ
                        outcome.face.fingerprint, known[outcome.face.identity], job.config.duplicate
                    ):
                        record.add(outcome, "duplicate")
                    else:
                        known[outcome.face.identity].append(outcome.face.fingerprint)
                        writer.write(sample_of(outcome.key, outcome.face, albedo))
                        record.add(outcome, KEPT)
            finally:
                writer.flush()
                record.save()
    dropped = {key: reason for key, reason in outcomes.items() if reason not in (KEPT, VIDEO)}
    _write(job.out / _DROPPED, "path\treason\n" + "".join(f"{key}\t{reason}\n" for key, reason in dropped.items()))
    counts = Counter(reason for reason in outcomes.values() if reason != VIDEO)
    if not counts[KEPT]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
        raise ValueError(f"no face could be used of {counts.total()} pictures: {reasons}; see {job.out / _DROPPED}")
    return counts


class _Record:
    """What became of everything; saved whenever all kept faces are in shards."""

    def __init__(self, path: Path, writer: ShardWriter, outcomes: dict[str, str]) -> None:
        self._path, self._writer, self._outcomes = path, writer, outcomes
        self._waiting: list[str] = []

    def add(self, outcome: Outcome, said: str) -> None:
        self._outcomes[outcome.key] = said
        self._waiting.append(f"{outcome.key}\t{said}\n")
        if not self._writer.waiting:
            self.save()

    def save(self) -> None:
        if self._waiting and not self._writer.waiting:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(self._waiting))
            self._waiting = []


def _finished(path: Path) -> dict[str, str]:
    """What became of everything so far; a last line that is not whole is cut off."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        _write(path, whole)
    return dict(line.rsplit("\t", 1) for line in whole.splitlines())  # type: ignore[misc]


def _without_lost(outcomes: dict[str, str], folder: Path) -> dict[str, str]:
    """What is still true of what became of everything: faces that are in no shard any more (a damaged file was deleted)
    are to be made again, frames with their whole video."""
    kept = {key for key, reason in outcomes.items() if reason == KEPT}
    if not kept:
        return outcomes
    there = set(Shards(folder).keys.tolist()) if any(folder.glob("*.arrow")) else set()
    lost = {name for key in kept - there for name in (key, key.rsplit("#", 1)[0])}
    return {key: reason for key, reason in outcomes.items() if key not in lost}


def _check_settings(job: Job, resume: bool) -> None:
    """Makes the folder; raises ValueError where it holds something that this run does not go on with."""
    now: dict[str, Any] = json.loads(
        json.dumps({**vars(job.config), "landmarks": job.landmarks, "masks-folder": job.masks}, default=str)
    )
    path = job.out / _SETTINGS
    if path.is_file():
        if not resume:
            raise ValueError(f"--out {job.out}: holds shards already; --resume goes on, or give another folder")
        try:
            before = json.loads(path.read_text())
        except ValueError:
            raise ValueError(f"{path}: damaged; prepare into another folder") from None
        for name in now:
            if before.get(name) != now[name]:
                raise ValueError(
                    f"--out {job.out}: was begun with {name} {before.get(name)}, not {now[name]}; give that, or "
                    "another folder"
                )
        return
    try:
        job.out.mkdir(parents=True, exist_ok=True)
        if any(job.out.iterdir()):
            raise ValueError(f"--out {job.out}: is not empty and holds no shards; give another folder")
        _write(path, json.dumps(now, indent=1) + "\n")
    except OSError as error:
        raise ValueError(f"--out {job.out}: cannot be written to ({error.strerror})") from None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _fingerprints(folder: Path, people: set[str]) -> defaultdict[str, list[int]]:
    """Those of the faces that are there already, of the people who may get more."""
    known: defaultdict[str, list[int]] = defaultdict(list)
    shards = Shards(folder)
    for index, identity in enumerate(shards.identities.tolist()):
        if identity in people:
            sample = shards[index]
            known[identity].append(fingerprint(decode_image(sample.image), sample.landmarks))
    return known


def _is_known(bits: int, others: list[int], most: int) -> bool:
    return any((bits ^ other).bit_count() <= most for other in others)


def _outcomes(job: Job, items: list[Item]) -> Iterator[Outcome]:
    """What becomes of the items, in their order, whatever the number of processes."""
    chunks = list(_chunks(items))
    with tqdm(total=len(items), desc="prepare", unit=" files", disable=None) as bar:
        if job.jobs == 1:
            worker = Worker(job.config, job.landmarks, job.masks)
            try:
                for chunk in chunks:
                    yield from worker(chunk)
                    bar.update(len(chunk))
            finally:
                worker.close()
            return
        pool = ProcessPoolExecutor(job.jobs, get_context("spawn"), _start, (job.config, job.landmarks, job.masks))
        try:
            running: list[tuple[Future[list[Outcome]], int]] = []
            for chunk in chunks:
                running.append((pool.submit(_work, chunk), len(chunk)))
                if len(running) > 2 * job.jobs:  # no more waits in memory than needed
                    future, size = running.pop(0)
                    yield from future.result()
                    bar.update(size)
            for future, size in running:
                yield from future.result()
                bar.update(size)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _chunks(items: list[Item]) -> Iterator[list[Item]]:
    """Photographs together, every video on its own."""
    chunk: list[Item] = []
    for item in items:
        if item.is_video:
            if chunk:
                yield chunk
            yield [item]
            chunk = []
        else:
            chunk.append(item)
            if len(chunk) == PHOTOGRAPHS:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


_worker: Worker | None = None  # of this process, when it is one of a pool


def _start(config: PrepareConfig, landmarks: Path | None, masks: Path | None) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the work in order
    torch.set_num_threads(1)
    _worker = Worker(config, landmarks, masks)


def _work(items: list[Item]) -> list[Outcome]:
    assert _worker is not None
    return _worker(items)
