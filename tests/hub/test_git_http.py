"""Real git and git-lfs against a real server: clone, fetch, push, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub import store
from lilong.floors.hub.api import git as git_api
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import packets, packs
from lilong.floors.hub.git.objects import Pointer, object_id
from lilong.floors.hub.rules import pushes
from lilong.floors.hub.service import checking, discussions, git_fetch, lfs_parts, transfer
from lilong.floors.hub.store import git as git_store
from lilong.ground.access import Actor
from lilong.ground.house import House

from .conftest import LANTERN, Served, answering, hub_alone, hub_house, tokens_of
from .test_clients import weights

pytestmark = pytest.mark.skipif(shutil.which("git") is None or shutil.which("git-lfs") is None, reason="git and git-lfs are not installed")
MIB = 1 << 20


@dataclass
class Git:
    """git on somebody's computer, signed in with a token."""

    home: Path
    url: str
    token: str | None
    user: str
    said: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if not (self.home / ".gitconfig").exists():
            lines = [
                f"[user]\nname = {self.user}\nemail = {self.user}@lantern.works\n[init]\ndefaultBranch = main\n[advice]\ndetachedHead = false\n"
            ]
            lines.append(
                '[filter "lfs"]\nclean = git-lfs clean -- %f\nsmudge = git-lfs smudge -- %f\nprocess = git-lfs filter-process\nrequired = true\n'
            )
            if self.token:
                address = self.url.replace("://", f"://{self.user}:{self.token}@")
                (self.home / ".git-credentials").write_text(address + "\n")
                lines.append("[credential]\nhelper = store\n")
            (self.home / ".gitconfig").write_text("".join(lines))

    def __call__(self, *argv: str, at: Path | None = None, code: int | None = 0, stdin: bytes | None = None) -> str:
        place = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(["git", *argv], cwd=at or self.home, env=place, input=stdin, capture_output=True, check=False)
        self.said = (done.stdout + done.stderr).decode(errors="replace")
        assert code is None or done.returncode == code, f"git {' '.join(argv)} ended with {done.returncode}: {self.said}"
        return done.stdout.decode(errors="replace").strip()

    def address(self, name: str) -> str:
        return f"{self.url}/{name}"

    def clone(self, name: str, into: str, *options: str) -> Path:
        folder = self.home / into
        self("clone", "-q", *options, self.address(name), str(folder))
        if "--bare" not in options:
            self("lfs", "install", "--local", at=folder)
        return folder

    def commit(self, folder: Path, files: dict[str, bytes], message: str) -> str:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        self("add", "-A", at=folder)
        self("commit", "-qm", message, at=folder)
        return self("rev-parse", "HEAD", at=folder)


@pytest.fixture
def git(served: Served, tmp_path: Path) -> Callable[[str | None], Git]:
    return lambda user: Git(tmp_path / f"home-{user}", served.url, served.tokens[user] if user else None, user or "nobody")


@pytest.fixture
def api(served: Served) -> Callable[[str], HfApi]:
    return lambda user: HfApi(endpoint=served.url, token=served.tokens[user])


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"{LANTERN}/git-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


def tree_of(folder: Path) -> dict[str, bytes]:
    inside = (path for path in folder.rglob("*") if path.is_file() and not {".git", ".cache"} & set(path.relative_to(folder).parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in inside}


def refs_of(git: Git, name: str) -> dict[str, str]:
    lines = git("ls-remote", git.address(name)).splitlines()
    return {ref: identity for identity, ref in (line.split("\t") for line in lines)}


# --- what comes out -----------------------------------------------------------------------------------------------------


def test_a_clone_is_the_snapshot_bit_for_bit(api: Callable[[str], HfApi], git: Callable[..., Git], name: str, tmp_path: Path) -> None:
    mei, ada = api("mei"), git("ada")
    mei.create_repo(name, private=True)
    (tmp_path / "in").mkdir()
    for path, content in {
        "README.md": b"# Tide\n", "model.safetensors": weights(2 * MIB), "deep/er/notes.txt": b"hello\n", "empty.txt": b"",
        "mit Leerzeichen und 空.txt": b"x", "long.jsonl": b"{}\n" * 400_000,
    }.items():  # fmt: skip
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(content)
    commit = mei.upload_folder(repo_id=name, folder_path=tmp_path / "in")
    folder = ada.clone(name, "clone")
    assert ada("rev-parse", "HEAD", at=folder) == commit.oid
    assert tree_of(folder) == tree_of(Path(api("ada").snapshot_download(name, local_dir=tmp_path / "snapshot")))
    assert ada("status", "--porcelain", at=folder) == ""
    ada("fsck", "--strict", "--full", at=folder)
    ada("lfs", "fsck", at=folder)


def test_every_way_to_fetch_works(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    mei, ada = api("mei"), git("ada")
    mei.create_repo(name)
    for number in range(4):
        mei.upload_file(path_or_fileobj=f"{number}\n".encode(), path_in_repo=f"a/{number}.txt", repo_id=name)
    head = mei.model_info(name).sha
    for version in ("0", "1", "2"):
        folder = ada.clone(name, f"v{version}", "-c", f"protocol.version={version}")
        assert ada("rev-parse", "HEAD", at=folder) == head
        assert ada("rev-list", "--count", "HEAD", at=folder) == "5"
    shallow = ada.clone(name, "shallow", "--depth=2")
    assert ada("rev-list", "--count", "HEAD", at=shallow) == "2"
    ada("fetch", "-q", "--unshallow", at=shallow)
    assert ada("rev-list", "--count", "HEAD", at=shallow) == "5"
    partial = ada.clone(name + ".git", "partial", "--filter=blob:none", "--no-checkout")
    assert "?" in ada("rev-list", "--objects", "--missing=print", "HEAD", at=partial)
    ada("checkout", "-q", "main", at=partial)
    assert len(tree_of(partial)) == 5
    mei.upload_file(path_or_fileobj=b"5\n", path_in_repo="a/5.txt", repo_id=name)
    ada("pull", "-q", at=shallow)
    assert (shallow / "a/5.txt").read_bytes() == b"5\n"


def test_a_clone_shows_the_refs_of_the_moment(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    mei, jun = api("mei"), git("jun")
    mei.create_repo(name, repo_type="dataset")
    mei.create_tag(name, tag="v1", repo_type="dataset")
    mei.create_branch(name, branch="trial", repo_type="dataset")
    head = mei.dataset_info(name).sha
    whole = "datasets/" + name
    assert refs_of(jun, whole) == {"HEAD": head, "refs/heads/main": head, "refs/heads/trial": head, "refs/tags/v1": head}
    mei.delete_tag(name, tag="v1", repo_type="dataset")
    mei.delete_branch(name, branch="trial", repo_type="dataset")
    assert refs_of(jun, whole) == {"HEAD": head, "refs/heads/main": head}


def test_the_folder_that_git_reads_can_be_lost_at_any_time(
    api: Callable[[str], HfApi], git: Callable[..., Git], name: str, served: Served
) -> None:
    mei, jun = api("mei"), git("jun")
    mei.create_repo(name)
    mei.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=name)
    jun.clone(name, "first")
    held = git_fetch.opened(served.house, Actor("mei"), Kind.MODEL, name)
    folder = git_fetch.root(served.house) / f"{held.id}.git"
    (folder / "objects/pack/tmp_torn").write_bytes(b"PACK")  # a crash while a pack was written
    (folder / "packed-refs").unlink()
    mei.upload_file(path_or_fileobj=b"y", path_in_repo="y.txt", repo_id=name)
    jun("fsck", "--strict", at=jun.clone(name, "second"))
    assert not (folder / "objects/pack/tmp_torn").exists()
    (folder / "HEAD").unlink()  # a crash while the folder was laid out
    jun("fsck", "--strict", at=jun.clone(name, "third"))
    shutil.rmtree(folder)
    with ThreadPoolExecutor(4) as pool:  # all of them find nothing, and one makes it
        folders = list(pool.map(lambda n: jun.clone(name, f"at-once-{n}"), range(4)))
    assert {tuple(sorted(tree_of(folder))) for folder in folders} == {(".gitattributes", "x.txt", "y.txt")}


def test_the_folder_goes_with_the_repository(api: Callable[[str], HfApi], git: Callable[..., Git], name: str, served: Served) -> None:
    mei, jun = api("mei"), git("jun")
    mei.create_repo(name)
    jun.clone(name, "clone")
    held = git_fetch.opened(served.house, Actor("mei"), Kind.MODEL, name)
    folder = git_fetch.root(served.house) / f"{held.id}.git"
    assert folder.is_dir()
    git_fetch.tidy(served.house)
    assert folder.is_dir()
    mei.delete_repo(name)
    git_fetch.tidy(served.house)
    assert not folder.exists()


# --- what goes in -------------------------------------------------------------------------------------------------------


def test_a_history_with_merges_tags_renames_and_executables_arrives_as_it_is(
    api: Callable[[str], HfApi], git: Callable[..., Git], name: str
) -> None:
    jun = git("jun")
    api("jun").create_repo(name)
    folder = jun.clone(name, "work")
    jun.commit(folder, {"src/a.py": b"print(1)\n", "src/b.py": b"print(2)\n", "notes.md": b"# Notes\n"}, "First")
    jun("checkout", "-qb", "side", at=folder)
    jun.commit(folder, {"src/c.py": b"print(3)\n"}, "On the side\n\nWith a body: ä")
    jun("checkout", "-q", "main", at=folder)
    (folder / "src/a.py").chmod(0o755)
    jun("mv", "src/b.py", "lib.py", at=folder)
    jun.commit(folder, {}, "Rename, and make one executable")
    jun("merge", "-q", "--no-ff", "-m", "Merge", "side", at=folder)
    jun("tag", "light", at=folder)
    jun("tag", "-a", "v1", "-m", "The first one", "HEAD~1", at=folder)
    jun("push", "-q", "--atomic", "origin", "main", "side", "light", "v1", at=folder)
    other = jun.clone(name, "other")
    jun("fsck", "--strict", at=other)
    assert jun("for-each-ref", "refs/tags", at=other) == jun("for-each-ref", "refs/tags", at=folder)
    assert jun("log", "--format=raw", "main", at=other) == jun("log", "--format=raw", "main", at=folder)
    assert (other / "src/a.py").stat().st_mode & 0o111
    seen = api("ada")
    refs = seen.list_repo_refs(name)
    assert {ref.name: ref.target_commit for ref in refs.tags} == {
        "light": jun("rev-parse", "main", at=folder),
        "v1": jun("rev-parse", "main~1", at=folder),
    }
    assert [commit.title for commit in seen.list_repo_commits(name)][:3] == ["Merge", "Rename, and make one executable", "First"]
    last = {entry.path: entry.last_commit.title for entry in seen.list_repo_tree(name, expand=True, recursive=True) if entry.last_commit}
    assert (last["lib.py"], last["src/c.py"], last["notes.md"]) == ("Rename, and make one executable", "Merge", "First")
    assert Path(seen.hf_hub_download(name, "src/c.py", local_dir=jun.home / "hf")).read_bytes() == b"print(3)\n"
    jun("push", "-q", "origin", ":side", ":refs/tags/v1", at=folder)
    assert set(refs_of(jun, name)) == {"HEAD", "refs/heads/main", "refs/tags/light"}


def test_a_tag_set_anew_by_other_means_has_no_tag_object_any_more(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    mei, jun = api("mei"), git("jun")
    mei.create_repo(name)
    folder = jun.clone(name, "work")
    jun("tag", "-a", "v1", "-m", "One", at=folder)
    jun("push", "-q", "origin", "v1", at=folder)
    assert "refs/tags/v1^{}" in refs_of(jun, name)
    mei.delete_tag(name, tag="v1")
    mei.create_tag(name, tag="v1")
    assert refs_of(jun, name)["refs/tags/v1"] == mei.model_info(name).sha


def test_large_files_go_and_come_by_git_lfs(api: Callable[[str], HfApi], git: Callable[..., Git], name: str, tmp_path: Path) -> None:
    jun, ada = git("jun"), git("ada")
    api("jun").create_repo(name, private=True)
    folder = jun.clone(name, "work")
    content = weights(3 * MIB)
    jun.commit(folder, {"model.safetensors": content, "config.json": b"{}"}, "Weights")
    jun("push", "-q", "origin", "main", at=folder)
    assert "locks" not in jun.said.lower()
    sibling = next(s for s in api("ada").model_info(name, files_metadata=True).siblings or [] if s.rfilename == "model.safetensors")
    assert sibling.lfs is not None
    assert sibling.lfs.sha256 == hashlib.sha256(content).hexdigest()
    assert (ada.clone(name, "clone") / "model.safetensors").read_bytes() == content
    jun("mv", "model.safetensors", "moved.safetensors", at=folder)
    jun.commit(folder, {}, "Move")
    jun("push", "-q", "origin", "main", at=folder)
    assert Path(api("ada").hf_hub_download(name, "moved.safetensors", local_dir=tmp_path / "hf")).read_bytes() == content


def test_pushes_that_race_all_arrive(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    api("jun").create_repo(name)

    def push(number: int) -> str:
        jun = git("jun")
        folder = jun.clone(name, f"work-{number}")
        made = jun.commit(folder, {f"from-{number}.txt": b"%d" % number}, f"Number {number}")
        jun("push", "-q", "origin", f"main:own-{number}", at=folder)
        for _ in range(30):
            jun("push", "-q", "origin", "main", at=folder, code=None)
            if "rejected" not in jun.said and "failed" not in jun.said:
                return made
            jun("pull", "-q", "--rebase", "origin", "main", at=folder)
        raise AssertionError(jun.said)

    git("jun")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(push, range(8)))
    refs = refs_of(git("jun"), name)
    assert [refs[f"refs/heads/own-{number}"] for number in range(8)] == made
    final = git("jun").clone(name, "final")
    assert {path for path in tree_of(final) if path.startswith("from-")} == {f"from-{number}.txt" for number in range(8)}


# --- what is refused ----------------------------------------------------------------------------------------------------


def pushed(git: Git, folder: Path, *what: str) -> str:
    """What git says of a push that is refused."""
    git("push", "origin", *(what or ("main",)), at=folder, code=1)
    return git.said


def with_tree(git: Git, folder: Path, entries: str) -> None:
    """Commit entries that git's own commands would not make, on top of main."""
    tree = git("mktree", "--missing", at=folder, stdin=(git("ls-tree", "HEAD", at=folder) + "\n" + entries).encode())
    git("update-ref", "refs/heads/main", git("commit-tree", tree, "-p", "HEAD", "-m", "odd", at=folder), at=folder)


def test_what_the_hub_does_not_take_is_refused_by_name_and_changes_nothing(
    api: Callable[[str], HfApi], git: Callable[..., Git], name: str
) -> None:
    jun = git("jun")
    api("jun").create_repo(name)
    before = refs_of(jun, name)
    folder = jun.clone(name, "work")
    start = jun("rev-parse", "HEAD", at=folder)
    blob = jun("hash-object", "-w", "--stdin", at=folder, stdin=b"text\n")
    pickle = jun("hash-object", "-w", "--stdin", at=folder, stdin=b"\x80\x04\x95")
    large = jun("hash-object", "-w", "--stdin", at=folder, stdin=b"a" * pushes.RAW_LIMIT)
    odd = {
        f"120000 blob {blob}\tlink": "link: symbolic links are not taken",
        f"160000 commit {start}\tmodule": "module: submodules are not taken",
        f"100644 blob {blob}\tREADME\n100644 blob {blob}\treadme": "readme: the folder has 'README' as well",
        f'100644 blob {blob}\t"new\\nline"': "is not a path inside a repository",
        f'100644 blob {blob}\t"\\377"': "its name is not UTF-8",
        f"100644 blob {pickle}\tweights.safetensors": "weights.safetensors",
        f"100644 blob {large}\tlarge.csv": 'git lfs track "*.csv"',
    }
    for entries, problem in odd.items():
        jun("update-ref", "refs/heads/main", start, at=folder)
        with_tree(jun, folder, entries)
        assert problem in pushed(jun, folder), entries
    for entries in (f"100644 blob {blob}\t.GIT", f"100644 blob {blob}\t..", f"100644 blob {'1' * 40}\tmissing"):
        jun("update-ref", "refs/heads/main", start, at=folder)
        with_tree(jun, folder, entries)
        jun("push", "origin", "main", at=folder, code=None)
        assert refs_of(jun, name) == before, entries
    jun("update-ref", "refs/heads/main", start, at=folder)
    for ref in ("refs/heads/a..b", "refs/notes/x", "refs/heads/-x", "refs/pr/7", "refs/heads/" + "x" * 300, "refs/heads/日本"):
        jun("push", "origin", f"main:{ref}", at=folder, code=None)
    jun("tag", "tree", "HEAD^{tree}", at=folder)
    assert "leads" not in pushed(jun, folder, "tree")
    assert "Cannot delete refs/heads/main" in pushed(jun, folder, ":main")
    assert refs_of(jun, name) == before


def test_of_an_atomic_push_all_is_refused_or_nothing(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    jun = git("jun")
    api("jun").create_repo(name)
    folder = jun.clone(name, "work")
    jun.commit(folder, {"a.txt": b"a"}, "A")
    before = refs_of(jun, name)
    pushed(jun, folder, "--atomic", "main", "main:refs/notes/x")
    assert refs_of(jun, name) == before
    pushed(jun, folder, "main", "main:refs/notes/x")
    assert refs_of(jun, name)["refs/heads/main"] == jun("rev-parse", "main", at=folder)


def test_main_is_rewritten_only_by_who_manages_the_repository(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    jun, mei = git("jun"), git("mei")
    api("mei").create_repo(name)
    folder = jun.clone(name, "work")
    jun.commit(folder, {"a.txt": b"a"}, "A")
    jun("push", "-q", "origin", "main", "main:trial", at=folder)
    jun("commit", "-q", "--amend", "-m", "B", at=folder)
    jun("push", "-q", "-f", "origin", "main:trial", at=folder)
    assert "not a fast-forward" in pushed(jun, folder, "-f", "main")
    mei("push", "-q", "-f", mei.address(name), "main", at=folder)
    assert refs_of(jun, name)["refs/heads/main"] == jun("rev-parse", "main", at=folder)


def test_who_may_not_is_told_the_same_as_of_what_is_not_there(
    api: Callable[[str], HfApi], git: Callable[..., Git], name: str, served: Served
) -> None:
    api("mei").create_repo(name, private=True)
    foreign, missing = name, f"{LANTERN}/not-there"

    def answer(repository: str, user: str | None, path: str = "info/refs?service=git-upload-pack") -> tuple[int, str | None, str]:
        request = urllib.request.Request(f"{served.url}/{repository}/{path}")
        if user:
            token = served.tokens.get(user, user)
            request.add_header("Authorization", "Basic " + base64.b64encode(f"x:{token}".encode()).decode())
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, None, ""
        except urllib.error.HTTPError as error:
            return error.code, error.headers["WWW-Authenticate"], error.read().decode().replace(repository, "…")

    asked = 'Basic realm="Lilong", charset="UTF-8"'
    assert answer(foreign, None) == answer(missing, None)
    assert answer(foreign, None)[:2] == (401, asked)
    assert answer(foreign, "tom") == answer(missing, "tom")
    assert answer(foreign, "tom")[0] == 404
    assert answer(foreign, "ll_wrong")[:2] == (401, asked)
    assert answer(foreign, "ada")[0] == 200
    assert answer(foreign, "ada", "info/refs?service=git-receive-pack")[0] == 403
    assert answer(foreign, "ada", "info/refs")[0] == 403
    ada = git("ada")
    folder = ada.clone(name, "work")
    ada.commit(folder, {"a.txt": b"a"}, "A")
    ada("push", "origin", "main", at=folder, code=128)
    assert "403" in ada.said
    git("tom")("clone", git("tom").address(name), "x", code=128)


def test_a_pointer_is_taken_only_from_who_has_the_bytes(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    secret = weights(MIB)
    api("mei").create_repo(name + "-secret", private=True)
    api("mei").upload_file(path_or_fileobj=io.BytesIO(secret), path_in_repo="s.safetensors", repo_id=name + "-secret")
    theirs = f"harbour-lab/{name.split('/')[1]}"
    api("tom").create_repo(theirs)
    tom = git("tom")
    folder = tom.clone(theirs, "work")
    pointer = Pointer(hashlib.sha256(secret).hexdigest(), len(secret)).text()
    (folder / ".git/info/attributes").write_text("*.safetensors -filter\n")
    tom.commit(folder, {"s.safetensors": pointer}, "Steal")
    (folder / ".git/hooks/pre-push").unlink()
    assert "was not uploaded by you" in pushed(tom, folder)
    tom("lfs", "fetch", at=folder, code=2)


def send(served: Served, name: str, user: str, body: bytes) -> bytes:
    request = urllib.request.Request(f"{served.url}/{name}/git-receive-pack", data=body, method="POST")
    request.add_header("Authorization", f"Bearer {served.tokens[user]}")
    try:
        with urllib.request.urlopen(request) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        assert error.code == 400
        return bytes(error.read())


def a_pack(*objects: tuple[int, bytes, int]) -> bytes:
    """(kind, content, announced size) of each object."""
    body = struct.pack(">4sII", b"PACK", 2, len(objects))
    for kind, content, size in objects:
        body += packs._header(kind, size) + content
    return body + hashlib.sha1(body).digest()


def test_what_is_no_pack_is_refused_before_it_is_unpacked(
    api: Callable[[str], HfApi], name: str, served: Served, git: Callable[..., Git]
) -> None:
    api("mei").create_repo(name)
    head = str(api("mei").model_info(name).sha)
    before = refs_of(git("mei"), name)
    command = packets.packet(f"{head} {'1' * 40} refs/heads/main\0report-status".encode()) + packets.FLUSH
    zeros = zlib.compress(bytes(4 * MIB))
    delta = zlib.compress(b"\x01" + bytes([0x80 | 0x7F] * 5 + [0x01]) + b"\x90")  # a few bytes that would become 34 GiB
    bad = {
        "garbage": b"garbage", "nothing": b"", "cut off": a_pack((3, zlib.compress(b"abc"), 3))[:-25],
        "wrong sum": a_pack((3, zlib.compress(b"abc"), 3))[:-1] + b"x", "more objects than there are": struct.pack(">4sII", b"PACK", 2, 9),
        "too many objects": struct.pack(">4sII", b"PACK", 2, 1 << 31), "longer than it says": a_pack((3, zeros, 10)),
        "a bomb": a_pack((3, zeros, 1 << 40)), "a bomb of deltas": a_pack((3, zlib.compress(b"a"), 1), (7, bytes(20) + delta, 8)),
        "an unknown kind": a_pack((5, zlib.compress(b""), 0)), "a missing object": a_pack((3, zlib.compress(b"abc"), 3)),
    }  # fmt: skip
    for what, pack in bad.items():
        answer = send(served, name, "mei", command + pack)
        assert b"ng refs/heads/main" in answer, what
    for what, body in {
        "no packets": b"zzzz",
        "cut off": b"00ff",
        "no command": packets.packet(b"hello") + packets.FLUSH,
        "huge": b"ffff" + b"x" * 70_000,
    }.items():
        assert b"not a push" in send(served, name, "mei", body), what
    assert send(served, name, "mei", packets.FLUSH) == b""
    assert refs_of(git("mei"), name) == before
    assert list(git_fetch.incoming(served.house).iterdir()) == []


def test_a_pull_request_is_pushed_to_by_its_author_and_by_who_may_write(
    api: Callable[[str], HfApi], git: Callable[..., Git], name: str, served: Served
) -> None:
    api("mei").create_repo(name)
    mine = discussions.open_new(served.house, Actor("tom"), Kind.MODEL, name, "A better card", "", pull_request=True)
    other = discussions.open_new(served.house, Actor("mei"), Kind.MODEL, name, "Another one", "", pull_request=True)
    tom = git("tom")
    folder = tom.clone(name, "work")
    tom.commit(folder, {"README.md": b"# Better\n"}, "Better")
    tom("push", "-q", "origin", f"main:refs/pr/{mine.number}", at=folder)
    assert refs_of(tom, name)[f"refs/pr/{mine.number}"] == tom("rev-parse", "main", at=folder)
    for ref in ("main", f"main:refs/pr/{other.number}", "main:own"):
        assert "hub.write" in pushed(tom, folder, ref)
    assert "Cannot delete" in pushed(git("mei"), git("mei").clone(name, "theirs"), f":refs/pr/{mine.number}")


# --- Git LFS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART", MIB)
    monkeypatch.setattr(transfer, "PARTS_FROM", 2 * MIB)


@pytest.mark.usefixtures("small_parts")
def test_large_files_come_in_parts_from_the_real_clients(
    api: Callable[[str], HfApi], git: Callable[..., Git], name: str, tmp_path: Path
) -> None:
    jun = git("jun")
    api("jun").create_repo(name, repo_type="dataset")
    content = os.urandom(11 * MIB + 5)
    api("jun").upload_file(path_or_fileobj=io.BytesIO(content), path_in_repo="a.bin", repo_id=name, repo_type="dataset")
    assert Path(api("ada").hf_hub_download(name, "a.bin", repo_type="dataset", local_dir=tmp_path / "hf")).read_bytes() == content
    folder = jun.clone("datasets/" + name, "work")
    hf = shutil.which("hf", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    jun("config", "lfs.customtransfer.multipart.path", str(hf), at=folder)
    jun("config", "lfs.customtransfer.multipart.args", "lfs-multipart-upload", at=folder)
    more = os.urandom(12 * MIB)
    jun.commit(folder, {"b.bin": more, "c.bin": b"small"}, "More")
    jun("push", "-q", "origin", "main", at=folder)
    assert Path(api("ada").hf_hub_download(name, "b.bin", repo_type="dataset", local_dir=tmp_path / "hf")).read_bytes() == more


def begun(served: Served, name: str, content: bytes, user: str = "mei") -> dict[str, object]:
    """The actions of a batch for one object that is sent in parts."""
    body = {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": [{"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}],
    }
    request = urllib.request.Request(f"{served.url}/{name}.git/info/lfs/objects/batch", json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {served.tokens[user]}")
    with urllib.request.urlopen(request) as response:
        shown = json.load(response)
    assert shown["transfer"] == "multipart"
    actions: dict[str, object] = shown["objects"][0]["actions"]
    return actions


def call(url: str, data: bytes, method: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as response:
            return response.status, response.headers.get("etag", "")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.usefixtures("small_parts")
def test_parts_may_be_sent_again_and_only_the_right_whole_is_kept(api: Callable[[str], HfApi], name: str, served: Served) -> None:
    api("mei").create_repo(name, repo_type="dataset")
    name = "datasets/" + name
    content = os.urandom(2 * MIB + 7)
    upload = begun(served, name, content)["upload"]
    assert isinstance(upload, dict)
    urls = [upload["header"][key] for key in sorted(upload["header"]) if key.isdigit()]
    pieces = [content[at : at + MIB] for at in range(0, len(content), MIB)]
    assert len(urls) == len(pieces) == 3
    assert call(urls[0], pieces[0][:-1], "PUT")[0] == 400
    assert call(urls[0], pieces[0] + b"x", "PUT")[0] == 400
    assert call(urls[0].replace("part=1", "part=2"), pieces[0], "PUT")[0] == 403
    assert call(urls[0], bytes(MIB), "PUT")[0] == 200  # wrong bytes of the right length
    etags = [call(url, piece, "PUT")[1] for url, piece in zip(urls, pieces, strict=True)]
    oid = hashlib.sha256(content).hexdigest()

    def complete(etags: list[str]) -> int:
        parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
        return call(upload["href"], json.dumps({"oid": oid, "parts": parts}).encode(), "POST")[0]

    assert complete(etags[:2]) == complete(["x", *etags[1:]]) == complete(["../../x", *etags[1:]]) == 400
    assert not served.house.blobs.has(f"sha256:{oid}")
    again = begun(served, name, content)["upload"]  # the client was started anew: what has come is still there
    assert isinstance(again, dict)
    assert complete(etags) == complete(etags) == 200
    assert served.house.blobs.read(f"sha256:{oid}") == content
    assert not list((served.house.settings.house / "uploads").iterdir())


@pytest.mark.usefixtures("small_parts")
def test_a_whole_that_is_not_what_was_announced_is_not_kept(api: Callable[[str], HfApi], name: str, served: Served) -> None:
    api("mei").create_repo(name, repo_type="dataset")
    content = os.urandom(2 * MIB + 1)
    upload = begun(served, "datasets/" + name, content)["upload"]
    assert isinstance(upload, dict)
    urls = [upload["header"][key] for key in sorted(upload["header"]) if key.isdigit()]
    etags = [call(url, bytes(size), "PUT")[1] for url, size in zip(urls, (MIB, MIB, 1), strict=True)]
    oid = hashlib.sha256(content).hexdigest()
    parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
    assert call(upload["href"], json.dumps({"oid": oid, "parts": parts}).encode(), "POST")[0] == 400
    assert not served.house.blobs.has(f"sha256:{oid}")
    lfs_parts.tidy(served.house)


def test_git_lfs_is_told_that_there_are_no_locks(api: Callable[[str], HfApi], name: str, served: Served) -> None:
    api("mei").create_repo(name)
    code, body = call(f"{served.url}/{name}.git/info/lfs/locks/verify", b"{}", "POST")
    assert (code, json.loads(body)) == (404, {"message": "File locking is not offered here."})


def test_git_lfs_is_asked_to_sign_in_and_told_why_not(api: Callable[[str], HfApi], name: str, served: Served) -> None:
    api("mei").create_repo(name, private=True)
    body = json.dumps({"operation": "upload", "objects": [{"oid": "1" * 64, "size": 1}]}).encode()
    url = f"{served.url}/{name}.git/info/lfs/objects/batch"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, body)
    assert refused.value.code == 401
    assert refused.value.headers["LFS-Authenticate"] == 'Basic realm="Lilong"'

    def by(user: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{served.tokens[user]}".encode()).decode()}

    assert call(url, body, "POST", **by("jun"))[0] == 200
    assert call(url, body, "POST", **by("tom"))[0] == 404
    # Only programs that know nothing else may sign in by a password.
    assert call(f"{served.url}/api/models/{name}", b"", "GET", **by("mei"))[0] == 401


# --- formats ------------------------------------------------------------------------------------------------------------


@given(contents=st.lists(st.binary(max_size=400), unique=True, max_size=30))
@settings(max_examples=15, deadline=None)
def test_packs_are_what_git_writes_and_reads(contents: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pack")
    ids = [object_id("blob", content) for content in contents]
    with (folder / "a.pack").open("w+b") as file:
        pack = packs.Writer(file)
        for identity, content in zip(ids, contents, strict=True):
            pack.add("blob", identity, content)
            pack.add("blob", identity, content)
        checksum = pack.finish()
    (folder / "own.idx").write_bytes(pack.index(checksum))
    with (folder / "a.pack").open("rb") as file:
        assert packs.measure(file, 400, 400 * 30, 30) == len(contents)
    if contents:
        subprocess.run(["git", "index-pack", "--index-version=2", "-o", "git.idx", "a.pack"], cwd=folder, check=True, capture_output=True)
        assert (folder / "own.idx").read_bytes() == (folder / "git.idx").read_bytes()
    index = packs.Index(folder / "own.idx")
    assert all(identity in index for identity in ids)
    assert object_id("blob", b"another" * 100) not in index
    assert [name.hex() for name in index] == sorted(ids)


@given(
    base=st.lists(st.binary(min_size=1, max_size=300), unique=True, max_size=40), new=st.lists(st.integers(0, 60), min_size=1, max_size=60)
)
@settings(max_examples=15, deadline=None)
def test_a_difference_of_trees_makes_the_new_one(base: list[bytes], new: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("delta")
    lines = [base[number] if number < len(base) else b"other %d" % number for number in new]
    one, two = b"".join(base), b"".join(lines)
    names = object_id("blob", one), object_id("blob", two)
    with (folder / "a.pack").open("w+b") as file:
        pack = packs.Writer(file)
        pack.add("blob", names[0], one)
        assert pack.add_delta(names[1], names[0], packs.tree_delta(base, lines))
        assert not pack.add_delta("1" * 40, "2" * 40, b"")
        pack.finish()
    subprocess.run(["git", "init", "-q", "--bare", "."], cwd=folder, check=True)
    with (folder / "a.pack").open("rb") as file:
        subprocess.run(["git", "index-pack", "--stdin"], cwd=folder, stdin=file, check=True, capture_output=True)
    shown = subprocess.run(["git", "cat-file", "blob", names[1]], cwd=folder, check=True, capture_output=True)
    assert shown.stdout == two


@given(
    commands=st.lists(st.text("abc/-", min_size=1, max_size=20), unique=True, min_size=1, max_size=5),
    pack=st.binary(max_size=50),
    cuts=st.lists(st.integers(1, 9)),
)
@settings(max_examples=40, deadline=None)
def test_a_push_is_read_the_same_however_it_is_cut_up(commands: list[str], pack: bytes, cuts: list[int]) -> None:
    lines = [f"{'0' * 40} {'1' * 40} {ref}".encode() for ref in commands]
    lines[0] += b"\0report-status atomic"
    whole = b"".join(packets.packet(line) for line in lines) + packets.FLUSH + pack

    def pieces() -> Iterator[bytes]:
        at = 0
        for cut in cuts:
            yield whole[at : at + cut]
            at += cut
        yield whole[at:]

    reader = packets.Reader(pieces())
    request = packets.read_request(reader)
    assert [command.ref for command in request.commands] == commands
    assert request.capabilities == {"report-status", "atomic"}
    assert b"".join(reader.rest()) == pack


def test_the_refs_that_git_sees_stand_in_the_order_of_their_bytes(api: Callable[[str], HfApi], name: str, served: Served) -> None:
    api("mei").create_repo(name)
    for branch in ("b", "a-b", "a/b", "B"):
        api("mei").create_branch(name, branch=branch)
    held = git_fetch.opened(served.house, Actor("mei"), Kind.MODEL, name)
    shown = [ref.name for ref in served.house.db.read(lambda tx: git_store.shown_refs(tx, held))]
    assert shown == sorted(shown, key=str.encode)
    folder = git_fetch.ready(served.house, held)
    done = subprocess.run(["git", "for-each-ref", "--format=%(refname)"], cwd=folder, capture_output=True, check=True, text=True)
    assert done.stdout.split() == shown


def test_a_broken_off_part_leaves_nothing(name: str, served: Served, api: Callable[[str], HfApi]) -> None:
    with pytest.raises(HfHubHTTPError):
        api("mei").model_info(name)
    link = transfer.Link("part", "sha256:" + "2" * 64, 3 * MIB, "mei", 1 << 40, part=1, chunk=MIB)

    def pieces() -> Iterator[bytes]:
        yield b"x" * 1000
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        lfs_parts.receive(served.house, link, pieces())
    with pytest.raises(transfer.NotTheBytes):
        lfs_parts.receive(served.house, link, iter([b"x"]))
    assert list(lfs_parts._folder(served.house, link).iterdir()) == []


def test_who_goes_away_in_the_middle_leaves_nothing(api: Callable[[str], HfApi], name: str, served: Served) -> None:
    api("mei").create_repo(name)
    head = str(api("mei").model_info(name).sha)
    command = packets.packet(f"{head} {'1' * 40} refs/heads/main\0report-status".encode()) + packets.FLUSH
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        begun = f"POST /{name}/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.tokens['mei']}\r\nContent-Length: 9000000\r\n\r\n"
        line.sendall(begun.encode() + command + bytes(2 * MIB))
        for _ in range(200):
            if list(git_fetch.incoming(served.house).iterdir()):
                break
            time.sleep(0.02)
    for _ in range(200):
        if not list(git_fetch.incoming(served.house).iterdir()):
            break
        time.sleep(0.02)
    assert list(git_fetch.incoming(served.house).iterdir()) == []


def test_a_long_push_gives_signs_of_life(
    api: Callable[[str], HfApi], git: Callable[..., Git], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_api, "_QUIET", 0.001)
    jun = git("jun")
    api("jun").create_repo(name)
    folder = jun.clone(name, "work")
    made = jun.commit(folder, {f"{number}.txt": b"%d" % number for number in range(300)}, "Many")
    jun("push", "-q", "origin", "main", at=folder)
    assert refs_of(jun, name)["refs/heads/main"] == made


# --- with the rest of the hub -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(house: House) -> Iterator[Served]:
    """A server of its own for a house of its own."""
    with answering(hub_alone(house)) as url:
        yield Served(house, url, tokens_of(house))


def test_either_database_takes_and_gives_a_history(database_url: str, tmp_path: Path) -> None:
    house = hub_house(tmp_path / "house", database_url)
    with serving(house) as served:
        name = f"{LANTERN}/tide"
        HfApi(endpoint=served.url, token=served.tokens["jun"]).create_repo(name, private=True)
        jun = Git(tmp_path / "jun", served.url, served.tokens["jun"], "jun")
        folder = jun.clone(name, "work")
        jun.commit(folder, {"model.safetensors": weights(MIB), "a/b.txt": b"b\n"}, "With a\x01 sign")
        jun("tag", "-am", "One", "v1", at=folder)
        jun("push", "-q", "origin", "main", "v1", "main:other", at=folder)
        jun("push", "-q", "origin", ":other", at=folder)
        other = jun.clone(name, "other")
        assert jun("for-each-ref", at=other) == jun("for-each-ref", at=folder)
        assert tree_of(other) == tree_of(folder)
        assert list(checking.problems(house)) == []
    house.close()


def test_the_old_name_of_a_repository_leads_to_the_new_one(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    jun = git("jun")
    api("jun").create_repo(name)
    folder = jun.clone(name, "work")
    api("jun").move_repo(name, name + "-new")
    jun.commit(folder, {"m.safetensors": weights(10)}, "After the move")
    jun("push", "-q", "origin", "main", at=folder)
    assert refs_of(jun, name + "-new")["refs/heads/main"] == jun("rev-parse", "main", at=folder)


def test_a_gated_repository_is_cloned_by_who_was_let_in(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    api("mei").create_repo(name, private=False)
    api("mei").upload_file(path_or_fileobj=io.BytesIO(weights(MIB)), path_in_repo="m.safetensors", repo_id=name)
    api("mei").update_repo_settings(name, gated="manual")
    ada, nobody = git("ada"), git(None)
    ada("clone", "-q", ada.address(name), "refused", code=128)
    assert "Access to model" in ada.said
    nobody("clone", "-q", nobody.address(name), "refused", code=128)
    api("mei").grant_access(name, "ada")
    assert "m.safetensors" in tree_of(ada.clone(name, "let-in"))


def test_a_public_repository_is_cloned_by_anybody(api: Callable[[str], HfApi], git: Callable[..., Git], name: str) -> None:
    content = weights(MIB)
    api("mei").create_repo(name, private=False)
    api("mei").upload_file(path_or_fileobj=io.BytesIO(content), path_in_repo="m.safetensors", repo_id=name)
    nobody = git(None)
    folder = nobody.clone(name, "clone")
    assert (folder / "m.safetensors").read_bytes() == content
    nobody.commit(folder, {"a.txt": b"a"}, "A")
    nobody("push", "origin", "main", at=folder, code=128)
    assert "could not read Username" in nobody.said


def test_what_does_not_fit_into_the_quota_is_refused_before_it_is_sent(
    api: Callable[[str], HfApi], git: Callable[..., Git], tmp_path: Path
) -> None:
    house = hub_house(tmp_path / "house")
    with serving(house) as served:
        jun = Git(tmp_path / "jun", served.url, served.tokens["jun"], "jun")
        name = f"{LANTERN}/tide"
        HfApi(endpoint=served.url, token=served.tokens["jun"]).create_repo(name)
        folder = jun.clone(name, "work")
        house.db.write(lambda tx: tx.run(
            "INSERT INTO hub_namespaces (organisation, quota_bytes) VALUES (:o, 1000000) "
            "ON CONFLICT (organisation) DO UPDATE SET quota_bytes = excluded.quota_bytes", o=LANTERN,
        ))  # fmt: skip
        before = refs_of(jun, name)
        jun.commit(folder, {"m.safetensors": weights(2 * MIB)}, "Too much")
        jun("push", "origin", "main", at=folder, code=1)
        assert "that it may keep" in jun.said
        jun("reset", "-q", "--hard", "HEAD~1", at=folder)
        jun.commit(folder, {"long.txt": os.urandom(MIB).hex().encode()}, "Too much in plain files")
        jun("push", "origin", "main", at=folder, code=1)
        assert "that it may keep" in jun.said
        assert refs_of(jun, name) == before
    house.close()


def test_files_that_came_by_xet_are_cloned_too(served: Served, git: Callable[..., Git], name: str, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    (tmp_path / "a.bin").write_bytes(content)
    script = "import sys, huggingface_hub as h; a = h.HfApi(sys.argv[1], token=sys.argv[2]); a.create_repo(sys.argv[3], repo_type='dataset')\n" \
        "a.upload_file(path_or_fileobj=sys.argv[4], path_in_repo='a.bin', repo_id=sys.argv[3], repo_type='dataset')"  # fmt: skip
    place = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}
    subprocess.run(
        [sys.executable, "-c", script, served.url, served.tokens["jun"], name, str(tmp_path / "a.bin")],
        env=place,
        check=True,
        capture_output=True,
    )
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    assert served.house.db.read(lambda tx: store.xet_hashes(tx, [digest]))
    assert (git("ada").clone("datasets/" + name, "clone") / "a.bin").read_bytes() == content
