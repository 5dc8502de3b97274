"""What each stage of a run on Ray costs: CPU seconds and bytes on disk of the very functions that Ray carries out, in one process; and with
--ray CPUS the CPU seconds of the same run on Ray, of all its processes.

    python bench/corpus_scale.py FILE.jsonl … --profile fineweb [--ray 2] [--json OUT]

The figures are what `lilong corpus plan` reckons with.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lilong.floors.corpus.curation.reading import cutting, inputs
from lilong.floors.corpus.curation.runs import batch, profiles
from lilong.floors.corpus.curation.runs.ray_data import tasks


class Costs:
    """CPU seconds, rows and bytes of stages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stages = folder, {}

    @contextmanager
    def of(self, name: str) -> Iterator[dict[str, float]]:
        found: dict[str, float] = {}
        before, cpu = held(self.folder), time.process_time()
        yield found
        self.stages[name] = {
            "cpu_s": round(time.process_time() - cpu, 3),
            "mb_written": round((held(self.folder) - before) / 1e6, 3),
            **found,
        }


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def parts(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """What the engine's shuffle does, in memory; not counted."""
    whole = pa.concat_tables(tables).sort_by(tasks.PART).combine_chunks()
    where = whole.column(tasks.PART).to_numpy()
    bounds = np.flatnonzero(np.append(np.append(True, where[1:] != where[:-1]), True)) if len(where) else np.zeros(1, int)
    return [whole.slice(start, end - start) for start, end in pairwise(bounds)]


def each(rows: list[dict[str, Any]], task: Callable[..., pa.Table], *told: Any) -> list[pa.Table]:
    return [task(pa.Table.from_pylist([row]), *told) for row in rows]


def listed(tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
    return [row for table in tables for row in table.to_pylist()]


def size(tables: Sequence[pa.Table]) -> float:
    return round(sum(table.nbytes for table in tables) / 1e6, 3)


def stages(files: list[inputs.File], profile: str, work: Path) -> dict[str, Any]:
    setup = profiles.Setup(profile)
    policy = profiles.profile(setup).policy()
    total = sum(one.size for one in files)
    buckets = 1
    while buckets * (64 << 20) < total:
        buckets *= 2
    shared = tasks.Shared(batch.Task(setup, work, 1), work / "batches", policy, buckets, 8, 64 << 20)
    shared.files.mkdir(parents=True)
    batch.measurer(setup)
    costs = Costs(work)
    groups = [{"group": number, "reading": pickle.dumps(cutting.LocalFiles([one]))} for number, one in enumerate(files)]
    with costs.of("measure") as told:
        measured = listed([table for row in groups for table in tasks.measure(pa.Table.from_pylist([row]), shared)])
        told["documents"] = sum(row["documents"] for row in measured)
    with costs.of("decide") as told:
        moved = each(measured, tasks.signals, shared)
        told["mb_shuffled"] = size(moved)
        merged = sorted(listed([tasks.distinct(one, shared) for one in parts(moved)]), key=lambda row: row["bucket"])
        told["documents"] = sum(row["documents"] for row in merged)
    starts = [0, *accumulate(row["documents"] for row in merged)][: len(merged)]
    with costs.of("meet") as told:
        moved = each([row | {"start": start} for row, start in zip(merged, starts, strict=True)], tasks.band_keys, shared)
        told["mb_shuffled"], told["keys"] = size(moved), sum(one.num_rows for one in moved)
        edges = listed([tasks.meet(one, shared) for one in parts(moved)])
        told["edges"] = sum(row["edges"] for row in edges)
    with costs.of("connect") as told:
        found = tasks.end_at_once(pa.Table.from_pylist(edges), shared).to_pylist()
        told["edges"] = found[0]["edges"]
    with costs.of("choose") as told:
        where, first = np.array([row["bucket"] for row in merged], np.int32), np.array(starts)
        names = {row["bucket"]: (row["texts_file"], start) for row, start in zip(merged, starts, strict=True)}
        one = each(found, tasks.members, shared, first, where)
        two = [tasks.with_texts(some, shared, names) for some in parts(one)]
        three = [tasks.represent(some, shared, first, where) for some in parts(two)]
        placed = {row["bucket"]: row["placed_file"] for row in listed([tasks.placed(some, shared) for some in parts(three)])}
        told["mb_shuffled"], told["documents"] = size(one) + size(two) + size(three), sum(some.num_rows for some in one)
    with costs.of("write") as told:
        moved = each(measured, tasks.texts, shared)
        told["mb_shuffled"] = size(moved)
        all_files = {
            row["bucket"]: (row["texts_file"], placed.get(row["bucket"], ""), start) for row, start in zip(merged, starts, strict=True)
        }
        written = listed([tasks.written(some, shared, all_files) for some in parts(moved)])
    (work / "final").mkdir()
    with costs.of("put together"):
        tables = {name: [row[f"{name}_file"] for row in written] for name in ("decisions", "clusters", "documents")}
        tables["signals"] = [row["signals_file"] for row in merged]
        each(
            [{"table": name, "path": f"{name}.parquet", "first": 0, "end": len(tables[name])} for name in tables],
            tasks.put_together,
            shared,
            work / "final",
            tables,
        )
    kept = sum(json.loads(row["tally"])["kept_bytes"].get(name, 0) for row in written for name in json.loads(row["tally"])["kept_bytes"])
    return {"profile": profile, "mb": total / 1e6, "text_mb_kept": kept / 1e6, "stages": costs.stages}


def on_ray(files: list[str], profile: str, cpus: int, folder: Path) -> dict[str, Any]:
    """CPU seconds of the driver, and of all workers of a Ray that is up already and warm, for a run."""
    import psutil
    import ray

    from lilong.floors.corpus.curation.runs import engine
    from lilong.floors.corpus.curation.runs.ray_data import run

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=1 << 30
    )

    def used() -> float:
        me = psutil.Process()
        every = [me, *me.children(recursive=True)]
        return sum(sum(one.cpu_times()[:4]) for one in every if one.is_running())

    found = {}
    for name in ("first", "second"):
        before, wall = used(), time.monotonic()
        run.curate(
            engine.Ask(files, profiles.Setup(profile), folder / name, workers=cpus), run.Spread(group_bytes=1, bucket_bytes=64 << 20)
        )
        found[name] = {"cpu_s": round(used() - before, 1), "wall_s": round(time.monotonic() - wall, 1)}
    ray.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--profile", default="fineweb")
    parser.add_argument("--ray", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="corpus-scale-"))
    try:
        found = stages(inputs.find(asked.inputs), asked.profile, folder / "work")
        if asked.ray:
            found["ray"] = on_ray(asked.inputs, asked.profile, asked.ray, folder)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
