"""The Xet formats: hashes as hf_xet works them out, xorbs and shards that say what is not so."""

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import hf_xet
import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub.xet import chunker, hashes, shards, xorbs
from lilong.floors.hub.xet.shards import BadShard, File, Term
from lilong.floors.hub.xet.xorbs import BadXorb, Scan, Table

HASHES = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("size", [0, 1, 8192, 131_073, 1_000_000, 9 << 20])
def test_a_file_has_the_hash_that_hf_xet_gives_it(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    leaves = [(hashes.chunk(chunk), len(chunk)) for chunk in chunker.chunks([content])]
    assert hashes.text(hashes.file(leaves)) == hf_xet.hash_files([str(tmp_path / "file")])[0].hash


def test_a_hash_is_written_as_four_little_endian_words() -> None:
    raw = bytes(range(32))
    assert hashes.text(raw) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    assert hashes.raw(hashes.text(raw)) == raw


@pytest.mark.parametrize("word", ["", "0a" * 31, "0A" * 32, "../" * 21 + "x", "0g" * 32, "٣" * 64])
def test_what_is_no_hash_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="hex"):
        hashes.raw(word)


def stored(scheme: int, content: bytes) -> bytes:
    """A chunk as a client sends it."""
    grouped = b"".join(content[at::4] for at in range(4)) if scheme == xorbs.GROUPED_LZ4 else content
    body = grouped if scheme == xorbs.PLAIN else lz4.frame.compress(grouped)
    return xorbs.header(scheme, len(body), len(content)) + body


def scanned(body: bytes) -> tuple[bytes, Table]:
    scan = Scan()
    taken = scan.take(memoryview(body))
    return scan.finish(len(body) - taken)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(min_size=1, max_size=300)), min_size=1, max_size=20))
def test_a_xorb_is_known_by_its_contents_however_they_are_stored(chunks: list[tuple[int, bytes]]) -> None:
    hash, table = scanned(b"".join(stored(scheme, content) for scheme, content in chunks))
    assert hash == xorbs.built(content for _, content in chunks)[0]
    assert table.leaves() == [(hashes.chunk(content), len(content)) for _, content in chunks]


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20), st.data())
def test_a_xorb_may_come_in_any_pieces(contents: list[bytes], data: st.DataObject) -> None:
    hash, body, table = xorbs.built(contents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    scan, left = Scan(), b""
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        left += body[begin:end]
        left = left[scan.take(memoryview(left)) :]
    found, rows = scan.finish(len(left))
    assert (found, bytes(rows)) == (hash, bytes(table))
    assert [bytes(content) for content in xorbs.contents(body)] == contents


def test_an_index_behind_the_chunks_is_not_kept() -> None:
    hash, body, table = xorbs.built([b"a" * 100, b"b" * 100])
    scan = Scan()
    assert scan.take(memoryview(body + b"XETBLOB\x01" + bytes(500))) == len(body)
    found, rows = scan.finish(508)
    assert (found, bytes(rows)) == (hash, bytes(table))


@given(st.binary(min_size=40, max_size=400), st.data())
def test_a_flipped_bit_makes_another_xorb_or_none(content: bytes, data: st.DataObject) -> None:
    body = bytearray(stored(0, content) + stored(1, content) + stored(2, content))
    hash, _ = scanned(bytes(body))
    at = data.draw(st.integers(0, len(body) * 8 - 1))
    body[at // 8] ^= 1 << at % 8
    try:
        found, table = scanned(bytes(body))
    except BadXorb:
        return
    if found == hash:  # an LZ4 frame may hold the same in other bytes, and then the contents are the same
        assert [bytes(chunk) for chunk in xorbs.contents(body)] == [content] * 3
        assert table.leaves() == [(hashes.chunk(content), len(content))] * 3


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "no chunks"),
        (xorbs.header(0, 10, 10) + b"short", "breaks off"),
        (xorbs.header(0, 0, 1), "stored in 0 bytes"),
        (xorbs.header(0, 200_000, 200_000) + bytes(200_000), "from 1 to 131072"),
        (xorbs.header(0, 5, 6) + b"wrong", "says that it has 6"),
        (xorbs.header(1, 20, 6) + b"20 bytes of no frame", "no LZ4 frame"),
        (xorbs.header(1, 5, 6) + b"wrong", "one whole LZ4 frame"),
        (xorbs.header(3, 5, 5) + b"wrong", "scheme 3"),
        (b"\1" + xorbs.header(0, 5, 5)[1:] + b"right", "no header"),
        ((xorbs.header(0, 1, 1) + b"x") * 8193, "more than 8192 chunks"),
        (stored(1, bytes(1 << 20)), "from 1 to 131072"),
        (xorbs.header(1, len(lz4.frame.compress(bytes(1 << 20))), 100) + lz4.frame.compress(bytes(1 << 20)), "one whole LZ4 frame"),
    ],
)
def test_what_is_no_xorb_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(BadXorb, match=problem):
        scanned(body)


TERMS = st.builds(Term, HASHES, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), HASHES)
DIGESTS = HASHES.map(lambda raw: "sha256:" + raw.hex())
FILES = st.builds(File, HASHES.filter(lambda hash: hash != b"\xff" * 32), st.lists(TERMS, max_size=5).map(tuple), st.none() | DIGESTS)


@given(st.lists(FILES, max_size=5))
def test_a_shard_says_what_it_was_made_of(files: list[File]) -> None:
    assert shards.parse(shards.registering(files)).files == tuple(files)


@given(st.lists(FILES, max_size=3), st.data())
def test_a_broken_shard_is_read_or_refused(files: list[File], data: st.DataObject) -> None:
    body = bytearray(shards.registering(files))
    for at in data.draw(st.lists(st.integers(0, len(body) * 8 - 1), min_size=1, max_size=3)):
        body[at // 8] ^= 1 << at % 8
    with contextlib.suppress(BadShard):
        shards.parse(bytes(body[: data.draw(st.integers(0, len(body)))]))


@settings(max_examples=20)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=2, max_size=9), HASHES)
def test_the_answer_to_a_query_tells_chunks_only_by_keyed_hashes(contents: list[bytes], key: bytes) -> None:
    hash, body, table = xorbs.built(contents)
    told = shards.build([(hash, len(body), table.leaves())], key, 1, 2)
    assert shards.parse(told).xorbs == (hash,)
    for content in contents:
        assert hashes.chunk(content) not in told
        assert hashes.keyed(key, hashes.chunk(content)) in told
    assert struct.unpack_from("<Q", told, len(told) - 200) == (1,)
