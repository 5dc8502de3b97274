"""Reads the documents of a corpus version: Parquet shards `data/heldout-*.parquet` and `data/train-*.parquet` (pyarrow)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lilong.floors.evaluation.contract import TooFewItems
from lilong.ground.blobs import digest_of_file
from lilong.ground.errors import BadInput

# What a column may be called; the first one present is taken.
TEXT, IDS, CLUSTERS, LANGUAGES = ("text",), ("id",), ("family", "cluster"), ("language",)
ROWS = 512


@dataclass(frozen=True, slots=True)
class Document:
    """`cluster` gathers documents that depend on each other: the corpus' families (near-duplicates, other formats and translations of one
    page), else its clusters of near-duplicates; a document of neither is its own.
    """

    id: str
    cluster: str
    language: str
    text: str


def shards(corpus: Path, split: str) -> list[Path]:
    """The files of a split, in order of name. Raises TooFewItems when there are none."""
    paths = sorted((corpus / "data").glob(f"{split}-*.parquet"))
    if not paths:
        raise TooFewItems(f"the split '{split}' of the corpus (data/{split}-*.parquet)", 0, 1)
    return paths


def shard_digests(corpus: Path, split: str) -> dict[str, str]:
    return {f"data/{path.name}": digest_of_file(path).digest for path in shards(corpus, split)}


def documents(corpus: Path, split: str) -> Iterator[Document]:
    """All documents of a split, in the order of the files."""
    import pyarrow.parquet

    for path in shards(corpus, split):
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            chosen = [next((name for name in wanted if name in names), None) for wanted in (TEXT, IDS, CLUSTERS, LANGUAGES)]
            if chosen[0] is None:
                raise BadInput(
                    field="corpus", problem=f"data/{path.name} has no column 'text'", way_out="Give a corpus version made by the house."
                )
            row = 0
            for batch in file.iter_batches(ROWS, columns=[name for name in chosen if name]):
                columns = [batch.column(name).to_pylist() if name else [None] * batch.num_rows for name in chosen]
                for text, id, cluster, language in zip(*columns, strict=True):
                    name = str(id) if id is not None else f"{path.name}:{row}"
                    yield Document(name, name if cluster is None else str(cluster), str(language or ""), text or "")
                    row += 1


def count(corpus: Path, split: str) -> int:
    import pyarrow.parquet

    return sum(int(pyarrow.parquet.read_metadata(path).num_rows) for path in shards(corpus, split))
