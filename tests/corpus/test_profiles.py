"""The profiles for code and for documentation: what their marks are, and what their policies keep and drop."""

from __future__ import annotations

import base64
import random
import re
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation import chinese, code, documentation, languages
from lilong.floors.corpus.curation.marks import encoded, phrases
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import read_policy
from lilong.floors.corpus.curation.texts import Texts
from tests.corpus.texts import english


def reasons(profile: ModuleType, *texts: str) -> list[str]:
    policy = read_policy(profile.POLICY, profile.COLUMNS)
    signals = pa.table(profile.measure(Texts.of(list(texts))))
    return decide(policy, signals).table(signals)["reason"].to_pylist()


@pytest.mark.parametrize("profile", [chinese, code, documentation], ids=lambda profile: profile.PROFILE)
def test_a_policy_speaks_of_its_own_profile_s_signals(profile: ModuleType) -> None:
    policy = read_policy(profile.POLICY, profile.COLUMNS)
    assert (policy.name, policy.profile) == (profile.PROFILE, profile.PROFILE)
    assert len({rule.reason for rule in policy.rules}) == len(policy.rules)


@pytest.mark.parametrize("profile", [code, documentation], ids=lambda profile: profile.PROFILE)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=4))
def test_signals_are_finite_and_do_not_depend_on_neighbours(profile: ModuleType, texts: list[str]) -> None:
    together = profile.measure(Texts.of(texts))
    assert list(together) == list(profile.COLUMNS)
    for number, text in enumerate(texts):
        alone = profile.measure(Texts.of([text]))
        assert all(together[name][number] == alone[name][0] and np.isfinite(alone[name][0]) for name in together)


@pytest.mark.parametrize("profile", [chinese, code, documentation, languages], ids=lambda profile: profile.__name__)
def test_one_endless_line_or_nothing_but_blanks_are_measured_like_any_text(profile: ModuleType) -> None:
    texts = [
        "x" * 1_000_000,
        "里" * 300_000,
        "\n" * 100_000,
        "\0" * 1_000,
        "\u2028\u00a0\r\n" * 1_000,
        "e\u0301🙂" * 1_000,
        "0x12," * 10_000,
    ]
    columns = profile.measure(Texts.of(texts))
    assert all(len(column) == len(texts) for column in columns.values())
    assert all(np.isfinite(column).all() for column in columns.values() if column.dtype.kind in "if")


def encoded_share(text: str) -> float:
    return float(encoded(Texts.of([text]))[0, 0]) / len(text.encode())


def test_runs_of_encoded_data_are_measured() -> None:
    blob = base64.b64encode(random.Random(1).randbytes(600)).decode()
    wrapped = "\n".join(blob[at : at + 76] for at in range(0, len(blob), 76))
    assert encoded(Texts.of([f"key: {blob} end", f"a\n{wrapped}\n\nb"]))[:, 1].tolist() == [len(blob), len(wrapped)]
    digest = random.Random(2).randbytes(64).hex()
    assert encoded(Texts.of([f"sha512 {digest}."])).tolist() == [[128, 128]]
    for listed in (", ".join(f"0x{byte:02x}" for byte in range(64)), "".join(rf"\x{byte:02x}" for byte in range(64)), r"\u4e2d" * 10):
        assert encoded_share(f"{listed}") == 1.0


@pytest.mark.parametrize(
    "text",
    [
        english(1),
        "/usr/share/documentation/of/a/very/long/path/that/goes/on/and/on/for/more/than/sixty/four/characters",
        "SHORT1\nNAMES2\nOF3\nParts4\n" * 20,
        "12 34 56 78 90 12 34 56 and so on, 0x12, 0x34 here",
        "a" * 500,
        "_" * 500,
        "里弄" * 300,
        "0x" * 20,
        "",
    ],
)
def test_paths_names_and_numbers_are_no_encoded_data(text: str) -> None:
    assert encoded(Texts.of([text])).tolist() == [[0, 0]]


@settings(deadline=None)
@given(texts=st.lists(st.text(alphabet="doNOT editDI\n里", max_size=60), max_size=4), window=st.integers(0, 40))
def test_phrases_are_counted_once_each_in_the_first_bytes(texts: list[str], window: int) -> None:
    wanted = ("do not", "edit", "no", "t\n")
    expected = [sum(phrase.encode() in text.encode()[:window].lower() for phrase in wanted) for text in texts]
    assert phrases(Texts.of(texts), wanted, window).tolist() == expected


SOURCE = '''"""Lamps of a lane."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lamp:
    """A lamp over a door."""

    door: str
    lit: bool = False


def light(lamps: list[Lamp], door: str) -> list[Lamp]:
    """All lamps, the one over `door` lit."""
    return [Lamp(lamp.door, lamp.lit or lamp.door == door) for lamp in lamps]
'''


def test_written_code_is_kept_with_and_without_a_licence_header() -> None:
    header = "# SPDX-License-Identifier: Apache-2.0\n# Copyright (c) 2026 Lantern Works\n"
    assert reasons(code, SOURCE, header + SOURCE) == ["", ""]
    columns = code.measure(Texts.of([SOURCE, header + SOURCE]))
    assert columns["licence_marks"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\n", "too_short"),
        ("# Generated by the lamp compiler. DO NOT EDIT!\n" + SOURCE, "generated"),
        ("var a=" + ";".join(f"b{number}=c(d{number})" for number in range(900)), "long_lines"),
        (SOURCE * 20 + "TABLE = " + "lamp and door " * 90, "longest_line"),
        ("\n".join(", ".join(str(number * 7919 % 1000 / 7)[:6] for number in range(row, row + 8)) for row in range(60)), "few_letters"),
        (
            SOURCE
            + "DATA = '''\n"
            + "\n".join(base64.b64encode(random.Random(row).randbytes(57)).decode() for row in range(12))
            + "\n'''\n",
            "encoded_share",
        ),
        ("    set_lamp(door, lit);\n" * 60, "dup_line_character_share"),
    ],
)
def test_what_nobody_wrote_by_hand_is_dropped_for_its_reason(text: str, reason: str) -> None:
    assert reasons(code, text) == [reason]


MANUAL = """LANTERN(1)

NAME

lantern - light the lamps of a lane

SYNOPSIS

lantern [-a] [-d DOOR] [--until HOUR]

DESCRIPTION

lantern lights the lamp over one door, or over every door of the lane. It waits for the flame to stand before it goes on.

-a     light all lamps
-d     light the lamp over this door
--until
       put them out at this hour

EXAMPLES

    $ lantern -d 12
    $ lantern -a --until 23

SEE ALSO

snuffer(1), wick(5)
"""


def test_a_manual_is_kept_in_english_and_in_chinese() -> None:
    translated = (
        "灯笼(1)\n\n名称\n\n灯笼 - 点亮弄堂里的灯\n\n描述\n\n这个命令点亮一扇门上的灯，或者弄堂里所有门上的灯。它等火焰稳定之后才继续。\n"
        * 1
    )
    translated += "\n选项\n\n-a     点亮所有的灯，直到早晨为止。\n-d     只点亮指定的那扇门上的灯，其余保持原样。\n-u     到了给定的钟点就把它们熄灭。\n"
    assert reasons(documentation, MANUAL, translated) == ["", ""]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Lamps\n\nSee index.", "too_short"),
        (english(2, 8) + "\nPage not found", "stub"),
        ("\n".join(f"{number}  {number * 37}  {number * 91}  row" for number in range(100, 160)), "few_letters"),
        ("\n".join(f"name{number} (in module lane{number})" for number in range(60)).replace(")", ""), "no_sentences"),
        ("Read this. And that.\n" + "\n".join(f"Chapter on {word}" for word in re.findall(r"[a-z]{4,}", english(3))[:80]), "nav_lines"),
        (english(4, 4) + "\n" + "The same note stands under each and every table of this page.\n" * 12, "dup_line_character_share"),
    ],
)
def test_what_is_no_text_to_read_is_dropped_for_its_reason(text: str, reason: str) -> None:
    assert reasons(documentation, text) == [reason]
