"""Training on token shards: the same stream and the same losses as on text, and refusals where they would not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.corpora import make_corpus
from tests.training.tiny import make_tiny_base, tiny_tokenizer
from tokenizers import Tokenizer

from lilong.floors.corpus.curation.writing.tokens import tables_of, tokenise
from lilong.floors.training import rules
from lilong.floors.training.contract import CorpusUnusable
from lilong.floors.training.pretraining.passages import Passages, TokenStream, check_enough
from lilong.floors.training.pretraining.recipe import Recipe
from lilong.floors.training.pretraining.reporting import Meter
from lilong.floors.training.pretraining.run import run
from lilong.floors.training.pretraining.shards import Shards

RECIPE: dict[str, Any] = {
    "steps": 4, "tokens_per_step": 128, "sequence_length": 64, "learning_rate": 1e-3, "warmup": 1, "threads": 1, "checkpoint_every": 3,
    "passage_characters": 100_000, "passage_tokens": 100_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def corpus(tmp_path: Path, base: Path) -> Path:
    folder = make_corpus(tmp_path / "corpus")
    tokenise(tables_of(folder), base / "tokenizer.json", folder / "tokens")
    return folder


def trained(base: Path, corpus: Path, folder: Path, **recipe: Any) -> dict[str, Any]:
    spec = {"name": "tiny", "licence": "apache-2.0", "recipe": {**RECIPE, **recipe}}
    return run(base, corpus, folder / "out", folder / "state", spec, lambda *_: None, Meter(lambda: 0.0, lambda: 0.0))


def test_shards_give_the_same_losses_and_weights_as_the_text_that_they_were_made_of(base: Path, corpus: Path, tmp_path: Path) -> None:
    text = trained(base, corpus, tmp_path / "text")
    (corpus / "data" / "train-00000.parquet").unlink()  # the shards are all that is needed
    tokens = trained(base, corpus, tmp_path / "tokens", read="tokens")
    rows = [[json.loads(line) for line in (tmp_path / name / "out" / "loss.jsonl").read_text().splitlines()] for name in ("text", "tokens")]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert text["files"]["model.safetensors"] == tokens["files"]["model.safetensors"]
    for name in ("documents", "characters", "languages"):
        assert text["corpus"][name] == tokens["corpus"][name], name


def test_the_shards_of_another_tokenizer_are_refused(base: Path, corpus: Path, tmp_path: Path) -> None:
    tiny_tokenizer(300).save(str(tmp_path / "tokenizer.json"))
    tokenise(tables_of(corpus), tmp_path / "tokenizer.json", tmp_path / "other" / "tokens")
    with pytest.raises(CorpusUnusable, match=r"made with the tokenizer [0-9a-f]{12}, and the base model's is [0-9a-f]{12}.*tokenizer.json"):
        trained(base, tmp_path / "other", tmp_path, read="tokens")


def test_shards_that_are_missing_or_damaged_are_named(base: Path, corpus: Path) -> None:
    def opened() -> Shards:
        return Shards(corpus, 64, base / "tokenizer.json")

    shard = corpus / "tokens" / "tokens-00001.bin"
    whole = shard.read_bytes()
    for damaged in (whole[:-2], whole[:-1], b""):
        shard.write_bytes(damaged)
        with pytest.raises(CorpusUnusable, match=r"tokens-00001\.bin"):
            opened()
    shard.unlink()
    with pytest.raises(CorpusUnusable, match=r"tokens-00001\.bin cannot be read"):
        opened()
    (corpus / "tokens" / "index.json").write_text("{}")
    with pytest.raises(CorpusUnusable, match="no usable 'characters'"):
        opened()
    (corpus / "tokens" / "index.json").unlink()
    with pytest.raises(CorpusUnusable, match="lilong corpus tokenise"):
        opened()


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 300))
def test_every_token_belongs_to_exactly_one_passage(shards: tuple[Path, Path], length: int) -> None:
    folder, tokenizer = shards
    found = Shards(folder, length, tokenizer)
    joined = np.concatenate([found.tokens(number) for number in range(len(found))]).tolist()
    exact = Tokenizer.from_file(str(tokenizer))
    exact.encode_special_tokens = True
    texts = [text for file in sorted((folder / "data").iterdir()) for text in pq.read_table(file).column("text").to_pylist()]
    assert joined == [token for text in texts for token in exact.encode(text, add_special_tokens=False).ids]
    assert found.estimate(exact) == len(joined) + len(found)
    assert all(0 < len(found.tokens(number)) <= length for number in range(len(found)))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = make_corpus(
        tmp_path_factory.mktemp("shards") / "corpus", ["", "say <|im_end|> twice", *["A lane. " * n for n in range(30)]], files=3
    )
    tiny_tokenizer(400).save(str(folder / "tokenizer.json"))
    tokenise(tables_of(folder), folder / "tokenizer.json", folder / "tokens")
    return folder, folder / "tokenizer.json"


def test_the_stream_of_shards_is_that_of_the_text(shards: tuple[Path, Path]) -> None:
    folder, tokenizer = shards
    exact = Tokenizer.from_file(str(tokenizer))
    one = TokenStream(Passages(folder, 100_000), exact, 0, seed=3)
    other = TokenStream(Shards(folder, 100_000, tokenizer), exact, 0, seed=3)
    for _ in range(20):
        assert one.take(97).tolist() == other.take(97).tolist()
        assert one.place == other.place


def test_too_few_tokens_are_refused_by_their_number(shards: tuple[Path, Path]) -> None:
    folder, tokenizer = shards
    found = Shards(folder, 64, tokenizer)
    with pytest.raises(CorpusUnusable, match=f"about {found.estimate(Tokenizer.from_file(str(tokenizer))):,} tokens"):
        check_enough(found, Tokenizer.from_file(str(tokenizer)), Recipe.parse({"steps": 1_000, "tokens_per_step": 512}))


def test_a_job_is_given_the_shards_alone_and_a_version_without_them_is_refused() -> None:
    tree = dict.fromkeys(("data/train-0.parquet", "tokens/index.json", "tokens/tokens-00000.bin", "tokens/tokens-00000.idx", "tokens/tokens-00000.json", "README.md"), "sha256:0")  # fmt: skip
    assert sorted(rules.corpus_files("harbour-lab/texts", tree, "tokens")) == [
        "tokens/index.json",
        "tokens/tokens-00000.bin",
        "tokens/tokens-00000.idx",
    ]
    assert list(rules.corpus_files("harbour-lab/texts", tree)) == ["data/train-0.parquet"]
    with pytest.raises(CorpusUnusable, match=r"tokens/index\.json.*lilong corpus tokenise"):
        rules.corpus_files("harbour-lab/texts", {"data/train-0.parquet": "sha256:0"}, "tokens")
