"""The floor in a real house: real compute, hub, sandbox and llama.cpp; the floors above it answer as the test says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.serving.conftest import started, until
from tests.serving.houses import ADA, MEI, MINE, MODEL, Says, Served, furnish, publish, running
from tests.training.tiny import make_tiny_base

from lilong.floors.compat.contract import Certified
from lilong.floors.hub.contract import Hub, Kind
from lilong.floors.serving import service
from lilong.floors.serving.contract import AskAsk, DeployAsk, Deployment, NameTaken, NotServable, ReceiptNotFound, Terminal
from lilong.floors.serving.gateway.segments import SegmentReader
from lilong.floors.serving.service import asking
from lilong.floors.serving.service.plane import Plane
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import Forbidden
from lilong.ground.evidence import Artifact
from lilong.ground.gates import Answer
from lilong.operations.backup import backup
from lilong.operations.restore import restore


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def served(tmp_path: Path, model: Path) -> Iterator[Served]:
    with running(tmp_path / "house", Says()) as house:
        house.house.db.write(lambda tx: furnish(house.house, tx))
        publish(house.house, model)
        yield house


@pytest.mark.slow
def test_a_deployment_is_served_metered_sealed_and_traced_to_its_model(served: Served) -> None:
    house = served.house
    row = served.ready(served.deploy())
    assert row.state == "ready", row.error
    client = served.client(served.token())  # both the deployment and the token work as soon as one is told of them
    answer = client.completions.with_raw_response.create(model="tiny", prompt="hello", max_tokens=4)
    shown = service.receipt(house, MEI, answer.headers["x-lilong-receipt"])
    assert (shown.receipt.organisation, shown.receipt.deployment, shown.receipt.revision) == (MINE, row.id, row.manifest)
    assert shown.receipt.statement == row.statement

    evidence = service.evidence_of(house, MEI, shown.receipt.id)
    graph = house.db.read(lambda tx: house.evidence.down(tx, evidence.digest))
    assert row.manifest in {each.digest for each in graph.of_kind("model")}
    assert row.artifact in {each.digest for each in graph.of_kind("deployment")}
    assert service.evidence_of(house, MEI, shown.receipt.id) == evidence
    assert service.verify_seals(house) == []

    used = service.usage(house, MEI)
    assert [(each.requests, each.completion_tokens) for each in used] == [(1, shown.receipt.completion_tokens)]
    assert service.usage(house, MEI) == used
    with pytest.raises(ReceiptNotFound):
        service.receipt(house, ADA, shown.receipt.id)
    assert service.recent(house, ADA) == []


@pytest.mark.slow
def test_tokens_follow_the_tables_within_a_second_and_others_see_nothing(served: Served) -> None:
    house = served.house
    served.ready(served.deploy())
    secret = served.token()
    client = served.client(secret)
    until(lambda: _lists(client) == ["tiny"], seconds=3)
    others = served.client(served.token(ADA))
    until(lambda: _lists(others) == [], seconds=3)
    with pytest.raises(openai.NotFoundError):
        others.completions.create(model="tiny", prompt="x")
    token = next(each for each in house.db.read(lambda tx: house.access.tokens(tx, MEI, "mei")))
    house.db.write(lambda tx: house.access.revoke_token(tx, MEI, token.id))
    until(lambda: _lists(client) is None, seconds=1.5)


def _lists(client: openai.OpenAI) -> list[str] | None:
    try:
        return [each.id for each in client.models.list().data]
    except openai.AuthenticationError:
        return None


@pytest.mark.slow
def test_a_stopped_deployment_leaves_the_gateway_and_frees_its_name(served: Served) -> None:
    row = served.ready(served.deploy())
    with pytest.raises(NameTaken):
        served.deploy(key="k2")
    service.stop(served.house, MEI, row.id)
    assert served.ready(row).state == "stopped"
    client = served.client(served.token())
    until(lambda: _lists(client) == [])
    assert served.ready(served.deploy(key="k2")).state == "ready"


@pytest.mark.slow
def test_a_deployment_begun_anew_leaves_the_evidence_of_earlier_answers_as_it_was(served: Served) -> None:
    row = served.ready(served.deploy())
    secret = served.token()
    earlier = _answer(served.url, secret)
    assert earlier is not None
    service.stop(served.house, MEI, row.id)
    assert served.ready(row).state == "stopped"
    again = served.ready(served.deploy(parallel=1))
    assert (again.id, again.attempt, again.state) == (row.id, 2, "ready")
    assert again.artifact != row.artifact
    assert service.evidence_of(served.house, MEI, earlier).deployment == row.artifact


@pytest.mark.slow
def test_what_is_revoked_is_taken_off_the_gateway_with_the_reason(served: Served) -> None:
    row = served.ready(served.deploy())
    served.says.allowed = Answer(False, "its registration is suspended")
    house = served.house
    issued = house.db.write(
        lambda tx: house.evidence.issue(
            tx, SYSTEM, predicate_type="https://lilong.dev/review/v1", subjects=[Artifact("x", row.manifest, "review")], predicate={}
        )
    )
    house.db.write(lambda tx: house.evidence.revoke(tx, SYSTEM, issued.id, "bad"))
    until(lambda: service.shown(house, MEI, row.id).state == "suspended", seconds=30)
    assert "its registration is suspended" in (service.shown(house, MEI, row.id).error or "")


@pytest.mark.slow
def test_after_the_house_was_opened_again_the_model_is_served_again(tmp_path: Path, model: Path) -> None:
    says = Says()
    with running(tmp_path / "house", says) as before:
        before.house.db.write(lambda tx: furnish(before.house, tx))
        publish(before.house, model)
        row = before.ready(before.deploy())
        secret = before.token()
    with running(tmp_path / "house", says) as after:
        client = after.client(secret)

        def answers() -> bool:
            try:
                return bool(client.completions.create(model="tiny", prompt="x", max_tokens=1).choices)
            except openai.APIStatusError:
                return False

        until(answers, seconds=60)
        assert service.shown(after.house, MEI, row.id).state == "ready"


def _answer(url: str, secret: str, tokens: int = 1) -> str | None:
    """The receipt of one answer; None where there was none."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0)
    try:
        return client.completions.with_raw_response.create(model="tiny", prompt="x", max_tokens=tokens).headers["x-lilong-receipt"]
    except openai.APIError:
        return None


@pytest.mark.slow
def test_a_model_server_outlives_kill_9_of_the_house_and_is_found_again(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "house"
    with running(folder, Says()) as first:
        first.house.db.write(lambda tx: furnish(first.house, tx))
        publish(first.house, model)
        row = first.ready(first.deploy())
        secret = first.token()
    process, port = started("-m", "tests.serving.houses", str(folder))
    until(lambda: _answer(f"http://127.0.0.1:{port}", secret), seconds=60)
    before = _answer(f"http://127.0.0.1:{port}", secret)
    process.kill()
    process.wait()
    process, port = started("-m", "tests.serving.houses", str(folder))
    until(lambda: _answer(f"http://127.0.0.1:{port}", secret), seconds=60)
    process.terminate()
    process.wait()
    with running(folder, Says()) as last:
        assert before is not None
        assert service.receipt(last.house, MEI, before).receipt.state == "completed"
        assert len([each for each in service.recent(last.house, MEI) if each.state == "completed"]) >= 3
        begun = last.house.db.read(lambda tx: last.house.events.pending(tx, "test", ("compute.job-started",), 50))
        # once when deployed, once after the orderly stop, and at most once more now: not after the kill
        assert len([each for each in begun if each.subject == row.job]) <= 3


@pytest.mark.slow
def test_the_house_asks_on_a_persons_behalf_with_a_receipt(served: Served) -> None:
    row = served.ready(served.deploy())
    api = served.token()
    from lilong.client import Client, HttpTransport
    from lilong.client import serving as over_http

    client = Client(HttpTransport(served.url), api)
    until(lambda: _lists(served.client(api)) == ["tiny"])
    answer = over_http.ask(client, AskAsk("tiny", "hello", max_tokens=3))
    assert over_http.receipt(client, answer.receipt).receipt.deployment == row.id
    assert over_http.evidence_of(client, answer.receipt).proof.record.startswith('{"id":"rcpt-')
    assert [each.id for each in over_http.deployments(client)] == [row.id]


def test_a_deployment_is_refused_with_the_reason_and_the_way_out(served: Served) -> None:
    served.says.certified = Certified(False, "llama.cpp was inaccurate: KL 0.4 over 0.1")
    with pytest.raises(NotServable, match=r"KL 0.4 over 0.1\. Examine it first"):
        served.deploy()
    served.says.certified = Certified(True, "ok", file="other.gguf")
    with pytest.raises(NotServable, match=r"other\.gguf"):
        served.deploy()
    served.says.certified = Certified(True, "ok", file="model-q8.gguf")
    served.says.allowed = Answer(False, "it has no registration")
    with pytest.raises(NotServable, match=r"it has no registration\. Register it first"):
        served.deploy()
    assert service.listed(served.house, MEI) == []


def test_a_backup_takes_the_receipts_and_they_are_found_in_the_restored_house(served: Served, tmp_path: Path) -> None:
    house = served.house
    gateway = house.port(Plane).gateway
    ticket = gateway.meter.begin(asking.key(house, MEI), MINE, Deployment("dep-1", "m", "unix:/m", "sha256:r"), "sha256:q")
    ticket.deliver(3)
    kept = gateway.meter.finish(ticket, Terminal.COMPLETED, 1, 3, "").id
    backup(house.settings.house, tmp_path / "house.tar")
    restore(tmp_path / "house.tar", tmp_path / "elsewhere")
    assert SegmentReader(tmp_path / "elsewhere" / "segments").find(kept).completion_tokens == 3


def test_only_those_with_the_permission_deploy_and_look(served: Served) -> None:
    with pytest.raises(Forbidden):
        service.deploy(served.house, ADA, DeployAsk(MINE, "k", MODEL))
    with pytest.raises(Forbidden):
        asking.key(served.house, Actor("nobody"))


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_fails_with_the_engines_word_and_can_be_asked_for_again(served: Served) -> None:
    house = served.house
    broken = {"model.gguf": house.blobs.put(b"GGUF\x03\0\0\0" + bytes(300)).digest}
    house.port(Hub).publish(SYSTEM, Kind.MODEL, f"{MINE}/broken", broken, "not a model", lambda *_: None)  # type: ignore[type-abstract]
    asked = DeployAsk(MINE, "k9", f"{MINE}/broken")
    row = served.ready(service.deploy(house, MEI, asked))
    assert row.state == "failed"
    assert row.error
    again = service.deploy(house, MEI, asked)
    assert (again.id, again.attempt, again.state) == (row.id, 2, "requested")
    assert again.job != row.job
