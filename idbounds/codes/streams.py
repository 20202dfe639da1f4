"""The bit streams of both format versions: what is chosen, at what price, and how the integers follow (docs/format.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Generic, TypeVar

from idbounds.codes.arithmetic import MAX_TOTAL, ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.base import Quantized
from idbounds.codes.bits import BitReader, BitWriter
from idbounds.codes.quantizers import FineStep, UniformStep
from idbounds.codes.registry import CODE_WEIGHTS, get_code
from idbounds.core.errors import ConfigError, CorruptMessageError
from idbounds.core.values import Complexity, LedgerItem, Menu, RunSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """One hypothesis and the words that it is said in."""

    d: int
    seed: int
    code: str
    quantized: Quantized


class Stream(ABC):
    """A prefix-free code for `Content`, given the menu that was declared beforehand."""

    #: What step indices refer to.
    grid: ClassVar[UniformStep]

    def __init__(self, menu: Menu) -> None:
        self.menu = menu

    @property
    @abstractmethod
    def codes(self) -> tuple[str, ...]:
        """Names of the codes that it can name."""

    @abstractmethod
    def write(self, content: Content, writer: BitWriter) -> None:
        """Append the content's code word. Raises ConfigError for a choice outside the menu."""

    @abstractmethod
    def read(self, reader: BitReader) -> tuple[Content, Complexity]:
        """Read one code word, with a ledger that sums to exactly its bits. Raises CorruptMessageError."""


class Version1(Stream):
    """Indices in fixed widths, then the code `adaptive` in a code word of its own."""

    grid: ClassVar[UniformStep] = UniformStep()
    STEP_WIDTH: ClassVar[int] = (grid.NUM_STEPS - 1).bit_length()

    @property
    def codes(self) -> tuple[str, ...]:
        """The version implies it."""
        return ("adaptive",)

    def write(self, content: Content, writer: BitWriter) -> None:
        """Three indices, then the coefficients."""
        for what, value, options in (("dimension", content.d, self.menu.dims), ("seed", content.seed, self.menu.seeds)):
            writer.write(_index(options, value, what=what), width=_width(options))
        writer.write(content.quantized.step_index, width=self.STEP_WIDTH)
        coder = ArithmeticEncoder()
        get_code("adaptive").encode(content.quantized.symbols, coder=coder)
        coder.finish(writer)

    def read(self, reader: BitReader) -> tuple[Content, Complexity]:
        """Three indices, then the coefficients."""
        menu = self.menu
        d, seed = self._read(reader, menu.dims, what="dimension"), self._read(reader, menu.seeds, what="seed")
        step_index = reader.read(width=self.STEP_WIDTH)
        before = reader.position
        coder = ArithmeticDecoder(reader)
        symbols = get_code("adaptive").decode(coder, d=d)
        coder.finish()
        ledger = (
            LedgerItem(name="dimension", bits=_width(menu.dims), reason=f"one of {len(menu.dims)} declared in the spec's menu"),
            LedgerItem(name="seed", bits=_width(menu.seeds), reason=f"one of {len(menu.seeds)} declared in the spec's menu"),
            LedgerItem(name="step", bits=self.STEP_WIDTH, reason=f"one of {self.grid.NUM_STEPS} declared steps"),
            LedgerItem(
                name="coefficients",
                bits=reader.position - before,
                reason=f"{d} integers, adaptive arithmetic code with its terminating bits",
            ),
        )
        return Content(d, seed, "adaptive", Quantized(symbols, step_index)), Complexity(ledger=ledger)

    def _read(self, reader: BitReader, options: Sequence[int], *, what: str) -> int:
        index = reader.read(width=_width(options))
        if index >= len(options):
            raise CorruptMessageError(f"the message names {what} number {index}, the spec's menu has {len(options)}")
        return options[index]


class Version2(Stream):
    """One arithmetic code word for everything: each choice at the mass that was declared for it, then the coefficients."""

    grid: ClassVar[UniformStep] = FineStep()

    def __init__(self, menu: Menu) -> None:
        super().__init__(menu)
        steps = tuple(range(self.grid.NUM_STEPS))
        codes = menu.code_weights or CODE_WEIGHTS
        for name in codes:
            get_code(name)
        self._dims = Prior("dimension", menu.dims, menu.dim_weights)
        self._seeds = Prior("seed", menu.seeds, menu.seed_weights)
        self._steps = Prior("step", steps, menu.step_weights)
        self._codes = Prior("code", tuple(sorted(codes)), tuple(codes[name] for name in sorted(codes)))

    @property
    def codes(self) -> tuple[str, ...]:
        """Those with a declared mass."""
        return self._codes.options

    def write(self, content: Content, writer: BitWriter) -> None:
        """Dimension, seed, step, code, coefficients."""
        coder = ArithmeticEncoder()
        self._dims.encode(content.d, coder)
        self._seeds.encode(content.seed, coder)
        self._steps.encode(content.quantized.step_index, coder)
        self._codes.encode(content.code, coder)
        get_code(content.code).encode(content.quantized.symbols, coder=coder)
        coder.finish(writer)

    def read(self, reader: BitReader) -> tuple[Content, Complexity]:
        """Dimension, seed, step, code, coefficients."""
        start, coder, account = reader.position, ArithmeticDecoder(reader), _Account()
        d = account.add(coder, self._dims.decode(coder), "dimension", self._dims.reason)
        seed = account.add(coder, self._seeds.decode(coder), "seed", self._seeds.reason)
        step_index = account.add(coder, self._steps.decode(coder), "step", self._steps.reason)
        name = account.add(coder, self._codes.decode(coder), "code", self._codes.reason)
        code = get_code(name)
        symbols = account.add(coder, code.decode(coder, d=d), "coefficients", f"{d} integers: {code.title}")
        coder.finish()
        ledger = account.closed(reader.position - start)
        return Content(d, seed, name, Quantized(symbols, step_index)), Complexity(ledger=ledger)


class Prior(Generic[T]):
    """A declared distribution over what may be chosen: weight / sum of the weights, equal where none are given.

    Raises ConfigError if the weights are not one for each option or sum to more than 2^30.
    """

    def __init__(self, what: str, options: Sequence[T], weights: Sequence[int]) -> None:
        if weights and len(weights) != len(options):
            raise ConfigError(f"{what}: need one weight for each of {len(options)} options, got {len(weights)}")
        self.what, self.options = what, tuple(options)
        self._starts = (0, *accumulate(weights or (1,) * len(options)))
        if self._starts[-1] > MAX_TOTAL:
            raise ConfigError(f"{what}: weights must sum to at most {MAX_TOTAL}, got {self._starts[-1]}")
        among = f"{len(options)} declared {'with weights' if weights else 'with equal mass'}"
        self.reason = f"-log2 of its mass among {among}"

    def encode(self, value: T, coder: ArithmeticEncoder) -> None:
        """Append a choice. Raises ConfigError if it was not declared."""
        index = _index(self.options, value, what=self.what)
        coder.encode(self._starts[index], self._starts[index + 1] - self._starts[index], total=self._starts[-1])

    def decode(self, coder: ArithmeticDecoder) -> T:
        """Read a choice."""
        return self.options[coder.find(self._starts)]


class _Account:
    """Who used how many bits of the code word, in 1024ths, which float64 adds exactly."""

    def __init__(self) -> None:
        self._lines: list[LedgerItem] = []
        self._used = 0.0

    def add(self, coder: ArithmeticDecoder, value: T, what: str, reason: str) -> T:
        """Book what was used since the last line; hands `value` through."""
        # Rounding down can make `used` stand still, never go back by more than the 1/1024 that max() takes out.
        now = max(coder.used, self._used)
        self._lines.append(LedgerItem(name=what, bits=now - self._used, reason=reason))
        self._used = now
        return value

    def closed(self, num_bits: int) -> tuple[LedgerItem, ...]:
        """All lines, with one for what the code word is longer than its symbols' information."""
        reason = "whole bits that end the code word, so that it says itself where it ends"
        return (*self._lines, LedgerItem(name="ending", bits=num_bits - self._used, reason=reason))


def _index(options: Sequence[T], value: T, *, what: str) -> int:
    if value not in options:
        raise ConfigError(f"{what} {value} is not in the spec's menu {list(options)}; choose one that is")
    return options.index(value)


def _width(options: Sequence[int]) -> int:
    """ceil(log2(len(options)))."""
    return (len(options) - 1).bit_length()


STREAMS: dict[int, type[Stream]] = {1: Version1, 2: Version2}


def step_grid(spec: RunSpec) -> UniformStep:
    """The grid of steps that the message format of a spec declares; step indices refer to it."""
    return STREAMS[spec.message_format].grid


def check_menu(spec: RunSpec) -> None:
    """Raises ConfigError if the spec's menu gives mass to a code that does not exist, or its weights do not fit."""
    STREAMS[spec.message_format](spec.menu)
