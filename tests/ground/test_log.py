"""The Merkle log against its definition, against another implementation, and against every wrong proof we can think of."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

import pymerkle
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from lilong.ground import log
from lilong.ground.errors import LilongError

MOST = 130
ENTRIES = [f"entry {number}".encode() for number in range(MOST)]


@cache
def tree() -> log.MemoryNodes:
    nodes = log.MemoryNodes()
    for number, entry in enumerate(ENTRIES):
        log.append(nodes, number, log.leaf_hash(entry))
    return nodes


@cache
def defined_root(start: int, end: int) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if start == end:
        return hashlib.sha256(b"").digest()
    if end - start == 1:
        return hashlib.sha256(b"\0" + ENTRIES[start]).digest()
    k = 1
    while k * 2 < end - start:
        k *= 2
    return hashlib.sha256(b"\1" + defined_root(start, start + k) + defined_root(start + k, end)).digest()


def defined_path(m: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 section 2.1.1."""
    n = end - start
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if m < k:
        return [*defined_path(m, start, start + k), defined_root(start + k, end)]
    return [*defined_path(m - k, start + k, end), defined_root(start, start + k)]


def defined_proof(m: int, start: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2."""
    n = end - start
    if m == n:
        return [] if whole else [defined_root(start, end)]
    k = 1
    while k * 2 < n:
        k *= 2
    if m <= k:
        return [*defined_proof(m, start, start + k, whole), defined_root(start + k, end)]
    return [*defined_proof(m - k, start + k, end, False), defined_root(start, start + k)]


def test_every_root_up_to_130_leaves_is_the_defined_one() -> None:
    assert [log.root(tree(), size) for size in range(MOST + 1)] == [defined_root(0, size) for size in range(MOST + 1)]


def test_every_inclusion_proof_up_to_130_leaves_is_the_defined_one_and_verifies() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            path = log.inclusion(tree(), index, size)
            assert path == defined_path(index, 0, size)
            assert log.verify_inclusion(log.leaf_hash(ENTRIES[index]), index, size, path, defined_root(0, size))


def test_every_consistency_proof_up_to_130_leaves_is_the_defined_one_and_verifies() -> None:
    for new in range(1, MOST + 1):
        for old in range(new + 1):
            proof = log.consistency(tree(), old, new)
            assert proof == (defined_proof(old, 0, new, True) if old > 0 else [])
            assert log.verify_consistency(old, new, defined_root(0, old), defined_root(0, new), proof)


def test_pymerkle_finds_the_same_roots_and_accepts_the_same_history() -> None:
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for number, entry in enumerate(ENTRIES, start=1):
        other.append_entry(entry)
        assert other.get_root(number) == log.root(tree(), number)
    for size, index in [(1, 0), (7, 3), (64, 63), (65, 64), (130, 0), (130, 129)]:
        theirs = other.prove_inclusion(index + 1, size)
        ours = log.inclusion(tree(), index, size)
        pymerkle.verify_inclusion(log.leaf_hash(ENTRIES[index]), log.root(tree(), size), theirs)
        assert set(ours) <= set(theirs.path)


def test_the_published_roots_of_the_certificate_transparency_test_vectors() -> None:
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    nodes = log.MemoryNodes()
    for number, leaf in enumerate(leaves):
        log.append(nodes, number, log.leaf_hash(bytes.fromhex(leaf)))
    assert {size: log.root(nodes, size).hex() for size in roots} == roots


@given(size=st.integers(1, MOST), data=st.data())
def test_a_changed_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = log.inclusion(tree(), index, size)
    leaf, top = log.leaf_hash(ENTRIES[index]), log.root(tree(), size)
    place = data.draw(st.integers(0, len(path)))
    assert not log.verify_inclusion(leaf, index, size, [*path[:place], b"\7" * 32, *path[place:]], top)
    if path:
        assert not log.verify_inclusion(leaf, index, size, path[:-1], top)
    assert not log.verify_inclusion(log.leaf_hash(b"another"), index, size, path, top)
    other = data.draw(st.integers(-1, size))
    assert other == index or not log.verify_inclusion(leaf, other, size, path, top)


@given(new=st.integers(2, MOST), data=st.data())
def test_a_rewritten_history_has_no_consistency_proof(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    nodes = log.MemoryNodes()
    for number in range(new):
        log.append(nodes, number, log.leaf_hash(b"forged" if number == changed else ENTRIES[number]))
    before, after = log.root(tree(), old), log.root(nodes, new)
    assert not log.verify_consistency(old, new, before, after, log.consistency(nodes, old, new))
    assert not log.verify_consistency(old, new, before, after, log.consistency(tree(), old, new))


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HOUSE = log.Verifier("house.example", KEY.public_key().public_bytes_raw())


def test_a_checkpoint_comes_back_from_its_signed_note() -> None:
    checkpoint = log.Checkpoint("house.example/log", 130, log.root(tree(), 130))
    note = log.sign_note(checkpoint.text(), HOUSE.name, KEY)
    assert log.Checkpoint.parse(log.open_note(note, [HOUSE])) == checkpoint
    assert log.Verifier.parse(HOUSE.vkey) == HOUSE


def test_the_key_hash_and_verifier_key_of_the_go_reference_implementation_are_reproduced() -> None:
    # The example key of golang.org/x/mod/sumdb/note, whose note format the specification took over.
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    note = text + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    assert log.Verifier.parse(vkey).vkey == vkey
    assert log.open_note(note, [log.Verifier.parse(vkey)]) == text


def test_a_note_with_a_foreign_signature_beside_ours_is_accepted_and_one_with_only_foreign_ones_is_not() -> None:
    witness = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    ours = log.sign_note("text\n", HOUSE.name, KEY)
    theirs = log.sign_note("text\n", "witness.example", witness)
    both = ours + theirs.rpartition("\n\n")[2]
    assert log.open_note(both, [HOUSE]) == "text\n"
    with pytest.raises(log.BadNote, match="none of the known keys"):
        log.open_note(theirs, [HOUSE])


def test_no_byte_of_a_checkpoint_can_be_changed() -> None:
    note = log.sign_note(log.Checkpoint("house.example/log", 7, log.root(tree(), 7)).text(), HOUSE.name, KEY).encode()
    for place in range(len(note)):
        changed = bytearray(note)
        changed[place] ^= 1
        with pytest.raises((LilongError, UnicodeDecodeError)):
            log.Checkpoint.parse(log.open_note(bytes(changed).decode(), [HOUSE]))


def test_a_signature_in_a_second_base64_spelling_is_refused() -> None:
    note = log.sign_note("text\n", HOUSE.name, KEY)
    signature = note.split(" ")[-1].strip()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = signature.rstrip("=")[-1]
    respelled = signature.replace(last + "=", alphabet[alphabet.index(last) ^ 1] + "=")
    assert base64.b64decode(respelled) == base64.b64decode(signature)
    with pytest.raises(log.BadNote):
        log.open_note(note.replace(signature, respelled), [HOUSE])
