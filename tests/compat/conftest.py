from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.floors.compat.contract import Examination
from lilong.ground.house import House


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real two-layer llama whose predictions are sharp enough that a fault shows."""
    from tests.training.tiny import make_tiny_base

    yield make_tiny_base(tmp_path_factory.mktemp("tiny") / "model", sharpness=4.0)


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """Forty different texts of a few hundred words in two scripts."""
    from tests.training.tiny import SENTENCES

    return [" ".join(SENTENCES[(number + step * (1 + number % 5)) % len(SENTENCES)] for step in range(24)) + f" {number}" for number in range(40)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, documents: list[str]) -> Iterator[House]:
    from tests.compat.furnished import open_furnished

    from lilong.floors.compute.backends.local import LocalSite

    opened = open_furnished(tmp_path_factory.mktemp("house") / "house", tiny_model, documents)
    yield opened
    opened.port(LocalSite).stop()
    opened.close()


@pytest.fixture(scope="module")
def done(house: House) -> Examination:
    """One examination, carried out for real."""
    from tests.compat.furnished import ASK, MEI, settle

    from lilong.floors.compat import service

    asked = service.examine(house, MEI, ASK)
    settle(house)
    return service.examination(house, MEI, asked.id)
