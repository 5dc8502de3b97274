"""SQL for writing xorbs anew."""

from __future__ import annotations

from collections.abc import Iterator

from lilong.floors.hub.xet.reader import Term
from lilong.ground.db import Tx

from .xet import XetFile, decoded_terms

_PAGE = 500


def untouched(tx: Tx, before: str) -> dict[str, int]:
    """hash -> stored bytes of live xorbs that nobody has sent, used or been told of since."""
    rows = tx.rows("SELECT hash, size FROM hub_xorbs WHERE state = 'live' AND touched_at <= :before", before=before)
    return {row["hash"]: row["size"] for row in rows}


def all_terms(tx: Tx) -> Iterator[tuple[Term, ...]]:
    """Of every file, in pages."""
    last = ""
    while True:
        rows = tx.rows("SELECT hash, terms FROM hub_xet_files WHERE hash > :last ORDER BY hash LIMIT :page", last=last, page=_PAGE)
        for row in rows:
            yield decoded_terms(bytes(row["terms"]))
        if len(rows) < _PAGE:
            return
        last = rows[-1]["hash"]


def files_with(tx: Tx, xorb: str) -> list[XetFile]:
    rows = tx.rows(
        "SELECT f.hash, f.digest, f.size, f.terms FROM hub_xorb_files x JOIN hub_xet_files f ON f.hash = x.file WHERE x.xorb = :xorb",
        xorb=xorb,
    )
    return [XetFile(row["hash"], row["digest"], row["size"], decoded_terms(bytes(row["terms"]))) for row in rows]


def chunks_of(tx: Tx, xorb: str) -> list[tuple[str, int]]:
    """(hash, position) of those chunks of a xorb that clients ask for."""
    return [(row["hash"], row["position"]) for row in tx.rows("SELECT hash, position FROM hub_chunks WHERE xorb = :xorb", xorb=xorb)]


def copy_senders(tx: Tx, old: str, new: str) -> None:
    """Who has sent a xorb has had the bytes of every part of it."""
    tx.run(
        "INSERT INTO hub_xorb_uploads (xorb, user_name) SELECT :new, user_name FROM hub_xorb_uploads WHERE xorb = :old "
        "ON CONFLICT (xorb, user_name) DO NOTHING",
        new=new, old=old,
    )  # fmt: skip
