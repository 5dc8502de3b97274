"""Trust as data: after each commit its files are looked at, each content once, and what they say is kept beside the revision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from lilong.floors.hub import store
from lilong.floors.hub.contract import Committed, FileFetched, Kind
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.trees import Entry, Folder
from lilong.floors.hub.rules import card, names
from lilong.floors.hub.scan import content
from lilong.floors.hub.store import Commit, Held
from lilong.floors.hub.store import imports as mirrored
from lilong.floors.hub.store import trust as kept
from lilong.floors.hub.store.trust import FileStatus
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.events import Recorded
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import opinions, reading, revision_facts

log = structlog.get_logger("lilong.hub.trust")

_BATCH = 64  # files whose findings are written together: a crash repeats no more than these
_ISSUES = 1000  # of one revision that are named


def start(house: House) -> None:
    store.goes_with_repository("hub_scanned")
    house.subscribe("hub.trust", (Committed.kind, FileFetched.kind), committed)


def committed(house: House, recorded: Recorded) -> None:
    """Scan a commit, or once more the head of a mirror when a file has come. Idempotent: what was found before is not looked for again."""
    body = recorded.body
    kind = Kind(body["repository_kind"])

    def read(tx: Tx) -> tuple[Held, Commit] | None:
        held = store.repository(tx, kind, recorded.subject)
        if held is None:
            return None
        # A file of a mirror that has come says no revision: what lists show is about the head of main.
        identity = store.ref(tx, held, names.MAIN) if recorded.kind == FileFetched.kind else body["commit"]
        commit = store.commit(tx, held, identity or "")
        return None if commit is None else (held, commit)

    found = house.db.read(read)
    if found is not None:  # else it is gone, or bears another name: its new one is scanned with its next commit
        scan(house, *found)


def scan(house: House, held: Held, commit: Commit) -> dict[str, Any]:
    """Look at what is new in a revision, and keep its facts; for the head of main also what lists show and filter by."""
    # Trees and contents are known by their ids, whoever has them: a mirror has of its tree only what has come from its source.
    known, absent = house.db.read(lambda tx: (kept.facts(tx, commit.tree, held.kind), mirrored.absent(tx, held.id)))
    done = known
    if done is None or not done["securityRepoStatus"]["scansDone"] or absent:
        before = house.db.read(lambda tx: store.commit(tx, held, commit.parent or ""))
        issues, complete = _issues(house, commit.tree, before.tree if before is not None and not absent else trees.EMPTY, absent)
        done = revision_facts.worked_out(house, held.kind, commit.tree, absent)
        done["securityRepoStatus"] = {
            "scansDone": complete,
            "filesWithIssues": [{"path": path, "level": status} for path, status in issues],
        }
    facts = done

    def write(tx: Tx) -> None:
        if not (absent and known is not None and known["securityRepoStatus"]["scansDone"]):
            kept.set_revision_facts(tx, commit.tree, held.kind, facts)
        if store.repository_by_id(tx, held.id) is None:
            return  # deleted in the meantime
        kept.set_scanned(tx, held.id, commit.id)
        if store.ref(tx, held, names.MAIN) == commit.id:
            parameters = (facts.get("safetensors") or facts.get("gguf") or {}).get("total")
            metadata = store.repository_by_id(tx, held.id)
            tags = card.tags(metadata.card, held.kind) if metadata is not None else []
            store.set_facts(tx, held, facts, parameters, tags)

    house.db.write(write)
    return facts


Issues = list[tuple[str, str]]  # (path, status) of what is not safe


def _issues(house: House, root: str, before: str, absent: frozenset[str]) -> tuple[Issues, bool]:
    """What is not safe in a tree, and whether all of it could be looked at: files of a mirror may not have come yet.

    Folders that were gone through are not opened again; of a changed one only what differs from the commit before is looked up.
    """
    if root == trees.EMPTY:
        return [], True
    order, known = _folders(house, root, before, afresh=bool(absent))
    unfinished: set[str] = set()
    for identity, base in reversed(order.items()):  # a folder comes after those in it
        folder, unchanged, found = house.db.read(lambda tx, identity=identity, base=base: _known_part(tx, identity, base))  # type: ignore[misc]
        files = {name: entry for name, entry in folder.items() if not entry.folder and name not in unchanged}
        fresh, complete = _scan_files(house, {name: entry for name, entry in files.items() if entry.digest not in absent})
        complete = complete and not any(entry.digest in absent for entry in files.values())
        found += fresh
        for name, entry in folder.items():
            if entry.folder:
                found += [(f"{name}/{path}", status) for path, status in known[entry.id]]
                complete = complete and entry.id not in unfinished
        known[identity] = sorted(found)[:_ISSUES]
        if complete:
            house.db.write(lambda tx, identity=identity: kept.set_folder_issues(tx, identity, known[identity]))  # type: ignore[misc]
        else:
            unfinished.add(identity)
    return known[root], not unfinished


def _folders(house: House, root: str, before: str, *, afresh: bool) -> tuple[dict[str, str], dict[str, Issues]]:
    """Folders still to be gone through, each before those in it, with what stood in their place; and the issues of the others.

    `afresh`: all of them, whatever was found in equal folders.
    """

    def read(tx: Tx) -> tuple[dict[str, str], dict[str, Issues]]:
        load = reading.loader(tx)
        order: dict[str, str] = {}
        known: dict[str, Issues] = {}
        known |= {} if afresh else kept.folder_issues(tx, [root])
        waiting = [] if root in known else [(root, before)]
        while waiting:
            identity, base = waiting.pop()
            order.pop(identity, None)  # one folder in two places: it is gone through before the one that comes first
            order[identity] = base
            old = load(base) if base != trees.EMPTY else {}
            inner = {name: entry.id for name, entry in load(identity).items() if entry.folder}
            if not afresh:
                known |= kept.folder_issues(tx, inner.values())
            waiting += [
                (each, old[name].id if name in old and old[name].folder else trees.EMPTY)
                for name, each in inner.items()
                if each not in known
            ]
        return order, known

    return house.db.read(read)


def _known_part(tx: Tx, identity: str, base: str) -> tuple[Folder, set[str], Issues]:
    """A folder, the names of its files that were in the same place before, and what was not safe among these."""
    load = reading.loader(tx)
    folder = load(identity)
    issues = kept.folder_issues(tx, [base]).get(base) if base != trees.EMPTY else None
    if issues is None or len(issues) >= _ISSUES:
        return folder, set(), []
    old = load(base)
    unchanged = {name for name, entry in folder.items() if name in old and old[name].id == entry.id and not entry.folder}
    return folder, unchanged, [(path, status) for path, status in issues if path in unchanged]


def _scan_files(house: House, folder: Folder) -> tuple[Issues, bool]:
    """What is not safe among these files of one folder, and whether the bytes of all were there."""
    files = {name: (entry.digest, content.named(name)) for name, entry in folder.items()}
    known = house.db.read(lambda tx: kept.scanned(tx, list(files.values())))
    fresh: dict[tuple[str, str], FileStatus] = {}
    for name, key in files.items():
        if key in known:
            continue
        status = _look(house, folder[name], key[1])
        if status is not None:
            known[key] = fresh[key] = status
        if len(fresh) >= _BATCH:
            _keep(house, fresh)
            fresh = {}
    if fresh:
        _keep(house, fresh)
    issues = [(name, known[key].status) for name, key in files.items() if key in known and known[key].status != "safe"]
    return issues, all(key in known for key in files.values())


def _keep(house: House, fresh: dict[tuple[str, str], FileStatus]) -> None:
    house.db.write(lambda tx: kept.add_scans(tx, fresh, stamp(house.clock.now())))


def _look(house: House, entry: Entry, named: str) -> FileStatus | None:
    """None where the bytes are not here (yet)."""
    if not house.blobs.has(entry.digest):
        return None  # to open it would fetch the whole file of a mirror
    try:
        with house.blobs.open(entry.digest) as file:
            status, found = content.look(file, entry.size, named)
            if "pickle" in found and status == "safe":
                second = opinions.of_picklescan(file, entry.size)
                if second is not None:
                    found["second"] = second
                    status = "caution" if second["issues"] else status
    except NotFound:
        return None
    except (LilongError, OSError):
        raise  # of the house, not of the file: another try may fare better
    except Exception as problem:  # no content may keep the revision, and those that wait behind it, from being scanned
        log.warning("file not scanned", digest=entry.digest, error=repr(problem)[:300])
        return FileStatus("caution", {"problem": "it could not be read to its end"})
    return FileStatus(status, found)


# --- what is shown ------------------------------------------------------------------------------------------------------


def status_of(tx: Tx, held: Held, commit: Commit, digests: Iterable[str]) -> dict[str, FileStatus]:
    """What was found in these files of a revision; empty until it was scanned itself, so that nobody learns from it what others have."""
    if not kept.is_scanned(tx, held.id, commit.id):
        return {}
    absent = mirrored.absent(tx, held.id)
    return kept.status_of(tx, [digest for digest in digests if digest not in absent])


def facts(tx: Tx, held: Held, commit: Commit) -> dict[str, Any]:
    """As in model info: safetensors, gguf, config, library_name, pipeline_tag, transformersInfo, model-index, evalResults, licence, tags,
    securityRepoStatus; those that apply. Empty where the revision was not scanned yet."""
    found = (kept.facts(tx, commit.tree, held.kind) or {}) if kept.is_scanned(tx, held.id, commit.id) else {}
    # Of a mirror that waits for files, what was found in all of them was found by somebody else.
    return {} if found and found["securityRepoStatus"]["scansDone"] and mirrored.absent(tx, held.id) else found


def facts_now(house: House, held: Held, commit: Commit) -> dict[str, Any]:
    """Like `facts`; until the scan is done, what follows from the card and config.json alone."""
    found, absent = house.db.read(lambda tx: (facts(tx, held, commit), mirrored.absent(tx, held.id)))
    if found:
        return found
    return {
        **revision_facts.at_once(house, held.kind, commit.tree, absent),
        "securityRepoStatus": {"scansDone": False, "filesWithIssues": []},
    }


def shown(status: FileStatus | None) -> dict[str, Any]:
    """`securityFileStatus` as the clients read it. No virus scanner is part of the house: `avScan` says so."""
    if status is None:
        return {"status": "queued", "avScan": None, "pickleImportScan": None}
    made: dict[str, Any] = {"status": status.status, "avScan": None, "pickleImportScan": None}
    pickle = status.found.get("pickle")
    if pickle is not None:
        safe = pickle["problem"] is None
        made["pickleImportScan"] = {
            "status": "safe" if safe else "unsafe",
            "highestSafetyLevel": "innocuous" if safe else "dangerous",
            "pickleImports": [
                {"module": one["module"], "name": one["name"], "safety": "innocuous" if one["allowed"] else "dangerous"}
                for one in pickle["imports"]
            ],
            "message": pickle["problem"] or "",
        }
    if status.found.get("secrets"):
        made["secretScan"] = {"status": "caution", "findings": [{"rule": rule, "line": line} for rule, line in status.found["secrets"]]}
    if "second" in status.found:
        made["secondOpinion"] = status.found["second"]
    return made


def report(house: House, actor: Actor, kind: Kind, name: str, word: str, *, now: bool = False) -> dict[str, Any]:
    """All that is known of one revision; with `now` it is scanned first where that is still to come. Raises RepositoryNotFound …"""
    held, commit = reading.pinned(house, actor, kind, name, word)
    if now:
        house.db.read(lambda tx: reading.opened(house, tx, actor, kind, name, "hub.write"))
        scan(house, held, commit)
    found = facts_now(house, held, commit)
    status = found["securityRepoStatus"]
    paths = [issue["path"] for issue in status["filesWithIssues"]]
    entries = dict(reading.entries_at(house, commit, paths))
    statuses = house.db.read(lambda tx: status_of(tx, held, commit, [entry.digest for entry in entries.values()]))
    files = [{"path": path, "securityFileStatus": shown(statuses.get(entry.digest))} for path, entry in entries.items()]
    return {
        "id": held.name,
        "sha": commit.id,
        "scansDone": status["scansDone"],
        "files": files,
        "facts": {k: v for k, v in found.items() if k != "securityRepoStatus"},
    }
