"""Runs: the same bytes for any number of workers, any order of inputs and any number of interruptions; damage is named and the rest goes on."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lilong.floors.corpus.curation.reading import cutting, inputs
from lilong.floors.corpus.curation.runs import batch, durable, engine
from lilong.floors.corpus.curation.runs.gather import TABLES
from lilong.floors.corpus.curation.runs.profiles import Setup

_TEXT = """the harbour light was lit when boats came in and nets were hung to dry along the wall of stone that kept out water each winter
people of this town knew how to read signs in clouds or birds with care because weather here can turn before noon"""
WORDS = _TEXT.split()
DRIVER = "import sys; from lilong.floors.corpus.curation.reading import cutting; cutting.PART_BYTES = 30_000; from lilong.cli import main; main()"


def prose(draw: random.Random, sentences: int) -> str:
    said = (" ".join(draw.choices(WORDS, k=draw.randint(6, 18))).capitalize() + "." for _ in range(sentences))
    return "\n".join(said)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four files of about 600 documents: some twice, some alike, some too short."""
    folder = tmp_path_factory.mktemp("inputs")
    draw = random.Random(7)
    texts = [prose(draw, draw.choice([1, 8, 20, 30])) for _ in range(500)]
    files = []
    for number in range(4):
        own = (
            texts[number::4]
            + draw.sample(texts, 15)
            + [text.replace("harbour", "port", 1) + " And so on." for text in draw.sample(texts, 10)]
        )
        lines = "".join(json.dumps({"text": text, "licence": draw.choice(["MIT", "CC0-1.0"])}) + "\n" for text in own).encode()
        files.append(folder / (f"s{number}.jsonl" if number else "s0.jsonl.gz"))
        files[-1].write_bytes(lines if number else gzip.compress(lines))
    return files


def run(inputs: list[Path], out: Path, workers: int = 1, **how: Any) -> dict[str, Any]:
    return engine.curate(engine.Ask([str(path) for path in inputs], how.pop("setup", Setup("docs")), out, workers=workers, **how))


def digests(out: Path) -> dict[str, str]:
    names = [*(f"{name}.parquet" for name in TABLES), "report.json"]
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def clean(shards: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clean") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PART_BYTES", 30_000)
        run(shards, out)
    return out


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_order_and_sizes_of_batches_change_nothing(
    shards: list[Path], clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(cutting, "PART_BYTES", {1: 8 << 20, 3: 20_000}[workers])
    run(random.Random(workers).sample(shards, len(shards)), tmp_path / "out", workers)
    assert digests(tmp_path / "out") == digests(clean)


def test_number_of_buckets_changes_nothing(shards: list[Path], clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_BUCKET_BYTES", 10_000)
    run(shards, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(clean)


def command(inputs: list[Path], out: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", DRIVER, "corpus", "curate", *map(str, inputs), "--profile", "docs", "--out", str(out), *more]


def test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bytes(
    shards: list[Path], clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "PART_BYTES", 30_000)
    draw = random.Random()
    for attempt in range(3):
        inputs = draw.sample(shards, len(shards))
        process = subprocess.Popen(
            command(inputs, tmp_path / "out", "--workers", str(1 + attempt % 2)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        journal = tmp_path / "out" / "work" / "journal.jsonl"
        until = time.monotonic() + 60
        while (
            process.poll() is None
            and time.monotonic() < until
            and not (journal.exists() and journal.read_bytes().count(b"\n") > 3 * attempt)
        ):
            time.sleep(0.01)
        time.sleep(draw.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    if (tmp_path / "out" / "work").exists():
        (tmp_path / "out" / "work" / "batches" / ".part-1-left").write_bytes(b"half a file")
        with (tmp_path / "out" / "work" / "journal.jsonl").open("ab") as file:
            file.write(b'{"key": "torn')
    run(shards, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(clean)
    assert not (tmp_path / "out" / "work").exists()


@pytest.mark.parametrize("how", ["rewritten", "removed"])
def test_a_file_that_changes_while_it_is_read_is_named_and_nothing_is_kept_of_it(tmp_path: Path, how: str) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text(json.dumps({"text": "low water"}) + "\n")
    os.utime(file, ns=(0, 0))
    [one] = cutting.LocalFiles(inputs.find([str(file)])).batches()
    sent = pickle.dumps(one)
    file.unlink()
    if how == "rewritten":
        file.write_text(json.dumps({"text": "low tide."}) + "\n")
    outcome = batch.carry_out(pickle.loads(sent), one.key(), batch.Task(Setup("docs"), tmp_path, 1))
    assert isinstance(outcome, batch.Failed) and outcome.problem == "notes.jsonl was changed or removed while it was read"
    assert not (tmp_path / "batches").exists()


def test_a_batch_file_that_was_harmed_is_made_again(
    shards: list[Path], clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "PART_BYTES", 30_000)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(engine.gather, "gather", interrupted)
        run(shards, tmp_path / "out")
    files = sorted((tmp_path / "out" / "work" / "batches").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:-1])
    files[1].unlink()
    run(shards, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(clean)


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_process_that_starts_lean_leaves_pandas_alone_until_it_is_asked_for_a_frame() -> None:
    pytest.importorskip("pandas")
    program = (
        "import sys; from lilong.floors.corpus.curation.runs import lean; lean.start(); import pyarrow as pa; pa.array([1]); "
        "assert 'pandas' not in sys.modules; assert pa.table(pa.table({'a': [1]}).to_pandas()).num_rows == 1"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_finished_run_is_not_done_again(shards: list[Path], clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "carry_out", interrupted)
    before = (clean / "report.json").stat().st_mtime_ns
    report = run(shards, clean)
    assert report == json.loads((clean / "report.json").read_text())
    assert (clean / "report.json").stat().st_mtime_ns == before


def test_every_reading_is_in_the_decisions_and_the_numbers_add_up(clean: Path) -> None:
    decisions = pq.read_table(clean / "decisions.parquet").to_pylist()
    documents = pq.read_table(clean / "documents.parquet").to_pylist()
    signals = pq.read_table(clean / "signals.parquet", columns=["id"]).column("id").to_pylist()
    report = json.loads((clean / "report.json").read_text())
    assert len(decisions) == report["documents"]["read"] == 600
    assert [row["id"] for row in decisions if row["keep"]] == [row["id"] for row in documents]
    assert all(hashlib.sha256(row["text"].encode()).hexdigest() == row["id"] for row in documents)
    assert signals == sorted({row["id"] for row in decisions})
    assert report["documents"]["distinct"] == len(signals)
    reasons = Counter(row["reason"] for row in decisions if not row["keep"])
    assert {one["reason"]: one["documents"] for one in report["dropped"] if one["documents"]} == reasons
    assert {"exact_duplicate", "near_duplicate", "too_short"} <= set(reasons)
    assert sum(one["kept"] for one in report["sources"]) == len(documents)
    assert sum(one["bytes"] for one in report["sources"]) == report["bytes"]["read"]
    for name, told in report["tables"].items():
        data = (clean / f"{name}.parquet").read_bytes()
        assert (told["bytes"], told["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_text_that_was_read_twice_is_kept_once_in_its_first_source(clean: Path) -> None:
    decisions = pq.read_table(clean / "decisions.parquet").to_pylist()
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in decisions:
        by_id.setdefault(row["id"], []).append(row)
    for rows in by_id.values():
        assert rows == sorted(rows, key=lambda row: (row["source"], row["uri"]))
        assert all(
            row["reason"] == "exact_duplicate" and row["detail"] == f"the same text as {rows[0]['source']} {rows[0]['uri']}"
            for row in rows[1:]
        )


def test_of_near_duplicates_the_one_that_the_policy_prefers_is_kept(clean: Path, shards: list[Path], tmp_path: Path) -> None:
    kept = {row["id"] for row in pq.read_table(clean / "documents.parquet").to_pylist()}
    clusters = pq.read_table(clean / "clusters.parquet").to_pylist()
    sizes = Counter(row["cluster"] for row in clusters)
    assert all(sizes[row["cluster"]] == row["size"] > 1 for row in clusters)
    for row in clusters:
        assert row["kept"] == (row["why"] == "representative")
        if row["why"] == "near":
            assert row["representative"] in kept
            assert row["id"] not in kept
    policy = tmp_path / "policy.toml"
    own = 'name = "short"\nversion = "1"\nprofile = "docs"\nprefer = [{ column = "bytes", best = "least" }, { column = "licence", order = ["MIT"] }]\n'
    policy.write_text(own)
    run(shards, tmp_path / "out", policy=policy)
    sizes_of = {row["id"]: len(row["text"]) for row in pq.read_table(tmp_path / "out" / "documents.parquet").to_pylist()}
    texts = {hashlib.sha256(text.encode()).hexdigest(): len(text) for text in texts_of(shards)}
    near = [row for row in pq.read_table(tmp_path / "out" / "clusters.parquet").to_pylist() if row["why"] == "near"]
    assert near
    assert all(sizes_of[row["representative"]] <= texts[row["id"]] for row in near)


def texts_of(shards: list[Path]) -> list[str]:
    unpacked = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in shards)
    return [json.loads(line)["text"] for data in unpacked for line in data.splitlines()]


def test_a_damaged_shard_and_broken_records_are_named_and_the_rest_goes_on(shards: list[Path], tmp_path: Path) -> None:
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(shards[0].read_bytes()[:-2_000])
    (tmp_path / "latin.jsonl").write_bytes(
        b'{"text": "caf\xe9"}\r\n' + json.dumps({"text": prose(random.Random(1), 20)}).encode() + b"\r\n"
    )
    report = run([shards[1], torn, tmp_path / "latin.jsonl"], tmp_path / "out")
    assert (report["problems"]["lost"], report["problems"]["broken"]) == (1, 1)
    assert report["problems"]["named"][0]["uri"] == "torn.jsonl.gz"
    assert {row["uri"] for row in pq.read_table(tmp_path / "out" / "problems.parquet").to_pylist()} == {"torn.jsonl.gz", "latin.jsonl#1"}
    assert {one["source"]: one["documents"] > 0 for one in report["sources"]} == {"s1": True, "torn": True, "latin": True}


def test_a_full_disk_is_named_and_the_same_command_goes_on_when_there_is_room(
    shards: list[Path], clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "PART_BYTES", 30_000)
    limit = ["prlimit", "--fsize=40000"]  # no file may be larger, which says the same as a full disk does
    done = subprocess.run([*limit, *command(shards, tmp_path / "out", "--workers", "1")], check=False, capture_output=True, text=True)
    assert done.returncode == 7, done
    assert "There is no room left in" in done.stderr
    assert "Traceback" not in done.stderr
    run(shards, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(clean)


def test_a_worker_that_dies_is_replaced(shards: list[Path], clean: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(shards, tmp_path / "out", "--workers", "2"), stderr=subprocess.PIPE)
    journal = tmp_path / "out" / "work" / "journal.jsonl"
    killed = False
    while process.poll() is None and not killed:
        if journal.exists():
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[:1]:
                os.kill(int(child), signal.SIGKILL)
                killed = True
        time.sleep(0.005)
    _, said = process.communicate()
    assert (process.returncode, killed) == (0, True), said.decode()
    assert digests(tmp_path / "out") == digests(clean)


def test_a_run_into_a_folder_among_its_inputs_does_not_read_itself(shards: list[Path], tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_bytes(shards[1].read_bytes())
    first = run([tmp_path / "texts"], tmp_path / "texts" / "curated")
    assert run([tmp_path / "texts"], tmp_path / "texts" / "curated") == first


def test_a_folder_holds_one_run(shards: list[Path], clean: Path, tmp_path: Path) -> None:
    with pytest.raises(engine.AnotherRun, match=r"another run: its inputs differ"):
        run(shards[:2], clean)
    with pytest.raises(engine.AnotherRun, match="profile"):
        run(shards, clean, setup=Setup("code"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(engine.NotARun, match="not empty"):
        run(shards, tmp_path / "mine")
    with durable.alone(clean), pytest.raises(durable.AlreadyRunning):
        run(shards, clean)


def test_a_run_of_nothing_but_broken_records_has_empty_tables(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"no\n{}\n")
    report = run([tmp_path / "a.jsonl"], tmp_path / "out")
    assert (report["documents"]["read"], report["problems"]["broken"]) == (0, 2)
    assert {name: pq.read_table(tmp_path / "out" / f"{name}.parquet").num_rows for name in TABLES} == {
        **dict.fromkeys(TABLES, 0),
        "problems": 2,
    }


def test_what_a_profile_rewrites_and_what_is_masked_is_what_is_written(tmp_path: Path) -> None:
    draw = random.Random(3)
    lines = [prose(draw, 30), prose(draw, 30) + "\nWrite to mei.lin@harbour-lab.org today or tomorrow.\nshort line\n"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))
    report = run([tmp_path / "a.jsonl"], tmp_path / "plain", setup=Setup("fineweb"))
    assert report["run"]["profile"] == "fineweb@datatrove-0.10"
    run([tmp_path / "a.jsonl"], tmp_path / "masked", setup=Setup("docs", mask=("email",)))
    texts = {row["id"]: row["text"] for row in pq.read_table(tmp_path / "masked" / "documents.parquet").to_pylist()}
    assert texts[hashlib.sha256(lines[0].encode()).hexdigest()] == lines[0]
    assert "Write to [EMAIL] today" in texts[hashlib.sha256(lines[1].encode()).hexdigest()]
