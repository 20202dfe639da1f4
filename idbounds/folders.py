"""The files of a run's folder as somebody reads them who may not trust them: sizes are bounded, and no code is run."""

from __future__ import annotations

from pathlib import Path

from idbounds.config import Config, parse_config
from idbounds.core.errors import DataError
from idbounds.core.json_file import read_bounded, read_json
from idbounds.core.run_files import CERTIFICATE_FILE as CERTIFICATE_FILE  # the names that callers of this module need too
from idbounds.core.run_files import CONFIG_FILE
from idbounds.core.run_files import FRONTIER_FILE as FRONTIER_FILE
from idbounds.core.run_files import MESSAGE_FILE as MESSAGE_FILE
from idbounds.core.run_files import POSTERIOR_FILE as POSTERIOR_FILE
from idbounds.core.run_files import STOCHASTIC_FILE as STOCHASTIC_FILE
from idbounds.core.run_files import UNCOMPRESSED_FILE as UNCOMPRESSED_FILE

#: Of a message: a billion bits, which is some bits for each weight of the largest models that are trained on one machine.
_MOST_BYTES = 2**27


def read_message(path: Path) -> bytes:
    """The bytes of a message. Raises DataError."""
    return read_bounded(path, most_bytes=_MOST_BYTES)


def certificate_path(message: Path) -> Path:
    """Where a message's certificate is: certificate.json beside message.idb, NAME.certificate.json beside NAME.idb."""
    message = Path(message)
    return message.with_name(CERTIFICATE_FILE if message.name == MESSAGE_FILE else f"{message.stem}.{CERTIFICATE_FILE}")


def own_config(folder: Path) -> Config:
    """The configuration that a run left in its folder; its output is that folder, wherever it was moved.

    Raises DataError if there is none or it names code, ConfigError if it is not a configuration.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.exists():
        raise DataError(f"no such file: {path}; give --config with the places of model and data")
    config = parse_config(read_json(path), where=str(path))
    if config.model.architecture is not None:
        # A folder to be checked may be a stranger's, and must not choose what code is run here.
        raise DataError(f"the network is made by {config.model.architecture!r}; read that code, then name it by --config")
    return config.model_copy(update={"output": str(folder)})
