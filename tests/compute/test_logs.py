"""Of a program's output the beginning and the end are kept, and a place in it is the same for all who read it, whenever they do."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lilong.floors.compute.backends import logs
from lilong.floors.compute.supervisor.log import Log, pieces

CAP = 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def written(path: Path, *parts: bytes, cap: int = CAP) -> Log:
    log = Log(path, cap)
    for part in parts:
        log.write(part)
    log.close()
    return log


def whole(path: Path, limit: int = 1 << 20) -> str:
    at, text = 0, ""
    while (part := logs.part(path, at, limit)).text:
        assert part.offset == at < part.next
        at, text = part.next, text + part.text
    return text


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("log*"))


@pytest.mark.parametrize("limit", [4, 7, 100, 1 << 20])
def test_what_lies_within_the_cap_is_all_there(path: Path, limit: int) -> None:
    text = "".join(f"{number} 上海里弄 é\n" for number in range(42))
    assert len(text.encode()) > CAP // 2 + CAP // 4
    written(path, text.encode())
    assert whole(path, limit) == text


@pytest.mark.parametrize("step", [1, 3, 250, 999, 10_000])
def test_beyond_the_cap_the_first_half_and_the_end_are_kept_and_between_them_stands_how_much_is_left_out(path: Path, step: int) -> None:
    data = b"".join(b"%06d\n" % number for number in range(1500))
    written(path, *(data[at : at + step] for at in range(0, len(data), step)))
    assert size(path.parent) <= CAP
    first, said, last = whole(path).partition(" bytes of the log are left out here]\n")
    head, _, number = first.rpartition("\n[")
    assert data.startswith(head.encode()) and len(head) == CAP // 2
    assert data.endswith(last.encode()) and CAP // 4 <= len(last) <= CAP // 2
    assert said and len(head) + int(number.replace(",", "")) + len(last) == len(data)


def test_who_follows_reads_all_of_it_though_most_is_not_kept(path: Path) -> None:
    chance, log = random.Random(5), Log(path, CAP)
    at, text, wrote = 0, "", ""
    for number in range(2000):
        wrote += (line := f"{number} 里弄\n")
        log.write(line.encode())
        if chance.random() < 0.5:
            part = logs.part(path, at, 1 << 20)
            at, text = part.next, text + part.text
    assert text + logs.part(path, at, 1 << 20).text == wrote
    log.close()


def test_who_comes_too_late_is_told_how_much_was_missed_and_goes_on(path: Path) -> None:
    log = Log(path, CAP)
    log.write(b"a" * 600)
    part = logs.part(path, 0, 1 << 20)
    log.write(b"b" * 5000 + b"\nthe end\n")
    rest = logs.part(path, part.next, 1 << 20)
    assert (part.next, rest.next) == (600, 5609)
    assert rest.text.startswith("\n[4,6") and rest.text.endswith("b\nthe end\n")
    log.close()


def test_the_end_is_counted_from_the_true_end(path: Path) -> None:
    written(path, b"x" * 50_000, b"\nthe real error\n")
    assert logs.part(path, -15, 4000).text == "the real error\n"
    assert logs.part(path, 50_016, 4000) == logs.LogPart(50_016, 50_016, "")
    assert logs.part(path.with_name("none"), -15, 4000) == logs.LogPart(0, 0, "")


@pytest.mark.parametrize("keep", [0, 100, 500, 620, 4990])
def test_what_a_crash_left_beyond_what_was_noted_is_written_anew(path: Path, keep: int) -> None:
    data = b"".join(b"%04d\n" % number for number in range(1000))
    written(path, data[: keep + 10])
    log = Log(path, CAP)
    log.resume(keep)
    log.write(data[keep:])
    log.close()
    assert log.end == len(data) == pieces(path)[-1][1]
    assert whole(path).startswith(data[:500].decode()) and whole(path).endswith(data[-CAP // 4 :].decode())


def ranks(folder: Path, *contents: bytes) -> list[Path]:
    found = []
    for number, content in enumerate(contents):
        own = folder / "tasks" / str(number)
        own.mkdir(parents=True)
        written(own / "log", content)
        found.append(own)
    return found


def test_of_a_gang_whose_ranks_wrote_much_the_merged_log_ends_as_they_did(tmp_path: Path) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(1000))
    own = ranks(tmp_path, lines, lines + b"the real error")
    logs.merge(tmp_path, own, 10 * CAP, done=True)
    text = whole(tmp_path / "log")
    assert text.startswith("[0] line 0\n") and text.endswith("[1] line 999\n[1] the real error\n")
    assert text.count("bytes of the log are left out here]") == 2
    logs.merge(tmp_path, own, 10 * CAP, done=True)
    assert whole(tmp_path / "log") == text


def test_the_merged_log_of_a_gang_that_is_followed_stays_within_its_cap(tmp_path: Path) -> None:
    own = ranks(tmp_path, b"", b"")
    writers = [Log(rank / "log", CAP) for rank in own]
    at, seen = 0, ""
    for number in range(600):
        writers[number % 2].write(b"line %d\n" % number)
        logs.merge(tmp_path, own, 2 * CAP, done=False)
        part = logs.part(tmp_path / "log", at, 1 << 20)
        at, seen = part.next, seen + part.text
    assert seen == "".join(f"[{number % 2}] line {number}\n" for number in range(600))
    assert size(tmp_path) <= 2 * CAP
    for writer in writers:
        writer.close()
