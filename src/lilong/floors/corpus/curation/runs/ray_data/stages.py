"""Stages: Ray Data carries one out, and what it made stays, so that an interrupted run goes on after the last one that was finished.

A stage answers rows that name content-addressed files; the rows are the stage's manifest. A worker that is lost costs its tasks, which Ray
does again; where Ray gives up, the stage is done again. Files of the same content have the same name, so neither changes a byte.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lilong.floors.corpus.curation.runs import batch, durable
from lilong.floors.corpus.curation.runs.progress import Progress
from lilong.ground.errors import LilongError, Unavailable

Row = dict[str, Any]
_TRIES = 3
_SHUFFLE = "sort_shuffle_pull_based"  # by tasks, which are done again on another node; the default one's actors are not, and start slowly


class StageFailed(Unavailable):
    """Ray could not finish the stage '{stage}': {problem}. What earlier stages made is kept: the same command goes on from there."""


class Full(OSError):
    """No room on the disk of a worker; `strerror` is the stage."""


@dataclass(frozen=True, slots=True)
class Stages:
    """`folder` is on a disk that all nodes share."""

    folder: Path
    ray: Any
    progress: Progress

    @property
    def files(self) -> Path:
        return self.folder / "batches"

    def carry_out(
        self,
        name: str,
        doing: str,
        total: int,
        make: Callable[[], Any],
        advance: Callable[[Row], tuple[int, int]],
        order: str,
        keep: bool = True,
    ) -> list[Row]:
        """The rows of the dataset that `make` makes, sorted by `order`; or those of the manifest, where it is there and its files are whole.
        Raises StageFailed, Full, and what a task raises."""
        manifest = self.folder / f"{name}.json"
        self.progress.begin(doing, total)
        if keep and manifest.exists():
            rows: list[Row] = json.loads(manifest.read_bytes())
            if self._whole(rows):
                return rows
        for attempt in range(_TRIES):
            try:
                rows = []
                for some in make().iter_batches(batch_size=None, batch_format="pyarrow"):
                    found = some.to_pylist()
                    rows += found
                    for row in found:
                        self.progress.advance(*advance(row))
                break
            except Exception as problem:  # Ray has many, and says by none which of them may pass
                self._explain(name, problem, attempt)
        rows.sort(key=lambda row: row[order])
        if keep:
            durable.write(manifest, lambda file: file.write(json.dumps(rows).encode()))
        return rows

    def drop(self, *names: str) -> None:
        """Forget that these stages are done."""
        for name in names:
            (self.folder / f"{name}.json").unlink(missing_ok=True)

    def _whole(self, rows: Sequence[Row]) -> bool:
        names = sorted({value for row in rows for key, value in row.items() if key.endswith("file") and value})
        if not names:
            return True
        data = self.ray.data.from_items([{"file": name} for name in names], override_num_blocks=min(len(names), 256))
        found = data.map_batches(harmed, batch_format="pyarrow", fn_kwargs={"folder": self.files}).take_all()
        return not found

    def _explain(self, name: str, problem: Exception, attempt: int) -> None:
        """Raise what no second try would mend."""
        for one in _causes(problem):
            if isinstance(one, LilongError):
                raise one from None
            if isinstance(one, OSError) and one.errno in batch.NO_ROOM:
                raise Full(errno.ENOSPC, name.partition("@")[0], str(self.folder)) from None
        lost = self.ray.exceptions
        passing = (lost.ObjectLostError, lost.WorkerCrashedError, lost.NodeDiedError, lost.RayActorError, lost.OutOfMemoryError)
        said = next((line.strip() for line in reversed(str(_causes(problem)[-1]).splitlines()) if line.strip()), type(problem).__name__)
        if not any(isinstance(one, passing) for one in _causes(problem)) or attempt + 1 == _TRIES:
            raise StageFailed(stage=name, problem=said[:500]) from problem
        self.progress.say(f"{name}: {said[:200]}; the stage is done again")


def harmed(table: pa.Table, folder: Path) -> pa.Table:
    """The files among `table`'s that are not there whole."""
    names = [name for name in table.column("file").to_pylist() if not durable.intact(folder / name, name)]
    return pa.table({"file": pa.array(names, pa.string())})


def _causes(problem: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    at: BaseException | None = problem
    while at is not None and at not in found:
        found.append(at)
        at = getattr(at, "cause", None) or at.__cause__ or at.__context__
    return found


@contextmanager
def quiet(ray: Any) -> Iterator[None]:
    """Ray Data as it is used here: silent, with a shuffle that outlives a node. What was set before is set again afterwards."""
    context = ray.data.DataContext.get_current()
    wanted = {"enable_progress_bars": False, "print_on_execution_start": False, "shuffle_strategy": _SHUFFLE}
    before = {name: getattr(context, name) for name in wanted}
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        for name, value in wanted.items():
            setattr(context, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        logger.setLevel(level)
