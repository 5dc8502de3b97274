"""What a statement is made of: an in-toto Statement v1 in a DSSE envelope, signed with Ed25519. Pure functions, no database.

Sources: in-toto attestation framework v1 (Statement, ResourceDescriptor), DSSE v1.0.0 (PAE), RFC 8785 (canonical JSON).

Subjects stand where in-toto puts them. Materials stand in the predicate, as a list of ResourceDescriptors: under `materials`, or
where the predicate's own specification wants them. Each descriptor's annotations name the artifact's kind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from lilong.ground.errors import BadInput, Corrupt
from lilong.ground.signing import PublicKey, Signer

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

KINDS = frozenset({
    "answer", "card", "certificate", "code", "config", "corpus", "deployment", "environment", "licence", "model", "policy", "protocol", "recipe",
    "registration", "report", "review", "source", "statement", "task", "usage", "vocabulary",
})  # fmt: skip
"""What an artifact can be. The house knows no others, so that a walk over the graph can be read."""

SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"
REVOCATION = "https://lilong.dev/revocation/v1"
_JUDGEMENTS = frozenset({"certificate", "protocol", "registration", "report", "review"})
_JUDGING = frozenset({"https://in-toto.io/attestation/test-result/v0.1", "https://slsa.dev/verification_summary/v1"})  # subject: the tested
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MATERIALS_AT = {SLSA_PROVENANCE: ("buildDefinition", "resolvedDependencies")}


class BadEnvelope(Corrupt):
    """{place} is not a statement that can be trusted: {problem}."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A thing with a digest (`sha256:<64 hex>`), a kind out of KINDS and a name for people."""

    name: str
    digest: str
    kind: str

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise BadInput(field="digest", problem=f"{self.digest[:80]!r} is not sha256:<64 hex digits>", way_out="Give the digest of the bytes.")
        if self.kind not in KINDS:
            raise BadInput(field="kind", problem=f"{self.kind!r} is no kind of artifact", way_out=f"Kinds: {', '.join(sorted(KINDS))}.")
        if not self.name:
            raise BadInput(field="name", problem="an artifact has a name", way_out="Give one that people know it by.")

    def descriptor(self) -> dict[str, Any]:
        return {"name": self.name, "digest": {"sha256": self.digest.removeprefix("sha256:")}, "annotations": {"kind": self.kind}}

    @classmethod
    def from_descriptor(cls, value: Mapping[str, Any]) -> Artifact:
        return cls(str(value["name"]), f"sha256:{value['digest']['sha256']}", str(value["annotations"]["kind"]))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a statement says. `predicate` is as the issuer gave it, without the materials."""

    predicate_type: str
    subjects: tuple[Artifact, ...]
    materials: tuple[Artifact, ...]
    predicate: Mapping[str, Any]

    @property
    def made(self) -> tuple[Artifact, ...]:
        """The subjects that came to be. A model that a report or certificate names as its subject was judged, not made by it."""
        return tuple(subject for subject in self.subjects if not self._judges(subject))

    @property
    def made_of(self) -> tuple[Artifact, ...]:
        """What the made things rest on: the materials, and what was judged."""
        return (*self.materials, *(subject for subject in self.subjects if self._judges(subject)))

    @property
    def judged(self) -> tuple[Artifact, ...]:
        """What the statement is a judgement of: the subjects that it did not make; where there are none, its materials."""
        return tuple(subject for subject in self.subjects if self._judges(subject)) or self.materials

    def _judges(self, subject: Artifact) -> bool:
        judging = self.predicate_type in _JUDGING or any(each.kind in _JUDGEMENTS for each in self.subjects)
        return judging and subject.kind not in _JUDGEMENTS

    def payload(self) -> bytes:
        """The in-toto Statement in canonical JSON."""
        if not self.subjects or not self.predicate_type:
            raise BadInput(field="subjects", problem="a statement has a type and is about at least one thing", way_out="Name them.")
        predicate: dict[str, Any] = dict(self.predicate)
        *parents, last = _MATERIALS_AT.get(self.predicate_type, ("materials",))
        holder = predicate
        for parent in parents:
            holder[parent] = dict(holder.get(parent, {}))
            holder = holder[parent]
        if last in holder:
            raise BadInput(field=last, problem="the predicate already has it", way_out="Give the materials beside the predicate.")
        holder[last] = [material.descriptor() for material in self.materials]
        statement: dict[str, Any] = {
            "_type": STATEMENT_TYPE,
            "subject": [subject.descriptor() for subject in self.subjects],
            "predicateType": self.predicate_type,
            "predicate": predicate,
        }
        try:
            return rfc8785.dumps(statement)
        except rfc8785.CanonicalizationError as cause:
            raise BadInput(field="predicate", problem=f"it is not JSON: {cause}", way_out="Use text, numbers below 2^53, lists and objects.") from cause

    @classmethod
    def parse(cls, payload: bytes) -> Claim:
        """Raises BadEnvelope."""
        try:
            statement = json.loads(payload)
            if statement["_type"] != STATEMENT_TYPE:
                raise BadEnvelope(place="The payload", problem=f"its type is {statement['_type']!r}")
            predicate_type, predicate = str(statement["predicateType"]), statement["predicate"]
            *parents, last = _MATERIALS_AT.get(predicate_type, ("materials",))
            holder = predicate
            for parent in parents:
                holder = holder[parent]
            materials = tuple(Artifact.from_descriptor(value) for value in holder.pop(last))
            return cls(predicate_type, tuple(Artifact.from_descriptor(value) for value in statement["subject"]), materials, predicate)
        except (KeyError, TypeError, ValueError, AttributeError, BadInput) as cause:
            raise BadEnvelope(place="The payload", problem=f"it is not a statement of a house ({cause})") from cause


def fallen(makings: Mapping[str, tuple[Sequence[Artifact], Sequence[Artifact]]], revoked: Collection[str]) -> dict[str, str]:
    """What no longer holds, and the revoked statement at the root of it: digests of artifacts and ids of statements.

    `makings`: statement id → (what it made, what that rests on). A statement falls when it is revoked or when something it rests on
    has fallen; an artifact falls when every statement that made it has. So a corrected statement beside a revoked one holds it up.
    """
    down: dict[str, str] = {}
    changed = True
    while changed:
        changed = False
        for identity, (_, made_of) in makings.items():
            cause = identity if identity in revoked else next((down[each.digest] for each in made_of if each.digest in down), None)
            if cause is not None and identity not in down:
                down[identity] = cause
                changed = True
        makers: dict[str, list[str]] = {}
        for identity, (made, _) in makings.items():
            for artifact in made:
                makers.setdefault(artifact.digest, []).append(identity)
        for digest, all_of in makers.items():
            if digest not in down and all(identity in down for identity in all_of):
                down[digest] = down[all_of[0]]
                changed = True
    return down


def pae(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def seal(claim: Claim, signers: Sequence[Signer]) -> bytes:
    """The envelope over a claim, in canonical JSON. Ed25519 is deterministic: the same claim and signers give the same bytes."""
    if not signers:
        raise BadInput(field="signers", problem="nobody signs the statement", way_out="Give at least one signer.")
    payload = claim.payload()
    message = pae(payload)
    envelope: dict[str, Any] = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": signer.keyid, "sig": base64.b64encode(signer.sign(message)).decode()} for signer in signers],
    }
    return rfc8785.dumps(envelope)


def statement_id(envelope: bytes) -> str:
    return "sha256:" + hashlib.sha256(envelope).hexdigest()


def contents(envelope: bytes) -> tuple[Claim, tuple[tuple[str, bytes], ...]]:
    """The claim and its (keyid, signature) pairs, with nothing checked but their form. Raises BadEnvelope."""
    try:
        value = json.loads(envelope)
        if value["payloadType"] != PAYLOAD_TYPE or set(value) != {"payload", "payloadType", "signatures"}:
            raise BadEnvelope(place="The envelope", problem="it is not an in-toto envelope")
        signatures = tuple((str(each["keyid"]), base64.b64decode(each["sig"], validate=True)) for each in value["signatures"])
        return Claim.parse(base64.b64decode(value["payload"], validate=True)), signatures
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as cause:
        raise BadEnvelope(place="The envelope", problem=f"it cannot be read ({cause})") from cause


def open_envelope(envelope: bytes, keys: Mapping[str, PublicKey]) -> tuple[Claim, tuple[PublicKey, ...]]:
    """The claim and who signed it. Every signature must be by a key in `keys` (by keyid) and right. Raises BadEnvelope."""
    claim, signatures = contents(envelope)
    payload = base64.b64decode(json.loads(envelope)["payload"])
    if rfc8785.dumps(json.loads(envelope)) != envelope or rfc8785.dumps(json.loads(payload)) != payload:
        raise BadEnvelope(place="The envelope", problem="it is not in canonical JSON")
    if not signatures:
        raise BadEnvelope(place="The envelope", problem="nobody signed it")
    message = pae(payload)
    signers = []
    for keyid, signature in signatures:
        if keyid not in keys:
            raise BadEnvelope(place="The envelope", problem=f"its signer's key {keyid[:16]} is not known")
        if not keys[keyid].verifies(signature, message):
            raise BadEnvelope(place="The envelope", problem=f"the signature of {keys[keyid].holder} does not fit")
        signers.append(keys[keyid])
    return claim, tuple(signers)
