"""Curation over Arrow tables, in this process: the verbs of `lilong corpus` for notebooks and programs.

    from lilong.floors.corpus import library

    curated = library.curate(table, profile="fineweb@datatrove-0.10")
    curated.documents, curated.decisions, curated.report["sources"]

`table` has a column `text` (or content, raw_content); source, uri, licence and retrieved_at are taken where they are there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from lilong.floors.corpus.curation.policies.comparison import Difference, Tried
    from lilong.floors.corpus.curation.policies.policy import Policy


class NoText(BadInput):
    """The table has no column of texts; it has {columns}. Call one of them `text`."""


@dataclass(frozen=True, slots=True)
class Curated:
    """What `lilong corpus curate` writes, as tables; see docs/guides/curation.md for their columns."""

    documents: pa.Table
    decisions: pa.Table
    signals: pa.Table
    clusters: pa.Table
    problems: pa.Table
    report: dict[str, Any]


def curate(table: pa.Table, profile: str, policy: str | Path | None = None, source: str = "table", workers: int = 1) -> Curated:
    """Curate the documents of a table. `policy`: a policy file, or its text. Tables are the same bytes for any order of rows.

    Raises NoText, UnknownProfile, BadPolicy.
    """
    import pyarrow.parquet as pq

    from lilong.floors.corpus.curation.reading.records import TEXT
    from lilong.floors.corpus.curation.runs.engine import Ask
    from lilong.floors.corpus.curation.runs.engine import curate as run
    from lilong.floors.corpus.curation.runs.gather import TABLES
    from lilong.floors.corpus.curation.runs.profiles import Setup

    if not set(TEXT) & set(table.column_names):
        raise NoText(columns=", ".join(table.column_names) or "none")
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "table.parquet"
        pq.write_table(table, given)
        report = run(Ask([f"{source}={given}"], Setup(profile), Path(folder) / "out", _file(policy, Path(folder)), workers))
        tables = {name: pq.read_table(Path(folder) / "out" / f"{name}.parquet") for name in TABLES}
    return Curated(report=report, **tables)


def decide(signals: pa.Table, profile: str, policy: str | Path | None = None) -> pa.Table:
    """Per row of a signals table: keep, step, reason, detail. Raises UnknownProfile, BadPolicy."""
    from lilong.floors.corpus.curation.policies import evaluation

    return evaluation.decide(_policy(profile, policy), signals).table(signals)


def try_policy(curated: Curated, policy: str | Path, samples: int = 5) -> Difference:
    """What another policy, a file or its text, would decide otherwise. Raises BadPolicy."""
    import pyarrow.compute as pc

    from lilong.floors.corpus.curation.policies.comparison import difference

    distinct = curated.decisions.filter(pc.not_equal(curated.decisions.column("reason"), "exact_duplicate"))
    profile = curated.report["run"]["profile"]
    return difference(_own(curated), _policy(profile, policy), curated.signals, distinct, samples)


def explore(curated: Curated, reason: str, limits: Sequence[float]) -> list[Tried]:
    """What other limits of the rule with this reason would drop and keep. Raises BadPolicy."""
    from lilong.floors.corpus.curation.policies.comparison import explore as tried

    return tried(_own(curated), reason, limits, curated.signals)


def explain(curated: Curated, identity: str) -> dict[str, Any]:
    """Why a document (its id) was kept or dropped, as `lilong corpus explain` tells it. Raises NoSuchDocument."""
    import pyarrow.parquet as pq

    from lilong.floors.corpus.curation.runs.results import Results

    with tempfile.TemporaryDirectory() as folder:
        for name in ("documents", "decisions", "signals", "clusters"):
            pq.write_table(getattr(curated, name), Path(folder) / f"{name}.parquet")
        return Results(Path(folder), curated.report).explain(identity)


def _own(curated: Curated) -> Policy:
    from lilong.floors.corpus.curation.policies.policy import parse_policy

    said = {key: value for key, value in curated.report["run"]["policy"].items() if key != "digest"}
    return parse_policy(said, curated.signals.column_names)


def _policy(profile: str, policy: str | Path | None) -> Policy:
    from lilong.floors.corpus.curation.runs.profiles import Setup
    from lilong.floors.corpus.curation.runs.profiles import profile as named

    with tempfile.TemporaryDirectory() as folder:
        return named(Setup(profile)).policy(_file(policy, Path(folder)))


def _file(policy: str | Path | None, folder: Path) -> Path | None:
    if policy is None or isinstance(policy, Path):
        return policy
    if "\n" not in policy and Path(policy).is_file():
        return Path(policy)
    file = folder / "policy.toml"
    file.write_text(policy, encoding="utf-8")
    return file
