"""Training on a corpus of the alliance: a member's run is taken in, a non-member's is not, and the refusal says why."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import pytest
from tests.corpus import texts
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, WHARF, WIM, built, closed, fetched, opened, settle

from lilong.floors.compute.contract import UseRefused
from lilong.floors.corpus import service as corpus
from lilong.floors.corpus.alliance.shapes import MemberAsk, TakedownAsk
from lilong.floors.corpus.contract import Conditions, Terms, Version
from lilong.floors.hub.contract import Hub, Kind, RepositoryNotFound
from lilong.floors.training import service
from lilong.floors.training.contract import Run, RunAsk
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.migrations import migrate

BOTH = Actor("both")
"""Owner of lantern-works, which is a member, and of west-wharf, which is none."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("use"))
    migrate(made.db, [("training", "lilong.floors.training")], made.clock)
    service.start(made)
    for actor, organisation in ((MEI, LANTERN), (HANA, HARBOUR)):
        corpus.join(made, actor, MemberAsk(organisation))
        corpus.admit(made, STEWARD, organisation)
    made.db.write(lambda tx: _furnish(made, tx))
    yield made
    closed(made)


def _furnish(house: House, tx: Tx) -> None:
    house.access.add_user(tx, SYSTEM, "both")
    for organisation in (LANTERN, WHARF):
        house.access.grant(tx, SYSTEM, "both", "owner", organisation)


@pytest.fixture(scope="module")
def base(house: House) -> str:
    contents = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "model.safetensors": struct.pack("<Q", 2) + b"{}",
        "tiny.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
    }
    files = {path: house.blobs.put(content).digest for path, content in contents.items()}
    name = f"{HARBOUR}/tiny"
    return house.port(Hub).publish(SYSTEM, Kind.MODEL, name, files, "tiny", lambda *_: name, private=False)  # type: ignore[type-abstract]


@pytest.fixture(scope="module")
def tides(house: House) -> Version:
    return built(house, TOM, LANTERN, "tides", fetched(house, TOM, LANTERN, "tides", range(6), Terms.ALLIANCE, Conditions(["training"])))


def train(house: House, actor: Actor, organisation: str, base: str, version: Version, key: str = "run") -> Run:
    return service.train(
        house, actor, RunAsk(organisation, key, base, f"{version.repository}@{version.commit}", f"{organisation}/taught", {})
    )


def test_a_member_s_run_is_taken_in(house: House, base: str, tides: Version) -> None:
    run = train(house, HANA, HARBOUR, base, tides)
    assert run.corpus_manifest == tides.manifest
    settle(house)
    assert run.job in {one.id for one in corpus.reach(house, STEWARD, tides.id).jobs}


def test_a_non_member_s_run_is_refused_with_who_which_condition_and_the_way_out(house: House, base: str, tides: Version) -> None:
    with pytest.raises(UseRefused) as refused:
        train(house, BOTH, WHARF, base, tides)
    for said in (WHARF, tides.repository, "for training", "members of the data corpus alliance", f"lilong corpus alliance join {WHARF}"):
        assert said in str(refused.value)
    with pytest.raises(RepositoryNotFound):
        train(house, WIM, WHARF, base, tides)


def test_nobody_trains_on_what_was_taken_down(house: House, base: str, tides: Version) -> None:

    document = hashlib.sha256(texts.english(2).encode()).hexdigest()
    corpus.takedown(house, MEI, TakedownAsk(tides.id, "first", "Its author asks for it.", document=document))
    settle(house)
    with pytest.raises(UseRefused, match="put out of use by the takedown"):
        train(house, HANA, HARBOUR, base, tides, "again")
