"""The floor's tables."""

from lilong.floors.compute.store.asking import to_end
from lilong.floors.compute.store.attempts import intend, settled, started
from lilong.floors.compute.store.queue import (
    Entry,
    active,
    by_key,
    digests,
    entries,
    entry,
    job,
    jobs,
    request_cancel,
    tidied,
    to_stop,
    untidied,
)
from lilong.floors.compute.store.waiting import counts

__all__ = [
    "Entry", "active", "by_key", "counts", "digests", "entries", "entry", "intend", "job", "jobs", "request_cancel", "settled", "started", "tidied",
    "to_end", "to_stop", "untidied",
]  # fmt: skip
