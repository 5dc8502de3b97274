# mypy: disable-error-code="no-untyped-call,misc,untyped-decorator"
"""To numba: tuples of arrays lent by their address. Imported only where something is compiled.

A kernel that is given a tuple of twenty arrays is given a hundred and fifty numbers, at every call on the way down; with the address it
is given one. That is most of what compiling the kernels costs, and some of what running them does. References are not counted: whoever
calls the outermost kernel holds the arrays.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model


class Lent(types.Type):
    """The address of a named tuple that somebody further up holds."""

    def __init__(self, held: types.BaseTuple) -> None:
        self.held = held
        super().__init__(name=f"Lent({held})")


@register_model(Lent)
class LentModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lent) -> None:
        super().__init__(manager, kind, manager.lookup(kind.held).get_value_type().as_pointer())


@infer_getattr
class LentAttributes(AttributeTemplate):
    key = Lent

    def generic_resolve(self, kind: Lent, name: str) -> types.Type | None:
        return kind.held.types[kind.held.fields.index(name)] if name in kind.held.fields else None


@lower_getattr_generic(Lent)
def member(context: Any, builder: Any, kind: Lent, value: Any, name: str) -> Any:
    at = kind.held.fields.index(name)
    return _uncounted(context, builder, kind.held.types[at], builder.load(cgutils.gep_inbounds(builder, value, 0, at)))


def _uncounted(context: Any, builder: Any, kind: types.Type, value: Any) -> Any:
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = array.meminfo.type(None), array.parent.type(None)
    return array._getvalue()


@intrinsic
def lend(context: Any, arrays: types.Type) -> Any:
    if isinstance(arrays, Lent):
        return arrays(arrays), lambda context, builder, signature, values: values[0]
    if isinstance(arrays, types.BaseTuple):
        return Lent(arrays)(arrays), lambda context, builder, signature, values: cgutils.alloca_once_value(builder, values[0])
    return arrays(arrays), lambda context, builder, signature, values: _uncounted(context, builder, arrays, values[0])
