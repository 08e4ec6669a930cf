"""Places: paths here, URLs by fsspec (in memory and on disk)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker import storage
from tracker.inputs import plan


@pytest.fixture(params=["path", "file", "memory"])
def root(request, tmp_path: Path) -> storage.Place:
    return {"path": tmp_path, "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path.name}"}[request.param]


def test_what_is_written_is_read(root: storage.Place) -> None:
    place = storage.below(storage.below(root, "a"), "b.npz")
    assert not storage.exists(place) and storage.listing(storage.below(root, "a")) == []
    with pytest.raises(FileNotFoundError):
        storage.read(place)
    storage.write(place, b"one")
    storage.write(place, b"two")
    assert storage.read(place) == b"two" and storage.name_of(place) == "b.npz"
    other = storage.beside(place, "c.npz")
    storage.write(other, b"three")
    assert [storage.name_of(p) for p in storage.listing(storage.below(root, "a"))] == ["b.npz", "c.npz"]
    with storage.local_copy(place) as path:
        assert path.read_bytes() == b"two" and path.name == "b.npz"
    storage.remove(storage.below(root, "a"))
    assert not storage.exists(place)
    storage.remove(place)  # quietly


def test_a_changed_file_is_fetched_again(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/x.mp4"
    for content in (b"first", b"second, longer"):
        storage.write(url, content)
        with storage.local_copy(url) as path:
            assert path.read_bytes() == content
            shown = path
        assert not shown.exists()


def test_what_cannot_be_fetched_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nix\.mp4: cannot be fetched"), storage.local_copy("memory://nix.mp4"):
        pass
    with pytest.raises(ValueError, match="nosuch"), storage.local_copy("nosuch://a/b.mp4"):
        pass


def test_urls_on_the_command_line(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", "c.txt"):
        storage.write(f"memory://{tmp_path.name}/talks/{name}", b"x")
    jobs = plan([f"memory://{tmp_path.name}/talks/*.mp4"], "memory://out", "memory://shown")
    assert [job.name for job in jobs] == ["a.mp4", "b.mp4"]
    assert [job.out for job in jobs] == ["memory://out/a.npz", "memory://out/b.npz"]
    assert jobs[1].preview == "memory://shown/b.mp4"
    assert (
        plan(["s3://bucket/a.mp4"], "s3://bucket/x.npz", None)[0].out == "s3://bucket/x.npz"
    )  # nothing is asked there
    assert plan(["s3://bucket/a.mp4"], str(tmp_path), None)[0].out == tmp_path / "a.npz"
    with pytest.raises(ValueError, match="no file matches"):
        plan([f"memory://{tmp_path.name}/talks/*.mov"], "memory://out", None)
    with pytest.raises(ValueError, match=r"several videos would be written as a\.npz"):
        plan(["s3://one/a.mp4", "s3://two/a.mkv"], "s3://out", None)
