"""The figures of runs by kind: what each needs, through bounds and estimates; `idbounds.reporting.figures` draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from idbounds.bounds import BOUNDS
from idbounds.bounds.base import Bound
from idbounds.bounds.inverse import break_even_n, largest_d
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.logmath import FloatArray
from idbounds.core.run_files import CERTIFICATE_FILE, FRONTIER_FILE, MESSAGE_FILE
from idbounds.core.units import bits_to_nats
from idbounds.core.values import CertificateFile, IntrinsicDimension, Message, RunSpec, Trial
from idbounds.estimation import Estimate, curve_band, rank_correlation
from idbounds.reporting.figures import (
    BoundCurve,
    IsoBounds,
    Picture,
    SizePoint,
    accuracy_picture,
    bound_picture,
    frontier_picture,
    ledger_picture,
    sizes_picture,
)
from idbounds.reporting.rounding import bits_up
from idbounds.reporting.run_records import RunRecords
from idbounds.run_trials import estimate_of, trials_of

T = TypeVar("T")


#: Points of a drawn curve: two a degree of print in a column.
_POINTS = 241
#: A curve runs from the run's own place divided by this to the place times it.
_REACH_D, _REACH_N = 32, 64
#: Numbers on each side of the grid from which the lines of equal bound are drawn.
_GRID = 48


@dataclass(frozen=True)
class Size:
    """A number for each run, by the name of its folder, and what it is."""

    what: str
    of: Mapping[str, float]


@dataclass(frozen=True)
class Kind:
    """A kind of figure: what it shows, and how it is made from runs and perhaps a size of each."""

    shows: str
    make: Callable[[Sequence[RunRecords], Size | None], Picture]


def picture_of(runs: Sequence[RunRecords], *, kind: str, size: Size | None = None) -> Picture:
    """The figure of a kind. Raises ConfigError for an unknown kind, DataError where a run lacks what it needs."""
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of figure {kind!r}; known kinds: {', '.join(KINDS)}")
    if not runs:
        raise ConfigError("no run to draw; give at least one folder")
    if size is not None and kind != "d90-size":
        raise ConfigError(f"a size for each run is for the kind d90-size, got the kind {kind}; leave out --x")
    return KINDS[kind].make(runs, size)


def accuracy(runs: Sequence[RunRecords], _: Size | None = None) -> Picture:
    """Accuracy against d; seeds and band where the trials behind d90 are at hand."""
    run = _one(runs, what="accuracy against d")
    return accuracy_of(run.spec, dimensions=_dimensions(run), trials=trials_of(run))


def accuracy_of(spec: RunSpec, *, dimensions: Sequence[IntrinsicDimension], trials: Sequence[Trial]) -> Picture:
    """The same from records; the band is that of the first rule."""
    estimate = estimate_of(dimensions[0], trials=trials)
    band = () if estimate is None else curve_band(estimate).rows()
    return accuracy_picture(spec=spec, dimensions=dimensions, trials=trials, band=band)


def bound_against_d(runs: Sequence[RunRecords], _: Size | None = None) -> Picture:
    """The bound at other d, were the errors and the bits for each coordinate those of the run."""
    run = _one(runs, what="the bound against d")
    certificate, message = _certificate(run), _message(run)
    evidence, delta = certificate.training.evidence, certificate.training.delta
    each = message.complexity.num_bits / message.d
    dims = np.union1d(np.rint(_around(message.d, _REACH_D)), message.d)  # the run's own place is a point of the curve
    values = _bound(certificate).from_counts(
        errors=evidence.errors, n=evidence.n, complexity_nats=np.array([bits_to_nats(each * d) for d in dims]), delta=delta
    )
    curve = BoundCurve(
        name="bound",
        title="The bound against d",
        axis=f"d, at {each:.4g} bits for each coordinate",
        x=dims.tolist(),
        values=values.tolist(),
        at=message.d,
        said=(
            f"The training bound against d, at the run's {evidence.errors} errors of {evidence.n} and its {each:.4g} bits for "
            "each coordinate: what a smaller d would give if it made no more errors."
        ),
        marks=_even_d(certificate, each=each, largest=float(dims[-1])),
    )
    return bound_picture(curve, certificate=certificate)


def bound_against_n(runs: Sequence[RunRecords], _: Size | None = None) -> Picture:
    """The bound at other numbers of examples, were the training error and the bits those of the run."""
    run = _one(runs, what="the bound against n")
    certificate, message = _certificate(run), _message(run)
    evidence, bits = certificate.training.evidence, message.complexity.num_bits
    sizes = np.unique(np.ceil(_around(evidence.n, _REACH_N)))
    errors = np.minimum(np.ceil(evidence.risk * sizes - 1e-9), sizes)  # as `inverse.smallest_n` counts them
    values = _bound(certificate).from_counts(
        errors=errors, n=sizes, complexity_nats=bits_to_nats(bits), delta=certificate.training.delta
    )
    curve = BoundCurve(
        name="bound-n",
        title="The bound against n",
        axis=f"n, training examples, at {bits_up(bits)} bits",
        x=sizes.tolist(),
        values=values.tolist(),
        at=evidence.n,
        said=f"The training bound against the number of examples, at the run's training error and its {bits_up(bits)} bits.",
        marks=_even_n(certificate, bits=bits, sizes=sizes.tolist()),
    )
    return bound_picture(curve, certificate=certificate)


def frontier(runs: Sequence[RunRecords], _: Size | None = None) -> Picture:
    """Bits against errors of everything that a search for a smaller bound has tried."""
    run = _one(runs, what="the frontier")
    searched = _there(run.frontier, FRONTIER_FILE, run=run, remedy="idbounds compress")
    points = searched.points
    bits, counted = [point.bits for point in points], [point.errors for point in points]
    columns = np.linspace(max(0.0, min(bits) - _margin(bits)), max(bits) + _margin(bits), _GRID)
    rows = np.unique(
        np.linspace(max(0, min(counted) - _margin(counted)), min(points[0].n, max(counted) + _margin(counted)), _GRID).round()
    )
    nats = np.array([bits_to_nats(one) for one in columns])
    values = BOUNDS["occam_binomial"].from_counts(
        errors=rows[:, None], n=points[0].n, complexity_nats=nats[None, :], delta=run.spec.delta_of_each
    )
    iso = IsoBounds(columns.tolist(), [int(errors) for errors in rows], values.tolist())
    return frontier_picture(searched, iso=iso)


def ledger(runs: Sequence[RunRecords], _: Size | None = None) -> Picture:
    """The ledgers of all runs as stacked bars."""
    return ledger_picture([(name_of(run), _message(run).complexity) for run in runs])


def d90_against_size(runs: Sequence[RunRecords], size: Size | None = None) -> Picture:
    """d90 of the first rule that all runs have, against the number of weights or the given size."""
    rules = [one.rule for one in _dimensions(runs[0])]
    common = [rule for rule in rules if all(rule in {one.rule for one in _dimensions(run)} for run in runs)]
    if not common:
        raise DataError("the runs have no d90 under one rule; compare d90 under one rule")
    sizes = [float(run.spec.model.num_weights) if size is None else _size_of(run, size) for run in runs]
    points = [
        SizePoint(name_of(run), number, next(one for one in run.dimensions if one.rule == common[0]))
        for run, number in zip(runs, sizes, strict=True)
    ]
    axis = "D, number of weights" if size is None else size.what
    estimates = [estimate_of(point.dimension, trials=trials_of(run)) for point, run in zip(points, runs, strict=True)]
    return sizes_picture(points, axis=axis, correlation=_correlation(estimates, sizes))


#: The kinds of `idbounds plot`.
KINDS: dict[str, Kind] = {
    "accuracy": Kind("test accuracy against d, targets and d90", accuracy),
    "bound": Kind("the bound against d", bound_against_d),
    "bound-n": Kind("the bound against the number of examples", bound_against_n),
    "frontier": Kind("bits against errors of every message that was tried", frontier),
    "ledger": Kind("where the bits of messages go", ledger),
    "d90-size": Kind("d90 of several runs against the number of weights, or a size of yours", d90_against_size),
}


def name_of(run: RunRecords) -> str:
    """The folder's own name."""
    return Path(run.folder).resolve().name


def _one(runs: Sequence[RunRecords], *, what: str) -> RunRecords:
    if len(runs) != 1:
        raise ConfigError(f"{what} is of one run, got {len(runs)}: {', '.join(run.folder for run in runs)}; give one")
    return runs[0]


def _dimensions(run: RunRecords) -> tuple[IntrinsicDimension, ...]:
    return _there(run.dimensions or None, "d90.*.json", run=run, remedy="idbounds measure")


def _certificate(run: RunRecords) -> CertificateFile:
    return _there(run.certificate_file, CERTIFICATE_FILE, run=run, remedy="idbounds certify")


def _message(run: RunRecords) -> Message:
    return _there(run.message, MESSAGE_FILE, run=run, remedy="idbounds run")


def _there(found: T | None, file: str, *, run: RunRecords, remedy: str) -> T:
    if found is None:
        raise DataError(f"{run.folder} has no {file}; `{remedy}` writes it")
    return found


def _bound(certificate: CertificateFile) -> Bound:
    return BOUNDS[certificate.training.family]


def _around(place: float, reach: float) -> FloatArray:
    return np.geomspace(max(1.0, place / reach), place * reach, _POINTS)


def _margin(numbers: Sequence[float]) -> float:
    """A tenth of their range, or of the number if there is one only."""
    return 0.1 * ((max(numbers) - min(numbers)) or max(numbers) or 1.0)


def _even_d(certificate: CertificateFile, *, each: float, largest: float) -> tuple[tuple[float, str], ...]:
    """The largest d with which the bound still beats the majority class, if it is on the axis."""
    evidence, majority = certificate.training.evidence, certificate.majority_error
    if not 0 < majority < 1 or each <= 0:
        return ()
    found = largest_d(
        _bound(certificate),
        target=majority,
        errors=evidence.errors,
        n=evidence.n,
        bits_per_coordinate=each,
        delta=certificate.training.delta,
    )
    return ((found, f"at d = {found}"),) if found and found <= largest else ()


def _even_n(certificate: CertificateFile, *, bits: float, sizes: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """The fewest examples from which on the bound beats the majority class, if that is on the axis."""
    majority = certificate.majority_error
    if not 0 < majority < 1:
        return ()
    found = break_even_n(
        _bound(certificate),
        majority_error=majority,
        empirical_risk=certificate.training.evidence.risk,
        num_bits=bits,
        delta=certificate.training.delta,
    )
    on_axis = found is not None and sizes[0] <= found <= sizes[-1]
    return ((found, f"at n = {found}"),) if found is not None and on_axis else ()


def _size_of(run: RunRecords, size: Size) -> float:
    number = size.of.get(run.folder, size.of.get(name_of(run)))
    if number is None:
        raise DataError(f"no {size.what} is given for {name_of(run)}; the table has {', '.join(size.of)}")
    if not (math.isfinite(number) and number > 0):
        raise DataError(f"{size.what} of {name_of(run)} is {number}; a logarithmic axis needs a positive number")
    return number


def _correlation(estimates: Sequence[Estimate | None], sizes: Sequence[float]) -> str:
    """Spearman's correlation in words, or why there is none."""
    here = [estimate for estimate in estimates if estimate is not None]
    if len(here) < len(estimates):
        return f"no rank correlation: the trials of {len(estimates) - len(here)} of {len(estimates)} runs are not here"
    try:
        return f"Spearman's {rank_correlation(here, sizes)}"
    except ConfigError as error:
        return f"no rank correlation: {error}"
