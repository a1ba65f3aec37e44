"""What the documents show: their code blocks and the command lines in them.

`python -m tests.snippets FILE` runs a document's Python blocks, one after the other in one namespace and, as a notebook
does, while an event loop runs.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "cluster").rglob("*.md")]
    + [*(ROOT / "jobs").rglob("*.md"), *(ROOT / "spti_ray").rglob("*.md")]
)


def tokens(path: Path) -> Iterator[Token]:
    """All tokens of a document, those inside of paragraphs and tables too."""
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        yield token
        yield from token.children or ()


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks in one of the languages."""
    return [token.content for token in tokens(path) if token.type == "fence" and token.info in languages]


def command_lines(script: str) -> Iterator[list[str]]:
    """The arguments of each `spti` that a shell script starts, itself or by another command that ends in `-- spti`."""
    for line in script.replace("\\\n", " ").splitlines():
        if "spti" not in line:
            continue
        words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if word and set(word) <= set(";&|()<>"):
                arguments = _arguments(command)
                if arguments is not None:
                    yield arguments
                command = []
            else:
                command.append(word)


def _arguments(command: list[str]) -> list[str] | None:
    for number, word in enumerate(command):
        if word in ("spti", ".venv/bin/spti"):
            return command[number + 1 :]
        if word == "--" or re.match(r"[A-Z_]+=", word) or command[:number].count("--") or "--" in command[number:]:
            continue
        return None
    return None


def mentions(path: Path) -> list[str]:
    """What stands in a line as code and begins with `spti`: commands, or how they are written."""
    return [t.content for t in tokens(path) if t.type == "code_inline" and re.match(r"(\.venv/bin/)?spti ", t.content)]


async def main(path: Path) -> None:
    for example in Sybil(parsers=[PythonCodeBlockParser()]).parse(path).examples():
        example.evaluate()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
