"""What differs between two texts, line by line, and how git writes it down."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

CONTEXT = 3  # lines around a change
EDITS = 1000  # lines added and taken away in one file, up to which the shortest way is looked for
_SNIFFED = 8000  # bytes in which git looks for a NUL
ABSENT = "0" * 40


@dataclass(frozen=True, slots=True)
class Line:
    sign: str  # " " | "+" | "-" | "\\": what follows is no line of the text but a remark on the one before
    text: str
    old: int | None = None  # its number there, from 1 on
    new: int | None = None


@dataclass(frozen=True, slots=True)
class Hunk:
    old_start: int
    old_count: int
    new_start: int
    new_count: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One file that differs. Without hunks, `note` says why none are shown; an empty note: only the mode differs, or it is empty."""

    path: str
    status: str  # added | deleted | changed
    old_id: str  # of the blob, ABSENT where there is none
    new_id: str
    old_mode: str
    new_mode: str
    old_size: int  # bytes of the file itself
    new_size: int
    note: str = ""  # binary | large | too long
    hunks: tuple[Hunk, ...] = ()
    added: int = 0  # lines
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Diff:
    files: tuple[FileDiff, ...] = field(default_factory=tuple)
    omitted: int = 0  # files beyond those that are listed


def matches(old: Sequence[Hashable], new: Sequence[Hashable], limit: int = EDITS) -> list[tuple[int, int, int]]:
    """Blocks (place in old, place in new, length) of lines that stay, in order.

    The shortest edit script (Myers 1986, the greedy algorithm of §4); where more than `limit` lines change, the blocks at both ends only.
    """
    first = 0
    while first < len(old) and first < len(new) and old[first] == new[first]:
        first += 1
    last = 0
    while last < len(old) - first and last < len(new) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    found = [(0, 0, first)] if first else []
    inner = _greedy(old[first : len(old) - last], new[first : len(new) - last], limit)
    found += [(i + first, j + first, n) for i, j, n in inner]
    if last:
        found.append((len(old) - last, len(new) - last, last))
    return found


def _greedy(old: Sequence[Hashable], new: Sequence[Hashable], limit: int) -> list[tuple[int, int, int]]:
    if not old or not new:
        return []
    furthest = {1: 0}  # diagonal -> how far along `old` the best way with so many edits has come
    steps: list[dict[int, int]] = []
    for edits in range(min(limit, len(old) + len(new)) + 1):
        steps.append({})
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
            i = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            if i > len(old) or i - diagonal > len(new):
                furthest[diagonal] = i  # beyond an edge: nothing matches there
                steps[-1][diagonal] = i
                continue
            j = i - diagonal
            while i < len(old) and j < len(new) and old[i] == new[j]:
                i, j = i + 1, j + 1
            furthest[diagonal] = i
            steps[-1][diagonal] = i
            if i >= len(old) and j >= len(new):
                return _way_back(steps, len(old), len(new))
    return []


def _way_back(steps: Sequence[dict[int, int]], i: int, j: int) -> list[tuple[int, int, int]]:
    found = []
    for edits in range(len(steps) - 1, -1, -1):
        diagonal = i - j
        if edits == 0:
            start = 0
        else:
            before = steps[edits - 1]
            down = diagonal == -edits or (diagonal != edits and before[diagonal - 1] < before[diagonal + 1])
            came = before[diagonal + 1] if down else before[diagonal - 1]
            start = came if down else came + 1
        if i > start:
            found.append((start, start - diagonal, i - start))
        if edits:
            i, j = (start, start - diagonal - 1) if down else (start - 1, start - diagonal)
    return found[::-1]


def lines_of(content: bytes) -> list[str] | None:
    """The lines of a text with their ends; None for what git takes to be binary, and for what is not UTF-8."""
    if b"\0" in content[:_SNIFFED]:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return [] if not text else [line + "\n" for line in text[:-1].split("\n")] if text.endswith("\n") else _open_ended(text)


def _open_ended(text: str) -> list[str]:
    *whole, last = text.split("\n")
    return [*(line + "\n" for line in whole), last]


def hunks(old: Sequence[str], new: Sequence[str], limit: int = EDITS) -> tuple[Hunk, ...]:
    """The changes with the lines around them; changes that are close share a hunk."""
    script = list(_script(old, new, limit))
    changed = [place for place, line in enumerate(script) if line.sign != " "]
    found: list[Hunk] = []
    begin = 0
    while begin < len(changed):
        end = begin
        while end + 1 < len(changed) and changed[end + 1] - changed[end] <= 2 * CONTEXT + 1:
            end += 1
        found.append(_hunk(script, max(changed[begin] - CONTEXT, 0), changed[end] + CONTEXT + 1))
        begin = end + 1
    return tuple(found)


def _script(old: Sequence[str], new: Sequence[str], limit: int) -> Iterator[Line]:
    i = j = 0
    for a, b, count in [*matches(old, new, limit), (len(old), len(new), 0)]:
        for place in range(i, a):
            yield Line("-", old[place], place + 1, None)
        for place in range(j, b):
            yield Line("+", new[place], None, place + 1)
        for step in range(count):
            yield Line(" ", old[a + step], a + step + 1, b + step + 1)
        i, j = a + count, b + count


def _hunk(script: Sequence[Line], begin: int, end: int) -> Hunk:
    part = script[begin:end]
    old_count, new_count = (sum(line.sign in (sign, " ") for line in part) for sign in "-+")
    old_before = sum(line.sign in "- " for line in script[:begin])
    new_before = sum(line.sign in "+ " for line in script[:begin])
    lines: list[Line] = []
    for line in part:
        lines.append(Line(line.sign, line.text.removesuffix("\n"), line.old, line.new))
        if not line.text.endswith("\n"):
            lines.append(Line("\\", " No newline at end of file"))
    return Hunk(old_before + (old_count > 0), old_count, new_before + (new_count > 0), new_count, tuple(lines))


# --- git's format -------------------------------------------------------------------------------------------------------


def text(diff: Diff) -> str:
    """As `git diff` prints it; what is not shown takes one line a file."""
    shown = "".join("\n".join(_file(file)) + "\n" for file in diff.files)
    return shown + (f"# and {diff.omitted} more files\n" if diff.omitted else "")


def _file(file: FileDiff) -> Iterator[str]:
    a, b = _quoted(f"a/{file.path}"), _quoted(f"b/{file.path}")
    yield f"diff --git {a} {b}"
    mode = ""
    if file.status == "added":
        yield f"new file mode {file.new_mode}"
    elif file.status == "deleted":
        yield f"deleted file mode {file.old_mode}"
    elif file.old_mode != file.new_mode:
        yield f"old mode {file.old_mode}"
        yield f"new mode {file.new_mode}"
    else:
        mode = f" {file.new_mode}"
    if file.old_id == file.new_id:
        return
    yield f"index {file.old_id[:10]}..{file.new_id[:10]}{mode}"
    old = "/dev/null" if file.status == "added" else a
    new = "/dev/null" if file.status == "deleted" else b
    if file.note:
        yield f"Binary files {old} and {new} differ"
        return
    if not file.hunks:
        return
    tab = "\t" if " " in file.path else ""  # git's own mark of where such a name ends
    yield f"--- {old}{tab if old == a else ''}"
    yield f"+++ {new}{tab if new == b else ''}"
    for hunk in file.hunks:
        yield f"@@ -{_range(hunk.old_start, hunk.old_count)} +{_range(hunk.new_start, hunk.new_count)} @@"
        yield from (line.sign + line.text for line in hunk.lines)


def _range(start: int, count: int) -> str:
    return str(start) if count == 1 else f"{start},{count}"


_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", 9: "\\t", 10: "\\n", 13: "\\r", 7: "\\a", 8: "\\b", 11: "\\v", 12: "\\f"}


def _quoted(path: str) -> str:
    """A name as git writes it: in quotes, with octal bytes, where it holds more than plain characters."""
    raw = path.encode()
    if all(32 <= byte < 127 and byte not in _ESCAPES for byte in raw):
        return path
    return '"' + "".join(_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in raw) + '"'
