"""Every code by its name. A new one is a file here, a line below, and a subclass of the shared suite."""

from __future__ import annotations

from idbounds.codes.base import Code
from idbounds.codes.uniform_adaptive import UniformAdaptive
from idbounds.core.errors import ConfigError

CODES: dict[str, Code] = {code.name: code for code in (UniformAdaptive(),)}


def get_code(name: str) -> Code:
    """The code called `name`. Raises ConfigError listing the names there are."""
    try:
        return CODES[name]
    except KeyError:
        raise ConfigError(f"unknown code {name!r}; known codes: {', '.join(sorted(CODES))}") from None
