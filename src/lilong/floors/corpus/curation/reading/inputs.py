"""Which files there are to read, and what they are called in the result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lilong.floors.corpus.curation.formats import text_format
from lilong.floors.corpus.curation.reading.converters import CONVERTED
from lilong.ground.errors import BadInput, NotFound

_PACKED = (".gz", ".zst", ".bz2", ".xz")
_RECORDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".warc": "warc", ".wet": "warc", ".epub": "epub"}
LOCKED, DEAD_LINK, FOLDER_LINK, DEVICE = CLOSED = ("locked folder", "dead link", "link to a folder", "device")
ENDINGS = (*_RECORDS, ".html", ".page", ".rst", ".md", ".txt", *sorted(CONVERTED))


class NoSuchInput(NotFound):
    """There is no file or folder '{path}'. Check the path."""


class NoFile(BadInput):
    """The input '{path}' is a pipe, a socket or a device, which cannot be read a second time. Write it to a file and give that."""


class NoInput(BadInput):
    """An input is empty. Give the path of a file or folder; a dot is the folder that you are in."""


class NothingToRead(BadInput):
    """The input '{path}' holds no file that can be read. Known endings are {endings}, and man pages; most also with .gz or .zst."""


class SameName(BadInput):
    """Two inputs are called '{name}': {first} and {second}. Give them names, as in {name}-1={first} {name}-2={second}."""


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A file: the source it belongs to, its path inside the input that it was found in, and how it is to be read: '' where unknown, one of
    CLOSED for what is there and cannot be looked into."""

    source: str
    uri: str
    kind: str
    path: Path
    size: int

    @property
    def packed(self) -> bool:
        return self.kind == "parquet" or bool(packing(self.uri))


def packing(name: str) -> str:
    """How a file of this name is packed: .gz, .zst, .bz2, .xz, or ''."""
    return next((ending for ending in _PACKED if name.lower().endswith(ending)), "")


def unpacked(name: str) -> str:
    """The name that a file had before it was packed."""
    return name[: len(name) - len(packing(name))]


def kind_of(name: str) -> str:
    """How a file of this name is read: jsonl, parquet, warc, epub, text, converted, or '' where nobody knows."""
    bare = unpacked(name)
    ending = Path(bare.lower()).suffix
    if ending in _RECORDS and (ending not in (".parquet", ".epub") or bare == name):
        return _RECORDS[ending]
    if ending in CONVERTED and bare == name:
        return "converted"
    return "text" if text_format(bare) else ""


def find(inputs: Sequence[str], besides: Path | None = None) -> list[File]:
    """All files of the inputs, in an order that does not depend on the order of the inputs; without what is in the folder `besides`.

    An input is a file, a folder, or NAME=PATH. Its name (else the folder's, or the file's without endings) is the source of what is
    in it. A file that a link leads to is read, once; folders are not followed. Raises NoInput, NoSuchInput, NoFile, NothingToRead, SameName.
    """
    named: dict[str, Path] = {}
    found: dict[Path, File] = {}
    for given in inputs:
        name, path, chosen = parse(given)
        before = named.setdefault(name, path)
        if not chosen and before.resolve() != path.resolve():
            raise SameName(name=name, first=before, second=path)
        files = sorted(_files(name, path, besides.resolve() if besides else None), key=lambda one: one.path.is_symlink())
        if all(one.kind in ("", FOLDER_LINK, DEVICE) for one in files):
            raise NothingToRead(path=given, endings=" ".join(ENDINGS))
        for one in files:
            found.setdefault(one.path.resolve() if one.kind not in CLOSED else one.path.absolute(), one)
    return sorted(found.values())


def parse(given: str) -> tuple[str, Path, bool]:
    """Source and path of an input, and whether the name was given with it. Raises NoInput, NoSuchInput, NoFile."""
    if not given.strip():
        raise NoInput
    path = Path(given)
    name, equals, rest = given.partition("=")
    chosen = bool(equals and name and "/" not in name and not path.exists())
    if chosen:
        path = Path(rest)
    if not path.exists():
        raise NoSuchInput(path=path)
    if not path.is_dir() and not path.is_file():
        raise NoFile(path=path)
    if chosen:
        return _readable(name), path, True
    whole = _readable(path.resolve().name)
    return (whole if path.is_dir() else whole.lstrip(".").split(".")[0] or whole), path, False


def _files(name: str, path: Path, besides: Path | None) -> Iterator[File]:
    if path.is_file():
        yield File(name, _readable(path.name), kind_of(path.name), path, path.stat().st_size)
        return

    def found(file: Path, kind: str, size: int = 0) -> File:
        return File(name, _readable(file.relative_to(path).as_posix()), kind, file, size)

    refused: list[OSError] = []
    for place, folders, files in os.walk(path, onerror=refused.append):
        folder = Path(place)
        links = [one for one in folders if (folder / one).is_symlink()]
        folders[:] = sorted(one for one in folders if one not in links and (besides is None or (folder / one).resolve() != besides))
        yield from (found(folder / one, FOLDER_LINK) for one in links)
        for file in (folder / one for one in files if not one.startswith(".")):
            if file.is_file():
                yield found(file, kind_of(str(file)), file.stat().st_size)
            elif file.exists() or file.is_symlink():
                yield found(file, DEVICE if file.exists() else DEAD_LINK)
    yield from (found(Path(problem.filename), LOCKED) for problem in refused)


def _readable(name: str) -> str:
    """A file's name as text; what is no UTF-8 in it as U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")
