"""What other floors rely on: revisions, their manifests, and one transaction with what the caller adds."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from lilong.floors.hub import service, store
from lilong.floors.hub.contract import EntryNotFound, Hub, Kind, RefMoved, RepositoryExists, RepositoryNotFound, Revision, RevisionNotFound
from lilong.floors.hub.service import checking, commits
from lilong.floors.hub.service.commits import Ask, Put
from lilong.ground import manifest
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, NotFound
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.intake import UnsafeFile

from .conftest import LANTERN, hub_house

NAME = f"{LANTERN}/tide"


def kept(house: House, **files: bytes) -> dict[str, str]:
    return {path.replace("__", "."): house.blobs.put(content).digest for path, content in files.items()}


def same(_: Tx, revision: Revision) -> Revision:
    return revision


def hub_of(house: House) -> Hub:
    return house.port(Hub)  # type: ignore[type-abstract]


def publish(house: House, files: dict[str, str], actor: Actor = SYSTEM, **options: bool) -> Revision:
    return hub_of(house).publish(actor, Kind.MODEL, NAME, files, "Publish", same, **options)


def test_a_revision_holds_the_files_and_is_found_by_its_manifest(house: House) -> None:
    files = kept(house, README__md=b"# Tide\n", big__jsonl=b"x" * (2 << 20), model__spm=b"\0\1")
    revision = publish(house, files)
    assert {file.path: file.digest for file in revision.files if file.path != ".gitattributes"} == files
    assert revision.manifest == manifest.root(files)
    assert revision.repository.private
    assert house.db.read(lambda tx: hub_of(house).revision(tx, Actor("ada"), Kind.MODEL, NAME)) == revision
    assert house.db.read(lambda tx: hub_of(house).revision(tx, SYSTEM, Kind.MODEL, NAME, revision.commit[:8])) == revision
    assert house.db.read(lambda tx: hub_of(house).by_manifest(tx, revision.manifest)) == revision
    assert house.db.read(lambda tx: hub_of(house).by_manifest(tx, "sha256:" + "0" * 64)) is None
    assert revision.tree("big", "model") == {path: digest for path, digest in files.items() if path[0] in "bm"}


def test_a_revision_that_a_client_pushed_is_found_by_its_manifest_once_somebody_has_asked_for_it(house: House) -> None:
    commits.create(house, Actor("mei"), Kind.MODEL, NAME, private=True)
    made = commits.commit(house, Actor("mei"), Kind.MODEL, NAME, "main", Ask({"a.txt": commits.kept(house, b"a")}, "Push"))
    revision = house.db.read(lambda tx: hub_of(house).revision(tx, Actor("mei"), Kind.MODEL, NAME, made.id))
    for _ in range(200):
        if (found := house.db.read(lambda tx: hub_of(house).by_manifest(tx, revision.manifest))) is not None:
            break
        time.sleep(0.02)
    assert found == revision


def test_the_same_files_are_the_same_revision(house: House) -> None:
    files = kept(house, a__txt=b"a", big__jsonl=b"x" * (2 << 20))
    first = publish(house, files)
    assert publish(house, files) == first
    other = publish(house, kept(house, b__txt=b"b"))
    assert {file.path for file in other.files} == {".gitattributes", "b.txt"}
    both = publish(house, kept(house, a__txt=b"a"), replace=False)
    assert {file.path for file in both.files} == {".gitattributes", "a.txt", "b.txt"}


def test_large_files_are_named_in_gitattributes(house: House) -> None:
    revision = publish(house, kept(house, big__jsonl=b"x" * (2 << 20), a__txt=b"a"))
    text = house.blobs.read(revision.file(".gitattributes").digest).decode()
    assert "/big.jsonl filter=lfs diff=lfs merge=lfs -text\n" in text
    assert "a.txt" not in text


def test_what_fails_afterwards_leaves_no_revision(house: House) -> None:
    def fail(tx: Tx, revision: Revision) -> None:
        raise RuntimeError("the caller's own rows could not be written")

    with pytest.raises(RuntimeError):
        hub_of(house).publish(SYSTEM, Kind.MODEL, NAME, kept(house, a__txt=b"a"), "x", fail)
    with pytest.raises(RepositoryNotFound):
        house.db.read(lambda tx: hub_of(house).revision(tx, SYSTEM, Kind.MODEL, NAME))
    assert house.db.read(lambda tx: [event.kind for event in house.events.since(tx, 0) if event.kind.startswith("hub.")]) == []


def test_publishing_writes_down_what_happened(house: House) -> None:
    revision = publish(house, kept(house, a__txt=b"a"))
    created, committed = house.db.read(lambda tx: [event for event in house.events.since(tx, 0) if event.kind.startswith("hub.")])
    assert (created.kind, committed.kind, committed.subject) == ("hub.repository-created", "hub.committed", NAME)
    assert committed.body["commit"] == revision.commit


def test_statements_about_a_revision_show_with_it(house: House) -> None:
    def stated(tx: Tx, revision: Revision) -> str:
        about = Artifact(NAME, revision.manifest, "model")
        return house.evidence.issue(tx, SYSTEM, predicate_type="https://lilong.dev/model-import/v1", subjects=[about], predicate={}).id

    statement = hub_of(house).publish(SYSTEM, Kind.MODEL, NAME, kept(house, README__md=b"---\nlicense: mit\n---\n# Tide\n"), "x", stated)
    shown = service.show(house, Actor("mei"), Kind.MODEL, NAME)
    assert [about.id for about in shown.statements] == [statement]
    assert (shown.card, shown.metadata) == ("# Tide\n", {"license": "mit"})


def test_nobody_publishes_in_a_foreign_or_missing_organisation(house: House) -> None:
    files = kept(house, a__txt=b"a")
    for actor in (Actor("tom"), Actor("ada")):
        with pytest.raises(Forbidden):
            publish(house, files, actor)
    with pytest.raises(NotFound):
        hub_of(house).publish(SYSTEM, Kind.MODEL, "nobody/tide", files, "x", same)
    publish(house, files)
    with pytest.raises(RepositoryNotFound):
        publish(house, files, Actor("tom"))


@pytest.mark.parametrize("name", ["tide", "a/b/c", "../x", f"{LANTERN}/x.git", f"{LANTERN}/"])
def test_a_repository_has_a_plain_name(house: House, name: str) -> None:
    with pytest.raises(BadInput):
        hub_of(house).publish(SYSTEM, Kind.MODEL, name, kept(house, a__txt=b"a"), "x", same)


def test_names_that_differ_only_in_case_clash(house: House) -> None:
    publish(house, kept(house, a__txt=b"a"))
    with pytest.raises(RepositoryExists):
        hub_of(house).publish(SYSTEM, Kind.MODEL, NAME.replace("tide", "Tide"), kept(house, a__txt=b"a"), "x", same)
    service.create(house, Actor("mei"), Kind.DATASET, NAME, private=True)


def test_a_pickle_is_never_published_as_a_model(house: House) -> None:
    with pytest.raises(UnsafeFile):
        publish(house, kept(house, model__bin=b"\x80\x04x"))
    hub_of(house).publish(SYSTEM, Kind.DATASET, NAME, kept(house, model__bin=b"\x80\x04x"), "x", same)


def test_a_blob_that_the_house_does_not_have_cannot_be_published(house: House) -> None:
    with pytest.raises(NotFound):
        publish(house, {"a.txt": "sha256:" + "1" * 64})


def test_the_slower_of_two_commits_on_one_parent_is_told_so(house: House, mei: Actor) -> None:
    service.create(house, mei, Kind.MODEL, NAME, private=True)
    head = house.db.read(lambda tx: hub_of(house).revision(tx, mei, Kind.MODEL, NAME)).commit
    put = {"a.txt": Put(house.blobs.put(b"a").digest, 1)}
    first = service.commit(house, mei, Kind.MODEL, NAME, "main", Ask(put, "first", parent=head))
    assert service.commit(house, mei, Kind.MODEL, NAME, "main", Ask(put, "first", parent=head)) == first
    with pytest.raises(RefMoved):
        service.commit(house, mei, Kind.MODEL, NAME, "main", Ask({"b.txt": put["a.txt"]}, "second", parent=head))


def test_a_ref_moved_between_draft_and_record_is_not_overwritten(house: House, mei: Actor) -> None:
    held = service.create(house, mei, Kind.MODEL, NAME, private=True)
    head = house.db.read(lambda tx: store.at(tx, held, "main"))
    drafts = [commits.draft(house, Kind.MODEL, head, {path: Put(house.blobs.put(b"x").digest, 1)}) for path in ("a.txt", "b.txt")]
    house.db.write(lambda tx: commits.record(house, tx, mei, held, "refs/heads/main", drafts[0], "first"))
    with pytest.raises(RefMoved):
        house.db.write(lambda tx: commits.record(house, tx, mei, held, "refs/heads/main", drafts[1], "second"))
    assert house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM hub_commits")) == 2


def test_commits_without_a_parent_all_arrive(house: House, mei: Actor) -> None:
    service.create(house, mei, Kind.MODEL, NAME, private=True)
    puts = {f"{number}.txt": Put(house.blobs.put(b"x" * number).digest, number) for number in range(1, 6)}

    def send(path: str) -> None:
        service.commit(house, mei, Kind.MODEL, NAME, "main", Ask({path: puts[path]}, f"Add {path}"))

    threads = [threading.Thread(target=send, args=(path,)) for path in puts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    revision = house.db.read(lambda tx: hub_of(house).revision(tx, mei, Kind.MODEL, NAME))
    assert {file.path for file in revision.files} == {".gitattributes", *puts}


def test_what_is_not_there_is_named(house: House, mei: Actor) -> None:
    publish(house, kept(house, a__txt=b"a"))
    for word in ("v9", "0" * 40, "abcdef1", "refs/heads/none", "a" * 300):
        with pytest.raises(RevisionNotFound):
            house.db.read(lambda tx, word=word: hub_of(house).revision(tx, mei, Kind.MODEL, NAME, word))
    with pytest.raises(EntryNotFound):
        service.commit(house, mei, Kind.MODEL, NAME, "main", Ask({}, "x", removed_files=["b.txt"]))
    with pytest.raises(RevisionNotFound):
        service.commit(house, mei, Kind.MODEL, NAME, "nowhere", Ask({"b.txt": Put(house.blobs.put(b"b").digest, 1)}, "x"))
    with pytest.raises(BadInput):
        service.commit(house, mei, Kind.MODEL, NAME, "main", Ask({"a.txt/b": Put(house.blobs.put(b"b").digest, 1)}, "x"))


def test_two_repositories_share_bytes_and_trees_and_survive_each_other(house: House, mei: Actor) -> None:
    files = kept(house, a__txt=b"a", big__jsonl=b"x" * (2 << 20))
    publish(house, files)
    other = f"{LANTERN}/other"
    twin = hub_of(house).publish(SYSTEM, Kind.MODEL, other, files, "Publish", same)
    service.delete(house, mei, Kind.MODEL, NAME)
    assert house.db.read(lambda tx: hub_of(house).revision(tx, mei, Kind.MODEL, other)) == twin
    assert house.db.read(lambda tx: hub_of(house).by_manifest(tx, twin.manifest)) == twin
    house.blobs.verify(files["big.jsonl"])


def test_the_tables_work_on_both_databases(tmp_path: Path, database_url: str) -> None:
    house = hub_house(tmp_path / "other", database_url)
    try:
        mei = Actor("mei")
        revision = publish(house, kept(house, a__txt=b"a", big__jsonl=b"x" * (2 << 20)))
        assert publish(house, kept(house, a__txt=b"a", big__jsonl=b"x" * (2 << 20))) == revision
        service.add_branch(house, mei, Kind.MODEL, NAME, "try")
        service.commit(
            house, mei, Kind.MODEL, NAME, "try", Ask({"b.txt": Put(house.blobs.put(b"b").digest, 1)}, "b", parent=revision.commit[:10])
        )
        service.add_tag(house, mei, Kind.MODEL, NAME, "v1", "try")
        line = house.db.read(lambda tx: store.history(tx, *_opened(tx, "v1"), 10))
        assert [commit.title for commit in line] == ["b", "Publish"]
        assert [listed.repository.name for _, listed in service.listed(house, mei, Kind.MODEL, store.Wanted(search="TID"))] == [NAME]
        assert service.listed(house, service.ANONYMOUS, Kind.MODEL, store.Wanted()) == []
        assert json.loads(json.dumps(service.show(house, mei, Kind.MODEL, NAME, "try").metadata)) == {}
        service.delete(house, mei, Kind.MODEL, NAME)
    finally:
        house.close()


def _opened(tx: Tx, word: str) -> tuple[store.Held, str]:
    held = store.repository(tx, Kind.MODEL, NAME)
    assert held is not None
    return held, store.at(tx, held, word).id


def test_a_flipped_byte_in_the_tables_is_found_and_named(house: House) -> None:
    revision = publish(house, kept(house, README__md=b"# Tide\n", big__jsonl=b"x" * (2 << 20)))
    assert list(service.problems(house)) == []
    flips = {
        "UPDATE hub_commits SET manifest = :wrong": f"commit {revision.commit} of {NAME}: its files have another manifest",
        "UPDATE hub_commits SET content = CAST(:wrong AS BLOB)": f"commit {revision.commit} of {NAME}: its content has another id",
        "UPDATE hub_refs SET target = :wrong": f"ref refs/heads/main of {NAME}: the commit sha256:{'1' * 64} is missing",
    }
    for sql, said in flips.items():

        def broken(tx: Tx, sql: str = sql) -> None:
            tx.run(sql, wrong="sha256:" + "1" * 64)
            raise _Found(list(tx_problems(house, tx)))

        with pytest.raises(_Found) as found:
            house.db.write(broken)
        assert found.value.args[0] == [said]
    entries = house.db.read(lambda tx: bytes(tx.value("SELECT entries FROM hub_trees")))
    flipped = entries.replace(b"README.md", b"READMF.md")
    house.db.write(lambda tx: tx.run("UPDATE hub_trees SET entries = :entries", entries=flipped))
    assert any("tree" in problem for problem in service.problems(house))
    house.db.write(lambda tx: tx.run("UPDATE hub_trees SET entries = :entries", entries=entries))
    house.blobs.collect({revision.file("README.md").digest, revision.file(".gitattributes").digest})
    assert list(service.problems(house)) == [f"file big.jsonl: its bytes {revision.file('big.jsonl').digest} are missing"]


class _Found(Exception):
    """Carries what was found out of a transaction that is to be undone."""


def tx_problems(house: House, tx: Tx) -> list[str]:
    folders, _ = checking._folders(tx)
    return checking._commits(tx, {key: folder for key, folder in folders.items() if not isinstance(folder, str)})
