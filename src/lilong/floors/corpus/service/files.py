"""The files of a published version, for whoever was let in to see the version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO

from lilong.floors.compute.contract import Compute
from lilong.floors.corpus import rules
from lilong.floors.corpus.alliance.shapes import FilesGone, NoSuchTable
from lilong.floors.corpus.contract import Version
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House


def tree(house: House, row: Version) -> dict[str, str]:
    """path -> digest. Raises FilesGone where the repository, or the revision in it, is."""

    def read(tx: Tx) -> dict[str, str]:
        try:
            return house.port(Hub).revision(tx, SYSTEM, Kind.DATASET, row.repository, row.commit or "").tree()  # type: ignore[type-abstract]
        except NotFound:
            raise FilesGone(version=row.id, repository=row.repository) from None

    return house.db.read(read)


def left(house: House, row: Version) -> dict[str, str]:
    """path -> digest; where the revision is gone, of what the job left that made it."""
    try:
        return tree(house, row)
    except FilesGone:
        try:
            job = house.db.read(lambda tx: house.port(Compute).job(tx, SYSTEM, row.job))  # type: ignore[type-abstract]
        except NotFound:
            return {}
        return rules.published({output.path: output.digest for output in job.outputs})


def texts_of(files: Mapping[str, str]) -> dict[str, str]:
    """Those of a revision's files that hold its texts, as words or as tokens."""
    return {path: digest for path, digest in files.items() if path.startswith(("data/", "tokens/")) and path.endswith((".parquet", ".bin"))}


class Files:
    """Opens files of a version by their paths."""

    def __init__(self, house: House, row: Version, paths: Mapping[str, str] | None = None) -> None:
        self._house, self._row = house, row
        self.paths: Mapping[str, str] = tree(house, row) if paths is None else paths

    def open(self, path: str) -> str | IO[bytes]:
        """A path on this machine where there is one, else a seekable reader. Raises NoSuchTable, NotFound."""
        digest = self.paths.get(path)
        if digest is None:
            raise NoSuchTable(version=self._row.id, path=path)
        found = self._house.blobs.path(digest)
        return str(found) if found is not None else self._house.blobs.open(digest)
