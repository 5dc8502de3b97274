"""What a push may bring: entries of a tree, names of refs, and what a commit says of itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from lilong.floors.hub.git.objects import EXECUTABLE, FILE, FOLDER
from lilong.ground.errors import BadInput

from . import names

RAW_LIMIT = 10 << 20  # bytes; from here on a file belongs to Git LFS
PACK_LIMIT = 4 << 30  # bytes of one push
OBJECT_LIMIT = 100 << 20  # bytes of one object, once inflated
TOTAL_LIMIT = 16 << 30  # bytes of all objects of a push, once inflated
COUNT_LIMIT = 5_000_000  # objects of one push
DEEP = 100  # folders within each other


class NotTaken(BadInput):
    """{path}: {problem}. {way_out}"""


class RawFileTooLarge(BadInput):
    """{path}: the file has {size} bytes; from {limit} on, files are kept by Git LFS. Run `git lfs track "{pattern}"`, then `git lfs migrate import --everything --include="{pattern}"`, and push again."""

    status = 400


class RefRefused(BadInput):
    """{problem}"""


def check_entry(path: str, mode: str) -> None:
    """Raises NotTaken."""
    if mode == "160000":
        raise NotTaken(path=path, problem="submodules are not taken", way_out="Put the files themselves into the repository.")
    if mode == "120000":
        raise NotTaken(path=path, problem="symbolic links are not taken", way_out="Put the file itself in its place.")
    if mode not in (FILE, EXECUTABLE, FOLDER):
        raise NotTaken(path=path, problem=f"the mode {mode} is not taken", way_out="Only plain and executable files are.")
    if path.count("/") > DEEP:
        raise NotTaken(path=path[:200], problem="it lies too deep", way_out=f"Use at most {DEEP} folders within each other.")


def text_of(name: bytes, prefix: str) -> str:
    """A name of a tree as text. Raises NotTaken."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        shown = prefix + name.decode("utf-8", "replace")
        raise NotTaken(path=shown, problem="its name is not UTF-8", way_out="Rename it.") from None


def clash(all_names: Collection[str], new: Collection[str]) -> tuple[str, str] | None:
    """Two names of one folder, one of them new, that a file system without regard to case (or to composition) would take for one."""
    folded: dict[str, str] = {}
    for name in new:
        if folded.setdefault(_folded(name), name) != name:
            return folded[_folded(name)], name
    for name in all_names if folded else ():
        other = folded.get(_folded(name), name)
        if other != name:
            return name, other
    return None


def _folded(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def check_ref(ref: str) -> str:
    """The full name of a branch, a tag, or the ref of a pull request. Raises RefRefused."""
    try:
        if ref.startswith(names.HEADS):
            names.check(ref.removeprefix(names.HEADS))
        elif ref.startswith(names.TAGS):
            names.check(ref.removeprefix(names.TAGS))
        elif not names.is_pull(ref):
            raise RefRefused(problem="only branches, tags and the refs of pull requests can be pushed")
    except names.BadRef as bad:
        raise RefRefused(problem=str(bad)) from bad
    return ref


_WHO = re.compile(rb"^(author|committer) (.*?) ?<([^>\n]*)> (-?\d{1,18}) [+-]\d{4}$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a commit's content says."""

    tree: str
    author: str
    seconds: int  # since 1970, when it was committed
    message: str


def said_by(commit: bytes) -> Said:
    """Lenient in all but the tree: git has checked the rest."""
    head, _, message = commit.partition(b"\n\n")
    who = {found[1]: (found[2], int(found[4])) for found in _WHO.finditer(head)}
    name, _ = who.get(b"author", (b"", 0))
    _, seconds = who.get(b"committer", (b"", 0))
    author = _text(name).strip()[:200]
    return Said(head[5:45].decode("ascii", "replace"), author or "unknown", seconds, _text(message).strip() or "(no message)")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").replace("\0", "")


@dataclass(frozen=True, slots=True)
class Tag:
    target: str
    kind: str
    message: str


def tag_of(content: bytes) -> Tag:
    """What an annotated tag says."""
    head, _, message = content.partition(b"\n\n")
    lines = dict(line.split(b" ", 1) for line in head.split(b"\n") if b" " in line)
    return Tag(
        lines.get(b"object", b"").decode("ascii", "replace"), lines.get(b"type", b"").decode("ascii", "replace"), _text(message).strip()
    )
