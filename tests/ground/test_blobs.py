"""Blobs: durable in order, verified on demand, never a path from a user's text."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.ground.blobs import LocalBlobs, StorageFull, digest_of, hexadecimal, write_durably
from lilong.ground.errors import BadInput, Corrupt, NotFound


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def test_what_was_put_is_read_under_its_digest(blobs: LocalBlobs) -> None:
    blob = blobs.put(b"tea")
    assert (blob.digest, blob.size) == (digest_of(b"tea"), 3)
    assert blobs.read(blob.digest) == b"tea"
    assert list(blobs.digests()) == [blob.digest]


def test_putting_twice_keeps_one(blobs: LocalBlobs) -> None:
    assert blobs.put([b"t", b"ea"]) == blobs.put(b"tea")
    assert len(list(blobs.digests())) == 1


def test_written_fsynced_renamed_and_the_folder_fsynced_in_that_order(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(handle: int) -> None:
        calls.append("fsync folder" if Path(f"/dev/fd/{handle}").is_dir() else "fsync file")
        fsync(handle)

    def seen_replace(source: object, target: object) -> None:
        calls.append("rename")
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    blobs.put(b"tea")
    assert calls == ["fsync file", "fsync folder", "rename", "fsync folder"]  # the second: the new `ab/` in its parent


def test_a_flipped_byte_is_found(blobs: LocalBlobs) -> None:
    blob = blobs.put(b"green tea")
    path = blobs._path(blob.digest)
    path.chmod(0o600)
    path.write_bytes(b"black tea")
    with pytest.raises(Corrupt, match=blob.digest):
        blobs.verify(blob.digest)


def test_a_full_disk_keeps_nothing_half(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="free some space"):
        blobs.put(b"tea")
    assert list(blobs.digests()) == []
    assert list((blobs.root / "incoming").iterdir()) == []


def test_what_a_crash_left_behind_is_cleared_at_the_next_start(blobs: LocalBlobs) -> None:
    (blobs.root / "incoming" / "half").write_bytes(b"te")
    LocalBlobs(blobs.root)
    assert list((blobs.root / "incoming").iterdir()) == []


@given(st.text(max_size=100))
def test_no_text_but_a_digest_becomes_a_name(text: str) -> None:
    try:
        name = hexadecimal(text)
    except BadInput:
        return
    assert text == f"sha256:{name}"
    assert len(name) == 64


def test_a_missing_blob_is_not_found(blobs: LocalBlobs) -> None:
    with pytest.raises(NotFound):
        blobs.open(digest_of(b"nothing"))


def test_collect_drops_only_what_is_not_live(blobs: LocalBlobs) -> None:
    keep, drop = blobs.put(b"keep"), blobs.put(b"drop it")
    assert blobs.collect({keep.digest}) == drop.size
    assert list(blobs.digests()) == [keep.digest]


def test_a_small_file_is_replaced_whole_and_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secret"
    write_durably(path, b"one", 0o600)
    write_durably(path, b"two", 0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


def test_a_blob_that_another_thread_has_only_just_renamed_is_forced_to_the_disk_before_it_counts_as_kept(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = blobs._path(blobs.put(b"tea").digest)
    forced: list[str] = []
    monkeypatch.setattr("lilong.ground.blobs.sync_folder", lambda folder: forced.append(folder.name))
    blobs.put(b"tea")
    assert forced == [path.parent.name]
