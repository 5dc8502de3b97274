"""What bad input gets: one clear message with the way out, a status that is not 0, nothing half-written, and the next run carries on."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.client import ServerError, corpus
from tests.command_line import Said, lilong, refused
from tests.conftest import ORGANISATION, LiveServer
from tests.corpus.texts import english

REPOSITORY = Path(__file__).parents[1]
LICENCE = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software. SPDX-License-Identifier: MIT\n"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One served house for all tests that must leave it as it was."""
    server = LiveServer(tmp_path_factory.mktemp("bad-input") / "house").start()
    server.client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
    server.client.post("/api/house/users", {"name": "mei"})
    server.client.post("/api/house/grants", {"user": "mei", "role": "member", "organisation": ORGANISATION})
    yield server
    server.stop()


# --- the house and its server ----------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_house(tmp_path: Path) -> None:
    said = refused("status", "--house", tmp_path, saying=("not the folder of a house", "lilong up --house"))
    assert said.code == 2
    refused("backup", "--house", tmp_path, "--out", tmp_path / "b.tar", saying=("not the folder of a house",))
    assert list(tmp_path.iterdir()) == []


def test_a_house_is_not_made_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    refused("up", "--house", tmp_path, "--port", "0", saying=("not empty", "Give a new folder"))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    refused("up", "--house", tmp_path / "thesis.txt", "--port", "0", saying=("is not a folder",))


def test_a_house_in_use(open_house: LiveServer) -> None:
    said = refused("up", "--house", open_house.folder, "--port", "0", saying=("is in use by process", "lilong down"))
    assert said.code == 5
    assert open_house.client.get("/api/house/status")["name"] == "Lilong"


@pytest.mark.parametrize("detached", [(), ("--detach",)])
def test_a_port_in_use(tmp_path: Path, detached: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused("up", "--house", tmp_path / "house", "--port", port, *detached, saying=(f"Port {port}", "--port"))
    assert said.code == 7
    assert not (tmp_path / "house" / "keys").exists()
    assert lilong("up", "--house", tmp_path / "house", "--port", "0", "--detach").code == 0
    assert lilong("down", "--house", tmp_path / "house").code == 0


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (("--port", "99999"), ("99999", "--port")),
        (("--host", "198.51.100.1"), ("198.51.100.1", "--host")),
        (("--database", "rows"), ("database", "sqlite:///path")),
        (("--database", "mysql://host/rows"), ("database", "postgresql+psycopg")),
        (("--database", "postgresql+psycopg://nobody@/none?host=/nowhere"), ("database", "Start the database server")),
    ],
)
def test_a_setting_that_cannot_be_used(tmp_path: Path, words: tuple[str, ...], saying: tuple[str, ...]) -> None:
    words = words if "--port" in words else (*words, "--port", "0")
    refused("up", "--house", tmp_path / "house", *words, saying=saying)
    assert not (tmp_path / "house" / "lilong.toml").exists()
    assert lilong("up", "--house", tmp_path / "house", "--port", "0", "--detach").code == 0
    assert lilong("down", "--house", tmp_path / "house").code == 0


@pytest.mark.parametrize(
    ("file", "saying"),
    [("prot = 8900\n", ("'prot'", "Known:", "port")), ("port =\n", ("lilong.toml", "line 1")), ('cpus = "many"\n', ("'cpus'", "whole number")),
     ('log_level = "loud"\n', ("'log_level'", "debug, info")), ('sandbox = "iron"\n', ("'sandbox'", "bubblewrap"))],
)  # fmt: skip
def test_a_settings_file_with_a_mistake(tmp_path: Path, file: str, saying: tuple[str, ...]) -> None:
    (tmp_path / "lilong.toml").write_text(file)
    assert refused("up", "--house", tmp_path, "--port", "0", saying=saying).code == 2
    assert "Traceback" not in lilong("up", "--house", tmp_path, "--port", "0", "--detach").err


def test_the_database_of_a_house_is_not_changed_by_a_slip(open_house: LiveServer, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    refused("up", "--house", open_house.folder, "--port", "0", "--database", other, saying=("keeps its data in", "lilong backup"))
    assert not (tmp_path / "other.db").exists()


def test_a_missing_package(tmp_path: Path) -> None:
    """psycopg cannot be imported in this process: the refusal names it and how to get it."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "psycopg.py").write_text("raise ModuleNotFoundError(\"No module named 'psycopg'\", name='psycopg')\n")
    words = ("up", "--house", tmp_path / "house", "--port", "0", "--database", "postgresql+psycopg://a@b/c")
    refused(*words, env={"PYTHONPATH": str(tmp_path / "hidden")}, saying=("psycopg", "pip install"))


# --- tokens ----------------------------------------------------------------------------------------------------------------


def token(house: LiveServer, folder: Path, *scopes: str) -> Path:
    words = [word for scope in scopes for word in ("--scope", scope)]
    assert lilong("token", "create", "test", "--user", "mei", *words, "--out", folder / "mei.token", "--house", house.folder).code == 0
    return folder / "mei.token"


def test_a_token_without_the_scope(open_house: LiveServer, tmp_path: Path) -> None:
    mei = token(open_house, tmp_path, "hub.read")
    said = refused("job", "list", "--url", open_house.url, "--token-file", mei, saying=("'jobs.read'", "lilong token create --scope jobs.read"))
    assert said.code == 3
    assert lilong("model", "list", "--url", open_house.url, "--token-file", mei, "--json").json == []


def test_a_token_file_that_others_may_read(open_house: LiveServer, tmp_path: Path) -> None:
    mei = token(open_house, tmp_path, "*")
    mei.chmod(0o644)
    refused("model", "list", "--url", open_house.url, "--token-file", mei, saying=("others than its owner", f"chmod 600 {mei}"))
    mei.chmod(0o600)
    assert lilong("model", "list", "--url", open_house.url, "--token-file", mei).code == 0


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xff\xfe"])
def test_a_token_file_without_a_token(open_house: LiveServer, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    (tmp_path / "token").chmod(0o600)
    refused("status", "--url", open_house.url, "--token-file", tmp_path / "token", saying=("oken", "lilong token create"))
    refused("status", "--url", open_house.url, "--token-file", tmp_path / "none", saying=("token-file", "lilong token create"))


def test_no_token_and_no_server(open_house: LiveServer) -> None:
    assert refused("status", "--url", open_house.url, saying=("token",)).code == 3
    assert refused("status", "--url", "http://127.0.0.1:1", saying=("No server answers", "lilong up")).code == 7
    assert refused("status", "--url", "http://127.0.0.1:port", saying=("url",)).code == 2


@pytest.mark.parametrize(
    ("words", "code", "saying"),
    [
        (("org", "add", "Bad Name"), 2, ("organisation", "Use 1 to 96")),
        (("org", "add", ORGANISATION), 5, ("already",)),
        (("user", "grant", "mei", "king"), 2, ("'king'", "Roles:")),
        (("user", "grant", "nobody", "owner"), 4, ("'nobody'",)),
        (("token", "create", "t", "--scope", "hub.fly"), 2, ("'hub.fly'", "Permissions:")),
        (("token", "create", "t", "--days", "0"), 2, ("'days'", "Leave it away")),
        (("token", "revoke", "nothing"), 4, ("'nothing'",)),
        (("job", "show", "nothing"), 4, ("'nothing'",)),
        (("dataset", "show", "nothing"), 4, ("'nothing'",)),
        (("model", "show", "no/thing"), 4, ("'no/thing'",)),
        (("registration", "show", "12"), 4, ("'12'",)),
        (("trace", "nothing"), 4, ("'nothing'",)),
    ],
)
def test_a_word_that_names_nothing(open_house: LiveServer, words: tuple[str, ...], code: int, saying: tuple[str, ...]) -> None:
    assert refused(*words, "--house", open_house.folder, saying=saying).code == code


# --- chain files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right", "saying"),
    [
        ('"corpus.build"', '"corpus.biuld"', ("[step.corpus] uses", "Did you mean 'corpus.build'?")),
        ("uses =", "use =", ("'use'", "Did you mean 'uses'?")),
        ("[chain]", "[chian]", ("[chain]",)),
        ("${sources.", "${sauces.", ("sauces", "sources")),
        ("organisation =", "organisation ", ("line",)),
    ],
)
def test_a_chain_file_with_a_typo(open_house: LiveServer, tmp_path: Path, wrong: str, right: str, saying: tuple[str, ...]) -> None:
    text = (REPOSITORY / "examples" / "first-chain.toml").read_text(encoding="utf-8")
    (tmp_path / "chain.toml").write_text(text.replace(wrong, right, 1), encoding="utf-8")
    assert refused("chain", "run", tmp_path / "chain.toml", "--house", open_house.folder, saying=saying).code == 2
    assert open_house.client.get("/api/corpus/sources") == []


def test_a_chain_file_that_is_not_utf8(open_house: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "chain.toml").write_bytes(b"[chain]\nname = \"caf\xe9\"\n")
    refused("chain", "run", tmp_path / "chain.toml", "--house", open_house.folder, saying=("not UTF-8", "Save it as UTF-8"))


# --- jobs and the settings of compute --------------------------------------------------------------------------------------


JOB = f'organisation = "{ORGANISATION}"\ncommand = ["python", "-c", "print(1)"]\n'


@pytest.mark.parametrize(
    ("file", "code", "saying"),
    [
        (JOB + "memroy = 3\n", 2, ("'memroy'", "Did you mean 'memory'?")),
        (JOB + 'accelerator = "h21"\n', 2, ("any_of[0].accelerator", "'h21'")),
        (JOB + "cpus = 4096\n", 6, ("could ever run", "4096 cores", "lilong compute sites")),
        (JOB + 'after = ["job-0"]\n', 4, ("'job-0'",)),
        (JOB + '[secrets]\nKEY = "none"\n', 4, ("lilong secret set none",)),
        (f'organisation = "{ORGANISATION}"\n[job.a]\ncommand = ["python"]\nafter = ["b"]\n[job.b]\ncommand = ["python"]\nafter = ["a"]\n', 2, ("a → b → a", "Break the circle")),
        ("command = [", 2, ("not TOML",)),
    ],
)  # fmt: skip
def test_a_job_file_with_a_mistake(open_house: LiveServer, tmp_path: Path, file: str, code: int, saying: tuple[str, ...]) -> None:
    (tmp_path / "job.toml").write_text(file, encoding="utf-8")
    assert refused("job", "submit", "--file", tmp_path / "job.toml", "--house", open_house.folder, saying=saying).code == code
    assert open_house.client.get("/api/compute/jobs") == []


@pytest.mark.parametrize(
    ("file", "saying"),
    [
        ('polcy = "easy"\n', ("'polcy'", "Did you mean 'policy'?")),
        (
            "[tenants.a]\nnominal = { cpu = 1 }\n[tenants.b]\nparent = 'a'\nnominal = { cpu = 2 }\n",
            ("tenants.a.nominal.cpu", "its parts have 2"),
        ),
        ("[sites.local]\noptions = { nods = [] }\n", ("sites.local.options.nods",)),
    ],
)
def test_settings_of_compute_with_a_mistake(open_house: LiveServer, tmp_path: Path, file: str, saying: tuple[str, ...]) -> None:
    (tmp_path / "compute.toml").write_text(file, encoding="utf-8")
    assert refused("compute", "apply", tmp_path / "compute.toml", "--house", open_house.folder, saying=saying).code == 2
    assert open_house.client.get("/api/compute/settings")["version"] == 0


# --- texts -----------------------------------------------------------------------------------------------------------------

def chain_over(texts: Path, house: LiveServer, folder: Path, policy: str = "") -> Path:
    digests = corpus.keep_folder(house.client, ORGANISATION, texts)
    listed = ", ".join(f'"{path}" = "{digest}"' for path, digest in digests.items())
    file = folder / "chain.toml"
    file.write_text(
        f'[chain]\nname = "texts"\norganisation = "{ORGANISATION}"\n'
        f'[step.sources]\nuses = "corpus.sources"\n[step.sources.with]\npackages = []\ntexts = {{ {listed} }}\n'
        f'[step.corpus]\nuses = "corpus.build"\n[step.corpus.with]\nsources = "${{sources.id}}"\nrepository = "{ORGANISATION}/{folder.name.replace("_", "-")[:40]}"\n{policy}',
        encoding="utf-8",
    )
    return file


def texts_in(folder: Path, licence: str | None = LICENCE, count: int = 12) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"essay-{number}.txt").write_text(english(number), encoding="utf-8")
    if licence is not None:
        (folder / "LICENSE").write_text(licence, encoding="utf-8")
    return folder


def run_chain(file: Path, house: LiveServer) -> Said:
    return lilong("chain", "run", file, "--house", house.folder)


def stops(file: Path, house: LiveServer, *words: str) -> None:
    """The chain stops with a clear last line that says these words, and nothing was published."""
    before = house.client.get("/api/corpus/versions")
    said = run_chain(file, house)
    assert said.code != 0, said
    assert "Traceback" not in said.err + said.out, said
    last = " ".join((said.err or said.out).split()[-120:])
    for word in words:
        assert word in last, (word, said)
    assert [each for each in house.client.get("/api/corpus/versions") if each["state"] == "done"] == [each for each in before if each["state"] == "done"]


@pytest.mark.parametrize("licence", [None, "You may read this on Tuesdays, if you ask the cat.\n"], ids=["none", "unknown"])
def test_a_licence_that_nobody_knows_stops_publication_and_one_that_is_known_does_not(open_house: LiveServer, tmp_path: Path, licence: str | None) -> None:
    texts = texts_in(tmp_path / "texts", licence)
    stops(chain_over(texts, open_house, tmp_path), open_house, "licen")
    (texts / "LICENSE").write_text((REPOSITORY / "LICENSE").read_text())
    said = run_chain(chain_over(texts, open_house, tmp_path), open_house)
    assert said.code == 0, said


def test_a_corpus_that_is_empty_after_filtering(open_house: LiveServer, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "LICENSE").write_text((REPOSITORY / "LICENSE").read_text())
    for number in range(3):
        (texts / f"{number}.txt").write_text("!!! ??? 000\n" * 3)
    stops(chain_over(texts, open_house, tmp_path), open_house, "empty-corpus")


def test_texts_that_are_not_utf8_are_dropped_by_name_and_the_rest_is_kept(open_house: LiveServer, tmp_path: Path) -> None:
    texts = texts_in(tmp_path / "texts", (REPOSITORY / "LICENSE").read_text())
    (texts / "noise.txt").write_bytes(bytes(range(128, 256)) * 40)
    assert run_chain(chain_over(texts, open_house, tmp_path), open_house).code == 0
    newest = open_house.client.get("/api/corpus/versions")[0]
    assert "not-utf-8" in str(newest["figures"]), newest["figures"]


# --- models ----------------------------------------------------------------------------------------------------------------


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


def test_a_model_file_that_is_a_hostile_pickle_is_refused_by_name(open_house: LiveServer, tmp_path: Path) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=open_house.url, token=open_house.operator_token)
    api.create_repo(f"{ORGANISATION}/pickled", repo_type="model")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(HfHubHTTPError) as refusal:
        api.upload_folder(repo_id=f"{ORGANISATION}/pickled", folder_path=tmp_path / "model")
    assert "pytorch_model.bin" in str(refusal.value)
    assert "safetensors" in str(refusal.value)
    (tmp_path / "model" / "pytorch_model.bin").rename(tmp_path / "model" / "notes.txt")
    (tmp_path / "model" / "notes.txt").write_text("plain words")
    api.upload_folder(repo_id=f"{ORGANISATION}/pickled", folder_path=tmp_path / "model")
    assert "notes.txt" in api.list_repo_files(f"{ORGANISATION}/pickled")


# --- a full disk -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_writes_keeps_what_it_acknowledged_and_carries_on_with_room(tiny_disk: Path) -> None:
    server = LiveServer(tiny_disk / "house")
    server.start()
    try:
        client = server.client
        client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
        ballast = tiny_disk / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(max(0, shutil.disk_usage(tiny_disk).free - (1 << 20))))
        titles, refusals = [], []
        for number in range(400):
            try:
                client.send("POST", "/api/corpus/texts", f"{number} ".encode() * 30_000, {"organisation": ORGANISATION})
                client.post("/api/house/tokens", {"title": f"t{number}", "scopes": ["hub.read"]})
                titles.append(f"t{number}")
            except ServerError as problem:
                refusals.append(problem)
                if len(refusals) == 5:
                    break
        assert titles
        assert [(problem.status_code, "full" in str(problem), "ree some space" in str(problem)) for problem in refusals] == [(507, True, True)] * 5
        assert client.get("/api/house/who-am-i")["user"] == "operator", "reading goes on"
        refused("backup", "--house", server.folder, "--out", tiny_disk / "b.tar", saying=("is full",))
        ballast.unlink()
        client.post("/api/house/tokens", {"title": "after", "scopes": ["hub.read"]})
        client.send("POST", "/api/corpus/texts", b"room again " * 30_000, {"organisation": ORGANISATION})
        kept = [each["title"] for each in client.get("/api/house/tokens")]
        assert set(titles) | {"after"} <= set(kept)
        assert not list((server.folder / "blobs" / "incoming").iterdir())
    finally:
        server.stop()
    assert lilong("verify", "--house", server.folder, "--json").json["problems"] == []
