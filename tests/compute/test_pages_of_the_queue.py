"""What the compute floor's pages show to whom, from a real server over a socket."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from tests.conftest import ORGANISATION, LiveServer

PAGES = ("/jobs", "/compute", "/compute/tenants", "/compute/estimates")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("pages") / "house").start()
    server.client.post("/api/house/organisations", {"name": ORGANISATION, "title": ORGANISATION})
    for user, role, organisation in (("mei", "member", ORGANISATION), ("olga", "operator", None)):
        server.client.post("/api/house/users", {"name": user})
        server.client.post("/api/house/grants", {"user": user, "role": role, "organisation": organisation})
    yield server
    server.stop()


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def seen(server: LiveServer, user: str, path: str, language: str = "en") -> tuple[int, str]:
    """A page as somebody sees it who has signed in by a one-time link."""
    link = server.client.post("/api/house/sign-in-links", {"user": user})["url"]
    opener = urllib.request.build_opener(Stay)
    with pytest.raises(urllib.error.HTTPError) as led_on:
        opener.open(urllib.request.Request(link, method="POST"))
    cookies = f"{led_on.value.headers['set-cookie'].split(';')[0]}; lilong_language={language}"
    headers = {"cookie": cookies, "accept": "text/html"}
    try:
        with opener.open(urllib.request.Request(server.url + path, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


@pytest.mark.parametrize("path", PAGES)
def test_only_who_runs_the_house_sees_the_way_to_what_if(path: str, server: LiveServer) -> None:
    assert {user: 'href="/compute/what-if"' in seen(server, user, path)[1] for user in ("mei", "olga")} == {"mei": False, "olga": True}


def test_what_if_answers_only_who_runs_the_house(server: LiveServer) -> None:
    assert {user: seen(server, user, "/compute/what-if")[0] for user in ("mei", "olga")} == {"mei": 403, "olga": 200}


def test_capacity_says_when_each_site_was_last_seen(server: LiveServer) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    status, shown = seen(server, "mei", "/compute")
    [row] = re.findall(r"<tr>.*?</tr>", shown.split("Last seen</th>")[1].split("</table>")[0], re.DOTALL)
    [at] = re.findall(r'<time datetime="([^"]+)">', row)
    assert status == 200
    assert "local" in row
    assert before <= datetime.fromisoformat(at) <= datetime.now(UTC)


def test_on_a_chinese_page_the_house_speaks_chinese_and_programs_their_own_words(server: LiveServer) -> None:
    program = "import sys; sys.exit('no <texts> were found')"
    ask = {"kind": "command", "organisation": ORGANISATION, "argv": ["python", "-c", program], "cpus": 1, "memory_mib": 64, "timeout_s": 60}
    job = server.client.post("/api/compute/jobs", ask)["id"]
    give_up = time.monotonic() + 60
    while server.client.get(f"/api/compute/jobs/{job}")["state"] != "failed":
        assert time.monotonic() < give_up
        time.sleep(0.1)
    for path in ("/jobs", f"/jobs/{job}"):
        status, shown = seen(server, "mei", path, "zh")
        assert status == 200
        assert '以退出码 1 结束：<span lang="en">no &lt;texts&gt; were found</span>' in shown
        assert "it ended with status" not in shown
    assert "it ended with status 1: no &lt;texts&gt; were found" in seen(server, "mei", f"/jobs/{job}")[1]


def test_what_if_takes_sites_and_says_what_it_cannot_tell(server: LiveServer) -> None:
    added = quote("add-site name=minhang,nodes=2,cpus=64")
    _, shown = seen(server, "olga", f"/compute/what-if?since=1d&set={added}", "zh")
    assert "碳排放（千克 CO₂）" in shown and "<code>kgco2.local</code>" in shown
    assert seen(server, "olga", f"/compute/what-if?since=1d&set={quote('add-site name=minhang,colour=red')}")[0] == 422


def test_hours_before_the_house_was_founded_are_not_told_as_free(server: LiveServer) -> None:
    shown = seen(server, "mei", "/compute")[1]
    assert "striped: not known" in shown and "not known: before the site was first seen" in shown
    assert shown.count("<small>not known</small>") in (46, 47)  # it may have become another hour meanwhile
