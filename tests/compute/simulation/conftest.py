"""`pytest tests/compute/simulation --seed N` plays one world again."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="the one seed to play, of the simulation of compute")
