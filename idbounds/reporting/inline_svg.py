"""An SVG of ours as a part of an HTML page: ids that are the page's own, no style sheet, a name for screen readers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from idbounds.reporting.rounding import printable

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_USE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(content: bytes, *, prefix: str, title: str) -> str:
    """The element `svg` of a figure that `render` made, as HTML has it: without namespaces, metadata and sizes in points.

    Args:
        content: of the SVG.
        prefix: put before each id, so that several figures may stand on one page.
        title: what a screen reader says; the description is the caption's.
    """
    root = ElementTree.fromstring(content)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}style", f"{_SVG}metadata") or child.tag.startswith("{http://www.w3.org/1999/02"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {name.removeprefix(_XLINK): _own(name, value, prefix) for name, value in element.attrib.items()}
        element.text = element.tail = None
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    # What matplotlib says in the style sheet that was taken out, which would have applied to the whole page.
    root.attrib |= {"role": "img", "aria-label": printable(title), "style": "stroke-linejoin: round; stroke-linecap: butt"}
    return ElementTree.tostring(root, encoding="unicode")


def _own(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == f"{_XLINK}href":
        return f"#{prefix}-{value.removeprefix('#')}"
    return _USE.sub(rf"url(#{prefix}-\1)", value)
