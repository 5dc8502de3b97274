"""The ladder of deduplication over documents of finished runs, each rung on what the one before it left.

exact, paragraphs, lines, near, passages, meaning: three rungs find documents that are alike and leave one of each cluster; three find
parts that documents share and take these out. Documents are taken in the order of (id, source, uri), so the tables do not depend on how
they came. Texts are read again for every rung and never held, but for passages, which are looked for in all of them at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.dedup import clusters, lines, semantic, substring
from lilong.floors.corpus.curation.dedup.shingles import Near
from lilong.floors.corpus.curation.runs import durable
from lilong.floors.corpus.curation.runs.merging import SCHEMA, Documents
from lilong.floors.corpus.curation.runs.pieces import NAMED, PIECES, Shared, beginning
from lilong.floors.corpus.curation.runs.progress import Progress, Silent
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.writing.tables import TableFile
from lilong.ground.errors import BadInput

Rung = Literal["exact", "paragraphs", "lines", "near", "passages", "meaning"]
RUNGS: tuple[Rung, ...] = ("exact", "paragraphs", "lines", "near", "passages", "meaning")
PASSAGES = pa.schema([*NAMED, ("start", pa.int64()), ("end", pa.int64()), ("of", pa.string()), ("at", pa.int64()), ("text", pa.string())])
EMPTIED = pa.schema([*NAMED, ("step", pa.string())])
_COUNTED = 32
_DOING = {
    "exact": "looking for exact copies", "paragraphs": "looking for shared paragraphs", "lines": "looking for shared lines",
    "near": "looking for near duplicates", "passages": "looking for repeated passages", "meaning": "comparing meanings",
}  # fmt: skip
_UNITS: dict[str, lines.Unit] = {"paragraphs": "paragraph", "lines": "line"}
Mask = npt.NDArray[np.bool_]
Stream = Callable[[], Iterator[pa.Table]]


@dataclass(frozen=True, slots=True)
class Ladder:
    """What is looked for. `copies`: a line or paragraph in more documents than this is taken out of all but
    the first. `passage`: bytes of the shortest
    repeated passage. `cosine`: from which on two documents mean the same to the static embeddings in the folder `model`."""

    rungs: tuple[Rung, ...] = ("exact", "near")
    prefer: tuple[clusters.Preference, ...] = (clusters.Preference("bytes", "most"),)
    copies: int = 10
    passage: int = substring.LEAST
    model: Path | None = None
    cosine: float = 0.95

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise BadInput(field="copies", problem=f"{self.copies} is no number of documents", way_out="Give 1 or more.")
        if "meaning" in self.rungs and self.model is None:
            way_out = "Name the folder of a model2vec model (--model). Nothing is downloaded."
            raise BadInput(field="model", problem="to compare by meaning, a model is needed", way_out=way_out)


@dataclass(slots=True)
class Found:
    """What the ladder found: the tables (see their schemas; clusters has CLUSTER_COLUMNS), the documents that are left, and the counts."""

    clusters: pa.Table
    pieces: pa.Table
    passages: pa.Table
    emptied: pa.Table
    left: Stream
    report: dict[str, Any]


def rungs(named: Sequence[str]) -> tuple[Rung, ...]:
    """Rungs by their names, in the order of the ladder; what is unknown raises BadInput."""
    unknown = set(named) - set(RUNGS)
    if unknown:
        raise BadInput(field="by", problem=f"'{min(unknown)}' is not known", way_out=f"Use any of: {', '.join(RUNGS)}.")
    return tuple(rung for rung in RUNGS if rung in named or rung == "exact")


def climb(paths: Sequence[Path], ladder: Ladder, progress: Progress | None = None) -> Found:
    """Carry out a ladder's rungs. Raises NoDocuments, BadInput, NoSuffixArrays, NoEmbeddings, NoModel, TooLarge."""
    _needed(ladder)
    progress = progress or Silent()
    progress.begin("reading what there is", 0)
    climbing = _Climbing(Documents.of(paths, [one.column for one in ladder.prefer]), ladder, progress)
    for rung in rungs(ladder.rungs):
        climbing.step(rung)
    return climbing.found()


def write(found: Found, out: Path) -> None:
    """The documents that are left and the tables of what was found, into a folder: all at once, when all are whole."""
    with durable.folder_beside(out) as part:
        for name in ("clusters", "pieces", "passages", "emptied"):
            with TableFile(part / f"{name}.parquet") as file:
                file.write(getattr(found, name))
        with TableFile(part / "documents.parquet", sized="text") as file:
            file.write(SCHEMA.empty_table())
            for table in found.left():
                file.write(table)
        durable.write_json(part / "dedup.json", found.report)


def _needed(ladder: Ladder) -> None:
    """What is missing is told before anything is read."""
    if "passages" in ladder.rungs:
        substring.check(ladder.passage)
    if "meaning" in ladder.rungs and ladder.model is not None:
        semantic.check(ladder.model, ladder.cosine)


@dataclass(slots=True)
class _Climbing:
    """`alive`: documents that speak for their cluster and have some text left; `component`: the first row of each one's cluster; `near`:
    the same before meanings were compared."""

    documents: Documents
    ladder: Ladder
    progress: Progress
    alive: Mask = field(init=False)
    component: clusters.Rows = field(init=False)
    near: clusters.Rows = field(init=False)
    keys: clusters.Keys = field(init=False)
    stream: Stream = field(init=False)
    sizes: npt.NDArray[np.int64] = field(init=False)
    doing: str = ""
    giants: list[clusters.Giant] = field(default_factory=list)
    tables: dict[str, list[pa.Table]] = field(default_factory=lambda: {"pieces": [], "passages": [], "emptied": []})
    steps: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.documents.rows.num_rows
        self.sizes = self.documents.rows.column("bytes").to_numpy().astype(np.int64)
        self.alive = np.ones(count, bool)
        self.component = self.near = np.arange(count)
        self.keys = np.zeros((count, 0), np.uint64)
        self.stream = self.documents.tables

    def step(self, rung: Rung) -> None:
        before = int(self.alive.sum())
        self.doing = _DOING[rung]
        {
            "exact": self._exact, "paragraphs": lambda: self._pieces("paragraphs"), "lines": lambda: self._pieces("lines"),
            "near": self._near, "passages": self._passages, "meaning": self._meaning,
        }[rung]()  # fmt: skip
        self.steps.append({"step": rung, "documents": before, "left": int(self.alive.sum())})

    def texts(self) -> Iterator[tuple[npt.NDArray[np.int64], Texts]]:
        """Rows and texts of what is left, some at a time."""
        first = 0
        self.progress.begin(self.doing, int(self.sizes[self.alive].sum()))
        for table in self.stream():
            rows = first + np.flatnonzero(self.alive[first : first + table.num_rows])
            if len(rows):
                yield rows, Texts.of(table.column("text").take(pa.array(rows - first)))
                self.progress.advance(int(self.sizes[rows].sum()), len(rows))
            first += table.num_rows

    def _join(self, component: clusters.Rows) -> None:
        """Rows of one component are one cluster from here on, and one of them stays."""
        self.component = component
        chosen = clusters.representatives(component, self.documents.rows, self.ladder.prefer)
        self.alive &= chosen == np.arange(len(chosen))

    def _exact(self) -> None:
        ids = clusters.numbered(self.documents.rows.column("id"))
        component, _ = clusters.components(len(ids), 0, lambda band: self.keys[:, band], ids)
        self._join(component)
        self.near = component

    def _near(self) -> None:
        near = Near()
        self.keys = np.zeros((len(self.alive), near.banding.bands), np.uint64)
        for rows, texts in self.texts():
            self.keys[rows] = near.keys(texts)
        component, self.giants = clusters.components(len(self.alive), self.keys.shape[1], lambda band: self.keys[:, band])
        self._join(_united(self.component, component))
        self.near = self.component

    def _meaning(self) -> None:
        assert self.ladder.model is not None
        rows, vectors = [np.zeros(0, np.int64)], []
        model = semantic.Model(self.ladder.model)
        for these, texts in self.texts():
            rows.append(these)
            vectors.append(model.embed(list(texts)))
        every = np.concatenate(rows)
        if len(every):
            component = np.arange(len(self.alive))
            component[every] = every[semantic.groups(np.concatenate(vectors), self.ladder.cosine)]
            self._join(_united(self.component, component))

    def _pieces(self, rung: str) -> None:
        unit = _UNITS[rung]
        counted: list[lines.Counted] = []
        for _, texts in self.texts():
            counted.append(lines.Counted.of(lines.pieces(texts, unit)))
            if len(counted) == _COUNTED:
                counted = [lines.Counted.merged(counted)]
        whole = lines.Counted.merged(counted)
        pieces = Shared.of(self.texts(), unit, whole.shared(self.ladder.copies))
        documents = whole.documents[np.searchsorted(whole.hashes, pieces.hashes)]
        self.tables["pieces"].append(pieces.table(documents, self.documents.rows))
        self._rewrite(rung, pieces.cut)

    def _passages(self) -> None:
        rows, parts = [np.zeros(0, np.int64)], [pa.array([], pa.large_string())]
        for these, texts in self.texts():
            rows.append(these)
            parts.append(texts.column())
        every = np.concatenate(rows)
        whole = Texts.of(pa.concat_arrays(parts))
        found = substring.spans(whole, self.ladder.passage)
        self.tables["passages"].append(self._spans(whole, found, every))
        place = pa.array(every[np.asarray(found.column("document"))])
        spans = found.set_column(0, "document", place)

        def cut(these: npt.NDArray[np.int64], texts: Texts) -> Texts:
            document = np.asarray(spans.column("document"))
            low, high = np.searchsorted(document, [these[0], these[-1] + 1])
            some = spans.slice(low, high - low)
            return substring.without(texts, some.set_column(0, "document", pa.array(np.searchsorted(these, document[low:high]))))

        self._rewrite("passages", cut)

    def _spans(self, texts: Texts, found: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
        """PASSAGES, with documents' names for their numbers."""
        where = self.documents.rows.select(clusters.KEY)
        document, start, end, of = (np.asarray(found.column(name)) for name in ("document", "start", "end", "of"))
        base = texts.offsets[document]
        said = [beginning(texts.data[first:last]) for first, last in zip((base + start).tolist(), (base + end).tolist(), strict=True)]
        columns = {name: found.column(name) for name in ("start", "end", "at")}
        columns |= dict(zip(where.column_names, where.take(pa.array(rows[document])).columns, strict=True))
        columns |= {"of": where.column("id").take(pa.array(rows[of])), "text": pa.array(said, pa.string())}
        return pa.table([columns[name] for name in PASSAGES.names], schema=PASSAGES)

    def _rewrite(self, rung: str, change: Callable[[npt.NDArray[np.int64], Texts], Texts]) -> None:
        """Texts go through `change` from here on; documents of which only blanks are left are gone."""
        before = self.stream
        alive = self.alive.copy()

        def changed() -> Iterator[pa.Table]:
            first = 0
            for table in before():
                rows = first + np.flatnonzero(alive[first : first + table.num_rows])
                first += table.num_rows
                if not len(rows):
                    yield table
                    continue
                texts = table.column("text").combine_chunks()
                mask = np.zeros(table.num_rows, bool)
                mask[rows - (first - table.num_rows)] = True
                fresh = change(rows, Texts.of(texts.filter(pa.array(mask)))).column()
                text = pc.replace_with_mask(texts, pa.array(mask), fresh)
                yield table.set_column(table.column_names.index("text"), "text", text)

        self.stream = changed
        gone = [rows[np.asarray(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts.column())), 0))] for rows, texts in self.texts()]
        empty = np.concatenate([np.zeros(0, np.int64), *gone])
        self.alive[empty] = False
        named = self.documents.rows.select(clusters.KEY).take(pa.array(empty))
        self.tables["emptied"].append(named.append_column("step", pa.array([rung] * len(empty), pa.string())).cast(EMPTIED))

    def found(self) -> Found:
        table = clusters.tabulate(
            self.documents.rows, self.component, self.keys.shape[1], lambda band: self.keys[:, band], self.ladder.prefer
        )
        ids = clusters.numbered(self.documents.rows.column("id"))
        chosen = clusters.representatives(self.component, self.documents.rows, self.ladder.prefer)
        alike = (self.near != self.near[chosen]) & (ids != ids[chosen])
        why = pc.if_else(pa.array(alike), "meaning", table.column("why").combine_chunks())
        table = table.set_column(table.column_names.index("why"), "why", why)
        table = table.set_column(table.column_names.index("kept"), "kept", pa.array(self.alive))
        tables = {name: pa.concat_tables([schema.empty_table(), *self.tables[name]]) for name, schema in _SCHEMAS.items()}
        return Found(table.filter(pc.greater(table.column("size"), 1)), left=self.left, report=self._report(why, tables, chosen), **tables)

    def left(self) -> Iterator[pa.Table]:
        first = 0
        self.progress.begin("writing", int(self.sizes.sum()))
        for table in self.stream():
            yield table.filter(pa.array(self.alive[first : first + table.num_rows]))
            self.progress.advance(int(self.sizes[first : first + table.num_rows].sum()), table.num_rows)
            first += table.num_rows

    def _report(self, why: pa.Array, tables: dict[str, pa.Table], chosen: clusters.Rows) -> dict[str, Any]:
        counted = Counter(why.to_pylist())
        size = self.documents.rows.column("bytes").to_numpy()
        taken = {name: int(pc.sum(tables["pieces"].filter(pc.equal(tables["pieces"].column("unit"), unit)).column("bytes")).as_py() or 0) for name, unit in _UNITS.items()}  # fmt: skip
        spans = tables["passages"]
        taken["passages"] = int((spans.column("end").to_numpy() - spans.column("start").to_numpy()).sum())
        _, members = np.unique(self.component, return_counts=True)
        return {
            "documents": len(size),
            "bytes": int(size.sum()),
            **{name: counted[name] for name in ("exact", "near", "meaning")},
            "duplicate_bytes": int(size[chosen != np.arange(len(size))].sum()),
            "clusters": int((members > 1).sum()),
            "giants": [asdict(giant) for giant in self.giants],
            "taken_out_bytes": {name: taken[name] for name in ("paragraphs", "lines", "passages") if name in self.ladder.rungs},
            "emptied": tables["emptied"].num_rows,
            "left": int(self.alive.sum()),
            "steps": self.steps,
        }


_SCHEMAS = {"pieces": PIECES, "passages": PASSAGES, "emptied": EMPTIED}


def _united(one: clusters.Rows, other: clusters.Rows) -> clusters.Rows:
    """For each row the least row that either partition, or both in turn, connect it with."""
    rows = np.arange(len(one))
    return clusters.joined(len(one), np.concatenate([one, other]), np.concatenate([rows, rows]))
