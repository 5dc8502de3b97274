"""`compiled`: numba where it is installed, plain Python where it is not. The same source either way, so the same plans.

Kernels keep to integers (times in ticks, resources in milli-units, scores in whole points), so that no rounding can tell the two apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

try:
    if os.environ.get("LILONG_PLAIN_KERNELS"):  # for those who want to step through a decision, and for the tests
        raise ImportError("plain kernels were asked for")
    import numba
except ImportError:
    COMPILED = False

    def compiled(function: F) -> F:
        return function

    def borrowed(arrays: T) -> T:
        return arrays

else:
    from numba.extending import intrinsic

    COMPILED = True

    def compiled(function: F) -> F:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))

    @intrinsic  # type: ignore[untyped-decorator]
    def borrowed(context: Any, arrays: Any) -> Any:
        """The same arrays without counting references to them, which would cost every call inside more than its work.

        Whoever calls the outermost kernel holds the arrays.
        """
        members = list(arrays) if isinstance(arrays, numba.types.BaseTuple) else [arrays]

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            made = values[0]
            for at, kind in enumerate(members):
                one = builder.extract_value(made, at) if made.type != context.get_value_type(kind) else made
                array = context.make_array(kind)(context, builder, one)
                array.meminfo = array.meminfo.type(None)
                array.parent = array.parent.type(None)
                made = builder.insert_value(made, array._getvalue(), at) if one is not made else array._getvalue()
            return made

        return arrays(arrays), generate
