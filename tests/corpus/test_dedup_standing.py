"""The standing corpus: adding A and then B is as good as adding both, and a contributor is told what is there."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.dedup import clusters
from lilong.floors.corpus.curation.dedup.minhash import Banding
from lilong.floors.corpus.curation.dedup.standing import OtherBanding, Standing
from lilong.ground.errors import BadInput, Corrupt
from tests.corpus.test_dedup import documents

BANDING = Banding(bands=2, rows=1)
PREFER = clusters.parse_preferences([{"column": "quality", "best": "most"}])
groups = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), max_size=20)


@given(groups, st.lists(st.integers(0, 20), max_size=4), st.integers(0, 9))
@settings(deadline=None, max_examples=25)
def test_adding_in_parts_gives_the_table_of_adding_at_once(rows: list[tuple[int, int]], cuts: list[int], seed: int) -> None:
    table, keys = documents(rows, seed)
    with tempfile.TemporaryDirectory() as folder:
        parts = Standing(Path(folder) / "parts", BANDING)
        edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
        for first, last in pairwise(edges):
            parts.add(table.slice(first, last - first), keys[first:last])
        once = Standing(Path(folder) / "once", BANDING)
        once.add(table, keys)
        assert parts.table(PREFER).equals(once.table(PREFER))
        assert parts.table(PREFER).equals(clusters.cluster(table, keys, PREFER)[0])
        assert parts.compact() == once.compact()


def test_what_is_there_already_is_not_added_again(tmp_path: Path) -> None:
    standing = Standing(tmp_path, BANDING)
    standing.add(*documents([(1, 0), (2, 1)]))
    before = standing.version
    again = standing.add(*documents([(1, 0), (2, 1)]))
    assert (again.exact_documents, again.share, len(standing), standing.version) == (2, 1.0, 2, before)


def test_a_contributor_is_told_what_is_there_already(tmp_path: Path) -> None:
    standing = Standing(tmp_path, BANDING)
    standing.add(*documents([(1, 0), (2, 1)]))
    table, keys = documents([(1, 0), (3, 1), (4, 4), (5, 4), (6, 5)])
    table = table.set_column(table.column_names.index("uri"), "uri", pa.array([f"new/{n}" for n in range(5)]))
    told = standing.compare(table, keys)
    assert (told.documents, told.exact_documents, told.near_documents, told.repeated_documents) == (5, 1, 1, 1)
    assert (told.bytes, told.exact_bytes, told.near_bytes) == (69, 11, 13)
    assert told.sentence().startswith("35% of your 69 bytes is already here: 16% word for word, 19% nearly;")
    assert told == standing.add(table, keys)
    assert len(standing) == 7


def test_segments_stay_few(tmp_path: Path) -> None:
    standing = Standing(tmp_path, BANDING)
    for number in range(20):
        standing.add(*documents([(number, number)]))
    assert len(standing) == 20
    assert len(standing._manifest().segments) <= 3


def test_another_banding_is_refused(tmp_path: Path) -> None:
    Standing(tmp_path, BANDING).add(*documents([(1, 0)]))
    with pytest.raises(OtherBanding):
        len(Standing(tmp_path))


def test_documents_without_bytes_or_keys_are_refused(tmp_path: Path) -> None:
    table, keys = documents([(1, 0), (2, 0)])
    standing = Standing(tmp_path, BANDING)
    with pytest.raises(BadInput, match="bytes"):
        standing.add(table.drop_columns("bytes"), keys)
    with pytest.raises(BadInput, match="keys"):
        standing.add(table, keys[:1])
    with pytest.raises(BadInput, match="keys"):
        standing.add(table, np.zeros((2, 3), np.uint64))


def test_an_empty_standing_corpus_has_an_empty_table(tmp_path: Path) -> None:
    standing = Standing(tmp_path / "none", BANDING)
    assert (standing.version, len(standing), standing.table().num_rows) == (None, 0, 0)
    assert standing.compare(*documents([])).share == 0.0


@given(groups, st.sets(st.integers(0, 20)))
@settings(deadline=None, max_examples=15)
def test_what_is_removed_has_never_been_there(rows: list[tuple[int, int]], gone: set[int]) -> None:
    table, keys = documents(rows)
    ids = {one for number, one in enumerate(table.column("id").to_pylist()) if number in gone}
    stay = np.array([one not in ids for one in table.column("id").to_pylist()], bool)
    with tempfile.TemporaryDirectory() as folder:
        standing, fresh = Standing(Path(folder) / "one", BANDING), Standing(Path(folder) / "other", BANDING)
        standing.add(table, keys)
        assert standing.remove(sorted(ids)) == len(stay) - stay.sum()
        fresh.add(table.filter(pa.array(stay)), keys[stay])
        assert standing.table(PREFER).equals(fresh.table(PREFER))
        assert standing.add(table, keys).exact_documents == stay.sum()
        before = standing.table()
        standing.tidy()
        assert standing.table().equals(before)


def test_a_file_that_is_not_what_was_written_is_named(tmp_path: Path) -> None:
    standing = Standing(tmp_path, BANDING)
    standing.add(*documents([(1, 0)]))
    spoilt = tmp_path / "objects" / standing._manifest().segments[0].rows
    spoilt.write_bytes(b"nothing")
    with pytest.raises(Corrupt, match=spoilt.name):
        standing.table()


def test_an_add_that_dies_before_its_end_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standing, clean = Standing(tmp_path / "one", BANDING), Standing(tmp_path / "other", BANDING)
    for one in (standing, clean):
        one.add(*documents([(1, 0), (2, 0)]))
    before = standing.version
    with monkeypatch.context() as patch:
        patch.setattr("lilong.floors.corpus.curation.runs.durable.write", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            standing.add(*documents([(3, 0), (4, 1)]))
    assert standing.version == before
    assert standing.add(*documents([(3, 0), (4, 1)])) == clean.add(*documents([(3, 0), (4, 1)]))
    assert standing.version == clean.version


def test_ids_that_are_no_digests_are_refused(tmp_path: Path) -> None:
    table, keys = documents([(1, 0)])
    with pytest.raises(BadInput, match="hexadecimal"):
        Standing(tmp_path, BANDING).add(table.set_column(0, "id", pa.array(["page-1"])), keys)
