"""Checkpoints that are whole or not there: written beside, synced, renamed, and only then the older one removed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lilong.floors.training.contract import CheckpointDamaged

_PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    step: int
    """Steps that are done."""
    state: dict[str, Any]
    tensors: dict[str, Tensor]


def save(folder: Path, step: int, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write the checkpoint of `step` into `folder`, durably, and remove the ones before it."""
    target = folder / f"{_PREFIX}{step:08d}"
    fresh = folder / f".{target.name}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(dict(tensors), fresh / "tensors.safetensors")
    (fresh / "state.json").write_text(json.dumps({**state, "step": step}))
    for path in (*fresh.iterdir(), fresh):
        _sync(path)
    if target.exists():
        shutil.rmtree(target)
    fresh.rename(target)
    _sync(folder)
    for older in _found(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)
    return target


def latest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`. Raises CheckpointDamaged when it does not hold what was written."""
    for path in reversed(_found(folder)):
        try:
            state = json.loads((path / "state.json").read_text())
            return Checkpoint(int(state["step"]), state, load_file(path / "tensors.safetensors"))
        except (OSError, ValueError, KeyError, SafetensorError) as problem:
            raise CheckpointDamaged(place=path.name, problem=str(problem)) from problem
    return None


def clear(folder: Path) -> None:
    for path in folder.glob(f"*{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _found(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*"))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
