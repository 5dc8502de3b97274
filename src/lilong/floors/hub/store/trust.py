"""SQL on what scans found: by content, by folder, by revision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilong.floors.hub.contract import Kind
from lilong.ground.db import Tx

from .groups import in_groups

RULES = 1  # counts up when the rules of `scan/` or of `rules/pickles.py` find something else in the same bytes
_WORSE = ("safe", "caution", "unsafe")


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What is known of one content. `status`: safe | caution | unsafe."""

    status: str
    found: Mapping[str, Any]


def status_of(tx: Tx, digests: Iterable[str]) -> dict[str, FileStatus]:
    """Those that were scanned; of two readings of one content the worse one counts."""
    known: dict[str, FileStatus] = {}
    for row in _rows(tx, digests):
        before = known.get(row["digest"])
        if before is None or _WORSE.index(row["status"]) >= _WORSE.index(before.status):
            known[row["digest"]] = FileStatus(row["status"], json.loads(row["found"]))
    return known


def is_scanned(tx: Tx, repository: str, commit: str) -> bool:
    """Whether this repository's own revision was scanned, whatever is known of its contents from elsewhere."""
    return (
        tx.row("SELECT 1 FROM hub_scanned WHERE repository = :repository AND commit_id = :commit", repository=repository, commit=commit)
        is not None
    )


def set_scanned(tx: Tx, repository: str, commit: str) -> None:
    tx.run(
        "INSERT INTO hub_scanned (repository, commit_id) VALUES (:repository, :commit) ON CONFLICT (repository, commit_id) DO NOTHING",
        repository=repository, commit=commit,
    )  # fmt: skip


def scanned(tx: Tx, files: Sequence[tuple[str, str]]) -> dict[tuple[str, str], FileStatus]:
    """By (digest, named): those of these readings that there are."""
    wanted = set(files)
    rows = _rows(tx, (digest for digest, _ in files))
    found = {(row["digest"], row["named"]): row for row in rows}
    return {key: FileStatus(row["status"], json.loads(row["found"])) for key, row in found.items() if key in wanted}


def _rows(tx: Tx, digests: Iterable[str]) -> list[Any]:
    rows: list[Any] = []
    for among, values in in_groups(digests):
        rows += tx.rows(
            f"SELECT digest, named, status, found FROM hub_scans WHERE rules = :rules AND digest IN ({among})", rules=RULES, **values
        )
    return rows


def add_scans(tx: Tx, found: Mapping[tuple[str, str], FileStatus], now: str) -> None:
    tx.many(
        "INSERT INTO hub_scans (digest, named, status, found, rules, at) VALUES (:digest, :named, :status, :found, :rules, :at) "
        "ON CONFLICT (digest, named) DO UPDATE SET status = excluded.status, found = excluded.found, rules = excluded.rules, at = excluded.at",
        [
            {
                "digest": digest,
                "named": named,
                "status": one.status,
                "found": json.dumps(one.found),
                "rules": RULES,
                "at": now,
            }
            for (digest, named), one in found.items()
        ],
    )


def folder_issues(tx: Tx, trees: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """(path below the folder, status) of what is not safe in it, for those of the folders that were gone through already."""
    found: dict[str, list[tuple[str, str]]] = {}
    for among, values in in_groups(trees):
        rows = tx.rows(f"SELECT tree, issues FROM hub_folder_scans WHERE rules = :rules AND tree IN ({among})", rules=RULES, **values)
        found |= {row["tree"]: [(path, status) for path, status in json.loads(row["issues"])] for row in rows}
    return found


def set_folder_issues(tx: Tx, tree: str, issues: Sequence[tuple[str, str]]) -> None:
    tx.run(
        "INSERT INTO hub_folder_scans (tree, issues, rules) VALUES (:tree, :issues, :rules) "
        "ON CONFLICT (tree) DO UPDATE SET issues = excluded.issues, rules = excluded.rules",
        tree=tree, issues=json.dumps(issues), rules=RULES,
    )  # fmt: skip


def facts(tx: Tx, tree: str, kind: Kind) -> dict[str, Any] | None:
    """None where the revision was not scanned yet."""
    text = tx.value(
        "SELECT facts FROM hub_facts WHERE tree = :tree AND kind = :kind AND rules = :rules", tree=tree, kind=kind.value, rules=RULES
    )
    value: dict[str, Any] | None = None if text is None else json.loads(text)
    return value


def set_revision_facts(tx: Tx, tree: str, kind: Kind, facts: Mapping[str, Any]) -> None:
    tx.run(
        "INSERT INTO hub_facts (tree, kind, facts, rules) VALUES (:tree, :kind, :facts, :rules) "
        "ON CONFLICT (tree, kind) DO UPDATE SET facts = excluded.facts, rules = excluded.rules",
        tree=tree, kind=kind.value, facts=json.dumps(facts), rules=RULES,
    )  # fmt: skip
