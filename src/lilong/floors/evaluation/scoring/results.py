"""What has been scored, kept as it comes, so that a job that is started again scores nothing twice.

A result is keyed by everything that decides it: the model's files, engine, dtype, the task's kind and settings, the item's digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lilong.floors.evaluation.contract import EvaluationProtocol, TaskPlan
from lilong.floors.evaluation.rules import canonical
from lilong.ground.blobs import digest_of


class KeptResults:
    """Results in an append-only file of JSON lines. A batch is kept whole or, if the machine stops meanwhile, not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) != len(content):  # the end of a line that was being written when the machine stopped
                os.truncate(path, len(whole))
            for line in whole.splitlines():
                self._known.update(json.loads(line))

    def has(self, keys: Iterable[str]) -> bool:
        return all(key in self._known for key in keys)

    def get(self, key: str) -> dict[str, Any]:
        return self._known[key]

    def keep(self, batch: Mapping[str, dict[str, Any]]) -> None:
        with self._path.open("ab") as file:
            file.write(json.dumps(dict(batch)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._known.update(batch)


def result_keys(protocol: EvaluationProtocol, task: TaskPlan, model_digest: str, digests: Iterable[str]) -> list[str]:
    common = {"model": model_digest, "engine": protocol.engine, "dtype": protocol.dtype, "kind": task.kind, "settings": dict(task.settings)}
    return [digest_of(canonical({**common, "item": digest})) for digest in digests]
