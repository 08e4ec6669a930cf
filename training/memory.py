"""Memory that glibc keeps for the next step, where it would give it back to the system and fetch it again.

A step of training frees and takes hundreds of megabytes. Given back, every page of them is cleared and mapped anew:
`tests/benchmarks/training.py` prints what that costs on the CPU.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of malloc.h


def keep_memory() -> bool:
    """Ask the C library to keep freed memory in this process; no results depend on it.

    Returns:
        Whether it does; False on systems without glibc, where nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # The greatest threshold that glibc takes is 2^31 − 1; without separate mappings there is none to pass.
    return all([mallopt(_TRIM_THRESHOLD, 2**31 - 1), mallopt(_MMAP_THRESHOLD, 2**31 - 1), mallopt(_MMAP_MAX, 0)])
