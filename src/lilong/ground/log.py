"""The transparency log: an RFC 6962 Merkle tree over the events, and its checkpoints as C2SP signed notes.

Only hashes of perfect subtrees are stored, so that a node, once written, never changes: the node at (level, index) is the
root of the leaves [index * 2**level, (index + 1) * 2**level). An append writes two nodes on average; roots and proofs read
O(log n) of them.

Sources: RFC 6962 section 2.1; C2SP signed-note and tlog-checkpoint (c2sp.org).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lilong.ground.errors import BadInput, Corrupt

_ED25519 = b"\x01"  # the signature type byte of Ed25519 in C2SP signed notes
_DASH = "\N{EM DASH}"


class BadNote(Corrupt):
    """{place} is not a signed note that can be trusted: {problem}."""


class Nodes(Protocol):
    """Where the hashes of perfect subtrees are kept."""

    def get(self, level: int, index: int) -> bytes:
        """The 32-byte hash at (level, index). Raises KeyError when it was never put."""

    def put(self, level: int, index: int, hash_: bytes) -> None: ...


class MemoryNodes(dict[tuple[int, int], bytes]):
    """Nodes in a dictionary: for checking a log by rebuilding it, and for small ones."""

    def get(self, level: int, index: int) -> bytes:  # type: ignore[override]
        return self[level, index]

    def put(self, level: int, index: int, hash_: bytes) -> None:
        self[level, index] = hash_


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(nodes: Nodes, size: int, leaf: bytes) -> None:
    """Add the leaf hash `leaf` to a tree of `size` leaves, completing the subtrees that it closes."""
    level, index, hash_ = 0, size, leaf
    nodes.put(level, index, hash_)
    while index & 1:
        hash_ = node_hash(nodes.get(level, index - 1), hash_)
        level, index = level + 1, index >> 1
        nodes.put(level, index, hash_)


def root(nodes: Nodes, size: int) -> bytes:
    """The Merkle tree hash of the first `size` leaves; of none, SHA-256 of nothing."""
    return _range(nodes, 0, size) if size else hashlib.sha256(b"").digest()


def inclusion(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of the first `size` leaves, from the leaf upwards."""
    if not 0 <= index < size:
        raise BadInput(field="index", problem=f"a log of {size} entries has no entry {index}", way_out="Give one below its size.")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range(nodes, middle, end))
            end = middle
        else:
            path.append(_range(nodes, start, middle))
            start = middle
    return path[::-1]


def consistency(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """The proof that the tree of the first `new` leaves only adds to that of the first `old`. Empty where old is 0 or new."""
    if not 0 <= old <= new:
        raise BadInput(field="old", problem=f"{old} is not a size that a log of {new} entries once had", way_out="Give a smaller size.")
    if old in (0, new):
        return []
    proof: list[bytes] = []
    start, end, whole = 0, new, True  # whole: the old tree is all of the subtree looked at, so its root is known to the verifier
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range(nodes, middle, end))
            end = middle
        else:
            proof.append(_range(nodes, start, middle))
            start, whole = middle, False
    if not whole:
        proof.append(_range(nodes, start, end))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root_: bytes) -> bool:
    """Whether `path` proves that the leaf hash stands at `index` under the root of `size` leaves (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, hash_ = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            hash_ = node_hash(sibling, hash_)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hash_ == root_


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `new` leaves begins with that of `old` (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == hashlib.sha256(b"").digest()
    if old == new:
        return not proof and old_root == new_root
    hashes = list(proof)
    if old & (old - 1) == 0:  # a perfect old tree is a node of the new one: the verifier has its hash already
        hashes.insert(0, old_root)
    if not hashes:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = hashes[0]
    for hash_ in hashes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(hash_, first), node_hash(hash_, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, hash_)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(count: int) -> int:
    """The largest power of two below `count` (≥ 2)."""
    return 1 << (count - 1).bit_length() - 1


def _range(nodes: Nodes, start: int, end: int) -> bytes:
    """The hash of the leaves [start, end), where start is a multiple of the smallest power of two ≥ end - start."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return nodes.get(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range(nodes, start, middle), _range(nodes, middle, end))


@dataclass(frozen=True, slots=True)
class Verifier:
    """One key that signs notes: its name (no spaces, no plus) and its Ed25519 public key of 32 bytes."""

    name: str
    public: bytes

    @property
    def key_hash(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text, in the encoding that witnesses and monitors read: name+hash+key."""
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        try:
            name, hash_, key = vkey.strip().split("+", 2)
            raw = base64.b64decode(key, validate=True)
        except (ValueError, binascii.Error) as cause:
            raise BadNote(place="the verifier key", problem="it is not of the form name+hash+key") from cause
        verifier = cls(name, raw[1:])
        if raw[:1] != _ED25519 or len(raw) != 33 or verifier.key_hash.hex() != hash_:
            raise BadNote(place="the verifier key", problem="its hash does not fit its name and Ed25519 key")
        return verifier


def sign_note(text: str, name: str, private: Ed25519PrivateKey) -> str:
    """A note: the text (which must end with a newline), an empty line, a signature line."""
    if not text.endswith("\n") or not name or any(mark in name for mark in "+ \n\t"):
        raise BadInput(field="note", problem="a note's text ends with a newline, its key's name has no space and no plus", way_out="")
    verifier = Verifier(name, private.public_key().public_bytes_raw())
    signature = base64.b64encode(verifier.key_hash + private.sign(text.encode())).decode()
    return f"{text}\n{_DASH} {name} {signature}\n"


def open_note(note: str, verifiers: Iterable[Verifier]) -> str:
    """The text of a note that at least one of `verifiers` signed. A wrong signature of a known key refuses the note.

    Raises BadNote.
    """
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise BadNote(place="the note", problem="it has no signature lines")
    text += "\n"
    known = {(verifier.name, verifier.key_hash): verifier for verifier in verifiers}
    signed = False
    for line in signatures.removesuffix("\n").split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != _DASH:
            raise BadNote(place="the note", problem="a signature line is not '— name signature'")
        try:
            raw = base64.b64decode(parts[2], validate=True)
        except binascii.Error as cause:
            raise BadNote(place="the note", problem="a signature is not base 64") from cause
        if base64.b64encode(raw).decode() != parts[2]:  # unused bits set: a second spelling of the same signature
            raise BadNote(place="the note", problem="a signature is not in canonical base 64")
        verifier = known.get((parts[1], raw[:4]))
        if verifier is None:
            continue  # a witness that we do not know
        try:
            Ed25519PublicKey.from_public_bytes(verifier.public).verify(raw[4:], text.encode())
        except InvalidSignature as cause:
            raise BadNote(place="the note", problem=f"the signature of {verifier.name} does not fit the text") from cause
        signed = True
    if not signed:
        raise BadNote(place="the note", problem="none of the known keys signed it")
    return text


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its name, how many entries it has and their root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        try:
            origin, size, root_, rest = text.split("\n", 3)
            checkpoint = cls(origin, int(size), base64.b64decode(root_, validate=True))
        except (ValueError, binascii.Error) as cause:
            raise BadNote(place="the checkpoint", problem="it is not origin, size and root on three lines") from cause
        if len(checkpoint.root) != 32 or checkpoint.text() + rest != text:
            raise BadNote(place="the checkpoint", problem="its size or root is not written in the canonical way")
        return checkpoint
