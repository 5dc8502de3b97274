"""`lilong corpus` on local files: wrong input is told with the way out, nothing half-written is left, and Ctrl-C ends a run cleanly."""

from __future__ import annotations

import errno
import gzip
import json
import os
import pty
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lilong.floors.corpus.curation.runs import durable, progress
from lilong.floors.corpus.curation.writing import tables

from .test_curate import error, said
from .test_runs import DRIVER, clean, digests, prose, shards

__all__ = ["clean", "shards"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in `run`, what it was made of, and files that are not what they should be."""
    at = tmp_path_factory.mktemp("verbs")
    draw = random.Random(3)
    lines = "".join(json.dumps({"text": prose(draw, 20)}) + "\n" for _ in range(12))
    (at / "notes.jsonl").write_text(lines, encoding="utf-8")
    done = said("curate", at / "notes.jsonl", "--profile", "docs", "--out", at / "run", "--workers", 1)
    assert done.exit_code == 0 and f"lilong corpus explain ID --run {at / 'run'}" in done.stdout
    (at / "file").write_text("in the way")
    (at / "empty.jsonl").write_text("")
    (at / "broken.jsonl").write_text("no json\n")
    (at / "noise.parquet").write_bytes(b"\xff\xfe no parquet")
    (at / "harmed").mkdir()
    (at / "harmed" / "documents.parquet").write_bytes((at / "run" / "documents.parquet").read_bytes()[:200])
    return at


@pytest.mark.parametrize(
    "words",
    [
        ("curate", "notes.jsonl", "--profile", "docs"), ("dedup", "run"), ("decontaminate", "--against", "notes.jsonl", "--run", "run"),
        ("tokenise", "run", "--tokenizer", "none.json"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_where_the_folder_should_be_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], out: str
) -> None:
    monkeypatch.chdir(place)
    problem = error(*words, "--out", out)
    assert problem.exit_code == 2 and str(problem) == "The field '--out' cannot be used: file is a file. Name a folder."


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (("curate", "empty.jsonl", "--profile", "docs", "--out", "new"), 2, "There is nothing in the input empty.jsonl"),
        (("curate", "broken.jsonl", "--profile", "docs", "--out", "new"), 2, "Not one document was read: broken.jsonl#1 is not a JSON object"),
        (("dedup", "harmed"), 2, "Give the --out folder of a curation run"),
        (("dedup", "run", "--standing", "none"), 4, "begin one there: add --add"),
        (("dedup", "run", "--standing", "run", "--add"), 5, "Give another folder with --standing"),
        (("dedup", "run", "--standing", "file", "--add"), 2, "file is a file"),
        (("index", "--run", "none"), 2, "Give the --out folder of a curation run"),
        (("index", "--run", "harmed"), 2, "Give the --out folder of a curation run"),
        (("contains", "none.txt", "--run", "run"), 4, "Check the path"),
        (("contains", "./none", "--run", "run"), 4, "Check the path"),
        (("contains", ".", "--run", "run"), 2, ". is a folder"),
        (("contains", " ", "--run", "run"), 2, "it is empty"),
        (("contains", "tide \udcff", "--run", "run"), 2, "it is not UTF-8"),
        (("curate", "", "--profile", "docs", "--out", "new"), 2, "a dot is the folder"),
        (("contains", "The tide.", "--run", "none"), 2, "Give the --out folder of a curation run"),
        (("decontaminate", "--against", "noise.parquet", "--run", "run"), 2, "The evaluation set noise.parquet cannot be read"),
        (("decontaminate", "--against", "broken.jsonl", "--run", "run"), 2, "it holds a line that is not JSON"),
        (("decontaminate", "--against", "notes.jsonl", "--run", "harmed", "--out", "new"), 2, "There are no documents in harmed"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_with_the_way_out_and_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], exit_code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for one in place.iterdir():
        (tmp_path / one.name).symlink_to(one)
    before = {one.name for one in tmp_path.iterdir()}
    problem = error(*words)
    assert problem.exit_code == exit_code and told in str(problem) and ".." not in str(problem)
    if words[0] != "curate":
        assert {one.name for one in tmp_path.iterdir()} == before
    assert not (place / "harmed" / "index").exists()


@pytest.mark.parametrize("words", [("dedup", "run"), ("decontaminate", "--against", "notes.jsonl", "--run", "run")])
def test_a_full_disk_is_told_and_leaves_no_table(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(place)
    monkeypatch.setattr(tables.TableFile, "close", full)
    problem = error(*words, "--out", tmp_path / "new")
    assert problem.exit_code == 7 and f"There is no room left in {tmp_path / 'new'}." in str(problem)
    assert list((tmp_path / "new").iterdir()) == []


def test_files_come_into_a_folder_together_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), durable.folder_beside(tmp_path / "out") as part:
        (part / "one").write_text("1")
        raise KeyboardInterrupt
    assert list((tmp_path / "out").iterdir()) == []
    with durable.folder_beside(tmp_path / "out") as part:
        (part / "one").write_text("1")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["one"]


def test_the_texts_that_are_dropped_are_written_for_review(place: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text((place / "notes.jsonl").read_text() + '{"text": "Too short."}\n')
    done = said("curate", tmp_path / "in.jsonl", "--profile", "docs", "--out", tmp_path / "out", "--workers", 1, "--review")
    assert done.exit_code == 0, done.output
    assert "Too short." in pq.read_table(tmp_path / "out" / "dropped.parquet").column("text").to_pylist()


PLANTED = "Which of the lights on the northern mole is lit at noon, when fog comes in over the shallow water, and who has to light it?"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a document that holds PLANTED."""
    at = tmp_path_factory.mktemp("planted")
    draw = random.Random(4)
    texts = [prose(draw, 20), f"{prose(draw, 9)}\n{PLANTED}\n{prose(draw, 9)}"]
    (at / "notes.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert said("curate", at / "notes.jsonl", "--profile", "docs", "--out", at / "run", "--workers", 1).exit_code == 0
    return at / "run"


def _records(*records: object) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


@pytest.mark.parametrize(
    ("name", "content", "item"),
    [
        ("set.txt", PLANTED.encode(), "set.txt#1"),
        ("set.txt.gz", gzip.compress(PLANTED.encode()), "set.txt.gz#1"),
        ("set.html", f"<p>{PLANTED.replace(' ', ' <b></b>')}</p>".encode(), "set.html#1"),
        ("set.jsonl.gz", gzip.compress(_records({"id": "t/1", "question": PLANTED})), "set.jsonl.gz#t/1"),
        ("names.jsonl", _records({"name": PLANTED}, {"name": "another"}), "names.jsonl#" + PLANTED[:80] + ".1"),
        ("subjects.jsonl", _records({"name": "harbours", "q": PLANTED}, {"name": "harbours", "q": "?"}), "subjects.jsonl#harbours.1"),
    ],
)
def test_an_item_is_found_in_whatever_form_the_set_comes(planted: Path, tmp_path: Path, name: str, content: bytes, item: str) -> None:
    (tmp_path / name).write_bytes(content)
    found = json.loads(said("decontaminate", "--against", tmp_path / name, "--run", planted, "--json").stdout)
    assert {one["item"] for one in found["matches"]} == {item} and found["contaminated"] == 1


def test_a_subject_that_many_items_share_is_no_text_of_theirs(planted: Path, tmp_path: Path) -> None:
    subject = " ".join(PLANTED.split()[2:9])
    (tmp_path / "set.jsonl").write_bytes(_records(*({"name": subject, "q": f"How many boats came in on day {day}?"} for day in range(3))))
    found = json.loads(said("decontaminate", "--against", tmp_path / "set.jsonl", "--run", planted, "--json").stdout)
    assert (found["items"], found["items_found"]) == (3, 0)


def test_items_that_are_too_short_to_be_looked_for_are_told(planted: Path, tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_bytes(_records({"q": "Who lit it?"}, {"q": PLANTED}))
    told = said("decontaminate", "--against", tmp_path / "set.jsonl", "--run", planted).stdout
    assert "1 of 2 items stand in 1 of 2 documents." in told and "1 item is too short to be looked for" in told


def test_a_set_that_cannot_be_read_is_no_clean_one(planted: Path, tmp_path: Path) -> None:
    (tmp_path / "set.txt.gz").write_bytes(gzip.compress(PLANTED.encode())[:40])
    assert "The evaluation set" in str(error("decontaminate", "--against", tmp_path / "set.txt.gz", "--run", planted))


def test_dedup_tells_what_it_does_and_what_it_left(place: Path) -> None:
    done = said("dedup", place / "run", "--by", "lines")
    assert done.exit_code == 0 and "looking for shared lines" in done.stderr
    assert "of 12 documents are left" in done.stdout and " kB in documents that stand there again." in done.stdout


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"), (99_949, "99.9 kB"), (99_960, "100 kB"), (999_600, "1.0 MB"), (160e6, "160 MB"), (4e15, "4,000 TB")],
)  # fmt: skip
def test_sizes_are_told_in_the_unit_that_fits(count: float, told: str) -> None:
    assert progress.size(count) == told


def test_ctrl_c_in_a_terminal_leaves_no_process_and_the_same_command_ends_with_the_same_bytes(
    shards: list[Path], clean: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    argv = [sys.executable, "-c", DRIVER, "corpus", "curate", *map(str, shards), "--profile", "docs", "--out", str(out), "--workers", "2"]
    status, told, group = in_a_terminal(argv, out / "work" / "journal.jsonl")
    assert (status, told.count("Traceback")) == (130, 0), told
    assert "the same command goes on where it was" in " ".join(told.split())
    assert gone(group)
    status, told, _ = in_a_terminal(argv, None)
    assert status == 0 and "documents kept" in told, told
    assert digests(out) == digests(clean)


def gone(group: int) -> bool:
    """Whether no process of it is left; what only tidies up after the others may take a moment."""
    patience = time.monotonic() + 20
    while time.monotonic() < patience:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def in_a_terminal(argv: list[str], until: Path | None) -> tuple[int, str, int]:
    """Exit status, what a terminal was shown, and the process group. Ctrl-C is typed as soon as the file `until` holds something."""
    process, terminal = pty.fork()
    if not process:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(argv[0], argv)
    os.set_blocking(terminal, False)
    shown, typed = b"", False
    while True:
        try:
            shown += os.read(terminal, 65_536)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            break
        if until is not None and not typed and until.exists() and until.stat().st_size:
            os.write(terminal, b"\x03")
            typed = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode(errors="replace"), process


def test_a_published_run_may_bring_only_texts_that_it_dropped(place: Path, tmp_path: Path) -> None:
    from lilong.floors.corpus.alliance import publishing
    from lilong.floors.corpus.alliance.shapes import RunNotUsable

    dropped, other = pa.chunked_array([["a" * 64]]), pa.table({"id": ["b" * 64], "text": ["Not of this run."]})
    for table, why in ((other, "does not drop"), (other.rename_columns(["id", "body"]), "other columns"), (other.set_column(1, "text", pa.array([None], pa.string())), "without an id or a text")):  # fmt: skip
        pq.write_table(table, tmp_path / "dropped.parquet")
        with pytest.raises(RunNotUsable, match=why):
            publishing._check_dropped(tmp_path / "dropped.parquet", dropped)
    pq.write_table(other, tmp_path / "dropped.parquet")
    publishing._check_dropped(tmp_path / "dropped.parquet", pa.chunked_array([["b" * 64]]))
