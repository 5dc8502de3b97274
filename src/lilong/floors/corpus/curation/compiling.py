"""How every loop here is compiled: by numba, once per NUMBA_CACHE_DIR, without the interpreter lock, without fast maths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.np import linalg

F = TypeVar("F", bound=Callable[..., Any])

# numba imports scipy.linalg only to see whether it is there, at a quarter of a second; no loop here needs it. One that did would ask again.
_check, linalg.ensure_blas = linalg.ensure_blas, lambda: None
import numba.np.arraymath  # noqa: E402

linalg.ensure_blas = _check


def compiled(signature: Any = None) -> Callable[[F], F]:
    """Compile a loop for one signature, when it is first called; without one, for whatever it is called with.

    numba by itself would load every loop from its cache when its module is imported, though most are called only by other loops, which
    hold a copy of theirs. That is a fifth of the time to start.
    """

    def deferred(function: F) -> F:
        loop = numba.njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)(function)
        if signature is not None:
            loop._compile_for_args = lambda *_given, **_named: _made(loop, signature)  # which numba then calls
            loop.get_call_template = lambda *given: _made(loop, signature).get_call_template(*given)
        return cast("F", loop)

    return deferred


def _made(loop: Any, signature: Any) -> Any:
    with numba.core.compiler_lock.global_compiler_lock:
        if vars(loop).pop("get_call_template", None) is not None:
            loop.compile(signature)
            loop.disable_compile()
            del loop._compile_for_args
    return loop
