"""What the caption of a table of runs says of where its numbers come from, and what their δ covers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import PurePath
from typing import TypeVar

from idbounds.core.stochastic import StochasticCertificate
from idbounds.core.values import CertificateFile
from idbounds.reporting.run_records import RunRecords

T = TypeVar("T", bound=Hashable)

#: Digits of a hash: enough to tell records apart (48 bits) and to find one by.
_DIGITS = 12


def distinct(values: Iterable[T]) -> tuple[T, ...]:
    """Each once, in the order of their first places."""
    return tuple(dict.fromkeys(values))


def percentages(levels: Sequence[float]) -> str:
    """The level of an interval for a head, or the levels."""
    return " or ".join(f"{level:.0%}" for level in levels)


def folder_names(runs: Sequence[RunRecords]) -> tuple[str, ...]:
    """The last part of each path, or the whole of it where two share the last part."""
    names = tuple(PurePath(run.folder).name for run in runs)
    return names if len(set(names)) == len(names) else tuple(run.folder for run in runs)


def labels(runs: Sequence[RunRecords]) -> tuple[str, ...]:
    """A short name for each run: its task, with its folder's where tasks repeat."""
    tasks = tuple(run.spec.task.name for run in runs)
    if len(set(tasks)) == len(tasks):
        return tasks
    return tuple(f"{task} ({name})" for task, name in zip(tasks, folder_names(runs), strict=True))


def assumed(runs: Sequence[RunRecords]) -> tuple[str, ...]:
    """What the certificates of the runs assume, each once; what not all assume with the tasks of those that do."""
    return (
        *_assumed(runs, lambda run: run.claimed.value("training.assumptions"), head="Assumed"),
        *_assumed(runs, _more_for_held_out, head="Assumed by the bound from the held-out set"),
    )


def _assumed(runs: Sequence[RunRecords], texts_of: Callable[[RunRecords], Iterable[str]], *, head: str) -> tuple[str, ...]:
    by_text: dict[str, list[str]] = {}
    for run in runs:
        for text in texts_of(run):
            by_text.setdefault(text, []).append(run.spec.task.name)
    return tuple(
        f"{head}: {text}" if len(tasks) == len(runs) else f"{head}, {', '.join(distinct(tasks))}: {text}"
        for text, tasks in by_text.items()
    )


def _more_for_held_out(run: RunRecords) -> list[str]:
    """What the held-out bound assumes beside the assumptions of the training bound."""
    training = run.claimed.value("training.assumptions")
    return [text for text in run.claimed.value("held_out.assumptions") if text not in training]


def measured_signature(runs: Sequence[RunRecords]) -> str:
    """Of a table that claims nothing."""
    return f"Measured, not proved: no δ. {_provenance(runs)}"


def proved_signature(runs: Sequence[RunRecords]) -> str:
    """Of a table of bounds on the decoded networks; some of the runs may have none."""
    deltas = _deltas(runs)
    equal = f", {deltas[0]}" if len(deltas) == 1 else ", δ as given with each run"
    several = "; no two of them together at less than the sum of their δ" if len(runs) > 1 else ""
    return (
        f"Bounds are rounded up. Each alone holds with probability at least 1 – δ{equal}: the bound from the training set over "
        "the draw of that set, whatever was chosen after seeing it that the message pays for; the bound from the held-out set "
        f"over the draw of that set{several}. {_codes(runs)} {_provenance(runs)}"
    )


def _deltas(runs: Sequence[RunRecords]) -> tuple[str, ...]:
    """δ of both bounds of each run in words, each once."""
    return distinct(_delta(run.claim) for run in runs if run.claim is not None)


def _delta(file: CertificateFile | StochasticCertificate) -> str:
    training, held_out = file.training.delta, file.held_out.delta
    return f"δ = {training!r}" + (
        "" if training == held_out else f" from the training set and {held_out!r} from the held-out set"
    )


def _codes(runs: Sequence[RunRecords]) -> str:
    codes = distinct(run.message.code for run in runs if run.message is not None)
    return f"Code: {', '.join(codes) or 'not known, no message is here'}."


def _provenance(runs: Sequence[RunRecords]) -> str:
    versions = ", ".join(distinct(run.spec.idbounds_version for run in runs))
    with_delta = len(_deltas(runs)) > 1
    return f"idbounds {versions}. {'; '.join(_hashes(run, with_delta=with_delta) for run in runs)}."


def _hashes(run: RunRecords, *, with_delta: bool) -> str:
    file = run.claim
    certificate = "" if file is None else f", certificate {file.sha256[:_DIGITS]}"
    certificate += f", {_delta(file)}" if with_delta and file is not None else ""
    return f"{run.spec.task.name}: seeds {_numbers(run.spec.menu.seeds)}, spec {run.spec.sha256[:_DIGITS]}{certificate}"


def _numbers(values: Sequence[int]) -> str:
    """A list, or first and last of a long row of successive numbers."""
    if len(values) > 3 and list(values) == list(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))
