"""What a member may send without bringing the house to a stop."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.hub import store
from lilong.floors.hub.api import history as door
from lilong.floors.hub.api.door import NotAsked
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import attributes, ignore
from lilong.floors.hub.pages import markdown
from lilong.floors.hub.pages.door import Address
from lilong.floors.hub.service import collecting, git_fetch
from lilong.ground.access import Actor
from lilong.ground.house import House

from .conftest import Served
from .pair import serving


class _Later:
    """The house's clock, some days on."""

    def __init__(self, days: int) -> None:
        self._more = timedelta(days=days)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._more

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def test_patterns_are_counted_and_short() -> None:
    many = "".join(f"a*{number} filter=lfs\n" for number in range(5000))
    assert len(attributes.parse(many).others) == attributes.MOST_GLOBS
    assert len(ignore.parse(many).rules) == ignore.MOST_RULES
    assert not attributes.parse("*" * 5000 + " filter=lfs").others
    assert not ignore.parse("*" * 5000).rules


def test_a_row_of_double_stars_is_one() -> None:
    """Each would be tried at each part of the path, for each folder on the way."""
    assert ignore.parse("**/" * 500 + "tide").ignores("/".join(["a"] * 300) + "/tide")
    assert attributes._wanted("**/**/a/**/**/b/**") == ("**", "a", "**", "b", "**")


@given(
    st.lists(st.sampled_from(["/a.b", "a/b", "/a/b.c", "*.b", "a/*", "/a"]), max_size=5),
    st.lists(st.sampled_from(["filter=lfs", "-filter"]), min_size=5, max_size=5),
    st.sampled_from(["a.b", "a/b", "a/b.c", "a", "b/a.b", "x/a/b"]),
)
def test_patterns_without_wildcards_mean_what_matching_them_one_by_one_means(patterns: list[str], says: list[str], path: str) -> None:
    rules = attributes.parse("".join(f"{pattern} {said}\n" for pattern, said in zip(patterns, says, strict=False)))
    last = [said == "filter=lfs" for pattern, said in zip(patterns, says, strict=False) if attributes.matches(pattern, path)]
    assert rules.large(path) == (last[-1] if last else False)


def test_one_question_before_a_commit_is_about_so_many_files(house: House) -> None:
    body = {"files": [{"path": f"{number}.txt", "size": 1} for number in range(door._ASKED + 1)]}
    with pytest.raises(NotAsked):
        door._modes(house, Actor("mei"), Kind.MODEL, "lantern-works/none", "main", body, proposes=False)


def test_git_hands_out_nothing_that_was_collected(tmp_path: Path) -> None:
    with serving(tmp_path / "house") as hub:
        api = HfApi(hub.url, hub.tokens["mei"])
        api.create_repo("lantern-works/tide", private=True)
        lost = api.create_commit("lantern-works/tide", [CommitOperationAdd("key.txt", b"a key")], commit_message="Oh no").oid
        api.create_commit("lantern-works/tide", [CommitOperationAdd("key.txt", b"gone")], commit_message="Better")
        url = f"http://mei:{hub.tokens['mei']}@{hub.host}/lantern-works/tide"

        def fetched(identity: str) -> int:
            clone = tmp_path / f"clone-{len(list(tmp_path.iterdir()))}"
            subprocess.run(["git", "init", "-q", str(clone)], check=True)
            return subprocess.run(["git", "fetch", "-q", url, identity], cwd=clone, check=False, capture_output=True).returncode

        assert fetched(lost) == 0
        api.super_squash_history("lantern-works/tide")
        clock = hub.house.clock
        for days in (0, 30, 60):
            hub.house.clock = _Later(days)
            collecting.collect(hub.house)
        held = hub.house.db.read(lambda tx: store.repository(tx, Kind.MODEL, "lantern-works/tide"))
        assert held is not None
        assert hub.house.db.read(lambda tx: store.commit(tx, held, lost)) is None
        hub.house.clock = clock
        assert fetched(lost) != 0
        assert git_fetch.root(hub.house).is_dir()


@pytest.mark.parametrize(
    "path",
    [
        "/api/models?" + "&".join(f"filter=t{n}" for n in range(4000)),
        "/api/collections?" + "&".join(f"owner=o{n}" for n in range(4000)),
        "/api/collections?" + "&".join(f"item=models/o/n{n}" for n in range(2500)),
        "/api/models?search=" + "a" * 40000,
        "/api/models?" + "&".join(f"expand=x{n}" for n in range(4000)),
        "/api/models?sort=no&limit=5",
        "/api/models?cursor=x",
        "/api/collections?cursor=~~~&sort=upvotes",
        "/models?" + "&".join(f"tag=t{n}" for n in range(4000)),
    ],
)
def test_no_list_is_asked_for_in_a_way_that_breaks_the_database(served: Served, path: str) -> None:
    assert httpx.get(served.url + path, timeout=60).status_code < 500


def test_a_page_of_many_long_comments_is_rendered_in_part() -> None:
    """Each would take a second, in which the server does nothing else."""
    made = markdown.render_all([f"*{number}* " + "x" * 65000 for number in range(100)], Address(Kind.MODEL, "lantern-works/tide"))
    assert len([text for text in made.values() if "<em>" in text]) == 4
    assert made["*99* " + "x" * 65000].startswith("<pre>*99*")
