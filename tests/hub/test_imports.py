"""Repositories fetched from another hub, which is a second server of ours on a socket."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import CommitOperationAdd, HfApi

from lilong.cli import root
from lilong.client import ServerError
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import import_work, imports, outgoing, reading
from lilong.floors.hub.service import repository_bundles as bundles
from lilong.floors.hub.service.imports import Ask
from lilong.floors.hub.store import imports as store
from lilong.ground.access import Actor
from lilong.ground.errors import LilongError
from tests.conftest import LiveServer

from .pair import Between, Hub, between, serving, some_bytes

MEI = Actor("mei")
BIG = some_bytes(3 << 20)
FILES = {"README.md": b"---\nlicense: mit\n---\n# Tide\n", "LICENSE": b"Do as you like.\n", "data/tide.bin": BIG, "data/empty.txt": b""}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with serving(tmp_path_factory.mktemp("source") / "house") as hub:
        api = HfApi(hub.url, hub.tokens["mei"])
        api.create_repo("lantern-works/tide", repo_type="dataset", private=True)
        operations = [CommitOperationAdd(path, content) for path, content in FILES.items()]
        api.create_commit("lantern-works/tide", operations, commit_message="all", repo_type="dataset")
        yield hub


@pytest.fixture
def front(source: Hub) -> Iterator[Between]:
    with between(source) as state:
        yield state


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(import_work, "PAUSES", ())
    with serving(tmp_path / "house", import_hosts="127.0.0.1") as hub:
        yield hub


def begun(target: Hub, url: str, source: Hub, **more: object) -> str:
    wish = Ask(f"{url}/datasets/lantern-works/tide", "harbour-lab/tide", token=source.tokens["mei"], **more)  # type: ignore[arg-type]
    return imports.ask(target.house, Actor("tom"), wish).id


def state_of(target: Hub, identity: str) -> store.Import:
    return imports.get(target.house, Actor("tom"), identity)[0]


def download(hub: Hub, who: str, name: str, folder: Path) -> dict[str, bytes]:
    path = Path(HfApi(hub.url, hub.tokens[who]).snapshot_download(name, repo_type="dataset", local_dir=folder, cache_dir=folder / "cache"))
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and ".cache" not in file.parts and "cache" not in file.relative_to(path).parts
    }


def test_an_import_brings_every_file_and_names_the_source_in_its_commit(source: Hub, target: Hub, tmp_path: Path) -> None:
    identity = begun(target, source.url, source)
    import_work.carry_out(target.house, identity)
    done, progress = imports.get(target.house, Actor("tom"), identity)
    assert (done.state, done.error, progress.files_done) == ("done", "", len(FILES) + 1)
    found = download(target, "tom", "harbour-lab/tide", tmp_path / "down")
    assert {path: content for path, content in found.items() if path != ".gitattributes"} == FILES
    pinned = HfApi(source.url, source.tokens["mei"]).dataset_info("lantern-works/tide").sha
    commits = HfApi(target.url, target.tokens["tom"]).list_repo_commits("harbour-lab/tide", repo_type="dataset")
    assert done.pinned == pinned
    assert f"{source.url}/datasets/lantern-works/tide at {pinned[:12]}" in commits[0].title
    assert pinned in commits[0].message


def test_the_tree_of_an_import_has_the_git_id_that_it_has_at_the_source(source: Hub, target: Hub) -> None:
    import_work.carry_out(target.house, begun(target, source.url, source))
    _, here = reading.pinned(target.house, Actor("tom"), Kind.DATASET, "harbour-lab/tide", "main")
    _, there = reading.pinned(source.house, MEI, Kind.DATASET, "lantern-works/tide", "main")
    assert here.tree == there.tree


def test_the_statement_of_an_import_leads_to_the_source_its_commit_and_its_digests(source: Hub, target: Hub) -> None:
    identity = begun(target, source.url, source)
    import_work.carry_out(target.house, identity)
    done = state_of(target, identity)
    graph = target.house.db.read(lambda tx: target.house.evidence.down(tx, done.manifest))
    (record,) = graph.of_kind("source")
    assert record.name == f"{source.url}/datasets/lantern-works/tide@{done.pinned}"
    listed = {file["path"]: file for file in json.loads(target.house.blobs.read(record.digest))["files"]}
    assert listed["data/tide.bin"]["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert [artifact.name for artifact in graph.of_kind("licence")] == ["harbour-lab/tide/LICENSE"]


def test_it_is_so_on_every_database(
    source: Hub, front: Between, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_work, "PAUSES", ())
    with serving(tmp_path / "other", database=database_url, import_hosts="127.0.0.0/8") as hub:
        front.break_after = 1 << 20
        identity = begun(hub, front.url, source)
        import_work.carry_out(hub.house, identity)
        front.break_after = None
        hub.client("tom").post(f"/api/hub/imports/{identity}/retry")
        import_work.carry_out(hub.house, identity)
        (line,) = hub.client("tom").get("/api/hub/imports")
        assert (line["state"], line["bytes_done"]) == ("done", line["bytes"])
        mirror = imports.ask(
            hub.house,
            Actor("tom"),
            Ask(f"{front.url}/datasets/lantern-works/tide", "harbour-lab/lazy", token=source.tokens["mei"], mode="mirror"),
        )
        import_work.carry_out(hub.house, mirror.id)
        assert state_of(hub, mirror.id).state == "done"
        assert download(hub, "tom", "harbour-lab/lazy", tmp_path / "lazy")["data/tide.bin"] == BIG
        ready = bundles.prepare(hub.house, Actor("tom"), bundles.Wanted(Kind.DATASET, "harbour-lab/lazy"))
        content = b"".join(bundles.stream(hub.house, ready))
        taken = bundles.take(hub.house, MEI, bundles.Incoming("lantern-works/again"), iter([content]))
        assert (taken.files, taken.commits) == (1, 1)
        HfApi(hub.url, hub.tokens["tom"]).delete_repo("harbour-lab/lazy", repo_type="dataset")


def test_a_file_that_broke_off_goes_on_where_it_was(source: Hub, front: Between, target: Hub) -> None:
    front.break_after = 1 << 20
    identity = begun(target, front.url, source)
    import_work.carry_out(target.house, identity)
    assert state_of(target, identity).state == "failed"
    assert "broke off" in state_of(target, identity).error
    front.break_after, front.asked = None, []
    imports.retry(target.house, Actor("tom"), identity)
    import_work.carry_out(target.house, identity)
    assert state_of(target, identity).state == "done"
    ranges = [range_ for path, range_ in front.asked if path.endswith("data/tide.bin")]
    assert ranges == [f"bytes={1 << 20}-"]
    assert not [path for path, _ in front.asked if path.endswith("README.md")], "what had come is not fetched again"


def test_a_large_file_that_is_not_what_its_digest_says_is_named_and_not_kept(source: Hub, front: Between, target: Hub) -> None:
    front.change = lambda path, body: b"X" + body[1:] if path.endswith("data/tide.bin") else body
    identity = begun(target, front.url, source)
    import_work.carry_out(target.house, identity)
    failed = state_of(target, identity)
    assert failed.state == "failed"
    assert "data/tide.bin" in failed.error
    assert hashlib.sha256(BIG).hexdigest() in failed.error
    with pytest.raises(LilongError):
        reading.pinned(target.house, Actor("tom"), Kind.DATASET, "harbour-lab/tide", "main")
    assert not list(import_work.parts(target.house, identity).glob("*.part"))


def test_a_small_file_is_held_to_its_git_id(source: Hub, front: Between, target: Hub) -> None:
    front.change = lambda path, body: body.replace(b"Tide", b"Wave") if path.endswith("README.md") else body
    identity = begun(target, front.url, source)
    import_work.carry_out(target.house, identity)
    assert "README.md" in state_of(target, identity).error
    assert "git id" in state_of(target, identity).error


def test_the_commit_is_pinned_when_the_import_begins(source: Hub, front: Between, target: Hub) -> None:
    front.break_after = 1 << 20
    identity = begun(target, front.url, source)
    import_work.carry_out(target.house, identity)
    pinned = state_of(target, identity).pinned
    api = HfApi(source.url, source.tokens["mei"])
    api.upload_file(path_or_fileobj=b"later", path_in_repo="later.txt", repo_id="lantern-works/tide", repo_type="dataset")
    try:
        front.break_after = None
        imports.retry(target.house, Actor("tom"), identity)
        import_work.carry_out(target.house, identity)
        assert state_of(target, identity).pinned == pinned
        assert "later.txt" not in HfApi(target.url, target.tokens["tom"]).list_repo_files("harbour-lab/tide", repo_type="dataset")
    finally:
        api.delete_file("later.txt", "lantern-works/tide", repo_type="dataset")


def test_an_import_that_does_not_fit_is_refused_before_any_file_comes(source: Hub, front: Between, target: Hub) -> None:
    target.house.db.write(lambda tx: tx.run("INSERT INTO hub_namespaces (organisation, quota_bytes) VALUES ('harbour-lab', 1000000)"))
    identity = begun(target, front.url, source)
    import_work.carry_out(target.house, identity)
    assert "harbour-lab" in state_of(target, identity).error
    assert not [path for path, _ in front.asked if "/resolve/" in path]


def test_left_out_paths_are_not_fetched(source: Hub, front: Between, target: Hub) -> None:
    identity = begun(target, front.url, source, exclude=("data/*",))
    import_work.carry_out(target.house, identity)
    names = HfApi(target.url, target.tokens["tom"]).list_repo_files("harbour-lab/tide", repo_type="dataset")
    assert sorted(names) == [".gitattributes", "LICENSE", "README.md"]
    assert not [path for path, _ in front.asked if "/resolve/" in path and "data/" in path]


def test_the_token_of_the_source_lies_in_a_file_of_its_owner_and_goes_with_the_import(source: Hub, target: Hub) -> None:
    identity = begun(target, source.url, source)
    file = import_work.token_file(target.house, identity)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert source.tokens["mei"].encode() not in b"".join(path.read_bytes() for path in target.house.settings.house.glob("lilong.db*"))
    import_work.carry_out(target.house, identity)
    assert not file.exists()


def test_without_a_token_a_private_source_says_so(source: Hub, target: Hub) -> None:
    found = imports.ask(target.house, Actor("tom"), Ask(f"{source.url}/datasets/lantern-works/tide", "harbour-lab/tide"))
    import_work.carry_out(target.house, found.id)
    assert state_of(target, found.id).state == "failed"
    assert source.host in state_of(target, found.id).error


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a/b", "http://localhost/a/b", "http://[::1]/a/b", "http://169.254.169.254/a/b", "http://10.1.2.3/a/b",
                                 "http://[::ffff:10.0.0.1]/a/b", "http://0.0.0.0/a/b", "http://2130706433/a/b"])  # fmt: skip
def test_addresses_of_the_house_s_own_network_are_refused(house: object, url: str) -> None:
    with pytest.raises(outgoing.AddressRefused):
        imports.ask(house, MEI, Ask(url, "lantern-works/b"))  # type: ignore[arg-type]


def test_a_redirect_into_the_own_network_is_refused_and_another_host_gets_no_token(source: Hub, front: Between) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    seen: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization"))
            if self.path == "/onward":
                self.send_response(302)
                self.send_header("location", f"http://localhost:{self.server.server_address[1]}/end")  # type: ignore[attr-defined]
            else:
                self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/onward"
    headers = {"authorization": "Bearer secret"}
    try:
        with (
            pytest.raises(outgoing.AddressRefused),
            outgoing.request("GET", url, headers=headers, allowed=frozenset({f"127.0.0.1:{server.server_address[1]}"})),
        ):
            pass
        with outgoing.request("GET", url, headers=headers, allowed=frozenset({"127.0.0.1", "localhost"})) as reply:
            assert reply.status == 200
        assert seen == ["Bearer secret", "Bearer secret", None]
    finally:
        server.shutdown()
        server.server_close()


def test_only_who_may_write_there_imports_and_others_do_not_see_it(source: Hub, target: Hub) -> None:
    body = {"url": f"{source.url}/datasets/lantern-works/tide", "name": "harbour-lab/tide", "token": source.tokens["mei"]}
    with pytest.raises(ServerError) as refused:
        target.client("mei").post("/api/hub/imports", body)
    assert refused.value.status_code == 403
    begun_ = target.client("tom").post("/api/hub/imports", body)
    assert "token" not in json.dumps(begun_)
    with pytest.raises(ServerError) as hidden:
        target.client("mei").get(f"/api/hub/imports/{begun_['id']}")
    assert hidden.value.status_code == 404
    assert target.client("mei").get("/api/hub/imports") == []


def test_a_cancelled_import_leaves_nothing_behind(source: Hub, front: Between, target: Hub) -> None:
    front.break_after = 1 << 20
    identity = begun(target, front.url, source)
    import_work.carry_out(target.house, identity)
    imports.retry(target.house, Actor("tom"), identity)
    assert list(import_work.parts(target.house, identity).glob("*.part"))
    target.client("tom").post(f"/api/hub/imports/{identity}/cancel")
    assert not import_work.parts(target.house, identity).exists()
    assert not import_work.token_file(target.house, identity).exists()
    import_work.carry_out(target.house, identity)
    assert state_of(target, identity).state == "cancelled"


def test_a_digest_that_the_asker_does_not_know_must_come_from_the_source(source: Hub, front: Between, target: Hub) -> None:
    """The house has the bytes from somebody else; a source that only names their digest gets nothing."""
    target.house.blobs.put(BIG)
    front.change = lambda path, body: b"" if path.endswith("data/tide.bin") else body
    identity = begun(target, front.url, source)
    import_work.carry_out(target.house, identity)
    assert state_of(target, identity).state == "failed"


def test_kill_9_costs_no_more_than_a_piece_of_one_file(source: Hub, front: Between, tmp_path: Path) -> None:
    front.break_after, front.hold = 1 << 20, threading.Event()
    server = LiveServer(tmp_path / "house")
    server.folder.mkdir()
    (server.folder / "lilong.toml").write_text('import_hosts = "127.0.0.1"\n')
    token = tmp_path / "source.token"
    token.write_text(source.tokens["mei"])
    token.chmod(0o600)
    try:
        server.start()
        begun_ = lilong(server, "import", f"{front.url}/datasets/lantern-works/tide", "--source-token", str(token), "--no-wait")
        parts = server.folder / "run" / "imports" / str(begun_["id"])
        for _ in range(1000):
            if any(size_of(part) >= 1 << 20 for part in parts.glob("*.part")):
                break
            time.sleep(0.02)
        server.kill_9()
        front.hold.set()
        front.break_after, front.asked = None, []
        server.start()
        done = lilong(server, "import", "--follow", str(begun_["id"]))
        assert (done["state"], done["bytes_done"]) == ("done", done["bytes"])
        ranges = [range_ for path, range_ in front.asked if path.endswith("data/tide.bin")]
        assert ranges == [f"bytes={1 << 20}-"]
        assert not parts.exists()
        api = HfApi(server.url, server.operator_token)
        path = api.hf_hub_download(str(done["repository"]), "data/tide.bin", repo_type="dataset", cache_dir=tmp_path / "cache")
        assert Path(path).read_bytes() == BIG
    finally:
        front.hold.set()
        server.stop()


def lilong(server: LiveServer, *words: str) -> dict[str, object]:
    result = CliRunner().invoke(root, ["hub", *words, "--house", str(server.folder), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    value: dict[str, object] = json.loads(result.stdout)
    return value


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it was a small file, and is done
        return 0
