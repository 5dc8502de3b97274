from __future__ import annotations

from pathlib import Path

import pytest

from lilong.ground.work import Workspace, carry_out, one_of


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for key in ("IN", "OUT", "STATE"):
        (tmp_path / key).mkdir()
        monkeypatch.setenv(f"LILONG_{key}", str(tmp_path / key))
    return Workspace(tmp_path / "IN", tmp_path / "OUT", tmp_path / "STATE")


def test_the_verb_that_was_given_is_carried_out_here(workspace: Workspace) -> None:
    done: list[Workspace] = []
    assert carry_out(one_of({"count": done.append, "sort": lambda _: None}, ["count"])) == 0
    assert done == [workspace]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("words", [[], ["cuont"], ["count", "sort"]])
def test_any_other_words_are_a_line_that_names_the_verbs(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(one_of({"count": lambda _: None, "sort": lambda _: None}, words)) == 2
    said = capsys.readouterr().err
    assert said.startswith("bad-input: ")
    assert "count, sort" in said


def test_outside_of_a_job_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("LILONG_IN", raising=False)
    assert carry_out(lambda _: None) == 2
    assert "lilong job submit" in capsys.readouterr().err
