"""Recipes, near duplicates, families, splits and licences: what is kept, what stays together, and under which licence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.corpus.contract import BadRecipe
from lilong.floors.corpus.curation import licences, recipe
from lilong.floors.corpus.curation.dedup import shingles
from lilong.floors.corpus.curation.dedup.banding import Banding
from lilong.floors.corpus.curation.dedup.clusters import components, joined, pairs
from lilong.floors.corpus.curation.policies.policy import read_policy
from lilong.floors.corpus.curation.split import held_out
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.versions.families import families
from lilong.floors.corpus.curation.versions.publishing import toml
from tests.corpus import texts


def test_a_recipe_builds_on_the_shipped_one() -> None:
    base, other = recipe.parse({}), recipe.parse({"seed": 7, "limits": {"max_documents": 3}})
    assert (other.seed, other.max_documents, other.near) == (7, 3, base.near)
    assert base.digest() != other.digest() == recipe.parse({"limits": {"max_documents": 3}, "seed": 7}).digest()


RULE = {"step": "length", "reason": "few", "drop": "tokens < 10"}


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"sede": 7}, "sede", "a recipe has no such key"),
        ({"limits": {"max_document": 3}}, "limits.max_document", "a recipe has no such key"),
        ({"near_duplicates": {"similarity": 0.7}}, "near_duplicates.similarity", "a recipe has no such key"),
        ({"near_duplicates": {"bands": 5_000}}, "near_duplicates.bands", "5000 is out of range"),
        ({"limits": 3}, "limits", "3 is not a table"),
        ({"near_duplicates": {"rows": -1}}, "near_duplicates.rows", "-1 is not a whole number"),
        ({"held_out": 2}, "held_out", "2 is not a share"),
        ({"licences": {"notes": "my own"}}, "licences.notes", "'my own' is not an SPDX expression"),
        ({"base": "novels"}, "base", "there is no recipe 'novels'"),
        ({"profile": "novels"}, "profile", "there is no profile 'novels'"),
        ({"languages": "en"}, "languages", "'en' is not a list of texts"),
        ({"personal": {"mask": ["names"]}}, "personal.mask", "'names' is no kind of personal data"),
        (
            {"policy": {"name": "p", "version": "1", "rules": [{**RULE, "drop": "tokns < 10"}]}},
            "policy.rules[0].drop",
            "'tokns' is not a signal",
        ),
        ({"policy": {"name": "p", "version": "1", "rules": [{**RULE, "dorp": "x"}]}}, "policy.rules[0].dorp", "there is no such key"),
        ({"policy": "strict"}, "policy", "'strict' is not a table"),
    ],
)
def test_a_key_or_value_that_means_nothing_is_refused_by_its_name(asked: dict[str, object], field: str, said: str) -> None:
    with pytest.raises(BadRecipe) as refused:
        recipe.parse(asked)
    assert refused.value.details["field"] == field and said in refused.value.details["problem"]


def test_languages_and_personal_data_to_drop_become_the_first_rules_of_the_policy(tmp_path: Path) -> None:
    asked = recipe.parse({"languages": ["en"], "personal": {"drop": ["secret"], "mask": ["email"]}})
    policy = asked.policy()
    assert [(rule.reason, str(rule.drop)) for rule in policy.rules[:2]] == [
        ("language", 'language not in ["en"]'),
        ("pii_secret", "pii_secret > 0"),
    ]
    assert policy.rules[2:] == recipe.parse({"languages": []}).policy().rules
    (tmp_path / "policy.toml").write_text(toml(policy), encoding="utf-8")
    assert read_policy(tmp_path / "policy.toml", [*policy.signals()]) == policy


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_shipped_recipe_has_a_policy_of_its_profile(name: str) -> None:
    found = recipe.parse({"base": name})
    assert found.policy().profile == found.profile


def words(start: int, count: int) -> str:
    """Words that differ, without digits: near duplicates are looked for as if all numbers were one."""
    return " ".join("".join(chr(97 + number // 26**place % 26) for place in range(5)) for number in range(start, start + count))


def near(*documents: str) -> list[int]:
    keys = shingles.Near().keys(Texts.of(documents))
    return components(len(documents), keys.shape[1], lambda band: keys[:, band])[0].tolist()


def test_near_duplicates_share_a_cluster_and_others_do_not() -> None:
    assert near(words(0, 400), words(5_000, 400), words(3, 400), words(0, 400)) == [0, 1, 0, 0]


def test_chinese_near_duplicates_are_found_by_characters() -> None:
    text = "".join(chr(0x4E00 + (number * 7919) % 9_000) for number in range(600))
    assert near(text, "新" + text[:-3], text[::-1]) == [0, 0, 2]
    keys = shingles.Near(characters=0).keys(Texts.of([text, "新" + text[:-3]]))
    assert not (keys != 0).any()  # as English, each is one word


def plain_shingles(text: str, width: int) -> set[tuple[str, ...]]:
    """Words, or single Han characters."""
    tokens: list[str] = []
    for part in text.split():
        tokens += list(part) if "\u4e00" <= part[0] <= "\u9fff" else [part]
    width = min(width, len(tokens))
    return {tuple(tokens[at : at + width]) for at in range(len(tokens) - width + 1)} if tokens else set()


@pytest.mark.parametrize(
    ("one", "other"), [(words(0, 300), words(60, 300)), (words(0, 3), words(0, 3)), (texts.chinese(1).replace("。", " "),) * 2]
)
def test_equal_entries_of_signatures_estimate_the_jaccard_index(one: str, other: str) -> None:
    banding = Banding(5, 400, 4)
    signed = shingles.signatures(Texts.of([one, other]), banding, 8)
    width = 8 if one[0] > "z" else 5
    mine, theirs = plain_shingles(one, width), plain_shingles(other, width)
    exact = len(mine & theirs) / len(mine | theirs)
    found = float(shingles.similarity(signed, np.array([0]), np.array([1]))[0])
    assert abs(found - exact) < 4 * (exact * (1 - exact) / banding.permutations) ** 0.5 + 1e-9


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40), max_size=6))
def test_a_signature_depends_on_its_own_text_alone(some: list[str]) -> None:
    banding = Banding(2, 4, 2)
    together = shingles.signatures(Texts.of(some), banding, 3)
    for row, text in enumerate(some):
        assert (together[row] == shingles.signatures(Texts.of([text]), banding, 3)[0]).all()


def test_planted_relatives_are_found_as_the_s_curve_says() -> None:
    banding, count = Banding(5, 40, 3), 300
    documents = Texts.of([words(number * 10_000 + shift, 204) for number in range(count) for shift in (0, 76)])
    keys = shingles.band_keys(shingles.signatures(documents, banding, 8), banding)
    found = np.mean([(keys[2 * pair] == keys[2 * pair + 1]).any() for pair in range(count)])
    expected = banding.meeting((200 - 76) / (200 + 76))
    assert abs(found - expected) < 4 * (expected * (1 - expected) / count) ** 0.5 + 0.005


def kept(folder: Path, *documents: tuple[str, str]) -> Path:
    """Documents (uri, text) as a run writes them, their ids in this order."""
    table = pa.table({
        "id": [f"{number:064x}" for number in range(len(documents))], "uri": [uri for uri, _ in documents],
        "text": pa.array([text for _, text in documents], pa.large_string()),
    })  # fmt: skip
    pq.write_table(table, folder / "documents.parquet")
    return folder / "documents.parquet"


NONE_ALIKE = pa.table({name: pa.array([], pa.string()) for name in ("id", "uri", "cluster", "representative")})


def test_relatives_from_afar_and_namesakes_are_one_family(tmp_path: Path) -> None:
    path = kept(
        tmp_path, ("man/en/man1/tide.1", words(0, 300)), ("a/far.txt", words(60, 300)), ("b/other.txt", words(5_000, 300)),
        ("man/zh/man1/tide.1.gz", texts.chinese(3)), ("quays.jsonl#1", words(9_000, 300)), ("quays.jsonl#2", words(20_000, 300)),
    )  # fmt: skip
    assert families(path, NONE_ALIKE, recipe.parse({}), tmp_path).tolist() == [0, 0, 2, 0, 4, 5]
    alone = recipe.parse({"near_duplicates": {"namesakes": False}})
    assert families(path, NONE_ALIKE, alone, tmp_path).tolist() == [0, 0, 2, 3, 4, 5]


def test_a_dropped_copy_s_name_counts_too(tmp_path: Path) -> None:
    path = kept(tmp_path, ("html/tide.html", words(0, 300)), ("text/gull.txt", words(5_000, 300)))
    alike = pa.table({name: [f"{0:064x}"] for name in ("id", "cluster", "representative")} | {"uri": ["other/text/gull.rst"]})
    assert families(path, alike, recipe.parse({}), tmp_path).tolist() == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_joining_never_parts_a_pair(edges: list[tuple[int, int]]) -> None:
    left, right = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    found = joined(21, left, right)
    assert all(found[a] == found[b] for a, b in edges) and (found <= np.arange(21)).all()


def test_a_bucket_of_many_costs_pairs_in_proportion() -> None:
    left, right = pairs(1, lambda _: np.ones(1_000, np.uint64), near=8)
    assert len(left) < 10_000 and joined(1_000, left, right).tolist() == [0] * 1_000


members_of = st.lists(st.sampled_from([f"family-{number}" for number in range(40)]), max_size=80)


@given(members_of, st.floats(0, 1), st.integers(0, 5))
def test_a_family_is_never_parted_by_the_split(members: list[str], fraction: float, seed: int) -> None:
    out = held_out(members, fraction, seed)
    assert not {m for m, held in zip(members, out, strict=True) if held} & {m for m, held in zip(members, out, strict=True) if not held}


@given(members_of, st.floats(0.01, 0.99), st.integers(0, 5))
def test_both_sides_of_a_split_hold_something_where_there_are_two_families(members: list[str], fraction: float, seed: int) -> None:
    if len(set(members)) >= 2:
        assert set(held_out(members, fraction, seed)) == {True, False}


def test_about_the_asked_fraction_is_held_out() -> None:
    out = held_out([f"f{number}" for number in range(20_000)], 0.05, seed=1)
    assert abs(sum(out) / 20_000 - 0.05) < 4 * (0.05 * 0.95 / 20_000) ** 0.5


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
        ("(mit OR apache-2.0) and BSD-3-Clause", "(MIT OR Apache-2.0) AND BSD-3-Clause"),
        ("GPL-2.0-only WITH Linux-syscall-note", "GPL-2.0-only WITH Linux-syscall-note"),
        ("GPL-2+ with an exception of our own", None),
        ("(MIT", None),
        ("do as you like", None),
        ("", None),
    ],
)
def test_licence_names_become_spdx_expressions(name: str, expression: str | None) -> None:
    found = licences.spdx(name)
    assert found == expression or (found and expression and sorted(found.split(" OR ")) == sorted(expression.split(" OR ")))


COPYRIGHT = (
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: 2020 A\nLicense: GFDL-1.2+\n\n"
    "Files: src/man7/epoll.7\nCopyright: 2003 B\nLicense: GPL-2.0+\n\nLicense: GPL-2.0+\n text\n"
)


def test_a_machine_readable_copyright_file_gives_the_licence_of_each_file() -> None:
    found = licences.of_copyright(COPYRIGHT)
    assert found.expression == "GFDL-1.2-or-later" and found.whole
    assert COPYRIGHT[found.whole.start : found.whole.end] == "GFDL-1.2+"
    assert found.of("usr/share/man/zh_CN/man7/epoll.7.gz") == "GPL-2.0-or-later"
    assert found.of("usr/share/man/zh_CN/man7/poll.7.gz") == "GFDL-1.2-or-later"


def test_licence_texts_are_recognised_and_unknown_ones_are_not_guessed() -> None:
    for text, expression, said in (
        ("B. TERMS\nPYTHON SOFTWARE FOUNDATION\n   LICENSE VERSION 2\n---", "PSF-2.0", "PYTHON SOFTWARE FOUNDATION\n   LICENSE VERSION 2"),
        ("On Debian systems see /usr/share/common-licenses/GPL-3.", "GPL-3.0-only", "/usr/share/common-licenses/GPL-3"),
        ("# SPDX-License-Identifier: CC-BY-4.0\n", "CC-BY-4.0", "CC-BY-4.0"),
    ):
        found = licences.recognise(text)
        assert found and (found.expression, text[found.start : found.end]) == (expression, said)
    assert licences.recognise("You may read this on Sundays.") is None


GNU = "This is free software under the GNU General Public License version 2"
MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy. "
BSD = "Redistribution and use in source and binary forms. "


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (f"{GNU} only.", "GPL-2.0-only"),
        (f"{GNU}, or (at your option) any later version.", "GPL-2.0-or-later"),
        ("Version 3 of the License, or any later version; see /usr/share/common-licenses/LGPL-3.", "LGPL-3.0-or-later"),
        (MIT, "MIT"),
        (f"{MIT}The software shall be used for Good, not Evil.", "JSON"),
        (f"{MIT}Except as contained in this notice, the name of the X Consortium shall not be used.", "X11"),
        (f"{BSD}Neither the name of the harbour", "BSD-3-Clause"),
        (f"{BSD}All advertising materials mentioning features must say so. Neither the name", "BSD-4-Clause"),
        (f"{BSD}{'Another text. ' * 200} Neither the name", "BSD-2-Clause"),
    ],
)  # fmt: skip
def test_a_licence_is_not_taken_for_one_that_allows_more(text: str, expression: str) -> None:
    found = licences.recognise(text)
    assert found and found.expression == expression


def test_a_declared_licence_is_found_where_the_evidence_says_so() -> None:
    statement = "Written by our own staff; rights held by Harbour Press."
    assert licences.stated(statement, "CC-BY-4.0") == licences.Recognised("CC-BY-4.0", 0, len(statement))
    named = "All pages are under cc-by-4.0, as agreed."
    found = licences.stated(named, "CC-BY-4.0")
    assert found and named[found.start : found.end] == "cc-by-4.0"
    assert licences.stated("Long terms. " * 200, "CC-BY-4.0") is None


def test_only_a_tag_at_the_start_of_a_line_is_a_licence() -> None:
    assert licences.tag(b'.\\" SPDX-License-Identifier: MIT\n') == "MIT"
    assert licences.tag(b"/* SPDX-License-Identifier: BSD-3-Clause */\n") == "BSD-3-Clause"
    assert licences.tag(b"write the line SPDX-License-Identifier: MIT into it\n") is None
