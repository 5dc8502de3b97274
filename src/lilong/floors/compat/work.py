"""The inside of the job `examine`: the model on every stack, the matrix, the certificate.

Inputs: `model/` (the files of one revision), `corpus/` (a corpus version's files; its `data/heldout-*.parquet` are read).
Outputs: matrix.json, certificate.json, cases.parquet, suite.json, result.json.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lilong.floors.compat import rules
from lilong.floors.compat.backends import adapter
from lilong.floors.compat.backends.process import ProcessDevice
from lilong.floors.compat.contract import REFERENCE, Recipe, StackName
from lilong.floors.compat.examination.certificate import certificate, plain
from lilong.floors.compat.examination.run import Examined, Examiner
from lilong.floors.compat.examination.suite import Suite, canonical, choose
from lilong.ground.errors import BadInput
from lilong.ground.seams import SystemClock
from lilong.ground.work import Workspace, carry_out, one_of

LONGEST = 20_000  # characters of a document that are looked at
MOST_DOCUMENTS = 5_000


def examine(space: Workspace) -> None:
    """Examine the model and leave the results in the workspace. Raises LilongError for input that cannot be used."""
    clock = SystemClock()
    started = clock.monotonic()
    ask = Recipe.parse(space.spec)
    for stack in ask.stacks:
        adapter(stack)
    model = space.input("model")
    encode = _tokenizer(model)
    suite = choose(_documents(space.input("corpus")), encode, ask)
    files = _digests(model)
    scratch = space.state / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    total = 0

    def report(step: int, doing: str) -> None:
        space.progress(step, max(total, step), doing, seconds=round(clock.monotonic() - started, 1))

    def open_device(stack: StackName) -> ProcessDevice:
        return ProcessDevice(stack, ask.limits, scratch, clock.monotonic)

    examiner = Examiner(suite, model, ask.limits.threads, encode, open_device, scratch, report)
    total = examiner.steps(list(dict.fromkeys((REFERENCE, *ask.stacks))))
    try:
        examined = examiner.run(ask.stacks)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    made = certificate(suite, [one.row for one in examined], files, ask, examiner.information)
    _leave(space.out, suite, examined, made)
    space.finish(
        {
            "suite": suite.digest(),
            "rows": [plain(one.row) for one in examined],
            "passed": [one.row.stack for one in examined if one.row.verdict == "pass"],
            "seconds": round(clock.monotonic() - started, 1),
        }
    )


def _leave(out: Path, suite: Suite, examined: Sequence[Examined], made: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "certificate.json").write_bytes(canonical(made))
    (out / "matrix.json").write_text(json.dumps({"rows": made["rows"]}, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    (out / "suite.json").write_bytes(canonical(suite.describe()))
    _write_cases(out / "cases.parquet", examined)


def _write_cases(path: Path, examined: Sequence[Examined]) -> None:
    """One line per stack and position, so that each figure of a row can be computed again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(rules.Position.__dataclass_fields__)
    columns: dict[str, list[Any]] = {"stack": [str(one.row.stack) for one in examined for _ in one.positions]}
    for name in names:
        columns[name] = [getattr(at, name) for one in examined for at in one.positions]
    types = {"text": pa.int32(), "position": pa.int32(), "reference_top": pa.int32(), "got_top": pa.int32()}
    schema = pa.schema([("stack", pa.string()), *((name, types.get(name, pa.float64())) for name in names)])
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def _tokenizer(model: Path) -> Any:
    from tokenizers import Tokenizer

    path = model / "tokenizer.json"
    if not path.exists():
        raise BadInput(field="model", problem="it has no tokenizer.json", way_out="Add the tokenizer to the model's repository.")
    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def _documents(corpus: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    files = sorted(corpus.glob("data/heldout-*.parquet"))
    if not files:
        raise BadInput(field="corpus", problem="it has no data/heldout-*.parquet", way_out="Name a corpus version that was built here.")
    left = MOST_DOCUMENTS
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=256, columns=["text"]):
            for text in batch.column(0).to_pylist()[:left]:
                if text:
                    yield text[:LONGEST]
            left -= len(batch)
            if left <= 0:
                return


def _digests(model: Path) -> dict[str, str]:
    """sha256 of every file of the model, by its path."""
    digests = {}
    for path in sorted(path for path in model.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digests[path.relative_to(model).as_posix()] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return digests


VERBS = {"examine": examine}

if __name__ == "__main__":
    raise SystemExit(carry_out(one_of(VERBS, sys.argv[1:])))
