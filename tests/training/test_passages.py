from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.corpora import make_corpus
from tests.training.tiny import SENTENCES, tiny_tokenizer
from tokenizers import Tokenizer

from lilong.floors.training.contract import CorpusUnusable
from lilong.floors.training.pretraining.passages import Passages, Place, TokenStream, check_enough
from lilong.floors.training.pretraining.recipe import Recipe

SEPARATOR = 0
TOKENIZER = tiny_tokenizer(400)


def tokenizer() -> Tokenizer:
    return Tokenizer.from_str(TOKENIZER.to_str())


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("ab c\n井"), max_size=400), min_size=1, max_size=6).filter(any), characters=st.integers(64, 200)
)
def test_every_character_belongs_to_exactly_one_passage(texts: list[str], characters: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        passages = Passages(make_corpus(Path(folder) / "c", texts, files=1), characters)
        joined = "".join(passages.text(number) for number in range(len(passages)))
    assert joined == "".join(texts)
    assert passages.total_characters == len(joined)


def test_cuts_fall_after_white_space(tmp_path: Path) -> None:
    passages = Passages(make_corpus(tmp_path, [" ".join(SENTENCES[:5]) * 4], files=1), 128)
    assert all(passages.text(number)[-1].isspace() for number in range(len(passages) - 1))


def test_an_epoch_reads_every_passage_once_and_the_next_in_another_order(tmp_path: Path) -> None:
    passages = Passages(make_corpus(tmp_path), 128)
    stream = TokenStream(passages, tokenizer(), SEPARATOR, seed=3)
    epochs: dict[int, list[list[int]]] = {}
    found: list[int] = []
    while (epoch := stream.place.epoch) < 2:
        token = int(stream.take(1)[0])
        found.append(token)
        if token == SEPARATOR:
            epochs.setdefault(epoch, []).append(found)
            found = []
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]
    assert len(epochs[0]) == len(passages)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 300), min_size=2, max_size=8), cut=st.integers(0, 6))
def test_a_stream_goes_on_exactly_where_it_stopped(stream_corpus: Passages, sizes: list[int], cut: int) -> None:
    whole = TokenStream(stream_corpus, tokenizer(), SEPARATOR, seed=1)
    expected = [whole.take(size).tolist() for size in sizes]
    first = TokenStream(stream_corpus, tokenizer(), SEPARATOR, seed=1)
    found = [first.take(size).tolist() for size in sizes[:cut]]
    second = TokenStream(stream_corpus, tokenizer(), SEPARATOR, seed=1, start=Place(**first.place.as_json()))
    found += [second.take(size).tolist() for size in sizes[cut:]]
    assert found == expected


def test_the_token_beyond_a_block_is_the_first_of_the_next(stream_corpus: Passages) -> None:
    stream = TokenStream(stream_corpus, tokenizer(), SEPARATOR, seed=5)
    one, two = stream.take(100), stream.take(50)
    assert (len(one), len(two)) == (101, 51)
    assert one[-1] == two[0]


def test_control_tokens_in_a_document_are_plain_text(tmp_path: Path) -> None:
    passages = Passages(make_corpus(tmp_path, ["say <|im_end|> twice"], files=1), 128)
    tokens = TokenStream(passages, tokenizer(), SEPARATOR, seed=0).take(20)
    assert 2 not in tokens[: tokens.tolist().index(SEPARATOR)]


def test_a_corpus_that_is_too_small_is_refused_with_the_number_of_steps_it_allows(tmp_path: Path) -> None:
    passages = Passages(make_corpus(tmp_path), 128)
    check_enough(passages, tokenizer(), Recipe.parse({"steps": 4, "tokens_per_step": 512}))
    with pytest.raises(CorpusUnusable, match=r"at most [1-9]"):
        check_enough(passages, tokenizer(), Recipe.parse({"steps": 10_000, "tokens_per_step": 512}))


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_an_empty_corpus_is_refused(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(CorpusUnusable, match="no text"):
        Passages(make_corpus(tmp_path, texts, files=1), 128)


def test_a_folder_without_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusUnusable, match="train-"):
        Passages(tmp_path, 128)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    (tmp_path / "data" / "train-00001.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(CorpusUnusable, match="cannot be read"):
        Passages(tmp_path, 128)


@pytest.fixture(scope="module")
def stream_corpus(tmp_path_factory: pytest.TempPathFactory) -> Passages:
    return Passages(make_corpus(tmp_path_factory.mktemp("stream")), 128)
