"""Every statement about people on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind, RepositoryNotFound
from lilong.floors.hub.service import (
    access_requests,
    attachments,
    collections,
    commits,
    discussions,
    likes,
    pull_requests,
    reading,
    repositories,
)
from lilong.floors.hub.service.collections import Change, Wanted
from lilong.floors.hub.service.commits import Ask, kept
from lilong.floors.hub.service.discussions import Filter
from lilong.ground.access import Actor
from lilong.ground.house import House
from tests.hub.conftest import LANTERN, hub_house

MEI, ADA, TOM = Actor("mei"), Actor("ada"), Actor("tom")
NAME = f"{LANTERN}/tide"


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    opened = hub_house(tmp_path / "house", database_url)
    commits.create(opened, MEI, Kind.MODEL, NAME, private=False)
    yield opened
    opened.close()


def test_discussions_and_pull_requests(house: House) -> None:
    place = (Kind.MODEL, NAME)
    discussions.open_new(house, TOM, *place, "A question", "Why?")
    number, commit = pull_requests.commit_new(house, TOM, *place, "main", Ask({"a.txt": kept(house, b"a\n")}, "Add a\n\nIt was missing."))
    said = discussions.comment(house, ADA, *place, 1, "Because.")
    discussions.edit_comment(house, ADA, *place, 1, said.id, "Because of the moon.")
    discussions.edit_comment(house, ADA, *place, 1, said.id, "Because of the sun.")
    discussions.hide_comment(house, MEI, *place, 1, discussions.shown(house, MEI, *place, 1).events[0].id)
    discussions.rename(house, TOM, *place, 1, "An answer")
    discussions.change_status(house, TOM, *place, 1, "closed", "Thanks.")
    shown = discussions.shown(house, MEI, *place, 1)
    assert [event.kind for event in shown.events] == ["comment", "comment", "title-change", "comment", "status-change"]
    assert [edit.text for edit in shown.events[1].history] == ["Because.", "Because of the moon.", "Because of the sun."]
    proposed = discussions.shown(house, MEI, *place, number, diff=True)
    assert proposed.head is not None and proposed.head.id == commit.id and proposed.may.merge and proposed.diff is not None
    assert [event.kind for event in proposed.events] == ["comment", "commit"]
    merged = pull_requests.merge(house, MEI, *place, number, "Well done.")
    assert pull_requests.merge(house, MEI, *place, number) == merged
    page = discussions.listed(house, ADA, *place, Filter(status="closed", search="AN"), limit=10)
    assert [one.number for one in page.discussions] == [1] and (page.open, page.closed) == (0, 1)
    assert [one.status for one in discussions.listed(house, ADA, *place, Filter(kind="pull_request", author="tom")).discussions] == [
        "merged"
    ]


def test_access_requests_and_likes(house: House) -> None:
    place = (Kind.MODEL, NAME)
    house.db.write(lambda tx: store.set_gated(tx, reading.opened(house, tx, MEI, *place), "manual"))
    first = access_requests.ask(house, TOM, *place, {})
    access_requests.grant(house, MEI, *place, "ada")
    access_requests.handle(house, MEI, *place, "accepted", request_id=first.id)
    everyone = access_requests.of(house, MEI, *place, "accepted")
    assert [one.user for one in everyone] == ["tom", "ada"]
    assert access_requests.of(house, MEI, *place, "accepted", after=(everyone[0].asked_at, everyone[0].id)) == everyone[1:]
    access_requests.handle(house, MEI, *place, "rejected", user="ada", reason="No.")
    access_requests.withdraw(house, TOM, *place)
    assert not access_requests.gate(house, ADA, *place).open and access_requests.of(house, MEI, *place, "accepted") == []
    for actor in (MEI, ADA, ADA):
        likes.like(house, actor, *place)
    likes.unlike(house, MEI, *place)
    [person], _ = likes.likers(house, MEI, *place)
    [liked] = likes.liked_by(house, MEI, "ada")
    assert person.name == "ada" and liked.name == NAME and likes.liked_by(house, MEI, "ada", before=(liked.at, liked.name)) == []


def test_collections(house: House) -> None:
    made = collections.create(house, MEI, LANTERN, "Tides", "What the sea does", private=True)
    place = (LANTERN, made.slug.partition("/")[2])
    inner = collections.create(house, TOM, "tom", "Mine")
    for kind, name in (("model", NAME), ("collection", inner.slug), ("paper", "2307.09288")):
        collections.add_item(house, MEI, *place, kind, name)
    full = collections.shown(house, MEI, *place)
    collections.update_item(house, MEI, *place, full.items[2].id, note="Read it", position=0)
    collections.delete_item(house, MEI, *place, full.items[1].id)
    collections.change(house, MEI, *place, Change(title="The tides", private=False))
    collections.upvote(house, TOM, *place)
    collections.upvote(house, TOM, *place)
    for wanted in (
        Wanted(items=(("model", NAME),)), Wanted(items=(("paper", "2307.09288"), ("bucket", "a/b"))), Wanted((LANTERN,), search="TIDES"),
        Wanted(sort="upvotes", limit=1), Wanted(("tom", LANTERN), sort="upvotes", before=("2", "z")),
    ):  # fmt: skip
        found = collections.listed(house, TOM, wanted)[0]
        assert (found.title, found.upvotes, [item.name for item in found.items]) == ("The tides", 1, ["2307.09288", NAME])
    assert collections.upvote(house, TOM, *place, take_back=True) == 0
    collections.delete(house, MEI, *place)
    assert [one.title for one in collections.listed(house, MEI, Wanted())] == ["Mine"]


def test_all_of_it_goes_with_the_repository(house: House) -> None:
    place = (Kind.MODEL, NAME)
    number, _ = pull_requests.commit_new(house, TOM, *place, "main", Ask({"a.txt": kept(house, b"a\n")}, "Add a"))
    said = discussions.comment(house, TOM, *place, number, "Please.")
    discussions.edit_comment(house, TOM, *place, number, said.id, "Please!")
    likes.like(house, TOM, *place)
    made = collections.create(house, TOM, "tom", "Mine")
    collections.add_item(house, TOM, "tom", made.slug.partition("/")[2], "model", NAME)
    repositories.delete(house, MEI, *place)
    with pytest.raises(RepositoryNotFound):
        discussions.shown(house, TOM, *place, number)
    for table in ("hub_discussions", "hub_discussion_events", "hub_comment_edits", "hub_likes", "hub_collection_items"):
        assert house.db.read(lambda tx, table=table: tx.rows(f"SELECT * FROM {table}")) == []


def test_a_day_of_attachments_has_a_limit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "_A_DAY", 1000)
    assert attachments.attachment(house, attachments.receive(house, TOM, "image/gif", [b"GIF89a" + bytes(900)])).size == 906
    with pytest.raises(attachments.TooManyAttachments):
        attachments.receive(house, TOM, "image/gif", [b"GIF89a" + bytes(900)])
