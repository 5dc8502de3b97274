"""`lilong corpus explain` shows the beginning of a document's text, of a dropped one too while it can be found."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lilong.floors.corpus.commands import corpus
from lilong.floors.corpus.curation.reading import again
from lilong.floors.corpus.curation.runs import engine
from lilong.floors.corpus.curation.runs.profiles import Setup
from lilong.floors.corpus.curation.runs.results import Results, SeveralPlaces

from .test_runs import prose

SHORT = ["Too short a page.", "A record of a shard, too short.", "A row, also short.", "A note with another name."]


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "harbour"
    folder.mkdir()
    long = prose(random.Random(2), 30)
    (folder / "page.txt").write_text(SHORT[0])
    lines = [{"text": long}, {"text": SHORT[1]}, {"text": SHORT[3], "url": "https://lantern-works.example/7", "source": "web"}]
    (folder / "shard.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in lines).encode()))
    pq.write_table(pa.table({"text": [SHORT[2]]}), folder / "rows.parquet")
    return folder


def curated(given: Path, **how: Any) -> Results:
    engine.curate(engine.Ask([str(given)], Setup("docs"), given.parent / "out", **how))
    return Results.open((given.parent / "out").absolute())


def excerpts(results: Results) -> dict[str, str | None]:
    rows = pq.read_table(results.folder / "decisions.parquet").to_pylist()
    return {row["uri"]: results.explain(row["id"])["excerpt"] for row in rows if not row["keep"]}


def test_the_text_of_a_dropped_document_is_read_again_from_its_input(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(given.parent)
    results = curated(Path("harbour"))
    monkeypatch.chdir("/")
    assert sorted(map(str, excerpts(results).values())) == sorted(SHORT)
    shown = CliRunner().invoke(corpus, ["explain", "page.txt", "--run", str(results.folder)])
    assert SHORT[0] in shown.output


def test_a_document_is_named_as_the_table_shows_it_and_namesakes_are_told_apart(given: Path) -> None:
    (given.parent / "pier").mkdir()
    (given.parent / "pier" / "page.txt").write_text("A pier.")
    engine.curate(engine.Ask([str(given), str(given.parent / "pier")], Setup("docs"), given.parent / "out"))
    results = Results.open(given.parent / "out")
    assert results.explain("pier/page.txt")["excerpt"] == "A pier."
    assert results.explain(f"{given.name}/page.txt")["excerpt"] == SHORT[0]
    with pytest.raises(SeveralPlaces, match=r"Several documents are called 'page\.txt'"):
        results.explain("page.txt")


def test_an_id_may_be_given_in_capitals_and_namesakes_in_one_source_by_their_ids(given: Path) -> None:
    lines = [json.dumps({"text": text, "id": "same"}) + "\n" for text in ("One short note.", "Another short note.")]
    (given / "twice.jsonl").write_text("".join(lines))
    results = curated(given)
    with pytest.raises(SeveralPlaces, match="Give one of these ids") as told:
        results.explain("harbour/twice.jsonl#same")
    for identity in str(told.value).split(": ")[1].split(". ")[0].split(", "):
        assert str(results.explain(identity.upper())["id"]).startswith(identity)


def test_where_the_input_is_gone_or_has_changed_that_is_said(given: Path) -> None:
    results = curated(given)
    (given / "page.txt").write_text("Another page.")
    assert results.explain("page.txt")["excerpt"] is None
    shutil.rmtree(given)
    assert set(excerpts(results).values()) == {None}
    assert "no longer where it was" in CliRunner().invoke(corpus, ["explain", "page.txt", "--run", str(results.folder)]).output


def test_a_run_that_keeps_what_it_drops_needs_no_input(given: Path) -> None:
    results = curated(given, review=True)
    shutil.rmtree(given)
    assert sorted(map(str, excerpts(results).values())) == sorted(SHORT)


def test_other_files_are_looked_through_up_to_a_limit(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = curated(given)
    monkeypatch.setattr(again, "MOST_BYTES", 10)
    found = excerpts(results)
    assert found["page.txt"] == SHORT[0]
    assert found["https://lantern-works.example/7"] is None
