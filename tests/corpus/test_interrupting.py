"""Ctrl-C in a terminal ends every command of the floor alike: what is left is told, nothing half-made is, and no process."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from lilong.floors.corpus.commands.interrupting import interrupted

from .test_curate import said
from .test_local_verbs import gone, in_a_terminal
from .test_runs import prose

HELD = (
    "import importlib, pathlib, sys, time; module, owner, name, here = sys.argv[1:5]; sys.argv[1:] = sys.argv[5:]\n"
    "def held(*_): pathlib.Path(here).write_text('here'); time.sleep(60)\n"
    "setattr(getattr(importlib.import_module('lilong.floors.corpus.curation.' + module), owner), name, held)\n"
    "from lilong.cli import main; main()"
)
"""A command that gets no further than to a method, where it has written what it writes before."""
CLOSE, FINISH, COMMIT = (
    ("writing.tables", "TableFile", "close"),
    ("contamination.index", "Builder", "finish"),
    ("dedup.standing", "Standing", "_commit"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("run")
    draw = random.Random(5)
    (at / "notes.jsonl").write_text("".join(json.dumps({"text": prose(draw, 20)}) + "\n" for _ in range(8)), encoding="utf-8")
    assert said("curate", at / "notes.jsonl", "--profile", "docs", "--out", at / "run", "--workers", 1).exit_code == 0
    return at / "run"


def files(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (CLOSE, ("dedup", "run", "--out", "new")), (CLOSE, ("decontaminate", "--against", "notes.jsonl", "--run", "run", "--out", "new")),
        (FINISH, ("index", "--run", "run")), (COMMIT, ("dedup", "run", "--standing", "all", "--add")),
    ],
)  # fmt: skip
def test_what_cannot_go_on_says_that_it_begins_anew_and_leaves_no_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: tuple[str, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(run.parent)
    before = files(run.parent)
    status, told, group = in_a_terminal([sys.executable, "-c", HELD, *held, str(tmp_path / "here"), "corpus", *words], tmp_path / "here")
    assert (status, "Aborted" in told, "Traceback" in told) == (130, False, False), told
    assert "Interrupted. Nothing half-made is left: the same command begins anew." in " ".join(told.split())
    assert {one for one in files(run.parent) - before if not one.startswith("all/objects/")} == set() and gone(group)
    done = said(*words)
    assert done.exit_code == 0, done.output


def test_what_is_kept_is_told_once_by_whoever_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, interrupted("Nothing is."), interrupted("Half of it is kept."):
        raise KeyboardInterrupt
    assert (ended.value.code, capsys.readouterr().err) == (130, "lilong: Interrupted. Half of it is kept.\n")
