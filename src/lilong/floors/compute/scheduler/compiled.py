"""`compiled`: numba where it is installed, plain Python where it is not. The same source either way, so the same plans.

Kernels keep to integers (times in ticks, resources in milli-units, scores in whole points), so that no rounding can tell the two apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

try:
    if os.environ.get("LILONG_PLAIN_KERNELS"):  # for those who want to step through a decision, and for the tests
        raise ImportError("plain kernels were asked for")
    import numba
except ImportError:
    COMPILED = False

    def compiled(function: F) -> F:
        return function

else:
    COMPILED = True

    def compiled(function: F) -> F:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
