"""Texts that organisations have uploaded."""

from __future__ import annotations

from collections.abc import Iterable

from lilong.ground.db import Tx


def keep_text(tx: Tx, organisation: str, digest: str, size: int, by: str, at: str) -> None:
    tx.run(
        "INSERT INTO corpus_texts (organisation, digest, size, kept_by, kept_at) VALUES (:organisation, :digest, :size, :by, :at)"
        " ON CONFLICT (organisation, digest) DO NOTHING",
        organisation=organisation, digest=digest, size=size, by=by, at=at,
    )  # fmt: skip


def missing_text(tx: Tx, organisation: str, digests: Iterable[str]) -> str | None:
    """A digest among these that the organisation has not uploaded, if there is one."""
    kept = text_sizes(tx, organisation)
    return next((digest for digest in digests if digest not in kept), None)


def text_sizes(tx: Tx, organisation: str) -> dict[str, int]:
    """Bytes of each text that the organisation has uploaded, by digest."""
    rows = tx.rows("SELECT digest, size FROM corpus_texts WHERE organisation = :organisation", organisation=organisation)
    return {row["digest"]: row["size"] for row in rows}
