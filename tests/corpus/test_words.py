"""Words are those of datatrove and spaCy, whatever the vocabulary knows; a vocabulary is the same file however it came about."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.words import (
    BLANK_BEFORE,
    CHUNK_START,
    LETTER,
    PUNCTUATION,
    SENTENCE_END,
    STOP,
    Tokens,
    Vocabulary,
    hashing,
    rules,
)
from lilong.floors.corpus.curation.words.tokens import STOP_WORDS
from lilong.floors.corpus.curation.words.vocabulary import OtherRules
from lilong.ground.errors import Corrupt

GOLDEN = Path(__file__).parent / "data" / "words.jsonl.gz"
SIGNS = [
    " ", "  ", "\n", "\u00a0", "\u2028", "\r\n", "\0", "\u0301", "😀", ":)", ":))", ")", "(", "it's", "don't", "'s", "U.S.", "a.m.", "...", "…", "--", "-",
    "http://", "www.lantern-works.org", "ops@harbour-lab.org", ":8080", "/a?b", "10.0.0.1", "8.8.8.8", "5km", "US$", "$", "+", "°C.", "A", "b", "7", ",", ".", "中", "é",
]  # fmt: skip
nasty = st.lists(st.one_of(st.sampled_from(SIGNS), st.characters(exclude_categories=("Cs",))), max_size=25).map("".join)


def words(texts: Texts, tokens: Tokens) -> list[list[str]]:
    data = texts.data.tobytes()
    every = [data[start : start + size].decode() for start, size in zip(tokens.start.tolist(), tokens.size.tolist(), strict=True)]
    return [every[first:last] for first, last in zip(tokens.bounds.tolist(), tokens.bounds.tolist()[1:], strict=False)]


def split(*texts: str, vocabulary: Vocabulary | None = None) -> list[list[str]]:
    column = Texts.of(texts)
    return words(column, (Vocabulary() if vocabulary is None else vocabulary).tokens(column))


def sentences(tokens: Tokens, text: str) -> int:
    """How many sentences spaCy's sentencizer would part one text into."""
    kinds = []
    for flags in tokens.flags.tolist():
        if flags & BLANK_BEFORE:
            kinds.append(0)
        kinds.append(flags & (PUNCTUATION | SENTENCE_END))
    blanks = text[len(text.rstrip()) :]
    if blanks and not (blanks == " " and kinds):
        kinds.append(0)
    starts, start, ended = {0}, 0, False
    for place, kind in enumerate(kinds):
        if ended and not kind:
            starts.add(start)
            start, ended = place, False
        ended |= bool(kind & SENTENCE_END)
    return len(starts | {start}) if kinds else 0


def equal(left: Tokens, right: Tokens) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in Tokens.__dataclass_fields__)


@cache
def patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Prefixes, suffixes, infixes and addresses as regular expressions over the classes in english.json."""
    recorded = rules._recorded()

    def among(*names: str, more: str = "") -> str:
        runs = [run.partition("-") for name in names for run in recorded["classes"][name].split()]
        return "[" + more + "".join(rf"\U{int(a, 16):08x}-\U{int(b or a, 16):08x}" for a, _, b in runs) + "]"

    alpha, decimal, units = among("alpha"), among("decimal"), "|".join(map(re.escape, recorded["units"]))
    host = among("host")
    inner = among("host", more="_\\-")
    quad = (
        rf"(?!(?:10|127)(?:\.{decimal}{{1,3}}){{3}})(?!(?:169\.254|192\.168)(?:\.{decimal}{{1,3}}){{2}})(?!172\.(?:1[6-9]|2{decimal}|3[01])(?:\.{decimal}{{1,3}}){{2}})"
        rf"(?:[1-9]{decimal}?|1{decimal}{{2}}|2[01]{decimal}|22[0-3])(?:\.(?:1?{decimal}{{1,2}}|2[0-4]{decimal}|25[0-5])){{2}}\.(?:[1-9]{decimal}?|1{decimal}{{2}}|2[0-4]{decimal}|25[0-4])"
    )
    name = rf"(?:(?:{host}{inner}{{0,62}})?{host}\.)+{among('top')}{{2,63}}"
    return (
        re.compile(rf"\.\.+|US\$|[AC]\$|\+(?![0-9])|{among('prefix')}"),
        re.compile(
            rf"(?:……|\.\.+|['’][sS]|{among('suffix')}|(?<=[0-9]){among('after_digit')}|(?<=[0-9])(?:{units})|(?<=°[FfCcKk])\."
            rf"|(?<={among('before_end_dot')})\.|(?<={among('upper')}{among('upper')})\.)\Z"
        ),
        re.compile(
            rf"\.\.+|{among('infix')}|(?<=[0-9])[+\-*^](?=[0-9-])|(?<={among('before_dot')})\.(?={among('after_dot')})|(?<={alpha}),(?={alpha})"
            rf"|(?<={among('alpha', more='0-9')})(?:-|–|—|--|---|——|~|[:<>=/])(?={alpha})"
        ),
        re.compile(rf"(?:{among('scheme')}{{2,}}://)?(?:\S+@)?(?:{quad}|{name})(?::{decimal}{{2,5}})?(?:[/?#]\S*)?\Z"),
    )


@cache
def special_cases() -> tuple[dict[str, list[str]], dict[tuple[str, ...], list[str]]]:
    """Special case → its tokens; tokens in which one is found again → its own."""

    def cut(text: str, lengths: list[int]) -> list[str]:
        return [text[sum(lengths[:place]) : sum(lengths[: place + 1])] for place in range(len(lengths))]

    rows = rules._recorded()["specials"]
    return {text: cut(text, own) for text, own, _ in rows}, {tuple(cut(text, found)): cut(text, own) for text, own, found in rows if found}


def plain_chunk(chunk: str) -> list[str]:
    """spaCy's algorithm for one chunk, in plain Python, without what is found again among tokens."""
    prefixes, suffixes, infixes, address = patterns()
    specials = special_cases()[0]
    before: list[str] = []
    after: list[str] = []
    while chunk and chunk not in specials:
        prefix, size = prefixes.match(chunk), len(chunk)
        cut = prefix.end() if prefix else 0
        if cut and chunk[cut:] in specials:
            before.append(chunk[:cut])
            chunk = chunk[cut:]
            break
        suffix = suffixes.search(chunk[cut:])
        end = cut + suffix.start() if suffix else size
        if end < size and chunk[:end] in specials:
            after.append(chunk[end:])
            chunk = chunk[:end]
            break
        before += [chunk[:cut]] if cut else []
        after += [chunk[end:]] if end < size else []
        chunk = chunk[cut:end]
        if len(chunk) == size:
            break
    middle: list[str] = []
    start = 0
    if chunk in specials:
        middle, start = specials[chunk], len(chunk)
    elif chunk and not address.match(chunk):
        for infix in infixes.finditer(chunk):
            if infix.start():
                middle += [chunk[start : infix.start()], infix.group()]
                start = infix.end()
    return before + [word for word in [*middle, chunk[start:]] if word] + after[::-1]


def plain(text: str) -> list[str]:
    """`plain_chunk` of each chunk, and then what spaCy finds again among the tokens that single spaces join."""
    again = special_cases()[1]
    out: list[str] = []
    for run in re.split(r"\s{2,}|[^\S ]", text):
        tokens = [(word, number) for number, chunk in enumerate(run.split()) for word in plain_chunk(chunk)]
        spans = [
            (size, -first)
            for first in range(len(tokens))
            for size in range(1, 12)
            if first + size <= len(tokens) and tuple(word for word, _ in tokens[first : first + size]) in again
        ]
        seen: set[int] = set()
        kept = {}
        for size, first in sorted(spans, reverse=True):
            covered = range(-first, -first + size)
            if covered[0] not in seen and covered[-1] not in seen and tokens[covered[0]][1] == tokens[covered[-1]][1]:
                kept[-first] = size
            seen.update(covered)
        place = 0
        while place < len(tokens):
            size = kept.get(place, 0)
            out += again[tuple(word for word, _ in tokens[place : place + size])] if size else [tokens[place][0]]
            place += max(size, 1)
    return out


def test_words_and_sentences_are_those_that_datatrove_recorded() -> None:
    with gzip.open(GOLDEN, "rt", encoding="ascii") as file:
        recorded = [json.loads(line) for line in file]
    vocabulary = Vocabulary()
    for text, expected, spans in recorded:
        column = Texts.of([text])
        tokens = vocabulary.tokens(column)
        assert words(column, tokens) == [expected]
        assert sentences(tokens, text) == spans


@given(nasty)
@settings(max_examples=300, deadline=None)
def test_the_kernel_splits_as_plain_python_does(text: str) -> None:
    assert split(text) == [plain(text)]


@given(st.lists(nasty, max_size=5))
@settings(deadline=None)
def test_words_written_together_are_the_text_without_its_blanks(texts: list[str]) -> None:
    assert ["".join(found) for found in split(*texts)] == ["".join(text.split()) for text in texts]


@given(nasty)
@settings(deadline=None)
def test_columns_say_of_each_word_what_python_says_of_it(text: str) -> None:
    column = Texts.of([text])
    tokens = Vocabulary().tokens(column)
    for word, length, hashed, flags in zip(
        words(column, tokens)[0], tokens.length.tolist(), tokens.hash.tolist(), tokens.flags.tolist(), strict=True
    ):
        assert length == len(word)
        assert hashed == hashing.of(word)
        assert bool(flags & STOP) == (word in STOP_WORDS)
        if all(
            unicodedata.category(sign) != "Cn" and ord(sign) < 0x3000 for sign in word
        ):  # younger characters depend on the Python that looks
            assert bool(flags & LETTER) == any(map(str.isalpha, word))
            assert bool(flags & PUNCTUATION) == all(unicodedata.category(sign).startswith("P") for sign in word)


def test_a_word_knows_whether_blanks_stand_before_it() -> None:
    tokens = Vocabulary().tokens(Texts.of([" a bb.  c\nd", "e"]))
    assert [flag & (CHUNK_START | BLANK_BEFORE) for flag in tokens.flags.tolist()] == [96, 32, 0, 96, 96, 32]


def test_a_special_case_over_the_border_of_two_chunks_keeps_out_the_one_inside() -> None:
    assert split("foo:)") == [["foo", ":)"]]
    assert split("foo:) )") == [["foo", ":", ")", ")"]]
    assert split("foo:)\n)") == [["foo", ":)", ")"]]


@given(st.lists(nasty, min_size=1, max_size=4))
@settings(deadline=None, max_examples=50)
def test_what_a_vocabulary_knows_changes_no_answer(texts: list[str]) -> None:
    column = Texts.of(texts)
    learning = Vocabulary()
    answers = [Vocabulary(limit=0).tokens(column), learning.tokens(column), learning.tokens(column), Vocabulary.shipped().tokens(column)]
    assert all(equal(answers[0], answer) for answer in answers)


def test_hashes_of_words_compose() -> None:
    first, second = "lantern", "wörks"
    joined = hashing.joined(np.uint64(hashing.of(first)), np.uint64(hashing.of(second)), hashing.POWERS[len(second)])
    assert joined == hashing.of(first + second)
    assert hashing.power(2000) == pow(hashing.BASE, 2000, hashing.MODULUS)


def test_long_texts_and_many_tokens_find_room() -> None:
    texts = ["(" * 100_000, "x" * 1_000_000, "a " * 50_000, ":) " * 20_000, "." * 10_000, "\u2028" * 10_000, ""]
    found = split(*texts)
    assert [len(tokens) for tokens in found] == [100_000, 1, 50_000, 20_000, 1, 0, 0]


def test_a_vocabulary_learns_no_long_chunk_and_no_more_than_its_limit() -> None:
    vocabulary = Vocabulary(limit=3)
    split("x" * 60, *(f"word{number}" for number in range(10)), vocabulary=vocabulary)
    assert sorted(vocabulary.words().to_pylist()) == [b"word0", b"word1", b"word2"]
    assert (vocabulary.chunks, vocabulary.misses) == (11, 11)
    split("word0 word9", vocabulary=vocabulary)
    assert vocabulary.misses == 12


def test_a_vocabulary_is_the_same_file_in_whatever_order_it_came_about(tmp_path: Path) -> None:
    texts = [f"don't {number}km (see lantern-works.org/{number}) and the rest." for number in range(3000)]
    whole, left, right = Vocabulary(), Vocabulary(), Vocabulary()
    split(*texts, vocabulary=whole)
    split(*texts[:2000], vocabulary=left)
    split(*texts[:1000:-1], vocabulary=right)
    digests = [one.save(tmp_path / str(number)) for number, one in enumerate((whole, left.merged(right), right.merged(left)))]
    assert len({(tmp_path / str(number)).read_bytes() for number in range(3)}) == len(set(digests)) == 1
    assert left.entries < whole.entries == left.merged(right).entries


def test_a_vocabulary_comes_back_from_its_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary()
    split("It's at harbour-lab, isn't it?", vocabulary=vocabulary)
    digest = vocabulary.save(tmp_path / "words.arrow")
    back = Vocabulary.open(tmp_path / "words.arrow")
    assert split("It's at harbour-lab, isn't it? Yes.", vocabulary=back) == [
        ["It", "'s", "at", "harbour", "-", "lab", ",", "is", "n't", "it", "?", "Yes", "."]
    ]
    assert back.misses == 1
    assert vocabulary.save(tmp_path / "again.arrow") == digest


def test_an_empty_vocabulary_can_be_saved(tmp_path: Path) -> None:
    Vocabulary().save(tmp_path / "empty.arrow")
    assert Vocabulary.open(tmp_path / "empty.arrow").entries == 0


def test_a_damaged_vocabulary_is_refused(tmp_path: Path) -> None:
    vocabulary = Vocabulary()
    split("some words to damage", vocabulary=vocabulary)
    path = tmp_path / "words.arrow"
    vocabulary.save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"damage")] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt):
        Vocabulary.open(path)
    path.write_bytes(b"no arrow at all")
    with pytest.raises(Corrupt):
        Vocabulary.open(path)


def test_a_vocabulary_of_other_rules_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "words.arrow"
    with monkeypatch.context() as patched:
        patched.setattr(rules, "digest", lambda: "other")
        Vocabulary().save(path)
    with pytest.raises(OtherRules, match="other"):
        Vocabulary.open(path)


def test_the_shipped_vocabulary_knows_common_english() -> None:
    vocabulary = Vocabulary.shipped()
    split("This is what it doesn't do: the rest of the words, and that (for example) is all.", vocabulary=vocabulary)
    assert vocabulary.misses == 0


@given(st.lists(nasty, max_size=5))
def test_texts_come_from_any_string_column_and_go_back(texts: list[str]) -> None:
    plain_column = pa.array(texts, pa.string())
    padded = pa.array(["before", *texts, "after"], pa.large_string()).slice(1, len(texts))
    chunked = pa.chunked_array([plain_column, padded.cast(pa.string())], pa.string())
    assert list(Texts.of(texts)) == list(Texts.of(plain_column)) == list(Texts.of(padded)) == texts
    assert Texts.of(chunked).column().to_pylist() == texts * 2
    assert Texts.of(padded).bytes == sum(len(text.encode()) for text in texts)


def test_no_texts_have_no_words() -> None:
    for none in ([], pa.array([], pa.string()), pa.chunked_array([], pa.string()), pa.array(["a", "b"]).slice(1, 0)):
        assert Vocabulary().tokens(Texts.of(none)).bounds.tolist() == [0]
        assert Texts.of(none).column().to_pylist() == []


def test_a_null_is_an_empty_text() -> None:
    assert list(Texts.of(pa.array(["a", None, "b"]))) == ["a", "", "b"]
