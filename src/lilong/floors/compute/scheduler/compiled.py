"""`compiled`: kernels that numba compiles where there is much to decide, and that run as they stand where there is little.

The same source either way, so the same plans: kernels keep to integers (times in ticks, resources in milli-units, scores in whole
points), so that no rounding can tell the two apart. Compiling takes half a minute once on a machine, and loading what was compiled
half a second in each process, which a house with one small site never needs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, update_wrapper
from importlib.util import find_spec
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class _Mode(threading.local):
    """LILONG_PLAIN_KERNELS is for those who want to step through a decision."""

    quick = find_spec("numba") is not None and not os.environ.get("LILONG_PLAIN_KERNELS")


_mode = _Mode()


def quick() -> bool:
    """Whether kernels run compiled now, in this thread."""
    return _mode.quick


@contextmanager
def plainly(wanted: bool = True) -> Iterator[None]:
    """Without compiling, as long as this lasts, in this thread."""
    before, _mode.quick = _mode.quick, _mode.quick and not wanted
    try:
        yield
    finally:
        _mode.quick = before


class _Kernel:
    """`part`: how it is compiled for the kernels that call it, if not as it is for Python."""

    def __init__(self, plain: Callable[..., Any], compile: Callable[[Any], Any], part: Callable[[Any], Any] | None = None) -> None:
        self._plain, self._compile, self._part = plain, compile, part or compile
        self._ready = False
        update_wrapper(self, plain)

    @cached_property
    def dispatcher(self) -> Any:
        return self._compile(_numba())(self._plain)

    @cached_property
    def part(self) -> Any:
        return self._part(_numba())(self._plain)

    def __call__(self, *arguments: Any) -> Any:
        if not _mode.quick:
            return self._plain(*arguments)
        if self._ready:
            return self.dispatcher(*arguments)
        with _lightly():
            answer = self.dispatcher(*arguments)
        self._ready = True
        return answer


@contextmanager
def _lightly() -> Iterator[None]:
    """Compile with few passes: kernels that walk through records and branch are no slower for it, and it takes half the time."""
    config = _numba().config
    before = config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE
    config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE = type(config.OPT)(1), 0, 0
    try:
        yield
    finally:
        config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE = before


@cache
def _numba() -> Any:
    import numba
    from numba.core.registry import cpu_target
    from numba.extending import typeof_impl

    @typeof_impl.register(_Kernel)  # type: ignore[untyped-decorator]
    def _(kernel: _Kernel, context: Any) -> Any:
        made = kernel.part
        cpu_target.typing_context.refresh()  # an intrinsic is known to it from then on
        return cpu_target.typing_context.resolve_value_type(made)

    return numba


def compiled(function: F) -> F:
    return cast(F, _Kernel(function, _whole, _as_part))


def _whole(numba: Any) -> Any:
    return numba.njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)


def _as_part(numba: Any) -> Any:
    if not numba.__version__.startswith("0.68."):  # whole.py stands on what numba does not promise; without it compiling takes longer
        return _whole(numba)
    from lilong.floors.compute.scheduler.whole import PartCompiler

    return numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True, pipeline_class=PartCompiler)


def _borrowed(arrays: Any) -> Any:
    return arrays


def _lending(numba: Any) -> Any:
    from lilong.floors.compute.scheduler.lent import lend

    return lambda _: lend


borrowed: Callable[[Any], Any] = _Kernel(_borrowed, _lending)
"""The same arrays, for the kernels inside to share (see lent): what a tuple of them costs at a call is most of what the call costs.

Whoever calls the outermost kernel holds the arrays.
"""
