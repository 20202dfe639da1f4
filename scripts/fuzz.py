"""Coverage-guided fuzzing of what strangers send: messages, and certificate, specification and message together.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris   # no dependency of idbounds, nor of its tests
    PYTHONPATH=.:tests:SITE-PACKAGES-OF-IDBOUNDS /tmp/fuzz/bin/python scripts/fuzz.py [--runs 200000] [--seed 0]

Each target runs in a process of its own under libFuzzer, which keeps what reaches new code. A finding is an exception other
than the refusals that idbounds raises on purpose, more bits than a message's file has, an accepted lie (worked out anew
from the bytes, tests/forged_files.py), ten seconds of processor time for one input, or 2 GiB of
memory. What was run goes to docs/results/fuzz/.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["idbounds"]):
    from codes.example_spec import HEADER, SPEC, SPEC_2, example, example_2, forged
    from forged_files import Files, honest, improved, mutated_bytes, mutated_json, outcome_of, repaired

    from idbounds.codes import CODES, decode_message
    from idbounds.core.errors import CorruptMessageError
    from idbounds.provenance import provenance_line

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "fuzz"
#: Of one input: MiB, bytes (honest files here have some kilobytes), and seconds by the clock, so many that a busy machine is
#: taken for no hang; processor time is what is held to `SECONDS`.
LIMITS = ("-rss_limit_mb=2048", "-max_len=16384", "-timeout=600", "-report_slow_units=600")
SECONDS = 10
#: A whole input is the three files with this between them: no JSON has it, and a message ends the input.
SEPARATOR = b"\x00<file>\x00"
DONE = re.compile(r"Done (\d+) runs in (\d+) second")
FEATURES = re.compile(r"cov: (\d+) ft: (\d+)")


def message_target(data: bytes) -> None:
    """The first byte says under which specification, and whether header and checksum are put right first."""
    if len(data) < 2:
        return
    spec = SPEC if data[0] & 1 else SPEC_2
    content = forged(data[1:], spec=spec) if data[0] & 2 else data[1:]
    try:
        decoded = decode_message(content, spec=spec)
    except CorruptMessageError:
        return
    assert decoded.coefficients.shape == (decoded.d,)
    assert decoded.message.complexity.num_bits <= 8 * (len(content) - HEADER), "more bits than the file has"


def message_seeds() -> list[bytes]:
    examples = [(1, example(d)) for d in (3, 10, 200)]
    examples += [(0, example_2(d, code=code)) for d in (3, 10, 200) for code in sorted(CODES)]
    whole = [bytes([kind]) + content for kind, content in examples]
    return whole + [bytes([kind | 2]) + content[HEADER:] for kind, content in examples]


def certificate_target(data: bytes) -> None:
    """The first byte says whether the hashes that bind the three files are put right first."""
    parts = data[1:].split(SEPARATOR, 2)
    if len(parts) < 3:
        return
    files = repaired(*parts) if data[0] & 1 else Files(*parts)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        outcome = outcome_of(files, Path(folder))
    assert outcome in {"refused", "differs", "agrees"}, outcome


def certificate_mutation(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's own on bytes, or a forger's on the values of the JSON (tests/forged_files.py), in turn."""
    random, parts = Random(seed), data[1:].split(SEPARATOR, 2)
    if len(parts) < 3 or random.random() < 0.3:
        return bytes(atheris.Mutate(data, max_size))
    which = random.randrange(3)
    try:
        change = mutated_bytes if which == 2 else random.choice((mutated_json, improved))
        parts[which] = change(parts[which], random)
    except (ValueError, RecursionError, IndexError):  # no JSON any more, or nothing left to change
        return bytes(atheris.Mutate(data, max_size))
    return bytes([random.randrange(2)]) + SEPARATOR.join(parts)[: max_size - 1]


def certificate_seeds() -> list[bytes]:
    made = [honest(d, code) for d in (3, 10) for code in (None, "adaptive", "gaussian")]
    joined = [SEPARATOR.join((files.certificate, files.spec, files.message)) for files in made]
    return [bytes([kind]) + content for content in joined for kind in (0, 1)]


#: Function, seeds, and a mutation of its own or None.
TARGETS = {
    "messages": (message_target, message_seeds, None),
    "certificates": (certificate_target, certificate_seeds, certificate_mutation),
}


def fuzz_in_this_process(target: str, folder: str, *, runs: int, seed: int) -> None:
    """Ends the process: libFuzzer has the last word."""
    function, _, mutation = TARGETS[target]

    def timed(data: bytes) -> None:
        start = time.process_time()
        function(data)
        assert time.process_time() - start < SECONDS, "a hang"

    arguments = [sys.argv[0], f"-runs={runs}", f"-seed={seed}", f"-artifact_prefix={folder}/", *LIMITS, f"{folder}/corpus"]
    atheris.Setup(arguments, timed, **({"custom_mutator": mutation} if mutation else {}))
    atheris.Fuzz()


def fuzz(target: str, *, runs: int, seed: int) -> str:
    """One line of the report, and the input of a finding kept beside it."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        seeds = TARGETS[target][1]()
        for number, content in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(content)
        command = [sys.executable, __file__, "--only", target, "--folder", folder, "--runs", str(runs), "--seed", str(seed)]
        start = time.monotonic()
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
        said = outcome.stdout + outcome.stderr
        found = [path for path in Path(folder).iterdir() if path.is_file()]
        for path in found:
            (RESULTS / f"{target}-{path.name}").write_bytes(path.read_bytes())
        done, features = DONE.findall(said), FEATURES.findall(said)
        executions = int(done[-1][0]) if done else None
        if executions is None or outcome.returncode:
            print(said[-4000:], file=sys.stderr)
        kept = len(list(corpus.iterdir()))
    coverage, feature_count = features[-1] if features else ("unknown", "unknown")
    number = "stopped by a finding" if executions is None else f"{executions:,}"
    return f"| {target} | {len(seeds)} | {number} | {seconds:.0f} | {coverage} | {feature_count} | {kept} | {len(found)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200_000, help="executions of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        fuzz_in_this_process(given.only, given.folder, runs=given.runs, seed=given.seed)
        return 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = [fuzz(target, runs=given.runs, seed=given.seed) for target in TARGETS]
    report = "\n".join(
        (
            "# Fuzzing, coverage-guided",
            "",
            f"`scripts/fuzz.py --runs {given.runs} --seed {given.seed}` with atheris (libFuzzer). What a finding is stands at",
            "the head of the script. Mutations by rule, without atheris, are tests: `pytest -m slow tests/codes/test_fuzz.py",
            "tests/test_forged_certificates.py`.",
            "",
            "| target | seeds | executions | seconds | branches reached | features | inputs kept | findings |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            provenance_line(),
            "",
        )
    )
    (RESULTS / "report.md").write_text(report, encoding="utf-8")
    print(report)
    return 0 if all(row.endswith("| 0 |") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
