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


#: The types of the kernels' arguments, and the values of those that are fixed when it is compiled.
TYPES = {
    **dict.fromkeys(("table", "total"), "*fp32"),
    **dict.fromkeys(("addresses", "fields"), "*i64"),
    "pieces": "*i32",
    **dict.fromkeys(("count", "groups", "variants"), "i32"),
}


def ptx_of(module, kernel, types, fixed, tmp_path, monkeypatch):
    """The code of a kernel for a GPU of compute capability 9.0, with whole 16 bytes at every pointer that it is given."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiler = importlib.import_module("triton.compiler")
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", 90, 32)
    function = getattr(importlib.import_module(f"idbounds.projections.{module}"), kernel)
    signature = {name: "constexpr" if name in fixed else types[name] for name in function.arg_names}
    pointers = [number for number, name in enumerate(function.arg_names) if signature[name].startswith("*")]
    source = compiler.ASTSource(function, signature, fixed, {(number,): [["tt.divisibility", 16]] for number in pointers})
    return compiler.compile(source, target=target, options={"num_warps": 1, "enable_fp_fusion": False}).asm["ptx"]


@pytest.mark.parametrize("kernel", ["_write_plain", "_add_plain", "_write_mixed", "_add_mixed"])
@pytest.mark.parametrize("aligned", [True, False])
def test_the_kernels_compile_for_a_gpu_that_is_not_there(kernel, aligned, tmp_path, monkeypatch):
    """The interpreter takes more than the compiler does, drops no addition, and knows no widths."""
    language = importlib.import_module("triton.language")
    fixed = {
        "dtype": language.float32, "aligned": aligned, "rotates": True, "units": 1 if kernel.endswith("mixed") else 64,
        "index": language.uint32, **({"base_dtype": language.float32} if kernel.startswith("_write") else {}),
    }  # fmt: skip
    ptx = ptx_of("triton_kernels", kernel, TYPES, fixed, tmp_path, monkeypatch)
    # Written rows: 2048 numbers for 32 threads, so that each adds the zero that makes +0.0 of -0.0 64 times.
    zeros_added = re.findall(r"add\S*\.f32\s+\S+ \S+ 0f00000000;", ptx)
    assert len(zeros_added) == (64 if kernel.startswith("_write") else 0)
    wide = len(re.findall(r"(ld|st)\.global\S*\.v4\.b32", ptx))
    assert wide >= (32 if aligned and kernel.startswith("_write") else 16 if aligned else 0), wide


def test_the_transform_compiles_for_a_gpu_that_is_not_there(tmp_path, monkeypatch):
    types, fixed = {"values": "*fp32", "count": "i64", "stride": "i64"}, {"lines": 32, "columns": 128, "stages": 5}
    ptx = ptx_of("triton_hadamard", "_transform", types, fixed, tmp_path, monkeypatch)
    assert len(re.findall(r"(add|sub)\S*\.f32", ptx)) >= 5 * 32 * 4


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
