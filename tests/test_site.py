"""The site: every page is in its contents, and it builds without a warning; all name the version that is here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.findall(r'(?m)^version = "(.+)"', (ROOT / "pyproject.toml").read_text())[0]


def pages_of(nav: list | dict | str) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(item)]


def test_every_page_is_in_the_contents():
    nav = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(nav) == len(set(nav)) and set(nav) == there


def test_pictures_of_pages_are_there():
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page}: no picture {target}"


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for version in re.findall(r"decatrack-([0-9.]+)-py3", page.read_text()):
            assert version == VERSION, f"{page}: a wheel of version {version}"


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install 'decatrack[docs]'")
    pytest.importorskip("mkdocstrings", reason="pip install 'decatrack[docs]'")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    text = (tmp_path / "site" / "api" / "tracker.html").read_text()
    assert "Posed heads, one row per" in text and "tracker.track.load_track" in text
    assert (tmp_path / "site" / "quickstart.ipynb").is_file()
    assert not re.search(r'(src|href)="https?://[^"]*(fonts|cdn|unpkg)', text)
