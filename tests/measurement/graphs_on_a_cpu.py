"""What `torch.cuda.CUDAGraph` does, on a CPU: operations are noted while they are captured, have no effect, and are replayed.

A replay writes to the memory that the captured operations wrote to, and torch's version counters see nothing of it.
"""

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Graph:
    def __init__(self):
        self._calls = []
        self._recorder = _Recorder(self._calls)

    def pool(self):
        return None

    @torch.no_grad()
    def replay(self):
        for function, arguments, options, results in self._calls:
            written = tuple(_written(function, arguments, options))
            if written:
                with torch.autograd._unsafe_preserve_version_counter(written):
                    function(*arguments, **options)
            elif not any(one.alias_info for one in function._schema.returns):
                again = tree_leaves(function(*arguments, **options))
                for old, new in zip(tree_leaves(results), again, strict=True):
                    if isinstance(old, torch.Tensor):
                        with torch.autograd._unsafe_preserve_version_counter(old):
                            old.detach().copy_(new)


class _Recorder(TorchDispatchMode):
    def __init__(self, calls):
        super().__init__()
        self._calls, self._made, self.before = calls, set(), {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for tensor in _written(function, args, kwargs):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._made | set(self.before):
                self.before[storage.data_ptr()] = (storage, storage.clone())
        results = function(*args, **kwargs)
        if not any(one.alias_info for one in function._schema.returns):
            self._made |= {one.untyped_storage().data_ptr() for one in tree_leaves(results) if isinstance(one, torch.Tensor)}
        self._calls.append((function, args, kwargs, results))
        return results


def _written(function, arguments, options):
    """The tensors that an operation writes to."""
    for number, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = arguments[number] if number < len(arguments) else options.get(argument.name)
            yield from (one for one in tree_leaves(given) if isinstance(one, torch.Tensor))


class Captures:
    """In place of torch.cuda.graph; `going_on` says whether a capture is."""

    def __init__(self):
        self.going_on = False
        self.count = 0

    @contextmanager
    def graph(self, graph, pool=None):
        self.going_on, self.count = True, self.count + 1
        try:
            with graph._recorder:
                yield
        finally:
            self.going_on = False
        for storage, values in graph._recorder.before.values():
            storage.copy_(values)
