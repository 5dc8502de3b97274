"""The pickle machine, walked without making any object.

Every opcode of protocols 0 to 5 is followed on a stack and a memo of shadows, exactly as the unpickler would do it, so that the
names it would import, and what it would call, are known. What the walk cannot follow to the end is a problem by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from .forwards import Broken, Bytes

_SHORT = 4096  # bytes of a text that is looked at; a longer one is no name
_DEEP = 1_000_000  # entries of the stack
_FLAT = 16  # entries of a tuple that is followed

OPERATIONS = 3_000_000  # opcodes of one file: about three seconds


@dataclass(frozen=True, slots=True)
class Global:
    """What `module.name` stands for where the pickle is loaded."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Instance:
    """What calling this gave."""

    of: Global


class _Sign:
    __slots__ = ()


MARK: Final = _Sign()
OTHER: Final = _Sign()  # a value that cannot be a name
CONTAINER: Final = _Sign()  # a list, dict or set of the pickle's own
Shadow = object  # MARK | OTHER | CONTAINER | Global | Instance | str | int | None | tuple


@dataclass(slots=True)
class Found:
    """What loading would import and do."""

    imports: dict[Global, None] = field(default_factory=dict)
    builds: dict[tuple[Global, Shadow], None] = field(default_factory=dict)  # (class, state) handed to __setstate__ or __dict__
    calls: dict[tuple[Global, Shadow], None] = field(default_factory=dict)  # (name, arguments) where the arguments are plain values
    filled: dict[Global, None] = field(default_factory=dict)  # classes on whose instances items are set
    run: dict[Global, None] = field(default_factory=dict)  # names that are called, other than by `cls.__new__(cls)`
    slotted: dict[Global, None] = field(default_factory=dict)  # classes whose instances get a state that is no plain dict
    operations: int = 0


class Machine:
    """One unpickler: what a file says goes through one after the other, each pickle with a memo of its own."""

    def __init__(self, source: Bytes, *, storages: bool = False) -> None:
        """`storages`: PyTorch's persistent ids, which name storages, are taken."""
        self.found = Found()
        self._source = source
        self._storages = storages
        self._stack: list[Shadow] = []
        self._memo: dict[int, Shadow] = {}

    def walk(self) -> Shadow:
        """Follow one pickle to its STOP; what it would give. Raises Broken."""
        self._stack, self._memo = [], {}
        take, steps, found = self._source.take, _STEPS, self.found
        while True:
            found.operations += 1
            if found.operations > OPERATIONS:
                raise Broken(f"it has more than {OPERATIONS:,} opcodes")
            code = take(1)
            if code == b".":
                return self._pop()
            step = steps.get(code)
            if step is None:
                raise Broken(f"0x{code.hex()} is no opcode")
            step(self)

    # --- the stack

    def _push(self, value: Shadow) -> None:
        if len(self._stack) > _DEEP:
            raise Broken("its stack grows beyond all measure")
        self._stack.append(value)

    def _pop(self) -> Shadow:
        if not self._stack or self._stack[-1] is MARK:
            raise Broken("it takes more from its stack than is there")
        return self._stack.pop()

    def _top(self) -> Shadow:
        if not self._stack or self._stack[-1] is MARK:
            raise Broken("it takes more from its stack than is there")
        return self._stack[-1]

    def _marked(self) -> list[Shadow]:
        for at in range(len(self._stack) - 1, -1, -1):
            if self._stack[at] is MARK:
                items = self._stack[at + 1 :]
                del self._stack[at:]
                return items
        raise Broken("it looks for a mark that is not there")

    def _number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._source.take(size), "little", signed=signed)

    # --- values

    def _text(self, size: int) -> None:
        if size > _SHORT:
            self._source.skip(size)
            self._push(OTHER)
            return
        try:
            self._push(self._source.take(size).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise Broken("a text of it is not UTF-8") from None

    def _text_line(self) -> None:
        line = self._source.line()
        try:
            self._push(line.decode("raw-unicode-escape") if len(line) <= _SHORT else OTHER)
        except UnicodeDecodeError:
            raise Broken("a text of it cannot be read") from None

    def _opaque(self, size: int) -> None:
        self._source.skip(size)
        self._push(OTHER)

    def _opaque_line(self) -> None:
        self._source.line()
        self._push(OTHER)

    def _integer_line(self) -> None:
        line = self._source.line()
        self._push(int(line) if _DIGITS.fullmatch(line) else OTHER)

    def _long(self, size: int) -> None:
        if size > 16:
            self._opaque(size)
        else:
            self._push(self._number(size, signed=True))

    def _tuple(self, items: list[Shadow]) -> None:
        flat = len(items) <= _FLAT and all(item is None or isinstance(item, str | int | Global) for item in items)
        self._push(tuple(items) if flat else OTHER)

    def _collected(self, made: Shadow) -> None:
        self._marked()
        self._push(made)

    def _last(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._tuple(items[::-1])

    # --- names, calls, changes

    def _import(self, module: str, name: str) -> Global:
        made = Global(module, name)
        self.found.imports[made] = None
        return made

    def _named_line(self) -> Global:
        try:
            module, name = self._source.line().decode(), self._source.line().decode()
        except UnicodeDecodeError:
            raise Broken("a name of it is not UTF-8") from None
        return self._import(module, name)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Broken("it puts together a name to import from values that are no plain texts")
        self._push(self._import(module, name))

    def _called(self, what: Shadow, arguments: Shadow = OTHER, *, bare: bool = False) -> None:
        if not isinstance(what, Global):
            raise Broken("it calls something that it has not imported by name")
        self._noted(self.found.calls, what, arguments)
        if not bare:
            self.found.run[what] = None
        self._push(Instance(what))

    @staticmethod
    def _noted(among: dict[tuple[Global, Shadow], None], what: Global, value: Shadow) -> None:
        # Only what is short and plain is told apart: a million tensors are one line.
        plain = isinstance(value, tuple) and all(
            item is None or isinstance(item, int) or (isinstance(item, str) and len(item) < 64) for item in value
        )
        among[what, value if plain and len(among) < _SHORT else OTHER] = None

    def _call(self, arguments: int) -> None:
        given = [self._pop() for _ in range(arguments)]
        self._called(self._pop(), given[0] if arguments == 1 else OTHER)

    def _new(self) -> None:
        given, what = self._pop(), self._pop()
        self._called(what, given, bare=given == ())

    def _object(self) -> None:
        items = self._marked()
        if not items:
            raise Broken("it makes an object of no class")
        self._called(items[0])

    def _instance(self) -> None:
        named = self._named_line()
        self._marked()
        self._called(named)

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if not isinstance(target, Instance):
            raise Broken("it sets the state of something that is no object of a named class")
        self._noted(self.found.builds, target.of, state)
        if state is not CONTAINER:
            self.found.slotted[target.of] = None

    def _fill(self, *, marked: bool, items: int) -> None:
        if marked:
            self._marked()
        else:
            for _ in range(items):
                self._pop()
        target = self._top()
        if isinstance(target, Instance):
            self.found.filled[target.of] = None
        elif target is not CONTAINER:
            raise Broken("it puts items into something that is no list, dict or set")

    def _persistent(self) -> None:
        identity = self._pop()
        typed = isinstance(identity, tuple) and len(identity) > 2 and identity[0] == "storage" and isinstance(identity[1], Global)
        if not self._storages or not typed:
            raise Broken("it refers to something outside itself (a persistent id)")
        self._push(OTHER)

    def _refused(self, why: str) -> None:
        raise Broken(why)

    # --- the memo

    def _put(self, at: int) -> None:
        self._memo[at] = self._top()

    def _get(self, at: int) -> None:
        if at not in self._memo:
            raise Broken("it takes from its memo what was never put there")
        self._push(self._memo[at])

    def _index_line(self) -> int:
        line = self._source.line()
        if not _INDEX.fullmatch(line):
            raise Broken("a number in its memo cannot be read")
        return int(line)

    def _discard(self) -> None:
        if not self._stack:
            raise Broken("it takes more from its stack than is there")
        self._stack.pop()

    def _protocol(self) -> None:
        if self._number(1) > 5:
            raise Broken("its protocol is not known")


_DIGITS = re.compile(rb"-?\d{1,18}")
_INDEX = re.compile(rb"\d{1,9}")
_EXTENSION = "it imports by number (an extension code)"
_OUTSIDE = "it refers to buffers outside itself"

_STEPS: Mapping[bytes, Callable[[Machine], object]] = MappingProxyType({
    b"(": lambda m: m._push(MARK),
    b"0": Machine._discard,
    b"1": Machine._marked,
    b"2": lambda m: m._push(m._top()),
    # values
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(1),
    b"\x89": lambda m: m._push(0),
    b"I": Machine._integer_line,
    b"J": lambda m: m._push(m._number(4, signed=True)),
    b"K": lambda m: m._push(m._number(1)),
    b"M": lambda m: m._push(m._number(2)),
    b"L": Machine._opaque_line,
    b"\x8a": lambda m: m._long(m._number(1)),
    b"\x8b": lambda m: m._long(m._number(4)),
    b"F": Machine._opaque_line,
    b"G": lambda m: m._opaque(8),
    b"S": Machine._opaque_line,
    b"T": lambda m: m._opaque(m._number(4)),
    b"U": lambda m: m._opaque(m._number(1)),
    b"B": lambda m: m._opaque(m._number(4)),
    b"C": lambda m: m._opaque(m._number(1)),
    b"\x8e": lambda m: m._opaque(m._number(8)),
    b"\x96": lambda m: m._opaque(m._number(8)),
    b"V": Machine._text_line,
    b"X": lambda m: m._text(m._number(4)),
    b"\x8c": lambda m: m._text(m._number(1)),
    b"\x8d": lambda m: m._text(m._number(8)),
    # containers
    b"]": lambda m: m._push(CONTAINER),
    b"}": lambda m: m._push(CONTAINER),
    b"\x8f": lambda m: m._push(CONTAINER),
    b"l": lambda m: m._collected(CONTAINER),
    b"d": lambda m: m._collected(CONTAINER),
    b"\x91": lambda m: m._collected(OTHER),
    b")": lambda m: m._push(()),
    b"t": lambda m: m._tuple(m._marked()),
    b"\x85": lambda m: m._last(1),
    b"\x86": lambda m: m._last(2),
    b"\x87": lambda m: m._last(3),
    b"a": lambda m: m._fill(marked=False, items=1),
    b"e": lambda m: m._fill(marked=True, items=0),
    b"s": lambda m: m._fill(marked=False, items=2),
    b"u": lambda m: m._fill(marked=True, items=0),
    b"\x90": lambda m: m._fill(marked=True, items=0),
    # names and calls
    b"c": lambda m: m._push(m._named_line()),
    b"\x93": Machine._stack_global,
    b"i": Machine._instance,
    b"o": Machine._object,
    b"R": lambda m: m._call(1),
    b"\x81": Machine._new,
    b"\x92": lambda m: m._call(2),
    b"b": Machine._build,
    b"Q": Machine._persistent,
    b"P": lambda m: m._refused("it refers to something outside itself (a persistent id)"),
    b"\x82": lambda m: m._refused(_EXTENSION),
    b"\x83": lambda m: m._refused(_EXTENSION),
    b"\x84": lambda m: m._refused(_EXTENSION),
    b"\x97": lambda m: m._refused(_OUTSIDE),
    b"\x98": lambda m: m._refused(_OUTSIDE),
    # the memo, and how it is framed
    b"p": lambda m: m._put(m._index_line()),
    b"q": lambda m: m._put(m._number(1)),
    b"r": lambda m: m._put(m._number(4)),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"g": lambda m: m._get(m._index_line()),
    b"h": lambda m: m._get(m._number(1)),
    b"j": lambda m: m._get(m._number(4)),
    b"\x80": Machine._protocol,
    b"\x95": lambda m: m._source.take(8),
})  # fmt: skip
