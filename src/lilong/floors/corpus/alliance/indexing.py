"""The job that makes a version's membership index: `data/*.parquet` in, the index's files out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lilong.ground.work import Workspace, carry_out

_ROWS = 1_024


def make(work: Workspace) -> None:
    os.environ.setdefault("NUMBA_CACHE_DIR", str(work.state / "numba"))
    from lilong.floors.corpus.curation.contamination import Builder
    from lilong.floors.corpus.curation.texts import Texts

    files = sorted(work.input("data").rglob("*.parquet"))
    work.out.mkdir(parents=True, exist_ok=True)
    with Builder(work.out) as builder:
        for step, file in enumerate(files):
            work.progress(step, len(files), f"indexing {file.name}")
            for ids, texts in _batches(file):
                builder.add(ids, Texts.of(texts))
        digest = builder.finish()
    work.finish({"index": digest})
    work.progress(len(files), len(files), "done")


def _batches(file: Path) -> Iterator[tuple[list[str], object]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(_ROWS, columns=["id", "text"], use_threads=False):
            table = pa.Table.from_batches([batch])
            yield table.column("id").to_pylist(), table.column("text")


if __name__ == "__main__":
    raise SystemExit(carry_out(make))
