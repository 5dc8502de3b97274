from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.serving import rules
from lilong.floors.serving.contract import Deployment, Key, NotServable, Receipt, Snapshot, Terminal
from lilong.floors.serving.gateway import answers, asks
from lilong.floors.serving.gateway.admission import Admission, Bucket, choose, visible
from lilong.floors.serving.gateway.refusals import Refusal
from lilong.floors.serving.gateway.upstream import Address
from lilong.ground.errors import BadInput

RECEIPT = Receipt(
    "rcpt-g0-1-1", "2026-11-22T08:00:00.000000Z", 5, "org-1", "ada", "tok-1", "dep-1", "tiny", "hall/tiny", "c" * 40, "sha256:r", "st-1",
    "sha256:q", "sha256:a", 10, 20, "completed", "g0", 1, 1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("state", "delivered", "charged"),
    [
        (Terminal.COMPLETED, 20, (10, 20)),
        (Terminal.COMPLETED, 0, (10, 0)),
        (Terminal.CLIENT_GONE, 20, (10, 20)),
        (Terminal.CLIENT_GONE, 0, (0, 0)),
        (Terminal.UPSTREAM_ERROR, 20, (0, 20)),
        (Terminal.UPSTREAM_ERROR, 0, (0, 0)),
        (Terminal.INTERRUPTED, 20, (0, 20)),
    ],
)
def test_each_ending_has_its_price(state: Terminal, delivered: int, charged: tuple[int, int]) -> None:
    bill = rules.billable(replace(RECEIPT, state=state, completion_tokens=delivered))
    assert (bill.prompt, bill.completion) == charged


def receipts() -> st.SearchStrategy[list[Receipt]]:
    one = st.builds(
        lambda organisation, day, state, prompt, completion: replace(
            RECEIPT, organisation=organisation, at=f"2026-11-{day:02}T08:00:00Z", state=state, prompt_tokens=prompt, completion_tokens=completion
        ),
        st.sampled_from(["org-1", "org-2"]), st.integers(1, 3), st.sampled_from(list(Terminal)), st.integers(0, 50), st.integers(0, 50),
    )  # fmt: skip
    return st.lists(one, max_size=20)


@given(receipts(), receipts())
def test_adding_up_in_parts_is_adding_up_the_whole(first: list[Receipt], second: list[Receipt]) -> None:
    def total(parts: list[Receipt]) -> tuple[int, ...]:
        return tuple(
            sum(column)
            for column in zip(*((u.requests, u.completion_tokens, u.billed_prompt) for u in rules.rolled_up(parts)), strict=True)
        ) or (0, 0, 0)

    assert tuple(a + b for a, b in zip(total(first), total(second), strict=True)) == total(first + second)


def test_one_gguf_file_is_found_and_of_several_one_must_be_named() -> None:
    assert rules.model_file(["README.md", "model-f16.gguf"], "llama.cpp") == "model-f16.gguf"
    assert rules.model_file(["a.gguf", "b.gguf"], "llama.cpp:b.gguf") == "b.gguf"
    assert rules.model_file(["a.gguf", "b.gguf"], "llama.cpp", examined="b.gguf") == "b.gguf"
    with pytest.raises(BadInput, match="several GGUF"):
        rules.model_file(["a.gguf", "b.gguf"], "llama.cpp")
    with pytest.raises(NotServable, match="no GGUF"):
        rules.model_file(["model.safetensors"], "llama.cpp")
    with pytest.raises(BadInput, match="serves no models"):
        rules.model_file(["a.gguf"], "torch-fp32")


@pytest.mark.parametrize("text", ["http://example.org", "tcp:10.0.0.1:80", "unix:relative.sock", "tcp:127.0.0.1:0", "tcp:127.0.0.1", ""])
def test_the_gateway_calls_no_other_machine(text: str) -> None:
    with pytest.raises(BadInput):
        Address.parse(text)


def snapshot(*deployments: Deployment) -> Snapshot:
    return Snapshot({}, {each.model: each for each in deployments})


MINE = Deployment("d1", "mine", "unix:/a", "sha256:1", organisation="org-1")
SHARED = Deployment("d2", "shared", "unix:/b", "sha256:2", organisation="org-2", shared=True)
THEIRS = Deployment("d3", "theirs", "unix:/c", "sha256:3", organisation="org-2")


def test_a_key_sees_its_organisations_models_and_shared_ones() -> None:
    key = Key("ada", "tok-1", ("org-1",))
    assert [each.model for each in visible(snapshot(MINE, SHARED, THEIRS), key, None)] == ["mine", "shared"]
    assert choose(snapshot(MINE), key, "mine", None)[1] == "org-1"
    assert choose(snapshot(SHARED), key, "shared", None)[1] == "org-1"


def test_who_pays_can_be_named_and_only_where_one_works() -> None:
    key = Key("ada", "tok-1", ("org-1", "org-3"))
    assert choose(snapshot(SHARED), key, "shared", "org-3")[1] == "org-3"
    with pytest.raises(Refusal) as refused:
        choose(snapshot(SHARED), key, "shared", "org-2")
    assert refused.value.status == 403
    with pytest.raises(Refusal) as hidden:
        choose(snapshot(MINE), key, "mine", "org-3")
    assert hidden.value.status == 404


def test_a_key_without_a_role_may_use_nothing() -> None:
    with pytest.raises(Refusal) as refused:
        choose(snapshot(SHARED), Key("ada", "tok-1"), "shared", None)
    assert refused.value.status == 403


@given(st.integers(1, 120), st.lists(st.floats(0, 30), max_size=200))
def test_a_bucket_never_gives_more_than_its_minute_holds(per_minute: int, gaps: list[float]) -> None:
    bucket, now, taken = Bucket(float(per_minute), 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(per_minute, now) == 0.0
    assert taken <= per_minute + now * per_minute / 60 + 1e-6


def test_leaving_gives_the_place_back() -> None:
    admission, key, one = Admission(), Key("ada", "tok-1", ("org-1",), parallel=1), replace(MINE, parallel=1, queue=0)
    admission.enter(key, one, 0.0)
    with pytest.raises(Refusal):
        admission.enter(key, one, 0.0)
    admission.leave(key, one)
    admission.enter(key, one, 0.0)


def stream(words: list[str]) -> bytes:
    events = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    events.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": len(words)}})  # type: ignore[dict-item]
    return b"".join(b"data: " + msgspec.json.encode(each) + b"\n\n" for each in events) + b"data: [DONE]\n\n"


@given(st.lists(st.text(min_size=1), max_size=8), st.lists(st.integers(1, 40), min_size=1), st.booleans())
def test_a_stream_cut_anywhere_reads_the_same(words: list[str], cuts: list[int], shows: bool) -> None:
    data, at, follow = stream(words), 0, answers.Stream(shows)
    out, tokens, turn = b"", 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        passed, counted = follow.feed(data[at : at + size])
        out, tokens, at, turn = out + passed, tokens + counted, at + size, turn + 1
    assert follow.done
    assert tokens == len(words)
    assert follow.digest() == answers.text_digest({0: "".join(words)} if words else {})
    assert (b'"usage"' in out) == shows
    assert out.count(b'"content"') == len(words)


@pytest.mark.parametrize(
    ("delta", "tokens"),
    [
        ('{"role":"assistant","content":null}', 0),
        ("{}", 0),
        ('{"content":""}', 0),
        ('{"tool_calls":[]}', 0),
        ('{"tool_calls":null}', 0),
        ('{"content":"a"}', 1),
        ('{"reasoning_content":"a"}', 1),
        ('{"tool_calls":[{"index":0}]}', 1),
    ],
)
def test_only_a_chunk_that_says_something_counts(delta: str, tokens: int) -> None:
    event = b'data: {"choices":[{"index":0,"delta":' + delta.encode() + b"}]}\n\n"
    assert answers.Stream(True).feed(event) == (event, tokens)


def test_a_stream_that_never_ends_an_event_is_given_up() -> None:
    with pytest.raises(ValueError, match="without an end"):
        answers.Stream(True).feed(b"data: " + b"x" * (answers.EVENT_LIMIT + 1))


@given(
    st.dictionaries(st.text(), st.integers()), st.booleans(), st.sampled_from([None, {}, {"include_usage": False}, {"include_usage": True}])
)
def test_a_streamed_request_always_asks_for_usage_and_keeps_the_rest(
    more: dict[str, int], llama: bool, options: dict[str, bool] | None
) -> None:
    asked = {**more, "model": "m", "stream": True, "prompt": "x"}
    asked.pop("stream_options", None)
    asked.pop("return_progress", None)
    if options is not None:
        asked["stream_options"] = options
    body = json.dumps(asked).encode()
    sent = json.loads(asks.for_upstream(body, asks.read(body, "prompt"), "llama.cpp" if llama else "vllm"))
    assert sent["stream_options"]["include_usage"] is True
    assert sent.pop("return_progress", None) is (True if llama else None)
    assert {**sent, "stream_options": None} == {**asked, "stream_options": None}


def test_a_request_that_is_not_streamed_goes_on_byte_for_byte() -> None:
    body = b'{ "model":"m","prompt" : "x" }'
    assert asks.for_upstream(body, asks.read(body, "prompt"), "llama.cpp") == body


@pytest.mark.parametrize("name", ["", "tiny", "yard/tiny", "yard/v2:chat", "hall/tiny"])
def test_a_model_of_others_is_served_under_its_own_name_or_ours(name: str) -> None:
    assert rules.served_name(name, "hall/tiny", "yard") == (name or "hall/tiny")


@pytest.mark.parametrize("name", ["hall/large", "hall/tiny:v2", "elsewhere/tiny"])
def test_no_name_passes_for_another_organisations_model(name: str) -> None:
    with pytest.raises(BadInput, match="would pass for a model of"):
        rules.served_name(name, "hall/tiny", "yard")
