"""Corpus versions: what was asked for, what was published, and by which files a version is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from lilong.floors.corpus.contract import BuildAsk, PublishAsk, State, Superseded, Terms, Tree, Use, Version, Without
from lilong.ground.db import Row, Tx

from .common import OPEN, as_json

_ROW = (
    "SELECT v.*, t.reason AS takedown_reason, t.created_at AS takedown_at"
    " FROM corpus_versions v LEFT JOIN corpus_takedowns t ON t.id = v.takedown"
)
_AT_ONCE = 500  # values in one IN list


def add_version(tx: Tx, row: Version, ask: BuildAsk | PublishAsk) -> None:
    """Add a version, or start the failed one with the same id again."""
    tx.run(
        "INSERT INTO corpus_versions (id, organisation, request_key, asked, state, sources, repository, attempt, job, requested_by, created_at,"
        " terms, conditions, contributors, left_out) VALUES (:id, :organisation, :key, :asked, :state, :sources, :repository, :attempt, :job,"
        " :requested_by, :created_at, :terms, :conditions, :contributors, :left_out)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt, job = excluded.job, terms = excluded.terms,"
        " conditions = excluded.conditions, contributors = excluded.contributors, left_out = excluded.left_out,"
        " requested_by = excluded.requested_by, error = NULL, finished_at = NULL",
        id=row.id, organisation=row.organisation, key=row.key, asked=as_json(asdict(ask)), state=row.state.value, sources=as_json(row.sources),
        repository=row.repository, attempt=row.attempt, job=row.job, requested_by=row.requested_by, created_at=row.created_at,
        terms=row.terms.value, conditions=as_json(asdict(row.conditions)), contributors=as_json(row.contributors),
        left_out=as_json(asdict(row.without)),
    )  # fmt: skip
    tx.run("DELETE FROM corpus_version_sets WHERE version = :id", id=row.id)
    tx.many(
        "INSERT INTO corpus_version_sets (version, source_set) VALUES (:version, :source_set)",
        ({"version": row.id, "source_set": each} for each in dict.fromkeys(row.sources)),
    )


def version_by_key(tx: Tx, organisation: str, key: str) -> tuple[Version, BuildAsk | PublishAsk] | None:
    """The version and what was asked for."""
    row = tx.row(f"{_ROW} WHERE v.organisation = :organisation AND v.request_key = :key", organisation=organisation, key=key)
    return (_version(row), _asked(row)) if row else None


def asked(tx: Tx, identity: str) -> BuildAsk | PublishAsk:
    return _asked(tx.rows("SELECT asked FROM corpus_versions WHERE id = :id", id=identity)[0])


def version(tx: Tx, name: str) -> Version | None:
    """By its id, as organisation/name@commit, or the newest one of a repository (a finished one before others, one in use before those
    that were put out of use). Of a commit the first digits will do, as the house itself tells it."""
    repository, _, commit = name.partition("@")
    beginning = f"{commit}%" if re.fullmatch("[0-9a-f]{7,39}", commit) else ""
    row = tx.row(f"{_ROW} WHERE v.id = :id", id=name) or tx.row(
        f"{_ROW} WHERE v.repository = :repository AND (:commit_id = '' OR v.commit_id = :commit_id OR v.commit_id LIKE :beginning)"
        " ORDER BY CASE v.state WHEN 'done' THEN 0 ELSE 1 END, CASE WHEN v.takedown IS NULL THEN 0 ELSE 1 END, v.created_at DESC, v.id DESC",
        repository=repository, commit_id=commit, beginning=beginning,
    )  # fmt: skip
    return _version(row) if row else None


def version_of_job(tx: Tx, job: str) -> Version | None:
    row = tx.row(f"{_ROW} WHERE v.job = :job", job=job)
    return _version(row) if row else None


def versions(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int, behind: int = 0) -> list[Version]:
    """Newest first, those behind the first `behind`. The condition speaks of columns of `v`."""
    ordered = f"{_ROW} WHERE {condition} ORDER BY v.created_at DESC, v.id DESC LIMIT :limit OFFSET :behind"
    rows = tx.rows(ordered, limit=limit, behind=behind, **parameters)
    return [_version(row) for row in rows]


def finish_version(
    tx: Tx, identity: str, *, commit: str, manifest: str, statement: str, figures: Mapping[str, Any], result: str, at: str,
    files: Tree | None = None, review: str | None = None,
) -> bool:  # fmt: skip
    """False where it was finished before. `result`: digest of the job's whole result; `files`: those that hold its texts."""
    finished = tx.run(
        "UPDATE corpus_versions SET state = 'done', commit_id = :commit_id, manifest = :manifest, statement = :statement, figures = :figures,"
        f" result = :result, review = :review, finished_at = :at WHERE id = :id AND {OPEN}",
        id=identity, commit_id=commit, manifest=manifest, statement=statement, figures=as_json(dict(figures)), result=result, review=review, at=at,
    )  # fmt: skip
    if finished:
        add_files(tx, identity, files or {})
    return bool(finished)


def add_files(tx: Tx, identity: str, files: Tree) -> None:
    tx.many(
        "INSERT INTO corpus_version_files (version, digest, path) VALUES (:version, :digest, :path) ON CONFLICT (version, path) DO NOTHING",
        ({"version": identity, "digest": digest, "path": path} for path, digest in files.items()),
    )


def versions_without_files(tx: Tx) -> list[Version]:
    rows = tx.rows(f"{_ROW} WHERE v.state = 'done' AND NOT EXISTS (SELECT 1 FROM corpus_version_files f WHERE f.version = v.id)")
    return [_version(row) for row in rows]


def result(tx: Tx, identity: str) -> str | None:
    """The digest of the whole result of a finished version's job."""
    found = tx.value("SELECT result FROM corpus_versions WHERE id = :id", id=identity)
    return str(found) if found else None


def files(tx: Tx, identity: str) -> dict[str, str]:
    """path -> digest of the files with the version's texts."""
    return {row["path"]: row["digest"] for row in tx.rows("SELECT path, digest FROM corpus_version_files WHERE version = :id", id=identity)}


def versions_by_file(tx: Tx, digests: Iterable[str]) -> dict[str, list[Version]]:
    """digest -> the versions that have this file with texts, for those of the digests that are such a file."""
    wanted, found = list(dict.fromkeys(digests)), dict[str, list[str]]()
    for first in range(0, len(wanted), _AT_ONCE):
        given = {f"digest_{at}": digest for at, digest in enumerate(wanted[first : first + _AT_ONCE])}
        named = ", ".join(":" + key for key in given)
        for row in tx.rows(f"SELECT DISTINCT digest, version FROM corpus_version_files WHERE digest IN ({named})", **given):
            found.setdefault(row["digest"], []).append(row["version"])
    known = {one.id: one for one in by_ids(tx, sorted({each for ids in found.values() for each in ids}))}
    return {digest: [known[each] for each in sorted(ids)] for digest, ids in found.items()}


def by_ids(tx: Tx, identities: Sequence[str]) -> list[Version]:
    found = []
    for first in range(0, len(identities), _AT_ONCE):
        given = {f"id_{at}": identity for at, identity in enumerate(identities[first : first + _AT_ONCE])}
        rows = tx.rows(f"{_ROW} WHERE v.id IN ({', '.join(':' + key for key in given)}) ORDER BY v.created_at, v.id", **given)
        found += [_version(row) for row in rows]
    return found


def versions_of_sets(tx: Tx, source_sets: Iterable[str]) -> list[Version]:
    """The finished versions that were made of one of these source sets."""
    found = {
        row["version"]
        for each in source_sets
        for row in tx.rows("SELECT version FROM corpus_version_sets WHERE source_set = :source_set", source_set=each)
    }
    return [one for one in by_ids(tx, sorted(found)) if one.state is State.DONE]


def versions_in(tx: Tx, repository: str) -> list[Version]:
    """All versions that stand or are to stand in a repository, failed ones left out. Oldest first."""
    rows = tx.rows(f"{_ROW} WHERE v.repository = :repository AND v.state <> 'failed' ORDER BY v.created_at, v.id", repository=repository)
    return [_version(row) for row in rows]


def moved(tx: Tx, old: str, new: str) -> None:
    """A repository has another name now."""
    for table in ("corpus_versions", "corpus_takedowns"):
        tx.run(f"UPDATE {table} SET repository = :new WHERE repository = :old", new=new, old=old)


def _asked(row: Row) -> BuildAsk | PublishAsk:
    value = json.loads(row["asked"])
    return msgspec.convert(value, PublishAsk) if "files" in value else msgspec.convert(value, BuildAsk)


def _version(row: Row) -> Version:
    asked = _asked(row)
    superseded = None
    if row["takedown"]:
        superseded = Superseded(row["takedown"], row["takedown_at"], row["takedown_reason"], row["successor"])
    return Version(
        row["id"], row["organisation"], row["request_key"], State(row["state"]), json.loads(row["sources"]), row["repository"],
        asked.recipe if isinstance(asked, BuildAsk) else {}, row["attempt"], row["job"], row["requested_by"], row["created_at"],
        row["finished_at"], row["commit_id"], row["manifest"], row["statement"], json.loads(row["figures"] or "{}"), row["error"],
        Terms(row["terms"]), msgspec.convert(json.loads(row["conditions"] or "{}"), Use),
        json.loads(row["contributors"]) if row["contributors"] else [row["organisation"]],
        msgspec.convert(json.loads(row["left_out"] or "{}"), Without), row["review"], superseded,
    )  # fmt: skip
