"""Curation over Arrow tables, in this process: the verbs of `lilong corpus` for notebooks and programs.

    from lilong.floors.corpus import library

    curated = library.curate(table, profile="fineweb@datatrove-0.10")
    curated.documents, curated.decisions, curated.report["sources"]

`table` has a column `text` (or content, raw_content); source, uri, licence and retrieved_at are taken where they are there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from lilong.floors.corpus.curation.contamination import Index, Match
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


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What `lilong corpus dedup --out` writes, as tables."""

    documents: pa.Table
    clusters: pa.Table
    pieces: pa.Table
    passages: pa.Table
    emptied: pa.Table
    report: dict[str, Any]


def dedup(
    *tables: pa.Table,
    by: Sequence[str] = ("near",),
    prefer: Sequence[Mapping[str, Any]] = ({"column": "bytes", "best": "most"},),
    copies: int = 10,
    passage: int = 100,
    model: Path | None = None,
    cosine: float = 0.95,
) -> Deduplicated:
    """What the documents of some tables (id, text; source, uri and others where they are there) have in common, and what is left of them.

    `by`: any of exact, paragraphs, lines, near, passages, meaning; `prefer` as in a policy. Raises
    NoDocuments, BadInput, NoSuffixArrays, NoEmbeddings, NoModel, TooLarge.
    """
    import pyarrow as pa

    from lilong.floors.corpus.curation.dedup.clusters import parse_preferences
    from lilong.floors.corpus.curation.runs import ladder, merging

    asked = ladder.Ladder(ladder.rungs(by), parse_preferences(prefer), copies, passage, model, cosine)
    with _written(tables) as paths:
        found = ladder.climb(paths, asked)
        documents = pa.concat_tables([merging.SCHEMA.empty_table(), *found.left()])
    return Deduplicated(documents, found.clusters, found.pieces, found.passages, found.emptied, found.report)


def index(documents: pa.Table, folder: Path) -> Index:
    """Make an index of documents (id, text) in a folder, and open it; `.ask(text)` tells what of a text stands in them."""
    from lilong.floors.corpus.curation.contamination import Builder
    from lilong.floors.corpus.curation.contamination import Index as Opened
    from lilong.floors.corpus.curation.texts import Texts

    with Builder(folder) as builder:
        builder.add(documents.column("id").to_pylist(), Texts.of(documents.column("text")))
        builder.finish()
    return Opened.open(folder)


def decontaminate(documents: pa.Table, items: Mapping[str, str | Sequence[str]]) -> tuple[pa.Table, list[Match]]:
    """The documents in which no test item stands (`items`: name → its text, or its texts), and every match; `document` is a row's number."""
    import pyarrow as pa

    from lilong.floors.corpus.curation.contamination import EvaluationSet
    from lilong.floors.corpus.curation.texts import Texts

    wanted = EvaluationSet.of(items)
    found = wanted.matches(wanted.search(Texts.of(documents.column("text"))))
    hit = {one.document for one in found}
    return documents.filter(pa.array([row not in hit for row in range(documents.num_rows)], pa.bool_())), found


def _own(curated: Curated) -> Policy:
    from lilong.floors.corpus.curation.policies.policy import parse_policy

    said = {key: value for key, value in curated.report["run"]["policy"].items() if key != "digest"}
    return parse_policy(said, curated.signals.column_names)


def _policy(profile: str, policy: str | Path | None) -> Policy:
    from lilong.floors.corpus.curation.runs.profiles import Setup
    from lilong.floors.corpus.curation.runs.profiles import profile as named

    with tempfile.TemporaryDirectory() as folder:
        return named(Setup(profile)).policy(_file(policy, Path(folder)))


@contextmanager
def _written(tables: Sequence[pa.Table]) -> Iterator[list[Path]]:
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.parquet" for number in range(len(tables))]
        for path, table in zip(paths, tables, strict=True):
            pq.write_table(table, path)
        yield paths


def _file(policy: str | Path | None, folder: Path) -> Path | None:
    if policy is None or isinstance(policy, Path):
        return policy
    if "\n" not in policy:  # no policy has one line only
        return Path(policy)
    file = folder / "policy.toml"
    file.write_text(policy, encoding="utf-8")
    return file
