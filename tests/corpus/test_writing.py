"""Writers: tables whose bytes depend on their rows alone, and token shards that hold what the tokenizer answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.writing import tables, tokens

TEXTS = [f"Tide {number} comes in.\n" + "The harbour lab counts the waves. " * (number % 9) + "潮😀" for number in range(700)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=12), st.integers(1, 50), st.integers(1, 400))
def test_a_table_has_the_same_bytes_however_its_rows_came(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[int], rows: int, size: int
) -> None:
    folder = tmp_path_factory.mktemp("table")
    whole = pa.table(
        {
            "id": [f"{number:04}" for number in range(200)],
            "text": pa.array(["x" * (number % 23) for number in range(200)], pa.large_string()),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROWS", rows)
        patch.setattr(tables, "GROUP_BYTES", size)
        with tables.TableFile(folder / "one.parquet", sized="text") as out:
            out.write(whole)
        with tables.TableFile(folder / "many.parquet", sized="text") as out:
            at = 0
            for piece in [*pieces, 200]:
                out.write(whole.slice(at, piece))
                at += piece
    assert (folder / "one.parquet").read_bytes() == (folder / "many.parquet").read_bytes()
    assert pq.read_table(folder / "many.parquet").equals(whole)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = library.trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(TEXTS[:50], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tokens, "SHARD_BYTES", 20_000)
    pq.write_table(
        pa.table({"id": [str(number) for number in range(len(TEXTS))], "text": TEXTS}), tmp_path / "documents.parquet", row_group_size=100
    )
    return tmp_path / "documents.parquet"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_hold_each_document_s_tokens(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    import tokenizers

    index = tokens.tokenise(documents, tokenizer, tmp_path / "out")
    exact = tokenizers.Tokenizer.from_file(str(tokenizer))
    shards = tokens.TokenShards(tmp_path / "out")
    assert len(index["shards"]) > 1
    assert (len(shards), index["documents"], index["separator_text"]) == (len(TEXTS), len(TEXTS), "<|endoftext|>")
    for number, text in enumerate(TEXTS):
        assert shards[number].tolist() == exact.encode(text).ids
    first = index["shards"][0]
    raw = np.fromfile(tmp_path / "out" / f"{first['name']}.bin", index["dtype"])  # as a training loop reads them
    ends = np.fromfile(tmp_path / "out" / f"{first['name']}.idx", "<u8")
    assert (raw[ends - 1] == index["separator"]).all()
    assert len(raw) == ends[-1] == first["tokens"]


def test_shards_are_the_same_for_any_number_of_workers_and_after_an_interruption(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    tokens.tokenise(documents, tokenizer, tmp_path / "one")
    tokens.tokenise(documents, tokenizer, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    (tmp_path / "two" / "index.json").unlink()
    (tmp_path / "two" / "tokens-00001.json").unlink()
    (tmp_path / "two" / "tokens-00000.bin").write_bytes(b"half")
    (tmp_path / "two" / ".part-7-tokens-00001.bin").write_bytes(b"left over")
    untouched = (tmp_path / "two" / "tokens-00002.bin").stat().st_mtime_ns
    tokens.tokenise(documents, tokenizer, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (tmp_path / "two" / "tokens-00002.bin").stat().st_mtime_ns == untouched


def test_the_tokens_of_other_texts_are_not_written_over(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    tokens.tokenise(documents, tokenizer, tmp_path / "out")
    before = contents(tmp_path / "out")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"text": ["Other texts."]}), other)
    with pytest.raises(tokens.OtherTokens, match="another --out"):
        tokens.tokenise(other, tokenizer, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_shard_that_was_cut_short_is_named(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    tokens.tokenise(documents, tokenizer, tmp_path / "out")
    path = tmp_path / "out" / "tokens-00001.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(tokens.DamagedShard, match=r"tokens-00001\.bin"):
        tokens.TokenShards(tmp_path / "out")


def test_what_cannot_tokenise_is_refused(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(tokens.NoTokenizer, match="no such file"):
        tokens.tokenise(documents, tmp_path / "none.json", tmp_path / "out")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(tokens.NoTokenizer, match=r"bad\.json"):
        tokens.tokenise(documents, tmp_path / "bad.json", tmp_path / "out")
    with pytest.raises(tokens.NoSeparator, match=r"'</s>'.*<\|endoftext\|>"):
        tokens.tokenise(documents, tokenizer, tmp_path / "out", separator="</s>")


def test_tokens_are_as_wide_as_their_greatest_number(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    held = json.loads(tokenizer.read_text())
    held["model"]["vocab"]["<|far|>"] = 70_000  # as where numbers before it were given up
    (tmp_path / "far.json").write_text(json.dumps(held))
    tokens.tokenise(documents, tmp_path / "far.json", tmp_path / "out", separator="<|far|>")
    assert tokens.TokenShards(tmp_path / "out").index["dtype"] == "<u4"


def test_special_tokens_in_a_document_are_text(tokenizer: Path, tmp_path: Path) -> None:
    import tokenizers

    pq.write_table(pa.table({"text": ["before <|endoftext|> after"]}), tmp_path / "a.parquet")
    index: dict[str, Any] = tokens.tokenise(tmp_path / "a.parquet", tokenizer, tmp_path / "out")
    found = tokens.TokenShards(tmp_path / "out")[0].tolist()
    assert index["separator"] not in found
    assert tokenizers.Tokenizer.from_file(str(tokenizer)).decode(found).replace(" ", "").replace("Ġ", " ") == "before <|endoftext|> after"
    assert json.loads((tmp_path / "out" / "index.json").read_text()) == index
