"""What the archives of a version hold, as the engine reads it: which files are documents, under which licence, and which are left out."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Protocol

from lilong.floors.corpus.contract import LicenceNotRecognised, NoLicence, UnknownLicence, Without
from lilong.floors.corpus.curation import licences, split
from lilong.floors.corpus.curation.formats import MAX_FILE, text_format
from lilong.floors.corpus.curation.reading.cutting import Batch, Part, Piece, Problem, batched
from lilong.floors.corpus.curation.recipe import Recipe, check_sources, names_apart

EXCLUDED, LIMIT, TOO_LARGE, LICENCE, TAKEN_DOWN = "excluded-path", "limit", "too-large", "licence", "taken-down"
STEPS = {EXCLUDED: "recipe", LIMIT: "recipe", LICENCE: "licence", TAKEN_DOWN: "takedown"}
"""The step in which a file was left out before it became a document; for all other reasons it is `reading`."""
_TAGGED = frozenset({"roff", "rst", "plain"})
_HEAD = 4_096


class Files(Protocol):
    """The regular files of one source, by their path inside it."""

    def paths(self) -> Sequence[str]: ...
    def size(self, path: str) -> int: ...
    def read(self, path: str) -> bytes: ...
    def close(self) -> None: ...


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
    evidence_start: int | None = None
    evidence_end: int | None = None
    contributor: str = ""
    retrieved_at: str | None = None
    terms: str = "private"
    kind: str = "folder"
    set: str = ""  # id of its source set


@dataclass(slots=True)
class SourceReading:
    """The documents of sources, in the order of their names and paths, for the engine to measure.

    Raises NoLicence, LicenceNotRecognised, UnknownLicence, BadRecipe when it is made: before anything is read."""

    sources: Sequence[Source]
    open_files: Callable[[Source], Files]
    recipe: Recipe
    without: Without = field(default_factory=Without)
    size: int = 0
    seen: int = 0
    """Files that could have become a document."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Files that could not, by ending."""

    def __post_init__(self) -> None:
        check_sources(self.recipe, [one.name for one in self.sources])
        said = dict(self.recipe.licences)
        self.sources = sorted(
            (replace(one, licence=said[one.name], kind="read") if one.name in said else one for one in self.sources),
            key=lambda one: one.name,
        )
        for source in self.sources:
            files = self.open_files(source)
            candidates = 0
            for path in files.paths():
                if text_format(path) is None:
                    self.skipped[_ending(path)] += 1
                    continue
                self.seen += 1
                if not self._excluded(path):
                    candidates += 1
                    self.size += files.size(path)
            files.close()
            if candidates and not self._taken_down(source):
                _check_licence(source, candidates, self.recipe.require_licence)

    def identity(self) -> dict[str, Any]:
        listed = [[one.name, one.digest, one.licence, one.contributor, one.retrieved_at] for one in self.sources]
        left_out = [sorted(self.without.sources), sorted(self.without.contributors)]
        whole = json.dumps([listed, left_out, self.recipe.digest()], ensure_ascii=False).encode()
        return {"files": self.seen, "bytes": self.size, "digest": f"sha256:{hashlib.sha256(whole).hexdigest()}"}

    def batches(self) -> Iterator[Batch]:
        return batched(self._pieces(), self.size)

    def _pieces(self) -> Iterator[Piece]:
        for source in self.sources:
            files = self.open_files(source)
            try:
                yield from self._source(source, files)
            finally:
                files.close()

    def _source(self, source: Source, files: Files) -> Iterator[Piece]:
        paths = [path for path in sorted(files.paths()) if text_format(path) is not None]
        limited = bool(self.recipe.max_documents or self.recipe.max_bytes)
        if limited:
            paths.sort(key=lambda path: (split.rank(self.recipe.seed, f"{source.name}/{path}"), path))
        package = licences.of_copyright(source.evidence) if source.kind == "debian" and source.evidence else None
        documents = taken = 0
        for path in paths:
            if self._taken_down(source):
                yield _left_out(source, path, TAKEN_DOWN, "was taken down"), 0
            elif self._excluded(path):
                yield _left_out(source, path, EXCLUDED, "the recipe leaves out files of this name"), 0
            elif self._full(documents, taken):
                yield _left_out(source, path, LIMIT, "the recipe's limit for this source was reached"), 0
            elif files.size(path) > MAX_FILE:
                yield _left_out(source, path, TOO_LARGE, f"more than {MAX_FILE} bytes"), 0
            else:
                data = files.read(path)
                named = (package.of(path) if package else source.licence) or licences.NO_ASSERTION
                piece = self._part(source, path, data, named)
                if limited and isinstance(piece, Part):
                    read, size = _as_read(piece)
                    documents, taken = documents + read, taken + size
                yield piece, len(data)

    def _part(self, source: Source, path: str, data: bytes, licence: str) -> Part | Problem:
        licence = (licences.tag(_head(path, data)) if text_format(path) in _TAGGED else None) or licence
        if self.recipe.allow_licences and licence not in self.recipe.allow_licences:
            return _left_out(source, path, LICENCE, f"{licence} is not allowed")
        return Part("text", source.name, path, 0, data, licence, source.retrieved_at)

    def _taken_down(self, source: Source) -> bool:
        bare = source.name.removesuffix(f".{source.set}")
        named = {source.name, bare, f"{bare}.{source.set}"} & set(self.without.sources)
        return bool(named) or source.contributor in self.without.contributors

    def _excluded(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self.recipe.exclude)

    def _full(self, documents: int, size: int) -> bool:
        most = self.recipe
        return bool((most.max_documents and documents >= most.max_documents) or (most.max_bytes and size >= most.max_bytes))


def _left_out(source: Source, path: str, reason: str, said: str) -> Problem:
    return Problem(source.name, path, said, skipped=True, reason=reason)


def _as_read(part: Part) -> tuple[int, int]:
    """How many documents the engine will make of a part, and their bytes. Only asked where a limit bounds how often."""
    from lilong.floors.corpus.curation.reading.records import read

    documents, _ = read([part])
    return documents.num_rows, sum(len(text.as_buffer()) for text in documents.column("text"))


def _head(path: str, data: bytes) -> bytes:
    if not path.endswith(".gz"):
        return data[:_HEAD]
    try:
        return zlib.decompressobj(wbits=31).decompress(data, _HEAD)
    except zlib.error:
        return b""


def _check_licence(source: Source, documents: int, required: bool) -> None:
    if source.licence is not None and licences.spdx(source.licence) is None:
        raise UnknownLicence(source=source.name, licence=source.licence)
    if required and not source.evidence.strip():
        way_out = "Put a LICENSE file or a licences.toml beside the texts, or set require_licence = false in the recipe."
        raise NoLicence(source=source.name, documents=documents, way_out=way_out)
    if required and source.licence is None:
        raise LicenceNotRecognised(source=source.name)


def _ending(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[-1].lower()[:12] if "." in name else "(none)"


def apart(sources: Collection[Source]) -> list[Source]:
    """Sources of several sets under names of their own: one that occurs twice gets its set's id behind it."""
    names = names_apart([(source.name, source.set) for source in sources])
    return [replace(source, name=name) for source, name in zip(sources, names, strict=True)]
