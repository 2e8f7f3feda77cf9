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
