"""Diffs as git applies them, and merges as git makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.objects import EXECUTABLE, object_id
from lilong.floors.hub.git.trees import EMPTY, Entry, Folder
from lilong.floors.hub.rules import diff, merging
from lilong.floors.hub.service import commits, reading
from lilong.floors.hub.service import merging as comparing
from lilong.floors.hub.service.commits import Ask, Put, kept
from lilong.ground.access import Actor
from lilong.ground.house import House

LINES = st.lists(st.sampled_from("abcd"), max_size=12)
TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "a"]), max_size=14).map("".join)
MEI = Actor("mei")


# --- lines --------------------------------------------------------------------------------------------------------------


@given(old=LINES, new=LINES)
def test_matches_are_lines_that_stay_in_order(old: list[str], new: list[str]) -> None:
    i = j = kept_lines = 0
    for a, b, count in diff.matches(old, new):
        assert a >= i and b >= j and count > 0 and old[a : a + count] == new[b : b + count]
        i, j, kept_lines = a + count, b + count, kept_lines + count
    assert kept_lines == longest_common(old, new)


def longest_common(old: list[str], new: list[str]) -> int:
    best = [0] * (len(new) + 1)
    for line in old:
        row = [0]
        for place, other in enumerate(new):
            row.append(best[place] + 1 if line == other else max(best[place + 1], row[-1]))
        best = row
    return best[-1]


@given(old=LINES, new=LINES)
def test_beyond_the_limit_a_difference_is_longer_but_right(old: list[str], new: list[str]) -> None:
    for a, b, count in diff.matches(old, new, limit=1):
        assert old[a : a + count] == new[b : b + count]


@given(base=LINES, ours=LINES)
def test_a_text_that_only_one_side_changed_is_that_side(base: list[str], ours: list[str]) -> None:
    assert merging.lines(base, ours, base) == ours
    assert merging.lines(base, base, ours) == ours
    assert merging.lines(base, ours, ours) == ours


@given(base=LINES, ours=LINES, theirs=LINES)
def test_it_does_not_matter_whose_side_is_whose(base: list[str], ours: list[str], theirs: list[str]) -> None:
    assert merging.lines(base, ours, theirs) == merging.lines(base, theirs, ours)


def git(*words: str, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], cwd=cwd, input=stdin, capture_output=True, check=False)


@settings(max_examples=40, deadline=None)
@given(base=TEXTS, ours=TEXTS, theirs=TEXTS)
def test_where_git_merges_too_the_lines_are_the_same(tmp_path_factory: pytest.TempPathFactory, base: str, ours: str, theirs: str) -> None:
    folder = tmp_path_factory.mktemp("merge")
    for name, text in (("base", base), ("ours", ours), ("theirs", theirs)):
        (folder / name).write_text(text)
    told = git("merge-file", "-p", "--diff-algorithm=minimal", "ours", "base", "theirs", cwd=folder)
    mine = merging.texts(base.encode(), ours.encode(), theirs.encode())
    if mine is not None and told.returncode == 0:
        assert sorted(mine.split()) == sorted(told.stdout.split())  # equal lines may be matched in more than one way


# --- diffs --------------------------------------------------------------------------------------------------------------


def test_git_applies_a_difference_of_two_commits(house: House, tmp_path: Path) -> None:
    before = {
        "plain.txt": "".join(f"{n}\n" for n in range(60)).encode(), "ends open": b"a\nb", "gone.txt": b"bye\n", "empty": b"",
        "deep/er/file.md": "grün\n".encode(), "grün \"quoted\".txt": b"x\ny\n",
    }  # fmt: skip
    after = {
        "plain.txt": "".join(f"{n}{'!' * (n in (3, 7, 40))}\n" for n in range(61)).encode(), "ends open": b"a\nb\n", "new.txt": b"no end",
        "empty": b"full\n", "deep/er/file.md": "grüner\n".encode(), "grün \"quoted\".txt": b"x\nz\n", "deep/other": b"1\n2\n",
    }  # fmt: skip
    commits.create(house, MEI, Kind.DATASET, "lantern-works/paper", private=True)
    puts = [{path: kept(house, content) for path, content in files.items()} for files in (before, after)]
    first = commits.commit(house, MEI, Kind.DATASET, "lantern-works/paper", "main", Ask(puts[0], "First"))
    second = commits.commit(house, MEI, Kind.DATASET, "lantern-works/paper", "main", Ask(puts[1], "Second", removed_files=["gone.txt"]))
    written = diff.text(comparing.compared(house, first, second))
    tree = tmp_path / "tree"
    for path, content in before.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    git("init", "-q", cwd=tree)
    applied = git("apply", "--verbose", "-", cwd=tree, stdin=written.encode())
    assert applied.returncode == 0, applied.stderr.decode() + written
    found = {str(file.relative_to(tree)): file.read_bytes() for file in tree.rglob("*") if file.is_file() and ".git" not in file.parts}
    assert found == after


def test_large_and_binary_files_take_one_line(house: House) -> None:
    commits.create(house, MEI, Kind.DATASET, "lantern-works/big", private=True)
    large = house.blobs.put(b"x" * 100)
    puts = {"a.bin": Put(large.digest, large.size, large=True), "b.dat": kept(house, b"\0\1\2"), "c.txt": kept(house, b"line\n" * 200_000)}
    commit = commits.commit(house, MEI, Kind.DATASET, "lantern-works/big", "main", Ask(puts, "Big ones"))
    parent = house.db.read(
        lambda tx: reading.store.commit(tx, reading.opened(house, tx, MEI, Kind.DATASET, "lantern-works/big"), str(commit.parent))
    )
    found = comparing.compared(house, parent, commit)
    assert [(file.path, file.note) for file in found.files if file.note] == [("a.bin", "large"), ("b.dat", "binary"), ("c.txt", "too long")]
    assert "Binary files /dev/null and b/b.dat differ\n" in diff.text(found)


# --- trees --------------------------------------------------------------------------------------------------------------

PATHS = ["a", "b", "c/d", "c/e", "c/f/g", "h/i"]
FILES = st.dictionaries(st.sampled_from(PATHS), st.sampled_from("123"), max_size=6)


class Forest:
    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}

    def plant(self, files: dict[str, str]) -> str:
        changes: dict[str, Entry | None] = {path: entry(text) for path, text in files.items()}
        root, made = trees.change(self.folders.__getitem__, EMPTY, changes)
        self.folders |= made
        return root

    def files(self, root: str) -> dict[str, Entry]:
        return trees.files(self.folders.__getitem__, root)


def entry(text: str, mode: str = "100644") -> Entry:
    return Entry(object_id("blob", text.encode()), mode, f"sha256:{text}", len(text))


@given(base=FILES, ours=FILES, theirs=FILES)
def test_a_merge_of_trees_takes_each_side_where_it_alone_changed(
    base: dict[str, str], ours: dict[str, str], theirs: dict[str, str]
) -> None:
    forest = Forest()
    roots = [forest.plant(files) for files in (base, ours, theirs)]
    found = merging.merge(forest.folders.__getitem__, *roots)
    merged, made = trees.change(forest.folders.__getitem__, roots[1], found.changes)
    forest.folders |= made
    after = {path: one.digest.removeprefix("sha256:") for path, one in forest.files(merged).items()}
    for path in PATHS:
        b, o, t = base.get(path), ours.get(path), theirs.get(path)
        undecided = b not in (o, t) and o != t
        assert (path in found.both or path in found.conflicts) is undecided
        if not undecided:
            assert after.get(path) == (t if b == o else o)


@given(base=FILES, ours=FILES)
def test_what_is_merged_already_changes_nothing(base: dict[str, str], ours: dict[str, str]) -> None:
    forest = Forest()
    old, new = forest.plant(base), forest.plant(ours)
    for merge in (merging.merge(forest.folders.__getitem__, old, new, old), merging.merge(forest.folders.__getitem__, old, new, new)):
        assert not merge.changes and not merge.both and not merge.conflicts


def test_a_file_against_a_folder_and_a_change_against_a_deletion_are_conflicts() -> None:
    forest = Forest()
    base, ours, theirs = (forest.plant(files) for files in ({"a": "1", "b": "1"}, {"a": "2", "c": "1"}, {"a/x": "1", "b": "2"}))
    found = merging.merge(forest.folders.__getitem__, base, ours, theirs)
    assert found.conflicts == {"a", "b"}


def test_modes_that_differ_are_a_conflict() -> None:
    forest = Forest()
    roots = []
    for text, mode in (("1", "100644"), ("2", EXECUTABLE), ("3", "100644")):
        root, made = trees.change(forest.folders.__getitem__, EMPTY, {"run.sh": entry(text, mode)})
        forest.folders |= made
        roots.append(root)
    assert merging.merge(forest.folders.__getitem__, *roots).conflicts == {"run.sh"}
