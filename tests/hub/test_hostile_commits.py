"""Commits that a client should not send: each gets its exact error, and nothing of it stays."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import httpx
import pytest

from .conftest import LANTERN, Served


@pytest.fixture
def name(served: Served) -> str:
    name = f"{LANTERN}/{uuid.uuid4().hex[:12]}"
    ask(served, "POST", "/api/repos/create", json={"name": name, "type": "dataset", "visibility": "private"})
    return name


def ask(served: Served, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{served.url}{path}", headers={"authorization": f"Bearer {served.tokens['mei']}"}, timeout=120, **more)


def put(path: str, content: bytes = b"x") -> dict[str, Any]:
    return {"key": "file", "value": {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}}


def commit(served: Served, name: str, *operations: dict[str, Any]) -> httpx.Response:
    lines = [{"key": "header", "value": {"summary": "Change"}}, *operations]
    return ask(served, "POST", f"/api/datasets/{name}/commit/main", content="\n".join(map(json.dumps, lines)))


def paths(served: Served, name: str) -> set[str]:
    return {entry["path"] for entry in ask(served, "GET", f"/api/datasets/{name}/tree/main?recursive=true").json()}


TRICKS = [
    "../up.txt", "in/../../up.txt", "/etc/passwd", "a//b", "./a", "in/.", ".git/config", "in/.GIT/hooks/x", "git~1/config", ".git /x", ".git./x",
    ".git::$INDEX_ALLOCATION/x", ".g\u200cit/config", "a\0b", "a\nb", "a\\b", "x" * 256, "/".join(["d" * 200] * 6), "\ud800", "",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS, ids=[ascii(path)[:30] for path in TRICKS])
def test_a_path_that_is_no_path_inside_a_repository_is_refused(served: Served, name: str, path: str) -> None:
    answer = commit(served, name, put("fine.txt"), put(path))
    assert answer.status_code in (400, 422) and answer.headers["x-error-message"]
    assert paths(served, name) == {".gitattributes"}


@pytest.mark.parametrize("path", ["..%2f..%2fkeys%2foperator.token", "%2e%2e/%2e%2e/lilong.db", "a%00b", "%5c..%5cx", "x" * 3000])
def test_no_encoding_of_a_path_reads_what_is_outside(served: Served, name: str, path: str) -> None:
    for place in (f"/datasets/{name}/resolve/main/{path}", f"/api/datasets/{name}/tree/main/{path}"):
        assert ask(served, "GET", place).status_code in (400, 404)


def test_names_that_differ_in_case_only_are_refused(served: Served, name: str) -> None:
    assert commit(served, name, put("Data/a.txt")).status_code == 200
    for path in ("data/b.txt", "Data/A.TXT"):
        answer = commit(served, name, put(path))
        assert answer.status_code == 400 and "one name where case does not count" in answer.json()["error"]
    assert commit(served, name, put("\u00e9.txt"), put("e\u0301.txt")).status_code == 400
    assert paths(served, name) == {".gitattributes", "Data", "Data/a.txt"}


def test_a_file_cannot_be_a_folder_as_well(served: Served, name: str) -> None:
    assert commit(served, name, put("a"), put("a/b")).status_code == 400
    assert commit(served, name, put("a")).status_code == 200
    assert commit(served, name, put("a/b")).status_code == 400


def test_a_commit_of_100_000_operations_arrives_whole(served: Served, name: str) -> None:
    answer = commit(served, name, *(put(f"f{number // 5000}/{number}.txt", str(number).encode()) for number in range(100_000)))
    assert answer.status_code == 200, answer.text
    assert ask(served, "GET", f"/datasets/{name}/resolve/main/f19/99999.txt").content == b"99999"
    assert len(ask(served, "GET", f"/api/datasets/{name}/tree/main/f7?limit=1000").json()) == 1000
    removal = commit(
        served, name, *({"key": "deletedFile", "value": {"path": f"f{number // 5000}/{number}.txt"}} for number in range(100_000))
    )
    assert removal.status_code == 200
    assert paths(served, name) == {".gitattributes"}


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b'{"key": "file"}', b'{"key": "file", "value": {"path": "a", "content": "!", "encoding": "base64"}}', b"[" * 100_000,
     b'{"key": "lfsFile", "value": {"path": "a", "oid": "zz"}}', b'{"key": "run", "value": {}}', b'{"key": "file", "value": {"path": 7}}'],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_named_by_its_number(served: Served, name: str, line: bytes) -> None:
    start = json.dumps({"key": "header", "value": {"summary": "Change"}}).encode() + b"\n" + json.dumps(put("fine.txt")).encode() + b"\n"
    answer = ask(served, "POST", f"/api/datasets/{name}/commit/main", content=start + line)
    assert answer.status_code == 400 and "Line 3" in answer.json()["error"]
    assert paths(served, name) == {".gitattributes"}


def test_bytes_that_were_not_uploaded_cannot_be_committed_by_their_digest(served: Served, name: str) -> None:
    operation = {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "ab" * 32, "size": 5}}
    assert commit(served, name, operation).status_code == 400
    assert paths(served, name) == {".gitattributes"}
