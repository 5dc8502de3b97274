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
ENDINGS = (*_RECORDS, ".html", ".page", ".rst", ".md", ".txt", *sorted(CONVERTED))


class NoSuchInput(NotFound):
    """There is no file or folder '{path}'. Check the path."""


class NothingToRead(BadInput):
    """The input '{path}' holds no file that can be read. Known endings are {endings}, and man pages; most also with .gz or .zst."""


class SameName(BadInput):
    """Two inputs are called '{name}': {first} and {second}. Give them names, as in {name}-1={first} {name}-2={second}."""


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A file: the source it belongs to, its path inside the input that it was found in, and how it is to be read ('' where unknown)."""

    source: str
    uri: str
    kind: str
    path: Path
    size: int

    @property
    def packed(self) -> bool:
        return self.kind == "parquet" or self.uri.endswith(_PACKED)


def kind_of(name: str) -> str:
    """How a file of this name is read: jsonl, parquet, warc, epub, text, converted, or '' where nobody knows."""
    bare = name.lower()
    for ending in _PACKED:
        bare = bare.removesuffix(ending)
    ending = Path(bare).suffix
    if ending in _RECORDS and (ending not in (".parquet", ".epub") or bare == name.lower()):
        return _RECORDS[ending]
    if ending in CONVERTED:
        return "converted"
    return "text" if text_format(name) else ""


def find(inputs: Sequence[str]) -> list[File]:
    """All files of the inputs, in an order that does not depend on the order of the inputs.

    An input is a file, a folder, or NAME=PATH. Its name (else the folder's, or the file's without endings) is the source of what is
    in it. Raises NoSuchInput, NothingToRead, SameName.
    """
    named: dict[str, Path] = {}
    found: dict[Path, File] = {}
    for given in inputs:
        name, path, chosen = parse(given)
        before = named.setdefault(name, path)
        if not chosen and before.resolve() != path.resolve():
            raise SameName(name=name, first=before, second=path)
        files = [one for one in _files(name, path) if one.path.resolve() not in found]
        if not any(one.kind for one in _files(name, path)):
            raise NothingToRead(path=given, endings=" ".join(ENDINGS))
        found.update({one.path.resolve(): one for one in files})
    return sorted(found.values())


def parse(given: str) -> tuple[str, Path, bool]:
    """Source and path of an input, and whether the name was given with it. Raises NoSuchInput."""
    path = Path(given)
    name, equals, rest = given.partition("=")
    chosen = bool(equals and name and "/" not in name and not path.exists())
    if chosen:
        path = Path(rest)
    if not path.exists():
        raise NoSuchInput(path=path)
    if chosen:
        return name, path, True
    whole = path.resolve().name
    return (whole if path.is_dir() else whole.lstrip(".").split(".")[0] or whole), path, False


def _files(name: str, path: Path) -> Iterator[File]:
    if path.is_file():
        yield File(name, path.name, kind_of(path.name), path, path.stat().st_size)
        return
    for folder, folders, files in os.walk(path):
        folders.sort()
        for one in sorted(files):
            file = Path(folder) / one
            if file.is_file() and not file.is_symlink() and not one.startswith("."):
                uri = os.fsencode(file.relative_to(path).as_posix()).decode("utf-8", "replace")
                yield File(name, uri, kind_of(f"{folder}/{one}"), file, file.stat().st_size)
