"""One batch, in any process: its parts to documents, the documents to signals, and all of it to files."""

from __future__ import annotations

import atexit
import errno
import gc
import hashlib
import os
import threading
import time
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.reading import records
from lilong.floors.corpus.curation.reading.cutting import Batch, Problem
from lilong.floors.corpus.curation.runs import durable, lean
from lilong.floors.corpus.curation.runs.profiles import Measured, Measurer, Setup, open_measurer
from lilong.ground.errors import LilongError

ID = pa.binary(32)
KEYS = "_keys"
"""Column of the signals' files by which near duplicates meet."""
READING = ("_source", "_uri", "_licence", "_retrieved_at", "_format")
"""Columns of the signals' files that tell one reading of a text from another; `_bytes` is its size."""
PROBLEMS = pa.schema(
    [(name, pa.string()) for name in ("source", "uri", "reason", "problem")] + [("lost", pa.bool_()), ("skipped", pa.bool_())]
)
_TEXTS = 8  # buckets of texts to one of signals
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Task:
    """What every batch of a run shares. Documents are parted into `buckets` by the first bits of their ids."""

    setup: Setup
    folder: Path
    buckets: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A batch of which nothing was kept: no room on the disk, or something unforeseen."""

    key: str
    first: str
    problem: str
    no_room: bool


@cache
def measurer(setup: Setup) -> Measurer:
    """The measurer of this process, with all that it needs loaded or compiled."""
    opened = open_measurer(setup)
    opened(pa.array(["warm"], pa.large_string()))
    return opened


def carry_out(batch: Batch, key: str, task: Task) -> durable.Done | Failed:
    """Measure a batch and leave its files in the task's folder."""
    if changed := next((part for part in batch.parts if part.changed), None):
        return Failed(key, first_of(batch), f"{changed.uri} was changed or removed while it was read", no_room=False)
    try:
        documents, problems = records.read(batch.parts)
        measured = measurer(task.setup)(documents.column("text"))
        return _written(documents, measured, [*batch.problems, *problems], key, task)
    except LilongError:
        raise  # something is missing here, and every batch would say so
    except OSError as problem:
        return Failed(key, first_of(batch), str(problem.strerror or problem), problem.errno in NO_ROOM)
    except Exception as problem:  # one batch that nobody foresaw does not end the others
        where = traceback.extract_tb(problem.__traceback__)[-1]
        said = f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]} ({Path(where.filename).name}:{where.lineno})"
        return Failed(key, first_of(batch), said, no_room=False)


def begin() -> None:
    """Run in a worker before all else."""
    gc.freeze()  # what was there before stays, and is shared with the process that leads
    atexit.register(gc.freeze)  # as in `lilong.cli`: whoever leads waits until the worker has ended
    lean.start()
    outlive_nobody()


def outlive_nobody() -> None:
    """Run in a worker: end it soon after its parent has ended, which `kill -9` gives no chance to tell."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def bucket_of(ids: npt.NDArray[np.uint8], buckets: int) -> npt.NDArray[np.int64]:
    """Per id (a row of bytes) its bucket: equal ids share one, and buckets follow the order of ids. `buckets` is a power of 2 up to 65,536."""
    first = ids[:, 0].astype(np.int64) * 256 + ids[:, 1]
    return first * buckets >> 16


def buckets_of_signals(buckets: int) -> int:
    """In how many buckets signals lie where texts lie in `buckets`: each is some of theirs in a row, for a row is far smaller."""
    return max(1, buckets // _TEXTS)


def first_of(batch: Batch) -> str:
    return f"{batch.parts[0].source}: {batch.parts[0].uri}" if batch.parts else "(nothing)"


def _written(documents: pa.RecordBatch, measured: Measured, problems: list[Problem], key: str, task: Task) -> durable.Done:
    count = documents.num_rows
    digests = b"".join(hashlib.sha256(text.as_buffer() or b"").digest() for text in documents.column("text"))
    ids = np.frombuffer(digests, np.uint8).reshape(count, 32)
    named = pa.Array.from_buffers(ID, count, [None, pa.py_buffer(digests)])
    reading = {name: documents.column(name.removeprefix("_")) for name in READING}
    keys = pa.FixedSizeListArray.from_arrays(pa.array(measured.keys.reshape(-1)), measured.keys.shape[1])
    sizes = pc.binary_length(documents.column("text")).cast(pa.int64())
    signals = {"id": named, **measured.signals, KEYS: keys, "_bytes": sizes, **reading}
    texts = {"id": named, **{name: documents.column(name) for name in documents.schema.names}, "text": measured.rewritten, "_bytes": sizes}
    folder = task.folder / "batches"
    kinds = {"signals": (signals, buckets_of_signals(task.buckets)), "texts": (texts, task.buckets)}
    files = {kind: _write(folder, pa.table(table), bucket_of(ids, buckets), buckets) for kind, (table, buckets) in kinds.items()}
    if problems:
        rows = [(one.source, one.uri, one.reason, one.problem, one.lost, one.skipped) for one in problems]
        table = pa.table(
            [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), PROBLEMS, strict=True)], schema=PROBLEMS
        )
        files["problems"] = _write(folder, table, np.zeros(len(rows), np.int64), 1)
    return durable.Done(key, files, count, len(problems))


def _write(folder: Path, table: pa.Table, places: npt.NDArray[np.int64], buckets: int) -> str:
    """An Arrow file with a record batch for each bucket, so that a bucket can be read without the others. Not compressed: a bucket has a few
    rows of a batch, and to begin a column anew takes more time, and room, than that would save."""
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(buckets + 1))
    ordered = one_batch(table.take(pa.array(order)))

    def fill(file: IO[bytes]) -> None:
        with pa.ipc.new_file(file, table.schema) as writer:
            for bucket in range(buckets):
                writer.write_batch(ordered.slice(bounds[bucket], bounds[bucket + 1] - bounds[bucket]))

    return durable.write_named(folder, fill)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """The rows as one record batch, also where there are none."""
    found = table.combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=table.schema)
