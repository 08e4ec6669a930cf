"""No photograph that judges is among those that teach: compared by the content of the files."""

import csv
import hashlib
from collections import defaultdict
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def digests(folder: Path) -> dict[str, list[str]]:
    """Files by the hash of their bytes."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[hashlib.sha256(path.read_bytes()).hexdigest()].append(str(path.relative_to(folder)))
    return found


@pytest.mark.skipif(not (SHARED / "eval").is_dir(), reason=f"{SHARED} is absent: it is not part of the project")
def test_nothing_that_is_judged_on_was_trained_on() -> None:
    judged, taught = digests(SHARED / "eval"), digests(SHARED / "train")
    taught |= digests(SHARED / "video")
    assert len(judged) > 1000 and len(taught) > 5000
    assert not [(judged[key], taught[key]) for key in judged.keys() & taught.keys()]
    with (SHARED / "manifest.tsv").open(newline="") as file:
        sets: dict[str, set[str]] = defaultdict(set)
        for row in csv.DictReader(file, delimiter="\t"):
            sets[row["path"].split("/")[0]].add(row["path"])
    assert len(sets["eval"]) > 1000 and len(sets["train"]) > 5000
