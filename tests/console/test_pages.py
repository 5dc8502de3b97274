"""Every page in a real Chromium: no accessibility violation, no request that leaves the host, nothing that overflows, in both
languages, light and dark, from a phone's width to a wide screen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FinishedDemo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
HERE = Path(__file__).parent
OPERATORS = ("/compute/what-if", "/compute/what-if?since=1d&set=policy%3Deasy")  # pages of the whole queue
LOOKS = (("en", "light", 1280), ("zh", "dark", 390), ("en", "dark", 1600), ("zh", "light", 800))


@pytest.fixture(scope="module")
def browser() -> str:
    """The path of Chromium, with what drives it installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None or shutil.which("npm") is None:
        pytest.skip("Chromium or npm is not installed")
    if not (HERE / "node_modules" / "playwright-core").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=HERE, check=True, timeout=300)
    return found


def session_of(demo: FinishedDemo, user: str) -> str:
    """Sign in by a one-time link, as a person would; the session's cookie."""
    link = demo.server.client.post("/api/house/sign-in-links", {"user": user})["url"]

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    try:
        urllib.request.build_opener(Stay).open(urllib.request.Request(link, method="POST"))
    except urllib.error.HTTPError as answer:
        return str(answer.headers["set-cookie"]).split("lilong_session=")[1].split(";")[0]
    raise AssertionError("the link did not lead on")


def pages(demo: FinishedDemo) -> list[str]:
    jobs = demo.server.client.get("/api/compute/jobs", limit=200)
    training = next(job["id"] for job in jobs if job["ask"]["kind"] == "training.run" or "train" in job["ask"]["kind"])
    corpus = demo.outputs["corpus"]
    return [
        "/", f"/?select={corpus['manifest']}", "/chains", "/chains/lantern-works/first-chain", "/jobs", f"/jobs/{training}", "/datasets",
        "/datasets/lantern-works/handbooks", "/models", "/models/lantern-works/handbook-model", "/models/lantern-works/smollm2-135m-instruct",
        f"/reports/{demo.outputs['evaluation']['id']}", f"/evidence/{corpus['statement']}", "/no/such/page/here",
        "/lantern-works", "/lantern-works/handbook-model", "/lantern-works/handbook-model/tree/main", "/lantern-works/handbook-model/activity",
        "/compute", "/compute/tenants", "/compute/estimates", "/datasets/lantern-works/handbooks/tree/main", "/corpora", "/corpora/lantern-works/handbooks", "/settings/tokens",
    ]  # fmt: skip


def test_every_page_is_accessible_keeps_to_itself_and_fits(demo: FinishedDemo, browser: str, tmp_path: Path) -> None:
    plan: list[dict[str, Any]] = [
        {"path": path, "language": language, "theme": theme, "width": width} for path in pages(demo) for language, theme, width in LOOKS
    ]
    operator = session_of(demo, "operator")
    plan += [
        {"path": path, "language": language, "theme": theme, "width": width, "session": operator}
        for path in OPERATORS
        for language, theme, width in LOOKS
    ]
    plan += [{"path": "/sign-in", "language": "en", "theme": "light", "width": 390, "anonymous": True}]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    argv = ["node", "walk.mjs", demo.server.url, session_of(demo, "mei"), browser, str(tmp_path), str(tmp_path / "plan.json")]
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout)
    assert len(results) == len(plan)
    expected = {"/no/such/page/here": 404}
    wrong = [
        result
        for result in results
        if result["status"] != expected.get(result["path"], 200)
        or result["violations"]
        or result["outside"]
        or result["overflow"] > 0
        or (result["errors"] and result["status"] == 200)
    ]
    assert wrong == [], json.dumps(wrong, indent=1)[:4000]


def test_arrow_keys_move_through_the_tower(demo: FinishedDemo, browser: str, tmp_path: Path) -> None:
    argv = ["node", "keys.mjs", demo.server.url, session_of(demo, "mei"), browser]
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, check=True)
    moved = json.loads(done.stdout)
    assert moved["tiers"] == sorted(moved["tiers"], reverse=True)
    assert len(set(moved["tiers"])) > 3
    assert moved["lit"] > 3


def test_asking_the_model_on_its_page_shows_the_answer_with_its_receipt(demo: FinishedDemo) -> None:
    import httpx

    with httpx.Client(
        base_url=demo.server.url, cookies={"lilong_session": session_of(demo, "mei")}, headers={"accept": "text/html"}, timeout=120
    ) as client:
        for _ in range(60):
            page = client.post("/models/lantern-works/handbook-model/ask", data={"served": "handbook-model", "question": "What is ls?"})
            if "rcpt-" in page.text:
                break
        assert page.status_code == 200
        assert "rcpt-" in page.text
        foreign = client.post(
            "/models/lantern-works/handbook-model/ask",
            data={"served": "handbook-model", "question": "x"},
            headers={"sec-fetch-site": "cross-site"},
        )
        assert foreign.status_code == 403


def test_pages_of_another_organisation_are_not_there(demo: FinishedDemo) -> None:
    import httpx

    with httpx.Client(
        base_url=demo.server.url, cookies={"lilong_session": session_of(demo, "tomas")}, headers={"accept": "text/html"}
    ) as client:
        demo.server.client.post("/api/house/users", {"name": "stranger"})
        demo.server.client.post("/api/house/grants", {"user": "stranger", "role": "member", "organisation": "plum-lane"})
    with httpx.Client(
        base_url=demo.server.url, cookies={"lilong_session": session_of(demo, "stranger")}, headers={"accept": "text/html"}
    ) as client:
        for path in pages(demo)[3:13]:
            answer = client.get(path)
            listing = path in ("/jobs", "/datasets", "/models", "/chains")
            assert answer.status_code == (200 if listing else 404), path
            named = ("first-chain", "handbooks", "handbook-model", "smollm2-135m-instruct")
            assert not any(f"lantern-works/{name}" in answer.text for name in named if name not in path), path
        assert "handbook" not in client.get("/").text
