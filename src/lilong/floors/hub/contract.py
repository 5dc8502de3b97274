"""What other floors may know of the hub: repositories, revisions, and how to publish one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar

from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, Forbidden, NotFound, Refused

T = TypeVar("T")


class Kind(StrEnum):
    MODEL = "model"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Repository:
    kind: Kind
    name: str  # organisation/name
    private: bool
    created_at: str

    @property
    def organisation(self) -> str:
        return self.name.split("/")[0]


@dataclass(frozen=True, slots=True)
class File:
    path: str
    digest: str  # sha256 of the content
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit. `manifest` is the OpenSSF model-signing root over its files: the artifact that statements are about."""

    repository: Repository
    commit: str  # git object id, 40 hex digits
    manifest: str
    files: tuple[File, ...]
    message: str
    author: str
    at: str

    def file(self, path: str) -> File:
        """Raises NotFound."""
        for file in self.files:
            if file.path == path:
                return file
        raise NotFound(kind=f"file in {self.repository.name}", name=path)

    def tree(self, *prefixes: str) -> dict[str, str]:
        """path -> digest of the files whose path starts with one of the prefixes (all of them without any): a job's input."""
        return {file.path: file.digest for file in self.files if not prefixes or file.path.startswith(prefixes)}


@dataclass(frozen=True, slots=True)
class Committed:
    kind: ClassVar[str] = "hub.committed"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    ref: str
    commit: str


@dataclass(frozen=True, slots=True)
class RepositoryCreated:
    kind: ClassVar[str] = "hub.repository-created"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    private: bool


@dataclass(frozen=True, slots=True)
class RepositoryDeleted:
    kind: ClassVar[str] = "hub.repository-deleted"
    subject: str  # repository name
    organisation: str
    repository_kind: str


@dataclass(frozen=True, slots=True)
class RepositoryMoved:
    kind: ClassVar[str] = "hub.repository-moved"
    subject: str  # the new name
    organisation: str  # the new one
    repository_kind: str
    old_name: str


@dataclass(frozen=True, slots=True)
class RepositoryChanged:
    """Its settings were changed."""

    kind: ClassVar[str] = "hub.repository-changed"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    private: bool
    gated: str  # "" | auto | manual


@dataclass(frozen=True, slots=True)
class RefChanged:
    """A branch or tag was made, or taken away (then `commit` is empty)."""

    kind: ClassVar[str] = "hub.ref-changed"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    ref: str
    commit: str


@dataclass(frozen=True, slots=True)
class WebhookChanged:
    kind: ClassVar[str] = "hub.webhook-changed"
    subject: str  # its id
    change: str  # added | changed | enabled | disabled | deleted


@dataclass(frozen=True, slots=True)
class NamespaceChanged:
    kind: ClassVar[str] = "hub.namespace-changed"
    subject: str  # the organisation
    private_by_default: bool
    quota_bytes: int | None


@dataclass(frozen=True, slots=True)
class Imported:
    """A repository, or a newer revision of it, came from another hub."""

    kind: ClassVar[str] = "hub.imported"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    commit: str
    source: str  # address of its page there, or the name of the house that a bundle is of
    source_commit: str


@dataclass(frozen=True, slots=True)
class FileFetched:
    """A large file of a mirror has come from its source."""

    kind: ClassVar[str] = "hub.file-fetched"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    path: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class BucketChanged:
    """A bucket was made, given other settings, moved or taken away."""

    kind: ClassVar[str] = "hub.bucket-changed"
    subject: str  # organisation/name
    organisation: str
    change: str  # created | deleted | moved | settings
    private: bool


@dataclass(frozen=True, slots=True)
class DiscussionOpened:
    """A discussion or a pull request; what it says stands in its first comment."""

    kind: ClassVar[str] = "hub.discussion-opened"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    number: int
    title: str
    pull_request: bool


@dataclass(frozen=True, slots=True)
class DiscussionCommented:
    kind: ClassVar[str] = "hub.discussion-commented"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    number: int
    comment: str  # its id
    action: str  # created | edited | hidden


@dataclass(frozen=True, slots=True)
class DiscussionChanged:
    """Its title, or its status; `commit` is that of a merge."""

    kind: ClassVar[str] = "hub.discussion-changed"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    number: int
    title: str
    status: str  # draft | open | closed | merged
    pull_request: bool
    commit: str


@dataclass(frozen=True, slots=True)
class AccessChanged:
    """Somebody has asked for the files of a gated repository, or was answered; `withdrawn`: the request is gone."""

    kind: ClassVar[str] = "hub.access-changed"
    subject: str  # repository name
    organisation: str
    repository_kind: str
    user: str
    status: str  # pending | accepted | rejected | withdrawn


@dataclass(frozen=True, slots=True)
class CollectionChanged:
    kind: ClassVar[str] = "hub.collection-changed"
    subject: str  # owner/slug
    organisation: str
    action: str  # created | changed | deleted


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a list of repositories."""

    repository: Repository
    commit: str | None  # head of `main`
    manifest: str | None  # None also where nobody has asked for it yet
    updated_at: str


@dataclass(frozen=True, slots=True)
class About:
    """A statement about a revision, in short."""

    id: str
    predicate_type: str
    at: str
    revoked: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """All that is known of one revision. `card` is the Markdown of README.md, `metadata` its front matter."""

    revision: Revision
    card: str
    metadata: Mapping[str, Any]
    statements: tuple[About, ...]


class RepositoryNotFound(NotFound):
    """There is no {kind} repository '{name}' that you may see."""


class RevisionNotFound(NotFound):
    """The repository '{repository}' has no revision '{name}'."""


class EntryNotFound(NotFound):
    """A file with this name doesn't exist: the revision {revision} of {repository} has no '{path}'."""


class GatedRepository(Forbidden):
    """Access to {kind} {name} is restricted and you are not in the authorized list. Ask for access on its page."""


class MayNotBePublic(Refused):
    """The repository {name} may not be public: {reason}"""


class MayNotStandHere(Refused):
    """{name} is open to everybody, and not all that it would hold then may be: {reason}"""


class RepositoryExists(Conflict):
    """There is a {kind} repository '{name}' already."""


class RefExists(Conflict):
    """Reference {ref} already exists."""


class RefMoved(Conflict):
    """The branch {ref} of {repository} is at {found} now, not at {expected}. Fetch it and commit again on top."""


class Hub(Protocol):
    def publish(
        self,
        actor: Actor,
        kind: Kind,
        name: str,
        files: Mapping[str, str],
        message: str,
        then: Callable[[Tx, Revision], T],
        *,
        private: bool = True,
        replace: bool = True,
        branch: str = "main",
    ) -> T:
        """Commit blobs that the house already has (path -> digest) to a branch, making the repository if there is none.

        With `replace` the new revision holds these files only. `then(tx, revision)` runs in the commit's own transaction, so that
        the caller's rows and statements exist together with the revision or not at all. When the branch already has exactly these
        files, that revision is used and no commit is added.
        """

    def revision(self, tx: Tx, actor: Actor, kind: Kind, name: str, ref: str = "main", *, to_read: bool = True) -> Revision:
        """`ref`: branch, tag or commit. `to_read`: its files may be opened by their digests then, by jobs too; False: only what it is.

        Raises RepositoryNotFound, RevisionNotFound; to read, GatedRepository, and Conflict for a mirror whose files have not all come.
        """

    def by_manifest(self, tx: Tx, manifest: str) -> Revision | None:
        """The revision whose files have this model-signing root, if the hub has it."""
