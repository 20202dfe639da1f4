"""The sections of a report about its certificate: what is proved, what that means, what it assumes, how it is checked."""

from __future__ import annotations

import shlex
from dataclasses import replace

from idbounds.core.values import CertificateFile
from idbounds.figures import KINDS
from idbounds.reporting.page import Section
from idbounds.reporting.rounding import bits_up, percent, percent_up
from idbounds.reporting.run_records import RunRecords
from idbounds.reporting.tables import certificate_table
from idbounds.run_trials import chose_by_test

_MISSING = "No certificate here: nothing is proved about this run. `idbounds run CONFIG` writes one."


def certificate_section(run: RunRecords) -> Section:
    """The bound in one sentence, and the table."""
    file = run.certificate_file
    if file is None:
        return Section("certificate", "Certificate", missing=_MISSING)
    training = file.training
    claim = (
        f"With probability at least 1 − {training.delta!r} over the draw of the {training.evidence.n} training examples, the "
        f"network in message.idb errs on at most {percent_up(training.value)} % of new examples."
    )
    signature = f"Each bound alone holds with probability at least 1 − δ, δ = {training.delta!r}."
    table = replace(certificate_table(file, spec=run.spec, signature=signature), notes=())
    said = (
        f"It errs on {training.evidence.errors} of the {training.evidence.n} training examples "
        f"({percent(training.evidence.risk)} %), and its message takes {bits_up(training.complexity.num_bits)} bits. Theorem: "
        f"{training.theorem} ({training.source}). {_proof(file)}"
    )
    return Section(
        "certificate",
        "Certificate",
        claim=claim,
        paragraphs=(said, *_before_compression(run), *_stochastic(run)),
        tables=(table,),
    )


def _before_compression(run: RunRecords) -> tuple[str, ...]:
    """The bound on the network before compression, where there is one."""
    if run.uncompressed is None:
        return ()
    certificate = run.uncompressed.certificate
    return (
        f"The network before compression errs on at most {percent_up(certificate.value)} % of new examples, with probability "
        f"at least 1 − {certificate.delta!r}. This δ is one of its own: {run.uncompressed.delta_covers}.",
    )


def _stochastic(run: RunRecords) -> tuple[str, ...]:
    """The bound on the stochastic predictor, where there is one."""
    if run.stochastic is None:
        return ()
    made, training = run.stochastic, run.stochastic.training
    return (
        f"A stochastic predictor, d = {made.d}, a network drawn anew from posterior.safetensors for each prediction, errs on "
        f"at most {percent_up(training.value)} % of new examples on average over the draws. Its mean training error is at most "
        f"{percent_up(made.train_draws.risk_at_most)} %, from {len(made.train_draws.errors)} draws, and KL with choices takes "
        f"{bits_up(training.complexity.num_bits)} bits. Theorem: {training.theorem} ({training.source}). Its held-out bound is "
        f"{percent_up(made.held_out.value)} %. What its δ covers: {made.delta_covers}.",
    )


def _proof(file: CertificateFile) -> str:
    return (
        f"The value was made sure of by {file.proved_by}." if file.proved_by else "How the value was rounded is not recorded."
    )


def meaning_section(run: RunRecords) -> Section:
    """What the bound says and does not say, beside the held-out bound and the majority class, with both curves."""
    file = run.certificate_file
    if file is None:
        return Section("meaning", "What it means", missing=_MISSING)
    pictures = tuple(KINDS[kind].make([run], None) for kind in ("bound", "bound-n")) if run.message is not None else ()
    return Section(
        "meaning",
        "What it means",
        paragraphs=(_worth(file), _beside_held_out(file), *_search_note(run)),
        pictures=pictures,
        points=(
            "It is about the network that message.idb decodes to, not about the one before rounding, and not about full "
            "fine-tuning.",
            "It is about the share of errors among new examples from the distribution of the training examples, not about one "
            "example, and not about data from elsewhere.",
            f"It is a function of errors, n, bits and δ. The number of weights, {run.spec.model.num_weights:,}, is not in it.",
            "The two bounds have a δ each; both hold together with probability at least 1 − 2δ.",
        ),
    )


def _worth(file: CertificateFile) -> str:
    """Beside the majority class."""
    value, majority = file.training.value, file.majority_error
    bound, guess = percent_up(value), percent(majority)
    if value >= 1:
        return "The bound is 100 %, which is vacuous: it says nothing. With fewer bits or more examples it would say something."
    if value >= majority:
        return (
            f"The bound, {bound} %, is not below the error of always guessing the most frequent class, {guess} % of the test "
            "examples. It holds, and it does not show that the network has learnt anything about the task."
        )
    return (
        f"The bound, {bound} %, is below the error of always guessing the most frequent class, {guess} % of the test examples. "
        "The first number is proved, the second counted. The network has learnt more of the task than its most frequent class."
    )


def _beside_held_out(file: CertificateFile) -> str:
    training, held_out = file.training, file.held_out
    which = "lower" if held_out.value < training.value else "not lower"
    return (
        f"The held-out bound is {percent_up(held_out.value)} %, which is {which}. It rests on {held_out.evidence.errors} "
        f"errors of {held_out.evidence.n} examples that were kept away from training, and says what the training bound is "
        "worth. The training bound needs no such examples, and gives a reason: the network has a short description."
    )


def _search_note(run: RunRecords) -> tuple[str, ...]:
    if not chose_by_test(run):
        return ()
    return (
        "This run was a search: it chose d with the help of test accuracies. What the held-out bound assumes does not hold "
        "then, and it is shown for comparison alone. The training bound does not use the test examples and stands.",
    )


def assumptions_section(run: RunRecords) -> Section:
    """What no machine can check."""
    file = run.certificate_file
    if file is None:
        return Section("assumptions", "What it assumes", missing=_MISSING)
    covers = (f"What δ covers: {file.delta_covers}.",) if file.delta_covers else ()
    held_out = tuple(one for one in file.held_out.assumptions if one not in file.training.assumptions)
    return Section(
        "assumptions",
        "What it assumes",
        paragraphs=("The certificate lists these; the last word on them is the reader's.", *covers),
        points=(*file.training.assumptions, *(f"for the held-out bound: {one}" for one in held_out)),
    )


def verifying_section(run: RunRecords) -> Section:
    """The commands, and what this report has checked itself."""
    if run.certificate_file is None:
        return Section("verifying", "How to verify", missing=_MISSING)
    folder = shlex.quote(run.folder)
    bits = "the bits from message.idb" if run.message is not None else "the bits taken as they stand: message.idb is not here"
    return Section(
        "verifying",
        "How to verify",
        paragraphs=(
            f"When this report was made, the bounds were recomputed from counts and bits, {bits}. The errors were not counted "
            "again: that takes model and data, whose hashes are in spec.json, and one of these commands.",
        ),
        commands=(
            f"idbounds verify {folder}",
            f"idbounds verify {folder} --config mine.toml  # with your places of model and data",
        ),
    )
