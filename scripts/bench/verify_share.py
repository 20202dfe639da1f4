"""Where the time of `idbounds verify` goes: shares of one verification, forward passes first.

    python scripts/bench/verify_share.py [--folder docs/results/quickstart] [--output docs/results/verify]

Phases are timed where they are called, in a process that has imported everything; imports are a line of their own, from a
fresh process. One run, no repeats: the question is which phase dominates, not its last digit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idbounds import certification, claims, verification
from idbounds.measurement.tasks.classification import Classification
from idbounds.provenance import provenance_line

IMPORT = "import time; start = time.perf_counter(); import idbounds.verification; print(time.perf_counter() - start)"


class Clock:
    """Seconds by phase; a phase within another is taken out of the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []

    def timed(self, phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with its time booked under a phase."""

        def timed_call(*arguments: Any, **named: Any) -> Any:
            self._within.append(0.0)
            start = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                took, inner = time.perf_counter() - start, self._within.pop()
                self.seconds[phase] = self.seconds.get(phase, 0.0) + took - inner
                if self._within:
                    self._within[-1] += took

        return timed_call


def main() -> None:
    """Measure once and print, and write where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/results/quickstart"))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    clock = Clock()
    for owner, name, phase in (
        (verification, "load", "data and model: reading, hashing, tokenizing"),
        (claims, "decode_bounded", "decoding the message"),
        (certification, "network_at", "rebuilding P and the network"),
        (Classification, "errors", "forward passes"),
        (claims, "certificate_from", "bounds and their proof"),
        (claims, "compare", "comparing"),
    ):
        setattr(owner, name, clock.timed(phase, getattr(owner, name)))
    outcome = clock.timed("the rest: batches, files", verification.verify)(arguments.folder)
    imports = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
    clock.seconds["imports, in a fresh process"] = float(imports)
    total = sum(clock.seconds.values())
    rows = sorted(clock.seconds.items(), key=lambda row: -row[1])
    lines = [f"| {phase} | {seconds:.2f} | {100 * seconds / total:.1f} |" for phase, seconds in rows]
    head = f"`idbounds verify {arguments.folder}`: agrees = {outcome.agrees}, {total:.1f} s in all. {provenance_line()}"
    text = "\n".join([head, "", "| phase | seconds | % |", "|---|--:|--:|", *lines, ""])
    print(text)
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "shares.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
