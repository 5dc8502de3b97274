from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
from tests.serving.conftest import TOKEN, LiveGateway, deployment, hashed, until
from tests.training.tiny import make_tiny_base

from lilong.floors.serving.backends.llama_cpp import Plan
from lilong.floors.serving.contract import Key, Snapshot
from lilong.ground.blobs import digest_of_file
from lilong.ground.errors import BadInput


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_tiny_base(folder)
    return next(folder.rglob("*.gguf"))


@dataclass
class ModelServer:
    """The job program as compute runs it, without the sandbox."""

    folder: Path
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.folder / 'state' / 'service.sock'}"

    def start(self, model: Path, **spec: object) -> ModelServer:
        inputs = self.folder / "in"
        (inputs / "model").mkdir(parents=True)
        for name in ("out", "state"):
            (self.folder / name).mkdir()
        os.link(model, inputs / "model" / model.name)
        digests = {model.name: digest_of_file(model).digest}
        plan = {"model": model.name, "name": "tiny", "context": 512, "threads": 1, "digests": digests, **spec}
        (inputs / "spec.json").write_text(json.dumps(plan))
        places = {"LILONG_IN": inputs, "LILONG_OUT": self.folder / "out", "LILONG_STATE": self.folder / "state"}
        environment = {"PATH": os.environ["PATH"], **{key: str(place) for key, place in places.items()}}
        argv = [sys.executable, "-m", "lilong.floors.serving.work", "serve"]
        self.process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True)
        return self

    def healthy(self) -> bool:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=self.address.removeprefix("unix:"))) as client:
                return client.get("http://model/health").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def server(tmp_path: Path, model: Path) -> Iterator[ModelServer]:
    running = ModelServer(tmp_path / "job").start(model)
    until(running.healthy, seconds=60)
    yield running
    running.process.terminate()
    running.process.wait(20)


@pytest.fixture
def client(tmp_path: Path, server: ModelServer) -> Iterator[openai.OpenAI]:
    snapshot = Snapshot({hashed(TOKEN): Key("ada", "tok-1", ("org-1",))}, {"tiny": deployment(server.address, "tiny", parallel=2)})
    live = LiveGateway(tmp_path, snapshot).start()
    yield openai.OpenAI(base_url=f"{live.url}/v1", api_key=TOKEN, max_retries=0)
    live.stop()


def records(tmp_path: Path) -> dict[str, tuple[str, int, int]]:
    from lilong.floors.serving.gateway.segments import SegmentReader

    found = SegmentReader(tmp_path / "meter").all_records()
    return {each.id: (each.state, each.prompt_tokens, each.completion_tokens) for each in found}


@pytest.mark.slow
def test_the_real_engine_answers_chat_and_completions_streamed_and_not(client: openai.OpenAI, tmp_path: Path) -> None:
    says = [{"role": "user", "content": "hello"}]
    usage = {"include_usage": True}
    chat = client.chat.completions.with_raw_response.create(model="tiny", messages=says, max_tokens=5)
    plain = client.completions.with_raw_response.create(model="tiny", prompt="hello", max_tokens=5)
    chat_streamed = client.chat.completions.with_raw_response.create(
        model="tiny", messages=says, max_tokens=5, stream=True, stream_options=usage
    )
    plain_streamed = client.completions.with_raw_response.create(model="tiny", prompt="hello", max_tokens=5, stream=True)
    last = list(chat_streamed.parse())[-1]
    assert all(each.choices for each in plain_streamed.parse())
    billed = records(tmp_path)
    for answer, told in ((chat, chat.parse().usage), (plain, plain.parse().usage), (chat_streamed, last.usage)):
        assert billed[answer.headers["x-lilong-receipt"]] == ("completed", told.prompt_tokens, told.completion_tokens)
    assert billed[plain_streamed.headers["x-lilong-receipt"]][0] == "completed"


@pytest.mark.slow
def test_a_client_that_goes_frees_the_engine_and_its_prompt_is_known(client: openai.OpenAI, tmp_path: Path) -> None:
    answer = client.completions.with_raw_response.create(
        model="tiny", prompt="one two three", max_tokens=400, stream=True, extra_body={"ignore_eos": True}
    )
    chunks = answer.parse()
    next(chunks)
    chunks.close()
    until(lambda: records(tmp_path), seconds=20)
    state, prompt, completion = records(tmp_path)[answer.headers["x-lilong-receipt"]]
    assert (state, prompt > 0, 0 < completion < 400) == ("client_gone", True, True)


@pytest.mark.slow
def test_an_engine_killed_in_mid_stream_is_told_as_an_error(client: openai.OpenAI, server: ModelServer, tmp_path: Path) -> None:
    answer = client.completions.with_raw_response.create(
        model="tiny", prompt="one", max_tokens=400, stream=True, extra_body={"ignore_eos": True}
    )
    chunks = answer.parse()
    next(chunks)
    server.process.kill()
    with pytest.raises(openai.APIError):
        list(chunks)
    assert records(tmp_path)[answer.headers["x-lilong-receipt"]][0] == "upstream_error"
    with pytest.raises(openai.InternalServerError) as refused:
        client.completions.create(model="tiny", prompt="one")
    assert refused.value.code == "model_not_ready"


@pytest.mark.slow
def test_a_model_file_with_another_digest_is_not_loaded(tmp_path: Path, model: Path) -> None:
    server = ModelServer(tmp_path / "job").start(model, digests={model.name: "sha256:" + "0" * 64})
    _, said = server.process.communicate(timeout=30)
    assert server.process.returncode == 8
    assert said.startswith("corrupt: the input model/")


@pytest.mark.slow
def test_a_file_that_is_no_model_ends_with_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(200))
    server = ModelServer(tmp_path / "job").start(broken)
    _, said = server.process.communicate(timeout=240)
    assert server.process.returncode == 7
    assert "model-not-loaded: llama.cpp could not load broken.gguf" in said.splitlines()[-1]


@pytest.mark.parametrize(
    "spec", [{}, {"model": "/etc/passwd.gguf"}, {"model": "../a.gguf"}, {"model": "a.bin"}, {"model": "a.gguf", "parallel": 0}]
)
def test_a_plan_that_makes_no_sense_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Plan.parse(spec)
