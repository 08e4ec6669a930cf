"""`track` by Ray, on real clusters of several raylets on this machine: the same files, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from moving import FRAMES, write_clip
from processes import descendants
from test_cli import fresh_weights

from tracker.cli import main as track
from tracker.track import Track, load_track

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

ROOT = Path(__file__).parents[1]
LIMIT = 300  # seconds: for machines that do other things meanwhile
CHUNK = 30

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes under /proc")


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Ray gives up on processes that need more than a minute to start, which they do on a busy machine; and it lets
    all others go first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_register_timeout_seconds", str(LIMIT))
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "c.yaml").write_text(f"chunk: {CHUNK}\ncluster: {{ship: false}}\n")
    return folder


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    return write_clip(folder / "clip.mp4", FRAMES)


@pytest.fixture(scope="module")
def options(folder: Path) -> list[str]:
    """With a network: its codes and the detail of the best crops must be the same too."""
    weights = fresh_weights(folder / "w.safetensors")
    return ["--config", str(folder / "c.yaml"), "--weights", str(weights), "--no-fit", "--faces", "2"]


@pytest.fixture(scope="module")
def alone(clip: Path, folder: Path, options: list[str]) -> Path:
    out = folder / "alone.npz"
    assert track([str(clip), "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that does no work, and two machines that do."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def same(a: Path, b: Path) -> None:
    """Arrays and all else; also the files themselves."""
    one, other = load_track(a), load_track(b)
    for name in Track.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert a.read_bytes() == b.read_bytes()


def nothing_left(folder: Path) -> bool:
    return not [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("workers", [2, 8])
def test_many_processes_give_what_one_gives(
    workers: int, clip: Path, alone: Path, options: list[str], tmp_path: Path, capsys
) -> None:
    out = tmp_path / "many.npz"
    assert track([str(clip), "--out", str(out), "--workers", str(workers), *options]) == 0
    assert f"{FRAMES} frames" in capsys.readouterr().out
    same(out, alone)
    result = load_track(out)
    assert [int(result.frame[result.shot == shot].min()) for shot in range(3)] == [0, 60, 100]
    assert result.detail is not None and result.detail.any() and nothing_left(tmp_path)


def working(nodes, title: bytes) -> list[int]:
    """Ray's processes of a title on these machines."""
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    return [process.pid for process in descendants(raylets) if process.title.startswith(title)]


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def chunks_there(out: Path) -> int:
    return len(list(out.with_name(f".{out.name}.partial").glob("*/[0-9]*.npz")))


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    """Something that happens while the main thread tracks."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_a_killed_worker_loses_nothing(
    cluster: Cluster, clip: Path, alone: Path, options: list[str], tmp_path: Path, capsys
) -> None:
    out, killed = tmp_path / "killed.npz", []

    def kill() -> None:
        wait_for(lambda: chunks_there(out))
        wait_for(lambda: working(cluster.worker_nodes, b"ray::look_at"))
        killed.append(working(cluster.worker_nodes, b"ray::look_at")[0])
        os.kill(killed[0], signal.SIGKILL)
        wait_for(lambda: working(cluster.worker_nodes, b"ray::EncoderProcess"))
        killed.append(working(cluster.worker_nodes, b"ray::EncoderProcess")[0])
        os.kill(killed[1], signal.SIGKILL)

    thread = meanwhile(kill)
    assert track([str(clip), "--out", str(out), "--ray-address", cluster.address, *options]) == 0
    thread.join(LIMIT)
    assert len(killed) == 2 and nothing_left(tmp_path)
    same(out, alone)
    capsys.readouterr()


def started(argv: list[str], log: Path) -> subprocess.Popen:
    """`track` in a process of its own."""
    with open(log, "w") as file:
        command = [sys.executable, "-m", "tracker.cli", *argv]
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


def test_a_machine_leaves_and_another_comes(
    cluster: Cluster, clip: Path, alone: Path, options: list[str], tmp_path: Path
) -> None:
    out, log = tmp_path / "moved.npz", tmp_path / "log.txt"
    process = started([str(clip), "--out", str(out), "--ray-address", cluster.address, *options], log)
    try:
        wait_for(lambda: chunks_there(out) or process.poll() is not None)
        busy = [node for node in cluster.worker_nodes if working([node], b"ray::look_at")]
        cluster.remove_node(next(iter(busy or cluster.worker_nodes)), allow_graceful=False)
        cluster.add_node(num_cpus=2)
        assert process.poll() is None, log.read_text()
        assert process.wait(LIMIT) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert nothing_left(tmp_path)
    same(out, alone)


def test_one_bad_video_among_ten(folder: Path, tmp_path: Path, capsys) -> None:
    talks, out = tmp_path / "talks", tmp_path / "params"
    talks.mkdir()
    first = write_clip(talks / "0.mp4", 12)
    for number in range(1, 10):
        (talks / f"{number}.mp4").write_bytes(first.read_bytes())
    (talks / "6.mp4").write_bytes(b"no video" * 100)
    argv = [str(talks), "--out", str(out), "--config", str(folder / "c.yaml"), "--weights", "none", "--workers", "2"]
    assert track(argv) == 1
    printed = capsys.readouterr()
    assert "6.mp4: not a video" in printed.err and "9 of 10 videos tracked, 1 failed" in printed.out
    assert sorted(path.name for path in out.glob("*.npz")) == [f"{n}.npz" for n in range(10) if n != 6]
    whole = load_track(out / "0.npz")
    for number in (1, 9):
        np.testing.assert_array_equal(load_track(out / f"{number}.npz").landmarks, whole.landmarks)
    assert "failed" in (out / "logs" / "6.log").read_text() and '"failed": 1' in (out / "summary.json").read_text()

    before = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    (talks / "6.mp4").write_bytes(first.read_bytes())
    second = write_clip(talks / "3.mp4", 12, seed=1)  # a changed video is done again
    assert track([*argv, "--resume"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("is there already") == 8 and second.exists()
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"3.npz"} and (out / "6.npz").exists() and nothing_left(out)


def test_a_killed_driver_goes_on_where_it_was(folder: Path, tmp_path: Path, capsys) -> None:
    """A batch of twenty, killed in the middle; in the end the same files, byte for byte, the first ones untouched."""
    talks = tmp_path / "talks"
    talks.mkdir()
    for number in range(20):
        write_clip(talks / f"{number:02d}.mp4", 40 if number == 8 else 12, seed=number)
    argv = [str(talks), "--config", str(folder / "c.yaml"), "--weights", "none", "--out"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert track([*argv, str(whole)]) == 0

    log = tmp_path / "log.txt"
    process = started([*argv, str(parts), "--workers", "2"], log)
    try:
        wait_for(lambda: process.poll() is not None or len(list(parts.glob("*.npz"))) >= 6)
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.npz")}
    assert 6 <= len(done) < 20
    assert track([*argv, str(parts), "--workers", "2", "--resume"]) == 0
    names = sorted(path.name for path in whole.glob("*.npz"))
    assert len(names) == 20 and sorted(path.name for path in parts.glob("*.npz")) == names
    for name in names:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    assert all((parts / name).stat().st_mtime_ns == when for name, when in done.items()) and nothing_left(parts)
    capsys.readouterr()


def test_poison_is_tried_a_bounded_number_of_times(tmp_path: Path) -> None:
    from tracker.cluster_session import Session
    from tracker.config import ClusterConfig

    tries = tmp_path / "tries"

    def dies() -> None:
        with open(tries, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    def mistaken() -> None:
        with open(tries, "a") as file:
            file.write("y")
        raise ValueError("no video")

    with Session(ClusterConfig(retries=2), 1, None) as session:
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            ray.get(ray.remote(dies).options(**session.options()).remote())
        with pytest.raises(ValueError, match="no video"):
            ray.get(ray.remote(mistaken).options(**session.options()).remote())
    assert tries.read_text() == "xxxy"


@pytest.mark.parametrize("joined", [False, True])
def test_processes_take_few_heaps(joined: bool, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or those that look at videos grow with the videos."""
    from tracker.cluster_session import Session
    from tracker.config import ClusterConfig

    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)

    def heaps() -> str | None:
        return os.environ.get("MALLOC_ARENA_MAX")

    with Session(ClusterConfig(ship=False), 1, cluster.address if joined else None) as session:
        assert ray.get(ray.remote(heaps).options(**session.options()).remote(), timeout=LIMIT) == "2"


def test_mistakes_are_said_before_anything_starts(clip: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "p.npz")
    assert track([str(clip), "--out", out, "--workers", "0"]) == 2
    assert "--workers 0" in capsys.readouterr().err
    assert track([str(clip), "--out", out, "--workers", "1", "--weights", "nix.safetensors"]) == 2
    assert "nix.safetensors: no such file" in capsys.readouterr().err
