"""Write docs/theory/order.md and order.svg: which bounds are never above which, and why.

python scripts/make_order_chart.py           write both
python scripts/make_order_chart.py --check   exit with 1 if one is not up to date

tests/test_order_chart.py holds every line of ORDER and SAME to the code, and asks for every pair of tests/bounds/test_order.py.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from docstring_pages import write_or_check

from idbounds.bounds import BOUNDS

FOLDER = Path(__file__).parents[1] / "docs" / "theory"

_PINSKER = "Pinsker's inequality: kl(r̂, p) ≥ 2 (p − r̂)²"
_CATONI = "kl(r̂, p) is the largest, over λ, of −ln(1 − p (1 − exp(−λ/n))) − λ r̂/n, and Catoni's form takes it at one λ"
#: (never larger, never smaller) -> why. No line follows from others.
ORDER = {
    ("occam_binomial", "occam_kl"): "Chernoff: P[Bin(n, p) ≤ k] ≤ exp(−n kl(k/n, p)) for p ≥ k/n",
    ("occam_kl", "occam_hoeffding"): _PINSKER,
    ("occam_kl", "catoni_fixed"): _CATONI,
    ("occam_kl", "catoni_grid"): f"{_CATONI}; the grid has its price besides",
    ("occam_kl", "occam_split_kl"): "for errors and μ = ½ split-kl is kl with ln(2/δ) in place of ln(1/δ)",
    ("occam_kl", "universal_prior"): "the same kl⁻¹, with 2 ln ℓ + ln(π²/6) more to pay",
    ("occam_split_kl", "occam_betting"): "the same kl⁻¹; √π Γ(n+1)/Γ(n+½) is 2 at n = 1 and grows with n",
    ("occam_betting", "seeger"): "the same kl⁻¹; √π Γ(n+1)/Γ(n+½) ≤ 2√n",
    ("occam_hoeffding", "mcallester"): "the same square root, with ln(2√n/δ) in place of ln(1/δ)",
    ("seeger", "pac_bayes_split_kl"): "for errors and μ = ½ split-kl is kl with ln(4√n/δ) in place of ln(2√n/δ)",
    ("seeger", "mcallester"): _PINSKER,
    ("seeger", "pac_bayes_quadratic"): "kl(r̂, p) ≥ (p − r̂)²/2p for p ≥ r̂",
}
#: Two names, one number for error counts: the second is drawn under the first.
SAME = {
    "occam_betting": ("pac_bayes_betting", "for errors the best bet has a closed form, which is that of the PAC-Bayes bound"),
    "pac_bayes_quadratic": ("pac_bayes_lambda", "the quadratic bound is the λ bound at its best λ"),
}

WIDTH, HEIGHT, COLUMN, ROW, MARGIN = 170, 40, 215, 62, 20


def columns() -> list[list[str]]:
    """The bounds by the longest chain of smaller ones."""
    names = dict.fromkeys(name for pair in ORDER for name in pair)
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for smaller, larger in ORDER:
            depth[larger] = max(depth[larger], depth[smaller] + 1)
    return [[name for name in names if depth[name] == column] for column in range(max(depth.values()) + 1)]


def chart() -> str:
    """The picture: an arrow leads from a bound to one that is never smaller."""
    layout = columns()
    rows = max(map(len, layout))
    width = COLUMN * (len(layout) - 1) + WIDTH + 2 * MARGIN
    height = ROW * (rows - 1) + HEIGHT + 2 * MARGIN
    place = {
        name: (MARGIN + COLUMN * column, MARGIN + ROW * (row + (rows - len(members)) / 2))
        for column, members in enumerate(layout)
        for row, name in enumerate(members)
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="monospace" font-size="13" role="img">',
        "<title>An arrow leads from a bound to one that is never smaller</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for smaller, larger in ORDER:
        (left, top), (right, bottom) = place[smaller], place[larger]
        start, end, middle = left + WIDTH, right, (left + WIDTH + right) / 2
        a, b = top + HEIGHT / 2, bottom + HEIGHT / 2
        path = f"M{start:g} {a:g}C{middle:g} {a:g} {middle:g} {b:g} {end:g} {b:g}"
        lines.append(f'<path d="{path}" fill="none" stroke="black" marker-end="url(#head)"/>')
    for name, (left, top) in place.items():
        labels = [name, *([f"= {SAME[name][0]}"] if name in SAME else [])]
        lines.append(f'<rect x="{left:g}" y="{top:g}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#eef" stroke="black"/>')
        for number, label in enumerate(labels):
            y = top + HEIGHT / 2 + 4.5 + 16 * (number - (len(labels) - 1) / 2)
            lines.append(f'<text x="{left + WIDTH / 2:g}" y="{y:g}" text-anchor="middle">{escape(label)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def link(name: str) -> str:
    return f"[{BOUNDS[name].title}]({name}.md)"


def page() -> str:
    """The picture and the reasons."""
    lines = ["# The proven order", "", "Made by `scripts/make_order_chart.py`; do not edit by hand.", ""]
    lines += [
        "For the same errors k of n, complexity C and δ, an arrow leads from a bound to one that is **never smaller**,",
        "whatever the numbers are. Where no path of arrows leads, nothing is claimed.",
        "",
        "![arrows from each bound to those that are never smaller](order.svg)",
        "",
        "| never larger | never smaller | why |",
        "|---|---|---|",
        *(f"| {link(smaller)} | {link(larger)} | {why} |" for (smaller, larger), why in ORDER.items()),
        "",
        "| equal for error counts | | why |",
        "|---|---|---|",
        *(f"| {link(name)} | {link(other)} | {why} |" for name, (other, why) in SAME.items()),
        "",
        "The order speaks of error counts of one decoded predictor. It is no reason to call a bound useless: PAC-Bayes",
        "bounds hold for stochastic predictors, and split-kl and betting take losses that are not 0 or 1, where kl may be",
        "looser. To read off the smallest of several bounds is a choice made on the sample, and is paid for; here the",
        "smallest is known beforehand, and costs nothing.",
        "",
        "The quadratic bound is below McAllester's exactly where it is below ¼:",
        "see [derivations.md](derivations.md#what-is-true-about-order).",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    write_or_check(FOLDER, {"order.svg": chart(), "order.md": page()}, summary=__doc__.splitlines()[0])
