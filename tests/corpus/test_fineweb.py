"""The profile fineweb@datatrove-0.10 answers as datatrove does, and its kernels as plain Python would."""

from __future__ import annotations

import collections
import dataclasses
import gzip
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.fineweb import measure as fineweb
from lilong.floors.corpus.curation.fineweb import repetition
from lilong.floors.corpus.curation.fineweb.characters import DECIMAL, TERMINAL, classes
from lilong.floors.corpus.curation.fineweb.profile import STEPS, policy
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.words import Vocabulary

RECORDED = Path(__file__).with_name("data") / "fineweb.jsonl.gz"  # by bench/corpus_agreement.py --record
STOPS = {"the", "be", "to", "of", "and", "that", "have", "with"}
POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
GOOD = "The house by the river has to be warm, and people with books stay in it.\n"

pieces = st.sampled_from(
    "the of and to a cannot can not data don't . ... … # {  [1] [edit] [citation needed] [१] [x] lorem_ipsum javascript use_cookies "
    "cooK̶ies terms_of_use - • -- ? ! ؟ 。 é 🙂 e\u0301 中 \x00 ." .replace("K̶", "\u212a").split(" ")
).map(lambda piece: piece.replace("_", " "))  # fmt: skip
blanks = st.sampled_from(
    [" ", " ", " ", " ", "", "\n", "\n\n", "\n\n\n", "  ", "\u00a0", "\u2028", "\r\n", "\r", "\x85", "\x1c", "\x1f", "\u3000", "\t"]
)
nasty = st.lists(st.tuples(pieces, blanks), max_size=60).map(lambda pairs: "".join(piece + blank for piece, blank in pairs))
anything = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=80)
texts_of = st.lists(nasty | anything, max_size=5)


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary()


def measured(texts: list[str]) -> fineweb.Measured:
    columns = Texts.of(texts)
    return fineweb.measure(columns, vocabulary().tokens(columns), vocabulary())


def decided(texts: list[str], step: str | None = None) -> list[tuple[str, str]]:
    whole = policy()
    signals = pa.table(measured(texts).columns)
    asked = dataclasses.replace(whole, rules=tuple(rule for rule in whole.rules if step in (None, rule.step)))
    table = decide(asked, signals).table(signals)
    return list(zip(table.column("step").to_pylist(), table.column("reason").to_pylist(), strict=True))


def words_of(text: str) -> list[str]:
    columns = Texts.of([text])
    tokens = vocabulary().tokens(columns)
    data = columns.data.tobytes()
    return [data[start : start + size].decode() for start, size in zip(tokens.start.tolist(), tokens.size.tolist(), strict=True)]


# What plain Python would answer.


def repeated(parts: list[str]) -> tuple[int, int]:
    before = [part for at, part in enumerate(parts) if part in parts[:at]]
    return len(before), sum(map(len, before))


def plain_top(words: list[str], n: int) -> int:
    grams = [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]
    if not grams:
        return 0
    counts = collections.Counter(grams)
    gram = max(grams, key=counts.__getitem__)
    return len(gram) * counts[gram]


def plain_repeated(words: list[str], n: int) -> int:
    met, found, at = set(), 0, 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n])
        found += len(gram) * (gram in met)
        at += n if gram in met else 1
        met.add(gram)
    return found


def plain_sentences(line: str) -> int:
    """spaCy's sentencizer over words and over blanks that are more than one space."""
    found, ended = 1, False
    for run in re.findall(r"\s+|\S+", line):
        marks = [] if run == " " else [None] if run.isspace() else words_of(run)
        for mark in marks:
            ends, punctuation = flags_of(mark) if mark else (False, False)
            found += ended and not ends and not punctuation
            ended = ends or (ended and punctuation)
    return found


def flags_of(word: str) -> tuple[bool, bool]:
    flag = int(vocabulary().tokens(Texts.of([word])).flags[0])
    return bool(flag & 8), bool(flag & 16)


def plain_rewriting(text: str) -> tuple[collections.Counter[str], str]:
    counts: collections.Counter[str] = collections.Counter()
    kept = []
    for line in text.splitlines():
        counts["lines"] += 1
        words = line.split()
        line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line.strip())
        small = line.lower()
        if any(len(word) > 1000 for word in words):
            counts["long_word_lines"] += 1
        elif len(words) < 3:
            counts["few_word_lines"] += 1
        else:
            counts["lorem_ipsum_lines"] += "lorem ipsum" in small
            counts["lorem_ipsum_first"] += "lorem ipsum" in small and not counts["bracket_lines"]
            if "javascript" in small:
                counts["javascript_lines"] += 1
                continue
            counts["bracket_lines"] += "{" in line
            if any(phrase in small for phrase in POLICY_PHRASES):
                counts["policy_lines"] += 1
                continue
            counts["kept_lines"] += 1
            counts["sentences"] += plain_sentences(line)
            kept.append(line)
    return counts, "\n".join(kept).strip()


def plain(text: str) -> tuple[dict[str, float], str]:
    """Every signal as its definition has it, and what the line rules leave."""

    def ratio(part: float, whole: float) -> float:
        return part / whole if whole else float("nan") if not part else float("inf")

    size, words = len(text), words_of(text)
    plain_words = [word for word in words if any(classes_of(sign) for sign in word)]
    paragraphs, segments, lines = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text), text.splitlines()
    out = {
        "gopher_characters": size,
        "gopher_dup_paragraph_fraction": ratio(repeated(paragraphs)[0], len(paragraphs)),
        "gopher_dup_paragraph_char_fraction": ratio(repeated(paragraphs)[1], size),
        "gopher_dup_line_fraction": ratio(repeated(segments)[0], len(segments)),
        "gopher_dup_line_char_fraction": ratio(repeated(segments)[1], size),
        **{f"gopher_top_{n}gram_fraction": ratio(plain_top(words, n), size) for n in (2, 3, 4)},
        **{f"gopher_dup_{n}gram_fraction": ratio(plain_repeated(words, n), size) for n in range(5, 11)},
        "gopher_words": len(words),
        "gopher_plain_words": len(plain_words),
        "gopher_mean_word_length": ratio(sum(map(len, plain_words)), len(plain_words)),
        "gopher_hash_ratio": ratio(text.count("#"), len(words)),
        "gopher_ellipsis_ratio": ratio(text.count("...") + text.count("…"), len(words)),
        "gopher_bullet_line_fraction": ratio(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        "gopher_ellipsis_line_fraction": ratio(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        "gopher_letter_word_fraction": ratio(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "gopher_stop_words": len(STOPS & set(words)),
    }
    counts, left = plain_rewriting(text)
    names = [name for name in fineweb.COLUMNS if name.startswith("c4_")]
    kept = [line for line in left.split("\n") if line.strip()]
    count, feeds = len(words_of(left)), left.count("\n")
    table = classes()
    ends = [bool(table[min(ord(line[-1]), len(table) - 1)] & TERMINAL) for line in kept]
    return {
        **out,
        **{name: counts[name.removeprefix("c4_")] for name in names},
        "fineweb_characters": len(left),
        "fineweb_words": count,
        "fineweb_lines": len(kept),
        "fineweb_ended_line_fraction": ratio(sum(ends), len(kept)),
        "fineweb_short_line_fraction": ratio(sum(len(line) <= 30 for line in kept), len(kept)),
        "fineweb_dup_line_char_fraction": ratio(repeated(kept)[1], len(left) - feeds),
        "fineweb_line_feed_ratio": ratio(feeds, count),
    }, left


def classes_of(sign: str) -> bool:
    """Is it none of datatrove's punctuation? As the words' own table has it."""
    return bool(vocabulary().tokens(Texts.of([sign])).flags[0] & 2)


def same(ours: fineweb.Measured, index: int, expected: dict[str, float]) -> list[str]:
    return [
        f"{name}: {ours.columns[name][index]} is not {value}"
        for name, value in expected.items()
        if not (ours.columns[name][index] == value or (value != value and np.isnan(ours.columns[name][index])))
    ]


def recorded() -> list[dict[str, Any]]:
    with gzip.open(RECORDED, "rt", encoding="ascii") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("step", STEPS)
def test_each_filter_drops_what_datatrove_drops_and_for_the_same_reason(step: str) -> None:
    known = recorded()
    ours = decided([row["text"] for row in known], step)
    different = [
        (row["reasons"][step], reason, row["text"])
        for row, (_, reason) in zip(known, ours, strict=True)
        if (row["reasons"][step] or "") != reason
    ]
    assert not different
    assert {row["reasons"][step] for row in known} - {None}, "the recording holds texts that this filter drops"


def test_the_rules_of_lines_leave_the_text_that_datatrove_leaves() -> None:
    known = recorded()
    left = list(measured([row["text"] for row in known]).rewritten)
    assert left == [row["text"] if row["left"] is None else row["left"] for row in known]


@settings(max_examples=60, deadline=None)
@given(texts_of)
def test_every_signal_is_what_plain_python_counts(texts: list[str]) -> None:
    ours = measured(texts)
    for index, text in enumerate(texts):
        expected, left = plain(text)
        assert same(ours, index, expected) == []
        assert ours.rewritten[index] == left


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "ab", "abc", "-", "--", "not", "can", "cannot", "1"]), max_size=80))
def test_repeated_n_grams_are_counted_without_their_boundaries(words: list[str]) -> None:
    text = " ".join(words)
    columns = Texts.of([text])
    parted = words_of(text)
    row = dict(zip(repetition.COLUMNS, repetition.measure(columns, vocabulary().tokens(columns))[0].tolist(), strict=True))
    assert [row[f"top_{n}"] for n in (2, 3, 4)] == [plain_top(parted, n) for n in (2, 3, 4)]
    assert [row[f"repeated_{n}"] for n in range(5, 11)] == [plain_repeated(parted, n) for n in range(5, 11)]


@settings(max_examples=30, deadline=None)
@given(texts_of, st.integers(0, 5))
def test_a_document_s_signals_do_not_depend_on_its_neighbours(texts: list[str], skip: int) -> None:
    whole, columns = measured(texts), Texts.of(texts)
    part = Texts(columns.data, columns.offsets[min(skip, len(texts)) :])
    ours = fineweb.measure(part, vocabulary().tokens(part), vocabulary())
    for name in fineweb.COLUMNS:
        np.testing.assert_array_equal(ours.columns[name], whole.columns[name][skip:])
    assert list(ours.rewritten) == list(whole.rewritten)[skip:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n" * 5000,
        " \u00a0\n\u2028\r\n" * 400,
        "x" * 1_000_000,
        "The long line " * 70_000,
        "\x00" * 2_000,
        "é" * 1001 + " is one",
        "e\u0301 " * 900,
    ],
    ids=["empty", "line feeds", "blanks", "a word of 1 MB", "a line of 1 MB", "NUL", "a long word", "combining marks"],
)
def test_extreme_texts_are_measured_as_any_other(text: str) -> None:
    ours = measured([GOOD, text, GOOD])
    if len(text) < 10_000:
        expected, left = plain(text)
        assert same(ours, 1, expected) == []
        assert ours.rewritten[1] == left
    assert ours.columns["gopher_characters"][1] == len(text)
    for name in fineweb.COLUMNS:
        np.testing.assert_equal(ours.columns[name][0], ours.columns[name][2])


def test_a_limit_itself_drops_nothing() -> None:
    lines = [f"Line number {number} speaks of something else." for number in range(7)]
    at, beyond = "\n".join(lines + lines[:3]), "\n".join(lines + lines[:4])
    assert measured([at]).columns["gopher_dup_line_fraction"][0] == 0.3
    assert [reason for _, reason in decided([at, beyond], "gopher-repetition")] == ["dup_line_char_frac", "dup_line_frac"]


def test_a_text_of_more_than_100_000_words_is_too_long() -> None:
    sentence = "The {} people of the house have to be with that which is in their river and not {}.\n"
    text = "".join(sentence.format(number, number * 7) for number in range(6_000))
    assert decided([text], "gopher-quality") == [("gopher-quality", "gopher_long_doc")]


def test_the_first_of_lorem_ipsum_and_bracket_names_the_reason() -> None:
    lorem, bracket = "Here is lorem ipsum again.\n", "Here is { a bracket.\n"
    texts = [GOOD + lorem + bracket, GOOD + bracket + lorem, GOOD + "It is JavaScript with { in it.\n" + lorem]
    assert [reason for _, reason in decided(texts, "c4-quality")] == ["lorem_ipsum", "curly_bracket", "lorem_ipsum"]


def test_a_removed_citation_joins_words_and_a_blank_before_it_stays() -> None:
    ours = measured(["It ended.[1] It beg[2]an again.  [3]"])
    assert list(ours.rewritten) == ["It ended. It began again."]
    assert ours.columns["fineweb_words"][0] == len(words_of("It ended. It began again.")) == 7
    assert ours.columns["c4_sentences"][0] == 3  # two blanks at the line's end are a token, which starts a sentence


def test_the_kelvin_sign_is_a_k_and_no_other_sign_matters_to_a_phrase() -> None:
    ours = measured(["We use coo\u212aies here.\nWe use cook\u0131es here.\nIt is javascr\u0130pt there."])
    assert ours.columns["c4_policy_lines"][0] == 1
    assert ours.columns["c4_kept_lines"][0] == 2
    letters = {sign for sign in map(chr, range(128, 0x20000)) if any(low.isascii() for low in sign.lower())}
    assert letters == {"\u0130", "\u212a"}, "U+0130 becomes i and a dot above, which is in no phrase"


def test_every_column_is_explained_and_every_rule_speaks_of_one() -> None:
    assert list(measured([GOOD]).columns) == list(fineweb.COLUMNS)
    assert set(policy().signals()) <= set(fineweb.COLUMNS)
    assert tuple(dict.fromkeys(rule.step for rule in policy().rules)) == STEPS
    assert policy().profile == fineweb.PROFILE


def test_a_dropped_text_is_told_with_both_numbers() -> None:
    signals = pa.table(measured(["Too short."]).columns)
    assert decide(policy(), signals).table(signals).to_pylist() == [
        {"keep": False, "step": "gopher-repetition", "reason": "top_2_gram", "detail": "gopher_top_2gram_fraction 0.9 > 0.2"}
    ]


def test_digits_of_citations_are_those_of_python() -> None:
    table = classes()
    found = {code for code in range(len(table)) if table[code] & DECIMAL}
    ours = {code for code in range(len(table) - 1) if chr(code).isdecimal()}
    assert found <= ours  # a later Unicode has more
    assert {ord(sign) for sign in "09٣१９"} <= found
