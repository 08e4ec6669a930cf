"""A run as others see it: handed in by `ray job submit`, watched by plain HTTP. Needs what ``ray[default]`` brings."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from moving import FRAMES, write_clip
from test_cli import fresh_weights

from tracker.track import load_track

pytest.importorskip("ray")
for name in ("aiohttp_cors", "opentelemetry.exporter.prometheus", "prometheus_client"):
    pytest.importorskip(name, reason="the dashboard of ray[default] is not installed")

ROOT = Path(__file__).parents[1]
LIMIT = 300  # seconds: for machines that do other things meanwhile
OURS = ("ray_decatrack_frames", "ray_decatrack_stage_seconds", "ray_decatrack_queue", "ray_decatrack_videos")


def ray_command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts", *argv]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A cluster's head with a dashboard, as `ray start --head` makes it, with a token of its own that all who talk to
    it must have; ports of dashboard and metrics."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    dashboard, metrics = free_port(), free_port()
    settings = {
        "RAY_metrics_report_interval_ms": "1000",
        "RAY_worker_register_timeout_seconds": str(LIMIT),
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    start = ("--head", "--num-cpus=2", f"--port={free_port()}", "--include-dashboard=true", "--block")
    ports = (f"--dashboard-port={dashboard}", f"--metrics-export-port={metrics}", "--disable-usage-stats")
    with open(tmp_path / "head.txt", "w") as log:
        process = subprocess.Popen(
            ray_command("start", *start, *ports), env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + LIMIT
        while not listens(dashboard):
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "head.txt").read_text()
            time.sleep(0.3)
        yield dashboard, metrics
    finally:
        process.terminate()  # it stops what it has started
        process.wait(LIMIT)


def listens(port: int) -> bool:
    """Whether somebody answers there. The dashboard wants a token for more, which `ray job submit` has."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def answer(url: str) -> str:
    """What is there; empty while nothing is."""
    try:
        with urllib.request.urlopen(url, timeout=10) as page:
            return page.read().decode()
    except OSError:
        return ""


def samples(page: str) -> dict[str, float]:
    """Our metrics on a page of Prometheus's text format: the sum over all labels, by name."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        name = line.split("{")[0].split(" ")[0]
        if name.startswith(OURS):
            found[name] = found.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
    return found


def test_a_job_is_handed_in_and_watched(head: tuple[int, int], tmp_path: Path) -> None:
    dashboard, metrics = head
    clip, out = write_clip(tmp_path / "clip.mp4", FRAMES), tmp_path / "out.npz"
    (tmp_path / "c.yaml").write_text("chunk: 30\ncluster: {ship: false}\n")
    weights = fresh_weights(tmp_path / "w.safetensors")
    work = [sys.executable, "-m", "tracker.cli", str(clip), "--out", str(out), "--ray-address", "auto"]
    work += ["--config", str(tmp_path / "c.yaml"), "--weights", str(weights), "--no-fit", "--faces", "2"]
    environment = json.dumps({"env_vars": {"PYTHONPATH": str(ROOT)}})
    submit = ["job", "submit", "--address", f"http://127.0.0.1:{dashboard}", "--runtime-env-json", environment]
    log, seen = tmp_path / "job.txt", {}
    with open(log, "w") as file:
        job = subprocess.Popen(ray_command(*submit, "--", *work), stdout=file, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + LIMIT
        while job.poll() is None:
            assert time.monotonic() < end, log.read_text()
            for name, value in samples(answer(f"http://127.0.0.1:{metrics}/metrics")).items():
                seen[name] = max(seen.get(name, 0.0), value)
            time.sleep(0.2)
    finally:
        job.kill()
        job.wait()
    assert job.returncode == 0, log.read_text()
    assert "succeeded" in log.read_text()
    assert int(load_track(out).frame.max()) == FRAMES - 1
    assert 0 < seen.get("ray_decatrack_frames_total", 0.0) <= FRAMES, seen
    assert seen["ray_decatrack_queue"] > 0 and seen["ray_decatrack_stage_seconds_count"] >= 4, seen
