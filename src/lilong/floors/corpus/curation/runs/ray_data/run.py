"""The stages of a run on Ray, in order.

measured → merged (by id) → meetings (by band key) → stars → placed (by star, and back) → written (by id) → final. Texts travel once, and only
those that the policy keeps.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lilong.floors.corpus.curation.dedup import stars
from lilong.floors.corpus.curation.reading import cutting
from lilong.floors.corpus.curation.runs import batch, engine, gather, report
from lilong.floors.corpus.curation.runs.progress import Progress
from lilong.floors.corpus.curation.runs.ray_data import cluster, tasks
from lilong.floors.corpus.curation.runs.ray_data.stages import Full, Row, Stages, quiet

_MOST_BUCKETS = 65_536


@dataclass(frozen=True, slots=True)
class Spread:
    """How a run is spread over a cluster; the result depends on none of it. `address`: host:port of its head, or None for one that is started on
    this machine. Sizes are bytes of input: of what a task measures, of a batch within it, and of a bucket of the merge. `few_edges`: as many
    are joined in one process, with about 50 bytes of memory for each. With `table_files`, each table is a folder of so many files, written side
    by side, whose rows follow one another; else one file, as on one machine."""

    address: str | None = None
    group_bytes: int = 256 << 20
    batch_bytes: int = 64 << 20
    bucket_bytes: int = 256 << 20
    parts: int | None = None
    few_edges: int = 50_000_000
    table_files: int | None = None


def curate(ask: engine.Ask, spread: Spread, progress: Progress | None = None) -> dict[str, Any]:
    """`engine.curate` on Ray: the same result. Raises what that raises, and RayMissing, BadAddress, NoCluster, NotShared, OtherNode, StageFailed."""
    return engine.curate(ask, progress, partial(_carry_out, spread))


def _carry_out(spread: Spread, plan: engine.Plan, progress: Progress) -> None:
    with cluster.reached(spread.address, plan.ask.workers) as ray, quiet(ray):
        files = plan.reading.files if isinstance(plan.reading, cutting.LocalFiles) else ()
        models = [path.absolute() for _, path in plan.ask.setup.classifiers]
        nodes = cluster.check(ray, plan.work.parent.absolute(), models, [one.path.absolute() for one in files])
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        progress.say(f"Ray: {nodes} node{'s' * (nodes != 1)}, {processors} processors")
        try:
            _Run(spread, plan, progress, ray, processors).carry_out()
        except Full as problem:
            raise engine.NoRoom(folder=plan.ask.out, what=f"the stage '{problem.strerror}'") from None


class _Run:
    def __init__(self, spread: Spread, plan: engine.Plan, progress: Progress, ray: Any, processors: int) -> None:
        folder = plan.work.absolute() / "ray"
        buckets = 1
        while buckets * spread.bucket_bytes < plan.reading.size and buckets < _MOST_BUCKETS:
            buckets *= 2
        parts = spread.parts or max(2 * processors, buckets)
        setup = replace(plan.ask.setup, classifiers=tuple((name, path.absolute()) for name, path in plan.ask.setup.classifiers))
        task = batch.Task(setup, folder, 1)
        self.shared = tasks.Shared(task, folder / "batches", plan.policy, buckets, parts, spread.batch_bytes, plan.ask.review)
        self.shared.files.mkdir(parents=True, exist_ok=True)
        self.stages = Stages(folder, ray, progress)
        self.spread, self.plan, self.progress, self.data, self.most = spread, plan, progress, ray.data, 4 * processors

    def carry_out(self) -> None:
        measured = self._measured()
        merged = self._merged(measured)
        starts = [0, *accumulate(row["documents"] for row in merged)][: len(merged)]
        placed = self._placed(merged, starts)
        written = self._written(measured, merged, starts, placed)
        self._final(measured, merged, written)

    def _measured(self) -> list[Row]:
        groups = [{"group": number, "reading": pickle.dumps(one)} for number, one in enumerate(self._groups())]
        rows = self._stage(
            "measured", "measuring", self.plan.reading.size, lambda: self._map(groups, tasks.measure, len(groups)),
            lambda row: (row["read"], row["documents"]), "place",
        )  # fmt: skip
        failed = [row for row in rows if row["failed"]]
        if failed:
            self.stages.drop("measured")
            told = [batch.Failed(row["key"], row["first"], row["failed"], row["no_room"]) for row in failed]
            engine.give_up(told, len(rows), self.plan.ask.out)
        once = {row["key"]: row for row in reversed(rows)}
        return [row for row in rows if once[row["key"]] is row]

    def _groups(self) -> Iterator[cutting.Reading]:
        """Inputs in the order of their names, so many together that a task is worth its start."""
        reading = self.plan.reading
        if not isinstance(reading, cutting.LocalFiles):
            yield reading
            return
        files: list[Any] = []
        size = 0
        for one in reading.files:
            files.append(_absolute(one))
            size += one.size
            if size >= self.spread.group_bytes:
                yield cutting.LocalFiles(files)
                files, size = [], 0
        if files:
            yield cutting.LocalFiles(files)

    def _merged(self, measured: list[Row]) -> list[Row]:
        """Rows of `tasks.distinct`, in the order of buckets."""

        def make() -> Any:
            return self._by_part(self._map(measured, tasks.signals), tasks.distinct)

        documents = sum(row["documents"] for row in measured)
        rows = self._stage("merged", "deciding", documents, make, lambda row: (row["documents"],) * 2, "bucket")
        if rows:
            return rows
        empty = tasks.signals(pa.Table.from_pylist(measured[:1]), self.shared)
        return list(tasks.distinct(empty, self.shared).to_pylist())

    def _placed(self, merged: list[Row], starts: list[int]) -> dict[int, str]:
        """Per bucket the file that says where its documents stand among near duplicates; those alone are in none."""
        rows = [row | {"start": start} for row, start in zip(merged, starts, strict=True)]
        documents = sum(row["documents"] for row in merged)
        edges = self._stage(
            "meetings", "looking for near duplicates", documents,
            lambda: self._by_part(self._map(rows, tasks.band_keys), tasks.meet), _nothing, "part",
        )  # fmt: skip
        found = stars.connected(edges, self._star(), lambda edges: _count(edges) <= self.spread.few_edges, self._end_at_once)
        if not _count(found):
            return {}
        first = np.array(starts)
        files = {row["bucket"]: (row["texts_file"], start) for row, start in zip(merged, starts, strict=True)}
        bucket_at = np.array([row["bucket"] for row in merged], np.int32)

        def make() -> Any:
            mine = self._map(found, tasks.members, starts=first, buckets=bucket_at)
            near = self._by_part(mine, tasks.with_texts, files=files)
            return self._by_part(self._by_part(near, tasks.represent, starts=first, buckets=bucket_at), tasks.placed)

        placed = self._stage("placed", "choosing among near duplicates", _count(found), make, lambda row: (row["documents"],) * 2, "bucket")
        return {row["bucket"]: row["placed_file"] for row in placed}

    def _star(self) -> Callable[[list[Row], stars.Star], tuple[list[Row], int]]:
        numbers = iter(range(10_000))

        def take(edges: list[Row], star: stars.Star) -> tuple[list[Row], int]:
            name = f"star-{next(numbers):04}"
            rows = self._stage(
                name, f"connecting near duplicates ({name})", _count(edges),
                lambda: self._by_part(self._map(edges, tasks.ends, star=star), tasks.pull, star=star), _nothing, "part",
            )  # fmt: skip
            return rows, sum(row["moved"] for row in rows)

        return take

    def _end_at_once(self, edges: list[Row]) -> list[Row]:
        if not edges:
            return []
        make = partial(self._map, edges, tasks.end_at_once, 1, len(edges))
        return self._stage("stars", "connecting near duplicates", _count(edges), make, _nothing, "part")

    def _written(self, measured: list[Row], merged: list[Row], starts: list[int], placed: dict[int, str]) -> list[Row]:
        files = {
            row["bucket"]: (row["texts_file"], placed.get(row["bucket"], ""), start) for row, start in zip(merged, starts, strict=True)
        }

        def make() -> Any:
            return self._by_part(self._map(measured, tasks.texts), tasks.written, files=files)

        readings = sum(row["documents"] for row in measured)
        rows = self._stage("written", "writing", readings, make, lambda row: (row["readings"],) * 2, "bucket")
        if rows:
            return rows
        empty = tasks.texts(pa.Table.from_pylist(measured[:1]), self.shared)
        return list(tasks.written(empty, self.shared, files).to_pylist())

    def _final(self, measured: list[Row], merged: list[Row], written: list[Row]) -> None:
        plan, final = self.plan, self.stages.folder / "final"
        final.mkdir(exist_ok=True)
        files = {"signals": [row["signals_file"] for row in merged]}
        tally = report.Tally()
        for row in written:
            tally.add(json.loads(row["tally"]))
            for name in row:
                if name.endswith("_file"):
                    files.setdefault(name.removesuffix("_file"), []).append(row[name])
        rows = [row for name in files for row in self._files_of(name, len(files[name]), final)]
        make = partial(self._map, rows, tasks.put_together, len(rows), final=final, files=files)
        self._stage("final", "putting the tables together", len(rows), make, lambda _: (1, 1), "path", keep=False)
        problems = [self.shared.files / row["problems_file"] for row in measured if row["problems_file"]]
        tally.problems = gather.write_problems(problems, final)
        gather.publish(gather.Job(plan.work, plan.ask.out, 1, plan.profile, plan.policy, plan.run, plan.ask.review), final, tally)

    def _files_of(self, name: str, buckets: int, final: Path) -> Iterator[Row]:
        """What file of a table holds which buckets."""
        path = f"{name}.parquet"
        if self.spread.table_files is None:
            yield {"table": name, "path": path, "first": 0, "end": buckets}
            return
        count = min(self.spread.table_files, buckets)
        (final / path).mkdir(exist_ok=True)
        for number in range(count):
            yield {
                "table": name,
                "path": f"{path}/{number:05}.parquet",
                "first": buckets * number // count,
                "end": buckets * (number + 1) // count,
            }

    def _stage(
        self,
        name: str,
        doing: str,
        total: int,
        make: Callable[[], Any],
        advance: Callable[[Row], tuple[int, int]],
        order: str,
        keep: bool = True,
    ) -> list[Row]:
        # What batches hold does not depend on how a run is spread; all that follows is parted into buckets.
        kept_as = name if name == "measured" else f"{name}@{self.shared.buckets}"
        return self.stages.carry_out(kept_as, doing, total, make, advance, order, keep)

    def _map(self, rows: Sequence[Row], task: Callable[..., Any], blocks: int | None = None, size: int = 1, **told: Any) -> Any:
        """A task on every row (or `size` of them)."""
        data = self.data.from_items(list(rows), override_num_blocks=min(len(rows), blocks or self.most))
        return data.map_batches(task, batch_size=size, batch_format="pyarrow", fn_kwargs={"shared": self.shared, **told})

    def _by_part(self, dataset: Any, task: Callable[..., Any], **told: Any) -> Any:
        """A task on all rows of each part: Ray Data shuffles."""
        grouped = dataset.groupby(tasks.PART, num_partitions=self.most)
        return grouped.map_groups(task, batch_format="pyarrow", fn_kwargs={"shared": self.shared, **told})


def _count(edges: Sequence[Row]) -> int:
    return sum(row["edges"] for row in edges)


def _nothing(_: Row) -> tuple[int, int]:
    """Edges are no documents: such a stage is short, and tells no more than that it began."""
    return 0, 0


def _absolute(file: Any) -> Any:
    return replace(file, path=file.path.absolute())
