"""Checks an exported bundle with nothing but its folder: no house, no database, no network.

    bundle.json, bundle.sig     what is in it, and the house's signature over that list
    checkpoint.txt, checkpoints/<size>.txt   signed notes of the log, the newest and earlier ones
    keys/<keyid>.json           public keys; model-key.pem is the one for `model_signing verify key`
    statements/<hex>.json       DSSE envelopes, as signed
    events/<seq>.json           the log entries of these statements and keys
    proofs/<seq>.json           that an entry is in the log; proofs/consistency-<size>.json: that it only grew since
    artifacts/<hex>             small things that statements name, by their digest
    files/<org>/<name>@<commit>/…   the files of repositories; signatures/<hex>.sig: their OpenSSF signatures

Every signature is checked, every file read and hashed, every entry proved to be in the log, and the statements must lead from the
subject down to sources and licences. An answer's record is an artifact, and its statement holds the way to its sealed segment. The key is told in the findings: who does not trust the bundle's own passes the right one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lilong.ground import log, manifest
from lilong.ground.envelope import REVOCATION, Artifact, Claim, fallen, open_envelope, statement_id
from lilong.ground.errors import LilongError
from lilong.ground.events import Recorded
from lilong.ground.signing import HOUSE, PublicKey
from lilong.operations.bundles.findings import Findings, Notes, Progress, silent

FORMAT = "lilong-bundle/1"
MADE_OF_SOMETHING = frozenset({"answer", "certificate", "corpus", "deployment", "model", "registration", "report"})
"""Kinds of artifact that a statement must say the making of; the others are where a walk down may end."""


def signed_text(origin: str, sha256: str) -> str:
    """What bundle.sig says: the hex digest of bundle.json, under the house's name."""
    return f"{origin}/bundle\nsha256:{sha256}\n"


def verify(folder: Path, *, trusted: str | None = None, progress: Progress = silent) -> Findings:
    """Check a bundle. `trusted`: the verifier key (name+hash+key) that must have signed it. Never raises for what the bundle holds."""
    check = _Check(folder, trusted, progress)
    check.run()
    return Findings(
        len(check.claims), len(check.events), check.files, check.size, check.verifier.vkey if check.verifier else "", tuple(check.notes)
    )  # fmt: skip


class _Check:
    def __init__(self, folder: Path, trusted: str | None, progress: Progress) -> None:
        self.folder, self.trusted, self.progress = folder, trusted, progress
        self.notes = Notes()
        self.index: dict[str, Any] = {}
        self.verifier: log.Verifier | None = None
        self.checkpoint: log.Checkpoint | None = None
        self.keys: dict[str, PublicKey] = {}
        self.events: dict[int, Recorded] = {}
        self.claims: dict[str, Claim] = {}
        self.files = self.size = 0

    def run(self) -> None:
        with self.at("bundle.json"):
            self.index = json.loads(self.read("bundle.json"))
            if self.index["format"] != FORMAT:
                self.notes.add("bundle.json", f"its format {self.index['format']!r} is not {FORMAT}")
        if not self.index or self.notes:
            return
        for check in (self.check_keys, self.check_index, self.check_files, self.check_checkpoint, self.check_events,
                      self.check_statements, self.check_manifests, self.check_answers, self.check_links):  # fmt: skip
            with self.at("bundle.json"):
                check()

    # --- reading -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Whatever is wrong with the content of a file is noted at that file."""
        try:
            yield
        except FileNotFoundError:
            self.notes.add(place, "it is missing")
        except LilongError as problem:
            self.notes.add(place, str(problem))
        except Exception as problem:  # a bundle comes from anyone: nothing in it may stop the check
            self.notes.add(place, f"it cannot be read: {problem!r}")

    def read(self, place: str) -> bytes:
        path = self.folder / place
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError(place)
        return path.read_bytes()

    def names(self, folder: str) -> list[str]:
        """The listed files right in a folder of the bundle, as `folder/name`."""
        return sorted(name for name in self.index["files"] if name.startswith(f"{folder}/") and name.count("/") == 1)

    # --- the list and the files --------------------------------------------------------------------------------------------

    def check_keys(self) -> None:
        for place in self.names("keys"):
            with self.at(place):
                value = json.loads(self.read(place))
                key = PublicKey.from_pem(value["holder"], value["public"])
                if (key.keyid, key.algorithm, f"keys/{key.keyid}.json") != (value["keyid"], value["algorithm"], place):
                    self.notes.add(place, "its key is not the one that its name tells")
                self.keys[key.keyid] = key

    def check_index(self) -> None:
        """The list is signed by the house: by the trusted key, or else by the bundle's own."""
        with self.at("bundle.sig"):
            own = [log.Verifier(self.index["origin"], key.raw()) for key in self.keys.values() if key.holder == HOUSE]
            note = self.read("bundle.sig").decode()
            failure: LilongError = log.BadNote(place="bundle.sig", problem="no key of the house is in keys/")
            for verifier in [log.Verifier.parse(self.trusted)] if self.trusted else own:
                try:
                    text = log.open_note(note, [verifier])
                except log.BadNote as problem:
                    failure = problem
                    continue
                self.verifier = verifier
                expected = hashlib.sha256(self.read("bundle.json")).hexdigest()
                if text != signed_text(self.index["origin"], expected):
                    self.notes.add("bundle.json", "it is not the list that bundle.sig signs")
                return
            raise failure

    def check_files(self) -> None:
        """What is listed is there with its bytes, and nothing else is."""
        listed: Mapping[str, Mapping[str, Any]] = self.index["files"]
        present = set(_walk(self.folder)) - {"bundle.json", "bundle.sig"}
        for place in sorted(present - set(listed)):
            self.notes.add(place, "it does not belong to the bundle")
        total = sum(int(entry["size"]) for entry in listed.values())
        for place, entry in sorted(listed.items()):
            if place not in present:
                self.notes.add(place, "it is missing")
                continue
            with self.at(place):
                digest, size = self.hash(place, total)
                self.files += 1
                if digest != entry["sha256"] or size != entry["size"]:
                    self.notes.add(place, "its bytes are not those that bundle.json lists")
                if place.startswith("artifacts/") and place != f"artifacts/{digest}":
                    self.notes.add(place, "its bytes are not those of the artifact that its name tells")

    def hash(self, place: str, total: int) -> tuple[str, int]:
        hasher, size = hashlib.sha256(), 0
        handle = os.open(self.folder / place, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
                size += len(chunk)
                self.size += len(chunk)
                self.progress(place, self.size, total)
        return hasher.hexdigest(), size

    # --- the log -----------------------------------------------------------------------------------------------------------

    def check_checkpoint(self) -> None:
        verifiers = [self.verifier] if self.verifier else []
        with self.at("checkpoint.txt"):
            checkpoint = self.checkpoint = log.Checkpoint.parse(log.open_note(self.read("checkpoint.txt").decode(), verifiers))
            if checkpoint.origin != self.index["origin"]:
                self.notes.add("checkpoint.txt", "it is of another log")
        for place in self.names("checkpoints"):
            with self.at(place):
                old = log.Checkpoint.parse(log.open_note(self.read(place).decode(), verifiers))
                proof_place = f"proofs/consistency-{old.size}.json"
                with self.at(proof_place):
                    proof = json.loads(self.read(proof_place))
                    path = [bytes.fromhex(each) for each in proof["path"]]
                    new = self.checkpoint
                    if new and (
                        (proof["old"], proof["new"], old.origin) != (old.size, new.size, new.origin)
                        or not log.verify_consistency(old.size, new.size, old.root, new.root, path)
                    ):
                        self.notes.add(proof_place, f"the log at {place} is not the beginning of the log at checkpoint.txt")

    def check_events(self) -> None:
        checkpoint = self.checkpoint
        for place in self.names("events"):
            with self.at(place):
                event = Recorded.from_row(json.loads(self.read(place)))
                if place != f"events/{event.seq}.json":
                    self.notes.add(place, "its number is not the one that its name tells")
                if event.body_fits:
                    self.events[event.seq] = event
                else:
                    self.notes.add(place, "its body is not the one that was logged")
                proof_place = f"proofs/{event.seq}.json"
                with self.at(proof_place):
                    proof = json.loads(self.read(proof_place))
                    path = [bytes.fromhex(each) for each in proof["path"]]
                    if checkpoint and not log.verify_inclusion(event.leaf, event.seq, checkpoint.size, path, checkpoint.root):
                        self.notes.add(place, f"{proof_place} does not prove that it is in the log at checkpoint.txt")
        bound = {(event.subject, event.body.get("holder"), event.body.get("public")) for event in self._of_kind("key.registered")}
        for key in self.keys.values():
            if (key.keyid, key.holder, key.pem) not in bound:
                self.notes.add(f"keys/{key.keyid}.json", f"no log entry says that this key is {key.holder}'s")

    def _of_kind(self, kind: str) -> list[Recorded]:
        return [event for event in self.events.values() if event.kind == kind and event.body_text is not None]

    # --- statements --------------------------------------------------------------------------------------------------------

    def check_statements(self) -> None:
        issued = {event.subject: event for event in self._of_kind("statement.issued")}
        places = self.names("statements")
        for number, place in enumerate(places):
            self.progress("statements", number, len(places))
            with self.at(place):
                content = self.read(place)
                identity = statement_id(content)
                if place != f"statements/{identity.removeprefix('sha256:')}.json":
                    self.notes.add(place, "its bytes are not those of the statement that its name tells")
                claim, _ = open_envelope(content, self.keys)
                if identity not in issued:
                    self.notes.add(place, "no log entry says that it was issued")
                elif issued[identity].body["predicate_type"] != claim.predicate_type:
                    self.notes.add(place, "its log entry says that it is of another type")
                self.claims[identity] = claim
        revoked = {subject.digest: claim for claim in self.claims.values() if claim.predicate_type == REVOCATION for subject in claim.subjects}
        for event in self._of_kind("statement.revoked"):
            if event.subject in self.claims and event.subject not in revoked:
                self.notes.add(f"events/{event.seq}.json", "it revokes a statement, and the revocation is not in the bundle")
        makings = {identity: (claim.made, claim.made_of) for identity, claim in self.claims.items() if claim.predicate_type != REVOCATION}
        undone = fallen(makings, revoked)
        judged = {self.index["subject"]["digest"]: self.index["subject"]["name"]}
        judged.update({each.digest: each.name for claim in self.claims.values() for each in claim.subjects if each.kind == "registration"})
        for cause in sorted({undone[digest] for digest in judged if digest in undone}):
            names = ", ".join(name for digest, name in judged.items() if undone.get(digest) == cause)
            why = f"{self.claims[cause].predicate_type} was revoked: {revoked[cause].predicate.get('reason')}"
            self.notes.add(f"statements/{cause.removeprefix('sha256:')}.json", f"{why}; {names} no longer holds")

    def check_manifests(self) -> None:
        for digest, entry in self.index["manifests"].items():
            digests = {file["path"]: file["digest"] for file in entry["files"]}
            if manifest.root(digests) != digest:
                self.notes.add("bundle.json", f"the files of {entry['name']} do not have the manifest {digest}")
            if entry["folder"] is None:
                continue
            for path, expected in digests.items():
                place = f"{entry['folder']}/{path}"
                if self.index["files"].get(place, {}).get("sha256") != expected.removeprefix("sha256:"):
                    self.notes.add(place, f"it is not the file of {entry['name']} that the statements are about")

    def check_answers(self) -> None:
        """The record of an answer is a leaf of its segment, a usage statement seals the segment's head, and the model is the one below."""
        sealed = {subject.digest for claim in self.claims.values() for subject in claim.subjects if subject.kind == "usage"}
        models = {artifact.digest for claim in self.claims.values() for artifact in claim.materials if artifact.kind == "model"}
        for claim in self.claims.values():
            for answer in (subject for subject in claim.subjects if subject.kind == "answer"):
                place = f"artifacts/{answer.digest.removeprefix('sha256:')}"
                with self.at(place):
                    record, told = self.read(place), claim.predicate
                    path, root = [bytes.fromhex(each) for each in told["path"]], bytes.fromhex(told["root"])
                    if not log.verify_inclusion(log.leaf_hash(record), told["index"], told["records"], path, root):
                        self.notes.add(place, "its proof does not lead to the head of its segment")
                    if f"sha256:{told['root']}" not in sealed:
                        self.notes.add(place, "no statement seals the segment that it stands in")
                    receipt = json.loads(record)
                    if receipt["id"] != answer.name or receipt["revision"] not in models:
                        self.notes.add(place, "it is not about a model of this bundle")

    def check_links(self) -> None:
        """From the subject down, everything that was made of something has a statement that says of what, to sources and licences."""
        start = Artifact(self.index["subject"]["name"], self.index["subject"]["digest"], self.index["subject"]["kind"])
        makers: dict[str, list[str]] = {identity: [identity] for identity in self.claims}
        for identity, claim in self.claims.items():
            if claim.predicate_type != REVOCATION:
                for subject in claim.made:
                    makers.setdefault(subject.digest, []).append(identity)
        met, waiting, kinds = {start.digest}, [start], set()
        for artifact in waiting:
            kinds.add(artifact.kind)
            if artifact.kind in MADE_OF_SOMETHING | {"statement"} and artifact.digest not in makers:
                self.notes.add("bundle.json", f"no statement here says what the {artifact.kind} {artifact.name} ({artifact.digest}) was made from")
            for identity in makers.get(artifact.digest, ()):
                for material in self.claims[identity].made_of:
                    if material.digest not in met:
                        met.add(material.digest)
                        waiting.append(material)
        for kind in ("source", "licence"):
            if start.kind in MADE_OF_SOMETHING | {"statement"} and kind not in kinds:
                self.notes.add("bundle.json", f"the statements do not lead from {start.name} to any {kind}")


def _walk(folder: Path) -> Iterator[str]:
    """The files of a folder, relative, links not followed: a link is a file like any other here, and fails its check."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*files, *links]:
            yield (Path(parent) / name).relative_to(folder).as_posix()
