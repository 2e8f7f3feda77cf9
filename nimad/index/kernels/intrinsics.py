"""What numba has no name for: single machine operations, and the types of pointers.

A pointer parameter of a kernel is annotated as the array that it points into: a type checker sees
what can be done with it, and `c_signature` makes the C pointer of it.
"""
# mypy: disable-error-code="untyped-decorator,no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import numpy as np
from llvmlite import ir
from numba import from_dtype, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

I8 = NDArray[np.int8]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BLOCK = 32
"""Number of values that `multiply_blocks` takes at a time [values]."""
PAIRS = "nimad_pairs"
"""The name of the function that multiplies them."""
_INT, _WORDS = ir.IntType(32), ir.VectorType(ir.IntType(16), BLOCK)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}

inline = njit(forceinline=True, **OPTIONS)


def c_signature(function: Callable[..., Any]) -> Any:
    """The numba signature of a C function with these annotations: int is an int64."""
    scalars = {int: types.int64, type(None): types.void}
    *arguments, result = (  # get_type_hints names the result last
        scalars[hint]
        if hint in scalars
        # NDArray[np.int8] is ndarray[shape, dtype[int8]]
        else types.CPointer(from_dtype(np.dtype(get_args(get_args(hint)[1])[0])))
        for hint in get_type_hints(function).values()
    )
    return result(*arguments)


@intrinsic
def popcount(typing: Any, word: Any) -> Any:
    """How many bits of a uint64 are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


@intrinsic
def multiply_add(typing: Any, total: Any, a: Any, b: Any) -> Any:
    """total + a * b in 32 bits; numba itself would go to 64 and halve what fits a register."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.add(args[0], builder.mul(args[1], args[2]))

    return types.int32(types.int32, types.int32, types.int32), generate


@intrinsic
def multiply_blocks(typing: Any, row: Any, count: Any, query: Any) -> Any:
    """<x, q> and <x, x> of x = row[:count] and q = query[:count], a multiple of BLOCK values."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, count, query = args
        pairs, sums = _pairs(builder.module), ir.VectorType(_INT, BLOCK // 2)
        empty = ir.Constant(sums, None)
        totals = [cgutils.alloca_once_value(builder, empty) for _ in range(2)]
        steps = [ir.Constant(count.type, step) for step in (0, BLOCK)]
        with cgutils.for_range_slice(builder, steps[0], count, steps[1]) as (at, _):
            x, q = (
                builder.load(
                    builder.bitcast(
                        builder.gep(base, [at]),
                        ir.VectorType(base.type.pointee, BLOCK).as_pointer(),
                    ),
                    align=base.type.pointee.width // 8,
                )
                for base in (row, query)
            )
            x = builder.sext(x, _WORDS)
            for total, other in zip(totals, (q, x), strict=True):
                more = builder.call(pairs, [x, other])
                builder.store(builder.add(builder.load(total), more), total)
        kind = ir.FunctionType(_INT, [sums])
        name = f"llvm.vector.reduce.add.v{BLOCK // 2}i32"
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        found = [builder.call(reduce, [builder.load(total)]) for total in totals]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.int32, 2)(row, types.int64, query), generate


def _pairs(module: ir.Module) -> ir.Function:
    """`<BLOCK/2 x i32> PAIRS(<BLOCK x i16>, <BLOCK x i16>)`: the products, each with another one.

    Which two are added does not matter.  Machines with an instruction for neighbours get another
    body in its place (packaging/build_kernels.py): a compiler finds no use for it by itself.
    """
    if PAIRS in module.globals:
        return module.globals[PAIRS]
    half = ir.VectorType(_INT, BLOCK // 2)
    function = ir.Function(module, ir.FunctionType(half, [_WORDS, _WORDS]), PAIRS)
    function.linkage = "linkonce_odr"
    builder = ir.IRBuilder(function.append_basic_block())
    products = []
    for first in (0, BLOCK // 2):
        picks = ir.Constant(half, list(range(first, first + BLOCK // 2)))
        parts = [
            builder.sext(builder.shuffle_vector(each, ir.Constant(_WORDS, None), picks), half)
            for each in function.args
        ]
        products.append(builder.mul(*parts))
    builder.ret(builder.add(*products))
    return function


@intrinsic
def prefetch(typing: Any, base: Any, index: Any) -> Any:
    """Ask for the cache line of base[index]; reading nothing, it cannot fault."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        place = builder.bitcast(builder.gep(args[0], [args[1]]), byte)
        builder.call(function, [place, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(base, types.int64), generate


@intrinsic
def root(typing: Any, square: Any) -> Any:
    """The square root of a float64 >= 0, without asking a mathematical library."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.sqrt.f64")
        return builder.call(function, args)

    return types.float64(types.float64), generate


@intrinsic
def onward(typing: Any, base: Any, index: Any) -> Any:
    """The pointer to base[index]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return base(base, types.int64), generate


@intrinsic
def pointer(typing: Any, address: Any, like: Any) -> Any:
    """An address as a pointer of the type of another one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], args[1].type)

    return like(types.int64, like), generate
