"""The hub's pages in a real Chromium: readable by everyone in both languages at every width, and files sent by the page itself."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_pages import HERE, LOOKS, browser

from .furnished import GATED, LANTERN, TABLES, TIDE, Furnished, asked_for, furnished

__all__ = ["browser"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SENT = 3_000_000  # bytes


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("pages")) as made:
        asked_for(made, "tom")
        yield made


def pages(site: Furnished) -> list[str]:
    head = site.commit("mei", TIDE, {"more.txt": b"one\n"}, "More")
    of_one = ("", "/tree/main", "/blob/main/README.md", "/blob/main/run.py", "/blob/main/model.safetensors", "/blob/main/images/curve.png", "/commits/main",
              f"/commit/{head}", "/discussions", "/discussions/1", "/discussions/2", "/discussions/new", "/activity", "/refs", "/settings", "/upload/main",
              "/edit/main/README.md", "/delete/main/run.py")  # fmt: skip
    return [
        "/models", "/datasets?search=tables", *(f"/{TIDE}{page}" for page in of_one), f"/{GATED}/access", f"/{GATED}/requests", f"/datasets/{TABLES}",
        f"/datasets/{TABLES}/viewer/main", f"/{LANTERN}", "/mei", "/new", "/settings/tokens", "/settings/webhooks", f"/models/{TIDE}",
    ]  # fmt: skip


def test_every_page_of_the_hub_is_accessible_keeps_to_itself_and_fits(site: Furnished, browser: str, tmp_path: Path) -> None:
    every, few = pages(site), (f"/{TIDE}", f"/{TIDE}/tree/main", f"/{TIDE}/discussions/2")
    plan: list[dict[str, Any]] = [
        {"path": path, "language": language, "theme": theme, "width": width}
        for language, theme, width in LOOKS
        for path in (every if width in (390, 1280) else few)
    ]
    plan += [{"path": f"/{TIDE}", "language": "en", "theme": "light", "width": 390, "anonymous": True}]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    argv = ["node", "walk.mjs", site.url, site.sessions["mei"], browser, str(tmp_path), str(tmp_path / "plan.json")]
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout)
    assert len(results) == len(plan)
    assert [r for r in results if r["status"] != 200 or r["violations"] or r["outside"] or r["overflow"] > 0 or r["errors"]] == []


def send(site: Furnished, chromium: str, user: str, path: str, scratch: Path, **plan: Any) -> dict[str, Any]:
    (scratch / "upload.json").write_text(json.dumps(plan))
    argv = ["node", "upload.mjs", site.url, site.sessions[user], chromium, path, str(scratch / "upload.json")]
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["problems"] == []
    return answer


def large(folder: Path, seed: int) -> tuple[Path, bytes]:
    content = random.Random(seed).randbytes(SENT)
    (folder / f"large-{seed}.parquet").write_bytes(content)
    return folder / f"large-{seed}.parquet", content


def test_the_page_sends_small_and_large_files_whole(site: Furnished, browser: str, tmp_path: Path) -> None:
    file, content = large(tmp_path, 1)
    (tmp_path / "small.txt").write_text("hello\n")
    led = send(
        site,
        browser,
        "jun",
        f"/datasets/{TABLES}/upload/main",
        tmp_path,
        files=[str(file), str(tmp_path / "small.txt")],
        folder="sent",
        message="By hand",
    )
    assert led["path"].startswith(f"/datasets/{TABLES}/commit/")
    with site.client(None) as client:
        got = client.get(f"/datasets/{TABLES}/resolve/main/sent/{file.name}").content
        assert hashlib.sha256(got).digest() == hashlib.sha256(content).digest()
        assert client.get(f"/datasets/{TABLES}/resolve/main/sent/small.txt").text == "hello\n"


def test_the_page_opens_a_pull_request_for_those_who_may_not_write(site: Furnished, browser: str, tmp_path: Path) -> None:
    file, _ = large(tmp_path, 2)
    led = send(site, browser, "tom", f"/datasets/{TABLES}/upload/main", tmp_path, files=[str(file)], message="Please take it")
    assert led["path"].startswith(f"/datasets/{TABLES}/discussions/")
    with site.client("mei") as client:
        assert "Please take it" in client.get(led["path"]).text
        assert client.get(f"/datasets/{TABLES}/resolve/main/{file.name}").status_code == 404


def test_an_upload_that_is_cancelled_commits_nothing(site: Furnished, browser: str, tmp_path: Path) -> None:
    file, _ = large(tmp_path, 3)
    led = send(site, browser, "jun", f"/datasets/{TABLES}/upload/main", tmp_path, files=[str(file)], cancel=True)
    assert led["said"] == ["Cancelled. Nothing was committed."]
    with site.client(None) as client:
        assert client.get(f"/datasets/{TABLES}/resolve/main/{file.name}").status_code == 404


def test_who_types_the_name_of_a_new_branch_commits_there(site: Furnished, browser: str, tmp_path: Path) -> None:
    (tmp_path / "apart.txt").write_text("apart\n")
    led = send(site, browser, "jun", f"/datasets/{TABLES}/upload/main", tmp_path, files=[str(tmp_path / "apart.txt")], branch="apart")
    assert "/commit/" in led["path"]
    with site.client(None) as client:
        assert client.get(f"/datasets/{TABLES}/resolve/apart/apart.txt").text == "apart\n"
        assert client.get(f"/datasets/{TABLES}/resolve/main/apart.txt").status_code == 404
