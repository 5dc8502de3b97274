from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real two-layer llama whose predictions are sharp enough that a fault shows."""
    from tiny import make_tiny_base

    yield make_tiny_base(tmp_path_factory.mktemp("tiny") / "model", sharpness=4.0)


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """Forty different texts of a few hundred words in two scripts."""
    from tiny import SENTENCES

    return [" ".join(SENTENCES[(number + step * (1 + number % 5)) % len(SENTENCES)] for step in range(24)) + f" {number}" for number in range(40)]
