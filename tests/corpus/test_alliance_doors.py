"""The alliance through a real server: HTTP, the typed client, the command line, and kill -9 in the middle of a takedown."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lilong.client import Client, ServerError, alliance, corpus
from lilong.floors.corpus.alliance.shapes import Takedown
from lilong.floors.corpus.contract import SourceSet, State, Version
from lilong.ground.errors import BadInput
from tests.command_line import Said, lilong
from tests.conftest import LiveServer
from tests.corpus import texts

LANTERN, HARBOUR = "lantern-works", "harbour-lab"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path_factory.mktemp("doors") / "house").start()
    client = made.client
    for organisation, user in ((LANTERN, "mei"), (HARBOUR, "hana")):
        client.post("/api/house/organisations", {"name": organisation, "title": organisation})
        client.post("/api/house/users", {"name": user})
        client.post("/api/house/grants", {"user": user, "role": "owner", "organisation": organisation})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def files(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tokens")
    found = {user: folder / user for user in ("mei", "hana")}
    for user, file in found.items():
        assert lilong("token", "create", "doors", "--user", user, "--out", file, "--house", server.folder).code == 0
    return found


@pytest.fixture(scope="module")
def mei(server: LiveServer, files: dict[str, Path]) -> Client:
    return server.client_of(files["mei"].read_text().strip())


@pytest.fixture(scope="module")
def hana(server: LiveServer, files: dict[str, Path]) -> Client:
    return server.client_of(files["hana"].read_text().strip())


@pytest.fixture(scope="module")
def run(server: LiveServer, files: dict[str, Path]):  # type: ignore[no-untyped-def]
    def told(user: str, *words: str | Path) -> Said:
        return lilong("corpus", *words, "--url", server.url, "--token-file", files[user])

    return told


def waited(look, seconds: float = 300.0):  # type: ignore[no-untyped-def]
    """What `look` answers once it is finished."""
    last = time.monotonic() + seconds
    while True:
        found: SourceSet | Version | Takedown = look()
        if found.state in (State.DONE, State.FAILED):
            assert found.state is State.DONE, found.error
            return found
        assert time.monotonic() < last, found
        time.sleep(0.3)


@pytest.fixture(scope="module")
def version(server: LiveServer, mei: Client, run, tmp_path_factory: pytest.TempPathFactory) -> Version:  # type: ignore[no-untyped-def]
    for user, organisation in (("mei", LANTERN), ("hana", HARBOUR)):
        assert run(user, "alliance", "join", organisation).code == 0
        assert lilong("corpus", "alliance", "admit", organisation, "--house", server.folder).code == 0
    folder = texts.folder(tmp_path_factory.mktemp("texts") / "texts", documents=6)
    kept = corpus.keep_folder(mei, LANTERN, folder)
    asked = corpus.fetch(
        mei,
        organisation=LANTERN,
        key="t",
        texts=kept,
        terms="alliance",
        conditions={"purposes": ["training"], "attribution": "Lantern Works"},
    )
    sources = waited(lambda: corpus.source_set(mei, asked.id))
    built = corpus.build(mei, organisation=LANTERN, key="v", sources=[sources.id], repository=f"{LANTERN}/pages")
    done: Version = waited(lambda: corpus.version(mei, built.id))
    return done


def test_members_are_listed_and_a_member_reads_the_version(run, hana: Client, version: Version) -> None:  # type: ignore[no-untyped-def]
    assert [(one["organisation"], one["state"]) for one in run("hana", "alliance", "list", "--json").json] == [
        (HARBOUR, "member"),
        (LANTERN, "member"),
    ]
    assert corpus.version(hana, f"{LANTERN}/pages").id == version.id


def test_a_folder_that_cannot_be_sent_whole_is_refused_before_anything_is_sent(mei: Client, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Low water.")
    try:
        (tmp_path / os.fsdecode(b"b\xff.txt")).write_text("High water.")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(BadInput, match=r"the name of .*b\ufffd\.txt is not UTF-8") as told:
        corpus.keep_folder(mei, LANTERN, tmp_path)
    assert str(told.value).encode()


def test_what_tables_tell_is_told_as_tables_and_as_json(run, version: Version) -> None:  # type: ignore[no-untyped-def]
    assert run("hana", "contributions", version.repository, "--json").json["contributions"][0]["contributor"] == LANTERN
    assert LANTERN in run("hana", "contributions", version.repository).out
    assert "CC-BY-4.0" in run("hana", "quality", version.repository).out
    assert run("hana", "quality", version.repository, "--json").json["sources"][0]["documents"] > 0
    told = run("hana", "drift", version.id, version.id, "--json").json
    assert {one["psi"] for one in told["signals"]} == {0.0}
    assert "PSI 0.0000" in run("hana", "drift", version.id, version.id).out


def test_a_text_is_found_in_the_version(run, version: Version, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "page.txt").write_text(texts.english(2))
    told = run("hana", "contains", tmp_path / "page.txt", "--version", version.repository, "--wait", "200", "--json").json
    assert told["share"] > 0.9
    assert "0% of the text" in run("hana", "contains", texts.english(777), "--version", version.repository).out


def test_a_person_s_request_is_logged_answered_and_forgotten(run) -> None:  # type: ignore[no-untyped-def]
    made = run("mei", "rights", "log", "--organisation", LANTERN, "--kind", "erasure", "--subject", "Ada Quay", "--json").json
    assert run("mei", "rights", "list", "--json").json[0]["id"] == made["id"]
    assert run("hana", "rights", "show", made["id"]).code == 4
    assert run("mei", "rights", "answer", made["id"], "--answer", "Taken down.", "--json").json["state"] == "fulfilled"
    assert run("mei", "rights", "forget", made["id"], "--json").json["subject"] is None


def test_texts_are_given_and_built_from_by_commands_alone(run: Callable[..., Said], version: Version, tmp_path: Path) -> None:
    folder = tmp_path / "jetty"
    folder.mkdir()
    for seed in range(40, 44):
        (folder / f"{seed}.txt").write_text(texts.english(seed))
    words = ("sources", "add", folder, "--organisation", HARBOUR, "--terms", "alliance", "--purpose", "training", "--note", "No advertisements.")
    bare = run("hana", *words)
    assert bare.code == 2 and "--evidence FILE or --statement TEXT" in bare.err
    said = (*words, "--licence", "CC-BY-4.0", "--statement", "Written by the staff of Harbour Lab.")
    assert run("mei", *said).code == 3
    given = run("hana", *said, "--wait", "--json")
    assert given.code == 0 and "is requested (lilong job show job-" in given.err
    found = given.json
    assert ([one["name"] for one in found["sources"]], found["contributor"], found["state"]) == (["jetty"], HARBOUR, "done")
    assert found["conditions"] == {"attribution": "", "note": "No advertisements.", "purposes": ["training"]}
    assert run("hana", *said, "--json").json["id"] == found["id"]
    assert "jetty" in run("mei", "sources", "list").out and "CC-BY-4.0" in run("mei", "sources", "show", found["id"]).out
    (tmp_path / "recipe.toml").write_text("held_out = 0.0\n")
    made = run("mei", "build", f"{LANTERN}/jetty", found["id"], "--recipe", tmp_path / "recipe.toml", "--wait", "--json").json
    assert (made["state"], made["contributors"], made["figures"]["documents"]["kept"]) == ("done", [HARBOUR], 4)
    (tmp_path / "recipe.toml").write_text('languages = ["zh"]\n')
    failed = run("mei", "build", f"{LANTERN}/nothing", found["id"], "--recipe", tmp_path / "recipe.toml", "--wait")
    assert failed.code == 6 and "was not made: empty-corpus: Nothing is left of 4 documents" in failed.err
    told = run("mei", "quality", f"{LANTERN}/nothing")
    assert told.code == 4 and "its state is failed" in told.err


def test_a_push_of_a_copy_to_a_public_repository_is_refused_whole(
    server: LiveServer, files: dict[str, Path], version: Version, tmp_path: Path
) -> None:
    mei = server.client_of(files["mei"].read_text().strip())
    mei.post("/api/repos/create", {"type": "dataset", "name": "open", "organization": LANTERN, "private": False})
    address = server.url.replace("://", f"://mei:{files['mei'].read_text().strip()}@") + f"/datasets/{LANTERN}"
    git = ("git", "-c", "user.name=mei", "-c", "user.email=mei@lantern.works", "-c", "filter.lfs.required=false", "-C")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"}

    def did(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*git, str(folder), *words], env=env, capture_output=True, text=True, check=False)

    assert did(tmp_path, "clone", f"{address}/open", "open").returncode == 0
    _, content = mei.send("GET", f"/datasets/{version.repository}/resolve/main/data/train-00000.parquet", None)
    (tmp_path / "open/copy.txt").write_bytes(content)
    did(tmp_path / "open", "add", "copy.txt")
    did(tmp_path / "open", "commit", "-m", "a copy")
    pushed = did(tmp_path / "open", "push")
    assert pushed.returncode != 0 and f"'copy.txt' is a file of the corpus version {version.id}, whose terms are alliance" in pushed.stderr
    assert did(tmp_path / "open", "ls-remote", "origin", "main").stdout[:40] == did(tmp_path / "open", "rev-parse", "HEAD~").stdout.strip()


def test_a_takedown_that_was_killed_is_there_or_not_and_ends(
    server: LiveServer, run: Callable[..., Said], mei: Client, files: dict[str, Path], version: Version
) -> None:
    document = hashlib.sha256(texts.english(4).encode()).hexdigest()
    what = ("takedown", "--version", version.repository, "--document", document)
    preview = run("mei", *what, "--preview", "--json")
    if preview.code:  # the page stands there as HTML, with another id
        document = corpus.datasheet(mei, version.id).kept[0].id or ""
        what = ("takedown", "--version", version.repository, "--document", document)
        preview = run("mei", *what, "--preview", "--json")
    assert preview.json["versions"][0]["id"] == version.id
    assert run("hana", *what, "--reason", "mine").code == 3

    def ask() -> None:
        try:
            alliance.takedown(
                server.client_of(files["mei"].read_text().strip()), version=version.id, key="k", reason="Asked for.", document=document
            )
        except Exception:
            return

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.15)
    server.kill_9().start()
    asking.join()
    again = server.client_of(files["mei"].read_text().strip())
    made = alliance.takedown(again, version=version.id, key="k", reason="Asked for.", document=document)
    assert len(alliance.takedowns(again)) == 1
    server.kill_9().start()
    last = server.client_of(files["mei"].read_text().strip())
    done: Takedown = waited(lambda: alliance.takedown_shown(last, made.id).takedown)
    newest = corpus.version(last, version.repository)
    assert newest.id == done.next and newest.figures["documents"]["kept"] < version.figures["documents"]["kept"]
    shown = lilong("corpus", "takedowns", made.id, "--url", server.url, "--token-file", files["mei"])
    assert shown.code == 0 and version.id in shown.out
    assert json.loads(lilong("corpus", "takedowns", "--json", "--url", server.url, "--token-file", files["mei"]).out)[0]["id"] == made.id


def test_a_run_is_published_by_the_command_twice_as_one_version(server: LiveServer, files: dict[str, Path], tmp_path: Path) -> None:
    given = texts.folder(tmp_path / "in", documents=5)
    curated = lilong("corpus", "curate", f"harbour={given}", "--profile", "docs", "--out", tmp_path / "out", "--workers", "1")
    assert curated.code in (0, 8), curated.err
    (tmp_path / "LICENSE").write_text("SPDX-License-Identifier: CC-BY-4.0\n")
    words = (
        "corpus",
        "publish",
        tmp_path / "out",
        "--repository",
        f"{HARBOUR}/run",
        "--licence",
        "CC-BY-4.0",
        "--evidence",
        tmp_path / "LICENSE",
        "--wait",
        "--json",
    )
    made = [lilong(*words, "--url", server.url, "--token-file", files["hana"]).json["id"] for _ in range(2)]
    assert made[0] == made[1]
    client = server.client_of(files["hana"].read_text().strip())
    done = corpus.version(client, made[0])
    assert done.figures["documents"]["kept"] == json.loads((tmp_path / "out" / "report.json").read_text())["documents"]["kept"]


def test_a_takedown_of_nothing_is_told_so(server: LiveServer, files: dict[str, Path], version: Version) -> None:
    with pytest.raises(ServerError, match="Name one document, one source or one contributor"):
        alliance.takedown(server.client_of(files["mei"].read_text().strip()), version=version.id, key="none", reason="x")
