"""What is told of many videos: table, summary, logs."""

from __future__ import annotations

import json
from pathlib import Path

from tracker import storage
from tracker.batch import Log, said, table, write_summary
from tracker.inputs import Job
from tracker.work import Outcome


def outcomes(count: int, folder: str = "/nowhere") -> tuple[list[Job], list[Outcome]]:
    """Every fourth has failed, every third of the others was there already."""
    jobs = [Job(Path(f"{folder}/v{i}.mp4"), Path(f"{folder}/v{i}.npz"), None) for i in range(count)]
    results = []
    for i, job in enumerate(jobs):
        if i % 4 == 3:
            results.append(Outcome.failed(job, ValueError(f"{job.name}: not a\nvideo"), 1.0))
        else:
            state = "kept" if i % 3 == 2 else "tracked"
            results.append(Outcome(job.name, str(job.out), state, 100 + i, 1, 0.5, 0.0 if state == "kept" else 4.0))
    return jobs, results


def test_every_video_has_a_line_and_many_only_if_they_failed() -> None:
    _, few = outcomes(8)
    lines = table(few, 50.0).splitlines()
    assert len(lines) == 1 + 8 + 1 and lines[0].split() == ["video", "state", "frames", "frames/s", "faces", "seen"]
    assert lines[1].split() == ["v0.mp4", "tracked", "100", "25.0", "1", "50%"]
    assert lines[3].split() == ["v2.mp4", "kept", "102", "1", "50%"]
    assert lines[4].split(maxsplit=2) == ["v3.mp4", "failed", "v3.mp4: not a video"]
    assert lines[-1] == "6 of 8 videos tracked, 2 failed; 411 frames in 50 s, 8 frames/s"
    _, many = outcomes(200)
    assert len(table(many, 50.0).splitlines()) == 1 + 50 + 1


def test_summary_holds_what_the_table_says(tmp_path: Path) -> None:
    jobs, results = outcomes(5, str(tmp_path))
    summary = json.loads(storage.read(write_summary(jobs, results, 50.0)))
    assert summary["failed"] == 1 and [video["frames"] for video in summary["videos"]] == [100, 101, 102, 0, 104]
    assert summary["videos"][0]["fps"] == 25.0 and summary["videos"][2]["fps"] is None
    assert summary["frames"] == 305 and "not a video" in summary["videos"][3]["error"]


def test_logs_go_on_and_can_be_silent(tmp_path: Path) -> None:
    jobs, results = outcomes(4, str(tmp_path))
    for _ in range(2):
        log = Log(jobs[0])
        log.line("chunk 0")
        log.end(results[0])
    lines = (tmp_path / "logs" / "v0.log").read_text().splitlines()
    assert len(lines) == 4 and lines[0].endswith("chunk 0") and lines[1].endswith(said(results[0]))
    Log(jobs[1], silent=True).end(results[1])
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["v0.log"]
    remote = Job("memory://logs/a.mp4", f"memory://{tmp_path.name}/a.npz", None)
    Log(remote).end(results[3])
    assert b"failed: v3.mp4: not a video" in storage.read(f"memory://{tmp_path.name}/logs/a.log")
