"""The files of a published version, for whoever was let in to see the version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO

from lilong.floors.corpus.alliance.shapes import NoSuchTable
from lilong.floors.corpus.contract import Version, VersionNotFound
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House


def tree(house: House, row: Version) -> dict[str, str]:
    """path -> digest. Raises VersionNotFound where the repository, or the revision in it, is gone."""

    def read(tx: Tx) -> dict[str, str]:
        try:
            return house.port(Hub).revision(tx, SYSTEM, Kind.DATASET, row.repository, row.commit or "").tree()  # type: ignore[type-abstract]
        except NotFound:
            raise VersionNotFound(name=row.id) from None

    return house.db.read(read)


def texts_of(files: Mapping[str, str]) -> dict[str, str]:
    """Those of a revision's files that hold its texts, as words or as tokens."""
    return {path: digest for path, digest in files.items() if path.startswith(("data/", "tokens/")) and path.endswith((".parquet", ".bin"))}


class Files:
    """Opens files of a version by their paths."""

    def __init__(self, house: House, row: Version) -> None:
        self._house, self._row = house, row
        self.paths: Mapping[str, str] = tree(house, row)

    def open(self, path: str) -> str | IO[bytes]:
        """A path on this machine where there is one, else a seekable reader. Raises NoSuchTable."""
        digest = self.paths.get(path)
        if digest is None:
            raise NoSuchTable(version=self._row.id, path=path)
        found = self._house.blobs.path(digest)
        return str(found) if found is not None else self._house.blobs.open(digest)
