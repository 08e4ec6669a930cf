"""Code blocks of Markdown pages, and the commands that a shell would start for them: for `test_docs.py`.

The shell expands lines (globs, loops, variables, pipes); in place of programs it finds stubs that only note how they
were called. What is called by another name than a stub's does not exist, and fails.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SHELLS = ("sh", "bash", "shell", "console")
MARK = re.compile(r"<!--\s*check:\s*(\w+)\s*-->")
PROGRAMS = (
    *("track", "reenact", "decatrack", "python", "python3", "pip", "make", "pipx", "git", "cp", "mkdir"),
    *("docker", "kubectl", "ray", "bash", "jupyter", "pre-commit"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file.
        line: of its first line of code, from 1.
        language: after the fence; empty where none stands there.
        check: what a comment before it says, ``<!-- check: parse -->``; empty without one.
        text: its lines.
    """

    page: Path
    line: int
    language: str
    check: str
    text: str


@dataclass(frozen=True)
class Call:
    """A program as the shell would start it."""

    folder: Path
    program: str
    arguments: tuple[str, ...]


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page; a comment counts for the block that follows it, with empty lines between."""
    found: list[Block] = []
    fence, start, check = "", 0, ""
    language, lines = "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        opened = re.match(r"\s*(`{3,}|~{3,})\s*(\w*)", line)
        if fence:
            if opened and opened[1] == fence and not opened[2]:
                found.append(Block(page, start, language, check, "\n".join(lines)))
                fence = check = ""
            else:
                lines.append(line)
        elif opened:
            fence, language, start, lines = opened[1], opened[2], number + 1, []
        elif mark := MARK.search(line):
            check = mark[1]
        elif line.strip():
            check = ""
    assert not fence, f"{page}: a block is not closed"
    return found


def commands_of(block: Block) -> list[str]:
    """The lines to be typed: continued ones joined; of a ``console`` block those after ``$``."""
    lines = block.text.splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def calls_of(script: str, folder: Path, scratch: Path) -> list[Call]:
    """What the shell starts for a script in `folder`; nothing is really started.

    ``cd`` makes folders that are missing.

    Raises:
        AssertionError: the shell does not understand it, or a program has no stub.
    """
    stubs, noted = scratch / "stubs", scratch / "calls"
    if not stubs.is_dir():
        stubs.mkdir(parents=True)
        for program in PROGRAMS:
            stub = stubs / program
            stub.write_text('#!/bin/sh\nprintf "%s\\0" $# "$PWD" "${0##*/}" "$@" >> "$NOTED"\n')
            stub.chmod(0o755)
    noted.unlink(missing_ok=True)
    # `.venv/bin/x` is x of the stubs as well.
    prelude = 'cd() { /bin/mkdir -p "$1" && builtin cd "$1"; }\nset -e -o pipefail\n'
    local = re.sub(r"(?<![\w/])\.venv/bin/", "", script)
    shell = subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-c", prelude + local],
        cwd=folder,
        env={"PATH": str(stubs), "NOTED": str(noted), "HOME": str(scratch), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shell.returncode == 0, f"the shell says of\n{script}\n{shell.stderr.strip()}"
    calls, words = [], os.fsdecode(noted.read_bytes()).split("\0")[:-1] if noted.exists() else []
    while words:
        count = int(words[0])
        calls.append(Call(Path(words[1]), words[2], tuple(words[3 : 3 + count])))
        words = words[3 + count :]
    return calls
