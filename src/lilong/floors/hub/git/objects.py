"""Canonical bytes and ids of git objects (Git Internals, "Git Objects"), and the text of Git LFS pointers (LFS specification v1)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Literal

Type = Literal["blob", "tree", "commit", "tag"]

FILE = "100644"
EXECUTABLE = "100755"
FOLDER = "40000"

_CHUNK = 1 << 20
_ENTRY = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d{1,19})\n")
POINTER_LIMIT = 1024  # bytes; the LFS specification: a pointer is smaller than that


def object_id(kind: Type, content: bytes) -> str:
    """sha1 of `<kind> <length>\\0<content>`, 40 hex digits."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(content)) + content, usedforsecurity=False).hexdigest()


def blob_id(file: BinaryIO, size: int) -> str:
    """The id of a file's content, read in pieces. Raises ValueError where it does not have `size` bytes."""
    hasher = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    read = 0
    while chunk := file.read(_CHUNK):
        hasher.update(chunk)
        read += len(chunk)
    if read != size:
        raise ValueError(f"{read} bytes where {size} were announced")
    return hasher.hexdigest()


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands in git for a large file."""

    sha256: str  # 64 hex digits
    size: int  # bytes

    def text(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    def id(self) -> str:
        return object_id("blob", self.text())


def parse_pointer(content: bytes) -> Pointer | None:
    """The pointer that this content is, or None. Only the canonical form counts: git-lfs writes no other."""
    found = _POINTER.fullmatch(content) if len(content) < POINTER_LIMIT else None
    return Pointer(found[1].decode(), int(found[2])) if found else None


def tree_bytes(entries: Iterable[tuple[str, str, str]]) -> bytes:
    """The content of a tree from (name, mode, id) of its entries, in any order."""
    return b"".join(tree_lines(entries))


def tree_lines(entries: Iterable[tuple[str, str, str]]) -> list[bytes]:
    """The pieces that a tree's content consists of, one for each entry.

    Git sorts by the name's bytes, a folder's name as if it ended with a slash.
    """
    ordered = sorted(entries, key=lambda entry: entry[0].encode() + (b"/" if entry[1] == FOLDER else b""))
    return [f"{mode} {name}\0".encode() + bytes.fromhex(identity) for name, mode, identity in ordered]


@dataclass(frozen=True, slots=True)
class Signature:
    """Who and when; always in UTC."""

    name: str
    email: str
    seconds: int  # since 1970

    def text(self) -> str:
        return f"{_plain(self.name)} <{_plain(self.email)}> {self.seconds} +0000"


def _plain(text: str) -> str:
    """Without the characters that delimit the fields of a commit (git's own rule for identities)."""
    return "".join(c for c in text if c not in "<>\n\0").strip() or "unknown"


def commit_bytes(tree: str, parents: Iterable[str], author: Signature, message: str) -> bytes:
    """The content of a commit whose author is also its committer; the message ends with one newline, as `git commit` leaves it."""
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {author.text()}", f"committer {author.text()}"]
    return ("\n".join(lines) + "\n\n" + message.replace("\0", "").rstrip("\n") + "\n").encode()


def parents_of(commit: bytes) -> list[str]:
    """The parents that a commit's content names, the first one first."""
    found = []
    for line in commit[46:].split(b"\n"):  # behind `tree <id>`
        if not line.startswith(b"parent "):
            break
        found.append(line[7:47].decode("ascii", "replace"))
    return found


def entries_of(tree: bytes) -> Iterator[tuple[str, bytes, str]]:
    """(mode, name, id) of each entry of a tree's content. Raises ValueError where it is cut short."""
    found = _ENTRY.findall(tree)
    if sum(len(mode) + len(name) + 22 for mode, name, _ in found) != len(tree):
        raise ValueError("the tree is cut short")
    return ((mode.decode(), name, identity.hex()) for mode, name, identity in found)


def with_parents_and_tree(commit: bytes, tree: str, replaced: Mapping[str, str]) -> bytes:
    """A commit's content with another tree and with those parents that were replaced; a signature, which it would break, goes."""
    head, _, message = commit.partition(b"\n\n")
    lines: list[bytes] = []
    signed = False
    for line in head.split(b"\n"):
        if signed and line.startswith(b" "):
            continue
        signed = line.startswith(b"gpgsig")
        key, _, value = line.partition(b" ")
        if key == b"tree":
            line = b"tree " + tree.encode()
        elif key == b"parent":
            line = b"parent " + replaced.get(value.decode("ascii", "replace"), value.decode("ascii", "replace")).encode()
        if not signed:
            lines.append(line)
    return b"\n".join(lines) + b"\n\n" + message
