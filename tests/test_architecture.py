"""The floors of docs/DESIGN.md, read from the imports; and what every member of a registry must have.

Importing goes downwards only. A folder of floor 1 does not import another one of floor 1.
"""

import ast
import doctest
import importlib
import pkgutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import idbounds
from idbounds.core.values import Evidence

COMPILERS = ("numba", "triton")
ROOT = Path(idbounds.__file__).parent
TESTS = Path(__file__).parent

FLOORS = {
    "core": 0,
    "bounds": 1,
    "codes": 1,
    "estimation": 1,
    "reporting": 1,
    "projections": 2,
    "measurement": 2,
    "testing": 4,
}
#: Every module that lies directly in idbounds/ is a caller of the folders.
TOP_FLOOR = 3
#: The one neighbour that may be imported: a parametrization moves weights along a projection.
NEIGHBOURS = {("measurement", "projections")}
#: These only name what lies elsewhere: `idbounds.X` is imported on first use.
LAZY = {"__init__"}
TORCH = {"torch", "transformers", "safetensors", "datasets"}

FILES = sorted(ROOT.rglob("*.py"))


def part_of(module: str) -> str:
    """The folder or the top-level module that a dotted name lies in: idbounds.bounds.kl -> bounds."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor_of(part: str) -> int:
    return FLOORS.get(part, TOP_FLOOR)


def module_of(path: Path, *, root: Path = ROOT) -> str:
    parts = ["idbounds", *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, dotted name) of every import, those inside functions and those made by name included."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.append((node.lineno, "relative import"))
            elif node.module == "idbounds":  # from idbounds import bounds
                found += [(node.lineno, f"idbounds.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, str(node.module)))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found += [(node.lineno, argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
    return found


def only_for_types(tree: ast.AST) -> set[int]:
    """Lines under `if TYPE_CHECKING:`, which never run."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")]
    return {line for block in blocks for line in range(block.lineno, block.body[-1].end_lineno + 1)}


def breaches(source: str, *, module: str, where: str) -> list[str]:
    """One line for each import that the floors forbid."""
    tree, here = ast.parse(source), part_of(module)
    found = []
    for line, name in imports(tree):
        top = name.split(".")[0]
        if name == "relative import":
            found.append(f"{where}:{line}: write imports from idbounds in full")
        elif top in TORCH and floor_of(here) < 2:
            found.append(f"{where}:{line}: {here} (floor {floor_of(here)}) must not import {name}, not even when it runs")
        elif top == "idbounds" and part_of(name) not in (here, *LAZY) and line not in only_for_types(tree):
            there = part_of(name)
            if floor_of(there) > floor_of(here) and here not in LAZY:
                found.append(f"{where}:{line}: {here} (floor {floor_of(here)}) imports {name} (floor {floor_of(there)})")
            elif floor_of(here) == floor_of(there) < TOP_FLOOR and (here, there) not in NEIGHBOURS:
                found.append(f"{where}:{line}: {here} imports its neighbour {name}; put what both need on a lower floor")
            elif there == "testing" and here != "testing":
                found.append(f"{where}:{line}: only tests import idbounds.testing")
    return found


def test_imports_go_downwards():
    found = [
        breach
        for path in FILES
        for breach in breaches(
            path.read_text(encoding="utf-8"), module=module_of(path), where=str(path.relative_to(ROOT.parent))
        )
    ]
    assert found == []


def test_every_folder_has_a_floor():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders == set(FLOORS)


@pytest.mark.parametrize(
    ("module", "line", "breach"),
    [
        ("idbounds.core.units", "import torch", "core (floor 0) must not import torch"),
        ("idbounds.core.units", "from idbounds.bounds import BOUNDS", "core (floor 0) imports idbounds.bounds (floor 1)"),
        ("idbounds.bounds.kl", "def f():\n    from torch import nn", "x.py:2: bounds (floor 1) must not import torch"),
        ("idbounds.bounds.kl", "from idbounds.codes import CODES", "bounds imports its neighbour idbounds.codes"),
        ("idbounds.bounds.kl", "from idbounds import codes", "bounds imports its neighbour idbounds.codes"),
        ("idbounds.reporting.tables", "import transformers.utils", "must not import transformers.utils"),
        ("idbounds.reporting.tables", "import importlib\nimportlib.import_module('torch')", "x.py:2: reporting"),
        ("idbounds.estimation.curve", "import idbounds.pipeline", "estimation (floor 1) imports idbounds.pipeline (floor 3)"),
        ("idbounds.projections.dense", "from idbounds.measurement import Subspace", "projections imports its neighbour"),
        ("idbounds.measurement.store", "from idbounds.cli import app", "measurement (floor 2) imports idbounds.cli (floor 3)"),
        ("idbounds.pipeline", "def f():\n    import idbounds.testing", "x.py:2: pipeline (floor 3) imports idbounds.testing"),
        ("idbounds.bounds.kl", "from .base import Bound", "write imports from idbounds in full"),
    ],
)
def test_the_checker_catches_a_made_up_breach(module, line, breach):
    (found,) = breaches(line, module=module, where="x.py")
    assert breach in found
    assert found.startswith("x.py:")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("idbounds.measurement.subspace", "from idbounds.projections import from_spec"),
        ("idbounds.pipeline", "from idbounds.measurement.store import TrialStore\nfrom idbounds.bounds import BOUNDS"),
        ("idbounds.cli", "def f():\n    from idbounds.pipeline import run"),
        ("idbounds.bounds.kl", "from idbounds.bounds.base import Bound\nfrom idbounds.core.units import x"),
        ("idbounds.testing.code_suite", "from idbounds.codes import CODES"),
        ("idbounds.core.units", "import torchlike"),
    ],
)
def test_the_checker_lets_the_rest_pass(module, line):
    assert breaches(line, module=module, where="x.py") == []


def test_files_are_under_300_lines():
    long = {
        str(path.relative_to(ROOT.parent)): count
        for path in [*FILES, *TESTS.rglob("*.py")]
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 320
    }
    assert long == {}, "split these (about 300 lines is the limit)"


def members() -> list[tuple[str, str, object]]:
    """(registry, name, class) of every member."""
    from idbounds.bounds import BOUNDS
    from idbounds.codes import CODES
    from idbounds.measurement.parametrizations import PARAMETRIZATIONS
    from idbounds.projections import PROJECTIONS

    registries = {"projections": PROJECTIONS, "parametrizations": PARAMETRIZATIONS, "codes": CODES, "bounds": BOUNDS}
    return [
        (registry, name, member if isinstance(member, type) else type(member))
        for registry, known in registries.items()
        for name, member in known.items()
    ]


MEMBERS = pytest.mark.parametrize(
    ("registry", "name", "member"), members(), ids=lambda value: value if isinstance(value, str) else ""
)

SECTIONS = {
    "projections": ("Formula:", "Shapes:", "Scale:", "Cost:", "Randomness:", "Source:", "Examples:"),
    "parametrizations": ("Formula:", "Shapes:", "Options:", "Cost:", "Source:"),
    "codes": (),
    "bounds": ("Formula:", "Symbols:", "Holds:", "Requires:", "Rounding:", "Source:"),
}


@MEMBERS
def test_every_member_says_what_it_is(registry, name, member):
    text = member.__doc__ or ""
    assert text.strip(), f"{registry} {name!r}: {member.__name__} has no docstring"
    missing = [section for section in SECTIONS[registry] if section not in text]
    assert not missing, f"{registry} {name!r}: the docstring of {member.__name__} has no {', '.join(missing)}"


def suite_of(registry: str, member: type) -> str | None:
    """The suite that a member's tests subclass; None where the shared suite has nothing to hold it to."""
    if registry == "bounds" and (Evidence not in member.accepts or member.not_certified):
        return None  # BoundSuite counts errors; these need other evidence, or are shown only for contrast
    if registry == "parametrizations" and "prepare" in vars(member):
        return "Prepared"  # it changes a model; what P then does is the other suite's
    return {"projections": "Projection", "parametrizations": "Parametrization", "codes": "Code", "bounds": "Bound"}[registry]


def subclasses_of(suite: str) -> list[ast.ClassDef]:
    """Test classes that derive from a suite, directly or through another test class of their file."""
    found = []
    for path in TESTS.rglob("test_*.py"):
        names = {suite}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and {ast.unparse(base).split(".")[-1] for base in node.bases} & names:
                names.add(node.name)
                found.append(node)
    return found


@MEMBERS
def test_every_member_has_a_subclass_of_its_suite(registry, name, member):
    """The test class names the member: family = "dense", name = "said", BOUNDS["seeger"]; a code is CODES' own."""
    suite = suite_of(registry, member)
    classes = subclasses_of(f"{suite}Suite")
    if suite is None:
        text = "".join(path.read_text(encoding="utf-8") for path in (TESTS / registry).glob("test_*.py"))
        assert f'"{name}"' in text or f"{member.__name__}(" in text, (
            f"{registry} {name!r} is named by no test of tests/{registry}"
        )
    else:
        named = [ast.unparse(node) for node in classes]
        assert any(f"'{name}'" in text or member.__name__ in text for text in named), (
            f"{registry} {name!r} has no subclass of {suite}Suite in tests/"
        )


@MEMBERS
def test_every_member_cites_works_that_the_bibliography_has(registry, name, member):
    from idbounds.bounds import BOUNDS
    from idbounds.reporting import bibliography

    if registry == "codes":
        return  # the format's two works are cited by every run
    tables = {"projections": bibliography.PROJECTIONS, "parametrizations": bibliography.PARAMETRIZATIONS}
    keys = bibliography._KEY.findall(str(BOUNDS[name].source)) if registry == "bounds" else tables[registry].get(name, ())
    assert keys, f"{registry} {name!r} cites nothing; name a key of references.bib"
    unknown = set(keys) - set(bibliography.references())
    assert not unknown, f"{registry} {name!r} cites {unknown}, which references.bib does not have"


def modules() -> list[str]:
    names = [info.name for info in pkgutil.walk_packages(idbounds.__path__, "idbounds.")]
    # Kernels are imported only where their compiler is there; triton's, of 1 GB, is left out of the extra `dev`.
    compiled = tuple(f"idbounds.projections.{name}_" for name in COMPILERS if not find_spec(name))
    return ["idbounds", *(name for name in names if name != "idbounds.__main__" and not name.startswith(compiled))]


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert outcome.failed == 0, f"{outcome.failed} of {outcome.attempted} examples in {name} fail; see above"


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in modules() for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 5
