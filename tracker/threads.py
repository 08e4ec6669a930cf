"""What a process takes of its machine: how many threads torch uses, the same everywhere, so that results do not depend
on the machine's cores; and memory it no longer needs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_threaded() -> Iterator[int]:
    """One thread within each of torch's operations; yields how many there were.

    The matrices are small. Shared out by torch they cost more in waiting than they save, ten times more on a machine
    that is busy with something else; whole chunks side by side do not wait. And sums that are shared out differently
    are rounded differently.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def give_back() -> None:
    """Give memory that is free back to the machine. glibc keeps what its threads freed, for each of them apart; of a
    process that waits for its next piece of work this can be half.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
