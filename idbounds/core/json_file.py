"""JSON from strangers: a file of bounded size and depth that says each thing once, or a DataError."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

from idbounds.core.errors import DataError

#: A thousand times the longest specification of a run here; a list of a million dimensions still fits.
MOST_BYTES = 2**24
#: Records nest less than a dozen deep. Beyond some hundreds Python's own readers and writers stop with RecursionError.
_MOST_LEVELS = 64
#: Seeds have at most 64 bits, counts fewer. Larger numbers would overflow the floats that they are divided into.
_LARGEST = 2**64


def read_bounded(path: Path, *, most_bytes: int) -> bytes:
    """The bytes of a regular file that has at most so many. Raises DataError."""
    path = Path(path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would never end
            raise DataError(f"{path} is no regular file; give the file itself")
        with path.open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > most_bytes:
        raise DataError(f"{path} has {found.st_size} bytes, at most {most_bytes} are read here; is it the right file?")
    return content


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises DataError for more than `MOST_BYTES`, for text that is not JSON, and for what JSON readers disagree about: a key
    given twice, NaN and infinities, whole numbers beyond 64 bits, half a surrogate pair, and nesting without end.
    """
    content = read_bounded(path, most_bytes=MOST_BYTES)
    try:
        data = json.loads(content, object_pairs_hook=_said_once, parse_constant=_no_number)
        _check(data)
    except RecursionError:
        raise DataError(f"{path} is not readable JSON: nested more than {_MOST_LEVELS} deep") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and numbers with thousands of digits
        raise DataError(f"{path} is not readable JSON: {error}") from None
    return data


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in pairs:
        if name in said:
            raise ValueError(f"the key {name[:40]!r} is given twice")
        said[name] = value
    return said


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")


def _check(data: Any) -> None:
    """Level by level, so that nesting costs no recursion."""
    level = [data]
    for _ in range(_MOST_LEVELS):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                deeper += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                deeper += value
            elif isinstance(value, str):
                value.encode()  # UnicodeEncodeError, a ValueError, for half a pair
            elif isinstance(value, float) and not math.isfinite(value):  # 1e999
                raise ValueError("a number is too large")
            elif isinstance(value, int) and abs(value) >= _LARGEST:
                raise ValueError(f"a whole number of {value.bit_length()} bits, at most 64 are read")
        if not deeper:
            return
        level = deeper
    raise ValueError(f"nested more than {_MOST_LEVELS} deep")
