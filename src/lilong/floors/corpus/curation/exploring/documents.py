"""The documents of a version: which there are, what became of each, and those among them that one looks for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lilong.floors.corpus.curation.exploring import SHOWN
from lilong.floors.corpus.curation.exploring.tables import KEPT, Coded, Keys, Rows, Table, key_column
from lilong.floors.corpus.curation.policies.policy import Policy, parse_policy
from lilong.ground.errors import BadInput, Corrupt

EXCERPT = 300
"""Characters of a text in a list."""
EXCERPT_BYTES = 64 << 20
"""Bytes of text that are unpacked to show the beginnings of the documents in a list."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which documents: all conditions hold. `verdict`: kept, dropped or '' for both; `reason`: one reason of the dropped ones."""

    verdict: str = ""
    reason: str = ""
    source: str = ""
    language: str = ""
    signal: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A document in a list; `id` is '' for a file that gave none. `text`: its beginning, or what stands around what was searched for; None where it was not opened or may not be.
    `hit`: where in it the searched words stand."""

    id: str
    source: str
    uri: str
    keep: bool
    reason: str
    detail: str
    value: float | str | None = None
    text: str | None = None
    hit: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """`of`: documents that fit, of all `documents`; `next`: where the next page begins, None at the end. `readings`: a text that was read
    twice counts twice, and files that gave no document count too; else different texts are counted."""

    lines: list[Line]
    of: int
    documents: int
    next: int | None
    readings: bool = False


@dataclass(frozen=True)
class Version:
    """The files of a version, by their names in its repository, and what of the rest is needed to read them.

    Also a folder that `lilong corpus curate` wrote: `of_run`. `review`: texts of dropped documents, for whom these may be shown.
    """

    files: Mapping[str, Path]
    policy_said: Mapping[str, Any]
    review: Path | None = None
    texts: Sequence[str] | None = None  # names in `files` of the tables with texts; None: all in data/

    @classmethod
    def of_run(cls, folder: Path) -> Version:
        report = json.loads((folder / "report.json").read_bytes())
        files = {f"tables/{name}.parquet": folder / f"{name}.parquet" for name in ("decisions", "signals", "clusters")}
        return cls(
            {**files, "data/documents.parquet": folder / "documents.parquet"}, report["run"]["policy"], None, ("data/documents.parquet",)
        )

    @cached_property
    def decisions(self) -> Table:
        return Table(self.files["tables/decisions.parquet"])

    @cached_property
    def signals(self) -> Table:
        return Table(self.files["tables/signals.parquet"])

    @cached_property
    def clusters(self) -> Table:
        return Table(self.files["tables/clusters.parquet"])

    @cached_property
    def kept_texts(self) -> list[Table]:
        every = sorted(name for name in self.files if name.startswith("data/") and name.endswith(".parquet"))
        names = every if self.texts is None else self.texts
        return [Table(self.files[name]) for name in names]

    @cached_property
    def dropped_texts(self) -> list[Table]:
        return [Table(self.review)] if self.review is not None else []

    @cached_property
    def signal_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.signals.names if name != "id")

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """Signals that are numbers."""
        schema = self.signals.metadata.schema.to_arrow_schema()
        return tuple(name for name in self.signal_names if _is_number(schema.field(name).type))

    @cached_property
    def policy(self) -> Policy:
        """The policy that decided."""
        return parse_policy({key: value for key, value in self.policy_said.items() if key != "digest"}, self.signal_names)

    @cached_property
    def frame(self) -> Frame:
        return frame(self)

    def check_signal(self, name: str, *, number: bool = False) -> None:
        """Raises BadInput."""
        known = self.number_names if number else self.signal_names
        if name not in known:
            raise BadInput(field="signal", problem=f"this version has no signal {name[:80]!r}", way_out=f"It has: {', '.join(known)}.")


@dataclass(frozen=True)
class Frame:
    """Of each different text, in the order of the signals: its key, its first row in the decisions, its source and why it was dropped."""

    keys: Keys
    first: Rows
    source: Coded
    reason: Coded

    @property
    def keep(self) -> Mask:
        kept: Mask = self.reason.codes == self.reason.number("")
        return kept


def frame(version: Version) -> Frame:
    """Raises Corrupt where decisions and signals are not of the same documents."""

    def make() -> tuple[Frame, int]:
        keys, said = version.signals.keys(), version.decisions.keys()
        first = np.searchsorted(said, keys)  # both are sorted by id; the first reading of a text stands for it
        if len(first) and (first.max() >= len(said) or (said[first] != keys).any()):
            raise Corrupt(place="tables/decisions.parquet", problem="it is not about the documents of tables/signals.parquet")
        source, reason = version.decisions.coded("source"), version.decisions.coded("reason")
        made = Frame(keys, first, Coded(source.codes[first], source.names), Coded(reason.codes[first], reason.names))
        return made, 24 * len(keys)

    return KEPT.get(("frame", version.signals.key, version.decisions.key), make)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


# --- lists ---------------------------------------------------------------------------------------------------------------


def mask(version: Version, wanted: Wanted) -> Mask:
    """Per different text whether it fits. Raises BadInput."""
    known = version.frame
    fits = np.ones(len(known.keys), np.bool_)
    if wanted.verdict:
        fits &= known.keep if wanted.verdict == "kept" else ~known.keep
    if wanted.reason:
        fits &= known.reason.codes == known.reason.number(wanted.reason)
    if wanted.source:
        fits &= known.source.codes == known.source.number(wanted.source)
    if wanted.language:
        version.check_signal("language")
        spoken = version.signals.coded("language")
        fits &= spoken.codes == spoken.number(wanted.language)
    if wanted.low is not None or wanted.high is not None:
        version.check_signal(wanted.signal, number=True)
        values = version.signals.numbers(wanted.signal)
        if wanted.low is not None:
            fits &= values >= wanted.low
        if wanted.high is not None:
            fits &= values <= wanted.high
    return fits


def listed(version: Version, wanted: Wanted, start: int = 0, sample: int = 0, limit: int = SHOWN) -> Found:
    """A page of the documents that fit, in the order of ids. With `sample` it begins somewhere else: ids are hashes, so any stretch of
    them is a fair sample, and lies in few row groups. By reason alone, readings are listed: copies and files have no signals of their own.
    Raises BadInput."""
    readings = bool(wanted.reason) and not wanted.signal and replace(wanted, low=None, high=None, language="") == wanted
    rows = _readings(version, wanted) if readings else np.flatnonzero(mask(version, wanted)).astype(np.int64)
    at = start
    if sample and len(rows):
        at = (sample * 0x9E3779B97F4A7C15 >> 8) % len(rows)
    chosen = (
        np.sort(np.take(rows, np.arange(at, at + min(limit, len(rows))), mode="wrap")) if sample and len(rows) else rows[at : at + limit]
    )
    following = at + limit if not sample and at + limit < len(rows) else None
    if readings:
        return Found(_lines(version, chosen), len(rows), version.decisions.rows, following, True)
    return Found(lines(version, chosen, wanted.signal), len(rows), len(version.frame.keys), following)


def _readings(version: Version, wanted: Wanted) -> Rows:
    """Rows of the decisions that have this reason."""
    reason, source = version.decisions.coded("reason"), version.decisions.coded("source")
    fits = reason.codes == reason.number(wanted.reason)
    if wanted.source:
        fits &= source.codes == source.number(wanted.source)
    return np.flatnonzero(fits if wanted.verdict != "kept" else fits[:0]).astype(np.int64)


def lines(version: Version, rows: Rows, signal: str = "", *, open_texts: bool = True) -> list[Line]:
    """Documents by their rows in the signals, with the beginnings of their texts as far as EXCERPT_BYTES go."""
    values: list[Any] = [None] * len(rows)
    if signal:
        version.check_signal(signal)
        values = [one[signal] for _, one in version.signals.take(rows, [signal])]
    found = _lines(version, version.frame.first[rows], open_texts=open_texts)
    return [replace(one, value=value) for one, value in zip(found, values, strict=True)]


def _lines(version: Version, rows: Rows, *, open_texts: bool = True) -> list[Line]:
    """Documents by their rows in the decisions."""
    told = [values for _, values in version.decisions.take(rows, ["id", "source", "uri", "keep", "reason", "detail"])]
    named = [one["id"] for one in told if one["id"]]
    texts = _beginnings(version, key_column(pa.array(named, pa.string()))) if open_texts else {}
    return [
        Line(one["id"] or "", one["source"], one["uri"] or "", one["keep"], one["reason"], one["detail"], text=texts.get(one["id"]))
        for one in told
    ]


def _beginnings(version: Version, keys: Keys) -> dict[str, str]:
    found: dict[str, str] = {}
    budget = EXCERPT_BYTES
    for table in (*version.kept_texts, *version.dropped_texts):
        rows = np.flatnonzero(np.isin(table.keys(), keys)).astype(np.int64)
        for _, one in table.take(rows, ["id", "text"], budget, "text"):
            found[one["id"]] = " ".join(one["text"][: 2 * EXCERPT].split())[:EXCERPT]
        budget -= sum(table.bytes_of(group, "text") for group in np.unique(np.searchsorted(table.starts, rows, "right") - 1).tolist())
    return found
