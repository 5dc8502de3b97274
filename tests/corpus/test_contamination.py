"""Test items in a corpus, and texts in a published version: found exactly as the definition says, with what matched where."""

from __future__ import annotations

import os
import random
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.contamination import Builder, EvaluationSet, Index, Match, Rule, fingerprints, recall
from lilong.floors.corpus.curation.contamination.index import LETTERS, NEIGHBOURS, BadIndex, NoIndex
from lilong.floors.corpus.curation.contamination.reduction import Reduced
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.evaluation.contract import OverlapRule
from lilong.floors.evaluation.scoring.overlap import OverlapSearch
from tests.corpus.texts import chinese, english

NASTY = st.text(alphabet="abAÅ é里门가 ,\n\0\u00a0\u2028\u0301🙂１ﬁß_.", max_size=80)
QUESTION = "A plant in the yard of the old lane house turns its leaves to the window every single morning because it needs"


def plain_letters(text: str) -> list[tuple[str, int]]:
    """Letters that stand for the characters of the text, and where these are."""
    found = []
    for place, character in enumerate(text):
        folded = unicodedata.normalize("NFKC", character).casefold()
        kept = folded if len(folded) == 1 and ord(character) < 0x10000 else character
        if ord(character) >= 0x10000 or kept.isalnum() or unicodedata.category(kept)[0] == "M":
            found.append((kept, place))
    return found


def plain_words(text: str) -> list[str]:
    own = re.compile("[\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
    words: list[str] = []
    before = -2
    for letter, place in plain_letters(text):
        if words and place == before + 1 and not own.match(letter) and not own.match(words[-1]):
            words[-1] += letter
        else:
            words.append(letter)
        before = place
    return words


@settings(deadline=None)
@given(NASTY)
def test_a_text_is_reduced_to_the_letters_and_words_of_the_definition(text: str) -> None:
    reduced = Reduced.of(text)
    letters = plain_letters(text)
    assert "".join(map(chr, reduced.letters.tolist())) == "".join(letter for letter, _ in letters)
    assert reduced.places.tolist() == [len(text[:place].encode()) for _, place in letters]
    lengths = [len(word) for word in plain_words(text)]
    assert reduced.starts.tolist() == [sum(lengths[:number]) for number in range(len(lengths) + 1)]


@settings(max_examples=80, deadline=None)
@given(item=NASTY, documents=st.lists(NASTY, max_size=4), words=st.integers(3, 6), characters=st.integers(4, 12))
def test_windows_are_found_as_the_evaluation_floor_finds_them(item: str, documents: list[str], words: int, characters: int) -> None:
    theirs = OverlapSearch({"q": (item,)}, OverlapRule(words, characters, 2))
    theirs.feed_all((str(number), document) for number, document in enumerate(documents))
    expected = theirs.findings()[0]
    ours = EvaluationSet.of({"q": item}, Rule(words, characters, 2, near_share=0))
    hits = ours.search(Texts.of(documents))
    windows = {int(window) for window in hits.rows[:, 1]}
    assert ours.counts[0, :2].tolist() == [expected.windows["words"], expected.windows["characters"]]
    for method, name in enumerate(("words", "characters")):
        assert sum(int(ours.method[window]) == method for window in windows) == expected.found[name]


def test_a_match_says_which_document_and_which_bytes() -> None:
    documents = ["nothing of the kind " * 40, f"前言。 {QUESTION} water and light.", "the end"]
    items = EvaluationSet.of({"q": QUESTION})
    matches = items.matches(items.search(Texts.of(documents)))
    assert {(match.item, match.document, match.method, match.share) for match in matches} == {
        ("q", 1, "words", 1.0),
        ("q", 1, "characters", 1.0),
    }
    assert all(documents[1].encode()[match.start : match.end].decode() == QUESTION for match in matches)


def test_several_texts_of_one_item_and_items_with_a_passage_in_common_are_told_apart() -> None:
    shared = "the very same thirteen words stand in both of these two items here"
    items = EvaluationSet.of({"a": [shared, english(1, 2)], "b": f"{shared} and more", "short": "too short", "empty": ""})
    matches = items.matches(items.search(Texts.of([shared.upper()])))
    assert {match.item for match in matches} == {"a", "b"}
    assert items.matches(items.search(Texts.of([]))) == []


def planted(items: dict[str, str], disguise: object) -> tuple[list[str], dict[str, int]]:
    documents = [english(1_000 + number) for number in range(len(items))]
    places = {}
    for number, (name, text) in enumerate(items.items()):
        half = len(documents[number]) // 2
        documents[number] = f"{documents[number][:half]} {disguise(text, random.Random(number))} {documents[number][half:]}"  # type: ignore[operator]
        places[name] = number
    return documents, places


def changed(share: float) -> object:
    def change(text: str, pick: random.Random) -> str:
        return " ".join(f"other{pick.randint(0, 99)}" if pick.random() < share else word for word in text.split())

    return change


def renamed(text: str, pick: random.Random) -> str:
    """One name of the item becomes another wherever it stands."""
    names = sorted(set(re.findall(r"\b[a-z]{4,}\b", text)))
    return re.sub(rf"\b{pick.choice(names)}\b", "quince", text)


def reformatted(text: str, pick: random.Random) -> str:
    return re.sub(r" ", lambda _: pick.choice([" ", "\n", " \t", " — ", "  \n> "]), text).upper()


def questions(count: int) -> dict[str, str]:
    """Items of about 40 words, all different."""
    pick = random.Random(7)
    names = ["".join(pick.choices("abcdefghijklmnoprstuvw", k=pick.randint(3, 9))) for _ in range(400)]
    return {f"q{number}": " ".join(pick.choices(names, k=pick.randint(30, 50))) for number in range(count)}


@pytest.mark.parametrize(
    ("disguise", "least", "methods"),
    [
        (lambda text, pick: text, 1.0, {"words", "characters"}),
        (reformatted, 1.0, {"words", "characters"}),
        (renamed, 1.0, {"words", "characters", "near"}),
        (changed(0.1), 1.0, {"words", "characters", "near"}),
        (changed(0.2), 0.7, {"words", "characters", "near"}),
    ],
    ids=["verbatim", "reformatted", "renamed", "one word in ten", "one word in five"],
)
def test_planted_items_are_recalled(disguise: object, least: float, methods: set[str]) -> None:
    items = questions(60)
    documents, places = planted(items, disguise)
    searched = EvaluationSet.of(items)
    matches = searched.matches(searched.search(Texts.of(documents)))
    assert recall(matches, places) >= least
    assert {match.method for match in matches} <= methods
    assert all(places[match.item] == match.document for match in matches)


def test_a_phrase_of_the_set_s_form_makes_no_near_copy() -> None:
    form = "Which of the following statements about the old lane house is true and which is not"
    items = {f"q{number}": f"{form} {english(number, 1)}" for number in range(100)}
    found = EvaluationSet.of(items)
    matches = found.matches(found.search(Texts.of(["Which of the following statements about the old lane house is known to everybody?"])))
    assert [match for match in matches if match.method == "near"] == []


def test_documents_get_signals() -> None:
    items = EvaluationSet.of({"q": QUESTION})
    columns = items.measure(Texts.of([QUESTION, english(3), ""]))
    assert columns["contaminated_items"].tolist() == [1, 0, 0]
    assert columns["contaminated_share"].tolist() == [1.0, 0.0, 0.0]
    assert columns["near_items"].tolist() == [0, 0, 0]


def test_recall_counts_items_where_they_were_planted() -> None:
    match = Match("a", 3, "words", 1, 1, 0, 1)
    assert recall([match], {"a": 3, "b": 4}) == 0.5 and recall([match], {"a": 2}) == 0.0


# The index of a version.


def documents(count: int = 30) -> dict[str, str]:
    return {f"doc-{number:03d}": english(number) if number % 3 else chinese(number) for number in range(count)}


def built(folder: Path, texts: dict[str, str], batch: int = 7) -> str:
    names = list(texts)
    with Builder(folder) as builder:
        for start in range(0, len(names), batch):
            part = names[start : start + batch]
            builder.add(part, Texts.of([texts[name] for name in part]))
        return builder.finish()


def test_a_text_of_the_version_is_known_with_its_document(tmp_path: Path) -> None:
    texts = documents()
    built(tmp_path, texts)
    index = Index.open(tmp_path, verify=True)
    for name, text in texts.items():
        answer = index.ask(text)
        assert answer.share == 1.0 and answer.copies == (name,) and answer.documents[0] == (name, 1.0)


def test_a_passage_is_known_whatever_its_layout_and_a_stranger_is_not(tmp_path: Path) -> None:
    texts = documents()
    built(tmp_path, texts)
    index = Index.open(tmp_path)
    part = texts["doc-001"][200:500]
    answer = index.ask(re.sub(r"\s", "\n> ", part).upper())
    assert answer.share == 1.0 and answer.copies == () and answer.documents[0][0] == "doc-001"
    stranger = index.ask("Nobody has ever put these words into any of the documents of the version, not even by chance or mistake.")
    assert (stranger.share, stranger.documents, stranger.passages) == (0.0, (), ())


def test_an_answer_says_which_part_of_the_question_stands_where(tmp_path: Path) -> None:
    texts = documents()
    built(tmp_path, texts)
    own = " Something that nobody has written before, and rather a lot of it, so that it counts for a third of the whole. "
    question = own + texts["doc-002"][100:420] + own
    answer = Index.open(tmp_path).ask(question)
    passage = answer.passages[0]
    assert passage.document == "doc-002" and len(answer.passages) == 1
    assert question.encode()[passage.start : passage.end].decode() in texts["doc-002"]
    assert 0.3 < answer.share < 0.9


@pytest.mark.parametrize(
    "letters", ["潮水一天来两次守灯的人把钟点写在墙上以免出海的忘记时辰", "приливнаступаетдважды", "مدوجزرالبحرمرتين", "𐌰𐌱𐌲𐌳𐌴𐌵𐌶𐌷𐌸𐌹𐌺𐌻"]
)
def test_a_passage_ends_with_its_last_letter_however_many_bytes_that_has(tmp_path: Path, letters: str) -> None:
    text = "，".join(letters[at:] + letters[:at] for at in range(len(letters)))
    built(tmp_path, {"doc": text})
    passages = Index.open(tmp_path).ask(text[7:-7]).passages
    assert passages
    for passage in passages:
        part = text[7:-7].encode()[passage.start : passage.end].decode()
        assert part in text and part[-1] != "，"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), length=st.integers(LETTERS + NEIGHBOURS - 1, 200), before=st.integers(0, 90), after=st.integers(0, 90))
def test_every_shared_passage_of_65_letters_has_a_fingerprint_in_common(seed: int, length: int, before: int, after: int) -> None:
    pick = random.Random(seed)

    def letters(count: int) -> str:
        return "".join(pick.choices("abcdefghijklmnopqrstuvwxyz", k=count))

    passage = letters(length)
    one, other = letters(before) + passage + letters(after), letters(after) + passage + letters(before)
    mine, theirs = (set(fingerprints(Texts.of([text]))[0].tolist()) for text in (one, other))
    assert mine & theirs


def test_28_han_characters_are_enough(tmp_path: Path) -> None:
    texts = documents()
    built(tmp_path, texts)
    line = texts["doc-003"].replace("\n", "").replace("。", "")[30:58]
    assert Index.open(tmp_path).ask(f"人们都说，{line[:14]}；{line[14:]}！").documents[0][0] == "doc-003"


def test_a_short_text_is_known_only_as_a_whole(tmp_path: Path) -> None:
    built(tmp_path, {"poem": "床前明月光，疑是地上霜。", "note": "The lamp is lit.", "empty": "", "marks": "—!?"})
    index = Index.open(tmp_path)
    assert index.ask("the LAMP is lit").copies == ("note",)
    assert (index.ask("the lamp").share, index.ask("").share, index.ask("?!").copies) == (0.0, 0.0, ())


def test_the_order_and_the_batches_of_documents_change_no_byte(tmp_path: Path) -> None:
    texts = documents()
    texts |= {f"copy-{number}": texts["doc-001"] for number in range(40)}
    shuffled = dict(random.Random(1).sample(list(texts.items()), len(texts)))
    assert built(tmp_path / "one", texts) == built(tmp_path / "other", shuffled, batch=11)
    files = [{path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in ("one", "other")]
    assert files[0] == files[1] and len(files[0]) == 4


def test_boilerplate_is_kept_for_the_first_documents_only(tmp_path: Path) -> None:
    built(tmp_path, {f"copy-{number:02d}": english(1) for number in range(40)})
    answer = Index.open(tmp_path).ask(english(1))
    assert answer.copies == tuple(f"copy-{number:02d}" for number in range(16)) and answer.share == 1.0


def test_what_is_no_index_or_a_damaged_one_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NoIndex):
        Index.open(tmp_path)
    built(tmp_path, documents(4))
    damaged = next(path for path in tmp_path.iterdir() if path.suffix == ".npy" and path.stat().st_size > 1_000)
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    Index.open(tmp_path)
    with pytest.raises(BadIndex, match=damaged.name):
        Index.open(tmp_path, verify=True)
    os.truncate(damaged, 200)
    with pytest.raises(BadIndex):
        Index.open(tmp_path)


def test_an_empty_version_has_an_index(tmp_path: Path) -> None:
    built(tmp_path, {})
    index = Index.open(tmp_path)
    assert len(index) == 0 and index.ask(english(1)).share == 0.0
