"""Where finished trials live: one SQLite file, written by the driver alone, and the vectors by their hash."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import safetensors.torch
from torch import Tensor

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.records import write_atomically
from idbounds.core.values import Trial, TrialKey


class TrialStore:
    """Trials by the hash of their key, in `folder`/trials.sqlite; vectors in `folder`/vectors.

    A trial is on disk when `add` returns: write-ahead log with synchronous=FULL. A vector is written
    before the row that names it, so no row names a vector that is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._vectors = Path(folder) / "vectors"
        try:
            self._vectors.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(Path(folder) / "trials.sqlite")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            with self._database:
                self._database.execute("CREATE TABLE IF NOT EXISTS trials (key TEXT PRIMARY KEY, record TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"cannot use {folder} for results: {error}; choose another output folder") from error

    def __enter__(self) -> TrialStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def get(self, key: TrialKey) -> Trial | None:
        """The trial of this key, or None."""
        row = self._database.execute("SELECT record FROM trials WHERE key = ?", (key.sha256,)).fetchone()
        return None if row is None else Trial.from_dict(json.loads(row[0]))

    def add(self, trial: Trial) -> None:
        """Keep a trial; one that failed before is replaced."""
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO trials VALUES (?, ?)", (trial.key.sha256, trial.canonical_json()))

    def add_vector(self, vector: Tensor) -> str:
        """Keep the d numbers of a trial; returns the hash by which `vector` finds them."""
        content = safetensors.torch.save({"theta_d": vector.detach().cpu().contiguous()})
        digest = hashlib.sha256(content).hexdigest()
        write_atomically(self._vector_path(digest), content)
        return digest

    def vector(self, digest: str) -> Tensor:
        """The d numbers kept under this hash."""
        try:
            content = self._vector_path(digest).read_bytes()
        except OSError:
            raise DataError(f"the vector {digest[:12]}… is not in {self._vectors}; restore the run folder") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"the vector {digest[:12]}… in {self._vectors} was altered; restore the run folder")
        return safetensors.torch.load(content)["theta_d"]

    def _vector_path(self, digest: str) -> Path:
        return self._vectors / f"{digest}.safetensors"
