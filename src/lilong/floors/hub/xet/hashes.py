"""The hashes of Xet: keyed BLAKE3 over chunks, over nodes of a Merkle tree, over files and over runs of chunks.

As in the Xet protocol specification, "Hashing". A hash is 32 bytes; as text it is four little-endian 64-bit words in hex.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from blake3 import blake3

Leaf = tuple[bytes, int]  # hash and length in bytes of a chunk, or of a node above chunks

NOTHING = bytes(32)  # the hash of a file without bytes
_DATA = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RUN = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_BRANCHES = 4  # on average; at most twice as many and one
_ASKED_FOR = 1024  # clients ask for one chunk in so many, and for the first of each file

_WORDS = struct.Struct("<4Q")


def text(raw: bytes) -> str:
    return "{:016x}{:016x}{:016x}{:016x}".format(*_WORDS.unpack(raw))


def raw(text: str) -> bytes:
    """Raises ValueError for anything but 64 lower-case hex digits."""
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise ValueError("it is not 64 hex digits")
    return _WORDS.pack(*(int(text[at : at + 16], 16) for at in range(0, 64, 16)))


def keyed(key: bytes, data: bytes | memoryview) -> bytes:
    return blake3(data, key=key).digest()


def chunk(data: bytes | memoryview) -> bytes:
    return keyed(_DATA, data)


def verification(hashes: bytes | memoryview) -> bytes:
    """Of a run of chunks, from their hashes one behind another."""
    return keyed(_RUN, hashes)


def root(leaves: Sequence[Leaf]) -> bytes:
    """The root of the tree over chunks: the hash of a xorb that holds them."""
    level = list(leaves)
    while len(level) > 1:
        level = [_node(level[begin:end]) for begin, end in _cuts(level)]
    return level[0][0] if level else NOTHING


def file(leaves: Sequence[Leaf]) -> bytes:
    """The hash of a file that has these chunks, in their order."""
    return keyed(NOTHING, root(leaves)) if leaves else NOTHING


def eligible(hash: bytes) -> bool:
    """Whether clients ask a server for this chunk wherever it stands in a file."""
    return int.from_bytes(hash[24:], "little") % _ASKED_FOR == 0


def _node(children: Sequence[Leaf]) -> Leaf:
    lines = "".join(f"{text(hash)} : {length}\n" for hash, length in children)
    return keyed(_NODE, lines.encode()), sum(length for _, length in children)


def _cuts(level: Sequence[Leaf]) -> Iterator[tuple[int, int]]:
    """Groups of children: a node ends behind the third child or later whose hash says so, or when it is full."""
    begin, count = 0, len(level)
    while begin < count:
        end = min(begin + 2 * _BRANCHES + 1, count)
        if count - begin > 2:
            end = next((i + 1 for i in range(begin + 2, end) if level[i][0][24] % _BRANCHES == 0), end)
        yield begin, end
        begin = end
