"""Garbage goes when it may, and nothing else ever does."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import collecting, commits, history, rebuilding, rechunking, transfer, xet_checking, xet_read, xorb_store
from lilong.floors.hub.service.collecting import Collected
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import digest_of
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate

from .conftest import LANTERN, Served
from .sender import MEI, Clock, Sender

TIDE = f"{LANTERN}/tide"
DAY = timedelta(days=1)
GONE = timedelta(days=22)  # after which what nothing refers to has gone, if garbage was looked for before, and twice in it


def opened(folder: Path, clock: Clock, database: str = "") -> House:
    house = open_house(load(folder, {"database": database or None}, environment={}), clock=clock)
    migrate(house.db, [("ground", "lilong.ground"), ("hub", "lilong.floors.hub")], house.clock)
    service.start(house)
    return house


def furnished(folder: Path, clock: Clock, database: str = "") -> House:
    house = opened(folder, clock, database)

    def furnish(tx: Tx) -> None:
        house.access.add_organisation(tx, SYSTEM, LANTERN)
        house.access.add_user(tx, SYSTEM, "mei")
        house.access.grant(tx, SYSTEM, "mei", "owner", LANTERN)

    house.db.write(furnish)
    commits.create(house, MEI, Kind.DATASET, TIDE, private=True)
    return house


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(tmp_path: Path, clock: Clock, database_url: str) -> Iterator[House]:
    made = furnished(tmp_path / "house", clock, database_url)
    yield made
    made.close()


def blocks(seed: int, count: int) -> list[bytes]:
    draw = random.Random(seed)
    return [draw.randbytes(9000 + draw.randrange(2000)) for _ in range(count)]


def weeks_later(house: House, clock: Clock) -> Collected:
    """Garbage as it is found in the next weeks, night by night where something happens; all that was collected."""
    total = collecting.collect(house)
    for step in (GONE, DAY):
        clock.at += step
        found = collecting.collect(house)
        total.collected = {kind: count + found.collected.get(kind, 0) for kind, count in total.collected.items()}
        total.bytes += found.bytes
        total.repacked += found.repacked
        total.orphans += found.orphans
    return total


def kept(house: House) -> set[str]:
    return set(xorb_store.of(house).hashes())


def test_a_deleted_repository_takes_its_bytes_with_it_after_the_days_of_grace(house: House, clock: Clock) -> None:
    sender, content = Sender(house), blocks(1, 5)
    digest, _ = sender.send(TIDE, content)
    sender.commit(TIDE, {"a.bin": (digest, sum(map(len, content)))})
    clock.at += 40 * DAY
    assert collecting.collect(house).collected["xorb"] == 0
    service.delete(house, MEI, Kind.DATASET, TIDE)
    collecting.collect(house)
    clock.at += 20 * DAY
    assert collecting.collect(house).collected == dict.fromkeys(collecting.collect(house).collected, 0)
    assert house.blobs.read(digest) == b"".join(content)
    file = xet_read.file_of(house, digest)
    assert file is not None
    rebuilding.of(house).build(file)
    done = weeks_later(house, clock)
    assert done.collected["xorb"] == 1 and done.collected["file"] == 1 and kept(house) == set()
    assert rebuilding.of(house).path(digest) is None and not list((house.settings.house / "rebuilt").glob("??/*"))
    assert not house.blobs.has(digest)
    assert list(xet_checking.problems(house)) == list(service.problems(house)) == []


def test_a_dry_run_tells_and_does_nothing(house: House, clock: Clock) -> None:
    sender = Sender(house)
    sender.send(TIDE, blocks(2, 3))
    clock.at += GONE
    collecting.collect(house)
    clock.at += GONE
    told = collecting.collect(house, dry_run=True)
    assert told.dry_run and told.collected["xorb"] == 1 and told.bytes > 27_000
    assert len(kept(house)) == 1
    assert collecting.collect(house, dry_run=True) == told
    assert collecting.collect(house).collected["xorb"] == 1


def test_a_collected_xorb_may_come_again(house: House, clock: Clock) -> None:
    content = blocks(3, 4)
    Sender(house).send(TIDE, content)
    weeks_later(house, clock)
    clock.at += GONE
    collecting.collect(house)
    assert kept(house) == set()
    sender = Sender(house)
    digest, _ = sender.send(TIDE, content)
    sender.commit(TIDE, {"again.bin": (digest, sum(map(len, content)))})
    assert house.blobs.read(digest) == b"".join(content)
    assert list(xet_checking.problems(house)) == []


def test_what_was_sent_and_is_still_to_be_committed_stays(house: House, clock: Clock) -> None:
    sender, content = Sender(house), blocks(4, 4)
    digest, _ = sender.send(TIDE, content)
    clock.at += 20 * DAY
    collecting.collect(house)
    sender.commit(TIDE, {"late.bin": (digest, sum(map(len, content)))})
    weeks_later(house, clock)
    assert house.blobs.read(digest) == b"".join(content)


def test_squashed_history_goes_and_what_the_branch_has_stays(house: House, clock: Clock) -> None:
    sender, old, new = Sender(house), blocks(5, 3), blocks(6, 3)
    first, _ = sender.send(TIDE, old)
    second, _ = sender.send(TIDE, new)
    sender.commit(TIDE, {"f.bin": (first, sum(map(len, old)))})
    dropped = sender.commit(TIDE, {"f.bin": (second, sum(map(len, new)))})
    history.squash(house, MEI, Kind.DATASET, TIDE, "main", "")
    done = weeks_later(house, clock)
    assert done.collected["commit"] == 3 and done.collected["tree"] >= 1
    assert not house.blobs.has(first) and house.blobs.read(second) == b"".join(new)
    assert house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM hub_commits WHERE id = :id", id=dropped.id)) == 0
    assert house.db.read(lambda tx: tx.value("SELECT used_bytes FROM hub_repositories")) == sum(map(len, new))
    assert list(service.problems(house)) == []


def test_a_tag_keeps_what_it_names(house: House, clock: Clock) -> None:
    sender, content = Sender(house), blocks(7, 3)
    digest, _ = sender.send(TIDE, content)
    sender.commit(TIDE, {"f.bin": (digest, sum(map(len, content)))})
    service.add_tag(house, MEI, Kind.DATASET, TIDE, "v1")
    sender.commit(TIDE, {}, removed=["f.bin"])
    history.squash(house, MEI, Kind.DATASET, TIDE, "main", "")
    weeks_later(house, clock)
    assert house.blobs.read(digest) == b"".join(content)


def test_a_xorb_of_which_little_is_used_is_written_anew_and_the_files_stay_the_same(house: House, clock: Clock) -> None:
    sender, content = Sender(house), blocks(8, 20)
    sender.send_xorb(content)
    small, hash = sender.send(TIDE, [content[3], content[4], content[11]])
    sender.commit(TIDE, {"small.bin": (small, sum(len(content[at]) for at in (3, 4, 11)))})
    before = sum(xorb_store.of(house).size(hash) or 0 for hash in kept(house))
    done = weeks_later(house, clock)
    assert done.repacked == 1
    weeks_later(house, clock)
    after = sum(xorb_store.of(house).size(hash) or 0 for hash in kept(house))
    assert after < before / 5
    assert house.blobs.read(small) == content[3] + content[4] + content[11]
    assert house.db.read(lambda tx: tx.value("SELECT hash FROM hub_xet_files WHERE digest = :digest", digest=small)) == hash
    assert list(xet_checking.problems(house)) == []


def test_a_file_that_only_a_bucket_names_stays(house: House, clock: Clock) -> None:
    sender, content = Sender(house), blocks(13, 3)
    digest, hash = sender.send(TIDE, content)

    def put(tx: Tx) -> None:
        tx.run(
            "INSERT INTO hub_buckets (id, organisation, name, private, files, bytes, created_by, created_at) "
            "VALUES ('b', :organisation, 'shore', 1, 1, 1, 'mei', '')", organisation=LANTERN,
        )  # fmt: skip
        tx.run(
            "INSERT INTO hub_bucket_files (bucket, path, xet_hash, digest, size, mtime, content_type, uploaded_at) "
            "VALUES ('b', 'f.bin', :hash, :digest, 1, '', '', '')", hash=hash, digest=digest,
        )  # fmt: skip

    house.db.write(put)
    weeks_later(house, clock)
    assert house.blobs.read(digest) == b"".join(content)
    house.db.write(lambda tx: tx.run("DELETE FROM hub_bucket_files"))
    weeks_later(house, clock)
    assert kept(house) == set()


def test_a_file_that_is_let_go_can_no_longer_be_named_in_a_commit_before_it_goes(house: House, clock: Clock) -> None:
    sender, content = Sender(house), blocks(14, 3)
    digest, _ = sender.send(TIDE, content)
    collecting.collect(house)
    clock.at += timedelta(days=21, hours=1)
    collecting.collect(house)
    assert house.blobs.read(digest) == b"".join(content)
    with pytest.raises(transfer.BytesNotKnown):
        transfer.sizes_of(house, MEI, [digest])
    clock.at += timedelta(hours=6)
    assert collecting.collect(house).collected["file"] == 1


def test_garbage_is_looked_for_once_a_night(house: House, clock: Clock) -> None:
    collecting.nightly(house)
    first = house.db.read(lambda tx: tx.value("SELECT since FROM hub_garbage WHERE kind = 'run'"))
    clock.at += timedelta(hours=5)
    collecting.nightly(house)
    assert house.db.read(lambda tx: tx.value("SELECT since FROM hub_garbage WHERE kind = 'run'")) == first
    clock.at += timedelta(hours=16)
    collecting.nightly(house)
    assert house.db.read(lambda tx: tx.value("SELECT since FROM hub_garbage WHERE kind = 'run'")) > first


@pytest.mark.parametrize("wrong", [{"gc_grace_days": "20"}, {"accel": "apache"}, {"xorbs": "ftp://somewhere"}])
def test_settings_that_would_lose_or_hide_bytes_are_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    house = open_house(load(tmp_path / "house", wrong, environment={}))
    migrate(house.db, [("ground", "lilong.ground"), ("hub", "lilong.floors.hub")], house.clock)
    with pytest.raises(BadInput, match=next(iter(wrong))):
        service.start(house)
    house.close()


def test_bytes_that_a_crash_left_without_a_row_are_found(house: House, clock: Clock) -> None:
    xorb_store.of(house).put("ab" * 32, b"a crash came before the row")
    assert collecting.collect(house, dry_run=True).orphans == 1
    assert collecting.collect(house).orphans == 1 and kept(house) == set()


def test_an_lfs_upload_is_put_into_xorbs_and_its_plain_file_goes_after_a_day(house: House, clock: Clock) -> None:
    clock.at = datetime.now(UTC) - DAY / 24
    content = random.Random(9).randbytes(1_500_000) + bytes(500_000)
    digest = lfs_upload(house, content)
    rechunking.step(house)
    assert house.blobs.path(digest) is not None
    assert house.db.read(lambda tx: tx.value("SELECT size FROM hub_xet_files WHERE digest = :digest", digest=digest)) == len(content)
    assert sum(xorb_store.of(house).size(hash) or 0 for hash in kept(house)) < 1_600_000  # the zeros are one chunk, compressed
    clock.at += 2 * DAY
    rechunking.step(house)
    assert house.blobs.path(digest) is None and house.blobs.read(digest) == content


def test_what_is_put_into_xorbs_builds_on_the_sender_s_own_xorbs_and_on_nobody_else_s(house: House) -> None:
    def register_tom(tx: Tx) -> None:
        house.access.add_organisation(tx, SYSTEM, "harbour-lab")
        house.access.add_user(tx, SYSTEM, "tom")
        house.access.grant(tx, SYSTEM, "tom", "member", "harbour-lab")

    def xorbs_of(digest: str) -> set[str]:
        rows = "SELECT x.xorb FROM hub_xorb_files x JOIN hub_xet_files f ON f.hash = x.file WHERE f.digest = :digest"
        return house.db.read(lambda tx: {row["xorb"] for row in tx.rows(rows, digest=digest)})

    house.db.write(register_tom)
    content = random.Random(15).randbytes(4_000_000)
    first = lfs_upload(house, content)
    rechunking.step(house)
    foreign = lfs_upload(house, content + b"tom's", Actor("tom"))
    own = lfs_upload(house, content + b"mei's")
    rechunking.step(house)
    assert len(xorbs_of(first)) == 1 and xorbs_of(foreign) & xorbs_of(first) == set()
    assert xorbs_of(first) < xorbs_of(own)
    assert house.blobs.read(own) == content + b"mei's" and list(xet_checking.problems(house)) == []


def test_a_plain_file_that_another_floor_has_put_too_is_never_dropped(house: House, clock: Clock) -> None:
    clock.at = datetime.now(UTC) - DAY / 24
    content, others = random.Random(10).randbytes(1_200_000), random.Random(11).randbytes(1_200_000)
    house.blobs.put(others)  # before: the output of a job
    lfs_upload(house, others)
    digest = lfs_upload(house, content)
    clock.at += DAY / 2
    path = house.blobs.path(digest)
    assert path is not None
    house.blobs.put(content)  # after
    for _ in range(3):
        rechunking.step(house)
        clock.at += GONE
        collecting.collect(house)
    assert house.blobs.path(digest) is not None and house.blobs.path(digest_of(others)) is not None


def lfs_upload(house: House, content: bytes, actor: Actor = MEI) -> str:
    digest = digest_of(content)
    link, _ = transfer.link(house, "put", digest, len(content), actor)
    before = house.clock.now().timestamp()
    transfer.receive(house, link, [content])
    path = house.blobs.path(digest)
    assert path is not None
    os.utime(path, (before, before))  # as if the file system went by the house's clock
    return digest


def test_only_an_operator_collects_by_hand(served: Served) -> None:
    for name in ("mei", "tom"):
        word = {"authorization": f"Bearer {served.tokens[name]}"}
        assert httpx.post(f"{served.url}/api/hub/collections-of-garbage", json={"dry_run": True}, headers=word).status_code == 403


# --- everything at once -------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


POOL = blocks(12, 8)


class Hub(RuleBasedStateMachine):
    """Uploads, commits, deletions, squashes, garbage, jumps of the clock and crashes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        rechunking.LEAST = 10_000
        self.house = furnished(self.folder / "house", self.clock)
        self.sender = Sender(self.house)
        self.content: dict[str, bytes] = {}  # digest -> bytes of all that was ever sent
        self.sent: dict[str, Any] = {}  # digest -> when
        self.repositories: dict[str, dict[str, dict[str, str]]] = {TIDE: {"main": {}}}  # -> branch -> path -> digest
        self.held: dict[str, set[str]] = {TIDE: set()}  # -> digests that its history has
        self.lost: dict[str, Any] = {}  # digest -> when its last reference went

    @initialize()
    def begin(self) -> None:
        self.upload_and_commit(TIDE, [0, 1, 2], "first.bin")

    def upload_and_commit(self, name: str, chosen: list[int], path: str) -> None:
        digest, _ = self.sender.send(name, [POOL[at] for at in chosen])
        self.content[digest] = b"".join(POOL[at] for at in chosen)
        self.sent[digest] = self.clock.at
        self.sender.commit(name, {path: (digest, len(self.content[digest]))})
        self.repositories[name]["main"][path] = digest
        self.held[name].add(digest)

    @rule(
        chosen=st.lists(st.integers(0, 7), min_size=1, max_size=5),
        path=st.sampled_from(["a.bin", "b.bin", "x/c.bin"]),
        which=st.integers(0, 1),
    )
    def send(self, chosen: list[int], path: str, which: int) -> None:
        name = sorted(self.repositories)[which % len(self.repositories)]
        self.upload_and_commit(name, chosen, path)

    @rule(chosen=st.lists(st.integers(0, 7), min_size=2, max_size=5))
    def send_by_lfs(self, chosen: list[int]) -> None:
        content = b"".join(POOL[at] for at in chosen)
        digest = lfs_upload(self.house, content)
        self.content[digest], self.sent[digest] = content, self.clock.at
        self.sender.commit(TIDE, {"lfs.bin": (digest, len(content))})
        self.repositories[TIDE]["main"]["lfs.bin"] = digest
        self.held[TIDE].add(digest)

    @rule()
    def put_into_xorbs(self) -> None:
        rechunking.step(self.house)

    @rule(after=st.integers(0, 6))
    def put_into_xorbs_and_crash(self, after: int) -> None:
        self.crash_in(after, lambda: rechunking.step(self.house))

    @rule(chosen=st.lists(st.integers(0, 7), min_size=1, max_size=8))
    def send_only(self, chosen: list[int]) -> None:
        digest, _ = self.sender.send(sorted(self.repositories)[0], [POOL[at] for at in chosen])
        self.content[digest] = b"".join(POOL[at] for at in chosen)
        self.sent[digest] = self.clock.at

    @rule()
    def remove_a_file(self) -> None:
        for name, branches in sorted(self.repositories.items()):
            if branches["main"]:
                path = sorted(branches["main"])[0]
                self.sender.commit(name, {}, removed=[path])
                del branches["main"][path]
                return

    @rule()
    def squash(self) -> None:
        name = sorted(self.repositories)[0]
        history.squash(self.house, MEI, Kind.DATASET, name, "main", "")
        self.let_go(name, {digest for files in self.repositories[name].values() for digest in files.values()})

    @rule()
    def branch_off(self) -> None:
        name = sorted(self.repositories)[0]
        if "side" not in self.repositories[name]:
            service.add_branch(self.house, MEI, Kind.DATASET, name, "side")
            self.repositories[name]["side"] = dict(self.repositories[name]["main"])

    @rule()
    def delete_or_create(self) -> None:
        name = f"{LANTERN}/reef"
        if name in self.repositories:
            service.delete(self.house, MEI, Kind.DATASET, name)
            del self.repositories[name]
            self.let_go(name, set())
            del self.held[name]
        else:
            commits.create(self.house, MEI, Kind.DATASET, name, private=True)
            self.repositories[name], self.held[name] = {"main": {}}, set()

    def let_go(self, name: str, still: set[str]) -> None:
        """History beyond `still` may go; what a side branch's history has is not followed here, so it is not claimed to be lost."""
        if "side" not in self.repositories.get(name, {}):
            for digest in self.held[name] - still:
                self.lost[digest] = self.clock.at
            self.held[name] = still

    @rule(days=st.sampled_from([1, 5, 12, 16, 20, 22, 45]))
    def days_pass_with_their_nights(self, days: int) -> None:
        for part in (0.0, days - 0.3, 0.3):
            self.clock.at += timedelta(days=part)
            collecting.collect(self.house)

    @rule(after=st.integers(0, 12))
    def collect_and_crash(self, after: int) -> None:
        self.crash_in(after, lambda: collecting.collect(self.house))

    def crash_in(self, after: int, work: Callable[[], object]) -> None:
        write, delete = self.house.db.write, xorb_store.of(self.house).delete
        left = [after]

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def crashing(*args: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise Crash
                return call(*args)

            return crashing

        self.house.db.write = counted(write)  # type: ignore[method-assign]
        xorb_store.of(self.house).delete = counted(delete)  # type: ignore[method-assign]
        with contextlib.suppress(Crash):
            work()
        self.house.db.write = write  # type: ignore[method-assign]
        self.house.close()
        self.house = opened(self.folder / "house", self.clock)
        self.sender.house = self.house

    @invariant()
    def every_live_file_reads_as_it_was_sent(self) -> None:
        for branches in self.repositories.values():
            for files in branches.values():
                for digest in files.values():
                    assert self.house.blobs.read(digest) == self.content[digest]

    @invariant()
    def within_the_days_of_grace_all_that_was_sent_or_referred_to_is_there(self) -> None:
        for digest, at in [*self.sent.items(), *self.lost.items()]:
            if self.clock.at - at < timedelta(days=20.9):
                assert self.house.blobs.read(digest) == self.content[digest]

    def teardown(self) -> None:
        for _ in range(3):
            rechunking.step(self.house)
            collecting.collect(self.house)
            self.clock.at += GONE
        collecting.collect(self.house)
        self.every_live_file_reads_as_it_was_sent()
        live = self.house.db.read(lambda tx: {row["hash"] for row in tx.rows("SELECT hash FROM hub_xorbs WHERE state = 'live'")})
        used = self.house.db.read(lambda tx: {row["xorb"] for row in tx.rows("SELECT DISTINCT xorb FROM hub_xorb_files")})
        assert used <= live == kept(self.house)
        assert list(xet_checking.problems(self.house)) == list(service.problems(self.house)) == []
        assert self.house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM hub_plain WHERE size >= 10000")) == 0
        self.house.close()
        shutil.rmtree(self.folder)
        rechunking.LEAST = 1 << 20


Hub.TestCase.settings = settings(max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
test_live_files_survive_whatever_happens = Hub.TestCase


def test_a_missing_blob_is_still_missing(house: House) -> None:
    with pytest.raises(NotFound):
        house.blobs.read("sha256:" + "0" * 64)
