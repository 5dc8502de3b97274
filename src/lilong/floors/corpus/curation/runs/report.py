"""What a run did, counted: by source, by reason, and what could not be read."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.curation.policies.policy import Policy

_NAMED = 100
"""Problems that the report itself names; all are in problems.parquet."""


class Tally:
    """Counts that are added up bucket by bucket, and so depend on no order."""

    def __init__(self) -> None:
        self._read: Counter[tuple[str, str, str]] = Counter()  # source, step, reason -> documents
        self._bytes: Counter[str] = Counter()
        self._kept_bytes: Counter[str] = Counter()
        self._distinct = 0
        self._clusters = {"clusters": 0, "documents": 0, "largest": 0}
        self.problems: pa.Table = pa.table({})

    def count(self, decisions: pa.Table, sizes: pa.ChunkedArray, documents: pa.Table, clusters: Mapping[str, int]) -> None:
        """Decisions of some readings, row by row the bytes of their texts, what is kept of them, and the clusters that begin there."""
        for row in decisions.group_by(["source", "step", "reason"]).aggregate([([], "count_all")]).to_pylist():
            self._read[row["source"], row["step"], row["reason"]] += row["count_all"]
        self._distinct += pc.sum(pc.not_equal(decisions.column("reason"), "exact_duplicate")).as_py() or 0
        _add(self._bytes, decisions.column("source"), sizes)
        _add(self._kept_bytes, documents.column("source"), pc.binary_length(documents.column("text")))
        self._add_clusters(clusters)

    def counts(self) -> dict[str, Any]:
        """What was counted, as JSON for `add`."""
        read = [[*key, number] for key, number in sorted(self._read.items())]
        sizes = {"bytes": dict(self._bytes), "kept_bytes": dict(self._kept_bytes)}
        return {"read": read, **sizes, "distinct": self._distinct, "clusters": self._clusters}

    def add(self, counts: Mapping[str, Any]) -> None:
        """What another one counted."""
        for source, step, reason, number in counts["read"]:
            self._read[source, step, reason] += number
        self._bytes.update(counts["bytes"])
        self._kept_bytes.update(counts["kept_bytes"])
        self._distinct += counts["distinct"]
        self._add_clusters(counts["clusters"])

    def _add_clusters(self, found: Mapping[str, int]) -> None:
        largest = max(self._clusters["largest"], found["largest"])
        self._clusters = {key: number + found[key] for key, number in self._clusters.items()} | {"largest": largest}

    def report(self, run: dict[str, Any], policy: Policy, folder: Path, tables: Sequence[str]) -> dict[str, Any]:
        """The report as JSON. It holds no time and nothing of this machine, so that the same run gives the same bytes."""
        read, kept = sum(self._read.values()), sum(number for (_, step, _), number in self._read.items() if not step)
        return {
            "run": run,
            "documents": {"read": read, "distinct": self._distinct, "kept": kept, "dropped": read - kept},
            "bytes": {"read": sum(self._bytes.values()), "kept": sum(self._kept_bytes.values())},
            "dropped": self._reasons(policy),
            "sources": self._sources(),
            "clusters": self._clusters,
            "problems": self._problems(),
            "tables": {name: _table(folder / f"{name}.parquet") for name in tables},
            "software": {
                "lilong": version("lilong"),
                "python": sys.version.split()[0],
                "numpy": version("numpy"),
                "pyarrow": version("pyarrow"),
            },
        }

    def _reasons(self, policy: Policy) -> list[dict[str, Any]]:
        """Steps and reasons in the order in which they are asked, with how many documents each dropped; also those that dropped none."""
        asked = dict.fromkeys(
            ("duplicates" if rule is None else rule.step, "exact_duplicate" if rule is None else rule.reason)
            for rule in (None, *policy.rules)
        )
        counted: Counter[tuple[str, str]] = Counter()
        for (_, step, reason), number in self._read.items():
            if step:
                counted[step, reason] += number
        order = list(dict.fromkeys([*asked, ("duplicates", "near_duplicate")]))
        return [{"step": step, "reason": reason, "documents": counted[step, reason]} for step, reason in order]

    def _sources(self) -> list[dict[str, Any]]:
        found = []
        for source in sorted({source for source, _, _ in self._read}):
            reasons = {reason: number for (name, step, reason), number in sorted(self._read.items()) if name == source and step}
            read = sum(number for (name, _, _), number in self._read.items() if name == source)
            kept = read - sum(reasons.values())
            found.append({
                "source": source, "documents": read, "kept": kept, "pass_rate": round(kept / read, 4), "bytes": self._bytes[source],
                "kept_bytes": self._kept_bytes[source], "dropped": reasons,
            })  # fmt: skip
        return found

    def _problems(self) -> dict[str, Any]:
        lost, skipped = self.problems.column("lost"), self.problems.column("skipped")
        count = {"lost": _true(lost), "skipped": _true(skipped)}
        broken = self.problems.num_rows - count["lost"] - count["skipped"]
        worst = self.problems.sort_by([("lost", "descending"), ("skipped", "ascending"), ("source", "ascending"), ("uri", "ascending")])
        return {"broken": broken, **count, "named": worst.slice(0, _NAMED).to_pylist()}


def _true(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def _add(counter: Counter[str], sources: pa.ChunkedArray, sizes: pa.ChunkedArray) -> None:
    for row in pa.table({"source": sources, "bytes": sizes}).group_by("source").aggregate([("bytes", "sum")]).to_pylist():
        counter[row["source"]] += row["bytes_sum"]


def _table(path: Path) -> dict[str, Any]:
    """Of a table in several files, `sha256` is that of their digests, a line each."""
    if path.is_dir():
        parts = [_table(one) for one in sorted(path.glob("*.parquet"))]
        lines = "".join(f"{one['sha256']}\n" for one in parts)
        counted = {key: sum(one[key] for one in parts) for key in ("rows", "bytes")}
        return {**counted, "files": len(parts), "sha256": hashlib.sha256(lines.encode()).hexdigest()}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"rows": pq.read_metadata(path).num_rows, "bytes": path.stat().st_size, "sha256": digest}
