"""The text of a document that was read before, from where it stood then."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from lilong.floors.corpus.curation.reading import inputs, records
from lilong.floors.corpus.curation.reading.cutting import LocalFiles
from lilong.ground.errors import LilongError

MOST_BYTES = 256 << 20
"""Of files that do not bear the document's name, so many are looked through at the most."""


def absolute(given: Sequence[str]) -> list[str]:
    """Inputs of a run, as they can be found again from any folder of this machine; without those whose path is no UTF-8, for it is written
    down as text."""
    found = [f"{name}={path.absolute()}" for name, path, _ in map(inputs.parse, given)]
    return [one for one in found if not any("\udc80" <= letter <= "\udcff" for letter in one)]


def text_of(given: Sequence[str], identity: str, uri: str) -> str | None:
    """The text with this id (sha256) in inputs as `absolute` tells them; None where it is not there any more.

    Files whose names the uri begins with are read first: a record that has a uri of its own may stand in any.
    """
    try:
        files = inputs.find(given)
    except LilongError:  # moved or deleted
        return None
    read = 0
    for file in sorted(files, key=lambda one: not uri.startswith(one.uri)):
        if not uri.startswith(file.uri):
            read += file.size
            if read > MOST_BYTES:
                return None
        text = _in_file(file, identity)
        if text is not None:
            return text
    return None


def _in_file(file: inputs.File, identity: str) -> str | None:
    wanted = bytes.fromhex(identity)
    for batch in LocalFiles([file]).batches():
        documents, _ = records.read(batch.parts)
        for text in documents.column("text"):
            if hashlib.sha256(text.as_buffer() or b"").digest() == wanted:
                return str(text.as_py())
    return None
