"""Where finished trials live: one SQLite file, written by drivers alone, and the vectors by their hash."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from idbounds.core.candidate import Candidate, CandidateKey
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.records import write_atomically
from idbounds.core.values import Trial, TrialKey

#: Of the tables. Version 0 is that of the first stores, which had no table of running trials and other keys; it is read.
VERSION = 2

#: Seconds to wait for another driver that writes to the same store: a write takes milliseconds.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Running:
    """A trial that a driver has begun: since when (Unix time), and which process on which machine drives it."""

    key: TrialKey
    since: float
    process: int
    host: str

    @property
    def is_alive(self) -> bool | None:
        """Whether the driver is there; None where that cannot be seen: from another machine, or on Windows."""
        if self.host != platform.node() or os.name == "nt":
            return None
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's, and there
            return True
        return True


class TrialStore:
    """Trials by the hash of their key, in `folder`/trials.sqlite; vectors in `folder`/vectors.

    A trial is on disk when `add` returns: write-ahead log with synchronous=FULL. A vector is on disk
    before the row that names it, so no row names a vector that is not there. Several drivers may share a store on one machine;
    SQLite's write-ahead log does not work over network file systems.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._vectors = Path(folder), Path(folder) / "vectors"
        try:
            self._vectors.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._folder / "trials.sqlite", timeout=_PATIENCE)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version <= VERSION:
                self._make_tables()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"cannot use {folder} for results: {error}; choose another output folder") from error
        if version > VERSION:
            self._database.close()
            raise ConfigError(
                f"the store in {folder} has version {version}, this idbounds reads up to {VERSION}; "
                "use the idbounds that wrote it, or another folder"
            )

    def __enter__(self) -> TrialStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def get(self, key: TrialKey) -> Trial | None:
        """The trial of this key, or None."""
        row = self._database.execute("SELECT record FROM trials WHERE key = ?", (key.sha256,)).fetchone()
        return None if row is None else self._trial(row[0])

    def trials(self) -> list[Trial]:
        """Everything that is in the store, in the order in which it came."""
        return [self._trial(record) for (record,) in self._database.execute("SELECT record FROM trials ORDER BY rowid")]

    def add(self, trial: Trial) -> Trial:
        """Keep a trial and return it; one that failed before is replaced."""
        with self._writing():
            self._database.execute("INSERT OR REPLACE INTO trials VALUES (?, ?)", (trial.key.sha256, trial.canonical_json()))
            self._database.execute("DELETE FROM running WHERE key = ?", (trial.key.sha256,))
        return trial

    def candidate(self, key: CandidateKey) -> Candidate | None:
        """The candidate of this key, or None."""
        row = self._database.execute("SELECT record FROM candidates WHERE key = ?", (key.sha256,)).fetchone()
        return None if row is None else Candidate.from_dict(json.loads(row[0]))

    def add_candidate(self, candidate: Candidate) -> Candidate:
        """Keep a candidate and return it."""
        with self._writing():
            self._database.execute(
                "INSERT OR REPLACE INTO candidates VALUES (?, ?)", (candidate.key.sha256, candidate.canonical_json())
            )
        return candidate

    def begin(self, key: TrialKey) -> None:
        """Say that this process has begun a trial. For readers only: nothing is skipped because of it."""
        with self._writing():
            self._database.execute(
                "INSERT OR REPLACE INTO running VALUES (?, ?, ?, ?, ?)",
                (key.sha256, key.canonical_json(), time.time(), os.getpid(), platform.node()),
            )

    def end(self) -> None:
        """This process has stopped, whatever it had begun."""
        with self._writing():
            self._database.execute("DELETE FROM running WHERE process = ? AND host = ?", (os.getpid(), platform.node()))

    def running(self) -> list[Running]:
        """What was begun and has not ended, by any driver, killed ones included."""
        rows = self._database.execute("SELECT record, since, process, host FROM running ORDER BY since")
        return [Running(TrialKey.from_dict(json.loads(record)), *rest) for record, *rest in rows]

    def add_vector(self, vector: Tensor) -> str:
        """Keep the d numbers of a trial; returns the hash by which `vector` finds them."""
        content = safetensors.torch.save({"theta_d": vector.detach().cpu().contiguous()})
        digest = hashlib.sha256(content).hexdigest()
        with self._writing():
            write_atomically(self._vector_path(digest), content)
            _flush_folder(self._vectors)
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

    def _trial(self, record: str) -> Trial:
        try:
            return Trial.from_dict(json.loads(record))
        except (json.JSONDecodeError, DataError) as error:
            raise DataError(f"{self._folder / 'trials.sqlite'} holds a trial that cannot be read: {error}") from error

    def _make_tables(self) -> None:
        with self._database:
            self._database.execute("CREATE TABLE IF NOT EXISTS trials (key TEXT PRIMARY KEY, record TEXT NOT NULL)")
            # Older versions do not look at this table, so it needs no new number.
            self._database.execute("CREATE TABLE IF NOT EXISTS candidates (key TEXT PRIMARY KEY, record TEXT NOT NULL)")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS running (key TEXT PRIMARY KEY, record TEXT NOT NULL, "
                "since REAL NOT NULL, process INTEGER NOT NULL, host TEXT NOT NULL)"
            )
            self._database.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction; a disk that is full or gone is a ConfigError, and what was kept before stays."""
        try:
            with self._database:
                yield
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot write to {self._folder}: {error}; what was finished before is kept: make room and run the same command"
            ) from error

    def _vector_path(self, digest: str) -> Path:
        return self._vectors / f"{digest}.safetensors"


def _flush_folder(folder: Path) -> None:
    """Put the names in a folder on disk, as fsync of a file does for its content only. Windows has no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
