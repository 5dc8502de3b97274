"""Looking into a published version: its tables, for whoever may see it; and the texts of what was dropped, for readers of its organisation."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus import service
from lilong.floors.corpus.contract import Version
from lilong.ground.access import Actor
from lilong.ground.errors import NotFound, Unavailable
from lilong.ground.floor import load
from lilong.ground.house import House

from .files import tree
from .parts import has_texts

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.exploring import documents

TABLES = ("tables/decisions.parquet", "tables/signals.parquet", "tables/clusters.parquet", "report.json")
_LAID_DOWN = 8 << 30  # bytes of files that are not kept as plain ones here and were laid down to be looked into
_laying = threading.Lock()


class ExplorerMissing(Unavailable):
    """Looking into corpora needs {package}, which is not installed here. Whoever runs this server can install it: pip install "lilong[corpus]"."""


class NothingToExplore(NotFound):
    """The version {name} has nothing to look into yet: {problem}."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A version with its files (path -> digest). `texts`: whether any are shown: none of a version that a takedown has put out of
    use, nor of one in a gated repository to whom that is shut.
    `texts_of_dropped`: whether the actor may read what was dropped; `steward`: whether they may take things down."""

    version: Version
    files: Mapping[str, str]
    tables: documents.Version
    texts: bool
    texts_of_dropped: bool
    steward: bool


def opened(house: House, actor: Actor, name: str) -> Opened:
    """A published version to look into. Raises VersionNotFound, FilesGone, NothingToExplore, ExplorerMissing."""
    from importlib.util import find_spec

    row = service.version(house, actor, name)
    if row.commit is None:
        raise NothingToExplore(name=name, problem=f"it is {row.state.value}")
    files = tree(house, row)
    missing = next((path for path in TABLES if path not in files), None)
    if missing is not None:
        raise NothingToExplore(name=name, problem=f"it has no {missing}. Build it again")
    own, steward, may = house.db.read(
        lambda tx: (
            *(house.access.allowed(tx, actor, what, row.organisation) for what in ("corpus.read", "corpus.steward")),
            has_texts(house, tx, actor, row),
        )
    )
    package = next((name for name in ("pyarrow", "numpy") if find_spec(name) is None), None)
    if package is not None:
        raise ExplorerMissing(package=package)
    from lilong.floors.corpus.curation.exploring import documents

    texts = row.superseded is None and may
    review = laid_down(house, row.review) if own and texts and row.review else None
    report = json.loads(house.blobs.read(files["report.json"]))
    tables = documents.Version(Paths(house, files), report["run"]["policy"], review, None if texts else ())
    return Opened(row, files, tables, texts, own and texts, steward)


def ask(house: House, actor: Actor, name: str, question: str | Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Opened, Any]:
    """A version, and what a function says of its tables; by its name in `curation.exploring` ('module:function') it is loaded only then.

    Raises what `opened` and the function do."""
    found = opened(house, actor, name)
    asked = load(f"lilong.floors.corpus.curation.exploring.{question}") if isinstance(question, str) else question
    return found, asked(found.tables, *args, **kwargs)


class Paths(Mapping[str, Path]):
    """path in the repository -> a plain file with its bytes, laid down when it is first asked for."""

    def __init__(self, house: House, digests: Mapping[str, str]) -> None:
        self._house = house
        self._digests = digests

    def __getitem__(self, path: str) -> Path:
        return laid_down(self._house, self._digests[path])

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def laid_down(house: House, digest: str) -> Path:
    """A plain file with these bytes: the blob itself where it lies here whole, else a copy that is held for a while."""
    if (own := house.blobs.path(digest)) is not None:
        return own
    folder = house.settings.run / "corpus"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / digest.removeprefix("sha256:")
    with _laying:
        if not file.exists():
            new = folder / f"new-{os.getpid()}"
            new.unlink(missing_ok=True)
            house.blobs.place(digest, new)
            os.replace(new, file)
            _trim(folder)
        os.utime(file)
    return file


def _trim(folder: Path) -> None:
    """Take away what was not used for longest. What a reader has open stays readable until it is closed."""
    listed = sorted(((file.stat().st_mtime, file.stat().st_size, file) for file in folder.iterdir()), reverse=True)
    total = 0
    for number, (_, size, file) in enumerate(listed):
        total += size
        if number and total > _LAID_DOWN:
            file.unlink(missing_ok=True)
