from __future__ import annotations

import hashlib
import json
import socket
import time
import urllib.error
import urllib.request
from dataclasses import replace

import openai
import pytest
from tests.serving.conftest import REVISION, TOKEN, LiveGateway, hashed, until

from lilong.floors.serving.contract import Key


def client(gateway: LiveGateway, token: str = TOKEN) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=token, max_retries=0)


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def answered(gateway: LiveGateway, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    given = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    request = urllib.request.Request(gateway.url + path, body, given)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, {k.lower(): v for k, v in e.headers.items()}, e.read()


def upstream_saw(gateway: LiveGateway) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(gateway.snapshot.deployments["stub"].upstream.removeprefix("unix:"))
        link.sendall(b"GET /seen HTTP/1.1\r\nhost: x\r\n\r\n")
        head, _, body = link.recv(1 << 20).partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += link.recv(1 << 20)
        return json.loads(body)


def test_an_answer_comes_with_a_receipt_that_the_segment_holds(gateway: LiveGateway) -> None:
    raw = client(gateway).chat.completions.with_raw_response.create(model="stub", messages=says("tokens=5"))
    text = raw.parse().choices[0].message.content
    receipt = gateway.receipts.find(raw.headers["x-lilong-receipt"])
    assert text == "w0 w1 w2 w3 w4 "
    assert (receipt.state, receipt.prompt_tokens, receipt.completion_tokens) == ("completed", 7, 5)
    assert (receipt.organisation, receipt.token, receipt.deployment, receipt.revision) == ("org-1", "tok-1", "dep-1", REVISION)
    assert receipt.response == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert raw.headers["x-lilong-model-revision"] == REVISION
    assert raw.headers["x-request-id"]


def test_the_receipt_names_the_digest_of_the_request_as_it_was_sent(gateway: LiveGateway) -> None:
    body = b'{"model": "stub",  "prompt": "tokens=2"}'
    _, headers, _ = answered(gateway, "/v1/completions", body)
    assert gateway.receipts.find(headers["x-lilong-receipt"]).request == "sha256:" + hashlib.sha256(body).hexdigest()


def test_a_streamed_answer_has_the_same_text_digest_as_one_that_was_not(gateway: LiveGateway) -> None:
    whole = client(gateway).completions.with_raw_response.create(model="stub", prompt="tokens=9")
    streamed = client(gateway).completions.with_raw_response.create(model="stub", prompt="tokens=9", stream=True)
    text = "".join(chunk.choices[0].text for chunk in streamed.parse())
    assert text == whole.parse().choices[0].text
    one, other = (gateway.receipts.find(each.headers["x-lilong-receipt"]) for each in (whole, streamed))
    assert one.response == other.response
    assert other.completion_tokens == 9


def test_a_client_that_did_not_ask_for_usage_gets_no_usage_chunk(gateway: LiveGateway) -> None:
    chunks = list(client(gateway).chat.completions.create(model="stub", messages=says("tokens=4"), stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert not any("prompt_progress" in (chunk.model_extra or {}) for chunk in chunks)
    asked = upstream_saw(gateway)["seen"][-1]  # type: ignore[index]
    assert asked["stream_options"] == {"include_usage": True}


def test_a_client_that_asked_for_usage_gets_it(gateway: LiveGateway) -> None:
    chunks = list(
        client(gateway).chat.completions.create(
            model="stub", messages=says("tokens=4"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4


def test_models_are_listed_and_shown(gateway: LiveGateway) -> None:
    listed = client(gateway).models.list().data
    assert [each.id for each in listed] == ["stub"]
    assert client(gateway).models.retrieve("stub").model_extra["lilong"]["revision"] == REVISION


def test_a_wrong_token_is_401_and_an_unknown_model_404(gateway: LiveGateway) -> None:
    with pytest.raises(openai.AuthenticationError) as wrong:
        client(gateway, "nobody").chat.completions.create(model="stub", messages=says("x"))
    assert wrong.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as unknown:
        client(gateway).chat.completions.create(model="other", messages=says("x"))
    assert unknown.value.code == "model_not_found"


def test_a_model_of_another_organisation_is_as_if_it_were_not_there(gateway: LiveGateway) -> None:
    stub = gateway.snapshot.deployments["stub"]
    gateway.publish(deployments={"stub": stub, "theirs": replace(stub, id="dep-2", model="theirs", organisation="org-2")})
    time.sleep(0.5)
    unknown = answered(gateway, "/v1/completions", b'{"model":"none","prompt":"x"}')
    foreign = answered(gateway, "/v1/completions", b'{"model":"theirs","prompt":"x"}')
    assert foreign[0] == 404
    assert foreign[2] == unknown[2].replace(b"'none'", b"'theirs'")
    assert [each.id for each in client(gateway).models.list().data] == ["stub"]


def test_a_token_made_for_other_models_is_403(gateway: LiveGateway) -> None:
    gateway.publish(keys={hashed(TOKEN): Key("ada", "tok-1", ("org-1",), models=frozenset({"other"}))})
    until(lambda: answered(gateway, "/v1/completions", b'{"model":"stub","prompt":"x"}')[0] == 403)


def test_a_token_taken_out_of_the_snapshot_stops_working_within_a_second(gateway: LiveGateway) -> None:
    assert answered(gateway, "/v1/models")[0] == 200
    gateway.publish(keys={})
    until(lambda: answered(gateway, "/v1/models")[0] == 401, seconds=1.0)


def test_an_expired_token_is_401(gateway: LiveGateway) -> None:
    gateway.publish(keys={hashed(TOKEN): Key("ada", "tok-1", ("org-1",), expires=time.time() - 1)})
    until(lambda: answered(gateway, "/v1/models")[0] == 401)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b'{"model":"stub"}', "messages"),
        (b'{"messages":[]}', "model"),
        (b'{"model":"stub","messages":"hello"}', "messages"),
        (b'{"model":7,"messages":[]}', "model"),
        (b'{"model":"stub","messages":[],"stream":"yes"}', "stream"),
    ],
)
def test_a_bad_body_is_400_and_names_the_field(gateway: LiveGateway, body: bytes, param: str | None) -> None:
    status, _, answer = answered(gateway, "/v1/chat/completions", body)
    error = json.loads(answer)["error"]
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param)


def test_a_body_over_the_limit_is_413(gateway: LiveGateway) -> None:
    assert answered(gateway, "/v1/completions", b" " * (9 << 20))[0] == 413


def test_unknown_routes_and_methods_are_told_so(gateway: LiveGateway) -> None:
    assert answered(gateway, "/v1/slots")[0] == 404
    assert answered(gateway, "/v1/completions")[0] == 405
    assert answered(gateway, "/v1/models", b"{}")[0] == 405


def test_a_model_that_is_not_ready_or_cannot_be_reached_is_503_with_retry_after(gateway: LiveGateway) -> None:
    stub = gateway.snapshot.deployments["stub"]
    gateway.publish(deployments={"cold": replace(stub, ready=False), "gone": replace(stub, upstream="unix:/nowhere/model.sock")})
    until(lambda: answered(gateway, "/v1/models/cold")[0] == 200)
    for name in ("cold", "gone"):
        status, headers, answer = answered(gateway, "/v1/completions", json.dumps({"model": name, "prompt": "x"}).encode())
        assert (status, json.loads(answer)["error"]["code"]) == (503, "model_not_ready")
        assert int(headers["retry-after"]) >= 1


def test_a_token_with_a_limit_gets_429_with_retry_after(gateway: LiveGateway) -> None:
    gateway.publish(keys={hashed(TOKEN): Key("ada", "tok-1", ("org-1",), per_minute=2)})
    time.sleep(0.5)
    statuses = [answered(gateway, "/v1/completions", b'{"model":"stub","prompt":"x"}') for _ in range(3)]
    assert [each[0] for each in statuses] == [200, 200, 429]
    assert 1 <= int(statuses[2][1]["retry-after"]) <= 31


def test_an_error_of_the_engine_is_passed_on_and_costs_nothing(gateway: LiveGateway) -> None:
    status, headers, answer = answered(gateway, "/v1/completions", b'{"model":"stub","prompt":"status=400"}')
    receipt = gateway.receipts.find(headers["x-lilong-receipt"])
    assert (status, json.loads(answer)["error"]["message"]) == (400, "told to")
    assert (receipt.state, receipt.completion_tokens) == ("upstream_error", 0)


def test_an_engine_that_dies_in_mid_stream_ends_the_answer_with_an_error_event(gateway: LiveGateway) -> None:
    got = []
    stream = client(gateway).chat.completions.with_raw_response.create(model="stub", messages=says("tokens=9 die_after=4"), stream=True)
    with pytest.raises(openai.APIError):
        for chunk in stream.parse():
            got += [chunk.choices[0].delta.content] if chunk.choices[0].delta.content else []
    receipt = gateway.receipts.find(stream.headers["x-lilong-receipt"])
    assert len(got) == 4
    assert (receipt.state, receipt.completion_tokens, receipt.prompt_tokens) == ("upstream_error", 4, 7)


def test_a_client_that_goes_stops_the_engine_and_is_billed_what_it_was_sent(gateway: LiveGateway) -> None:
    stream = client(gateway).chat.completions.with_raw_response.create(model="stub", messages=says("tokens=500 gap=0.02"), stream=True)
    chunks = stream.parse()
    got = [each for each in (next(chunks) for _ in range(6)) if each.choices[0].delta.content]
    chunks.close()
    receipt = stream.headers["x-lilong-receipt"]
    until(lambda: upstream_saw(gateway)["cancelled"] == 1)
    until(lambda: [each for each in gateway.receipts.all_records() if each.id == receipt])
    record = gateway.receipts.find(receipt)
    assert record.state == "client_gone"
    said = "".join(f"w{n} " for n in range(record.completion_tokens))
    assert record.response == "sha256:" + hashlib.sha256(said.encode()).hexdigest()
    assert len(got) <= record.completion_tokens <= len(got) + 5
    assert record.prompt_tokens == 7


def test_a_client_that_goes_before_an_unstreamed_answer_stops_the_engine_too(gateway: LiveGateway) -> None:
    with pytest.raises(openai.APITimeoutError):
        client(gateway).completions.create(model="stub", prompt="mute=1", timeout=0.5)
    until(lambda: upstream_saw(gateway)["cancelled"] == 1)
    until(lambda: [each.state for each in gateway.receipts.all_records()] == ["client_gone"])


def test_a_client_that_reads_slowly_gets_everything(gateway: LiveGateway) -> None:
    ask = b'{"model":"stub","prompt":"tokens=20000","stream":true}'
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(ask)}\r\n\r\n"
    got = b""
    with socket.create_connection(("127.0.0.1", gateway.port)) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(head.encode() + ask)
        time.sleep(0.5)
        while b"data: [DONE]" not in got[-64:]:
            got += link.recv(1 << 16)
    assert got.count(b'"text": "w') == 20000
    (receipt,) = gateway.receipts.all_records()
    assert (receipt.state, receipt.completion_tokens) == ("completed", 20000)


def test_more_connections_at_once_than_the_model_servers_backlog_holds_are_all_served(gateway: LiveGateway) -> None:
    ask = b'{"model":"stub","prompt":"tokens=3 gap=0.1","stream":true}'
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(ask)}\r\n\r\n"
    links = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(150)]
    for link in links:
        link.sendall(head.encode() + ask)
    for link in links:
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += link.recv(1 << 16)
        assert b"data: [DONE]" in got
        link.close()
    assert {each.state for each in gateway.receipts.all_records()} == {"completed"}


def test_an_upstream_that_closed_a_kept_connection_is_asked_again(gateway: LiveGateway) -> None:
    for _ in range(2):
        assert answered(gateway, "/v1/completions", b'{"model":"stub","prompt":"x"}')[0] == 200
    for _ in range(3):  # 'die_after=0' closes the connection that was kept, before a token
        answered(gateway, "/v1/completions", b'{"model":"stub","prompt":"tokens=2 die_after=0","stream":true}')
    assert answered(gateway, "/v1/completions", b'{"model":"stub","prompt":"x"}')[0] == 200


def test_two_gateways_cannot_write_to_one_meter(gateway: LiveGateway) -> None:
    import subprocess
    import sys

    argv = ["-m", "lilong.floors.serving.gateway.process", "--folder", str(gateway.folder / "meter"), "--snapshot", "none"]
    second = subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=False)
    assert second.returncode == 7
    assert "in use by another gateway process" in second.stderr


def test_a_snapshot_that_cannot_be_read_leaves_the_last_good_one(gateway: LiveGateway) -> None:
    (gateway.folder / "snapshot.json").write_text("{")
    time.sleep(0.5)
    assert answered(gateway, "/v1/models")[0] == 200
