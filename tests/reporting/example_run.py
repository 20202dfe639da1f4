"""The records of a made-up run, consistent with each other as those of a real one are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from idbounds.core.values import (
    Certificate,
    CertificateFile,
    Complexity,
    Evidence,
    IntrinsicDimension,
    LedgerItem,
    Message,
    RunSpec,
    Score,
    Trial,
    TrialKey,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "message.json"
#: Errors of 400 test examples at each d, one a seed.
ERRORS = {0: (41, 37, 44), 10: (190, 170, 185), 100: (95, 88, 102), 1000: (47, 52, 43)}


@dataclass(frozen=True)
class ExampleRun:
    spec: RunSpec
    message: Message
    trials: list[Trial]
    dimensions: list[IntrinsicDimension]
    certificate_file: CertificateFile

    def arguments(self) -> dict[str, object]:
        return {
            "certificate_file": self.certificate_file,
            "spec": self.spec,
            "message": self.message,
            "dimensions": self.dimensions,
            "trials": self.trials,
            "code": "uniform_adaptive",
        }


def example_run(*, training_bound: float = 0.27401, held_out_bound: float = 0.1501) -> ExampleRun:
    spec = RunSpec.from_dict(json.loads(GOLDEN.read_text())["spec"])
    spec = spec.model_copy(update={"task": spec.task.model_copy(update={"name": "tri_via & 100% #1"})})
    ledger = (
        LedgerItem(name="dimension", bits=2, reason="one of 4"),
        LedgerItem(name="coefficients", bits=431, reason="100 integers"),
    )
    message = Message(
        spec_sha256=spec.sha256,
        file_sha256="d" * 64,
        num_bytes=99,
        d=100,
        seed=1,
        step=0.25,
        complexity=Complexity(ledger=ledger),
    )
    trials = [_trial(spec, d=d, seed=seed, errors=k) for d, ks in ERRORS.items() for seed, k in enumerate(ks)]
    decoy = _trial(spec, d=100, seed=0, errors=3, rate=0.5)  # a better test score at a rate that was not chosen
    certificate_file = CertificateFile(
        spec_sha256=spec.sha256,
        message_sha256=message.file_sha256,
        training=_certificate("occam_binomial", training_bound, split="train", errors=180, n=1500, ledger=ledger),
        held_out=_certificate("test_set", held_out_bound, split="test", errors=47, n=400, ledger=()),
        majority_error=0.5,
        versions={"idbounds": "0.1.0"},
    )
    return ExampleRun(
        spec=spec,
        message=message,
        trials=[decoy, *trials],
        dimensions=[
            _dimension(trials, rule="paper", value=271.6, lower=200.0, upper=400.0),
            _dimension(trials, rule="chance_corrected", value=None, lower=980.0, upper=None),
        ],
        certificate_file=certificate_file,
    )


def _trial(spec: RunSpec, *, d: int, seed: int, errors: int, rate: float = 0.1) -> Trial:
    return Trial(
        key=TrialKey(spec_sha256=spec.sha256, method="full_weights", d=d, seed=seed, learning_rate=rate),
        status="finished",
        validation=Score(errors=20, n=100),
        test=Score(errors=errors, n=400),
        seconds=1.0,
    )


def _certificate(family: str, value: float, *, split: str, errors: int, n: int, ledger: tuple[LedgerItem, ...]) -> Certificate:
    return Certificate(
        family=family,
        value=value,
        evidence=Evidence(errors=errors, n=n, split=split, examples_sha256="e" * 64),
        complexity=Complexity(ledger=ledger),
        delta=0.05,
        theorem="made up",
        source="made up",
        assumptions=("examples are drawn independently from one distribution", "θ₀ does not depend on the sample"),
    )


def _dimension(trials: list[Trial], *, rule: str, value: float | None, lower: float | None, upper: float | None):
    baseline = sum(1 - k / 400 for k in ERRORS[0]) / 3
    return IntrinsicDimension(
        rule=rule,
        parametrization="full_weights",
        baseline_accuracy=baseline,
        majority_accuracy=0.5,
        target_accuracy=0.9 * baseline if rule == "paper" else 0.95,
        value=value,
        lower=lower,
        upper=upper,
        level=0.9,
        smallest_d=10,
        largest_d=1000,
        grid=((10, 0.55), (100, 0.76), (1000, 0.88)),
        trials=tuple(trial.sha256 for trial in trials),
    )
