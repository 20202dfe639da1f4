"""The records of one run, as tables, figures and bibliographies of several runs take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import idbounds
from idbounds.core.errors import DataError
from idbounds.core.frontier import Frontier
from idbounds.core.run_files import (
    CERTIFICATE_FILE,
    FRONTIER_FILE,
    MESSAGE_FILE,
    SPEC_FILE,
    STOCHASTIC_FILE,
    UNCOMPRESSED_FILE,
    d90_file,
)
from idbounds.core.stochastic import StochasticCertificate
from idbounds.core.values import CertificateFile, IntrinsicDimension, Message, RunSpec, UncompressedCertificate
from idbounds.reporting.bibliography import bibliography, used_keys
from idbounds.reporting.table import Origin


@dataclass(frozen=True)
class RunRecords:
    """What a run's folder holds. `folder` is its path as it was given; what is not there is None or empty."""

    folder: str
    spec: RunSpec
    dimensions: tuple[IntrinsicDimension, ...] = ()
    certificate_file: CertificateFile | None = None
    message: Message | None = None
    uncompressed: UncompressedCertificate | None = None
    frontier: Frontier | None = None
    stochastic: StochasticCertificate | None = None

    @property
    def specified(self) -> Origin:
        """The specification."""
        return Origin(self._path(SPEC_FILE), self.spec)

    @property
    def certified(self) -> Origin:
        """The certificate. Raises DataError if there is none."""
        if self.certificate_file is None:
            self._lacks(CERTIFICATE_FILE, remedy=f"idbounds certify {self.folder}")
        return Origin(self._path(CERTIFICATE_FILE), self.certificate_file)

    @property
    def claim(self) -> CertificateFile | StochasticCertificate | None:
        """What is certified of the predictor that the run declares: of its message, or of the law where it has no message."""
        return self.certificate_file or self.stochastic

    @property
    def claimed(self) -> Origin:
        """`claim` with its file. Raises DataError if there is none."""
        return (self.drawn if self.certificate_file is None else None) or self.certified

    @property
    def said(self) -> Origin:
        """The message. Raises DataError if there is none."""
        if self.message is None:
            self._lacks(MESSAGE_FILE, remedy="idbounds run CONFIG")
        return Origin(self._path(MESSAGE_FILE), self.message, self.message.file_sha256)

    @property
    def searched(self) -> Origin:
        """What the search for the smallest bound tried. Raises DataError if there is none."""
        if self.frontier is None:
            self._lacks(FRONTIER_FILE, remedy="idbounds compress")
        return Origin(self._path(FRONTIER_FILE), self.frontier)

    @property
    def before_compression(self) -> Origin | None:
        """The bound on the network before compression, where there is one."""
        return None if self.uncompressed is None else Origin(self._path(UNCOMPRESSED_FILE), self.uncompressed)

    @property
    def drawn(self) -> Origin | None:
        """The bounds on a stochastic predictor, where there are some."""
        return None if self.stochastic is None else Origin(self._path(STOCHASTIC_FILE), self.stochastic)

    def measured(self, rule: str) -> Origin | None:
        """d90 under a rule, where there is one."""
        found = [dimension for dimension in self.dimensions if dimension.rule == rule]
        return Origin(self._path(d90_file(rule)), found[0]) if found else None

    @property
    def keys(self) -> tuple[str, ...]:
        """The works that the run rests on, as keys of references.bib."""
        file, bare, drawn = self.certificate_file, self.uncompressed, self.stochastic
        claims = [
            *((file.training, file.held_out) if file is not None else ()),
            *((bare.certificate,) if bare is not None else ()),
            *((drawn.training, drawn.held_out) if drawn is not None else ()),
        ]
        return used_keys(self.spec, sources=[claim.source for claim in claims])

    def _path(self, file: str) -> str:
        return f"{self.folder}/{file}"

    def _lacks(self, file: str, *, remedy: str) -> NoReturn:
        raise DataError(f"{self.folder} has no {file}; `{remedy}` writes it")


def bibliography_of(runs: Sequence[RunRecords]) -> str:
    """BibTeX of idbounds and of exactly the works that the runs rest on, each once, sorted by their keys."""
    versions = sorted({run.spec.idbounds_version for run in runs} or {idbounds.__version__})
    keys = {"idbounds", *(key for run in runs for key in run.keys)}
    return bibliography(sorted(keys), versions=versions)
