"""The floor's rows are the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lilong.floors.corpus import store
from lilong.floors.corpus.contract import BuildAsk, SourcesAsk, SourceSet, State, Version
from lilong.ground.db import Database
from lilong.ground.migrations import migrate
from lilong.ground.seams import SystemClock

ASK = SourcesAsk("lantern-works", "k", ["manpages"])
SET = SourceSet("sources-1", "lantern-works", "k", State.REQUESTED, ["manpages"], 1, "job-1", "mei", "2026-01-01")
BUILD = BuildAsk("lantern-works", "v", "sources-1", "lantern-works/pages", {"seed": 1})
VERSION = Version(
    "corpus-1", "lantern-works", "v", State.REQUESTED, ["sources-1"], "lantern-works/pages", {"seed": 1}, 1, "job-2", "mei", "2026-01-02"
)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    migrate(opened, [("corpus", "lilong.floors.corpus")], SystemClock())
    yield opened
    opened.close()


def test_a_source_set_goes_from_requested_to_done_once(db: Database) -> None:
    db.write(lambda tx: store.add_source_set(tx, SET, ASK))
    db.write(lambda tx: store.started(tx, "job-1"))
    assert db.read(lambda tx: store.source_set_of_job(tx, "job-1")) == replace(SET, state=State.RUNNING)
    result = {"kind": "debian", "note": "n", "sources": [{"name": "manpages"}]}
    assert db.write(lambda tx: store.finish_source_set(tx, SET.id, result, {"a": "sha256:0"}, "2026-01-03"))
    assert not db.write(lambda tx: store.finish_source_set(tx, SET.id, result, {}, "2026-01-04"))
    assert not db.write(lambda tx: store.fail(tx, "corpus_source_sets", SET.id, "late", "2026-01-04"))
    done = replace(SET, state=State.DONE, kind="debian", note="n", sources=[{"name": "manpages"}], finished_at="2026-01-03")
    assert db.read(lambda tx: store.source_sets(tx, "1 = 1", {}, 5)) == [done]
    assert db.read(lambda tx: store.tree(tx, SET.id)) == {"a": "sha256:0"}


def test_a_failed_version_is_tried_again_under_its_id(db: Database) -> None:
    db.write(lambda tx: store.add_version(tx, VERSION, BUILD))
    assert db.write(lambda tx: store.fail(tx, "corpus_versions", VERSION.id, "no luck", "2026-01-03"))
    failed = db.read(lambda tx: store.version(tx, VERSION.id))
    assert failed is not None and (failed.state, failed.error) == (State.FAILED, "no luck")
    again = replace(VERSION, attempt=2, job="job-3")
    db.write(lambda tx: store.add_version(tx, again, BUILD))
    assert db.read(lambda tx: store.version_of_job(tx, "job-3")) == again
    assert db.read(lambda tx: store.version_of_job(tx, "job-2")) is None


def test_a_version_is_found_by_id_repository_and_commit(db: Database) -> None:
    other = replace(VERSION, id="corpus-2", key="w", job="job-9", created_at="2026-01-09")
    db.write(lambda tx: store.add_version(tx, VERSION, BUILD))
    db.write(lambda tx: store.add_version(tx, other, replace(BUILD, key="w")))
    db.write(
        lambda tx: store.finish_version(tx, VERSION.id, commit="c1", manifest="m", statement="s", figures={"a": 1}, result="r", at="x")
    )
    for name in (VERSION.id, VERSION.repository, f"{VERSION.repository}@c1"):
        found = db.read(lambda tx, name=name: store.version(tx, name))
        assert found is not None and found.id == VERSION.id and found.figures == {"a": 1}
    assert db.read(lambda tx: store.version(tx, "lantern-works/pages@c2")) is None
    assert [one.id for one in db.read(lambda tx: store.versions(tx, "v.organisation = :o", {"o": "lantern-works"}, 9))] == [
        "corpus-2",
        "corpus-1",
    ]


def test_only_what_an_organisation_uploaded_counts_as_its_text(db: Database) -> None:
    for _ in range(2):
        db.write(lambda tx: store.keep_text(tx, "lantern-works", "sha256:a", 3, "mei", "now"))
    assert db.read(lambda tx: store.missing_text(tx, "lantern-works", ["sha256:a"])) is None
    assert db.read(lambda tx: store.missing_text(tx, "other-yard", ["sha256:a"])) == "sha256:a"
