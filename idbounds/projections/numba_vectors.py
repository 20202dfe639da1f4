"""Vectors of 16 numbers in functions that numba compiles: the compiler finds them in plain loops only now and then.

    first, second = load(numbers, 0), load(numbers, LANES)
    store(numbers, 0, first + second)

Each lane does what one number would, so the bits are those of a loop. Which registers hold a vector is LLVM's affair: one of
AVX-512, two of AVX, four of ARM's NEON.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, overload, register_model
from numba.np.arrayobj import make_array

#: Numbers in a vector: in float32 a line of 64 bytes, which is what caches move.
LANES = 16

_INT = ir.IntType(32)
_BYTES = ir.IntType(8).as_pointer()


class _Vector(types.Type):
    """The type of a vector of numbers of one type."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(dmm.lookup(fe_type.dtype).get_value_type(), LANES))


def _contiguous(array: Any) -> Any:
    """The type of an array, refused where its numbers may lie apart: addresses are counted from its begin."""
    if not (isinstance(array, types.Array) and array.ndim == 1 and array.is_c_contig):
        raise TypingError(f"a vector is taken from a contiguous array of one dimension, not from {array}")
    return array


@intrinsic
def load(_: Any, array: Any, place: Any) -> Any:  # noqa: ARG001 - the compiler reads them from the signature
    """The numbers of a contiguous array from `place` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments)
        return builder.load(pointer, align=_bytes(signature.args[0]))

    return _Vector(_contiguous(array).dtype)(array, types.int64), generate


@intrinsic
def store(_: Any, array: Any, place: Any, vector: Any) -> Any:  # noqa: ARG001
    """Write a vector to a contiguous array from `place` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, signature.args[0], arguments), align=_bytes(signature.args[0]))
        return context.get_dummy_value()

    return types.void(_contiguous(array), types.int64, vector), generate


@intrinsic
def prefetch(_: Any, array: Any, place: Any) -> Any:  # noqa: ARG001
    """Begin to bring a vector's numbers to the cache; `place` may lie beyond the array."""
    return types.void(_contiguous(array), types.int64), _prefetching(for_writing=0)


@intrinsic
def prefetch_to_write(_: Any, array: Any, place: Any) -> Any:  # noqa: ARG001
    """The same for numbers that will be written."""
    return types.void(_contiguous(array), types.int64), _prefetching(for_writing=1)


def _prefetching(*, for_writing: int) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _INT, _INT, _INT])
        function = builder.module.declare_intrinsic("llvm.prefetch", (_BYTES,), kind)
        begin = builder.bitcast(_pointer(context, builder, signature.args[0], arguments), _BYTES)
        for line in range(0, LANES * _bytes(signature.args[0]), 64):
            builder.call(function, [builder.gep(begin, [_INT(line)]), _INT(for_writing), _INT(3), _INT(1)])
        return context.get_dummy_value()

    return generate


@intrinsic
def flipped(_: Any, vector: Any, word: Any, shift: Any) -> Any:  # noqa: ARG001
    """The vector with all signs flipped if bit (31 - shift) of the 32-bit `word` is set."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers, bits, left = arguments
        width = signature.args[0].dtype.bitwidth
        integer = ir.IntType(width)
        masked = builder.and_(builder.shl(bits, left), _INT(0x80000000))
        if width == 64:
            masked = builder.shl(builder.zext(masked, integer), integer(32))
        lanes = ir.VectorType(integer, LANES)
        nothing, first = ir.Constant(lanes, ir.Undefined), ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
        masks = builder.shuffle_vector(builder.insert_element(nothing, masked, _INT(0)), nothing, first)
        return builder.bitcast(builder.xor(builder.bitcast(numbers, lanes), masks), numbers.type)

    return vector(vector, types.uint32, types.uint32), generate


@intrinsic
def without_negative_zeros(_: Any, vector: Any) -> Any:
    """The vector + 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fadd(arguments[0], ir.Constant(arguments[0].type, [0.0] * LANES))

    return vector(vector), generate


def _lane_by_lane(operation: Callable[..., Any], instruction: str) -> None:
    """Let `operation` of two vectors be an instruction of LLVM's."""

    @intrinsic
    def compute(_: Any, one: Any, other: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return one(one, other), generate

    # Numba asks for the implementation's signature to be that of the function which chooses it, annotations included.
    def implementation(one: Any, other: Any) -> Any:
        return compute(one, other)

    @overload(operation)
    def choose(one: Any, other: Any) -> Any:
        return implementation if isinstance(one, _Vector) and one == other else None


_lane_by_lane(operator.add, "fadd")
_lane_by_lane(operator.sub, "fsub")


def _pointer(context: Any, builder: Any, array_type: Any, arguments: Any) -> Any:
    """To the vector at place `arguments[1]` of the array `arguments[0]`."""
    begin = builder.gep(make_array(array_type)(context, builder, arguments[0]).data, [arguments[1]])
    return builder.bitcast(begin, ir.VectorType(context.get_data_type(array_type.dtype), LANES).as_pointer())


def _bytes(array_type: Any) -> int:
    """Of a number: an array may begin at any of them."""
    return int(array_type.dtype.bitwidth) // 8
