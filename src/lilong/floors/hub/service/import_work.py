"""The work of an import, in small durable steps, so that a crash costs at most a piece of one file.

resolve (the revision becomes a commit, once) → list (all files with their sizes and digests; quota) → fetch → commit.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import structlog

from lilong.floors.hub import store as hub_store
from lilong.floors.hub.contract import Imported, Kind, Revision
from lilong.floors.hub.git import attributes
from lilong.floors.hub.rules import files as file_rules
from lilong.floors.hub.rules.sources import Source
from lilong.floors.hub.store import collecting
from lilong.floors.hub.store import imports as store
from lilong.floors.hub.store.imports import File, Import
from lilong.ground.access import Actor
from lilong.ground.blobs import storage_full
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import commits, mirrors, outgoing, quotas, remote
from .remote import Remote, Stopped

log = structlog.get_logger("lilong.hub.imports")

PREDICATE = "https://lilong.dev/hub-import/v1"
PAUSES: Sequence[float] = (2.0, 10.0, 60.0, 300.0)  # seconds before a source that was away is asked again
_WORKERS = 2  # imports at a time
_SIDE_BY_SIDE = 4  # files of one import at a time
_TOGETHER = 1000
_IDLE = 5.0  # seconds between two looks for work when nobody has called


# --- where its things lie -----------------------------------------------------------------------------------------------


def token_file(house: House, identity: str) -> Path:
    return house.settings.keys / "imports" / f"{identity}.token"  # the id is ours, never a user's word


def token_of(house: House, identity: str) -> str:
    try:
        return token_file(house, identity).read_text()
    except FileNotFoundError:
        return ""


def parts(house: House, identity: str) -> Path:
    return house.settings.run / "imports" / identity


def clear(house: House, found: Import) -> None:
    shutil.rmtree(parts(house, found.id), ignore_errors=True)
    if found.mode == "copy" or found.state == "cancelled":
        token_file(house, found.id).unlink(missing_ok=True)


# --- the work -----------------------------------------------------------------------------------------------------------


def carry_out(house: House, identity: str, stop: threading.Event | None = None) -> None:
    """Take an import from wherever it is to its end; a source that is away is asked again a few times."""
    stop = stop or threading.Event()
    for pause in (*PAUSES, None):
        found = house.db.read(lambda tx: store.get(tx, identity))
        if found is None or found.state not in store.OPEN:
            return
        try:
            _Work(house, found, stop).run()
            return
        except Stopped:
            if not stop.is_set():
                clear(house, replace(found, state="cancelled"))
            return
        except outgoing.SourceAway as away:
            if pause is None:
                _fail(house, identity, str(away))
            elif stop.wait(pause):
                return
        except LilongError as problem:
            _fail(house, identity, str(problem))
            return
        except Exception as problem:
            if (full := storage_full(problem, parts(house, identity))) is not None:
                _fail(house, identity, str(full))
                return
            log.error("import failed", id=identity, error=repr(problem), exc_info=problem)
            _fail(house, identity, "Something went wrong inside the house; its log says what.")
            return


def _fail(house: House, identity: str, error: str) -> None:
    house.db.write(lambda tx: store.update(tx, identity, stamp(house.clock.now()), state="failed", error=error[:2000]))


class _Work:
    """One go at an import."""

    def __init__(self, house: House, found: Import, stop: threading.Event) -> None:
        self.house, self.found, self.stop = house, found, stop
        self.source = Source(found.endpoint, found.kind, found.source, found.revision)
        self.remote: Remote = remote.of(house, self.source, token_of(house, found.id))
        self.actor = Actor(found.asked_by)
        self.folder = parts(house, found.id)

    def run(self) -> None:
        self.note(state="running")
        if not self.found.pinned:
            self.note(pinned=remote.pinned(self.remote), stage="list")
        if self.found.stage == "list":
            self.list()
            self.note(stage="fetch")
        files = self.house.db.read(lambda tx: store.files(tx, self.found.id))
        away = self.away(files)
        self.fetch([file for file in files if not file.digest and file.path not in away])
        self.note(stage="commit")
        self.commit(away)
        clear(self.house, self.found)

    def note(self, **changed: str) -> None:
        """Write down where the import is. Raises Stopped where somebody has cancelled it."""
        if self.stop.is_set() or not self.house.db.write(
            lambda tx: store.update(tx, self.found.id, stamp(self.house.clock.now()), **changed)
        ):
            raise Stopped()
        self.found = replace(self.found, **changed)  # type: ignore[arg-type]

    def list(self) -> None:
        total, batch, limit = 0, list[File](), self.house.settings.max_file_mib << 20
        for file in remote.files(self.remote, self.found.pinned):
            if any(fnmatch.fnmatchcase(file.path, pattern) for pattern in self.found.excluded):
                continue
            remote.check_import(file, limit)
            file_rules.check_name(self.found.kind, file.path)
            total += file.size if file.sha256 else 0
            batch.append(file)
            if len(batch) >= _TOGETHER:
                self.keep(batch)
                batch = []
        self.keep(batch)
        if self.found.mode == "copy":
            self.house.db.read(lambda tx: quotas.check(self.house, tx, self.found.organisation, total))

    def keep(self, batch: Sequence[File]) -> None:
        self.house.db.write(lambda tx: store.set_files(tx, self.found.id, batch))
        if self.stop.is_set():
            raise Stopped()

    def away(self, files: Sequence[File]) -> set[str]:
        """The files of a mirror that wait for a reader: those that git keeps as pointers here as well as there.

        What the house has from somebody else must come from the source all the same: knowing a digest is no proof of having the bytes.
        """
        if self.found.mode != "mirror":
            return set()
        listing = next((file for file in files if file.path == attributes.PATH), None)
        rules = attributes.parse("")
        if listing is not None and listing.size <= attributes.LIMIT:
            self.fetch([listing] if not listing.digest else [])
            digest = listing.digest or next(
                f.digest for f in self.house.db.read(lambda tx: store.files(tx, self.found.id)) if f.path == attributes.PATH
            )
            rules = attributes.parse(self.house.blobs.read(digest).decode(errors="replace"))
        large = {file.path: file for file in files if file.sha256 and file_rules.large(file.path, file.size, rules)}
        # The source sees what we fetch at once: that must not tell it what others have here.
        known = self.known([f"sha256:{file.sha256}" for file in large.values()])
        return {path for path, file in large.items() if not self.has(known, file)}

    def known(self, digests: Sequence[str]) -> set[str]:
        """Those of these digests whose bytes the asker has sent, or may read in public or where the import goes: the token by which they
        asked may have reached no further."""
        condition, given = self.house.access.visible(self.actor, "hub.read", "r.organisation")
        seen = f"({condition} AND r.organisation = :import_into)", {**given, "import_into": self.found.organisation}
        return self.house.db.read(lambda tx: hub_store.known_to(tx, self.actor, digests, seen)) if digests else set()

    def has(self, known: set[str], file: File) -> bool:
        digest = f"sha256:{file.sha256}"
        return digest in known and self.house.blobs.has(digest) and self.house.blobs.size(digest) == file.size

    def fetch(self, files: Sequence[File]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = self.known([f"sha256:{file.sha256}" for file in files if file.sha256])
        failed = threading.Event()

        def bring(file: File) -> None:
            if failed.is_set() or self.stop.is_set():
                raise Stopped()
            try:
                digest = f"sha256:{file.sha256}" if self.has(known, file) else self.bring(file)
                self.house.db.write(lambda tx: store.set_received(tx, self.found.id, file.path, file.size, digest))
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="hub-import") as pool:
            going = [pool.submit(bring, file) for file in files]
        problems = [problem for each in going if (problem := each.exception()) is not None]
        real = [problem for problem in problems if not isinstance(problem, Stopped)]
        if problems:
            raise (real or problems)[0]

    def bring(self, file: File) -> str:
        part = self.folder / f"{hashlib.sha256(file.path.encode()).hexdigest()}.part"

        def told(received: int) -> None:
            def write(tx: Tx) -> bool:
                store.set_received(tx, self.found.id, file.path, received)
                found = store.get(tx, self.found.id)
                return found is not None and found.state in store.OPEN

            if not self.house.db.write(write) or self.stop.is_set():
                raise Stopped()

        digest = remote.fetch(self.remote, self.found.pinned, file, part, told)
        blob = self.house.blobs.put_file(part)
        assert blob.digest == digest
        now = stamp(self.house.clock.now())

        def write_blob(tx: Tx) -> None:
            if file.sha256:
                hub_store.add_upload(tx, self.actor, digest, blob.size, now)
            collecting.came(tx, blob, now)

        self.house.db.write(write_blob)
        part.unlink()
        return digest

    def commit(self, away: set[str]) -> None:
        files = self.house.db.read(lambda tx: store.files(tx, self.found.id))
        blobs = {file.path: file.digest or f"sha256:{file.sha256}" for file in files}
        record = self.record(files)
        kept = commits.kept(self.house, record)
        absent = [file for file in files if file.path in away]

        def then(tx: Tx, revision: Revision) -> None:
            statement = self.state(tx, revision, files, kept.digest)
            if self.found.mode == "mirror":
                mirrors.adopt(self.house, tx, self.found, absent)
            changed = {"state": "done", "made": revision.commit, "manifest": revision.manifest, "statement": statement, "error": ""}
            if not store.update(tx, self.found.id, stamp(self.house.clock.now()), **changed):
                raise Stopped()
            about = Imported(
                revision.repository.name,
                self.found.organisation,
                self.found.kind.value,
                revision.commit,
                self.source.page,
                self.found.pinned,
            )
            self.house.events.append(tx, self.actor, about)

        with mirrors.peeking(self.house, self.remote, self.found.pinned, absent):
            commits.publish(
                self.house, self.actor, self.found.kind, self.found.name, blobs, self.message(), then, private=self.found.private
            )

    def message(self) -> str:
        verb = "Mirror" if self.found.mode == "mirror" else "Import"
        return f"{verb} {self.source.page} at {self.found.pinned[:12]}\n\nSource: {self.source.page}\nCommit: {self.found.pinned}\nAsked for: {self.found.revision}"

    def record(self, files: Sequence[File]) -> bytes:
        """What the source held, for the evidence: kept as a blob, named by the statement."""
        listed = [
            {"path": file.path, "size": file.size, **({"sha256": file.sha256} if file.sha256 else {"git": file.git_id})} for file in files
        ]
        value = {"source": self.source.page, "commit": self.found.pinned, "excluded": list(self.found.excluded), "files": listed}
        return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    def state(self, tx: Tx, revision: Revision, files: Sequence[File], record: str) -> str:
        manifest = revision.manifest
        materials = [Artifact(f"{self.source.page}@{self.found.pinned}", record, "source")]
        materials += [
            Artifact(f"{revision.repository.name}/{file.path}", file.digest, "licence")
            for file in files
            if file.digest and file.path.upper().split(".")[0] in ("LICENSE", "LICENCE", "COPYING")
        ]
        kind = "model" if self.found.kind is Kind.MODEL else "corpus"
        made = self.house.evidence.issue(
            tx, self.actor, predicate_type=PREDICATE, subjects=[Artifact(f"{revision.repository.name}@{revision.commit}", manifest, kind)],
            materials=materials,
            predicate={
                "source": self.source.page, "commit": self.found.pinned, "revision": self.found.revision, "mode": self.found.mode,
                "files": len(files), "bytes": sum(file.size for file in files), "checked": "sha256 of large files, git id of the others",
            },
        )  # fmt: skip
        return made.id


# --- threads ------------------------------------------------------------------------------------------------------------

_called = threading.Condition()
_calls = 0


def call() -> None:
    global _calls  # noqa: PLW0603
    with _called:
        _calls += 1
        _called.notify_all()


class Workers:
    """The threads of one server that carry imports out, each import in one of them."""

    def __init__(self, house: House, count: int = _WORKERS) -> None:
        self._house = house
        self._stop = threading.Event()
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name=f"hub-import-{n}", daemon=True) for n in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        call()
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self) -> None:
        seen = -1
        while not self._stop.is_set():
            identity = None
            with contextlib.suppress(LilongError):
                identity = self._take()
            if identity is None:
                with _called:
                    if _calls == seen:
                        _called.wait(_IDLE)
                    seen = _calls
                continue
            try:
                carry_out(self._house, identity, self._stop)
            except Exception as problem:
                log.error("import not carried out", id=identity, error=repr(problem))
                self._stop.wait(_IDLE)
            finally:
                with self._lock:
                    self._taken.discard(identity)

    def _take(self) -> str | None:
        with self._lock:
            waiting = self._house.db.read(store.unfinished)
            for identity in waiting:
                if identity not in self._taken:
                    self._taken.add(identity)
                    return identity
        return None
