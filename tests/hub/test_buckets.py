"""Buckets, by the real client: `hf buckets` and HfApi, each run with a fresh home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lilong.floors.hub.service import buckets
from lilong.floors.hub.service.buckets import Operation
from lilong.floors.hub.store import buckets as store
from lilong.floors.hub.store.buckets import BucketFile, BucketFolder
from lilong.ground.access import Actor
from lilong.ground.house import House

from .conftest import hub_house
from .pair import Hub, serving, some_bytes

MEI, TOM = Actor("mei"), Actor("tom")
BIG = some_bytes(3 << 20)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with serving(tmp_path_factory.mktemp("hub") / "house") as opened:
        yield opened


class Runs:
    """The client in a process of its own."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder, self.count = hub, folder, 0
        (folder / "big").write_bytes(BIG)

    def run(self, who: str, argv: list[str]) -> subprocess.CompletedProcess[str]:
        self.count += 1
        home = self.folder / f"home-{self.count}"
        env = {
            "PATH": os.environ["PATH"], "HOME": str(home), "HF_HOME": str(home), "HF_ENDPOINT": self.hub.url, "HF_TOKEN": self.hub.tokens[who],
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_COLOR": "1",
        }  # fmt: skip
        return subprocess.run(argv, cwd=self.folder, env=env, capture_output=True, text=True, timeout=90, check=False)

    def hf(self, who: str, *words: str) -> str:
        done = self.run(who, [str(Path(sys.executable).parent / "hf"), "buckets", *words])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(self, who: str, source: str) -> object:
        done = self.run(
            who,
            [
                sys.executable,
                "-c",
                "import json\nfrom pathlib import Path\nfrom huggingface_hub import HfApi\napi = HfApi()\nbig = Path('big').read_bytes()\n"
                + source,
            ],
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Runs:
    return Runs(hub, tmp_path)


def test_the_hf_command_creates_copies_syncs_lists_and_removes(client: Runs) -> None:
    folder = client.folder / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "big.bin").write_bytes(BIG)
    (folder / "sub" / "note.txt").write_text("tide\n")
    (folder / "empty").write_bytes(b"")
    client.hf("mei", "create", "lantern-works/gauges", "--private")
    client.hf("mei", "sync", str(folder), "hf://buckets/lantern-works/gauges/raw")
    told = client.hf("mei", "list", "lantern-works/gauges/raw", "-R")
    assert all(name in told for name in ("raw/big.bin", "raw/sub/note.txt", "raw/empty"))
    client.hf("mei", "sync", "hf://buckets/lantern-works/gauges/raw", "back")
    back = client.folder / "back"
    assert {str(p.relative_to(back)): p.read_bytes() for p in back.rglob("*") if p.is_file()} == {
        "big.bin": BIG,
        "sub/note.txt": b"tide\n",
        "empty": b"",
    }
    client.hf("mei", "cp", "hf://buckets/lantern-works/gauges/raw/sub/note.txt", "one.txt")
    assert (client.folder / "one.txt").read_text() == "tide\n"
    client.hf("mei", "rm", "lantern-works/gauges/raw/sub/note.txt", "-y")
    assert "note.txt" not in client.hf("mei", "list", "lantern-works/gauges", "-R")
    client.hf("mei", "delete", "lantern-works/gauges", "-y")


def test_what_the_api_of_the_client_shows_of_a_bucket(client: Runs) -> None:
    found = client.python("mei", """
b = "lantern-works/api-bucket"
url = api.create_bucket(b, private=True)
api.create_bucket(b, exist_ok=True)
api.batch_bucket_files(b, add=[(big[:1 << 20], "a/big.bin"), (b"one", "a/one.txt"), (b"two", "two.txt")])
info = api.bucket_info(b)
top = sorted((e.type, e.path) for e in api.list_bucket_tree(b, recursive=False))
deep = sorted(e.path for e in api.list_bucket_tree(b, recursive=True))
below = sorted(e.path for e in api.list_bucket_tree(b, prefix="a"))
some = [e.path for e in api.get_bucket_paths_info(b, ["two.txt", "no.txt"])]
meta = api.get_bucket_file_metadata(b, "a/big.bin")
api.batch_bucket_files(b, copy=[("bucket", b, meta.xet_file_data.file_hash, "copy.bin")], delete=["two.txt"])
api.update_bucket_settings(b, private=False)
api.move_bucket(b, "lantern-works/api-moved")
old = api.bucket_info(b)
api.download_bucket_files("lantern-works/api-moved", [("copy.bin", "copy.bin")])
names = [e.id for e in api.list_buckets("lantern-works", search="moved")]
print(json.dumps(dict(url=url.bucket_id, private=info.private, size=info.size, files=info.total_files, top=top, deep=deep, below=below, some=some,
  msize=meta.size, old=[old.id, old.private], names=names)))
""")  # fmt: skip
    assert found == {
        "url": "lantern-works/api-bucket", "private": True, "size": (1 << 20) + 6, "files": 3, "top": [["directory", "a"], ["file", "two.txt"]],
        "deep": ["a/big.bin", "a/one.txt", "two.txt"], "below": ["a/big.bin", "a/one.txt"], "some": ["two.txt"], "msize": 1 << 20,
        "old": ["lantern-works/api-moved", False], "names": ["lantern-works/api-moved"],
    }  # fmt: skip
    assert (client.folder / "copy.bin").read_bytes() == BIG[: 1 << 20]


def test_the_file_system_of_the_client_reads_and_writes_a_bucket(client: Runs) -> None:
    found = client.python(
        "mei",
        """
from huggingface_hub import HfFileSystem
api.create_bucket("lantern-works/fs", private=True)
fs = HfFileSystem()
with fs.open("buckets/lantern-works/fs/a/b.txt", "w") as f:
    f.write("tide")
with fs.open("buckets/lantern-works/fs/big.bin", "wb") as f:
    f.write(big[:100000])
top = sorted((e["type"], e["name"]) for e in fs.ls("buckets/lantern-works/fs"))
with fs.open("buckets/lantern-works/fs/big.bin", "rb") as f:
    f.seek(500)
    part = f.read(100) == big[500:600]
text = fs.read_text("buckets/lantern-works/fs/a/b.txt")
fs.rm("buckets/lantern-works/fs/a/b.txt")
print(json.dumps([top, part, text, sorted(fs.find("buckets/lantern-works/fs"))]))
""",
    )
    place = "buckets/lantern-works/fs"
    assert found == [[["directory", f"{place}/a"], ["file", f"{place}/big.bin"]], True, "tide", [f"{place}/big.bin"]]


def test_a_missing_a_private_and_a_foreign_bucket_look_the_same(hub: Hub, client: Runs) -> None:
    buckets.create(hub.house, MEI, "lantern-works/hidden", True)
    headers = {"authorization": f"Bearer {hub.tokens['tom']}"}
    answers = []
    for name in ("lantern-works/hidden", "lantern-works/no-such"):
        for method, path in (
            ("GET", ""),
            ("GET", "/tree"),
            ("GET", "/xet-read-token"),
            ("POST", "/batch"),
            ("DELETE", ""),
            ("GET", "/xet-write-token"),
        ):
            answer = httpx.request(method, f"{hub.url}/api/buckets/{name}{path}", headers=headers)
            answers.append((name, method, path, answer.status_code, answer.headers.get("x-error-code"), answer.text.replace(name, "…")))
    half = len(answers) // 2
    assert [line[1:] for line in answers[:half]] == [line[1:] for line in answers[half:]]
    assert all(line[3:5] == (404, "RepoNotFound") for line in answers)
    told = client.python(
        "tom",
        """
from huggingface_hub.errors import BucketNotFoundError
try:
    api.bucket_info("lantern-works/hidden")
except BucketNotFoundError:
    print(json.dumps("not found"))
""",
    )
    assert told == "not found"


def test_a_hash_that_one_neither_sent_nor_may_read_opens_nothing(hub: Hub, client: Runs) -> None:
    found = client.python(
        "mei",
        """
api.create_bucket("lantern-works/secret", private=True)
api.batch_bucket_files("lantern-works/secret", add=[(b"the secret of the tide" * 100, "secret.txt")])
print(json.dumps(api.get_bucket_file_metadata("lantern-works/secret", "secret.txt").xet_file_data.file_hash))
""",
    )
    told = client.python(
        "tom",
        f"""
from huggingface_hub.errors import BucketBatchError
api.create_bucket("harbour-lab/thief", private=True)
failures = []
for copy in (("bucket", "lantern-works/secret", "{found}", "x"), ("model", "harbour-lab/none", "{found}", "x")):
    try:
        api.batch_bucket_files("harbour-lab/thief", copy=[copy], add=[])
    except BucketBatchError as e:
        failures += [f["path"] for f in e.failures]
print(json.dumps(failures))
""",
    )
    assert told == ["x", "x"]
    outcome = buckets.batch(hub.house, TOM, "harbour-lab/thief", [Operation("add", "x", str(found)), Operation("add", "y", "f" * 64)])
    (first, second) = outcome.failed
    assert first[1].replace(str(found), "…") == second[1].replace("f" * 64, "…"), "what another has and what nobody has look the same"


def test_files_of_a_repository_are_copied_without_being_sent(hub: Hub, client: Runs) -> None:
    told = client.python(
        "mei",
        """
api.create_repo("lantern-works/weights", repo_type="dataset", private=True)
api.upload_file(path_or_fileobj=big[:2 << 20], path_in_repo="w/tide.bin", repo_id="lantern-works/weights", repo_type="dataset")
api.create_bucket("lantern-works/copies")
api.copy_files("hf://datasets/lantern-works/weights/w/", "hf://buckets/lantern-works/copies/from/")
print(json.dumps([(e.path, e.size) for e in api.list_bucket_tree("lantern-works/copies", recursive=True)]))
""",
    )
    assert told == [["from/tide.bin", 2 << 20]]


def test_some_of_a_batch_may_fail_and_all_of_it_is_422(hub: Hub) -> None:
    buckets.create(hub.house, MEI, "lantern-works/batches", True)
    headers = {"authorization": f"Bearer {hub.tokens['mei']}"}
    zero = "0" * 64
    lines = [{"type": "addFile", "path": "empty.txt", "xetHash": zero, "mtime": 1}, {"type": "addFile", "path": "../evil", "xetHash": zero, "mtime": 1},
             {"type": "addFile", "path": "empty.txt/below", "xetHash": zero}, {"type": "deleteFile", "path": "never-there"}]  # fmt: skip
    body = "\n".join(json.dumps(line) for line in lines)
    answer = httpx.post(f"{hub.url}/api/buckets/lantern-works/batches/batch", content=body, headers=headers)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["success"], told["processed"], told["succeeded"]) == (False, 4, 2)
    assert [failure["path"] for failure in told["failed"]] == ["../evil", "empty.txt/below"]
    answer = httpx.post(f"{hub.url}/api/buckets/lantern-works/batches/batch", content=json.dumps(lines[1]), headers=headers)
    assert answer.status_code == 422
    for bad in (
        b"{",
        b'{"type":"format","path":"x"}',
        b'{"type":"addFile","path":7}',
        b'{"type":"addFile","path":"x","xetHash":"0","mtime":"now"}',
    ):
        assert httpx.post(f"{hub.url}/api/buckets/lantern-works/batches/batch", content=bad, headers=headers).status_code == 400


def test_a_bucket_counts_towards_the_quota_before_anything_is_sent(hub: Hub) -> None:
    buckets.create(hub.house, TOM, "harbour-lab/full", True)
    hub.house.db.write(lambda tx: tx.run("INSERT INTO hub_namespaces (organisation, quota_bytes) VALUES ('harbour-lab', 0)"))
    try:
        answer = httpx.get(
            f"{hub.url}/api/buckets/harbour-lab/full/xet-write-token", headers={"authorization": f"Bearer {hub.tokens['tom']}"}
        )
        assert answer.status_code == 403
    finally:
        hub.house.db.write(lambda tx: tx.run("DELETE FROM hub_namespaces"))


def test_a_file_comes_by_plain_http_with_ranges(hub: Hub, client: Runs) -> None:
    client.python(
        "mei",
        """
api.create_bucket("lantern-works/plain", private=True)
api.batch_bucket_files("lantern-works/plain", add=[(big[:1 << 20], "deep/a b.bin")])
print(json.dumps(1))
""",
    )
    headers = {"authorization": f"Bearer {hub.tokens['mei']}"}
    url = f"{hub.url}/buckets/lantern-works/plain/resolve/deep%2Fa%20b.bin"
    assert httpx.get(url, headers=headers).content == BIG[: 1 << 20]
    part = httpx.get(url, headers={**headers, "range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, BIG[100:200])
    assert httpx.get(url, headers={**headers, "range": f"bytes={1 << 21}-"}).status_code == 416
    assert httpx.get(url.replace("a%20b", "nope"), headers=headers).headers["x-error-code"] == "EntryNotFound"
    assert httpx.get(url).status_code == 401


# --- listing --------------------------------------------------------------------------------------------------------------


def test_files_are_kept_and_listed_alike_on_every_database(database_url: str, tmp_path: Path) -> None:
    house = hub_house(tmp_path / "house", database_url)
    try:
        buckets.create(house, MEI, "lantern-works/b", None)
        paths = ["a/x", "a-b", "a.b", "B", "a/y/z", "ä"]
        assert buckets.batch(house, MEI, "lantern-works/b", [Operation("add", path, "0" * 64) for path in paths]).failed == ()
        found, mark = buckets.tree(house, MEI, "lantern-works/b", "", recursive=False, after="", limit=3)
        assert [line.path for line in found] == ["B", "a-b", "a.b"]
        found, mark = buckets.tree(house, MEI, "lantern-works/b", "", recursive=False, after=mark, limit=3)
        assert ([line.path for line in found], mark) == (["a", "ä"], "")
        buckets.move(house, MEI, "lantern-works/b", "lantern-works/c")
        assert buckets.show(house, MEI, "lantern-works/b").name == "lantern-works/c"
        assert [each.files for each in buckets.listed(house, MEI, "lantern-works", "", "", 9)] == [6]
        buckets.delete(house, MEI, "lantern-works/c")
    finally:
        house.close()


@pytest.fixture(scope="module")
def plain_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = hub_house(tmp_path_factory.mktemp("plain") / "house")
    yield house
    house.close()


_NAMES = st.text(alphabet="ab-.0é", min_size=1, max_size=3).filter(lambda name: name.strip(".") == name and name not in (".", ".."))
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(wanted={"0/0", "00"}, limit=1)
@given(wanted=st.sets(_PATHS, max_size=14), limit=st.integers(1, 4))
def test_pages_of_a_listing_together_are_the_folder(plain_house: House, wanted: set[str], limit: int) -> None:
    paths = {path for path in wanted if not any(other.startswith(path + "/") for other in wanted)}
    name = f"lantern-works/b{plain_house.ids.new('x')[2:].lower()}"
    bucket = buckets.create(plain_house, MEI, name, True)

    def fill(tx: object) -> None:
        for path in paths:
            store.put(tx, bucket, BucketFile(path, "0" * 64, "sha256:" + "0" * 64, 1, "", "", "2026-01-01T00:00:00.000000Z"))  # type: ignore[arg-type]

    plain_house.db.write(fill)

    def listing(prefix: str, *, recursive: bool) -> list[tuple[str, bool]]:
        found, mark = buckets.tree(plain_house, MEI, name, prefix, recursive=recursive, after="", limit=limit)
        while mark:
            more, mark = buckets.tree(plain_house, MEI, name, prefix, recursive=recursive, after=mark, limit=limit)
            found += more
        return [(line.path, isinstance(line, BucketFolder)) for line in found]

    for prefix in ("", "a", "a/b"):
        below = {path for path in paths if not prefix or path == prefix or path.startswith(prefix + "/")}
        assert sorted(listing(prefix, recursive=True)) == sorted((path, False) for path in below)
        top = set()
        for path in below:
            rest = path[len(prefix) :].lstrip("/") if prefix else path
            inner, slash, _ = rest.partition("/")
            top.add((path, False) if not slash else (f"{prefix}/{inner}".lstrip("/"), True))
        assert sorted(listing(prefix, recursive=False)) == sorted(top)
