"""What is open to everybody takes no copy of texts that are meant for fewer, by whatever door they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lilong.floors.corpus import store
from lilong.floors.corpus.contract import State, Terms, Version
from lilong.floors.hub import service as hub
from lilong.floors.hub.contract import Hub, Kind, MayNotBePublic, MayNotStandHere, Revision
from lilong.floors.hub.service import buckets, commits, duplicating, settings
from lilong.floors.hub.store import buckets as bucket_rows
from lilong.floors.hub.store.buckets import BucketFile
from lilong.ground.access import SYSTEM
from lilong.ground.db import Tx
from lilong.ground.house import House
from tests.corpus.houses import LANTERN, MEI, TOM, built, closed, fetched, opened

OPEN, SHUT = f"{LANTERN}/open", f"{LANTERN}/shut"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("copies"))
    hub.create(made, MEI, Kind.DATASET, OPEN, private=False)
    hub.create(made, MEI, Kind.DATASET, SHUT, private=True)
    yield made
    closed(made)


@pytest.fixture(scope="module")
def kept(house: House) -> Version:
    made = built(house, TOM, LANTERN, "diary", fetched(house, TOM, LANTERN, "diary", range(5)))
    assert made.state is State.DONE, made.error
    return made


@pytest.fixture(scope="module")
def copied(house: House, kept: Version) -> commits.Put:
    files = house.db.read(lambda tx: store.files(tx, kept.id))
    digest = next(iter(files.values()))
    return commits.Put(digest, house.blobs.size(digest), large=True)


def committed(house: House, name: str, put: commits.Put, path: str = "texts/copy.parquet") -> None:
    commits.commit(house, MEI, Kind.DATASET, name, "main", commits.Ask({path: put}, "copy"))


def head(house: House, name: str) -> str:
    return house.db.read(lambda tx: house.port(Hub).revision(tx, MEI, Kind.DATASET, name)).commit  # type: ignore[type-abstract]


def test_a_commit_to_a_public_repository_is_refused_by_the_file_s_name(house: House, copied: commits.Put, kept: Version) -> None:
    before = head(house, OPEN)
    with pytest.raises(MayNotStandHere, match=rf"'texts/copy\.parquet' is a file of the corpus version {kept.id}, whose terms are private"):
        committed(house, OPEN, copied)
    assert head(house, OPEN) == before


def test_it_is_refused_as_a_plain_file_under_any_name_too(house: House, copied: commits.Put) -> None:
    with pytest.raises(MayNotStandHere):
        committed(house, OPEN, commits.Put(copied.digest, copied.size), "notes.txt")


def test_a_private_repository_takes_it_and_is_not_opened_nor_duplicated_openly_then(house: House, copied: commits.Put) -> None:
    committed(house, SHUT, copied)
    with pytest.raises(MayNotBePublic):
        settings.change(house, MEI, Kind.DATASET, SHUT, private=False)
    with pytest.raises(MayNotBePublic):
        duplicating.duplicate(house, MEI, Kind.DATASET, SHUT, f"{LANTERN}/shut-2", private=False)
    assert duplicating.duplicate(house, MEI, Kind.DATASET, SHUT, f"{LANTERN}/shut-3").repository.private


def test_a_private_repository_with_a_plain_copy_among_its_files_is_not_opened(house: House, copied: commits.Put, kept: Version) -> None:
    """As git without its extension for large files leaves one."""
    name = f"{LANTERN}/plain"
    hub.create(house, MEI, Kind.DATASET, name, private=True)
    committed(house, name, commits.Put(copied.digest, copied.size), "notes/copy.txt")
    with pytest.raises(MayNotBePublic, match=rf"'notes/copy\.txt' is a file of the corpus version {kept.id}"):
        settings.change(house, MEI, Kind.DATASET, name, private=False)


def test_what_a_job_publishes_is_asked_the_same(house: House, copied: commits.Put) -> None:
    before = head(house, OPEN)
    with pytest.raises(MayNotStandHere):
        house.port(Hub).publish(MEI, Kind.DATASET, OPEN, {"out.parquet": copied.digest}, "left by a job", lambda *_: None, replace=False)  # type: ignore[type-abstract]
    assert head(house, OPEN) == before


def test_a_bucket_that_holds_a_copy_is_not_opened(house: House, copied: commits.Put) -> None:
    bucket = buckets.create(house, MEI, f"{LANTERN}/drawer", private=True)
    file = BucketFile("x.bin", "0" * 64, copied.digest, copied.size, "", "", bucket.created_at)
    house.db.write(lambda tx: bucket_rows.put(tx, bucket, file))
    with pytest.raises(MayNotStandHere, match=f"{LANTERN}/drawer is open to everybody, and not all .*: 'x.bin' is a file of the corpus version"):
        buckets.set_private(house, MEI, bucket.name, private=False)
    assert buckets.show(house, MEI, bucket.name).private


def test_what_a_publisher_says_of_its_files_as_it_publishes_them_counts(house: House, copied: commits.Put) -> None:
    """The same texts, given once for few and later for all."""
    everybody = built(house, TOM, LANTERN, "leaflets", fetched(house, TOM, LANTERN, "leaflets", range(20, 23), Terms.PUBLIC))

    def then(tx: Tx, _: Revision) -> None:
        store.add_files(tx, everybody.id, {"data/more.parquet": copied.digest})

    name = f"{LANTERN}/for-all"
    house.port(Hub).publish(SYSTEM, Kind.DATASET, name, {"a.parquet": copied.digest}, "said", then, private=False)  # type: ignore[type-abstract]
    before = head(house, OPEN)
    committed(house, OPEN, copied)
    assert head(house, OPEN) != before


def counted(house: House, work: Callable[[], object]) -> int:
    """How often the corpus's files are looked up."""
    found = 0
    original = store.versions_by_file

    def look(tx: Tx, digests: object) -> object:
        nonlocal found
        found += 1
        return original(tx, digests)  # type: ignore[arg-type]

    store.versions_by_file = look  # type: ignore[assignment]
    try:
        work()
    finally:
        store.versions_by_file = original
    return found


def test_a_commit_of_many_files_asks_once_and_one_to_a_private_repository_not_at_all(house: House) -> None:
    puts = {f"{number}.txt": commits.kept(house, b"%d\n" % number) for number in range(300)}
    assert counted(house, lambda: commits.commit(house, MEI, Kind.DATASET, OPEN, "main", commits.Ask(puts, "many"))) == 1
    assert counted(house, lambda: commits.commit(house, MEI, Kind.DATASET, SHUT, "main", commits.Ask(puts, "many"))) == 0
