"""The house's own doors to the hub: SDK, command line, signatures that OpenSSF's tool verifies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi

from lilong.client import Client, HttpTransport, ServerError, hub
from lilong.floors.hub.commands.model import model
from lilong.floors.hub.contract import Kind

from .conftest import HARBOUR, LANTERN, Served

NAME = f"{LANTERN}/lighthouse"


@pytest.fixture
def head(served: Served) -> str:
    api = HfApi(endpoint=served.url, token=served.tokens["mei"])
    api.create_repo(NAME, private=True, exist_ok=True)
    card = b"---\nlicense: mit\n---\n# Lighthouse\n"
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=NAME)
    return str(api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=NAME).oid)


def client_of(served: Served, user: str) -> Client:
    return Client(HttpTransport(served.url), served.tokens[user])


def test_the_sdk_lists_and_shows(served: Served, head: str) -> None:
    client = client_of(served, "ada")
    listed = hub.repositories(client, search="lighthouse")
    assert [(line.repository.name, line.repository.kind, line.commit) for line in listed] == [(NAME, Kind.MODEL, head)]
    shown = hub.shown(client, f"{NAME}@{head}")
    assert (shown.revision.commit, shown.card, shown.metadata) == (head, "# Lighthouse\n", {"license": "mit"})
    assert [file.path for file in shown.revision.files] == [".gitattributes", "README.md", "config.json"]


def test_foreign_models_are_not_there(served: Served, head: str) -> None:
    client = client_of(served, "tom")
    assert hub.repositories(client, search="lighthouse") == []
    with pytest.raises(ServerError) as refused:
        hub.shown(client, NAME)
    assert (refused.value.status_code, refused.value.exit_code) == (404, 4)


def test_the_command_line_lists_shows_and_signs(served: Served, head: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(served.tokens["mei"])
    token.chmod(0o600)
    where = ["--url", served.url, "--token-file", str(token)]
    run = CliRunner().invoke
    listed = run(model, ["list", "--search", "lighthouse", "--json", *where])
    assert [line["commit"] for line in json.loads(listed.output)] == [head]
    shown = run(model, ["show", NAME, *where])
    assert [text for text in (head, "config.json", "# Lighthouse", "mit") if text not in shown.output] == [], shown.output
    assert json.loads(run(model, ["show", NAME, "--json", *where]).output)["revision"]["commit"] == head
    assert run(model, ["signature", NAME, "--out", str(tmp_path / "signed"), *where]).exit_code == 0
    folder = tmp_path / "download"
    HfApi(endpoint=served.url, token=served.tokens["mei"]).snapshot_download(NAME, local_dir=folder)
    verify = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature", str(tmp_path / "signed/model.sig")]
    verify += ["--public_key", str(tmp_path / "signed/model.pub")]
    good = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    (folder / "config.json").write_bytes(b"[]")
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0


def test_an_unknown_kind_is_refused(served: Served) -> None:
    with pytest.raises(ServerError) as refused:
        client_of(served, "mei").get("/api/hub/repositories", kind="space", organisation=HARBOUR)
    assert refused.value.status_code == 400
