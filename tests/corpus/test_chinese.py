"""Layout, repetition and the profile gopher-zh, against slow plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation import characters, chinese
from lilong.floors.corpus.curation.chinese.function_characters import FUNCTION_CHARACTERS, function_characters
from lilong.floors.corpus.curation.layout import LAYOUT, layout
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import read_policy
from lilong.floors.corpus.curation.repetition import repetition
from lilong.floors.corpus.curation.texts import Texts

NASTY = st.text(alphabet="ab1里弄的是。，.,!?？;…—-•#{}() \t\n\r\0\u00a0\u2028\u3000\u0301🙂Ａ１か가", max_size=70)
LINES = st.lists(st.sampled_from(["", "里弄", "- 里弄。", "1. ab", "（2）里", "12、灯", "ab...", "灯…", "    x = {", "#ab", " ", "2024-01-02 12:34", "里 弄, 灯。", "长" * 20]), max_size=14).map("\n".join)  # fmt: skip


def kind(character: str) -> str:
    table = characters.classes()
    return characters.CLASSES[table[ord(character)]] if ord(character) < len(table) else "other"


def is_list(visible: str) -> bool:
    first, second, third = (*visible, "", "", "")[:3]
    marks = (".", ")", "、", "．", "）")
    if first.isascii() and first.isdigit():
        return (third if second.isascii() and second.isdigit() else second) in marks and visible != ""
    if first in ("(", "（"):
        return second.isascii() and second.isdigit() and third in (")", "）")
    return first != "" and first in "-*•·▪●‣◦⁃○■□◆◇★☆※→"


def plain_layout(text: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    found["characters"] = len(text)
    lines, paragraphs, paragraph = [], [], []
    for line in text.split("\n"):
        visible = "".join(character for character in line if kind(character) not in ("blank", "control"))
        if not visible:
            paragraphs.append(paragraph)
            paragraph = []
            continue
        width = sum(2 if kind(character) in ("han", "kana", "hangul", "wide_mark") else 1 for character in line)
        indent = 0
        for character in line:
            if kind(character) not in ("blank", "control"):
                break
            indent += 4 if character == "\t" else 1
        ended, short = visible[-1] in ".!?\"':;)。！？；：）”’…」』》】", width < 30
        found["visible"] += len(visible)
        found["longest_line"] = max(found["longest_line"], len(line))
        found["short_lines"] += short
        found["list_lines"] += is_list(visible)
        found["ended_lines"] += ended
        found["nav_lines"] += short and not indent and not is_list(visible) and not ended
        found["ellipsis_lines"] += visible.endswith(("…", "..."))
        found["indented_lines"] += indent >= 4
        found["code_lines"] += visible[-1] in ";{}[](,\\=|&+" or visible[0] in "#$<>%}{@/|\\+~)]"
        digits = sum(character in "0123456789" for character in visible)
        found["numeric_lines"] += digits >= 4 and digits > sum(
            kind(character) in ("latin", "letter", "han", "kana", "hangul") for character in visible
        )
        found["dup_lines"] += visible in lines
        found["dup_line_characters"] += len(visible) * (visible in lines)
        lines.append(visible)
        paragraph.append(visible)
    paragraphs = [part for part in [*paragraphs, paragraph] if part]
    found["lines"], found["paragraphs"] = len(lines), len(paragraphs)
    for number, part in enumerate(paragraphs):
        found["dup_paragraphs"] += part in paragraphs[:number]
        found["dup_paragraph_characters"] += sum(map(len, part)) * (part in paragraphs[:number])
    for number, character in enumerate(text):
        after, before = text[number + 1 : number + 2], text[number - 1 : number] if number else ""
        found["sentences"] += character in "。！？" or (character in ".!?" and (after == "" or kind(after) in ("blank", "newline")))
        if before and kind(before) == "han":
            found["half_width_after_han"] += kind(character) == "ascii_mark" and character in "!,.:;?"
            found["wide_after_han"] += kind(character) == "wide_mark"
        if number > 1 and kind(character) == "han" and kind(before) == "blank":
            found["spaced_han"] += kind(text[number - 2]) == "han"
    return {name: int(found[name]) for name in LAYOUT}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(NASTY, LINES), max_size=5))
@example(["灯…\n\n2024-01-02 12:34\n\n灯…"])  # a line that falls into the place of a paragraph
def test_layout_is_that_of_plain_python(texts: list[str]) -> None:
    counted = layout(Texts.of(texts))
    for number, text in enumerate(texts):
        assert {name: int(counted[name][number]) for name in LAYOUT} == plain_layout(text)


def plain_tokens(text: str) -> list[str]:
    tokens, run = [], ""
    for character in [*text, "\n"]:
        if kind(character) in ("latin", "letter", "hangul", "digit", "wide_form"):
            run += character.lower() if character.isascii() else character
            continue
        tokens += [run] if run else []
        run = ""
        tokens += [character] if kind(character) in ("han", "kana") else []
    return tokens


def plain_top(tokens: list[str], n: int) -> float:
    weights: Counter[tuple[str, ...]] = Counter()
    times: Counter[tuple[str, ...]] = Counter()
    for at in range(len(tokens) - n + 1):
        gram = tuple(tokens[at : at + n])
        weights[gram] += sum(map(len, gram))
        times[gram] += 1
    most = max((weight for gram, weight in weights.items() if times[gram] > 1), default=0)
    return min(1.0, most / sum(map(len, tokens))) if tokens else 0.0


def plain_duplicate(tokens: list[str], n: int) -> float:
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for at in range(len(tokens) - n + 1):
        gram = tuple(tokens[at : at + n])
        covered |= set(range(at, at + n)) if gram in seen else set()
        seen.add(gram)
    return sum(len(tokens[at]) for at in covered) / sum(map(len, tokens)) if tokens else 0.0


REPEATING = st.lists(st.sampled_from(["里", "弄", "灯", "ab ", "AB", "。", " ", "12", "か", "가", "\n"]), max_size=80).map("".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(REPEATING, NASTY), max_size=4))
def test_repetition_is_that_of_plain_python(texts: list[str]) -> None:
    tops, duplicates = (2, 3), (3, 4, 6)
    found = repetition(Texts.of(texts), tops, duplicates)
    for row, text in zip(found, texts, strict=True):
        tokens = plain_tokens(text)
        assert row[:3].tolist() == [len(tokens), sum(map(len, tokens)), len(set(tokens))]
        assert np.allclose(row[3:5], [plain_top(tokens, n) for n in tops])
        assert np.allclose(row[5:], [plain_duplicate(tokens, n) for n in duplicates])


@settings(deadline=None)
@given(st.lists(st.text(alphabet=FUNCTION_CHARACTERS + "里a🙂\n", max_size=40), max_size=4))
def test_function_characters_are_counted_once_each(texts: list[str]) -> None:
    expected = [len(set(text) & set(FUNCTION_CHARACTERS)) for text in texts]
    assert function_characters(Texts.of(texts)).tolist() == expected


PROSE = (
    "老弄堂里的居民每天清晨都会到井边打水，然后在门口的灯下读一会儿报纸。{0}孩子们在院子里玩耍，老人们坐在竹椅上谈论过去的日子。"
    "到了傍晚，家家户户的厨房里飘出饭菜的香味，邻居之间互相送一碗汤是常有的事。{0}这样的生活虽然简单，却让人觉得安心，也是这座城市最温暖的记忆。"
)


def reasons(*texts: str) -> list[str]:
    policy = read_policy(chinese.POLICY, chinese.COLUMNS)
    signals = pa.table(chinese.measure(Texts.of(list(texts))))
    return decide(policy, signals).table(signals)["reason"].to_pylist()


def test_prose_is_kept_whether_simplified_traditional_or_wrapped() -> None:
    traditional = PROSE.translate(str.maketrans("里们会边读报纸儿这单让觉间户饭邻", "裡們會邊讀報紙兒這單讓覺間戶飯鄰"))
    assert reasons(PROSE.format(""), PROSE.format("\n"), traditional.format("\n\n")) == ["", "", ""]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("床前明月光，疑是地上霜。", "too_few_han_characters"),
        (PROSE.format("") + "\ufffd", "private_share"),
        (PROSE.format("") + "The rest of this page has not been translated yet. " * 20, "little_han"),
        (" ".join(PROSE.format("")), "spaced_han"),
        ("里弄灯井门墙楼梯厨房院子信箱账本屋顶" * 9, "little_punctuation"),
        ("弄堂。" * 12 + "\n" + (PROSE.format("") + "\n") * 4, "dup_line_share"),
        (PROSE.format("") + "，" * 200, "much_punctuation"),
        ("\n".join(f"- {word}。" for word in [PROSE.format("")[at : at + 9] for at in range(0, 120, 9)]), "list_lines"),
        ("居民的井在这里。" * 80, "top_3gram_share"),
    ],
)
def test_what_is_no_prose_is_dropped_for_its_reason(text: str, reason: str) -> None:
    assert reasons(text) == [reason]


def test_every_signal_is_there_even_for_empty_texts() -> None:
    columns = chinese.measure(Texts.of(["", "\n\n", " ", "里"]))
    assert list(columns) == list(chinese.COLUMNS)
    assert all(np.isfinite(column).all() and len(column) == 4 for column in columns.values())
    assert chinese.measure(Texts.of([]))["lines"].tolist() == []


def test_half_width_marks_after_han_characters_are_a_share_of_all_marks_there() -> None:
    columns = chinese.measure(Texts.of(["灯,井.门，墙。(a) b, c.", "里弄ＡＢ１ab"]))
    assert columns["half_width_share"].tolist() == [0.5, 0.0]
    assert columns["wide_form_share"].tolist() == [0.0, 0.6]
