"""Reads the corpus of hostile programs: data, in `corpus/*.md`, a file a topic.

A program is a heading of the second level, a sentence, a list of what is known about it, and its source. The list:

- `status`: what the caller must see; words with `or` between them where the engine may stop it in either way.
- `output`, `error`: regular expressions that all that it wrote there must match.
- `timeout`, `memory`, `processes`, `collect`: what the caller asks for.
- `files`: the paths that must come back.
- `needs`: a limit that a backend must claim to hold, or the program is waived there.

What must hold on the host afterwards is the same for each, and is looked at for each: see `traces`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from xagent_core import InputFile, Limits
from xagent_core.types import MIB

__all__ = ["HELPER", "Hostile", "hostile_programs"]

CORPUS = Path(__file__).with_name("corpus")
HELPER = InputFile("attack.py", (CORPUS / "attack.py").read_bytes())
"""A module for those in Python, which tells how the kernel answers a system call."""

_PROGRAM = re.compile(
    r"^## (?P<name>\S+)\n\n(?P<why>.+?)\n\n(?P<facts>(?:- [^\n]+\n)+)\n```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_KNOWN = {"status", "output", "error", "timeout", "memory", "processes", "collect", "files", "needs"}


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One program, what its caller asks for, and what the caller must see."""

    topic: str
    name: str
    language: str
    code: str
    status: tuple[str, ...]
    output: str
    error: str
    limits: Limits
    collect: tuple[str, ...]
    files: tuple[str, ...]
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.topic}-{self.name}"


def hostile_programs() -> list[Hostile]:
    """All of them, in the order of the files."""
    programs = []
    for file in sorted(CORPUS.glob("*.md")):
        text = file.read_text("utf-8")
        found = [_read(file.stem, match) for match in _PROGRAM.finditer(text)]
        # A heading that the pattern does not match would be a program that nobody runs.
        if len(found) != len(re.findall(r"^## ", text, re.MULTILINE)):
            raise ValueError(f"{file}: read only {[program.name for program in found]}")
        programs += found
    return programs


def _read(topic: str, match: re.Match[str]) -> Hostile:
    facts = dict(line[2:].split(": ", 1) for line in match["facts"].splitlines())
    if facts.keys() - _KNOWN:
        raise ValueError(f"{topic} {match['name']}: unknown {facts.keys() - _KNOWN}")
    return Hostile(
        topic=topic,
        name=match["name"],
        language=match["language"],
        code=match["code"],
        status=tuple(facts["status"].split(" or ")),
        output=facts.get("output", "`.*`").strip("`"),
        error=facts.get("error", "`.*`").strip("`"),
        limits=Limits(
            # What is stopped by another limit must meet that one first, on a busy machine too.
            timeout=float(facts.get("timeout", 20)),
            memory=int(facts["memory"]) * MIB if "memory" in facts else None,
            processes=int(facts["processes"]) if "processes" in facts else None,
            cpus=1.0,
            output=MIB // 4,
            collect=MIB,
        ),
        collect=tuple(facts.get("collect", "").split()),
        files=tuple(facts.get("files", "").split()),
        needs=tuple(facts.get("needs", "").split()),
    )
