"""Every code by its name. A new one is a file, a line here, and a subclass of the shared suite."""

from __future__ import annotations

from idbounds.codes.adaptive import Adaptive, Ternary
from idbounds.codes.base import Code
from idbounds.codes.codebook import Codebook
from idbounds.codes.discretized import Gaussian, Laplace
from idbounds.codes.enumerative import Enumerative
from idbounds.codes.lattice import E8
from idbounds.codes.trellis import Trellis
from idbounds.codes.two_steps import TwoSteps
from idbounds.core.errors import ConfigError

CODES: dict[str, Code] = {
    code.name: code
    for code in (Adaptive(), Codebook(), E8(), Enumerative(), Gaussian(), Laplace(), Ternary(), Trellis(), TwoSteps())
}

#: The prior of format version 2 over codes, in sixteenths, where the spec's menu declares none. `trellis` came
#: after it, and only `shortest_message` finds words of it: a spec that wants them declares it.
CODE_WEIGHTS = {
    "adaptive": 4,
    "codebook": 1,
    "e8": 3,
    "enumerative": 1,
    "gaussian": 4,
    "laplace": 1,
    "ternary": 1,
    "two_steps": 1,
}


def get_code(name: str) -> Code:
    """The code called `name`. Raises ConfigError listing the names there are."""
    try:
        return CODES[name]
    except KeyError:
        raise ConfigError(f"unknown code {name!r}; known codes: {', '.join(sorted(CODES))}") from None
