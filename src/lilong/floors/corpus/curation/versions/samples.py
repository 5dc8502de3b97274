"""A few kept documents, and a few dropped ones for every reason, with their beginnings: for people to look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.versions.families import batches

DROPPED_PER_REASON, KEPT = 5, 8
EXCERPT, LONG_EXCERPT = 240, 600
_SAMPLE = ("id", "source", "uri", "language", "licence")


@dataclass(slots=True)
class Lost:
    """A few dropped documents of each reason, the first by id and then by name."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)

    def look(self, decisions: pa.Table) -> None:
        for reason in pc.unique(decisions.column("reason")).to_pylist():
            wanted = DROPPED_PER_REASON - self.taken[reason]
            if reason and wanted > 0:
                found = decisions.filter(pc.equal(decisions.column("reason"), reason)).slice(0, wanted).to_pylist()
                self.taken[reason] += len(found)
                self.rows += found

    def told(self, signals: Path, review: Path, documents: Path) -> list[dict[str, Any]]:
        """Texts are looked up in two Parquet files: those that were dropped, and those that were kept, for exact copies of them."""
        ids = pa.array(sorted({row["id"] for row in self.rows if row["id"]}), pa.string())
        languages = _values(signals, "language", ids)
        texts = _values(review, "text", ids)
        copies = sorted({row["id"] for row in self.rows if row["reason"] == "exact_duplicate"})
        texts |= _values(documents, "text", pa.array(copies, pa.string()))
        return [
            {
                **{key: row[key] for key in ("id", "source", "uri", "reason", "detail")},
                "language": languages.get(row["id"], ""),
                "excerpt": texts.get(row["id"], "")[:EXCERPT],
            }
            for row in sorted(self.rows, key=lambda row: (row["reason"], row["id"] or "~", row["uri"]))
        ]


def _values(path: Path, column: str, ids: pa.Array) -> dict[str, str]:
    found: dict[str, str] = {}
    if len(ids) and path.exists():
        for table in batches(path, ["id", column]):
            some = table.filter(pc.is_in(table.column("id"), ids))
            found |= dict(zip(some.column("id").to_pylist(), some.column(column).to_pylist(), strict=True))
    return found


def kept(data: Path) -> list[dict[str, Any]]:
    files = sorted(data.glob("train-*.parquet")) or sorted(data.glob("heldout-*.parquet"))
    first = next(batches(files[0], [*_SAMPLE, "text"])).slice(0, KEPT).to_pylist()
    return [{**{key: row[key] for key in _SAMPLE}, "excerpt": row["text"][:LONG_EXCERPT]} for row in first]
