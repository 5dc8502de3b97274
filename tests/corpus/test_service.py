"""From texts that somebody uploads to a published, signed corpus version, through the real queue, sandbox and hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click.testing
import pytest

from lilong.floors.compute import service as compute
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import Compute, NetworkForbidden
from lilong.floors.compute.work import run_until_idle
from lilong.floors.corpus import service
from lilong.floors.corpus.contract import (
    PREDICATE,
    AskedOtherwise,
    BadRecipe,
    BuildAsk,
    SourcesAsk,
    SourceSet,
    SourceSetNotFound,
    SourcesNotReady,
    State,
    TextNotKept,
    Version,
    VersionNotFound,
)
from lilong.floors.hub import service as hub
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.chores import deliver
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, NotFound
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate
from tests.corpus import texts

ORGANISATION = "lantern-works"
MEI, TOM, STRANGER = Actor("mei"), Actor("tom"), Actor("stranger")
REPOSITORY = f"{ORGANISATION}/pages"
RECIPE = {"held_out": 0.2}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = open_house(load(tmp_path_factory.mktemp("house") / "house", {"cpus": 2, "memory_mib": 4096}, environment={}))
    migrate(
        opened.db, [("ground", "lilong.ground"), *((name, f"lilong.floors.{name}") for name in ("compute", "hub", "corpus"))], opened.clock
    )
    for start in (compute.start, hub.start, service.start):
        start(opened)
    opened.db.write(lambda tx: furnish(opened, tx))
    yield opened
    opened.port(LocalSite).stop()
    opened.close()


def furnish(house: House, tx: Tx) -> None:
    for organisation in (ORGANISATION, "other-yard"):
        house.access.add_organisation(tx, SYSTEM, organisation, organisation.title())
    for user, role, organisation in (("mei", "owner", ORGANISATION), ("tom", "member", ORGANISATION), ("stranger", "owner", "other-yard")):
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, role, organisation)


def settle(house: House) -> None:
    """Jobs to their end, and every event to its subscribers."""
    run_until_idle(house)
    while sum(deliver(house, subscription) for subscription in house.subscriptions):
        pass


@pytest.fixture(scope="module")
def kept(house: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Uploaded texts with a licence: path -> digest."""
    folder = texts.folder(tmp_path_factory.mktemp("texts") / "texts", documents=9)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): service.keep_text(house, TOM, ORGANISATION, path.read_bytes()).digest for path in files}


@pytest.fixture(scope="module")
def sources(house: House, kept: dict[str, str]) -> SourceSet:
    asked = service.fetch(house, TOM, SourcesAsk(ORGANISATION, "texts", texts=kept))
    assert asked.state is State.REQUESTED
    settle(house)
    return service.source_set(house, TOM, asked.id)


@pytest.fixture(scope="module")
def version(house: House, sources: SourceSet) -> Version:
    asked = service.build(house, TOM, BuildAsk(ORGANISATION, "pages", sources.id, REPOSITORY, RECIPE))
    settle(house)
    return service.version(house, TOM, asked.id)


def test_uploaded_texts_become_a_source_set_with_its_licence(sources: SourceSet) -> None:
    assert sources.state is State.DONE, sources.error
    assert sources.kind == "folder" and [one["licence"] for one in sources.sources] == ["CC-BY-4.0"]


def test_a_version_is_published_in_its_repository(house: House, version: Version) -> None:
    assert version.state is State.DONE, version.error
    revision = house.db.read(lambda tx: house.port(Hub).revision(tx, TOM, Kind.DATASET, REPOSITORY, "main"))  # type: ignore[type-abstract]
    assert (revision.commit, revision.manifest) == (version.commit, version.manifest)
    assert set(revision.tree("data/")) == {"data/train-00000.parquet", "data/heldout-00000.parquet"}
    assert {"README.md", "croissant.json", "figures.json", "tables/decisions.parquet", "licences/texts.txt"} <= set(revision.tree())


def test_the_statement_names_archives_licences_recipe_and_code_that_the_house_has(house: House, version: Version) -> None:
    statement = house.db.read(lambda tx: house.evidence.get(tx, version.statement or ""))
    assert statement.predicate_type == PREDICATE
    assert [(subject.digest, subject.kind) for subject in statement.subjects] == [(version.manifest, "corpus")]
    assert [material.kind for material in statement.materials] == ["source", "licence", "recipe", "policy", "code", "vocabulary"]
    for material in statement.materials:
        assert "sha256:" + hashlib.sha256(house.blobs.read(material.digest)).hexdigest() == material.digest
    assert statement.predicate["dropped"] == version.figures["dropped"] and statement.predicate["job"]["id"] == version.job
    assert statement.predicate["licences"].keys() == {"CC-BY-4.0"}


def test_from_the_corpus_one_walks_down_to_the_archive(house: House, version: Version, sources: SourceSet) -> None:
    graph = house.db.read(lambda tx: house.evidence.down(tx, version.manifest or ""))
    assert [artifact.digest for artifact in graph.of_kind("source")] == [one["digest"] for one in sources.sources]


def test_a_datasheet_shows_sources_licences_reasons_and_samples(house: House, version: Version) -> None:
    shown = service.datasheet(house, TOM, f"{REPOSITORY}@{version.commit}")
    assert service.version(house, TOM, f"{REPOSITORY}@{(version.commit or '')[:12]}").id == version.id
    for wrong in ("0123456789ab", (version.commit or "")[:5], (version.commit or "")[:5] + "%_"):
        with pytest.raises(VersionNotFound):
            service.version(house, TOM, f"{REPOSITORY}@{wrong}")
    assert [one.name for one in shown.sources] == ["texts"]
    assert shown.languages and shown.licences[0].documents == version.figures["documents"]["kept"]
    assert {one.reason for one in shown.dropped} == {one.reason for one in shown.lost}
    assert all(one.excerpt for one in shown.kept)


def test_the_same_key_is_the_same_work_and_another_request_under_it_is_refused(house: House, version: Version, sources: SourceSet) -> None:
    again = BuildAsk(ORGANISATION, "pages", sources.id, REPOSITORY, RECIPE)
    assert service.build(house, TOM, again).id == version.id
    with pytest.raises(AskedOtherwise):
        service.build(house, TOM, replace(again, recipe={"seed": 1}))


def test_a_job_s_end_told_twice_changes_nothing(house: House, version: Version) -> None:
    (finished,) = [e for e in house.db.read(lambda tx: house.events.about(tx, version.job)) if e.kind == "compute.job-finished"]
    size = house.db.read(house.events.size)
    service.follow(house, finished)
    assert house.db.read(house.events.size) == size
    assert service.version(house, TOM, version.id) == version


def test_the_same_recipe_on_the_same_sources_adds_no_commit(house: House, version: Version, sources: SourceSet) -> None:
    asked = service.build(house, TOM, BuildAsk(ORGANISATION, "pages again", sources.id, REPOSITORY, RECIPE))
    settle(house)
    again = service.version(house, TOM, asked.id)
    assert (again.state, again.commit, again.manifest) == (State.DONE, version.commit, version.manifest)


def test_a_typo_in_a_recipe_is_refused_before_anything_is_done(house: House, sources: SourceSet) -> None:
    with pytest.raises(BadRecipe, match="The recipe's 'sede' cannot be used"):
        service.build(house, TOM, BuildAsk(ORGANISATION, "typo", sources.id, f"{ORGANISATION}/typo", {"sede": 1}))


def test_texts_without_a_licence_are_not_published_and_the_same_key_tries_again(house: House) -> None:
    digest = service.keep_text(house, TOM, ORGANISATION, texts.english(5).encode()).digest
    fetched = service.fetch(house, TOM, SourcesAsk(ORGANISATION, "bare", texts={"page.txt": digest}))
    settle(house)
    ask = BuildAsk(ORGANISATION, "bare", fetched.id, f"{ORGANISATION}/bare")
    first = service.build(house, TOM, ask)
    settle(house)
    failed = service.version(house, TOM, first.id)
    assert failed.state is State.FAILED and "has no licence evidence" in (failed.error or "")
    with pytest.raises(NotFound):
        house.db.read(lambda tx: house.port(Hub).revision(tx, TOM, Kind.DATASET, f"{ORGANISATION}/bare"))  # type: ignore[type-abstract]
    again = service.build(house, TOM, ask)
    assert (again.id, again.attempt, again.state) == (first.id, 2, State.REQUESTED) and again.job != first.job
    house.db.write(lambda tx: house.port(Compute).cancel(tx, TOM, again.job))  # type: ignore[type-abstract]
    settle(house)


def test_nothing_is_built_from_sources_that_are_not_there_yet(house: House, kept: dict[str, str]) -> None:
    waiting = service.fetch(house, TOM, SourcesAsk(ORGANISATION, "waiting", texts=kept))
    with pytest.raises(SourcesNotReady, match="is requested"):
        service.build(house, TOM, BuildAsk(ORGANISATION, "early", waiting.id, REPOSITORY))
    house.db.write(lambda tx: house.port(Compute).cancel(tx, TOM, waiting.job))  # type: ignore[type-abstract]
    settle(house)
    assert service.source_set(house, TOM, waiting.id).state is State.FAILED


def test_a_digest_is_no_right_to_the_text_that_it_names(house: House, kept: dict[str, str]) -> None:
    with pytest.raises(TextNotKept):
        service.fetch(house, STRANGER, SourcesAsk("other-yard", "borrowed", texts=kept))


def test_strangers_see_and_do_nothing_here(house: House, sources: SourceSet, version: Version) -> None:
    for look, error in ((lambda: service.source_set(house, STRANGER, sources.id), SourceSetNotFound),
                        (lambda: service.version(house, STRANGER, version.id), VersionNotFound),
                        (lambda: service.datasheet(house, STRANGER, REPOSITORY), VersionNotFound),
                        (lambda: service.build(house, STRANGER, BuildAsk("other-yard", "k", sources.id, "other-yard/pages")), SourceSetNotFound),
                        (lambda: service.build(house, STRANGER, BuildAsk("other-yard", "k", sources.id, REPOSITORY)), Forbidden),
                        (lambda: service.fetch(house, STRANGER, SourcesAsk(ORGANISATION, "k")), Forbidden),
                        (lambda: service.keep_text(house, STRANGER, ORGANISATION, b"text"), Forbidden)):  # fmt: skip
        with pytest.raises(error):
            look()
    assert service.versions(house, STRANGER) == [] and service.source_sets(house, STRANGER) == []


def test_packages_need_the_right_to_use_the_network(house: House) -> None:
    with pytest.raises(NetworkForbidden):
        service.fetch(house, TOM, SourcesAsk(ORGANISATION, "packages", ["manpages"]))


@pytest.mark.parametrize("package", ["-oDpkg::Pre-Invoke=id", "../x", "Manpages", "a b", ""])
def test_only_package_names_reach_apt(house: House, package: str) -> None:
    with pytest.raises(BadInput, match="is not the name of a Debian package"):
        service.fetch(house, MEI, SourcesAsk(ORGANISATION, "names", [package]))


@pytest.mark.parametrize("path", ["../LICENSE", "/etc/passwd", "a/../../b", ""])
def test_paths_of_texts_stay_in_their_folder(house: House, path: str) -> None:
    with pytest.raises(BadInput):
        service.fetch(house, MEI, SourcesAsk(ORGANISATION, "paths", texts={path: "sha256:" + "0" * 64}))


def test_the_house_s_doors_lead_to_the_same_verbs(house: House, version: Version, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HTTP, the typed client and the command line, over the app itself."""
    from lilong.app import build
    from lilong.client import Client, corpus
    from lilong.client.inside import InsideTransport
    from lilong.floors.corpus.commands import dataset

    class Inside(InsideTransport):
        def __init__(self) -> None:
            import asyncio

            self._house, self._app, self._loop = house, build(house), asyncio.new_event_loop()

        def close(self) -> None:
            self._loop.close()

    secret = house.db.write(lambda tx: house.access.add_token(tx, SYSTEM, "mei", "test"))[1]
    client = Client(Inside(), secret)
    assert corpus.version(client, REPOSITORY).id in {one.id for one in corpus.versions(client, REPOSITORY)}
    assert corpus.datasheet(client, version.id).version == version
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "LICENSE").write_text("SPDX-License-Identifier: MIT\n")
    assert list(corpus.keep_folder(client, ORGANISATION, tmp_path / "one")) == ["LICENSE"]

    from contextlib import contextmanager

    @contextmanager
    def opened(*_: object) -> Iterator[Client]:
        yield client

    monkeypatch.setattr("lilong.client.opened", opened)
    run = click.testing.CliRunner()
    assert [row["id"] for row in json.loads(run.invoke(dataset, ["list", "--json"]).output) if row["key"] == "pages"] == [version.id]
    shown = run.invoke(dataset, ["show", version.id])
    assert shown.exit_code == 0 and "near_duplicate" in shown.output and "CC-BY-4.0" in shown.output
    assert json.loads(run.invoke(dataset, ["show", REPOSITORY, "--json"]).output)["sources"][0]["name"] == "texts"
    client.close()
