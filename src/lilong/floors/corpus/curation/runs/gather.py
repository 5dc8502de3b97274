"""The end of a run: what batches left is merged by document id, bucket by bucket, decided, clustered and written.

Memory holds one bucket's rows, or a few buckets' where there are threads, and of every different text its id and its place in a cluster; the keys of near duplicates lie on disk.
"""

from __future__ import annotations

import resource
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lilong.floors.corpus.curation.dedup import clusters
from lilong.floors.corpus.curation.policies.policy import Policy
from lilong.floors.corpus.curation.runs import batch, durable
from lilong.floors.corpus.curation.runs.bucket import VERDICT, Distinct, Ids, Mask, Placed, Tables, distinct, tables
from lilong.floors.corpus.curation.runs.profiles import Profile
from lilong.floors.corpus.curation.runs.progress import Progress
from lilong.floors.corpus.curation.runs.report import Tally
from lilong.floors.corpus.curation.writing.tables import TableFile

T = TypeVar("T")
TABLES = ("decisions", "signals", "clusters", "documents", "problems")
DROPPED = "dropped"
"""The table of texts that were not kept, where it is asked for."""
_FILES = 8192


@dataclass(frozen=True, slots=True)
class Job:
    work: Path
    out: Path
    buckets: int
    profile: Profile
    policy: Policy
    run: dict[str, Any]
    review: bool = False
    threads: int = 1


def gather(job: Job, done: Sequence[durable.Done], progress: Progress) -> None:
    """Write the run's tables and its report. The report comes last: where it stands, all else does."""
    final = job.work / "final"
    final.mkdir(exist_ok=True)
    documents = sum(one.documents for one in done)
    progress.begin("deciding", documents)
    every = _decide(job, done, final, progress)
    progress.begin("looking for near duplicates", every.count)
    found = _cluster(job, every)
    progress.begin("writing", documents)
    tally = Tally()
    _write(job, done, every, found, final, tally, progress)
    tally.problems = write_problems([job.work / "batches" / one.files["problems"] for one in done if "problems" in one.files], final)
    publish(job, final, tally)


def publish(job: Job, final: Path, tally: Tally) -> None:
    """The tables of a folder become the run's, and the report follows them."""
    for name in (*TABLES, *([DROPPED] if job.review else [])):
        shutil.rmtree(job.out / f"{name}.parquet", ignore_errors=True)  # a table of several files is a folder
        (final / f"{name}.parquet").replace(job.out / f"{name}.parquet")
    durable.sync_folder(job.out)
    report = tally.report(job.run, job.policy, job.out, TABLES)
    durable.write_json(job.out / "report.json", report)


class _Batches:
    """What batches left, bucket by bucket. Files stay open, each thread's own, as far as a process may have so many: else every bucket would
    open every file again, and ten times the texts would take a hundred times the time."""

    def __init__(self, job: Job, done: Sequence[durable.Done], kind: str) -> None:
        self._paths = [str(job.work / "batches" / one.files[kind]) for one in done]
        self._most = _may_be_open() // (2 * (job.threads + 1))
        self._mine = threading.local()

    def rows(self, bucket: int) -> pa.Table:
        """The rows of all batches in one bucket."""
        opened: list[pa.ipc.RecordBatchFileReader] = self._mine.__dict__.setdefault("opened", [])
        found = []
        for number, path in enumerate(self._paths):
            reader = opened[number] if number < len(opened) else pa.ipc.open_file(pa.OSFile(path))
            if number == len(opened) < self._most:
                opened.append(reader)
            found.append(reader.get_batch(bucket))
        return pa.Table.from_batches(found).combine_chunks()


def _may_be_open() -> int:
    """How many files, now that this process has asked for as many as it may have."""
    asked, may = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if may == resource.RLIM_INFINITY else min(may, _FILES)
    if asked == resource.RLIM_INFINITY or asked >= most:
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, may))
    except (OSError, ValueError):  # a system that allows fewer than it says
        return asked
    return most


def _each(buckets: int, threads: int, work: Callable[[int], T]) -> Iterator[T]:
    """`work` of every bucket, in order, in so many threads besides this one; some are done before they are asked for."""
    numbers = range(buckets)
    if not threads:
        yield from map(work, numbers)
        return
    ahead: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for number in numbers:
            ahead.append(pool.submit(work, number))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class _Beside:
    """Writes in a thread beside this one, where there are several: one is under way while the next is got ready."""

    def __init__(self, several: bool) -> None:
        self._pool = ThreadPoolExecutor(1) if several else None
        self._under_way: Future[None] | None = None

    def __enter__(self) -> _Beside:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown()
        if self._under_way:
            self._under_way.result()

    def write(self, file: TableFile, table: pa.Table) -> None:
        if self._pool is None:
            file.write(table)
            return
        if self._under_way:
            self._under_way.result()
        self._under_way = self._pool.submit(file.write, table)


@dataclass(slots=True)
class _Keys:
    """The (n, k) keys of every different text, on disk: a band at a time is in memory."""

    path: Path
    bands: int = 0
    counts: list[int] = field(default_factory=list)  # of texts, bucket by bucket

    def write(self, file: IO[bytes], keys: npt.NDArray[np.uint64]) -> None:
        """Of one more bucket, band by band."""
        self.bands = keys.shape[1]
        self.counts.append(len(keys))
        file.write(np.ascontiguousarray(keys.T).data)

    def band(self, number: int) -> npt.NDArray[np.uint64]:
        """The (n,) keys of a band."""
        found = np.empty(sum(self.counts), np.uint64)
        start = 0
        with self.path.open("rb") as file:
            for count in self.counts:
                file.seek(8 * (start * self.bands + number * count))
                file.readinto(found[start : start + count].data)
                start += count
        return found


@dataclass(slots=True)
class _Every:
    """Of every different text, sorted by id, what `bucket.Distinct` says; and a file with a record batch per bucket of
    texts of what was decided (VERDICT)."""

    ids: Ids  # (n, 32)
    starts: npt.NDArray[np.int64]  # of each bucket of texts, and the end
    readings: npt.NDArray[np.int64]
    keys: _Keys
    preferences: pa.Table
    decided: Path

    @property
    def count(self) -> int:
        return len(self.ids)


def _decide(job: Job, done: Sequence[durable.Done], final: Path, progress: Progress) -> _Every:
    """Decide about each different text, and write signals.parquet."""
    ids, readings = [np.zeros((0, 32), np.uint8)], [np.zeros(0, np.int64)]
    preferences: list[pa.Table] = []
    decided, keys = job.work / "decided.arrow", _Keys(job.work / "keys")
    buckets = batch.buckets_of_signals(job.buckets)
    threads = job.threads if job.threads > 1 else 0

    batches = _Batches(job, done, "signals")

    def work(number: int) -> Distinct:
        return distinct(batches.rows(number), job.policy)

    with TableFile(final / "signals.parquet") as out, pa.ipc.new_file(str(decided), VERDICT) as said, keys.path.open("wb") as drawn:
        for number, found in enumerate(_each(buckets if done else 0, threads, work)):
            ids.append(found.ids)
            readings.append(found.readings)
            keys.write(drawn, found.keys)
            if job.policy.prefer:
                preferences.append(found.preferences)
            verdict, each = batch.one_batch(found.verdict), job.buckets // buckets
            bounds = _starts(found.ids, job.buckets)[number * each : (number + 1) * each + 1].tolist()
            for start, end in pairwise(bounds):
                said.write_batch(verdict.slice(start, end - start))
            out.write(found.signals)
            progress.advance(len(found.ids), len(found.ids))
    every = np.concatenate(ids)
    told = pa.concat_tables(preferences).combine_chunks() if preferences else pa.table({})
    return _Every(every, _starts(every, job.buckets), np.concatenate(readings), keys, told, decided)


def _starts(ids: Ids, buckets: int) -> npt.NDArray[np.int64]:
    """Of sorted ids, where each bucket begins, and the end."""
    return np.searchsorted(batch.bucket_of(ids, buckets), np.arange(buckets + 1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Clusters:
    """Of every different text: the first one of its cluster, the one that speaks for it, how many bands they share, and how many readings the
    cluster has."""

    component: npt.NDArray[np.int64]
    representative: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int16]
    sizes: npt.NDArray[np.int64]


def _cluster(job: Job, every: _Every) -> _Clusters:
    """Near duplicates among the texts that the policy keeps."""
    component, _ = clusters.components(every.count, every.keys.bands, every.keys.band)
    chosen = clusters.representatives(component, every.preferences, job.policy.prefer)
    shared = clusters.bands_shared(chosen, every.keys.bands, every.keys.band)
    sizes = np.bincount(component, every.readings, every.count).astype(np.int64)[component]
    return _Clusters(component, chosen, shared, sizes)


def _placed(every: _Every, found: _Clusters, start: int, end: int) -> Placed:
    """The texts from `start` to `end` among their near duplicates."""
    other, own = found.representative[start:end], slice(start, end)
    moved: Mask = other != np.arange(start, end)
    return Placed(every.ids[found.component[own]], every.ids[other], moved, found.sizes[own], found.shared[own], every.keys.bands)


def _write(job: Job, done: Sequence[durable.Done], every: _Every, found: _Clusters, final: Path, tally: Tally, progress: Progress) -> None:
    """Write decisions.parquet, a row for each reading; clusters.parquet, for each that has duplicates; documents.parquet, for each kept."""
    batches = _Batches(job, done, "texts")

    def work(number: int) -> tuple[Tables, npt.NDArray[np.int64], dict[str, int]]:
        start, end = every.starts[number : number + 2].tolist()
        placed = _placed(every, found, start, end)
        with pa.OSFile(str(every.decided)) as said:
            verdict = pa.Table.from_batches([pa.ipc.open_file(said).get_batch(number)])
        made, sizes = tables(batches.rows(number), verdict, placed, job.review)
        return made, sizes, placed.counts(every.ids[start:end])

    with ExitStack() as stack:
        decisions, alike = (stack.enter_context(TableFile(final / f"{name}.parquet")) for name in ("decisions", "clusters"))
        documents = stack.enter_context(TableFile(final / "documents.parquet", sized="text"))
        dropped = stack.enter_context(TableFile(final / f"{DROPPED}.parquet", sized="text")) if job.review else None
        write = stack.enter_context(_Beside(job.threads > 1)).write
        for made, sizes, counted in _each(job.buckets if done else 0, job.threads - 1, work):
            write(documents, made.documents)
            decisions.write(made.decisions)
            alike.write(made.clusters)
            if dropped is not None:
                dropped.write(made.dropped)
            tally.count(made.decisions, sizes, made.documents, counted)
            progress.advance(made.decisions.num_rows, made.decisions.num_rows)


def write_problems(paths: Sequence[Path], final: Path) -> pa.Table:
    """Write problems.parquet from the batches' files of problems; answers what stands in it."""
    found = [batch.PROBLEMS.empty_table()]
    for path in paths:
        with pa.OSFile(str(path)) as file:
            found.append(pa.ipc.open_file(file).read_all())
    table = pa.concat_tables(found).sort_by([(name, "ascending") for name in ("source", "uri", "problem")])
    with TableFile(final / "problems.parquet") as out:
        out.write(table)
    return table
