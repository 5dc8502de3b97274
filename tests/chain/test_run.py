"""Carrying out: patience with a server that is away or a model that still starts, and words for what fails."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import IO

import pytest

from lilong.chain import run
from lilong.chain.reporters import LineReporter
from lilong.chain.rules import Chain, Step
from lilong.chain.run import NobodyToAct, StepFailed, carry_out
from lilong.client import Client, NoServer

ASK = Step("answer", "serving.ask", "", {"model": "m", "messages": [{"role": "user", "content": "?"}]}, "")
CHAIN = Chain("c", "c", "lantern-works", (ASK,), "")


class Scripted:
    """A server's answers to the gateway's route, in order; the chain's own routes always answer."""

    url = "http://house"

    def __init__(self, *answers: tuple[int, object] | Exception) -> None:
        self.answers = list(answers)
        self.noted: list[str] = []

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None) -> tuple[int, Mapping[str, str], Iterator[bytes]]:
        if path.startswith("/api/chains"):
            asked = json.loads(body) if isinstance(body, bytes) else {}
            self.noted.append(asked.get("state", ""))
            return 200, {}, iter([json.dumps({"steps": [{"name": "answer", "state": "waiting", "key": None}]}).encode()])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer[0], {"x-lilong-receipt": "rcpt-1"}, iter([json.dumps(answer[1]).encode()])

    def close(self) -> None:
        pass


GOOD = (200, {"model": "m", "choices": [{"message": {"content": "yes"}}], "usage": {}})
STARTING = (503, {"error": {"message": "The model 'm' is not ready: its model server is starting.", "code": "model_not_ready"}})


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.time, "sleep", lambda _: None)


def carried(*answers: tuple[int, object] | Exception) -> tuple[dict[str, dict[str, object]], Scripted, str]:
    server, said = Scripted(*answers), io.StringIO()
    outputs = carry_out(CHAIN, {"": Client(server, None)}, LineReporter(said))
    return outputs, server, said.getvalue()


def test_it_waits_for_a_server_that_is_away_and_a_model_that_still_starts() -> None:
    outputs, server, said = carried(NoServer(url="http://house", problem="refused"), STARTING, STARTING, GOOD)
    assert outputs["answer"]["answer"] == "yes"
    assert outputs["answer"]["receipt"] == "rcpt-1"
    assert server.noted[-1] == "done"
    assert said.count("waiting") == 1


def test_another_error_ends_the_step_with_the_servers_own_words() -> None:
    with pytest.raises(StepFailed, match="Step 'answer' failed: no such model"):
        carried((404, {"error": {"message": "no such model."}}))


def test_a_step_for_somebody_whose_token_is_not_given_stops_before_anything_is_done() -> None:
    other = Chain("c", "c", "lantern-works", (Step("review", "governance.review", "", {}, "reviewer"),), "")
    server = Scripted()
    with pytest.raises(NobodyToAct, match="--as reviewer=TOKEN-FILE"):
        carry_out(other, {"": Client(server, None)}, LineReporter(io.StringIO()))
    assert server.noted == []
