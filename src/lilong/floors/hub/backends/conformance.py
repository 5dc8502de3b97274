"""What every store of xorbs keeps to: `check` runs against an empty one and raises AssertionError where it does not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lilong.floors.hub.service.xorb_store import XorbMissing, XorbStore

_ONE, _TWO, _NONE = "0a" * 32, "0b" * 32, "0c" * 32


def check(store: XorbStore, folder: Path) -> None:
    """`folder`: on the file system where a local store lies."""
    for rule in (_comes_back, _replaces, _keeps_nothing_of_what_broke_off, _names_what_is_missing, _deletes, _takes_no_path):
        rule(store)
    with tempfile.TemporaryDirectory(dir=folder) as staging:
        _adopts(store, Path(staging))


def _comes_back(store: XorbStore) -> None:
    content = bytes(range(256)) * 40_000
    assert store.put(_ONE, (memoryview(content)[at : at + 99_991] for at in range(0, len(content), 99_991))) == len(content)
    assert store.has(_ONE) and store.size(_ONE) == len(content)
    assert store.read(_ONE, 0, len(content)) == content
    for start, end in ((0, 9), (5, 5), (1 << 20, (1 << 20) + 77), (len(content) - 3, len(content)), (17, 9_000_017)):
        assert store.read(_ONE, start, end) == content[start:end], (start, end)
        assert b"".join(store.open_range(_ONE, start, end)) == content[start:end], (start, end)
    path = store.path(_ONE)
    assert path is None or path.read_bytes() == content


def _replaces(store: XorbStore) -> None:
    assert store.put(_TWO, b"one way to pack it") == 18
    assert store.put(_TWO, [b"another ", b"way"]) == 11
    assert store.read(_TWO, 0, 11) == b"another way" and store.size(_TWO) == 11
    assert sorted(store.hashes()) == [_ONE, _TWO]


def _keeps_nothing_of_what_broke_off(store: XorbStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ValueError("the chunk is not what its hash says")

    _raises(ValueError, lambda: store.put(_NONE, broken()))
    assert not store.has(_NONE) and _NONE not in set(store.hashes())
    _raises(ValueError, lambda: store.put(_TWO, broken()))
    assert store.read(_TWO, 0, 11) == b"another way"


def _names_what_is_missing(store: XorbStore) -> None:
    assert store.size(_NONE) is None and not store.has(_NONE) and not store.delete(_NONE)
    _raises(XorbMissing, lambda: store.read(_NONE, 0, 10))
    _raises(XorbMissing, lambda: store.open_range(_NONE, 0, 10))


def _deletes(store: XorbStore) -> None:
    assert store.delete(_TWO) and not store.has(_TWO) and list(store.hashes()) == [_ONE]
    assert store.put(_TWO, b"here again") == 10 and store.read(_TWO, 5, 10) == b"again"


def _adopts(store: XorbStore, folder: Path) -> None:
    file = folder / "finished"
    file.write_bytes(b"staged before its turn came")
    assert store.adopt(_NONE, file) == 27 and store.read(_NONE, 0, 27) == b"staged before its turn came"
    assert not file.exists() and store.delete(_NONE)


def _takes_no_path(store: XorbStore) -> None:
    from lilong.ground.errors import BadInput

    for word in ("", "../../etc/passwd", "A" * 64, "0a" * 31, "0a/" * 32):
        _raises(BadInput, lambda word=word: store.has(word))  # type: ignore[misc]


def _raises(kind: type[BaseException], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
