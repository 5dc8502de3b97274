"""From a finished run of the engine to the files of a version. Nothing here needs more memory than ids, and the documents of a few row groups."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.contract import EmptyCorpus
from lilong.floors.corpus.curation.policies.policy import Policy
from lilong.floors.corpus.curation.recipe import Recipe
from lilong.floors.corpus.curation.runs.bucket import DECISIONS
from lilong.floors.corpus.curation.versions.accounts import Accounts, contributions
from lilong.floors.corpus.curation.versions.documents import GROUP_BYTES, Split, Written, write
from lilong.floors.corpus.curation.versions.families import batches, families
from lilong.floors.corpus.curation.versions.samples import Lost, kept
from lilong.floors.corpus.curation.versions.sources import STEPS, TAKEN_DOWN, Source
from lilong.floors.corpus.curation.writing.tables import TableFile


@dataclass(frozen=True, slots=True)
class Ask:
    """What a version is made of: the engine's run in the folder `run`, its sources, and ids of documents that were taken down."""

    run: Path
    out: Path
    scratch: Path
    sources: Sequence[Source]
    recipe: Recipe
    policy: Policy
    taken_down: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """What stands in a version, counted; and a few documents for people to look at. `personal`: finds in kept documents, by kind."""

    accounts: Accounts
    contributions: pa.Table
    written: Written
    personal: dict[str, int]
    samples: dict[str, list[dict[str, Any]]]


def make(ask: Ask) -> Made:
    """Write data/, tables/, review/ and report.json of a version. The same run and recipe give the same bytes. Raises EmptyCorpus."""
    for folder in ("data", "tables"):
        (ask.out / folder).mkdir(parents=True, exist_ok=True)
    alike = pq.read_table(ask.run / "clusters.parquet")
    gone = _gone(ask.taken_down, alike)
    alike = _others(alike, gone)
    documents = ask.run / "documents.parquet"
    if len(gone):
        documents = _copied(documents, ask.scratch / "documents.parquet", gone)
    review = ask.out / "review" / "dropped.parquet"
    if (ask.run / "dropped.parquet").exists():
        review.parent.mkdir(exist_ok=True)
        _copied(ask.run / "dropped.parquet", review, gone)
    accounts, lost = Accounts(ask.sources), Lost()
    _decisions(ask, gone, accounts, lost)
    if not pq.read_metadata(documents).num_rows:
        raise EmptyCorpus(documents=accounts.reasons.total(), reasons=_most(accounts.dropped()))
    personal = _signals(ask, accounts)
    found = Split.of(documents, families(documents, alike, ask.recipe, ask.scratch), ask.recipe.held_out, ask.recipe.seed)
    steps = [*(["mask"] if ask.recipe.mask else []), f"{ask.policy.name}@{ask.policy.version}"]
    written = write(documents, ask.out / "data", found, {one.name: one.contributor for one in ask.sources}, steps)
    for rows in written.rows:
        accounts.kept_rows(rows)
    report = json.loads((ask.run / "report.json").read_bytes())
    given = contributions(accounts, {one["source"]: one["bytes"] for one in report["sources"]}, pa.concat_tables(written.rows), alike)
    for name, table in (("sources", accounts.table()), ("contributions", given), ("clusters", found.clusters(alike))):
        with TableFile(ask.out / "tables" / f"{name}.parquet") as out:
            out.write(table)
    samples = {"kept": kept(ask.out / "data"), "dropped": lost.told(ask.run / "signals.parquet", review, documents)}
    _report(ask, report, accounts, written)
    return Made(accounts, given, written, personal, samples)


def _gone(ids: Sequence[str], alike: pa.Table) -> pa.Array:
    """What a takedown of these ids removes: the documents, and their near duplicates, which would else come in their place."""
    named = pa.array(sorted(set(ids)), pa.string())
    found = pc.unique(alike.filter(pc.is_in(alike.column("id"), named)).column("cluster"))
    near = alike.filter(pc.is_in(alike.column("cluster"), found)).column("id")
    return pc.unique(pa.chunked_array([named, *near.chunks], pa.string()))


def _others(table: pa.Table, gone: pa.Array) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table.column("id"), gone)))


def _copied(source: Path, target: Path, gone: pa.Array) -> Path:
    """A copy of a Parquet file of texts, without rows of these ids."""
    schema = pq.read_schema(source)
    with TableFile(target, sized="text", group=GROUP_BYTES) as out:
        out.write(schema.empty_table())
        for table in batches(source, schema.names):
            out.write(_others(table, gone))
    return target


def _decisions(ask: Ask, gone: pa.Array, accounts: Accounts, lost: Lost) -> None:
    """tables/decisions: the engine's, with what was taken down since; then files that gave no document."""
    with TableFile(ask.out / "tables" / "decisions.parquet") as out:
        for table in batches(ask.run / "decisions.parquet", DECISIONS.names):
            _tell(_taken_down(table, gone) if len(gone) else table, out, accounts, lost)
        for table in batches(ask.run / "problems.parquet", ["source", "uri", "reason", "problem"]):
            reasons = table.column("reason").combine_chunks()
            at = pc.index_in(reasons, pa.array(list(STEPS), pa.string()))
            steps = pc.fill_null(pa.array(list(STEPS.values()), pa.string()).take(at), "reading")
            columns = {
                "id": pa.nulls(len(table), pa.string()), "source": table.column("source"), "keep": pa.array([False] * len(table)), "step": steps,
                "reason": reasons, "detail": table.column("problem"), "uri": table.column("uri"),
            }  # fmt: skip
            _tell(pa.table([columns[name] for name in DECISIONS.names], schema=DECISIONS), out, accounts, lost)


def _tell(table: pa.Table, out: TableFile, accounts: Accounts, lost: Lost) -> None:
    out.write(table)
    accounts.decided(table)
    lost.look(table)


def _taken_down(table: pa.Table, gone: pa.Array) -> pa.Table:
    """Of a text that is there more than once, the copies stay copies."""
    here = pc.and_(pc.is_in(table.column("id"), gone), pc.not_equal(table.column("reason"), "exact_duplicate"))
    said = {
        "keep": False,
        "step": STEPS[TAKEN_DOWN],
        "reason": TAKEN_DOWN,
        "detail": "it was taken down, or is a near duplicate of what was",
    }
    for name, value in said.items():
        at = table.column_names.index(name)
        table = table.set_column(at, DECISIONS.field(name), pc.if_else(here, value, table.column(name)))
    return table


def _signals(ask: Ask, accounts: Accounts) -> dict[str, int]:
    """tables/signals as the engine wrote it; answers the finds of personal data in what is kept."""
    path = ask.run / "signals.parquet"
    shutil.copyfile(path, ask.out / "tables" / "signals.parquet")
    names = pq.read_schema(path).names
    finds = [name for name in names if name.startswith("pii_")]
    wanted = ["language", *(["bytes"] if "bytes" in names else []), *finds]
    total = Counter({name.removeprefix("pii_"): 0 for name in finds})
    decided = _distinct(ask.out / "tables" / "decisions.parquet")
    held = next(decided, None)
    for signals in batches(path, wanted):
        parts = []
        missing = len(signals)
        while missing:
            assert held is not None
            parts.append(held.slice(0, missing))
            missing -= len(parts[-1])
            held = held.slice(len(parts[-1]))
            if not len(held):
                held = next(decided, None)
        rows = pa.concat_tables(parts).combine_chunks()
        accounts.measured(rows.column("source"), signals)
        for name in finds:
            total[name.removeprefix("pii_")] += pc.sum(signals.column(name).filter(rows.column("keep"))).as_py() or 0
    return dict(total)


def _distinct(decisions: Path) -> Iterator[pa.Table]:
    """keep and source of each different text, in the order of the signals."""
    for table in batches(decisions, ["id", "source", "keep", "reason"]):
        some = table.filter(pc.and_(pc.is_valid(table.column("id")), pc.not_equal(table.column("reason"), "exact_duplicate")))
        if len(some):
            yield some.select(["source", "keep"])


def _report(ask: Ask, report: dict[str, Any], accounts: Accounts, written: Written) -> None:
    """The engine's report, about the tables that are published."""
    paths = sorted(path for folder in ("data", "tables") for path in (ask.out / folder).glob("*.parquet"))
    report["tables"] = {path.relative_to(ask.out).as_posix().removesuffix(".parquet"): _file(path) for path in paths}
    count = sum(one["documents"] for one in written.splits.values())
    report["documents"] |= {"kept": count, "dropped": report["documents"]["read"] - count}
    report["bytes"]["kept"] = sum(one["bytes"] for one in written.splits.values())
    if ask.taken_down:
        _without_the_taken_down(report, accounts)
    text = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False)
    (ask.out / "report.json").write_text(text + "\n", encoding="utf-8")


def _without_the_taken_down(report: dict[str, Any], accounts: Accounts) -> None:
    """What the engine counted before anything was taken down, counted again."""
    reasons = Counter[tuple[str, str]]()
    for (_, step, reason), number in accounts.decisions.items():
        reasons[step, reason] += number
    report["dropped"] = [{**one, "documents": reasons[one["step"], one["reason"]]} for one in report["dropped"]]
    report["dropped"].append({"step": STEPS[TAKEN_DOWN], "reason": TAKEN_DOWN, "documents": reasons[STEPS[TAKEN_DOWN], TAKEN_DOWN]})
    for one in report["sources"]:
        sizes = accounts.sizes(one["source"])
        lost = {
            why: number for (source, step, why), number in sorted(accounts.decisions.items()) if source == one["source"] and step and number
        }
        one |= {"kept": len(sizes), "pass_rate": round(len(sizes) / one["documents"], 4), "kept_bytes": int(sizes.sum()), "dropped": lost}


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"rows": pq.read_metadata(path).num_rows, "bytes": path.stat().st_size, "sha256": digest}


def _most(reasons: Counter[str], count: int = 3) -> str:
    return ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common(count)) or "there were no documents"
