"""The Walsh-Hadamard transform compiled by numba: the additions of `hadamard.py` in the same order, so the same bits."""

from __future__ import annotations

from typing import Any

import numba
from torch import Tensor

#: Numbers that are transformed as far as they go before the next ones: 64 KiB in float32, a part of a second-level cache.
_IN_CACHE = 2**14


def walsh_hadamard(values: Tensor) -> Tensor:
    """H along the middle axis of contiguous values (batch, n, columns), n a power of two, in place.

    In memory a stage adds numbers that are 1, 2, 4, … times `columns` apart, whatever the batch.
    """
    _, size, columns = values.shape
    if values.numel():
        _transform(values.detach().numpy().reshape(-1), columns, size * columns)
    return values


@numba.njit(nogil=True, cache=True)
def _transform(numbers: Any, step: Any, length: Any) -> None:
    near = length
    while near > max(_IN_CACHE, step):
        near //= 2
    for begin in range(0, numbers.size, near):
        _stages(numbers[begin : begin + near], step)
    for begin in range(0, numbers.size, length):
        _stages(numbers[begin : begin + length], near)


@numba.njit(inline="always")
def _stages(numbers: Any, step: Any) -> None:
    """The stages over numbers that are step, 2 step, … apart, up to half their length; two at once while there are two."""
    while 4 * step <= numbers.size:
        for begin in range(0, numbers.size, 4 * step):
            _two_stages(numbers[begin : begin + 4 * step], step)
        step *= 4
    if 2 * step <= numbers.size:
        for begin in range(0, numbers.size, 2 * step):
            upper, lower = numbers[begin : begin + step], numbers[begin + step : begin + 2 * step]
            for place in range(step):
                upper[place], lower[place] = upper[place] + lower[place], upper[place] - lower[place]


@numba.njit(inline="always")
def _two_stages(numbers: Any, step: Any) -> None:
    first, second = numbers[:step], numbers[step : 2 * step]
    third, fourth = numbers[2 * step : 3 * step], numbers[3 * step :]
    for place in range(step):
        first[place], second[place], third[place], fourth[place] = hadamard_4(
            (first[place], second[place], third[place], fourth[place])
        )


@numba.njit(inline="always")
def hadamard_4(four: Any) -> Any:
    """Two stages of butterflies at once."""
    a, b, c, d = four
    e, f, g, h = a + b, a - b, c + d, c - d
    return e + g, f + h, e - g, f - h
