"""A run that was curated elsewhere becomes a version; nothing that its report says is believed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance import publishing, runs
from lilong.floors.corpus.alliance.shapes import RunNotUsable, TakedownAsk
from lilong.floors.corpus.contract import BadRecipe, PublishAsk, State, TextNotKept, Version
from lilong.floors.corpus.curation.runs.engine import Ask, curate
from lilong.floors.corpus.curation.runs.profiles import Setup
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from tests.corpus import texts
from tests.corpus.houses import LANTERN, MEI, TOM, closed, opened, settle

EVIDENCE = "SPDX-License-Identifier: CC-BY-4.0\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = texts.folder(tmp_path_factory.mktemp("given") / "in", documents=8)
    out = tmp_path_factory.mktemp("run") / "out"
    curate(Ask([f"harbour={given}"], Setup("docs"), out, None, 1))
    return out


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("publishing"))
    yield made
    closed(made)


def keep(house: House, folder: Path, size: int = 10_000) -> dict[str, list[str]]:
    """Upload a run in small parts."""
    files = {name: (folder / name).read_bytes() for name in runs.NEEDED} | {runs.EVIDENCE: EVIDENCE.encode()}
    return {
        name: [service.keep_text(house, TOM, LANTERN, content[at : at + size]).digest for at in range(0, len(content), size)]
        for name, content in files.items()
    }


@pytest.fixture(scope="module")
def published(house: House, run: Path) -> Version:
    ask = PublishAsk(LANTERN, "run", f"{LANTERN}/harbour", keep(house, run), "CC-BY-4.0", {"held_out": 0.3})
    made = service.publish(house, TOM, ask)
    assert service.publish(house, TOM, ask) == made
    settle(house)
    return service.version(house, TOM, made.id)


def test_it_is_a_version_like_any_other(house: House, run: Path, published: Version) -> None:
    assert published.state is State.DONE, published.error
    assert published.figures["documents"]["kept"] == pq.read_metadata(run / "documents.parquet").num_rows
    assert published.sources == [] and published.contributors == [LANTERN]
    revision = house.db.read(lambda tx: house.port(Hub).revision(tx, TOM, Kind.DATASET, published.repository))  # type: ignore[type-abstract]
    assert {"data/train-00000.parquet", "data/heldout-00000.parquet", "tables/sources.parquet", "README.md", "croissant.json"} <= set(
        revision.tree()
    )
    licences = (
        pq.read_table(house.blobs.open(revision.tree()["data/train-00000.parquet"]), columns=["licence"]).column("licence").to_pylist()
    )
    assert set(licences) == {"CC-BY-4.0"}


def test_the_statement_names_the_run_its_licence_policy_code_and_vocabulary(house: House, run: Path, published: Version) -> None:
    statement = house.db.read(lambda tx: house.evidence.get(tx, published.statement or ""))
    assert {each.kind for each in statement.materials} == {"source", "licence", "recipe", "policy", "code", "vocabulary"}
    report = "sha256:" + hashlib.sha256((run / "report.json").read_bytes()).hexdigest()
    assert report in {each.digest for each in statement.materials if each.kind == "source"}
    inputs = json.loads((run / "report.json").read_bytes())["run"]["inputs"]["digest"]
    assert inputs in statement.predicate["note"]


def test_what_is_taken_down_leaves_it_like_any_other(house: House, published: Version) -> None:
    rows = service.quality(house, TOM, published.id).sources
    assert [one["name"] for one in rows] == ["harbour"]
    kept = service.datasheet(house, TOM, published.id).kept[0]
    made = service.takedown(house, MEI, TakedownAsk(published.id, "one", "Its author asks for it.", document=kept.id or ""))
    settle(house)
    after = service.version(house, TOM, published.repository)
    assert after.id == made.next and after.figures["documents"]["kept"] < published.figures["documents"]["kept"]


def edited(run: Path, at: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    shutil.copytree(run, at)
    report = json.loads((at / "report.json").read_bytes())
    change(report)
    (at / "report.json").write_text(json.dumps(report))
    return at


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (lambda report: report["documents"].update(kept=99), "the report says 99 documents kept, its tables hold"),
        (lambda report: report["bytes"].update(kept=1), "the report says 1 bytes kept"),
        (
            lambda report: report["tables"]["documents"].update(sha256="0" * 64),
            "documents.parquet is not the one of which its report speaks",
        ),
    ],
)
def test_a_report_that_tells_other_numbers_is_refused(
    run: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], saying: str
) -> None:
    folder = edited(run, tmp_path / "run", change)
    with pytest.raises(RunNotUsable, match=saying):
        publishing.check(folder, json.loads((folder / "report.json").read_bytes()))


def test_documents_that_no_decision_keeps_are_refused(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    table = pq.read_table(folder / "documents.parquet")
    pq.write_table(table.slice(1), folder / "documents.parquet")
    digest = hashlib.sha256((folder / "documents.parquet").read_bytes()).hexdigest()
    report = json.loads((folder / "report.json").read_bytes())
    report["tables"]["documents"]["sha256"] = digest
    with pytest.raises(RunNotUsable, match=r"does not hold the documents that decisions\.parquet keeps"):
        publishing.check(folder, report)


def test_texts_without_a_licence_are_not_published(house: House, run: Path) -> None:
    made = service.publish(house, TOM, PublishAsk(LANTERN, "bare", f"{LANTERN}/bare", keep(house, run)))
    settle(house)
    failed = service.version(house, TOM, made.id)
    assert failed.state is State.FAILED and "--licence SPDX --evidence FILE" in (failed.error or "")


def licensed(run: Path, at: Path, licences: list[str | None]) -> Path:
    """The run with these licences in turn."""
    shutil.copytree(run, at)
    table = pq.read_table(at / "documents.parquet")
    given = pa.array([licences[row % len(licences)] for row in range(len(table))], pa.string())
    pq.write_table(table.set_column(table.column_names.index("licence"), "licence", given), at / "documents.parquet")
    report = json.loads((at / "report.json").read_bytes())
    report["tables"]["documents"]["sha256"] = hashlib.sha256((at / "documents.parquet").read_bytes()).hexdigest()
    (at / "report.json").write_text(json.dumps(report))
    return at


def test_a_document_whose_licence_is_no_spdx_expression_is_named(house: House, run: Path, tmp_path: Path) -> None:
    folder = licensed(run, tmp_path / "run", ["MIT", "Sundays only"])
    first = pq.read_table(folder / "documents.parquet").slice(1, 1).to_pylist()[0]
    made = service.publish(house, TOM, PublishAsk(LANTERN, "sundays", f"{LANTERN}/sundays", keep(house, folder), "CC-BY-4.0"))
    settle(house)
    failed = service.version(house, TOM, made.id)
    assert failed.state is State.FAILED
    said = f"its document {first['id']} ({first['source']}, {first['uri']}) names the licence 'Sundays only', which is not an SPDX expression such as"
    assert said in (failed.error or "")


def test_licences_are_written_as_spdx_does(house: House, run: Path, tmp_path: Path) -> None:
    folder = licensed(run, tmp_path / "run", ["mit", "GPL-2+", None])
    made = service.publish(house, TOM, PublishAsk(LANTERN, "written", f"{LANTERN}/written", keep(house, folder), "cc-by-4.0", {"held_out": 0.0}))
    settle(house)
    done = service.version(house, TOM, made.id)
    assert done.state is State.DONE, done.error
    assert set(done.figures["licences"]) == {"MIT", "GPL-2.0-or-later", "CC-BY-4.0"}


def test_a_licence_that_is_no_spdx_expression_is_refused_at_once(house: House, run: Path) -> None:
    files = {**keep(house, run), runs.EVIDENCE: ["sha256:" + "0" * 64]}
    with pytest.raises(BadInput, match="'my own' is not an SPDX expression"):
        service.publish(house, TOM, PublishAsk(LANTERN, "own", f"{LANTERN}/own", files, licence="my own"))


def test_a_recipe_that_names_licences_is_refused_for_a_run(house: House, run: Path) -> None:
    ask = PublishAsk(LANTERN, "named", f"{LANTERN}/named", keep(house, run), recipe={"licences": {"harbour": "MIT"}})
    with pytest.raises(BadRecipe, match=r"'licences\.harbour' cannot be used: a run's documents name their licences themselves"):
        service.publish(house, TOM, ask)


def test_a_run_is_published_from_ones_own_uploads_and_whole(house: House, run: Path) -> None:
    files = keep(house, run)
    with pytest.raises(RunNotUsable, match=r"it has no report\.json"):
        service.publish(
            house, TOM, PublishAsk(LANTERN, "part", f"{LANTERN}/part", {name: files[name] for name in files if name != "report.json"})
        )
    with pytest.raises(TextNotKept):
        service.publish(house, TOM, PublishAsk(LANTERN, "other", f"{LANTERN}/other", {**files, "report.json": ["sha256:" + "0" * 64]}))
    for wrong in ({"../x": files["report.json"]}, {"report.json": ["no digest"]}):
        with pytest.raises(BadInput):
            service.publish(house, TOM, PublishAsk(LANTERN, "wrong", f"{LANTERN}/wrong", {**files, **wrong}))
