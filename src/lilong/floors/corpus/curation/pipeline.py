"""From the files of sources to a corpus version: read, deduplicate, measure, judge, cluster, split. Every file that could have
become a document is either kept or in the table of dropped ones, with its reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from lilong.floors.corpus.contract import EmptyCorpus, LicenceNotRecognised, NoLicence, UnknownLicence
from lilong.floors.corpus.curation import licences, policy, split
from lilong.floors.corpus.curation.extract import Unreadable, extract, unpack
from lilong.floors.corpus.curation.formats import MAX_FILE, text_format
from lilong.floors.corpus.curation.recipe import Recipe

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.signals import Measured

EXCERPT = 240
_FORMAT_ORDER = {"html": 0, "roff": 1, "plain": 2, "rst": 3}


class Files(Protocol):
    """The regular files of one source, by their path inside it."""

    def paths(self) -> Sequence[str]: ...
    def size(self, path: str) -> int: ...
    def read(self, path: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Where documents come from, and the evidence for their licence."""

    name: str
    package: str
    version: str
    archive: str
    digest: str  # sha256:…, of the archive
    origin: str
    licence: str | None  # an SPDX expression
    evidence: str  # the text that says so
    documents_of: licences.PackageLicence | None = None


@dataclass(slots=True)
class Document:
    """One text and where it came from."""

    id: str
    text: bytes
    source: str
    uri: str
    format: str
    licence: str


@dataclass(frozen=True, slots=True)
class Dropped:
    source: str
    uri: str
    reason: str
    detail: str
    id: str | None = None
    of: str | None = None
    bytes: int = 0
    language: str = ""
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A curated corpus as Arrow tables, each in a fixed order, so that the same input gives the same bytes.

    `train` and `held_out` have the columns of DOCUMENT_COLUMNS; the other tables account for every document that was seen.
    """

    train: pa.Table
    held_out: pa.Table
    signals: pa.Table
    clusters: pa.Table
    dropped: pa.Table
    sources: pa.Table
    files_seen: int
    files_skipped: dict[str, int] = field(default_factory=dict)


DOCUMENT_COLUMNS = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("id", "text", "source", "uri", "language", "licence", "format", "cluster", "family")
    ]
)
_DROPPED_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("source", "uri", "reason", "detail", "id", "of")]
    + [("bytes", pa.int64()), ("language", pa.string()), ("excerpt", pa.string())]
)
Progress = Callable[[int, int, str], None]


def curate(sources: Sequence[Source], open_files: Callable[[Source], Files], recipe: Recipe, progress: Progress) -> Corpus:
    """Make a corpus. Raises NoLicence, LicenceNotRecognised, UnknownLicence, EmptyCorpus. `progress(step, of, doing)` counts sources and then stages."""
    of = len(sources) + 4
    seen = _Seen()
    for step, source in enumerate(sources):
        progress(step, of, f"reading {source.name}")
        _read(source, open_files(source), recipe, seen)
    documents = _exact(seen)
    from lilong.floors.corpus.curation.signals import measure  # compiles its kernels, which a source that is refused need not wait for

    progress(len(sources), of, f"measuring {len(documents)} documents")
    measured = measure(
        [document.text for document in documents], words=recipe.words, characters=recipe.characters,
        permutations=recipe.permutations, seed=recipe.seed,
        progress=lambda done: progress(len(sources), of, f"measured {done} of {len(documents)} documents"),
    )  # fmt: skip
    progress(len(sources) + 1, of, "applying the policy")
    kept = _judge(documents, measured, recipe, seen)
    if not kept:
        raise EmptyCorpus(documents=seen.candidates, reasons=_top(Counter(one.reason for one in seen.dropped)))
    progress(len(sources) + 2, of, f"looking for near duplicates among {len(kept)} documents")
    clusters = _cluster(documents, measured, kept, recipe)
    _drop_copies(documents, measured, clusters, seen)
    progress(len(sources) + 3, of, "splitting by family")
    return _tables(documents, measured, clusters, sources, recipe, seen)


@dataclass(slots=True)
class _Seen:
    documents: list[Document] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    candidates: int = 0


@dataclass(frozen=True, slots=True)
class _Clusters:
    """Per kept document: its index among all documents, its representative's, the names of its cluster and family."""

    kept: list[int]
    representative: list[int]
    cluster: list[str]
    family: list[str]
    similarity: list[float]


def _read(source: Source, files: Files, recipe: Recipe, seen: _Seen) -> None:
    candidates = []
    for path in sorted(files.paths()):
        if text_format(path) is None:
            seen.skipped[_ending(path)] += 1
        elif any(fnmatchcase(path, pattern) for pattern in recipe.exclude):
            seen.candidates += 1
            seen.dropped.append(Dropped(source.name, path, "excluded-path", "the recipe leaves out files of this name"))
        else:
            candidates.append(path)
    seen.candidates += len(candidates)
    said = dict(recipe.licences).get(source.name)
    if said is not None:
        source = replace(source, licence=said, documents_of=None)
    if candidates:
        _check_licence(source, len(candidates), recipe.require_licence)
    if recipe.max_documents or recipe.max_bytes:
        candidates.sort(key=lambda path: (split.rank(recipe.seed, f"{source.name}/{path}"), path))
    found: list[Document] = []
    size = 0
    for path in candidates:
        if (recipe.max_documents and len(found) >= recipe.max_documents) or (recipe.max_bytes and size >= recipe.max_bytes):
            seen.dropped.append(Dropped(source.name, path, "limit", "the recipe's limit for this source was reached"))
            continue
        if files.size(path) > MAX_FILE:
            seen.dropped.append(Dropped(source.name, path, "too-large", f"more than {MAX_FILE} bytes", bytes=files.size(path)))
            continue
        answer = _document(source, path, files.read(path), recipe)
        if isinstance(answer, Document):
            found.append(answer)
            size += len(answer.text)
        else:
            seen.dropped.append(answer)
    seen.documents += sorted(found, key=lambda document: document.uri)


def _check_licence(source: Source, documents: int, required: bool) -> None:
    if source.licence is not None and licences.spdx(source.licence) is None:
        raise UnknownLicence(source=source.name, licence=source.licence)
    if required and not source.evidence.strip():
        way_out = "Put a LICENSE file or a licences.toml beside the texts, or set require_licence = false in the recipe."
        raise NoLicence(source=source.name, documents=documents, way_out=way_out)
    if required and source.licence is None:
        raise LicenceNotRecognised(source=source.name)


def _document(source: Source, path: str, data: bytes, recipe: Recipe) -> Document | Dropped:
    plain = unpack(path, data)
    if isinstance(plain, Unreadable):
        return Dropped(source.name, path, plain.reason, plain.detail, bytes=len(data))
    answer = extract(path, plain)
    if isinstance(answer, Unreadable):
        return Dropped(source.name, path, answer.reason, answer.detail, bytes=len(plain))
    own = licences.tag(plain[:4096]) if answer.format in ("roff", "rst", "plain") else None
    package = source.documents_of.of(path) if source.documents_of else source.licence
    licence = own or package or licences.NO_ASSERTION
    text = answer.text.encode()
    document_id = hashlib.sha256(text).hexdigest()
    if recipe.allow_licences and licence not in recipe.allow_licences:
        return Dropped(source.name, path, "licence", f"{licence} is not allowed", document_id, None, len(text), "", answer.text[:EXCERPT])
    return Document(document_id, text, source.name, path, answer.format, licence)


def _exact(seen: _Seen) -> list[Document]:
    """The first of each set of equal texts, in the order of sources and paths."""
    first: dict[str, Document] = {}
    for document in seen.documents:
        before = first.setdefault(document.id, document)
        if before is not document:
            detail = f"the same text as {before.source}:{before.uri}"
            seen.dropped.append(_dropped(document, "exact-duplicate", detail, of=before.id))
    seen.documents = []
    return list(first.values())


def _judge(documents: Sequence[Document], measured: Measured, recipe: Recipe, seen: _Seen) -> list[int]:
    languages = measured.signals.column("language").to_pylist()
    kept = []
    for index, verdict in enumerate(policy.decide(recipe.policy, recipe.languages, measured.signals)):
        if verdict is None:
            kept.append(index)
        else:
            seen.dropped.append(_dropped(documents[index], verdict.reason, verdict.detail, languages[index]))
    return kept


def _cluster(documents: Sequence[Document], measured: Measured, kept: list[int], recipe: Recipe) -> _Clusters:
    import numpy as np

    from lilong.floors.corpus.curation import duplicates

    signatures = np.ascontiguousarray(measured.signatures[kept])
    near = duplicates.clusters(signatures, recipe.near)
    family = duplicates.joined(near, duplicates.clusters(signatures, recipe.family))
    if recipe.namesakes:
        family = duplicates.joined(family, duplicates.grouped([_namesake(documents[i].uri) for i in kept]))
    # The clearest source of text first (HTML is laid out for readers), then the longest text; the id breaks ties.
    preference = [(_FORMAT_ORDER[documents[i].format], -len(documents[i].text), documents[i].id) for i in kept]
    chosen = duplicates.representatives(near, preference)
    ids = [documents[i].id for i in kept]
    similarity = duplicates.similarity(signatures, np.arange(len(kept)), chosen)
    return _Clusters(
        kept, [kept[i] for i in chosen.tolist()], _names(near.tolist(), ids), _names(family.tolist(), ids), similarity.tolist()
    )


def _namesake(uri: str) -> str:
    """What other formats and translations of a page are called alike: its folder's name and its own up to the first dot."""
    folder, _, name = f"/{uri}".rpartition("/")
    return f"{folder.rpartition('/')[2]}/{name.split('.', 1)[0]}"


def _names(groups: Sequence[int], ids: Sequence[str]) -> list[str]:
    """A group is named by its smallest member's id, which does not depend on the order of documents."""
    smallest: dict[int, str] = {}
    for group, document_id in zip(groups, ids, strict=True):
        smallest[group] = min(smallest.get(group, document_id), document_id)
    return [smallest[group] for group in groups]


def _drop_copies(documents: Sequence[Document], measured: Measured, clusters: _Clusters, seen: _Seen) -> None:
    languages = measured.signals.column("language").to_pylist()
    for index, representative, similarity in zip(clusters.kept, clusters.representative, clusters.similarity, strict=True):
        if index != representative:
            other = documents[representative]
            detail = f"estimated similarity {similarity:.2f} to {other.source}:{other.uri}"
            seen.dropped.append(_dropped(documents[index], "near-duplicate", detail, languages[index], other.id))


def _dropped(document: Document, reason: str, detail: str, language: str = "", of: str | None = None) -> Dropped:
    excerpt = document.text[: 4 * EXCERPT].decode("utf-8", "ignore")[:EXCERPT]
    return Dropped(document.source, document.uri, reason, detail, document.id, of, len(document.text), language, excerpt)


def _tables(
    documents: Sequence[Document], measured: Measured, clusters: _Clusters, sources: Sequence[Source], recipe: Recipe, seen: _Seen
) -> Corpus:
    languages = measured.signals.column("language").to_pylist()
    out = split.held_out(clusters.family, recipe.held_out, recipe.seed)
    rows: dict[bool, list[tuple[str, ...]]] = {False: [], True: []}
    placed: list[dict[str, Any]] = []
    for at, index in enumerate(clusters.kept):
        document, stays = documents[index], clusters.representative[at] == index
        placed.append({
            "id": document.id, "source": document.source, "uri": document.uri, "cluster": clusters.cluster[at],
            "family": clusters.family[at], "representative": documents[clusters.representative[at]].id, "kept": stays,
            "similarity": round(clusters.similarity[at], 4), "split": "heldout" if out[at] else "train",
        })  # fmt: skip
        if stays:
            rows[out[at]].append((
                document.id, document.text.decode(), document.source, document.uri, languages[index], document.licence, document.format,
                clusters.cluster[at], clusters.family[at],
            ))  # fmt: skip
    named = {"id": [one.id for one in documents], "source": [one.source for one in documents], "uri": [one.uri for one in documents]}
    signals = pa.table({**named, **{name: measured.signals.column(name) for name in measured.signals.column_names}})
    dropped = sorted(seen.dropped, key=lambda one: (one.source, one.uri))
    return Corpus(
        train=_documents(rows[False]),
        held_out=_documents(rows[True]),
        signals=signals.sort_by("id"),
        clusters=pa.Table.from_pylist(sorted(placed, key=lambda row: (str(row["family"]), str(row["cluster"]), str(row["id"])))),
        dropped=pa.table({name: [getattr(one, name) for one in dropped] for name in _DROPPED_COLUMNS.names}, schema=_DROPPED_COLUMNS),
        sources=_sources(sources, seen, rows[False] + rows[True]),
        files_seen=seen.candidates,
        files_skipped=dict(sorted(seen.skipped.items())),
    )


def _documents(rows: list[tuple[str, ...]]) -> pa.Table:
    """Sorted by id, which is a hash: a fixed order that is as good as shuffled, so that readers may take a part from the front."""
    columns = list(zip(*sorted(rows), strict=True)) or [()] * len(DOCUMENT_COLUMNS)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=DOCUMENT_COLUMNS)


def _sources(sources: Sequence[Source], seen: _Seen, kept: Sequence[tuple[str, ...]]) -> pa.Table:
    documents, sizes = Counter(row[2] for row in kept), Counter[str]()
    lost = Counter(one.source for one in seen.dropped)
    for row in kept:
        sizes[row[2]] += len(row[1].encode())
    return pa.Table.from_pylist([
        {
            "name": one.name, "package": one.package, "version": one.version, "licence": one.licence or licences.NO_ASSERTION,
            "evidence": f"licences/{one.name}.txt" if one.evidence.strip() else "", "archive": one.archive, "digest": one.digest,
            "origin": one.origin, "documents": documents[one.name], "bytes": sizes[one.name], "dropped": lost[one.name],
        }
        for one in sources
    ])  # fmt: skip


def _ending(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[-1].lower()[:12] if "." in name else "(none)"


def _top(reasons: Counter[str], count: int = 3) -> str:
    return ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common(count)) or "there were no documents"


def reasons(dropped: pa.Table) -> Iterator[tuple[str, int]]:
    """Drop reasons with their counts, most frequent first."""
    counted = Counter(dropped.column("reason").to_pylist())
    yield from sorted(counted.items(), key=lambda item: (-item[1], item[0]))
