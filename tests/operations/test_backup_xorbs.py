"""The hub's xorbs go with the house."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.app import open_house_with_floors
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import commits, xet_checking
from lilong.ground.config import load
from lilong.ground.errors import Corrupt
from lilong.operations.backup import backup
from lilong.operations.restore import restore
from tests.conftest import ORGANISATION, furnish
from tests.hub.sender import MEI, Sender

TIDE = f"{ORGANISATION}/tide"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Path, str, bytes]]:
    """A closed house with one Xet file: its folder, the file's digest and content."""
    house = open_house_with_floors(load(tmp_path / "house", environment={}))
    house.db.write(lambda tx: furnish(house, tx))
    commits.create(house, MEI, Kind.DATASET, TIDE, private=True)
    blocks = [random.Random(seed).randbytes(20_000) for seed in range(5)]
    sender = Sender(house)
    digest, _ = sender.send(TIDE, blocks)
    sender.commit(TIDE, {"f.bin": (digest, 100_000)})
    house.close()
    yield tmp_path / "house", digest, b"".join(blocks)


def test_a_restored_house_has_its_xet_files(kept: tuple[Path, str, bytes], tmp_path: Path) -> None:
    folder, digest, content = kept
    assert backup(folder, tmp_path / "all.tar")["xorbs"] == 1
    restore(tmp_path / "all.tar", tmp_path / "new")
    house = open_house_with_floors(load(tmp_path / "new", environment={}))
    assert house.blobs.read(digest) == content and list(xet_checking.problems(house)) == []
    house.close()


def test_a_flipped_byte_of_a_xorb_in_the_backup_is_named(kept: tuple[Path, str, bytes], tmp_path: Path) -> None:
    folder, _, content = kept
    backup(folder, tmp_path / "all.tar")
    data = bytearray((tmp_path / "all.tar").read_bytes())
    data[data.index(content[50_000:50_100])] ^= 1
    (tmp_path / "all.tar").write_bytes(data)
    hash = next((folder / "xorbs").glob("??/*")).name
    with pytest.raises(Corrupt, match=hash):
        restore(tmp_path / "all.tar", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_damaged_xorb_goes_along_and_is_named(kept: tuple[Path, str, bytes], tmp_path: Path) -> None:
    folder, _, _ = kept
    xorb = next((folder / "xorbs").glob("??/*"))
    xorb.chmod(0o600)
    xorb.write_bytes(xorb.read_bytes()[:-1] + b"?")
    assert backup(folder, tmp_path / "all.tar")["damaged"] == [xorb.name]
    assert restore(tmp_path / "all.tar", tmp_path / "new")["damaged"] == [xorb.name]
