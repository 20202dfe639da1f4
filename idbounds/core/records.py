"""The base of every value that idbounds hands on: frozen, versioned, with canonical JSON and a hash."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.json_file import read_json


class Record(BaseModel):
    """A frozen value with canonical JSON.

    Two records are the same if and only if their `sha256` is. The JSON carries the record's name and its
    schema version, and reading refuses another name, a newer version or an unknown field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: ClassVar[int] = 1

    #: Fields that came after the first version and mean by their defaults what was always done. At the default they are
    #: left out of the JSON, so that records written before keep their hash, and whatever is bound to it stays valid.
    later_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def checked(cls, **fields: object) -> Self:
        """Construct from outside input; raises ConfigError naming the first value that is wrong."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(describe(error)) from None

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body, fields = handler(self), type(self).model_fields
        unchanged = {
            name for name in self.later_fields if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        return {name: value for name, value in body.items() if name not in unchanged}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with ``record`` and ``schema_version`` in front."""
        body = self.model_dump(mode="json")
        return {"record": type(self).__name__, "schema_version": self.schema_version, **body}

    def canonical_json(self) -> str:
        """One line, sorted keys, no spaces: what is hashed."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def write(self, path: Path) -> Path:
        """Write indented JSON; the file appears whole or not at all."""
        return write_atomically(path, (json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Rebuild from `to_dict`; raises DataError naming the first field that is wrong."""
        if not isinstance(data, dict):
            raise DataError(f"expected a JSON object for {cls.__name__}, got {type(data).__name__}")
        body = dict(data)
        name, version = body.pop("record", None), body.pop("schema_version", None)
        if name != cls.__name__:
            raise DataError(f"expected a {cls.__name__} record, got {name!r}")
        if version != cls.schema_version:
            raise DataError(
                f"{cls.__name__} has schema version {version!r}, this idbounds reads {cls.schema_version}: "
                "use the version of idbounds that wrote it"
            )
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise DataError(f"{cls.__name__} is not valid: {describe(error)}") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file written by `write`, or by a stranger: size and depth are bounded (`read_json`)."""
        data = read_json(path)
        try:
            return cls.from_dict(data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def describe(error: ValidationError) -> str:
    """pydantic's findings in one line, with the offending values."""
    parts = []
    for finding in error.errors(include_url=False):
        where = ".".join(_step(step) for step in finding["loc"]) or "value"
        parts.append(f"{where}: {finding['msg']}, got {_shorten(finding['input'])}")
    return "; ".join(parts)


def _step(step: str | int) -> str:
    """A name as it is; one that a stranger chose to break the line, or to fill the screen, in quotes and cut."""
    return str(step) if isinstance(step, int) or (step.isprintable() and len(step) <= 80) else _shorten(step)


def _shorten(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


def write_atomically(path: Path, content: bytes) -> Path:
    """Write through a temporary file in the same folder and a rename, flushed to disk before the rename."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another output folder") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
