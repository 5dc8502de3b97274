"""Who gave what, and what it was worth: a score card for each source, and what each contributor has added."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation import licences
from lilong.floors.corpus.curation.runs.bucket import COPIES
from lilong.floors.corpus.curation.versions.sources import Source

PERCENTILES = (10, 50, 90)
_LANGUAGES = 5


@dataclass(slots=True)
class Accounts:
    """Counts that are added up table by table, and so depend on no order."""

    sources: Sequence[Source]
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # source, step, reason ('' where kept) -> files and documents
    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # the same, of documents alone
    texts: Counter[str] = field(default_factory=Counter)  # source -> different texts, and their bytes
    text_bytes: Counter[str] = field(default_factory=Counter)
    personal: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, kind -> finds
    spoken: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, language -> different texts
    kept: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=lambda: defaultdict(list))  # source -> bytes of each document

    def decided(self, decisions: pa.Table) -> None:
        """Rows of decisions, those of files that gave no document included (their id is null)."""
        for row in decisions.group_by(["source", "step", "reason"]).aggregate([("id", "count"), ([], "count_all")]).to_pylist():
            self.reasons[row["source"], row["step"], row["reason"]] += row["count_all"]
            self.decisions[row["source"], row["step"], row["reason"]] += row["id_count"]

    def read(self, source: str) -> int:
        """Documents that were read from a source."""
        return sum(number for (name, _, _), number in self.decisions.items() if name == source)

    def measured(self, sources: pa.ChunkedArray, signals: pa.Table) -> None:
        """Signals of different texts, and the source of each."""
        finds = [name for name in signals.column_names if name.startswith("pii_")]
        table = signals.select(["language", *(["bytes"] if "bytes" in signals.column_names else []), *finds]).append_column(
            "source", sources
        )
        for row in table.group_by(["source", "language"]).aggregate([([], "count_all")]).to_pylist():
            self.spoken[row["source"], row["language"]] += row["count_all"]
            self.texts[row["source"]] += row["count_all"]
        sums = [(name, "sum") for name in table.column_names if name not in ("language", "source")]
        for row in table.group_by("source").aggregate(sums).to_pylist():
            self.text_bytes[row["source"]] += row.get("bytes_sum", 0)
            for name in finds:
                self.personal[row["source"], name] += row[f"{name}_sum"]

    def kept_rows(self, documents: pa.Table) -> None:
        """source and bytes of kept documents."""
        codes = documents.column("source").combine_chunks().dictionary_encode()
        for code, name in enumerate(codes.dictionary.to_pylist()):
            self.kept[name].append(documents.column("bytes").to_numpy()[codes.indices.to_numpy() == code])

    def sizes(self, source: str) -> npt.NDArray[np.int64]:
        """Bytes of each document that is kept of a source."""
        return np.concatenate([np.zeros(0, np.int64), *self.kept[source]])

    def dropped(self) -> Counter[str]:
        """Reason -> files and documents."""
        found = Counter[str]()
        for (_, step, reason), number in self.reasons.items():
            found.update({reason: number} if step else {})
        return found

    def table(self) -> pa.Table:
        """tables/sources: where each source came from, under which licence, and its score card."""
        return pa.Table.from_pylist([{**_said(one), **self._card(one.name)} for one in self.sources], schema=SOURCES)

    def _card(self, name: str) -> dict[str, Any]:
        def lost(step: str = "", reason: str = "") -> int:
            return sum(
                number for (source, at, why), number in self.reasons.items()
                if source == name and at and (not step or at == step) and (not reason or why == reason)
            )  # fmt: skip

        lengths = np.sort(self.sizes(name))
        read, finds = self.read(name), sum(number for (source, _), number in self.personal.items() if source == name)
        mix = sorted(
            ((number, spoken) for (source, spoken), number in self.spoken.items() if source == name), key=lambda one: (-one[0], one[1])
        )
        points = {f"bytes_p{q}": int(lengths[(len(lengths) - 1) * q // 100]) if len(lengths) else None for q in PERCENTILES}
        return {
            "documents": len(lengths), "bytes": int(lengths.sum()), "dropped": lost(), "files": len(lengths) + lost(), "read": read,
            "pass_rate": _share(len(lengths), read), "exact_duplicate_share": _share(lost(COPIES, "exact_duplicate"), read),
            "near_duplicate_share": _share(lost(COPIES, "near_duplicate"), read), "texts": self.texts[name], "personal": finds,
            "personal_per_mb": round(finds / self.text_bytes[name] * 1e6, 2) if self.text_bytes[name] else None, **points,
            "languages": [{"language": spoken, "texts": number} for number, spoken in mix[:_LANGUAGES]],
        }  # fmt: skip


SOURCES = pa.schema(
    [(name, pa.string()) for name in ("name", "package", "version", "licence", "evidence")]
    + [("evidence_start", pa.int64()), ("evidence_end", pa.int64())]
    + [(name, pa.string()) for name in ("archive", "digest", "origin", "contributor", "retrieved_at", "terms")]
    + [(name, pa.int64()) for name in ("documents", "bytes", "dropped", "files", "read")]
    + [(name, pa.float64()) for name in ("pass_rate", "exact_duplicate_share", "near_duplicate_share")]
    + [("texts", pa.int64()), ("personal", pa.int64()), ("personal_per_mb", pa.float64())]
    + [(f"bytes_p{q}", pa.int64()) for q in PERCENTILES]
    + [("languages", pa.list_(pa.struct([("language", pa.string()), ("texts", pa.int64())])))]
)
"""`documents`, `bytes`: kept · `files`: seen · `read`: documents read from them, of which `texts` are different · `pass_rate`: kept of read · `personal`:
finds of personal data in the different texts, `personal_per_mb` of which · `bytes_p10`…: lengths of kept documents · `languages`: of the texts."""


def _said(source: Source) -> dict[str, Any]:
    return {
        "name": source.name, "package": source.package, "version": source.version, "licence": source.licence or licences.NO_ASSERTION,
        "evidence": f"licences/{source.name}.txt" if source.evidence.strip() else "", "evidence_start": source.evidence_start,
        "evidence_end": source.evidence_end, "archive": source.archive, "digest": source.digest, "origin": source.origin,
        "contributor": source.contributor, "retrieved_at": source.retrieved_at, "terms": source.terms,
    }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


CONTRIBUTIONS = pa.schema(
    [("contributor", pa.string())]
    + [(name, pa.int64()) for name in (
        "sources", "offered_documents", "offered_bytes", "kept_documents", "kept_bytes", "own_copies", "others_copies", "unique_documents", "unique_bytes",
    )]
)  # fmt: skip
"""`offered`: documents read from its sources · `own_copies`, `others_copies`: documents dropped as copies or near duplicates of one of its own, or
of another contributor's · `unique`: kept documents in whose cluster no other contributor has one."""


def contributions(accounts: Accounts, offered: Mapping[str, int], kept: pa.Table, alike: pa.Table) -> pa.Table:
    """A row for each contributor. `offered`: bytes read by source; `kept`: id, source and bytes of each kept document; `alike`: rows of
    clusters.parquet. Of equal texts, the first by source and path counts as the original."""
    by = {one.name: one.contributor for one in accounts.sources}
    rows = {name: Counter[str]() for name in sorted(set(by.values()))}
    for one in accounts.sources:
        row = rows[one.contributor]
        row.update(sources=1, offered_documents=accounts.read(one.name), offered_bytes=offered.get(one.name, 0))
        sizes = accounts.sizes(one.name)
        row.update(kept_documents=len(sizes), kept_bytes=int(sizes.sum()))
    for mine, theirs, number in _copies(alike, by):
        rows[mine]["own_copies" if mine == theirs else "others_copies"] += number
    shared = _shared(alike, by)
    alone = kept.filter(pc.invert(pc.is_in(kept.column("id"), shared)))
    for row in alone.group_by("source").aggregate([("bytes", "sum"), ([], "count_all")]).to_pylist():
        rows[by[row["source"]]].update(unique_documents=row["count_all"], unique_bytes=row["bytes_sum"])
    return pa.Table.from_pylist(
        [{"contributor": name, **{one: row[one] for one in CONTRIBUTIONS.names[1:]}} for name, row in rows.items()], CONTRIBUTIONS
    )


def _contributor(sources: Any, by: Mapping[str, str]) -> Any:
    names = pa.array(list(by), pa.string())
    return pa.array(list(by.values()), pa.string()).take(pc.index_in(sources.combine_chunks(), names))


def _copies(alike: pa.Table, by: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Contributors of copies and of what they are copies of, with how many there are."""
    table = pa.table(
        {"representative": alike.column("representative"), "kept": alike.column("kept"), "mine": _contributor(alike.column("source"), by)}
    )
    originals = table.filter(table.column("kept"))
    place = pc.index_in(table.column("representative"), originals.column("representative").combine_chunks())
    table = table.append_column("theirs", originals.column("mine").combine_chunks().take(place.combine_chunks()))
    found = table.filter(pc.invert(table.column("kept"))).group_by(["mine", "theirs"]).aggregate([([], "count_all")])
    return [(row["mine"], row["theirs"], row["count_all"]) for row in found.to_pylist() if row["theirs"] is not None]


def _shared(alike: pa.Table, by: Mapping[str, str]) -> pa.Array:
    """Ids of those who speak for clusters to which several contributors have given."""
    table = pa.table({"representative": alike.column("representative"), "mine": _contributor(alike.column("source"), by)})
    counted = table.group_by("representative").aggregate([("mine", "count_distinct")])
    return counted.filter(pc.greater(counted.column("mine_count_distinct"), 1)).column("representative").combine_chunks()
