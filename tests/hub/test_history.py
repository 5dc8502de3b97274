"""Lines of commits: what came last to a path, and where two branches part, against the slow way."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind, RevisionNotFound
from lilong.floors.hub.git import trees
from lilong.floors.hub.service import commits, reading, refs, upgrade
from lilong.floors.hub.service.commits import Ask
from lilong.floors.hub.store import Commit
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.house import House

from .conftest import LANTERN

MEI = Actor("mei")
PATHS = ["a.txt", "b.txt", "in/a.txt", "in/deep/a.txt", "other/b.txt"]


def change(house: House, name: str, branch: str, path: str, content: bytes) -> Commit:
    return commits.commit(house, MEI, Kind.MODEL, name, branch, Ask({path: commits.kept(house, content)}, f"Write {path}"))


def slow_last(tx: Tx, held: store.Held, start: Commit, path: str) -> str:
    """Step by step back to where the path was different."""
    load = reading.loader(tx)
    at = start
    while at.parent is not None:
        before = store.commit(tx, held, at.parent)
        assert before is not None
        if trees.find(load, before.tree, path) != trees.find(load, at.tree, path):
            return at.id
        at = before
    return at.id


def first_parents(tx: Tx, held: store.Held, start: Commit) -> list[str]:
    found, at = [], start
    while True:
        found.append(at.id)
        if at.parent is None:
            return found
        before = store.commit(tx, held, at.parent)
        assert before is not None
        at = before


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_history_last_changes_and_forks_are_what_walking_step_by_step_finds(house: House, seed: int) -> None:
    chance = random.Random(seed)
    name = f"{LANTERN}/r{seed}-{chance.random()}".replace(".", "")
    commits.create(house, MEI, Kind.MODEL, name, private=True)
    branches = ["main"]
    for step in range(14):
        if chance.random() < 0.3:
            branches.append(f"b{step}")
            refs.add_branch(house, MEI, Kind.MODEL, name, branches[-1], chance.choice(branches[:-1]))
        change(house, name, chance.choice(branches), chance.choice(PATHS), str(chance.random()).encode())

    def check(tx: Tx) -> None:
        held = store.repository(tx, Kind.MODEL, name)
        assert held is not None
        heads = [store.at(tx, held, branch) for branch in branches]
        for head in heads:
            line = first_parents(tx, held, head)
            assert [commit.id for commit in store.history(tx, held, head.id, 100)] == line
            assert [commit.id for commit in store.history(tx, held, head.id, 3)] == line[:3]
            present = [path for path, _ in trees.walk(reading.loader(tx), head.tree)]
            last = store.last_changes(tx, held, head, present)
            assert {path: last[path].id for path in present} == {path: slow_last(tx, held, head, path) for path in present}
            for other in heads:
                theirs = first_parents(tx, held, other)
                fork = store.fork_point(tx, held, head, other)
                assert fork is not None and fork.id == next(identity for identity in line if identity in theirs)
                assert store.is_ancestor(tx, held, other, head) == (other.id in line)

    house.db.read(check)


def test_a_house_of_an_earlier_version_gets_its_lines_when_it_is_opened(house: House) -> None:
    name = f"{LANTERN}/old"
    commits.create(house, MEI, Kind.MODEL, name, private=True)
    change(house, name, "main", "a.txt", b"1")
    refs.add_branch(house, MEI, Kind.MODEL, name, "side")
    change(house, name, "main", "a.txt", b"2")
    last = change(house, name, "side", "in/b.txt", b"3")

    def forget(tx: Tx) -> None:
        tx.run("UPDATE hub_commits SET line = 0, depth = -1")
        tx.run("DELETE FROM hub_lines")
        tx.run("DELETE FROM hub_changes")

    house.db.write(forget)
    upgrade.places(house)

    def read(tx: Tx) -> tuple[list[str], str]:
        held = store.repository(tx, Kind.MODEL, name)
        assert held is not None
        return [commit.title for commit in store.history(tx, held, last.id, 9)], store.last_changes(tx, held, last, ["in"])["in"].title

    assert house.db.read(read) == (["Write in/b.txt", "Write a.txt", "initial commit"], "Write in/b.txt")


def test_folders_know_how_many_files_and_bytes_are_in_them(house: House) -> None:
    name = f"{LANTERN}/sums"
    commits.create(house, MEI, Kind.MODEL, name, private=True)
    start = reading.sums(house, reading.pinned(house, MEI, Kind.MODEL, name, "main")[1])
    change(house, name, "main", "in/deep/a.txt", b"12345")
    change(house, name, "main", "in/b.txt", b"123")
    after = change(house, name, "main", "in/deep/a.txt", b"1")
    found = reading.sums(house, after)
    assert (found.count - start.count, found.size - start.size) == (2, 4)


def test_a_folder_with_too_many_entries_is_refused_with_the_way_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "FOLDER_LIMIT", 3)
    name = f"{LANTERN}/full"
    commits.create(house, MEI, Kind.MODEL, name, private=True)
    put = commits.kept(house, b"x")
    with pytest.raises(commits.FolderTooFull, match="in"):
        commits.commit(house, MEI, Kind.MODEL, name, "main", Ask({f"in/{number}.txt": put for number in range(4)}, "Fill"))
    with pytest.raises(RevisionNotFound):
        reading.pinned(house, MEI, Kind.MODEL, name, "nowhere")
