"""The corpus floor's pages in a real Chromium: accessible in both languages, light and dark, at every width, and limits tried live."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.console.test_pages import HERE as CONSOLE
from tests.console.test_pages import LOOKS, browser

from .test_pages_explorer import HERE, LANTERN, REPOSITORY, Site, ids, site

__all__ = ["browser", "site"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def url(site: Site) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(site.app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)


def pages(site: Site) -> list[str]:
    dropped = ids(site.get(f"{HERE}/documents?verdict=dropped"))[0]
    cluster = ids(site.get(f"{HERE}/duplicates?why=near"), "duplicates")[0]
    asked = f"/corpora/takedowns?preview=1&version={REPOSITORY}&kind=source&what=tide-notes&reason=Asked"
    parts = (
        "", "/documents", "/documents?q=old+pier", "/documents?signal=tokens&low=1", f"/document/{dropped}", "/signals", "/signals?signal=language",
        "/signals?signal=bytes&limit=1000", "/dropped", "/duplicates", f"/duplicates/{cluster}", "/drift", "/source/tide-notes",
    )  # fmt: skip
    return ["/corpora", *(f"{HERE}{part}" for part in parts), f"/corpora/{LANTERN}", "/corpora/takedowns", asked, "/corpora/requests"]


def test_every_page_is_accessible_keeps_to_itself_and_fits(site: Site, url: str, browser: str, tmp_path: Path) -> None:
    plan = [
        {"path": path, "language": language, "theme": theme, "width": width} for path in pages(site) for language, theme, width in LOOKS
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    argv = ["node", "walk.mjs", url, site.sessions["mei"], browser, str(tmp_path), str(tmp_path / "plan.json")]
    done = subprocess.run(argv, cwd=CONSOLE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout)
    assert len(results) == len(plan)
    wrong = [r for r in results if r["status"] != 200 or r["violations"] or r["outside"] or r["overflow"] > 0 or r["errors"]]
    assert wrong == [], json.dumps(wrong, indent=1)[:4000]


def test_limits_are_tried_live_by_field_and_by_slider(site: Site, url: str, browser: str) -> None:
    argv = ["node", "explore.mjs", url, site.sessions["mei"], browser, f"{HERE}/signals?signal=bytes"]
    done = subprocess.run(argv, cwd=CONSOLE, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["problems"] == [] and told["marks"] == 1 and told["rows"] == 0
    assert "bytes < 900" in told["said"][0]
    assert told["moved"] == told["spoken"] and f"bytes < {told['moved']}" in told["said"][1]
    assert told["asked"] <= 6  # thirty steps of the slider are not thirty questions
