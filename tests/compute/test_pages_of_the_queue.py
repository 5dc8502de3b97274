"""What the compute floor's pages show to whom, from a real server over a socket."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

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


def seen(server: LiveServer, user: str, path: str) -> tuple[int, str]:
    """A page as somebody sees it who has signed in by a one-time link."""
    link = server.client.post("/api/house/sign-in-links", {"user": user})["url"]
    opener = urllib.request.build_opener(Stay)
    with pytest.raises(urllib.error.HTTPError) as led_on:
        opener.open(urllib.request.Request(link, method="POST"))
    headers = {"cookie": led_on.value.headers["set-cookie"].split(";")[0], "accept": "text/html"}
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
