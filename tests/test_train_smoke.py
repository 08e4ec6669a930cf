"""All three stages on generated faces by the command: losses fall; stopped and resumed, the curve is the same.

The longest test there is: some minutes on two cores.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from training.checkpoint import load_state
from training.log import read_curve
from training.synthetic.__main__ import main as synthetic

ROOT = Path(__file__).parents[1]
STAGES = ("pretrain", "coarse", "detail")
LIMIT = 1800  # seconds: for machines that do other things meanwhile


def start(folder: Path, out: Path, *words: str) -> subprocess.Popen:
    config = ROOT / "configs" / "train_smoke.yaml"
    command = [sys.executable, ROOT / "training" / "run.py", "--config", config, "--data", folder / "faces"]
    return subprocess.Popen(
        [*map(str, command), "out", str(out), *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # the same sums in the same order
    )


def end(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=LIMIT)
    return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    words = ["--count", "96", "--per-identity", "4", "--size", "160", "--seed", "1"]
    assert synthetic(["--out", str(folder / "faces"), *words]) == 0
    return folder


@pytest.fixture(scope="module")
def whole(folder) -> Path:
    """The run that nobody stopped."""
    process = start(folder, folder / "whole")
    output = end(process)
    assert process.returncode == 0, output
    assert "detail: 80 steps" in output
    return folder / "whole"


def test_losses_fall(whole):
    """On the faces that are learned from, and on people who are held out (the same pictures at every validation)."""
    losses = [line["loss"] for line in read_curve(whole / "pretrain" / "curve.jsonl")]
    assert np.mean(losses[-25:]) < 0.7 * np.mean(losses[:25])
    for stage in STAGES:
        judged = [line["loss"] for line in read_curve(whole / stage / "validation.jsonl")]
        assert judged[-1] < judged[0], stage


def test_every_stage_leaves_weights_and_pictures(whole):
    for stage in STAGES:
        for name in ("best.safetensors", "last.safetensors", "last.pt", "config.yaml"):
            assert (whole / stage / name).stat().st_size > 0
        assert list((whole / stage / "pictures").glob("*.png"))
        assert not list((whole / stage).glob(".*"))


@pytest.mark.parametrize(("stage", "step"), [("coarse", 7), ("detail", 5)])
def test_stopped_by_a_signal_and_resumed_the_curve_is_identical(folder, whole, tmp_path, stage, step):
    """The earlier stages are taken over from the whole run; this one is stopped in mid-run, by SIGTERM."""
    out = tmp_path / "parts"
    for earlier in STAGES[: STAGES.index(stage)]:
        shutil.copytree(whole / earlier, out / earlier)
    stages = ("stages", ",".join(STAGES[: STAGES.index(stage) + 1]))
    process = start(folder, out, *stages, "--resume")
    curve = out / stage / "curve.jsonl"
    deadline = time.monotonic() + LIMIT
    while len(read_curve(curve)) < step:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = end(process)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "--resume goes on" in output.splitlines()[-1]
    stopped = load_state(out / stage / "last.pt").step
    assert stopped == len(read_curve(curve)) and step <= stopped < step + 15

    process = start(folder, out, *stages, "--resume")
    output = end(process)
    assert process.returncode == 0, output
    for file in ("curve.jsonl", "validation.jsonl"):
        assert (out / stage / file).read_bytes() == (whole / stage / file).read_bytes()
