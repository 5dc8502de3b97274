"""The program that looks into one file and ends: `python -m lilong.floors.hub.viewer.worker FOLDER FILE`, in a sandbox.

FOLDER has `question.json`; `answer.json` is left there: {"answer": …} or {"refused": why}.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path
from typing import Any

from .answers import answer
from .shapes import Question
from .table import MEMORY, NotReadable, Table, opened, reopened

_ADDRESSES = MEMORY + (3 << 30)  # bytes of address space: the libraries themselves need much of it


def main(folder: Path, file: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = _ADDRESSES if hard == resource.RLIM_INFINITY else min(_ADDRESSES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    question = Question(**json.loads((folder / "question.json").read_text()))
    made = answered(file, question)
    (folder / "answer.json").write_text(json.dumps(made, ensure_ascii=False, allow_nan=False), errors="replace")


def answered(file: Path, question: Question) -> dict[str, Any]:
    import duckdb

    table: Table | None = None
    try:
        try:
            table = opened(file, question.format)
            return {"answer": answer(table, question)}
        except (duckdb.ConversionException, duckdb.InvalidInputException):
            if table is None or question.format == "parquet":
                raise
            return {"answer": answer(reopened(table, file, question.format), question)}
    except NotReadable as refused:
        return {"refused": str(refused)}
    except (MemoryError, duckdb.OutOfMemoryException):
        return {"refused": "looking into it takes more memory than there is for it"}
    except duckdb.Error as problem:
        return {"refused": _reason(problem, file)}


def _reason(problem: Exception, file: Path) -> str:
    """DuckDB's own words, without the place of the file and without its advice on options, in one line."""
    lines = [line.strip() for line in str(problem).replace(str(file), "the file").splitlines()]
    kept = [line for line in lines if line and not line.startswith(_ADVICE) and " = " not in line][:2]
    text = re.sub(r"^[A-Z][A-Za-z ]+ Error: ", "", " ".join(kept))
    return f"it cannot be read ({text[:300]})"


_ADVICE = ("Original Line", "Possible", "*", "LINE ", "^", "Disable", "Enable", "Set ", "Try ", "Modify ", "Candidate")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
