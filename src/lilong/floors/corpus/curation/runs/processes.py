"""Processes that work for one that leads, and end with it."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def pool(workers: int, begin: Callable[[], None] | None = None, copies: bool = False) -> Iterator[ProcessPoolExecutor]:
    """Processes that have been started, each of which carries out `begin` first. Where a person interrupts, they end at once: what they
    had in hand is done again another time.

    `copies` of this process have all that it has loaded. Where another thread may hold a lock, which in a copy nobody would give back, they
    start from nothing like the others.
    """
    before = set(multiprocessing.active_children())
    how = "fork" if copies and sys.platform == "linux" and threading.active_count() == 1 else "spawn"
    made = ProcessPoolExecutor(workers, multiprocessing.get_context(how), initializer=begin)
    try:
        with _uninterrupted():
            for _ in range(workers):
                made.submit(_ready)
        yield made
    except KeyboardInterrupt:
        for one in set(multiprocessing.active_children()) - before:
            one.terminate()
        raise
    finally:
        made.shutdown(cancel_futures=True)


def _ready() -> None:
    """What a process is asked so that it starts: to answer, it has imported all that is needed to begin."""


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes that start in it do not hear a Ctrl-C, which a terminal sends to all: the one that leads ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
