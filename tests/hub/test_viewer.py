"""Tables looked into through the real server; each question runs in a program of its own."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from lilong.floors.hub.service import viewer
from lilong.floors.hub.viewer import shapes
from lilong.floors.hub.viewer.shapes import Question
from lilong.floors.hub.viewer.worker import answered
from lilong.ground import sandbox

from .conftest import LANTERN, Served

duckdb = pytest.importorskip("duckdb")
pyarrow = pytest.importorskip("pyarrow")

UTC = datetime.UTC


def parquet(rows: int = 1000, **columns: Any) -> bytes:
    import pyarrow.parquet as pq

    table = pyarrow.table(columns or {
        "id": list(range(rows)), "half": [None if i % 10 == 0 else i / 2 for i in range(rows)], "name": [f"Boat {i % 13}" for i in range(rows)],
        "at": [datetime.datetime(2026, 1, 1, tzinfo=UTC)] * rows, "nested": [{"a": [1, 2], "b": "x"}] * rows, "long": ["y" * 5000] * rows,
        "raw": [b"abc"] * rows,
    })  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


CSV = "id,name\n" + "".join(f'{i},"sail {i}"\n' for i in range(500))
LINES = "".join(json.dumps({"id": i, "tags": ["a", "b"], "text": f"Wave {i}"}) + "\n" for i in range(500))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"{LANTERN}/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


def laid(served: Served, name: str, files: dict[str, bytes], *, private: bool = False) -> None:
    api = HfApi(endpoint=served.url, token=served.tokens["mei"])
    api.create_repo(name, repo_type="dataset", private=private)
    operations = [CommitOperationAdd(path, io.BytesIO(content)) for path, content in files.items()]
    api.create_commit(name, operations, commit_message="Add tables", repo_type="dataset")


def look(served: Served, name: str, verb: str, user: str = "ada", **query: Any) -> Any:
    url = f"{served.url}/api/datasets/{name}/viewer/main/{verb}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"authorization": f"Bearer {served.tokens[user]}"})) as answer:
        return json.load(answer)


def refused(served: Served, name: str, verb: str, user: str = "ada", **query: Any) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as problem:
        look(served, name, verb, user, **query)
    return problem.value.code, json.load(problem.value)["error"]


def test_the_tables_of_a_revision_are_listed(served: Served, name: str) -> None:
    laid(
        served,
        name,
        {"data/a.parquet": parquet(3), "b.csv.gz": gzip.compress(CSV.encode()), "README.md": b"# x", "c.jsonl": LINES.encode()},
    )
    found = look(served, name, "files")
    assert [(file["path"], file["format"]) for file in found] == [("b.csv.gz", "csv"), ("c.jsonl", "json"), ("data/a.parquet", "parquet")]


def test_parquet_has_a_schema_rows_search_and_order(served: Served, name: str) -> None:
    laid(served, name, {"a.parquet": parquet()})
    schema = look(served, name, "schema", file="a.parquet")
    assert (schema["rows"], [column["kind"] for column in schema["columns"]]) == (
        1000,
        ["number", "number", "text", "time", "nested", "text", "bytes"],
    )
    page = look(served, name, "rows", file="a.parquet", offset=998)
    assert ([row["number"] for row in page["rows"]], page["more"], page["total"]) == ([998, 999], False, 1000)
    last = page["rows"][-1]
    assert last["cells"][:5] == [999, 499.5, "Boat 11", "2026-01-01 00:00:00+00", {"a": [1, 2], "b": "x"}]
    assert (last["cells"][5], last["truncated"], last["cells"][6]) == ("y" * shapes.CELL, ["long"], "3 bytes")
    found = look(served, name, "search", file="a.parquet", q="bOAT 12", limit=2)
    assert ([row["number"] for row in found["rows"]], found["more"]) == ([12, 25], True)
    assert [row["cells"][0] for row in look(served, name, "rows", file="a.parquet", sort="-id", limit=2)["rows"]] == [999, 998]


def test_statistics_say_what_is_in_each_column(served: Served, name: str) -> None:
    laid(served, name, {"a.parquet": parquet()})
    statistics = look(served, name, "statistics", file="a.parquet")
    columns = {column["name"]: column for column in statistics["columns"]}
    assert (statistics["rows"], statistics["partial"]) == (1000, False)
    half = columns["half"]
    assert (half["nulls"], half["minimum"], half["maximum"]) == (100, 0.5, 499.5)
    assert sum(half["histogram"]["counts"]) == 900
    assert len(half["histogram"]["edges"]) == len(half["histogram"]["counts"]) + 1
    assert columns["name"]["top"][0] == {"value": "Boat 0", "count": 77}
    assert columns["long"]["lengths"] == {"minimum": 5000, "maximum": 5000, "mean": 5000.0}


@pytest.mark.parametrize("path", ["t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz"])
def test_texts_are_tables_too_packed_or_not(served: Served, name: str, path: str) -> None:
    content = (CSV if "csv" in path else LINES).encode()
    laid(served, name, {path: gzip.compress(content) if path.endswith(".gz") else content})
    page = look(served, name, "rows", file=path, offset=499)
    assert (page["rows"][0]["cells"][0], page["total"], page["columns"][0]["kind"]) == (499, 500, "number")
    assert look(served, name, "search", file=path, q="7", limit=1)["rows"][0]["number"] == 7


def test_no_word_of_a_question_becomes_sql(served: Served, name: str) -> None:
    odd = 'a"b; DROP'
    laid(served, name, {"o.parquet": parquet(**{odd: ["x'y", "z%"], "row": [1, 2]})})
    assert look(served, name, "rows", file="o.parquet", sort=f"-{odd}")["rows"][0]["cells"] == ["z%", 2]
    assert look(served, name, "search", file="o.parquet", q="x'y")["rows"][0]["number"] == 0
    assert look(served, name, "search", file="o.parquet", q="z%' OR 1=1 --")["rows"] == []
    assert refused(served, name, "rows", file="o.parquet", sort='row" DESC; SELECT 1 --')[0] == 422


def test_private_foreign_and_missing_look_the_same_in_the_viewer_too(served: Served, name: str) -> None:
    laid(served, name, {"a.csv": CSV.encode()}, private=True)
    assert look(served, name, "rows", file="a.csv")["rows"]
    for repository in (name, f"{LANTERN}/nothing"):
        assert refused(served, repository, "rows", "tom", file="a.csv")[0] == 404
    assert refused(served, name, "rows", file="b.csv")[0] == 404
    assert refused(served, name, "rows", file="../../a.csv")[0] == 404


def test_wrong_questions_are_told_so(served: Served, name: str) -> None:
    laid(served, name, {"a.csv": CSV.encode(), "a.txt": b"a"})
    wrong = [("rows", {}), ("other", {"file": "a.csv"}), ("rows", {"file": "a.csv", "offset": "-1"}), ("rows", {"file": "a.csv", "limit": "x"}),
             ("search", {"file": "a.csv"}), ("search", {"file": "a.csv", "q": "x" * 1000}), ("rows", {"file": "a.txt"})]  # fmt: skip
    assert {refused(served, name, verb, **query)[0] for verb, query in wrong} == {400, 422}


def test_an_answer_is_kept_by_content(served: Served, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    laid(served, name, {"a.csv": CSV.encode() + b"1000,x\n", "copy.csv": CSV.encode() + b"1000,x\n"})
    first = look(served, name, "rows", file="a.csv")
    monkeypatch.setattr(viewer, "_run", None)
    assert look(served, name, "rows", file="copy.csv") == {**first, "file": "copy.csv"}


def test_what_takes_too_long_is_ended(served: Served, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    laid(served, name, {"a.csv": CSV.encode() + b"2000,x\n"})
    monkeypatch.setattr(viewer, "_SECONDS", 0.01)
    code, reason = refused(served, name, "rows", file="a.csv")
    assert (code, "0.01 seconds" in reason) == (422, True)
    assert not list((served.house.settings.run / "viewer").glob("asked-*"))


def test_a_question_cannot_reach_beyond_its_file(tmp_path: Path) -> None:
    from lilong.floors.hub.viewer.table import connect

    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "b.csv").write_text(CSV)
    connection = connect(tmp_path / "a.csv")
    assert connection.execute("SELECT count(*) FROM read_csv(?)", [str(tmp_path / "a.csv")]).fetchone() == (500,)
    reaching = [f"SELECT * FROM read_csv('{tmp_path}/b.csv')", f"SELECT * FROM read_text('{tmp_path}/*')", f"COPY (SELECT 1) TO '{tmp_path}/c.csv'",
                "SET enable_external_access = true", "INSTALL httpfs", "SELECT * FROM 'http://127.0.0.1:1/a.csv'", f"ATTACH '{tmp_path}/d.db'"]  # fmt: skip
    for sql in reaching:
        with pytest.raises(duckdb.Error):
            connection.execute(sql)


HOSTILE = {
    "a million columns": ("csv", (",".join(f"c{i}" for i in range(10**6)) + "\n").encode(), "longer than 1 MiB"),
    "two thousand columns": ("csv", (",".join(f"c{i}" for i in range(2000)) + "\n").encode(), "more than 1,000 columns"),
    "a Git LFS pointer": ("csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
    "a pointer for Parquet": ("parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
    "Latin-1": ("csv", "ä\nö\n".encode("latin-1"), "UTF-8"),
    "UTF-16": ("csv", "a,b\n1,2\n".encode("utf-16"), "UTF-8"),
    "not UTF-8 far down": ("csv", b"a,b\n" + b"sail,wave\n" * 300_000 + b"\xff\xfe,x\n" * 9, "utf-8"),
    "nothing": ("csv", b"\n\n", "empty"),
    "a cut-off Parquet": ("parquet", parquet(10)[:-100], "cut off"),
    "a broken footer": ("parquet", parquet(10)[:-108] + b"x" * 100 + parquet(10)[-8:], "cannot be read"),
    "a footer that lies": ("parquet", b"PAR1" + b"\0" * 20 + (1 << 31).to_bytes(4, "little") + b"PAR1", "cut off"),
    "brackets to no end": ("json", b"[" * 100_000, "cannot be read"),
    "no JSON": ("json", b"{]\n" * 10, "cannot be read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason(case: str, tmp_path: Path) -> None:
    format_, content, words = HOSTILE[case]
    (tmp_path / "file").write_bytes(content)
    made = answered(tmp_path / "file", Question("rows", format_, len(content), offset=400_000 if "far down" in case else 0))
    assert words in made["refused"]
    assert str(tmp_path) not in made["refused"]


def test_a_bomb_is_held_in_and_ended(served: Served, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 GiB in 4 MiB: whichever limit it meets first, it is refused and the server goes on."""
    packed = gzip.compress(b"a,b\n" + b"0" * (64 << 20), 1)
    bomb = packed + gzip.compress(b"0" * (64 << 20), 1) * 63
    laid(served, name, {"bomb.csv.gz": bomb, "fine.csv": CSV.encode()})
    monkeypatch.setattr(viewer, "_SECONDS", 3.0)
    assert refused(served, name, "statistics", file="bomb.csv.gz")[0] == 422
    assert look(served, name, "rows", file="fine.csv")["total"] == 500


def test_values_that_come_late_and_do_not_fit_are_shown_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "late.csv").write_text("a\n" + "1\n" * 30_000 + "sail\n")
    made = answered(tmp_path / "late.csv", Question("rows", "csv", 10, offset=30_000))["answer"]
    assert (made["rows"][0]["cells"], "as text" in made["note"]) == (["sail"], True)
    (tmp_path / "late.jsonl").write_text('{"a": 1}\n' * 30_000 + '{"a": "sail", "b": [1]}\n')
    assert answered(tmp_path / "late.jsonl", Question("rows", "json", 10, offset=30_000))["answer"]["rows"][0]["cells"] == ["sail", [1]]


def test_what_nobody_asked_for_since_yesterday_goes(served: Served, name: str) -> None:
    import os

    laid(served, name, {"a.csv": CSV.encode() + b"4000,x\n"})
    assert look(served, name, "rows", file="a.csv")["rows"]
    folder = served.house.settings.run / "viewer"
    fresh = set(folder.glob("answers/*"))
    old = min(fresh)
    os.utime(old, (1, 1))
    viewer.tidy(served.house)
    assert fresh - set(folder.glob("answers/*")) == {old}


@pytest.mark.parametrize("level", [level for level in sandbox.Level if level is not sandbox.Level.GVISOR])
def test_a_question_is_answered_at_each_level_of_the_sandbox(
    served: Served, name: str, level: sandbox.Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (missing := sandbox.problem_with(level)) is not None:
        pytest.skip(missing)
    monkeypatch.setattr(sandbox, "best", lambda: level)
    laid(served, name, {"a.csv": CSV.encode()})
    assert look(served, name, "rows", file="a.csv", limit=1)["rows"][0]["cells"] == [0, "sail 0"]
