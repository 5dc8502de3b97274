"""Families: documents that are alike from afar, and namesakes. A split that parts no family lets no held-out text have a relative in training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.curation.dedup import clusters, shingles
from lilong.floors.corpus.curation.recipe import Recipe
from lilong.floors.corpus.curation.texts import Texts

Rows = npt.NDArray[np.int64]
ROWS = 1_024
"""Documents that are taken into memory together."""
_NEIGHBOURS = 8  # in a bucket that each document is compared with, besides the first one
_NAME = r"(?s)^(?:.*/)?([^/]*)/([^/.]*)[^/]*$"


def families(documents: Path, alike: pa.Table, recipe: Recipe, scratch: Path) -> Rows:
    """For each row of a Parquet file of documents (id, text, uri; sorted by id) the first row of its family.

    `alike`: rows of clusters.parquet, whose names count too. Signatures lie in `scratch`, 4 bytes for each of their entries.
    """
    count = pq.read_metadata(documents).num_rows
    if not count:
        return np.zeros(0, np.int64)
    signed = _signatures(documents, count, recipe, scratch)
    found = np.arange(count)
    for band in range(recipe.family.bands):  # one at a time, and no pair twice that is joined already: memory for one band's pairs
        keys = shingles.band_key(signed, recipe.family, band)
        left, right = clusters.pairs(1, lambda _, keys=keys: keys, near=_NEIGHBOURS)  # type: ignore[misc]
        apart = found[left] != found[right]
        left, right = left[apart], right[apart]
        found = _joined(found, left, right, shingles.similarity(signed, left, right) >= recipe.family_similarity)
    if recipe.namesakes:
        left, right = _namesakes(documents, alike)
        found = _joined(found, left, right, np.ones(len(left), bool))
    return found


def _joined(found: Rows, left: Rows, right: Rows, which: npt.NDArray[np.bool_]) -> Rows:
    rows = np.arange(len(found))
    return clusters.joined(len(found), np.concatenate([rows, left[which]]), np.concatenate([found, right[which]]))


def batches(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS, columns=columns, use_threads=False):
            yield pa.Table.from_batches([batch])


def _signatures(documents: Path, count: int, recipe: Recipe, scratch: Path) -> Any:
    path = scratch / "signatures"
    with path.open("wb") as file:
        for table in batches(documents, ["text"]):
            shingles.signatures(Texts.of(table.column("text")), recipe.family, recipe.characters).tofile(file)
    return np.memmap(path, np.uint32, "r", shape=(count, recipe.family.permutations))


def _namesakes(documents: Path, alike: pa.Table) -> tuple[Rows, Rows]:
    """Pairs of rows that are called alike in folders called alike, or whose near duplicates are: what other formats and translations of a page
    have in common. Records of one file are not called anything."""
    named = pq.read_table(documents, columns=["id", "uri"])
    place = pc.index_in(alike.column("representative"), named.column("id").combine_chunks())
    rows = pa.chunked_array([pa.array(np.arange(named.num_rows)), *place.cast(pa.int64()).chunks])
    uris = pa.chunked_array([*named.column("uri").chunks, *alike.column("uri").chunks], pa.string())
    table = pa.table({"row": rows, "name": pc.replace_substring_regex(pc.binary_join_element_wise("", uris, "/"), _NAME, r"\1/\2")})
    of_file = pc.invert(pc.or_(pc.match_substring(uris, "#"), pc.match_substring(uris, "://")))
    table = table.filter(pc.and_(pc.is_valid(rows), of_file))
    codes = table.column("name").combine_chunks().dictionary_encode().indices.to_numpy()
    found = table.column("row").to_numpy()
    order = np.argsort(codes, kind="stable")
    first = np.concatenate(([True], codes[order][1:] != codes[order][:-1])) if len(order) else np.zeros(0, bool)
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0)) if len(order) else np.zeros(0, np.int64)
    return found[order[start]], found[order]
