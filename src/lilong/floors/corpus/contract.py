"""What other floors may know of the corpus floor: source sets, corpus versions, and what can go wrong with them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from lilong.ground.errors import BadInput, Conflict, NotFound, Refused, Unavailable

PREDICATE = "https://lilong.dev/corpus-version/v1"
"""The statement about a corpus version: subject is its revision's manifest, materials are archives, licences, recipe and code."""


TAKEDOWN = "https://lilong.dev/corpus-takedown/v1"
"""The statement about a takedown: subjects are the versions that held what was taken down; the predicate says what it was, and why."""


class State(StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Terms(StrEnum):
    """Who may see and use a source: its organisation, the members of the alliance, or everybody. Ordered from closed to open."""

    PRIVATE = "private"
    ALLIANCE = "alliance"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which a contributor gives texts. `purposes`: training, evaluation; none: any."""

    purposes: list[str] = field(default_factory=list)
    attribution: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """Under which a version may be used: the conditions of all its sources. `purposes`: None for any; an empty list allows none."""

    purposes: list[str] | None = None
    attributions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Without:
    """What was taken down: ids of documents, names of sources, and contributors (organisations)."""

    documents: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    contributors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SourcesAsk:
    """Sources to fetch: Debian packages by name, or texts of one's own (path -> digest of a text kept before). With neither,
    or where packages cannot be fetched, the texts of the installed Python packages; `fallback=False` makes that an error.
    `contributor`: the organisation that gives them; the asking one where it is left out."""

    organisation: str
    key: str
    packages: list[str] = field(default_factory=list)
    texts: dict[str, str] | None = None
    fallback: bool = True
    contributor: str = ""
    terms: Terms = Terms.PRIVATE
    conditions: Conditions = field(default_factory=Conditions)


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
    contributor: str = ""
    terms: Terms = Terms.PRIVATE
    conditions: Conditions = field(default_factory=Conditions)


@dataclass(frozen=True, slots=True)
class BuildAsk:
    """A corpus version to make of source sets and to publish in a dataset repository (organisation/name).

    `without` adds to what was taken down before and stays out of every version."""

    organisation: str
    key: str
    sources: str | list[str]  # ids of source sets
    repository: str
    recipe: dict[str, Any] = field(default_factory=dict)
    without: Without = field(default_factory=Without)

    @property
    def source_sets(self) -> list[str]:
        return [self.sources] if isinstance(self.sources, str) else list(self.sources)


@dataclass(frozen=True, slots=True)
class PublishAsk:
    """A finished run of `lilong corpus curate` that is to become a version. `files`: name of a file of its folder -> digests of its parts,
    in order, each kept before as a text of the organisation. `licence`: SPDX expression for documents that name none, which the file
    LICENCE.txt says. `recipe`: how documents are held out."""

    organisation: str
    key: str
    repository: str
    files: dict[str, list[str]]
    licence: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    terms: Terms = Terms.PRIVATE
    conditions: Conditions = field(default_factory=Conditions)
    without: Without = field(default_factory=Without)


@dataclass(frozen=True, slots=True)
class Superseded:
    """A takedown has put a version out of use. It stays as history."""

    takedown: str
    at: str
    reason: str
    next: str | None  # id of the version that is, or will be, without what was taken down


@dataclass(frozen=True, slots=True)
class Version:
    """A corpus version. `figures`: documents and bytes kept, held out and dropped, by reason, language, licence and source.

    Its terms are the most closed of its sources' terms. `sources`: ids of source sets; none for a run that was published."""

    id: str
    organisation: str
    key: str
    state: State
    sources: list[str]
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
    terms: Terms = Terms.PRIVATE
    conditions: Use = field(default_factory=Use)
    contributors: list[str] = field(default_factory=list)
    without: Without = field(default_factory=Without)
    review: str | None = None  # digest of review/dropped.parquet
    superseded: Superseded | None = None


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


class TermsTooClosed(Refused):
    """{repository} is open to {audience}, and this version's terms are {terms}. Publish it in a repository that is open to fewer, or change the terms of {source}."""


class RepositoryClosed(Refused):
    """The repository {repository} has versions of private terms, so that members of the alliance could not read this one there. Publish it in a repository of its own."""


class SourcesNotShared(Refused):
    """The source set {name} belongs to {owner}, whose terms for it are {terms}; {organisation} may not build from it. {way_out}"""


class NotAMember(Refused):
    """{organisation} is not a member of the data corpus alliance. Ask to join: lilong corpus alliance join {organisation}."""


class TakenOutOfUse(Refused):
    """The version {version} was put out of use by the takedown {takedown}. {way_out}"""


Tree = Mapping[str, str]
"""path -> digest of a blob of the house."""


# What two texts have in common whatever their layout: the definition by which documents are decontaminated here and test items are
# searched for in the evaluation floor. 13 words in a row (the usual choice since GPT-3; Brown et al. 2020, appendix C), or 50 letters in a
# row, gaps left out; an item of fewer words is looked for whole, unless it has fewer than five.
OVERLAP_WORDS, OVERLAP_CHARACTERS, OVERLAP_LEAST_WORDS = 13, 50, 5
OWN_WORDS = ((0x3040, 0xA000), (0xAC00, 0xD7B0), (0xF900, 0xFB00), (0x20000, 0x40000))
"""Han with its extensions, kana and Hangul (first code point, one after the last): each is a word of its own, for they are written without
blanks, or counted by the character. Any other word is a run of letters between gaps."""


def overlap_letter(code: int) -> int:
    """The code point that stands for this one, 0 where it is a gap.

    NFKC and case folding where these give one code point, else itself; marks are kept; what is neither alphanumeric nor a mark is a gap.
    Beyond the Basic Multilingual Plane (rare Han, emoji) every code point stands for itself.
    """
    if code > 0xFFFF:
        return code
    folded = unicodedata.normalize("NFKC", chr(code)).casefold()
    kept = folded if len(folded) == 1 else chr(code)
    return ord(kept) if kept.isalnum() or unicodedata.category(kept)[0] == "M" else 0
