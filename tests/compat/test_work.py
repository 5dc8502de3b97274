"""The job itself, with real worker processes on a tiny real model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lilong.floors.compat import work
from lilong.floors.compat.contract import UnknownStack
from lilong.ground.errors import BadInput
from lilong.ground.work import Workspace


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, documents: list[str]) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("job")
    space = Workspace(folder / "in", folder / "out", folder / "state")
    (space.inputs / "corpus" / "data").mkdir(parents=True)
    space.state.mkdir()
    shutil.copytree(tiny_model, space.inputs / "model")
    pq.write_table(pa.table({"id": [str(i) for i in range(len(documents))], "text": documents}), space.inputs / "corpus/data/heldout-00000.parquet")
    recipe = {"stacks": ["torch-bf16", "llama.cpp", "onnxruntime"], "positions": 64, "length": 32, "prompts": 2, "greedy_tokens": 6, "limits": {"threads": 1}}
    (space.inputs / "spec.json").write_text(json.dumps(recipe))
    work.examine(space)
    yield space


def test_the_reference_leads_and_every_stack_that_was_asked_for_passes(prepared: Workspace) -> None:
    result = json.loads((prepared.out / "result.json").read_text())
    assert [(row["stack"], row["verdict"]) for row in result["rows"]] == [
        ("torch-fp32", "pass"), ("torch-bf16", "pass"), ("llama.cpp", "pass"), ("onnxruntime", "pass"),
    ], [row["reason"] for row in result["rows"]]  # fmt: skip


def test_the_certificate_names_the_model_by_the_digests_of_its_files(prepared: Workspace) -> None:
    certificate = json.loads((prepared.out / "certificate.json").read_text())
    weights = (prepared.inputs / "model" / "model.safetensors").read_bytes()
    assert certificate["model"]["model.safetensors"] == "sha256:" + hashlib.sha256(weights).hexdigest()
    assert certificate["not_tested"]


def test_the_suites_digest_is_that_of_its_file(prepared: Workspace) -> None:
    certificate = json.loads((prepared.out / "certificate.json").read_text())
    assert certificate["suite"] == "sha256:" + hashlib.sha256((prepared.out / "suite.json").read_bytes()).hexdigest()


def test_a_rows_figures_can_be_computed_again_from_the_cases(prepared: Workspace) -> None:
    cases = pq.read_table(prepared.out / "cases.parquet").to_pylist()
    row = next(row for row in json.loads((prepared.out / "matrix.json").read_text())["rows"] if row["stack"] == "llama.cpp")
    mine = [case for case in cases if case["stack"] == "llama.cpp"]
    assert len(mine) == row["kl"]["n"] == 64
    assert sum(case["kl"] for case in mine) / len(mine) == pytest.approx(row["kl"]["point"])
    assert sum(case["reference_top"] == case["got_top"] for case in mine) / len(mine) == row["agreement"]["point"]


def test_progress_reaches_its_end_and_nothing_is_left_behind(prepared: Workspace) -> None:
    lines = [json.loads(line) for line in (prepared.state / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == lines[-1]["of"]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    assert not (prepared.state / "scratch").exists()


def test_a_stack_nobody_knows_ends_the_job_before_anything_runs(prepared: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UnknownStack, match="abacus"):
        work.examine(with_spec(prepared, tmp_path, {"stacks": ["abacus"]}))


def test_a_corpus_without_held_out_texts_is_refused(prepared: Workspace, tmp_path: Path) -> None:
    space = with_spec(prepared, tmp_path, {})
    (space.inputs / "corpus").mkdir()
    with pytest.raises(BadInput, match="heldout"):
        work.examine(space)


def with_spec(prepared: Workspace, folder: Path, spec: dict[str, object]) -> Workspace:
    space = Workspace(folder / "in", folder / "out", folder / "state")
    space.inputs.mkdir()
    space.state.mkdir()
    (space.inputs / "model").symlink_to(prepared.inputs / "model")
    (space.inputs / "spec.json").write_text(json.dumps(spec))
    return space
