"""Takedowns from versions whose repository was deleted: what was made of them is named all the same, and what can be built is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lilong.floors.corpus import service, store
from lilong.floors.corpus.alliance.shapes import FilesGone, NothingToTakeDown, TakedownAsk
from lilong.floors.corpus.contract import State, Version
from lilong.floors.hub import service as hub
from lilong.floors.hub.contract import Kind
from lilong.ground.house import House
from tests.corpus.houses import LANTERN, MEI, TOM, built, closed, fetched, opened, settle
from tests.corpus.test_takedowns import WHY, document, ids, reading


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("deleted"))
    yield made
    closed(made)


def deleted(house: House, name: str, seeds: range) -> Version:
    """A version from which a job has learned, and whose repository was deleted since."""
    made = built(house, TOM, LANTERN, name, fetched(house, TOM, LANTERN, name, seeds))
    assert made.state is State.DONE, made.error
    reading(house, TOM, made, LANTERN)
    settle(house)
    hub.delete(house, MEI, Kind.DATASET, made.repository)
    return made


def test_a_version_whose_repository_was_deleted_is_taken_down_and_the_next_one_stands_in_a_fresh_repository(house: House) -> None:
    gone = deleted(house, "kelp-beds", range(100, 105))
    made = service.takedown(house, MEI, TakedownAsk(gone.id, "kelp-beds", WHY, document=document(102)))
    settle(house)
    shown = service.takedown_shown(house, MEI, made.id)
    assert shown.takedown.state is State.DONE, shown.takedown.error
    assert [(one.id, one.documents, one.superseded, one.next) for one in shown.reach.versions] == [(gone.id, 1, True, made.next)]
    assert len(shown.reach.jobs) == 1
    after = service.version(house, TOM, gone.repository)
    assert after.id == made.next and ids(house, after) == {document(seed) for seed in range(100, 105)} - {document(102)}


def test_another_repository_that_was_given_the_name_since_is_left_as_it_is(house: House) -> None:
    gone = deleted(house, "sandbar", range(110, 113))
    hub.create(house, MEI, Kind.DATASET, gone.repository, private=True)
    made = service.takedown(house, MEI, TakedownAsk(gone.id, "sandbar", WHY, source="sandbar"))
    assert made.state is State.FAILED and "another one has its name now" in (made.error or "") and made.next is None
    assert service.version(house, TOM, gone.id).superseded is not None


def test_where_the_sources_are_gone_too_the_takedown_stands_and_says_that_nothing_can_be_built(house: House) -> None:
    gone = deleted(house, "shoal", range(120, 123))
    lose(house, next(digest for path, digest in house.db.read(lambda tx: store.tree(tx, gone.sources[0])).items() if path.endswith(".tar")))
    made = service.takedown(house, MEI, TakedownAsk(gone.id, "shoal", WHY, document=document(121)))
    assert made.state is State.FAILED and "There is nothing to build the next version from: archives/shoal.tar" in (made.error or "")
    assert service.takedown_shown(house, MEI, made.id).reach.versions[0].superseded


def test_where_no_file_is_left_the_versions_of_the_same_sources_are_taken_to_hold_the_document(house: House) -> None:
    gone = deleted(house, "skerry", range(130, 133))
    for digest in house.db.read(lambda tx: store.files(tx, gone.id)).values():
        lose(house, digest)
    reach = service.preview(house, MEI, TakedownAsk(gone.id, "skerry", WHY, document=document(131)))
    assert [(one.id, one.documents) for one in reach.versions] == [(gone.id, None)]
    reach = service.preview(house, MEI, TakedownAsk(gone.id, "skerry", WHY, source="skerry"))
    assert [(one.id, one.documents) for one in reach.versions] == [(gone.id, 3)]
    with pytest.raises(NothingToTakeDown):
        service.preview(house, MEI, TakedownAsk(gone.id, "skerry", WHY, source="atoll"))
    made = service.takedown(house, MEI, TakedownAsk(gone.id, "skerry", WHY, document=document(131)))
    settle(house)
    assert document(131) not in ids(house, service.version(house, TOM, made.next or ""))


def lose(house: House, digest: str) -> None:
    path = house.blobs.path(digest)
    assert path is not None
    path.unlink()


def test_what_is_told_of_a_deleted_version_s_tables_is_that_they_are_gone(house: House) -> None:
    gone = deleted(house, "spit", range(140, 142))
    for ask in (service.quality, service.contributions):
        with pytest.raises(FilesGone, match=f"its repository {gone.repository} was deleted"):
            ask(house, MEI, gone.id)
