"""The compiled loops answer what plain Python would, only sooner."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation import kernels
from lilong.floors.corpus.curation.columns import Texts
from lilong.floors.corpus.curation.profile import NGRAMS_DUP, NGRAMS_TOP

WORD = 1 << 64
texts = st.lists(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60), max_size=6)
lines = st.lists(st.text(alphabet="ab 一\n…", max_size=40), min_size=1, max_size=4)


def mix(h: int, value: int) -> int:
    h = ((h ^ value) * 0xBF58476D1CE4E5B9) % WORD
    return h ^ (h >> 29)


def is_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" and not is_single(character)


def is_single(character: str) -> bool:
    code = ord(character)
    ideographs = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF), (0x3041, 0x30FE))
    return any(first <= code <= last for first, last in ideographs)


def plain_tokens(text: str) -> list[str]:
    tokens, run = [], ""
    for character in [*text, " "]:
        if ord(character) < 0x32400 and is_word(character):
            run += character.lower() if character.isascii() else character
            continue
        if run:
            tokens.append(run)
        run = ""
        if is_single(character):
            tokens.append(character)
    return tokens


def token_hash(token: str) -> int:
    h = 0
    for character in token:
        h = mix(h, ord(character))
    return h


@given(texts)
def test_tokens_are_runs_of_letters_and_single_ideographs(documents: list[str]) -> None:
    columns = Texts.of([document.encode() for document in documents])
    hashes, lengths, bounds = kernels.tokenise(columns.data, columns.offsets)
    for index, document in enumerate(documents):
        expected = plain_tokens(document)
        part = slice(bounds[index], bounds[index + 1])
        assert hashes[part].tolist() == [token_hash(token) for token in expected]
        assert lengths[part].tolist() == [len(token) for token in expected]


@given(lines)
def test_counts_of_lines_and_repeated_lines_are_those_of_plain_python(documents: list[str]) -> None:
    columns = Texts.of([document.encode() for document in documents])
    counted = kernels.count(columns.data, columns.offsets)
    for row, document in zip(counted, documents, strict=True):
        found = dict(zip(kernels.COUNTS, row.tolist(), strict=True))
        visible = ["".join(line.split()) for line in document.split("\n") if line.strip()]
        assert found["characters"] == len(document)
        assert found["lines"] == len(visible)
        assert found["dup_lines"] == len(visible) - len(set(visible))
        assert found["line_characters"] == sum(map(len, visible))
        assert found["ellipsis_lines"] == sum(line.endswith("…") for line in visible)
        paragraphs = [part for part in re.split(r"\n[ \n]*\n", re.sub(r"(?m)^ +$", "", document)) if part.strip()]
        assert found["paragraphs"] == len(paragraphs)


def plain_duplicate_share(tokens: list[str], n: int) -> float:
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for at in range(len(tokens) - n + 1):
        gram = tuple(tokens[at : at + n])
        if gram in seen:
            covered.update(range(at, at + n))
        seen.add(gram)
    return sum(len(tokens[at]) for at in covered) / sum(map(len, tokens))


def plain_top_share(tokens: list[str], n: int) -> float:
    weight: dict[tuple[str, ...], list[int]] = {}
    for at in range(len(tokens) - n + 1):
        gram = tuple(tokens[at : at + n])
        weight.setdefault(gram, []).append(sum(map(len, gram)))
    most = max((sum(sizes) for sizes in weight.values() if len(sizes) > 1), default=0)
    return min(1.0, most / sum(map(len, tokens)))


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "bb", "ccc"]), min_size=1, max_size=60), min_size=1, max_size=3))
def test_repetition_is_that_of_plain_python(documents: list[list[str]]) -> None:
    columns = Texts.of([" ".join(tokens).encode() for tokens in documents])
    found = kernels.repetition(*kernels.tokenise(columns.data, columns.offsets))
    for row, tokens in zip(found, documents, strict=True):
        assert row[:3].tolist() == [sum(map(len, tokens)), max(map(len, tokens)), len(set(tokens))]
        assert np.allclose(row[3:6], [plain_top_share(tokens, n) for n in NGRAMS_TOP])
        assert np.allclose(row[6:], [plain_duplicate_share(tokens, n) for n in NGRAMS_DUP])


def test_signatures_are_the_minima_of_the_stated_hashes() -> None:
    words = [f"w{number}" for number in range(40)]
    columns = Texts.of([" ".join(words).encode(), b""])
    hashes, _, bounds = kernels.tokenise(columns.data, columns.offsets)
    found = kernels.minhash(hashes, bounds, np.array([5, 5]), 7, seed=3)
    random = np.random.Generator(np.random.PCG64(3))
    multipliers = [int(m) * 2 + 1 for m in random.integers(0, 1 << 63, 7, np.uint64)]
    addends = [int(a) for a in random.integers(0, 1 << 63, 7, np.uint64)]
    shingles = []
    for at in range(36):
        key = 0
        for word in words[at : at + 5]:
            key = mix(key, token_hash(word))
        shingles.append(key >> 32)
    assert found[0].tolist() == [min(((m * s + a) % WORD) >> 32 for s in shingles) for m, a in zip(multipliers, addends, strict=True)]
    assert set(found[1].tolist()) == {2**32 - 1}


def test_the_share_of_equal_signature_entries_estimates_the_jaccard_index() -> None:
    words = [f"w{number}" for number in range(1_000)]
    one, other = words[:800], words[100:900]
    columns = Texts.of([" ".join(part).encode() for part in (one, other)])
    hashes, _, bounds = kernels.tokenise(columns.data, columns.offsets)
    signatures = kernels.minhash(hashes, bounds, np.array([1, 1]), 2_000, seed=1)
    jaccard = 700 / 900
    # Four standard errors of a share over 2,000 entries.
    assert abs(float((signatures[0] == signatures[1]).mean()) - jaccard) < 4 * (jaccard * (1 - jaccard) / 2_000) ** 0.5


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_named_by_their_smallest_node(count: int, pairs: list[tuple[int, int]]) -> None:
    edges = [(a % count, b % count) for a, b in pairs]
    left, right = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    found = kernels.components(count, left, right).tolist()
    label = list(range(count))
    for _ in range(count):
        for a, b in edges:
            label[a] = label[b] = min(label[a], label[b])
    assert found == label


def test_arrow_columns_are_read_without_copying_and_with_their_offset() -> None:
    column = pa.array(["left out", "lane", "弄堂"])[1:]
    columns = Texts.of_arrow(column)
    hashes, lengths, bounds = kernels.tokenise(columns.data, columns.offsets)
    assert bounds.tolist() == [0, 1, 3] and lengths.tolist() == [4, 1, 1]
    assert hashes.tolist() == [token_hash("lane"), token_hash("弄"), token_hash("堂")]


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 60))
def test_batches_cover_every_document_once_and_stay_small(sizes: list[int], limit: int) -> None:
    columns = Texts.of([b"x" * size for size in sizes])
    ranges = list(columns.batches(limit))
    assert [index for start, end in ranges for index in range(start, end)] == list(range(len(sizes)))
    assert all(end - start == 1 or columns.offsets[end] - columns.offsets[start] <= limit for start, end in ranges)
