"""The whole chain, carried out by the demo's own command, killed three times on the way: it ends the same, and everything can be proved."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chain.small import small_chain
from tests.conftest import FinishedDemo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def lilong(*argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "lilong.cli", *map(str, argv)], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def in_json(*argv: object) -> Any:
    return json.loads(lilong(*argv, "--json").stdout)


def test_it_ends_with_everything_a_reader_wants_to_know(demo: FinishedDemo) -> None:
    for part in ("What the model learned from", "documents", "GPL-2.0", "Base against new model", "bits per byte", "n = ", "Runs correctly on", "llama.cpp", "LL-", "It answered", "Receipt: ", "problems", "lilong trace "):  # fmt: skip
        assert part in demo.said, f"{part!r} is missing from:\n{demo.said}"
    assert ", 0 problems" in demo.said


def test_nothing_that_was_finished_was_done_again(demo: FinishedDemo) -> None:
    jobs = demo.server.client.get("/api/compute/jobs", limit=200)
    succeeded = Counter(job["ask"]["kind"] for job in jobs if job["state"] == "succeeded")
    assert {kind: count for kind, count in succeeded.items() if count != 1} == {}
    assert {"corpus.fetch", "corpus.build", "evaluation.score", "compat.examine"} <= set(succeeded)
    assert demo.said.count("finished before, kept") >= 5


def test_running_it_once_more_keeps_every_step(demo: FinishedDemo, tmp_path: Path) -> None:
    (tmp_path / "chain.toml").write_text(small_chain())
    said = lilong("chain", "run", tmp_path / "chain.toml", "--url", demo.server.url, "--token-file", demo.server.folder / "run" / "mei.token", "--as", f"reviewer={demo.server.folder / 'run' / 'tomas.token'}").stderr
    assert said.count("finished before, kept") == len(demo.outputs)


def test_the_answers_receipt_leads_down_to_documents_and_licences(demo: FinishedDemo) -> None:
    walk = lilong("trace", demo.outputs["answer"]["receipt"], "--house", demo.server.folder).stdout
    for kind in ("deployment", "model", "corpus", "source", "licence", "registration", "report", "certificate", "protocol", "code"):
        assert kind in walk, f"no {kind} in:\n{walk}"


def test_a_source_leads_up_to_every_answer(demo: FinishedDemo) -> None:
    down = in_json("trace", demo.outputs["answer"]["receipt"], "--house", demo.server.folder)
    source = next(artifact["digest"] for artifact in down["artifacts"] if artifact["kind"] == "source")
    up = in_json("trace", source, "--up", "--house", demo.server.folder)
    assert {"corpus", "model", "report", "certificate", "registration", "deployment", "answer"} <= {artifact["kind"] for artifact in up["artifacts"]}


def test_every_list_and_show_command_answers_in_json(demo: FinishedDemo) -> None:
    house = ("--house", demo.server.folder)
    assert {job["state"] for job in in_json("job", "list", *house)} >= {"succeeded"}
    assert in_json("dataset", "list", *house)[0]["repository"] == "lantern-works/handbooks"
    assert any("handbook-model" in json.dumps(model) for model in in_json("model", "list", *house))
    number = demo.outputs["review"]["number"]
    assert [row["number"] for row in in_json("registration", "list", *house)] == [number]
    assert in_json("registration", "show", number, *house)["number"] == number
    assert in_json("report", "show", demo.outputs["evaluation"]["id"], *house)
    receipt = demo.outputs["answer"]["receipt"]
    assert receipt in json.dumps(in_json("receipt", "show", receipt, *house))
    assert in_json("status", *house)["parked"] == []


def test_an_openai_client_gets_a_streamed_answer_and_a_receipt(demo: FinishedDemo) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{demo.server.url}/v1", api_key=demo.mei, max_retries=30)
    assert [model.id for model in client.models.list()] == ["handbook-model"]
    messages: Any = [{"role": "user", "content": "What does the command ls do?"}]
    with client.chat.completions.with_streaming_response.create(model="handbook-model", messages=messages, max_tokens=12, stream=True) as raw:
        assert raw.headers["x-lilong-receipt"].startswith("rcpt-")
        text = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
    whole = client.chat.completions.create(model="handbook-model", messages=messages, max_tokens=12)
    assert text
    assert whole.usage is not None
    assert whole.usage.completion_tokens <= 12
    assert client.completions.create(model="handbook-model", prompt="Python is", max_tokens=4).choices[0].text
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{demo.server.url}/v1", api_key="ll_wrong", max_retries=0).models.list()


def test_the_published_model_is_a_download_for_the_real_hub_client(demo: FinishedDemo, tmp_path: Path) -> None:
    script = "import sys; from huggingface_hub import snapshot_download; snapshot_download('lantern-works/handbook-model', local_dir=sys.argv[1], token=open(sys.argv[2]).read().strip())"
    token = demo.server.folder / "run" / "mei.token"
    environment = {"PATH": "/usr/bin:/bin", "HF_ENDPOINT": demo.server.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model"), str(token)], check=True, capture_output=True, env=environment)
    assert {"config.json", "model.safetensors", "model-f16.gguf", "tokenizer.json", "README.md", "LICENSE"} <= {file.name for file in (tmp_path / "model").iterdir()}


@pytest.fixture(scope="module")
def bundle(demo: FinishedDemo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "of-the-answer"
    lilong("export", demo.outputs["answer"]["receipt"], "--house", demo.server.folder, "--out", folder)
    return folder


def test_a_bundle_is_verified_elsewhere_without_the_house(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    done = subprocess.run([sys.executable, "-m", "lilong.cli", "verify", str(tmp_path / "copy")], capture_output=True, text=True, check=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert ", 0 problems" in done.stdout


def test_after_any_flipped_byte_the_check_fails_and_names_the_place(bundle: Path) -> None:
    from lilong.operations.bundles.check import verify

    rng = random.Random(20261122)
    files = sorted(file for file in bundle.rglob("*") if file.is_file())
    small = [file for file in files if file.stat().st_size < 1 << 20]
    for file in [*rng.sample(small, 12), max(files, key=lambda f: f.stat().st_size)]:
        content = bytearray(file.read_bytes())
        at = rng.randrange(len(content))
        content[at] ^= 1 << rng.randrange(8)
        original = file.read_bytes()
        file.chmod(0o600)
        file.write_bytes(content)
        try:
            assert verify(bundle).problems, f"{file.relative_to(bundle)} byte {at} was flipped and nobody noticed"
        finally:
            file.write_bytes(original)
    assert not verify(bundle).problems


def test_export_takes_a_revision_and_a_number_too(demo: FinishedDemo, tmp_path: Path) -> None:
    lilong("export", demo.outputs["review"]["number"], "--house", demo.server.folder, "--out", tmp_path / "number")
    lilong("export", "lantern-works/handbooks@main", "--house", demo.server.folder, "--out", tmp_path / "corpus")
    for name in ("number", "corpus"):
        assert ", 0 problems" in lilong("verify", tmp_path / name).stdout


def test_the_demos_server_has_parked_nothing_and_the_whole_house_is_sound(demo: FinishedDemo) -> None:
    assert ", 0 problems" in lilong("verify", "--house", demo.server.folder).stdout
