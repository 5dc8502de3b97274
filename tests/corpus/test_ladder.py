"""The ladder of deduplication: what each rung finds, what it leaves, and who speaks for a cluster."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lilong.floors.corpus import library
from lilong.floors.corpus.commands import corpus
from lilong.floors.corpus.curation.dedup import semantic, substring
from lilong.floors.corpus.curation.dedup.minhash import Signer
from lilong.floors.corpus.curation.runs import merging, profiles
from lilong.floors.corpus.curation.texts import Texts
from lilong.ground.errors import BadInput, LilongError

from .test_dedup_passages import sorted_suffixes
from .test_runs import prose

MENU = "Home | Tides | Charts | Harbour office"


def said(*words: Any) -> Result:
    return CliRunner().invoke(corpus, [str(word) for word in words])


def error(*words: Any) -> LilongError:
    problem = said(*words).exception
    assert isinstance(problem, LilongError), repr(problem)
    return problem


def table(texts: list[str], **columns: list[Any]) -> pa.Table:
    ids = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    given = {"source": ["lantern-works"] * len(texts), "uri": [f"page-{number}" for number in range(len(texts))], **columns}
    return pa.table({"id": ids, "text": texts, **given}).sort_by([("id", "ascending")])


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(5)
    return [prose(draw, 12) for _ in range(8)]


@pytest.fixture
def run(tmp_path: Path, texts: list[str]) -> Path:
    near = texts[0].replace("harbour", "port", 1) + " And a word more."
    pq.write_table(table([f"{MENU}\n{text}" for text in [*texts, near]]), tmp_path / "documents.parquet")
    return tmp_path


def test_lines_that_many_share_are_taken_out_before_near_copies_are_looked_for(run: Path, tmp_path: Path) -> None:
    found = json.loads(said("dedup", run, "--by", "lines", "--by", "near", "--copies", 3, "--out", tmp_path / "out", "--json").stdout)
    assert [(one["step"], one["left"]) for one in found["steps"]] == [("exact", 9), ("lines", 9), ("near", 8)]
    assert found["taken_out_bytes"] == {"lines": 8 * len(MENU)}
    [piece] = pq.read_table(tmp_path / "out" / "pieces.parquet").to_pylist()
    assert (piece["unit"], piece["text"], piece["documents"], piece["places"]) == ("line", MENU, 9, 9)
    left = pq.read_table(tmp_path / "out" / "documents.parquet")
    assert left.num_rows == 8
    first = pq.read_table(run / "documents.parquet").column("id")[0].as_py()
    with_menu = left.filter(pc.match_substring(left.column("text"), MENU)).column("id").to_pylist()
    assert with_menu == [one for one in [first] if one in left.column("id").to_pylist()]
    kept = [row["id"] for row in pq.read_table(tmp_path / "out" / "clusters.parquet").to_pylist() if row["kept"]]
    assert len(kept) == 1
    assert kept[0] in left.column("id").to_pylist()
    assert json.loads((tmp_path / "out" / "dedup.json").read_text()) == found


def test_a_document_of_shared_lines_alone_is_named(tmp_path: Path, texts: list[str]) -> None:
    found = library.dedup(table([f"{MENU}\n{text}" for text in texts] + [f"{MENU}\n \n"]), by=["lines"], copies=3)
    assert [(row["uri"], row["step"]) for row in found.emptied.to_pylist()] == [("page-8", "lines")]
    assert found.documents.num_rows == found.report["left"] == 8


def test_equal_texts_of_several_runs_are_one_whatever_the_order_of_runs(run: Path, tmp_path: Path, texts: list[str]) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(table([*texts[:3], f"{MENU}\n{texts[1]}"]).sort_by([("uri", "descending")]), other)
    for number, paths in enumerate([(run, other), (other, run)]):
        assert said("dedup", *paths, "--out", tmp_path / str(number)).exit_code == 0
    for name in ("clusters", "documents", "pieces"):
        assert (tmp_path / "0" / f"{name}.parquet").read_bytes() == (tmp_path / "1" / f"{name}.parquet").read_bytes(), name
    rows = merging.Documents.of([run, other]).rows
    assert rows.num_rows == 13
    keys = list(zip(*(rows.column(name).to_pylist() for name in ("id", "source", "uri")), strict=True))
    assert keys == sorted(keys)


def test_the_merged_stream_is_in_order_for_any_size_of_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(1)
    for name in "abc":
        ids = sorted(f"{draw.randrange(6):064x}" for _ in range(20))
        columns = {"id": ids, "text": [f"{name}{number}" for number in range(20)], "uri": [f"{name}{number:02}" for number in range(20)]}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    paths = [tmp_path / f"{name}.parquet" for name in "abc"]
    whole = pa.concat_tables(merging.Documents.of(paths).tables())
    for size in (1, 2, 7):
        monkeypatch.setattr(merging, "_ROWS", size)
        found = merging.Documents.of(paths)
        assert pa.concat_tables(found.tables()).equals(whole)
        assert found.rows.column("id").to_pylist() == whole.column("id").to_pylist() == sorted(whole.column("id").to_pylist())


def test_who_speaks_for_a_cluster_is_preferred_by_licence_or_by_a_signal(tmp_path: Path, texts: list[str]) -> None:
    near = texts[0] + " And a word more."
    documents = table([texts[0], near, texts[1]], licence=["MIT", "CC0-1.0", None])
    pq.write_table(documents, tmp_path / "documents.parquet")
    pq.write_table(pa.table({"id": documents.column("id"), "quality": [float(text == texts[0]) for text in documents.column("text").to_pylist()]}), tmp_path / "signals.parquet")  # fmt: skip

    def kept(*prefer: str) -> str:
        options = [word for one in prefer for word in ("--prefer", one)]
        assert said("dedup", tmp_path, *options, "--out", tmp_path / "out").exit_code == 0
        [row] = [row for row in pq.read_table(tmp_path / "out" / "clusters.parquet").to_pylist() if row["kept"]]
        return str(row["uri"])

    assert kept() == kept("bytes=most") == kept("licence=CC0-1.0,MIT") == kept("licence=BSD-3-Clause,CC0-1.0", "bytes=least") == "page-1"
    assert kept("licence=MIT") == kept("quality=most") == kept("bytes=least") == "page-0"
    assert "They have: " in str(error("dedup", tmp_path, "--prefer", "beauty=most"))
    assert "--prefer quality=most" in str(error("dedup", tmp_path, "--prefer", "quality"))


def test_repeated_passages_are_cut_and_told_with_where_they_stood_first(
    tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "pydivsufsort" not in sys.modules:
        monkeypatch.setattr(substring, "_library", lambda: None)
        monkeypatch.setattr(substring, "_suffixes", sorted_suffixes)
    licence = "The light may be copied by any vessel that keeps this notice, the name of its keeper, and the date of the storm. " * 2
    documents = table([f"{number}. {text[:200]} {licence}{number}" for number, text in enumerate(texts[:4])])
    found = library.dedup(documents, by=["passages"], passage=150)
    assert found.passages.num_rows == 3
    first = documents.column("id")[0].as_py()
    by_id = dict(zip(documents.column("id").to_pylist(), documents.column("text").to_pylist(), strict=True))
    after = dict(zip(found.documents.column("id").to_pylist(), found.documents.column("text").to_pylist(), strict=True))
    assert after[first] == by_id[first]
    for row in found.passages.to_pylist():
        data = by_id[row["id"]].encode()
        assert row["of"] == first
        assert by_id[first].encode()[row["at"] :].startswith(data[row["start"] : row["end"]])
        assert data[row["start"] : row["end"]].decode().startswith(row["text"])
        assert after[row["id"]].encode() == data[: row["start"]] + data[row["end"] :]
    assert found.report["taken_out_bytes"]["passages"] == sum(row["end"] - row["start"] for row in found.passages.to_pylist())


class Vectors:
    """Stands for a model: texts on tides point one way, all others each their own."""

    def __init__(self, folder: Path) -> None:
        self.texts = 0

    def embed(self, texts: list[str]) -> np.ndarray:
        out = np.zeros((len(texts), 50), np.float32)
        for row, text in enumerate(texts):
            self.texts += 1
            out[row, 0 if "tide" in text else self.texts] = 1
        return out


def test_documents_that_mean_the_same_join_the_clusters_of_near_copies(
    tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "check", lambda *given: None)
    monkeypatch.setattr(semantic, "Model", Vectors)
    plain = [text.replace("tide", "ebb") for text in texts]
    copy = f"On the tide. {plain[0]}"
    documents = table([copy, copy.replace("tide", "spring tide") + " More.", f"What a tide! {plain[1]}", *plain[2:]])
    found = library.dedup(documents, by=["near", "meaning"], model=tmp_path)
    assert {row["uri"]: row["why"] for row in found.clusters.to_pylist()} == {"page-0": "near", "page-1": "representative", "page-2": "meaning"} or {
        row["why"] for row in found.clusters.to_pylist()
    } == {"representative", "meaning"}  # fmt: skip
    assert found.report["steps"][-1] == {"step": "meaning", "documents": 8, "left": 7}
    assert found.clusters.column("kept").to_pylist().count(True) == 1


def test_a_static_model_on_disk_finds_other_words_for_the_same(tmp_path: Path, texts: list[str]) -> None:
    pytest.importorskip("model2vec")
    tokenizers = pytest.importorskip("tokenizers")
    from model2vec import StaticModel

    words = ["[UNK]", "boat", "vessel", "harbour", "port", "storm", "paper", "ink"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    vectors = np.array([[0, 0, 0], [1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0.01, 1, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 0, 1]], np.float32)
    StaticModel(vectors, tokenizer, config={"normalize": False}).save_pretrained(str(tmp_path))
    found = library.dedup(table(["boat harbour storm", "vessel port storm", "paper ink"]), by=["meaning"], model=tmp_path)
    assert sorted(row["why"] for row in found.clusters.to_pylist()) == ["meaning", "representative"]
    assert found.documents.num_rows == 2
    same_start = ["boat " * 600 + "paper " * 5000, "boat " * 600]  # the whole text counts, not its first tokens
    assert library.dedup(table(same_start), by=["meaning"], model=tmp_path).documents.num_rows == 2


def test_what_is_missing_is_said_before_anything_is_read(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydivsufsort", None)
    monkeypatch.setitem(sys.modules, "model2vec", None)
    assert "pip install 'lilong[passages]'" in str(error("dedup", run, "--by", "passages"))
    assert "--model" in str(error("dedup", run, "--by", "meaning"))
    assert "config.json is missing" in str(error("dedup", run, "--by", "meaning", "--model", tmp_path))
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).touch()
    assert "pip install 'lilong[meaning]'" in str(error("dedup", run, "--by", "meaning", "--model", tmp_path))
    assert "no columns id and text" in str(error("dedup", _without_text(tmp_path)))
    assert "Leave --by" in str(error("dedup", run, "--by", "lines", "--standing", tmp_path / "standing"))


def _without_text(folder: Path) -> Path:
    pq.write_table(pa.table({"id": ["a"]}), folder / "no-text.parquet")
    return folder / "no-text.parquet"


def test_the_library_names_what_it_does_not_know() -> None:
    with pytest.raises(BadInput, match="paragraphs, lines, near"):
        library.dedup(table(["a"]), by=["smell"])
    assert library.dedup(table([])).documents.num_rows == 0


def test_fineweb_looks_for_near_copies_in_the_text_that_it_writes() -> None:
    measured = profiles.open_measurer(profiles.Setup("fineweb", mask=("email",)))
    kept = prose(random.Random(9), 30)
    menus = ["\n".join(f"{word} {number}" for number in range(200)) for word in ("Tides", "Charts")]  # C4 drops lines of two words
    found = measured(pa.array([f"{menu}\n{kept}\nWrite to mei.lin@harbour-lab.org at once." for menu in menus], pa.large_string()))
    assert len(set(found.rewritten.to_pylist())) == 1
    assert "[EMAIL]" in found.rewritten[0].as_py()
    assert (found.keys[0] == found.keys[1]).all()
    unmasked = found.rewritten[0].as_py().replace("[EMAIL]", "mei.lin@harbour-lab.org")
    assert (found.keys[0] == Signer().keys(Texts.of([unmasked]))[0]).all()


def test_nothing_that_is_read_or_that_a_run_has_made_is_written_over(run: Path, tmp_path: Path) -> None:
    assert "the documents that are read" in str(error("dedup", run, "--out", run))
    assert "the documents that are read" in str(error("dedup", run / "documents.parquet", "--out", run))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.json").write_text("{}")
    assert "a curation run" in str(error("dedup", run, "--out", tmp_path / "other"))
    assert said("dedup", run, "--out", tmp_path / "new").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "clusters.parquet", "dedup.json", "documents.parquet", "emptied.parquet", "passages.parquet", "pieces.parquet",
    ]  # fmt: skip


def test_ids_that_are_not_of_the_text_make_no_copies() -> None:
    documents = pa.table({"id": ["1", "1", None, None, "2"], "text": ["low water", "high water", "a tide", "a tide", "low water"]})
    found = library.dedup(documents)
    assert sorted(found.documents.column("text").to_pylist()) == ["a tide", "high water", "low water"]
    assert found.report["exact"] == 2
    assert found.documents.column("uri").to_pylist().count("1") == 2


def test_no_documents_are_no_error(tmp_path: Path) -> None:
    pq.write_table(table([]), tmp_path / "none.parquet")
    assert said("dedup", tmp_path / "none.parquet", "--by", "lines", "--by", "near", "--out", tmp_path / "out").exit_code == 0
    assert pq.read_table(tmp_path / "out" / "documents.parquet").num_rows == 0
