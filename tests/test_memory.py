"""Freed memory is kept: what was once mapped is not mapped again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, numpy as np
from training.memory import keep_memory
kept = keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        parts = [np.ones(1 << 20) for _ in range(8)]  # 8 MiB each
        del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_a_process_keeps_its_memory() -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout.split()
    kept, faults = int(told[0]), int(told[1])
    assert kept == 1
    assert faults < 2048  # one pass through fresh memory takes 16,384 pages of 4 kB
