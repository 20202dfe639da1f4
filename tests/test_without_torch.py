"""Floors 0 and 1 in an environment that has no torch: bounds, codes, estimates and tables work on a plain machine."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
SITE_PACKAGES = Path(np.__file__).parents[1]
LEFT_OUT = (
    "torch",
    "torchgen",
    "functorch",
    "transformers",
    "sentence_transformers",
    "safetensors",
    "datasets",
    "_editable_impl",
)
#: Folders of tests that mirror floors 0 and 1.
FOLDERS = ("core", "codes", "estimation", "reporting", "bounds")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Variables for a Python that sees every installed package but those left out."""
    packages = tmp_path_factory.mktemp("packages")
    for entry in SITE_PACKAGES.iterdir():
        # torch-2.13.dist-info and torchgen go with torch.
        if not entry.name.startswith(LEFT_OUT):
            (packages / entry.name).symlink_to(entry)
    path = os.pathsep.join([str(packages), str(REPOSITORY)])
    return {**os.environ, "PYTHONPATH": path, "IDBOUNDS_HYPOTHESIS": "smoke", "PYTHONDONTWRITEBYTECODE": "1"}


def python(environment, *arguments):
    # -S: site-packages itself is not searched, nor are its .pth files read.
    return subprocess.run(
        [sys.executable, "-S", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors"])
def test_the_environment_has_none_of_them(environment, package):
    outcome = python(environment, "-c", f"import {package}")
    assert outcome.returncode == 1
    assert f"No module named '{package}'" in outcome.stderr


def test_the_first_two_floors_pass_their_tests(environment):
    folders = [f"tests/{folder}" for folder in FOLDERS if any((REPOSITORY / "tests" / folder).glob("test_*.py"))]
    outcome = python(environment, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *folders)
    assert outcome.returncode == 0, outcome.stdout[-4000:] + outcome.stderr[-1000:]
    assert " passed" in outcome.stdout


def test_importing_every_module_of_the_first_two_floors_loads_no_torch(environment):
    program = (
        "import importlib, pkgutil, sys\n"
        "for folder in ('core', 'bounds', 'codes', 'estimation', 'reporting'):\n"
        "    package = importlib.import_module('idbounds.' + folder)\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "assert 'torch' not in sys.modules\n"
        "import idbounds\n"
        "print(idbounds.__version__)\n"
    )
    outcome = python(environment, "-c", program)
    assert outcome.returncode == 0, outcome.stderr
    # The same with torch at hand: it is not loaded either.
    here = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert here.returncode == 0, here.stderr
