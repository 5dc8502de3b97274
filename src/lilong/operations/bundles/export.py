"""Gathers the evidence of one thing into a bundle that anyone can check (check.py): as a folder, or as a tar stream.

What goes in: every statement on the way down from the subject, the reports, certificates and registrations of the models it is
about, revocations of any of these, their log entries with proofs, the keys, and the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from lilong.ground import log, manifest
from lilong.ground.blobs import Blob, Blobs, sync_folder
from lilong.ground.errors import Conflict, Unavailable
from lilong.ground.events import Recorded, SqlNodes, origin_of
from lilong.ground.evidence import Artifact, Step
from lilong.ground.seams import stamp
from lilong.ground.signing import PublicKey
from lilong.operations.bundles.check import FORMAT, signed_text
from lilong.operations.bundles.findings import Progress, silent

if TYPE_CHECKING:
    from lilong.ground.db import Tx
    from lilong.ground.house import House

_SMALL = 16 << 20  # bytes: larger blobs of single artifacts stay in the house; repositories' files have no such limit
_IN_REPOSITORIES = frozenset({"model", "corpus"})
_JUDGEMENTS = frozenset({"report", "certificate", "registration", "review"})
_OLD_CHECKPOINTS = 8

Files = Literal["subject", "all", "none"]


class NotABundle(Conflict):
    """{folder} exists and is not a bundle, so it is not replaced. Give another --out."""


class CutShort(Unavailable):
    """The bundle ended before it was whole; nothing was kept of it. Export it again."""


@dataclass(frozen=True, slots=True)
class Held:
    """The files that a manifest digest stands for. `name`: organisation/repository@commit."""

    name: str
    files: Mapping[str, Blob]


@dataclass(slots=True)
class Package:
    """A bundle before it is written: path → its bytes, or the blob that holds them."""

    entries: dict[str, bytes | Blob] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(entry.size if isinstance(entry, Blob) else len(entry) for entry in self.entries.values())


def gather(
    house: House,
    subject: Artifact,
    held: Callable[[Tx, str], Held | None],
    *,
    files: Files = "subject",
) -> Package:
    """Everything for a bundle about `subject`. `held` answers which files a manifest digest stands for.

    `files`: those of the models nearest to the subject, of every repository met, or of none.
    """
    signer, origin = house.keys.house(), origin_of(house.settings.name)

    def sign_now(tx: Tx) -> str:
        house.evidence.enrol(tx, signer.public)
        house.evidence.enrol(tx, PublicKey.of("models", house.keys.models().public_key()))
        return house.events.checkpoint(tx, signer, origin)

    note = house.db.write(sign_now)
    checkpoint = log.Checkpoint.parse(log.open_note(note, [log.Verifier(origin, signer.public.raw())]))
    return house.db.read(lambda tx: _Gathering(house, tx, origin, checkpoint, note, held).package(subject, files))


class _Gathering:
    """One package in the making, on one snapshot of the database, up to one checkpoint of the log."""

    def __init__(
        self, house: House, tx: Tx, origin: str, checkpoint: log.Checkpoint, note: str, held: Callable[[Tx, str], Held | None]
    ) -> None:
        self.house, self.tx, self.origin, self.checkpoint, self.note, self.held = house, tx, origin, checkpoint, note, held
        self.package_ = Package()
        self.manifests: dict[str, dict[str, Any]] = {}

    def put(self, place: str, value: bytes | Blob | dict[str, Any]) -> None:
        self.package_.entries[place] = _json(value) if isinstance(value, dict) else value

    def package(self, subject: Artifact, files: Files) -> Package:
        steps, nearest = self.steps(subject)
        events: dict[int, Recorded] = {}
        known = self.house.evidence.keys(self.tx)
        for step in steps:
            statement = self.house.evidence.get(self.tx, step.id)
            self.put(f"statements/{_hex(step.id)}.json", self.house.evidence.envelope(self.tx, step.id))
            for event in self.house.events.about(self.tx, step.id):
                if event.seq < self.checkpoint.size:
                    events[event.seq] = event
            for keyid in statement.signers:
                self.key(known[keyid], events)
        self.key(self.house.keys.house().public, events)
        self.key(PublicKey.of("models", self.house.keys.models().public_key()), events)
        self.log(events)
        self.files(steps, nearest, files)
        self.index(subject)
        return self.package_

    def steps(self, subject: Artifact) -> tuple[list[Step], set[str]]:
        """The statements that go in, and the digests of the models that the bundle is about."""
        graph = self.house.evidence.down(self.tx, subject.digest)
        met = {step.id: step for step in graph.steps}
        held = [artifact for artifact in graph.artifacts if artifact.kind in _IN_REPOSITORIES]
        closest = min((graph.depths[artifact.digest] for artifact in held), default=0)
        nearest = {artifact.digest for artifact in held if graph.depths[artifact.digest] == closest}
        models = {artifact.digest for artifact in held if artifact.kind == "model" and artifact.digest in nearest}
        for digest in sorted(models or nearest):
            for statement in self.house.evidence.about(self.tx, digest, "material"):
                if statement.revoked_by is None and any(each.kind in _JUDGEMENTS for each in statement.subjects):
                    met.update({step.id: step for step in self.house.evidence.down(self.tx, statement.id).steps})
        for step in list(met.values()):
            beside = [step.revoked_by] if step.revoked_by else []
            if any(artifact.kind == "answer" for artifact in step.subjects):
                beside.append(str(self.house.evidence.get(self.tx, step.id).predicate["seal"]))
            for identity in beside:
                met.update({each.id: each for each in self.house.evidence.down(self.tx, identity).steps if each.id == identity})
        return sorted((step for step in met.values() if step.seq < self.checkpoint.size), key=lambda step: step.seq), models or nearest

    def key(self, key: PublicKey, events: dict[int, Recorded]) -> None:
        self.put(f"keys/{key.keyid}.json", {"keyid": key.keyid, "holder": key.holder, "algorithm": key.algorithm, "public": key.pem})
        for event in self.house.events.about(self.tx, key.keyid):
            events[event.seq] = event

    def log(self, events: Mapping[int, Recorded]) -> None:
        nodes, size = SqlNodes(self.tx), self.checkpoint.size
        for seq, event in events.items():
            self.put(f"events/{seq}.json", event.as_json())
            self.put(f"proofs/{seq}.json", {"seq": seq, "size": size, "path": [each.hex() for each in log.inclusion(nodes, seq, size)]})
        self.put("checkpoint.txt", self.note.encode())
        older = self.tx.rows(
            "SELECT size, note FROM ground_checkpoints WHERE size < :size AND size > 0 ORDER BY size DESC LIMIT :limit", size=size, limit=_OLD_CHECKPOINTS
        )
        for row in older:
            if not row["note"].startswith(f"{self.origin}\n"):
                continue  # from before the house was renamed: another log to those who check
            path = log.consistency(nodes, row["size"], size)
            self.put(f"checkpoints/{row['size']}.txt", row["note"].encode())
            self.put(f"proofs/consistency-{row['size']}.json", {"old": row["size"], "new": size, "path": [each.hex() for each in path]})

    def files(self, steps: list[Step], nearest: set[str], files: Files) -> None:
        key = self.house.keys.models()
        for artifact in {each.digest: each for step in steps for each in (*step.subjects, *step.materials)}.values():
            if artifact.kind not in _IN_REPOSITORIES:
                if artifact.kind != "source" and self.house.blobs.has(artifact.digest) and self.house.blobs.size(artifact.digest) <= _SMALL:
                    self.put(f"artifacts/{_hex(artifact.digest)}", Blob(artifact.digest, self.house.blobs.size(artifact.digest)))
                continue
            held = self.held(self.tx, artifact.digest)
            if held is None:
                continue
            folder = f"files/{held.name}" if files == "all" or (files == "subject" and artifact.digest in nearest) else None
            digests = {path: blob.digest for path, blob in held.files.items()}
            listed = [{"path": path, "digest": blob.digest, "size": blob.size} for path, blob in sorted(held.files.items())]
            self.manifests[artifact.digest] = {"name": held.name, "kind": artifact.kind, "folder": folder, "files": listed}
            if folder is not None:
                for path, blob in held.files.items():
                    self.put(f"{folder}/{path}", blob)
                self.put(f"signatures/{_hex(artifact.digest)}.sig", manifest.sign(held.name, digests, key))
        self.put("model-key.pem", PublicKey.of("models", key.public_key()).pem.encode())

    def index(self, subject: Artifact) -> None:
        signer = self.house.keys.house()
        value = {
            "format": FORMAT,
            "origin": self.origin,
            "subject": {"name": subject.name, "digest": subject.digest, "kind": subject.kind},
            "exported_at": stamp(self.house.clock.now()),
            "size": self.checkpoint.size,
            "manifests": self.manifests,
            "files": {place: _listed(entry) for place, entry in sorted(self.package_.entries.items())},
        }
        self.put("bundle.json", value)
        text = signed_text(self.origin, hashlib.sha256(_json(value)).hexdigest())
        self.put("bundle.sig", log.sign_note(text, self.origin, signer.private).encode())


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _listed(entry: bytes | Blob) -> dict[str, Any]:
    if isinstance(entry, Blob):
        return {"sha256": _hex(entry.digest), "size": entry.size}
    return {"sha256": hashlib.sha256(entry).hexdigest(), "size": len(entry)}


def stream(package: Package, blobs: Blobs) -> Iterator[bytes]:
    """The package as a tar archive, piece by piece. The list comes last: an archive that has it is whole."""
    for place, entry in sorted(package.entries.items(), key=lambda item: (item[0] == "bundle.json", item[0])):
        info = tarfile.TarInfo(place)
        info.size, info.mode = (entry.size if isinstance(entry, Blob) else len(entry)), 0o644
        yield info.tobuf(tarfile.PAX_FORMAT)
        if isinstance(entry, Blob):
            with blobs.open(entry.digest) as file:
                yield from iter(lambda: file.read(1 << 18), b"")
        else:
            yield entry
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def unpack(chunks: Iterator[bytes], out: Path, progress: Progress = silent) -> None:
    """Lay the bundle in a tar stream down as the folder `out`, whole or not at all; an earlier bundle there is replaced.

    Raises NotABundle where something else is there, CutShort where the stream is not whole.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "bundle.json").exists())):
        raise NotABundle(folder=out)
    out.parent.mkdir(parents=True, exist_ok=True)
    incoming = out.with_name(f".{out.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    try:
        done = 0
        with tarfile.open(fileobj=cast(IO[bytes], _Reader(chunks)), mode="r|") as archive:
            for member in archive:
                archive.extract(member, incoming, filter="data")
                done += member.size
                progress(member.name, done, 0)
        if not (incoming / "bundle.json").exists():
            raise CutShort()
        if out.exists():
            shutil.rmtree(out)
        os.replace(incoming, out)
    except tarfile.TarError as problem:
        shutil.rmtree(incoming, ignore_errors=True)
        raise CutShort() from problem
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    sync_folder(out.parent)


class _Reader:
    """Chunks as a file that tarfile can read from front to back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._held) < size and (chunk := next(self._chunks, None)) is not None:
            self._held += chunk
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken
