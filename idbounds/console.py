"""What the command line prints: progress while it measures, and the results afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from idbounds.claims import Verification
from idbounds.core.frontier import Frontier
from idbounds.core.values import (
    Certificate,
    CertificateFile,
    IntrinsicDimension,
    Message,
    RiskCertificate,
    RunSpec,
    StochasticCertificate,
    Trial,
    UncompressedCertificate,
)
from idbounds.folders import FRONTIER_FILE, MESSAGE_FILE
from idbounds.forecast import Forecast
from idbounds.pipeline import Result
from idbounds.reporting import percent, percent_up


class ProgressBar:
    """A reporter that draws a bar on a terminal, and prints a line a trial anywhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=6),
            MofNCompleteColumn(),
            TextColumn("steps loss {task.fields[loss]}"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),  # all of it fits in 80 columns
            console=console,
        )
        self._task = self._bar.add_task("loading", total=None, loss="–")
        self._label, self._started = "", time.monotonic()

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def plan(self, *, steps: int) -> None:
        """A new count of steps to do."""
        self._bar.reset(self._task, total=steps, description="training", loss="–")

    def begin(self, *, label: str, d: int, seed: int) -> None:
        """Name what is trained now."""
        self._label = f"{label} · {_subspace(d)} · seed {seed}"
        self._started = time.monotonic()
        self._bar.update(self._task, description=self._label)

    def step(self, *, step: int, steps: int, loss: float, advance: int = 1) -> None:
        """Advance the bar."""
        self._bar.update(self._task, advance=advance, loss=f"{loss:.3f}")
        # A trial has a line of its own when it has ended; other training has none.
        if step == steps and not self._label.startswith("trial") and not self._console.is_terminal:
            _say(self._console, f"{self._label} · {steps} steps · loss {loss:.3f} · {time.monotonic() - self._started:.0f} s")

    def finished(self, trial: Trial) -> None:
        """One line for a finished or failed trial."""
        head = f"{_subspace(trial.key.d)} · seed {trial.key.seed} · rate {trial.key.learning_rate:g}"
        if trial.validation is None or trial.test is None:
            _say(self._console, f"  {head} · {trial.status}: {trial.reason}")
            return
        accuracies = f"validation {percent(trial.validation.accuracy)} %, test {percent(trial.test.accuracy)} %"
        _say(self._console, f"  {head} · {accuracies} · {trial.seconds:.0f} s")

    def say(self, text: str) -> None:
        """A line."""
        _say(self._console, text)


def print_result(console: Console, result: Result) -> None:
    """Accuracies, d90, message and certificate of a run, and where the files are."""
    spec, certificate = result.spec, result.certificate
    print_measurement(console, spec=spec, trials=result.trials, dimensions=result.dimensions)
    message = result.message
    _say(
        console,
        f"\nmessage: {message.num_bytes} bytes in {MESSAGE_FILE}, "
        f"{message.complexity.num_bits:.0f} of its bits depend on the data "
        f"(d = {message.d}, seed {message.seed}, step {message.step:.4g})",
    )
    print_frontier(console, result.frontier)
    print_certificate(console, certificate)
    _say(console, f"\nFiles: {', '.join(sorted(result.files))}")


def print_frontier(console: Console, frontier: Frontier) -> None:
    """The messages that no other beats in bits and errors both, the chosen one marked."""
    table = Table(title="\nmessages that were tried and that no other beats in bits and errors both", title_justify="left")
    for head in ("", "d", "seed", "step", "tried as", "bits", "errors", "true risk at most"):
        table.add_column(head, justify="left" if head in ("", "tried as") else "right")
    chosen = frontier.points[frontier.chosen]
    for point in frontier.efficient():
        numbers = (f"{point.bits:.0f}", f"{point.errors} ({percent(point.errors / point.n)} %)", f"{percent_up(point.bound)} %")
        mark = "chosen" if point == chosen else ""
        table.add_row(mark, str(point.d), str(point.seed), f"{point.step:.4g}", point.tried_as, *numbers)
    console.print(table)
    _say(console, f"{len(frontier.points)} messages were tried, all of them in {FRONTIER_FILE}")


def print_ledger(console: Console, message: Message) -> None:
    """What each part of a message costs."""
    table = Table(title=f"\nthe message: {message.num_bytes} bytes", title_justify="left")
    for head in ("part", "bits", "why"):
        table.add_column(head, justify="right" if head == "bits" else "left")
    for item in message.complexity.ledger:
        table.add_row(item.name, f"{item.bits:.1f}", item.reason)
    table.add_row("total", f"{message.complexity.num_bits:.0f}", "")
    console.print(table)


def print_certificate(console: Console, certificate: CertificateFile) -> None:
    """Both bounds, what they rest on, and what their δ covers."""
    console.print(_certificate_table(certificate))
    _print_grounds(console, certificate.training, delta_covers=certificate.delta_covers)


def print_uncompressed(console: Console, certificate: UncompressedCertificate) -> None:
    """The bound on the network before compression, and what it rests on."""
    bound = certificate.certificate
    counted = bound.evidence
    _say(
        console,
        f"\nnetwork before compression: true risk at most {percent_up(bound.value)} %, from {counted['errors']} errors of the "
        f"decoded network on {counted['n']} training examples, and {counted['disagreements']} differences between the two on "
        f"{counted['num_unlabelled']} {certificate.unlabelled}",
    )
    _print_grounds(console, bound, delta_covers=certificate.delta_covers)


def print_stochastic(console: Console, certificate: StochasticCertificate) -> None:
    """Both bounds on the stochastic predictor, and what they rest on."""
    training, drawn = certificate.training, certificate.train_draws
    _say(
        console,
        f"\nstochastic predictor, d = {certificate.d}: true risk at most {percent_up(training.value)} %, from a mean training "
        f"error of {percent(drawn.mean)} % in {len(drawn.errors)} draws (at most {percent_up(drawn.risk_at_most)} %) and "
        f"{training.complexity.num_bits:.0f} bits; held-out bound {percent_up(certificate.held_out.value)} %, majority class "
        f"{percent(certificate.majority_error)} %",
    )
    _print_grounds(console, training, delta_covers=certificate.delta_covers)


def _print_grounds(console: Console, bound: Certificate | RiskCertificate, *, delta_covers: str) -> None:
    _say(console, f"theorem: {bound.theorem} [{bound.source}]")
    _say(console, "assumes:")
    for assumption in bound.assumptions:
        _say(console, f"  - {assumption}")
    _say(console, f"δ = {bound.delta:g}: {delta_covers}")


def print_measurement(
    console: Console, *, spec: RunSpec, trials: Sequence[Trial], dimensions: Sequence[IntrinsicDimension]
) -> None:
    """Accuracies and d90, and what failed."""
    console.print(_accuracy_table(spec, trials))
    for dimension in dimensions:
        baseline = "" if dimension.baseline_accuracy is None else f", baseline {percent(dimension.baseline_accuracy)} %"
        _say(console, f"{dimension} (rule {dimension.rule}: target {percent(dimension.target_accuracy)} %{baseline})")
    for trial in trials:
        if trial.status != "finished":
            key = trial.key
            head = f"{_subspace(key.d)}, seed {key.seed}, rate {key.learning_rate:g}"
            what = f"failed {trial.attempts} times" if trial.status == "failed" else trial.status
            _say(console, f"{what}: {head}: {trial.reason}")


def print_verification(console: Console, verification: Verification) -> None:
    """Every number, claimed and recomputed."""
    table = Table(title="verification", title_justify="left")
    for head in ("number", "claimed", "recomputed", ""):
        table.add_column(head)
    for comparison in verification.comparisons:
        mark = "agrees" if comparison.agrees else "DIFFERS"
        table.add_row(comparison.what, _short(comparison.claimed), _short(comparison.recomputed), mark)
    console.print(table)
    _say(console, verification.verdict if verification.agrees else "NOT verified")


def _say(console: Console, text: str) -> None:
    """A line as it is: no colours on numbers, no wrapping."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _accuracy_table(spec: RunSpec, trials: Sequence[Trial]) -> Table:
    table = Table(title=f"\n{spec.task.name}: test accuracy", title_justify="left")
    table.add_column("d", justify="right")
    table.add_column("mean over seeds", justify="right")
    table.add_column("each seed")
    groups: dict[tuple[int, float], list[float]] = {}
    for trial in trials:
        if trial.test is not None:
            groups.setdefault((trial.key.d, trial.key.learning_rate), []).append(trial.test.accuracy)
    for (d, rate), same in sorted(groups.items()):
        each = ", ".join(percent(accuracy) for accuracy in same)
        table.add_row(f"{_subspace(d)} (rate {rate:g})", f"{percent(sum(same) / len(same))} %", each)
    return table


def _certificate_table(certificate: CertificateFile) -> Table:
    table = Table(title="\nrisk of the decoded network", title_justify="left")
    for head in ("from", "errors", "bits", "true risk at most"):
        table.add_column(head, justify="left" if head == "from" else "right")
    rows = (
        ("training set", certificate.training),
        ("training set, θ₀ without a message", certificate.without_message),
        ("held-out test set", certificate.held_out),
    )
    for label, one in rows:
        if one is None:  # no data prefix
            continue
        table.add_row(label, _counts(one), f"{one.complexity.num_bits:.0f}", f"{percent_up(one.value)} %")
    table.add_row("majority class (for scale)", "", "", f"{percent(certificate.majority_error)} %")
    return table


def _counts(certificate: Certificate) -> str:
    evidence = certificate.evidence
    return f"{evidence.errors} of {evidence.n} ({percent(evidence.empirical_risk)} %)"


def _subspace(d: int) -> str:
    return f"d = {d}" if d else "full fine-tuning"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else text[:12] + "…"


def print_forecast(console: Console, kinds: Sequence[Forecast]) -> None:
    """Print what `idbounds estimate` found."""
    table = Table(title="measured on a few steps of each kind, on this machine as busy as it is", title_justify="left")
    for number, column in enumerate(("trials", "number", "steps", "s / step", "peak GiB", "hours")):
        table.add_column(column, justify="right" if number else "left")
    for kind in kinds:
        name = f"{kind.method}, d = {kind.d}" if kind.d else kind.method
        cells = (kind.trials, kind.steps, f"{kind.seconds_a_step:.3f}", f"{kind.peak_bytes / 2**30:.2f}", f"{kind.hours:.2f}")
        table.add_row(name, *map(str, cells))
    console.print(table)
    _say(console, f"all trials, one after another: {sum(kind.hours for kind in kinds):.2f} hours")
