# mypy: disable-error-code="no-untyped-call,misc,no-any-return"
"""To numba: a kernel that others call is compiled as a part of them, and not for itself. Imported only where something is compiled.

numba makes machine code of every function with all that it calls, at every level anew, so that what stands at the bottom is optimised
a dozen times. Here only the kernel that Python calls is made machine code of, once, with all its parts linked in.
"""

from __future__ import annotations

from typing import Any

from numba.core import compiler
from numba.core.codegen import JITCodeLibrary, ll


class _NoEnvironments:
    """A part's environment, which only Python would need, is nowhere."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    def set_env(self, name: str, environment: Any) -> None:
        pass


class PartLibrary(JITCodeLibrary):
    """Holds code that is not yet optimised, to be linked into others."""

    _shared_module: Any

    @property
    def codegen(self) -> Any:
        return _NoEnvironments(self._codegen)

    def finalize(self) -> None:
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            module = self._final_module
            for library in dict.fromkeys(self._linking_libraries):
                module.link_in(library._get_module_for_linking(), preserve=True)
            for function in module.functions:
                if not function.is_declaration and function.linkage == ll.Linkage.external:
                    function.linkage = "linkonce_odr"
            self._shared_module = module
        return self._shared_module


class PartCompiler(compiler.Compiler):
    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        super().__init__(typingctx, targetctx, library or PartLibrary(targetctx.codegen(), "part"), *rest)
