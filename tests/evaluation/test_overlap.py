from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.evaluation.contract import OverlapRule
from lilong.floors.evaluation.scoring import overlap
from lilong.floors.evaluation.scoring.overlap import Finding, OverlapSearch

USUAL = OverlapRule(words=13, characters=50, least_words=5)
QUESTION = "A plant in the yard of the old lane house turns its leaves to the window every single morning because it needs"
CHINESE = (
    "里弄的居民每天早上在井边打水，然后把菜洗干净，再到门口的灯下读一会儿书，最后才去上班，这样的日子已经过了四十多年，谁也没有觉得厌倦。"
)


def search(items: dict[str, str], documents: list[str], rule: OverlapRule = USUAL) -> dict[str, Finding]:
    found = OverlapSearch({name: (text,) for name, text in items.items()}, rule)
    found.feed_all((f"doc-{number}", text) for number, text in enumerate(documents))
    return {finding.item: finding for finding in found.findings()}


def test_a_planted_item_is_found_with_the_document_and_the_passage() -> None:
    documents = ["nothing of the kind " * 40, f"prefix of its own. {QUESTION} water and light.", "the end"]
    finding = search({"q": QUESTION}, documents)["q"]
    assert finding.share == 1.0
    assert {hit.document for hit in finding.hits} == {"doc-1"}
    assert finding.hits[0].text in documents[1]


def test_case_layout_and_punctuation_hide_nothing() -> None:
    disguised = re.sub(" ", " \n— ", QUESTION).upper()
    assert search({"q": QUESTION}, [disguised])["q"].share == 1.0


def test_a_chinese_item_is_found_across_line_breaks_and_other_punctuation() -> None:
    wrapped = CHINESE.replace("，", ",\n").replace("。", "")
    assert search({"q": CHINESE}, ["前言", wrapped])["q"].share == 1.0


def test_twelve_shared_words_and_49_shared_letters_are_not_enough() -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "to", "me"]
    assert not search({"q": " ".join([*words, "never", "seen"])}, [" ".join([*words, "otherwise", "gone"])])["q"].contaminated
    letters = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklm"
    assert not search({"q": letters + "X"}, [letters + "Y"])["q"].contaminated


def test_a_short_item_is_searched_whole_and_a_very_short_one_is_said_to_be_too_short() -> None:
    findings = search(
        {"short": "Bats sleep with their heads down", "tiny": "Predators eat bunnies"},
        ["Predators eat bunnies. BATS sleep with their heads down!"],
    )
    assert findings["short"].contaminated
    assert not findings["tiny"].searched


def test_a_passage_that_runs_over_two_documents_does_not_count() -> None:
    item = QUESTION[:70]
    assert search({"q": item}, [item])["q"].contaminated
    assert not search({"q": item}, [item[:35], item[35:]])["q"].contaminated


def test_words_that_are_glued_together_are_found_by_letters_only() -> None:
    finding = search({"q": QUESTION}, [QUESTION.replace(" ", "")])["q"]
    assert finding.found == {"words": 0, "characters": finding.windows["characters"]}


def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "SLICE_CHARACTERS", 64)
    draw = random.Random(4)
    documents = [" ".join(draw.choices(["lane", "house", "gate", "well", "door", "lamp"], k=30)) for _ in range(50)]
    documents[33] += " " + QUESTION
    finding = search({"q": QUESTION}, documents)["q"]
    assert finding.share == 1.0
    assert finding.hits[0].document == "doc-33"


def naive_words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|[一-龥]", text.lower())


def naive(item: str, documents: list[str], rule: OverlapRule) -> dict[str, int]:
    """How many distinct windows stand in the documents, by the definition."""
    words = naive_words(item)
    n = min(rule.words, len(words)) if len(words) >= rule.least_words else 0
    windows = {tuple(words[at : at + n]) for at in range(len(words) - n + 1)} if n else set()
    letters = "".join(words)
    pieces = {letters[at : at + rule.characters] for at in range(len(letters) - rule.characters + 1)}
    seen = set()
    for document in documents:
        theirs = naive_words(document)
        seen |= {tuple(theirs[at : at + n]) for at in range(len(theirs) - n + 1)} if n else set()
    joined = ["".join(naive_words(document)) for document in documents]
    return {"words": len(windows & seen), "characters": sum(any(piece in text for text in joined) for piece in pieces)}


TEXTS = st.text(alphabet="ab里门 ,\nA", max_size=60)


@settings(max_examples=150, deadline=None)
@given(item=TEXTS, documents=st.lists(TEXTS, max_size=5), words=st.integers(3, 6), characters=st.integers(4, 12))
def test_the_search_finds_exactly_what_the_definition_says(item: str, documents: list[str], words: int, characters: int) -> None:
    rule = OverlapRule(words, characters, 2)
    assert search({"q": item}, documents, rule)["q"].found == naive(item, documents, rule)
