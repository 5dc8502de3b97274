"""A repository as one file that travels without a network: its whole history, its large files, and what was signed about it.

    repository.bundle      a git bundle of the refs; large files are Git LFS pointers in it
    contents/<sha256>      the large files
    statements/<hex>.json  DSSE envelopes about revisions, as signed
    keys/<keyid>.json      the public keys of their signers
    bundle.json            what is in it, each with its SHA-256; the refs; whose house it is of
    bundle.sig             that house's signature over the list

Nothing of a bundle is seen before all of it was checked: the list's signature, every file's digest, every git id from the refs down,
and every statement's signatures.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from lilong.floors.hub import store as hub_store
from lilong.floors.hub.contract import Imported, Kind, Repository, RepositoryExists
from lilong.floors.hub.git import bundles as git_bundles
from lilong.floors.hub.git.packs import BadPack
from lilong.floors.hub.rules import names, pushes
from lilong.floors.hub.store import Commit, Held, collecting
from lilong.floors.hub.store import git as git_store
from lilong.floors.hub.store import imports as store
from lilong.floors.hub.store.git import Shown
from lilong.floors.hub.store.imports import ForeignStatement
from lilong.ground import log
from lilong.ground.access import Actor
from lilong.ground.blobs import Blob, writing
from lilong.ground.db import Tx
from lilong.ground.envelope import open_envelope, statement_id
from lilong.ground.errors import BadInput, Corrupt, LilongError, TooLarge
from lilong.ground.events import origin_of
from lilong.ground.house import House
from lilong.ground.seams import stamp
from lilong.ground.signing import HOUSE, PublicKey

from . import audience, bundle_packs, commits, mirrors, namespaces, quotas, reading, repositories
from .git_incoming import Examination

FORMAT = "lilong-repository/1"
MOST = 1 << 42  # bytes of a bundle
_HISTORY = 1 << 30  # bytes
_INDEX_LIMIT = 256 << 20
_SMALL = 4 << 20  # bytes of a statement or a key
_PIECE = 1 << 20
_MEMBER = re.compile(
    r"repository\.bundle|contents/[0-9a-f]{64}|statements/[0-9a-f]{64}\.json|keys/[0-9a-f]{64}\.json|bundle\.json|bundle\.sig"
)


class BadBundle(Corrupt):
    """{place} of the bundle cannot be taken: {problem}. Nothing of it was kept."""

    status = 422


# --- out ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """`revision` empty: all branches and tags; else that branch, tag or commit with what led to it."""

    kind: Kind
    name: str
    revision: str = ""
    pulls: bool = False  # the refs of pull requests too


@dataclass(frozen=True, slots=True)
class Export:
    """A bundle that is ready to be sent: place -> its bytes, a file, or a blob, in this order."""

    entries: dict[str, bytes | Path | Blob]
    folder: Path  # with what was written for it; goes when it was sent

    def size(self, place: str) -> int:
        entry = self.entries[place]
        return len(entry) if isinstance(entry, bytes) else entry.size if isinstance(entry, Blob) else entry.stat().st_size


def prepare(house: House, actor: Actor, wanted: Wanted) -> Export:
    """Raises RepositoryNotFound, RevisionNotFound, GatedRepository, MirrorBroken (where a mirror's files cannot be had)."""

    def read(tx: Tx) -> tuple[Held, list[Shown]]:
        held = reading.opened(house, tx, actor, wanted.kind, wanted.name)
        reading.readable(house, tx, actor, held)
        shown = [ref for ref in git_store.shown_refs(tx, held) if wanted.pulls or not names.is_pull(ref.name)]
        if wanted.revision:
            commit = hub_store.at(tx, held, wanted.revision)
            named = [ref for ref in shown if ref.commit == commit.id and ref.name in names.candidates(wanted.revision)]
            shown = named or [Shown(names.MAIN, commit.id)]
        return held, shown

    held, shown = house.db.read(read)
    folder = _scratch(house)
    try:
        return _gather(house, held, shown, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _scratch(house: House) -> Path:
    place = house.settings.run / "bundles"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(dir=place))


def _gather(house: House, held: Held, shown: list[Shown], folder: Path) -> Export:
    entries: dict[str, bytes | Path | Blob] = {}
    pack, whole = folder / "pack", folder / "repository.bundle"
    with pack.open("w+b") as file:
        history, large = bundle_packs.write(house, held, shown, file)
    refs = [(ref.name, ref.id) for ref in shown]
    main = next((ref.id for ref in shown if ref.name == names.MAIN), None)
    with whole.open("wb") as out, pack.open("rb") as file:
        out.write(git_bundles.head([*([("HEAD", main)] if main else []), *refs]))
        shutil.copyfileobj(file, out, _PIECE)
    pack.unlink()
    entries["repository.bundle"] = whole
    for digest, size in sorted(large.items()):
        mirrors.fetch(house, held, digest)
        entries[f"contents/{digest.removeprefix('sha256:')}"] = Blob(digest, size)
    entries |= _statements(house, held, history)
    index = {
        "format": FORMAT, "origin": origin_of(house.settings.name), "kind": held.kind.value, "name": held.name, "refs": dict(refs),
        "exported_at": stamp(house.clock.now()),
    }  # fmt: skip
    export = Export(entries, folder)
    listed = {place: {"sha256": _sha256(entry), "size": export.size(place)} for place, entry in entries.items()}
    content = _json({**index, "files": listed})
    signer = house.keys.house()
    entries["bundle.json"] = content
    origin = str(index["origin"])
    entries["bundle.sig"] = log.sign_note(signed_text(origin, hashlib.sha256(content).hexdigest()), origin, signer.private).encode()
    return export


def signed_text(origin: str, sha256: str) -> str:
    """What bundle.sig says: the hex digest of bundle.json, under the house's name."""
    return f"{origin}/repository-bundle\nsha256:{sha256}\n"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _sha256(entry: bytes | Path | Blob) -> str:
    if isinstance(entry, Blob):
        return entry.digest.removeprefix("sha256:")
    if isinstance(entry, bytes):
        return hashlib.sha256(entry).hexdigest()
    with entry.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _statements(house: House, held: Held, history: Iterable[Commit]) -> dict[str, bytes | Path | Blob]:
    """What was signed about the revisions, here and elsewhere."""

    def read(tx: Tx) -> dict[str, bytes | Path | Blob]:
        entries: dict[str, bytes | Path | Blob] = {}
        known = house.evidence.keys(tx)
        manifests = {hub_store.manifest_of(tx, commit) for commit in history} - {""}
        for manifest in sorted(manifests):
            for statement in house.evidence.about(tx, manifest):
                entries[f"statements/{statement.id.removeprefix('sha256:')}.json"] = house.evidence.envelope(tx, statement.id)
                for keyid in statement.signers:
                    key = known[keyid]
                    entries[f"keys/{keyid}.json"] = _json(
                        {"keyid": keyid, "holder": key.holder, "algorithm": key.algorithm, "public": key.pem}
                    )
        for foreign in store.foreign(tx, held.id):
            entries.setdefault(f"statements/{foreign.id.removeprefix('sha256:')}.json", foreign.envelope.encode())
            for keyid, (holder, pem) in foreign.keys.items():
                entries.setdefault(f"keys/{keyid}.json", _json({"keyid": keyid, "holder": holder, "algorithm": "ed25519", "public": pem}))
        house_key = house.keys.house().public
        entries[f"keys/{house_key.keyid}.json"] = _json(
            {"keyid": house_key.keyid, "holder": house_key.holder, "algorithm": house_key.algorithm, "public": house_key.pem}
        )
        return entries

    return house.db.read(read)


def stream(house: House, export: Export) -> Iterator[bytes]:
    """The bundle as a tar archive, piece by piece; the list and its signature come last."""
    try:
        for place, entry in export.entries.items():
            info = tarfile.TarInfo(place)
            info.size, info.mode = export.size(place), 0o644
            yield info.tobuf(tarfile.PAX_FORMAT)
            if isinstance(entry, bytes):
                yield entry
            else:
                with house.blobs.open(entry.digest) if isinstance(entry, Blob) else entry.open("rb") as file:
                    yield from iter(lambda: file.read(_PIECE), b"")
            yield bytes(-info.size % tarfile.BLOCKSIZE)
        yield bytes(2 * tarfile.BLOCKSIZE)
    finally:
        shutil.rmtree(export.folder, ignore_errors=True)


# --- in -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Incoming:
    """Where a bundle goes. `trusted`: the key (name+hash+key) that must have signed it; None: the one that it brings along."""

    name: str  # empty: the name that it has in the bundle
    private: bool = True
    trusted: str | None = None
    size: int = 0  # bytes, where the sender has said so


@dataclass(frozen=True, slots=True)
class Taken:
    kind: Kind
    name: str
    refs: Mapping[str, str]
    commits: int
    files: int  # large ones
    bytes: int  # of these
    statements: int
    origin: str
    key: str  # that signed the list


def take(house: House, actor: Actor, wish: Incoming, pieces: Iterable[bytes]) -> Taken:
    """Read a bundle to its end, check all of it, and only then make the repository. Raises BadBundle, RepositoryExists, QuotaExceeded."""
    if wish.trusted:
        _check_key(wish.trusted)
    if wish.name:
        repositories.check_name(wish.name)
        namespaces.ready(house, actor, wish.name)
        house.db.read(lambda tx: house.access.require(tx, actor, "hub.write", wish.name.partition("/")[0]))
    folder = _scratch(house)
    try:
        _spool(folder / "bundle.tar", pieces, _limit(house, wish.name))
        with (folder / "bundle.tar").open("rb") as spool:
            return _Check(house, actor, wish, spool).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_key(trusted: str) -> None:
    try:
        log.Verifier.parse(trusted)
    except log.BadNote as bad:
        raise BadInput(
            field="trusted", problem="it is no key of a house (name+hash+key)", way_out="Give it as an earlier import has shown it."
        ) from bad


def _limit(house: House, name: str) -> int:
    """Bytes that a bundle for this organisation can have at most: what fits into its quota, and as much again for the history."""
    quota = house.db.read(lambda tx: quotas.of(house, tx, name.partition("/")[0]))
    return MOST if quota.limit is None else min(MOST, 2 * max(quota.limit - quota.used, 0) + _HISTORY)


def _spool(file: Path, pieces: Iterable[bytes], limit: int) -> None:
    size = 0
    with writing(file.parent), file.open("wb") as spool:
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise TooLarge(what="The bundle", size=f"more than {limit}", limit=limit)
            spool.write(piece)


@dataclass(slots=True)
class _Check:
    """One bundle that is being taken in."""

    house: House
    actor: Actor
    wish: Incoming
    spool: BinaryIO
    members: dict[str, tuple[int, int]] = field(default_factory=dict)  # place -> (offset, bytes)
    index: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, PublicKey] = field(default_factory=dict)
    key: str = ""

    def run(self) -> Taken:
        self.find()
        self.read_index()
        self.hash()
        statements = self.statements()
        kind, name = Kind(self.index["kind"]), self.wish.name or str(self.index["name"])
        self.wish = Incoming(name, self.wish.private, self.wish.trusted)
        repositories.check_name(name)
        namespaces.ready(self.house, self.actor, name)
        sizes = {f"sha256:{place.partition('/')[2]}": size for place, (_, size) in self.members.items() if place.startswith("contents/")}

        def may(tx: Tx) -> None:
            self.house.access.require(tx, self.actor, "hub.write", name.partition("/")[0])
            taken = hub_store.same_but_for_case(tx, kind, name)
            if taken is not None:
                raise RepositoryExists(kind=kind.value, name=taken)
            quotas.check(self.house, tx, name.partition("/")[0], sum(sizes.values()))

        self.house.db.read(may)
        with self.window("repository.bundle") as file:
            try:
                refs = git_bundles.read_head(file)
                objects = git_bundles.Objects(file, pushes.OBJECT_LIMIT)
            except BadPack as bad:
                raise BadBundle(place="repository.bundle", problem=str(bad)) from bad
            refs.pop("HEAD", None)
            if refs != self.index["refs"] or not refs:
                raise BadBundle(place="repository.bundle", problem="its refs are not those of bundle.json")
            return self.keep(kind, refs, objects, sizes, statements)

    # --- the archive ---------------------------------------------------------------------------------------------------

    def find(self) -> None:
        """Where each file of the archive lies. Raises BadBundle."""
        try:
            with tarfile.open(fileobj=self.spool, mode="r:") as archive:
                for member in archive:
                    if not member.isreg() or not _MEMBER.fullmatch(member.name) or member.name in self.members:
                        raise BadBundle(place=member.name[:200], problem="it does not belong to a bundle")
                    self.members[member.name] = (member.offset_data, member.size)
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as problem:
            raise BadBundle(place="The archive", problem=f"it cannot be read: {problem}") from problem
        for place in ("bundle.json", "bundle.sig", "repository.bundle"):
            if place not in self.members:
                raise BadBundle(place=place, problem="it is missing: the archive is not whole")

    def window(self, place: str) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_Window(self.spool, *self.members[place]), _PIECE))

    def small(self, place: str, limit: int = _SMALL) -> bytes:
        offset, size = self.members[place]
        if size > limit:
            raise BadBundle(place=place, problem=f"it has more than {limit} bytes")
        self.spool.seek(offset)
        return self.spool.read(size)

    def read_index(self) -> None:
        """bundle.json, signed by the trusted key or by the house's key that came along. Raises BadBundle."""
        content = self.small("bundle.json", _INDEX_LIMIT)
        try:
            self.index = index = json.loads(content)
            if index["format"] != FORMAT:
                raise BadBundle(place="bundle.json", problem=f"its format {index['format']!r} is not {FORMAT}")
            Kind(index["kind"])
            listed = {str(place): (str(entry["sha256"]), int(entry["size"])) for place, entry in index["files"].items()}
            origin, refs = str(index["origin"]), {str(name): str(target) for name, target in index["refs"].items()}
            index["origin"], index["refs"], index["files"] = origin, refs, listed
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise BadBundle(place="bundle.json", problem=f"it cannot be read ({problem!r})") from problem
        for place in [place for place in self.members if place.startswith("keys/")]:
            self.keys |= self._key(place)
        own = [log.Verifier(origin, key.raw()) for key in self.keys.values() if key.holder == HOUSE and key.algorithm == "ed25519"]
        note, why = self.small("bundle.sig").decode("utf-8", "replace"), "no key of the house that it is of came along"
        for verifier in [log.Verifier.parse(self.wish.trusted)] if self.wish.trusted else own:
            try:
                text = log.open_note(note, [verifier])
            except LilongError as bad:
                why = str(bad)
                continue
            if text != signed_text(origin, hashlib.sha256(content).hexdigest()):
                raise BadBundle(place="bundle.json", problem="it is not the list that bundle.sig signs")
            self.key = verifier.vkey
            return
        raise BadBundle(place="bundle.sig", problem=why)

    def _key(self, place: str) -> dict[str, PublicKey]:
        try:
            value = json.loads(self.small(place))
            key = PublicKey.from_pem(str(value["holder"]), str(value["public"]))
        except (ValueError, KeyError, TypeError, LilongError) as problem:
            raise BadBundle(place=place, problem="it is no public key") from problem
        if place != f"keys/{key.keyid}.json":
            raise BadBundle(place=place, problem="its key is not the one that its name tells")
        return {key.keyid: key}

    def hash(self) -> None:
        """Every file is what the list says. Raises BadBundle, which names it."""
        listed: Mapping[str, tuple[str, int]] = self.index["files"]
        present = set(self.members) - {"bundle.json", "bundle.sig"}
        for place in sorted(present ^ set(listed)):
            raise BadBundle(place=place[:200], problem="it is missing" if place in listed else "the list does not have it")
        for place in sorted(present):
            with self.window(place) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            if (digest, self.members[place][1]) != listed[place] or (place.startswith("contents/") and place != f"contents/{digest}"):
                raise BadBundle(place=place, problem="its bytes are not those that were exported")

    def statements(self) -> list[ForeignStatement]:
        found, now = [], stamp(self.house.clock.now())
        for place in sorted(place for place in self.members if place.startswith("statements/")):
            envelope = self.small(place)
            identity = statement_id(envelope)
            try:
                claim, signers = open_envelope(envelope, self.keys)
            except (LilongError, ValueError, RecursionError) as problem:
                raise BadBundle(place=place, problem=str(problem)) from problem
            if place != f"statements/{identity.removeprefix('sha256:')}.json":
                raise BadBundle(place=place, problem="its bytes are not those of the statement that its name tells")
            keys = {key.keyid: (key.holder, key.pem) for key in signers}
            found.append(ForeignStatement(identity, claim.predicate_type, envelope.decode(), keys, self.index["origin"], now))
        return found

    # --- keeping -------------------------------------------------------------------------------------------------------

    def keep(
        self,
        kind: Kind,
        refs: Mapping[str, str],
        objects: git_bundles.Objects,
        sizes: Mapping[str, int],
        statements: list[ForeignStatement],
    ) -> Taken:
        house, name, fresh = self.house, self.wish.name, list[str]()
        now = stamp(house.clock.now())
        draft = Held("", Repository(kind, name, self.wish.private, now), self.actor.user, now)
        examination = Examination(house, self.actor, draft, objects)  # type: ignore[arg-type]
        try:
            self.keep_contents(sizes, fresh)
            order: dict[str, None] = {}
            targets: dict[str, tuple[str, bytes | None, str]] = {}
            for ref, identity in refs.items():
                targets[ref] = self.target(pushes.check_ref(ref), identity, objects)
                order |= dict.fromkeys(examination.bring(targets[ref][0]))
            house.db.write(lambda tx: self.record(tx, kind, examination, list(order), refs, targets, statements))
        except LilongError as problem:
            self.undo(fresh)
            if isinstance(problem, BadInput) and not isinstance(problem, BadBundle):
                raise BadBundle(place="repository.bundle", problem=str(problem)) from problem
            raise
        except BaseException:
            self.undo(fresh)
            raise
        return Taken(kind, name, refs, len(order), len(sizes), sum(sizes.values()), len(statements), self.index["origin"], self.key)

    def keep_contents(self, sizes: Mapping[str, int], fresh: list[str]) -> None:
        now = stamp(self.house.clock.now())
        for digest, size in sizes.items():
            with self.window(f"contents/{digest.removeprefix('sha256:')}") as file:
                blob = self.house.blobs.put(iter(lambda file=file: file.read(_PIECE), b""))  # type: ignore[misc]
            if blob.digest != digest:
                raise BadBundle(place=f"contents/{digest.removeprefix('sha256:')}", problem="its bytes changed while they were read")
            if blob.fresh:
                fresh.append(digest)

            def write(tx: Tx, digest: str = digest, size: int = size, blob: Blob = blob) -> None:
                hub_store.add_upload(tx, self.actor, digest, size, now)
                collecting.came(tx, blob, now)

            self.house.db.write(write)

    def undo(self, fresh: list[str]) -> None:
        as_of = self.house.clock.now().timestamp()
        for digest in fresh:
            self.house.blobs.drop(digest, as_of)

    def target(self, ref: str, identity: str, objects: git_bundles.Objects) -> tuple[str, bytes | None, str]:
        """(commit, content of the tag object, its message) of a ref. Raises BadBundle."""
        found = objects.get(identity)
        if found is not None and found[0] == "commit":
            return identity, None, ""
        if found is not None and found[0] == "tag" and ref.startswith(names.TAGS):
            tag = pushes.tag_of(found[1])
            if tag.kind == "commit":
                return tag.target, found[1], tag.message
        raise BadBundle(place=ref[:200], problem="it does not lead to a commit of the bundle")

    def record(
        self, tx: Tx, kind: Kind, examination: Examination, order: list[str], refs: Mapping[str, str],
        targets: Mapping[str, tuple[str, bytes | None, str]], statements: list[ForeignStatement],
    ) -> None:  # fmt: skip
        house, actor = self.house, self.actor
        now = stamp(house.clock.now())
        held = repositories.add(house, tx, actor, kind, self.wish.name, private=self.wish.private)
        hub_store.add_inline(tx, examination.inline, now)
        hub_store.add_folders(tx, examination.folders)
        if git_store.present_trees(tx, examination.kept) != len(examination.kept):
            raise BadBundle(place="repository.bundle", problem="some of it was collected as garbage meanwhile; import it again")
        named: dict[str, str] = {}
        for identity in order:
            brought = examination.commits[identity]
            placed = hub_store.add_commit(tx, held, brought.commit, brought.content)
            hub_store.add_changes(tx, held, placed, brought.changed)
            hub_store.add_contents(tx, held, brought.large)
            named |= brought.named
        audience.check_files(house, tx, held, named)
        quotas.check(house, tx, held.organisation, 0)
        for ref, (commit, tag, message) in targets.items():
            if ref == names.MAIN:
                found = hub_store.commit(tx, held, commit)
                assert found is not None
                commits.advance(house, tx, actor, held, ref, None, found)
                continue
            hub_store.move_ref(tx, held, ref, None, commit, now, message[:2000])
            if names.is_pull(ref):  # the next discussion here takes a number behind it
                number = int(ref.rpartition("/")[2])
                tx.run("UPDATE hub_repositories SET last_number = :n WHERE id = :id AND last_number < :n", n=number, id=held.id)
            if tag is not None:
                git_store.set_tag(tx, held, Shown(ref, commit, refs[ref]), tag, now)
        store.add_foreign(tx, held.id, statements)
        about = Imported(held.name, held.organisation, kind.value, refs.get(names.MAIN, ""), self.index["origin"], refs.get(names.MAIN, ""))
        house.events.append(tx, actor, about)


class _Window(io.RawIOBase):
    """One file inside the archive, as a file of its own; closing it leaves the archive open."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._offset + self._at)
        piece = self._file.read(min(len(buffer), self._size - self._at))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = min(max(offset + (0, self._at, self._size)[whence], 0), self._size)
        return self._at

    def tell(self) -> int:
        return self._at


# --- what others have signed --------------------------------------------------------------------------------------------


def foreign(house: House, actor: Actor, kind: Kind, name: str) -> list[ForeignStatement]:
    """Raises RepositoryNotFound."""

    def read(tx: Tx) -> list[ForeignStatement]:
        return store.foreign(tx, reading.opened(house, tx, actor, kind, name).id)

    return house.db.read(read)


def start(house: House) -> None:
    """What a crash left of bundles on their way goes."""
    if house.background:
        shutil.rmtree(house.settings.run / "bundles", ignore_errors=True)
