"""Our ids and patterns against the git program's."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub.git import attributes, ignore, trees
from lilong.floors.hub.git.objects import EXECUTABLE, Pointer, Signature, blob_id, commit_bytes, object_id, parse_pointer
from lilong.floors.hub.git.trees import Entry, Folder

WHO = Signature("Mei <of> Lantern", "mei@users.invalid", 1_790_000_000)
ENVIRONMENT = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Mei of Lantern", "GIT_AUTHOR_EMAIL": WHO.email, "GIT_AUTHOR_DATE": f"{WHO.seconds} +0000",
    "GIT_COMMITTER_NAME": "Mei of Lantern", "GIT_COMMITTER_EMAIL": WHO.email, "GIT_COMMITTER_DATE": f"{WHO.seconds} +0000",
}  # fmt: skip
FILES = {
    "README.md": b"# Card\n",
    "a.b": b"sorts before the folder a",
    "a/x.txt": b"x",
    "a/b/deep.txt": b"deep",
    "a-b/y.txt": b"sorts between a.b and a/",
    "a0": b"sorts behind a/",
    "run.sh": b"#!/bin/sh\n",
    "空/文.txt": "文".encode(),
    "empty": b"",
}


def git(folder: Path, *argv: str, stdin: bytes | None = None, check: bool = True) -> bytes:
    return subprocess.run(["git", *argv], cwd=folder, env=ENVIRONMENT, input=stdin, capture_output=True, check=check).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "core.quotePath", "false")
    return tmp_path


def entry(content: bytes, mode: str = "100644") -> Entry:
    return Entry(blob_id(io.BytesIO(content), len(content)), mode, "sha256:" + "0" * 64, len(content))


def build(
    changes: dict[str, Entry | None], base: str = trees.EMPTY, known: dict[str, Folder] | None = None
) -> tuple[str, dict[str, Folder]]:
    known = known or {}
    root, made = trees.change(known.__getitem__, base, changes)
    return root, {**known, **made}


def test_commits_have_the_ids_that_git_gives_them(repository: Path) -> None:
    for path, content in FILES.items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_bytes(content)
    (repository / "run.sh").chmod(0o755)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "First\n\nWith a body.")
    root, folders = build({path: entry(content, EXECUTABLE if path == "run.sh" else "100644") for path, content in FILES.items()})
    assert root == git(repository, "rev-parse", "HEAD^{tree}").decode().strip()
    first = object_id("commit", commit_bytes(root, [], WHO, "First\n\nWith a body."))
    assert first == git(repository, "rev-parse", "HEAD").decode().strip()

    (repository / "a/b/deep.txt").unlink()
    (repository / "a/x.txt").write_bytes(b"changed")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Second")
    second, _ = build({"a/b/deep.txt": None, "a/x.txt": entry(b"changed")}, root, folders)
    assert second == git(repository, "rev-parse", "HEAD^{tree}").decode().strip()
    assert object_id("commit", commit_bytes(second, [first], WHO, "Second")) == git(repository, "rev-parse", "HEAD").decode().strip()


def test_the_empty_tree_is_git_s() -> None:
    assert trees.EMPTY == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    root, folders = build({"a/b": entry(b"x")})
    assert build({"a/b": None}, root, folders)[0] == trees.EMPTY


def test_a_pointer_is_the_specification_s_example() -> None:
    pointer = Pointer("4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393", 12345)
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
    assert pointer.text() == text
    assert parse_pointer(text) == pointer
    assert parse_pointer(text + b"\n") is None


def test_a_path_cannot_be_a_file_and_a_folder() -> None:
    root, folders = build({"a": entry(b"x")})
    with pytest.raises(trees.PathClash):
        build({"a/b": entry(b"y")}, root, folders)
    replaced, folders = build({"a": None, "a/b": entry(b"y")}, root, folders)
    assert list(trees.files(folders.__getitem__, replaced)) == ["a/b"]


NAMES = st.sampled_from(["a", "b", "a.b", "a-b", "a0"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(st.lists(st.dictionaries(PATHS, st.one_of(st.none(), st.binary(max_size=2)), max_size=4), max_size=5))
def test_changes_upon_changes_are_the_same_as_the_files_at_once(steps: list[dict[str, bytes | None]]) -> None:
    expected: dict[str, Entry] = {}
    root, folders = trees.EMPTY, dict[str, Folder]()
    for step in steps:
        changes = {path: None if content is None else entry(content) for path, content in step.items()}
        try:
            root, folders = build(changes, root, folders)
        except trees.PathClash:
            continue
        for path, changed in changes.items():
            if changed is None:
                expected = {known: kept for known, kept in expected.items() if known != path and not known.startswith(path + "/")}
        expected |= {path: changed for path, changed in changes.items() if changed is not None}
    assert trees.files(folders.__getitem__, root) == expected
    assert build(dict(expected))[0] == root


@given(st.dictionaries(PATHS, st.binary(max_size=1), min_size=1, max_size=8), st.integers(1, 4))
def test_pages_of_a_walk_make_the_whole(files: dict[str, bytes], size: int) -> None:
    try:
        root, folders = build({path: entry(content) for path, content in files.items()})
    except trees.PathClash:
        return
    whole = list(trees.walk(folders.__getitem__, root))
    paged: list[tuple[str, Entry]] = []
    after = ""
    while True:
        page = [line for line, _ in zip(trees.walk(folders.__getitem__, root, after=after), range(size), strict=False)]
        if not page:
            break
        paged += page
        after = trees.mark(*page[-1])
    assert paged == whole


def test_lfs_patterns_mean_what_git_means(repository: Path) -> None:
    lines = [
        *attributes.DEFAULT.splitlines(), "docs/** filter=lfs", "*.png -filter", "/top.txt filter=lfs", "data/*.csv filter=lfs",
        "**/deep/*.x filter=lfs", "a/**/z filter=lfs", "[ab]?.q filter=lfs", "[!ab].q filter=lfs", "# c filter=lfs", "x[[:space:]]y filter=lfs",
    ]  # fmt: skip
    text = attributes.with_paths("\n".join(lines), ["odd [1]*.jsonl", "in a/folder?.jsonl", "plain.jsonl"])
    (repository / ".gitattributes").write_text(text)
    paths = [
        "model.safetensors", "sub/model.safetensors", "x.tar.gz", "x.json", "docs", "docs/a", "docs/a/b.md", "in/docs/a", "p.png", "docs/p.png",
        "top.txt", "sub/top.txt", "data/x.csv", "data/more/x.csv", "deep/a.x", "u/v/deep/a.x", "a/z", "a/b/z", "a/b/c/z", "b/z", "ab.q", "cb.q",
        "c.q", "a.q", "x y", "saved_model/a/b", "saved_model/a", "my-tfevents-1", "odd [1]*.jsonl", "odd 1.jsonl", "in a/folder?.jsonl",
        "in a/folderx.jsonl", "plain.jsonl", "sub/plain.jsonl", ".gitattributes",
    ]  # fmt: skip
    said = git(repository, "check-attr", "-z", "--stdin", "filter", stdin=b"".join(path.encode() + b"\0" for path in paths)).split(b"\0")
    expected = {said[at].decode(): said[at + 2] == b"lfs" for at in range(0, len(said) - 1, 3)}
    rules = attributes.parse(text)
    assert {path: rules.large(path) for path in paths} == expected


def test_ignore_patterns_mean_what_git_means(repository: Path) -> None:
    text = "*.log\n!keep.log\n/build/\ncache/\ndoc/*.tmp\n**/old/*\n!**/old/new\n# not\n\\#hash\nspace \n*.[oa]\nname\n"
    (repository / ".gitignore").write_text(text)
    paths = [
        "a.log", "keep.log", "sub/keep.log", "build/x", "sub/build/x", "cache/x", "sub/cache/y/z", "cache", "doc/a.tmp", "doc/in/a.tmp",
        "old/x", "a/old/x", "a/old/new", "#hash", "# not", "space", "x.o", "x.c", "name", "sub/name", "name/inside", "build",
    ]  # fmt: skip
    said = git(
        repository, "check-ignore", "-z", "--no-index", "--stdin", stdin=b"".join(path.encode() + b"\0" for path in paths), check=False
    )
    rules = ignore.parse(text)
    assert {path for path in paths if rules.ignores(path)} == {path.decode() for path in said.split(b"\0") if path}


@settings(max_examples=50)
@given(st.text(alphabet="*?[]a/!\\", max_size=40), st.text(alphabet="a/", min_size=1, max_size=200))
def test_no_pattern_breaks_or_stalls(pattern: str, path: str) -> None:
    attributes.matches(pattern, path)
    assert not attributes.matches("*a" * 30 + "b", "a" * 255)
