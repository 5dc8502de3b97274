"""Small corpus versions for the tests: data/train-*.parquet with the columns that a published version has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tests.training.tiny import SENTENCES


def make_corpus(folder: Path, texts: Sequence[str] | None = None, *, files: int = 2) -> Path:
    """Write `texts` (by default 60 documents in two languages, about 9,000 tokens of the tiny tokenizer) and return the folder."""
    documents = (
        list(texts)
        if texts is not None
        else [" ".join(SENTENCES[(i + j) % 7] + f" ({i * j})" for j in range(1 + i % 9)) for i in range(60)]
    )
    (folder / "data").mkdir(parents=True)
    for number in range(files):
        part = documents[number::files]
        columns = {
            "text": pa.array(part, pa.string()),
            "id": [f"d{number}-{i}" for i in range(len(part))],
            "language": ["zh" if "里" in text else "en" for text in part],
            "source": ["tests"] * len(part),
        }
        pq.write_table(pa.table(columns), folder / "data" / f"train-{number:05d}.parquet")
    return folder
