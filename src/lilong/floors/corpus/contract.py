"""What other floors may know of the corpus floor: source sets, corpus versions, and what can go wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from lilong.ground.errors import BadInput, Conflict, NotFound, Refused, Unavailable

PREDICATE = "https://lilong.dev/corpus-version/v1"
"""The statement about a corpus version: subject is its revision's manifest, materials are archives, licences, recipe and code."""


class State(StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SourcesAsk:
    """Sources to fetch: Debian packages by name, or texts of one's own (path -> digest of a text kept before). With neither,
    or where packages cannot be fetched, the texts of the installed Python packages; `fallback=False` makes that an error."""

    organisation: str
    key: str
    packages: list[str] = field(default_factory=list)
    texts: dict[str, str] | None = None
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Archives with the evidence for their licences. `sources` holds name, version, licence, digest, bytes, origin and evidence of each."""

    id: str
    organisation: str
    key: str
    state: State
    packages: list[str]
    attempt: int
    job: str
    requested_by: str
    created_at: str
    finished_at: str | None = None
    kind: str | None = None  # debian, folder or python-packages
    note: str | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BuildAsk:
    """A corpus version to make of a source set and to publish in a dataset repository (organisation/name)."""

    organisation: str
    key: str
    sources: str  # id of a source set
    repository: str
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """A corpus version. `figures`: documents and bytes kept, held out and dropped, by reason, language, licence and source."""

    id: str
    organisation: str
    key: str
    state: State
    sources: str
    repository: str
    recipe: dict[str, Any]
    attempt: int
    job: str
    requested_by: str
    created_at: str
    finished_at: str | None = None
    commit: str | None = None
    manifest: str | None = None
    statement: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Documents and bytes of one licence or language."""

    name: str
    documents: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DropReason:
    reason: str
    documents: int


@dataclass(frozen=True, slots=True)
class SourceShown:
    """One source of a version: where it came from, under which licence, and what became of its documents."""

    name: str
    version: str
    licence: str
    evidence: str  # path in the repository, '' where there is none
    origin: str
    digest: str
    documents: int
    bytes: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of a document. `reason` and `detail` tell why it was dropped; both are empty for one that was kept."""

    source: str
    uri: str
    language: str
    excerpt: str
    id: str | None = None
    licence: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Datasheet:
    """A version as people look at it."""

    version: Version
    note: str
    sources: list[SourceShown]
    licences: list[Counted]
    languages: list[Counted]
    dropped: list[DropReason]
    kept: list[Sample]
    lost: list[Sample]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was kept for a source set to come."""

    digest: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class SourcesRequested:
    kind: ClassVar[str] = "corpus.sources-requested"
    subject: str  # id of the source set
    organisation: str
    job: str


@dataclass(frozen=True, slots=True)
class SourcesFetched:
    kind: ClassVar[str] = "corpus.sources-fetched"
    subject: str
    organisation: str
    source_kind: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourcesFailed:
    kind: ClassVar[str] = "corpus.sources-failed"
    subject: str
    organisation: str
    error: str


@dataclass(frozen=True, slots=True)
class VersionRequested:
    kind: ClassVar[str] = "corpus.version-requested"
    subject: str  # id of the version
    organisation: str
    repository: str
    sources: str
    job: str


@dataclass(frozen=True, slots=True)
class VersionPublished:
    kind: ClassVar[str] = "corpus.version-published"
    subject: str
    organisation: str
    repository: str
    commit: str
    manifest: str
    statement: str


@dataclass(frozen=True, slots=True)
class VersionFailed:
    kind: ClassVar[str] = "corpus.version-failed"
    subject: str
    organisation: str
    error: str


class SourceSetNotFound(NotFound):
    """There is no source set '{name}' that you may see."""


class VersionNotFound(NotFound):
    """There is no corpus version '{name}' that you may see."""


class TextNotKept(NotFound):
    """The text '{path}' with digest {digest} was not uploaded for {organisation}. Upload it to /api/corpus/texts first."""


class SourcesNotReady(Conflict):
    """The source set {name} is {state}, so nothing can be built from it. {way_out}"""


class AskedOtherwise(Conflict):
    """The key '{key}' was used before for something else. Use another key for another request."""


class BadRecipe(BadInput):
    """The recipe's '{field}' cannot be used: {problem}. {way_out}"""


class MissingPackage(Unavailable):
    """The package '{package}' is not in this system's package lists. Check its name, take it out of `packages`, or give texts of your own."""


class PackagesUnreachable(Unavailable):
    """Debian packages cannot be fetched here: {problem}. Connect the network, or give a folder of texts of your own."""


class NoTexts(Refused):
    """The folder '{folder}' holds no file that can be read as text. Put .txt, .md, .rst, .html or man files in it."""


class NoLicence(Refused):
    """The source '{source}' has no licence evidence ({documents} documents). {way_out}"""


class UnknownLicence(BadInput):
    """The source '{source}' names the licence '{licence}', which is not an SPDX expression. Use one such as CC-BY-4.0, or LicenseRef-<name>, in licences.toml."""


class LicenceNotRecognised(Refused):
    """The evidence of the source '{source}' names no licence that is known here. Read it, and add to the recipe: licences = {{ "{source}" = "<SPDX>" }}."""


class EmptyCorpus(Refused):
    """Nothing is left of {documents} documents after filtering. Most were dropped for: {reasons}. Loosen these rules in the recipe."""


class NoSources(Refused):
    """The source set holds no archive to build from: {problem}. Fetch sources first."""


Tree = Mapping[str, str]
"""path -> digest of a blob of the house."""
