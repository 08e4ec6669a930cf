"""Two processes train together by Ray; one is killed in mid-run, and the run finishes from the last checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import descendants
from shards_of_colour import write_config, write_shards

from training.checkpoint import load_state
from training.log import read_curve

ROOT = Path(__file__).parents[1]
STEPS = 60
LIMIT = 300  # seconds: for machines that do other things meanwhile


@pytest.fixture
def command(tiny_head, tmp_path) -> list[str]:
    shards = write_shards(tmp_path / "shards", tiny_head, people=8, each=1)
    config = write_config(
        tmp_path / "c.yaml",
        tiny_head,
        shards,
        workers="2",
        device="cpu",
        save_every="5",
        pretrain=f"{{steps: {STEPS}, subjects: 4}}",
    )
    return [sys.executable, str(ROOT / "training" / "run.py"), "--config", str(config)]


def workers(driver: int) -> list[int]:
    """Ray's training processes among those that come from a process."""
    ours = descendants([driver])
    return [process.pid for process in ours if process.title.startswith(b"ray::") and b"TrainWorker" in process.title]


def wait_for(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes under /proc")
def test_a_killed_worker_costs_the_steps_since_the_last_save(command, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    curve = tmp_path / "out" / "pretrain" / "curve.jsonl"
    try:
        wait_for(lambda: (tmp_path / "out" / "pretrain" / "last.pt").exists(), process)
        before = workers(process.pid)
        assert len(before) == 2
        os.kill(before[1], signal.SIGKILL)
        wait_for(lambda: not set(before) & set(workers(process.pid)), process)
        assert load_state(curve.with_name("last.pt")).step < STEPS, "it was too quick to be killed"
        output, _ = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output
    assert output.count("from random weights") == 2, output
    assert [line["step"] for line in read_curve(curve)] == list(range(1, STEPS + 1))
    assert load_state(curve.with_name("last.pt")).step == STEPS
    assert not (tmp_path / "out" / ".workers").exists()
