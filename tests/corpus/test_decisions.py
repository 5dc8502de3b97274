"""Policies, clusters, splits, languages and licences: what is kept, and why the rest is not."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.corpus.contract import BadRecipe
from lilong.floors.corpus.curation import duplicates, licences, recipe
from lilong.floors.corpus.curation.policy import Policy, Rule, Verdict, decide, parse_policy
from lilong.floors.corpus.curation.profile import SIGNALS
from lilong.floors.corpus.curation.recipe import Banding
from lilong.floors.corpus.curation.signals import measure
from lilong.floors.corpus.curation.split import held_out


def signals(**columns: list[float] | list[str]) -> pa.Table:
    return pa.table(columns)


def test_a_dropped_document_is_told_the_comparison_that_failed() -> None:
    policy = Policy("p", "1", (Rule("dup_line_fraction", most=0.3), Rule("words", least=50)))
    table = signals(language=["en", "en", "en"], dup_line_fraction=[0.41, 0.1, 0.1], words=[10.0, 10.0, 50.0])
    assert decide(policy, (), table) == [
        Verdict("dup_line_fraction", "dup_line_fraction 0.41 > 0.3"),
        Verdict("words", "words 10 < 50"),
        None,
    ]


def test_a_rule_for_one_language_leaves_the_others_alone() -> None:
    policy = Policy("p", "1", (Rule("mean_word_length", least=2, languages=("en",)),))
    assert decide(policy, (), signals(language=["en", "zh"], mean_word_length=[1.0, 1.0]))[1] is None


def test_a_language_that_is_not_wanted_is_the_first_reason() -> None:
    policy = Policy("p", "1", (Rule("words", least=50),))
    verdicts = decide(policy, ("en", "zh"), signals(language=["de"], words=[1.0]))
    assert verdicts == [Verdict("language", "language de is not among en, zh")]


def test_the_shown_numbers_always_differ() -> None:
    policy = Policy("p", "1", (Rule("language_score", least=0.35),))
    (verdict,) = decide(policy, (), signals(language=["en"], language_score=[0.34996]))
    assert verdict == Verdict("language_score", "language_score 0.34996 < 0.35")


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_limit_never_keeps_more(values: list[float], one: float, other: float) -> None:
    strict, loose = sorted((one, other))
    table = signals(language=["en"] * len(values), dup_line_fraction=values)
    kept = [
        {
            row
            for row, verdict in enumerate(decide(Policy("p", "1", (Rule("dup_line_fraction", most=limit),)), (), table))
            if verdict is None
        }
        for limit in (strict, loose)
    ]
    assert kept[0] <= kept[1]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"signal": "wrods", "min": 1}, "'wrods' is not a signal"),
        ({"signal": "words"}, "it has no limit"),
        ({"signal": "words", "min": "many"}, "'many' is not a number"),
        ({"signal": "words", "mni": 1}, "there is no such key"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: dict[str, object], said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        parse_policy({"rules": [rule]})


def test_a_recipe_builds_on_the_shipped_one_and_refuses_typos() -> None:
    base, other = recipe.parse({}), recipe.parse({"seed": 7, "limits": {"max_documents": 3}})
    assert (other.seed, other.max_documents, other.policy) == (7, 3, base.policy)
    assert base.digest() != other.digest() == recipe.parse({"limits": {"max_documents": 3}, "seed": 7}).digest()
    for typo in ({"sede": 7}, {"limits": {"max_document": 3}}, {"held_out": 2}, {"base": "novels"}, {"languages": "en"}):
        with pytest.raises(BadRecipe):
            recipe.parse(typo)


def test_every_rule_of_the_shipped_recipes_is_about_a_known_signal() -> None:
    for name in recipe.shipped():
        assert {rule.signal for rule in recipe.parse({"base": name}).policy.rules} <= set(SIGNALS)


def words(start: int, count: int) -> bytes:
    return " ".join(f"word{number}" for number in range(start, start + count)).encode()


def signatures_of(*documents: bytes) -> np.ndarray:
    return measure(documents, words=5, characters=8, permutations=112, seed=1).signatures


def test_near_duplicates_share_a_cluster_and_others_do_not() -> None:
    found = duplicates.clusters(signatures_of(words(0, 400), words(5_000, 400), words(10, 400), words(0, 400)), Banding(14, 8, 0.7))
    assert found.tolist() == [0, 1, 0, 0]


def test_chinese_near_duplicates_are_found_by_characters() -> None:
    text = "".join(chr(0x4E00 + (number * 7919) % 9_000) for number in range(600))
    found = duplicates.clusters(signatures_of(text.encode(), ("新" + text[:-3]).encode(), text[::-1].encode()), Banding(14, 8, 0.7))
    assert found.tolist() == [0, 0, 2]


def test_planted_pairs_are_recalled_as_the_s_curve_says() -> None:
    banding, pairs = Banding(14, 8, 0.0), 200
    documents = [words(number * 10_000 + shift, 200) for number in range(pairs) for shift in (0, 12)]
    found = duplicates.clusters(signatures_of(*documents), banding)
    recalled = sum(found[2 * pair + 1] == 2 * pair for pair in range(pairs)) / pairs
    expected = banding.caught((196 - 12) / (196 + 12))
    assert abs(recalled - expected) < 4 * (expected * (1 - expected) / pairs) ** 0.5 + 0.005


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.randoms())
def test_the_representative_does_not_depend_on_the_order_of_documents(groups: list[int], random: object) -> None:
    preference = [((number * 7) % 5, f"id{number:03d}") for number in range(len(groups))]

    def chosen(order: list[int]) -> dict[int, str]:
        cluster = np.array([groups[index] for index in order])
        speaks = duplicates.representatives(cluster, [preference[index] for index in order])
        return {groups[index]: preference[order[at]][1] for index, at in zip(order, speaks.tolist(), strict=True)}

    order = list(range(len(groups)))
    shuffled = sorted(order, key=lambda index: (index * 37) % 101)
    assert chosen(order) == chosen(shuffled)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.lists(st.integers(0, 12), min_size=40, max_size=40))
def test_a_joined_grouping_parts_neither_of_its_two(fine: list[int], coarse: list[int]) -> None:
    one, other = (duplicates.grouped([str(name) for name in names[: len(fine)]]) for names in (fine, coarse))
    both = duplicates.joined(one, other)
    for a, b in itertools.combinations(range(len(fine)), 2):
        if one[a] == one[b] or other[a] == other[b]:
            assert both[a] == both[b]


families = st.lists(st.sampled_from([f"family-{number}" for number in range(40)]), max_size=80)


@given(families, st.floats(0, 1), st.integers(0, 5))
def test_a_family_is_never_parted_by_the_split(members: list[str], fraction: float, seed: int) -> None:
    out = held_out(members, fraction, seed)
    assert not {m for m, held in zip(members, out, strict=True) if held} & {m for m, held in zip(members, out, strict=True) if not held}


@given(families, st.floats(0.01, 0.99), st.integers(0, 5))
def test_both_sides_of_a_split_hold_something_where_there_are_two_families(members: list[str], fraction: float, seed: int) -> None:
    if len(set(members)) >= 2:
        assert set(held_out(members, fraction, seed)) == {True, False}


def test_about_the_asked_fraction_is_held_out() -> None:
    out = held_out([f"f{number}" for number in range(20_000)], 0.05, seed=1)
    assert abs(sum(out) / 20_000 - 0.05) < 4 * (0.05 * 0.95 / 20_000) ** 0.5


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A lane house is shared by many households, who live behind one gate and use one well.", "en"),
        ("里弄是许多人家共用一个大门的房子。", "zh"),
        ("里弄の家には多くの家族がいっしょに住んでいます。", "ja"),
        ("Viele Haushalte wohnen hinter einem gemeinsamen Tor und teilen sich einen Brunnen.", "de"),
        ("1234 5678 -- 90", "und"),
    ],
)
def test_the_language_of_a_text_is_told(text: str, language: str) -> None:
    found = measure([text.encode()], words=5, characters=8, permutations=4, seed=1).signals
    assert found.column("language").to_pylist() == [language]


def test_signals_of_nothing_are_an_empty_table_with_all_columns() -> None:
    empty = measure([], words=5, characters=8, permutations=4, seed=1)
    assert empty.signals.num_rows == 0 and empty.signals.column_names == ["language", *SIGNALS]
    assert empty.signatures.shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GFDL-1.2+", "GFDL-1.2-or-later"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("Expat", "MIT"),
        ("apache-2.0", "Apache-2.0"),
        ("CC0-1.0 or BSD-2-Clause", "BSD-2-Clause OR CC0-1.0"),
        ("public-domain", "LicenseRef-public-domain"),
        ("LicenseRef-harbour", "LicenseRef-harbour"),
        ("do as you like", None),
        ("", None),
    ],
)
def test_licence_names_become_spdx_expressions(name: str, expression: str | None) -> None:
    found = licences.spdx(name)
    assert found == expression or (found and expression and sorted(found.split(" OR ")) == sorted(expression.split(" OR ")))


def test_a_machine_readable_copyright_file_gives_the_licence_of_each_file() -> None:
    found = licences.of_copyright(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: 2020 A\nLicense: GFDL-1.2+\n\n"
        "Files: src/man7/epoll.7\nCopyright: 2003 B\nLicense: GPL-2.0+\n\nLicense: GPL-2.0+\n text\n"
    )
    assert found.expression == "GFDL-1.2-or-later"
    assert found.of("usr/share/man/zh_CN/man7/epoll.7.gz") == "GPL-2.0-or-later"
    assert found.of("usr/share/man/zh_CN/man7/poll.7.gz") == "GFDL-1.2-or-later"


def test_licence_texts_are_recognised_and_unknown_ones_are_not_guessed() -> None:
    assert licences.recognise("B. TERMS\nPYTHON SOFTWARE FOUNDATION LICENSE VERSION 2\n---") == "PSF-2.0"
    assert licences.recognise("On Debian systems see /usr/share/common-licenses/GPL-3.") == "GPL-3.0-only"
    assert licences.recognise("# SPDX-License-Identifier: CC-BY-4.0\n") == "CC-BY-4.0"
    assert licences.recognise("You may read this on Sundays.") is None


def test_only_a_tag_at_the_start_of_a_line_is_a_licence() -> None:
    assert licences.tag(b'.\\" SPDX-License-Identifier: MIT\n') == "MIT"
    assert licences.tag(b"/* SPDX-License-Identifier: BSD-3-Clause */\n") == "BSD-3-Clause"
    assert licences.tag(b"write the line SPDX-License-Identifier: MIT into it\n") is None
