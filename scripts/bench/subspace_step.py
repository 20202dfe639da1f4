"""One training step in a subspace beside full fine-tuning and beside what peers publish: time and peak memory, in one run.

    python scripts/bench/subspace_step.py [--models minilm roberta-base] [--parts memory time] [--output docs/results/subspace]
    python scripts/bench/subspace_step.py --device cuda --models roberta-base roberta-large
    OMP_NUM_THREADS=1 python scripts/bench/subspace_step.py --models lenet mlp --parts time --rounds 100 \\
        --output docs/results/subspace/small

Forward, backward, optimizer; batch 16 x 128 tokens, two classes, or for the networks of Li et al. 2018 64 images of the shape
of MNIST's. MiniLM has its real weights; the model in the shape of RoBERTa-base has random ones, because real ones cannot be had
here. Each method takes turns with full fine-tuning by fused AdamW, each in a process of its own, for what a process has freed
another method would find; times are medians, ratios medians over the turns, since a machine's speed changes from minute to
minute. (On a CUDA device, whose memory torch itself keeps, all methods take turns in one process.) Memory is the growth of
the process's peak over what it held before the model was made, in a process of its own for each method: as it is, where at this
batch the activations of a model outweigh its weights, and with gradient checkpointing, which one short of memory turns on.

glibc keeps freed blocks of up to 32 MB to itself, in pieces, so that the peak would say more of its bookkeeping than of the
methods: memory is measured with MALLOC_MMAP_THRESHOLD_ at 1 MiB, for every method. Times are with what glibc does by itself.

On a CUDA device the forward pass is in bfloat16 (autocast), memory is the peak of what torch's allocator hands out, one method
after another in one process, and the tables are gpu_time and gpu_memory. The lines named "of bfloat16" hold theta_0 itself in
bfloat16, which only frozen weights can be. At this batch a step is hundreds of kernels of a few microseconds, so its time is
that of Python and of launching them; captured in a CUDA graph, it is that of the device.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

# Before torch is imported: see idbounds/cli.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import pandas as pd
import torch
from peer_fastfood import PeerFastfood
from torch import Tensor, nn

from idbounds.measurement import Subspace
from idbounds.measurement.batches import Batch, call
from idbounds.measurement.small_networks import SMALL_NETWORKS, small_network
from idbounds.provenance import provenance_line

SEED = 0
BATCH, LENGTH, CLASSES = 16, 128, 2
IMAGES, SHAPE, DIGITS = 64, (1, 28, 28), 10
RATE = 1e-4


#: Liu et al. 2019, table 9; all but the small one.
SHAPES = {
    "roberta-base": {},
    "roberta-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "tiny": {"hidden_size": 24, "num_hidden_layers": 1, "intermediate_size": 24},
}


#: --device; set before anything is measured.
DEVICE = torch.device("cpu")


def use_device(name: str) -> None:
    global DEVICE  # noqa: PLW0603 - a constant of the run
    DEVICE = torch.device(name)


class Method(NamedTuple):
    """One line of the table: from a fresh model to a module and its optimizer."""

    name: str
    make: Callable[[nn.Module], tuple[nn.Module, torch.optim.Optimizer]]
    largest: float = 1e12  # beyond so many weights it is left out: minutes a step
    checkpointing: bool = True  # the peer's functional call fails under it
    memory: bool = True  # whether its memory is measured too: what differs by d alone is not
    graph: bool = True  # the peer's step waits for the device
    cuda_only: bool = False


def full(*, fused: bool) -> Callable[[nn.Module], tuple[nn.Module, torch.optim.Optimizer]]:
    def make(model: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
        return model, torch.optim.AdamW(model.parameters(), lr=RATE, fused=True if fused else None)

    return make


def along(projection: str, d: int, **options: object) -> Callable[[nn.Module], tuple[nn.Module, torch.optim.Optimizer]]:
    def make(model: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
        subspace = Subspace(model, dim=d, projection=projection, seed=SEED, share_weights=True, **options)
        return subspace, torch.optim.AdamW([subspace.theta_d], lr=RATE, fused=True)

    return make


def along_bfloat16(
    projection: str, d: int, **options: object
) -> Callable[[nn.Module], tuple[nn.Module, torch.optim.Optimizer]]:
    make = along(projection, d, **options)
    return lambda model: make(model.bfloat16())


def peer(d: int) -> Callable[[nn.Module], tuple[nn.Module, torch.optim.Optimizer]]:
    def make(model: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
        wrapped = PeerFastfood(model, d, seed=SEED)
        return wrapped, torch.optim.AdamW([wrapped.coordinates], lr=RATE)

    return make


METHODS = [
    Method("full, fused AdamW", full(fused=True)),
    Method("full, default AdamW", full(fused=False), memory=False),
    *(
        Method(f"{projection}, d = {d:,}", along(projection, d), memory=d == 10_000)
        for projection in ("signed_permutation", "fastfood")
        for d in (1000, 10_000)
    ),
    Method("signed_permutation, d = 1,000, said", along("signed_permutation", 1000, parametrization="said"), memory=False),
    Method("signed_permutation, d = 10,000, recompute", along("signed_permutation", 10_000, memory="recompute")),
    *(
        Method(f"fastfood, d = 10,000, of bfloat16{name}", along_bfloat16("fastfood", 10_000, memory=memory), cuda_only=True)
        for name, memory in (("", "keep"), (", recompute", "recompute"))
    ),
    Method("peer: Fastfood tensor by tensor, d = 1,000", peer(1000), largest=3e7, checkpointing=False, graph=False),
]


def methods_for(weights: int) -> list[Method]:
    """Those that can be measured on the device with so many weights."""
    return [method for method in METHODS if weights <= method.largest and (DEVICE.type == "cuda" or not method.cuda_only)]


def model_named(name: str) -> nn.Module:
    """A classifier of sequences or images on the device; no dropout, so that every method computes the same."""
    if name in SMALL_NETWORKS:
        return small_network(name, shape=SHAPE, num_labels=DIGITS, seed=SEED).to(DEVICE).train()
    from transformers import AutoConfig, AutoModelForSequenceClassification, RobertaConfig

    torch.manual_seed(SEED)
    quiet = {"num_labels": CLASSES, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if name == "minilm":
        from idbounds.measurement.sources import minilm_folder

        folder = str(minilm_folder())
        config = AutoConfig.from_pretrained(folder, **quiet)
        model = AutoModelForSequenceClassification.from_pretrained(folder, config=config, dtype=torch.float32)
        return model.to(DEVICE).train()
    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, **SHAPES[name], **quiet)
    with DEVICE:
        return AutoModelForSequenceClassification.from_config(config).train()


def batch_for(name: str) -> Batch:
    """Random examples for a model, on the device."""
    generator = torch.Generator().manual_seed(SEED)
    if name in SMALL_NETWORKS:
        images = torch.randn(IMAGES, *SHAPE, generator=generator)
        return Batch(images, torch.randint(0, DIGITS, (IMAGES,), generator=generator)).to(DEVICE)
    ids = torch.randint(5, 1000, (BATCH, LENGTH), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return Batch(inputs, torch.randint(0, CLASSES, (BATCH,), generator=generator)).to(DEVICE)


def step_of(batch: Batch, module: nn.Module, optimizer: torch.optim.Optimizer, *, waits: bool = True) -> Callable[[], None]:
    """A training step; `waits`: until the device has done it."""

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=DEVICE.type == "cuda"):
            output = call(module, batch.inputs)
            logits = output if isinstance(output, Tensor) else output.logits
            loss = nn.functional.cross_entropy(logits, batch.labels)
        torch.autograd.backward(loss)
        optimizer.step()
        if waits and DEVICE.type == "cuda":
            torch.cuda.synchronize()

    return step


class Turns:
    """A method's steps, one at a time, in a process of its own."""

    def __init__(self, model: str, method: Method) -> None:
        command = [sys.executable, __file__, "--steps-of", method.name, "--models", model]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> Callable[[], float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asks, answers = self._process.stdin, self._process.stdout

        def seconds() -> float:
            print(file=asks, flush=True)
            return float(next(answers))

        return seconds

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def take_turns(step: Callable[[], None]) -> None:
    """A step for each line that comes in, its seconds in a line that goes out."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    for _ in sys.stdin:
        print(seconds_of(step), file=answers, flush=True)


def seconds_of(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def times(model: str, methods: list[Method], *, rounds: int) -> pd.DataFrame:
    """Median seconds a step and the median of the ratio to the first method's; the first step of each is not counted."""
    if DEVICE.type == "cuda":
        steps = {method.name: step_of(batch_for(model), *method.make(model_named(model))) for method in methods}
        all_rounds = pd.DataFrame([{name: seconds_of(step) for name, step in steps.items()} for _ in range(rounds + 1)])[1:]
        ratios = all_rounds.div(all_rounds.iloc[:, 0], axis=0)
        return pd.DataFrame({"seconds a step": all_rounds.median(), "ratio": ratios.median()})
    rows, full = {}, list[float]()
    for method in methods[1:]:
        with Turns(model, methods[0]) as one, Turns(model, method) as other:
            pairs = [(one(), other()) for _ in range(rounds + 1)][1:]
        full += [seconds for seconds, _ in pairs]
        rows[method.name] = (
            statistics.median(seconds for _, seconds in pairs),
            statistics.median(seconds / base for base, seconds in pairs),
        )
        print(method.name, *rows[method.name], flush=True)
    rows = {methods[0].name: (statistics.median(full), 1.0), **rows}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["seconds a step", "ratio"])


def graphed_seconds(model: str, method: Method, *, rounds: int) -> float:
    """Median seconds of a replay of the whole step, captured in a CUDA graph."""
    module, optimizer = method.make(model_named(model))
    for group in optimizer.param_groups:
        group["capturable"] = True
    step = step_of(batch_for(model), module, optimizer, waits=False)
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):  # what is compiled or allocated at first use cannot be captured
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    measured = []
    for _ in range(10 * rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        graph.replay()
        torch.cuda.synchronize()
        measured.append(time.perf_counter() - start)
    return statistics.median(measured)


def peak_bytes(model: str, method: Method, *, checkpointing: bool) -> int:
    """How much the process's peak in two steps is above what it held before the model was made."""
    # What libraries load and compile at first use is not the method's.
    step_of(batch_for("tiny"), *method.make(model_named("tiny")))()
    before = _memory("VmRSS")
    network = model_named(model)
    if checkpointing:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    step = step_of(batch_for(model), *method.make(network))
    del network
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here: loading is not training
    step()
    step()
    return _memory("VmHWM") - before


def _memory(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def cuda_peak_bytes(model: str, method: Method, *, checkpointing: bool) -> int:
    """How much torch's allocator hands out at most in two steps, above what it had before the model was made."""
    before = torch.cuda.memory_allocated()
    network = model_named(model)
    if checkpointing:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    step = step_of(batch_for(model), *method.make(network))
    del network
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    step()
    step()
    peak = torch.cuda.max_memory_allocated() - before
    del step
    gc.collect()
    return peak


def peak_in_a_process(model: str, method: Method, *, checkpointing: bool) -> int:
    command = [sys.executable, __file__, "--memory-of", method.name, "--models", model]
    command += ["--checkpointing"] if checkpointing else []
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}  # glibc reads it when a process starts
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(json.loads(ran.stdout.splitlines()[-1]))


def time_table(model: str, *, rounds: int) -> pd.DataFrame:
    methods = methods_for(size_of(model))
    table = pd.DataFrame({"model": model, "D": size_of(model), "method": [method.name for method in methods]})
    measured = times(model, methods, rounds=rounds)
    table[list(measured.columns)] = measured.to_numpy()
    if DEVICE.type == "cuda":
        table["in a CUDA graph"] = [
            graphed_seconds(model, method, rounds=rounds) if method.graph else math.nan for method in methods
        ]
        table["its ratio"] = table["in a CUDA graph"] / table["in a CUDA graph"][0]
    return table


def memory_table(model: str) -> pd.DataFrame:
    weights = size_of(model)
    peak = partial(cuda_peak_bytes if DEVICE.type == "cuda" else peak_in_a_process, model)
    rows = []
    for method in methods_for(weights):
        if not method.memory:
            continue
        plain = peak(method, checkpointing=False)
        checkpointed = peak(method, checkpointing=True) if method.checkpointing else math.nan
        first = rows[0] if rows else {"bytes a weight": plain / weights, "with checkpointing": checkpointed / weights}
        rows.append(
            {
                "model": model,
                "D": weights,
                "method": method.name,
                "bytes a weight": plain / weights,
                "ratio": plain / weights / first["bytes a weight"],
                "with checkpointing": checkpointed / weights,
                "its ratio": checkpointed / weights / first["with checkpointing"],
            }
        )
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def size_of(model: str) -> int:
    return sum(parameter.numel() for parameter in model_named(model).parameters())


def write(table: pd.DataFrame, folder: Path, name: str) -> None:
    batches = {f"{IMAGES} images" if model in SMALL_NETWORKS else f"{BATCH} x {LENGTH}" for model in table["model"]}
    facts = {"device": torch.cuda.get_device_name(), "precision": "bfloat16"} if DEVICE.type == "cuda" else {}
    header = provenance_line(batch=" and ".join(sorted(batches)), seed=SEED, **facts)
    name = f"gpu_{name}" if DEVICE.type == "cuda" else name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.csv").write_text(f"# {header}\n{table.to_csv(index=False, float_format='%.4g')}", encoding="utf-8")
    text = table.to_markdown(index=False, floatfmt=".4f" if name.endswith("time") else ".3f", intfmt=",")
    (folder / f"{name}.md").write_text(f"<!-- {header} -->\n{text}\n", encoding="utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["minilm", "roberta-base"])
    parser.add_argument("--parts", nargs="+", choices=["memory", "time"], default=["memory", "time"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("docs/results/subspace"))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--steps-of", help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_device(arguments.device)
    if arguments.memory_of:
        (method,) = (method for method in METHODS if method.name == arguments.memory_of)
        print(json.dumps(peak_bytes(arguments.models[0], method, checkpointing=arguments.checkpointing)))
        return
    if arguments.steps_of:
        (method,) = (method for method in METHODS if method.name == arguments.steps_of)
        take_turns(step_of(batch_for(arguments.models[0]), *method.make(model_named(arguments.models[0]))))
        return
    if "memory" in arguments.parts:
        write(pd.concat([memory_table(model) for model in arguments.models]), arguments.output, "memory")
    if "time" in arguments.parts:
        tables = [time_table(model, rounds=arguments.rounds) for model in arguments.models]
        write(pd.concat(tables), arguments.output, "time")


if __name__ == "__main__":
    main()
