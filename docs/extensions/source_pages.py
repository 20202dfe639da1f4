"""Links from a page to a file of the repository that is no page: the site gets a page that shows the file.

`[a link](../idbounds/cli.py)` then leads somewhere both on GitHub, where it is the file, and in the site, which needs no
address of a repository. A link to a folder leads to the list of its files.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

#: Folder of the site that holds these pages.
FOLDER = "files"
REPOSITORY = Path(__file__).resolve().parents[2]


def page_of(path: Path) -> str:
    """The site's page that shows a file or folder of the repository."""
    return "/".join((FOLDER, *path.relative_to(REPOSITORY).parts))


def is_text(path: Path) -> bool:
    """Whether the file can be shown; a page of a binary file would say nothing."""
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def listed(folder: Path) -> list[Path]:
    """The files of a folder that its page names."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and is_text(path)]


class LinkToFilePages(SphinxTransform):
    """Turns MyST's two kinds of unresolved links to files into links to the pages made here."""

    default_priority = 50

    def apply(self, **kwargs: Any) -> None:
        """Replace each link whose target lies in the repository and is no page of the site."""
        for node in list(
            self.document.findall(lambda node: isinstance(node, addnodes.download_reference | addnodes.pending_xref))
        ):
            path = self._target(node)
            if path is None or not path.exists() or not path.is_relative_to(REPOSITORY):
                continue
            if path.is_file() and not is_text(path):
                continue
            self.app.shown_files.update([path, *(listed(path) if path.is_dir() else [])])  # type: ignore[attr-defined]
            uri = self.app.builder.get_relative_uri(self.env.docname, page_of(path))
            node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))

    def _target(self, node: nodes.Element) -> Path | None:
        """Where the link points, or None if it is a page's or none of MyST's."""
        if node.get("reftype") != "myst":
            return None
        target = node["reftarget"].partition("#")[0]
        if node.get("refdomain") == "doc":
            return None if target in self.env.found_docs else (Path(self.env.srcdir) / f"{target}.md").resolve()
        return Path(self.env.relfn2path(target, self.env.docname)[1]).resolve() if target else None


def body_of(path: Path, app: Sphinx) -> str:
    """The HTML of a file's text, or of a folder's list."""
    title = f"<h1>{escape(str(path.relative_to(REPOSITORY)))}</h1>"
    if path.is_dir():
        items = (f'<li><a href="{path.name}/{file.name}.html">{escape(file.name)}</a></li>' for file in listed(path))
        return f"{title}<ul>{''.join(items)}</ul>"
    try:
        language = get_lexer_for_filename(path.name).aliases[0]
    except ClassNotFound:
        language = "text"
    text = path.read_text(encoding="utf-8")
    return title + app.builder.highlighter.highlight_block(text, language, force=True)  # type: ignore[attr-defined]


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """One page for each file and folder that is linked to."""
    for path in sorted(app.shown_files):  # type: ignore[attr-defined]
        yield page_of(path), {"title": path.name, "body": body_of(path, app)}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform and the pages."""
    app.shown_files = set()  # type: ignore[attr-defined]
    app.add_transform(LinkToFilePages)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": False}
