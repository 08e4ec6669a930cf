"""Processes of this machine, from /proc: who comes from whom, under which title."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process: its number, that of the one it comes from, the beginning of its command line."""

    pid: int
    parent: int
    title: bytes


def running() -> dict[int, Process]:
    """All of them, by number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue  # it has ended meanwhile
            found[int(entry.name)] = Process(int(entry.name), parent, title)
    return found


def descendants(roots: list[int]) -> list[Process]:
    """All that come from these, over any number of generations, without themselves."""
    everything = running()

    def ours(pid: int) -> bool:
        while pid in everything and pid not in roots:
            pid = everything[pid].parent
        return pid in roots

    return [process for process in everything.values() if process.pid not in roots and ours(process.parent)]
