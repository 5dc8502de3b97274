"""`lilong corpus` and the library: what people see of a run, and what they are told when something is wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lilong.floors.corpus import library
from lilong.floors.corpus.commands import corpus
from lilong.floors.corpus.curation.policies.policy import BadPolicy
from lilong.floors.corpus.curation.runs import profiles
from lilong.ground.errors import LilongError

from .test_runs import prose

POLICY = 'name = "harbour"\nversion = "1"\nprofile = "docs"\n[[rules]]\nstep = "length"\nreason = "too_short"\ndrop = "characters < {}"\n'


def said(*words: Any) -> Result:
    return CliRunner().invoke(corpus, [str(word) for word in words])


def error(*words: Any) -> LilongError:
    problem = said(*words).exception
    assert isinstance(problem, LilongError), repr(problem)
    return problem


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(11)
    texts = [prose(draw, draw.choice([1, 10, 30])) for _ in range(60)]
    return [*texts, *texts[:5], texts[10].replace("harbour", "port", 1) + " And so on."]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("curate")
    (folder / "notes.jsonl").write_text("".join(json.dumps({"text": text, "id": f"n{number}"}) + "\n" for number, text in enumerate(texts)))
    done = said("curate", folder / "notes.jsonl", "--profile", "docs", "--out", folder / "out", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert "of 66 documents kept" in done.output
    return folder / "out"


def test_the_report_can_be_had_as_json(finished: Path) -> None:
    again = CliRunner().invoke(
        corpus, ["curate", str(finished.parent / "notes.jsonl"), "--profile", "docs", "--out", str(finished), "--json"]
    )
    assert json.loads(again.stdout) == json.loads((finished / "report.json").read_text())


def test_every_document_can_be_asked_why(finished: Path) -> None:
    for row in pq.read_table(finished / "decisions.parquet").to_pylist():
        found = json.loads(said("explain", row["id"][:16], "--run", finished, "--json").stdout)
        reading = next(one for one in found["readings"] if one["uri"] == row["uri"])
        assert {key: reading[key] for key in ("keep", "reason", "detail")} == {key: row[key] for key in ("keep", "reason", "detail")}
        first = next((rule["reason"] for rule in found["rules"] if rule["drops"]), "")
        if row["reason"] not in ("exact_duplicate", "near_duplicate"):
            assert row["reason"] == first
        assert (found["cluster"] is not None) == (row["reason"] in ("exact_duplicate", "near_duplicate") or found["cluster"] is not None)
    by_uri = said("explain", "notes.jsonl#n0", "--run", finished)
    assert by_uri.exit_code == 0
    assert "DROPPED IF" in by_uri.output


def test_a_policy_is_tried_without_measuring_again(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "harbour.toml").write_text(POLICY.format(1500))
    found = json.loads(
        said("policy", "try", tmp_path / "harbour.toml", "--run", finished, "--limits", "too_short=0,100000", "--json").stdout
    )
    own = json.loads((finished / "report.json").read_text())["documents"]
    assert found["documents"] == own["distinct"]
    assert found["kept_after"] == found["kept_before"] + found["newly_kept"] - found["newly_dropped"]
    assert [one["kept"] for one in found["limits"]["too_short"]] == [own["distinct"], 0]
    assert "would" in said("policy", "try", tmp_path / "harbour.toml", "--run", finished).output


@pytest.mark.parametrize("name", profiles.names())
def test_each_profile_shows_its_policy_as_a_file_to_start_from(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(said("policy", "show", name).output)
    assert profiles.profile(profiles.Setup(name)).policy(tmp_path / "own.toml") == profiles.profile(profiles.Setup(name)).policy()


def test_runs_are_compared_with_each_other_and_with_a_standing_corpus(finished: Path, tmp_path: Path) -> None:
    found = json.loads(said("dedup", finished, finished, "--out", tmp_path / "both", "--json").stdout)
    kept = pq.read_metadata(finished / "documents.parquet").num_rows
    assert (found["documents"], found["exact"], found["clusters"]) == (2 * kept, kept, kept)
    assert pq.read_metadata(tmp_path / "both" / "clusters.parquet").num_rows == 2 * kept
    assert "0% of your" in said("dedup", finished, "--standing", tmp_path / "standing", "--add").output
    assert "100% of your" in said("dedup", finished, "--standing", tmp_path / "standing").output


def test_a_text_is_found_in_a_run_and_a_test_item_is_taken_out(finished: Path, tmp_path: Path) -> None:
    text = pq.read_table(finished / "documents.parquet").column("text")[0].as_py()
    part = " ".join(text.split()[5:45])
    assert "lilong corpus index" in str(error("contains", part, "--run", finished))
    assert said("index", "--run", finished).exit_code == 0
    (tmp_path / "part.txt").write_text(part)
    assert json.loads(said("contains", tmp_path / "part.txt", "--run", finished, "--json").stdout)["share"] == 1.0
    assert json.loads(said("contains", "zebra quartz " * 20, "--run", finished, "--json").stdout)["found"] == 0
    assert "There is no file 'page.txt'" in str(error("contains", "page.txt", "--run", finished))  # no answer about nine letters
    (tmp_path / "set.jsonl").write_text(
        json.dumps({"task_id": "t/1", "prompt": part}) + "\n" + json.dumps({"task_id": "t/2", "prompt": "zebra quartz " * 20}) + "\n"
    )
    found = json.loads(
        said("decontaminate", "--against", tmp_path / "set.jsonl", "--run", finished, "--out", tmp_path / "clean", "--json").stdout
    )
    assert {one["item"] for one in found["matches"]} == {"set.jsonl#t/1"}
    left = pq.read_table(tmp_path / "clean" / "documents.parquet").column("text").to_pylist()
    assert text not in left
    assert len(left) == found["documents"] - found["contaminated"]


def test_wrong_words_are_answered_with_a_way_out(finished: Path, tmp_path: Path) -> None:
    notes, out = finished.parent / "notes.jsonl", tmp_path / "out"
    assert "no file or folder" in str(error("curate", tmp_path / "none", "--profile", "docs", "--out", out))
    (tmp_path / "empty").mkdir()
    assert "holds no file that can be read" in str(error("curate", tmp_path / "empty", "--profile", "docs", "--out", out))
    assert "Use one of: fineweb@datatrove-0.10, gopher-zh, docs, code" in str(error("curate", notes, "--profile", "finweb", "--out", out))
    assert "Use any of: email" in str(error("curate", notes, "--profile", "docs", "--out", out, "--mask", "shoe-size"))
    assert "NAME=FILE" in str(error("curate", notes, "--profile", "docs", "--out", out, "--classifier", "model.ftz"))
    (tmp_path / "p.toml").write_text(POLICY.format(5).replace("docs", "code"))
    assert "--profile code" in str(error("curate", notes, "--profile", "docs", "--out", out, "--policy", tmp_path / "p.toml"))
    assert not out.exists()
    assert "holds another run" in str(error("curate", notes, "--profile", "code", "--out", finished))
    assert "no finished curation run" in str(error("explain", "abcdef", "--run", tmp_path))
    assert "has read no document" in str(error("explain", "ffffffffffff", "--run", finished))
    (tmp_path / "p.toml").write_text(POLICY.format(5).replace("characters", "caracters"))
    assert "Did you mean 'characters'?" in str(error("policy", "try", tmp_path / "p.toml", "--run", finished))
    assert "REASON=NUMBER" in str(error("policy", "try", tmp_path / "p.toml", "--run", finished, "--limits", "x=y"))


def test_a_damaged_file_is_told_by_the_exit_code(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "good.txt").write_text(prose(random.Random(1), 20))
    problem = error("curate", tmp_path, "--profile", "docs", "--out", tmp_path.with_name("damaged-out"), "--workers", 1)
    assert problem.exit_code == 8
    assert "latin.txt" in str(problem)


def test_the_library_gives_what_the_command_writes(finished: Path, texts: list[str]) -> None:
    table = pa.table({"text": texts, "id": [f"n{number}" for number in range(len(texts))]})
    curated = library.curate(table, "docs", source="notes")
    for name in ("documents", "signals", "clusters"):
        columns = [column for column in getattr(curated, name).column_names if column not in ("uri", "format", "transforms")]
        assert getattr(curated, name).select(columns).equals(pq.read_table(finished / f"{name}.parquet").select(columns)), name
    assert curated.report["documents"] == json.loads((finished / "report.json").read_text())["documents"]
    shuffled = table.take(random.Random(2).sample(range(len(texts)), len(texts)))
    assert library.curate(shuffled, "docs", source="notes").documents.column("id").equals(curated.documents.column("id"))


def test_the_library_has_the_same_verbs(texts: list[str]) -> None:
    curated = library.curate(pa.table({"content": texts}), "docs", policy=POLICY.format(300))
    assert library.decide(curated.signals, "docs", POLICY.format(300)).column("keep").to_pylist().count(True) >= curated.documents.num_rows
    stricter = library.try_policy(curated, POLICY.format(1500))
    assert stricter.newly_kept == 0 < stricter.newly_dropped
    assert library.explore(curated, "too_short", [0])[0].kept == curated.signals.num_rows
    identity = curated.decisions.column("id")[0].as_py()
    assert library.explain(curated, identity)["id"] == identity
    with pytest.raises(library.NoText, match="body"):
        library.curate(pa.table({"body": texts}), "docs")
    with pytest.raises(BadPolicy, match="not TOML"):
        library.curate(pa.table({"text": texts}), "docs", policy="name =\n")
    with pytest.raises(BadPolicy, match=r"harbour\.toml.*there is no such file"):
        library.curate(pa.table({"text": texts}), "docs", policy="harbour.toml")
