"""The Triton kernels in Triton's interpreter, on a GPU where there is one, and as code for a GPU that need not be there."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from idbounds.projections import compiled

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed; it has 1 GB, so the extra `dev` leaves it out: pip install 'idbounds[triton]'",
)
LAWS = Path(__file__).with_name("triton_laws.py")


@pytest.mark.parametrize("where", ["interpreter", "cuda"])
def test_the_kernels_keep_the_laws(where):
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    environment = {**os.environ, "TRITON_INTERPRET": "1" if where == "interpreter" else "0"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(LAWS)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "skipped" not in ran.stdout


#: The types of the kernels' arguments as for a large tensor, and the values of those that are fixed when it is compiled.
TYPES = {
    **dict.fromkeys(("table", "base", "out", "total", "g"), "*fp32"),
    **dict.fromkeys(("skip", "stop", "groups", "variants", "multiplier"), "i32"),
    "first": "i64",
    "sign_key": "u64",
    "segment_key": "i64",
}
FIXED = {"rotates": True}


@pytest.mark.parametrize("kernel", ["_write_plain", "_add_plain", "_write_mixed", "_add_mixed"])
def test_the_kernels_compile_for_a_gpu_that_is_not_there(kernel, tmp_path, monkeypatch):
    """The interpreter takes more than the compiler does, and drops no addition."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiler, language = importlib.import_module("triton.compiler"), importlib.import_module("triton.language")
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", 90, 32)
    function = getattr(importlib.import_module("idbounds.projections.triton_kernels"), kernel)
    fixed = {**FIXED, "units": 1 if kernel.endswith("mixed") else 64, "index": language.uint32}
    types = {name: "constexpr" if name in fixed else TYPES[name] for name in function.arg_names}
    source = compiler.ASTSource(function, types, fixed)
    ptx = compiler.compile(source, target=target, options={"num_warps": 4, "enable_fp_fusion": False}).asm["ptx"]
    # Written rows: 2048 numbers for 128 threads, so that each adds the zero that makes +0.0 of -0.0 16 times.
    zeros_added = re.findall(r"add\S*\.f32\s+\S+ \S+ 0f00000000;", ptx)
    assert len(zeros_added) == (16 if kernel.startswith("_write") else 0)


def test_they_serve_a_gpus_tensors_and_no_others(monkeypatch):
    monkeypatch.delenv(compiled.SWITCH, raising=False)
    with FakeTensorMode():
        there, here = torch.empty(1, device="cuda"), torch.empty(1)
    kernels = compiled.kernels_for(there)
    assert kernels is not None
    assert kernels.__name__ == "idbounds.projections.triton_kernels"
    assert compiled.kernels_for(here) is not kernels
    monkeypatch.setenv(compiled.SWITCH, "1")
    assert compiled.kernels_for(there) is None
