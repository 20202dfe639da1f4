"""What the generators of documentation pages share: reading a class's docstring, and writing or checking a folder of pages."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def sections(documented: type, names: Sequence[str]) -> tuple[str, dict[str, str], str]:
    """(what it is, section texts, example lines) of the class's docstring."""
    text = inspect.getdoc(documented) or ""
    text, _, example = text.partition("\nExamples:\n")
    parts = re.split(rf"^({'|'.join(names)}): ", text, flags=re.MULTILINE)
    found = {name: " ".join(body.split()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    return " ".join(parts[0].split()), found, inspect.cleandoc(example)


def example_block(example: str, *, imports: Sequence[str]) -> str:
    """The doctest as a reader can run it: with its imports in front."""
    return "\n".join(["```pycon", *(f">>> {line}" for line in imports), example, "```"])


def write_or_check(folder: Path, pages: Mapping[str, str], *, summary: str) -> None:
    """Write the pages that changed; with --check exit with 1 if there are any."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    folder.mkdir(parents=True, exist_ok=True)
    stale = [name for name, text in pages.items() if not (folder / name).is_file() or (folder / name).read_text() != text]
    if check:
        sys.exit(f"not up to date: {', '.join(stale)}; run python {sys.argv[0]}" if stale else 0)
    for name in stale:
        (folder / name).write_text(pages[name])
    print(f"{len(stale)} of {len(pages)} pages written to {folder}")
