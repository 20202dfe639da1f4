"""The `.idb` container, format version 1 (docs/format.md has the layout and why each part is free or paid).

bytes 0-3    magic "IDB" and the format version
bytes 4-35   SHA-256 of the spec
bytes 36-43  first 8 bytes of SHA-256 of all other bytes
bytes 44-    the self-delimiting bit stream, zero bits up to a whole byte
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idbounds.codes.base import Quantized
from idbounds.codes.bits import BitReader, BitWriter
from idbounds.codes.registry import get_code
from idbounds.core.errors import ConfigError, CorruptMessageError
from idbounds.core.values import Complexity, LedgerItem, Message, RunSpec

MAGIC = b"IDB"
FORMAT_VERSION = 1
#: Fixed by the format version, so that naming it costs nothing.
CODE_NAME = "uniform_adaptive"
_SPEC_START = len(MAGIC) + 1
_CHECKSUM_START = _SPEC_START + hashlib.sha256().digest_size
_STREAM_START = _CHECKSUM_START + 8


@dataclass(frozen=True)
class DecodedMessage:
    """What a message says: the choices, the (d,) integers, the (d,) float32 coefficients, and its record."""

    d: int
    seed: int
    step: float
    step_index: int
    quantized: NDArray[np.int64]
    coefficients: NDArray[np.float32]
    message: Message


def encode_message(*, quantized: ArrayLike, step_index: int, d: int, seed: int, spec: RunSpec) -> bytes:
    """The bytes of an `.idb` file.

    Args:
        quantized: (d,) integers, in steps.
        step_index: index into the step grid of `UniformStep`.
        d: one of `spec.menu.dims`.
        seed: one of `spec.menu.seeds`, the seed of the projection.
        spec: what was fixed before training; its hash is stored.

    Raises ConfigError if d or seed is not in the menu, or the integers are not d integers.
    """
    symbols = np.asarray(quantized)
    if symbols.shape != (d,) or not np.issubdtype(symbols.dtype, np.integer):
        raise ConfigError(f"quantized must be {d} integers, got shape {symbols.shape} of {symbols.dtype}")
    content = Quantized(symbols.astype(np.int64), step_index)
    stream, _ = _encode_stream(content, d=d, seed=seed, spec=spec)
    head = MAGIC + bytes([FORMAT_VERSION]) + bytes.fromhex(spec.sha256)
    return head + _checksum(head, stream) + stream


def decode_message(data: bytes, *, spec: RunSpec) -> DecodedMessage:
    """Read the bytes of an `.idb` file; exactly one file is accepted for each content.

    Memory and time are bounded by the number of bytes and the largest d of the menu.

    Raises CorruptMessageError for truncated, extended or altered bytes, and for another spec.
    """
    stream = _checked_stream(data, spec=spec)
    reader = BitReader(stream)
    d = _read_choice(reader, spec.menu.dims, what="dimension")
    seed = _read_choice(reader, spec.menu.seeds, what="seed")
    code = get_code(CODE_NAME)
    content = code.decode(reader, d=d)
    # Encoding again is the strictest test there is: non-zero padding, bytes after the end and a second
    # spelling of the same coefficients all differ from what the encoder writes.
    canonical, complexity = _encode_stream(content, d=d, seed=seed, spec=spec)
    if canonical != stream:
        raise CorruptMessageError(
            f"the message has {len(stream)} bytes of stream where its content takes {len(canonical)} others: "
            "bytes were added or altered; get an unaltered copy of the file"
        )
    message = Message(
        spec_sha256=spec.sha256,
        file_sha256=hashlib.sha256(data).hexdigest(),
        num_bytes=len(data),
        d=d,
        seed=seed,
        step=code.step(content),
        complexity=complexity,
    )
    return DecodedMessage(
        d=d,
        seed=seed,
        step=message.step,
        step_index=content.step_index,
        quantized=content.symbols,
        coefficients=code.dequantize(content),
        message=message,
    )


def _encode_stream(content: Quantized, *, d: int, seed: int, spec: RunSpec) -> tuple[bytes, Complexity]:
    writer = BitWriter()
    choices = (
        _write_choice(writer, d, spec.menu.dims, what="dimension"),
        _write_choice(writer, seed, spec.menu.seeds, what="seed"),
    )
    payload = get_code(CODE_NAME).encode(content, writer=writer)
    return writer.to_bytes(), Complexity(ledger=choices + payload)


def _write_choice(writer: BitWriter, value: int, menu: tuple[int, ...], *, what: str) -> LedgerItem:
    if value not in menu:
        raise ConfigError(f"{what} {value} is not in the spec's menu {list(menu)}; choose one that is")
    width = _choice_width(menu)
    writer.write(menu.index(value), width=width)
    return LedgerItem(name=what, bits=width, reason=f"one of {len(menu)} declared in the spec's menu")


def _read_choice(reader: BitReader, menu: tuple[int, ...], *, what: str) -> int:
    index = reader.read(width=_choice_width(menu))
    if index >= len(menu):
        raise CorruptMessageError(f"the message names {what} number {index}, the spec's menu has {len(menu)}")
    return menu[index]


def _choice_width(menu: tuple[int, ...]) -> int:
    """ceil(log2(len(menu)))."""
    return (len(menu) - 1).bit_length()


def _checksum(head: bytes, stream: bytes) -> bytes:
    return hashlib.sha256(head + stream).digest()[: _STREAM_START - _CHECKSUM_START]


def _checked_stream(data: bytes, *, spec: RunSpec) -> bytes:
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptMessageError(f"not an idbounds message: it starts with {data[: len(MAGIC)]!r} instead of {MAGIC!r}")
    if len(data) < _STREAM_START:
        raise CorruptMessageError(f"the message is truncated: {len(data)} bytes, the header alone takes {_STREAM_START}")
    if data[len(MAGIC)] != FORMAT_VERSION:
        raise CorruptMessageError(
            f"the message has format version {data[len(MAGIC)]}, this idbounds reads {FORMAT_VERSION}: "
            "use the version of idbounds that wrote it"
        )
    written_for = data[_SPEC_START:_CHECKSUM_START].hex()
    if written_for != spec.sha256:
        raise CorruptMessageError(
            f"the message was written for spec {written_for[:12]}…, this spec is {spec.sha256[:12]}…; give the one it names"
        )
    head, stream = data[:_CHECKSUM_START], data[_STREAM_START:]
    if data[_CHECKSUM_START:_STREAM_START] != _checksum(head, stream):
        raise CorruptMessageError(
            f"the message of {len(data)} bytes does not match its checksum: truncated or altered; get an unaltered copy"
        )
    return stream
