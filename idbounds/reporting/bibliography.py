"""A .bib with exactly the works that a run rests on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from idbounds.core.values import RunSpec

#: What every run uses: the software, the measurement, the random streams, the code.
_ALWAYS = (
    "idbounds",
    "li2018measuring",
    "krichevsky1981performance",
    "witten1987arithmetic",
    "salmon2011parallel",
    "steele2014fast",
)

#: Members of the registries by the names that specs and certificates carry.
PROJECTIONS: dict[str, tuple[str, ...]] = {
    "dense": ("li2018measuring", "achlioptas2003database"),
    "orthonormal": ("stewart1980efficient", "schreiber1989storage", "joffrain2006accumulating"),
    "fastfood": ("le2013fastfood",),
    "fastfood_single_block": ("li2018measuring", "le2013fastfood", "aghajanyan2021intrinsic"),
    "said_released_code": ("aghajanyan2021intrinsic",),
    "fastfood_stacked": ("le2013fastfood",),
    "srht": ("ailon2009fast", "tropp2011improved"),
    "one_hot": ("charikar2002finding", "li2025unilora"),
    "signed_permutation": ("charikar2002finding",),
    "kronecker": ("lotfi2022pac",),
    "sparse": ("li2006very", "achlioptas2003database"),
    "coordinate": ("li2018measuring",),
    "identity": ("li2018measuring",),
    "basis": ("ilharco2023editing",),
}
PARAMETRIZATIONS: dict[str, tuple[str, ...]] = {
    "full_weights": ("li2018measuring",),
    "said": ("aghajanyan2021intrinsic",),
    "peft": ("lotfi2022pac", "lotfi2023nonvacuous", "hu2022lora", "mangrulkar2022peft"),
    "singular_values": ("sun2024svfit", "sun2022singular"),
    "tucker": ("si2024flora",),
    "kronecker_sum": ("zhang2021beyond", "mahabadi2021compacter", "grassucci2022phnns"),
    "low_rank_sparse": ("chen2023dsee", "han2024sltrain"),
    "task_vectors": ("zhang2024knowledge", "ilharco2023editing"),
    "biases_and_norms": ("zaken2022bitfit", "perez2018film"),
    "selected": ("li2018measuring",),
}

_KEY = re.compile(r"\b[a-z]+(?:19|20)\d\d[a-z]+\b")


@cache
def references() -> dict[str, str]:
    """Every entry of the package's references.bib by its key, as text."""
    text = (files("idbounds.reporting") / "references.bib").read_text(encoding="utf-8")
    entries = re.finditer(r"^@\w+\{(?P<key>[^,\s]+),\n.*?^\}", text, flags=re.MULTILINE | re.DOTALL)
    return {entry["key"]: entry[0] for entry in entries}


def used_keys(spec: RunSpec, *, sources: Sequence[str]) -> tuple[str, ...]:
    """Sorted citation keys for a run: data, model, projection, parametrization, theorems, and the tools.

    Args:
        spec: of the run.
        sources: the `source` of each certificate, which names its works by their keys.
    """
    keys = {*_ALWAYS, *PROJECTIONS.get(spec.projection, ()), *PARAMETRIZATIONS.get(spec.parametrization, ())}
    keys.update(key for source in sources for key in _KEY.findall(source))
    for cited in (spec.task.citation_key, spec.model.citation_key):
        keys.update(key.strip() for key in (cited or "").split(",") if key.strip())  # as in \cite{one,two}
    return tuple(sorted(keys))


def bibliography(keys: Sequence[str], *, versions: Sequence[str]) -> str:
    """The entries of `keys`; a key that idbounds has no entry for becomes a comment that says so.

    Args:
        keys: of references.bib, or of works that only the user's bibliography has.
        versions: of idbounds, for its own entry.
    """
    known = references()
    software = known["idbounds"].replace("\n}", f",\n  version = {{{', '.join(versions)}}}\n}}")
    known = {**known, "idbounds": software}
    entries = [known.get(key, f"% {key}: cited by this run and not known to idbounds; add its entry here") for key in keys]
    return "\n\n".join(entries) + "\n"
