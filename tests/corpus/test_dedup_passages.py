"""Shared lines and paragraphs, repeated passages, likeness in meaning."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.dedup import kernels, lines, semantic, substring
from lilong.floors.corpus.curation.texts import Texts
from lilong.ground.errors import BadInput

BLANKS = bytes(range(33)).decode()
documents = st.lists(st.text(alphabet="ab\n \t\r中\u00a0\x00", max_size=30), max_size=6)


def plain_lines(text: str) -> list[str]:
    return [line.strip(BLANKS) for line in text.split("\n") if line.strip(BLANKS)]


def plain_paragraphs(text: str) -> list[str]:
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip(BLANKS):
            found[-1].append(line)
        else:
            found.append([])
    return ["\n".join(one).strip(BLANKS) for one in found if one]


@given(documents)
@settings(deadline=None)
def test_lines_and_paragraphs_are_those_of_plain_python(texts: list[str]) -> None:
    columns = Texts.of(texts)
    for unit, plain in (("line", plain_lines), ("paragraph", plain_paragraphs)):
        found = lines.pieces(columns, unit)  # type: ignore[arg-type]
        for row, text in enumerate(texts):
            spans = found.spans[found.bounds[row] : found.bounds[row + 1]]
            assert [bytes(columns.data[first:last]).decode() for first, last, _ in spans] == plain(text)


@given(documents)
@settings(deadline=None)
def test_counts_are_of_documents_and_may_be_made_in_parts(texts: list[str]) -> None:
    found = lines.pieces(Texts.of(texts))
    counted = lines.Counted.of(found)
    expected = [sum(line in plain_lines(text) for text in texts) for line in {line for text in texts for line in plain_lines(text)}]
    assert sorted(counted.documents.tolist()) == sorted(expected)
    parts = lines.Counted.merged(lines.Counted.of(lines.pieces(Texts.of([text]))) for text in reversed(texts))
    assert (parts.hashes.tolist(), parts.documents.tolist()) == (counted.hashes.tolist(), counted.documents.tolist())


def test_shared_lines_are_measured_and_can_be_taken_out() -> None:
    texts = Texts.of(["Home | Harbour\nOne.\n", "Two.\n  Home | Harbour  \nTwo and a half.", "Three.", "Home | Harbour"])
    found = lines.pieces(texts)
    shared = lines.Counted.of(found).shared(2)
    assert {name: column.tolist() for name, column in lines.measure(found, shared).items()} == {
        "shared_lines": [1, 1, 0, 1], "shared_line_bytes": [14, 14, 0, 14],
    }  # fmt: skip
    assert list(lines.without(texts, found, lines.among(found, shared))) == ["One.\n", "Two.\n  Two and a half.", "Three.", ""]


def sorted_suffixes(joined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    data = joined.tobytes()
    order = sorted(range(len(data)), key=lambda at: data[at:])
    common = []
    for one, other in pairwise(order):
        size = 0
        while size < min(len(data) - one, len(data) - other) and data[one + size] == data[other + size]:
            size += 1
        common.append(size)
    return np.array(order, np.int32), np.array([*common, 0], np.int32)


def marked(texts: list[str], least: int) -> list[list[bool]]:
    """The definition in slow words: a byte is marked if a window of `least` bytes over it, inside one text, has occurred before."""
    seen: set[bytes] = set()
    answer = []
    for text in texts:
        data = text.encode()
        marks = [False] * len(data)
        for at in range(len(data) - least + 1):
            window = data[at : at + least]
            if window in seen:
                marks[at : at + least] = [True] * least
            seen.add(window)
        answer.append(marks)
    return answer


@given(st.lists(st.text(alphabet="ab中", max_size=16), max_size=5), st.integers(2, 6))
@settings(deadline=None)
def test_repeated_passages_are_those_of_plain_python(texts: list[str], least: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(substring, "_suffixes", sorted_suffixes)
        found = substring.spans(Texts.of(texts), least).to_pylist()
    covered = [[False] * len(text.encode()) for text in texts]
    for row in found:
        passage = texts[row["document"]].encode()[row["start"] : row["end"]]
        passage.decode()  # whole characters
        beginning = passage[: max(1, least - 3)]
        assert texts[row["of"]].encode()[row["at"] :].startswith(beginning)
        assert (row["of"], row["at"]) < (row["document"], row["start"])
        covered[row["document"]][row["start"] : row["end"]] = [True] * len(passage)
    for text, ours, plain in zip(texts, covered, marked(texts, least), strict=True):
        data = text.encode()
        for at, (one, other) in enumerate(zip(ours, plain, strict=True)):
            part_of_cut_character = data[at] >= 0x80
            assert one == other or (part_of_cut_character and not one), (text, at)


def test_passages_can_be_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(substring, "_suffixes", sorted_suffixes)
    texts = Texts.of(["The licence of the lantern works. End.", "Own words. The licence of the lantern works. More."])
    found = substring.spans(texts, 20)
    assert found.to_pylist() == [{"document": 1, "start": 11, "end": 45, "of": 0, "at": 0}]
    assert list(substring.without(texts, found)) == ["The licence of the lantern works. End.", "Own words. More."]


def test_suffix_arrays_of_the_library_are_those_of_plain_python() -> None:
    pytest.importorskip("pydivsufsort")
    joined = np.frombuffer("mississippi\xff banana bandana\xff".encode("latin-1"), np.uint8).copy()
    for ours, plain in zip(substring._suffixes(joined), sorted_suffixes(joined), strict=True):
        assert ours.tolist() == plain.tolist()


def test_without_the_library_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydivsufsort", None)
    with pytest.raises(substring.NoSuffixArrays, match=r"lilong\[passages\]"):
        substring.spans(Texts.of(["a" * 300]))


def test_a_passage_of_one_byte_is_refused() -> None:
    with pytest.raises(BadInput, match="least"):
        substring.spans(Texts.of(["a"]), 1)


def test_vectors_that_point_alike_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "_BLOCK", 2)
    vectors = np.array([[1, 0], [0, 1], [0.999, 0.04], [0, -1], [0.03, 1], [0, 0]], np.float32)
    assert semantic.groups(vectors, 0.99).tolist() == [0, 1, 0, 3, 1, 5]


def test_a_folder_without_a_model_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(semantic.NoModel, match=r"config\.json"):
        semantic.Model(tmp_path)


def test_without_model2vec_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(semantic.NoEmbeddings, match=r"lilong\[meaning\]"):
        semantic.Model(tmp_path)


def test_cut_leaves_the_rest_to_the_byte() -> None:
    data = np.frombuffer(b"..abcdef", np.uint8)
    out, bounds = np.zeros(6, np.uint8), np.zeros(3, np.int64)
    kernels.cut(data, np.array([2, 5, 8]), np.array([[3, 4, 4], [6, 7, 8]]), np.array([0, 1, 2]), out, bounds)
    assert (bytes(out[: bounds[-1]]), bounds.tolist()) == (b"acd", [0, 2, 3])
