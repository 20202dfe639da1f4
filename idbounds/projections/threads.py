"""Products in parts, one thread each."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

_Result = TypeVar("_Result")

#: Below this many rows a part, handing it to another thread costs more than it saves.
_MIN_ROWS = 2**18
#: From so many numbers on an operation on tables is shared: by hand, one on 2^18 took two cores twice as long as one.
_SHARED = 2**20


def run_in_parts(
    part: Callable[[int, int, int], _Result], start: int, stop: int, *, edge: int, device: torch.device
) -> list[_Result]:
    """Call `part(number, begin, end)` over consecutive ranges that make up [start, stop), cut at multiples of `edge`.

    There are as many ranges as torch has threads, fewer where they would be short, and always one. Each runs within one
    thread: a product is thousands of short operations, and sharing every one of them among threads would gain little
    and lose much where another process holds a core, because each would wait for a thread that is not running.
    """
    if device.type != "cpu":  # threads would launch on streams of their own
        return [part(0, start, stop)]
    threads = torch.get_num_threads()
    ranges = _ranges(start, stop, edge, threads)
    if len(ranges) == 1:
        with one_thread():
            return [part(0, start, stop)]
    futures = [_workers(threads).submit(part, number, *ends) for number, ends in enumerate(ranges)]
    return [future.result() for future in futures]


def _ranges(start: int, stop: int, edge: int, threads: int) -> list[tuple[int, int]]:
    count = max(1, min(threads, (stop - start) // max(_MIN_ROWS, edge)))
    cuts = [start + (stop - start) * part // count for part in range(1, count)]
    bounds = [start, *(cut - cut % edge for cut in cuts), stop]
    return list(itertools.pairwise(bounds))


@lru_cache(maxsize=1)
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads in which torch itself uses one thread, and records nothing for derivatives: each operation is then shorter."""
    with one_thread():
        # Each worker reads torch's number of threads at its start, so all must have started within this block.
        all_started = threading.Barrier(threads + 1)

        def start() -> None:
            torch.set_num_threads(1)
            torch.set_grad_enabled(False)
            all_started.wait()

        pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="idbounds-projection")
        for _ in range(threads):
            pool.submit(start)
        all_started.wait()
    return pool


@contextmanager
def threads_for(numbers: int) -> Iterator[None]:
    """Within it torch uses one thread for operations on so few numbers that to wake others takes longer than they save."""
    if numbers < _SHARED:
        with one_thread():
            yield
    else:
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch uses one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
