"""What `make bench-corpus` says when a peer is missing or differs."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from bench import corpus_peers, corpus_tables, corpus_whole

TEXTS = {"a": "one", "b": "two", "c": "three"}
THEIRS: dict[str, Any] = {"passed": {"a": "one", "b": "two"}, "clusters": [["a", "b"]], "kept": ["a"]}
OURS: dict[str, Any] = {"passed": {"a", "b"}, "clusters": [["b", "a"]], "kept": {"b": "two"}}


@pytest.mark.parametrize("name", corpus_peers.PEERS)
def test_what_a_peer_needs_is_listed_by_exact_versions(name: str) -> None:
    first, *pins = (corpus_peers.PINS / f"{name}.txt").read_text().splitlines()
    assert first.startswith("# ")
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []


def test_a_peer_is_called_by_its_own_name_and_version() -> None:
    assert corpus_peers.version("datatrove") == "datatrove 0.10.1"
    assert corpus_peers.version("data-juicer").startswith("py-data-juicer 1.")


def test_a_peer_that_does_not_install_is_in_the_table_with_the_reason() -> None:
    why = corpus_peers.failure([sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "no-such-peer==1.0"])
    assert why == "ERROR: No matching distribution found for no-such-peer==1.0"
    assert corpus_tables.speeds({}, {"daft 0.7": why}) == [("daft 0.7", "", f"does not install: {why}")]


def test_a_peer_whose_installation_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_peers, "PATIENCE_S", 0.01)
    assert "had not ended" in corpus_peers.failure([sys.executable, "-c", "import time; time.sleep(60)"])


def test_the_whole_of_fineweb_is_the_same_whoever_speaks_for_a_cluster() -> None:
    found = corpus_whole.compare(TEXTS, THEIRS, OURS)
    assert (found["passed_differently"], found["clusters_equal"], found["texts_that_differ"]) == (0, True, 0)


def test_every_difference_in_the_whole_of_fineweb_is_told() -> None:
    found = corpus_whole.compare(TEXTS, THEIRS, {"passed": {"a", "b", "c"}, "clusters": [["a", "b", "c"]], "kept": {"a": "uno"}})
    assert (found["passed_differently"], found["clusters_equal"], found["texts_that_differ"]) == (1, False, 1)
    row = corpus_tables.agreements({"corpus_whole": found})[0][2]
    assert "1 differently" in row
    assert "NOT the same" in row
    assert "1 texts differ" in row
