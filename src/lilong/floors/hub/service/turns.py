"""Those who would only get in each other's way, one after another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from weakref import WeakValueDictionary

from lilong.floors.hub.contract import Kind
from lilong.ground.house import House

_turns: WeakValueDictionary[tuple[int, str, str, str], threading.Lock] = WeakValueDictionary()
_door = threading.Lock()


@contextlib.contextmanager
def of_branch(house: House, kind: Kind, name: str, ref: str) -> Iterator[None]:
    """Nobody else who takes turns drafts a commit on this branch meanwhile: of many who race, the last would lose every time."""
    key = (id(house.db), kind.value, name, ref)
    with _door:
        lock = _turns.get(key)
        if lock is None:
            lock = _turns[key] = threading.Lock()
    with lock:
        yield
